/**
 * The arithmetic flags for plain evaluation (plain.ts), worked out at once and from the operands, as the SDM defines them
 * (volume 1, 3.4.3.1), where handlers and compiled code keep them lazy. In state they are then EFLAGS bits.
 */
import { FlagKind } from '../ir/node.ts';
import { State } from '../layout.ts';
import type { CpuMemory } from '../memory.ts';
import { ARITHMETIC_FLAGS, EFLAGS, getEflags } from '../system/context.ts';

/** What an instruction that sets flags knows, as unsigned 64-bit values with garbage above the operand size. */
export interface FlagSource {
  readonly kind: number;
  /** In bits. */
  readonly size: number;
  readonly result: bigint;
  /** Carries out of each bit. */
  readonly carries: bigint;
  /** Operands of an addition or subtraction without a carry in. */
  readonly operands: readonly [bigint, bigint] | undefined;
}

/** The arithmetic flags in state, however they are kept there. */
export function readFlags(memory: CpuMemory): number {
  return getEflags(memory) & ARITHMETIC_FLAGS;
}

/** Keeps arithmetic flags as EFLAGS bits. */
export function writeFlags(memory: CpuMemory, flags: number): void {
  memory.set64(State.ccAux, flags & ARITHMETIC_FLAGS, 0);
  memory.set(State.ccShift, 64);
}

/** The arithmetic flags after an instruction, as EFLAGS bits. */
export function flagsAfter(source: FlagSource): number {
  const { size, result } = source;
  const carry = carryFlags(source);
  let flags = 0;
  if (carry.carry) flags |= EFLAGS.CF;
  if (carry.auxiliary) flags |= EFLAGS.AF;
  if (carry.overflow) flags |= EFLAGS.OF;
  if (hasEvenParity(result)) flags |= EFLAGS.PF;
  if (BigInt.asUintN(size, result) === 0n) flags |= EFLAGS.ZF;
  if (BigInt.asIntN(size, result) < 0n) flags |= EFLAGS.SF;
  return flags;
}

interface CarryFlags {
  readonly carry: boolean;
  /** Out of bit 3. */
  readonly auxiliary: boolean;
  readonly overflow: boolean;
}

function carryFlags({ kind, size, carries, operands }: FlagSource): CarryFlags {
  if (kind === FlagKind.add) return ofSum(size, ...operands!);
  if (kind === FlagKind.sub) return ofDifference(size, ...operands!);
  const out = (bit: number): boolean => ((carries >> BigInt(bit)) & 1n) !== 0n;
  return { carry: out(size - 1), auxiliary: out(3), overflow: out(size - 1) !== out(size - 2) };
}

function ofSum(size: number, x: bigint, y: bigint): CarryFlags {
  const sum = (bits: number): bigint => BigInt.asUintN(bits, x) + BigInt.asUintN(bits, y);
  return {
    carry: sum(size) >= 1n << BigInt(size),
    auxiliary: sum(4) >= 16n,
    overflow: !fits(size, BigInt.asIntN(size, x) + BigInt.asIntN(size, y)),
  };
}

function ofDifference(size: number, x: bigint, y: bigint): CarryFlags {
  const borrows = (bits: number): boolean => BigInt.asUintN(bits, x) < BigInt.asUintN(bits, y);
  return {
    carry: borrows(size),
    auxiliary: borrows(4),
    overflow: !fits(size, BigInt.asIntN(size, x) - BigInt.asIntN(size, y)),
  };
}

/** Whether a signed number has no more than so many bits. */
function fits(size: number, x: bigint): boolean {
  return BigInt.asIntN(size, x) === x;
}

/** Whether the lowest byte has an even number of ones. */
function hasEvenParity(x: bigint): boolean {
  let even = true;
  for (let byte = Number(x & 0xffn); byte !== 0; byte >>= 1) if ((byte & 1) !== 0) even = !even;
  return even;
}

/** Whether a condition holds, by its code in Jcc's opcodes. SDM volume 1, appendix B */
export function conditionHolds(code: number, flags: number): boolean {
  const has = (flag: number): boolean => (flags & flag) !== 0;
  const holds = [
    has(EFLAGS.OF),
    has(EFLAGS.CF),
    has(EFLAGS.ZF),
    has(EFLAGS.CF) || has(EFLAGS.ZF),
    has(EFLAGS.SF),
    has(EFLAGS.PF),
    has(EFLAGS.SF) !== has(EFLAGS.OF),
    has(EFLAGS.ZF) || has(EFLAGS.SF) !== has(EFLAGS.OF),
  ][code >> 1]!;
  return (code & 1) === 0 ? holds : !holds;
}
