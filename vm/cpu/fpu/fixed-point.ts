/**
 * The functions behind the x87's transcendental instructions, on fixed-point numbers of so many bits that what is
 * lost can't be seen in a significand of 64 bits. Slow, and rarely asked for.
 *
 * A fixed-point number is a bigint: its value times 2^FRACTION.
 */

/** Bits behind the point: 64 for a result, as many again for an argument of 2^-80, and a lot to lose. */
export const FRACTION = 320;
const F = BigInt(FRACTION);
export const ONE = 1n << F;

/** π as FSIN and its kin know it when they bring their operand into range: 66 bits. SDM volume 1, 8.3.8. */
const PI_OF_66_BITS = 0x3_243f_6a88_85a3_08d3n;
const PI_FRACTION = 64n;

export function product(a: bigint, b: bigint): bigint {
  return (a * b) >> F;
}

export function quotient(a: bigint, b: bigint): bigint {
  return (a << F) / b;
}

function squareRoot(a: bigint): bigint {
  const n = a << F;
  let x = 1n << BigInt((n.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (x + n / x) >> 1n;
    if (next >= x) return x;
    x = next;
  }
}

/** z + z³/3 + z⁵/5 …, or with signs in turn: the inverse hyperbolic and the inverse tangent, for small z. */
function oddPowers(z: bigint, alternating: boolean): bigint {
  const square = alternating ? -product(z, z) : product(z, z);
  let power = z;
  let sum = 0n;
  for (let n = 1n; ; n += 2n) {
    const term = power / n;
    if (term === 0n) return sum;
    sum += term;
    power = (power * square) / ONE;
  }
}

/** e^t − 1, for t between −1 and 1. */
export function exponentialLess1(t: bigint): bigint {
  let term = t;
  let sum = 0n;
  for (let n = 2n; term !== 0n; n++) {
    sum += term;
    term = (term * t) / (ONE * n);
  }
  return sum;
}

/** ln(1 + t), for t between −0.5 and 1. */
export function logarithmOf1Plus(t: bigint): bigint {
  return 2n * oddPowers(quotient(t, 2n * ONE + t), false);
}

/** The inverse tangent, for q between 0 and 1. */
export function arcTangent(q: bigint): bigint {
  // Halving the angle three times: tan(a/2) = tan a / (1 + √(1 + tan² a)).
  let tangent = q;
  for (let i = 0; i < 3; i++) tangent = quotient(tangent, ONE + squareRoot(ONE + product(tangent, tangent)));
  return 8n * oddPowers(tangent, true);
}

/** t − t³/3! … or 1 − t²/2! …, for t between −1 and 1. */
function circularSeries(t: bigint, first: bigint, from: bigint): bigint {
  const square = -product(t, t);
  let term = first;
  let sum = 0n;
  for (let n = from; term !== 0n; n += 2n) {
    sum += term;
    term = (term * square) / (ONE * n * (n + 1n));
  }
  return sum;
}

/** Sine and cosine of m × 2^e, brought into range with the π that the FPU has. */
export function sineAndCosine(m: bigint, e: number): { sine: bigint; cosine: bigint } {
  const angle = e >= -FRACTION ? m << BigInt(e + FRACTION) : m >> BigInt(-e - FRACTION);
  const right = PI_OF_66_BITS << (F - PI_FRACTION - 1n);
  const turns = (2n * angle + right) / (2n * right);
  const rest = angle - turns * right;
  const sine = circularSeries(rest, rest, 2n);
  const cosine = circularSeries(rest, ONE, 1n);
  switch (Number(turns & 3n)) {
    case 0:
      return { sine, cosine };
    case 1:
      return { sine: cosine, cosine: -sine };
    case 2:
      return { sine: -sine, cosine: -cosine };
    default:
      return { sine: -cosine, cosine: sine };
  }
}

export const LN2 = 2n * oddPowers(ONE / 3n, false);
/** By Machin's formula. */
export const PI = 16n * oddPowers(ONE / 5n, true) - 4n * oddPowers(ONE / 239n, true);
