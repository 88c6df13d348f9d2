; Lab 6: MMIO against PIO. The page: type2 lab show 6
;
; In 32-bit protected mode. A virtio device's registers begin at VIRTIO. The program is to copy the first
; sixteen of them to COPY, but reads them a byte at a time.

%include "machine.inc"
%include "multiboot.inc"

VIRTIO          equ 0xd0000000      ; registers of 32 bits: MagicValue, Version, DeviceID, VendorID, …
REGISTERS       equ 16
COPY            equ 0x20000

        MULTIBOOT_START

        ; TODO: copy REGISTERS registers from VIRTIO to COPY, so that each is read by one access of 32 bits.
        mov esi, VIRTIO
        mov edi, COPY
        mov ecx, REGISTERS * 4
.next:  mov al, [esi]
        mov [edi], al
        inc esi
        inc edi
        dec ecx
        jnz .next

        ; The first register, as text.
        mov eax, [COPY]
        mov [magic], eax
        mov esi, magic
        call print
        POWER_OFF

        DEFINE_PRINT

magic:  db "????", 13, 10, 0

        MULTIBOOT_END
