/**
 * The usual cases of x87 instructions, as functions of the base module: registers that are there, zeros, normal
 * numbers (and infinities on their way to and from memory), all exceptions masked, rounding to nearest at 64 bits.
 * Each says whether it could do it; the rest is TypeScript's (fpu/x87.ts), which means the same. SDM volume 1, 4.8, 8.
 *
 * A significand is an i64 with its integer bit on top; what rounding needs of the bits below is a second i64.
 */
import type { Builder } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { State } from '../layout.ts';
import { baseIndex } from './base.ts';
import type { DefineMeaning } from './base-meanings.ts';

/** Status word bits. */
const STATUS = { PE: 0x20, ES: 0x80, C0: 0x100, C1: 0x200, C2: 0x400, C3: 0x4000 } as const;
/** Control word: all exceptions masked, rounded to nearest at 64 bits. */
const CONTROL = { mask: 0xf3f, usual: 0x33f, masks: 0x3f, rounding: 10 } as const;
const BIAS = 16383;
const SPECIAL = 0x7fff;

/** An operand in memory: what it is, by the first parameter of functions that take one. */
export const X87Format = {
  single: 0,
  double: 1,
  integer: 2,
  integer16: 2,
  integer32: 3,
  integer64: 4,
} as const;
/** Added to the format of an integer that is stored truncated (FISTTP). */
export const X87_TRUNCATE = 8;
export const X87Move = {
  load: 0,
  exchange: 1,
  store: 2,
  storePop: 3,
  negate: 4,
  absolute: 5,
  one: 6,
  zero: 7,
} as const;
/** How x87Registers works: on ST(i) instead of ST(0), and whether it pops. */
export const X87How = { toOther: 1, pops: 2 } as const;
/** Where an operand from memory lies as an 80-bit real. */
const OPERAND = 0x1f00;

interface Real {
  readonly significand: Node;
  readonly exponent: Node;
  readonly sign: Node;
}

const i64 = (b: Builder, low: number, high?: number): Node => b.const(64, low, high);
const TOP_BIT = [0, -0x8000_0000] as const;

function shiftLeft(b: Builder, x: Node, by: Node): Node {
  return b.shl(x, b.extendU(by));
}
function shiftRight(b: Builder, x: Node, by: Node): Node {
  return b.shrU(x, b.extendU(by));
}

/** Whether the FPU may be used, nothing is pending, and (unless only masks matter) the control word is the usual one. */
function isReady(b: Builder, anyRounding = false): Node {
  const control = b.field(State.fpuControl, 4);
  const unusual = anyRounding
    ? b.xor(b.and(control, b.i32(CONTROL.masks)), b.i32(CONTROL.masks))
    : b.xor(b.and(control, b.i32(CONTROL.mask)), b.i32(CONTROL.usual));
  const pending = b.and(b.field(State.fpuStatus, 4), b.i32(STATUS.ES));
  const trap = b.and(b.field(State.fpuTrap, 4), b.i32(1));
  return b.let(b.eqz(b.or(b.or(unusual, pending), trap)));
}

function physical(b: Builder, i: Node): Node {
  return b.let(b.and(b.add(b.field(State.fpuTop, 4), i), b.i32(7)));
}
function slot(b: Builder, register: Node): Node {
  return b.let(b.add(b.shl(register, b.i32(4)), b.i32(State.fpr)));
}
/** 1 when a physical register holds something. */
function isFull(b: Builder, register: Node): Node {
  return b.let(b.and(b.shrU(b.field(State.fpuTags, 4), register), b.i32(1)));
}
function setTag(b: Builder, register: Node, full: boolean): void {
  const bit = b.shl(b.i32(1), register);
  const tags = b.field(State.fpuTags, 4);
  b.setField(State.fpuTags, 4, full ? b.or(tags, bit) : b.and(tags, b.not(bit)));
}
function pop(b: Builder): void {
  const top = b.field(State.fpuTop, 4);
  setTag(b, top, false);
  b.setField(State.fpuTop, 4, b.and(b.add(top, b.i32(1)), b.i32(7)));
}
/** Clears C1, and sets bits. */
function setStatus(b: Builder, bits: Node, cleared: number = STATUS.C1): void {
  b.setField(State.fpuStatus, 4, b.or(b.and(b.field(State.fpuStatus, 4), b.i32(~cleared)), bits));
}

