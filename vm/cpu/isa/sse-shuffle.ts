/**
 * SSE instructions that rearrange lanes: shuffles, blends, insertion and extraction. SDM volume 1, 10.4.4,
 * 11.4.2, 12.6.4 and 12.10.
 */
import type { Builder, Operand } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { State } from '../layout.ts';
import type { VectorOp } from '../simd/opcodes.ts';
import {
  bits64,
  high64,
  imm8,
  iota,
  lane,
  lanesOf,
  low32,
  low64,
  pair,
  source,
  splat8,
  splat16,
  splat32,
  splat64,
  sse,
  v,
  words,
} from './sse-words.ts';
import { define, type Meaning } from './table.ts';

// Shuffles whose control is the immediate: computed, so that one handler serves all of them, and folded by
// the compiler where the immediate is known.

/** Two 2-bit fields to the byte numbers of two 32-bit lanes. */
function dwordControl(b: Builder, fields: Node): Node {
  const spread = b.and(b.or(fields, b.shl(fields, b.const(64, 30))), b.const(64, 3, 3));
  return b.add(b.mul(spread, b.const(64, 0x04040404)), b.const(64, 0x03020100, 0x03020100));
}

/** Four 2-bit fields to the byte numbers of four words, from byte `first` on. */
export function wordControl(b: Builder, fields: Node, first: 0 | 8): Node {
  const nibbles = b.let(b.and(b.or(fields, b.shl(fields, b.const(64, 28))), b.const(64, 15, 15)));
  const spread = b.and(b.or(nibbles, b.shl(nibbles, b.const(64, 14))), b.const(64, 0x00030003, 0x00030003));
  const base = first === 0 ? 0x01000100 : 0x09080908;
  return b.add(b.mul(spread, b.const(64, 0x0202)), b.const(64, base, base));
}

/** The immediate's bits as i64, and the upper four. */
function fieldsOf(b: Builder, n: Operand): [Node, Node] {
  const all = b.let(b.extendU(imm8(b, n)));
  return [all, b.let(b.shrU(all, b.const(64, 4)))];
}

const pshufd: Meaning = (b, to, from, n) => {
  sse(b);
  const [low, high] = fieldsOf(b, n!);
  b.setVector(
    to!,
    v(b, 'i8x16.swizzle', source(b, from!), pair(b, dwordControl(b, low), dwordControl(b, high))),
  );
};
const shuffleWords =
  (half: 'low' | 'high'): Meaning =>
  (b, to, from, n) => {
    sse(b);
    const [fields] = fieldsOf(b, n!);
    const control =
      half === 'low'
        ? pair(b, wordControl(b, fields, 0), b.const(64, 0x0b0a0908, 0x0f0e0d0c))
        : pair(b, b.const(64, 0x03020100, 0x07060504), wordControl(b, fields, 8));
    b.setVector(to!, v(b, 'i8x16.swizzle', source(b, from!), control));
  };
/** The two lower lanes from the destination, the two upper ones from the source. */
const shufps: Meaning = (b, to, from, n) => {
  sse(b);
  const [low, high] = fieldsOf(b, n!);
  const y = source(b, from!);
  const none = b.const(64, -1);
  const lower = v(b, 'i8x16.swizzle', b.vector(to!), pair(b, dwordControl(b, low), none));
  const upper = v(b, 'i8x16.swizzle', y, pair(b, none, dwordControl(b, high)));
  b.setVector(to!, v(b, 'v128.or', lower, upper));
};
const shufpd: Meaning = (b, to, from, n) => {
  sse(b);
  const y = source(b, from!);
  const x = b.vector(to!);
  const choice = imm8(b, n!);
  const low = b.select(b.and(choice, b.i32(1)), high64(b, x), low64(b, x));
  const high = b.select(b.and(choice, b.i32(2)), high64(b, y), low64(b, y));
  b.setVector(to!, pair(b, low, high));
};

