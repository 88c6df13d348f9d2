/**
 * What the slow paths of SSE's floating-point instructions are asked for: an operation, a format and a number
 * of lanes in one number, operands and results in the state's scratch area. The fast paths are in
 * isa/sse-float.ts, the slow ones in lower/base-simd.ts (common cases) and float-helper.ts (all the rest).
 */
import { State } from '../layout.ts';

export const FloatOp = {
  add: 0,
  sub: 1,
  mul: 2,
  div: 3,
  /** Of the second operand. */
  sqrt: 4,
  /** Even lanes subtract, odd lanes add. */
  addsub: 5,
  min: 6,
  max: 7,
  /** CMPPS and kin: the predicate is the immediate. The result is a mask. */
  compare: 8,
  /** EFLAGS bits of COMISD; all NaNs are invalid. */
  ordered: 9,
  /** The same of UCOMISD. */
  unordered: 10,
  /** ROUNDSD and kin of the second operand, by the immediate. */
  round: 11,
  /** DPPS, DPPD, by the immediate. */
  dot: 12,
  /** From the second operand: to integers, rounding as MXCSR says or cutting off; from integers; between the formats. */
  toInt32: 13,
  toInt64: 14,
  truncate32: 15,
  truncate64: 16,
  fromInt32: 17,
  fromInt64: 18,
  /** The format is that of the operand. */
  convert: 19,
} as const;
export type FloatOp = (typeof FloatOp)[keyof typeof FloatOp];

/** The single-precision format, in a request. */
export const SINGLE_FORMAT = 0x100;

/** The helper's argument. */
export function request(op: FloatOp, size: 32 | 64, lanes: number): number {
  return op | (size === 32 ? SINGLE_FORMAT : 0) | (lanes << 12);
}

/** Where operands, the result and an immediate lie: 16 bytes each. */
export const Scratch = {
  first: State.scratch,
  second: State.scratch + 16,
  result: State.scratch + 32,
  immediate: State.scratch + 48,
} as const;

/** MXCSR. SDM volume 1, 10.2.3. */
export const Mxcsr = {
  PE: 0x20,
  DAZ: 0x40,
  masks: 0x1f80,
  PM: 0x1000,
  RC: 0x6000,
  FTZ: 0x8000,
} as const;
