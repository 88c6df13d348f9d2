; Lab 1: hello by port I/O. The page: type2 lab show 1
;
; The program walks through a text, but doesn't print it yet.

%include "machine.inc"              ; COM1_DATA, COM1_STATUS, TRANSMIT_READY, POWER_OFF

        bits 16                     ; the machine starts in real mode
        org 0x7c00                  ; the loader puts the first byte here

start:
        xor ax, ax                  ; data is in segment 0
        mov ds, ax
        cld                         ; lodsb counts upwards
        mov si, message

next_character:
        lodsb                       ; al = [ds:si], si = si + 1
        test al, al                 ; the text ends with a zero byte
        jz done

        ; TODO: print the character in al.
        ;   1. Wait until the transmitter has room: read port COM1_STATUS until bit TRANSMIT_READY is set.
        ;      `in al, dx` overwrites al, so keep the character in ah meanwhile.
        ;   2. Write the character to port COM1_DATA.

        jmp next_character

done:   POWER_OFF

message: db "Hello, port", 13, 10, 0