/** Lanes of `bytes` from the halves of both operands in turn. */
export function interleave(bytes: number, half: 0 | 1): number[] {
  const lanes = 16 / bytes;
  const first = half * (lanes / 2);
  return lanesOf(
    bytes,
    Array.from({ length: lanes }, (_, i) => first + (i >> 1) + (i & 1) * lanes),
  );
}

const unpack =
  (bytes: number, half: 0 | 1): Meaning =>
  (b, to, from) => {
    sse(b);
    const y = source(b, from!);
    b.setVector(to!, b.shuffle(b.vector(to!), y, interleave(bytes, half)));
  };

const duplicate =
  (numbers: readonly number[]): Meaning =>
  (b, to, from) => {
    sse(b);
    const y = source(b, from!);
    b.setVector(to!, b.shuffle(y, y, lanesOf(4, numbers)));
  };
const movddup: Meaning = (b, to, from) => {
  sse(b);
  b.setVector(to!, splat64(b, bits64(b, from!)));
};

const palignr: Meaning = (b, to, from, n) => {
  sse(b);
  const y = source(b, from!);
  const count = imm8(b, n!);
  const at = b.let(
    v(b, 'i8x16.add', iota(b), splat8(b, b.select(b.gtU(count, b.i32(32)), b.i32(32), count))),
  );
  const low = v(b, 'i8x16.swizzle', y, at);
  const high = v(b, 'i8x16.swizzle', b.vector(to!), v(b, 'i8x16.sub', at, splat8(b, b.i32(16))));
  b.setVector(to!, v(b, 'v128.or', low, high));
};

const shiftBytes =
  (direction: 'left' | 'right'): Meaning =>
  (b, to, n) => {
    sse(b);
    const count = imm8(b, n!);
    const by = splat8(b, b.select(b.gtU(count, b.i32(16)), b.i32(16), count));
    const at = v(b, direction === 'left' ? 'i8x16.sub' : 'i8x16.add', iota(b), by);
    b.setVector(to!, v(b, 'i8x16.swizzle', b.vector(to!), at));
  };

// Blends

/** Lanes of `size` bits where the immediate's bits are set come from the source. */
const blendImmediate =
  (size: 16 | 32 | 64): Meaning =>
  (b, to, from, n) => {
    sse(b);
    const y = source(b, from!);
    b.setVector(to!, v(b, 'v128.bitselect', y, b.vector(to!), immediateMask(b, size, imm8(b, n!))));
  };

/** All ones in the lanes whose number is a set bit of `bits`. */
export function immediateMask(b: Builder, size: 16 | 32 | 64, bits: Node): Node {
  if (size === 16) {
    const weights = b.let(words(b, 0x00020001, 0x00080004, 0x00200010, 0x00800040));
    return v(b, 'i16x8.eq', v(b, 'v128.and', splat16(b, bits), weights), weights);
  }
  if (size === 32) {
    const weights = b.let(words(b, 1, 2, 4, 8));
    return v(b, 'i32x4.eq', v(b, 'v128.and', splat32(b, bits), weights), weights);
  }
  const weights = b.let(words(b, 1, 0, 2, 0));
  return v(b, 'i64x2.eq', v(b, 'v128.and', splat64(b, b.extendU(bits)), weights), weights);
}

/** PBLENDVB, BLENDVPS, BLENDVPD: lanes where XMM0's are negative come from the source. */
const blendVariable =
  (size: 8 | 32 | 64): Meaning =>
  (b, to, from) => {
    sse(b);
    const y = source(b, from!);
    const control = pair(b, b.field(State.xmm, 8), b.field(State.xmm + 8, 8));
    const mask =
      size === 8
        ? v(b, 'i8x16.shr_s', control, b.i32(7))
        : size === 32
          ? v(b, 'i32x4.shr_s', control, b.i32(31))
          : v(b, 'i64x2.shr_s', control, b.i32(63));
    b.setVector(to!, v(b, 'v128.bitselect', y, b.vector(to!), mask));
  };

