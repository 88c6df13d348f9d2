; Virtual-8086 mode: entered by IRET, left by interrupts, and what depends on IOPL there. SDM volume 3B, chapter 20.

%include "protected.inc"

        PROTECTED_START

V86_STACK       equ 0x7400

; The rest of a check is executed in virtual-8086 mode, in segment 0. @param 1 - IOPL
%macro V86 1
        push dword 0x5555           ; gs, fs, ds, es
        push dword 0x4444
        push dword 0
        push dword 0x3333
        push dword 0                ; ss
        push dword V86_STACK
        push dword FLAG_VM + ((%1) << 12) + 2
        push dword 0                ; cs
        push dword %%v86
        iret
        bits 16
%%v86:
%endmacro

; The same, for a check of one instruction.
%macro V86_HERE 1
        V86 %1
        HERE
%endmacro

; Back to protected mode.
%macro V86_DONE 0
        int DONE
        bits 32
%endmacro

; An instruction with IOPL 3 and with IOPL 0.
%macro SENSITIVE 2+                 ; name, instruction
        CHECK {%1, " with IOPL 3"}
        V86_HERE 3
        %2
        V86_DONE
        END_CHECK
        CHECK {%1, " with IOPL 0"}
        V86_HERE 0
        %2
        bits 32
        END_CHECK
%endmacro

; An instruction that IOPL doesn't count for.
%macro ANYHOW 2+
        CHECK {%1}
        V86_HERE 0
        %2
        bits 32
        END_CHECK
%endmacro

main:
        or byte [IDT + 0x42 * 8 + 5], 0x60
        CHECK "in and out again"
        V86 3
        mov ax, gs
        mov bx, fs
        mov cx, es
        mov dx, cs
        V86_DONE
        END_CHECK eax, ebx, ecx, edx
        CHECK "what the interrupt has pushed"
        V86 3
        V86_DONE
        END_CHECK dword [last_cs], dword [last_flags], dword [last_sp], dword [last_ss], dword [last_frame]
        CHECK "and above that: es, ds, fs, gs"
        mov esi, [last_frame]
        END_CHECK dword [esi + 8], dword [esi + 12], dword [esi + 16], dword [esi + 20]
        CHECK "its segment registers are null"
        V86 3
        V86_DONE
        END_CHECK dword [last_ds], dword [last_es], dword [last_fs], dword [last_gs]
        CHECK "segments are paragraphs"
        V86 3
        mov ax, 0x0123
        mov es, ax
        mov dword [0x1230 + 0x5000], 0xfeedf00d
        mov eax, [es:0x5000]
        V86_DONE
        END_CHECK eax
        CHECK "segments end at 64 KiB"
        V86_HERE 3
        mov al, [dword 0x10000]
        V86_DONE
        END_CHECK
        CHECK "a word at the end of one"
        V86_HERE 3
        mov ax, [0xffff]
        V86_DONE
        END_CHECK
        CHECK "a word at the end of the stack"
        V86_HERE 3
        mov ax, [ss:0xffff]
        V86_DONE
        END_CHECK
        CHECK "far calls and returns"
        V86 3
        xor eax, eax
        call 0x10:(LOW16(.called) - 0x100)
        jmp .returned
.called:
        mov ax, cs
        mov bp, sp
        mov bx, [bp]
        mov cx, [bp + 2]
        retf
.returned:
        mov dx, cs
        V86_DONE
        END_CHECK eax, ecx, edx, esp
        mov word [0x10000], 0xcd + (DONE << 8)
        CHECK "far jmp beyond 64 KiB"
        V86_HERE 3
        jmp dword 0:0x10000
        V86_DONE
        END_CHECK

        SENSITIVE "cli", cli
        SENSITIVE "sti", sti
        SENSITIVE "pushf", pushf
        SENSITIVE "popf", popf
        SENSITIVE "int", int 0x41
        CHECK "iret with IOPL 3"
        V86 3
        push word 0x0202
        push word 0
        push word LOW16(.back)
        iret
