; SYSCALL, SYSRET, SWAPGS, and the bases of FS and GS in 64-bit mode. SDM volume 2: SYSCALL, SYSRET, SWAPGS; APM volume 2,
; 4.5 and 6.1.

%include "long.inc"

STAR            equ 0xc0000081
LSTAR           equ 0xc0000082
SFMASK          equ 0xc0000084
FS_BASE         equ 0xc0000100
GS_BASE         equ 0xc0000101
KERNEL_GS_BASE  equ 0xc0000102

        LONG_START

; Flags as they are, in a register.
%macro FLAGS_TO 1
        pushfq
        pop %1
%endmacro
; A base as RDMSR has it, in rax.
%macro GET_MSR 1
        mov ecx, %1
        rdmsr
        shl rdx, 32
        or rax, rdx
%endmacro

main:
        mov ecx, STAR
        xor eax, eax
        mov edx, ((CODE3_32 - 3) << 16) + CODE
        wrmsr
        SET_MSR LSTAR, entry
        SET_MSR SFMASK, FLAG_DF + FLAG_AC

        LINE "syscall and sysret"
        CHECK "syscall: CS, SS, RSP, RFLAGS"
        USER
        push FLAG_DF + FLAG_CF + 2
        popfq
        syscall
.next:  END_CHECK [seen], [seen + 8], [seen + 16], [seen + 24]
        CHECK "and RCX, R11"
        mov rax, [seen + 32]
        sub rax, main.next
        END_CHECK rax, [seen + 40]
        CHECK "syscall sets all of RCX and R11"
        USER
        mov rcx, -1
        mov r11, -1
        syscall
.next2: mov rax, [seen + 32]
        sub rax, main.next2
        END_CHECK rax, [seen + 40]
        CHECK "sysret to 64-bit code: CS, SS, RSP, RFLAGS"
        mov ecx, .in_64
        mov r11, FLAG_RF + FLAG_DF + FLAG_CF + IOPL3 + 2
        o64 sysret
.in_64: mov eax, cs
        mov ebx, ss
        mov rdx, rsp
        mov esp, USER_STACK
        FLAGS_TO rsi
        int DONE
        END_CHECK rax, rbx, rdx, rsi
        CHECK "sysret with reserved flags"
        mov ecx, .in_64b
        mov r11, 0xffffffffffc08028 + 2
        o64 sysret
.in_64b:
        mov esp, USER_STACK
        FLAGS_TO rsi
        int DONE
        END_CHECK rsi
        CHECK "sysret to 32-bit code"
        mov rcx, .in_32 + 0x1234567800000000
        mov r11d, FLAG_DF + 2
        sysret
        bits 32
.in_32: mov eax, cs
        mov ebx, ss
        inc eax                     ; which 64-bit code has as a prefix
        int DONE
        bits 64
        END_CHECK rax, rbx
        CHECK "sysret in ring 3"
        USER
        o64 sysret
        END_CHECK
        CHECK "syscall in ring 0"
        syscall
        END_CHECK [seen], [seen + 8], [seen + 16]
        mov ecx, EFER
        rdmsr
        and eax, ~EFER_SCE
        wrmsr
        CHECK "syscall without EFER.SCE"
        USER
        syscall
        END_CHECK
        CHECK "sysret without EFER.SCE"
        o64 sysret
        END_CHECK
        CHECK "sysret without EFER.SCE in ring 3"
        USER
        o64 sysret
        END_CHECK

        LINE "FS and GS"
        mov dword [0x5000], 0x11111111
        mov dword [0x5100], 0x22222222
        mov dword [0x5200], 0x33333333
        SET_MSR FS_BASE, 0x5000
        SET_MSR GS_BASE, 0x5100
        SET_MSR KERNEL_GS_BASE, 0x5200
        CHECK "their bases"
        mov eax, [fs:0]
        mov ebx, [gs:0]
        END_CHECK rax, rbx
        CHECK "swapgs"
        swapgs
        mov ebx, [gs:0]
        GET_MSR GS_BASE
        mov rsi, rax
        GET_MSR KERNEL_GS_BASE
        swapgs
        END_CHECK rbx, rsi, rax
        CHECK "swapgs in ring 3"
        USER
        swapgs
        END_CHECK
        CHECK "swapgs in 32-bit code"
        USER32
        db 0x0f, 0x01, 0xf8
        END_USER32
        END_CHECK
        CHECK "bases of 64 bits"
        mov ecx, FS_BASE
        mov eax, 0x00005000
        mov edx, 0xffff8000
        wrmsr
        mov rbx, 0x0000800000000000
        mov ebx, [fs:rbx]
        GET_MSR FS_BASE
        END_CHECK rbx, rax
        CHECK "are of 32 bits in 32-bit code"
        mov eax, DATA3
        mov fs, eax
        mov ecx, FS_BASE
        mov eax, 0x00005000
        mov edx, 0xffff8000
        wrmsr
        mov ecx, CODE3_32
        call to_user_code
        bits 32
        mov eax, [fs:0]
        int DONE
        bits 64
        END_CHECK rax
        CHECK "loads of FS and GS take the descriptor's base"
        mov eax, BASED
        mov fs, eax
        mov gs, eax
        mov ebx, [fs:0x20]
        GET_MSR FS_BASE
        mov rsi, rax
        GET_MSR GS_BASE
        END_CHECK rbx, rsi, rax
        CHECK "their limits don't count"
        mov eax, BASED
        mov fs, eax
        mov eax, [fs:0x120]
        END_CHECK rax
        CHECK "but in 32-bit code they do"
        USER32
        mov eax, BASED
        mov fs, eax
        mov eax, [fs:0x20]
        mov eax, [fs:0x120]
        END_USER32
        END_CHECK rax
        CHECK "DS, ES and SS have no base"
        mov eax, BASED
        mov ds, eax
        mov eax, [0x5000]
        mov ecx, DATA
        mov ds, ecx
        END_CHECK rax
        CHECK "a load that fails leaves the base"
        SET_MSR GS_BASE, 0x5100
        mov eax, TASK
        HERE
        mov gs, eax
        AFTER
        mov ebx, [gs:0]
        END_CHECK rbx
        POWER_OFF

; SYSCALL's target: records what it finds, and returns, to ring 0 by a jump.
entry:  mov [seen + 16], rsp
        mov [seen + 32], rcx
        mov [seen + 40], r11
        mov esp, RING0_STACK
        FLAGS_TO qword [seen + 24]
        mov rsp, [seen + 16]
        mov [seen], cs
        mov [seen + 8], ss
        cmp esp, KERNEL_STACK
        jbe .ring0
        o64 sysret
.ring0: jmp rcx

        GDT_START
BASED           equ $ - gdt + 3
        DESCRIPTOR 0x50e0, 0xff, 0xf3, 0x4
        GDT_END

[section .data]
        align 8, db 0
seen:           times 6 dq 0
