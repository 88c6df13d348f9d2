; 64-bit mode: interrupts and their stacks, IRET, far transfers, addresses that are not canonical, control registers,
; and what else is different there. SDM volume 3A, 5.8, 6.14; volume 2: INT, IRET, CALL, JMP, RET, MOV.

%include "long.inc"

SAME            equ 0x41            ; the vector whose gate the checks change

CR0_AM          equ 1 << 18
; Sets EFLAGS.AC. Changes nothing else.
%macro CHECK_ALIGNMENT 0
        push FLAG_AC + 2
        popfq
%endmacro

        LONG_START

; A gate of the IDT: vector, attributes, selector, label.
%macro SET_GATE 4
        mov word [IDT + %1 * 16], LOW16(%4)
        mov word [IDT + %1 * 16 + 2], %3
        mov word [IDT + %1 * 16 + 4], %2
        mov word [IDT + %1 * 16 + 6], HIGH16(%4)
        mov dword [IDT + %1 * 16 + 8], 0
%endmacro
%macro BAD_GATE 3                   ; attributes, selector, name
        CHECK {"int by ", %3}
        SET_GATE SAME, %1, %2, reached
        HERE
        int SAME
        END_CHECK [last_frame]
%endmacro

; IRETQ with a frame: name, ss, rsp, flags, cs, rip.
%macro IRET_TO 6
        CHECK {"iretq ", %1}
        push %2
        push %3
        push %4
        push %5
        push %6
        HERE
        iretq
        END_CHECK [last_frame]
%endmacro

; RETFQ to another ring: name, ss, cs, rip.
%macro RETF_OUT 4
        CHECK {"retf out ", %1}
        push %2
        push USER_STACK
        push %3
        push %4
        HERE
        o64 retf
        END_CHECK [last_frame]
%endmacro

; CALL and JMP by a far pointer in memory.
%macro FAR 2                        ; name, selector
        CHECK {"jmp ", %1}
        mov word [pointer + 4], %2
        HERE
        jmp far dword [pointer]
        END_CHECK
        CHECK {"call ", %1}
        HERE
        call far dword [pointer]
        END_CHECK [last_frame]
%endmacro

; An address in rax.
%macro ADDRESSED 3+                 ; name, address, instruction
        CHECK {%1}
        mov rax, %2
        HERE
        %3
        END_CHECK
%endmacro

; MOV to a control register.
%macro CONTROL 3                    ; name, register, value
        CHECK {"mov to ", %1}
        mov rax, %3
        HERE
        mov %2, rax
        END_CHECK
%endmacro

%macro UNDEFINED 2+                 ; name, bytes
        CHECK {%1}
        db %2
        END_CHECK
%endmacro

main:
        LINE "interrupts"
        CHECK "int pushes SS and RSP, onto an aligned stack"
        mov rsp, KERNEL_STACK - 3
        HERE
        int SAME
        END_CHECK [last_frame], [last_sp], [last_ss], [last_cs], [last_flags]
        CHECK "an error code comes below"
        mov rsp, KERNEL_STACK - 9
        mov ax, TASK
        HERE
        mov ds, ax
        END_CHECK [last_frame], [last_sp]
        CHECK "from ring 3 by a gate for it"
        or byte [IDT + SAME * 16 + 5], 0x60
        USER
        int SAME
        END_CHECK [last_frame], [last_sp], [last_ss], [last_cs], [last_own_ss]
        CHECK "by an IST stack"
        mov byte [IDT + SAME * 16 + 4], 1
        int SAME
        END_CHECK [last_frame], [last_sp], [last_own_ss]
        CHECK "by an IST stack from ring 3"
        USER
        int SAME
        END_CHECK [last_frame], [last_sp], [last_own_ss]
        CHECK "by an IST stack that is not canonical"
        mov byte [IDT + SAME * 16 + 4], 2
        mov rax, NOT_CANONICAL
        mov [TSS + 0x24 + 8], rax
        HERE
        int SAME
        END_CHECK
        CHECK "by an IST stack that is not aligned"
        mov qword [TSS + 0x24 + 8], IST1_STACK + 7
        int SAME
        END_CHECK [last_frame]
        CHECK "from 32-bit code"
        USER32
        int SAME
        bits 64
        END_CHECK [last_sp], [last_ss], [last_cs]
        BAD_GATE 0x0e00, CODE, "a gate that is not present"
        BAD_GATE 0x8c00, CODE, "a call gate"
        BAD_GATE 0x8500, TASK, "a task gate"
        BAD_GATE 0x8600, CODE, "a 16-bit gate"
        BAD_GATE 0x8e00, 0, "a gate that leads to null"
        BAD_GATE 0x8e00, DATA, "a gate that leads to data"
        BAD_GATE 0x8e00, CODE32, "a gate that leads to 32-bit code"
        BAD_GATE 0x8e00, CODE_BOTH, "a gate that leads to code of 64 and 32 bits"
        BAD_GATE 0x8e00, CODE_ABSENT, "a gate that leads to code not present"
        BAD_GATE 0x8e00, CODE3, "a gate that leads to ring 3"
        BAD_GATE 0x8e00, GDT_LIMIT + 1, "a gate that leads beyond the GDT"
        CHECK "int by a gate that leads to what is not canonical"
        SET_GATE SAME, 0x8e00, CODE, reached
        mov dword [IDT + SAME * 16 + 8], 0x8000
        HERE
        int SAME
        END_CHECK
        CHECK "int in ring 3 by a gate of ring 0"
        USER
        int SAME
        END_CHECK
        CHECK "int beyond the IDT"
        lidt [short_idt]
        HERE
        int SAME
        END_CHECK
        lidt [idt_register]
        CHECK "#UD by a gate that is not present"
        and byte [IDT + 6 * 16 + 5], 0x7f
        HERE
        ud2
        END_CHECK
        or byte [IDT + 6 * 16 + 5], 0x80
        CHECK "#GP by a gate that is not present is a double fault"
        and byte [IDT + 13 * 16 + 5], 0x7f
        HERE
        mov ax, TASK
        HERE
        mov ds, ax
        END_CHECK
        or byte [IDT + 13 * 16 + 5], 0x80
        CHECK "#PF by a gate that is not present is a double fault"
        and byte [IDT + 14 * 16 + 5], 0x7f
        HERE
        mov al, [WINDOW]
        END_CHECK
        or byte [IDT + 14 * 16 + 5], 0x80

        LINE "iretq"
        CHECK "iretq pops SS and RSP, in the same ring, too"
        push 0
        push 0x6543
        push 2
        push CODE
        push .same_ring
        iretq
.same_ring:
        mov rax, rsp
        mov ebx, ss
        mov esp, KERNEL_STACK
        mov ecx, DATA
        mov ss, ecx
        END_CHECK rax, rbx
        CHECK "iretd does"
        push 0
        mov dword [rsp], 0
        sub rsp, 12
        mov dword [rsp + 16], DATA
        mov dword [rsp + 12], 0x5500
        mov dword [rsp + 8], 2
        mov dword [rsp + 4], CODE
        mov dword [rsp], .same_ring32
        iretd
