/**
 * Delivering interrupts and exceptions, and returning from them. SDM volume 3A, chapter 6; IRET in volume 2.
 */
import { FAULT, GuestFault, generalProtection, raise, SHUTDOWN, Vector } from '../fault.ts';
import { Seg, State } from '../layout.ts';
import { isCanonical, Mmu } from '../mmu.ts';
import {
  ARITHMETIC_FLAGS,
  type CpuContext,
  EFLAGS,
  EFLAGS_DEFINED,
  getEflags,
  iopl,
  isLong,
  isReal,
  isVirtual8086,
  setEflags,
} from './context.ts';
import {
  Attribute,
  checkCodeSize,
  Descriptor,
  is64BitCode,
  markDescriptor,
  readDescriptor,
  Stack,
  setNullSegment,
  setRealSegment,
  setSegment,
  setSegmentFrom,
} from './segments.ts';
import { switchTask } from './task.ts';

/** Where an interrupt comes from: decides about privilege checks and the EXT bit of error codes. */
export type InterruptSource = 'exception' | 'external' | 'software';

const code = new Descriptor();
const stackSegment = new Descriptor();

/** Vectors that add up to a double fault. SDM volume 3A, table 6-5. */
function isContributory(vector: number): boolean {
  return vector === Vector.DE || (vector >= Vector.TS && vector <= Vector.GP);
}

/**
 * Delivers an exception, and what goes wrong in doing so.
 * @throws SHUTDOWN on a triple fault
 */
export function deliverException(cpu: CpuContext, vector: number, errorCode: number): void {
  let current = vector;
  let error = errorCode;
  for (;;) {
    cpu.exceptionRaised(current, error);
    try {
      deliver(cpu, current, error, 'exception');
      return;
    } catch (fault) {
      if (!(fault instanceof GuestFault)) throw fault;
      if (current === Vector.DF) throw SHUTDOWN;
      const second = FAULT.vector;
      const double =
        (isContributory(current) && isContributory(second)) ||
        (current === Vector.PF && (isContributory(second) || second === Vector.PF));
      current = double ? Vector.DF : second;
      error = double ? 0 : FAULT.errorCode;
    }
  }
}

/** Exceptions that are faults: what they push has RF set, so that no breakpoint stops the instruction again. */
const FAULTS: ReadonlySet<number> = new Set([
  ...[Vector.DE, Vector.BR, Vector.UD, Vector.NM, Vector.TS, Vector.NP],
  ...[Vector.SS, Vector.GP, Vector.PF, Vector.MF, Vector.AC, Vector.XM],
]);

/** What an interrupt or exception pushes besides EFLAGS. SDM volume 3B, 18.3.1.1. */
export function resumeFlag(vector: number, source: InterruptSource): number {
  return source === 'exception' && FAULTS.has(vector) ? EFLAGS.RF : 0;
}

/** Goes through the IDT. RIP is where the handler will return to. @throws FAULT */
export function deliver(cpu: CpuContext, vector: number, errorCode: number, source: InterruptSource): void {
  const { memory } = cpu;
  if (isReal(memory)) deliverReal(cpu, vector);
  else if (isLong(memory)) deliverLong(cpu, vector, errorCode, source);
  else deliverProtected(cpu, vector, errorCode, source);
  memory.set(State.halted, 0);
  // TF has been saved and cleared before the instruction was over.
  if (source === 'software') cpu.inhibitTrap();
  cpu.updateMode();
  cpu.interruptsChanged();
}

/** SDM volume 3B, 20.1.4. */
function deliverReal(cpu: CpuContext, vector: number): void {
  const { memory, mmu } = cpu;
  const at = memory.get(State.segBase + 8 * Seg.idtr) + vector * 4;
  if (vector * 4 + 3 > memory.u32[(State.segLimit >> 2) + Seg.idtr]!) raise(Vector.GP, -1);
  const ip = mmu.readSystem16(at, 0);
  const cs = mmu.readSystem16(at + 2, 0);
  const stack = Stack.current(cpu);
  stack.push(16, getEflags(memory));
  stack.push(16, memory.get(State.segSelector + 4 * Seg.cs));
  stack.push(16, memory.get(State.rip));
  stack.commit();
  memory.set(State.eflags, memory.get(State.eflags) & ~(EFLAGS.IF | EFLAGS.TF | EFLAGS.AC | EFLAGS.RF));
  setRealSegment(memory, Seg.cs, cs, false);
  memory.set64(State.rip, ip, 0);
}

