; checksum: has a device compute two checksums, and prints them. The device is the learner's: lab 5.
;
;   0x300  byte, write   a byte to be added to the checksum
;   0x302  word, read    the checksum so far (Fletcher-16)
;   0x304  byte, read    how many bytes there were, modulo 256
;   0x306  byte, write   anything: start anew

%include "machine.inc"

DATA            equ 0x300
CHECKSUM        equ 0x302
COUNT           equ 0x304
CLEAR           equ 0x306

        bits 16
        org 0x7c00

start:
        xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        cld
        mov si, first
        call report
        mov dx, CLEAR
        out dx, al
        mov si, second
        call report
        POWER_OFF

; Sends the text at si to the device and prints what that says: checksum and number of bytes.
report:
        lodsb
        test al, al
        jz .sent
        mov dx, DATA
        out dx, al
        jmp report
.sent:
        mov dx, CHECKSUM
        in ax, dx
        mov bx, ax
        mov al, bh
        call print_hex
        mov al, bl
        call print_hex
        mov al, ' '
        call print_character
        mov dx, COUNT
        in al, dx
        call print_hex
        mov al, 13
        call print_character
        mov al, 10
        jmp print_character

; al as two hexadecimal digits.
print_hex:
        push ax
        shr al, 4
        call .digit
        pop ax
        and al, 15
.digit: add al, '0'
        cmp al, '9'
        jbe print_character
        add al, 'A' - '0' - 10
print_character:
        mov ah, al
.wait:  mov dx, COM1_STATUS
        in al, dx
        test al, TRANSMIT_READY
        jz .wait
        mov dx, COM1_DATA
        mov al, ah
        out dx, al
        ret

first:  db "abcde", 0
second: db "abcdef", 0
