; Paging of 32-bit protected mode, without and with PAE: page faults and their error codes, CR2, accessed and dirty
; bits, large pages, WP, NX, SMEP, and what flushes translations. SDM volume 3A, chapter 4.

%include "protected.inc"

DIRECTORY       equ 0x100000        ; page directory; with PAE the first of four pages that are one
LOW_TABLE       equ 0x104000        ; page tables: of the first 4 MiB, which are mapped to themselves for all rings
WINDOW_TABLE      equ 0x105000        ; and of the 4 MiB (with PAE 2 MiB) from WINDOW on
POINTERS        equ 0x106000        ; PDPTEs
WINDOW            equ 0x400000        ; where the checks look
FRAME           equ 0x200000        ; physical: what WINDOW's pages are mapped to, in order
LARGE           equ 0x800000        ; linear addresses of a large page
DOUBLE_TSS      equ 0x5000          ; of the task for double faults

P               equ 1               ; bits of entries
W               equ 2
U               equ 4
ACC             equ 0x20
D               equ 0x40
PS              equ 0x80
G               equ 0x100

CR4_PSE         equ 1 << 4
CR4_PAE         equ 1 << 5
CR4_PGE         equ 1 << 7
CR4_SMEP        equ 1 << 20
CR0_WP          equ 1 << 16
CR0_PG          equ 1 << 31
EFER            equ 0xc0000080
EFER_NXE        equ 1 << 11

        PROTECTED_START

; An instruction with WINDOW's first page mapped with some rights; the entry and CR2 afterwards. With PAE the entry is
; 8 bytes long, ENTRY tells.
%macro PAGE 3+                      ; name, bits of the entry, instruction
        CHECK {%1}
        mov dword [WINDOW_TABLE], FRAME + (%2)
        call fresh
        HERE
        %3
        END_PAGE
%endmacro
%macro PAGE_USER 3+
        CHECK {%1, " in ring 3"}
        mov dword [WINDOW_TABLE], FRAME + (%2)
        call fresh
        USER
        %3
        END_PAGE
%endmacro
; A call of the page: offsets are from there.
%macro PAGE_CALL 2
        CHECK {%1}
        mov dword [WINDOW_TABLE], FRAME + (%2)
        call fresh
        mov dword [check_start], WINDOW
        call WINDOW
        END_PAGE
%endmacro
%macro PAGE_CALL_USER 2
        CHECK {%1, " in ring 3"}
        mov dword [WINDOW_TABLE], FRAME + (%2)
        call fresh
        USER
        mov dword [check_start], WINDOW
        call WINDOW
        END_PAGE
%endmacro
%macro END_PAGE 0
        END_CHECK dword [WINDOW_TABLE], dword [last_cr2]
%endmacro

; An access with both pages mapped with some rights.
%macro ACROSS 4+                    ; name, bits of the first, bits of the second, instruction
        CHECK {%1}
        mov dword [WINDOW_TABLE], FRAME + (%2)
        mov dword [WINDOW_TABLE + ENTRY], FRAME + 0x1000 + (%3)
        call fresh
        HERE
        %4
        END_CHECK dword [last_cr2]
%endmacro

%macro SET_CR0 2                    ; set, clear
        mov eax, cr0
        or eax, %1
        and eax, ~(%2)
        mov cr0, eax
%endmacro
%macro SET_CR4 2
        mov eax, cr4
        or eax, %1
        and eax, ~(%2)
        mov cr4, eax
%endmacro

main:
        cld
        mov edi, FRAME              ; code that returns at once
        mov ecx, 0x4000 / 4
        mov eax, 0xc3c3c3c3
        rep stosd
        mov edi, DIRECTORY
        mov ecx, 0x8000 / 4
        xor eax, eax
        rep stosd
        mov dword [DIRECTORY], LOW_TABLE + P + W + U
        mov dword [DIRECTORY + 4], WINDOW_TABLE + P + W + U
        mov edi, LOW_TABLE
        mov eax, P + W + U
        mov ecx, 1024
