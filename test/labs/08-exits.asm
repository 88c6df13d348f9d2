; A solution of lab 8: see its skeleton in guests/labs/start for what is given.

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

        mov dx, RECORDER_ADDRESS
        mov eax, BLOCK
        out dx, eax
        mov dx, RECORDER_LENGTH
        mov eax, BLOCK_SIZE
        out dx, eax

        POWER_OFF

        MULTIBOOT_END
