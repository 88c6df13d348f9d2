; Debug exceptions: single steps, breakpoints of the debug registers, and those registers themselves. SDM volume 3B,
; chapter 18 (17 of older editions).

%include "long.inc"

SAME            equ 0x41
WATCHED         equ 0x5000          ; what breakpoints watch
PORT            equ 0x80            ; and where nothing but the diagnostic port is
CR4_DE          equ 1 << 3

DR6_NONE        equ 0xffff0ff0      ; DR6 without any reason
; DR7: breakpoint 0 to 3 for all tasks, and what it waits for.
%define GLOBAL(n)      (2 << ((n) * 2))
%define LOCAL(n)       (1 << ((n) * 2))
%define ON_WRITE(n)    (1 << (16 + (n) * 4))
%define ON_ACCESS(n)   (3 << (16 + (n) * 4))
%define ON_PORT(n)      (2 << (16 + (n) * 4))
%define LENGTH2(n)     (1 << (18 + (n) * 4))
%define LENGTH4(n)     (3 << (18 + (n) * 4))
%define LENGTH8(n)     (2 << (18 + (n) * 4))
DR7_GD          equ 1 << 13

        LONG_START

; Begins a check in which DR6 has no reason yet, without breakpoints.
%macro DEBUG_CHECK 1
        CHECK {%1}
        xor eax, eax
        mov dr7, rax
        mov eax, DR6_NONE
        mov dr6, rax
%endmacro
; Ends it, and tells DR6.
%macro END_DEBUG 0
        AFTER
        mov rsi, dr6
        xor edi, edi
        mov dr7, rdi
        END_CHECK rsi
%endmacro
; And EFLAGS as pushed, but for RF.
%macro END_TRACE 0
        AFTER
        mov rsi, dr6
        and dword [last_flags], ~FLAG_RF
        END_CHECK rsi, [last_flags]
%endmacro

; Instructions after the next one are each followed by #DB.
%macro TRACE 0
        mov dword [check_start], %%traced
        push FLAG_TF + 2
        popfq
%%traced:
%endmacro

; A breakpoint: number, linear address, what for.
%macro BREAKPOINT 3
        mov eax, %2
        mov dr%1, rax
        mov eax, GLOBAL(%1) + (%3)
        mov dr7, rax
%endmacro

main:
        LINE "single steps"
        DEBUG_CHECK "an instruction"
        TRACE
        nop
        nop
        END_TRACE
        DEBUG_CHECK "a jump"
        TRACE
        jmp .jumped
        nop
.jumped:
        nop
        END_TRACE
        DEBUG_CHECK "mov ss, and the instruction after it"
        mov ecx, DATA
        TRACE
        mov ss, ecx
        nop
        nop
        END_TRACE
        DEBUG_CHECK "an instruction that faults"
        TRACE
        ud2
        END_TRACE
        DEBUG_CHECK "int"
        TRACE
        int SAME
        END_TRACE
        DEBUG_CHECK "int3"
        TRACE
        int3
        END_TRACE
        DEBUG_CHECK "popf that clears TF"
        push 2
        TRACE
        popfq
        nop
        END_TRACE
        DEBUG_CHECK "pushf"
        TRACE
        pushfq
        AFTER
        mov rax, [KERNEL_STACK - 8]
        mov rsi, dr6
        END_CHECK rsi, rax
        DEBUG_CHECK "an element of rep stosb"
        mov edi, WATCHED
        mov ecx, 3
        TRACE
        rep stosb
        AFTER
        mov rsi, dr6
        END_CHECK rsi, rcx, rdi
        DEBUG_CHECK "the last element of rep stosb"
        mov edi, WATCHED
        mov ecx, 1
        TRACE
        rep stosb
        AFTER
        mov rsi, dr6
        END_CHECK rsi, rcx, rdi
        DEBUG_CHECK "out"
        TRACE
        out 0x80, al
        nop
        END_TRACE
        DEBUG_CHECK "cpuid"
        TRACE
        cpuid
        nop
        END_TRACE
        DEBUG_CHECK "rdmsr"
        mov ecx, EFER
        TRACE
        rdmsr
        nop
        END_TRACE
        DEBUG_CHECK "iretq that sets TF traces what comes there"
        push DATA3
        push USER_STACK
        push FLAG_TF + 2
        push CODE3
        push .in_user
        mov dword [check_start], .in_user
        iretq