// Insertion and extraction at a lane that the immediate names

/** All ones in one lane. */
function laneMask(b: Builder, size: 8 | 16 | 32 | 64, number: Node): Node {
  switch (size) {
    case 8:
      return v(b, 'i8x16.eq', splat8(b, number), iota(b));
    case 16:
      return v(b, 'i16x8.eq', splat16(b, number), words(b, 0x00010000, 0x00030002, 0x00050004, 0x00070006));
    case 32:
      return v(b, 'i32x4.eq', splat32(b, number), words(b, 0, 1, 2, 3));
    case 64:
      return v(b, 'i64x2.eq', splat64(b, b.extendU(number)), words(b, 0, 0, 1, 0));
  }
}

function splat(b: Builder, size: 8 | 16 | 32 | 64, value: Node): Node {
  return size === 8
    ? splat8(b, value)
    : size === 16
      ? splat16(b, value)
      : size === 32
        ? splat32(b, value)
        : splat64(b, value);
}

/** PINSRB, PINSRW, PINSRD, PINSRQ. */
export function inserted(
  b: Builder,
  size: 8 | 16 | 32 | 64,
  x: Node,
  value: Node,
  n: Operand,
  mask = 128 / size - 1,
): Node {
  const number = b.and(imm8(b, n), b.i32(mask));
  return v(b, 'v128.bitselect', splat(b, size, value), x, laneMask(b, size, number));
}

/** PEXTRB, PEXTRW, PEXTRD, PEXTRQ: zero-extended. */
export function extracted(
  b: Builder,
  size: 8 | 16 | 32 | 64,
  x: Node,
  n: Operand,
  mask = 128 / size - 1,
): Node {
  const number = b.and(imm8(b, n), b.i32(mask));
  if (size === 64) return b.let(b.select(number, high64(b, x), low64(b, x)));
  const first = splat8(b, b.mul(number, b.i32(size / 8)));
  const moved = v(b, 'i8x16.swizzle', x, v(b, 'i8x16.add', iota(b), first));
  const name: VectorOp =
    size === 8 ? 'i8x16.extract_lane_u' : size === 16 ? 'i16x8.extract_lane_u' : 'i32x4.extract_lane';
  return b.let(lane(b, name, 0, moved));
}

const insert =
  (size?: 8 | 16): Meaning =>
  (b, to, from, n) => {
    sse(b);
    const value = b.read(from!);
    b.setVector(to!, inserted(b, size ?? (from!.size as 32 | 64), b.vector(to!), value, n!));
  };
const extract =
  (size?: 8 | 16 | 32): Meaning =>
  (b, to, from, n) => {
    sse(b);
    b.write(to!, extracted(b, size ?? (to!.size as 32 | 64), b.vector(from!), n!));
  };
const insertps: Meaning = (b, to, from, n) => {
  sse(b);
  const control = imm8(b, n!);
  const value =
    from!.kind === 'memory'
      ? b.read(from!)
      : low32(
          b,
          v(
            b,
            'i8x16.swizzle',
            b.vector(from!),
            v(b, 'i8x16.add', iota(b), splat8(b, b.and(b.shrU(control, b.i32(4)), b.i32(12)))),
          ),
        );
  const mask = laneMask(b, 32, b.and(b.shrU(control, b.i32(4)), b.i32(3)));
  const whole = v(b, 'v128.bitselect', splat32(b, value), b.vector(to!), mask);
  b.setVector(to!, v(b, 'v128.andnot', whole, immediateMask(b, 32, control)));
};

