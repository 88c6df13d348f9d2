/**
 * String instructions. SDM volume 2: MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS, REP.
 *
 * Each execution of a repeated one handles an element and then branches to itself, so that between elements
 * interrupts are taken and registers are up to date. Of long runs of MOVS and STOS all but the last element, as far
 * as a page reaches, are done at once: by the base module where both sides are in the TLB, or else by a helper, which
 * does just as much (system/strings.ts).
 */
import { type Builder, Reg } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { Seg, State } from '../layout.ts';
import { baseIndex } from '../lower/base.ts';
import { EFLAGS } from '../system/context.ts';
import { Helper } from './helpers.ts';
import { define, type Meaning } from './table.ts';

export const StringKind = { movs: 0, cmps: 1, stos: 2, lods: 3, scas: 4, ins: 5, outs: 6 } as const;
type StringKind = (typeof StringKind)[keyof typeof StringKind];

/** With more elements than this, all but the last are done at once. */
const BULK = 8;
/** Bytes moved in bulk that count as an instruction: about what compiled code would take. */
export const BYTES_AN_INSTRUCTION = 64;
const PAGE = 4096;
/** Most instructions that a run may count for: a page's. */
export const BULK_INSTRUCTIONS = PAGE / BYTES_AN_INSTRUCTION;
/** A byte of 1 over and over. */
const ONES = 0x01010101;
const REPE = 0xf3;

/** What helpers are told: kind, operand size, address size, and repeat prefix. */
function argument(b: Builder, kind: StringKind, width: number): number {
  return kind | (width << 4) | (b.addressSize << 12) | (b.repeat << 20);
}

/** An index register, as an offset for an address. */
function index(b: Builder, register: number): Node {
  const offset = b.gpr(register, b.addressSize);
  return b.mode === 'long' ? b.let(b.extendU(offset)) : offset;
}

/** Moves index registers on by an element. */
function advance(b: Builder, width: number, ...registers: number[]): void {
  const bytes = width / 8;
  const flags = b.and(b.field(State.eflags, 4), b.i32(EFLAGS.DF));
  const size = b.addressSize;
  const step = b.let(b.select(b.ne(flags, b.i32(0)), b.const(size, -bytes), b.const(size, bytes)));
  for (const register of registers) b.setGpr(register, size, b.add(b.gpr(register, size), step));
}

/** Does what an instruction does to one element. @returns whether it compared equal, for those that compare */
type Element = (b: Builder, width: number) => Node | undefined;

const movs: Element = (b, width) => {
  const bytes = width / 8;
  // A fault of the source comes before what is wrong with the target.
  const value = b.load(b.addressAt(index(b, Reg.si), bytes), width);
  b.store(b.linear(Seg.es, index(b, Reg.di), bytes, true), width, value, Seg.es);
  advance(b, width, Reg.si, Reg.di);
  return undefined;
};
const stos: Element = (b, width) => {
  const address = b.linear(Seg.es, index(b, Reg.di), width / 8, true);
  b.store(address, width, b.gpr(Reg.ax, width), Seg.es);
  advance(b, width, Reg.di);
  return undefined;
};
const lods: Element = (b, width) => {
  b.setGpr(Reg.ax, width, b.load(b.addressAt(index(b, Reg.si), width / 8), width));
  advance(b, width, Reg.si);
  return undefined;
};
const cmps: Element = (b, width) => {
  const source = b.addressAt(index(b, Reg.si), width / 8);
  const second = b.load(b.linear(Seg.es, index(b, Reg.di), width / 8), width, Seg.es);
  const first = b.load(source, width);
  advance(b, width, Reg.si, Reg.di);
  return compare(b, width, first, second);
};
const scas: Element = (b, width) => {
  const second = b.load(b.linear(Seg.es, index(b, Reg.di), width / 8), width, Seg.es);
  const first = b.gpr(Reg.ax, width);
  advance(b, width, Reg.di);
  return compare(b, width, first, second);
};

function compare(b: Builder, width: number, first: Node, second: Node): Node {
  b.flagsOfSub(width, first, second, b.let(b.sub(first, second)));
  return b.let(b.eq(first, second));
}