function external(source: InterruptSource): number {
  return source === 'software' ? 0 : 1;
}

function deliverProtected(cpu: CpuContext, vector: number, errorCode: number, source: InterruptSource): void {
  const { memory, mmu } = cpu;
  const ext = external(source);
  const inIdt = vector * 8 + 2 + ext;
  if (vector * 8 + 7 > memory.u32[(State.segLimit >> 2) + Seg.idtr]!) generalProtection(inIdt);
  const at = (memory.get(State.segBase + 8 * Seg.idtr) + vector * 8) | 0;
  const low = mmu.readSystem32(at, 0);
  const high = mmu.readSystem32(at + 4, 0);
  const type = (high >>> 8) & 0x1f;
  const cpl = memory.get(State.cpl);
  if (type !== 5 && type !== 6 && type !== 7 && type !== 14 && type !== 15) generalProtection(inIdt);
  if (source === 'software' && ((high >>> 13) & 3) < cpl) generalProtection(inIdt);
  if ((high & 0x8000) === 0) raise(Vector.NP, inIdt);
  if (type === 5) {
    switchTask(cpu, low >>> 16, 'call', ext);
    if (errorCode >= 0) {
      const stack = Stack.current(cpu);
      stack.push(memory.get(State.segAttributes + 4 * Seg.tr) & 8 ? 32 : 16, errorCode);
      stack.commit();
    }
    return;
  }
  const size = type >= 14 ? 32 : 16;
  const selector = low >>> 16;
  const target = size === 32 ? (low & 0xffff) | (high & 0xffff_0000) : low & 0xffff;
  const c = code;
  if ((selector & 0xfffc) === 0) generalProtection(ext);
  if (!readDescriptor(cpu, selector, c)) generalProtection((selector & 0xfffc) + ext);
  if (!c.isCode || c.dpl > cpl) generalProtection((selector & 0xfffc) + ext);
  if (!c.present) raise(Vector.NP, (selector & 0xfffc) + ext);
  if (target >>> 0 > c.limit) generalProtection(ext);
  const eflags = getEflags(memory) | resumeFlag(vector, source);
  const wasVirtual = isVirtual8086(memory);
  let stack: Stack;
  let newCpl = cpl;
  if (!c.isConforming && c.dpl < cpl) {
    newCpl = c.dpl;
    if (wasVirtual && newCpl !== 0) generalProtection((selector & 0xfffc) + ext);
    const [ss, esp] = innerStack(cpu, newCpl, ext);
    const s = stackSegment;
    checkStackSegment(cpu, ss, newCpl, ext, s);
    stack = new Stack(cpu, false, Mmu.SUPERVISOR);
    stack.setSegment(esp, s, (ss & 0xfffc) + ext);
    if (wasVirtual) {
      for (const segment of [Seg.gs, Seg.fs, Seg.ds, Seg.es])
        stack.push(size, memory.get(State.segSelector + 4 * segment));
    }
    stack.push(size, memory.get(State.segSelector + 4 * Seg.ss));
    stack.push(size, memory.reg(4));
    pushFrame(cpu, stack, size, eflags, errorCode);
    if (wasVirtual)
      for (const segment of [Seg.gs, Seg.fs, Seg.ds, Seg.es]) setNullSegment(memory, segment, 0);
    setSegmentFrom(memory, Seg.ss, (ss & 0xfffc) | newCpl, s);
  } else {
    if (wasVirtual) generalProtection((selector & 0xfffc) + ext);
    stack = Stack.current(cpu);
    pushFrame(cpu, stack, size, eflags, errorCode);
  }
  if (c.isConforming) newCpl = cpl;
  stack.commit();
  markDescriptor(cpu, c, Attribute.accessed);
  setSegmentFrom(memory, Seg.cs, (selector & 0xfffc) | newCpl, c);
  memory.set(State.cpl, newCpl);
  const cleared = EFLAGS.TF | EFLAGS.NT | EFLAGS.RF | EFLAGS.VM | ((type & 1) === 0 ? EFLAGS.IF : 0);
  memory.set(State.eflags, memory.get(State.eflags) & ~cleared);
  memory.set64(State.rip, target, 0);
}

function pushFrame(cpu: CpuContext, stack: Stack, size: number, eflags: number, errorCode: number): void {
  const { memory } = cpu;
  stack.push(size, eflags);
  stack.push(size, memory.get(State.segSelector + 4 * Seg.cs));
  stack.push(size, memory.get(State.rip));
  if (errorCode >= 0) stack.push(size, errorCode);
}

