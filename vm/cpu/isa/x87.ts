/**
 * x87 instructions: their encodings. SDM volume 2, appendix A.5 (escape opcodes). What they do is in
 * ../fpu/x87.ts; the argument of the helper is the opcode's low three bits, ModRM.reg, and whether it is a
 * register form.
 */
import { FpuFlag } from '../fpu/float80.ts';
import { type Builder, Reg } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { State } from '../layout.ts';
import type { BaseFunction } from '../lower/base.ts';
import { baseIndex } from '../lower/base.ts';
import { X87_TRUNCATE, X87Format, X87How, X87Move } from '../lower/base-x87.ts';
import { Helper } from './helpers.ts';
import { define } from './table.ts';

/** Bytes that each memory form accesses, by opcode and ModRM.reg; negative for stores. 14 stands for an environment. */
const MEMORY: readonly (readonly number[])[] = [
  [4, 4, 4, 4, 4, 4, 4, 4],
  [4, 0, -4, -4, 14, 2, -14, -2],
  [4, 4, 4, 4, 4, 4, 4, 4],
  [4, -4, -4, -4, 0, 10, 0, -10],
  [8, 8, 8, 8, 8, 8, 8, 8],
  [8, -8, -8, -8, 94, 0, -94, -2],
  [2, 2, 2, 2, 2, 2, 2, 2],
  [2, -2, -2, -2, 10, 8, -10, -8],
];

/** Which form of an x87 instruction a helper's argument means. */
export const X87Form = { register: 0x80 } as const;

const EXCEPTIONS = 0x3f;
/** Bits of the control word that exist. */
const CONTROL_BITS = 0x1f7f;

/** What an x87 form means in the usual case, under `slow`; undefined for those that are TypeScript's altogether. */
type Usual = ((b: Builder, slow: () => void) => void) | undefined;

const call = (b: Builder, name: BaseFunction, ...args: Node[]): Node =>
  b.call(baseIndex(name), 'i32', ...args);
/** Tries a function, and does what follows if it could. */
function attempt(b: Builder, slow: () => void, result: Node, then: () => void = () => {}): void {
  b.fallBack(result, slow, then);
}
/** 1 when the FPU may not be used, or something is pending. */
function isBlocked(b: Builder): Node {
  const pending = b.and(b.field(State.fpuStatus, 4), b.i32(FpuFlag.ES));
  return b.let(b.or(b.and(b.field(State.fpuTrap, 4), b.i32(1)), pending));
}

/** Reads a memory operand as x87Load and its like take it. Before that, what is pending is raised. */
function withOperand(
  b: Builder,
  size: 16 | 32 | 64,
  isInteger: boolean,
  slow: () => void,
  then: (bits: Node) => void,
): void {
  const address = b.address(size / 8);
  b.fallBack(isBlocked(b), slow, () => {
    const value = b.load(address, size);
    then(b.let(isInteger ? b.signExtend(size, 64, value) : b.extendU(value)));
  });
}
const load =
  (size: 16 | 32 | 64, format: number): Usual =>
  (b, slow) =>
    withOperand(b, size, format === X87Format.integer, slow, (bits) =>
      attempt(b, slow, call(b, 'x87Load', b.i32(format), bits)),
    );
const store =
  (size: 16 | 32 | 64, format: number, pops: boolean): Usual =>
  (b, slow) => {
    const address = b.address(size / 8, true);
    attempt(b, slow, call(b, 'x87Store', b.i32(format)), () => {
      const bits = b.field(State.scratch, 8);
      b.store(address, size, size === 64 ? bits : b.let(b.wrap(bits)));
      call(b, 'x87Stored', b.i32(pops ? 1 : 0));
    });
  };
/** ADD MUL COM COMP SUB SUBR DIV DIVR with a memory operand. */
const arithmetic =
  (kind: number, size: 16 | 32 | 64, format: number): Usual =>
  (b, slow) =>
    withOperand(b, size, format === X87Format.integer, slow, (bits) => {
      const result =
        kind === 2 || kind === 3
          ? call(b, 'x87CompareMemory', b.i32(format), b.i32(kind - 2), bits)
          : call(b, 'x87Memory', b.i32(kind), b.i32(format), bits);
      attempt(b, slow, result);
    });

function usualMemory(opcode: number, reg: number): Usual {
  const { single, double, integer, integer16, integer32, integer64 } = X87Format;
  switch (opcode) {
    case 0:
      return arithmetic(reg, 32, single);
    case 4:
      return arithmetic(reg, 64, double);
    case 2:
      return arithmetic(reg, 32, integer);
    case 6:
      return arithmetic(reg, 16, integer);
    case 1:
      if (reg === 0) return load(32, single);
      return reg === 2 || reg === 3 ? store(32, single, reg === 3) : reg === 5 ? loadControl : undefined;
    case 5:
      if (reg === 0) return load(64, double);
      if (reg === 1) return store(64, integer64 | X87_TRUNCATE, true);
      return reg === 2 || reg === 3 ? store(64, double, reg === 3) : undefined;
    case 3:
      if (reg === 0) return load(32, integer);
      if (reg === 1) return store(32, integer32 | X87_TRUNCATE, true);
      return reg === 2 || reg === 3 ? store(32, integer32, reg === 3) : undefined;
    default:
      if (reg === 0) return load(16, integer);
      if (reg === 5) return load(64, integer);
      if (reg === 7) return store(64, integer64, true);
      if (reg === 1) return store(16, integer16 | X87_TRUNCATE, true);
      return reg === 2 || reg === 3 ? store(16, integer16, reg === 3) : undefined;
  }
}

