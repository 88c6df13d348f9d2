; Lab 2: from real mode to protected mode to 64-bit mode. The page: type2 lab show 2
;
; The program says hello in real mode and stops there. The texts and routines of the other modes wait below.

%include "machine.inc"

PML4            equ 0x1000
PDPT            equ 0x2000
PAGE_DIRECTORY  equ 0x3000

        bits 16
        org 0x7c00

start:
        cli
        xor ax, ax
        mov ds, ax
        cld
        mov si, real_message
        call print16

        ; TODO 2: lgdt [gdt_register], set bit 0 (PE) of cr0, and go to protected_mode by
        ;         `jmp dword CODE32:protected_mode`. (TODO 1 is in the table at the end.)

        POWER_OFF

        bits 32
protected_mode:
        mov ax, DATA
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, 0x7c00
        mov esi, protected_message
        call print32
        call build_page_tables      ; a PML4 at 0x1000 that maps the first 2 MiB to themselves

        ; TODO 3: in this order, set bit 5 (PAE) of cr4; load cr3 with PML4; set bit 8 (LME) of
        ;         MSR 0xc0000080 (IA32_EFER) with rdmsr and wrmsr; set bit 31 (PG) of cr0.
        ;         Then go to long_mode by `jmp CODE64:long_mode`.

        POWER_OFF

build_page_tables:
        mov edi, PML4
        mov ecx, 3 * 4096 / 4
        xor eax, eax
        rep stosd
        mov dword [PML4], PDPT + 3
        mov dword [PDPT], PAGE_DIRECTORY + 3
        mov dword [PAGE_DIRECTORY], 0x83
        ret

        bits 64
long_mode:
        mov rsi, long_message
        call print64
        POWER_OFF

        bits 16
        DEFINE_PRINT print16
        bits 32
        DEFINE_PRINT print32
        bits 64
        DEFINE_PRINT print64

real_message: db "real mode", 13, 10, 0
protected_message: db "protected mode", 13, 10, 0
long_message: db "64-bit mode", 13, 10, 0

; TODO 1: three descriptors instead of these zeroes. All have base 0 and limit 4 GiB (limit 0xfffff with G),
;         are present, of ring 0 and no system segments; CODE32 is code with D, CODE64 code with L and
;         without D, DATA is writable data.
        align 8, db 0
gdt:
        dq 0                        ; selector 0 is never valid
CODE32  equ $ - gdt
        dq 0
DATA    equ $ - gdt
        dq 0
CODE64  equ $ - gdt
        dq 0
gdt_end:

gdt_register:
        dw gdt_end - gdt - 1
        dd gdt
