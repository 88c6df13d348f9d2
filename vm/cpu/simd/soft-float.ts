/**
 * Binary floating point as the SSE unit does it, exactly and in every mode: IEEE 754 with x86's choices (NaN
 * operands, tininess after rounding, denormals-are-zeros, flush-to-zero). SDM volume 1, chapters 4 and 11 and
 * appendix E.
 *
 * Values are bit patterns in a bigint, results are exact before they are rounded. This is the slow path,
 * and what the fast paths are measured against; it is a few hundred times slower than they are.
 */

/** Exception flags, as in MXCSR's low bits. SDM volume 1, 10.2.3. */
export const Flag = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 16, PE: 32 } as const;
export const PRE_COMPUTATION = Flag.IE | Flag.DE | Flag.ZE;

export const Rounding = { nearest: 0, down: 1, up: 2, zero: 3 } as const;
export type Rounding = (typeof Rounding)[keyof typeof Rounding];

/** A binary interchange format. */
export interface Format {
  readonly bits: number;
  /** Bits of the significand, with the implied one. */
  readonly precision: number;
  /** Exponent of the smallest and the largest normal number. */
  readonly minimum: number;
  readonly maximum: number;
  readonly fraction: bigint;
  readonly infinity: bigint;
  readonly sign: bigint;
  readonly quiet: bigint;
  /** The QNaN real indefinite. */
  readonly indefinite: bigint;
}

function format(bits: number, precision: number): Format {
  const maximum = 2 ** (bits - precision - 1) - 1;
  const shift = BigInt(precision - 1);
  const infinity = ((1n << BigInt(bits - precision)) - 1n) << shift;
  const sign = 1n << BigInt(bits - 1);
  const quiet = 1n << (shift - 1n);
  return {
    bits,
    precision,
    minimum: 1 - maximum,
    maximum,
    fraction: (1n << shift) - 1n,
    infinity,
    sign,
    quiet,
    indefinite: sign | infinity | quiet,
  };
}

export const SINGLE = format(32, 24);
export const DOUBLE = format(64, 53);

/** An exact number: significand × 2^exponent. A significand of 0 is a signed zero. */
interface Exact {
  readonly negative: boolean;
  readonly significand: bigint;
  readonly exponent: number;
}

const asDouble = new Float64Array(1);
const asWords = new Uint32Array(asDouble.buffer);

/** Number of bits of a positive number below 2^1023. */
function lengthOf(value: bigint): number {
  asDouble[0] = Number(value);
  const length = (asWords[1]! >>> 20) - 1022;
  // The conversion may have rounded up to a power of two.
  return value >> BigInt(length - 1) === 0n ? length - 1 : length;
}

/** The floor of a square root. */
function squareRoot(value: bigint): bigint {
  let root = BigInt(Math.floor(Math.sqrt(Number(value))));
  for (;;) {
    const next = (root + value / root) >> 1n;
    const step = next - root;
    if (step >= -1n && step <= 1n) {
      root = next;
      break;
    }
    root = next;
  }
  while (root * root > value) root--;
  while ((root + 1n) * (root + 1n) <= value) root++;
  return root;
}

/** Modes, and the flags that operations raise. */
export class FloatUnit {
  rounding: Rounding = Rounding.nearest;
  denormalsAreZeros = false;
  flushToZero = false;
  /** Whether underflow is masked: an unmasked one counts when the result is exact, too. */
  underflowMasked = true;
  /** Whether overflow is masked: an unmasked one is inexact only if the significand is. */
  overflowMasked = true;
  flags = 0;

  // Reading operands

  isNaN(f: Format, x: bigint): boolean {
    return (x & ~f.sign) > f.infinity;
  }

  private isSignaling(f: Format, x: bigint): boolean {
    return (x & ~f.sign) > f.infinity && (x & f.quiet) === 0n;
  }

  private isDenormal(f: Format, x: bigint): boolean {
    return (x & f.infinity) === 0n && (x & f.fraction) !== 0n;
  }

  isInfinite(f: Format, x: bigint): boolean {
    return (x & ~f.sign) === f.infinity;
  }

  /** The operand as the operation sees it: without denormals, if they are zeros. */
  private operand(f: Format, x: bigint): bigint {
    return this.denormalsAreZeros && this.isDenormal(f, x) ? x & f.sign : x;
  }

  private exact(f: Format, x: bigint): Exact {
    const biased = Number((x & f.infinity) >> BigInt(f.precision - 1));
    const fraction = x & f.fraction;
    const negative = (x & f.sign) !== 0n;
    const lowest = f.minimum - f.precision + 1;
    if (biased === 0) return { negative, significand: fraction, exponent: lowest };
    return { negative, significand: fraction | (f.fraction + 1n), exponent: lowest + biased - 1 };
  }

  /** The result when an operand is a NaN. SDM volume 1, table 4-7. */
  private nanOf(f: Format, x: bigint, y: bigint): bigint | undefined {
    const first = this.isNaN(f, x);
    if (!first && !this.isNaN(f, y)) return undefined;
    if (this.isSignaling(f, x) || this.isSignaling(f, y)) this.flags |= Flag.IE;
    return (first ? x : y) | f.quiet;
  }

  private checkDenormal(f: Format, x: bigint, y: bigint): void {
    if (this.isDenormal(f, x) || this.isDenormal(f, y)) this.flags |= Flag.DE;
  }

  private invalid(f: Format): bigint {
    this.flags |= Flag.IE;
    return f.indefinite;
  }

  // Rounding

  /** Drops `shift` bits. @returns the rest and whether anything was lost */
  private dropBits(
    negative: boolean,
    significand: bigint,
    shift: number,
    rounding: Rounding,
  ): { kept: bigint; inexact: boolean } {
    if (shift <= 0) return { kept: significand << BigInt(-shift), inexact: false };
    const by = BigInt(shift);
    let kept = significand >> by;
    const rest = significand - (kept << by);
    if (rest === 0n) return { kept, inexact: false };
    const half = 1n << (by - 1n);
    const up =
      rounding === Rounding.nearest
        ? rest > half || (rest === half && (kept & 1n) === 1n)
        : rounding === Rounding.down
          ? negative
          : rounding === Rounding.up && !negative;
    if (up) kept++;
    return { kept, inexact: true };
  }

  /** Rounds a number to a format: overflow, underflow, inexact. SDM volume 1, 4.9.1.4 to 4.9.1.6. */
  private round(f: Format, { negative, significand, exponent }: Exact): bigint {
    const sign = negative ? f.sign : 0n;
    if (significand === 0n) return sign;
    const length = lengthOf(significand);
    const { kept, inexact } = this.dropBits(negative, significand, length - f.precision, this.rounding);
    let top = exponent + length - 1;
    let rounded = kept;
    if (rounded > f.fraction * 2n + 1n) {
      rounded >>= 1n;
      top++;
    }
    if (top < f.minimum) return sign | this.tiny(f, negative, significand, exponent, inexact);
    if (top > f.maximum) {
      this.flags |= Flag.OE | (this.overflowMasked || inexact ? Flag.PE : 0);
      const toInfinity =
        this.rounding === Rounding.nearest ||
        (this.rounding === Rounding.up && !negative) ||
        (this.rounding === Rounding.down && negative);
      return sign | (toInfinity ? f.infinity : f.infinity - 1n);
    }
    if (inexact) this.flags |= Flag.PE;
    return sign | ((BigInt(top - f.minimum) << BigInt(f.precision - 1)) + rounded);
  }

  private tiny(
    f: Format,
    negative: boolean,
    significand: bigint,
    exponent: number,
    inexact: boolean,
  ): bigint {
    if (!this.underflowMasked) {
      this.flags |= Flag.UE | (inexact ? Flag.PE : 0);
      return 0n;
    }
    if (this.flushToZero) {
      this.flags |= Flag.UE | Flag.PE;
      return 0n;
    }
    const { kept, inexact: lost } = this.dropBits(
      negative,
      significand,
      f.minimum - f.precision + 1 - exponent,
      this.rounding,
    );
    if (lost) this.flags |= Flag.UE | Flag.PE;
    return kept;
  }

  // Arithmetic

