; A solution of lab 3: see its skeleton in guests/labs/start for what is given.

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

        mov qword [PML4 + 8 * ((WINDOW >> 39) & 511)], NEW_PDPT + PRESENT + WRITABLE
        mov qword [NEW_PDPT + 8 * ((WINDOW >> 30) & 511)], NEW_DIRECTORY + PRESENT + WRITABLE
        mov qword [NEW_DIRECTORY + 8 * ((WINDOW >> 21) & 511)], NEW_TABLE + PRESENT + WRITABLE
        mov qword [NEW_TABLE + 8 * ((WINDOW >> 12) & 511)], SECRET + PRESENT
        mov rsi, WINDOW
        call print

        POWER_OFF

        DEFINE_PRINT

message: db "Seen through four tables", 13, 10, 0
message_end:
