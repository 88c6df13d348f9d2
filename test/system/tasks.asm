; Task switches by JMP, CALL, task gates and IRET, and exceptions that are handled by a task. SDM volume 3A, chapter 8.

%include "protected.inc"

SECOND_TSS      equ 0x5000          ; the other task's
SECOND_STACK    equ 0x7000
OLD_TSS         equ 0x5100          ; a 16-bit one
; Offsets in a TSS.
BACK_LINK       equ 0
TSS_CR3         equ 28
TSS_EIP         equ 32
TSS_EFLAGS      equ 36
TSS_EAX         equ 40
TSS_ECX         equ 44
TSS_ESP         equ 56
TSS_ES          equ 72
TSS_CS          equ 76
TSS_SS          equ 80
TSS_DS          equ 84
TSS_FS          equ 88
TSS_GS          equ 92
TSS_LDT         equ 96
TSS_TRAP        equ 100

        PROTECTED_START

; A check with a fresh second task that begins at a label.
%macro TASK_CHECK 2                 ; name, label
        CHECK {%1}
        mov ebx, %2
        call fresh_task
        HERE
%endmacro

; A second task with something wrong in it: name, offset in the TSS, value.
%macro BAD_TASK 3
        TASK_CHECK {%1}, reached
        mov dword [SECOND_TSS + %2], %3
        mov dword [check_start], reached
        call SECOND:0
        END_CHECK dword [last_cs]
        call first_task
%endmacro

main:
        LINE "jmp and call"
        TASK_CHECK "jmp to a TSS", .jumped
        std
        mov ecx, 0x11223344
        jmp SECOND:0
.after_jump:
.jumped:
        mov eax, ecx
        pushfd
        pop ebx
        xor ecx, ecx
        str cx
        smsw dx
        and edx, 8
        END_CHECK eax, ebx, ecx, edx
        CHECK "what it saved"
        mov eax, [TSS + TSS_EIP]
        sub eax, .after_jump
        movzx ebx, word [TSS + TSS_CS]
        movzx ecx, word [TSS + TSS_DS]
        END_CHECK eax, dword [TSS + TSS_EFLAGS], dword [TSS + TSS_ECX], ebx, ecx, dword [TSS + TSS_ESP]
        CHECK "who is busy, and linked to whom"
        movzx eax, byte [gdt + TASK + 5]
        movzx ebx, byte [gdt + SECOND + 5]
        movzx ecx, word [SECOND_TSS + BACK_LINK]
        END_CHECK eax, ebx, ecx
        CHECK "jmp back"
        mov dword [TSS + TSS_EIP], .jumped_back
        mov eax, 0x77777777
        jmp TASK:0x1234
.jumped_back:
        xor ecx, ecx
        str cx
        movzx eax, byte [gdt + TASK + 5]
        movzx ebx, byte [gdt + SECOND + 5]
        END_CHECK ecx, eax, ebx
        CHECK "what that saved"
        END_CHECK dword [SECOND_TSS + TSS_EAX]
        clts

        TASK_CHECK "call to a TSS", .called
        call SECOND:0
        jmp .returned
.called:
        pushfd
        pop eax
        mov [seen], eax
        movzx eax, byte [gdt + TASK + 5]
        mov [seen + 4], eax
        movzx eax, byte [gdt + SECOND + 5]
        mov [seen + 8], eax
        movzx eax, word [SECOND_TSS + BACK_LINK]
        mov [seen + 12], eax
        iret
        ud2
.returned:
        pushfd
        pop eax
        xor ebx, ebx
        str bx
        smsw cx
        and ecx, 8
        END_CHECK eax, ebx, ecx
        CHECK "in it: EFLAGS, who was busy, back link"
        END_CHECK dword [seen], dword [seen + 4], dword [seen + 8], dword [seen + 12]
        CHECK "after it: who is busy, and NT in what IRET saved"
        movzx eax, byte [gdt + TASK + 5]
        movzx ebx, byte [gdt + SECOND + 5]
        END_CHECK eax, ebx, dword [SECOND_TSS + TSS_EFLAGS]
        TASK_CHECK "call through a task gate", .called_by_gate
        call TASK_GATE:0
        jmp .returned_from_gate
.called_by_gate:
        iret
.returned_from_gate:
        xor ebx, ebx
        str bx
        END_CHECK ebx
        TASK_CHECK "a task goes on where it was", .first
        mov dword [seen], 0
        call SECOND:0
        call SECOND:0
        jmp .twice