.same_ring32:
        mov rax, rsp
        mov esp, KERNEL_STACK
        END_CHECK rax
        IRET_TO "to ring 3, SS null", 3, USER_STACK, 2, CODE3, reached
        IRET_TO "to ring 3, SS of ring 0", DATA, USER_STACK, 2, CODE3, reached
        IRET_TO "in ring 0 to 32-bit code, SS null", 0, USER_STACK, 2, CODE32, reached
        IRET_TO "to null", DATA, USER_STACK, 2, 0, reached
        IRET_TO "to data", DATA, USER_STACK, 2, DATA, reached
        IRET_TO "to code of 64 and 32 bits", DATA, USER_STACK, 2, CODE_BOTH, reached
        IRET_TO "to code not present", DATA, USER_STACK, 2, CODE_ABSENT, reached
        IRET_TO "to ring 3 code with RPL 0", DATA, USER_STACK, 2, CODE3 - 3, reached
        CHECK "iretq to what is not canonical"
        push DATA
        push KERNEL_STACK
        push 2
        push CODE
        mov rax, NOT_CANONICAL
        push rax
        HERE
        iretq
        END_CHECK [last_frame]
        CHECK "iretq to a stack that is not canonical"
        push DATA3
        mov rax, NOT_CANONICAL
        push rax
        push 2
        push CODE3
        push .on_no_stack
        iretq
.on_no_stack:
        mov rax, rsp
        HERE
        push rax
        END_CHECK rax, [last_sp]
        CHECK "iretq with NT"
        push DATA
        push KERNEL_STACK
        push 2
        push CODE
        push reached
        push FLAG_NT + 2
        popfq
        HERE
        iretq
        END_CHECK [last_flags]
        CHECK "iretq inwards"
        USER
        push DATA
        push KERNEL_STACK
        push 2
        push CODE
        push reached
        HERE
        iretq
        END_CHECK [last_sp]
        CHECK "iretq to 32-bit code"
        mov rsp, 0x6000
        mov ecx, CODE3_32
        call to_user_code
        bits 32
        mov eax, esp
        inc eax                     ; which 64-bit code has as a prefix
        mov ecx, cs
        int DONE
        bits 64
        END_CHECK rax, rcx
        CHECK "iretq out drops segments of ring 0"
        mov eax, DATA
        mov ds, eax
        mov es, eax
        mov fs, eax
        mov eax, DATA3
        mov gs, eax
        USER
        mov eax, ds
        mov ebx, es
        mov ecx, fs
        mov edx, gs
        END_CHECK rax, rbx, rcx, rdx

        LINE "far transfers"
        FAR "to null", 0
        FAR "to data", DATA
        FAR "to code of 64 and 32 bits", CODE_BOTH
        FAR "to code not present", CODE_ABSENT
        FAR "to code of ring 3", CODE3
        FAR "to a busy TSS", TASK
        FAR "to a 16-bit call gate", GATE_OLD
        FAR "to a gate that is not present", GATE_ABSENT
        FAR "to a gate that leads to 32-bit code", GATE_32
        FAR "to a gate that leads to null", GATE_NULL
        FAR "to a gate that leads to what is not canonical", GATE_FAR
        CHECK "to 32-bit code and back"
        mov dword [pointer], .in_32
        mov word [pointer + 4], CODE32
        jmp far dword [pointer]
        bits 32
.in_32: mov eax, 0x12345678
        inc eax
        jmp CODE:.in_64
        bits 64
.in_64: END_CHECK rax
        CHECK "call through a gate, same ring"
        mov word [pointer + 4], GATE
        call far dword [pointer]
.back:  mov rax, [seen]
        sub rax, .back
        END_CHECK rax, [seen + 8], [seen_rsp], rsp
        CHECK "call from ring 3 through a gate"
        mov word [pointer + 4], GATE_USER
        USER
        call far dword [pointer]
.back_to_user:
        mov rax, [seen]
        sub rax, .back_to_user
        END_CHECK rax, [seen + 8], [seen + 16], [seen + 24], [seen_rsp]
        CHECK "call from 32-bit code through a gate"
        USER32
        call GATE_USER:0