/** Moves or fills a run by the base module, and if it can't, leaves it to `otherwise`. */
function run(
  b: Builder,
  kind: StringKind,
  width: number,
  count: Node,
  done: () => void,
  otherwise: () => void,
): void {
  const size = b.addressSize;
  // Only where an offset is a linear address but for FS and GS.
  if (b.mode === 'segmented' || size !== (b.mode === 'long' ? 64 : 32)) {
    otherwise();
    return;
  }
  const isMove = kind === StringKind.movs;
  const bytes = width / 8;
  const target = b.gpr(Reg.di, size);
  const source = isMove ? b.addressAt(b.gpr(Reg.si, size), bytes) : target;
  const inPage = (at: Node): Node => b.and(b.wrap(at), b.i32(PAGE - 1));
  const room = b.let(
    b.shrU(
      b.sub(b.i32(PAGE), isMove ? larger(b, inPage(source), inPage(target)) : inPage(target)),
      b.i32(Math.log2(bytes)),
    ),
  );
  const isLong = b.gtU(count, b.resize(size, room));
  const elements = b.let(b.select(isLong, room, b.sub(b.wrap(count), b.i32(1))));
  const length = b.let(b.mul(elements, b.i32(bytes)));
  const special = b.or(
    b.and(b.field(State.eflags, 4), b.i32(EFLAGS.DF | EFLAGS.TF)),
    b.field(State.single, 4),
  );
  const isUsual = b.and(b.eqz(special), b.gtU(elements, b.i32(1)));
  const did = b.variable(b.i32(0));
  if (isMove) {
    b.if(isUsual, () =>
      b.assign(did, b.call(baseIndex('moveRun'), 'i32', b.extendU(source), b.extendU(target), length)),
    );
  } else {
    const value = b.gpr(Reg.ax, width);
    const byte = b.let(b.and(b.wrap(value), b.i32(0xff)));
    // Only what consists of one byte over and over, and lies where a run of such elements may.
    const isPlain =
      width === 8
        ? isUsual
        : b.and(
            b.and(isUsual, b.eqz(b.and(b.wrap(target), b.i32(bytes - 1)))),
            b.eq(value, b.mul(b.resize(width, byte), b.truncate(width, b.const(width, ONES, ONES)))),
          );
    b.if(isPlain, () => b.assign(did, b.call(baseIndex('fillRun'), 'i32', b.extendU(target), length, byte)));
  }
  b.if(
    did,
    () => {
      const by = b.resize(size, length);
      if (isMove) b.setGpr(Reg.si, size, b.add(b.gpr(Reg.si, size), by));
      b.setGpr(Reg.di, size, b.add(target, by));
      b.setGpr(Reg.cx, size, b.sub(count, b.resize(size, elements)));
      b.spend(b.shrU(b.add(length, b.i32(BYTES_AN_INSTRUCTION - 1)), b.i32(Math.log2(BYTES_AN_INSTRUCTION))));
      done();
    },
    otherwise,
  );
}

/** The larger of two numbers, unsigned. */
function larger(b: Builder, x: Node, y: Node): Node {
  const first = b.let(x);
  const second = b.let(y);
  return b.select(b.gtU(first, second), first, second);
}

const string =
  (kind: StringKind, element: Element, widthOf: (b: Builder) => number): Meaning =>
  (b) => {
    const width = widthOf(b);
    if (b.repeat === 0) {
      element(b, width);
      return;
    }
    const size = b.addressSize;
    const more = b.variable(b.i32(0));
    const count = b.gpr(Reg.cx, size);
    const once = (): void => {
      const left = b.let(b.sub(count, b.const(size, 1)));
      const equal = element(b, width);
      b.setGpr(Reg.cx, size, left);
      const isLeft = b.ne(b.truncate(size, left), b.const(size, 0));
      const goesOn = equal === undefined || b.repeat === REPE ? equal : b.eqz(equal);
      b.assign(more, goesOn === undefined ? isLeft : b.and(isLeft, goesOn));
    };
    b.if(b.ne(count, b.const(size, 0)), () => {
      if (kind !== StringKind.movs && kind !== StringKind.stos) {
        once();
        return;
      }
      b.if(b.gtU(count, b.const(size, BULK)), () => {
        run(
          b,
          kind,
          width,
          count,
          () => b.assign(more, b.i32(1)),
          () => {
            b.helper(Helper.stringBulk, argument(b, kind, width));
            b.assign(more, b.ne(b.gpr(Reg.cx, size), count));
          },
        );
      });
      // Either a run or an element: an element that is begun anew finds nothing of the instruction done.
      b.if(b.eqz(more), once);
    });
    b.repeatWhile(more);
  };

const portString =
  (kind: StringKind, widthOf: (b: Builder) => number): Meaning =>
  (b) =>
    b.exit(Helper.portString, argument(b, kind, widthOf(b)));

const byte = (): number => 8;
const wide = (b: Builder): number => b.size;
/** Ports are 32 bits wide at most. */
const port = (b: Builder): number => Math.min(b.size, 32);

for (const [opcode, name, kind, element] of [
  [0xa4, 'MOVS', StringKind.movs, movs],
  [0xa6, 'CMPS', StringKind.cmps, cmps],
  [0xaa, 'STOS', StringKind.stos, stos],
  [0xac, 'LODS', StringKind.lods, lods],
  [0xae, 'SCAS', StringKind.scas, scas],
] as const) {
  define(opcode.toString(16), `${name}B`, '', string(kind, element, byte));
  define((opcode + 1).toString(16), name, '', string(kind, element, wide));
}
define('6c', 'INSB', '', portString(StringKind.ins, byte));
define('6d', 'INS', '', portString(StringKind.ins, port));
define('6e', 'OUTSB', '', portString(StringKind.outs, byte));
define('6f', 'OUTS', '', portString(StringKind.outs, port));
