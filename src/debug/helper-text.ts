/**
 * What those instructions do in the manual's terms whose meaning is a helper of the CPU's, done as a whole
 * (vm/cpu/isa/helpers.ts): one sentence each. SDM volume 2.
 */
import type { HelperName } from '../../vm/cpu/isa/helpers.ts';

/** String instructions by name; each also moves its pointers by the element's size, down if DF is set. */
const STRINGS: Readonly<Record<string, string>> = {
  MOVS: 'memory[ES:DI] ← memory[DS:SI]; SI and DI move on',
  CMPS: 'flags ← of memory[DS:SI] − memory[ES:DI]; SI and DI move on',
  STOS: 'memory[ES:DI] ← the accumulator; DI moves on',
  LODS: 'the accumulator ← memory[DS:SI]; SI moves on',
  SCAS: 'flags ← of the accumulator − memory[ES:DI]; DI moves on',
  INS: 'memory[ES:DI] ← the port in DX; DI moves on',
  OUTS: 'the port in DX ← memory[DS:SI]; SI moves on',
};

/** Segment registers by number. */
export const SEGMENT_NAMES = [
  ...['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'LDTR', 'TR', 'GDTR', 'IDTR', ''],
] as const;

const SENTENCES: Readonly<Partial<Record<HelperName, string>>> = {
  pusha: 'pushes the eight general registers, the stack pointer as it was before',
  popa: 'pops the general registers but the stack pointer',
  bound: '#BR unless the register lies within the two bounds in memory',
  xlat: 'AL ← memory[DS:BX + AL]',
  smsw: 'stores the low bits of CR0',
  lmsw: 'CR0, bits 3 to 0 ← the value, but PE is never cleared; #GP unless CPL is 0',
  sldt: 'stores LDTR’s selector',
  str: 'stores TR’s selector',
  xgetbv: 'EDX:EAX ← XCR0',
  xsetbv: 'XCR0 ← EDX:EAX; #GP unless CPL is 0',
  vmcall: 'a hypercall: an exit to the VMM',
  rdrand: 'a register ← a random number; CF ← 1',
  rdseed: 'a register ← a random number; CF ← 1',
  cmpxchg16b: 'if RDX:RAX = memory128: memory128 ← RCX:RBX, ZF ← 1; else RDX:RAX ← memory128, ZF ← 0',
  in: 'the accumulator ← the port, an exit to the VMM; #GP if IOPL and the I/O bitmap forbid it',
  out: 'the port ← the accumulator, an exit to the VMM; #GP if IOPL and the I/O bitmap forbid it',
  hlt: 'stops until an interrupt comes; #GP unless CPL is 0',
  cli: 'IF ← 0; #GP if CPL is above IOPL',
  sti: 'IF ← 1, with interrupts off for one more instruction; #GP if CPL is above IOPL',
  pushf: 'pushes EFLAGS, without RF and VM',
  popf: 'pops EFLAGS: IF only if CPL is not above IOPL, IOPL only at CPL 0',
  int: 'goes through the IDT’s gate for this vector: pushes EFLAGS, CS and RIP, and on a change of privilege SS and RSP first',
  int3: 'goes through the IDT’s gate for vector 3, #BP',
  into: 'goes through the IDT’s gate for vector 4, #OF, if OF is set',
  iret: 'pops RIP, CS and EFLAGS, and SS and RSP where the privilege changes or in 64-bit mode',
  storeSegment: 'stores the segment register’s selector',
  loadFarPointer: 'loads a pointer’s offset, and its selector with the descriptor behind it',
  jumpFar:
    'CS:RIP ← the far pointer, with the checks of its descriptor: perhaps through a gate or a task switch',
  callFar: 'pushes CS and RIP, then CS:RIP ← the far pointer, perhaps through a call gate',
  returnFar: 'pops RIP and CS, and SS and RSP where the privilege changes',
  enter: 'makes a stack frame: pushes RBP, RBP ← RSP, room for locals',
  clts: 'CR0.TS ← 0; #GP unless CPL is 0',
  lgdt: 'GDTR ← limit and base from memory; #GP unless CPL is 0',
  lidt: 'IDTR ← limit and base from memory; #GP unless CPL is 0',
  sgdt: 'stores limit and base of GDTR',
  sidt: 'stores limit and base of IDTR',
  lldt: 'LDTR ← a selector, with its descriptor from the GDT',
  ltr: 'TR ← a selector, whose task-state segment becomes busy',
  invlpg: 'forgets the TLB’s entry for the page of this address; #GP unless CPL is 0',
  swapgs: 'exchanges the base of GS and IA32_KERNEL_GS_BASE; #GP unless CPL is 0',
  cpuid: 'EAX, EBX, ECX, EDX ← what leaf EAX, subleaf ECX says of the processor',
  rdmsr: 'EDX:EAX ← the model-specific register ECX; #GP unless CPL is 0',
  wrmsr: 'the model-specific register ECX ← EDX:EAX; #GP unless CPL is 0',
  rdtsc: 'EDX:EAX ← the time-stamp counter',
  rdtscp: 'EDX:EAX ← the time-stamp counter, ECX ← IA32_TSC_AUX',
  syscall:
    'RCX ← RIP, R11 ← RFLAGS, RIP ← IA32_LSTAR, RFLAGS masked by IA32_FMASK, CS and SS from IA32_STAR, CPL ← 0',
  sysret: 'RIP ← RCX, RFLAGS ← R11, CS and SS from IA32_STAR, CPL ← 3',
  sysenter: 'CS, SS, RSP and RIP from the IA32_SYSENTER registers, CPL ← 0',
  sysexit: 'RIP ← RDX, RSP ← RCX, CPL ← 3',
  fxsave: 'stores x87 and SSE state, 512 bytes',
  fxrstor: 'loads x87 and SSE state, 512 bytes',
  xsave: 'stores the state that EDX:EAX and XCR0 choose',
  xrstor: 'loads the state that EDX:EAX and XCR0 choose',
  undefined: 'raises #UD',
  idiv64: 'RAX ← RDX:RAX ÷ the operand, signed, RDX ← the remainder; #DE where it doesn’t fit',
  div64: 'RAX ← RDX:RAX ÷ the operand, RDX ← the remainder; #DE where it doesn’t fit',
};

/** What a string instruction does to an element; undefined for other instructions. @param name - in the table */
export function stringText(name: string): string | undefined {
  return STRINGS[name] ?? STRINGS[name.replace(/B$/, '')];
}

/** Sentences that say what the instruction is about. @param n - number of the register, or what else the helper gets */
const SENTENCES_OF: Readonly<Partial<Record<HelperName, (n: number) => string>>> = {
  loadSegment: (n) =>
    `${SEGMENT_NAMES[n & 15]} ← the value as selector, with base, limit and rights from its descriptor (in real mode: base ← selector × 16)`,
  moveFromControl: (n) => `the value ← CR${n}; #GP unless CPL is 0`,
  moveToControl: (n) =>
    `CR${n} ← the value${CONTROL_EFFECTS[n] === undefined ? '' : `: ${CONTROL_EFFECTS[n]}`}; #GP unless CPL is 0`,
  moveFromDebug: (n) => `the value ← DR${n}; #GP unless CPL is 0`,
  moveToDebug: (n) => `DR${n} ← the value; #GP unless CPL is 0`,
};
const CONTROL_EFFECTS: Readonly<Record<number, string>> = {
  0: 'may change mode and paging',
  3: 'the root of the page tables, which empties the TLB but for global pages',
  4: 'may change how paging works',
  8: 'the task priority',
};

/**
 * @param name - the instruction's name in the table
 * @param argument - what the helper gets
 */
export function helperText(helper: HelperName, name: string, argument: number): string {
  return (
    SENTENCES_OF[helper]?.(argument) ??
    SENTENCES[helper] ??
    `what ${name} does as a whole, in the CPU's helper '${helper}'`
  );
}
