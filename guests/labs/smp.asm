; smp: waking a second CPU.
;
; After reset only one CPU runs, the bootstrap processor. The others wait for two messages from its local
; APIC: INIT, which puts them into a known state, and a start-up IPI (SIPI), which names the page where
; they begin, in real mode (Intel SDM volume 3A, 8.4). This program copies a few instructions to such a
; page, wakes the CPU with APIC id 1, and both print a line.
;
; It is a Multiboot kernel: it starts in 32-bit protected mode at 1 MiB.

%include "machine.inc"

MULTIBOOT_MAGIC equ 0x1badb002
ADDRESS_FIELDS  equ 1 << 16

LAPIC           equ 0xfee00000      ; its registers are memory
LAPIC_ID        equ LAPIC + 0x020   ; bits 31-24
LAPIC_SPURIOUS  equ LAPIC + 0x0f0
LAPIC_ENABLE    equ 1 << 8
ICR_LOW         equ LAPIC + 0x300   ; interrupt command register; writing its low half sends
ICR_HIGH        equ LAPIC + 0x310   ; destination in bits 31-24
ICR_INIT        equ 0x4500          ; INIT, assert
ICR_STARTUP     equ 0x4600          ; SIPI, assert; the page number in bits 7-0

SECOND_CPU      equ 1               ; its APIC id
TRAMPOLINE      equ 0x8000          ; a page below 1 MiB
STACK_SIZE      equ 4096

        bits 32
        org 0x100000

multiboot_header:
        dd MULTIBOOT_MAGIC
        dd ADDRESS_FIELDS
        dd -(MULTIBOOT_MAGIC + ADDRESS_FIELDS)
        dd multiboot_header         ; header_addr
        dd multiboot_header         ; load_addr
        dd data_end                 ; load_end_addr
        dd bss_end                  ; bss_end_addr
        dd start                    ; entry_addr

start:
        lgdt [gdt_register]
        jmp CODE:.reload
.reload:
        mov ax, DATA
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, first_stack_end
        cld
        call introduce

        mov esi, trampoline         ; the woken CPU can't reach 1 MiB in real mode
        mov edi, TRAMPOLINE
        mov ecx, trampoline_end - trampoline
        rep movsb

        or dword [LAPIC_SPURIOUS], LAPIC_ENABLE
        mov dword [ICR_HIGH], SECOND_CPU << 24
        mov dword [ICR_LOW], ICR_INIT
        mov ecx, PM_TIMER_HZ / 100  ; the CPU may need 10 ms for INIT
        call delay
        mov dword [ICR_LOW], ICR_STARTUP | (TRAMPOLINE >> 12)

        ; Wait until it says that it's done, but no longer than about a second: it may not exist.
        mov ebx, 100
.wait:  cmp byte [second_done], 0
        jne .both
        mov ecx, PM_TIMER_HZ / 100
        call delay
        dec ebx
        jnz .wait
        mov esi, alone_message
        call print
        POWER_OFF

.both:  mov esi, both_message
        call print
        POWER_OFF

; Where the second CPU starts, once copied: real mode, cs = TRAMPOLINE / 16, ip = 0.
        bits 16
trampoline:
        cli
        mov ax, cs
        mov ds, ax
        o32 lgdt [trampoline_gdt_register - trampoline]
        mov eax, cr0
        or al, 1                    ; protected mode, as in hello-protected
        mov cr0, eax
        jmp dword CODE:second_cpu
trampoline_gdt_register:
        dw GDT_SIZE - 1
        dd gdt
trampoline_end:

        bits 32
second_cpu:
        mov ax, DATA
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, second_stack_end   ; a stack of its own
        cld
        call introduce
        mov byte [second_done], 1   ; only now, so that the two lines can't mix
.stop:  cli
        hlt
        jmp .stop

; Prints which CPU this is, by its APIC id.
introduce:
        mov eax, [LAPIC_ID]
        shr eax, 24
        add al, '0'
        mov [digit], al
        mov esi, hello_message
        jmp print

; Waits for ecx ticks of the PM timer. Changes eax, ecx, edx and edi.
delay:
        mov dx, PM_TIMER
        in eax, dx
        mov edi, eax
.again: in eax, dx
        sub eax, edi                ; works across the counter's overflow, too:
        and eax, 0xffffff           ; it may have 32 bits or only 24
        cmp eax, ecx
        jb .again
        ret

        DEFINE_PRINT

hello_message: db "Hello from CPU "
digit:  db "?", 13, 10, 0
both_message: db "Two CPUs", 13, 10, 0
alone_message: db "Only one CPU", 13, 10, 0
second_done: db 0

        align 8, db 0
gdt:
        dq 0
CODE    equ $ - gdt
        dq 0x00cf9b000000ffff
DATA    equ $ - gdt
        dq 0x00cf93000000ffff
GDT_SIZE equ $ - gdt
gdt_register:
        dw GDT_SIZE - 1
        dd gdt

        align 8, db 0
data_end:

        absolute data_end
first_stack: resb STACK_SIZE
first_stack_end:
second_stack: resb STACK_SIZE
second_stack_end:
bss_end:
