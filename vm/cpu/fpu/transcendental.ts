/**
 * F2XM1, FYL2X, FYL2XP1, FPTAN, FPATAN, FSIN, FCOS and FSINCOS: special operands, exceptions, and results, which are
 * those of the exact function rounded by the control word's rounding, always to 64 bits. SDM volume 1, 8.3.8 to
 * 8.3.10, and volume 2 by name. Processors are off by up to an ulp, each in its own way.
 *
 * Each function takes operands that are no NaNs, and raises what it must in the context.
 */
import {
  arcTangent,
  exponentialLess1,
  FRACTION,
  LN2,
  logarithmOf1Plus,
  ONE,
  PI,
  product,
  quotient,
  sineAndCosine,
} from './fixed-point.ts';
import {
  bitLength,
  type Float80,
  type FpuContext,
  FpuFlag,
  infinity,
  isDenormal,
  isInfinite,
  isZero,
  power,
  zero,
} from './float80.ts';

/** Below this exponent a function is its first term, as far as 64 bits show. */
const TINY = -80;
export const ONE80: Float80 = { sign: 0, exponent: 16383, significand: 1n << 63n };

/** The exponent of a number's leading bit. */
function top(x: Float80): number {
  return power(x) + bitLength(x.significand) - 1;
}

function fixed(x: Float80): bigint {
  const shift = power(x) + FRACTION;
  return shift >= 0 ? x.significand << BigInt(shift) : x.significand >> BigInt(-shift);
}

function denormals(context: FpuContext, ...operands: Float80[]): void {
  if (operands.some(isDenormal)) context.flags |= FpuFlag.DE;
}

/** Rounds what isn't exact to 64 bits. */
function inexact(context: FpuContext, sign: number, m: bigint, e: number): Float80 {
  context.precision = 64;
  return context.round(sign, m, e, true);
}

/** The same of a fixed-point number of any sign. */
function rounded(context: FpuContext, value: bigint, e = -FRACTION): Float80 {
  return value < 0n ? inexact(context, 1, -value, e) : inexact(context, 0, value, e);
}

/** x made smaller by less than anything that shows. */
function justBelow(context: FpuContext, { sign, significand, ...x }: Float80): Float80 {
  return inexact(context, sign, (significand << 64n) - 1n, power({ sign, significand, ...x }) - 64);
}

/** x made greater by less than anything that shows. */
function justAbove(context: FpuContext, x: Float80): Float80 {
  return inexact(context, x.sign, x.significand << 64n, power(x) - 64);
}

/** 2^x − 1, for x between −1 and 1. */
export function powerOf2Less1(context: FpuContext, x: Float80): Float80 {
  if (isZero(x)) return x;
  if (isInfinite(x)) return x.sign === 1 ? { ...ONE80, sign: 1 } : x;
  denormals(context, x);
  if (top(x) >= 0) {
    const isMinus1 = x.sign === 1 && top(x) === 0 && x.significand === 1n << 63n;
    const result = beyondRange(context, x);
    return isMinus1 ? { ...result, exponent: 16382 } : result;
  }
  if (top(x) < TINY) return inexact(context, x.sign, x.significand * LN2, power(x) - FRACTION);
  const t = product(fixed(x), LN2);
  return rounded(context, exponentialLess1(x.sign === 1 ? -t : t));
}

/** A number that is m × 2^e, exactly or nearly. */
interface Unrounded {
  readonly m: bigint;
  readonly e: number;
  readonly exact: boolean;
}

/** log2 of m × 2^e, which is positive; of powers of 2 it is exact. */
function logarithm(m: bigint, e: number): Unrounded {
  // A mantissa between √½ and √2, so that nothing cancels.
  let exponent = bitLength(m) - 1;
  let mantissa = exponent > FRACTION ? m >> BigInt(exponent - FRACTION) : m << BigInt(FRACTION - exponent);
  if (product(mantissa, mantissa) > 2n * ONE) {
    mantissa >>= 1n;
    exponent++;
  }
  const whole = BigInt(exponent + e);
  if (mantissa === ONE) return { m: whole, e: 0, exact: true };
  return { m: whole * ONE + quotient(logarithmOf1Plus(mantissa - ONE), LN2), e: -FRACTION, exact: false };
}

/** y × a logarithm, which is neither 0. Exact or not, processors flag it as inexact. */
function scaled(context: FpuContext, y: Float80, { m, e, exact }: Unrounded): Float80 {
  const sign = y.sign ^ (m < 0n ? 1 : 0);
  context.flags |= FpuFlag.PE;
  context.precision = 64;
  const result = context.round(sign, y.significand * (m < 0n ? -m : m), power(y) + e, !exact);
  if (result.exponent === 0) context.flags |= FpuFlag.UE;
  return result;
}

/** y × infinity, by the signs. */
function unlimited(y: Float80, sign: number): Float80 {
  return infinity(y.sign ^ sign);
}

/** y × log2 x. */
export function yLogarithm(context: FpuContext, x: Float80, y: Float80): Float80 {
  if (isZero(x)) {
    if (isZero(y)) return context.invalid();
    if (isInfinite(y)) return unlimited(y, 1);
    context.flags |= FpuFlag.ZE;
    return unlimited(y, 1);
  }
  if (x.sign === 1) return context.invalid();
  const isOne = x.exponent === 16383 && x.significand === 1n << 63n;
  const below1 = x.exponent < 16383 ? 1 : 0;
  if (isInfinite(x)) {
    if (isZero(y)) return context.invalid();
    denormals(context, y);
    return unlimited(y, 0);
  }
  if (isInfinite(y)) {
    if (isOne) return context.invalid();
    denormals(context, x);
    return unlimited(y, below1);
  }
  denormals(context, x, y);
  if (isOne) return zero(y.sign);
  if (isZero(y)) return zero(y.sign ^ below1);
  return scaled(context, y, logarithm(x.significand, power(x)));
}

/** Operands for which the manual leaves the result undefined come back as they are. */
function beyondRange(context: FpuContext, x: Float80): Float80 {
  context.flags |= FpuFlag.PE;
  return x;
}

/** y × log2(x + 1). */
export function yLogarithmOf1Plus(context: FpuContext, x: Float80, y: Float80): Float80 {
  if (isZero(x)) {
    if (isInfinite(y)) return context.invalid();
    denormals(context, y);
    return zero(x.sign ^ y.sign);
  }
  if (isInfinite(x)) {
    if (x.sign === 1 || isZero(y)) return context.invalid();
    denormals(context, y);
    return unlimited(y, 0);
  }
  if (isInfinite(y)) {
    denormals(context, x);
    return unlimited(y, x.sign);
  }
  denormals(context, x, y);
  if (isZero(y)) return zero(x.sign ^ y.sign);
  // 1 + x, exactly: from 2^-80 to 2^63 it has less than 150 bits; beyond, one of the two doesn't count.
  if (top(x) < TINY) {
    const m = quotient(x.significand << 64n, LN2);
    return scaled(context, y, { m: x.sign === 1 ? -m : m, e: power(x) - 64, exact: false });
  }
  if (top(x) > 128)
    return x.sign === 1 ? beyondRange(context, x) : scaled(context, y, logarithm(x.significand, power(x)));
  const value = x.sign === 1 ? -fixed(x) : fixed(x);
  const sum = ONE + value;
  if (sum <= 0n) return beyondRange(context, x);
  if (top(x) < -1) {
    const m = quotient(logarithmOf1Plus(value), LN2);
    return scaled(context, y, { m, e: -FRACTION, exact: false });
  }
  return scaled(context, y, logarithm(sum, -FRACTION));
}

/** The angle of the point (x, y). */
export function angle(context: FpuContext, x: Float80, y: Float80): Float80 {
  const signed = (value: bigint): Float80 => inexact(context, y.sign, value, -FRACTION);
  if (isInfinite(y)) {
    denormals(context, x);
    return signed(isInfinite(x) ? (x.sign === 1 ? (3n * PI) / 4n : PI / 4n) : PI / 2n);
  }
  denormals(context, x, y);
  if (isInfinite(x) || isZero(y)) return x.sign === 1 ? signed(PI) : zero(y.sign);
  if (isZero(x)) return signed(PI / 2n);
  const distance = top(y) - top(x);
  if (distance < TINY && x.sign === 0) {
    // The quotient, and less by what doesn't show.
    const wide = y.significand << 140n;
    const m = wide / x.significand;
    return inexact(context, y.sign, m * x.significand === wide ? m - 1n : m, power(y) - power(x) - 140);
  }
  const greater = distance > 0 || (distance === 0 && compareMagnitudes(y, x) > 0);
  const [small, large] = greater ? [x, y] : [y, x];
  const by = power(small) - power(large) + FRACTION;
  const ratio =
    by >= 0
      ? (small.significand << BigInt(by)) / large.significand
      : small.significand / (large.significand << BigInt(-by));
  const acute = greater ? PI / 2n - arcTangent(ratio) : arcTangent(ratio);
  return signed(x.sign === 1 ? PI - acute : acute);
}

/** Of numbers whose leading bits have the same exponent. */
function compareMagnitudes(a: Float80, b: Float80): number {
  const shift = power(a) - power(b);
  const [m, n] =
    shift >= 0
      ? [a.significand << BigInt(shift), b.significand]
      : [a.significand, b.significand << BigInt(-shift)];
  return m > n ? 1 : m < n ? -1 : 0;
}

/** Whether FSIN and its kin can do it: below 2^63. */
export function isInRange(x: Float80): boolean {
  return x.exponent < 16383 + 63;
}

function circular(x: Float80): { sine: bigint; cosine: bigint } {
  const { sine, cosine } = sineAndCosine(x.significand, power(x));
  return { sine: x.sign === 1 ? -sine : sine, cosine };
}

export function sine(context: FpuContext, x: Float80): Float80 {
  if (isInfinite(x)) return context.invalid();
  if (isZero(x)) return x;
  denormals(context, x);
  return top(x) < TINY ? justBelow(context, x) : rounded(context, circular(x).sine);
}

export function cosine(context: FpuContext, x: Float80): Float80 {
  if (isInfinite(x)) return context.invalid();
  if (isZero(x)) return ONE80;
  denormals(context, x);
  return top(x) < TINY ? justBelow(context, ONE80) : rounded(context, circular(x).cosine);
}

export function tangent(context: FpuContext, x: Float80): Float80 {
  if (isInfinite(x)) return context.invalid();
  if (isZero(x)) return x;
  denormals(context, x);
  if (top(x) < TINY) return justAbove(context, x);
  const { sine: s, cosine: c } = circular(x);
  return rounded(context, quotient(s, c));
}
