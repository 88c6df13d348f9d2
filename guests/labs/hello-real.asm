; hello-real: the smallest guest that does something one can see.
;
; A machine starts in real mode: 16-bit registers, 1 MiB of address space, no protection.
; This program is loaded to 0000:7c00, where a PC's BIOS puts the first sector of a disk. It prints
; a line on the first serial port and switches the machine off.
;
; Every `in` and `out` below leaves the guest (a VM exit): the VMM plays the serial port.

        bits 16
        org 0x7c00                  ; where the loader puts the first byte

COM1_DATA       equ 0x3f8           ; 16550 UART: transmitter holding register
COM1_STATUS     equ 0x3fd           ; line status register
TRANSMIT_READY  equ 0x20            ; its bit 5: the holding register is empty

PM1_CONTROL     equ 0x604           ; ACPI PM1a control register
SOFT_OFF        equ 0x3400          ; SLP_EN (bit 13), SLP_TYP (bits 12-10) = 5

start:
        xor ax, ax                  ; all data is in segment 0
        mov ds, ax
        cld                         ; lodsb counts upwards
        mov si, message

next_character:
        lodsb                       ; al = [ds:si], si = si + 1
        test al, al                 ; the text ends with a zero byte
        jz power_off
        mov ah, al                  ; keep the character while al reads the status

wait_for_room:
        mov dx, COM1_STATUS
        in al, dx
        test al, TRANSMIT_READY
        jz wait_for_room

        mov dx, COM1_DATA
        mov al, ah
        out dx, al
        jmp next_character

power_off:
        mov dx, PM1_CONTROL
        mov ax, SOFT_OFF
        out dx, ax

        cli                         ; not reached, unless nobody listens at 0x604:
halted: hlt                         ; then stop for good
        jmp halted

message: db "Hello from real mode", 13, 10, 0
