/**
 * What the TypeScript half of the CPU works with: memory, paging, and what only the run loop can do.
 */
import { LazyFlags, State } from '../layout.ts';
import type { CpuMemory } from '../memory.ts';
import type { Mmu } from '../mmu.ts';
import type { Msrs } from './msrs.ts';

export interface CpuContext {
  readonly memory: CpuMemory;
  readonly mmu: Mmu;
  readonly msrs: Msrs;
  /** Recomputes what code is decoded for: after a change of segments, control registers or EFER. */
  updateMode(): void;
  /** As {@link updateMode}, after a load of DS, ES, FS or GS alone. */
  updateFlatness(): void;
  /** Leaves guest code at the next block, to look for interrupts, requests and the like. */
  leaveSoon(): void;
  /** As {@link leaveSoon}, and lets the machine look at time and devices: what runs takes long. */
  yield(): void;
  /** Ends the instruction, whose helper has done all of it, and leaves guest code at once. */
  leaveNow(): never;
  /** IF or what masks interrupts may have changed. */
  interruptsChanged(): void;
  /** What runs waits for another vCPU: it is that one's turn. */
  endTurn(): void;
  /** An exception is about to be delivered. */
  exceptionRaised(vector: number, errorCode: number): void;
  /** Ends the instruction with a port access for the VMM. The operand is in RAX, or goes there. */
  portAccess(port: number, bytes: 1 | 2 | 4, isWrite: boolean): void;
  /** Port access of a string instruction: data at a host address in the CPU's memory. */
  portString(port: number, bytes: 1 | 2 | 4, isWrite: boolean): void;
  /** Debug registers have changed. */
  debugRegistersChanged(): void;
  /** After IRET: RF stays only where a breakpoint waits that it is for. */
  settleResumeFlag(): void;
  /** What is raised from here on is not the running instruction's: State.rip says where the CPU is. */
  leaveInstruction(): void;
  /** Raises #DB when the instruction is over. @param status - bits of {@link DebugStatus} */
  trapAfter(status: number): void;
  /** No single-step trap after this instruction, though TF was set when it began. */
  inhibitTrap(): void;
  /** Whether this instruction has got answers from devices. */
  readonly hasTouchedDevice: boolean;
  /** Whether a repeated instruction is left after each element: with TF, and for a debugger. */
  readonly stopsEarly: boolean;
  /** Guest time stamp counter, as a double. */
  tsc(): number;
  cpuid(leaf: number, subleaf: number): readonly [number, number, number, number];
  /** Random bits from the host. */
  random(): number;
  getTpr(): number;
  setTpr(value: number): void;
}

/** What #DB says in DR6. SDM volume 3B, 18.2.3. */
export const DebugStatus = { access: 1 << 13, step: 1 << 14, task: 1 << 15 } as const;

export const CR0 = {
  PE: 1,
  MP: 2,
  EM: 4,
  TS: 8,
  ET: 16,
  NE: 32,
  WP: 1 << 16,
  AM: 1 << 18,
  NW: 1 << 29,
  CD: 1 << 30,
  PG: 1 << 31,
} as const;
export const CR4 = {
  VME: 1,
  PVI: 2,
  TSD: 4,
  DE: 8,
  PSE: 16,
  PAE: 32,
  MCE: 64,
  PGE: 128,
  PCE: 256,
  OSFXSR: 512,
  OSXMMEXCPT: 1024,
  UMIP: 1 << 11,
  FSGSBASE: 1 << 16,
  PCIDE: 1 << 17,
  OSXSAVE: 1 << 18,
  SMEP: 1 << 20,
  SMAP: 1 << 21,
} as const;
export const EFER = { SCE: 1, LME: 1 << 8, LMA: 1 << 10, NXE: 1 << 11 } as const;
export const EFLAGS = {
  CF: 1,
  PF: 4,
  AF: 16,
  ZF: 64,
  SF: 128,
  TF: 256,
  IF: 512,
  DF: 1024,
  OF: 2048,
  IOPL: 3 << 12,
  NT: 1 << 14,
  RF: 1 << 16,
  VM: 1 << 17,
  AC: 1 << 18,
  VIF: 1 << 19,
  VIP: 1 << 20,
  ID: 1 << 21,
} as const;
/** The flags that instructions compute lazily. */
export const ARITHMETIC_FLAGS = 0x8d5;
/** Bits of EFLAGS that exist, without the one that is always set. */
export const EFLAGS_DEFINED = 0x3f7fd5;