.low:   stosd
        add eax, 0x1000
        loop .low
        mov eax, DIRECTORY
        mov cr3, eax
        mov edi, DOUBLE_TSS
        mov ecx, 0x68 / 4
        xor eax, eax
        rep stosd
        mov dword [DOUBLE_TSS + 28], DIRECTORY
        mov dword [DOUBLE_TSS + 36], 2
        mov dword [DOUBLE_TSS + 56], KERNEL_STACK
        mov word [DOUBLE_TSS + 72], DATA
        mov word [DOUBLE_TSS + 76], CODE
        mov word [DOUBLE_TSS + 80], DATA
        mov word [DOUBLE_TSS + 84], DATA
        mov dword [IDT + 8 * 8], DOUBLE << 16
        mov dword [IDT + 8 * 8 + 4], 0x8500
        SET_CR0 CR0_PG, CR0_WP
        LINE "without PAE"
%define ENTRY 4
        CHECK "on"
        mov eax, [DIRECTORY]
        mov ebx, [DIRECTORY + 4]
        and eax, ACC + D
        and ebx, ACC + D
        END_CHECK eax, ebx
        PAGE "read", P + W + U, mov al, [WINDOW]
        CHECK "its directory entry was accessed"
        mov eax, [DIRECTORY + 4]
        and eax, ACC + D
        END_CHECK eax
        PAGE "write", P + W + U, mov [WINDOW], al
        PAGE "write after read", P + W + U, call read_and_write
        PAGE "read of what is not present", 0, mov al, [WINDOW + 0x123]
        PAGE "write of what is not present", 0, mov [WINDOW + 0x123], al
        PAGE "read and write of what is not present", 0, inc dword [WINDOW + 0x120]
        PAGE "read of a page of ring 0", P, mov al, [WINDOW]
        PAGE "write of a read-only page", P, mov [WINDOW], al
        PAGE_CALL "call of a page", P
        PAGE_CALL "call of what is not present", 0
        PAGE_USER "read", P + U, mov al, [WINDOW]
        PAGE_USER "read of what is not present", 0, mov al, [WINDOW]
        PAGE_USER "write of what is not present", 0, mov [WINDOW], al
        PAGE_USER "read of a page of ring 0", P + W, mov al, [WINDOW]
        PAGE_USER "write of a page of ring 0", P + W, mov [WINDOW], al
        PAGE_USER "write of a read-only page", P + U, mov [WINDOW], al
        PAGE_USER "xchg with a read-only page", P + U, xchg [WINDOW], al
        PAGE_USER "cmpxchg with a read-only page", P + U, cmpxchg [WINDOW], al
        PAGE_CALL_USER "call of a page of ring 0", P + W
        PAGE_CALL_USER "call of what is not present", 0
        PAGE_CALL_USER "call of a page", P + U
        and dword [DIRECTORY + 4], ~U
        PAGE_USER "read where the directory says ring 0", P + W + U, mov al, [WINDOW]
        or dword [DIRECTORY + 4], U
        and dword [DIRECTORY + 4], ~W
        PAGE_USER "write where the directory says read-only", P + W + U, mov [WINDOW], al
        or dword [DIRECTORY + 4], W
        and dword [DIRECTORY + 4], ~P
        PAGE "read where the directory says not present", P + W + U, mov al, [WINDOW]
        or dword [DIRECTORY + 4], P
        SET_CR0 CR0_WP, 0
        PAGE "write of a read-only page with WP", P, mov [WINDOW], al
        PAGE "write of a read-only page of ring 3 with WP", P + U, mov [WINDOW], al
        SET_CR0 0, CR0_WP

        LINE "across pages"
        ACROSS "read into what is not present", P + W, 0, mov eax, [WINDOW + 0xffd]
        ACROSS "read from what is not present", 0, P + W, mov eax, [WINDOW + 0xffd]
        ACROSS "read where neither is present", 0, 0, mov eax, [WINDOW + 0xffd]
        ACROSS "write into what is not present", P + W, 0, mov [WINDOW + 0xffd], eax
        ACROSS "write from what is not present", 0, P + W, mov [WINDOW + 0xffd], eax
        CHECK "nothing of it was written"
        END_CHECK dword [FRAME + 0xffc], dword [FRAME + 0x1000]
        CHECK "call of an instruction that ends in what is not present"
        mov byte [FRAME + 0xfff], 0xb8      ; mov eax, imm32
        mov dword [WINDOW_TABLE], FRAME + P + W
        mov dword [WINDOW_TABLE + ENTRY], 0
        call fresh
        mov dword [check_start], WINDOW + 0xfff
        call WINDOW + 0xfff
        END_CHECK dword [last_cr2]
        CHECK "push to what is not present leaves ESP"
        mov dword [WINDOW_TABLE], 0
        call fresh
        USER
        mov esp, WINDOW + 0x1000
        HERE
        push eax
        END_CHECK dword [last_cr2], dword [last_sp]
        CHECK "pusha across pages leaves ESP"
        mov dword [WINDOW_TABLE + ENTRY], FRAME + 0x1000 + P + W + U
        call fresh
        USER
        mov esp, WINDOW + 0x1010
        HERE
        pushad
        AFTER
        and dword [last_cr2], ~0xfff        ; in which order it pushes is the processor's affair
        END_CHECK dword [last_cr2], dword [last_sp]
        CHECK "rep movsd into what is not present stops there"
        mov dword [WINDOW_TABLE], FRAME + P + W + U
        mov dword [WINDOW_TABLE + ENTRY], 0
        call fresh
        USER
        mov esi, FRAME
        mov edi, WINDOW + 0xff0
        mov ecx, 8
        HERE
        rep movsd
        END_CHECK dword [last_cr2], ecx, edi
        CHECK "what the processor itself reads is not ring 3's"
        mov ax, LOCAL
        lldt ax
        mov dword [WINDOW_TABLE], 0
        call fresh
        USER
        mov ax, 0x0f
        HERE
        mov fs, ax
        END_CHECK dword [last_cr2]
        CHECK "the accessed bit of a descriptor is written for ring 0"
        mov dword [FRAME + 8], 0x0000ffff
        mov dword [FRAME + 12], 0x00cff200
        mov dword [WINDOW_TABLE], FRAME + P
        call fresh
        SET_CR0 CR0_WP, 0
        USER
        mov ax, 0x0f
        HERE
        mov fs, ax
        AFTER
        and byte [last_cr2], ~7     ; which of its bytes are written is the processor's affair
        END_CHECK dword [last_cr2]
        SET_CR0 0, CR0_WP
        CHECK "an IDT that is not present"
        mov dword [WINDOW_TABLE], 0
        call fresh
        mov eax, [IDT + 14 * 8]
        mov ebx, [IDT + 14 * 8 + 4]
        mov dword [WINDOW_TABLE], FRAME + P + W + U
        call fresh
        mov [WINDOW + 0x1000 - 0x400 + 14 * 8], eax
        mov [WINDOW + 0x1000 - 0x400 + 14 * 8 + 4], ebx
        mov dword [WINDOW_TABLE + ENTRY], 0
        lidt [far_idt]              ; vectors from 0x80 on are in the second page
        HERE
        int 0x90
        END_CHECK dword [last_cr2]
        lidt [idt_register]
        CHECK "a page fault whose stack is not present is a double fault"
        mov dword [TSS + 4], WINDOW + 0x800
        mov dword [WINDOW_TABLE], 0
        mov dword [DOUBLE_TSS + 32], .double
        call fresh
        USER
        mov al, [WINDOW + 0x100]
