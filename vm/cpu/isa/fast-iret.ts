/**
 * IRET, where it is what kernels use it for: from CPL 0 to code at CPL 0 or 3 of the same kind, 64-bit or flat 32-bit, that
 * the GDT describes as all kernels do. Everything else is left to the helper, which tells it in full.
 * SDM volume 2: IRET; volume 3A, 6.12.1 and 6.14.3.
 */
import { type Builder, Reg } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { Seg, State } from '../layout.ts';
import { EFLAGS } from '../system/context.ts';
import {
  CODE_32,
  CODE_64,
  isCanonical,
  isLegacy,
  leaveTo,
  mayReturn,
  STACK,
  setAllFlags,
  setCpl,
  setFlat,
} from './fast-calls.ts';
import { Helper } from './helpers.ts';
import { inGdt, UNUSABLE } from './load-segment.ts';
import type { Meaning } from './table.ts';

const PAGE = 4096;

/** A descriptor's words. */
type Descriptor = readonly [low: number, high: number];

/** Descriptors as kernels have them for DPL 0: accessed, from 0, with a limit of 4 GiB. */
export const KernelDescriptor = {
  code64: [0x0000_ffff, 0x00af_9b00],
  code32: [0x0000_ffff, 0x00cf_9b00],
  stack: [0x0000_ffff, 0x00cf_9300],
} as const satisfies Record<string, Descriptor>;
/** In their high word: DPL 3. */
const USER = 0x6000;

export const iret: Meaning = (b) => {
  if (b.mode === 'long' && b.size === 64) iretLong(b);
  else if (b.mode === 'flat' && b.size === 32) iretFlat(b);
  else b.helper(Helper.iret, b.size);
  b.leave();
};

