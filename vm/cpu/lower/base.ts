/**
 * What handlers and compiled regions call: functions of the base module and functions of TypeScript that
 * it imports. Both kinds of code name them alike; the base module defines or imports them, every other
 * module imports them.
 */

import type { Signature } from '../wasm/module.ts';
import type { ValueType } from '../wasm/opcodes.ts';

function signature(params: string, result?: ValueType): Signature {
  return {
    params: params === '' ? [] : (params.split(' ') as ValueType[]),
    results: result === undefined ? [] : [result],
  };
}

/**
 * Set in the record's address that an access hands on when it is made by the stack segment, whatever segment
 * the instruction's memory operand has: it decides between #SS and #GP.
 */
export const STACK_ACCESS = 1;

/** Functions in TypeScript. The last parameter is the instruction's record. All may throw a guest's fault. */
export const HOST_FUNCTIONS = {
  /** (bytes, record) → host address of the bytes at State.faultAddress, readable there. */
  missRead: signature('i32 i32', 'i32'),
  /** (bytes, record) → host address where the bytes may be read and written. */
  missProbe: signature('i32 i32', 'i32'),
  /**
   * (bytes, record) → 0 when State.storeValue has been stored at State.faultAddress; 1 when it may not be: kernels let programs
   * fault on purpose, and to throw takes V8 longer than the rest of it.
   */
  missStore: signature('i32 i32', 'i32'),
  /** Deals with what a store came to that may not be. → whether guest code goes on at State.rip; else it is to be left. */
  refused: signature('', 'i32'),
  /** (host address, bytes, record): ends a write through a probe that gave an address in the cross-page area. */
  finishStore: signature('i32 i32 i32'),
  /** (segment, offset, bytes and write, record) → linear address. */
  segmented: signature('i32 i32 i32 i32', 'i32'),
  /** (vector, error code or −1, record). */
  raise: signature('i32 i32 i32'),
  /** (helper, argument, record). */
  helper: signature('i32 i32 i32'),
  /** () → head of the block at State.rip. */
  lookup: signature('', 'i32'),
  /** (head) → head, decoded. */
  decode: signature('i32', 'i32'),
  /** (head): the block has run often. */
  hot: signature('i32'),
} as const satisfies Record<string, Signature>;
export type HostFunction = keyof typeof HOST_FUNCTIONS;
export type HostFunctions = Readonly<Record<HostFunction, (...args: number[]) => unknown>>;

