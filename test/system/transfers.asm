; Far jumps, calls and returns, call gates, interrupts and IRET in protected mode, and what ring 3 may not do.
; SDM volume 3A, 5.8 and chapter 6; volume 2: CALL, JMP, RET, INT, IRET; volume 1, 19.5.

%include "protected.inc"

INNER           equ 0x40            ; vectors whose gates the checks change
SAME            equ 0x41
RING1_STACK     equ 0x7000

        PROTECTED_START

; A gate of the IDT: vector, attributes, selector, offset in a register.
%macro SET_GATE 4
        mov word [IDT + %1 * 8], LOW16(%4)
        mov word [IDT + %1 * 8 + 2], %3
        mov word [IDT + %1 * 8 + 4], %2
        mov word [IDT + %1 * 8 + 6], HIGH16(%4)
%endmacro

; JMP and CALL to a selector that can't be.
%macro FAR 2
        CHECK {"jmp ", %2}
        jmp %1:LOW16(reached)
        END_CHECK
        CHECK {"call ", %2}
        call %1:LOW16(reached)
        END_CHECK dword [last_frame]
%endmacro
%macro FAR_USER 2
        CHECK {"call in ring 3 ", %2}
        USER
        call %1:LOW16(reached)
        END_CHECK dword [last_sp]
%endmacro

; An interrupt by a gate that can't be.
%macro BAD_GATE 3                   ; attributes, selector, name
        SET_GATE SAME, %1, %2, reached
        CHECK {"int by ", %3}
        int SAME
        END_CHECK dword [last_frame]
%endmacro

; IRET with what lies on the stack. The frame is built downwards.
%macro IRET_TO 4                    ; name, flags, cs, eip
        CHECK {"iret ", %1}
        push dword %2
        push dword %3
        push dword %4
        HERE
        iret
        END_CHECK dword [last_frame]
%endmacro
%macro IRET_OUT 6                   ; name, ss, esp, flags, cs, eip
        CHECK {"iret ", %1}
        push dword %2
        push dword %3
        push dword %4
        push dword %5
        push dword %6
        HERE
        iret
        END_CHECK dword [last_frame]
%endmacro

; RETF likewise.
%macro RETF_TO 3                    ; name, cs, eip
        CHECK {"retf ", %1}
        push dword %2
        push dword %3
        HERE
        retf
        END_CHECK dword [last_frame]
%endmacro

main:
        mov dword [TSS + 12], RING1_STACK
        mov word [TSS + 16], DATA1

        LINE "far jumps and calls"
        FAR 0, "to null"
        FAR 3, "to null with RPL 3"
        FAR DATA, "to data"
        FAR ABSENT, "to code that is not present"
        FAR CODE3, "to code of ring 3"
        FAR (CODE + 3), "to code with RPL 3"
        FAR (GDT_LIMIT + 1), "beyond the GDT"
        FAR 0x0c, "to the LDT, where there is none"
        FAR LOCAL, "to an LDT"
        FAR INTERRUPT_GATE, "to an interrupt gate"
        FAR TINY, "beyond the limit"
        FAR TASK, "to a busy TSS"
        FAR GATE_ABSENT, "to a gate that is not present"
        FAR GATE_NULL, "to a gate that leads to null"
        FAR GATE_DATA, "to a gate that leads to data"
        FAR GATE_CODE_ABSENT, "to a gate that leads to code not present"
        FAR GATE_OUTER, "to a gate that leads to ring 3"
        FAR GATE_BEYOND, "to a gate that leads beyond the limit"
        FAR_USER CODE, "to code of ring 0"
        FAR_USER (CODE3 - 3), "to code of ring 3 with RPL 0"
        FAR_USER GATE, "to a gate of ring 0"
        FAR_USER GATE_TO_BEYOND, "to a gate that leads beyond the limit"

        CHECK "jmp to conforming code keeps CPL"
        USER
        jmp CONFORMING:.conforming
.conforming:
        mov eax, cs
        END_CHECK eax
        CHECK "a far call pushes CS and EIP"
        call CODE:.called
.called:
        mov eax, [esp]
        sub eax, .called
        END_CHECK eax, dword [esp + 4 + 4], esp
        CHECK "a far call of 16-bit operand size"
        jmp CODE16:.code16
        bits 16
.code16:
        call CODE:LOW16(.called16)
        bits 32
.called16:
        mov ax, [esp]
        movzx eax, ax
        sub eax, ADDRESS(.called16)
        movzx ebx, word [esp + 2]
        mov ecx, esp
        END_CHECK eax, ebx, ecx

        LINE "call gates"
        CHECK "jmp through a gate"
        jmp GATE:0x12345678
back_from_gate:
        END_CHECK esp
        CHECK "call through a gate, same ring"
        call GATE_CALLED:0
.back:  mov eax, [seen]
        sub eax, .back
        END_CHECK eax, dword [seen + 4], dword [seen_esp], esp
        CHECK "call through a 16-bit gate pushes words"
        jmp CODE16:.code16
        bits 16
.code16:
        call GATE16:0
        bits 32
.back16:
        END_CHECK
        CHECK "what it pushed"
        mov eax, [seen]
        sub eax, ADDRESS(.back16)
        END_CHECK eax, dword [seen_esp]
        CHECK "call from ring 3 through a gate with two parameters"
        USER
        push dword 0x11111111
        push dword 0x22222222
        HERE
        call GATE_TWO:0
.outer: sub [seen], dword .outer
        mov eax, esp
        mov ebx, ss
        mov ecx, cs
        END_CHECK eax, ebx, ecx, dword [seen_esp]
        CHECK "what it pushed"
        END_CHECK dword [seen], dword [seen + 4], dword [seen + 8], dword [seen + 12], dword [seen + 16], dword [seen + 20]
        CHECK "call from ring 3 through a gate to ring 1"
        USER
        call GATE_RING1:0
        END_CHECK dword [seen_esp], dword [seen + 4], dword [seen + 12], dword [last_cs], dword [last_ss]
        CHECK "jmp from ring 3 through a gate to ring 0"
        USER
        jmp GATE_TWO:0
        END_CHECK
        CHECK "call from ring 3 through a gate to conforming code"
        USER
        call GATE_CONFORMING:0
        END_CHECK dword [seen + 4], dword [seen_esp]
        CHECK "call through a gate, stack null"
        mov word [TSS + 16], 0
        USER
        call GATE_RING1:0
        END_CHECK
        CHECK "call through a gate, stack of another ring"
        mov word [TSS + 16], DATA
        USER
        call GATE_RING1:0
        END_CHECK
        CHECK "call through a gate, stack not present"
        mov word [TSS + 16], ABSENT_STACK + 1
        USER
        call GATE_RING1:0
        END_CHECK
        CHECK "call through a gate, stack read-only"
        mov word [TSS + 16], READ_ONLY + 1
        USER
        call GATE_RING1:0
        END_CHECK
        CHECK "call through a gate, stack beyond the GDT"
        mov word [TSS + 16], GDT_LIMIT + 2
        USER
        call GATE_RING1:0
        END_CHECK
        CHECK "call through a gate, no room on the stack"
        mov word [TSS + 16], SMALL_STACK1
        mov dword [TSS + 12], 12
        USER
        call GATE_RING1:0
        END_CHECK dword [last_cs]
        CHECK "call through a gate, stack beyond the TSS"
        mov word [TSS + 16], DATA1
        mov dword [TSS + 12], RING1_STACK
        mov ax, SHORT_TASK
        ltr ax
        USER
        call GATE_RING1:0
        END_CHECK
        and byte [gdt + TASK + 5], ~2
        mov ax, TASK
        ltr ax

        LINE "far returns"
        RETF_TO "to null", 0, reached
        RETF_TO "to data", DATA, reached
        RETF_TO "to code not present", ABSENT, reached
        RETF_TO "to ring 0 code with RPL 3", CODE + 3, reached
        RETF_TO "beyond the limit", TINY, reached
        RETF_TO "beyond the GDT", GDT_LIMIT + 1, reached
        CHECK "retf inwards"
        USER
        push dword CODE
        push dword reached
        HERE
        retf
        END_CHECK dword [last_sp]
        CHECK "retf out, stack null"
        push dword 3
        push dword USER_STACK
        push dword CODE3
        push dword reached
        HERE
        retf
        END_CHECK dword [last_frame]
        CHECK "retf out, stack of ring 0"
        push dword DATA
        push dword USER_STACK
        push dword CODE3
        push dword reached
        HERE
        retf
        END_CHECK
        CHECK "retf out, stack not present"
        push dword ABSENT_STACK3
        push dword USER_STACK
        push dword CODE3
        push dword reached
        HERE
        retf
        END_CHECK
        CHECK "retf 8 out drops parameters of both stacks, and segments"
        mov ax, DATA
        mov fs, ax
        mov ax, DATA3
        mov gs, ax
        push dword STACK3_FRESH
        push dword USER_STACK
        push dword 0
        push dword 0
        push dword CODE3
        push dword .out
        mov byte [gdt + STACK3_FRESH - 3 + 5], 0xf2
        retf 8
.out:   mov eax, esp
        mov ebx, fs
        mov ecx, gs
        mov edx, ds
        mov esi, cs
        int DONE
        END_CHECK eax, ebx, ecx, edx, esi
        CHECK "its stack segment was accessed"
        mov eax, [gdt + STACK3_FRESH - 3 + 4]
        END_CHECK eax
        CHECK "retf of 16-bit operand size"
        push word CODE
        push word LOW16(.word)
        o16 retf
.word:  END_CHECK esp

        LINE "interrupts"
        CHECK "int pushes EFLAGS, CS, EIP"
        std
        HERE
        int SAME
        END_CHECK dword [last_frame], dword [last_cs], dword [last_flags]
        CHECK "int3"
        int3
        END_CHECK dword [last_frame]
        CHECK "into without OF"
        xor eax, eax
        into
        END_CHECK
        CHECK "into with OF"
        mov al, 0x7f
        inc al
        into
        END_CHECK
        CHECK "int1"
        db 0xf1
        END_CHECK
        CHECK "bound, inside"
        mov eax, -5
        bound eax, [bounds]
        mov eax, 5
        bound eax, [bounds]
        END_CHECK
        CHECK "bound, below"
        mov eax, -6
        bound eax, [bounds]
        END_CHECK dword [last_frame]
        CHECK "bound, above, of 16 bits"
        mov ax, 1
        bound ax, [bounds]
        END_CHECK
        CHECK "ud2"
        ud2
        END_CHECK dword [last_frame]
        CHECK "ud1"
        ud1 eax, ebx
        END_CHECK
        CHECK "div by 0"
        xor ecx, ecx
        div ecx
        END_CHECK
        CHECK "int in ring 3 by a gate of ring 0"
        USER
        int SAME
        END_CHECK
        CHECK "int3 in ring 3 by a gate of ring 0"
        USER
        int3
        END_CHECK
        CHECK "into in ring 3 by a gate of ring 0"
        USER
        mov al, 0x7f
        inc al
        into
        END_CHECK
        CHECK "int1 in ring 3 by a gate of ring 0"
        USER
        db 0xf1
        END_CHECK
        CHECK "bound in ring 3 by a gate of ring 0"
        USER
        mov eax, -6
        bound eax, [bounds]
        END_CHECK
        CHECK "int from ring 3 takes the TSS's stack"
        or byte [IDT + SAME * 8 + 5], 0x60
        USER
        push eax
        int SAME
        END_CHECK dword [last_sp], dword [last_ss], dword [last_cs], dword [last_frame]
        CHECK "int in ring 3 beyond the IDT"
        lidt [short_idt]            ; one byte less than it would take
        USER
        int SAME
        END_CHECK
        CHECK "int beyond the IDT"
        int SAME + 1
        END_CHECK
        lidt [idt_register]
        BAD_GATE 0x0e00, CODE, "a gate that is not present"
        BAD_GATE 0x8c00, CODE, "a call gate"
        BAD_GATE 0x9e00, CODE, "a gate with S set"
        BAD_GATE 0x8e00, 0, "a gate that leads to null"
        BAD_GATE 0x8e00, DATA, "a gate that leads to data"
        BAD_GATE 0x8e00, ABSENT, "a gate that leads to code not present"
        BAD_GATE 0x8e00, CODE3, "a gate that leads to ring 3"
        BAD_GATE 0x8e00, GDT_LIMIT + 1, "a gate that leads beyond the GDT"
        BAD_GATE 0x8e00, TINY, "a gate that leads beyond the limit"
        BAD_GATE 0x8500, DATA, "a task gate that leads to data"
        BAD_GATE 0x8500, TASK, "a task gate that leads to a busy TSS"
        BAD_GATE 0x8500, TASK_ABSENT, "a task gate that leads to a TSS not present"
        CHECK "#UD by a gate that is not present"
        and byte [IDT + 6 * 8 + 5], 0x7f
        ud2
        END_CHECK
        CHECK "#UD by a gate that leads to null"
        or byte [IDT + 6 * 8 + 5], 0x80
        mov word [IDT + 6 * 8 + 2], 0
        ud2
        END_CHECK
        CHECK "#UD by a gate that leads to code not present"
        mov word [IDT + 6 * 8 + 2], ABSENT
        ud2
        END_CHECK
        mov word [IDT + 6 * 8 + 2], CODE
        CHECK "#GP by a gate that is not present is a double fault"
        and byte [IDT + 13 * 8 + 5], 0x7f
        mov ax, TASK
        HERE
        mov ds, ax
        END_CHECK
        CHECK "#NP by a gate that is not present is a double fault"
        or byte [IDT + 13 * 8 + 5], 0x80
        and byte [IDT + 11 * 8 + 5], 0x7f
        mov ax, ABSENT
        HERE
        mov ds, ax
        END_CHECK
        or byte [IDT + 11 * 8 + 5], 0x80
        CHECK "#DE by a gate that is not present is a double fault"
        and byte [IDT + 5], 0x7f
        xor ecx, ecx
        HERE
        div ecx
        END_CHECK
        or byte [IDT + 5], 0x80
        CHECK "#UD from ring 3, stack null"
        mov word [TSS + 16], 0
        mov word [IDT + 6 * 8 + 2], CODE1
        USER
        ud2
        END_CHECK
        CHECK "#UD from ring 3, stack of another ring"
        mov word [TSS + 16], DATA
        USER
        ud2
        END_CHECK
        CHECK "#UD from ring 3, stack not present"
        mov word [TSS + 16], ABSENT_STACK + 1
        USER
        ud2
        END_CHECK
        CHECK "#UD from ring 3, no room on the stack"
        mov word [TSS + 16], SMALL_STACK1
        mov dword [TSS + 12], 12
        USER
        ud2
        END_CHECK
        CHECK "#GP from ring 3, stack null, is a double fault"
        mov word [TSS + 16], 0
        mov word [IDT + 13 * 8 + 2], CODE1
        USER
        hlt
        END_CHECK
        mov word [IDT + 13 * 8 + 2], CODE
        mov word [IDT + 6 * 8 + 2], CODE
        mov word [TSS + 16], DATA1
        mov dword [TSS + 12], RING1_STACK
        CHECK "an interrupt gate clears IF, TF and NT"
        SET_GATE SAME, 0x8e00, CODE, look
        push dword FLAG_IF + FLAG_TF + FLAG_NT + 2
        popfd
        int SAME
        END_CHECK dword [seen + 8], dword [seen_flags]
        CHECK "a trap gate keeps IF"
        SET_GATE SAME, 0x8f00, CODE, look
        push dword FLAG_IF + FLAG_TF + FLAG_NT + 2
        popfd
        int SAME
        END_CHECK dword [seen + 8], dword [seen_flags]
        CHECK "a 16-bit interrupt gate pushes words"
        SET_GATE SAME, 0x8600, CODE, look
        push dword 0
        int SAME