function realAt(b: Builder, address: Node): Real {
  const top = b.let(b.peek(b.let(b.add(address, b.i32(8))), 2));
  return {
    significand: b.let(b.peek(address, 8)),
    exponent: b.let(b.and(top, b.i32(SPECIAL))),
    sign: b.let(b.shrU(top, b.i32(15))),
  };
}
function putReal(b: Builder, address: Node, sign: Node, exponent: Node, significand: Node): void {
  b.poke(address, 8, significand);
  b.poke(b.let(b.add(address, b.i32(8))), 2, b.or(b.shl(sign, b.i32(15)), exponent));
}
function isZero(b: Builder, x: Real): Node {
  return b.let(b.and(b.eqz(x.exponent), b.eqz(x.significand)));
}
function isNormal(b: Builder, x: Real): Node {
  const ordinary = b.ltU(b.sub(x.exponent, b.i32(1)), b.i32(SPECIAL - 1));
  return b.let(b.and(ordinary, b.ltS(x.significand, i64(b, 0))));
}
const isUsual = (b: Builder, x: Real): Node => b.let(b.or(isNormal(b, x), isZero(b, x)));
function isInfinite(b: Builder, x: Real): Node {
  return b.let(b.and(b.eq(x.exponent, b.i32(SPECIAL)), b.eq(x.significand, i64(b, ...TOP_BIT))));
}

/** A result before it is rounded; all are variables. */
interface Unrounded {
  readonly sign: Node;
  readonly exponent: Node;
  readonly significand: Node;
  /** What comes below the significand, the last bit standing for all further ones. */
  readonly rest: Node;
}

/** Rounds to nearest, and stores. `slow` stays 1 if it overflows or is tiny. */
function finish(b: Builder, to: Node, { sign, exponent, significand, rest }: Unrounded, slow: Node): void {
  const half = i64(b, ...TOP_BIT);
  const odd = b.ne(b.and(significand, i64(b, 1)), i64(b, 0));
  const up = b.let(b.or(b.gtU(rest, half), b.and(b.eq(rest, half), odd)));
  const inexact = b.let(b.ne(rest, i64(b, 0)));
  b.assign(significand, b.add(significand, b.extendU(up)));
  b.if(b.and(up, b.eqz(significand)), () => {
    b.assign(significand, half);
    b.assign(exponent, b.add(exponent, b.i32(1)));
  });
  b.if(b.ltU(b.sub(exponent, b.i32(1)), b.i32(SPECIAL - 1)), () => {
    putReal(b, to, sign, exponent, significand);
    setStatus(b, b.or(b.shl(inexact, b.i32(5)), b.shl(up, b.i32(9))));
    b.assign(slow, b.i32(0));
  });
}

/** An exact result. */
function finishExact(b: Builder, to: Node, sign: Node, exponent: Node, significand: Node, slow: Node): void {
  putReal(b, to, sign, exponent, significand);
  setStatus(b, b.i32(0));
  b.assign(slow, b.i32(0));
}

/** a + b, of which at most one is zero. */
function sum(b: Builder, to: Node, x: Real, y: Real, slow: Node): void {
  b.if(
    isZero(b, x),
    () => b.if(b.eqz(isZero(b, y)), () => finishExact(b, to, y.sign, y.exponent, y.significand, slow)),
    () =>
      b.if(
        isZero(b, y),
        () => finishExact(b, to, x.sign, x.exponent, x.significand, slow),
        () => sumOfNormals(b, to, x, y, slow),
      ),
  );
}

