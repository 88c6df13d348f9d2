; Lab 9: two vCPUs and an interprocessor interrupt. The page: type2 lab show 9
;
; In 32-bit protected mode. CPU 0 copies a trampoline for CPU 1 to low memory; from there CPU 1 finds its way
; to second_cpu, switches its local APIC on and sleeps. Nobody wakes it, though.

%include "machine.inc"
%include "multiboot.inc"

SPURIOUS        equ 0xfee000f0      ; local APIC: spurious-interrupt vector, bit 8 switches the APIC on
ICR_LOW         equ 0xfee00300      ; interrupt command register: writing the low half sends
ICR_HIGH        equ 0xfee00310      ; the destination's APIC id in bits 31-24
ICR_INIT        equ 0x4500          ; INIT, assert
ICR_STARTUP     equ 0x4600          ; start-up IPI; bits 7-0 are the number of the page to start in
ICR_FIXED       equ 0x4000          ; an ordinary interrupt; bits 7-0 are its vector

SECOND_CPU      equ 1               ; its APIC id
TRAMPOLINE      equ 0x8000
IPI_VECTOR      equ 0x40

AWAKE           equ 0x500           ; CPU 1 writes 1 here when it is ready for interrupts
RECEIVED        equ 0x504           ; and counts the interrupts here

        MULTIBOOT_START

        mov dword [SPURIOUS], 0x1ff ; CPU 0's own APIC
        mov dword [AWAKE], 0
        mov dword [RECEIVED], 0
        mov esi, trampoline
        mov edi, TRAMPOLINE
        mov ecx, trampoline_end - trampoline
        rep movsb

        ; TODO 1: send CPU 1 an INIT: its APIC id to bits 31-24 of [ICR_HIGH], then ICR_INIT to [ICR_LOW].
        ;         Wait 10 ms: mov ecx, PM_TIMER_HZ / 100 / call delay.
        ; TODO 2: send it a start-up IPI for the page of TRAMPOLINE: ICR_STARTUP | (TRAMPOLINE >> 12).

        mov esi, AWAKE
        call wait_for               ; half a second at most

        ; TODO 3: send it an interrupt with IPI_VECTOR.

        mov esi, RECEIVED
        call wait_for
        cmp dword [RECEIVED], 0
        mov esi, silent_message
        je .say
        mov esi, message
.say:   call print
        POWER_OFF

; Waits until the double word at esi isn't 0, half a second at most.
wait_for:
        mov ebx, 50
.look:  cmp dword [esi], 0
        jne .done
        mov ecx, PM_TIMER_HZ / 100
        call delay
        dec ebx
        jnz .look
.done:  ret

; Waits for ecx ticks of the PM timer. Changes eax, ecx, edx and edi.
delay:
        mov dx, PM_TIMER
        in eax, dx
        mov edi, eax
.again: in eax, dx
        sub eax, edi
        and eax, 0xffffff
        cmp eax, ecx
        jb .again
        ret

; Where CPU 1 starts, once copied: real mode, cs = TRAMPOLINE / 16, ip = 0.
        bits 16
trampoline:
        cli
        mov ax, cs
        mov ds, ax
        o32 lgdt [trampoline_gdt - trampoline]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword CODE:second_cpu
trampoline_gdt:
        dw gdt_register - gdt - 1
        dd gdt
trampoline_end:

        bits 32
second_cpu:
        mov ax, DATA
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, second_stack_end
        lidt [idt_register]
        mov dword [SPURIOUS], 0x1ff
        mov dword [AWAKE], 1
        sti
.sleep: hlt
        jmp .sleep

; CPU 1 serves one interrupt and is done.
ipi_handler:
        inc dword [RECEIVED]
.stop:  hlt
        jmp .stop

        DEFINE_PRINT

message: db "CPU 1 has heard CPU 0", 13, 10, 0
silent_message: db "CPU 1 says nothing", 13, 10, 0

        align 8, db 0
idt:    times IPI_VECTOR dq 0
        ; TODO 4: the gate of IPI_VECTOR, for ipi_handler, as in lab 4.
        dq 0
idt_register:
        dw idt_register - idt - 1
        dd idt

        align 8, db 0
        times 1024 db 0
second_stack_end:

        MULTIBOOT_END
