/**
 * The exact floating point against the host's, where the host can tell; and the middle paths of the base module
 * against the exact one, for operands of every kind.
 */
import { describe, expect, it } from 'vitest';
import { State } from '../layout.ts';
import { FloatOp, Scratch } from './operations.ts';
import { DOUBLE, Flag, FloatUnit, Rounding, SINGLE } from './soft-float.ts';
import { HandlerMachine } from './testing.ts';

const view = new DataView(new ArrayBuffer(8));

function bitsOf(value: number): bigint {
  view.setFloat64(0, value);
  return view.getBigUint64(0);
}

function singleBits(value: number): bigint {
  view.setFloat32(0, value);
  return BigInt(view.getUint32(0));
}

/** The same numbers in every run. */
function* numbers(): Generator<number, never> {
  let state = 0x2545_f491;
  for (;;) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield state >>> 0;
  }
}

const random = numbers();
const u32 = (): number => random.next().value;

/** Doubles that come near one another, have few bits, or are extreme. */
function operand(): bigint {
  const kind = u32() % 8;
  const sign = BigInt(u32() & 1) << 63n;
  const fraction = ((BigInt(u32()) << 32n) | BigInt(u32())) & DOUBLE.fraction;
  const exponent = kind < 4 ? 1023 - 8 + (u32() % 16) : kind < 6 ? 1023 - 60 + (u32() % 120) : u32() % 2048;
  const short = kind % 2 === 0 ? fraction & ~((1n << BigInt(20 + (u32() % 32))) - 1n) : fraction;
  if (kind === 7 && u32() % 4 === 0) return sign;
  return sign | (BigInt(exponent) << 52n) | short;
}

function operand32(): bigint {
  const wide = operand();
  const exponent = ((wide >> 52n) & 0x7ffn) - 1023n + 127n;
  const kept = exponent < 0n ? 0n : exponent > 255n ? 255n : exponent;
  return ((wide >> 63n) << 31n) | (kept << 23n) | ((wide & DOUBLE.fraction) >> 29n);
}

const isNaNBits = (x: bigint): boolean => (x & 0x7fff_ffff_ffff_ffffn) > DOUBLE.infinity;

describe('FloatUnit', () => {
  it('agrees with the host, rounding to nearest', () => {
    const unit = new FloatUnit();
    const toNumber = (bits: bigint): number => {
      view.setBigUint64(0, bits);
      return view.getFloat64(0);
    };
    for (let i = 0; i < 4000; i++) {
      const [a, b] = [operand(), operand()];
      if (isNaNBits(a) || isNaNBits(b)) continue;
      const [x, y] = [toNumber(a), toNumber(b)];
      const pairs: [bigint, number][] = [
        [unit.add(DOUBLE, a, b), x + y],
        [unit.subtract(DOUBLE, a, b), x - y],
        [unit.multiply(DOUBLE, a, b), x * y],
        [unit.divide(DOUBLE, a, b), x / y],
        [unit.squareRoot(DOUBLE, a), Math.sqrt(x)],
      ];
      for (const [exact, native] of pairs) {
        if (Number.isNaN(native)) expect(isNaNBits(exact)).toBe(true);
        else expect(exact).toBe(bitsOf(native));
      }
      expect(unit.convert(DOUBLE, SINGLE, a)).toBe(singleBits(Math.fround(x)));
      expect(unit.integral(DOUBLE, a, Rounding.down, true)).toBe(bitsOf(Math.floor(x)));
      expect(unit.integral(DOUBLE, a, Rounding.up, true)).toBe(bitsOf(Math.ceil(x)));
    }
  });

  it('rounds each way, and says what it did', () => {
    const unit = new FloatUnit();
    const third = (rounding: Rounding, x = 1): bigint => {
      unit.rounding = rounding;
      unit.flags = 0;
      return unit.divide(DOUBLE, bitsOf(x), bitsOf(3));
    };
    expect(third(Rounding.nearest)).toBe(0x3fd5_5555_5555_5555n);
    expect(third(Rounding.down)).toBe(0x3fd5_5555_5555_5555n);
    expect(third(Rounding.up)).toBe(0x3fd5_5555_5555_5556n);
    expect(unit.flags).toBe(Flag.PE);
    expect(third(Rounding.down, -1)).toBe(0xbfd5_5555_5555_5556n);
    expect(third(Rounding.zero, -1)).toBe(0xbfd5_5555_5555_5555n);
    expect(third(Rounding.up, 3)).toBe(bitsOf(1));
    expect(unit.flags).toBe(0);
  });

  it('knows NaNs as the SSE unit does', () => {
    const unit = new FloatUnit();
    const [signaling, quiet] = [0x7ff0_0000_0000_0001n, 0xfff8_0000_0000_0002n];
    expect(unit.add(DOUBLE, quiet, signaling)).toBe(quiet);
    expect(unit.flags).toBe(Flag.IE);
    expect(unit.add(DOUBLE, signaling, quiet)).toBe(0x7ff8_0000_0000_0001n);
    expect(unit.subtract(DOUBLE, DOUBLE.infinity, DOUBLE.infinity)).toBe(0xfff8_0000_0000_0000n);
    expect(unit.multiply(SINGLE, 0n, SINGLE.infinity)).toBe(0xffc0_0000n);
  });

  it('underflows after rounding, and flushes', () => {
    const unit = new FloatUnit();
    const smallest = 0x0010_0000_0000_0000n;
    // The largest number below the smallest normal one, times what rounds it up to that: not tiny.
    expect(unit.multiply(DOUBLE, 0x0010_0000_0000_0001n, 0x3fef_ffff_ffff_ffffn)).toBe(smallest);
    expect(unit.flags).toBe(Flag.PE);
    unit.flags = 0;
    expect(unit.divide(DOUBLE, smallest, bitsOf(3))).toBe(0x0005_5555_5555_5555n);
    expect(unit.flags).toBe(Flag.UE | Flag.PE);
    unit.flags = 0;
    unit.flushToZero = true;
    expect(unit.divide(DOUBLE, smallest, bitsOf(-2))).toBe(1n << 63n);
    expect(unit.flags).toBe(Flag.UE | Flag.PE);
    unit.flags = 0;
    unit.denormalsAreZeros = true;
    expect(unit.add(DOUBLE, 1n, bitsOf(1))).toBe(bitsOf(1));
    expect(unit.flags).toBe(0);
  });

  it('converts to integers, or to the indefinite', () => {
    const unit = new FloatUnit();
    expect(unit.toInteger(DOUBLE, bitsOf(-2147483648.5), 32, Rounding.zero)).toBe(0x8000_0000n);
    expect(unit.flags).toBe(Flag.PE);
    unit.flags = 0;
    expect(unit.toInteger(DOUBLE, bitsOf(2147483648), 32, Rounding.zero)).toBe(0x8000_0000n);
    expect(unit.flags).toBe(Flag.IE);
    expect(unit.toInteger(SINGLE, singleBits(2.5), 64, Rounding.nearest)).toBe(2n);
    expect(unit.fromInteger(SINGLE, 0x0100_0001n)).toBe(singleBits(16777216));
  });
});

describe('the middle paths', () => {
  const machine = new HandlerMachine([]);
  const { memory } = machine;
  const slow64 = machine.exports['floatSlow64'] as (op: number, x: bigint, y: bigint) => number;
  const slow32 = machine.exports['floatSlow32'] as (op: number, x: number, y: number) => number;
  const unit = new FloatUnit();
  const operations = [
    [FloatOp.add, 'add'],
    [FloatOp.sub, 'subtract'],
    [FloatOp.mul, 'multiply'],
    [FloatOp.div, 'divide'],
  ] as const;

  it('give exact doubles and flags, or leave the operands to TypeScript', () => {
    let done = 0;
    for (let i = 0; i < 20_000; i++) {
      const [x, y] = [operand(), operand()];
      for (const [op, name] of operations) {
        machine.mxcsr = 0x1f80;
        unit.flags = 0;
        const exact = unit[name](DOUBLE, x, y);
        if (slow64(op, x, y) !== 0) {
          expect(memory.u64[Scratch.first >> 3]).toBe(x);
          expect(memory.u64[Scratch.second >> 3]).toBe(y);
          expect(machine.mxcsr).toBe(0x1f80);
          continue;
        }
        done++;
        expect([name, x, y, memory.u64[Scratch.result >> 3], machine.mxcsr]).toEqual([
          name,
          x,
          y,
          exact,
          0x1f80 | unit.flags,
        ]);
      }
      machine.mxcsr = 0x1f80;
      unit.flags = 0;
      const root = unit.squareRoot(DOUBLE, x);
      if (slow64(FloatOp.sqrt, x, x) === 0) {
        expect([x, memory.u64[Scratch.result >> 3], machine.mxcsr]).toEqual([x, root, 0x1f80 | unit.flags]);
      }
    }
    expect(done).toBeGreaterThan(40_000);
  });

  it('give exact singles and flags', () => {
    let done = 0;
    for (let i = 0; i < 20_000; i++) {
      const [x, y] = [operand32(), operand32()];
      for (const [op, name] of operations) {
        machine.mxcsr = 0x1f80;
        unit.flags = 0;
        const exact = unit[name](SINGLE, x, y);
        if (slow32(op, Number(x) | 0, Number(y) | 0) !== 0) continue;
        done++;
        expect([name, x, y, BigInt(memory.u32[Scratch.result >> 2]!), machine.mxcsr]).toEqual([
          name,
          x,
          y,
          exact,
          0x1f80 | unit.flags,
        ]);
      }
    }
    expect(done).toBeGreaterThan(40_000);
  });

  it('leave unusual modes alone', () => {
    for (const mxcsr of [0x3f80, 0x0f80]) {
      machine.mxcsr = mxcsr;
      expect(slow64(FloatOp.add, bitsOf(1), bitsOf(2))).toBe(1);
    }
    expect(memory.get(State.mxcsr)).toBe(0x0f80);
  });
});