function iretLong(b: Builder): void {
  const whole = (): void => b.helper(Helper.iret, b.size);
  const stack = b.gpr(Reg.sp, 64);
  b.fallBack(b.eqz(b.and(mayReturn(b), mayRead(b, b.wrap(stack), 40))), whole, () => {
    const rip = b.top(64);
    const [cs, flags, rsp, ss] = [8, 16, 24, 32].map((offset) =>
      b.load(b.add(stack, b.const(64, offset)), 64, Seg.ss),
    ) as [Node, Node, Node, Node];
    const code = selectorOf(b, cs);
    const data = selectorOf(b, ss);
    const isUser = b.let(b.eq(b.and(code, b.i32(3)), b.i32(3)));
    const toUser = b.and(b.and(isUser, b.eq(b.and(data, b.i32(3)), b.i32(3))), keepsDataSegments(b));
    const toKernel = b.eqz(b.and(b.or(code, data), b.i32(3)));
    const isNull = b.let(b.eqz(data));
    const named = b.and(inGdt(b, code), b.or(isNull, inGdt(b, data)));
    const usual = b.and(isCanonical(b, rip), b.and(b.or(toUser, toKernel), named));
    b.fallBack(b.eqz(b.and(usual, isUntraced(b, b.wrap(flags)))), whole, () => {
      const isCode = b.let(isDescriptor(b, b.load(inTable(b, code), 64), KernelDescriptor.code64, isUser));
      const isStack = b.variable(isNull);
      b.if(b.eqz(isNull), () => {
        b.assign(isStack, isDescriptor(b, b.load(inTable(b, data), 64), KernelDescriptor.stack, isUser));
      });
      b.fallBack(b.eqz(b.and(isCode, isStack)), whole, () => {
        b.setField(State.rip, 8, rip);
        b.setGpr(Reg.sp, 64, rsp);
        restoreFlags(b, b.wrap(flags));
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
}

function iretFlat(b: Builder): void {
  const whole = (): void => b.helper(Helper.iret, b.size);
  const stack = b.gpr(Reg.sp, 32);
  const at = (offset: number): Node => b.load(b.add(stack, b.i32(offset)), 32, Seg.ss);
  const isKernel = b.and(mayReturn(b), isLegacy(b));
  b.fallBack(b.eqz(b.and(isKernel, mayRead(b, stack, 20))), whole, () => {
    const eip = b.top(32);
    const code = selectorOf(b, at(4));
    const flags = at(8);
    const isUser = b.let(b.eq(b.and(code, b.i32(3)), b.i32(3)));
    const toUser = b.and(isUser, keepsDataSegments(b));
    const toKernel = b.eqz(b.and(code, b.i32(3)));
    const usual = b.and(b.or(toUser, toKernel), inGdt(b, code));
    b.fallBack(b.eqz(b.and(usual, isUntraced(b, flags))), whole, () => {
      const fits = b.variable(
        isDescriptor(b, b.load(b.wrap(inTable(b, code)), 64), KernelDescriptor.code32, isUser),
      );
      const esp = b.variable(b.add(stack, b.i32(12)));
      const data = b.variable(b.i32(0));
      b.if(isUser, () => {
        b.assign(esp, at(12));
        b.assign(data, b.and(at(16), b.i32(0xffff)));
        const isUsers = b.and(b.eq(b.and(data, b.i32(3)), b.i32(3)), inGdt(b, data));
        b.assign(fits, b.and(fits, isUsers));
        b.if(fits, () => {
          const words = b.load(b.wrap(inTable(b, data)), 64);
          b.assign(fits, isDescriptor(b, words, KernelDescriptor.stack, isUser));
        });
      });
      b.fallBack(b.eqz(fits), whole, () => {
        b.setField(State.rip, 8, b.extendU(eip));
        b.setGpr(Reg.sp, 32, esp);
        restoreFlags(b, flags);
        b.if(
          isUser,
          () => leaveTo(b, code, CODE_32, data),
          () => setFlat(b, Seg.cs, code, CODE_32),
        );
      });
    });
  });
}

/** Whether a frame is in one page, and to be read before anything else is wrong: no nested task. */
function mayRead(b: Builder, address: Node, bytes: number): Node {
  const isNested = b.and(b.field(State.eflags, 4), b.i32(EFLAGS.NT));
  return b.and(b.eqz(isNested), b.leU(b.and(address, b.i32(PAGE - 1)), b.i32(PAGE - bytes)));
}

const selectorOf = (b: Builder, word: Node): Node => b.let(b.and(b.wrap(word), b.i32(0xffff)));

/** Whether neither the old nor the new flags trace, check alignment, or are of another task or mode, and RF makes no difference. */
function isUntraced(b: Builder, flags: Node): Node {
  const special = b.i32(EFLAGS.TF | EFLAGS.NT | EFLAGS.AC | (b.mode === 'long' ? 0 : EFLAGS.VM));
  const breakpoints = b.and(b.field(State.dr + 8 * 5, 4), b.i32(0xff));
  return b.eqz(b.or(b.and(b.or(flags, b.field(State.eflags, 4)), special), breakpoints));
}

function restoreFlags(b: Builder, flags: Node): void {
  b.setField(State.nmiMasked, 4, b.i32(0));
  setAllFlags(b, b.let(b.and(flags, b.i32(~(EFLAGS.RF | EFLAGS.VM)))));
}

/** Whether ES, DS, FS and GS are null or of DPL 3, so that nothing is to be taken from the outer privilege. */
function keepsDataSegments(b: Builder): Node {
  const segments = [Seg.es, Seg.ds, Seg.fs, Seg.gs];
  return segments
    .map((segment) => {
      const attributes = b.field(State.segAttributes + 4 * segment, 4);
      const isUser = b.eq(b.and(attributes, b.i32(0x60 | UNUSABLE)), b.i32(0x60));
      const isNull = b.eqz(b.field(State.segSelector + 4 * segment, 4));
      return b.or(isUser, b.and(isNull, b.shrU(attributes, b.i32(16))));
    })
    .reduce((all, one) => b.and(all, one));
}

/** Linear address of a selector's descriptor in the GDT. */
export function inTable(b: Builder, selector: Node): Node {
  const offset = b.extendU(b.and(selector, b.i32(0xfff8)));
  return b.let(b.add(b.field(State.segBase + 8 * Seg.gdtr, 8), offset));
}

/** Whether these are a descriptor's words. @param isUser - whether with DPL 3 */
export function isDescriptor(b: Builder, words: Node, [low, high]: Descriptor, isUser = b.i32(0)): Node {
  const dpl = b.select(isUser, b.const(64, 0, USER), b.const(64, 0));
  return b.eq(words, b.or(b.const(64, low, high), dpl));
}

/** SS as it is without a stack segment at CPL 0 of 64-bit code. */
export function setNullStack(b: Builder): void {
  b.setField(State.segSelector + 4 * Seg.ss, 4, b.i32(0));
  b.setField(State.segBase + 8 * Seg.ss, 8, b.const(64, 0));
  b.setField(State.segLimit + 4 * Seg.ss, 4, b.i32(0));
  b.setField(State.segAttributes + 4 * Seg.ss, 4, b.i32(UNUSABLE));
}
