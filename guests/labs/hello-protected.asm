; hello-protected: from real mode to 32-bit protected mode.
;
; In protected mode a segment register no longer holds an address. It selects a descriptor in a table,
; the GDT, and the descriptor says where the segment is, how long it is, and what may be done with it.
; (Intel SDM volume 3A, 3.4 for segments, 9.9.1 for the switch.)

%include "machine.inc"

        bits 16
        org 0x7c00

start:
        cli                         ; there is no IDT: an interrupt would end in a triple fault
        xor ax, ax
        mov ds, ax
        lgdt [gdt_register]         ; tell the CPU where the table is

        mov eax, cr0
        or al, 1                    ; CR0.PE, protection enable
        mov cr0, eax

        ; From here on the CPU is in protected mode, but it still runs 16-bit code: cs keeps its old hidden
        ; part until it is loaded. Only a far jump can do that.
        jmp dword CODE:protected_mode

        bits 32
protected_mode:
        mov ax, DATA                ; the other segment registers by mov
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, 0x7c00             ; the stack grows down from here

        cld
        mov esi, message
        call print
        POWER_OFF

        DEFINE_PRINT

message: db "Hello from protected mode", 13, 10, 0

; Three descriptors of eight bytes. Base 0 and limit 0xfffff units of 4 KiB: all 4 GiB.
        align 8
gdt:
        dq 0                        ; selector 0 is never valid
CODE    equ $ - gdt
        dw 0xffff, 0x0000           ; limit 15-0, base 15-0
        db 0x00, 0x9b               ; base 23-16; present, ring 0, code, readable
        db 0xcf, 0x00               ; 4 KiB units, 32 bits, limit 19-16; base 31-24
DATA    equ $ - gdt
        dw 0xffff, 0x0000
        db 0x00, 0x93               ; present, ring 0, data, writable
        db 0xcf, 0x00
gdt_end:

gdt_register:
        dw gdt_end - gdt - 1        ; limit: its length less one
        dd gdt                      ; linear address
