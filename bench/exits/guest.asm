; The guest of `npm run bench -- exits`: does one operation many times, and notes how long each took by the
; time stamp counter. It runs in real mode, whose interrupts every KVM can do, with segments of 4 GiB, so that
; it reaches tables above 64 KiB and memory-mapped registers.
;
; At file offset 4 is the number of rounds, 32 bits, and at offset 8 which operation: see `operations`.
; Left behind in memory, for the VMM to read when the guest has switched itself off:
;   STARTED, ENDED   the TSC at the marks START and END on port 0xf5, 64 bits each
;   SAMPLES          for each round what it took, 32 bits, signed, in TSC ticks
;   MORE_SAMPLES     the second figure of an operation that has two

        bits 16
        org 0x7c00

STARTED         equ 0x500
ENDED           equ 0x508
DESCRIPTORS     equ 0x10000
AVAILABLE       equ 0x11000         ; flags, index, ring of QUEUE_SIZE words
USED            equ 0x12000
BUFFER          equ 0x13000
SAMPLES         equ 0x20000         ; room for 49152 each
MORE_SAMPLES    equ 0x50000

MARK_PORT       equ 0xf5
START           equ 1
END             equ 2
SCRATCH_PORT    equ 0x3ff           ; the UART's scratch register: a device, but one that does nothing
STRING_BYTES    equ 64
LOOP_TURNS      equ 16
TIMER_COUNT     equ 1193            ; of the PIT's 1193182 Hz: a millisecond

VIRTIO          equ 0xd0000000      ; the entropy device's registers (virtio 1.2, 4.2.2)
MAGIC           equ VIRTIO + 0x000
DRIVER_FEATURES equ VIRTIO + 0x020
FEATURES_SELECT equ VIRTIO + 0x024
QUEUE_SELECT    equ VIRTIO + 0x030
QUEUE_NUMBER    equ VIRTIO + 0x038
QUEUE_READY     equ VIRTIO + 0x044
QUEUE_NOTIFY    equ VIRTIO + 0x050
INTERRUPT_ACK   equ VIRTIO + 0x064
STATUS          equ VIRTIO + 0x070
QUEUE_DESC      equ VIRTIO + 0x080
QUEUE_DRIVER    equ VIRTIO + 0x090
QUEUE_DEVICE    equ VIRTIO + 0x0a0
QUEUE_SIZE      equ 8
COALESCED       equ 0xd000f000      ; nobody is there; a VMM may have KVM collect the writes

IRQ_TIMER       equ 0
IRQ_VIRTIO      equ 5
FIRST_VECTOR    equ 0x20
END_OF_INTERRUPT equ 0x20

start:
        jmp short begin
        align 4, db 0
rounds: dd 1000                     ; at offset 4
which:  dd 0                        ; at offset 8: an index of `operations`

begin:
        cli
        cld
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7c00

        ; A segment register loaded in protected mode keeps its limit in real mode, until it is loaded again.
        lgdt [gdt_register]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        mov bx, 8
        mov ds, bx
        mov es, bx
        and al, 0xfe
        mov cr0, eax

        mov eax, [rounds]
        mov edi, SAMPLES
        lea eax, [edi + eax * 4]
        mov [last], eax
        mov bx, [which]
        add bx, bx
        jmp [operations + bx]

; What the VMM's table of operations names, in this order.
operations:
        dw pio_loop, pio_out, pio_in, pio_string, mmio_read, mmio_write, mmio_coalesced, cpuid_, rdmsr_
        dw hypercall, hlt_timer, queue_notify, queue_request, bare_out

%macro MARK 1
        mov al, %1
        out MARK_PORT, al
%endmacro

%macro BEGIN 0
        MARK START
        rdtsc
        mov [STARTED], eax
        mov [STARTED + 4], edx
%endmacro

; Ends a round: eax is what it took. Goes on at the label, or ends the program.
%macro NEXT 1
        mov [edi], eax
        add edi, 4
        cmp edi, [last]
        jb %1
        jmp finish
%endmacro

; The rounds of a short operation: a macro of one or a few instructions, which may change eax, ebx, ecx and edx.
; What two RDTSC take with nothing between them is measured in each round, just before, and taken off.
%macro MEASURE 1
        BEGIN
%%again:
        rdtsc
        mov esi, eax
        rdtsc
        mov ebp, eax
        %1
        rdtsc
        sub eax, ebp                ; the operation and a RDTSC
        sub ebp, esi                ; a RDTSC alone
        sub eax, ebp
        NEXT %%again
%endmacro

; LOOP_TURNS port writes in a loop make one sample.
pio_loop:
        BEGIN
.again: rdtsc
        mov esi, eax
        mov ecx, LOOP_TURNS
        mov dx, SCRATCH_PORT
.turn:  out dx, al
        dec ecx
        jnz .turn
        rdtsc
        sub eax, esi
        NEXT .again

pio_out:
%macro PIO_OUT 0
        mov dx, SCRATCH_PORT
        out dx, al
%endmacro
        MEASURE PIO_OUT

pio_in:
%macro PIO_IN 0
        mov dx, SCRATCH_PORT
        in al, dx
%endmacro
        MEASURE PIO_IN

pio_string:
        BEGIN
.again: mov cx, STRING_BYTES
        mov si, start
        rdtsc
        mov ebx, eax
        mov dx, SCRATCH_PORT
        rep outsb
        rdtsc
        sub eax, ebx
        NEXT .again

mmio_read:
%macro MMIO_READ 0
        mov eax, [dword MAGIC]
%endmacro
        MEASURE MMIO_READ

mmio_write:
%macro MMIO_WRITE 0
        mov dword [dword QUEUE_SELECT], 0
%endmacro
        MEASURE MMIO_WRITE

mmio_coalesced:
%macro MMIO_COALESCED 0
        mov dword [dword COALESCED], 0
%endmacro
        MEASURE MMIO_COALESCED

cpuid_:
%macro CPUID_0 0
        xor eax, eax
        cpuid
%endmacro
        MEASURE CPUID_0

rdmsr_:
%macro RDMSR_APIC_BASE 0
        mov ecx, 0x1b               ; IA32_APIC_BASE
        rdmsr
%endmacro
        MEASURE RDMSR_APIC_BASE

hypercall:
%macro HYPERCALL 0
        mov eax, 0x7fff             ; a number that nobody implements
        vmcall
%endmacro
        MEASURE HYPERCALL

; Sets the timer to a millisecond and sleeps; the sample runs from the timer's start to the handler's.
hlt_timer:
        mov al, ~(1 << IRQ_TIMER) & 0xff
        call set_up_interrupts
        BEGIN
.again: mov al, 0x30                ; channel 0, low byte then high byte, mode 0: interrupt on terminal count
        out 0x43, al
        mov al, TIMER_COUNT & 0xff
        out 0x40, al
        mov al, TIMER_COUNT >> 8
        out 0x40, al
        rdtsc
        mov esi, eax
        mov byte [interrupted], 0
.sleep: sti                         ; takes effect after the hlt: no interrupt slips in between
        hlt
        cli
        cmp byte [interrupted], 0
        je .sleep
        mov eax, [handled]
        sub eax, esi
        NEXT .again

; Notifies the device, and looks at memory until it has answered: the first sample. Then lets its interrupt in:
; the second sample, from the answer to the handler's first instruction.
queue_notify:
        call set_up_queue
        BEGIN
.again: mov byte [interrupted], 0
        rdtsc
        mov esi, eax
        inc word [dword AVAILABLE + 2]
        mov dword [dword QUEUE_NOTIFY], 0
        mov bx, [dword AVAILABLE + 2]
.look:  cmp [dword USED + 2], bx
        jne .look
        rdtsc
        sti
.wait:  cmp byte [interrupted], 0
        je .wait
        cli
        mov ebx, [handled]
        sub ebx, eax
        mov [edi + MORE_SAMPLES - SAMPLES], ebx
        sub eax, esi
        mov dword [dword INTERRUPT_ACK], 1
        NEXT .again

