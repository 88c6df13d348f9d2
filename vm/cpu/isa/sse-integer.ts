/**
 * Packed integer arithmetic on XMM registers (SSE2, SSSE3, SSE4.1, SSE4.2), most of it with twins on MMX
 * registers that mmx.ts defines from the same kernels. SDM volume 1, 9.4, 11.4.2, 12.6 and 12.10.
 */
import type { Builder } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import type { VectorOp } from '../simd/opcodes.ts';
import {
  halves,
  imm8,
  iota,
  type Kernel,
  lane,
  lanesOf,
  low64,
  source,
  source32,
  source64,
  splat8,
  splat16,
  sse,
  v,
  words,
  zero,
  zeroExtend32,
} from './sse-words.ts';
import { define, type Meaning } from './table.ts';

/** A kernel that is one instruction of WebAssembly, operands as they come. */
const plain =
  (name: VectorOp): Kernel =>
  (b, x, y) =>
    v(b, name, x, y);

const andNot: Kernel = (b, x, y) => v(b, 'v128.andnot', y, x);

/** The high words of signed or unsigned products. */
const mulHigh =
  (sign: 's' | 'u'): Kernel =>
  (b, x, y) => {
    const low = v(b, `i32x4.extmul_low_i16x8_${sign}`, x, y);
    const high = v(b, `i32x4.extmul_high_i16x8_${sign}`, x, y);
    return b.shuffle(low, high, lanesOf(2, [1, 3, 5, 7, 9, 11, 13, 15]));
  };

/** Products of the even doublewords. */
const mulEven =
  (sign: 's' | 'u'): Kernel =>
  (b, x, y) => {
    const evens = lanesOf(4, [0, 2, 0, 2]);
    return v(b, `i64x2.extmul_low_i32x4_${sign}`, b.shuffle(x, x, evens), b.shuffle(y, y, evens));
  };

const sumOfDifferences: Kernel = (b, x, y) => {
  const difference = v(b, 'v128.or', v(b, 'i8x16.sub_sat_u', x, y), v(b, 'i8x16.sub_sat_u', y, x));
  const sums = b.let(
    v(b, 'i32x4.extadd_pairwise_i16x8_u', v(b, 'i16x8.extadd_pairwise_i8x16_u', difference)),
  );
  return v(b, 'i64x2.add', v(b, 'v128.and', sums, halves(b, -1, 0)), v(b, 'i64x2.shr_u', sums, b.i32(32)));
};

/** Unsigned bytes of x times signed bytes of y, neighbours added with saturation. */
const mulAddBytes: Kernel = (b, x, y) => {
  const low = v(
    b,
    'i16x8.mul',
    v(b, 'v128.and', x, halves(b, 0x00ff00ff, 0x00ff00ff)),
    v(b, 'i16x8.shr_s', v(b, 'i16x8.shl', y, b.i32(8)), b.i32(8)),
  );
  const high = v(b, 'i16x8.mul', v(b, 'i16x8.shr_u', x, b.i32(8)), v(b, 'i16x8.shr_s', y, b.i32(8)));
  return v(b, 'i16x8.add_sat_s', low, high);
};

/** PMULHRSW doesn't saturate 8000h × 8000h, which WebAssembly's instruction does. */
const mulRound: Kernel = (b, x, y) => {
  const lowest = b.let(halves(b, 0x80008000 | 0, 0x80008000 | 0));
  const both = v(b, 'v128.and', v(b, 'i16x8.eq', x, lowest), v(b, 'i16x8.eq', y, lowest));
  return v(b, 'v128.xor', v(b, 'i16x8.q15mulr_sat_s', x, y), both);
};

const sign =
  (size: 8 | 16 | 32): Kernel =>
  (b, x, y) => {
    const shape = size === 8 ? 'i8x16' : size === 16 ? 'i16x8' : 'i32x4';
    const negative = b.let(v(b, `${shape}.shr_s`, y, b.i32(size - 1)));
    const signed = v(b, `${shape}.sub`, v(b, 'v128.xor', x, negative), negative);
    return v(b, 'v128.andnot', signed, v(b, `${shape}.eq`, y, zero(b)));
  };

const absolute =
  (name: VectorOp): Kernel =>
  (b, _, y) =>
    v(b, name, y);

/** PHADD, PHSUB: the even lanes of both operands with the odd ones. */
export const horizontal =
  (name: VectorOp, bytes: 2 | 4): Kernel =>
  (b, x, y) => {
    const count = 16 / bytes;
    const evens = Array.from({ length: count }, (_, i) => 2 * i);
    const odds = evens.map((i) => i + 1);
    return v(b, name, b.shuffle(x, y, lanesOf(bytes, evens)), b.shuffle(x, y, lanesOf(bytes, odds)));
  };

export const shuffleBytes: Kernel = (b, x, y) =>
  v(b, 'i8x16.swizzle', x, v(b, 'v128.and', y, halves(b, 0x8f8f8f8f | 0, 0x8f8f8f8f | 0)));

/** Opcode after 0F (with prefix 66 for XMM registers), name and kernel of what acts lane by lane. */
export const PACKED: readonly (readonly [string, string, Kernel])[] = [
  ['64', 'PCMPGTB', plain('i8x16.gt_s')],
  ['65', 'PCMPGTW', plain('i16x8.gt_s')],
  ['66', 'PCMPGTD', plain('i32x4.gt_s')],
  ['74', 'PCMPEQB', plain('i8x16.eq')],
  ['75', 'PCMPEQW', plain('i16x8.eq')],
  ['76', 'PCMPEQD', plain('i32x4.eq')],
  ['d4', 'PADDQ', plain('i64x2.add')],
  ['d5', 'PMULLW', plain('i16x8.mul')],
  ['d8', 'PSUBUSB', plain('i8x16.sub_sat_u')],
  ['d9', 'PSUBUSW', plain('i16x8.sub_sat_u')],
  ['da', 'PMINUB', plain('i8x16.min_u')],
  ['db', 'PAND', plain('v128.and')],
  ['dc', 'PADDUSB', plain('i8x16.add_sat_u')],
  ['dd', 'PADDUSW', plain('i16x8.add_sat_u')],
  ['de', 'PMAXUB', plain('i8x16.max_u')],
  ['df', 'PANDN', andNot],
  ['e0', 'PAVGB', plain('i8x16.avgr_u')],
  ['e3', 'PAVGW', plain('i16x8.avgr_u')],
  ['e4', 'PMULHUW', mulHigh('u')],
  ['e5', 'PMULHW', mulHigh('s')],
  ['e8', 'PSUBSB', plain('i8x16.sub_sat_s')],
  ['e9', 'PSUBSW', plain('i16x8.sub_sat_s')],
  ['ea', 'PMINSW', plain('i16x8.min_s')],
  ['eb', 'POR', plain('v128.or')],
  ['ec', 'PADDSB', plain('i8x16.add_sat_s')],
  ['ed', 'PADDSW', plain('i16x8.add_sat_s')],
  ['ee', 'PMAXSW', plain('i16x8.max_s')],
  ['ef', 'PXOR', plain('v128.xor')],
  ['f4', 'PMULUDQ', mulEven('u')],
  ['f5', 'PMADDWD', plain('i32x4.dot_i16x8_s')],
  ['f6', 'PSADBW', sumOfDifferences],
  ['f8', 'PSUBB', plain('i8x16.sub')],
  ['f9', 'PSUBW', plain('i16x8.sub')],
  ['fa', 'PSUBD', plain('i32x4.sub')],
  ['fb', 'PSUBQ', plain('i64x2.sub')],
  ['fc', 'PADDB', plain('i8x16.add')],
  ['fd', 'PADDW', plain('i16x8.add')],
  ['fe', 'PADDD', plain('i32x4.add')],
  ['38 04', 'PMADDUBSW', mulAddBytes],
  ['38 08', 'PSIGNB', sign(8)],
  ['38 09', 'PSIGNW', sign(16)],
  ['38 0a', 'PSIGND', sign(32)],
  ['38 0b', 'PMULHRSW', mulRound],
  ['38 1c', 'PABSB', absolute('i8x16.abs')],
  ['38 1d', 'PABSW', absolute('i16x8.abs')],
  ['38 1e', 'PABSD', absolute('i32x4.abs')],
];

/** What only XMM registers have. */
const PACKED_XMM: typeof PACKED = [
  ['63', 'PACKSSWB', plain('i8x16.narrow_i16x8_s')],
  ['67', 'PACKUSWB', plain('i8x16.narrow_i16x8_u')],
  ['6b', 'PACKSSDW', plain('i16x8.narrow_i32x4_s')],
  ['38 00', 'PSHUFB', shuffleBytes],
  ['38 01', 'PHADDW', horizontal('i16x8.add', 2)],
  ['38 02', 'PHADDD', horizontal('i32x4.add', 4)],
  ['38 03', 'PHADDSW', horizontal('i16x8.add_sat_s', 2)],
  ['38 05', 'PHSUBW', horizontal('i16x8.sub', 2)],
  ['38 06', 'PHSUBD', horizontal('i32x4.sub', 4)],
  ['38 07', 'PHSUBSW', horizontal('i16x8.sub_sat_s', 2)],
  ['38 28', 'PMULDQ', mulEven('s')],
  ['38 29', 'PCMPEQQ', plain('i64x2.eq')],
  ['38 2b', 'PACKUSDW', plain('i16x8.narrow_i32x4_u')],
  ['38 37', 'PCMPGTQ', plain('i64x2.gt_s')],
  ['38 38', 'PMINSB', plain('i8x16.min_s')],
  ['38 39', 'PMINSD', plain('i32x4.min_s')],
  ['38 3a', 'PMINUW', plain('i16x8.min_u')],
  ['38 3b', 'PMINUD', plain('i32x4.min_u')],
  ['38 3c', 'PMAXSB', plain('i8x16.max_s')],
  ['38 3d', 'PMAXSD', plain('i32x4.max_s')],
  ['38 3e', 'PMAXUW', plain('i16x8.max_u')],
  ['38 3f', 'PMAXUD', plain('i32x4.max_u')],
  ['38 40', 'PMULLD', plain('i32x4.mul')],
];

/** The bitwise instructions that the manual counts among the floating-point ones. */
const BITWISE: typeof PACKED = [
  ['54', 'AND', plain('v128.and')],
  ['55', 'ANDN', andNot],
  ['56', 'OR', plain('v128.or')],
  ['57', 'XOR', plain('v128.xor')],
];

/** The meaning of a kernel on XMM registers. */
export const packed =
  (kernel: Kernel): Meaning =>
  (b, to, from) => {
    sse(b);
    const y = source(b, from!);
    b.setVector(to!, kernel(b, b.vector(to!), y));
  };

// Shifts

export type Shape = 'i16x8' | 'i32x4' | 'i64x2';
export type Shift = 'shl' | 'shr_u' | 'shr_s';

/** Shifts all lanes by a count of any size: bits that are all gone leave zeros, or signs. */
export function shifted(b: Builder, shape: Shape, kind: Shift, x: Node, count: Node): Node {
  const size = shape === 'i16x8' ? 16 : shape === 'i32x4' ? 32 : 64;
  const tooFar = b.gtU(count, b.like(count, size - 1));
  if (kind === 'shr_s') return v(b, `${shape}.shr_s`, x, b.select(tooFar, b.i32(size - 1), b.wrap(count)));
  return b.select(tooFar, zero(b), v(b, `${shape}.${kind}`, x, b.wrap(count)));
}

/** Opcode, opcode and digit with an immediate, name, lanes and direction. */
export const SHIFTS: readonly (readonly [string, string, string, Shape, Shift])[] = [
  ['d1', '71 /2', 'PSRLW', 'i16x8', 'shr_u'],
  ['d2', '72 /2', 'PSRLD', 'i32x4', 'shr_u'],
  ['d3', '73 /2', 'PSRLQ', 'i64x2', 'shr_u'],
  ['e1', '71 /4', 'PSRAW', 'i16x8', 'shr_s'],
  ['e2', '72 /4', 'PSRAD', 'i32x4', 'shr_s'],
  ['f1', '71 /6', 'PSLLW', 'i16x8', 'shl'],
  ['f2', '72 /6', 'PSLLD', 'i32x4', 'shl'],
  ['f3', '73 /6', 'PSLLQ', 'i64x2', 'shl'],
];

// The irregular ones

/** PMOVSX, PMOVZX: lanes of `from` bits become lanes of `to` bits. */
const extension =
  (from: 8 | 16 | 32, to: 16 | 32 | 64, kind: 's' | 'u'): Meaning =>
  (b, dest, x) => {
    sse(b);
    const bits = (128 * from) / to;
    let value =
      bits === 64
        ? source64(b, x!)
        : bits === 32
          ? source32(b, x!)
          : x!.kind === 'memory'
            ? splat16(b, b.load(b.address(2), 16))
            : b.vector(x!);
    for (let size: number = from; size < to; size *= 2) {
      value = v(
        b,
        size === 8
          ? `i16x8.extend_low_i8x16_${kind}`
          : size === 16
            ? `i32x4.extend_low_i16x8_${kind}`
            : `i64x2.extend_low_i32x4_${kind}`,
        value,
      );
    }
    b.setVector(dest!, value);
  };

/** ZF: no bit in common. CF: no bit of the source outside the destination. */
const ptest: Meaning = (b, to, from) => {
  sse(b);
  const y = source(b, from!);
  const x = b.vector(to!);
  const zf = b.eqz(v(b, 'v128.any_true', v(b, 'v128.and', x, y)));
  const cf = b.eqz(v(b, 'v128.any_true', v(b, 'v128.andnot', y, x)));
  b.setFlagBits(b.or(b.shl(zf, b.i32(6)), cf));
};

/** The smallest word, and its number in the next word: found as the smallest of (word, number) pairs. */
const phminposuw: Kernel = (b, _, y) => {
  const low = v(
    b,
    'v128.or',
    v(b, 'i32x4.shl', v(b, 'i32x4.extend_low_i16x8_u', y), b.i32(16)),
    words(b, 0, 1, 2, 3),
  );
  const high = v(
    b,
    'v128.or',
    v(b, 'i32x4.shl', v(b, 'i32x4.extend_high_i16x8_u', y), b.i32(16)),
    words(b, 4, 5, 6, 7),
  );
  const four = b.let(v(b, 'i32x4.min_u', low, high));
  const two = b.let(v(b, 'i32x4.min_u', four, b.shuffle(four, four, lanesOf(8, [1, 0]))));
  const one = v(b, 'i32x4.min_u', two, b.shuffle(two, two, lanesOf(4, [1, 0, 3, 2])));
  return zeroExtend32(b, b.rotl(lane(b, 'i32x4.extract_lane', 0, one), b.i32(16)));
};

/** Eight sums of four absolute differences: bytes of the destination from a moving start, the same four of the source. */
const mpsadbw: Meaning = (b, to, from, n) => {
  sse(b);
  const y = source(b, from!);
  const x = b.vector(to!);
  const control = imm8(b, n!);
  const first = splat8(b, b.and(control, b.i32(4)));
  const at = b.let(v(b, 'i8x16.add', iota(b), first));
  const block = splat8(b, b.shl(b.and(control, b.i32(3)), b.i32(2)));
  const four = b.let(v(b, 'i8x16.swizzle', y, v(b, 'i8x16.add', iota(b), block)));
  let sum: Node | undefined;
  for (let i = 0; i < 4; i++) {
    const bytes = v(b, 'i8x16.swizzle', x, i === 0 ? at : v(b, 'i8x16.add', at, splat8(b, b.i32(i))));
    const other = splat16(b, lane(b, 'i8x16.extract_lane_u', i, four));
    const difference = v(b, 'i16x8.abs', v(b, 'i16x8.sub', v(b, 'i16x8.extend_low_i8x16_u', bytes), other));
    sum = sum === undefined ? difference : v(b, 'i16x8.add', sum, difference);
  }
  b.setVector(to!, sum!);
};

function defineAll(): void {
  for (const [opcode, name, kernel] of [...PACKED, ...PACKED_XMM])
    define(`66 0f ${opcode}`, name, 'Vx Wx', packed(kernel));
  for (const [opcode, name, kernel] of BITWISE) {
    define(`0f ${opcode}`, `${name}PS`, 'Vx Wx', packed(kernel));
    define(`66 0f ${opcode}`, `${name}PD`, 'Vx Wx', packed(kernel));
  }
  for (const [opcode, immediate, name, shape, kind] of SHIFTS) {
    define(`66 0f ${opcode}`, name, 'Vx Wx', (b, to, from) => {
      sse(b);
      const count = b.let(low64(b, source(b, from!)));
      b.setVector(to!, shifted(b, shape, kind, b.vector(to!), count));
    });
    define(
      `66 0f ${immediate}`,
      name,
      'Ux Ib',
      (b, to, n) => {
        sse(b);
        b.setVector(to!, shifted(b, shape, kind, b.vector(to!), imm8(b, n!)));
      },
      { registerOnly: true },
    );
  }
  const extensions: [number, 8 | 16 | 32, 16 | 32 | 64, string][] = [
    [0, 8, 16, 'BW'],
    [1, 8, 32, 'BD'],
    [2, 8, 64, 'BQ'],
    [3, 16, 32, 'WD'],
    [4, 16, 64, 'WQ'],
    [5, 32, 64, 'DQ'],
  ];
  for (const [n, from, to, name] of extensions) {
    const memory = { 64: 'Wq', 32: 'Wd', 16: 'Ww' }[(128 * from) / to]!;
    define(`66 0f 38 2${n}`, `PMOVSX${name}`, `Vx ${memory}`, extension(from, to, 's'));
    define(`66 0f 38 3${n}`, `PMOVZX${name}`, `Vx ${memory}`, extension(from, to, 'u'));
  }
  define('66 0f 38 17', 'PTEST', 'Vx Wx', ptest);
  define('66 0f 38 41', 'PHMINPOSUW', 'Vx Wx', packed(phminposuw));
  define('66 0f 3a 42', 'MPSADBW', 'Vx Wx Ib', mpsadbw);
}

defineAll();
