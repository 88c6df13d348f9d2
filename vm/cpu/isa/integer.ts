/**
 * General-purpose instructions: moves, arithmetic, logic, shifts, bits. SDM volume 2, by name; volume 1,
 * 7.3. Flags that the manual leaves undefined are set as in the processor's common behaviour where that is free.
 */
import { type Builder, type Operand, Reg } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { Seg, State } from '../layout.ts';
import { Helper } from './helpers.ts';
import { define, type Meaning } from './table.ts';

// Moves

const mov: Meaning = (b, to, from) => b.write(to!, b.read(from!));
const movzx: Meaning = (b, to, from) => b.write(to!, b.resize(to!.size, b.read(from!)));
const movsx: Meaning = (b, to, from) => b.write(to!, b.signExtend(from!.size, to!.size, b.read(from!)));
const lea: Meaning = (b, to) => b.write(to!, b.resize(to!.size, b.effectiveAddress()));
/** XCHG with memory: the register changes once the memory has. */
const xchg: Meaning = (b, x, y) => {
  if (x!.kind !== 'memory') {
    const first = b.read(x!);
    const second = b.read(y!);
    b.write(x!, second);
    b.write(y!, first);
    return;
  }
  let before: Node | undefined;
  b.modify(x!, (old) => {
    before = old;
    return b.read(y!);
  });
  b.write(y!, before!);
};
const bswap: Meaning = (b, x) => {
  const v = b.read(x!);
  if (x!.size === 16) {
    b.write(x!, b.const(16, 0));
    return;
  }
  const swap = (value: Node, mask: Node, shift: number): Node =>
    b.let(
      b.or(b.and(b.shrU(value, b.like(value, shift)), mask), b.shl(b.and(value, mask), b.like(value, shift))),
    );
  if (x!.size === 32) {
    const bytes = swap(v, b.i32(0x00ff00ff), 8);
    b.write(x!, b.rotl(bytes, b.i32(16)));
    return;
  }
  const bytes = swap(v, b.const(64, 0x00ff00ff, 0x00ff00ff), 8);
  const words = swap(bytes, b.const(64, 0x0000ffff, 0x0000ffff), 16);
  b.write(x!, b.rotl(words, b.const(64, 32)));
};
const movbeLoad: Meaning = (b, to, from) => {
  b.write(to!, reverseBytes(b, to!.size, b.read(from!)));
};
const movbeStore: Meaning = (b, to, from) => {
  b.write(to!, reverseBytes(b, to!.size, b.read(from!)));
};
function reverseBytes(b: Builder, size: number, v: Node): Node {
  if (size === 16) return b.let(b.and(b.or(b.shrU(v, b.i32(8)), b.shl(v, b.i32(8))), b.i32(0xffff)));
  const mask8 = b.like(v, 0x00ff00ff, 0x00ff00ff);
  const bytes = b.let(b.or(b.and(b.shrU(v, b.like(v, 8)), mask8), b.shl(b.and(v, mask8), b.like(v, 8))));
  if (size === 32) return b.let(b.rotl(bytes, b.i32(16)));
  const mask16 = b.like(v, 0xffff, 0xffff);
  const words = b.let(
    b.or(b.and(b.shrU(bytes, b.like(v, 16)), mask16), b.shl(b.and(bytes, mask16), b.like(v, 16))),
  );
  return b.let(b.rotl(words, b.like(v, 32)));
}
const cbw: Meaning = (b) =>
  b.setGpr(Reg.ax, b.size, b.signExtend(b.size / 2, b.size, b.gpr(Reg.ax, b.size / 2)));
const cwd: Meaning = (b) => {
  const a = b.gpr(Reg.ax, b.size);
  const wide = b.signExtend(b.size, b.size, a);
  b.setGpr(Reg.dx, b.size, b.shrS(wide, b.like(wide, b.size === 64 ? 63 : 31)));
};

// Arithmetic

const add: Meaning = (b, x, y) => {
  const other = b.read(y!);
  b.modify(x!, (old) => {
    const result = b.let(b.add(old, other));
    b.flagsOfAdd(x!.size, old, other, result);
    return result;
  });
};
const adc: Meaning = (b, x, y) => {
  const other = b.read(y!);
  b.modify(x!, (old) => {
    const result = b.let(b.add(b.add(old, other), b.carry(x!.size)));
    b.flagsOfAdd(x!.size, old, other, result, false);
    return result;
  });
};
const sub: Meaning = (b, x, y) => {
  const other = b.read(y!);
  b.modify(x!, (old) => {
    const result = b.let(b.sub(old, other));
    b.flagsOfSub(x!.size, old, other, result);
    return result;
  });
};
const sbb: Meaning = (b, x, y) => {
  const other = b.read(y!);
  b.modify(x!, (old) => {
    const result = b.let(b.sub(b.sub(old, other), b.carry(x!.size)));
    b.flagsOfSub(x!.size, old, other, result, false);
    return result;
  });
};
const cmp: Meaning = (b, x, y) => {
  const first = b.read(x!);
  const other = b.read(y!);
  b.flagsOfSub(x!.size, first, other, b.let(b.sub(first, other)));
};
const logic =
  (compute: (b: Builder, x: Node, y: Node) => Node): Meaning =>
  (b, x, y) => {
    const other = b.read(y!);
    b.modify(x!, (old) => {
      const result = b.let(compute(b, old, other));
      b.flagsOfLogic(x!.size, result);
      return result;
    });
  };
const and = logic((b, x, y) => b.and(x, y));
const or = logic((b, x, y) => b.or(x, y));
const xor = logic((b, x, y) => b.xor(x, y));
const test: Meaning = (b, x, y) => {
  const first = b.read(x!);
  b.flagsOfLogic(x!.size, b.let(b.and(first, b.read(y!))));
};
/** INC and DEC leave CF alone. */
const step =
  (delta: 1 | -1): Meaning =>
  (b, x) => {
    b.modify(x!, (old) => {
      const size = x!.size;
      const result = b.let(b.add(old, b.like(old, delta)));
      const carry = b.condition(2);
      // Overflow: from the greatest to the least number, or back.
      const edge = b.shl(b.like(old, 1), b.like(old, size - 1));
      const overflow = b.let(b.eq(b.truncate(size, delta === 1 ? result : old), edge));
      const one = b.like(old, 1);
      if (delta === 1) b.flagsOfAdd(size, old, one, result);
      else b.flagsOfSub(size, old, one, result);
      b.setCarry(carry, overflow);
      return result;
    });
  };
const neg: Meaning = (b, x) => {
  b.modify(x!, (old) => {
    const result = b.let(b.neg(old));
    b.flagsOfSub(x!.size, b.like(old, 0), old, result);
    return result;
  });
};
const not: Meaning = (b, x) => b.modify(x!, (old) => b.not(old));
const xadd: Meaning = (b, x, y) => {
  const other = b.read(y!);
  let before: Node | undefined;
  let result: Node | undefined;
  b.modify(x!, (old) => {
    before = old;
    result = b.let(b.add(old, other));
    b.flagsOfAdd(x!.size, old, other, result);
    if (x!.kind !== 'memory') b.write(y!, old);
    return result;
  });
  if (x!.kind === 'memory') b.write(y!, before!);
};
const cmpxchg: Meaning = (b, x, y) => {
  const size = x!.size;
  const accumulator = b.gpr(Reg.ax, size);
  const other = b.read(y!);
  let before: Node | undefined;
  let equal: Node | undefined;
  if (x!.kind !== 'memory') {
    // Only one of the two registers is written, and has its upper half cleared.
    const old = b.read(x!);
    equal = b.let(b.eq(accumulator, old));
    b.flagsOfSub(size, accumulator, old, b.let(b.sub(accumulator, old)));
    b.if(
      equal,
      () => b.write(x!, other),
      () => b.setGpr(Reg.ax, size, old),
    );
    return;
  }
  b.modify(x!, (old) => {
    before = old;
    equal = b.let(b.eq(accumulator, old));
    b.flagsOfSub(size, accumulator, old, b.let(b.sub(accumulator, old)));
    return b.select(equal, other, old);
  });
  b.if(b.eqz(equal!), () => b.setGpr(Reg.ax, size, before!));
};
const cmpxchg8b: Meaning = (b, x) => {
  if (b.size === 64) {
    cmpxchg16b(b);
    return;
  }
  const memory: Operand = { ...x!, size: 64 };
  const pair = (high: number, low: number): Node =>
    b.let(b.or(b.shl(b.extendU(b.gpr(high, 32)), b.const(64, 32)), b.extendU(b.gpr(low, 32))));
  const expected = pair(Reg.dx, Reg.ax);
  const replacement = pair(Reg.cx, Reg.bx);
  let before: Node | undefined;
  let equal: Node | undefined;
  b.modify(memory, (old) => {
    before = old;
    equal = b.let(b.eq(old, expected));
    return b.select(equal, replacement, old);
  });
  b.if(b.eqz(equal!), () => {
    b.setGpr(Reg.ax, 32, b.wrap(before!));
    b.setGpr(Reg.dx, 32, b.wrap(b.shrU(before!, b.const(64, 32))));
  });
  // ZF alone.
  b.setFlagBits(b.or(b.and(b.flagBits(), b.i32(~0x40)), b.shl(equal!, b.i32(6))));
};

function cmpxchg16b(b: Builder): void {
  const [ax, bx, cx, dx] = [Reg.ax, Reg.bx, Reg.cx, Reg.dx].map((r) => b.gpr(r, 64)) as [
    Node,
    Node,
    Node,
    Node,
  ];
  let before: readonly [Node, Node] | undefined;
  let equal: Node | undefined;
  b.modifyPair((low, high) => {
    before = [low, high];
    equal = b.let(b.and(b.eq(low, ax), b.eq(high, dx)));
    return [b.let(b.select(equal, bx, low)), b.let(b.select(equal, cx, high))];
  });
  b.if(b.eqz(equal!), () => {
    b.setGpr(Reg.ax, 64, before![0]);
    b.setGpr(Reg.dx, 64, before![1]);
  });
  b.setFlagBits(b.or(b.and(b.flagBits(), b.i32(~0x40)), b.shl(equal!, b.i32(6))));
}

/** Low and high half of a product go to AX, or DX:AX. */
function setProduct(b: Builder, size: number, low: Node, high: Node): void {
  if (size === 8) b.setGpr(Reg.ax, 16, low);
  else {
    b.setGpr(Reg.ax, size, low);
    b.setGpr(Reg.dx, size, high);
  }
}

/** SF, ZF and PF by the low half, CF and OF as given. */
function productFlags(b: Builder, size: number, low: Node, overflow: Node): void {
  // CF and OF are equal: the top carry is set and the one below it clear.
  b.flagsOf(size, low, b.let(b.resize(size, overflow)), b.resize(size, overflow));
}

const multiply =
  (signed: boolean): Meaning =>
  (b, x) => {
    const size = x!.size;
    const first = b.gpr(Reg.ax, size);
    const second = b.read(x!);
    if (size === 64) {
      const low = b.let(b.mul(first, second));
      const high = signed ? b.mulHighS(first, second) : b.mulHighU(first, second);
      const overflow = signed ? b.ne(high, b.shrS(low, b.const(64, 63))) : b.ne(high, b.const(64, 0));
      const flag = b.let(overflow);
      setProduct(b, 64, low, high);
      productFlags(b, 64, low, flag);
      return;
    }
    const widen = (v: Node): Node => (signed ? b.extendS(b.signExtend(size, 32, v)) : b.extendU(v));
    const product = b.let(b.mul(widen(first), widen(second)));
    const low = b.let(b.wrap(product));
    const high = b.let(b.wrap(b.shrU(product, b.const(64, size))));
    const back = signed ? b.extendS(b.signExtend(size, 32, low)) : b.extendU(b.truncate(size, low));
    const overflow = b.let(b.ne(back, product));
    setProduct(b, size, low, high);
    productFlags(b, size, low, overflow);
  };

/** IMUL with two or three operands. */
function multiplyTo(b: Builder, to: Operand, x: Operand, y: Operand): void {
  const size = to.size;
  const first = b.read(x);
  const second = b.read(y);
  if (size === 64) {
    const low = b.let(b.mul(first, second));
    const overflow = b.let(b.ne(b.mulHighS(first, second), b.shrS(low, b.const(64, 63))));
    b.write(to, low);
    productFlags(b, 64, low, overflow);
    return;
  }
  const widen = (v: Node): Node => b.extendS(b.signExtend(size, 32, v));
  const product = b.let(b.mul(widen(first), widen(second)));
  const low = b.let(b.wrap(product));
  const overflow = b.let(b.ne(widen(low), product));
  b.write(to, low);
  productFlags(b, size, low, overflow);
}

const DIVIDE_ERROR = 0;

const divide =
  (signed: boolean): Meaning =>
  (b, x) => {
    const size = x!.size;
    const divisor = b.read(x!);
    b.raiseIf(b.eqz(divisor), DIVIDE_ERROR);
    if (size === 64) {
      // Most dividends fit 64 bits; the rest is for BigInt.
      const low = b.gpr(Reg.ax, 64);
      const high = b.gpr(Reg.dx, 64);
      b.setField(State.scratch, 8, divisor);
      const fits = signed
        ? b.and(
            b.eq(high, b.shrS(low, b.const(64, 63))),
            // The least number by −1 overflows.
            b.ne(b.and(b.eq(divisor, b.const(64, -1)), b.eqz(b.shl(low, b.const(64, 1)))), b.i32(1)),
          )
        : b.eqz(high);
      b.if(
        fits,
        () => {
          b.setGpr(Reg.ax, 64, signed ? b.divS(low, divisor) : b.divU(low, divisor));
          b.setGpr(Reg.dx, 64, signed ? b.remS(low, divisor) : b.remU(low, divisor));
        },
        () => b.helper(signed ? Helper.idiv64 : Helper.div64),
      );
      return;
    }
    const widen = (v: Node): Node => (signed ? b.extendS(b.signExtend(size, 32, v)) : b.extendU(v));
    const dividend = b.let(
      size === 8
        ? signed
          ? b.extendS(b.signExtend(16, 32, b.gpr(Reg.ax, 16)))
          : b.extendU(b.gpr(Reg.ax, 16))
        : size === 16
          ? signed
            ? b.extendS(b.or(b.shl(b.gpr(Reg.dx, 16), b.i32(16)), b.gpr(Reg.ax, 16)))
            : b.extendU(b.or(b.shl(b.gpr(Reg.dx, 16), b.i32(16)), b.gpr(Reg.ax, 16)))
          : b.or(b.shl(b.extendU(b.gpr(Reg.dx, 32)), b.const(64, 32)), b.extendU(b.gpr(Reg.ax, 32))),
    );
    const by = b.let(widen(divisor));
    if (signed && size === 32) {
      // The only 64-bit quotient that WebAssembly would trap on.
      const least = b.eq(dividend, b.const(64, 0, 0x8000_0000 | 0));
      b.raiseIf(b.and(least, b.eq(by, b.const(64, -1))), DIVIDE_ERROR);
    }
    const quotient = b.let(signed ? b.divS(dividend, by) : b.divU(dividend, by));
    const remainder = b.let(signed ? b.remS(dividend, by) : b.remU(dividend, by));
    const low = b.wrap(quotient);
    const back = signed ? b.extendS(b.signExtend(size, 32, low)) : b.extendU(b.truncate(size, low));
    b.raiseIf(b.ne(back, quotient), DIVIDE_ERROR);
    if (size === 8) {
      b.setGpr(Reg.ax, 8, low);
      b.setGpr(Reg.ah, 8, b.wrap(remainder));
    } else {
      b.setGpr(Reg.ax, size, low);
      b.setGpr(Reg.dx, size, b.wrap(remainder));
    }
  };

// Shifts and rotates

/** The count of a shift: 5 bits, or 6 with 64-bit operands. */
function shiftCount(b: Builder, operand: Operand, size: number): Node {
  return b.let(b.and(b.resize(size, b.read(operand)), b.const(size, size === 64 ? 63 : 31)));
}

const shift =
  (kind: 'shl' | 'shr' | 'sar'): Meaning =>
  (b, x, n) => {
    const size = x!.size;
    const count = shiftCount(b, n!, size);
    b.modify(x!, (old) => {
      const one = b.like(old, 1);
      const value = kind === 'sar' ? b.let(b.signExtend(size, size, old)) : old;
      // 8- and 16-bit operands are shifted in 32 bits, where counts up to 31 do what they should.
      const move = kind === 'shl' ? b.shl : kind === 'shr' ? b.shrU : b.shrS;
      const result = b.let(move(value, count));
      b.if(b.ne(count, b.like(count, 0)), () => {
        const before = b.sub(count, one);
        const top = (v: Node): Node => b.and(b.shrU(v, b.like(v, size - 1)), one);
        const carry = b.let(kind === 'shl' ? top(b.shl(value, before)) : b.and(move(value, before), one));
        const overflow =
          kind === 'shl' ? b.xor(carry, top(result)) : kind === 'shr' ? top(old) : b.like(old, 0);
        b.flagsOf(size, result, carry, overflow);
      });
      return result;
    });
  };

const rotate =
  (kind: 'rol' | 'ror'): Meaning =>
  (b, x, n) => {
    const size = x!.size;
    const count = shiftCount(b, n!, size);
    b.modify(x!, (old) => {
      let result: Node;
      if (size >= 32) result = b.let((kind === 'rol' ? b.rotl : b.rotr)(old, count));
      else {
        // The byte or word repeated through 32 bits rotates as a whole.
        const wide = size === 8 ? b.mul(old, b.i32(0x01010101)) : b.or(old, b.shl(old, b.i32(16)));
        result = b.let(b.truncate(size, (kind === 'rol' ? b.rotl : b.rotr)(wide, count)));
      }
      b.if(b.ne(count, b.like(count, 0)), () => {
        const bit = (at: number): Node => b.and(b.wrap(b.shrU(result, b.like(result, at))), b.i32(1));
        const carry = b.let(kind === 'rol' ? bit(0) : bit(size - 1));
        const overflow = kind === 'rol' ? b.xor(bit(size - 1), carry) : b.xor(carry, bit(size - 2));
        b.setCarry(carry, b.let(overflow));
      });
      return result;
    });
  };

