/**
 * Where the processor that QEMU emulates (TCG of 7.2, under KVM on its SVM) does otherwise than the manuals say: by guest of
 * test/system, the checks that tell nothing there, and why. All other lines count.
 */

interface Difference {
  readonly reason: string;
  readonly checks: readonly string[];
}

const NO_LIMITS = 'checks neither limits of segments, nor the rights that they give';
const NO_LIMIT_OF_GATES = 'looks at no limit, of code or of stack, on the way through a gate, or back';
const NOT_EXTERNAL = 'does not set EXT in error codes of what comes up in delivering an exception';
const ABSENT_STACK = 'has other exceptions than #SS for stacks that are not present';
const INT1 = 'knows no INT1: its KVM raises #UD';
const RESERVED = 'clears P in the error code when bits of an entry are reserved';
const READS_FIRST = 'reads before it checks that it may write, and has been there then';
const NO_64_AND_32 = 'takes code segments of 64 and 32 bits for 64-bit ones';
const NOT_CANONICAL = 'finds out that an address is not canonical later than processors do, or not at all';
const DOUBLED_VECTOR = 'has 16 times the vector in error codes that tell a gate of 64-bit mode';
const NO_RF = 'pushes RF for those exceptions only that its KVM has seen, and clears it not';
const NO_RESERVED_BITS =
  'looks neither at the upper halves of CR0 and CR4, nor at reserved bits of CR8, DR6 and DR7';
const OLD_PAGE = "has the new task's EIP only in part when the switch ends in an exception";