.double:
        mov eax, [esp]
        mov ebx, cr2
        mov ecx, [TSS + 32]
        sub ecx, [check_start]
        END_CHECK eax, ebx, ecx
        mov dword [TSS + 4], RING0_STACK
        and byte [gdt + TASK + 5], ~2
        mov ax, TASK
        ltr ax

        LINE "flushes"
        CHECK "invlpg"
        call stale_page
        invlpg [WINDOW + 0x800]
        END_CHECK dword [WINDOW]
        CHECK "a load of CR3"
        call stale_page
        mov eax, cr3
        mov cr3, eax
        END_CHECK dword [WINDOW]
        SET_CR4 CR4_PGE, 0
        CHECK "invlpg of a global page"
        call stale_global_page
        invlpg [WINDOW]
        END_CHECK dword [WINDOW]
        CHECK "a change of CR4.PGE with a global page"
        call stale_global_page
        SET_CR4 0, CR4_PGE
        END_CHECK dword [WINDOW]
        CHECK "paging off and on with a global page"
        SET_CR4 CR4_PGE, 0
        call stale_global_page
        SET_CR0 0, CR0_PG
        SET_CR0 CR0_PG, 0
        END_CHECK dword [WINDOW]
        SET_CR4 0, CR4_PGE
        CHECK "a dirty bit that was cleared is set again"
        mov dword [WINDOW_TABLE], FRAME + P + W
        call fresh
        mov [WINDOW], al
        and dword [WINDOW_TABLE], ~D
        invlpg [WINDOW]
        mov [WINDOW], al
        END_CHECK dword [WINDOW_TABLE]

        LINE "4 MiB pages"
        mov dword [DIRECTORY + 8], PS + P + W + U
        CHECK "without CR4.PSE it is a table"
        mov dword [0], FRAME + P + W
        mov eax, [LARGE]
        mov ebx, [FRAME]
        sub eax, ebx
        END_CHECK eax, dword [DIRECTORY + 8]
        SET_CR4 CR4_PSE, 0
        mov dword [DIRECTORY + 8], PS + P + W + U
        CHECK "read"
        call fresh
        mov eax, [LARGE + FRAME]
        sub eax, [FRAME]
        END_CHECK eax, dword [DIRECTORY + 8]
        CHECK "write"
        mov [LARGE + 0x7000], eax
        END_CHECK dword [DIRECTORY + 8]
        CHECK "a reserved bit"
        mov dword [DIRECTORY + 8], PS + P + W + U + (1 << 21)
        call fresh
        HERE
        mov al, [LARGE + 5]
        END_CHECK dword [last_cr2], dword [DIRECTORY + 8]
        CHECK "a reserved bit, to write in ring 3"
        USER
        mov [LARGE + 5], al
        END_CHECK
        CHECK "a reserved bit in what is not present"
        mov dword [DIRECTORY + 8], PS + (1 << 21)
        call fresh
        HERE
        mov al, [LARGE + 5]
        END_CHECK
        CHECK "write of a read-only page in ring 3"
        mov dword [DIRECTORY + 8], PS + P + U
        call fresh
        USER
        mov [LARGE], al
        END_CHECK dword [DIRECTORY + 8]

        mov eax, 7                  ; SMEP is where CPUID says so
        xor ecx, ecx
        cpuid
        test bl, 1 << 7
        jz .no_smep
        LINE "SMEP"
        and dword [DIRECTORY], ~U   ; the code that runs on, in pages of ring 0
        mov eax, cr3
        mov cr3, eax
        SET_CR4 CR4_SMEP, 0
        PAGE_CALL "call of a page of ring 3", P + W + U
        PAGE "read of a page of ring 3", P + W + U, mov al, [WINDOW]
        PAGE_CALL "call of a page of ring 0", P + W
        PAGE_CALL "call of what is not present", 0
        SET_CR4 0, CR4_SMEP