/** RCL and RCR go by the helper: value, count and result lie in the scratch area. */
const rotateCarry =
  (right: 0 | 1): Meaning =>
  (b, x, n) => {
    const size = x!.size;
    const count = shiftCount(b, n!, size);
    b.modify(x!, (old) => {
      b.setField(State.scratch, 8, b.extendU(old));
      b.setField(State.scratch + 8, 4, b.wrap(count));
      b.helper(Helper.rotateCarry, size | (right << 8));
      return b.field(State.scratch, size === 64 ? 8 : 4);
    });
  };

const doubleShift =
  (left: boolean): Meaning =>
  (b, x, y, n) => {
    const size = x!.size;
    const count = shiftCount(b, n!, size);
    const filler = b.read(y!);
    b.modify(x!, (old) => {
      let result: Node;
      let carry: Node;
      const zero = b.like(old, 0);
      const one = b.like(old, 1);
      if (size === 16) {
        // As in the processor: destination, source and destination again make 48 bits that are shifted.
        const d = b.extendU(old);
        const s = b.extendU(filler);
        const n64 = b.let(b.extendU(count));
        const c64 = (value: number): Node => b.const(64, value);
        const wide = b.let(
          left
            ? b.or(b.or(b.shl(d, c64(32)), b.shl(s, c64(16))), d)
            : b.or(b.or(b.shl(d, c64(32)), b.shl(s, c64(16))), d),
        );
        result = b.let(
          b.wrap(b.and(left ? b.shrU(b.shl(wide, n64), c64(32)) : b.shrU(wide, n64), c64(0xffff))),
        );
        carry = b.let(
          b.wrap(
            b.and(
              left ? b.shrU(b.shl(wide, b.sub(n64, c64(1))), c64(47)) : b.shrU(wide, b.sub(n64, c64(1))),
              c64(1),
            ),
          ),
        );
      } else {
        const rest = b.and(b.neg(count), b.like(old, size - 1));
        const other = left ? b.shrU(filler, rest) : b.shl(filler, rest);
        const main = left ? b.shl(old, count) : b.shrU(old, count);
        result = b.let(b.select(b.eq(count, zero), old, b.or(main, other)));
        const before = b.sub(count, one);
        carry = b.let(
          b.and(left ? b.shrU(b.shl(old, before), b.like(old, size - 1)) : b.shrU(old, before), one),
        );
      }
      b.if(b.ne(count, zero), () => {
        const changed = b.and(b.shrU(b.xor(result, old), b.like(old, size - 1)), one);
        b.flagsOf(size, result, carry, changed);
      });
      return result;
    });
  };

// Bits

const bitTest =
  (kind: 'bt' | 'bts' | 'btr' | 'btc'): Meaning =>
  (b, x, n) => {
    const size = x!.size;
    const offset = b.let(b.resize(size, b.read(n!)));
    const position = b.let(b.and(offset, b.like(offset, size - 1)));
    const change = (old: Node): Node => {
      const bit = b.shl(b.like(old, 1), position);
      b.setCarry(b.let(b.and(b.wrap(b.shrU(old, position)), b.i32(1))));
      return kind === 'bts' ? b.or(old, bit) : kind === 'btr' ? b.and(old, b.not(bit)) : b.xor(old, bit);
    };
    if (x!.kind !== 'memory' || n!.kind === 'immediate') {
      if (kind === 'bt') change(b.read(x!));
      else b.modify(x!, change);
      return;
    }
    // The bit offset of a register is signed and reaches beyond the operand.
    const log = size === 16 ? 4 : size === 32 ? 5 : 6;
    const wide = b.mode === 'long' ? b.signExtend(size, 64, offset) : b.signExtend(size, 32, b.wrap(offset));
    const bytes = size / 8;
    const step = b.shl(b.shrS(wide, b.like(wide, log)), b.like(wide, log - 3));
    let at = b.add(b.effectiveAddress(), step);
    if (b.addressSize === 16) at = b.and(at, b.i32(0xffff));
    else if (b.addressSize === 32 && b.mode === 'long') at = b.and(at, b.const(64, -1, 0));
    const linear = b.addressAt(at, bytes, kind !== 'bt');
    if (kind === 'bt') change(b.load(linear, size));
    else b.modifyAt(linear, size, change);
  };

const bitScan =
  (forward: boolean): Meaning =>
  (b, to, from) => {
    const value = b.read(from!);
    const size = to!.size;
    const index = forward ? b.ctz(value) : b.sub(b.like(value, size === 64 ? 63 : 31), b.clz(value));
    // A source of zero leaves the destination as it is, its upper half too.
    b.if(b.ne(value, b.like(value, 0)), () => b.write(to!, index));
    b.flagsOfLogic(size, value);
  };
