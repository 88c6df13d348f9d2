/**
 * What MMX and SSE meanings have in common: WebAssembly's vector instructions by name, constants, operands
 * with their alignment rules, and the checks that come before each instruction.
 */

import { Vector } from '../fault.ts';
import type { Builder, Operand } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { State } from '../layout.ts';
import { SCALAR_OPS, type ScalarOp, VECTOR_OPS, type VectorOp } from '../simd/opcodes.ts';

/** A vector instruction on values. */
export function v(b: Builder, name: VectorOp, x: Node, y?: Node, z?: Node): Node {
  const { code, type } = VECTOR_OPS[name];
  return b.op(code, type, x, y, z);
}

/** A vector instruction with a lane number: extract_lane and replace_lane. */
export function lane(b: Builder, name: VectorOp, number: number, x: Node, value?: Node): Node {
  const { code, type } = VECTOR_OPS[name];
  return b.lane(code, type, number, x, value);
}

/** A scalar floating-point instruction. */
export function f(b: Builder, name: ScalarOp, x: Node, y?: Node): Node {
  const { code, type } = SCALAR_OPS[name];
  return b.op(code, type, x, y);
}

// Constants

/** Both 64-bit halves alike. */
export function halves(b: Builder, low: number, high: number): Node {
  return v(b, 'i64x2.splat', b.const(64, low, high));
}

export function zero(b: Builder): Node {
  return halves(b, 0, 0);
}

/** A vector of two different halves, low words first. */
export function words(b: Builder, w0: number, w1: number, w2: number, w3: number): Node {
  return lane(b, 'i64x2.replace_lane', 1, halves(b, w0, w1), b.const(64, w2, w3));
}

/** The bytes 0, 1, 2 … 15: what shuffles with a changing control are computed from. */
export function iota(b: Builder): Node {
  return words(b, 0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c);
}

export const splat8 = (b: Builder, x: Node): Node => v(b, 'i8x16.splat', x);
export const splat16 = (b: Builder, x: Node): Node => v(b, 'i16x8.splat', x);
export const splat32 = (b: Builder, x: Node): Node => v(b, 'i32x4.splat', x);
export const splat64 = (b: Builder, x: Node): Node => v(b, 'i64x2.splat', x);

export const low64 = (b: Builder, x: Node): Node => lane(b, 'i64x2.extract_lane', 0, x);
export const high64 = (b: Builder, x: Node): Node => lane(b, 'i64x2.extract_lane', 1, x);
export const low32 = (b: Builder, x: Node): Node => lane(b, 'i32x4.extract_lane', 0, x);

/** A vector from its two halves. */
export function pair(b: Builder, low: Node, high: Node): Node {
  return lane(b, 'i64x2.replace_lane', 1, splat64(b, low), high);
}

/** A 64-bit value in the low half, zeros above. */
export const zeroExtend64 = (b: Builder, low: Node): Node => lane(b, 'i64x2.replace_lane', 0, zero(b), low);
/** A 32-bit value in the lowest lane, zeros above. */
export const zeroExtend32 = (b: Builder, low: Node): Node => lane(b, 'i32x4.replace_lane', 0, zero(b), low);

/** Which bytes of two vectors make the result: lanes of so many bytes each, numbered through both. */
export function lanesOf(bytes: number, numbers: readonly number[]): number[] {
  return numbers.flatMap((number) => Array.from({ length: bytes }, (_, i) => number * bytes + i));
}

/** The immediate byte as i32: not put into a temporary, so that the compiler sees a constant and leaves out what it decides against. */
export const imm8 = (b: Builder, n: Operand): Node => b.read(n);

// Checks

/** Bits of State.fpuTrap. */
const FpuTrap = { unavailable: 1, sseUndefined: 2, sseUnavailable: 4, mmxUndefined: 8 } as const;
/** In the x87 status word: an unmasked exception is pending. */
const ERROR_SUMMARY = 0x80;

/** What every SSE instruction begins with: #UD or #NM when the system has switched SSE off. SDM volume 3A, 13.1. */
export function sse(b: Builder): void {
  b.guard(State.fpuTrap, FpuTrap.sseUndefined | FpuTrap.sseUnavailable, () => {
    b.raiseIf(b.and(b.field(State.fpuTrap, 4), b.i32(FpuTrap.sseUndefined)), Vector.UD);
    b.raise(Vector.NM);
  });
}

/** The same for MMX, which also waits for x87 exceptions: #UD, #NM or #MF. SDM volume 3A, 12.1 and 12.5. */
export function mmx(b: Builder): void {
  const trap = b.field(State.fpuTrap, 4);
  const pending = b.and(b.field(State.fpuStatus, 4), b.i32(ERROR_SUMMARY));
  b.if(b.or(b.and(trap, b.i32(FpuTrap.unavailable | FpuTrap.mmxUndefined)), pending), () => {
    b.raiseIf(b.and(trap, b.i32(FpuTrap.mmxUndefined)), Vector.UD);
    b.raiseIf(b.and(trap, b.i32(FpuTrap.unavailable)), Vector.NM);
    b.raise(Vector.MF);
  });
}

// Memory operands

/** Linear address of a 16-byte operand that must be aligned: #GP(0) otherwise. SDM volume 1, 4.1.1. */
export function alignedAddress(b: Builder, write = false): Node {
  if (b.mode === 'segmented') {
    // Alignment counts before the segment's limit.
    const unchecked = b.address(0, write);
    b.raiseIf(b.and(unchecked, b.i32(15)), 13, 0);
    return b.address(16, write);
  }
  const address = b.address(16, write);
  b.raiseIf(b.wrap(b.and(address, b.like(address, 15))), 13, 0);
  return address;
}

/** A 128-bit source: register, or aligned memory. */
export function source(b: Builder, x: Operand): Node {
  return x.kind === 'memory' ? b.loadVector(alignedAddress(b)) : b.vector(x);
}

/** A source of which 64 bits count: the upper half is arbitrary. */
export function source64(b: Builder, x: Operand): Node {
  return x.kind === 'memory' ? b.let(splat64(b, b.load(b.address(8), 64))) : b.vector(x);
}

/** A source of which 32 bits count. */
export function source32(b: Builder, x: Operand): Node {
  return x.kind === 'memory' ? b.let(splat32(b, b.load(b.address(4), 32))) : b.vector(x);
}

/** The 64-bit value of a source. */
export function bits64(b: Builder, x: Operand): Node {
  return x.kind === 'memory' ? b.load(b.address(8), 64) : b.let(low64(b, b.vector(x)));
}

/** The 32-bit value of a source. */
export function bits32(b: Builder, x: Operand): Node {
  return x.kind === 'memory' ? b.load(b.address(4), 32) : b.let(low32(b, b.vector(x)));
}

// MMX registers

/**
 * What an MMX instruction does to the x87 state besides its result: all registers are valid, and the first is
 * on top. Comes after the last access that can fault. SDM volume 3A, 12.2.
 */
export function enterMmx(b: Builder): void {
  b.setField(State.fpuTop, 4, b.i32(0));
  b.setField(State.fpuTags, 4, b.i32(0xff));
}

/** Writes the low half of a vector to an MMX register: sign and exponent become ones. */
export function setMmx(b: Builder, to: Operand, value: Node): void {
  enterMmx(b);
  b.setVector(to, lane(b, 'i64x2.replace_lane', 1, value, b.const(64, 0xffff, 0)));
}

/** A function of two vectors. */
export type Kernel = (b: Builder, x: Node, y: Node) => Node;
