/**
 * WebAssembly's vector instructions in TypeScript, lane by lane: those that meanings are written in. WebAssembly Core
 * Specification 2.0, section 4.3. For plain evaluation (plain.ts).
 *
 * Integer lanes are taken out as bigints, signed or unsigned as the operation wants, so that no result overflows, and
 * are cut to their width when they are put back.
 */
import { VECTOR_OPS, type VectorOp } from '../simd/opcodes.ts';
import {
  ARITHMETIC,
  COMPARISONS,
  double,
  doubleBits,
  type Operation,
  ROUNDED,
  single,
  singleBits,
  truncate,
  type Value,
} from './plain-scalar.ts';

type Vector = Uint8Array<ArrayBuffer>;
/** Width of an integer lane in bits. */
type Width = 8 | 16 | 32 | 64;

const WIDTHS = [8, 16, 32, 64] as const;
const SHAPES = { 8: 'i8x16', 16: 'i16x8', 32: 'i32x4', 64: 'i64x2' } as const;
const UNSIGNED = { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array, 64: BigUint64Array } as const;

/** Lanes, the lowest first. */
function unsigned(width: Width, x: Value): bigint[] {
  return Array.from<number | bigint, bigint>(new UNSIGNED[width]((x as Vector).buffer), BigInt);
}

function signed(width: Width, x: Value): bigint[] {
  return unsigned(width, x).map((lane) => BigInt.asIntN(width, lane));
}

/** A vector of lanes, each cut to its width. */
function vector(width: Width, lanes: readonly bigint[]): Vector {
  const bytes = width / 8;
  return Uint8Array.from({ length: 16 }, (_, i) =>
    Number(BigInt.asUintN(8, lanes[Math.floor(i / bytes)]! >> BigInt((i % bytes) * 8))),
  );
}

function clamp(x: bigint, low: bigint, high: bigint): bigint {
  return x < low ? low : x > high ? high : x;
}

const saturateSigned = (width: Width, x: bigint): bigint =>
  clamp(x, -(1n << BigInt(width - 1)), (1n << BigInt(width - 1)) - 1n);
const saturateUnsigned = (width: Width, x: bigint): bigint => clamp(x, 0n, (1n << BigInt(width)) - 1n);

// Lane by lane

type Lanewise = (x: bigint, y: bigint, width: Width) => bigint;
const mask = (condition: boolean): bigint => (condition ? -1n : 0n);

/** What is done to each lane, taken as unsigned, or as signed where the name says so. */
const LANEWISE: readonly (readonly [name: string, widths: readonly Width[], lanewise: Lanewise])[] = [
  ['add', [8, 16, 32, 64], (x, y) => x + y],
  ['sub', [8, 16, 32, 64], (x, y) => x - y],
  ['mul', [16, 32], (x, y) => x * y],
  ['add_sat_s', [8, 16], (x, y, width) => saturateSigned(width, x + y)],
  ['add_sat_u', [8, 16], (x, y, width) => saturateUnsigned(width, x + y)],
  ['sub_sat_s', [8, 16], (x, y, width) => saturateSigned(width, x - y)],
  ['sub_sat_u', [8, 16], (x, y, width) => saturateUnsigned(width, x - y)],
  ['min_s', [8, 16, 32], (x, y) => (x < y ? x : y)],
  ['min_u', [8, 16, 32], (x, y) => (x < y ? x : y)],
  ['max_s', [8, 16, 32], (x, y) => (x > y ? x : y)],
  ['max_u', [8, 16, 32], (x, y) => (x > y ? x : y)],
  ['avgr_u', [8, 16], (x, y) => (x + y + 1n) >> 1n],
  ['q15mulr_sat_s', [16], (x, y, width) => saturateSigned(width, (x * y + 0x4000n) >> 15n)],
  ['eq', [8, 16, 32, 64], (x, y) => mask(x === y)],
  ['lt_s', [32], (x, y) => mask(x < y)],
  ['lt_u', [8, 32], (x, y) => mask(x < y)],
  ['gt_s', [8, 16, 32, 64], (x, y) => mask(x > y)],
];

/** Shifts of each lane by a number of bits that is taken modulo the width. */
const SHIFTS: readonly (readonly [
  name: string,
  widths: readonly Width[],
  (x: bigint, by: bigint) => bigint,
])[] = [
  ['shl', [16, 32, 64], (x, by) => x << by],
  ['shr_s', [8, 16, 32, 64], (x, by) => x >> by],
  ['shr_u', [16, 32, 64], (x, by) => x >> by],
];