/** SS and ESP of an inner privilege from the TSS. SDM volume 3A, 7.2.1. */
export function innerStack(cpu: CpuContext, cpl: number, ext: number): [number, number] {
  const { memory, mmu } = cpu;
  const tss = memory.get(State.segBase + 8 * Seg.tr);
  const limit = memory.u32[(State.segLimit >> 2) + Seg.tr]!;
  const is32 = (memory.get(State.segAttributes + 4 * Seg.tr) & 8) !== 0;
  const at = is32 ? 4 + cpl * 8 : 2 + cpl * 4;
  if (at + (is32 ? 5 : 3) > limit)
    raise(Vector.TS, (memory.get(State.segSelector + 4 * Seg.tr) & 0xfffc) + ext);
  const esp = is32 ? mmu.readSystem32(tss + at, 0) : mmu.readSystem16(tss + at, 0);
  const ss = mmu.readSystem16(tss + at + (is32 ? 4 : 2), 0);
  return [ss, esp];
}

/** A stack segment for another privilege. @throws FAULT: #TS, #SS */
export function checkStackSegment(
  cpu: CpuContext,
  ss: number,
  cpl: number,
  ext: number,
  into: Descriptor,
): void {
  const selector = ss & 0xfffc;
  if (selector === 0) raise(Vector.TS, ext);
  if (!readDescriptor(cpu, ss, into)) raise(Vector.TS, selector + ext);
  if (
    (ss & 3) !== cpl ||
    into.dpl !== cpl ||
    into.isSystem ||
    into.isCode ||
    !(into.attributes & Attribute.writable)
  ) {
    raise(Vector.TS, selector + ext);
  }
  if (!into.present) raise(Vector.SS, selector + ext);
  markDescriptor(cpu, into, Attribute.accessed);
}

/** SDM volume 3A, 6.14. */
function deliverLong(cpu: CpuContext, vector: number, errorCode: number, source: InterruptSource): void {
  const { memory, mmu } = cpu;
  const ext = external(source);
  const inIdt = vector * 8 + 2 + ext;
  if (vector * 16 + 15 > memory.u32[(State.segLimit >> 2) + Seg.idtr]!) generalProtection(inIdt);
  const sum = memory.u32[(State.segBase + 8 * Seg.idtr) >> 2]! + vector * 16;
  const at = sum | 0;
  const atHigh = (memory.get(State.segBase + 8 * Seg.idtr + 4) + (sum > 0xffff_ffff ? 1 : 0)) | 0;
  const low = mmu.readSystem32(at, atHigh);
  const high = mmu.readSystem32(at + 4, atHigh);
  const upper = mmu.readSystem32(at + 8, atHigh);
  const type = (high >>> 8) & 0x1f;
  const cpl = memory.get(State.cpl);
  if (type !== 14 && type !== 15) generalProtection(inIdt);
  if (source === 'software' && ((high >>> 13) & 3) < cpl) generalProtection(inIdt);
  if ((high & 0x8000) === 0) raise(Vector.NP, inIdt);
  const selector = low >>> 16;
  const c = code;
  if ((selector & 0xfffc) === 0) generalProtection(ext);
  if (!readDescriptor(cpu, selector, c)) generalProtection((selector & 0xfffc) + ext);
  if (!c.isCode || c.dpl > cpl || (c.attributes & (Attribute.l | Attribute.db)) !== Attribute.l) {
    generalProtection((selector & 0xfffc) + ext);
  }
  if (!c.present) raise(Vector.NP, (selector & 0xfffc) + ext);
  if (!isCanonical(upper)) generalProtection(ext);
  const newCpl = c.isConforming ? cpl : c.dpl;
  const istIndex = high & 7;
  const stack = new Stack(cpu, true, newCpl === 3 ? Mmu.USER : Mmu.SUPERVISOR);
  let spLow: number;
  let spHigh: number;
  if (istIndex !== 0 || newCpl < cpl) {
    const offset = istIndex !== 0 ? 0x24 + (istIndex - 1) * 8 : 4 + newCpl * 8;
    if (offset + 7 > memory.u32[(State.segLimit >> 2) + Seg.tr]!) {
      raise(Vector.TS, (memory.get(State.segSelector + 4 * Seg.tr) & 0xfffc) + ext);
    }
    const tss = memory.u32[(State.segBase + 8 * Seg.tr) >> 2]! + offset;
    const tssHigh = (memory.get(State.segBase + 8 * Seg.tr + 4) + (tss > 0xffff_ffff ? 1 : 0)) | 0;
    spLow = mmu.readSystem32(tss | 0, tssHigh);
    spHigh = mmu.readSystem32((tss + 4) | 0, tssHigh);
  } else {
    spLow = memory.reg(4);
    spHigh = memory.get(State.gpr + 8 * 4 + 4);
  }
  stack.set(spLow & ~15, spHigh, 0, -1);
  stack.push(64, memory.get(State.segSelector + 4 * Seg.ss));
  // Only ESP of other code is its own.
  stack.push(64, memory.reg(4), is64BitCode(memory) ? memory.get(State.gpr + 8 * 4 + 4) : 0);
  stack.push(64, getEflags(memory) | resumeFlag(vector, source));
  stack.push(64, memory.get(State.segSelector + 4 * Seg.cs));
  stack.push(64, memory.get(State.rip), memory.get(State.rip + 4));
  if (errorCode >= 0) stack.push(64, errorCode);
  stack.commit();
  if (newCpl < cpl) {
    setNullSegment(memory, Seg.ss, newCpl);
    memory.set(State.segAttributes + 4 * Seg.ss, Attribute.unusable | (newCpl << 5));
  }
  markDescriptor(cpu, c, Attribute.accessed);
  setSegmentFrom(memory, Seg.cs, (selector & 0xfffc) | newCpl, c);
  memory.set(State.cpl, newCpl);
  const cleared = EFLAGS.TF | EFLAGS.NT | EFLAGS.RF | EFLAGS.VM | ((type & 1) === 0 ? EFLAGS.IF : 0);
  memory.set(State.eflags, memory.get(State.eflags) & ~cleared);
  memory.set64(State.rip, (low & 0xffff) | (high & 0xffff_0000), upper);
}

// Returning

/** Flags that POPF and IRET may change, but VIF and VIP, at a privilege. */
export function writableFlags(memory: CpuContext['memory'], cpl: number, size: number): number {
  let mask = ARITHMETIC_FLAGS | EFLAGS.TF | EFLAGS.DF | EFLAGS.NT | EFLAGS.AC | EFLAGS.ID;
  if (cpl <= iopl(memory)) mask |= EFLAGS.IF;
  if (cpl === 0) mask |= EFLAGS.IOPL;
  return size === 16 ? mask & 0xffff : mask;
}

/** IRET. @param size - operand size */
export function interruptReturn(cpu: CpuContext, size: number): void {
  const { memory } = cpu;
  if (isReal(memory) || isVirtual8086(memory)) returnReal(cpu, size);
  else if (memory.get(State.eflags) & EFLAGS.NT) {
    if (isLong(memory)) generalProtection();
    const previous = cpu.mmu.readSystem16(memory.get(State.segBase + 8 * Seg.tr), 0);
    switchTask(cpu, previous, 'iret', 0);
  } else returnProtected(cpu, size);
  memory.set(State.nmiMasked, 0);
  cpu.updateMode();
  cpu.settleResumeFlag();
  cpu.interruptsChanged();
  // Traps come after the next instruction.
  if (memory.get(State.eflags) & EFLAGS.TF) cpu.leaveSoon();
}

function returnReal(cpu: CpuContext, size: number): void {
  const { memory } = cpu;
  const virtual = isVirtual8086(memory);
  if (virtual && iopl(memory) < 3) generalProtection();
  const stack = Stack.current(cpu);
  const ip = stack.pop(size);
  const cs = stack.pop(size) & 0xffff;
  const flags = stack.pop(size);
  if (ip >>> 0 > 0xffff) generalProtection();
  stack.commit();
  setRealSegment(memory, Seg.cs, cs, virtual);
  memory.set64(State.rip, ip, 0);
  const mask = virtual ? writableFlags(memory, 3, size) & ~EFLAGS.IOPL : writableFlags(memory, 0, size);
  setEflags(memory, (getEflags(memory) & ~mask & ~EFLAGS.RF) | (flags & mask));
}