  add(f: Format, a: bigint, b: bigint, negate = false): bigint {
    const x = this.operand(f, a);
    const y = this.operand(f, b);
    const nan = this.nanOf(f, x, y);
    if (nan !== undefined) return nan;
    this.checkDenormal(f, x, y);
    const other = negate ? y ^ f.sign : y;
    const firstInfinite = this.isInfinite(f, x);
    if (firstInfinite || this.isInfinite(f, other)) {
      if (firstInfinite && this.isInfinite(f, other) && x !== other) return this.invalid(f);
      return firstInfinite ? x : other;
    }
    let p = this.exact(f, x);
    let q = this.exact(f, other);
    if (p.exponent < q.exponent) [p, q] = [q, p];
    // What lies far below only says that there is something.
    const far = 3 * f.precision;
    if (p.exponent - q.exponent > far && p.significand !== 0n) {
      q = { negative: q.negative, significand: q.significand === 0n ? 0n : 1n, exponent: p.exponent - far };
    }
    const aligned = p.significand << BigInt(p.exponent - q.exponent);
    const sum = (p.negative ? -aligned : aligned) + (q.negative ? -q.significand : q.significand);
    if (sum === 0n) {
      const negative = p.negative === q.negative ? p.negative : this.rounding === Rounding.down;
      return negative ? f.sign : 0n;
    }
    return this.round(f, { negative: sum < 0n, significand: sum < 0n ? -sum : sum, exponent: q.exponent });
  }

  subtract(f: Format, a: bigint, b: bigint): bigint {
    return this.add(f, a, b, true);
  }

  multiply(f: Format, a: bigint, b: bigint): bigint {
    const x = this.operand(f, a);
    const y = this.operand(f, b);
    const nan = this.nanOf(f, x, y);
    if (nan !== undefined) return nan;
    this.checkDenormal(f, x, y);
    const sign = (x ^ y) & f.sign;
    const [p, q] = [x & ~f.sign, y & ~f.sign];
    if (p === f.infinity || q === f.infinity) {
      if (p === 0n || q === 0n) return this.invalid(f);
      return sign | f.infinity;
    }
    const [m, n] = [this.exact(f, p), this.exact(f, q)];
    return this.round(f, {
      negative: sign !== 0n,
      significand: m.significand * n.significand,
      exponent: m.exponent + n.exponent,
    });
  }

  divide(f: Format, a: bigint, b: bigint): bigint {
    const x = this.operand(f, a);
    const y = this.operand(f, b);
    const nan = this.nanOf(f, x, y);
    if (nan !== undefined) return nan;
    const sign = (x ^ y) & f.sign;
    const [p, q] = [x & ~f.sign, y & ~f.sign];
    // A division by zero comes before a denormal operand.
    if (q !== 0n) this.checkDenormal(f, x, y);
    if (p === f.infinity) return q === f.infinity ? this.invalid(f) : sign | f.infinity;
    if (q === f.infinity) return sign;
    if (q === 0n) {
      if (p === 0n) return this.invalid(f);
      this.flags |= Flag.ZE;
      return sign | f.infinity;
    }
    if (p === 0n) return sign;
    const [m, n] = [this.exact(f, p), this.exact(f, q)];
    // Enough bits for every rounding, and one that says whether something is left.
    const shift = f.precision + 3 + lengthOf(n.significand) - lengthOf(m.significand);
    const dividend = shift >= 0 ? m.significand << BigInt(shift) : m.significand;
    const divisor = shift >= 0 ? n.significand : n.significand << BigInt(-shift);
    const quotient = dividend / divisor;
    const rest = dividend - quotient * divisor;
    const significand = (quotient << 1n) | (rest === 0n ? 0n : 1n);
    return this.round(f, {
      negative: sign !== 0n,
      significand,
      exponent: m.exponent - n.exponent - shift - 1,
    });
  }

  squareRoot(f: Format, a: bigint): bigint {
    const x = this.operand(f, a);
    if (this.isNaN(f, x)) {
      if (this.isSignaling(f, x)) this.flags |= Flag.IE;
      return x | f.quiet;
    }
    if ((x & ~f.sign) === 0n) return x;
    if ((x & f.sign) !== 0n) return this.invalid(f);
    this.checkDenormal(f, x, x);
    if (x === f.infinity) return x;
    const { significand, exponent } = this.exact(f, x);
    let shift = 2 * f.precision + 4 - lengthOf(significand);
    if (((exponent - shift) & 1) !== 0) shift++;
    const radicand = significand << BigInt(shift);
    const root = squareRoot(radicand);
    const rest = radicand === root * root ? 0n : 1n;
    return this.round(f, {
      negative: false,
      significand: (root << 1n) | rest,
      exponent: (exponent - shift) / 2 - 1,
    });
  }

  /** MIN and MAX: the second operand, when either is a NaN or both are zeros. */
  minimum(f: Format, a: bigint, b: bigint, maximum = false): bigint {
    const x = this.operand(f, a);
    const y = this.operand(f, b);
    if (this.isNaN(f, x) || this.isNaN(f, y)) {
      this.flags |= Flag.IE;
      return y;
    }
    const order = this.order(f, x, y);
    this.checkDenormal(f, x, y);
    return (maximum ? order > 0 : order < 0) ? x : y;
  }

  // Comparison

  /** −1, 0 or 1, of numbers that aren't NaNs. */
  private order(f: Format, x: bigint, y: bigint): number {
    const line = (v: bigint): bigint => ((v & f.sign) !== 0n ? -(v & ~f.sign) : v);
    const [p, q] = [line(x), line(y)];
    return p < q ? -1 : p > q ? 1 : 0;
  }

  /** −1, 0, 1, or 2 when unordered. @param quietly - whether quiet NaNs are no invalid operands */
  compare(f: Format, a: bigint, b: bigint, quietly: boolean): number {
    const x = this.operand(f, a);
    const y = this.operand(f, b);
    if (this.isNaN(f, x) || this.isNaN(f, y)) {
      if (!quietly || this.isSignaling(f, x) || this.isSignaling(f, y)) this.flags |= Flag.IE;
      return 2;
    }
    this.checkDenormal(f, x, y);
    return this.order(f, x, y);
  }

  /** CMPPS and its kin: predicates 0 to 7. SDM volume 2, table 3-1. */
  predicate(f: Format, a: bigint, b: bigint, predicate: number): boolean {
    const kind = predicate & 3;
    const order = this.compare(f, a, b, kind === 0 || kind === 3);
    const holds =
      kind === 0
        ? order === 0
        : kind === 1
          ? order === -1
          : kind === 2
            ? order === -1 || order === 0
            : order === 2;
    return (predicate & 4) !== 0 ? !holds : holds;
  }

  // Conversions

  /** To an integral value in the same format: ROUNDSD. */
  integral(f: Format, a: bigint, rounding: Rounding, quietly: boolean): bigint {
    const x = this.operand(f, a);
    if (this.isNaN(f, x)) {
      if (this.isSignaling(f, x)) this.flags |= Flag.IE;
      return x | f.quiet;
    }
    if (this.isInfinite(f, x)) return x;
    const { negative, significand, exponent } = this.exact(f, x);
    if (exponent >= 0) return x;
    const { kept, inexact } = this.dropBits(negative, significand, -exponent, rounding);
    if (inexact && !quietly) this.flags |= Flag.PE;
    // It has no more bits than the format, so that rounding it again changes nothing.
    return this.round(f, { negative, significand: kept, exponent: 0 });
  }

  /** To a signed integer of so many bits, as its bit pattern; the integer indefinite when it doesn't fit. */
  toInteger(f: Format, a: bigint, bits: number, rounding: Rounding): bigint {
    const x = this.operand(f, a);
    const indefinite = 1n << BigInt(bits - 1);
    if (this.isNaN(f, x) || this.isInfinite(f, x)) {
      this.flags |= Flag.IE;
      return indefinite;
    }
    const { negative, significand, exponent } = this.exact(f, x);
    const { kept, inexact } = this.dropBits(negative, significand, -exponent, rounding);
    if (negative ? kept > indefinite : kept >= indefinite) {
      this.flags |= Flag.IE;
      return indefinite;
    }
    if (inexact) this.flags |= Flag.PE;
    return BigInt.asUintN(bits, negative ? -kept : kept);
  }

  /** From a signed integer. */
  fromInteger(f: Format, value: bigint): bigint {
    return this.round(f, { negative: value < 0n, significand: value < 0n ? -value : value, exponent: 0 });
  }

  convert(from: Format, to: Format, a: bigint): bigint {
    const x = this.operand(from, a);
    const sign = (x & from.sign) !== 0n ? to.sign : 0n;
    const shift = BigInt(to.precision - from.precision);
    if (this.isNaN(from, x)) {
      if (this.isSignaling(from, x)) this.flags |= Flag.IE;
      const payload = shift >= 0n ? (x & from.fraction) << shift : (x & from.fraction) >> -shift;
      return sign | to.infinity | to.quiet | payload;
    }
    if (this.isInfinite(from, x)) return sign | to.infinity;
    this.checkDenormal(from, x, x);
    return this.round(to, this.exact(from, x));
  }
}