/** FLDCW, unless it unmasks what is flagged. */
const loadControl: Usual = (b, slow) => {
  const address = b.address(2);
  b.fallBack(isBlocked(b), slow, () => {
    const word = b.let(b.or(b.and(b.load(address, 16), b.i32(CONTROL_BITS)), b.i32(0x40)));
    const flagged = b.and(b.field(State.fpuStatus, 4), b.i32(EXCEPTIONS));
    b.fallBack(b.ne(b.and(flagged, b.not(word)), b.i32(0)), slow, () =>
      b.setField(State.fpuControl, 4, word),
    );
  });
};

const registers =
  (kind: number, how: number): Usual =>
  (b, slow) =>
    attempt(b, slow, call(b, 'x87Registers', b.i32(kind), rmOf(b), b.i32(how)));
const compare =
  (pops: number, only?: number): Usual =>
  (b, slow) => {
    const go = (): void => attempt(b, slow, call(b, 'x87CompareRegister', rmOf(b), b.i32(pops)));
    if (only === undefined) go();
    else b.if(b.eq(rmOf(b), b.i32(only)), go, slow);
  };
const compareFlags =
  (pops: number): Usual =>
  (b, slow) => {
    const flags = call(b, 'x87CompareFlags', rmOf(b), b.i32(pops));
    b.fallBack(b.ltS(flags, b.i32(0)), slow, () => b.setFlagBits(flags));
  };
const move =
  (op: number): Usual =>
  (b, slow) =>
    attempt(b, slow, call(b, 'x87Move', b.i32(op), rmOf(b)));
/** Those that ModRM.rm tells apart. */
const byRm =
  (choices: Readonly<Record<number, Usual>>): Usual =>
  (b, slow) => {
    const entries = Object.entries(choices);
    const next = (at: number): void => {
      const entry = entries[at];
      if (entry === undefined) slow();
      else
        b.if(
          b.eq(rmOf(b), b.i32(Number(entry[0]))),
          () => entry[1]!(b, slow),
          () => next(at + 1),
        );
    };
    next(0);
  };
/** ST(i)'s number. */
const rmOf = (b: Builder): Node => b.operandAddress({ kind: 'other', index: 0, size: 32 });

const root: Usual = (b, slow) => attempt(b, slow, call(b, 'x87Root'));
const storeStatus: Usual = (b, slow) =>
  b.fallBack(b.and(b.field(State.fpuTrap, 4), b.i32(1)), slow, () =>
    b.setGpr(Reg.ax, 16, b.or(b.field(State.fpuStatus, 4), b.shl(b.field(State.fpuTop, 4), b.i32(11)))),
  );

function usualRegister(opcode: number, reg: number): Usual {
  const swapped = reg >= 4 ? reg ^ 1 : reg;
  switch (opcode) {
    case 0:
      return reg === 2 || reg === 3 ? compare(reg - 2) : registers(reg, 0);
    case 4:
      return reg === 2 || reg === 3 ? compare(reg - 2) : registers(swapped, X87How.toOther);
    case 6:
      if (reg === 3) return compare(2, 1);
      return reg === 2 ? undefined : registers(swapped, X87How.toOther | X87How.pops);
    case 1:
      return [
        move(X87Move.load),
        move(X87Move.exchange),
        undefined,
        move(X87Move.storePop),
        byRm({ 0: move(X87Move.negate), 1: move(X87Move.absolute) }),
        byRm({ 0: constant(X87Move.one), 6: constant(X87Move.zero) }),
        undefined,
        byRm({ 2: root }),
      ][reg];
    case 2:
      return reg === 5 ? compare(2, 1) : undefined;
    case 3:
      return reg === 5 || reg === 6 ? compareFlags(0) : undefined;
    case 5:
      return [
        undefined,
        move(X87Move.exchange),
        move(X87Move.store),
        move(X87Move.storePop),
        compare(0),
        compare(1),
      ][reg];
    default:
      if (reg === 4) return byRm({ 0: storeStatus });
      return reg === 5 || reg === 6 ? compareFlags(1) : undefined;
  }
}
function constant(op: number): Usual {
  return (b, slow) => attempt(b, slow, call(b, 'x87Move', b.i32(op), b.i32(0)));
}

MEMORY.forEach((row, opcode) => {
  const hex = (0xd8 + opcode).toString(16);
  row.forEach((bytes, reg) => {
    if (bytes !== 0) {
      const usual = usualMemory(opcode, reg);
      define(
        `${hex} /${reg}`,
        `x87 ${hex}/${reg}`,
        'M',
        (b: Builder) => {
          const environment = { 14: b.size === 16 ? 14 : 28, 94: b.size === 16 ? 94 : 108 };
          const length = environment[Math.abs(bytes) as 14 | 94] ?? Math.abs(bytes);
          const slow = (): void => {
            b.setField(State.ea, 8, b.extendU(b.address(length, bytes < 0)));
            b.helper(Helper.x87, opcode | (reg << 3) | (b.size << 8));
          };
          if (usual === undefined) slow();
          else usual(b, slow);
        },
        { memoryOnly: true },
      );
    }
    const usual = usualRegister(opcode, reg);
    define(
      `${hex} /${reg}`,
      `x87 ${hex}/${reg}`,
      'T',
      (b: Builder) => {
        const slow = (): void => b.helper(Helper.x87, opcode | (reg << 3) | X87Form.register | (b.size << 8));
        if (usual === undefined) slow();
        else usual(b, slow);
      },
      { registerOnly: true },
    );
  });
});