.first: inc dword [seen]
        iret
        add dword [seen], 0x100
        iret
.twice: END_CHECK dword [seen]
        TASK_CHECK "call to a 16-bit TSS", .called
        mov word [OLD_TSS + 14], .called16
        mov word [OLD_TSS + 16], 2
        mov word [OLD_TSS + 26], SECOND_STACK
        mov word [OLD_TSS + 34], DATA
        mov word [OLD_TSS + 36], CODE
        mov word [OLD_TSS + 38], DATA
        mov word [OLD_TSS + 40], DATA
        mov word [OLD_TSS + 42], 0
        mov word [OLD_TSS + 18], 0x1234
        call OLD:0
        jmp .returned16
.called16:
        movzx eax, ax
        mov [seen], eax
        movzx eax, sp
        mov [seen + 4], eax
        mov ax, fs
        mov [seen + 8], ax
        iret
.returned16:
        xor ebx, ebx
        str bx
        END_CHECK dword [seen], dword [seen + 4], ebx
        TASK_CHECK "a task in ring 3", .user_task
        mov word [SECOND_TSS + TSS_CS], CODE3
        mov word [SECOND_TSS + TSS_SS], DATA3
        mov word [SECOND_TSS + TSS_DS], DATA3
        mov word [SECOND_TSS + TSS_ES], DATA3
        mov dword [SECOND_TSS + 4], RING0_STACK
        mov dword [SECOND_TSS + 8], DATA
        call SECOND:0
.user_task:
        mov eax, cs
        mov ebx, esp
        int DONE
        END_CHECK eax, ebx, dword [last_flags]
        call first_task
        TASK_CHECK "a task in virtual-8086 mode", .v86_task
        mov dword [SECOND_TSS + TSS_EFLAGS], FLAG_VM + IOPL3 + 2
        mov word [SECOND_TSS + TSS_CS], 0
        mov word [SECOND_TSS + TSS_SS], 0
        mov word [SECOND_TSS + TSS_DS], 0x123
        mov dword [SECOND_TSS + 4], RING0_STACK
        mov dword [SECOND_TSS + 8], DATA
        jmp SECOND:0
        bits 16
.v86_task:
        mov ax, ds
        int DONE
        bits 32
        END_CHECK eax, dword [last_flags], dword [last_cs]
        call first_task
        TASK_CHECK "a task with the trap bit", .trapped
        mov word [SECOND_TSS + TSS_TRAP], 1
        xor eax, eax
        mov dr6, eax
        mov dword [check_start], .trapped
        call SECOND:0
.trapped:
        nop
        END_CHECK
        CHECK "and in DR6"
        mov eax, dr6
        and eax, 0xe00f
        END_CHECK eax
        call first_task
        TASK_CHECK "local breakpoints are a task's", .breakpoints
        mov eax, 0x655
        mov dr7, eax                ; no breakpoint is where anything comes by
        mov eax, 0xfffffff0
        mov dr0, eax
        mov dr1, eax
        mov dr2, eax
        mov dr3, eax
        jmp SECOND:0
