; Segment registers and descriptors in protected mode: what may be loaded, what accesses a segment allows, and what
; instructions tell about selectors. SDM volume 3A, 3.4, 5.3 to 5.7; volume 2: MOV, LAR, LSL, VERR, ARPL, LLDT, LTR.

%include "protected.inc"

        PROTECTED_START

LDT             equ 0x1600

; Loads a segment register with a selector.
%macro LOAD 3                       ; register, selector, name
        CHECK {"load ", %3}
        mov ax, %2
        mov %1, ax
        END_CHECK
%endmacro

; The same in ring 3.
%macro LOAD_USER 3
        CHECK {"load in ring 3 ", %3}
        USER
        mov ax, %2
        mov %1, ax
        END_CHECK
%endmacro

; An access through FS, which gets the selector.
%macro ACCESS 4                     ; selector, name, operands of mov
        CHECK {"access ", %2}
        mov bx, %1
        mov fs, bx
        HERE
        mov %3, %4
        END_CHECK
%endmacro

; What LAR, LSL, VERR and VERW say of a selector: bits 3-0 tell which of them set ZF, in this order.
%macro QUERY 2                      ; selector, name
        CHECK {"query ", %2}
        QUERY_ONLY %1
        END_CHECK edi, ebx, ecx
%endmacro
%macro QUERY_USER 2
        CHECK {"query in ring 3 ", %2}
        USER
        QUERY_ONLY %1
        END_CHECK edi, ebx, ecx
%endmacro
%macro QUERY_ONLY 1
        xor edi, edi
        mov eax, %1
        mov ebx, 0x11111111
        mov ecx, 0x22222222
        lar ebx, eax
        call gather
        lsl ecx, eax
        call gather
        verr ax
        call gather
        verw ax
        call gather
        and ebx, ~0xf0000           ; bits that LAR leaves undefined
%endmacro

main:
        mov dword [LDT], 0x4000ffff         ; a data segment at 0x4000 in three places, the last not present
        mov dword [LDT + 4], 0x00409300
        mov dword [LDT + 8], 0x4000ffff
        mov dword [LDT + 12], 0x00409300
        mov dword [LDT + 16], 0x4000ffff
        mov dword [LDT + 20], 0x00401300
        LINE "loads"
        LOAD ds, 0, "ds null"
        LOAD ds, 3, "ds null with RPL 3"
        LOAD ss, 0, "ss null"
        LOAD ds, DATA, "ds data"
        LOAD ds, DATA + 3, "ds data of ring 0 with RPL 3"
        LOAD ds, DATA3, "ds data of ring 3 with RPL 3"
        LOAD ds, CODE, "ds readable code"
        LOAD ds, EXECUTE_ONLY, "ds code that can't be read"
        LOAD ds, CONFORMING + 3, "ds conforming code with RPL 3"
        LOAD ds, TASK, "ds a TSS"
        LOAD ds, CALL_GATE, "ds a call gate"
        LOAD ds, ABSENT, "ds not present"
        LOAD ds, ABSENT_CODE, "ds code that can't be read, not present"
        LOAD ds, (GDT_LIMIT + 1), "ds beyond the GDT"
        LOAD ds, 0xfffb, "ds far beyond the GDT"
        LOAD ds, 0x0c, "ds of the LDT, where there is none"
        LOAD es, ABSENT, "es not present"
        LOAD fs, TASK, "fs a TSS"
        LOAD gs, EXECUTE_ONLY, "gs code that can't be read"
        LOAD ss, ABSENT, "ss not present"
        LOAD ss, READ_ONLY, "ss that can't be written"
        LOAD ss, CODE, "ss code"
        LOAD ss, TASK, "ss a TSS"
        LOAD ss, DATA + 3, "ss with RPL 3"
        LOAD ss, DATA3, "ss of ring 3 with RPL 3"
        LOAD ss, DATA3 - 3, "ss of ring 3 with RPL 0"
        LOAD ss, (GDT_LIMIT + 1), "ss beyond the GDT"
        LOAD_USER ds, DATA3 - 3, "ds of ring 3 with RPL 0"
        LOAD_USER ds, DATA, "ds of ring 0"
        LOAD_USER ds, CODE, "ds code of ring 0"
        LOAD_USER ds, CONFORMING, "ds conforming code of ring 0"
        LOAD_USER ds, ABSENT_USER, "ds not present"
        LOAD_USER ds, ABSENT, "ds of ring 0, not present"
        LOAD_USER ss, DATA, "ss of ring 0"
        LOAD_USER ss, DATA + 3, "ss of ring 0 with RPL 3"
        LOAD_USER ss, DATA3 - 3, "ss of ring 3 with RPL 0"
        LOAD_USER ss, ABSENT_USER + 3, "ss not present"
        LOAD_USER ss, 3, "ss null"

        CHECK "load cs"
        mov ax, CODE
        db 0x8e, 0xc8               ; mov cs, ax
        END_CHECK
        CHECK "load register 6"
        db 0x8e, 0xf0
        END_CHECK
        CHECK "store register 7"
        db 0x8c, 0xf8
        END_CHECK

        CHECK "pop ds of a bad selector leaves ESP and DS"
        push dword TASK
        HERE
        pop ds
        END_CHECK dword [last_frame], dword [last_ds]
        CHECK "les of a bad selector leaves EDI and ES"
        mov edi, 0x12345678
        HERE
        les edi, [bad_pointer]
        END_CHECK edi, dword [last_es]
        CHECK "lss of a selector that is not present"
        HERE
        lss esp, [absent_pointer]
        END_CHECK dword [last_frame]
        CHECK "lfs"
        lfs eax, [good_pointer]
        mov bx, fs
        movzx ebx, bx
        END_CHECK eax, ebx
        CHECK "lds of null"
        lds eax, [null_pointer]
        mov ax, ds
        END_CHECK eax
        CHECK "the accessed bit"
        mov eax, [gdt + FRESH + 4]
        mov bx, FRESH
        mov fs, bx
        mov ecx, [gdt + FRESH + 4]
        END_CHECK eax, ecx
        CHECK "the accessed bit is not set by lar and verr"
        mov bx, FRESH_TOO
        lar eax, ebx
        verr bx
        mov ecx, [gdt + FRESH_TOO + 4]
        and eax, ~0xf0000           ; bits that LAR leaves undefined
        END_CHECK eax, ecx

        LINE "accesses"
        ACCESS 0, "through null", al, [fs:0]
        ACCESS 0, "through null, to write", [fs:0], al
        ACCESS READ_ONLY, "to read what is read-only", al, [fs:0x5000]
        ACCESS READ_ONLY, "to write what is read-only", [fs:0x5000], al
        ACCESS CODE, "to read code", al, [fs:0x5000]
        ACCESS CODE, "to write code", [fs:0x5000], al
        ACCESS SMALL, "to the last byte", al, [fs:0xfff]
        ACCESS SMALL, "beyond the last byte", al, [fs:0x1000]
        ACCESS SMALL, "to the last double word", eax, [fs:0xffc]
        ACCESS SMALL, "across the end", eax, [fs:0xffd]
        ACCESS SMALL, "across the end, to write", [fs:0xffd], eax
        ACCESS SMALL, "below 0", eax, [fs:-4]
        ACCESS SMALL, "across 0", eax, [fs:-1]
        ACCESS PAGES, "to the last byte of limit in pages", al, [fs:0x2fff]
        ACCESS PAGES, "beyond the last byte of limit in pages", al, [fs:0x3000]
        ACCESS FLAT, "across 4 GiB", eax, [fs:0xfffffffd]
        ACCESS DOWN, "below what expands down", al, [fs:0xfff]
        ACCESS DOWN, "to the first byte of what expands down", al, [fs:0x1000]
        ACCESS DOWN, "across the beginning of what expands down", eax, [fs:0xfff]
        ACCESS DOWN, "to the last of what expands down", eax, [fs:0xfffffffc]
        ACCESS DOWN, "across the end of what expands down", eax, [fs:0xfffffffd]
        ACCESS DOWN16, "below what expands down, 16-bit", al, [fs:0xfff]
        ACCESS DOWN16, "to the last of what expands down, 16-bit", ax, [fs:0xfffe]
        ACCESS DOWN16, "across the end of what expands down, 16-bit", eax, [fs:0xfffe]
        ACCESS DOWN16, "beyond what expands down, 16-bit", al, [fs:0x10000]
        ACCESS DOWN_NONE, "to what expands down from the top", al, [fs:0xffffffff]
        CHECK "access through cs, to write"
        mov [cs:0x5000], al
        END_CHECK
        CHECK "access to code that can't be read"
        call EXECUTE_ONLY:.read_code
        jmp .code_read
