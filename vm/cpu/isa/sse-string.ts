/**
 * PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM. SDM volume 1, 12.10.3, and volume 2, 4.1.
 *
 * What strings are mostly compared for is done here: bytes or words that are equal in pairs (strcmp), and bytes
 * that are in a set (strspn and its kin). Ranges and substrings go to TypeScript (simd/strings.ts).
 */
import { type Builder, Reg } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { State } from '../layout.ts';
import { Scratch } from '../simd/operations.ts';
import { Helper } from './helpers.ts';
import { halves, high64, imm8, iota, low64, pair, splat8, sse, v, words, zeroExtend64 } from './sse-words.ts';
import { define, type Meaning } from './table.ts';

/** An explicit length: the absolute value, at most as many as there are elements. */
function explicitLength(b: Builder, register: number, count: Node): Node {
  const size = b.size === 64 ? 64 : 32;
  const value = b.gpr(register, size);
  const sign = b.shrS(value, b.like(value, size - 1));
  const magnitude = b.let(b.sub(b.xor(value, sign), sign));
  const limit = b.resize(size, count);
  return b.let(b.wrap(b.select(b.ltU(magnitude, limit), magnitude, limit)));
}

/** Where the first zero element is. */
function implicitLength(b: Builder, x: Node, isWords: Node, count: Node): Node {
  const zeros = b.select(
    isWords,
    v(b, 'i16x8.bitmask', v(b, 'i16x8.eq', x, halves(b, 0, 0))),
    v(b, 'i8x16.bitmask', v(b, 'i8x16.eq', x, halves(b, 0, 0))),
  );
  return b.let(b.ctz(b.or(zeros, b.shl(b.i32(1), count))));
}

/** Bits of y's elements that equal one of x's first `length` bytes. */
function equalAny(b: Builder, x: Node, y: Node, length: Node): Node {
  // Elements beyond the end repeat the first one.
  const numbers = iota(b);
  const set = b.let(
    v(b, 'i8x16.swizzle', x, v(b, 'v128.and', numbers, v(b, 'i8x16.lt_u', numbers, splat8(b, length)))),
  );
  let found: Node | undefined;
  for (let i = 0; i < 16; i++) {
    const equal = v(b, 'i8x16.eq', y, v(b, 'i8x16.swizzle', set, splat8(b, b.i32(i))));
    found = found === undefined ? equal : v(b, 'v128.or', found, equal);
  }
  return b.select(length, v(b, 'i8x16.bitmask', found!), b.i32(0));
}

const compareStrings =
  (isExplicit: boolean, gives: 'index' | 'mask'): Meaning =>
  (b, first, second, n) => {
    sse(b);
    const y = b.vector(second!);
    const x = b.vector(first!);
    const control = imm8(b, n!);
    const isWords = b.let(b.and(control, b.i32(1)));
    const count = b.let(b.shrU(b.i32(16), isWords));
    const all = b.let(b.sub(b.shl(b.i32(1), count), b.i32(1)));
    const length1 = isExplicit ? explicitLength(b, Reg.ax, count) : implicitLength(b, x, isWords, count);
    const length2 = isExplicit ? explicitLength(b, Reg.dx, count) : implicitLength(b, y, isWords, count);
    const bitsOf = (length: Node): Node => b.let(b.sub(b.shl(b.i32(1), length), b.i32(1)));
    const valid1 = bitsOf(length1);
    const valid2 = bitsOf(length2);

    const result = b.variable(b.i32(0));
    const aggregation = b.and(control, b.i32(0x0c));
    b.if(
      b.eq(aggregation, b.i32(8)),
      () => {
        const equal = b.select(
          isWords,
          v(b, 'i16x8.bitmask', v(b, 'i16x8.eq', x, y)),
          v(b, 'i8x16.bitmask', v(b, 'i8x16.eq', x, y)),
        );
        // Two elements beyond their ends are equal, one isn't.
        b.assign(result, b.or(b.and(b.and(equal, valid1), valid2), b.and(b.not(b.or(valid1, valid2)), all)));
      },
      () => {
        b.if(
          b.eqz(b.and(control, b.i32(0x0d))),
          () => b.assign(result, b.and(equalAny(b, x, y, length1), valid2)),
          () => {
            for (const [at, vector] of [
              [Scratch.first, x],
              [Scratch.second, y],
            ] as const) {
              b.setField(at, 8, low64(b, vector));
              b.setField(at + 8, 8, high64(b, vector));
            }
            b.setField(Scratch.immediate, 4, control);
            b.setField(Scratch.immediate + 4, 4, length1);
            b.setField(Scratch.immediate + 8, 4, length2);
            b.helper(Helper.compareStrings);
            b.assign(result, b.field(Scratch.result, 4));
          },
        );
      },
    );
    // Polarity: bit 4 inverts, with bit 5 only where the second string has elements.
    const inverted = b.select(b.and(control, b.i32(0x20)), valid2, all);
    b.if(b.and(control, b.i32(0x10)), () => b.assign(result, b.xor(result, inverted)));

    const selected = b.and(control, b.i32(0x40));
    if (gives === 'index') {
      const lowest = b.select(result, b.ctz(result), count);
      const highest = b.select(result, b.sub(b.i32(31), b.clz(result)), count);
      b.setGpr(Reg.cx, 32, b.select(selected, highest, lowest));
    } else {
      const mask = b.variable(zeroExtend64(b, b.extendU(result)));
      b.if(selected, () =>
        b.assign(mask, b.select(isWords, elementMask(b, 16, result), elementMask(b, 8, result))),
      );
      b.setField(State.xmm, 8, low64(b, mask));
      b.setField(State.xmm + 8, 8, high64(b, mask));
    }
    const carry = b.ne(result, b.i32(0));
    const zf = b.shl(b.ltU(length2, count), b.i32(6));
    const sf = b.shl(b.ltU(length1, count), b.i32(7));
    const of = b.shl(b.and(result, b.i32(1)), b.i32(11));
    b.setFlagBits(b.or(b.or(carry, zf), b.or(sf, of)));
  };

/** All ones in the elements whose bits are set. */
function elementMask(b: Builder, size: 8 | 16, bits: Node): Node {
  if (size === 16) {
    const weights = b.let(words(b, 0x00020001, 0x00080004, 0x00200010, 0x00800040));
    return v(b, 'i16x8.eq', v(b, 'v128.and', v(b, 'i16x8.splat', bits), weights), weights);
  }
  const weights = b.let(halves(b, 0x08040201, 0x80402010 | 0));
  const bytes = v(
    b,
    'i8x16.swizzle',
    v(b, 'i32x4.splat', bits),
    pair(b, b.const(64, 0, 0), b.const(64, 0x01010101, 0x01010101)),
  );
  return v(b, 'i8x16.eq', v(b, 'v128.and', bytes, weights), weights);
}

define('66 0f 3a 60', 'PCMPESTRM', 'Vx Wx Ib', compareStrings(true, 'mask'));
define('66 0f 3a 61', 'PCMPESTRI', 'Vx Wx Ib', compareStrings(true, 'index'));
define('66 0f 3a 62', 'PCMPISTRM', 'Vx Wx Ib', compareStrings(false, 'mask'));
define('66 0f 3a 63', 'PCMPISTRI', 'Vx Wx Ib', compareStrings(false, 'index'));
