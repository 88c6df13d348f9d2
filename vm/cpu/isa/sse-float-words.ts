/**
 * What SSE's floating-point meanings have in common: the tests that decide whether the fast path will do, and the
 * ways to the slow ones. See sse-float.ts.
 *
 * Tests are laid out so that a negative number means trouble: they are or-ed, and decided by one branch.
 */
import type { Builder, Operand } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { State } from '../layout.ts';
import { type FloatOp, Mxcsr, request, Scratch } from '../simd/operations.ts';
import { Helper } from './helpers.ts';
import { bits32, bits64, f, high64, lane, low32, low64, pair, v } from './sse-words.ts';

export type Size = 32 | 64;

// Tests

/** Layout of a format, in its integer type. */
function parts(b: Builder, size: Size): { smallest: Node; infinity: Node; positive: Node } {
  return size === 64
    ? {
        smallest: b.const(64, 0, 0x0010_0000),
        infinity: b.const(64, 0, 0x7ff0_0000),
        positive: b.const(64, -1, 0x7fff_ffff),
      }
    : { smallest: b.i32(0x0080_0000), infinity: b.i32(0x7f80_0000), positive: b.i32(0x7fff_ffff) };
}

/**
 * Zero if MXCSR's bits of the mask are as given, else negative. Operations set flags in MXCSR and clear none: who sees
 * it late takes a slow path too often.
 */
function modeTest(b: Builder, mask: number, wanted: number): Node {
  return b.steady(mask, b.sub(b.i32(0), b.xor(b.and(b.field(State.mxcsr, 4), b.i32(mask)), b.i32(wanted))));
}

/** That rounding to nearest is in force and inexact results leave no trace. */
export const nearestInexact = (b: Builder): Node =>
  modeTest(b, Mxcsr.RC | Mxcsr.PM | Mxcsr.PE, Mxcsr.PM | Mxcsr.PE);
/** The same, whatever the rounding. */
export const anyInexact = (b: Builder): Node => modeTest(b, Mxcsr.PM | Mxcsr.PE, Mxcsr.PM | Mxcsr.PE);

/** A test that counts only under a condition. */
export const when = (b: Builder, condition: Node, test: Node): Node => b.select(condition, test, b.i32(0));

/** Negative for zeros and denormals, of the type of the bits. */
export function belowNormal(b: Builder, size: Size, bits: Node): Node {
  const { smallest, infinity } = parts(b, size);
  return b.sub(b.and(bits, infinity), smallest);
}

/**
 * Negative for results that need a second look: zeros, denormals, infinities and NaNs, and those with the lowest
 * exponent, since the smallest normal number may be what a tiny one has been rounded to. Of the type of the bits.
 */
export function abnormalResult(b: Builder, size: Size, bits: Node): Node {
  const [second, largest] = resultBounds(b, size);
  const e = b.let(b.and(bits, parts(b, size).infinity));
  return b.or(b.sub(e, second), b.sub(largest, e));
}

/** The second exponent there is, and the largest of a finite number, in place. */
function resultBounds(b: Builder, size: Size): [second: Node, largest: Node] {
  return size === 64
    ? [b.const(64, 0, 0x0020_0000), b.const(64, 0, 0x7fe0_0000)]
    : [b.i32(0x0100_0000), b.i32(0x7f00_0000)];
}

export function anyNegative(b: Builder, tests: readonly Node[]): Node {
  const wide = tests.some(({ type }) => type === 'i64');
  const all = tests
    .map((test) => (wide && test.type === 'i32' ? b.extendS(test) : test))
    .reduce((x, y) => b.or(x, y));
  return b.ltS(all, b.like(all, 0));
}

/** Negative for denormals and NaNs, of the type of the bits. */
export function unusual(b: Builder, size: Size, bits: Node): Node {
  const { smallest, infinity, positive } = parts(b, size);
  const magnitude = b.let(b.and(bits, positive));
  const nan = b.sub(infinity, magnitude);
  // Denormals: below the smallest normal number, and not below zero when one is taken off.
  const below = b.sub(magnitude, smallest);
  return b.or(nan, b.and(below, b.not(b.sub(magnitude, b.like(magnitude, 1)))));
}

