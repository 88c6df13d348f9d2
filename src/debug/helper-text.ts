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

const SENTENCES: Readonly<Partial<Record<HelperName, string>>> = {
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
  loadSegment:
    'the segment register ← a selector, with base, limit and rights from its descriptor (in real mode: base ← selector × 16)',
  storeSegment: 'stores the segment register’s selector',
  loadFarPointer: 'loads a pointer’s offset, and its selector with the descriptor behind it',
  jumpFar:
    'CS:RIP ← the far pointer, with the checks of its descriptor: perhaps through a gate or a task switch',
  callFar: 'pushes CS and RIP, then CS:RIP ← the far pointer, perhaps through a call gate',
  returnFar: 'pops RIP and CS, and SS and RSP where the privilege changes',
  enter: 'makes a stack frame: pushes RBP, RBP ← RSP, room for locals',
  moveFromControl: 'a register ← the control register; #GP unless CPL is 0',
  moveToControl:
    'the control register ← a register: CR0 and CR4 may change mode and paging, CR3 empties the TLB; #GP unless CPL is 0',
  moveFromDebug: 'a register ← the debug register; #GP unless CPL is 0',
  moveToDebug: 'the debug register ← a register; #GP unless CPL is 0',
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

/** @param name - the instruction's name in the table */
export function helperText(helper: HelperName, name: string): string {
  return SENTENCES[helper] ?? `what ${name} does as a whole, in the CPU's helper '${helper}'`;
}