function sumOfNormals(b: Builder, to: Node, x: Real, y: Real, slow: Node): void {
  const sameExponent = b.eq(x.exponent, y.exponent);
  const isLess = b.let(
    b.or(b.ltU(x.exponent, y.exponent), b.and(sameExponent, b.ltU(x.significand, y.significand))),
  );
  const pick = (a: Node, c: Node): Node => b.let(b.select(isLess, a, c));
  const small = pick(x.significand, y.significand);
  const sign = pick(y.sign, x.sign);
  const exponent = b.variable(pick(y.exponent, x.exponent));
  const significand = b.variable(pick(y.significand, x.significand));
  const distance = b.let(b.sub(exponent, pick(x.exponent, y.exponent)));
  // The smaller one moved down: within the significand, below it, and all that is lost further down.
  const zero = i64(b, 0);
  const isNear = b.let(b.ltU(distance, b.i32(64)));
  const isFar = b.let(b.gtU(distance, b.i32(126)));
  const high = b.let(b.select(isNear, shiftRight(b, small, distance), zero));
  const below = b.let(shiftLeft(b, small, b.sub(b.i32(64), distance)));
  const inside = b.select(b.eqz(distance), zero, below);
  const lost = b.extendU(b.ne(below, zero));
  const beyond = b.or(shiftRight(b, small, distance), lost);
  const low = b.let(
    b.select(isFar, i64(b, 1), b.select(isNear, inside, b.select(b.eq(distance, b.i32(64)), small, beyond))),
  );
  const rest = b.variable(low);
  const result = { sign, exponent, significand, rest };
  b.if(
    b.eq(x.sign, y.sign),
    () => {
      const total = b.let(b.add(significand, high));
      b.if(
        b.ltU(total, high),
        () => {
          const out = b.and(rest, i64(b, 1));
          b.assign(rest, b.or(b.or(b.shrU(rest, i64(b, 1)), out), b.shl(total, i64(b, 63))));
          b.assign(significand, b.or(b.shrU(total, i64(b, 1)), i64(b, ...TOP_BIT)));
          b.assign(exponent, b.add(exponent, b.i32(1)));
        },
        () => b.assign(significand, total),
      );
      finish(b, to, result, slow);
    },
    () => {
      const borrow = b.extendU(b.ne(rest, zero));
      b.assign(significand, b.sub(b.sub(significand, high), borrow));
      b.assign(rest, b.sub(zero, rest));
      b.if(
        b.eqz(b.or(significand, rest)),
        () => finishExact(b, to, b.i32(0), b.i32(0), zero, slow),
        () => {
          b.if(b.eqz(significand), () => {
            b.assign(significand, rest);
            b.assign(rest, zero);
            b.assign(exponent, b.sub(exponent, b.i32(64)));
          });
          const up = b.let(b.clz(significand));
          const carried = b.select(b.eqz(up), zero, b.shrU(rest, b.sub(i64(b, 64), up)));
          b.assign(significand, b.or(b.shl(significand, up), carried));
          b.assign(rest, b.shl(rest, up));
          b.assign(exponent, b.sub(exponent, b.wrap(up)));
          // Beyond the least exponent, as a signed number.
          b.if(b.gtS(exponent, b.i32(0)), () => finish(b, to, result, slow));
        },
      );
    },
  );
}

function product(b: Builder, to: Node, x: Real, y: Real, slow: Node): void {
  const sign = b.let(b.xor(x.sign, y.sign));
  b.if(
    b.or(isZero(b, x), isZero(b, y)),
    () => finishExact(b, to, sign, b.i32(0), i64(b, 0), slow),
    () => {
      const significand = b.variable(b.mulHighU(x.significand, y.significand));
      const rest = b.variable(b.mul(x.significand, y.significand));
      const exponent = b.variable(b.sub(b.add(x.exponent, y.exponent), b.i32(BIAS - 1)));
      b.if(b.eqz(b.ltS(significand, i64(b, 0))), () => {
        b.assign(significand, b.or(b.shl(significand, i64(b, 1)), b.shrU(rest, i64(b, 63))));
        b.assign(rest, b.shl(rest, i64(b, 1)));
        b.assign(exponent, b.sub(exponent, b.i32(1)));
      });
      b.if(b.gtS(exponent, b.i32(0)), () => finish(b, to, { sign, exponent, significand, rest }, slow));
    },
  );
}

/** One digit of a quotient, 32 bits of it: (high × 2³² + next) / divisor. Knuth, TAOCP 2, 4.3.1, algorithm D. */
function digit(b: Builder, high: Node, next: Node, divisor: Node): { quotient: Node; remainder: Node } {
  const mask = i64(b, -1, 0);
  const upper = b.let(b.shrU(divisor, i64(b, 32)));
  const lower = b.let(b.and(divisor, mask));
  const quotient = b.variable(b.divU(high, upper));
  const left = b.variable(b.remU(high, upper));
  for (let i = 0; i < 2; i++) {
    // The estimate is at most two too large.
    const fits = b.leU(left, mask);
    const product = b.mul(quotient, lower);
    const limit = b.or(b.shl(left, i64(b, 32)), next);
    const tooLarge = b.or(b.gtU(quotient, mask), b.gtU(product, limit));
    b.if(b.and(fits, tooLarge), () => {
      b.assign(quotient, b.sub(quotient, i64(b, 1)));
      b.assign(left, b.add(left, upper));
    });
  }
  const remainder = b.let(b.sub(b.or(b.shl(high, i64(b, 32)), next), b.mul(quotient, divisor)));
  return { quotient, remainder };
}

/** x / y; y isn't zero. */
function quotient(b: Builder, to: Node, x: Real, y: Real, slow: Node): void {
  const sign = b.let(b.xor(x.sign, y.sign));
  b.if(
    isZero(b, x),
    () => finishExact(b, to, sign, b.i32(0), i64(b, 0), slow),
    () => {
      const zero = i64(b, 0);
      // The dividend's upper half has to be less than the divisor.
      const isLess = b.let(b.ltU(x.significand, y.significand));
      const high = b.let(b.select(isLess, x.significand, b.shrU(x.significand, i64(b, 1))));
      const low = b.let(b.select(isLess, zero, b.shl(x.significand, i64(b, 63))));
      const exponent = b.variable(b.sub(b.add(b.sub(x.exponent, y.exponent), b.i32(BIAS)), isLess));
      const first = digit(b, high, b.let(b.shrU(low, i64(b, 32))), y.significand);
      const second = digit(b, first.remainder, zero, y.significand);
      const significand = b.variable(b.or(b.shl(first.quotient, i64(b, 32)), second.quotient));
      const { remainder } = second;
      // More than, exactly, or less than half of the divisor left over.
      const rest = b.variable(b.extendU(b.ne(remainder, zero)));
      const other = b.let(b.sub(y.significand, remainder));
      b.if(b.geU(remainder, other), () =>
        b.assign(rest, b.or(i64(b, ...TOP_BIT), b.extendU(b.ne(remainder, other)))),
      );
      b.if(b.gtS(exponent, b.i32(0)), () => finish(b, to, { sign, exponent, significand, rest }, slow));
    },
  );
}

/** The square root of a positive normal number, by 32 bits at a time. Zimmermann, "Karatsuba Square Root", 1999. */
function root(b: Builder, to: Node, x: Real, slow: Node): void {
  const one = i64(b, 1);
  const mask = i64(b, -1, 0);
  // An even power of two goes with 127 bits, an odd one with 128.
  const isEven = b.let(b.and(x.exponent, b.i32(1)));
  const high = b.let(b.shrU(x.significand, b.extendU(isEven)));
  const low = b.let(b.select(isEven, b.shl(x.significand, i64(b, 63)), i64(b, 0)));
  const exponent = b.variable(b.shrU(b.add(x.exponent, b.i32(BIAS)), b.i32(1)));
  const estimate = b.op(
    0xb1 /* i64.trunc_f64_u */,
    'i64',
    b.op(0x9f /* f64.sqrt */, 'f64', b.op(0xba /* f64.convert_i64_u */, 'f64', high)),
  );
  const first = b.variable(estimate);
  b.if(b.or(b.gtU(first, mask), b.gtU(b.mul(first, first), high)), () => b.assign(first, b.sub(first, one)));
  const more = b.let(b.add(first, one));
  b.if(b.and(b.leU(more, mask), b.leU(b.mul(more, more), high)), () => b.assign(first, more));
  const left = b.let(b.sub(high, b.mul(first, first)));
  // (left × 2³² + the next digit) / (2 × first), by halves, since it has 65 bits.
  const next = b.let(b.shrU(low, i64(b, 32)));
  const half = b.let(b.or(b.shl(left, i64(b, 31)), b.shrU(next, one)));
  const second = b.variable(b.divU(half, first));
  const over = b.variable(b.or(b.shl(b.remU(half, first), one), b.and(next, one)));
  b.if(b.gtU(second, mask), () => {
    b.assign(second, b.sub(second, one));
    b.assign(over, b.add(over, b.shl(first, one)));
  });
  const significand = b.variable(b.or(b.shl(first, i64(b, 32)), second));
  const square = b.let(b.mul(second, second));
  const lower = b.let(b.or(b.shl(over, i64(b, 32)), b.and(low, mask)));
  // The remainder has 65 bits and a sign.
  const restLow = b.variable(b.sub(lower, square));
  const restHigh = b.variable(b.sub(b.shrU(over, i64(b, 32)), b.extendU(b.ltU(lower, square))));
  b.if(b.ltS(restHigh, i64(b, 0)), () => {
    b.assign(significand, b.sub(significand, one));
    const twice = b.let(b.or(b.shl(significand, one), one));
    const total = b.let(b.add(restLow, twice));
    const carry = b.extendU(b.ltU(total, twice));
    b.assign(restHigh, b.add(b.add(restHigh, b.shrU(significand, i64(b, 63))), carry));
    b.assign(restLow, total);
  });
  const isAbove = b.or(b.ne(restHigh, i64(b, 0)), b.gtU(restLow, significand));
  const isExact = b.eqz(b.or(restHigh, restLow));
  const rest = b.variable(b.select(isExact, i64(b, 0), b.select(isAbove, i64(b, -1, -1), one)));
  finish(b, to, { sign: b.i32(0), exponent, significand, rest }, slow);
}

/** Turns an operand from memory to an 80-bit real at OPERAND. @returns a variable: 1 when it can't */
function convert(b: Builder, format: Node, bits: Node): Node {
  const slow = b.variable(b.i32(1));
  const address = b.i32(OPERAND);
  b.if(
    b.eq(format, b.i32(X87Format.integer)),
    () => {
      const negative = b.let(b.ltS(bits, i64(b, 0)));
      const magnitude = b.let(b.select(negative, b.neg(bits), bits));
      const up = b.let(b.clz(magnitude));
      const exponent = b.select(b.eqz(magnitude), b.i32(0), b.sub(b.i32(BIAS + 63), b.wrap(up)));
      putReal(b, address, negative, exponent, b.shl(magnitude, up));
      b.assign(slow, b.i32(0));
    },
    () => {
      const isDouble = b.let(b.eq(format, b.i32(X87Format.double)));
      const choose = (whenDouble: number, whenSingle: number): Node =>
        b.let(b.select(isDouble, b.i32(whenDouble), b.i32(whenSingle)));
      const fraction = choose(52, 23);
      const greatest = choose(0x7ff, 0xff);
      const exponent = b.let(b.and(b.wrap(shiftRight(b, bits, fraction)), greatest));
      const below = b.let(shiftLeft(b, bits, b.sub(b.i32(64), fraction)));
      const significand = b.or(b.shrU(below, i64(b, 1)), i64(b, ...TOP_BIT));
      const sign = b.and(b.wrap(shiftRight(b, bits, choose(63, 31))), b.i32(1));
      const special = b.or(b.eqz(exponent), b.eq(exponent, greatest));
      b.if(
        special,
        () =>
          // Zero and infinity; denormals and NaNs raise exceptions.
          b.if(b.eqz(below), () => {
            const isNull = b.let(b.eqz(exponent));
            putReal(
              b,
              address,
              sign,
              b.select(isNull, b.i32(0), b.i32(SPECIAL)),
              b.select(isNull, i64(b, 0), i64(b, ...TOP_BIT)),
            );
            b.assign(slow, b.i32(0));
          }),
        () => {
          putReal(b, address, sign, b.add(exponent, choose(BIAS - 1023, BIAS - 127)), significand);
          b.assign(slow, b.i32(0));
        },
      );
    },
  );
  return slow;
}

function push(b: Builder, x: Real): void {
  const register = physical(b, b.i32(7));
  b.setField(State.fpuTop, 4, register);
  setTag(b, register, true);
  putReal(b, slot(b, register), x.sign, x.exponent, x.significand);
  setStatus(b, b.i32(0));
}

/** Bits of a single or double from ST(0), rounded, to the scratch area with the status that goes with it. */
function toReal(b: Builder, x: Real, isDouble: Node, slow: Node): void {
  const choose = (whenDouble: number, whenSingle: number): Node =>
    b.let(b.select(isDouble, b.i32(whenDouble), b.i32(whenSingle)));
  const zero = i64(b, 0);
  const drop = choose(11, 40);
  const greatest = choose(0x7ff, 0xff);
  const fraction = choose(52, 23);
  const exponent = b.variable(b.sub(x.exponent, choose(BIAS - 1023, BIAS - 127)));
  const value = b.variable(zero);
  const status = b.variable(b.i32(0));
  const isSpecial = isInfinite(b, x);
  b.if(
    b.or(isZero(b, x), isSpecial),
    () => {
      b.assign(exponent, b.select(isSpecial, greatest, b.i32(0)));
      b.assign(slow, b.i32(0));
    },
    () =>
      b.if(b.and(isNormal(b, x), b.ltU(b.sub(exponent, b.i32(1)), b.sub(greatest, b.i32(2)))), () => {
        // One below the greatest is left out: rounding can't reach infinity then.
        const rest = b.let(shiftLeft(b, x.significand, b.sub(b.i32(64), drop)));
        const kept = b.let(shiftRight(b, x.significand, drop));
        const half = i64(b, ...TOP_BIT);
        const odd = b.ne(b.and(kept, i64(b, 1)), zero);
        const up = b.let(b.or(b.gtU(rest, half), b.and(b.eq(rest, half), odd)));
        // The integer bit adds one to the exponent, as does a carry out of the fraction.
        b.assign(value, b.add(kept, b.extendU(up)));
        b.assign(exponent, b.sub(exponent, b.i32(1)));
        b.assign(status, b.or(b.shl(b.ne(rest, zero), b.i32(5)), b.shl(up, b.i32(9))));
        b.assign(slow, b.i32(0));
      }),
  );
  const sign = shiftLeft(b, b.extendU(x.sign), choose(63, 31));
  const bits = b.or(b.add(value, shiftLeft(b, b.extendU(exponent), fraction)), sign);
  b.setField(State.scratch, 8, bits);
  b.setField(State.scratch + 8, 4, status);
}