.back_to_32:
        mov eax, [seen]
        sub eax, .back_to_32
        END_USER32
        END_CHECK rax, [seen + 8], [seen + 16], [seen + 24], [seen_rsp]
        CHECK "call from ring 3 through a gate of ring 0"
        mov word [pointer + 4], GATE
        USER
        call far dword [pointer]
        END_CHECK
        RETF_OUT "to ring 3, SS null", 3, CODE3, reached
        RETF_OUT "to ring 3, SS of ring 0", DATA, CODE3, reached
        RETF_OUT "to code of 64 and 32 bits", DATA3, CODE_BOTH, reached
        CHECK "retf to what is not canonical"
        push CODE
        mov rax, NOT_CANONICAL
        push rax
        HERE
        o64 retf
        END_CHECK [last_sp]
        CHECK "retf inwards"
        USER
        push CODE
        push reached
        HERE
        o64 retf
        END_CHECK

        LINE "addresses that are not canonical"
        ADDRESSED "mov", NOT_CANONICAL, mov bl, [rax]
        ADDRESSED "mov to", NOT_CANONICAL, mov [rax], bl
        CHECK "mov by rbp"
        mov rbp, NOT_CANONICAL
        HERE
        mov al, [rbp]
        END_CHECK
        ADDRESSED "inc", 0xffff7fffffffffff, inc byte [rax]
        ADDRESSED "read from the last canonical address on", 0x00007fffffffffff, mov bx, [rax]
        ADDRESSED "read up to the first one", 0xffff7fffffffffff, mov bx, [rax]
        ADDRESSED "invlpg", NOT_CANONICAL, invlpg [rax]
        ADDRESSED "prefetch", NOT_CANONICAL, prefetcht0 [rax]
        ADDRESSED "lea", NOT_CANONICAL, lea rax, [rax]
        ADDRESSED "jmp", NOT_CANONICAL, jmp rax
        CHECK "call pushes nothing"
        mov rax, NOT_CANONICAL
        HERE
        call rax
        END_CHECK [last_sp]
        CHECK "ret leaves RSP"
        mov rax, NOT_CANONICAL
        push rax
        HERE
        ret
        END_CHECK [last_sp]
        CHECK "push"
        USER
        mov rsp, NOT_CANONICAL
        HERE
        push rax
        END_CHECK
        CHECK "pop"
        USER
        mov rsp, NOT_CANONICAL
        HERE
        pop rax
        END_CHECK
        CHECK "call with such a stack"
        USER
        mov rsp, NOT_CANONICAL
        HERE
        call reached
        END_CHECK
        CHECK "lgdt"
        mov word [table], 0xffff
        mov rax, NOT_CANONICAL
        mov [table + 2], rax
        HERE
        lgdt [table]
        AFTER
        lgdt [gdt_register]
        END_CHECK
        CHECK "lidt"
        HERE
        lidt [table]
        AFTER
        lidt [idt_register]
        END_CHECK
%macro MSR_ADDRESS 2
        CHECK {"wrmsr to ", %1}
        mov ecx, %2
        xor eax, eax
        mov edx, 0x8000
        HERE
        wrmsr
        END_CHECK
