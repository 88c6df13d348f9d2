/**
 * The middle paths of SSE's scalar and packed arithmetic, as functions of the base module: zeros among the
 * operands, and results that may be the first inexact ones since PE was cleared. What they can't do they put
 * into the scratch area for TypeScript. See simd/operations.ts.
 *
 * Whether a result is inexact is decided without extended precision: the error of a sum is itself
 * a sum (Knuth's TwoSum), a product is exact when the significands' odd parts fit together, a quotient or root
 * when it multiplies back exactly. Singles are checked in double precision, where products of two are exact.
 */
import type { Builder } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { State } from '../layout.ts';
import { SCALAR_OPS, type ScalarOp, VECTOR_OPS, type VectorOp } from '../simd/opcodes.ts';
import { FloatOp, Mxcsr, Scratch } from '../simd/operations.ts';
import { baseIndex } from './base.ts';
import type { DefineMeaning } from './base-meanings.ts';

/** Defines them. */
export function defineSimd(define: DefineMeaning): void {
  define('floatSlow64', (b, op, x, y) => scalar(b, 64, op!, x!, y!));
  define('floatSlow32', (b, op, x, y) => scalar(b, 32, op!, x!, y!));
  define('floatSlowPacked64', (b, op, x, y) => packed(b, 64, op!, x!, y!));
  define('floatSlowPacked32', (b, op, x, y) => packed(b, 32, op!, x!, y!));
}

const f = (b: Builder, name: ScalarOp, x: Node, y?: Node): Node =>
  b.op(SCALAR_OPS[name].code, SCALAR_OPS[name].type, x, y);
const lane = (b: Builder, name: VectorOp, n: number, x: Node): Node =>
  b.lane(VECTOR_OPS[name].code, VECTOR_OPS[name].type, n, x);

/**
 * One operation on bit patterns. Done when rounding is to nearest, PE masked, all operands zero or
 * normal, and the result normal or a zero that is exact.
 * @returns 0 with the result in the scratch area, or 1 with the operands there
 */
