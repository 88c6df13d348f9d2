/**
 * The fast system calls, where they are what kernels use them for: SYSCALL and SYSRET between 64-bit code and 64-bit
 * code, SYSENTER and SYSEXIT between flat segments. Of the mode only the privilege changes then, and a few words of state
 * are all there is to set. Everything else is left to the helpers, which tell the same in full.
 * SDM volume 2: SYSCALL, SYSRET, SYSENTER, SYSEXIT.
 */
import { type Builder, Reg } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { ModeBit, Seg, State, TLB } from '../layout.ts';
import { ARITHMETIC_FLAGS, EFER, EFLAGS, EFLAGS_DEFINED } from '../system/context.ts';
import { Helper } from './helpers.ts';
import type { Meaning } from './table.ts';

/** Attributes of the segments that these instructions load: flat ones, whatever the tables say. */
export const CODE_64 = 0xa09b;
export const CODE_32 = 0xc09b;
export const STACK = 0xc093;

export const syscall: Meaning = (b) => {
  if (b.mode !== 'long') return b.exit(Helper.syscall, b.size);
  const traced = b.and(b.field(State.eflags, 4), b.i32(EFLAGS.TF));
  b.fallBack(
    b.or(b.eqz(b.and(b.field(State.efer, 4), b.i32(EFER.SCE))), traced),
    () => b.helper(Helper.syscall, b.size),
    () => {
      const flags = b.let(allFlags(b, ~(EFLAGS.RF | EFLAGS.VM)));
      const selector = b.and(b.field(State.star + 4, 4), b.i32(0xfffc));
      b.setGpr(Reg.cx, 64, b.nextRip());
      b.setGpr(11, 64, b.extendU(flags));
      b.setField(State.rip, 8, b.field(State.lstar, 8));
      setAllFlags(b, b.let(b.and(flags, b.not(b.field(State.sfmask, 4)))));
      enter(b, selector, CODE_64);
    },
  );
  b.leave();
};

export const sysret: Meaning = (b) => {
  if (b.mode !== 'long' || b.size !== 64) return b.exit(Helper.sysret, b.size);
  const flags = b.let(b.wrap(b.gpr(11, 64)));
  const canonical = isCanonical(b, b.gpr(Reg.cx, 64));
  const enabled = b.ne(b.and(b.field(State.efer, 4), b.i32(EFER.SCE)), b.i32(0));
  const special = b.i32(EFLAGS.TF | EFLAGS.AC);
  const untraced = b.eqz(b.and(b.or(flags, b.field(State.eflags, 4)), special));
  b.fallBack(
    b.eqz(b.and(b.and(mayReturn(b), canonical), b.and(enabled, untraced))),
    () => b.helper(Helper.sysret, b.size),
    () => {
      b.setField(State.rip, 8, b.gpr(Reg.cx, 64));
      setAllFlags(b, b.let(b.and(flags, b.i32(~(EFLAGS.RF | EFLAGS.VM)))));
      const base = b.let(b.shrU(b.field(State.star + 4, 4), b.i32(16)));
      leaveTo(b, b.add(base, b.i32(16)), CODE_64, b.add(base, b.i32(8)));
    },
  );
  b.leave();
};

export const sysenter: Meaning = (b) => {
  if (b.mode !== 'flat') return b.exit(Helper.sysenter, b.size);
  const selector = b.let(b.and(b.field(State.sysenterCs, 4), b.i32(0xfffc)));
  b.fallBack(
    b.eqz(b.and(isLegacy(b), b.ne(selector, b.i32(0)))),
    () => b.helper(Helper.sysenter, b.size),
    () => {
      b.setField(
        State.eflags,
        4,
        b.and(b.field(State.eflags, 4), b.i32(~(EFLAGS.VM | EFLAGS.IF | EFLAGS.RF))),
      );
      b.setField(State.rip, 8, b.extendU(b.field(State.sysenterEip, 4)));
      b.setGpr(Reg.sp, 32, b.field(State.sysenterEsp, 4));
      enter(b, selector, CODE_32);
    },
  );
  b.leave();
};

