; Lab 4: the interrupt descriptor table and the timer. The page: type2 lab show 4
;
; In 32-bit protected mode. PIC and PIT are set up: the timer asks for vector 0x20 a hundred times a second.
; Nobody listens yet. The program waits for five ticks, but not for ever.

%include "machine.inc"
%include "multiboot.inc"            ; MULTIBOOT_START, CODE, LOW16, HIGH16

PIC1_COMMAND    equ 0x20
PIC1_DATA       equ 0x21
PIC2_COMMAND    equ 0xa0
PIC2_DATA       equ 0xa1
END_OF_INTERRUPT equ 0x20           ; written to PIC1_COMMAND

TIMER_VECTOR    equ 0x20
TICKS           equ 0x500           ; where the handler counts, a double word
TICKS_WANTED    equ 5

        MULTIBOOT_START

        mov dword [TICKS], 0
        call start_timer

        ; TODO 3: load the table with `lidt [idt_register]`, then allow interrupts with `sti`.
        ;         (TODO 1 and 2 are below: the table, and the handler.)

        ; Wait for the ticks, half a second at most.
        mov dx, PM_TIMER
        in eax, dx
        mov edi, eax
.wait:  cmp dword [TICKS], TICKS_WANTED
        jae .enough
        mov dx, PM_TIMER
        in eax, dx
        sub eax, edi
        and eax, 0xffffff
        cmp eax, PM_TIMER_HZ / 2
        jb .wait
        cli
        mov esi, late_message
        call print
        POWER_OFF
.enough:
        cli
        mov esi, message
        call print
        POWER_OFF

timer_handler:
        ; TODO 2: count the tick in [TICKS], tell the PIC that the interrupt has been served (write
        ;         END_OF_INTERRUPT to port PIC1_COMMAND), and return with iret. Leave all registers as they were.
        cli
        hlt

start_timer:
        mov al, 0x11                ; the PICs: edge-triggered, vectors from 0x20 and 0x28, only the timer allowed
        out PIC1_COMMAND, al
        out PIC2_COMMAND, al
        mov al, TIMER_VECTOR
        out PIC1_DATA, al
        mov al, TIMER_VECTOR + 8
        out PIC2_DATA, al
        mov al, 1 << 2
        out PIC1_DATA, al
        mov al, 2
        out PIC2_DATA, al
        mov al, 1
        out PIC1_DATA, al
        out PIC2_DATA, al
        mov al, 0xfe
        out PIC1_DATA, al
        mov al, 0xff
        out PIC2_DATA, al
        mov al, 0x34                ; the PIT: channel 0, mode 2, 100 Hz
        out 0x43, al
        mov ax, 1193182 / 100
        out 0x40, al
        mov al, ah
        out 0x40, al
        ret

        DEFINE_PRINT

message: db "Five ticks", 13, 10, 0
late_message: db "Too few ticks", 13, 10, 0

        align 8, db 0
idt:    times TIMER_VECTOR dq 0     ; no gates for the CPU's own exceptions
        ; TODO 1: the gate of TIMER_VECTOR instead of this zero. Eight bytes: LOW16(timer_handler), the selector
        ;         CODE (16 bits), a zero byte, 0x8e (present, ring 0, 32-bit interrupt gate), HIGH16(timer_handler).
        dq 0
idt_register:
        dw idt_register - idt - 1
        dd idt

        MULTIBOOT_END