export const OTHERWISE: Readonly<Record<string, readonly Difference[]>> = {
  segments: [
    {
      reason: NO_LIMITS,
      checks: [
        'access through null',
        'access through null, to write',
        'access to write what is read-only',
        'access to write code',
        'access beyond the last byte',
        'access across the end',
        'access across the end, to write',
        'access below 0',
        'access across 0',
        'access beyond the last byte of limit in pages',
        'access across 4 GiB',
        'access below what expands down',
        'access across the beginning of what expands down',
        'access across the end of what expands down',
        'access below what expands down, 16-bit',
        'access across the end of what expands down, 16-bit',
        'access beyond what expands down, 16-bit',
        'access through cs, to write',
        "access to code that can't be read",
        'access beyond the stack segment',
        'access by ss: prefix beyond the stack segment',
        'access by ds: prefix with ebp',
        'push below 0 leaves ESP',
        'pop beyond the limit leaves ESP',
        'call with no room for the return address',
        'enter beyond the stack',
        'jmp beyond the code segment',
        'call beyond the code segment pushes nothing',
        'ret beyond the code segment leaves ESP',
        "code that runs across its segment's end",
        "an instruction across its segment's end",
      ],
    },
    { reason: 'lets LTR load null', checks: ['ltr of null'] },
  ],
  transfers: [
    {
      reason: NO_LIMIT_OF_GATES,
      checks: [
        'call to a gate that leads beyond the limit',
        'call in ring 3 to a gate that leads beyond the limit',
        'call through a gate, no room on the stack',
        'retf beyond the limit',
        'int by a gate that leads beyond the limit',
        '#UD from ring 3, no room on the stack',
        'iret beyond the limit',
      ],
    },
    {
      reason: 'has other error codes for two faults of far transfers',
      checks: ['call beyond the limit', 'jmp to a gate that leads to code not present'],
    },
    {
      reason: ABSENT_STACK,
      checks: [
        'call through a gate, stack not present',
        'retf out, stack not present',
        '#UD from ring 3, stack not present',
        'iret out, stack not present',
      ],
    },
    {
      reason: 'sets no accessed bit of a stack that RETF leads to',
      checks: ['its stack segment was accessed'],
    },
    { reason: INT1, checks: ['int1', 'int1 in ring 3 by a gate of ring 0'] },
    {
      reason: NOT_EXTERNAL,
      checks: [
        '#UD by a gate that is not present',
        '#UD by a gate that leads to null',
        '#UD by a gate that leads to code not present',
        '#UD from ring 3, stack null',
        '#UD from ring 3, stack of another ring',
      ],
    },
    { reason: NO_RF, checks: ['int after iret with RF does not'] },
  ],
  v86: [
    {
      reason: NO_LIMITS,
      checks: [
        'segments end at 64 KiB',
        'a word at the end of one',
        'a word at the end of the stack',
        'far jmp beyond 64 KiB',
        'IRET to an EIP beyond 64 KiB',
      ],
    },
    { reason: INT1, checks: ['int1'] },
    {
      reason: 'lets interrupts in virtual-8086 mode go to other rings than 0',
      checks: ['an interrupt gate to ring 1'],
    },
  ],
  tasks: [
    { reason: 'sets no CR0.TS that SMSW would show', checks: ['jmp to a TSS', 'call to a TSS'] },
    { reason: 'knows no trap bit of a TSS', checks: ['a task with the trap bit', 'and in DR6'] },
    {
      reason: OLD_PAGE,
      checks: [
        'cs null',
        'cs data',
        'cs of ring 3 with RPL 0',
        'cs not present',
        'cs beyond the GDT',
        'ss null',
        'ss code',
        'ss read-only',
        'ss with RPL 3',
        'ss of ring 3',
        'ss not present',
        'ds a TSS',
        "ds code that can't be read",
        'ds of ring 0 with RPL 3',
        'ds not present',
        'fs beyond the GDT',
        'ldt data',
        'ldt not present',
        'ldt of the ldt',
        'eip beyond the limit',
      ],
    },
    { reason: NO_LIMITS, checks: ['a double fault, with a stack that is none'] },
    { reason: NOT_EXTERNAL, checks: ['an exception by a task gate that leads to a busy TSS'] },
    { reason: NO_RF, checks: ['an exception in virtual-8086 mode by a task gate, and back'] },
  ],
  paging: [
    {
      reason: READS_FIRST,
      checks: [
        'read and write of what is not present',
        'xchg with a read-only page in ring 3',
        'cmpxchg with a read-only page in ring 3',
      ],
    },
    {
      reason: RESERVED,
      checks: [
        'a reserved bit',
        'a reserved bit, to write in ring 3',
        'bit 52',
        'bit 52, to write in ring 3',
        'bit 52, to call',
        'a 2 MiB page with a reserved bit',
        'a 2 MiB page with another reserved bit',
        'NX without EFER.NXE',
        'NX without EFER.NXE, to call',
      ],
    },
  ],
  long: [
    {
      reason: 'checks no alignment',
      checks: [
        'a load that is not aligned',
        'a store that is not',
        'a push that is not',
        'one after iret',
        'one after sysret',
      ],
    },
    {
      reason: DOUBLED_VECTOR,
      checks: [
        'int by a gate that is not present',
        'int by a call gate',
        'int by a task gate',
        'int by a 16-bit gate',
        'int in ring 3 by a gate of ring 0',
        'int beyond the IDT',
        '#UD by a gate that is not present',
      ],
    },
    {
      reason: NOT_CANONICAL,
      checks: [
        'int by a gate that leads to what is not canonical',
        'iretq to what is not canonical',
        'iretq to a stack that is not canonical',
        'jmp to a gate that leads to what is not canonical',
        'call to a gate that leads to what is not canonical',
        'retf to what is not canonical',
        'mov by rbp',
        'read from the last canonical address on',
        'jmp',
        'call pushes nothing',
        'ret leaves RSP',
        'push',
        'pop',
        'call with such a stack',
        'lgdt',
        'lidt',
        'wrmsr to FS_BASE',
        'wrmsr to GS_BASE',
        'wrmsr to KERNEL_GS_BASE',
        'wrmsr to LSTAR',
      ],
    },
    {
      reason: NO_64_AND_32,
      checks: [
        'iretq to code of 64 and 32 bits',
        'jmp to code of 64 and 32 bits',
        'call to code of 64 and 32 bits',
        'retf out to code of 64 and 32 bits',
      ],
    },
    { reason: 'lets 32-bit code have no stack segment', checks: ['iretq in ring 0 to 32-bit code, SS null'] },
    { reason: NO_RF, checks: ['iretq with NT'] },
    {
      reason: RESERVED,
      checks: ['PS in a PML4E', 'PS in a PML4E, to write in ring 3', 'NX without EFER.NXE'],
    },
    {
      reason: NO_RESERVED_BITS,
      checks: ["mov to CR0's upper half", "mov to CR4's upper half", 'mov to CR8 with bit 4'],
    },
    {
      reason: 'takes types of IA-32e mode that are none',
      checks: ['lar of a TSS, a 64-bit call gate, a 16-bit one'],
    },
    { reason: NO_LIMITS, checks: ['and in 32-bit code'] },
    { reason: 'takes LOCK before MOV', checks: ['lock mov'] },
    { reason: INT1, checks: ['int1 in ring 3'] },
  ],
  debug: [
    { reason: INT1, checks: ['int1'] },
    { reason: NO_RESERVED_BITS, checks: ['DR6 of ones', "DR7's reserved bits"] },
    { reason: 'knows no general detect', checks: ['general detect', 'and the next access is detected'] },
    {
      reason: 'has its KVM serve ports, which looks at no breakpoints then',
      checks: ['in', 'out', 'a word before and into two of them', 'an element of rep outsb'],
    },
  ],
  interrupts: [{ reason: DOUBLED_VECTOR, checks: ['a gate that is not present'] }],
  calls: [
    { reason: 'loses arithmetic flags in SYSCALL', checks: ['syscall: CS, SS, RSP, RFLAGS'] },
    { reason: NO_LIMITS, checks: ['but in 32-bit code they do'] },
  ],
};