const count =
  (kind: 'tzcnt' | 'lzcnt' | 'popcnt'): Meaning =>
  (b, to, from) => {
    const size = to!.size;
    const value = b.read(from!);
    if (kind === 'popcnt') {
      b.write(to!, b.popcnt(value));
      b.flagsOfLogic(size, b.like(value, 0));
      b.setFlagBits(b.shl(b.eqz(value), b.i32(6)));
      return;
    }
    const counted =
      kind === 'tzcnt'
        ? size === 16
          ? b.ctz(b.or(value, b.i32(0x10000)))
          : b.ctz(value)
        : size === 16
          ? b.sub(b.clz(value), b.i32(16))
          : b.clz(value);
    const result = b.let(counted);
    b.write(to!, result);
    b.setFlagBits(b.or(b.shl(b.eqz(result), b.i32(6)), b.eqz(value)));
  };

/** CRC32 with the Castagnoli polynomial, bit by bit folded into a loop-free form: SDM volume 2, CRC32. */
const crc32: Meaning = (b, to, from) => {
  let crc = b.wrap(b.read(to!));
  const value = b.read(from!);
  const bytes = from!.size / 8;
  for (let i = 0; i < bytes; i++) {
    const byte = b.wrap(b.and(b.shrU(value, b.like(value, 8 * i)), b.like(value, 0xff)));
    crc = b.let(b.xor(crc, byte));
    for (let bit = 0; bit < 8; bit++) {
      crc = b.let(b.xor(b.shrU(crc, b.i32(1)), b.and(b.neg(b.and(crc, b.i32(1))), b.i32(0x82f63b78 | 0))));
    }
  }
  b.write(to!, b.resize(to!.size, crc));
};

// Stack

const push: Meaning = (b, x) =>
  b.push(b.size, x!.size === b.size ? b.read(x!) : b.signExtend(x!.size, b.size, b.read(x!)));
const pop: Meaning = (b, x) => {
  const value = b.top(b.size);
  if (x!.kind === 'memory') {
    // The address of a destination with RSP in it is computed after the increment; a fault must still find the old one.
    const before = b.gpr(Reg.sp, b.stackSize);
    b.release(b.size / 8);
    const offset = b.let(b.effectiveAddress());
    const after = b.gpr(Reg.sp, b.stackSize);
    b.setGpr(Reg.sp, b.stackSize, before);
    b.store(b.addressAt(offset, b.size / 8, true), b.size, value);
    b.setGpr(Reg.sp, b.stackSize, after);
    return;
  }
  b.release(b.size / 8);
  b.write(x!, value);
};
const leave: Meaning = (b) => {
  const frame = b.gpr(Reg.bp, b.stackSize);
  const masked = b.mode === 'segmented' ? b.let(b.and(frame, b.field(State.stackMask, 4))) : frame;
  const value = b.load(b.linear(Seg.ss, masked, b.size / 8), b.size, Seg.ss);
  b.setStackPointer(b.add(masked, b.like(masked, b.size / 8)));
  b.setGpr(Reg.bp, b.size, value);
};

// Flags

const lahf: Meaning = (b) => b.setGpr(Reg.ah, 8, b.or(b.and(b.flagBits(), b.i32(0xd5)), b.i32(2)));
const sahf: Meaning = (b) =>
  b.setFlagBits(b.or(b.and(b.flagBits(), b.i32(0x800)), b.and(b.gpr(Reg.ah, 8), b.i32(0xd5))));
const salc: Meaning = (b) => b.setGpr(Reg.ax, 8, b.neg(b.condition(2)));

