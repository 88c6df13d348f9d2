; Lab 3: a page table by hand. The page: type2 lab show 3
;
; In 64-bit mode, with the first 2 MiB mapped to themselves. A text lies at the physical address SECRET;
; it is to be read by way of the linear address WINDOW, which nothing maps yet.

%include "machine.inc"
%include "long-mode.inc"            ; LONG_MODE, PML4, PRESENT, WRITABLE

SECRET          equ 0x9000
WINDOW          equ 0x700040403000

NEW_PDPT        equ 0xa000          ; three pages for three tables, cleared below
NEW_DIRECTORY   equ 0xb000
NEW_TABLE       equ 0xc000

        org 0x7c00

start:  LONG_MODE

        mov edi, NEW_PDPT
        mov ecx, 3 * 4096 / 8
        xor eax, eax
        rep stosq

        mov esi, message            ; put the text where it is to be found
        mov edi, SECRET
        mov ecx, message_end - message
        rep movsb

        ; TODO: four entries, each `mov qword [table + 8 * index], next + bits`.
        ;   The indices are bits 47-39, 38-30, 29-21 and 20-12 of WINDOW: let nasm work them out, as in
        ;   (WINDOW >> 39) & 511. The last entry must not be writable.
        ; Then print the text by way of WINDOW: mov rsi, WINDOW / call print.

        POWER_OFF

        DEFINE_PRINT

message: db "Seen through four tables", 13, 10, 0
message_end:
