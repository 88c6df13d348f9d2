/**
 * WebAssembly's scalar arithmetic in TypeScript, by opcode: those instructions that meanings are written in.
 * WebAssembly Core Specification 2.0, section 4.3. For plain evaluation (plain.ts).
 */
import { SCALAR_OPS, type ScalarOp } from '../simd/opcodes.ts';
import { type CompareOp, Convert, I32, I64, type IntegerOp } from '../wasm/opcodes.ts';

/**
 * A value: an i32 or f32 as a signed number, an i64 or f64 as an unsigned bigint, a v128 as its 16 bytes. Floating-point
 * values are given by their bits, since a JavaScript number needn't keep those of a NaN.
 */
export type Value = number | bigint | Uint8Array<ArrayBuffer>;
/** A pure operation on as many operands as it has. */
export type Operation = (...operands: Value[]) => Value;

const signed = (x: bigint): bigint => BigInt.asIntN(64, x);

// Integers

const ON_I32: Partial<Record<IntegerOp | CompareOp, (x: number, y: number) => number | boolean>> = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: Math.imul,
  and: (x, y) => x & y,
  or: (x, y) => x | y,
  xor: (x, y) => x ^ y,
  shl: (x, y) => x << y,
  shr_s: (x, y) => x >> y,
  shr_u: (x, y) => x >>> y,
  rotl: (x, y) => (x << y) | (x >>> -y),
  rotr: (x, y) => (x >>> y) | (x << -y),
  clz: Math.clz32,
  ctz: (x) => (x === 0 ? 32 : 31 - Math.clz32(x & -x)),
  popcnt: (x) => ones(BigInt(x >>> 0)),
  extend8_s: (x) => (x << 24) >> 24,
  extend16_s: (x) => (x << 16) >> 16,
  eqz: (x) => x === 0,
  eq: (x, y) => x === y,
  ne: (x, y) => x !== y,
  lt_s: (x, y) => x < y,
  lt_u: (x, y) => x >>> 0 < y >>> 0,
  gt_s: (x, y) => x > y,
  gt_u: (x, y) => x >>> 0 > y >>> 0,
  ge_s: (x, y) => x >= y,
  le_u: (x, y) => x >>> 0 <= y >>> 0,
  ge_u: (x, y) => x >>> 0 >= y >>> 0,
};

const ON_I64: Partial<Record<IntegerOp, (x: bigint, y: bigint) => bigint>> = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div_u: (x, y) => x / y,
  div_s: (x, y) => signed(x) / signed(y),
  rem_u: (x, y) => x % y,
  rem_s: (x, y) => signed(x) % signed(y),
  and: (x, y) => x & y,
  or: (x, y) => x | y,
  xor: (x, y) => x ^ y,
  shl: (x, y) => x << (y & 63n),
  shr_s: (x, y) => signed(x) >> (y & 63n),
  shr_u: (x, y) => x >> (y & 63n),
  rotl: (x, y) => (x << (y & 63n)) | (x >> (64n - (y & 63n))),
  rotr: (x, y) => (x >> (y & 63n)) | (x << (64n - (y & 63n))),
  clz: (x) => BigInt(64 - (x === 0n ? 0 : x.toString(2).length)),
  ctz: (x) => (x === 0n ? 64n : BigInt((x & -x).toString(2).length - 1)),
  popcnt: (x) => BigInt(ones(x)),
};

const COMPARES_I64: Partial<Record<CompareOp, (x: bigint, y: bigint) => boolean>> = {
  eqz: (x) => x === 0n,
  eq: (x, y) => x === y,
  ne: (x, y) => x !== y,
  lt_s: (x, y) => signed(x) < signed(y),
  lt_u: (x, y) => x < y,
  gt_u: (x, y) => x > y,
  le_u: (x, y) => x <= y,
  ge_s: (x, y) => signed(x) >= signed(y),
  ge_u: (x, y) => x >= y,
};

/** How many bits are set. */
function ones(x: bigint): number {
  return x.toString(2).replaceAll('0', '').length;
}

// Floating point

const scratch = new DataView(new ArrayBuffer(8));

/** The number that a single's bits stand for. */
export function single(bits: number): number {
  scratch.setInt32(0, bits);
  return scratch.getFloat32(0);
}

/** The bits of a number, rounded to single precision. */
export function singleBits(value: number): number {
  scratch.setFloat32(0, value);
  return scratch.getInt32(0);
}

/** The number that a double's bits stand for. */
export function double(bits: bigint): number {
  scratch.setBigUint64(0, bits);
  return scratch.getFloat64(0);
}

export function doubleBits(value: number): bigint {
  scratch.setFloat64(0, value);
  return scratch.getBigUint64(0);
}

/** To the nearest whole number, of two the even one; the sign of a zero stays. */
function nearest(x: number): number {
  const down = Math.floor(x);
  const up = Math.ceil(x);
  if (x - down !== up - x) return x - down < up - x ? down : up;
  return down % 2 === 0 ? down : up;
}

/** Cut off to an integer of so many bits; the closest there is, and zero for a NaN. */
export function truncate(x: number, bits: number): bigint {
  if (Number.isNaN(x)) return 0n;
  const limit = 2 ** (bits - 1);
  if (x >= limit) return 2n ** BigInt(bits - 1) - 1n;
  return x <= -limit ? -(2n ** BigInt(bits - 1)) : BigInt(Math.trunc(x));
}

/** Rounds once: a double would round before the single does. What is cut off of a large number is kept as one bit. */
function singleOfInteger(x: bigint): number {
  const cut = 1n << 11n;
  if (x === BigInt(Number(x))) return singleBits(Number(x));
  const high = x >> 11n;
  return singleBits(Number(x % cut === 0n ? high : high | 1n) * Number(cut));
}

/**
 * Operations of both formats, by name, in double precision: sums, products, quotients and roots of singles can be rounded
 * twice without harm.
 */
export const ARITHMETIC = {
  add: (x: number, y: number) => x + y,
  sub: (x: number, y: number) => x - y,
  mul: (x: number, y: number) => x * y,
  div: (x: number, y: number) => x / y,
} as const;
export const ROUNDED = { sqrt: Math.sqrt, nearest } as const;
export const COMPARISONS = {
  eq: (x: number, y: number) => x === y,
  ne: (x: number, y: number) => x !== y,
  lt: (x: number, y: number) => x < y,
  gt: (x: number, y: number) => x > y,
  le: (x: number, y: number) => x <= y,
} as const;

const BY_BITS: Partial<Record<ScalarOp, Operation>> = {
  'f32.abs': (x) => (x as number) & 0x7fff_ffff,
  'f64.abs': (x) => (x as bigint) & 0x7fff_ffff_ffff_ffffn,
  'f32.neg': (x) => (x as number) ^ -0x8000_0000,
  'f64.neg': (x) => (x as bigint) ^ 0x8000_0000_0000_0000n,
  'f32.convert_i32_s': (x) => singleBits(x as number),
  'f32.convert_i64_s': (x) => singleOfInteger(signed(x as bigint)),
  'f64.convert_i32_s': (x) => doubleBits(x as number),
  'f64.convert_i64_s': (x) => doubleBits(Number(signed(x as bigint))),
  'f32.demote_f64': (x) => singleBits(double(x as bigint)),
  'f64.promote_f32': (x) => doubleBits(single(x as number)),
  'i32.reinterpret_f32': (x) => x,
  'f32.reinterpret_i32': (x) => x,
  'i64.reinterpret_f64': (x) => x,
  'f64.reinterpret_i64': (x) => x,
  'i32.trunc_sat_f32_s': (x) => Number(truncate(single(x as number), 32)),
  'i32.trunc_sat_f64_s': (x) => Number(truncate(double(x as bigint), 32)),
  'i64.trunc_sat_f32_s': (x) => BigInt.asUintN(64, truncate(single(x as number), 64)),
  'i64.trunc_sat_f64_s': (x) => BigInt.asUintN(64, truncate(double(x as bigint), 64)),
};

/** The unsigned conversions that x87's square root begins with (base-x87.ts). */
const I64_TRUNC_F64_U = 0xb1;
const F64_CONVERT_I64_U = 0xba;

/** Every scalar operation by its opcode. */
export const SCALAR_OPERATIONS: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  ...Object.entries(ON_I32).map(([name, f]): [number, Operation] => [
    I32[name as IntegerOp],
    (x, y) => Number(f(x as number, y as number)) | 0,
  ]),
  ...Object.entries(ON_I64).map(([name, f]): [number, Operation] => [
    I64[name as IntegerOp],
    (x, y) => BigInt.asUintN(64, f(x as bigint, y as bigint)),
  ]),
  ...Object.entries(COMPARES_I64).map(([name, f]): [number, Operation] => [
    I64[name as CompareOp],
    (x, y) => Number(f(x as bigint, y as bigint)),
  ]),
  ...Object.entries(ARITHMETIC).flatMap(([name, f]): [number, Operation][] => [
    [opcode(`f32.${name}`), (x, y) => singleBits(f(single(x as number), single(y as number)))],
    [opcode(`f64.${name}`), (x, y) => doubleBits(f(double(x as bigint), double(y as bigint)))],
  ]),
  ...Object.entries(ROUNDED).flatMap(([name, f]): [number, Operation][] => [
    [opcode(`f32.${name}`), (x) => singleBits(f(single(x as number)))],
    [opcode(`f64.${name}`), (x) => doubleBits(f(double(x as bigint)))],
  ]),
  ...Object.entries(COMPARISONS).flatMap(([name, f]): [number, Operation][] => [
    [opcode(`f32.${name}`), (x, y) => Number(f(single(x as number), single(y as number)))],
    [opcode(`f64.${name}`), (x, y) => Number(f(double(x as bigint), double(y as bigint)))],
  ]),
  ...Object.entries(BY_BITS).map(([name, f]): [number, Operation] => [opcode(name), f]),
  [Convert.i32_wrap_i64, (x) => Number(BigInt.asIntN(32, x as bigint))],
  [Convert.i64_extend_i32_s, (x) => BigInt.asUintN(64, BigInt(x as number))],
  [Convert.i64_extend_i32_u, (x) => BigInt((x as number) >>> 0)],
  [I64_TRUNC_F64_U, (x) => BigInt(Math.trunc(double(x as bigint)))],
  [F64_CONVERT_I64_U, (x) => doubleBits(Number(x))],
]);

function opcode(name: string): number {
  return SCALAR_OPS[name as ScalarOp].code;
}