.int16: END_CHECK dword [seen_esp]
        CHECK "what it pushed"
        mov eax, [seen]
        sub eax, ADDRESS(.int16)
        END_CHECK eax, dword [seen + 4]
        CHECK "#GP by a 16-bit trap gate"
        SET_GATE 13, 0x8700, CODE, look
        xor eax, eax
        mov ss, ax
        END_CHECK dword [seen_esp]
        SET_GATE 13, 0x8e00, CODE, vectors
        add word [IDT + 13 * 8], 13 * VECTOR_SIZE
        CHECK "int by a gate that leads to conforming code"
        SET_GATE SAME, 0xee00, CONFORMING, look
        USER
        int SAME
        END_CHECK dword [seen_esp], dword [seen + 4]

        LINE "RF in what exceptions push"
        CHECK "a fault pushes it"
        ud2
        END_CHECK dword [last_flags]
        CHECK "int does not"
        int SAME + 1
        END_CHECK dword [last_flags]
        CHECK "int3 does not"
        int3
        END_CHECK dword [last_flags]
        CHECK "int after iret with RF does not"
        push dword FLAG_RF + 2
        push dword CODE
        push dword .resumed
        iret
.resumed:
        int SAME + 1
        END_CHECK dword [last_flags]

        LINE "iret"
        IRET_TO "to null", 2, 0, reached
        IRET_TO "to data", 2, DATA, reached
        IRET_TO "to code not present", 2, ABSENT, reached
        IRET_TO "to ring 0 code with RPL 3", 2, CODE + 3, reached
        IRET_TO "beyond the limit", 2, TINY, reached
        IRET_TO "beyond the GDT", 2, GDT_LIMIT + 1, reached
        IRET_OUT "out, stack null", 3, USER_STACK, 2, CODE3, reached
        IRET_OUT "out, stack of ring 0", DATA, USER_STACK, 2, CODE3, reached
        IRET_OUT "out, stack not present", ABSENT_STACK3, USER_STACK, 2, CODE3, reached
        IRET_OUT "out, stack read-only", READ_ONLY3, USER_STACK, 2, CODE3, reached
        CHECK "iret inwards"
        USER
        push dword 2
        push dword CODE
        push dword reached
        HERE
        iret
        END_CHECK dword [last_sp]
        CHECK "iret out drops segments of ring 0"
        mov ax, DATA
        mov es, ax
        mov fs, ax
        mov ax, DATA3
        mov gs, ax
        push dword DATA3
        push dword USER_STACK
        push dword 2
        push dword CODE3
        push dword .iret_out
        iret
.iret_out:
        mov eax, ds
        mov ebx, es
        mov ecx, fs
        mov edx, gs
        mov esi, esp
        int DONE
        END_CHECK eax, ebx, ecx, edx, esi
        CHECK "iret of 16-bit operand size"
        pushfw
        push word CODE
        push word LOW16(.iret16)
        o16 iret
.iret16:
        END_CHECK esp
        CHECK "iret in ring 3 changes neither IF nor IOPL"
        USER
        push dword IOPL3 + FLAG_IF + FLAG_DF + 2
        push dword CODE3
        push dword .iret_user
        iret
.iret_user:
        pushfd
        pop eax
        END_CHECK eax

        LINE "sysenter and sysexit"
        CHECK "sysenter without IA32_SYSENTER_CS"
        sysenter
        END_CHECK
        CHECK "sysexit without IA32_SYSENTER_CS"
        sysexit
        END_CHECK
        xor edx, edx
        mov ecx, 0x174              ; IA32_SYSENTER_CS: ring 0's segments follow, then ring 3's
        mov eax, CODE
        wrmsr
        inc ecx
        mov eax, 0x5800
        wrmsr
        inc ecx
        mov eax, .entered
        wrmsr
        CHECK "sysexit in ring 3"
        USER
        sysexit
        END_CHECK
        CHECK "sysexit"
        mov edx, .exited
        mov ecx, USER_STACK - 0x100
        sysexit
.exited:
        mov eax, cs
        mov ebx, ss
        mov esi, esp
        int DONE
        END_CHECK eax, ebx, esi
        CHECK "sysenter"
        SET_IOPL 3
        USER
        push dword FLAG_IF + FLAG_DF + IOPL3 + 2
        popfd
        sysenter
.entered:
        pushfd
        pop edi
        mov eax, cs
        mov ebx, ss
        mov esi, esp
        mov ecx, DATA
        mov ds, ecx
        END_CHECK eax, ebx, esi, edi

        LINE "what ring 3 may do"
        CHECK "cli"
        USER
        cli
        END_CHECK
        CHECK "sti"
        USER
        sti
        END_CHECK
        CHECK "hlt"
        USER
        hlt
        END_CHECK
        CHECK "mov to CR0"
        USER
        mov cr0, eax
        END_CHECK
        CHECK "mov from CR3"
        USER
        mov eax, cr3
        END_CHECK
        CHECK "mov to DR7"
        USER
        mov dr7, eax
        END_CHECK
        CHECK "invlpg"
        USER
        invlpg [0]
        END_CHECK
        CHECK "rdmsr"
        USER
        rdmsr
        END_CHECK
        CHECK "wrmsr"
        USER
        wrmsr
        END_CHECK
        CHECK "wbinvd"
        USER
        wbinvd
        END_CHECK
        CHECK "rdtsc"
        USER
        rdtsc
        END_CHECK
        CHECK "rdtsc with CR4.TSD"
        mov eax, 4
        mov cr4, eax
        USER
        rdtsc
        END_CHECK
        CHECK "rdtscp with CR4.TSD"
        USER
        rdtscp
        END_CHECK
        CHECK "rdtsc with CR4.TSD in ring 0"
        rdtsc
        xor eax, eax
        mov cr4, eax
        END_CHECK
        CHECK "rdpmc"
        USER
        xor ecx, ecx
        rdpmc
        END_CHECK
        CHECK "popf sets neither IF nor IOPL"
        USER
        push dword IOPL3 + FLAG_IF + FLAG_DF + 2
        popfd
        pushfd
        pop eax
        END_CHECK eax
        SET_IOPL 3
        CHECK "popf with IOPL 3 sets IF"
        SET_IOPL 3
        USER
        push dword FLAG_IF + 2
        popfd
        pushfd
        pop eax
        END_CHECK eax
        CHECK "cli and sti with IOPL 3"
        SET_IOPL 3
        USER
        sti
        pushfd
        pop eax
        cli
        pushfd
        pop ebx
        END_CHECK eax, ebx
        CHECK "out with IOPL 3"
        SET_IOPL 3
        USER
        mov al, 0
        out 0x80, al
        END_CHECK
        CHECK "out with IOPL 2"
        SET_IOPL 2
        USER
        mov al, 0
        out 0x80, al
        END_CHECK
        CHECK "in of a port that the bitmap allows"
        and byte [TSS + IO_MAP + 0x2f8 / 8], ~1
        USER
        mov dx, 0x2f8
        in al, dx
        END_CHECK
        CHECK "in of two ports of which it allows one"
        USER
        mov dx, 0x2f8
        HERE
        in ax, dx
        END_CHECK
        CHECK "in of two ports of two bytes of the bitmap"
        and byte [TSS + IO_MAP + 0x2f8 / 8], ~0x80
        and byte [TSS + IO_MAP + 0x300 / 8], ~1
        USER
        mov dx, 0x2ff
        in ax, dx
        END_CHECK
        CHECK "in of four ports of which it allows two"
        USER
        mov dx, 0x2ff
        HERE
        in eax, dx
        END_CHECK
        CHECK "out beyond the bitmap"
        USER
        mov dx, 0x800
        HERE
        out dx, al
        END_CHECK
        CHECK "out of the bitmap's last byte"
        mov byte [TSS + TSS_LIMIT], 0
        USER
        mov dx, 0x7f8
        HERE
        out dx, al
        END_CHECK
        CHECK "insb of a port that is not allowed"
        USER
        mov dx, 0x3f8
        mov edi, 0x5000
        HERE
        insb
        END_CHECK edi
        POWER_OFF

