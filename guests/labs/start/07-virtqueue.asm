; Lab 7: a virtqueue by hand. The page: type2 lab show 7
;
; In 32-bit protected mode. The machine's entropy device is to fill a buffer of 64 bytes. The program clears
; the queue's memory, and waits for an answer, a second at most; all between is to be written.

%include "machine.inc"
%include "multiboot.inc"

VIRTIO          equ 0xd0000000      ; virtio-mmio registers (virtio 1.2, 4.2.2)
DRIVER_FEATURES equ VIRTIO + 0x020
DRIVER_FEATURES_SEL equ VIRTIO + 0x024
QUEUE_SEL       equ VIRTIO + 0x030
QUEUE_NUM       equ VIRTIO + 0x038
QUEUE_READY     equ VIRTIO + 0x044
QUEUE_NOTIFY    equ VIRTIO + 0x050
STATUS          equ VIRTIO + 0x070
QUEUE_DESC_LOW  equ VIRTIO + 0x080
QUEUE_DRIVER_LOW equ VIRTIO + 0x090
QUEUE_DEVICE_LOW equ VIRTIO + 0x0a0

ACKNOWLEDGE     equ 1               ; bits of STATUS
DRIVER          equ 2
DRIVER_OK       equ 4
FEATURES_OK     equ 8

QUEUE_SIZE      equ 8
DESCRIPTORS     equ 0x21000         ; each: address (8 bytes), length (4), flags (2), next (2)
AVAILABLE       equ 0x22000         ; flags (2), idx (2), ring of QUEUE_SIZE words
USED            equ 0x23000         ; flags (2), idx (2), ring of (id, len)
BUFFER          equ 0x24000
BUFFER_SIZE     equ 64
DESCRIPTOR_WRITE equ 2              ; the device writes this buffer

        MULTIBOOT_START

        mov edi, DESCRIPTORS
        mov ecx, (BUFFER + 4096 - DESCRIPTORS) / 4
        xor eax, eax
        rep stosd

        ; TODO 1: STATUS: write 0 (a reset), then ACKNOWLEDGE, then ACKNOWLEDGE | DRIVER.
        ; TODO 2: accept one feature, VIRTIO_F_VERSION_1, which is bit 32: write 1 to DRIVER_FEATURES_SEL and
        ;         1 << 0 to DRIVER_FEATURES. Then set FEATURES_OK in STATUS too.
        ; TODO 3: queue 0: QUEUE_SEL, QUEUE_NUM, the three addresses, and last QUEUE_READY.
        ;         Then set DRIVER_OK in STATUS too.
        ; TODO 4: descriptor 0 is BUFFER, BUFFER_SIZE bytes, DESCRIPTOR_WRITE. Put its index, 0, into the first
        ;         place of the available ring, and only then make the ring's idx 1.
        ; TODO 5: write the queue's number, 0, to QUEUE_NOTIFY.

        ; Wait until the device has put something into the used ring.
        mov dx, PM_TIMER
        in eax, dx
        mov edi, eax
.wait:  cmp word [USED + 2], 0
        jne .answered
        mov dx, PM_TIMER
        in eax, dx
        sub eax, edi
        and eax, 0xffffff
        cmp eax, PM_TIMER_HZ
        jb .wait
        mov esi, silent_message
        call print
        POWER_OFF
.answered:
        mov esi, message
        call print
        POWER_OFF

        DEFINE_PRINT

message: db "The device has answered", 13, 10, 0
silent_message: db "No answer", 13, 10, 0

        MULTIBOOT_END
