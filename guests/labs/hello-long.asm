; hello-long: from real mode through protected mode to 64-bit mode.
;
; 64-bit mode can't be without paging, so the program first builds page tables: one entry in each of
; three levels maps the first 2 MiB of memory to itself. (Intel SDM volume 3A, 4.5 for 4-level paging,
; 9.8.5 for the switch.)

%include "machine.inc"

PML4            equ 0x1000          ; three tables of one page each, below the program
PDPT            equ 0x2000
PAGE_DIRECTORY  equ 0x3000
TABLES_END      equ 0x4000

PRESENT         equ 1 << 0          ; bits of an entry
WRITABLE        equ 1 << 1
LARGE           equ 1 << 7          ; in a page directory: this entry maps 2 MiB itself

CR0_PE          equ 1 << 0
CR0_PG          equ 1 << 31
CR4_PAE         equ 1 << 5
IA32_EFER       equ 0xc0000080
EFER_LME        equ 1 << 8

        bits 16
        org 0x7c00

start:
        cli
        xor ax, ax
        mov ds, ax
        lgdt [gdt_register]
        mov eax, cr0
        or eax, CR0_PE
        mov cr0, eax
        jmp dword CODE32:protected_mode

        bits 32
protected_mode:
        mov ax, DATA
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, 0x7c00
        cld

        ; Clear the tables: an entry of zero is not present.
        mov edi, PML4
        mov ecx, (TABLES_END - PML4) / 4
        xor eax, eax
        rep stosd

        ; Each entry holds the address of the next table, the last one that of the page.
        mov dword [PML4], PDPT + PRESENT + WRITABLE
        mov dword [PDPT], PAGE_DIRECTORY + PRESENT + WRITABLE
        mov dword [PAGE_DIRECTORY], 0 + PRESENT + WRITABLE + LARGE

        ; The order matters: PAE, the tables, LME, and paging last. Paging with LME is long mode.
        mov eax, cr4
        or eax, CR4_PAE
        mov cr4, eax
        mov eax, PML4
        mov cr3, eax
        mov ecx, IA32_EFER
        rdmsr
        or eax, EFER_LME
        wrmsr
        mov eax, cr0
        or eax, CR0_PG
        mov cr0, eax

        ; Now in compatibility mode. A code segment with its L bit set leads to 64-bit mode.
        jmp CODE64:long_mode

        bits 64
long_mode:
        mov rsi, message
        call print
        POWER_OFF

        DEFINE_PRINT

message: db "Hello from long mode", 13, 10, 0

        align 8
gdt:
        dq 0
CODE32  equ $ - gdt
        dq 0x00cf9b000000ffff       ; 32 bits, base 0, limit 4 GiB
DATA    equ $ - gdt
        dq 0x00cf93000000ffff
CODE64  equ $ - gdt
        dq 0x00af9b000000ffff       ; as CODE32, but L (bit 53) instead of D (bit 54)
gdt_end:

gdt_register:
        dw gdt_end - gdt - 1
        dd gdt
