/**
 * MMX instructions, with what SSE, SSE2 and SSSE3 added to them. Their registers are the significands of the
 * x87 registers; a value is the low half of a vector here, whatever lies above. SDM volume 1, chapter 9.
 */

import type { Builder, Operand } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { State } from '../layout.ts';
import type { VectorOp } from '../simd/opcodes.ts';
import { horizontal, PACKED, SHIFTS, shifted } from './sse-integer.ts';
import { maskedStore } from './sse-move.ts';
import { extracted, inserted, interleave, wordControl } from './sse-shuffle.ts';
import {
  bits64,
  enterMmx,
  halves,
  imm8,
  iota,
  type Kernel,
  lanesOf,
  low32,
  low64,
  mmx,
  setMmx,
  source32,
  source64,
  splat8,
  splat64,
  v,
  zeroExtend32,
} from './sse-words.ts';
import { define, type Meaning } from './table.ts';

/** The meaning of a kernel on MMX registers. */
const packed =
  (kernel: Kernel, read = source64): Meaning =>
  (b, to, from) => {
    mmx(b);
    const y = read(b, from!);
    setMmx(b, to!, kernel(b, b.vector(to!), y));
  };

/** The low halves of two vectors in one. */
function joined(b: Builder, x: Node, y: Node): Node {
  return b.let(b.shuffle(x, y, lanesOf(8, [0, 2])));
}

/** A kernel that works within one vector, on both operands joined. */
const onBoth =
  (kernel: Kernel): Kernel =>
  (b, x, y) => {
    const both = joined(b, x, y);
    return kernel(b, both, both);
  };
const pack = (name: VectorOp): Kernel => onBoth((b, x, y) => v(b, name, x, y));

/** The high halves of MMX registers begin at byte 4. */
const unpackHigh =
  (bytes: 1 | 2 | 4): Kernel =>
  (b, x, y) =>
    b.shuffle(
      x,
      y,
      interleave(bytes, 0).map((byte) => byte + 4),
    );

const PACKED_MMX: typeof PACKED = [
  ['63', 'PACKSSWB', pack('i8x16.narrow_i16x8_s')],
  ['67', 'PACKUSWB', pack('i8x16.narrow_i16x8_u')],
  ['68', 'PUNPCKHBW', unpackHigh(1)],
  ['69', 'PUNPCKHWD', unpackHigh(2)],
  ['6a', 'PUNPCKHDQ', unpackHigh(4)],
  ['6b', 'PACKSSDW', pack('i16x8.narrow_i32x4_s')],
  [
    '38 00',
    'PSHUFB',
    (b, x, y) => v(b, 'i8x16.swizzle', x, v(b, 'v128.and', y, halves(b, 0x87878787 | 0, 0x87878787 | 0))),
  ],
  ['38 01', 'PHADDW', onBoth(horizontal('i16x8.add', 2))],
  ['38 02', 'PHADDD', onBoth(horizontal('i32x4.add', 4))],
  ['38 03', 'PHADDSW', onBoth(horizontal('i16x8.add_sat_s', 2))],
  ['38 05', 'PHSUBW', onBoth(horizontal('i16x8.sub', 2))],
  ['38 06', 'PHSUBD', onBoth(horizontal('i32x4.sub', 4))],
  ['38 07', 'PHSUBSW', onBoth(horizontal('i16x8.sub_sat_s', 2))],
];

const movd: Meaning = (b, to, from) => {
  mmx(b);
  const value = b.read(from!);
  setMmx(b, to!, from!.size === 64 ? splat64(b, value) : zeroExtend32(b, value));
};
const toInteger: Meaning = (b, to, from) => {
  mmx(b);
  const value = b.vector(from!);
  b.write(to!, b.let(to!.size === 64 ? low64(b, value) : low32(b, value)));
  enterMmx(b);
};
const movqLoad: Meaning = (b, to, from) => {
  mmx(b);
  setMmx(b, to!, source64(b, from!));
};
const movqStore: Meaning = (b, to, from) => {
  mmx(b);
  const value = b.vector(from!);
  if (to!.kind === 'memory') {
    b.store(b.address(8, true), 64, low64(b, value));
    enterMmx(b);
  } else setMmx(b, to!, value);
};

