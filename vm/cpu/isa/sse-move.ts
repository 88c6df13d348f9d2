/**
 * SSE instructions that move whole registers or parts of them, also to and from general and MMX registers: SDM
 * volume 1, 10.4.1, 10.4.6, 11.4.1 and 12.3.
 */
import { type Builder, Reg } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { State } from '../layout.ts';
import type { VectorOp } from '../simd/opcodes.ts';
import { Helper } from './helpers.ts';
import {
  alignedAddress,
  bits32,
  bits64,
  enterMmx,
  high64,
  lane,
  lanesOf,
  low32,
  low64,
  mmx,
  setMmx,
  source,
  sse,
  v,
  zeroExtend32,
  zeroExtend64,
} from './sse-words.ts';
import { define, type Meaning } from './table.ts';

// Whole registers

const loadAligned: Meaning = (b, to, from) => {
  sse(b);
  b.setVector(to!, source(b, from!));
};
const moveUnaligned: Meaning = (b, to, from) => {
  sse(b);
  b.setVector(to!, b.vector(from!));
};
const storeAligned: Meaning = (b, to, from) => {
  sse(b);
  if (to!.kind === 'memory') b.storeVector(alignedAddress(b, true), b.vector(from!));
  else b.setVector(to!, b.vector(from!));
};

// Parts of registers

/** MOVSS and MOVSD: from memory with zeros above, between registers only the lowest lane. */
const loadLow =
  (size: 32 | 64): Meaning =>
  (b, to, from) => {
    sse(b);
    if (from!.kind === 'memory') {
      b.setVector(to!, size === 32 ? zeroExtend32(b, bits32(b, from!)) : zeroExtend64(b, bits64(b, from!)));
      return;
    }
    b.setVector(to!, withLow(b, size, b.vector(to!), b.vector(from!)));
  };
const storeLow =
  (size: 32 | 64): Meaning =>
  (b, to, from) => {
    sse(b);
    const value = b.vector(from!);
    if (to!.kind === 'memory')
      b.store(b.address(size / 8, true), size, size === 32 ? low32(b, value) : low64(b, value));
    else b.setVector(to!, withLow(b, size, b.vector(to!), value));
  };

/** The lowest lane of `y` in place of that of `x`. */
export function withLow(b: Builder, size: 32 | 64, x: Node, y: Node): Node {
  return b.shuffle(x, y, size === 32 ? lanesOf(4, [4, 1, 2, 3]) : lanesOf(8, [2, 1]));
}

const loadHalf =
  (half: 0 | 1): Meaning =>
  (b, to, from) => {
    sse(b);
    const value = bits64(b, from!);
    b.setVector(to!, lane(b, 'i64x2.replace_lane', half, b.vector(to!), value));
  };
const storeHalf =
  (half: 0 | 1): Meaning =>
  (b, _, from) => {
    sse(b);
    b.store(b.address(8, true), 64, lane(b, 'i64x2.extract_lane', half, b.vector(from!)));
  };

/** MOVHLPS, MOVLHPS: one half of the source to one of the destination. */
const movhalves =
  (halves: readonly number[]): Meaning =>
  (b, to, from) => {
    sse(b);
    b.setVector(to!, b.shuffle(b.vector(to!), b.vector(from!), lanesOf(8, halves)));
  };

/** MOVQ: 64 bits, zeros above, also between registers. */
const movqLoad: Meaning = (b, to, from) => {
  sse(b);
  b.setVector(to!, zeroExtend64(b, bits64(b, from!)));
};
const movqStore: Meaning = (b, to, from) => {
  sse(b);
  const value = b.let(low64(b, b.vector(from!)));
  if (to!.kind === 'memory') b.store(b.address(8, true), 64, value);
  else b.setVector(to!, zeroExtend64(b, value));
};

/** MOVD, MOVQ with general registers or memory. */
const fromInteger: Meaning = (b, to, from) => {
  sse(b);
  const value = b.read(from!);
  b.setVector(to!, from!.size === 64 ? zeroExtend64(b, value) : zeroExtend32(b, value));
};
const toInteger: Meaning = (b, to, from) => {
  sse(b);
  const value = b.vector(from!);
  b.write(to!, b.let(to!.size === 64 ? low64(b, value) : low32(b, value)));
};

const moveMask =
  (name: VectorOp): Meaning =>
  (b, to, from) => {
    sse(b);
    b.write(to!, v(b, name, b.vector(from!)));
  };

// Between XMM and MMX registers

const movdq2q: Meaning = (b, to, from) => {
  sse(b);
  mmx(b);
  setMmx(b, to!, b.vector(from!));
};
const movq2dq: Meaning = (b, to, from) => {
  sse(b);
  mmx(b);
  b.setVector(to!, zeroExtend64(b, low64(b, b.vector(from!))));
  enterMmx(b);
};

/** MASKMOVQ, MASKMOVDQU: bytes with a set sign in the mask go to DS:rDI. The helper finds both in the scratch area. */
export function maskedStore(b: Builder, bytes: 8 | 16, value: Node, mask: Node): void {
  const pointer = b.gpr(Reg.di, b.mode === 'long' ? 64 : 32);
  const offset =
    b.addressSize === 16
      ? b.and(pointer, b.i32(0xffff))
      : b.addressSize === 32 && b.mode === 'long'
        ? b.and(pointer, b.const(64, -1, 0))
        : pointer;
  b.setField(State.ea, 8, b.extendU(b.addressAt(offset, bytes, true)));
  b.setField(State.scratch, 8, low64(b, value));
  b.setField(State.scratch + 8, 8, high64(b, value));
  b.setField(State.scratch + 16, 4, v(b, 'i8x16.bitmask', mask));
  b.helper(Helper.maskmov, bytes);
}

const maskmovdqu: Meaning = (b, value, mask) => {
  sse(b);
  maskedStore(b, 16, b.vector(value!), b.vector(mask!));
};

function defineAll(): void {
  for (const [prefix, kind] of [
    ['', 'PS'],
    ['66 ', 'PD'],
  ] as const) {
    define(`${prefix}0f 10`, `MOVU${kind}`, 'Vx Wx', moveUnaligned);
    define(`${prefix}0f 11`, `MOVU${kind}`, 'Wx Vx', moveUnaligned);
    define(`${prefix}0f 12`, `MOVL${kind}`, 'Vx Mq', loadHalf(0), { memoryOnly: true });
    define(`${prefix}0f 13`, `MOVL${kind}`, 'Mq Vx', storeHalf(0), { memoryOnly: true });
    define(`${prefix}0f 16`, `MOVH${kind}`, 'Vx Mq', loadHalf(1), { memoryOnly: true });
    define(`${prefix}0f 17`, `MOVH${kind}`, 'Mq Vx', storeHalf(1), { memoryOnly: true });
    define(`${prefix}0f 28`, `MOVA${kind}`, 'Vx Wx', loadAligned);
    define(`${prefix}0f 29`, `MOVA${kind}`, 'Wx Vx', storeAligned);
    define(`${prefix}0f 2b`, `MOVNT${kind}`, 'Mx Vx', storeAligned, { memoryOnly: true });
  }
  define('0f 12', 'MOVHLPS', 'Vx Ux', movhalves([3, 1]), { registerOnly: true });
  define('0f 16', 'MOVLHPS', 'Vx Ux', movhalves([0, 2]), { registerOnly: true });
  define('f3 0f 10', 'MOVSS', 'Vx Wd', loadLow(32));
  define('f3 0f 11', 'MOVSS', 'Wd Vx', storeLow(32));
  define('f2 0f 10', 'MOVSD', 'Vx Wq', loadLow(64));
  define('f2 0f 11', 'MOVSD', 'Wq Vx', storeLow(64));
  define('0f 50', 'MOVMSKPS', 'Gd Ux', moveMask('i32x4.bitmask'), { registerOnly: true });
  define('66 0f 50', 'MOVMSKPD', 'Gd Ux', moveMask('i64x2.bitmask'), { registerOnly: true });
  define('66 0f d7', 'PMOVMSKB', 'Gd Ux', moveMask('i8x16.bitmask'), { registerOnly: true });

  define('66 0f 6e', 'MOVD', 'Vx Ey', fromInteger);
  define('66 0f 7e', 'MOVD', 'Ey Vx', toInteger);
  define('f3 0f 7e', 'MOVQ', 'Vx Wq', movqLoad);
  define('66 0f d6', 'MOVQ', 'Wq Vx', movqStore);
  define('66 0f 6f', 'MOVDQA', 'Vx Wx', loadAligned);
  define('66 0f 7f', 'MOVDQA', 'Wx Vx', storeAligned);
  define('f3 0f 6f', 'MOVDQU', 'Vx Wx', moveUnaligned);
  define('f3 0f 7f', 'MOVDQU', 'Wx Vx', moveUnaligned);
  define('66 0f e7', 'MOVNTDQ', 'Mx Vx', storeAligned, { memoryOnly: true });
  define('66 0f 38 2a', 'MOVNTDQA', 'Vx Mx', loadAligned, { memoryOnly: true });
  define('f2 0f f0', 'LDDQU', 'Vx Mx', moveUnaligned, { memoryOnly: true });
  define('66 0f f7', 'MASKMOVDQU', 'Vx Ux', maskmovdqu, { registerOnly: true });
  define('f2 0f d6', 'MOVDQ2Q', 'Pq Ux', movdq2q, { registerOnly: true });
  define('f3 0f d6', 'MOVQ2DQ', 'Vx Nq', movq2dq, { registerOnly: true });
}

defineAll();