/** EFLAGS with the lazy flags worked out. */
export function getEflags(memory: CpuMemory): number {
  return memory.get(State.eflags) | arithmeticFlags(memory) | 2;
}

export function setEflags(memory: CpuMemory, value: number): void {
  memory.set(State.eflags, value & EFLAGS_DEFINED & ~ARITHMETIC_FLAGS);
  memory.set64(State.ccAux, value & ARITHMETIC_FLAGS, 0);
  memory.set(State.ccShift, 64);
}

/** As carries in lower/base-flags.ts, for TypeScript: low and high word. */
function workOutCarries(memory: CpuMemory): readonly [number, number] {
  const low = memory.get(State.ccAux);
  const high = memory.get(State.ccAux + 4);
  const kind = memory.get(State.ccShift) & (LazyFlags.sub | LazyFlags.add);
  if (kind === 0) return [low, high];
  const resultLow = memory.get(State.ccRes);
  const resultHigh = memory.get(State.ccRes + 4);
  if (kind === LazyFlags.sub) {
    const sum = (resultLow >>> 0) + (low >>> 0);
    const x = ~sum;
    const xHigh = ~(resultHigh + high + (sum > 0xffff_ffff ? 1 : 0));
    return [(x & low) | ((x | low) & resultLow), (xHigh & high) | ((xHigh | high) & resultHigh)];
  }
  const x = resultLow - low;
  const xHigh = resultHigh - high - (resultLow >>> 0 < low >>> 0 ? 1 : 0);
  return [(x & low) | ((x | low) & ~resultLow), (xHigh & high) | ((xHigh | high) & ~resultHigh)];
}

/** As flagBits in lower/base-flags.ts, for TypeScript. */
function arithmeticFlags(memory: CpuMemory): number {
  const how = memory.get(State.ccShift);
  const flags = flagsFromResult(memory);
  if ((how & LazyFlags.replaced) === 0) return flags;
  return (
    (flags & ~(EFLAGS.CF | EFLAGS.OF)) |
    ((how >>> LazyFlags.carry) & 1 ? EFLAGS.CF : 0) |
    ((how >>> LazyFlags.overflow) & 1 ? EFLAGS.OF : 0)
  );
}

function flagsFromResult(memory: CpuMemory): number {
  const shift = memory.get(State.ccShift) & LazyFlags.shiftMask;
  if (shift === 64) return memory.get(State.ccAux) & ARITHMETIC_FLAGS;
  const size = 64 - shift;
  const carries = workOutCarries(memory);
  // The word with the operand's highest bit, and that bit in it.
  const half = size === 64 ? 1 : 0;
  const top = (size - 1) & 31;
  const carry = (carries[half] >>> top) & 1;
  const overflow = carry ^ ((carries[half] >>> (top - 1)) & 1);
  const sign = (memory.get(State.ccRes + 4 * half) >>> top) & 1;
  const low = memory.get(State.ccRes);
  const zero =
    size === 64
      ? (low | memory.get(State.ccRes + 4)) === 0
      : size === 32
        ? low === 0
        : (low & ((1 << size) - 1)) === 0;
  let parity = low & 0xff;
  parity ^= parity >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return (
    carry |
    ((parity & 1) === 0 ? 4 : 0) |
    (((carries[0] >>> 3) & 1) << 4) |
    (zero ? 64 : 0) |
    (sign << 7) |
    (overflow << 11)
  );
}

export function isLong(memory: CpuMemory): boolean {
  return (memory.get(State.efer) & EFER.LMA) !== 0;
}

export function isReal(memory: CpuMemory): boolean {
  return (memory.get(State.cr0) & CR0.PE) === 0;
}

export function isVirtual8086(memory: CpuMemory): boolean {
  return (memory.get(State.eflags) & EFLAGS.VM) !== 0;
}

export function iopl(memory: CpuMemory): number {
  return (memory.get(State.eflags) >> 12) & 3;
}
