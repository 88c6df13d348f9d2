/**
 * SSE conversions between the floating-point formats and integers in general, XMM and MMX registers. SDM
 * volume 1, 10.4.4, 11.4.4 and 11.4.1.6. How fast and slow paths go together: see sse-float.ts.
 */
import type { Builder } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import type { ScalarOp } from '../simd/opcodes.ts';
import { FloatOp, Scratch } from '../simd/operations.ts';
import {
  abnormalLanes,
  abnormalResult,
  anyInexact,
  anyNegative,
  exactly,
  FORMATS,
  nearestInexact,
  resultVector,
  type Size,
  scalarBits,
  setLow,
  signs,
  toBits,
  toFloat,
  unusual,
  unusualLanes,
  when,
} from './sse-float-words.ts';
import {
  bits32,
  bits64,
  enterMmx,
  f,
  halves,
  lanesOf,
  low64,
  mmx,
  setMmx,
  source,
  source64,
  splat64,
  sse,
  v,
  zeroExtend64,
} from './sse-words.ts';
import { define, type Meaning } from './table.ts';

// Conversions between scalars

const fromInteger =
  (size: Size): Meaning =>
  (b, to, from) => {
    sse(b);
    const integer = b.read(from!);
    const is64 = from!.size === 64;
    const result = b.variable(f(b, `f${size}.convert_i${is64 ? 64 : 32}_s` as ScalarOp, integer));
    if (size !== 64 || is64) {
      // Exact up to as many bits as the significand has.
      const limit = size === 64 ? b.const(64, 0, 0x0020_0000) : b.like(integer, 0x0100_0000);
      const twice = size === 64 ? b.const(64, 0, 0x0040_0000) : b.like(integer, 0x0200_0000);
      const isLong = b.eqz(b.ltU(b.add(integer, limit), twice));
      b.if(when(b, isLong, nearestInexact(b)), () => {
        exactly(b, is64 ? FloatOp.fromInt64 : FloatOp.fromInt32, size, 1, integer);
        b.assign(result, toFloat(b, b.field(Scratch.result, size === 64 ? 8 : 4)));
      });
    }
    setLow(b, to!, b.vector(to!), result);
  };

/** A power of two as a number of the format. */
function powerOfTwo(b: Builder, size: Size, power: number): Node {
  return toFloat(b, size === 64 ? b.const(64, 0, (power + 1023) << 20) : b.i32((power + 127) << 23));
}

const toInteger =
  (size: Size, truncates: boolean): Meaning =>
  (b, to, from) => {
    sse(b);
    const y = scalarBits(b, size, from!);
    const bits = to!.size as Size;
    const value = b.let(toFloat(b, y));
    const integral = truncates ? value : b.let(f(b, `f${size}.nearest`, value));
    const result = b.variable(f(b, `i${bits}.trunc_sat_f${size}_s` as ScalarOp, integral));
    const back = f(b, `f${size}.convert_i${bits}_s` as ScalarOp, result);
    const isExact = f(b, `f${size}.eq`, back, value);
    const fits = f(b, `f${size}.lt`, f(b, `f${size}.abs`, integral), powerOfTwo(b, size, bits - 1));
    const untraced = b.eqz(truncates ? anyInexact(b) : nearestInexact(b));
    b.if(b.eqz(b.and(fits, b.or(isExact, untraced))), () => {
      const op = truncates
        ? bits === 64
          ? FloatOp.truncate64
          : FloatOp.truncate32
        : bits === 64
          ? FloatOp.toInt64
          : FloatOp.toInt32;
      exactly(b, op, size, 1, y);
      b.assign(result, b.field(Scratch.result, bits === 64 ? 8 : 4));
    });
    b.write(to!, result);
  };

const widen: Meaning = (b, to, from) => {
  sse(b);
  const y = bits32(b, from!);
  const result = b.variable(f(b, 'f64.promote_f32', toFloat(b, y)));
  b.if(anyNegative(b, [unusual(b, 32, y)]), () => {
    exactly(b, FloatOp.convert, 32, 1, y);
    b.assign(result, toFloat(b, b.field(Scratch.result, 8)));
  });
  setLow(b, to!, b.vector(to!), result);
};

const narrow: Meaning = (b, to, from) => {
  sse(b);
  const y = bits64(b, from!);
  const result = b.variable(f(b, 'f32.demote_f64', toFloat(b, y)));
  const bits = b.let(toBits(b, result));
  // An exact result is fine whatever it is; another one must be normal.
  const differs = b.neg(f(b, 'f64.ne', f(b, 'f64.promote_f32', result), toFloat(b, y)));
  const inexact = b.and(differs, b.or(abnormalResult(b, 32, bits), nearestInexact(b)));
  const odd = b.wrap(b.shrU(unusual(b, 64, y), b.const(64, 32)));
  b.if(anyNegative(b, [inexact, odd, unusual(b, 32, bits)]), () => {
    exactly(b, FloatOp.convert, 64, 1, y);
    b.assign(result, toFloat(b, b.field(Scratch.result, 4)));
  });
  setLow(b, to!, b.vector(to!), result);
};

// Packed conversions

/** Two singles to doubles. */
const widenPacked: Meaning = (b, to, from) => {
  sse(b);
  // Both halves are alike, so that no other lane disturbs.
  const y = b.let(splat64(b, bits64(b, from!)));
  const result = b.variable(v(b, 'f64x2.promote_low_f32x4', y));
  b.if(signs(b, 32, unusualLanes(b, 32, y)), () => {
    exactly(b, FloatOp.convert, 32, 2, y);
    b.assign(result, resultVector(b));
  });
  b.setVector(to!, result);
};

const narrowPacked: Meaning = (b, to, from) => {
  sse(b);
  const y = source(b, from!);
  const result = b.variable(v(b, 'f32x4.demote_f64x2_zero', y));
  const differs = v(b, 'f64x2.ne', v(b, 'f64x2.promote_low_f32x4', result), y);
  const abnormal = v(b, 'i64x2.extend_low_i32x4_s', abnormalLanes(b, 32, result));
  const odd = v(
    b,
    'v128.or',
    unusualLanes(b, 64, y),
    v(b, 'i64x2.extend_low_i32x4_s', unusualLanes(b, 32, result)),
  );
  const tests = signs(b, 64, v(b, 'v128.or', odd, v(b, 'v128.and', differs, abnormal)));
  b.if(b.or(tests, when(b, signs(b, 64, differs), nearestInexact(b))), () => {
    exactly(b, FloatOp.convert, 64, 2, y);
    b.assign(result, zeroExtend64(b, b.field(Scratch.result, 8)));
  });
  b.setVector(to!, result);
};

/** CVTDQ2PS. */
function singlesFromIntegers(b: Builder, lanes: 2 | 4, y: Node): Node {
  const result = b.variable(v(b, 'f32x4.convert_i32x4_s', y));
  const fits = v(
    b,
    'i32x4.lt_u',
    v(b, 'i32x4.add', y, halves(b, 0x0100_0000, 0x0100_0000)),
    halves(b, 0x0200_0000, 0x0200_0000),
  );
  const long = b.xor(signs(b, 32, fits), b.i32(15));
  b.if(when(b, long, nearestInexact(b)), () => {
    exactly(b, FloatOp.fromInt32, 32, lanes, y);
    b.assign(result, resultVector(b));
  });
  return result;
}

/** Packed singles or doubles to doublewords; of two lanes, the other half is zero. */
function integersFrom(b: Builder, size: Size, truncates: boolean, lanes: 2 | 4, y: Node): Node {
  const shape = size === 64 ? 'f64x2' : 'f32x4';
  const integral = b.let(v(b, `${shape}.${truncates ? 'trunc' : 'nearest'}`, y));
  const result = b.variable(
    v(b, size === 64 ? 'i32x4.trunc_sat_f64x2_s_zero' : 'i32x4.trunc_sat_f32x4_s', integral),
  );
  const limit = size === 64 ? halves(b, 0, 0x41e0_0000) : halves(b, 0x4f00_0000, 0x4f00_0000);
  const fits = v(b, `${shape}.lt`, v(b, `${shape}.abs`, integral), limit);
  const all = b.i32(size === 64 ? 3 : 15);
  const changed = signs(b, size, v(b, `${shape}.ne`, integral, y));
  const traced = truncates ? anyInexact(b) : nearestInexact(b);
  b.if(b.or(b.xor(signs(b, size, fits), all), when(b, changed, traced)), () => {
    exactly(b, truncates ? FloatOp.truncate32 : FloatOp.toInt32, size, lanes, y);
    b.assign(result, lanes === 2 ? zeroExtend64(b, b.field(Scratch.result, 8)) : resultVector(b));
  });
  return result;
}

const toIntegers =
  (size: Size, truncates: boolean): Meaning =>
  (b, to, from) => {
    sse(b);
    b.setVector(to!, integersFrom(b, size, truncates, size === 64 ? 2 : 4, source(b, from!)));
  };

// With MMX registers

/** The x87 state changes even if an unmasked exception follows. */
const toMmx =
  (size: Size, truncates: boolean): Meaning =>
  (b, to, from) => {
    sse(b);
    mmx(b);
    const y = size === 64 ? source(b, from!) : b.let(splat64(b, bits64(b, from!)));
    enterMmx(b);
    setMmx(b, to!, integersFrom(b, size, truncates, 2, y));
  };
/** CVTPI2PS and CVTPI2PD: a memory operand leaves the x87 state alone. */
const fromMmx =
  (kernel: (b: Builder, old: Node, y: Node) => Node): Meaning =>
  (b, to, from) => {
    sse(b);
    if (from!.kind !== 'memory') mmx(b);
    const y = source64(b, from!);
    if (from!.kind !== 'memory') enterMmx(b);
    b.setVector(to!, kernel(b, b.vector(to!), y));
  };
const cvtpi2ps = fromMmx((b, old, y) =>
  b.shuffle(old, singlesFromIntegers(b, 2, b.let(splat64(b, low64(b, y)))), lanesOf(8, [2, 1])),
);
const cvtpi2pd = fromMmx((b, _, y) => v(b, 'f64x2.convert_low_i32x4_s', y));

const cvtdq2ps: Meaning = (b, to, from) => {
  sse(b);
  b.setVector(to!, singlesFromIntegers(b, 4, source(b, from!)));
};
const cvtdq2pd: Meaning = (b, to, from) => {
  sse(b);
  b.setVector(to!, v(b, 'f64x2.convert_low_i32x4_s', source64(b, from!)));
};

for (const { size, packed, ps, scalar, ss, operand } of FORMATS) {
  define(`${scalar} 2a`, `CVTSI2${ss}`, 'Vx Ey', fromInteger(size));
  define(`${scalar} 2c`, `CVTT${ss}2SI`, `Gy ${operand}`, toInteger(size, true));
  define(`${scalar} 2d`, `CVT${ss}2SI`, `Gy ${operand}`, toInteger(size, false));
  const operands = size === 64 ? 'Pq Wx' : 'Pq Wq';
  define(`${packed} 2c`, `CVTT${ps}2PI`, operands, toMmx(size, true));
  define(`${packed} 2d`, `CVT${ps}2PI`, operands, toMmx(size, false));
}
define('0f 2a', 'CVTPI2PS', 'Vx Qq', cvtpi2ps);
define('66 0f 2a', 'CVTPI2PD', 'Vx Qq', cvtpi2pd);
define('f3 0f 5a', 'CVTSS2SD', 'Vx Wd', widen);
define('f2 0f 5a', 'CVTSD2SS', 'Vx Wq', narrow);
define('0f 5a', 'CVTPS2PD', 'Vx Wq', widenPacked);
define('66 0f 5a', 'CVTPD2PS', 'Vx Wx', narrowPacked);
define('0f 5b', 'CVTDQ2PS', 'Vx Wx', cvtdq2ps);
define('66 0f 5b', 'CVTPS2DQ', 'Vx Wx', toIntegers(32, false));
define('f3 0f 5b', 'CVTTPS2DQ', 'Vx Wx', toIntegers(32, true));
define('66 0f e6', 'CVTTPD2DQ', 'Vx Wx', toIntegers(64, true));
define('f2 0f e6', 'CVTPD2DQ', 'Vx Wx', toIntegers(64, false));
define('f3 0f e6', 'CVTDQ2PD', 'Vx Wq', cvtdq2pd);