const palignr: Meaning = (b, to, from, n) => {
  mmx(b);
  const y = source64(b, from!);
  const both = joined(b, y, b.vector(to!));
  const count = imm8(b, n!);
  const by = splat8(b, b.select(b.gtU(count, b.i32(16)), b.i32(16), count));
  setMmx(b, to!, v(b, 'i8x16.swizzle', both, v(b, 'i8x16.add', iota(b), by)));
};

const pshufw: Meaning = (b, to, from, n) => {
  mmx(b);
  const y = source64(b, from!);
  setMmx(b, to!, v(b, 'i8x16.swizzle', y, splat64(b, wordControl(b, b.let(b.extendU(imm8(b, n!))), 0))));
};

const pinsrw: Meaning = (b, to, from, n) => {
  mmx(b);
  const value = b.read(from!);
  setMmx(b, to!, inserted(b, 16, b.vector(to!), value, n!, 3));
};
const pextrw: Meaning = (b, to, from, n) => {
  mmx(b);
  b.write(to!, extracted(b, 16, b.vector(from!), n!, 3));
  enterMmx(b);
};
const pmovmskb: Meaning = (b, to, from) => {
  mmx(b);
  b.write(to!, b.and(v(b, 'i8x16.bitmask', b.vector(from!)), b.i32(0xff)));
  enterMmx(b);
};
const maskmovq: Meaning = (b, value, mask) => {
  mmx(b);
  enterMmx(b);
  maskedStore(b, 8, b.vector(value!), b.vector(mask!));
};

const shift =
  (kernel: (b: Builder, x: Node, count: Node) => Node, count: (b: Builder, x: Operand) => Node): Meaning =>
  (b, to, from) => {
    mmx(b);
    const by = count(b, from!);
    setMmx(b, to!, kernel(b, b.vector(to!), by));
  };

function defineAll(): void {
  for (const [opcode, name, kernel] of [...PACKED, ...PACKED_MMX])
    define(`0f ${opcode}`, name, 'Pq Qq', packed(kernel));
  for (const [opcode, immediate, name, shape, kind] of SHIFTS) {
    const kernel = (b: Builder, x: Node, count: Node): Node => shifted(b, shape, kind, x, count);
    define(`0f ${opcode}`, name, 'Pq Qq', shift(kernel, bits64));
    define(`0f ${immediate}`, name, 'Nq Ib', shift(kernel, imm8), { registerOnly: true });
  }
  for (const [opcode, name, bytes] of [
    ['60', 'LBW', 1],
    ['61', 'LWD', 2],
    ['62', 'LDQ', 4],
  ] as const) {
    define(
      `0f ${opcode}`,
      `PUNPCK${name}`,
      'Pq Qd',
      packed((b, x, y) => b.shuffle(x, y, interleave(bytes, 0)), source32),
    );
  }
  define('0f 6e', 'MOVD', 'Pq Ey', movd);
  define('0f 7e', 'MOVD', 'Ey Pq', toInteger);
  define('0f 6f', 'MOVQ', 'Pq Qq', movqLoad);
  define('0f 7f', 'MOVQ', 'Qq Pq', movqStore);
  define('0f e7', 'MOVNTQ', 'Mq Pq', movqStore, { memoryOnly: true });
  define('0f 70', 'PSHUFW', 'Pq Qq Ib', pshufw);
  define('0f c4', 'PINSRW', 'Pq Rd Ib', pinsrw, { registerOnly: true });
  define('0f c4', 'PINSRW', 'Pq Mw Ib', pinsrw, { memoryOnly: true });
  define('0f c5', 'PEXTRW', 'Gd Nq Ib', pextrw, { registerOnly: true });
  define('0f d7', 'PMOVMSKB', 'Gd Nq', pmovmskb, { registerOnly: true });
  define('0f f7', 'MASKMOVQ', 'Pq Nq', maskmovq, { registerOnly: true });
  define('0f 3a 0f', 'PALIGNR', 'Pq Qq Ib', palignr);
  define(
    '0f 77',
    'EMMS',
    '',
    (b) => {
      mmx(b);
      b.setField(State.fpuTop, 4, b.i32(0));
      b.setField(State.fpuTags, 4, b.i32(0));
    },
    { noPrefix: true },
  );
}

defineAll();