export const sysexit: Meaning = (b) => {
  if (b.mode !== 'flat') return b.exit(Helper.sysexit, b.size);
  const selector = b.let(b.and(b.field(State.sysenterCs, 4), b.i32(0xfffc)));
  const aligned = b.eqz(b.and(b.field(State.eflags, 4), b.i32(EFLAGS.AC)));
  b.fallBack(
    b.eqz(b.and(b.and(isLegacy(b), mayReturn(b)), b.and(aligned, b.ne(selector, b.i32(0))))),
    () => b.helper(Helper.sysexit, b.size),
    () => {
      b.setField(State.rip, 8, b.extendU(b.gpr(Reg.dx, 32)));
      b.setGpr(Reg.sp, 32, b.gpr(Reg.cx, 32));
      leaveTo(b, b.add(selector, b.i32(16)), CODE_32, b.add(selector, b.i32(24)));
    },
  );
  b.leave();
};

/** Whether it isn't compatibility mode. */
export function isLegacy(b: Builder): Node {
  return b.eqz(b.and(b.field(State.mode, 4), b.i32(ModeBit.longActive)));
}

/** Whether an address is one of 48 bits, sign-extended. */
export function isCanonical(b: Builder, address: Node): Node {
  // All bits from the 47th on are alike: these become 0 or 1.
  const upper = b.shrU(b.add(b.shrU(address, b.const(64, 47)), b.const(64, 1)), b.const(64, 1));
  return b.or(b.eqz(upper), b.eq(upper, b.const(64, 0x1_0000)));
}

/** Whether CPL is 0, and nobody waits to interrupt what comes next. */
export function mayReturn(b: Builder): Node {
  return b.and(b.eqz(b.field(State.cpl, 4)), b.eqz(b.field(State.attention, 4)));
}

function allFlags(b: Builder, mask: number): Node {
  return b.and(b.or(b.or(b.field(State.eflags, 4), b.flagBits()), b.i32(2)), b.i32(mask));
}

export function setAllFlags(b: Builder, flags: Node): void {
  b.setField(State.eflags, 4, b.and(flags, b.i32(EFLAGS_DEFINED & ~ARITHMETIC_FLAGS)));
  b.setFlagBits(b.and(flags, b.i32(ARITHMETIC_FLAGS)));
}

/** To CPL 0. */
function enter(b: Builder, selector: Node, code: number): void {
  setPrivilege(b, 0, selector, code, b.and(b.add(selector, b.i32(8)), b.i32(0xffff)));
}

/** To CPL 3. */
export function leaveTo(b: Builder, cs: Node, code: number, ss: Node): void {
  const rpl = (selector: Node): Node => b.and(b.or(selector, b.i32(3)), b.i32(0xffff));
  setPrivilege(b, 3, rpl(cs), code, rpl(ss));
}

/** Loads CS and SS, and what follows from them (see Cpu.updateMode). */
function setPrivilege(b: Builder, cpl: 0 | 3, cs: Node, code: number, ss: Node): void {
  setFlat(b, Seg.cs, cs, code | (cpl << 5));
  setFlat(b, Seg.ss, ss, STACK | (cpl << 5));
  setCpl(b, cpl);
}

/** Loads a segment of all of memory. */
export function setFlat(b: Builder, segment: number, selector: Node, attributes: number): void {
  b.setField(State.segSelector + 4 * segment, 4, selector);
  b.setField(State.segBase + 8 * segment, 8, b.const(64, 0));
  b.setField(State.segLimit + 4 * segment, 4, b.i32(-1));
  b.setField(State.segAttributes + 4 * segment, 4, b.i32(attributes));
}

/** Sets CPL, and what follows from it. */
export function setCpl(b: Builder, cpl: 0 | 3): void {
  b.setField(State.cpl, 4, b.i32(cpl));
  b.setField(State.tlb, 4, b.i32(cpl === 3 ? TLB.user : TLB.supervisor));
  const old = b.field(State.mode, 4);
  setMode(b, cpl === 3 ? b.or(old, b.i32(ModeBit.user)) : b.and(old, b.i32(~ModeBit.user)));
}

/** Sets State.mode, and what makes addresses different for each mode. The block is to end. */
export function setMode(b: Builder, value: Node): void {
  const mode = b.let(value);
  b.setField(State.mode, 4, mode);
  b.setField(State.modeTag + 4, 4, b.shl(b.add(mode, b.i32(1)), b.i32(16)));
}