%endmacro
        MSR_ADDRESS "FS_BASE", 0xc0000100
        MSR_ADDRESS "GS_BASE", 0xc0000101
        MSR_ADDRESS "KERNEL_GS_BASE", 0xc0000102
        MSR_ADDRESS "LSTAR", 0xc0000082
        CHECK "by FS"
        SET_MSR 0xc0000100, 0x1000
        mov rax, NOT_CANONICAL - 0x1000
        HERE
        mov bl, [fs:rax]
        END_CHECK
        CHECK "wrapped by FS"
        mov dword [WINDOW_TABLE], FRAME + P + W + U
        mov dword [FRAME], 0x600dda7a
        mov ecx, 0xc0000100
        mov eax, WINDOW - 0x1000
        mov edx, 1
        wrmsr
        mov rax, -0x100000000 + 0x1000
        mov ebx, [fs:rax]
        AFTER
        SET_MSR 0xc0000100, 0
        END_CHECK rbx

        LINE "page faults"
        CHECK "an address beyond 4 GiB"
        mov rax, 0xffff812345678000
        HERE
        mov al, [rax + 0x123]
        END_CHECK [last_cr2]
        CHECK "across pages"
        mov dword [WINDOW_TABLE + 8], 0
        HERE
        mov rax, [WINDOW + 0xffc]
        END_CHECK [last_cr2]
        CHECK "PS in a PML4E"
        mov dword [PML4 + 8], PDPT + PS + P + W
        mov rax, 1 << 39
        invlpg [rax]
        HERE
        mov al, [rax]
        END_CHECK [last_cr2]
        CHECK "PS in a PML4E, to write in ring 3"
        USER
        mov rax, 1 << 39
        HERE
        mov [rax], al
        END_CHECK
        mov dword [PML4 + 8], 0
        CHECK "NX without EFER.NXE"
        mov dword [WINDOW_TABLE + 4], 0x80000000
        invlpg [WINDOW]
        HERE
        mov al, [WINDOW]
        END_CHECK [last_cr2]
        mov ecx, EFER
        rdmsr
        or eax, EFER_NXE
        wrmsr
        CHECK "NX"
        mov rax, WINDOW
        mov dword [check_start], WINDOW
        jmp rax
        END_CHECK [last_cr2]
        CHECK "NX in ring 3"
        USER
        mov rax, WINDOW
        mov dword [check_start], WINDOW
        jmp rax
        END_CHECK
        CHECK "NX in a PML4E"
        mov byte [FRAME], 0xc3
        mov dword [WINDOW_TABLE + 4], 0
        mov dword [PML4 + 12], 0x80000000
        mov dword [PML4 + 8], PDPT + P + W + U
        mov rax, (1 << 39) + WINDOW
        invlpg [rax]
        mov dword [check_start], WINDOW
        call rax
        END_CHECK [last_cr2]
        CHECK "bits that are ignored"
        mov dword [PML4 + 12], 0x7ff00000
        invlpg [rax]
        mov rax, (1 << 39) + WINDOW
        mov al, [rax]
        END_CHECK
        mov dword [PML4 + 8], 0

        LINE "control registers"
        CONTROL "CR0 without PG", cr0, 1
        CONTROL "CR0 with PG and without PE", cr0, 0x80000000
        CONTROL "CR0 with NW and without CD", cr0, 0xa0000001
        CONTROL "CR0's upper half", cr0, 0x180000001
        CONTROL "CR4 without PAE", cr4, 0
        CONTROL "CR4's upper half", cr4, 0x100000020
        CONTROL "CR4's bit 31", cr4, 0x80000020
        CONTROL "CR8 with bit 4", cr8, 16
        UNDEFINED "mov to CR1", 0x0f, 0x22, 0xc8
        UNDEFINED "mov from CR5", 0x0f, 0x20, 0xe8
        UNDEFINED "mov from CR9", 0x44, 0x0f, 0x20, 0xc8
        UNDEFINED "mov from DR9", 0x44, 0x0f, 0x21, 0xc8
        CHECK "CR8 is there"
        mov eax, 5
        mov cr8, rax
        mov rbx, cr8
        xor eax, eax
        mov cr8, rax
        END_CHECK rbx
        CHECK "mov from CR8 in ring 3"
        USER
        mov rax, cr8
        END_CHECK
        CHECK "wrmsr of EFER.LME while paging"
        mov ecx, EFER
        rdmsr
        and eax, ~EFER_LME
        HERE
        wrmsr
        END_CHECK
        CHECK "wrmsr of EFER's reserved bits"
        mov ecx, EFER
        rdmsr
        or eax, 2
        HERE
        wrmsr
        END_CHECK
        CHECK "rdmsr of what there is not"
        mov ecx, 0x12345678
        HERE
        rdmsr
        END_CHECK
        CHECK "wrmsr of what there is not"
        HERE
        wrmsr
        END_CHECK
        CHECK "xgetbv without CR4.OSXSAVE"
        xor ecx, ecx
        HERE
        xgetbv
        END_CHECK
        CHECK "xsetbv without CR4.OSXSAVE"
        HERE
        xsetbv
        END_CHECK
        CHECK "rdtsc in ring 3 with TSD"
        mov eax, 1 << 5 | 1 << 2
        mov cr4, rax
        USER
        rdtsc
        END_CHECK
        mov eax, 1 << 5
        mov cr4, rax
        CHECK "rdpmc in ring 3"
        USER
        xor ecx, ecx
        HERE
        rdpmc
        END_CHECK

        LINE "other instructions"
        CHECK "lgdt takes 64 bits of base, whatever the operand size"
        sgdt [table]
        mov dword [table + 6], 0xffff8000
        o16 lgdt [table]
        mov qword [table + 2], 0
        sgdt [table]
        lgdt [gdt_register]
        mov rax, [table + 2]
        mov rcx, gdt
        sub eax, ecx
        movzx ecx, word [table]
        sub ecx, GDT_LIMIT
        END_CHECK rax, rcx
        CHECK "sidt stores ten bytes"
        mov qword [table + 8], -1
        sidt [table]
        END_CHECK [table + 2], [table + 8]
        CHECK "cmpxchg16b that is not aligned"
        cmpxchg16b [table + 8]
        END_CHECK
        CHECK "ltr of data"
        mov ax, DATA
        HERE
        ltr ax
        END_CHECK
        CHECK "ltr of a busy TSS"
        mov ax, TASK
        HERE
        ltr ax
        END_CHECK
        CHECK "ltr of what its upper half is beyond the GDT of"
        mov ax, LAST
        HERE
        ltr ax
        END_CHECK
        CHECK "lldt of what its upper half is beyond the GDT of"
        mov ax, LAST
        HERE
        lldt ax
        END_CHECK
        CHECK "lar of a TSS, a 64-bit call gate, a 16-bit one"
        mov eax, TASK
        lar ebx, eax
        setz bl
        mov eax, GATE
        lar ecx, eax
        setz cl
        xor edx, edx
        mov eax, GATE_OLD
        lar edx, eax
        setz dl
        END_CHECK rbx, rcx, rdx
        CHECK "load of ss null in ring 0"
        xor eax, eax
        mov ss, eax
        push rax
        mov eax, ss
        mov ecx, DATA
        mov ss, ecx
        END_CHECK rax
        CHECK "load of ss null in ring 3"
        USER
        mov eax, 3
        HERE
        mov ss, eax
        END_CHECK
        CHECK "accesses through null segments"
        xor eax, eax
        mov ds, eax
        mov es, eax
        mov fs, eax
        mov al, [0x1000]
        db 0x26                     ; es:
        mov al, [0x1000]
        END_CHECK
        CHECK "and in 32-bit code"
        USER32
        xor eax, eax
        mov ds, eax
        mov al, [ss:0x1000]
        mov al, [0x1000]
        END_USER32
        END_CHECK
        UNDEFINED "push cs", 0x0e
        UNDEFINED "pop ss", 0x17
        UNDEFINED "daa", 0x27
        UNDEFINED "aas", 0x3f
        UNDEFINED "pusha", 0x60
        UNDEFINED "call far immediate", 0x9a, 0, 0, 0, 0, 0, 0
        UNDEFINED "jmp far immediate", 0xea, 0, 0, 0, 0, 0, 0
        UNDEFINED "into", 0xce
        UNDEFINED "aam", 0xd4, 10
        UNDEFINED "salc", 0xd6
        UNDEFINED "lock nop", 0xf0, 0x90
        UNDEFINED "lock mov", 0xf0, 0x89, 0x00
        UNDEFINED "ud2", 0x0f, 0x0b
        CHECK "an instruction of 16 bytes"
        times 14 db 0x66
        nop
        nop
        times 15 db 0x66
        nop
        END_CHECK
        CHECK "int1 in ring 3"
        USER
        db 0xf1
        END_CHECK
        CHECK "int3 in ring 3"
        or byte [IDT + 3 * 16 + 5], 0x60
        USER
        int3
        END_CHECK

        LINE "alignment"
        CHECK "in ring 3 without CR0.AM"
        USER
        CHECK_ALIGNMENT
        mov eax, [USER_STACK - 31]
        END_CHECK
        mov rax, cr0
        or eax, CR0_AM
        mov cr0, rax
        CHECK "in ring 0"
        CHECK_ALIGNMENT
        mov eax, [USER_STACK - 31]
        END_CHECK
        CHECK "in ring 3 without EFLAGS.AC"
        USER
        mov eax, [USER_STACK - 31]
        END_CHECK
        CHECK "a load that is not aligned"
        USER
        CHECK_ALIGNMENT
        mov eax, [USER_STACK - 32]
        mov al, [USER_STACK - 31]
        HERE
        mov eax, [USER_STACK - 31]
        END_CHECK
        CHECK "a store that is not"
        USER
        CHECK_ALIGNMENT
        HERE
        mov [USER_STACK - 30], eax
        END_CHECK
        CHECK "a push that is not"
        USER
        CHECK_ALIGNMENT
        mov rsp, USER_STACK - 28
        HERE
        push rax
        END_CHECK
        CHECK "one after iret"
        push DATA3
        push USER_STACK
        push FLAG_AC + 2
        push CODE3
        push .returned
        iretq