.no_smep:
        LINE "PAE"
        SET_CR0 0, CR0_PG
        mov edi, DIRECTORY
        mov ecx, 0x8000 / 4
        xor eax, eax
        rep stosd
        mov dword [POINTERS], DIRECTORY + P
        mov dword [DIRECTORY], PS + P + W + U
        mov dword [DIRECTORY + 8], 0x200000 + PS + P + W + U
        mov dword [DIRECTORY + 16], WINDOW_TABLE + P + W + U
        SET_CR4 CR4_PAE, CR4_PSE
        mov eax, POINTERS
        mov cr3, eax
        mov ecx, EFER
        rdmsr
        or eax, EFER_NXE
        wrmsr
        SET_CR0 CR0_PG, 0
%define ENTRY 8
%define HIGH_OF_WINDOW WINDOW_TABLE + 4
        PAGE "read", P + W + U, mov al, [WINDOW]
        PAGE "write", P + W + U, mov [WINDOW], al
        PAGE_CALL "call", P + W + U
        PAGE_USER "write of a read-only page", P + U, mov [WINDOW], al
        PAGE "read of what is not present", 0, mov al, [WINDOW]
        PAGE_CALL "call of what is not present", 0
        PAGE_CALL_USER "call of what is not present", 0
        PAGE_CALL_USER "call of a page of ring 0", P
        CHECK "call of what is not present: where"
        END_CHECK dword [last_cs]
        mov dword [HIGH_OF_WINDOW], 0x80000000
        PAGE "read of a page with NX", P + W + U, mov al, [WINDOW]
        PAGE_CALL "call of a page with NX", P + W
        PAGE_CALL_USER "call of a page with NX", P + W + U
        mov dword [HIGH_OF_WINDOW], 0x00100000
        PAGE "bit 52", P + W + U, mov al, [WINDOW]
        PAGE_USER "bit 52, to write", P + W + U, mov [WINDOW], al
        PAGE_CALL "bit 52, to call", P + W + U
        PAGE "bit 52 in what is not present", 0, mov al, [WINDOW]
        mov dword [HIGH_OF_WINDOW], 0
        mov dword [DIRECTORY + 20], 0x80000000
        PAGE_CALL "call where the directory says NX", P + W
        mov dword [DIRECTORY + 20], 0
        CHECK "a 2 MiB page"
        mov dword [DIRECTORY + 32], PS + P + W
        call fresh
        mov al, [LARGE]
        mov eax, [DIRECTORY + 32]
        mov [LARGE + 0x7000], eax
        mov ebx, [DIRECTORY + 32]
        END_CHECK eax, ebx
        CHECK "a 2 MiB page with a reserved bit"
        mov dword [DIRECTORY + 32], PS + P + W + (1 << 13)
        call fresh
        HERE
        mov al, [LARGE]
        END_CHECK
        CHECK "a 2 MiB page with another reserved bit"
        mov dword [DIRECTORY + 32], PS + P + W + (1 << 20)
        call fresh
        HERE
        mov [LARGE], al
        END_CHECK
        CHECK "a 2 MiB page with its PAT bit"
        mov dword [DIRECTORY + 32], PS + P + W + (1 << 12)
        call fresh
        HERE
        mov al, [LARGE]
        END_CHECK
        CHECK "no directory"
        mov al, [0x40000000]
        END_CHECK dword [last_cr2]
        CHECK "no directory, to write in ring 3"
        USER
        mov [0xc0000123], al
        END_CHECK dword [last_cr2]
        mov ecx, EFER
        rdmsr
        and eax, ~EFER_NXE
        wrmsr
        mov dword [HIGH_OF_WINDOW], 0x80000000
        PAGE "NX without EFER.NXE", P + W + U, mov al, [WINDOW]
        PAGE_CALL "NX without EFER.NXE, to call", P + W + U
        mov dword [HIGH_OF_WINDOW], 0
        PAGE_CALL "call of what is not present without EFER.NXE", 0
        POWER_OFF

; Forgets WINDOW's and LARGE's translations.
fresh:  invlpg [WINDOW]
        invlpg [WINDOW + 0x1000]
        invlpg [LARGE]
        ret

read_and_write:
        mov al, [WINDOW]
        mov [WINDOW], al
        ret

; WINDOW's first page has been looked at, and is another one then.
stale_page:
        mov ecx, P + W
        jmp stale
stale_global_page:
        mov ecx, P + W + G
stale:  mov dword [FRAME], 0x11111111
        mov dword [FRAME + 0x1000], 0x22222222
        lea eax, [FRAME + ecx]
        mov [WINDOW_TABLE], eax
        invlpg [WINDOW]
        mov eax, [WINDOW]
        lea eax, [FRAME + 0x1000 + ecx]
        mov [WINDOW_TABLE], eax
        ret

        GDT_START
LOCAL           equ $ - gdt
        DESCRIPTOR WINDOW, 0xfff, 0x82, 0x0
DOUBLE          equ $ - gdt
        DESCRIPTOR DOUBLE_TSS, 0x67, 0x89, 0x0
        GDT_END

[section .data]
far_idt:        dw 256 * 8 - 1
                dd WINDOW + 0x1000 - 0x400