// From one width to another

/** The lower or the upper half of a vector's lanes. */
function half(part: 'low' | 'high', lanes: readonly bigint[]): readonly bigint[] {
  return part === 'low' ? lanes.slice(0, lanes.length / 2) : lanes.slice(lanes.length / 2);
}

/** Sums of neighbours. */
function pairwise(lanes: readonly bigint[]): bigint[] {
  return Array.from({ length: lanes.length / 2 }, (_, i) => lanes[2 * i]! + lanes[2 * i + 1]!);
}

const products = (x: readonly bigint[], y: readonly bigint[]): bigint[] => x.map((lane, i) => lane * y[i]!);

/** Lanes by the sign that an operation's name ends in. */
const lanesBy = (sign: 's' | 'u'): typeof signed => (sign === 's' ? signed : unsigned);

function narrow(from: Width, to: Width, sign: 's' | 'u'): Operation {
  const saturate = sign === 's' ? saturateSigned : saturateUnsigned;
  return (x, y) =>
    vector(
      to,
      [...signed(from, x), ...signed(from, y)].map((lane) => saturate(to, lane)),
    );
}

function extend(part: 'low' | 'high', from: Width, to: Width, sign: 's' | 'u'): Operation {
  return (x) => vector(to, half(part, lanesBy(sign)(from, x)));
}

function extendedProduct(part: 'low' | 'high', from: Width, to: Width, sign: 's' | 'u'): Operation {
  const lanes = lanesBy(sign);
  return (x, y) => vector(to, products(half(part, lanes(from, x)), half(part, lanes(from, y))));
}

const BETWEEN_WIDTHS: Partial<Record<VectorOp, Operation>> = {
  'i8x16.narrow_i16x8_s': narrow(16, 8, 's'),
  'i8x16.narrow_i16x8_u': narrow(16, 8, 'u'),
  'i16x8.narrow_i32x4_s': narrow(32, 16, 's'),
  'i16x8.narrow_i32x4_u': narrow(32, 16, 'u'),
  'i16x8.extend_low_i8x16_s': extend('low', 8, 16, 's'),
  'i16x8.extend_low_i8x16_u': extend('low', 8, 16, 'u'),
  'i32x4.extend_low_i16x8_s': extend('low', 16, 32, 's'),
  'i32x4.extend_low_i16x8_u': extend('low', 16, 32, 'u'),
  'i32x4.extend_high_i16x8_u': extend('high', 16, 32, 'u'),
  'i64x2.extend_low_i32x4_s': extend('low', 32, 64, 's'),
  'i64x2.extend_low_i32x4_u': extend('low', 32, 64, 'u'),
  'i32x4.extmul_low_i16x8_s': extendedProduct('low', 16, 32, 's'),
  'i32x4.extmul_high_i16x8_s': extendedProduct('high', 16, 32, 's'),
  'i32x4.extmul_low_i16x8_u': extendedProduct('low', 16, 32, 'u'),
  'i32x4.extmul_high_i16x8_u': extendedProduct('high', 16, 32, 'u'),
  'i64x2.extmul_low_i32x4_s': extendedProduct('low', 32, 64, 's'),
  'i64x2.extmul_low_i32x4_u': extendedProduct('low', 32, 64, 'u'),
  'i16x8.extadd_pairwise_i8x16_u': (x) => vector(16, pairwise(unsigned(8, x))),
  'i32x4.extadd_pairwise_i16x8_u': (x) => vector(32, pairwise(unsigned(16, x))),
  'i32x4.dot_i16x8_s': (x, y) => vector(32, pairwise(products(signed(16, x), signed(16, y)))),
};

// Bits and bytes

/** Each byte of vectors. */
function bytewise(f: (x: number, y: number, z: number) => number): Operation {
  return (x, y, z) =>
    (x as Vector).map((byte, i) =>
      f(byte, (y as Vector | undefined)?.[i] ?? 0, (z as Vector | undefined)?.[i] ?? 0),
    );
}

const ON_BYTES: Partial<Record<VectorOp, Operation>> = {
  'v128.not': bytewise((x) => ~x),
  'v128.and': bytewise((x, y) => x & y),
  'v128.andnot': bytewise((x, y) => x & ~y),
  'v128.or': bytewise((x, y) => x | y),
  'v128.xor': bytewise((x, y) => x ^ y),
  'v128.bitselect': bytewise((x, y, choice) => (x & choice) | (y & ~choice)),
  'v128.any_true': (x) => Number((x as Vector).some((byte) => byte !== 0)),
  'i8x16.swizzle': (x, indices) => (indices as Vector).map((index) => (x as Vector)[index] ?? 0),
};

/** The bytes of two vectors that a list names. */
export function shuffle(x: Value, y: Value, bytes: readonly number[]): Value {
  const both = [...(x as Vector), ...(y as Vector)];
  return Uint8Array.from(bytes, (byte) => both[byte]!);
}

// Floating-point lanes

/** A format of floating-point lanes: how a lane's bits are made a number, and back. */
interface Format {
  readonly width: 32 | 64;
  readonly shape: 'f32x4' | 'f64x2';
  readonly number: (bits: bigint) => number;
  readonly bits: (value: number) => bigint;
}

const SINGLE: Format = {
  width: 32,
  shape: 'f32x4',
  number: (bits) => single(Number(bits)),
  bits: (value) => BigInt(singleBits(value)),
};
const DOUBLE: Format = { width: 64, shape: 'f64x2', number: double, bits: doubleBits };

type OnNumbers = (x: number, y: number) => number;
type Compare = (x: number, y: number) => boolean;

function onNumbers({ width, number, bits }: Format, f: OnNumbers): Operation {
  return (x, y) => {
    const second = unsigned(width, y ?? x);
    return vector(
      width,
      unsigned(width, x).map((lane, i) => bits(f(number(lane), number(second[i]!)))),
    );
  };
}

/** Chooses for each lane by a comparison: bits that are chosen stay as they are. */
function byComparison(
  { width, number }: Format,
  compare: Compare,
  whenTrue: (x: bigint, y: bigint) => bigint,
  otherwise: (x: bigint, y: bigint) => bigint,
): Operation {
  return (x, y) => {
    const second = unsigned(width, y);
    return vector(
      width,
      unsigned(width, x).map((lane, i) => {
        const other = second[i]!;
        return (compare(number(lane), number(other)) ? whenTrue : otherwise)(lane, other);
      }),
    );
  };
}

/** What is done to each number. */
const NUMBERS: Readonly<Record<string, OnNumbers>> = {
  ...ARITHMETIC,
  ...ROUNDED,
  ceil: Math.ceil,
  floor: Math.floor,
  trunc: Math.trunc,
};

function floatOperations(format: Format): [string, Operation][] {
  const { width, shape } = format;
  const first = (x: bigint): bigint => x;
  const second = (_: bigint, y: bigint): bigint => y;
  const positive = (1n << BigInt(width - 1)) - 1n;
  const operations: [string, Operation][] = [
    ...Object.entries(NUMBERS).map(([name, f]): [string, Operation] => [name, onNumbers(format, f)]),
    ...Object.entries(COMPARISONS).map(([name, f]): [string, Operation] => [
      name,
      byComparison(
        format,
        f,
        () => -1n,
        () => 0n,
      ),
    ]),
    [
      'abs',
      (x) =>
        vector(
          width,
          unsigned(width, x).map((lane) => lane & positive),
        ),
    ],
    ['pmin', byComparison(format, (x, y) => y < x, second, first)],
    ['pmax', byComparison(format, (x, y) => x < y, second, first)],
  ];
  return operations.map(([name, operation]) => [`${shape}.${name}`, operation]);
}

/** To lanes of another kind: what becomes of each of the first so many lanes; those above are zero. */
function converted(from: Width, to: Width, count: number, f: (lane: bigint) => bigint): Operation {
  return (x) => {
    const lanes = signed(from, x).slice(0, count).map(f);
    return vector(to, [...lanes, ...Array<bigint>(128 / to - count).fill(0n)]);
  };
}

const CONVERSIONS: Partial<Record<VectorOp, Operation>> = {
  'f32x4.convert_i32x4_s': converted(32, 32, 4, (lane) => SINGLE.bits(Number(lane))),
  'f64x2.convert_low_i32x4_s': converted(32, 64, 2, (lane) => doubleBits(Number(lane))),
  'f32x4.demote_f64x2_zero': converted(64, 32, 2, (lane) => SINGLE.bits(double(lane))),
  'f64x2.promote_low_f32x4': converted(32, 64, 2, (lane) => doubleBits(SINGLE.number(lane))),
  'i32x4.trunc_sat_f32x4_s': converted(32, 32, 4, (lane) => truncate(SINGLE.number(lane), 32)),
  'i32x4.trunc_sat_f64x2_s_zero': converted(64, 32, 2, (lane) => truncate(double(lane), 32)),
};

// By opcode

/** An operation for each of some widths, whose lanes have a sign if its name says so. */
function forWidths(
  name: string,
  widths: readonly Width[],
  operation: (width: Width, lanes: typeof signed) => Operation,
): [string, Operation][] {
  const lanes = name.endsWith('_s') ? signed : unsigned;
  return widths.map((width) => [`${SHAPES[width]}.${name}`, operation(width, lanes)]);
}

function lanewise(width: Width, lanes: typeof signed, f: Lanewise): Operation {
  return (x, y) => {
    const second = lanes(width, y);
    return vector(
      width,
      lanes(width, x).map((lane, i) => f(lane, second[i]!, width)),
    );
  };
}

function shifted(width: Width, lanes: typeof signed, f: (x: bigint, by: bigint) => bigint): Operation {
  return (x, by) => {
    const count = BigInt((by as number) & (width - 1));
    return vector(
      width,
      lanes(width, x).map((lane) => f(lane, count)),
    );
  };
}

/** Operations of one width that take a single vector, or make one. */
function onVectors(width: Width): [string, Operation][] {
  const operations: [string, Operation][] = [
    ['splat', (x) => vector(width, Array<bigint>(128 / width).fill(BigInt(x as number | bigint)))],
    ['bitmask', (x) => signed(width, x).reduce((bits, lane, i) => bits | (lane < 0n ? 1 << i : 0), 0)],
  ];
  if (width < 64)
    operations.push([
      'abs',
      (x) =>
        vector(
          width,
          signed(width, x).map((lane) => (lane < 0n ? -lane : lane)),
        ),
    ]);
  return operations.map(([name, operation]) => [`${SHAPES[width]}.${name}`, operation]);
}

/** Every vector operation that takes values alone, by its opcode. */
export const VECTOR_OPERATIONS: ReadonlyMap<number, Operation> = byOpcode([
  ...LANEWISE.flatMap(([name, widths, f]) =>
    forWidths(name, widths, (width, lanes) => lanewise(width, lanes, f)),
  ),
  ...SHIFTS.flatMap(([name, widths, f]) =>
    forWidths(name, widths, (width, lanes) => shifted(width, lanes, f)),
  ),
  ...WIDTHS.flatMap(onVectors),
  ...Object.entries(BETWEEN_WIDTHS),
  ...Object.entries(ON_BYTES),
  ...floatOperations(SINGLE),
  ...floatOperations(DOUBLE),
  ...Object.entries(CONVERSIONS),
]);

/** An operation on one lane of a vector. */
type LaneOperation = (lane: number, x: Value, value: Value) => Value;

function extractNumber(width: 8 | 16 | 32): LaneOperation {
  return (lane, x) => Number((width === 32 ? signed : unsigned)(width, x)[lane]!);
}

function replace(width: Width): LaneOperation {
  return (lane, x, value) => vector(width, unsigned(width, x).with(lane, BigInt(value as number | bigint)));
}

/** Every operation with an immediate lane, by its opcode. Floating-point values are bits like others. */
export const LANE_OPERATIONS: ReadonlyMap<number, LaneOperation> = byOpcode([
  ['i8x16.extract_lane_u', extractNumber(8)],
  ['i16x8.extract_lane_u', extractNumber(16)],
  ['i32x4.extract_lane', extractNumber(32)],
  ['i64x2.extract_lane', (lane, x) => unsigned(64, x)[lane]!],
  ['i32x4.replace_lane', replace(32)],
  ['i64x2.replace_lane', replace(64)],
  ['f32x4.replace_lane', replace(32)],
  ['f64x2.replace_lane', replace(64)],
]);

function byOpcode<T>(operations: readonly (readonly [name: string, T])[]): ReadonlyMap<number, T> {
  return new Map(operations.map(([name, operation]) => [VECTOR_OPS[name as VectorOp].code, operation]));
}