.read_code:
        HERE
        mov al, [cs:0x1000]
        retf
.code_read:
        END_CHECK
        CHECK "access beyond the stack segment"
        USER
        mov ax, SMALL_STACK
        mov ss, ax
        mov ebp, 0xffd
        HERE
        mov eax, [ebp]
        END_CHECK
        CHECK "access by ss: prefix beyond the stack segment"
        USER
        mov ax, SMALL_STACK
        mov ss, ax
        HERE
        mov al, [ss:0x1000]
        END_CHECK
        CHECK "access by ds: prefix with ebp"
        USER
        mov ax, SMALL_STACK
        xor ebp, ebp
        HERE
        mov ds, ax
        mov al, [ds:ebp + 0x1000]
        END_CHECK
        CHECK "push below 0 leaves ESP"
        USER
        mov ax, SMALL_STACK
        mov ss, ax
        mov esp, 2
        HERE
        push eax
        END_CHECK dword [last_sp]
        CHECK "pop beyond the limit leaves ESP"
        USER
        mov ax, SMALL_STACK
        mov ss, ax
        mov esp, 0xffe
        HERE
        pop eax
        END_CHECK dword [last_sp]
        CHECK "call with no room for the return address"
        USER
        mov ax, SMALL_STACK
        mov ss, ax
        mov esp, 2
        HERE
        call reached
        END_CHECK dword [last_sp]
        CHECK "enter beyond the stack"
        USER
        mov ax, SMALL_STACK
        mov ss, ax
        mov esp, 0x100
        mov ebp, 0x33333333
        HERE
        enter 0x200, 0
        END_CHECK dword [last_sp], ebp
        CHECK "a 16-bit stack keeps ESP's upper half"
        USER
        mov ax, STACK16
        mov ss, ax
        mov esp, 0x12340000
        push eax
        mov eax, esp
        END_CHECK eax
        mov dword [0x1fffc], 0xb8909090     ; three nops and the first byte of mov eax, imm32
        mov dword [0x20000], (0xcd + (DONE << 8)) * 0x10001
        mov word [0x20004], 0xcd + (DONE << 8)
        CHECK "jmp beyond the code segment"
        jmp SMALL_CODE:.in_small_code
.in_small_code:
        mov eax, 0x20000
        HERE
        jmp eax
        END_CHECK
        CHECK "call beyond the code segment pushes nothing"
        jmp SMALL_CODE:.in_small_code2
.in_small_code2:
        mov eax, 0x20000
        HERE
        call eax
        END_CHECK dword [last_frame]
        CHECK "ret beyond the code segment leaves ESP"
        jmp SMALL_CODE:.in_small_code3