; Where nothing should come.
reached:
        mov eax, 0x0bad0bad
        int DONE

; Records the stack pointer, what lies on the stack, and EFLAGS.
%macro LOOK 0
        mov [seen_esp], esp
        push eax
        pushfd
        pop dword [seen_flags]
%assign i 0
%rep 6
        mov eax, [esp + 4 + i * 4]
        mov [seen + i * 4], eax
%assign i i + 1
%endrep
        pop eax
%endmacro

; Where gates lead.
gate_jump:
        jmp back_from_gate
gate_called:
        LOOK
        retf
gate_two:
        LOOK
        retf 8
look:   LOOK
        int DONE

        GDT_START
CODE1           equ $ - gdt + 1
        DESCRIPTOR 0, 0xfffff, 0xbb, 0xc
DATA1           equ $ - gdt + 1
        DESCRIPTOR 0, 0xfffff, 0xb3, 0xc
CODE16          equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x9b, 0x8
CONFORMING      equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x9f, 0xc
ABSENT          equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x1b, 0xc
TINY            equ $ - gdt
        DESCRIPTOR 0, 0x000ff, 0x9b, 0x4
ABSENT_STACK    equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x33, 0xc
ABSENT_STACK3   equ $ - gdt + 3
        DESCRIPTOR 0, 0xfffff, 0x73, 0xc
STACK3_FRESH    equ $ - gdt + 3
        DESCRIPTOR 0, 0xfffff, 0xf2, 0xc
READ_ONLY       equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0xb1, 0xc
READ_ONLY3      equ $ - gdt + 3
        DESCRIPTOR 0, 0xfffff, 0xf1, 0xc
SMALL_STACK1    equ $ - gdt + 1
        DESCRIPTOR 0x4000, 0x00fff, 0xb3, 0x4
LOCAL           equ $ - gdt
        DESCRIPTOR TSS, 0x17, 0x82, 0x0
TASK_ABSENT     equ $ - gdt
        DESCRIPTOR TSS, TSS_LIMIT, 0x09, 0x0
SHORT_TASK      equ $ - gdt
        DESCRIPTOR TSS, 0x0b, 0x89, 0x0
; Gates: where to, selector, bits 8-15 with the count of parameters in bits 0-4.
%macro GATE_TO 3
        dw LOW16(%1), %2, %3, HIGH16(%1)
%endmacro
INTERRUPT_GATE  equ $ - gdt
        GATE_TO look, CODE, 0x8e00
GATE            equ $ - gdt
        GATE_TO gate_jump, CODE, 0x8c00
GATE_CALLED     equ $ - gdt
        GATE_TO gate_called, CODE, 0x8c00
GATE_ABSENT     equ $ - gdt
        GATE_TO reached, CODE, 0x0c00
GATE_NULL       equ $ - gdt
        GATE_TO reached, 3, 0x8c00
GATE_DATA       equ $ - gdt
        GATE_TO reached, DATA, 0x8c00
GATE_CODE_ABSENT equ $ - gdt
        GATE_TO reached, ABSENT, 0x8c00
GATE_OUTER      equ $ - gdt
        GATE_TO reached, CODE3, 0x8c00
GATE_BEYOND     equ $ - gdt
        GATE_TO reached, TINY, 0x8c00
GATE_TO_BEYOND  equ $ - gdt + 3
        GATE_TO reached, TINY, 0xec00
GATE_TWO        equ $ - gdt + 3
        GATE_TO gate_two, CODE + 3, 0xec02
GATE_RING1      equ $ - gdt + 3
        GATE_TO look, CODE1, 0xec00
GATE_CONFORMING equ $ - gdt + 3
        GATE_TO gate_called, CONFORMING, 0xec00
GATE16          equ $ - gdt
        dw LOW16(look), CODE, 0x8400, 0
        GDT_END

[section .data]
bounds:         dd -5, 5
short_idt:      dw SAME * 8 + 6
                dd IDT
                align 4, db 0
seen:           times 6 dd 0
seen_esp:       dd 0
seen_flags:     dd 0