.back:  pushfd
        pop eax
        V86_DONE
        END_CHECK eax
        CHECK "iret with IOPL 0"
        V86_HERE 0
        iret
        bits 32
        END_CHECK
        CHECK "int by a gate of ring 3 with IOPL 3"
        V86_HERE 3
        int 0x42
        bits 32
        END_CHECK dword [last_sp]
        CHECK "int by a gate of ring 3 with IOPL 0"
        V86_HERE 0
        int 0x42
        bits 32
        END_CHECK dword [last_sp]
        CHECK "popf changes IF, but neither IOPL nor VM"
        V86 3
        push dword FLAG_IF + FLAG_DF + FLAG_RF + 2
        popfd
        cld
        push dword 0                ; a flag register without anything
        mov bp, sp
        pushfd
        pop eax
        V86_DONE
        END_CHECK eax
        or byte [IDT + 3 * 8 + 5], 0x60
        or byte [IDT + 4 * 8 + 5], 0x60
        ANYHOW "int3 with IOPL 0", int3
        CHECK "into with IOPL 0"
        V86 0
        mov al, 0x7f
        inc al
        HERE
        into
        bits 32
        END_CHECK
        and byte [IDT + 3 * 8 + 5], ~0x60
        ANYHOW "int3 by a gate of ring 0", int3
        ANYHOW "int1", db 0xf1
        ANYHOW "ud2", ud2
        ANYHOW "hlt", hlt
        ANYHOW "clts", clts
        ANYHOW "lmsw", lmsw ax
        ANYHOW "mov from CR0", mov eax, cr0
        ANYHOW "mov to DR0", mov dr0, eax
        ANYHOW "lgdt", lgdt [0]
        ANYHOW "invlpg", invlpg [0]
        ANYHOW "rdmsr", rdmsr
        ANYHOW "sldt", sldt ax
        ANYHOW "str", str ax
        ANYHOW "lldt", lldt ax
        ANYHOW "ltr", ltr ax
        ANYHOW "lar", lar ax, bx
        ANYHOW "lsl", lsl ax, bx
        ANYHOW "verr", verr ax
        ANYHOW "verw", verw ax
        ANYHOW "arpl", arpl ax, bx
        CHECK "smsw, sgdt and sidt"
        V86 0
        smsw ax
        and ax, 1
        sgdt [0x5000]
        sidt [0x5008]
        mov bx, [0x5008]
        HERE
        hlt
        bits 32
        END_CHECK eax, ebx
        CHECK "out with IOPL 3 by the bitmap"
        V86_HERE 3
        out 0x80, al
        V86_DONE
        END_CHECK
        CHECK "out that the bitmap allows with IOPL 0"
        and byte [TSS + IO_MAP + 0x80 / 8], ~1
        V86_HERE 0
        out 0x80, al
        hlt
        bits 32
        END_CHECK

        CHECK "an interrupt gate to conforming code"
        mov word [IDT + 0x42 * 8 + 2], CONFORMING
        V86_HERE 3
        int 0x42
        bits 32
        END_CHECK
        CHECK "an interrupt gate to ring 1"
        mov word [IDT + 0x42 * 8 + 2], CODE1
        mov dword [TSS + 12], 0x7000
        mov word [TSS + 16], DATA1
        V86_HERE 3
        int 0x42
        bits 32
        END_CHECK
        CHECK "an interrupt gate to ring 3"
        mov word [IDT + 0x42 * 8 + 2], CODE3
        V86_HERE 3
        int 0x42
        bits 32
        END_CHECK
        mov word [0x2345], 0xcd + (DONE << 8)
        CHECK "IRET to an EIP beyond 64 KiB"
        push dword 0
        push dword 0
        push dword 0
        push dword 0
        push dword 0
        push dword V86_STACK
        push dword FLAG_VM + 2
        push dword 0
        push dword 0x12345
        HERE
        iret
        END_CHECK dword [last_cs]
        CHECK "a single step over mov ss and the instruction after it"
        xor eax, eax
        push dword 0
        push dword 0
        push dword 0
        push dword 0
        push dword 0
        push dword V86_STACK
        push dword FLAG_VM + FLAG_TF + 2
        push dword 0
        push dword .stepped
        mov dword [check_start], .stepped
        iret
        bits 16
.stepped:
        mov ss, ax
        nop
        nop
        bits 32
        END_CHECK dword [last_flags]
        POWER_OFF

        GDT_START
CONFORMING      equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x9f, 0xc
CODE1           equ $ - gdt + 1
        DESCRIPTOR 0, 0xfffff, 0xbb, 0xc
DATA1           equ $ - gdt + 1
        DESCRIPTOR 0, 0xfffff, 0xb3, 0xc
        GDT_END