.in_small_code3:
        push dword 0x20000
        HERE
        ret
        END_CHECK dword [last_frame]
        CHECK "code that runs across its segment's end"
        mov dword [check_start], 0x1fffe
        mov byte [0x1ffff], 0x90
        jmp SMALL_CODE:0x1fffe
        END_CHECK
        CHECK "an instruction across its segment's end"
        mov byte [0x1ffff], 0xb8
        mov dword [check_start], 0x1fffc
        jmp SMALL_CODE:0x1fffc
        END_CHECK

        LINE "queries: ZF of LAR LSL VERR VERW; rights; limit"
        QUERY 0, "null"
        QUERY CODE, "code"
        QUERY CONFORMING + 3, "conforming code with RPL 3"
        QUERY EXECUTE_ONLY, "code that can't be read"
        QUERY DATA, "data"
        QUERY DATA + 3, "data of ring 0 with RPL 3"
        QUERY DATA3, "data of ring 3"
        QUERY READ_ONLY, "read-only data"
        QUERY SMALL, "a small segment"
        QUERY PAGES, "a limit in pages"
        QUERY DOWN, "what expands down"
        QUERY ABSENT, "not present"
        QUERY TASK, "a busy TSS"
        QUERY TASK_FREE, "an available TSS"
        QUERY TASK16, "an available 16-bit TSS"
        QUERY LOCAL, "an LDT"
        QUERY CALL_GATE, "a call gate"
        QUERY TASK_GATE, "a task gate"
        QUERY INTERRUPT_GATE, "an interrupt gate"
        QUERY RESERVED, "a reserved type"
        QUERY (GDT_LIMIT + 1), "beyond the GDT"
        QUERY 0x0c, "the LDT, where there is none"
        QUERY_USER DATA, "data of ring 0"
        QUERY_USER CODE, "code of ring 0"
        QUERY_USER CONFORMING, "conforming code of ring 0"
        QUERY_USER DATA3, "data of ring 3"
        QUERY_USER TASK, "a TSS"
        QUERY_USER CALL_GATE, "a call gate"

        LINE "other instructions with selectors"
        CHECK "arpl raises"
        mov eax, 0xabcd0010
        mov ebx, 0x0003
        arpl ax, bx
        setz cl
        movzx ecx, cl
        END_CHECK eax, ecx
        CHECK "arpl does not lower"
        mov eax, 0xabcd0013
        mov ebx, 0x0001
        arpl ax, bx
        setz cl
        movzx ecx, cl
        END_CHECK eax, ecx
        CHECK "sgdt and sidt"
        mov dword [store], 0x55555555
        mov dword [store + 4], 0x55555555
        mov dword [store + 8], 0x55555555
        sgdt [store]
        mov eax, [store + 2]
        sub eax, gdt
        movzx ebx, word [store]
        sub ebx, GDT_LIMIT
        movzx ecx, word [store + 6]
        sidt [store]
        mov edx, [store + 2]
        movzx esi, word [store]
        END_CHECK eax, ebx, ecx, edx, esi
        CHECK "sldt and str"
        mov eax, -1
        sldt eax
        mov ebx, -1
        str ebx
        mov dword [store], -1
        str [store]
        mov ecx, -1
        sldt cx
        END_CHECK eax, ebx, dword [store], ecx
        CHECK "str, sldt and smsw in ring 3"
        USER
        xor eax, eax
        str ax
        mov ebx, -1
        sldt ebx
        xor ecx, ecx
        smsw cx
        and ecx, 15                 ; PE, MP, EM, TS
        END_CHECK eax, ebx, ecx
        CHECK "lmsw sets MP, EM and TS"
        mov ax, 0x000f
        lmsw ax
        smsw eax
        and eax, 15
        END_CHECK eax
        CHECK "lmsw does not clear PE"
        xor eax, eax
        lmsw ax
        smsw eax
        and eax, 15
        END_CHECK eax
        CHECK "clts clears TS alone"
        mov ax, 0x000b
        lmsw ax
        clts
        smsw eax
        and eax, 15
        xor ebx, ebx
        lmsw bx
        END_CHECK eax
        CHECK "lmsw in ring 3"
        USER
        lmsw ax
        END_CHECK
        CHECK "clts in ring 3"
        USER
        clts
        END_CHECK
        CHECK "lgdt in ring 3"
        USER
        lgdt [gdt_register]
        END_CHECK
        CHECK "lgdt of a register"
        db 0x0f, 0x01, 0xd2         ; lgdt edx: some of these encodings mean something else, this one nothing
        END_CHECK
        CHECK "lldt in ring 3"
        USER
        xor eax, eax
        lldt ax
        END_CHECK
        CHECK "ltr in ring 3"
        USER
        mov ax, TASK_FREE
        ltr ax
        END_CHECK
        CHECK "lldt of data"
        mov ax, DATA
        lldt ax
        END_CHECK
        CHECK "lldt of what is not present"
        mov ax, LOCAL_ABSENT
        lldt ax
        END_CHECK
        CHECK "lldt of a selector of the LDT"
        mov ax, LOCAL + 4
        lldt ax
        END_CHECK
        CHECK "lldt beyond the GDT"
        mov ax, GDT_LIMIT + 1
        lldt ax
        END_CHECK
        CHECK "lldt"
        mov ax, LOCAL
        lldt ax
        xor eax, eax
        sldt ax
        mov ebx, [gdt + LOCAL + 4]
        END_CHECK eax, ebx
        mov dword [0x4000], 0x600dda7a
        CHECK "load of a selector of the LDT"
        mov ax, 0x0c
        mov fs, ax
        mov eax, [fs:0]
        END_CHECK eax
        CHECK "load of what the LDT has not present"
        mov ax, 0x14
        mov fs, ax
        END_CHECK
        CHECK "load beyond the LDT"
        mov ax, 0x1c
        mov fs, ax
        END_CHECK
        CHECK "load of the LDT's first descriptor"
        mov ax, 0x04
        mov fs, ax
        mov eax, [fs:0]
        END_CHECK eax
        CHECK "lldt of null"
        xor eax, eax
        lldt ax
        mov ax, 0x0c
        HERE
        mov fs, ax
        END_CHECK
        CHECK "ltr of null"
        xor eax, eax
        ltr ax
        END_CHECK
        CHECK "ltr of data"
        mov ax, DATA
        ltr ax
        END_CHECK
        CHECK "ltr of an LDT"
        mov ax, LOCAL
        ltr ax
        END_CHECK
        CHECK "ltr of what is not present"
        mov ax, TASK_ABSENT
        ltr ax
        END_CHECK
        CHECK "ltr of a busy TSS"
        mov ax, TASK
        ltr ax
        END_CHECK
        CHECK "ltr makes a TSS busy"
        mov ax, TASK_FREE
        ltr ax
        xor ebx, ebx
        str bx
        movzx eax, byte [gdt + TASK_FREE + 5]
        END_CHECK eax, ebx
        POWER_OFF

