; Lab 8: what an exit costs. The page: type2 lab show 8
;
; In 32-bit protected mode. The program hands 4,096 bytes to a recorder, one port write each.

%include "machine.inc"
%include "multiboot.inc"

RECORDER_DATA   equ 0x310           ; byte: record this byte
RECORDER_ADDRESS equ 0x314          ; double word: where in memory bytes to be recorded are
RECORDER_LENGTH equ 0x318           ; double word: record so many bytes from there, at once

BLOCK           equ 0x20000
BLOCK_SIZE      equ 4096

        MULTIBOOT_START

        mov edi, BLOCK              ; something to record
        mov ecx, BLOCK_SIZE
        mov al, 3
.fill:  stosb
        add al, 7
        dec ecx
        jnz .fill

        ; TODO: record the same bytes with no more than ten exits.
        mov esi, BLOCK
        mov ecx, BLOCK_SIZE
        mov dx, RECORDER_DATA
.next:  lodsb
        out dx, al
        dec ecx
        jnz .next

        POWER_OFF

        MULTIBOOT_END