.breakpoints:
        mov eax, dr7
        xor ebx, ebx
        mov dr7, ebx
        END_CHECK eax
        call first_task

        LINE "what can't be switched to"
        TASK_CHECK "call to a busy TSS", reached
        call TASK:0
        END_CHECK
        TASK_CHECK "call to a TSS not present", reached
        call ABSENT_TASK:0
        END_CHECK
        TASK_CHECK "call to a TSS that is too short", reached
        call SHORT_TASK:0
        END_CHECK
        TASK_CHECK "call in ring 3 to a TSS of ring 0", reached
        USER
        call SECOND:0
        END_CHECK
        TASK_CHECK "call through a gate that is not present", reached
        call ABSENT_GATE:0
        END_CHECK
        TASK_CHECK "call through a gate that leads to null", reached
        call NULL_GATE:0
        END_CHECK
        TASK_CHECK "call through a gate that leads to data", reached
        call DATA_GATE:0
        END_CHECK
        TASK_CHECK "call through a gate that leads to a busy TSS", reached
        call BUSY_GATE:0
        END_CHECK
        TASK_CHECK "iret to a TSS that is not busy", reached
        mov word [TSS + BACK_LINK], SECOND
        push dword FLAG_NT + 2
        popfd
        HERE
        iret
        END_CHECK
        TASK_CHECK "iret to no TSS", reached
        mov word [TSS + BACK_LINK], DATA
        push dword FLAG_NT + 2
        popfd
        HERE
        iret
        END_CHECK
        TASK_CHECK "iret to null", reached
        mov word [TSS + BACK_LINK], 0
        push dword FLAG_NT + 2
        popfd
        HERE
        iret
        END_CHECK
        TASK_CHECK "iret to a TSS not present", reached
        mov word [TSS + BACK_LINK], ABSENT_TASK
        or byte [gdt + ABSENT_TASK + 5], 2
        push dword FLAG_NT + 2
        popfd
        HERE
        iret
        END_CHECK

        LINE "what the new task finds wrong"
        BAD_TASK "cs null", TSS_CS, 0
        BAD_TASK "cs data", TSS_CS, DATA
        BAD_TASK "cs of ring 3 with RPL 0", TSS_CS, CODE3 - 3
        BAD_TASK "cs not present", TSS_CS, ABSENT_CODE
        BAD_TASK "cs beyond the GDT", TSS_CS, GDT_LIMIT + 1
        BAD_TASK "ss null", TSS_SS, 0
        BAD_TASK "ss code", TSS_SS, CODE
        BAD_TASK "ss read-only", TSS_SS, READ_ONLY
        BAD_TASK "ss with RPL 3", TSS_SS, DATA + 3
        BAD_TASK "ss of ring 3", TSS_SS, DATA3
        BAD_TASK "ss not present", TSS_SS, ABSENT
        BAD_TASK "ds a TSS", TSS_DS, TASK
        BAD_TASK "ds code that can't be read", TSS_DS, EXECUTE_ONLY
        BAD_TASK "ds of ring 0 with RPL 3", TSS_DS, DATA + 3
        BAD_TASK "ds not present", TSS_DS, ABSENT
        BAD_TASK "fs beyond the GDT", TSS_FS, GDT_LIMIT + 1
        BAD_TASK "ldt data", TSS_LDT, DATA
        BAD_TASK "ldt not present", TSS_LDT, ABSENT_LDT
        BAD_TASK "ldt of the ldt", TSS_LDT, 0xc
        BAD_TASK "eip beyond the limit", TSS_CS, TINY

        LINE "interrupts and exceptions by task gates"
        TASK_CHECK "int", .handled
        call gate_for_0x41
        int 0x41
        jmp .handled_back
.handled:
        mov [seen], esp
        pushfd
        pop dword [seen + 4]
        iret
.handled_back:
        xor ebx, ebx
        str bx
        END_CHECK dword [seen], dword [seen + 4], ebx
        TASK_CHECK "#GP pushes its error code there", .protection
        mov dword [IDT + 13 * 8], SECOND << 16
        mov dword [IDT + 13 * 8 + 4], 0x8500
        mov ax, TASK
        HERE
        mov ds, ax
.protection:
        mov [seen], esp
        mov eax, [esp]
        mov ebx, [TSS + TSS_EIP]
        sub ebx, [check_start]
        END_CHECK eax, dword [seen], ebx
        call first_task
        TASK_CHECK "the handler may return", .fixed
        mov ax, TASK
        mov ds, ax
        jmp .fixed_back
.fixed: add esp, 4
        mov word [TSS + TSS_EAX], DATA
        iret
.fixed_back:
        mov eax, ds
        END_CHECK eax
        mov dword [IDT + 13 * 8], (CODE << 16) + LOW16(vectors) + 13 * VECTOR_SIZE
        mov dword [IDT + 13 * 8 + 4], 0x8e00
        TASK_CHECK "a double fault, with a stack that is none", .double
        mov dword [IDT + 8 * 8], SECOND << 16
        mov dword [IDT + 8 * 8 + 4], 0x8500
        mov ax, SMALL_STACK
        mov ss, ax
        mov esp, 2
        HERE
        push eax
.double:
        mov eax, [esp]
        mov ebx, [TSS + TSS_EIP]
        sub ebx, [check_start]
        mov ecx, [TSS + TSS_ESP]
        xor edx, edx
        str dx
        END_CHECK eax, ebx, ecx, edx
        call first_task
        TASK_CHECK "an exception by a task gate that leads to a busy TSS", .nothing
        mov dword [IDT + 6 * 8], TASK << 16
        mov dword [IDT + 6 * 8 + 4], 0x8500
