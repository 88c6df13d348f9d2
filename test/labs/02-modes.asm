; A solution of lab 2: see its skeleton in guests/labs/start for what is given.

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

        lgdt [gdt_register]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword CODE32:protected_mode

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

        mov eax, cr4
        or eax, 1 << 5
        mov cr4, eax
        mov eax, PML4
        mov cr3, eax
        mov ecx, 0xc0000080
        rdmsr
        or eax, 1 << 8
        wrmsr
        mov eax, cr0
        or eax, 1 << 31
        mov cr0, eax
        jmp CODE64:long_mode

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

        align 8, db 0
gdt:
        dq 0                        ; selector 0 is never valid
CODE32  equ $ - gdt
        dq 0x00cf9b000000ffff
DATA    equ $ - gdt
        dq 0x00cf93000000ffff
CODE64  equ $ - gdt
        dq 0x00af9b000000ffff
gdt_end:

gdt_register:
        dw gdt_end - gdt - 1
        dd gdt
