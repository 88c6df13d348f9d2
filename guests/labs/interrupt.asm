; interrupt: ten ticks of the timer.
;
; Three chips work together. The PIT (8254) counts down from a number and starts again, about 100 times a
; second; each time it raises interrupt request 0. The PIC (8259A) turns the request into a vector for the
; CPU. The CPU looks the vector up in a table and calls the handler whose address it finds there.
;
; The program stays in real mode, where the table is at address 0 and simple: four bytes for each vector,
; offset and segment of its handler (Intel SDM volume 3B, 20.1.4). In protected mode the table is called
; IDT and has descriptors instead, but everything else is the same.

%include "machine.inc"

PIC1_COMMAND    equ 0x20
PIC1_DATA       equ 0x21
PIC2_COMMAND    equ 0xa0
PIC2_DATA       equ 0xa1
END_OF_INTERRUPT equ 0x20

PIT_CHANNEL_0   equ 0x40
PIT_COMMAND     equ 0x43
PIT_HZ          equ 1193182
TICKS_A_SECOND  equ 100

FIRST_VECTOR    equ 0x20            ; 0 to 0x1f are the CPU's own exceptions
TIMER_VECTOR    equ FIRST_VECTOR + 0

TICKS_WANTED    equ 10

        bits 16
        org 0x7c00

start:
        cli
        xor ax, ax
        mov ds, ax
        mov ss, ax                  ; the CPU saves flags, cs and ip on the stack
        mov sp, 0x7c00
        cld

        mov word [TIMER_VECTOR * 4], timer_handler  ; offset
        mov word [TIMER_VECTOR * 4 + 2], 0          ; segment

        ; The PICs take four initialization words. The second is the vector of their first input.
        mov al, 0x11                ; ICW1: edge-triggered, two PICs, ICW4 follows
        out PIC1_COMMAND, al
        out PIC2_COMMAND, al
        mov al, FIRST_VECTOR        ; ICW2
        out PIC1_DATA, al
        mov al, FIRST_VECTOR + 8
        out PIC2_DATA, al
        mov al, 1 << 2              ; ICW3: the second PIC is at the first one's input 2
        out PIC1_DATA, al
        mov al, 2
        out PIC2_DATA, al
        mov al, 1                   ; ICW4: 8086 mode
        out PIC1_DATA, al
        out PIC2_DATA, al
        mov al, ~(1 << 0) & 0xff    ; masks: only the timer may interrupt
        out PIC1_DATA, al
        mov al, 0xff
        out PIC2_DATA, al

        mov al, 0x34                ; channel 0, low byte then high byte, mode 2: rate generator
        out PIT_COMMAND, al
        mov ax, PIT_HZ / TICKS_A_SECOND
        out PIT_CHANNEL_0, al
        mov al, ah
        out PIT_CHANNEL_0, al

        ; Sleep until there were enough. `sti` takes effect after the next instruction, so no tick can
        ; slip in between the comparison and the hlt and leave the CPU asleep.
wait_for_ticks:
        cli
        cmp byte [ticks], TICKS_WANTED
        jae enough
        sti
        hlt
        jmp wait_for_ticks

enough:
        mov si, message
        call print
        POWER_OFF

timer_handler:
        push ax
        inc byte [ticks]
        mov al, END_OF_INTERRUPT    ; or the PIC would hold back all that follow
        out PIC1_COMMAND, al
        pop ax
        iret

        DEFINE_PRINT

ticks:  db 0
message: db "Ten timer ticks", 13, 10, 0
