; As steps.asm, in 16-bit code. In a guest it is a flat binary in real mode. The host has no real mode for a
; program, but segments of 16 bits: without -DGUEST this is an ELF file that makes two of them (modify_ldt), with
; such a base that offsets are the guest's, and jumps there. With -DINTEGER it leaves out repeated string
; instructions, and x87's initialization. Only instructions whose flags are all defined, but for AF, which is not compared.

OFFSET  equ 0x7c00                  ; of the first byte of 16-bit code, in its segment
STACK   equ 0x7b00

%ifndef GUEST
BASE    equ 0x400000
PAGE    equ 0x1000
SEG_BASE equ BASE + PAGE - OFFSET
MODIFY_LDT equ 123                  ; system calls of 32-bit Linux
EXIT    equ 1
WRITE   equ 1                       ; modify_ldt: write an entry
LDT     equ 7                       ; selector bits: local table, privilege level 3
        bits 32
file:
        db 0x7f, "ELF"
        db 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
        dw 2, 3
        dd 1, BASE + host, headers, 0, 0
        dw 52, 32, 1, 0, 0, 0
headers:
        ; From the segment's base on, so that there is a stack.
        dd 1, 0, BASE, BASE, PAGE + code_end - code, 0x20000, 7, PAGE
host:
        mov ebp, BASE + entries
.next:  mov eax, MODIFY_LDT
        mov ebx, WRITE
        mov ecx, ebp
        mov edx, 16
        int 0x80
        test eax, eax
        jnz .failed
        add ebp, 16
        cmp ebp, BASE + entries_end
        jne .next
        mov eax, 8 | LDT
        mov ds, eax
        mov es, eax
        push 0
        popf
        mov ss, eax
        mov esp, STACK
        mov eax, 0
        mov ebx, 0
        mov ecx, 0
        mov edx, 0
        mov ebp, 0
        mov esi, 0
        mov edi, 0
        jmp LDT:OFFSET + begin - code
.failed:
        mov ebx, 1
        mov eax, EXIT
        int 0x80

; struct user_desc: number, base, limit, and of the flags seg_32bit = 0, contents, useable.
entries:
        dd 0, SEG_BASE, 0xffff, 2 << 1 | 1 << 6
        dd 1, SEG_BASE, 0xffff, 0 << 1 | 1 << 6
entries_end:
        ; Whoever looks for the table of labels finds it in both files.
        times PAGE - ($ - $$) db 0
%endif

        bits 16
code:
%define AT(label) (OFFSET + label - code)
%ifdef GUEST
        jmp near entry
%else
        times 3 nop                 ; in the place of that jump
%endif
        align 8
        db "LABELS: "
        dd AT(begin), AT(routine), AT(store), AT(target + 8), AT(source), AT(finish)

begin:
        mov sp, STACK
        xor bp, bp
        mov eax, 0x12345678
        mov bx, -2
        mov cx, 5
        mov edx, 0x0fedcba9
        mov si, AT(source)
        mov di, AT(target)
        push ax
        push word 0
        popf
steps:
        add ax, bx
        adc edx, eax
        sbb bx, 7
        sub eax, edx
        rol ax, 1
        rcr bx, 1
        shl edx, 1
        sar bx, 1
        neg ax
        not dx
        cmp ax, dx
        setg cl
        cmovl bx, ax
        push ax
        pop bp
        xchg bx, dx
        bswap eax
        movsx ebx, al
        movzx edx, bh
        cmp eax, edx
        jz steps
        call routine
        mov bx, AT(target)
        mov si, 3
        lea di, [bx + si + 17]
        mov ax, [bx + si]
store:  mov [AT(target + 8)], eax
        xadd [AT(target + 8)], dx
        cmc
        stc
        lahf
        std
        cld
        inc dl
        dec dx
        cbw
        cwde
        cwd
        pushf
        add sp, 2
        pusha
        popa
        mov si, AT(source)
        mov di, AT(target)
        lodsb
        stosb
        scasb
        cmpsb
        mov bx, AT(source)
        mov al, 2
        xlatb
        cs mov ah, [bx]
        a32 lea ecx, [ebx + eax * 2]
        jcxz steps
        mov cx, 3
        loop $
%ifndef INTEGER
        mov si, AT(source)
        mov cx, 3
        rep movsb
        mov cx, 5
        repne scasb
        cmp ax, ax
%endif
finish:
        jmp finish

routine:
        enter 16, 0
        mov [bp - 2], ax
        leave
        ret

source: db "abc"
target: times 32 db 0
%ifdef GUEST
entry:
%ifndef INTEGER
        fninit
%endif
        xor eax, eax
        mov ebx, eax
        mov ecx, eax
        mov edx, eax
        mov esi, eax
        mov edi, eax
        mov ebp, eax
        mov esp, STACK
        push ax
        popf
        jmp begin
%endif
code_end:
