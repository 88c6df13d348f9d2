/**
 * The way into a 64-bit kernel by an exception or interrupt, and the way back by IRET, where they are what kernels use
 * them for: interrupt gates to a 64-bit code segment, without a stack of the interrupt stack table, and a return to 64-bit
 * code at CPL 3. Everything else is left to TypeScript (system/interrupts.ts), which tells the same in full.
 * SDM volume 3A, 6.14; volume 2: IRET.
 */
import { type Builder, Reg } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import {
  ModeBit,
  Seg,
  State,
  TLB,
  TLB_ADDEND,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_READ_TAG,
  TLB_WRITE_TAG,
} from '../layout.ts';
import { EFLAGS } from '../system/context.ts';
import {
  CODE_64,
  isCanonical,
  leaveTo,
  mayReturn,
  STACK,
  setAllFlags,
  setCpl,
  setFlat,
} from './fast-calls.ts';
import { Helper } from './helpers.ts';
import { inGdt } from './load-segment.ts';
import type { Meaning } from './table.ts';

/** Descriptors as kernels have them: 64-bit code and writable data, accessed, DPL 0, limits of 4 GiB. */
const CODE_DESCRIPTOR = [0x0000_ffff, 0x00af_9b00] as const;
const STACK_DESCRIPTOR = [0x0000_ffff, 0x00cf_9300] as const;
/** DPL 3. */
const USER = 0x6000;
/** In the high word of a gate: present, type, and number of a stack; an interrupt gate that keeps the stack. */
const GATE_MASK = 0x9f07;
const GATE = 0x8e00;
const UNUSABLE = 0x1_0000;
const PAGE = 4096;
/** Five words of eight bytes: RIP, CS, RFLAGS, RSP, SS; in front of them the error code. */
const FRAME = 40;
const ERROR_CODE = 8;
/** Where RSP0 is in a task state segment, and its last byte. */
const RSP0 = 4;
const RSP0_END = 11;

/** IRET from CPL 0 to 64-bit code at CPL 0 or 3. */
export const iret: Meaning = (b) => {
  if (b.mode !== 'long' || b.size !== 64) return b.exit(Helper.iret, b.size);
  const whole = (): void => b.helper(Helper.iret, b.size);
  const rip = b.top(64);
  const stack = b.gpr(Reg.sp, 64);
  const inPage = b.leU(b.and(b.wrap(stack), b.i32(PAGE - 1)), b.i32(PAGE - FRAME));
  b.fallBack(b.eqz(inPage), whole, () => {
    const [cs, flags, rsp, ss] = [8, 16, 24, 32].map((offset) =>
      b.load(b.add(stack, b.const(64, offset)), 64, Seg.ss),
    ) as [Node, Node, Node, Node];
    const code = selectorOf(b, cs);
    const data = selectorOf(b, ss);
    const isUser = b.let(b.eq(b.and(code, b.i32(3)), b.i32(3)));
    const toUser = b.and(b.and(isUser, b.eq(b.and(data, b.i32(3)), b.i32(3))), hasNoDataSegments(b));
    const toKernel = b.eqz(b.and(b.or(code, data), b.i32(3)));
    const untraced = b.eqz(
      b.and(b.or(b.wrap(flags), b.field(State.eflags, 4)), b.i32(EFLAGS.TF | EFLAGS.NT)),
    );
    const simple = b.and(b.and(untraced, hasNoBreakpoints(b)), b.or(toUser, toKernel));
    const isNull = b.let(b.eqz(data));
    const named = b.and(inGdt(b, code), b.or(isNull, inGdt(b, data)));
    const usual = b.and(b.and(mayReturn(b), isCanonical(b, rip)), b.and(simple, named));
    b.fallBack(b.eqz(usual), whole, () => {
      const dpl = b.let(b.select(isUser, b.const(64, 0, USER), b.const(64, 0)));
      const isCode = b.let(isDescriptor(b, b.load(inTable(b, code), 64), CODE_DESCRIPTOR, dpl));
      const isStack = b.variable(isNull);
      b.if(b.eqz(isNull), () => {
        b.assign(isStack, isDescriptor(b, b.load(inTable(b, data), 64), STACK_DESCRIPTOR, dpl));
      });
      b.fallBack(b.eqz(b.and(isCode, isStack)), whole, () => {
        b.setField(State.nmiMasked, 4, b.i32(0));
        b.setField(State.rip, 8, rip);
        b.setGpr(Reg.sp, 64, rsp);
        setAllFlags(b, b.let(b.and(b.wrap(flags), b.i32(~(EFLAGS.RF | EFLAGS.VM)))));
        b.if(
          isUser,
          () => leaveTo(b, code, CODE_64, data),
          () => {
            setFlat(b, Seg.cs, code, CODE_64);
            b.if(
              isNull,
              () => setNullStack(b),
              () => setFlat(b, Seg.ss, data, STACK),
            );
            setCpl(b, 0);
          },
        );
      });
    });
  });
  b.leave();
};

const selectorOf = (b: Builder, word: Node): Node => b.let(b.and(b.wrap(word), b.i32(0xffff)));

/** Whether no debug register is enabled: then RF makes no difference. */
function hasNoBreakpoints(b: Builder): Node {
  return b.eqz(b.and(b.field(State.dr + 8 * 5, 4), b.i32(0xff)));
}

/** Whether ES, DS, FS and GS are null, so that nothing is to be taken from the outer privilege. */
function hasNoDataSegments(b: Builder): Node {
  const segments = [Seg.es, Seg.ds, Seg.fs, Seg.gs];
  const selectors = segments.map((segment) => b.field(State.segSelector + 4 * segment, 4));
  const attributes = segments.map((segment) => b.field(State.segAttributes + 4 * segment, 4));
  const areUnusable = b.ne(b.and(attributes.reduce(b.and), b.i32(UNUSABLE)), b.i32(0));
  return b.and(b.eqz(selectors.reduce(b.or)), areUnusable);
}

/** Linear address of a selector's descriptor in the GDT. */
function inTable(b: Builder, selector: Node): Node {
  return b.let(
    b.add(b.field(State.segBase + 8 * Seg.gdtr, 8), b.extendU(b.and(selector, b.i32(0xfff8)))),
  );
}

/** @param dpl - bits that make it another than 0 */
function isDescriptor(
  b: Builder,
  words: Node,
  [low, high]: readonly [number, number],
  dpl = b.const(64, 0),
): Node {
  return b.eq(words, b.or(b.const(64, low, high), dpl));
}

/**
 * Delivers an exception or an interrupt that is no instruction's, as a function of the base module. It looks at memory by
 * the TLB alone, and has changed nothing when that hasn't got all of it.
 * @param errorCode - −1 for none
 * @param flags - added to those that are pushed: RF or none
 * @returns 0 when it has been delivered
 */
export function deliver(
  b: Builder,
  flagBits: (b: Builder) => Node,
  vector: Node,
  errorCode: Node,
  flags: Node,
): Node {
  const rest = b.variable(b.i32(1));
  const cpl = b.field(State.cpl, 4);
  const limit = b.field(State.segLimit + 4 * Seg.idtr, 4);
  const inIdt = b.leU(b.or(b.shl(vector, b.i32(4)), b.i32(15)), limit);
  const is64 = b.eq(b.and(b.field(State.mode, 4), b.i32(ModeBit.codeSize)), b.i32(2));
  const isUser = b.let(b.eq(cpl, b.i32(3)));
  const known = b.or(isUser, b.eqz(cpl));
  b.if(b.and(b.and(b.and(inIdt, is64), known), b.eqz(b.field(State.interruptShadow, 4))), () => {
    const gate = b.let(
      b.add(b.field(State.segBase + 8 * Seg.idtr, 8), b.extendU(b.shl(vector, b.i32(4)))),
    );
    withHost(b, gate, 16, TLB_READ_TAG, (at) => {
      const words = b.let(b.peek(at, 8));
      const high = b.let(b.wrap(b.shrU(words, b.const(64, 32))));
      const low = b.let(b.wrap(words));
      const upper = b.shl(b.peek(b.let(b.add(at, b.i32(8))), 8), b.const(64, 32));
      const offset = b.or(b.and(low, b.i32(0xffff)), b.and(high, b.i32(0xffff_0000 | 0)));
      const target = b.let(b.or(upper, b.extendU(offset)));
      const selector = b.let(b.and(b.shrU(low, b.i32(16)), b.i32(0xfffc)));
      const isGate = b.eq(b.and(high, b.i32(GATE_MASK)), b.i32(GATE));
      b.if(b.and(b.and(isGate, isCanonical(b, target)), inGdt(b, b.shrU(low, b.i32(16)))), () =>
        withHost(b, inTable(b, selector), 8, TLB_READ_TAG, (descriptor) =>
          b.if(isDescriptor(b, b.peek(descriptor, 8), CODE_DESCRIPTOR), () => {
            const stack = b.variable(b.field(State.gpr + 8 * Reg.sp, 8));
            const hasStack = b.variable(b.eqz(cpl));
            b.if(isUser, () => innerStack(b, stack, hasStack));
            b.if(hasStack, () => {
              const hasError = b.let(b.geS(errorCode, b.i32(0)));
              const bottom = b.let(
                b.sub(b.and(stack, b.const(64, -16)), b.const(64, FRAME + ERROR_CODE)),
              );
              withHost(b, bottom, FRAME + ERROR_CODE, TLB_WRITE_TAG, (frame) => {
                const put = (at: number, value: Node): void =>
                  b.poke(b.let(b.add(frame, b.i32(at))), 8, value);
                b.if(hasError, () => put(0, b.extendU(errorCode)));
                const pushed = b.or(b.or(b.field(State.eflags, 4), flagBits(b)), b.or(flags, b.i32(2)));
                const segment = (index: number): Node => b.extendU(b.field(State.segSelector + 4 * index, 4));
                put(ERROR_CODE, b.field(State.rip, 8));
                put(ERROR_CODE + 8, segment(Seg.cs));
                put(ERROR_CODE + 16, b.extendU(pushed));
                put(ERROR_CODE + 24, b.field(State.gpr + 8 * Reg.sp, 8));
                put(ERROR_CODE + 32, segment(Seg.ss));
                // Without an error code the frame ends eight bytes higher, where it is aligned all the same.
                b.setField(
                  State.gpr + 8 * Reg.sp,
                  8,
                  b.add(bottom, b.select(hasError, b.const(64, 0), b.const(64, ERROR_CODE))),
                );
                enter(b, isUser, selector, target);
                b.assign(rest, b.i32(0));
              });
            });
          }),
        ),
      );
    });
  });
  return rest;
}

/** RSP for CPL 0, from the task state segment. */
function innerStack(b: Builder, stack: Node, found: Node): void {
  const fits = b.geU(b.field(State.segLimit + 4 * Seg.tr, 4), b.i32(RSP0_END));
  b.if(fits, () => {
    const address = b.let(b.add(b.field(State.segBase + 8 * Seg.tr, 8), b.const(64, RSP0)));
    withHost(b, address, 8, TLB_READ_TAG, (at) => {
      b.assign(stack, b.peek(at, 8));
      b.assign(found, b.i32(1));
    });
  });
}

/** To CPL 0, with interrupts off. */
function enter(b: Builder, isUser: Node, selector: Node, target: Node): void {
  b.if(isUser, () => setNullStack(b));
  setFlat(b, Seg.cs, selector, CODE_64);
  setCpl(b, 0);
  const cleared = EFLAGS.TF | EFLAGS.NT | EFLAGS.RF | EFLAGS.VM | EFLAGS.IF;
  b.setField(State.eflags, 4, b.and(b.field(State.eflags, 4), b.i32(~cleared)));
  b.setField(State.rip, 8, target);
  b.setField(State.halted, 4, b.i32(0));
}

/** SS as it is without a stack segment at CPL 0. */
function setNullStack(b: Builder): void {
  b.setField(State.segSelector + 4 * Seg.ss, 4, b.i32(0));
  b.setField(State.segBase + 8 * Seg.ss, 8, b.const(64, 0));
  b.setField(State.segLimit + 4 * Seg.ss, 4, b.i32(0));
  b.setField(State.segAttributes + 4 * Seg.ss, 4, b.i32(UNUSABLE));
}

/** Does something with the host address of bytes at a linear address, if supervisors' TLB has them, all in one page. */
function withHost(b: Builder, address: Node, bytes: number, tag: number, then: (host: Node) => void): void {
  const offset = b.wrap(b.shrU(address, b.const(64, 12 - TLB_ENTRY_SHIFT)));
  const entry = b.let(
    b.add(b.and(offset, b.i32((TLB_ENTRIES - 1) << TLB_ENTRY_SHIFT)), b.i32(TLB.supervisor)),
  );
  const at = (field: number): Node => b.let(b.add(entry, b.i32(field)));
  const distance = b.sub(address, b.peek(at(tag), 8));
  b.if(b.leU(distance, b.const(64, PAGE - bytes)), () =>
    then(b.let(b.add(b.wrap(address), b.wrap(b.peek(at(TLB_ADDEND), 8))))),
  );
}