/** An integer from ST(0), rounded by the control word or truncated, to the scratch area as above. */
function toInteger(b: Builder, x: Real, format: Node, slow: Node): void {
  const zero = i64(b, 0);
  const truncated = b.ne(b.and(format, b.i32(X87_TRUNCATE)), b.i32(0));
  const control = b.and(b.shrU(b.field(State.fpuControl, 4), b.i32(CONTROL.rounding)), b.i32(3));
  const rounding = b.let(b.select(truncated, b.i32(3), control));
  const down = b.let(b.sub(b.i32(BIAS + 63), x.exponent));
  // Everything from 2⁶³ on is left out.
  b.if(b.and(isUsual(b, x), b.gtS(down, b.i32(0))), () => {
    const isWithin = b.let(b.ltU(down, b.i32(64)));
    const whole = b.let(b.select(isWithin, shiftRight(b, x.significand, down), zero));
    const moved = shiftLeft(b, x.significand, b.sub(b.i32(64), down));
    const tiny = b.extendU(b.ne(x.significand, zero));
    const fraction = b.let(b.select(isWithin, moved, b.select(b.eq(down, b.i32(64)), x.significand, tiny)));
    const half = i64(b, ...TOP_BIT);
    const odd = b.ne(b.and(whole, i64(b, 1)), zero);
    const inexact = b.let(b.ne(fraction, zero));
    const nearest = b.or(b.gtU(fraction, half), b.and(b.eq(fraction, half), odd));
    const is = (mode: number): Node => b.eq(rounding, b.i32(mode));
    const away = b.or(b.and(is(1), x.sign), b.and(is(2), b.eqz(x.sign)));
    const up = b.let(b.or(b.and(is(0), nearest), b.and(away, inexact)));
    const magnitude = b.let(b.add(whole, b.extendU(up)));
    const value = b.let(b.select(x.sign, b.neg(magnitude), magnitude));
    // Numbers that don't fit are invalid.
    const size = b.let(b.and(format, b.i32(7)));
    const bits = b.extendU(b.select(b.eq(size, b.i32(X87Format.integer16)), b.i32(48), b.i32(32)));
    const narrow = b.shrS(b.shl(value, bits), bits);
    const fits = b.or(
      b.eq(narrow, value),
      b.and(b.eq(size, b.i32(X87Format.integer64)), b.geS(magnitude, zero)),
    );
    b.if(fits, () => {
      b.setField(State.scratch, 8, value);
      b.setField(State.scratch + 8, 4, b.or(b.shl(inexact, b.i32(5)), b.shl(up, b.i32(9))));
      b.assign(slow, b.i32(0));
    });
  });
}

/** C0, C2 and C3 for a comparison of finite numbers. */
function order(b: Builder, x: Real, y: Real): Node {
  const bothZero = b.let(b.and(isZero(b, x), isZero(b, y)));
  const sameMagnitude = b.and(b.eq(x.exponent, y.exponent), b.eq(x.significand, y.significand));
  const equal = b.let(b.or(bothZero, b.and(b.eq(x.sign, y.sign), sameMagnitude)));
  const lessMagnitude = b.or(
    b.ltU(x.exponent, y.exponent),
    b.and(b.eq(x.exponent, y.exponent), b.ltU(x.significand, y.significand)),
  );
  const less = b.select(b.eq(x.sign, y.sign), b.xor(lessMagnitude, x.sign), x.sign);
  return b.let(b.select(equal, b.i32(STATUS.C3), b.select(less, b.i32(STATUS.C0), b.i32(0))));
}

