/**
 * Arithmetic of the x87 FPU: 80-bit extended reals, rounded by the control word, with the exceptions that the
 * status word collects. SDM volume 1, 4.2, 4.8, 8.1.5 and 8.5. Significands are bigints: this is the exact
 * and general form.
 */

/** An 80-bit real: sign, biased exponent, and significand with its explicit integer bit. */
export interface Float80 {
  readonly sign: number;
  readonly exponent: number;
  readonly significand: bigint;
}

/** Status word bits. SDM volume 1, 8.1.3. */
export const FpuFlag = {
  IE: 1,
  DE: 2,
  ZE: 4,
  OE: 8,
  UE: 16,
  PE: 32,
  SF: 64,
  ES: 128,
  C0: 0x100,
  C1: 0x200,
  C2: 0x400,
  C3: 0x4000,
  B: 0x8000,
} as const;

/** Rounding control. */
const Round = { nearest: 0, down: 1, up: 2, zero: 3 } as const;

const INTEGER_BIT = 1n << 63n;
const QUIET_BIT = 1n << 62n;
const EXPONENT_MAXIMUM = 0x7fff;
const BIAS = 16383;

export const INDEFINITE: Float80 = { sign: 1, exponent: EXPONENT_MAXIMUM, significand: 3n << 62n };
export const zero = (sign: number): Float80 => ({ sign, exponent: 0, significand: 0n });
export const infinity = (sign: number): Float80 => ({
  sign,
  exponent: EXPONENT_MAXIMUM,
  significand: INTEGER_BIT,
});

export const isNaN80 = (x: Float80): boolean =>
  x.exponent === EXPONENT_MAXIMUM && (x.significand & ~INTEGER_BIT) !== 0n;
const isSignalling = (x: Float80): boolean => isNaN80(x) && (x.significand & QUIET_BIT) === 0n;
export const isInfinite = (x: Float80): boolean =>
  x.exponent === EXPONENT_MAXIMUM && x.significand === INTEGER_BIT;
export const isZero = (x: Float80): boolean => x.exponent === 0 && x.significand === 0n;
/** Encodings from before the 387 that mean nothing: an exponent without integer bit. */
export const isUnsupported = (x: Float80): boolean =>
  x.exponent !== 0 && (x.significand & INTEGER_BIT) === 0n;
export const isDenormal = (x: Float80): boolean => x.exponent === 0 && x.significand !== 0n;

export function bitLength(value: bigint): number {
  if (value < 0x1_0000_0000n) return 32 - Math.clz32(Number(value));
  return value.toString(2).length;
}

/** What an operation runs with: the control word, and the exceptions it has raised. */
export class FpuContext {
  /** Exceptions of this operation; C1 when the result was rounded up. */
  flags = 0;
  /** 24, 53 or 64 bits. */
  precision = 64;
  rounding: number = Round.nearest;
  /** The control word's masks. */
  masks = 0x3f;

  begin(control: number): void {
    this.flags = 0;
    const pc = (control >> 8) & 3;
    this.precision = pc === 0 ? 24 : pc === 2 ? 53 : 64;
    this.rounding = (control >> 10) & 3;
    this.masks = control & 0x3f;
  }

  private away(sign: number, odd: boolean, half: number): boolean {
    // half: −1 below the middle, 0 in it, 1 above; nothing is lost when there is no remainder at all.
    switch (this.rounding) {
      case Round.nearest:
        return half > 0 || (half === 0 && odd);
      case Round.down:
        return sign === 1;
      case Round.up:
        return sign === 0;
      default:
        return false;
    }
  }

  /**
   * Whether rounding to so many bits, with exponents without end, gives the next power of two: what is tiny is
   * decided by that (SDM volume 1, 4.9.1.5).
   */
  private reachesNext(sign: number, m: bigint, length: number, sticky: boolean, bits: number): boolean {
    const drop = BigInt(length - bits);
    if (drop <= 0n) return false;
    const ones = (1n << BigInt(bits)) - 1n;
    if (m >> drop !== ones) return false;
    const lost = m & ((1n << drop) - 1n);
    if (lost === 0n && !sticky) return false;
    const middle = 1n << (drop - 1n);
    return this.away(sign, true, lost > middle ? 1 : lost < middle ? -1 : sticky ? 1 : 0);
  }

  /** The result when even the exponent that an unmasked exception gets doesn't fit: SDM volume 1, 8.5.4 and 8.5.5. */
  private massive(sign: number, large: boolean): Float80 {
    this.flags |= FpuFlag.PE;
    this.flags &= ~FpuFlag.C1;
    if (!large) return zero(sign);
    this.flags |= FpuFlag.C1;
    return infinity(sign);
  }

  /**
   * Rounds (−1)^sign × m × 2^e to a format.
   * @param sticky - whether bits below m's last were lost
   * @param bits - of the significand; least and greatest exponents are those of its leading bit
   */
  round(
    sign: number,
    m: bigint,
    e: number,
    sticky: boolean,
    bits = this.precision,
    least = -16382,
    greatest = 16383,
  ): Float80 {
    if (m === 0n && !sticky) return zero(sign);
    let length = bitLength(m);
    let top = e + length - 1;
    let keep = bits;
    const tiny = top < least - 1 || (top === least - 1 && !this.reachesNext(sign, m, length, sticky, bits));
    const adjust = tiny && (this.masks & FpuFlag.UE) === 0 && bits === this.precision;
    if (!adjust && top < least) keep = bits - (least - top);
    let drop = length - keep;
    let value = m;
    let inexact = sticky;
    let up = false;
    if (drop > 0) {
      const lost = drop > length + 1 ? m : m & ((1n << BigInt(drop)) - 1n);
      value = drop > length ? 0n : m >> BigInt(drop);
      if (lost !== 0n || sticky) {
        inexact = true;
        let half: number;
        if (drop > length) half = -1;
        else {
          const middle = 1n << BigInt(drop - 1);
          half = lost > middle || (lost === middle && sticky) ? 1 : lost === middle ? 0 : -1;
        }
        up = this.away(sign, (value & 1n) === 1n, half);
        if (up) value += 1n;
      }
    } else if (sticky) {
      // The bits kept are too few to hold what was lost; there are guard bits in every caller's m.
      value = m << BigInt(-drop);
      drop = 0;
      length = keep;
      e = top - keep + 1;
      up = this.away(sign, (value & 1n) === 1n, -1);
      if (up) value += 1n;
    } else {
      drop = 0;
    }
    let exponent = e + Math.max(drop, 0);
    if (inexact) this.flags |= FpuFlag.PE | (up ? FpuFlag.C1 : 0);
    if (value === 0n) {
      if (tiny && inexact) this.flags |= FpuFlag.UE;
      return zero(sign);
    }
    length = bitLength(value);
    top = exponent + length - 1;
    if (adjust) {
      this.flags |= FpuFlag.UE;
      exponent += 24576;
      top = exponent + length - 1;
      // Even so too small, which only FSCALE manages.
      if (top < -16382) return this.massive(sign, false);
    } else if (tiny && inexact) this.flags |= FpuFlag.UE;
    if (top > greatest) {
      this.flags |= FpuFlag.OE;
      if ((this.masks & FpuFlag.OE) === 0 && bits === this.precision && greatest === 16383) {
        top -= 24576;
        if (top > 16383) return this.massive(sign, true);
        return { sign, exponent: top + BIAS, significand: value << BigInt(64 - length) };
      }
      this.flags |= FpuFlag.PE;
      this.flags &= ~FpuFlag.C1;
      const toInfinity =
        this.rounding === Round.nearest ||
        (this.rounding === Round.up && sign === 0) ||
        (this.rounding === Round.down && sign === 1);
      if (toInfinity) {
        this.flags |= FpuFlag.C1;
        return infinity(sign);
      }
      return {
        sign,
        exponent: greatest + BIAS,
        significand: ((1n << BigInt(bits)) - 1n) << BigInt(64 - bits),
      };
    }
    if (top < -16382) {
      // A denormal of the 80-bit format.
      return { sign, exponent: 0, significand: value << BigInt(exponent + 16445) };
    }
    return {
      sign,
      exponent: top + BIAS,
      significand: length > 64 ? value >> BigInt(length - 64) : value << BigInt(64 - length),
    };
  }

  /** Invalid operands of two-operand instructions. @returns a result when it is decided */
  nans(a: Float80, b: Float80): Float80 | undefined {
    if (isUnsupported(a) || isUnsupported(b)) {
      this.flags |= FpuFlag.IE;
      return INDEFINITE;
    }
    const nanA = isNaN80(a);
    const nanB = isNaN80(b);
    if (!nanA && !nanB) return undefined;
    if (isSignalling(a) || isSignalling(b)) this.flags |= FpuFlag.IE;
    const quiet = (x: Float80): Float80 => ({ ...x, significand: x.significand | QUIET_BIT });
    if (!nanB) return quiet(a);
    if (!nanA) return quiet(b);
    // A signalling NaN yields to a quiet one; else the larger significand wins, and of equals the positive.
    if (isSignalling(a) !== isSignalling(b)) return isSignalling(a) ? quiet(b) : quiet(a);
    if (a.significand !== b.significand) return a.significand > b.significand ? quiet(a) : quiet(b);
    return a.sign === 0 ? quiet(a) : quiet(b);
  }

  private denormals(a: Float80, b?: Float80): void {
    if (isDenormal(a) || (b !== undefined && isDenormal(b))) this.flags |= FpuFlag.DE;
  }

  invalid(): Float80 {
    this.flags |= FpuFlag.IE;
    return INDEFINITE;
  }

  add(a: Float80, b: Float80): Float80 {
    const nan = this.nans(a, b);
    if (nan !== undefined) return nan;
    if (isInfinite(a)) {
      if (isInfinite(b) && a.sign !== b.sign) return this.invalid();
      this.denormals(a, b);
      return a;
    }
    this.denormals(a, b);
    if (isInfinite(b)) return b;
    if (isZero(a) && isZero(b))
      return zero(a.sign === b.sign ? a.sign : this.rounding === Round.down ? 1 : 0);
    let x = a;
    let y = b;
    let ex = power(x);
    let ey = power(y);
    if (isZero(x) || (!isZero(y) && ey > ex)) {
      [x, y] = [y, x];
      [ex, ey] = [ey, ex];
    }
    // Far below, only whether there is something counts.
    const distance = isZero(y) ? 0 : ex - ey;
    const guard = 70;
    let mx = x.significand << BigInt(guard);
    let my: bigint;
    let sticky = false;
    if (distance <= guard) my = y.significand << BigInt(guard - distance);
    else {
      const by = BigInt(Math.min(distance - guard, 200));
      my = y.significand >> by;
      sticky = my << by !== y.significand;
    }
    if (x.sign === y.sign) return this.round(x.sign, mx + my, ex - guard, sticky);
    mx -= my;
    if (sticky) mx -= 1n;
    if (mx === 0n && !sticky) return zero(this.rounding === Round.down ? 1 : 0);
    return mx < 0n ? this.round(y.sign, -mx, ex - guard, sticky) : this.round(x.sign, mx, ex - guard, sticky);
  }

  subtract(a: Float80, b: Float80): Float80 {
    return this.nans(a, b) ?? this.add(a, { ...b, sign: b.sign ^ 1 });
  }

  multiply(a: Float80, b: Float80): Float80 {
    const nan = this.nans(a, b);
    if (nan !== undefined) return nan;
    const sign = a.sign ^ b.sign;
    if ((isInfinite(a) && isZero(b)) || (isZero(a) && isInfinite(b))) return this.invalid();
    this.denormals(a, b);
    if (isInfinite(a) || isInfinite(b)) return infinity(sign);
    return this.round(sign, a.significand * b.significand, power(a) + power(b), false);
  }

  divide(a: Float80, b: Float80): Float80 {
    const nan = this.nans(a, b);
    if (nan !== undefined) return nan;
    const sign = a.sign ^ b.sign;
    if ((isInfinite(a) && isInfinite(b)) || (isZero(a) && isZero(b))) return this.invalid();
    if (isInfinite(a)) {
      this.denormals(b);
      return a.sign === sign ? a : infinity(sign);
    }
    if (isZero(b)) {
      this.denormals(a);
      this.flags |= FpuFlag.ZE;
      return infinity(sign);
    }
    this.denormals(a, b);
    if (isInfinite(b) || isZero(a)) return zero(sign);
    const guard = 130;
    const dividend = a.significand << BigInt(guard);
    const quotient = dividend / b.significand;
    return this.round(sign, quotient, power(a) - power(b) - guard, quotient * b.significand !== dividend);
  }

  squareRoot(a: Float80): Float80 {
    const nan = this.nans(a, a);
    if (nan !== undefined) return nan;
    if (isZero(a)) return a;
    if (a.sign === 1) return this.invalid();
    if (isInfinite(a)) return a;
    this.denormals(a);
    let e = power(a);
    let m = a.significand << 140n;
    e -= 140;
    if (e % 2 !== 0) {
      m <<= 1n;
      e--;
    }
    const root = integerRoot(m);
    return this.round(0, root, e / 2, root * root !== m);
  }

  /** FRNDINT. */
  toInteger(a: Float80): Float80 {
    const nan = this.nans(a, a);
    if (nan !== undefined) return nan;
    if (isInfinite(a) || isZero(a)) return a;
    this.denormals(a);
    const e = power(a);
    if (e >= 0) return a;
    const [m, inexact, up] = this.shiftRight(a.sign, a.significand, -e);
    if (inexact) this.flags |= FpuFlag.PE | (up ? FpuFlag.C1 : 0);
    if (m === 0n) return zero(a.sign);
    const length = bitLength(m);
    return { sign: a.sign, exponent: length - 1 + BIAS, significand: m << BigInt(64 - length) };
  }

  private shiftRight(sign: number, m: bigint, by: number): [bigint, boolean, boolean] {
    const n = Math.min(by, 100);
    const value = m >> BigInt(n);
    const lost = m - (value << BigInt(n));
    if (lost === 0n) return [value, false, false];
    const middle = 1n << BigInt(n - 1);
    const half = lost > middle ? 1 : lost === middle ? 0 : -1;
    const up = this.away(sign, (value & 1n) === 1n, half);
    return [up ? value + 1n : value, true, up];
  }

  /** To a signed integer of so many bits; undefined for one that doesn't fit. */
  integer(a: Float80, bits: number, truncate = false): bigint | undefined {
    if (isUnsupported(a) || isNaN80(a) || isInfinite(a)) {
      this.flags |= FpuFlag.IE;
      return undefined;
    }
    const rounding = this.rounding;
    if (truncate) this.rounding = Round.zero;
    const e = power(a);
    let m = a.significand;
    let inexact = false;
    let up = false;
    if (e < 0) [m, inexact, up] = this.shiftRight(a.sign, m, -e);
    else if (e > 64) m = 1n << 100n;
    else m <<= BigInt(e);
    this.rounding = rounding;
    const value = a.sign === 1 ? -m : m;
    if (BigInt.asIntN(bits, value) !== value) {
      this.flags |= FpuFlag.IE;
      return undefined;
    }
    if (inexact) this.flags |= FpuFlag.PE | (up ? FpuFlag.C1 : 0);
    return value;
  }

  /** From a signed integer, exactly. */
  static fromInteger(value: bigint): Float80 {
    if (value === 0n) return zero(0);
    const sign = value < 0n ? 1 : 0;
    const m = value < 0n ? -value : value;
    const length = bitLength(m);
    return { sign, exponent: length - 1 + BIAS, significand: m << BigInt(64 - length) };
  }

  /** From binary32 or binary64 bits. @param keeps - a signalling NaN stays one, for what it meets to decide */
  fromBits(bits: bigint, fraction: 23 | 52, keeps = false): Float80 {
    const exponentBits = fraction === 23 ? 8 : 11;
    const bias = (1 << (exponentBits - 1)) - 1;
    const sign = Number((bits >> BigInt(fraction + exponentBits)) & 1n);
    const exponent = Number((bits >> BigInt(fraction)) & ((1n << BigInt(exponentBits)) - 1n));
    const f = bits & ((1n << BigInt(fraction)) - 1n);
    const left = BigInt(63 - fraction);
    if (exponent === (1 << exponentBits) - 1) {
      const x = { sign, exponent: EXPONENT_MAXIMUM, significand: INTEGER_BIT | (f << left) };
      if (f === 0n || keeps) return x;
      if (isSignalling(x)) this.flags |= FpuFlag.IE;
      return { ...x, significand: x.significand | QUIET_BIT };
    }
    if (exponent === 0) {
      if (f === 0n) return zero(sign);
      this.flags |= FpuFlag.DE;
      const length = bitLength(f);
      return { sign, exponent: length - fraction - bias + BIAS, significand: f << BigInt(64 - length) };
    }
    return { sign, exponent: exponent - bias + BIAS, significand: INTEGER_BIT | (f << left) };
  }

  /** To binary32 or binary64 bits; undefined when an unmasked exception forbids the store. */
  toBits(a: Float80, fraction: 23 | 52): bigint {
    const exponentBits = fraction === 23 ? 8 : 11;
    const bias = (1 << (exponentBits - 1)) - 1;
    const pack = (sign: number, exponent: number, f: bigint): bigint =>
      (BigInt(sign) << BigInt(fraction + exponentBits)) | (BigInt(exponent) << BigInt(fraction)) | f;
    const all = (1 << exponentBits) - 1;
    if (isUnsupported(a)) {
      this.flags |= FpuFlag.IE;
      return pack(1, all, 1n << BigInt(fraction - 1));
    }
    if (isNaN80(a)) {
      if (isSignalling(a)) this.flags |= FpuFlag.IE;
      return pack(a.sign, all, ((a.significand | QUIET_BIT) & ~INTEGER_BIT) >> BigInt(63 - fraction));
    }
    if (isInfinite(a)) return pack(a.sign, all, 0n);
    if (isZero(a)) return pack(a.sign, 0, 0n);
    const masks = this.masks;
    // Biased results are for registers only.
    this.masks |= FpuFlag.UE | FpuFlag.OE;
    const r = this.round(a.sign, a.significand, power(a), false, fraction + 1, 1 - bias, bias);
    this.masks = masks;
    if (isInfinite(r)) return pack(r.sign, all, 0n);
    if (isZero(r)) return pack(r.sign, 0, 0n);
    const exponent = r.exponent - BIAS + bias;
    // Unmasked, what is tiny underflows even if it is exact.
    if (exponent <= 0 && (masks & FpuFlag.UE) === 0) this.flags |= FpuFlag.UE;
    const m = r.significand >> BigInt(63 - fraction);
    if (exponent > 0) return pack(r.sign, exponent, m & ((1n << BigInt(fraction)) - 1n));
    return pack(r.sign, 0, r.significand >> BigInt(63 - fraction + 1 - exponent));
  }

  /** −1, 0, 1, or undefined for unordered. @param quiet - FUCOM: a quiet NaN raises nothing */
  compare(a: Float80, b: Float80, quiet: boolean): number | undefined {
    if (isUnsupported(a) || isUnsupported(b) || isNaN80(a) || isNaN80(b)) {
      if (!quiet || isSignalling(a) || isSignalling(b) || isUnsupported(a) || isUnsupported(b))
        this.flags |= FpuFlag.IE;
      return undefined;
    }
    this.denormals(a, b);
    if (isZero(a) && isZero(b)) return 0;
    if (a.sign !== b.sign) return a.sign === 1 ? -1 : 1;
    const order = isZero(a)
      ? -1
      : isZero(b)
        ? 1
        : power(a) !== power(b) && (a.exponent !== 0 || b.exponent !== 0)
          ? a.exponent > b.exponent
            ? 1
            : a.exponent < b.exponent
              ? -1
              : 0
          : a.significand > b.significand
            ? 1
            : a.significand < b.significand
              ? -1
              : 0;
    return a.sign === 1 ? -order : order;
  }
}

/** Exponent of the significand's last bit. */
export function power(x: Float80): number {
  return (x.exponent === 0 ? 1 : x.exponent) - BIAS - 63;
}

function integerRoot(n: bigint): bigint {
  let x = 1n << BigInt((bitLength(n) + 1) >> 1);
  for (;;) {
    const next = (x + n / x) >> 1n;
    if (next >= x) return x;
    x = next;
  }
}