.in_user:
        nop
        nop
        END_TRACE
        SET_MSR 0xc0000082, entry
        mov ecx, 0xc0000081
        xor eax, eax
        mov edx, ((CODE3_32 - 3) << 16) + CODE
        wrmsr
        DEBUG_CHECK "syscall with TF kept"
        SET_MSR 0xc0000084, 0
        USER
        mov dword [check_start], entry
        push FLAG_TF + 2
        popfq
        syscall
        END_TRACE
        DEBUG_CHECK "syscall with TF masked"
        SET_MSR 0xc0000084, FLAG_TF
        USER
        push FLAG_TF + 2
        popfq
        syscall
        AFTER
        mov rsi, dr6
        END_CHECK rsi, r11
        DEBUG_CHECK "sysret that sets TF is traced itself"
        mov ecx, .returned
        mov r11d, FLAG_TF + 2
        mov dword [check_start], .returned
        o64 sysret
.returned:
        nop
        END_TRACE
        DEBUG_CHECK "int1"
        db 0xf1
        END_DEBUG

        LINE "debug registers"
        CHECK "DR6 of zeros"
        xor eax, eax
        mov dr6, rax
        mov rax, dr6
        END_CHECK rax
        CHECK "DR6 of ones"
        mov eax, -1
        mov dr6, rax
        mov rax, dr6
        END_CHECK rax
        CHECK "DR7 of zeros"
        xor eax, eax
        mov dr7, rax
        mov rax, dr7
        END_CHECK rax
        CHECK "DR7's reserved bits"
        mov eax, 0xdf00             ; LE, GE and reserved bits, but not GD
        mov dr7, rax
        mov rax, dr7
        xor ecx, ecx
        mov dr7, rcx
        END_CHECK rax
        CHECK "DR0 has 64 bits"
        mov rax, 0x1234567887654321
        mov dr0, rax
        xor eax, eax
        mov rax, dr0
        END_CHECK rax
        CHECK "DR6's upper half"
        mov rax, 1 << 32
        HERE
        mov dr6, rax
        END_CHECK
        CHECK "DR7's upper half"
        mov rax, 1 << 32
        HERE
        mov dr7, rax
        END_CHECK
        CHECK "DR4 and DR5 are DR6 and DR7"
        xor eax, eax
        db 0x0f, 0x23, 0xe0         ; mov dr4, rax
        db 0x0f, 0x21, 0xe8         ; mov rax, dr5
        mov rbx, dr6
        END_CHECK rax, rbx
        CHECK "DR4 with CR4.DE"
        mov eax, 1 << 5 | 1 << 3
        mov cr4, rax
        HERE
        db 0x0f, 0x21, 0xe0
        AFTER
        mov eax, 1 << 5
        mov cr4, rax
        END_CHECK
        CHECK "general detect"
        mov eax, DR6_NONE
        mov dr6, rax
        mov eax, DR7_GD
        mov dr7, rax
        HERE
        mov rax, dr0
        AFTER
        mov rsi, dr6
        mov rdi, dr7
        END_CHECK rsi, rdi
        CHECK "general detect in ring 3"
        mov eax, DR7_GD
        mov dr7, rax
        USER
        mov rax, dr0
        END_CHECK
        CHECK "and the next access is detected"
        mov rax, dr0
        END_CHECK

        LINE "breakpoints"
        DEBUG_CHECK "on an instruction"
        BREAKPOINT 0, .here, 0
        mov dword [check_start], .here
        nop
.here:  nop
        END_DEBUG
        DEBUG_CHECK "a local one"
        mov eax, .there
        mov dr3, rax
        mov eax, LOCAL(3)
        mov dr7, rax
        mov dword [check_start], .there
.there: nop
        END_DEBUG
        DEBUG_CHECK "one that is not enabled"
        mov eax, .quiet
        mov dr3, rax
.quiet: nop
        END_DEBUG
        DEBUG_CHECK "on an instruction in ring 3"
        BREAKPOINT 1, .in_ring_3, 0
        USER
        mov dword [check_start], .in_ring_3
.in_ring_3:
        nop
        END_DEBUG
        DEBUG_CHECK "RF lets one instruction by"
        mov ecx, 2
        BREAKPOINT 0, .loop, 0
        push DATA
        push KERNEL_STACK
        push FLAG_RF + 2
        push CODE
        push .loop
        mov dword [check_start], .loop
        iretq
.loop:  dec ecx
        jnz .loop
        AFTER
        mov rsi, dr6
        xor edi, edi
        mov dr7, rdi
        END_CHECK rsi, rcx
        DEBUG_CHECK "on a write comes after it"
        BREAKPOINT 2, WATCHED, ON_WRITE(2) + LENGTH4(2)
        HERE
        mov dword [WATCHED], 0x12345678
        nop
        AFTER
        mov rsi, dr6
        xor edi, edi
        mov dr7, rdi
        END_CHECK rsi, [WATCHED]
        DEBUG_CHECK "on a write: a read"
        BREAKPOINT 2, WATCHED, ON_WRITE(2) + LENGTH4(2)
        mov eax, [WATCHED]
        nop
        END_DEBUG
        DEBUG_CHECK "on an access: a read"
        BREAKPOINT 2, WATCHED, ON_ACCESS(2) + LENGTH4(2)
        HERE
        mov eax, [WATCHED]
        nop
        END_DEBUG
        DEBUG_CHECK "on an access: a word before and into it"
        BREAKPOINT 1, WATCHED + 2, ON_ACCESS(1) + LENGTH2(1)
        HERE
        mov ax, [WATCHED + 1]
        nop
        END_DEBUG
        DEBUG_CHECK "on an access: bytes around it"
        BREAKPOINT 1, WATCHED + 2, ON_ACCESS(1) + LENGTH2(1)
        mov al, [WATCHED + 1]
        mov al, [WATCHED + 4]
        nop
        END_DEBUG
        DEBUG_CHECK "on 8 bytes"
        BREAKPOINT 1, WATCHED + 8, ON_WRITE(1) + LENGTH8(1)
        HERE
        mov [WATCHED + 15], al
        nop
        END_DEBUG
        DEBUG_CHECK "on an element of rep stosb"
        BREAKPOINT 0, WATCHED + 2, ON_WRITE(0)
        mov edi, WATCHED
        mov ecx, 5
        HERE
        rep stosb
        AFTER
        mov rsi, dr6
        xor eax, eax
        mov dr7, rax
        END_CHECK rsi, rcx, rdi
        DEBUG_CHECK "on a push"
        BREAKPOINT 0, USER_STACK - 8, ON_WRITE(0) + LENGTH8(0)
        USER
        push rax
        nop
        END_DEBUG
        DEBUG_CHECK "on a write whose page is read-only"
        BREAKPOINT 0, WINDOW, ON_WRITE(0)
        HERE
        mov [WINDOW], al
        END_DEBUG
        DEBUG_CHECK "and a single step"
        BREAKPOINT 2, WATCHED, ON_WRITE(2) + LENGTH4(2)
        TRACE
        mov [WATCHED], eax
        nop
        END_TRACE

        LINE "breakpoints on ports"
        DEBUG_CHECK "without CR4.DE"
        BREAKPOINT 1, PORT, ON_PORT(1)
        in al, PORT
        nop
        END_DEBUG
        mov rax, cr4
        or eax, CR4_DE
        mov cr4, rax
        DEBUG_CHECK "in"
        BREAKPOINT 1, PORT, ON_PORT(1)
        HERE
        in al, PORT
        nop
        END_DEBUG
        DEBUG_CHECK "out"
        BREAKPOINT 3, PORT, ON_PORT(3)
        mov edx, PORT
        HERE
        out dx, al
        nop
        END_DEBUG
        DEBUG_CHECK "another port"
        BREAKPOINT 1, PORT, ON_PORT(1)
        in al, PORT + 1
        nop
        END_DEBUG
        DEBUG_CHECK "a word before and into two of them"
        BREAKPOINT 0, PORT + 2, ON_PORT(0) + LENGTH2(0)
        HERE
        in ax, PORT + 1
        nop
        END_DEBUG
        DEBUG_CHECK "a byte of memory"
        BREAKPOINT 0, WATCHED, ON_PORT(0)
        mov al, [WATCHED]
        nop
        END_DEBUG
        DEBUG_CHECK "an element of rep outsb"
        BREAKPOINT 2, PORT, ON_PORT(2)
        mov esi, WATCHED
        mov edx, PORT
        mov ecx, 3
        HERE
        rep outsb
        AFTER
        mov rdi, dr6
        xor eax, eax
        mov dr7, rax
        END_CHECK rdi, rcx, rsi
        POWER_OFF

; SYSCALL's target.
entry:  nop
        int DONE

        GDT_START
        GDT_END