.returned:
        mov eax, [USER_STACK - 32]
        HERE
        inc word [USER_STACK - 31]
        END_CHECK
        CHECK "one after sysret"
        mov r11d, FLAG_AC + 2
        mov ecx, .to_user
        o64 sysret
.to_user:
        mov eax, [USER_STACK - 32]
        HERE
        mov eax, [USER_STACK - 31]
        END_CHECK
        POWER_OFF

; Where nothing should come.
reached:
        mov eax, 0x0bad0bad
        int DONE

; Where call gates lead: records RSP and what has been pushed.
gate_entry:
        mov [seen_rsp], rsp
        push rax
%assign i 0
%rep 4
        mov rax, [rsp + 8 + i * 8]
        mov [seen + i * 8], rax
%assign i i + 1
%endrep
        pop rax
        o64 retf

; A call gate: label, selector, bits 8-15, upper half.
%macro GATE_TO 4
        dw LOW16(%1), %2, %3, HIGH16(%1)
        dd %4, 0
%endmacro

        GDT_START
CODE_BOTH       equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x9b, 0xe
CODE_ABSENT     equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x1b, 0xa
GATE            equ $ - gdt
        GATE_TO gate_entry, CODE, 0x8c00, 0
GATE_USER       equ $ - gdt + 3
        GATE_TO gate_entry, CODE, 0xec00, 0
GATE_OLD        equ $ - gdt
        GATE_TO reached, CODE, 0x8400, 0
GATE_ABSENT     equ $ - gdt
        GATE_TO reached, CODE, 0x0c00, 0
GATE_32         equ $ - gdt
        GATE_TO reached, CODE32, 0x8c00, 0
GATE_NULL       equ $ - gdt
        GATE_TO reached, 0, 0x8c00, 0
GATE_FAR        equ $ - gdt
        GATE_TO reached, CODE, 0x8c00, 0x8000
LAST            equ $ - gdt
        DESCRIPTOR TSS, TSS_LIMIT, 0x89, 0x0
        GDT_END

[section .data]
        align 16, db 0
table:          times 4 dq 0
seen:           times 4 dq 0
seen_rsp:       dq 0
pointer:        dd reached
                dw 0
short_idt:      dw SAME * 16 + 14
                dq IDT