function returnProtected(cpu: CpuContext, size: number): void {
  const { memory } = cpu;
  const cpl = memory.get(State.cpl);
  const from64 = is64BitCode(memory);
  const stack = Stack.current(cpu);
  const ipLow = stack.pop(size);
  const ipHigh = stack.popHigh;
  const cs = stack.pop(size) & 0xffff;
  const flags = stack.pop(size);
  if (flags & EFLAGS.VM && size === 32 && cpl === 0 && !isLong(memory)) {
    const esp = stack.pop(32);
    const selectors = [Seg.ss, Seg.es, Seg.ds, Seg.fs, Seg.gs].map(
      (segment) => [segment, stack.pop(32) & 0xffff] as const,
    );
    if (ipLow >>> 0 > 0xffff) generalProtection();
    setEflags(memory, flags & EFLAGS_DEFINED);
    setRealSegment(memory, Seg.cs, cs, true);
    for (const [segment, selector] of selectors) setRealSegment(memory, segment, selector, true);
    memory.setReg32(4, esp);
    memory.set64(State.rip, ipLow, 0);
    memory.set(State.cpl, 3);
    return;
  }
  const c = code;
  const rpl = cs & 3;
  const selector = cs & 0xfffc;
  const hasStack = rpl !== cpl || from64;
  let spLow = 0;
  let spHigh = 0;
  let ss = 0;
  // As processors do, whatever CS is.
  if (hasStack) {
    spLow = stack.pop(size);
    spHigh = stack.popHigh;
    ss = stack.pop(size) & 0xffff;
  }
  if (selector === 0) generalProtection();
  if (!readDescriptor(cpu, cs, c)) generalProtection(selector);
  if (!c.isCode || rpl < cpl || (c.isConforming ? c.dpl > rpl : c.dpl !== rpl)) generalProtection(selector);
  checkCodeSize(cpu, c, selector);
  if (!c.present) raise(Vector.NP, selector);
  const to64 = isLong(memory) && (c.attributes & Attribute.l) !== 0;
  if (to64 ? !isCanonical(ipHigh) : ipLow >>> 0 > c.limit) generalProtection();
  if (hasStack) {
    const s = stackSegment;
    if ((ss & 0xfffc) === 0) {
      if (!(to64 && rpl !== 3)) generalProtection();
      setNullSegment(memory, Seg.ss, ss);
      memory.set(State.segAttributes + 4 * Seg.ss, Attribute.unusable | (rpl << 5));
    } else {
      if (!readDescriptor(cpu, ss, s)) generalProtection(ss & 0xfffc);
      if (
        (ss & 3) !== rpl ||
        s.dpl !== rpl ||
        s.isSystem ||
        s.isCode ||
        !(s.attributes & Attribute.writable)
      ) {
        generalProtection(ss & 0xfffc);
      }
      if (!s.present) raise(Vector.SS, ss & 0xfffc);
      markDescriptor(cpu, s, Attribute.accessed);
      setSegmentFrom(memory, Seg.ss, ss, s);
    }
    if (size === 64) memory.setReg64(4, spLow, spHigh);
    else if (memory.get(State.segAttributes + 4 * Seg.ss) & Attribute.db || to64) memory.setReg32(4, spLow);
    else memory.setReg16(4, spLow);
  } else stack.commit();
  let mask = writableFlags(memory, cpl, size);
  if (size !== 16) mask |= EFLAGS.RF | (cpl === 0 ? EFLAGS.VIF | EFLAGS.VIP : 0);
  setEflags(memory, (getEflags(memory) & ~mask) | (flags & mask));
  markDescriptor(cpu, c, Attribute.accessed);
  setSegmentFrom(memory, Seg.cs, cs, c);
  memory.set64(State.rip, size === 16 ? ipLow & 0xffff : ipLow, to64 ? ipHigh : 0);
  memory.set(State.cpl, rpl);
  if (rpl > cpl) dropSegments(cpu, rpl);
}

/** Data segments that the outer privilege has no right to become null. */
export function dropSegments(cpu: CpuContext, cpl: number): void {
  const { memory } = cpu;
  for (const segment of [Seg.es, Seg.ds, Seg.fs, Seg.gs]) {
    const attributes = memory.get(State.segAttributes + 4 * segment);
    if (attributes & Attribute.unusable) {
      memory.set(State.segSelector + 4 * segment, 0);
      continue;
    }
    const conforming =
      (attributes & (Attribute.code | Attribute.conforming)) === (Attribute.code | Attribute.conforming);
    if (!conforming && ((attributes >> 5) & 3) < cpl)
      setSegment(memory, segment, 0, 0, 0, 0, Attribute.unusable);
  }
}