function defineAll(): void {
  const arithmetic: [number, string, Meaning][] = [
    [0, 'ADD', add],
    [1, 'OR', or],
    [2, 'ADC', adc],
    [3, 'SBB', sbb],
    [4, 'AND', and],
    [5, 'SUB', sub],
    [6, 'XOR', xor],
    [7, 'CMP', cmp],
  ];
  const hex = (n: number): string => n.toString(16).padStart(2, '0');
  for (const [n, name, meaning] of arithmetic) {
    const lock = { lock: name !== 'CMP' };
    define(hex(n * 8), name, 'Eb Gb', meaning, lock);
    define(hex(n * 8 + 1), name, 'Ev Gv', meaning, lock);
    define(hex(n * 8 + 2), name, 'Gb Eb', meaning);
    define(hex(n * 8 + 3), name, 'Gv Ev', meaning);
    define(hex(n * 8 + 4), name, 'AL Ib', meaning);
    define(hex(n * 8 + 5), name, 'rAX Iz', meaning);
    define(`80 /${n}`, name, 'Eb Ib', meaning, lock);
    define(`81 /${n}`, name, 'Ev Iz', meaning, lock);
    define(`82 /${n}`, name, 'Eb Ib', meaning, { ...lock, not64: true });
    define(`83 /${n}`, name, 'Ev Ibs', meaning, lock);
  }
  const shifts: [number, string, Meaning][] = [
    [0, 'ROL', rotate('rol')],
    [1, 'ROR', rotate('ror')],
    [2, 'RCL', rotateCarry(0)],
    [3, 'RCR', rotateCarry(1)],
    [4, 'SHL', shift('shl')],
    [5, 'SHR', shift('shr')],
    [6, 'SHL', shift('shl')],
    [7, 'SAR', shift('sar')],
  ];
  for (const [n, name, meaning] of shifts) {
    define(`c0 /${n}`, name, 'Eb Ib', meaning);
    define(`c1 /${n}`, name, 'Ev Ib', meaning);
    define(`d0 /${n}`, name, 'Eb 1', meaning);
    define(`d1 /${n}`, name, 'Ev 1', meaning);
    define(`d2 /${n}`, name, 'Eb CL', meaning);
    define(`d3 /${n}`, name, 'Ev CL', meaning);
  }
  define('40+r', 'INC', 'Zv', step(1), { not64: true });
  define('48+r', 'DEC', 'Zv', step(-1), { not64: true });
  define('fe /0', 'INC', 'Eb', step(1), { lock: true });
  define('fe /1', 'DEC', 'Eb', step(-1), { lock: true });
  define('ff /0', 'INC', 'Ev', step(1), { lock: true });
  define('ff /1', 'DEC', 'Ev', step(-1), { lock: true });
  for (const [wide, byte] of [['f7', 'f6']] as const) {
    for (const [opcode, e, i] of [
      [wide, 'Ev', 'Iz'],
      [byte, 'Eb', 'Ib'],
    ] as const) {
      define(`${opcode} /0`, 'TEST', `${e} ${i}`, test);
      define(`${opcode} /1`, 'TEST', `${e} ${i}`, test);
      define(`${opcode} /2`, 'NOT', e, not, { lock: true });
      define(`${opcode} /3`, 'NEG', e, neg, { lock: true });
      define(`${opcode} /4`, 'MUL', e, multiply(false));
      define(`${opcode} /5`, 'IMUL', e, multiply(true));
      define(`${opcode} /6`, 'DIV', e, divide(false));
      define(`${opcode} /7`, 'IDIV', e, divide(true));
    }
  }
  define('84', 'TEST', 'Eb Gb', test);
  define('85', 'TEST', 'Ev Gv', test);
  define('a8', 'TEST', 'AL Ib', test);
  define('a9', 'TEST', 'rAX Iz', test);
  define('86', 'XCHG', 'Eb Gb', xchg, { lock: true });
  define('87', 'XCHG', 'Ev Gv', xchg, { lock: true });
  define('88', 'MOV', 'Eb Gb', mov);
  define('89', 'MOV', 'Ev Gv', mov);
  define('8a', 'MOV', 'Gb Eb', mov);
  define('8b', 'MOV', 'Gv Ev', mov);
  define('8d', 'LEA', 'Gv M', lea, { memoryOnly: true });
  define('90+r', 'XCHG', 'rAX Zv', (b, x, y) => xchg(b, x!, y!));
  define('90', 'NOP', '', () => {});
  define('a0', 'MOV', 'AL Ob', mov);
  define('a1', 'MOV', 'rAX Ov', mov);
  define('a2', 'MOV', 'Ob AL', mov);
  define('a3', 'MOV', 'Ov rAX', mov);
  define('b0+r', 'MOV', 'Zb Ib', mov);
  define('b8+r', 'MOV', 'Zv Iv', mov);
  define('c6 /0', 'MOV', 'Eb Ib', mov);
  define('c7 /0', 'MOV', 'Ev Iz', mov);
  define('98', 'CBW', '', cbw);
  define('99', 'CWD', '', cwd);
  define('9e', 'SAHF', '', sahf);
  define('9f', 'LAHF', '', lahf);
  define('d6', 'SALC', '', salc, { not64: true });
  define('63', 'MOVSXD', 'Gv Ed', movsx, { only64: true });
  define('0f b6', 'MOVZX', 'Gv Eb', movzx);
  define('0f b7', 'MOVZX', 'Gv Ew', movzx);
  define('0f be', 'MOVSX', 'Gv Eb', movsx);
  define('0f bf', 'MOVSX', 'Gv Ew', movsx);
  define('69', 'IMUL', 'Gv Ev Iz', (b, to, x, y) => multiplyTo(b, to!, x!, y!));
  define('6b', 'IMUL', 'Gv Ev Ibs', (b, to, x, y) => multiplyTo(b, to!, x!, y!));
  define('0f af', 'IMUL', 'Gv Ev', (b, to, x) => multiplyTo(b, to!, to!, x!));
  for (const [n, opcode] of [
    [0, '0f a4'],
    [1, '0f ac'],
  ] as const) {
    define(opcode, n === 0 ? 'SHLD' : 'SHRD', 'Ev Gv Ib', doubleShift(n === 0));
    define(
      opcode.replace(/4$/, '5').replace(/c$/, 'd'),
      n === 0 ? 'SHLD' : 'SHRD',
      'Ev Gv CL',
      doubleShift(n === 0),
    );
  }
  const bits = ['bt', 'bts', 'btr', 'btc'] as const;
  bits.forEach((kind, i) => {
    const lock = { lock: kind !== 'bt' };
    define(`0f ${hex(0xa3 + 8 * i)}`, kind.toUpperCase(), 'Ev Gv', bitTest(kind), lock);
    define(`0f ba /${4 + i}`, kind.toUpperCase(), 'Ev Ib', bitTest(kind), lock);
  });
  define('0f bc', 'BSF', 'Gv Ev', bitScan(true));
  define('0f bd', 'BSR', 'Gv Ev', bitScan(false));
  define('f3 0f bc', 'TZCNT', 'Gv Ev', count('tzcnt'));
  define('f3 0f bd', 'LZCNT', 'Gv Ev', count('lzcnt'));
  define('f3 0f b8', 'POPCNT', 'Gv Ev', count('popcnt'));
  define('f2 0f 38 f0', 'CRC32', 'Gy Eb', crc32);
  define('f2 0f 38 f1', 'CRC32', 'Gy Ev', crc32);
  define('0f 38 f0', 'MOVBE', 'Gv Mv', movbeLoad, { memoryOnly: true, noRepeat: true });
  define('0f 38 f1', 'MOVBE', 'Mv Gv', movbeStore, { memoryOnly: true, noRepeat: true });
  define('0f b0', 'CMPXCHG', 'Eb Gb', cmpxchg, { lock: true });
  define('0f b1', 'CMPXCHG', 'Ev Gv', cmpxchg, { lock: true });
  define('0f c0', 'XADD', 'Eb Gb', xadd, { lock: true });
  define('0f c1', 'XADD', 'Ev Gv', xadd, { lock: true });
  define('0f c3', 'MOVNTI', 'My Gy', mov, { memoryOnly: true, noPrefix: true });
  define('0f c8+r', 'BSWAP', 'Zv', bswap);
  for (let cc = 0; cc < 16; cc++) {
    define(`0f ${hex(0x40 + cc)}`, `CMOV${CONDITIONS[cc]}`, 'Gv Ev', (b, to, from) => {
      const value = b.read(from!);
      b.write(to!, b.select(b.condition(cc), value, b.read(to!)));
    });
    define(`0f ${hex(0x90 + cc)}`, `SET${CONDITIONS[cc]}`, 'Eb', (b, to) => b.write(to!, b.condition(cc)));
  }
  define('50+r', 'PUSH', 'Zv', push, { default64: true });
  define('58+r', 'POP', 'Zv', pop, { default64: true });
  define('68', 'PUSH', 'Iz', push, { default64: true });
  define('6a', 'PUSH', 'Ibs', push, { default64: true });
  define('8f /0', 'POP', 'Ev', pop, { default64: true });
  define('ff /6', 'PUSH', 'Ev', push, { default64: true });
  define('c9', 'LEAVE', '', leave, { default64: true });
  define('f5', 'CMC', '', (b) => b.setCarry(b.xor(b.condition(2), b.i32(1))));
  define('f8', 'CLC', '', (b) => b.setCarry(b.i32(0)));
  define('f9', 'STC', '', (b) => b.setCarry(b.i32(1)));
  define('fc', 'CLD', '', (b) => b.setField(State.eflags, 4, b.and(b.field(State.eflags, 4), b.i32(~0x400))));
  define('fd', 'STD', '', (b) => b.setField(State.eflags, 4, b.or(b.field(State.eflags, 4), b.i32(0x400))));
  define('0f c7 /1', 'CMPXCHG8B', 'M', cmpxchg8b, { memoryOnly: true, lock: true });
  // With XRELEASE; the others of the group are RDPID and its like then.
  define('f3 0f c7 /1', 'CMPXCHG8B', 'M', cmpxchg8b, { memoryOnly: true, lock: true });
}

/** Condition codes by their encoding. SDM volume 1, appendix B. */
export const CONDITIONS = [
  'O',
  'NO',
  'B',
  'AE',
  'E',
  'NE',
  'BE',
  'A',
  'S',
  'NS',
  'P',
  'NP',
  'L',
  'GE',
  'LE',
  'G',
] as const;

defineAll();