/** The same for all lanes. */
export function unusualLanes(b: Builder, size: Size, x: Node): Node {
  const shape = size === 64 ? 'i64x2' : 'i32x4';
  const { smallest, infinity, positive } = parts(b, size);
  const splat = (value: Node): Node => v(b, `${shape}.splat`, value);
  const magnitude = b.let(v(b, 'v128.and', x, splat(positive)));
  const nan = v(b, `${shape}.sub`, splat(infinity), magnitude);
  const below = v(b, `${shape}.sub`, magnitude, splat(smallest));
  return v(
    b,
    'v128.or',
    nan,
    v(b, 'v128.andnot', below, v(b, `${shape}.sub`, magnitude, splat(b.like(positive, 1, 0)))),
  );
}

/** The same for lanes of operands: negative for zeros and denormals. */
export function belowNormalLanes(b: Builder, size: Size, x: Node): Node {
  const shape = size === 64 ? 'i64x2' : 'i32x4';
  const { smallest, infinity } = parts(b, size);
  const e = v(b, 'v128.and', x, v(b, `${shape}.splat`, infinity));
  return v(b, `${shape}.sub`, e, v(b, `${shape}.splat`, smallest));
}

/** The same for lanes of results. */
export function abnormalLanes(b: Builder, size: Size, x: Node): Node {
  const shape = size === 64 ? 'i64x2' : 'i32x4';
  const splat = (value: Node): Node => v(b, `${shape}.splat`, value);
  const [second, largest] = resultBounds(b, size);
  const e = b.let(v(b, 'v128.and', x, splat(parts(b, size).infinity)));
  return v(b, 'v128.or', v(b, `${shape}.sub`, e, splat(second)), v(b, `${shape}.sub`, splat(largest), e));
}

export const signs = (b: Builder, size: Size, x: Node): Node =>
  v(b, size === 64 ? 'i64x2.bitmask' : 'i32x4.bitmask', x);

// Slow paths

/** Stores an operand for TypeScript. */
function place(b: Builder, at: number, x: Node): void {
  if (x.type !== 'v128') {
    b.setField(at, x.type === 'i64' ? 8 : 4, x);
    return;
  }
  b.setField(at, 8, low64(b, x));
  b.setField(at + 8, 8, high64(b, x));
}

export const resultVector = (b: Builder): Node =>
  pair(b, b.field(Scratch.result, 8), b.field(Scratch.result + 8, 8));

/** Has TypeScript do an operation on operands (the second alone, for those that take one). */
export function exactly(
  b: Builder,
  op: FloatOp,
  size: Size,
  lanes: number,
  y: Node,
  x?: Node,
  immediate?: Node,
): void {
  if (x !== undefined) place(b, Scratch.first, x);
  place(b, Scratch.second, y);
  if (immediate !== undefined) b.setField(Scratch.immediate, 4, immediate);
  b.helper(Helper.simdFloat, request(op, size, lanes));
}

// Scalars

/** The value of a scalar source as bits. */
export const scalarBits = (b: Builder, size: Size, x: Operand): Node =>
  size === 64 ? bits64(b, x) : bits32(b, x);
export const lowBits = (b: Builder, size: Size, x: Node): Node =>
  b.let(size === 64 ? low64(b, x) : low32(b, x));
export const toFloat = (b: Builder, bits: Node): Node =>
  f(b, bits.type === 'i64' ? 'f64.reinterpret_i64' : 'f32.reinterpret_i32', bits);
export const toBits = (b: Builder, x: Node): Node =>
  f(b, x.type === 'f64' ? 'i64.reinterpret_f64' : 'i32.reinterpret_f32', x);

/** Writes the lowest lane of a register. */
export function setLow(b: Builder, to: Operand, old: Node, value: Node): void {
  b.setVector(to, lane(b, value.type === 'f64' ? 'f64x2.replace_lane' : 'f32x4.replace_lane', 0, old, value));
}

/** The two formats: encodings and names of packed and scalar instructions, and the scalar operand. */
export const FORMATS = [
  { size: 32, packed: '0f', ps: 'PS', scalar: 'f3 0f', ss: 'SS', operand: 'Wd' },
  { size: 64, packed: '66 0f', ps: 'PD', scalar: 'f2 0f', ss: 'SD', operand: 'Wq' },
] as const;