/** Functions that the base module defines. */
export const BASE_FUNCTIONS = {
  /** (address, bytes, record) → host address where the bytes may be read and written. */
  probe: signature('i64 i32 i32', 'i32'),
  /** (source, target, bytes) → whether they have been moved: where the TLB has either side, in one page each. */
  moveRun: signature('i64 i64 i32', 'i32'),
  /** (target, bytes, byte) → whether they have been filled. */
  fillRun: signature('i64 i32 i32', 'i32'),
  /** (result, carries, shift) → 0 or 1, for the even condition codes. */
  condition0: signature('i64 i64 i32', 'i32'),
  condition2: signature('i64 i64 i32', 'i32'),
  condition4: signature('i64 i64 i32', 'i32'),
  condition6: signature('i64 i64 i32', 'i32'),
  condition8: signature('i64 i64 i32', 'i32'),
  condition10: signature('i64 i64 i32', 'i32'),
  condition12: signature('i64 i64 i32', 'i32'),
  condition14: signature('i64 i64 i32', 'i32'),
  /** (result, carries, shift) → EFLAGS bits. */
  flagBits: signature('i64 i64 i32', 'i32'),
  /** (result, carries or operand, shift) → carries. */
  carries: signature('i64 i64 i32', 'i64'),
  /** (carries, shift, carry) → carries with another CF. */
  withCarry: signature('i64 i32 i32', 'i64'),
  /** (carries, shift, carry, overflow) → carries with another CF and OF. */
  withCarryOverflow: signature('i64 i32 i32 i32', 'i64'),
  /** (operation, x, y) → whether TypeScript must do it: SSE arithmetic off the fast path. See base-simd.ts. */
  floatSlow64: signature('i32 i64 i64', 'i32'),
  floatSlow32: signature('i32 i32 i32', 'i32'),
  floatSlowPacked64: signature('i32 v128 v128', 'i32'),
  floatSlowPacked32: signature('i32 v128 v128', 'i32'),
  /** x87 instructions in their usual cases: see base-x87.ts. What isn't said returns whether it can't. */
  x87Compute: signature('i32 i32 i32 i32', 'i32'),
  /** (operation, ST(i), how). */
  x87Registers: signature('i32 i32 i32', 'i32'),
  /** (operation, format, bits). */
  x87Memory: signature('i32 i32 i64', 'i32'),
  /** (format, bits). */
  x87Load: signature('i32 i64', 'i32'),
  /** (format): leaves bits in the scratch area. */
  x87Store: signature('i32', 'i32'),
  /** (pops): ends a store. */
  x87Stored: signature('i32', 'i32'),
  /** (address) → C3 and C0 of ST(0) against a real there, or −1. */
  x87Order: signature('i32', 'i32'),
  /** (ST(i), pops). */
  x87CompareRegister: signature('i32 i32', 'i32'),
  /** (format, pops, bits). */
  x87CompareMemory: signature('i32 i32 i64', 'i32'),
  /** (ST(i), pops) → EFLAGS bits, or −1. */
  x87CompareFlags: signature('i32 i32', 'i32'),
  /** (move, ST(i)). */
  x87Move: signature('i32 i32', 'i32'),
  x87Root: signature('', 'i32'),
  /** (vector, error code or −1, flags to be pushed besides) → 0 when it has been delivered: see base-delivery.ts. */
  deliver: signature('i32 i32 i32', 'i32'),
  /** (RIP) → head of the block there, which the jump cache's first part hasn't got. */
  find: signature('i64', 'i32'),
  /** (RIP): goes there. */
  dispatch: signature('i64'),
  /** (RIP, address): goes there, and leaves the head at an address. */
  learn: signature('i64 i32'),
  /** (head): goes there, by the table, which compiled regions haven't got: see code.ts. */
  go: signature('i32'),
  /** Ends a handler whose store may not be. */
  refuse: signature(''),
  /** Goes to State.rip: how TypeScript enters guest code. */
  enter: signature(''),
  /** (head): runs a block by its records although it has been compiled, when a slice is about to end. */
  interpret: signature('i32'),
} as const satisfies Record<string, Signature>;
export type BaseFunction = keyof typeof BASE_FUNCTIONS;

/**
 * Functions that nearly every region calls. For each signature of a module's imports V8 compiles a wrapper beforehand, lest it
 * be a function of JavaScript, which takes it longer than all else about a small module. None of those has a vector among its
 * parameters: so the base module exports these once more, by {@link forRegions}, with one that nobody looks at.
 */
export const REGION_FUNCTIONS = ['go', 'interpret', 'dispatch', 'learn', 'helper', 'raise'] as const;
export type RegionFunction = (typeof REGION_FUNCTIONS)[number];

export function isForRegions(name: string): name is RegionFunction {
  return (REGION_FUNCTIONS as readonly string[]).includes(name);
}

/** Name and signature of one of {@link REGION_FUNCTIONS} as regions import it. */
export function forRegions(name: RegionFunction): { name: string; signature: Signature } {
  const { params, results } = { ...HOST_FUNCTIONS, ...BASE_FUNCTIONS }[name];
  return { name: `${name}FromRegion`, signature: { params: [...params, 'v128'], results } };
}

/** All of them, in the order by which meanings number them. */
export const FUNCTION_NAMES = [...Object.keys(HOST_FUNCTIONS), ...Object.keys(BASE_FUNCTIONS)] as readonly (
  | HostFunction
  | BaseFunction
)[];

/** Number of a function of the base module: what Builder.call takes. */
export function baseIndex(name: BaseFunction): number {
  return FUNCTION_NAMES.indexOf(name);
}

/** Every handler and region: gets its record. */
export const HANDLER: Signature = { params: ['i32'], results: [] };