/** Defines the base module's functions for x87. */
export function defineX87(define: DefineMeaning): void {
  define('x87Compute', (b, kind, to, x, y) => {
    const slow = b.variable(b.i32(1));
    const a = realAt(b, x!);
    const c = realAt(b, y!);
    const is = (code: number): Node => b.eq(kind!, b.i32(code));
    b.if(b.and(isUsual(b, a), isUsual(b, c)), () => {
      b.if(is(0), () => sum(b, to!, a, c, slow));
      b.if(is(1), () => product(b, to!, a, c, slow));
      const flip = (r: Real): Real => ({ ...r, sign: b.let(b.xor(r.sign, b.i32(1))) });
      b.if(is(4), () => sum(b, to!, a, flip(c), slow));
      b.if(is(5), () => sum(b, to!, c, flip(a), slow));
      b.if(b.and(is(6), b.eqz(isZero(b, c))), () => quotient(b, to!, a, c, slow));
      b.if(b.and(is(7), b.eqz(isZero(b, a))), () => quotient(b, to!, c, a, slow));
    });
    return slow;
  });
  define('x87Registers', (b, kind, i, how) => {
    const slow = b.variable(b.i32(1));
    const first = physical(b, b.i32(0));
    const other = physical(b, i!);
    b.if(b.and(isReady(b), b.and(isFull(b, first), isFull(b, other))), () => {
      const top = slot(b, first);
      const rest = slot(b, other);
      const toOther = b.let(b.and(how!, b.i32(X87How.toOther)));
      const x = b.let(b.select(toOther, rest, top));
      const y = b.let(b.select(toOther, top, rest));
      b.assign(slow, b.call(baseIndex('x87Compute'), 'i32', kind!, x, x, y));
      b.if(b.and(b.eqz(slow), b.ne(b.and(how!, b.i32(X87How.pops)), b.i32(0))), () => pop(b));
    });
    return slow;
  });
  define('x87Memory', (b, kind, format, bits) => {
    const slow = b.variable(b.i32(1));
    const top = physical(b, b.i32(0));
    b.if(b.and(isReady(b), isFull(b, top)), () => {
      b.if(b.eqz(convert(b, format!, bits!)), () => {
        const address = slot(b, top);
        b.assign(slow, b.call(baseIndex('x87Compute'), 'i32', kind!, address, address, b.i32(OPERAND)));
      });
    });
    return slow;
  });
  define('x87Load', (b, format, bits) => {
    const slow = b.variable(b.i32(1));
    b.if(b.and(isReady(b, true), b.eqz(isFull(b, physical(b, b.i32(7))))), () => {
      b.if(b.eqz(convert(b, format!, bits!)), () => {
        push(b, realAt(b, b.i32(OPERAND)));
        b.assign(slow, b.i32(0));
      });
    });
    return slow;
  });
  define('x87Store', (b, format) => {
    const slow = b.variable(b.i32(1));
    const top = physical(b, b.i32(0));
    const isReal = b.let(b.ltU(format!, b.i32(X87Format.integer)));
    const ready = b.or(isReady(b), b.and(b.eqz(isReal), isReady(b, true)));
    b.if(b.and(ready, isFull(b, top)), () => {
      const x = realAt(b, slot(b, top));
      b.if(
        isReal,
        () => toReal(b, x, b.let(b.eq(format!, b.i32(X87Format.double))), slow),
        () => toInteger(b, x, format!, slow),
      );
    });
    return slow;
  });
  define('x87Stored', (b, pops) => {
    setStatus(b, b.field(State.scratch + 8, 4));
    b.if(pops!, () => pop(b));
    return b.i32(0);
  });
  define('x87Order', (b, address) => {
    const result = b.variable(b.i32(-1));
    const top = physical(b, b.i32(0));
    b.if(b.and(isReady(b, true), isFull(b, top)), () => {
      const x = realAt(b, slot(b, top));
      const y = realAt(b, address!);
      b.if(b.and(isUsual(b, x), isUsual(b, y)), () => b.assign(result, order(b, x, y)));
    });
    return result;
  });
  define('x87CompareRegister', (b, i, pops) => {
    const slow = b.variable(b.i32(1));
    const other = physical(b, i!);
    b.if(isFull(b, other), () => {
      const codes = b.call(baseIndex('x87Order'), 'i32', slot(b, other));
      b.if(b.geS(codes, b.i32(0)), () => {
        setStatus(b, codes, STATUS.C0 | STATUS.C1 | STATUS.C2 | STATUS.C3);
        b.if(pops!, () => pop(b));
        b.if(b.gtU(pops!, b.i32(1)), () => pop(b));
        b.assign(slow, b.i32(0));
      });
    });
    return slow;
  });
  define('x87CompareMemory', (b, format, pops, bits) => {
    const slow = b.variable(b.i32(1));
    b.if(b.eqz(convert(b, format!, bits!)), () => {
      const codes = b.call(baseIndex('x87Order'), 'i32', b.i32(OPERAND));
      b.if(b.geS(codes, b.i32(0)), () => {
        setStatus(b, codes, STATUS.C0 | STATUS.C1 | STATUS.C2 | STATUS.C3);
        b.if(pops!, () => pop(b));
        b.assign(slow, b.i32(0));
      });
    });
    return slow;
  });
  define('x87CompareFlags', (b, i, pops) => {
    const flags = b.variable(b.i32(-1));
    const other = physical(b, i!);
    b.if(isFull(b, other), () => {
      const codes = b.call(baseIndex('x87Order'), 'i32', slot(b, other));
      b.if(b.geS(codes, b.i32(0)), () => {
        // CF and ZF lie eight bits below C0 and C3.
        b.assign(flags, b.shrU(codes, b.i32(8)));
        b.if(pops!, () => pop(b));
      });
    });
    return flags;
  });
  define('x87Move', (b, op, i) => {
    const slow = b.variable(b.i32(1));
    const first = physical(b, b.i32(0));
    const other = physical(b, i!);
    const is = (code: number): Node => b.eq(op!, b.i32(code));
    const done = (): void => {
      setStatus(b, b.i32(0));
      b.assign(slow, b.i32(0));
    };
    b.if(isReady(b, true), () => {
      const pushes = b.or(is(X87Move.load), b.geU(op!, b.i32(X87Move.one)));
      b.if(
        pushes,
        () => {
          const isConstant = b.let(b.geU(op!, b.i32(X87Move.one)));
          const hasRoom = b.eqz(isFull(b, physical(b, b.i32(7))));
          b.if(b.and(hasRoom, b.or(isConstant, isFull(b, other))), () => {
            const x = realAt(b, slot(b, other));
            const isOne = is(X87Move.one);
            const constant = b.select(isOne, b.i32(BIAS), b.i32(0));
            push(b, {
              sign: b.let(b.select(isConstant, b.i32(0), x.sign)),
              exponent: b.let(b.select(isConstant, constant, x.exponent)),
              significand: b.let(
                b.select(isConstant, b.select(isOne, i64(b, ...TOP_BIT), i64(b, 0)), x.significand),
              ),
            });
            b.assign(slow, b.i32(0));
          });
        },
        () =>
          b.if(isFull(b, first), () => {
            const top = slot(b, first);
            const x = realAt(b, top);
            const target = slot(b, other);
            b.if(b.and(is(X87Move.exchange), isFull(b, other)), () => {
              const y = realAt(b, target);
              putReal(b, target, x.sign, x.exponent, x.significand);
              putReal(b, top, y.sign, y.exponent, y.significand);
              done();
            });
            b.if(b.or(is(X87Move.store), is(X87Move.storePop)), () => {
              putReal(b, target, x.sign, x.exponent, x.significand);
              setTag(b, other, true);
              b.if(is(X87Move.storePop), () => pop(b));
              done();
            });
            b.if(b.or(is(X87Move.negate), is(X87Move.absolute)), () => {
              const sign = b.and(b.xor(x.sign, b.i32(1)), is(X87Move.negate));
              putReal(b, top, sign, x.exponent, x.significand);
              done();
            });
          }),
      );
    });
    return slow;
  });
  define('x87Root', (b) => {
    const slow = b.variable(b.i32(1));
    const top = physical(b, b.i32(0));
    b.if(b.and(isReady(b), isFull(b, top)), () => {
      const address = slot(b, top);
      const x = realAt(b, address);
      b.if(
        isZero(b, x),
        () => finishExact(b, address, x.sign, b.i32(0), i64(b, 0), slow),
        () => b.if(b.and(isNormal(b, x), b.eqz(x.sign)), () => root(b, address, x, slow)),
      );
    });
    return slow;
  });
}