.nothing:
        ud2
        END_CHECK
        TASK_CHECK "an exception in ring 3 by a task gate of ring 0", .by_user
        mov dword [IDT + 6 * 8], SECOND << 16
        USER
        ud2
.by_user:
        movzx eax, word [TSS + TSS_CS]
        movzx ebx, word [TSS + TSS_SS]
        mov ecx, [TSS + TSS_ESP]
        mov edx, cs
        int DONE
        END_CHECK eax, ebx, ecx, edx
        call first_task
        TASK_CHECK "an exception in virtual-8086 mode by a task gate, and back", .by_v86
        push dword 0
        push dword 0
        push dword 0x456
        push dword 0x123
        push dword 0
        push dword 0x7400
        push dword FLAG_VM + IOPL3 + 2
        push dword 0
        push dword .v86
        iret
        bits 16
.v86:   ud2
        mov ax, ds
        mov bx, es
        int DONE
        bits 32
.by_v86:
        mov ecx, [TSS + TSS_EFLAGS]
        and ecx, ~FLAG_RF           ; whether it is there, the manual leaves open
        mov [seen], ecx
        add dword [TSS + TSS_EIP], 2
        iret
        END_CHECK eax, ebx, dword [seen], dword [last_flags]
        POWER_OFF

; A second task that begins at ebx. The first is the current one.
fresh_task:
        mov edi, SECOND_TSS
        mov ecx, 0x80 / 4
        xor eax, eax
        rep stosd
        mov dword [SECOND_TSS + TSS_EIP], ebx
        mov dword [SECOND_TSS + TSS_EFLAGS], 2
        mov dword [SECOND_TSS + TSS_ESP], SECOND_STACK
        mov word [SECOND_TSS + TSS_CS], CODE
        mov word [SECOND_TSS + TSS_SS], DATA
        mov word [SECOND_TSS + TSS_DS], DATA
        mov word [SECOND_TSS + TSS_ES], DATA
        mov word [SECOND_TSS + 102], 0xffff
        and byte [gdt + SECOND + 5], ~2
        CLEAR_FLAGS
        ret

; After a check that has ended in another task: the first one is the current one again, and nobody is busy but it.
first_task:
        xor eax, eax
        lldt ax
        clts
        mov word [TSS + TSS_LDT], 0
        and byte [gdt + TASK + 5], ~2
        and byte [gdt + SECOND + 5], ~2
        mov ax, TASK
        ltr ax
        ret

gate_for_0x41:
        mov dword [IDT + 0x41 * 8], SECOND << 16
        mov dword [IDT + 0x41 * 8 + 4], 0x8500
        ret

reached:
        mov eax, 0x0bad0bad
        int DONE

        GDT_START
SECOND          equ $ - gdt
        DESCRIPTOR SECOND_TSS, 0x67, 0x89, 0x0
OLD             equ $ - gdt
        DESCRIPTOR OLD_TSS, 0x2b, 0x81, 0x0
ABSENT_TASK     equ $ - gdt
        DESCRIPTOR SECOND_TSS, 0x67, 0x09, 0x0
SHORT_TASK      equ $ - gdt
        DESCRIPTOR SECOND_TSS, 0x66, 0x89, 0x0
TASK_GATE       equ $ - gdt
        dw 0, SECOND, 0x8500, 0
ABSENT_GATE     equ $ - gdt
        dw 0, SECOND, 0x0500, 0
NULL_GATE       equ $ - gdt
        dw 0, 0, 0x8500, 0
DATA_GATE       equ $ - gdt
        dw 0, DATA, 0x8500, 0
BUSY_GATE       equ $ - gdt
        dw 0, TASK, 0x8500, 0
EXECUTE_ONLY    equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x99, 0xc
READ_ONLY       equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x91, 0xc
ABSENT          equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x13, 0xc
ABSENT_CODE     equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x1b, 0xc
ABSENT_LDT      equ $ - gdt
        DESCRIPTOR TSS, 0x17, 0x02, 0x0
TINY            equ $ - gdt
        DESCRIPTOR 0, 0x000ff, 0x9b, 0x4
SMALL_STACK     equ $ - gdt
        DESCRIPTOR 0x4000, 0x00fff, 0x93, 0x4
        GDT_END

[section .data]
        align 4, db 0
seen:           times 4 dd 0
