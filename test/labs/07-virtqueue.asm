; A solution of lab 7: see its skeleton in guests/labs/start for what is given.

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

        mov dword [STATUS], 0
        mov dword [STATUS], ACKNOWLEDGE
        mov dword [STATUS], ACKNOWLEDGE | DRIVER
        mov dword [DRIVER_FEATURES_SEL], 1
        mov dword [DRIVER_FEATURES], 1
        mov dword [STATUS], ACKNOWLEDGE | DRIVER | FEATURES_OK

        mov dword [QUEUE_SEL], 0
        mov dword [QUEUE_NUM], QUEUE_SIZE
        mov dword [QUEUE_DESC_LOW], DESCRIPTORS
        mov dword [QUEUE_DRIVER_LOW], AVAILABLE
        mov dword [QUEUE_DEVICE_LOW], USED
        mov dword [QUEUE_READY], 1
        mov dword [STATUS], ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK

        mov dword [DESCRIPTORS], BUFFER
        mov dword [DESCRIPTORS + 8], BUFFER_SIZE
        mov word [DESCRIPTORS + 12], DESCRIPTOR_WRITE
        mov word [AVAILABLE + 4], 0
        mov word [AVAILABLE + 2], 1
        mov dword [QUEUE_NOTIFY], 0

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
