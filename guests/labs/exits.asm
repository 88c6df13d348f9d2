; exits: what does a VM exit cost?
;
; The program writes one byte to port 0x80, again and again. Nothing is there (on a PC it is a display for
; the firmware's progress), so each `out` does no more than leave the guest and come back. Divide the
; run's time by the number of writes.
;
; The number is at file offset 4, 32 bits, little-endian: change it there.

%include "machine.inc"

DIAGNOSTIC_PORT equ 0x80

        bits 16
        org 0x7c00

start:
        jmp short begin
        align 4, db 0

count:  dd 65536                    ; at offset 4; at least 1

begin:
        xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        cld
        mov ecx, [count]

again:
        out DIAGNOSTIC_PORT, al
        dec ecx
        jnz again

        mov si, message
        call print
        POWER_OFF

        DEFINE_PRINT

message: db "All exits done", 13, 10, 0