function scalar(b: Builder, size: 32 | 64, op: Node, x: Node, y: Node): Node {
  const shape = size === 64 ? 'f64' : 'f32';
  const bytes = size === 64 ? 8 : 4;
  const fraction = size === 64 ? 52 : 23;
  const constant = (high: number): Node => (size === 64 ? b.const(64, 0, high) : b.const(32, high));
  const [smallest, infinity, positive] =
    size === 64
      ? [constant(0x0010_0000), constant(0x7ff0_0000), b.const(64, -1, 0x7fff_ffff)]
      : [b.i32(0x0080_0000), b.i32(0x7f80_0000), b.i32(0x7fff_ffff)];
  /**
   * Results between which are taken: the smallest normal number may be what a tiny one has been rounded to, and
   * with the largest exponent the error terms might overflow.
   */
  const [bottom, top] =
    size === 64 ? [constant(0x0020_0000), constant(0x7fe0_0000)] : [b.i32(0x0100_0000), b.i32(0x7f00_0000)];
  const todo = b.variable(b.i32(1));
  const magnitude = (v: Node): Node => b.let(b.and(v, positive));
  const ax = magnitude(x);
  const ay = magnitude(y);
  const isZero = (v: Node): Node => b.eqz(v);
  const isWithin = (v: Node, low: Node, high: Node): Node => b.ltU(b.sub(v, low), b.sub(high, low));
  const usual = (v: Node): Node => b.or(isZero(v), isWithin(v, smallest, infinity));
  const isOp = (kind: FloatOp): Node => b.eq(op, b.i32(kind));
  const reinterpret = (v: Node): Node => f(b, size === 64 ? 'f64.reinterpret_i64' : 'f32.reinterpret_i32', v);
  const bitsOf = (v: Node): Node => f(b, size === 64 ? 'i64.reinterpret_f64' : 'i32.reinterpret_f32', v);

  const mode = b.eq(b.and(b.field(State.mxcsr, 4), b.i32(Mxcsr.RC | Mxcsr.PM)), b.i32(Mxcsr.PM));
  b.if(b.and(mode, b.and(usual(ax), usual(ay))), () => {
    const p = b.let(reinterpret(x));
    const q = b.let(reinterpret(y));
    const result = b.variable(p);
    const inexact = b.variable(b.i32(0));
    const zeroIsExact = b.variable(b.i32(1));
    const arithmetic = (name: 'add' | 'sub' | 'mul' | 'div', m: Node, n: Node): Node =>
      f(b, `${shape}.${name}`, m, n);
    const differ = (m: Node, n: Node): Node => f(b, m.type === 'f64' ? 'f64.ne' : 'f32.ne', m, n);
    const wide = (v: Node): Node => (size === 64 ? v : f(b, 'f64.promote_f32', v));
    /** Significant bits up to the last one that is set. */
    const width = (v: Node): Node => {
      const significand = b.or(v, constant(size === 64 ? 0x0010_0000 : 0x0080_0000));
      return b.sub(b.i32(fraction + 1), b.wrap(b.ctz(significand)));
    };
    const exponent = (v: Node): Node =>
      b.and(b.wrap(b.shrU(v, b.like(v, fraction))), b.i32(size === 64 ? 0x7ff : 0xff));
    /** Whether a product of doubles has more bits than 53. */
    const productIsLong = (m: Node, n: Node, product: Node): Node => {
      const [mb, nb, pb] = [b.let(bitsOf(m)), b.let(bitsOf(n)), b.let(bitsOf(product))];
      const carried = b.eq(exponent(pb), b.sub(b.add(exponent(mb), exponent(nb)), b.i32(1023)));
      return b.gtS(b.sub(b.add(width(mb), width(nb)), carried), b.i32(53));
    };
    /** Whether `factor` × `other`, of result's precision, isn't `whole` exactly. */
    const doesNotMultiplyBack = (factor: Node, other: Node, whole: Node): Node => {
      if (size === 32) return differ(f(b, 'f64.mul', wide(factor), wide(other)), wide(whole));
      const product = b.let(f(b, 'f64.mul', factor, other));
      return b.or(differ(product, whole), productIsLong(factor, other, product));
    };
    const sumOf = (other: Node): void => {
      const sum = b.let(arithmetic('add', p, other));
      const back = b.let(arithmetic('sub', sum, p));
      const error = arithmetic(
        'add',
        arithmetic('sub', p, arithmetic('sub', sum, back)),
        arithmetic('sub', other, back),
      );
      b.assign(result, sum);
      b.assign(inexact, differ(error, reinterpret(b.like(x, 0))));
    };
    b.if(isOp(FloatOp.add), () => sumOf(q));
    b.if(isOp(FloatOp.sub), () => sumOf(b.let(f(b, `${shape}.neg`, q))));
    b.if(isOp(FloatOp.mul), () => {
      b.assign(result, arithmetic('mul', p, q));
      b.assign(
        inexact,
        size === 32 ? differ(f(b, 'f64.mul', wide(p), wide(q)), wide(result)) : productIsLong(p, q, result),
      );
      b.assign(zeroIsExact, b.or(isZero(ax), isZero(ay)));
    });
    b.if(isOp(FloatOp.div), () => {
      b.assign(result, arithmetic('div', p, q));
      b.assign(inexact, doesNotMultiplyBack(result, q, p));
      b.assign(zeroIsExact, b.and(isZero(ax), b.eqz(isZero(ay))));
    });
    b.if(isOp(FloatOp.sqrt), () => {
      b.assign(result, f(b, `${shape}.sqrt`, q));
      b.assign(inexact, doesNotMultiplyBack(result, result, q));
    });
    const bits = b.let(bitsOf(result));
    const ar = b.let(b.and(bits, positive));
    const store = (): void => {
      b.setField(Scratch.result, bytes, bits);
      b.assign(todo, b.i32(0));
    };
    b.if(isWithin(ar, bottom, top), () => {
      b.if(inexact, () => b.setField(State.mxcsr, 4, b.or(b.field(State.mxcsr, 4), b.i32(Mxcsr.PE))));
      store();
    });
    b.if(b.and(isZero(ar), zeroIsExact), store);
  });
  b.if(todo, () => {
    b.setField(Scratch.first, bytes, x);
    b.setField(Scratch.second, bytes, y);
  });
  return todo;
}

/** The same on all lanes, when every exception is masked: the lanes can't disturb one another then. */
function packed(b: Builder, size: 32 | 64, op: Node, x: Node, y: Node): Node {
  const lanes = 128 / size;
  const bytes = size === 64 ? 8 : 4;
  const extract: VectorOp = size === 64 ? 'i64x2.extract_lane' : 'i32x4.extract_lane';
  const todo = b.variable(b.ne(b.and(b.field(State.mxcsr, 4), b.i32(Mxcsr.masks)), b.i32(Mxcsr.masks)));
  const results: Node[] = [];
  for (let i = 0; i < lanes; i++) {
    const result = b.variable(b.const(size, 0));
    results.push(result);
    b.if(b.eqz(todo), () => {
      const isAlternating = b.eq(op, b.i32(FloatOp.addsub));
      const own = b.select(isAlternating, b.i32(i % 2 === 0 ? FloatOp.sub : FloatOp.add), op);
      const call = baseIndex(size === 64 ? 'floatSlow64' : 'floatSlow32');
      b.assign(todo, b.call(call, 'i32', own, lane(b, extract, i, x), lane(b, extract, i, y)));
      b.assign(result, b.field(Scratch.result, bytes));
    });
  }
  b.if(
    todo,
    () => {
      for (const [at, vector] of [
        [Scratch.first, x],
        [Scratch.second, y],
      ] as const) {
        b.setField(at, 8, lane(b, 'i64x2.extract_lane', 0, vector));
        b.setField(at + 8, 8, lane(b, 'i64x2.extract_lane', 1, vector));
      }
    },
    () => {
      for (const [i, result] of results.entries()) b.setField(Scratch.result + i * bytes, bytes, result);
    },
  );
  return todo;
}