; A request as a driver makes it: notifies the device, sleeps until it interrupts, acknowledges.
queue_request:
        call set_up_queue
        BEGIN
.again: mov byte [interrupted], 0
        rdtsc
        mov esi, eax
        inc word [dword AVAILABLE + 2]
        mov dword [dword QUEUE_NOTIFY], 0
        mov bx, [dword AVAILABLE + 2]
.sleep: sti
        hlt
        cli
        cmp byte [interrupted], 0
        je .sleep
        mov dword [dword INTERRUPT_ACK], 1
        cmp [dword USED + 2], bx
        jne .sleep
        rdtsc
        sub eax, esi
        NEXT .again

; Port writes and nothing else, for a VMM that takes the time itself.
bare_out:
        BEGIN
        mov ecx, [rounds]
        mov dx, SCRATCH_PORT
.again: out dx, al
        dec ecx
        jnz .again
        jmp finish

finish:
        rdtsc
        mov [ENDED], eax
        mov [ENDED + 4], edx
        MARK END
        mov dx, 0x604               ; ACPI: switch off
        mov ax, 0x3400
        out dx, ax
.stop:  hlt
        jmp .stop

; PICs at FIRST_VECTOR, edge-triggered; al is the first one's mask.
set_up_interrupts:
        mov dword [(FIRST_VECTOR + IRQ_TIMER) * 4], handler
        mov dword [(FIRST_VECTOR + IRQ_VIRTIO) * 4], handler
        mov ah, al
        mov al, 0x11                ; ICW1
        out 0x20, al
        out 0xa0, al
        mov al, FIRST_VECTOR        ; ICW2
        out 0x21, al
        mov al, FIRST_VECTOR + 8
        out 0xa1, al
        mov al, 1 << 2              ; ICW3
        out 0x21, al
        mov al, 2
        out 0xa1, al
        mov al, 1                   ; ICW4
        out 0x21, al
        out 0xa1, al
        mov al, ah
        out 0x21, al
        mov al, 0xff
        out 0xa1, al
        ret

; Notes when it began.
handler:
        push eax
        push edx
        rdtsc
        mov [handled], eax
        mov byte [interrupted], 1
        mov al, END_OF_INTERRUPT
        out 0x20, al
        pop edx
        pop eax
        iret

; The device's only queue, with one buffer of no bytes that is given to it again and again: all entries of
; the available ring name descriptor 0.
set_up_queue:
        mov al, ~(1 << IRQ_VIRTIO) & 0xff
        call set_up_interrupts
        xor eax, eax
        mov ecx, DESCRIPTORS
.clear: mov [ecx], eax
        add ecx, 4
        cmp ecx, BUFFER
        jb .clear
        mov dword [dword DESCRIPTORS], BUFFER
        mov dword [dword DESCRIPTORS + 12], 2 ; the device writes it
        mov dword [dword STATUS], 0
        mov dword [dword STATUS], 1       ; acknowledge
        mov dword [dword STATUS], 3       ; driver
        mov dword [dword FEATURES_SELECT], 1
        mov dword [dword DRIVER_FEATURES], 1  ; VIRTIO_F_VERSION_1
        mov dword [dword STATUS], 0xb     ; features are fine
        mov dword [dword QUEUE_SELECT], 0
        mov dword [dword QUEUE_NUMBER], QUEUE_SIZE
        mov dword [dword QUEUE_DESC], DESCRIPTORS
        mov dword [dword QUEUE_DRIVER], AVAILABLE
        mov dword [dword QUEUE_DEVICE], USED
        mov dword [dword QUEUE_READY], 1
        mov dword [dword STATUS], 0xf     ; driver is fine
        ret

last:   dd 0                         ; where the table of samples ends
handled: dd 0
interrupted: db 0

        align 8, db 0
gdt:    dq 0
        dq 0x00cf93000000ffff       ; data: base 0, limit 4 GiB
gdt_register:
        dw gdt_register - gdt - 1
        dd gdt