function defineAll(): void {
  define('66 0f 70', 'PSHUFD', 'Vx Wx Ib', pshufd);
  define('f2 0f 70', 'PSHUFLW', 'Vx Wx Ib', shuffleWords('low'));
  define('f3 0f 70', 'PSHUFHW', 'Vx Wx Ib', shuffleWords('high'));
  define('f3 0f 12', 'MOVSLDUP', 'Vx Wx', duplicate([0, 0, 2, 2]));
  define('f3 0f 16', 'MOVSHDUP', 'Vx Wx', duplicate([1, 1, 3, 3]));
  define('f2 0f 12', 'MOVDDUP', 'Vx Wq', movddup);
  define('0f 14', 'UNPCKLPS', 'Vx Wx', unpack(4, 0));
  define('66 0f 14', 'UNPCKLPD', 'Vx Wx', unpack(8, 0));
  define('0f 15', 'UNPCKHPS', 'Vx Wx', unpack(4, 1));
  define('66 0f 15', 'UNPCKHPD', 'Vx Wx', unpack(8, 1));
  define('0f c6', 'SHUFPS', 'Vx Wx Ib', shufps);
  define('66 0f c6', 'SHUFPD', 'Vx Wx Ib', shufpd);
  const unpacks: [string, string, number, 0 | 1][] = [
    ['60', 'LBW', 1, 0],
    ['61', 'LWD', 2, 0],
    ['62', 'LDQ', 4, 0],
    ['6c', 'LQDQ', 8, 0],
    ['68', 'HBW', 1, 1],
    ['69', 'HWD', 2, 1],
    ['6a', 'HDQ', 4, 1],
    ['6d', 'HQDQ', 8, 1],
  ];
  for (const [opcode, name, bytes, half] of unpacks)
    define(`66 0f ${opcode}`, `PUNPCK${name}`, 'Vx Wx', unpack(bytes, half));
  define('66 0f 3a 0f', 'PALIGNR', 'Vx Wx Ib', palignr);
  define('66 0f 73 /3', 'PSRLDQ', 'Ux Ib', shiftBytes('right'), { registerOnly: true });
  define('66 0f 73 /7', 'PSLLDQ', 'Ux Ib', shiftBytes('left'), { registerOnly: true });

  define('66 0f 38 10', 'PBLENDVB', 'Vx Wx', blendVariable(8));
  define('66 0f 38 14', 'BLENDVPS', 'Vx Wx', blendVariable(32));
  define('66 0f 38 15', 'BLENDVPD', 'Vx Wx', blendVariable(64));
  define('66 0f 3a 0c', 'BLENDPS', 'Vx Wx Ib', blendImmediate(32));
  define('66 0f 3a 0d', 'BLENDPD', 'Vx Wx Ib', blendImmediate(64));
  define('66 0f 3a 0e', 'PBLENDW', 'Vx Wx Ib', blendImmediate(16));

  define('66 0f c4', 'PINSRW', 'Vx Rd Ib', insert(16), { registerOnly: true });
  define('66 0f c4', 'PINSRW', 'Vx Mw Ib', insert(16), { memoryOnly: true });
  define('66 0f c5', 'PEXTRW', 'Gd Ux Ib', extract(16), { registerOnly: true });
  define('66 0f 3a 20', 'PINSRB', 'Vx Rd Ib', insert(8), { registerOnly: true });
  define('66 0f 3a 20', 'PINSRB', 'Vx Mb Ib', insert(8), { memoryOnly: true });
  define('66 0f 3a 22', 'PINSRD', 'Vx Ey Ib', insert());
  define('66 0f 3a 14', 'PEXTRB', 'Rd Vx Ib', extract(8), { registerOnly: true });
  define('66 0f 3a 14', 'PEXTRB', 'Mb Vx Ib', extract(8), { memoryOnly: true });
  define('66 0f 3a 15', 'PEXTRW', 'Rd Vx Ib', extract(16), { registerOnly: true });
  define('66 0f 3a 15', 'PEXTRW', 'Mw Vx Ib', extract(16), { memoryOnly: true });
  define('66 0f 3a 16', 'PEXTRD', 'Ey Vx Ib', extract());
  define('66 0f 3a 17', 'EXTRACTPS', 'Ed Vx Ib', extract(32));
  define('66 0f 3a 21', 'INSERTPS', 'Vx Wd Ib', insertps);
}

defineAll();