; Where nothing should come.
reached:
        int DONE

; Shifts ZF into edi.
gather: setz dl
        movzx edx, dl
        add edi, edi
        or edi, edx
        ret

        GDT_START
EXECUTE_ONLY    equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x99, 0xc
CONFORMING      equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x9f, 0xc
READ_ONLY       equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x91, 0xc
ABSENT          equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x13, 0xc
ABSENT_CODE     equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x19, 0xc
ABSENT_USER     equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x73, 0xc
FRESH           equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x92, 0xc
FRESH_TOO       equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x92, 0xc
SMALL           equ $ - gdt
        DESCRIPTOR 0x4000, 0x00fff, 0x93, 0x4
PAGES           equ $ - gdt
        DESCRIPTOR 0x4000, 0x00002, 0x93, 0xc
FLAT            equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x93, 0xc
DOWN            equ $ - gdt
        DESCRIPTOR 0, 0x00fff, 0x97, 0x4
DOWN16          equ $ - gdt
        DESCRIPTOR 0, 0x00fff, 0x97, 0x0
DOWN_NONE       equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x97, 0xc
SMALL_STACK     equ $ - gdt + 3
        DESCRIPTOR 0x4000, 0x00fff, 0xf3, 0x4
STACK16         equ $ - gdt + 3
        DESCRIPTOR 0x10000, 0x0ffff, 0xf3, 0x0
SMALL_CODE      equ $ - gdt
        DESCRIPTOR 0, 0x1ffff, 0x9b, 0x4
CALL_GATE       equ $ - gdt
        dw LOW16(main), CODE, 0xec00, HIGH16(main)
TASK_GATE       equ $ - gdt
        dw 0, TASK, 0xe500, 0
INTERRUPT_GATE  equ $ - gdt
        dw LOW16(main), CODE, 0xee00, HIGH16(main)
RESERVED        equ $ - gdt
        DESCRIPTOR 0, 0xfffff, 0x8d, 0x0
TASK_FREE       equ $ - gdt
        DESCRIPTOR TSS, TSS_LIMIT, 0x89, 0x0
TASK16          equ $ - gdt
        DESCRIPTOR TSS, TSS_LIMIT, 0x81, 0x0
TASK_ABSENT     equ $ - gdt
        DESCRIPTOR TSS, TSS_LIMIT, 0x09, 0x0
LOCAL           equ $ - gdt
        DESCRIPTOR LDT, 0x17, 0x82, 0x0
LOCAL_ABSENT    equ $ - gdt
        DESCRIPTOR LDT, 0x17, 0x02, 0x0
        GDT_END

[section .data]
bad_pointer:    dd 0x87654321
                dw TASK
absent_pointer: dd 0x87654321
                dw ABSENT
good_pointer:   dd 0x87654321
                dw DATA
null_pointer:   dd 0x87654321
                dw 0
store:          times 3 dd 0
