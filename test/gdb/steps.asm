; Instructions to be stepped through, under the host's own gdb as a program of the host's and under gdb in a
; guest: both must agree in every register after every step. An ELF file by itself, at the same addresses in
; both. With -DGUEST its entry first does what the host's kernel has done for a program; with -DWIDE it is
; 64-bit code, else 32-bit; with -DINTEGER it leaves out x87, SSE and repeated string instructions, which not
; every KVM can step. Only instructions whose flags are all defined, but for AF, which is not compared.

BASE    equ 0x400000
%ifdef WIDE
        bits 64
%define A rax
WORD_BYTES equ 8
%define B rbx
%define C rcx
%define D rdx
%define SI rsi
%define DI rdi
%define BP rbp
%define SP rsp
%else
        bits 32
%define A eax
WORD_BYTES equ 4
%define B ebx
%define C ecx
%define D edx
%define SI esi
%define DI edi
%define BP ebp
%define SP esp
%endif
        org BASE

file:
        db 0x7f, "ELF"
%ifdef WIDE
        db 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
        dw 2, 62
        dd 1
        dq entry, headers - BASE, 0
        dd 0
        dw 64, 56, 1, 0, 0, 0
headers:
        dd 1, 7
        dq 0, BASE, BASE, end - BASE, 0x10000, 0x1000
%else
        db 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
        dw 2, 3
        dd 1, entry, headers - BASE, 0, 0
        dw 52, 32, 1, 0, 0, 0
headers:
        dd 1, 0, BASE, BASE, end - BASE, 0x10000, 7, 0x1000
        align 4
        dd 0x1badb002, 0, -0x1badb002     ; Multiboot 1
%endif

        align 16
        db "LABELS: "
        dd begin, routine, store, target + 8, source, finish

begin:
        mov SP, BASE + 0xf000
        xor BP, BP
        mov A, 0x12345678
        mov B, -2
        mov C, 5
        mov D, 0x0fedcba9
        mov SI, source
        mov DI, target
%ifdef WIDE
        mov r8, 0x123456789abcdef0
        mov r9, -1
        xor r10, r10
        mov r11, r8
        mov r12d, 0x80000000
        xor r13, r13
        xor r14, r14
        xor r15, r15
%endif
        push A
        push 0
        popf
steps:
        add A, B
        adc D, A
        sbb B, 7
        sub A, D
        rol A, 1
        rcr B, 1
        shl D, 1
        sar B, 1
        neg A
        not D
        cmp A, D
        setg cl
        cmovl B, A
        push A
        pop BP
        xchg B, D
        bswap eax
        movsx ebx, al
        movzx edx, bh
        cmp A, D
        jz steps
        call routine
        lea DI, [B + C * 4 + 17]
store:  mov [target + 8], A
        xadd [target + 8], D
        cmc
        stc
        lahf
        std
        cld
        inc dl
        dec D
        cbw
        cwde
        pushf
        add SP, WORD_BYTES
        mov DI, target
        lodsb
        stosb
        scasb
        cmpsb
%ifdef WIDE
        movsxd r13, r12d
        mov r14b, 0x7f
        inc r14b
        mov r15, 0xffffffff80000000
        add r15d, r15d
        cdqe
        cqo
%endif
        mov C, 3
        loop $
%ifndef INTEGER
        mov SI, source
        mov C, 3
        rep movsb
        mov C, 5
        repne scasb
        cmp A, A
%endif
%ifndef INTEGER
        fld1
        fldpi
        fadd st1, st0
        fsqrt
        fld qword [number]
        fmulp
        fistp dword [target + 16]
        movaps xmm0, [vector]
        movups xmm1, [vector + 8]
        addps xmm0, xmm1
        mulpd xmm1, xmm0
        pshufd xmm2, xmm0, 0x1b
        cvtsi2sd xmm3, eax
        sqrtsd xmm4, xmm3
        ucomisd xmm3, xmm4
        paddd xmm2, xmm0
        pxor xmm5, xmm2
%endif
finish:
        jmp finish

routine:
        enter 16, 0
        mov [SP], A
        leave
        ret

        align 16
vector: dd 1.5, 2.25, -3.0, 1.0e10, 7.0, -0.5, 3.0, 9.0
number: dq 2.718281828
source: db "abc"
target: times 32 db 0
%ifdef GUEST
entry:
%ifndef INTEGER
        mov A, cr0
        and A, ~0xc                       ; EM, TS
        or A, 0x22                        ; MP, NE
        mov cr0, A
        mov A, cr4
        or A, 0x600                       ; OSFXSR, OSXMMEXCPT
        mov cr4, A
        fninit
%endif
        xor A, A
        xor B, B
        xor C, C
        xor D, D
        xor SI, SI
        xor DI, DI
        mov SP, BASE + 0xf000
        push 0
        popf
        jmp begin
%else
entry   equ begin
%endif
end:
