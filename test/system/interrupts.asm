; When interrupts are taken: IF, the instruction after STI, TPR, priorities, HLT, and NMI until IRET. They come from the
; local APIC to itself. SDM volume 3A, 6.7, 6.8 and 11.8.

%include "long.inc"

APIC            equ 0xfee00000
TPR             equ WINDOW + 0x80
EOI             equ WINDOW + 0xb0
SPURIOUS        equ WINDOW + 0xf0   ; with the bit that enables it
IRR             equ WINDOW + 0x200  ; eight registers of 32 vectors
ICR_LOW         equ WINDOW + 0x300
ICR_HIGH        equ WINDOW + 0x310

SELF            equ 1 << 18
ASSERT          equ 1 << 14
NMI             equ 4 << 8

        LONG_START

; An interrupt to this processor.
%macro SEND 1
        mov dword [ICR_LOW], SELF + ASSERT + (%1)
%endmacro

; Ends a check in which an interrupt has been taken, or not, which RFLAGS tell.
%macro END_TAKEN 0
        AFTER
        mov dword [EOI], 0
        END_CHECK [last_flags]
%endmacro

main:
        mov dword [WINDOW_TABLE], APIC + 0x10 + P + W + U   ; not cached
        mov dword [SPURIOUS], 0x1ff
        CHECK "with IF clear it waits"
        SEND 0x51
        nop
        nop
        mov eax, [IRR + 0x20]
        END_CHECK rax
        CHECK "sti lets one instruction by"
        HERE
        sti
        nop
        nop
        END_TAKEN
        CHECK "sti and cli"
        SEND 0x51
        sti
        cli
        nop
        nop
        END_CHECK
        CHECK "popf does not"
        push FLAG_IF + 2
        HERE
        popfq
        nop
        END_TAKEN
        CHECK "nor does iretq"
        SEND 0x51
        push DATA
        push KERNEL_STACK
        push FLAG_IF + 2
        push CODE
        push .target
        mov dword [check_start], .target
        iretq
.target:
        nop
        nop
        END_TAKEN
        CHECK "with IF set it comes after the instruction that sends it"
        sti
        nop
        HERE
        SEND 0x51
        nop
        END_TAKEN
        CHECK "hlt is over then"
        SEND 0x51
        HERE
        sti
        hlt
        nop
        END_TAKEN
        CHECK "iretq to ring 3"
        SEND 0x51
        push DATA3
        push USER_STACK
        push FLAG_IF + 2
        push CODE3
        push .user
        mov dword [check_start], .user
        iretq
.user:  nop
        AFTER
        mov dword [EOI], 0
        END_CHECK [last_cs], [last_frame]
        CHECK "popf of TF and IF: before the single step"
        SEND 0x51
        push FLAG_IF + FLAG_TF + 2
        HERE
        popfq
        nop
        END_TAKEN
        CHECK "a single step comes before it"
        xor eax, eax
        mov dr6, rax
        sti
        nop
        push FLAG_IF + FLAG_TF + 2
        HERE
        popfq
        SEND 0x51
        nop
        AFTER
        mov rax, dr6
        and eax, 0xe00f
        END_CHECK rax
        CHECK "and it waits for sti then"
        sti
        nop
        nop
        END_TAKEN

        CHECK "TPR as high as its class keeps it"
        mov eax, 5
        mov cr8, rax
        SEND 0x51
        sti
        nop
        nop
        cli
        mov eax, [TPR]
        mov ebx, [IRR + 0x20]
        END_CHECK rax, rbx
        CHECK "until CR8 is lower"
        sti
        nop
        mov eax, 4
        HERE
        mov cr8, rax
        nop
        AFTER
        mov dword [EOI], 0
        END_CHECK
        CHECK "TPR keeps none of a higher class"
        SEND 0x51
        HERE
        sti
        nop
        AFTER
        mov dword [EOI], 0
        xor eax, eax
        mov cr8, rax
        END_CHECK
        CHECK "the highest vector is first"
        SEND 0x51
        SEND 0x62
        SEND 0x61
        HERE
        sti
        nop
        AFTER
        mov eax, [IRR + 0x20]
        mov ebx, [IRR + 0x30]
        END_CHECK rax, rbx
        CHECK "what is in service keeps its class and lower ones"
        HERE
        sti
        nop
        nop
        cli
        mov eax, [IRR + 0x20]
        mov ebx, [IRR + 0x30]
        END_CHECK rax, rbx
        CHECK "but no higher ones"
        SEND 0x71
        HERE
        sti
        nop
        nop
        AFTER
        mov dword [EOI], 0
        END_CHECK
        CHECK "EOI ends the highest"
        mov dword [EOI], 0
        HERE
        sti
        nop
        END_TAKEN
        CHECK "and then the rest"
        HERE
        sti
        nop
        END_TAKEN
        CHECK "a gate that is not present"
        and byte [IDT + 0x51 * 16 + 5], 0x7f
        SEND 0x51
        HERE
        sti
        nop
        AFTER
        mov dword [EOI], 0
        END_CHECK
        or byte [IDT + 0x51 * 16 + 5], 0x80

        CHECK "NMI is taken with IF clear"
        mov dword [ICR_HIGH], 0     ; to APIC 0, which this is
        HERE
        mov dword [ICR_LOW], NMI + ASSERT
        nop
        END_CHECK
        CHECK "a second one waits"
        mov dword [ICR_LOW], NMI + ASSERT
        nop
        nop
        END_CHECK
        CHECK "for IRET"
        push DATA
        push KERNEL_STACK
        push 2
        push CODE
        push .after_nmi
        mov dword [check_start], .after_nmi
        iretq
.after_nmi:
        nop
        END_CHECK
        POWER_OFF

        GDT_START
        GDT_END
