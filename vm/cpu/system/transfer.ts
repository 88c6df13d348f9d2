/**
 * Far jumps, calls and returns, and the fast system calls. SDM volume 2: CALL, JMP, RET, SYSCALL, SYSRET,
 * SYSENTER, SYSEXIT; volume 3A, 5.8.
 */
import { generalProtection, raise, Vector } from '../fault.ts';
import { Seg, State } from '../layout.ts';
import { isCanonical, Mmu } from '../mmu.ts';
import {
  type CpuContext,
  CR0,
  DebugStatus,
  EFER,
  EFLAGS,
  getEflags,
  isLong,
  isReal,
  isVirtual8086,
  setEflags,
} from './context.ts';
import { checkStackSegment, dropSegments, innerStack } from './interrupts.ts';
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

const target = new Descriptor();
const gateCode = new Descriptor();
const stackSegment = new Descriptor();

/** JMP and CALL to selector:offset. State.rip is the next instruction. */
export function farTransfer(
  cpu: CpuContext,
  how: 'jump' | 'call',
  size: number,
  selector: number,
  offsetLow: number,
  offsetHigh: number,
): void {
  const { memory } = cpu;
  if (isReal(memory) || isVirtual8086(memory)) {
    checkOffset(memory.u32[(State.segLimit >> 2) + Seg.cs]!, size, offsetLow);
    if (how === 'call') pushReturn(cpu, size, false);
    setRealSegment(memory, Seg.cs, selector, isVirtual8086(memory));
    memory.set64(State.rip, size === 16 ? offsetLow & 0xffff : offsetLow, 0);
    cpu.updateMode();
    return;
  }
  const code = selector & 0xfffc;
  const d = target;
  if (code === 0) generalProtection();
  if (!readDescriptor(cpu, selector, d)) generalProtection(code);
  if (d.isSystem) {
    throughSystemDescriptor(cpu, how, selector, d);
    cpu.updateMode();
    return;
  }
  const cpl = memory.get(State.cpl);
  const rpl = selector & 3;
  if (!d.isCode || (d.isConforming ? d.dpl > cpl : rpl > cpl || d.dpl !== cpl)) generalProtection(code);
  checkCodeSize(cpu, d, code);
  if (!d.present) raise(Vector.NP, code);
  const to64 = isLong(memory) && (d.attributes & Attribute.l) !== 0;
  if (!to64) checkOffset(d.limit, size, offsetLow);
  if (how === 'call') pushReturn(cpu, size, to64);
  markDescriptor(cpu, d, Attribute.accessed);
  setSegmentFrom(memory, Seg.cs, code | cpl, d);
  memory.set64(State.rip, size === 16 ? offsetLow & 0xffff : offsetLow, to64 ? offsetHigh : 0);
  cpu.updateMode();
}

/** @throws FAULT: #GP for a target beyond the code segment */
function checkOffset(limit: number, size: number, offset: number): void {
  if ((size === 16 ? offset & 0xffff : offset >>> 0) > limit) generalProtection();
}

/** @param to64 - whether the call goes to 64-bit code: the stack is the new code's already */
function pushReturn(cpu: CpuContext, size: number, to64: boolean): void {
  const { memory } = cpu;
  const stack = Stack.current(cpu, to64);
  stack.push(size, memory.get(State.segSelector + 4 * Seg.cs));
  stack.push(size, memory.get(State.rip), memory.get(State.rip + 4));
  stack.commit();
}

/** Call gates, task gates and TSSs. */
function throughSystemDescriptor(
  cpu: CpuContext,
  how: 'jump' | 'call',
  selector: number,
  d: Descriptor,
): void {
  const { memory } = cpu;
  const code = selector & 0xfffc;
  const cpl = memory.get(State.cpl);
  const long = isLong(memory);
  if (d.dpl < cpl || d.dpl < (selector & 3)) generalProtection(code);
  const { type } = d;
  if (!long && (type === 5 || type === 1 || type === 9)) {
    if (!d.present) raise(Vector.NP, code);
    switchTask(cpu, type === 5 ? d.low >>> 16 : selector, how, 0);
    return;
  }
  if (type !== 12 && !(type === 4 && !long)) generalProtection(code);
  if (!d.present) raise(Vector.NP, code);
  const size = long ? 64 : type === 12 ? 32 : 16;
  const gate = d.low >>> 16;
  const offsetLow = size === 16 ? d.low & 0xffff : (d.low & 0xffff) | (d.high & 0xffff_0000);
  let offsetHigh = 0;
  if (long) {
    if (!readDescriptor(cpu, selector, d, true)) generalProtection(code);
    offsetHigh = d.baseHigh;
  }
  const parameters = long ? 0 : d.high & 31;
  const c = gateCode;
  const gateError = gate & 0xfffc;
  if (gateError === 0) generalProtection();
  if (!readDescriptor(cpu, gate, c)) generalProtection(gateError);
  if (!c.isCode || c.dpl > cpl || (long && !(c.attributes & Attribute.l))) generalProtection(gateError);
  checkCodeSize(cpu, c, gateError);
  if (!c.present) raise(Vector.NP, gateError);
  if (long ? !isCanonical(offsetHigh) : offsetLow >>> 0 > c.limit) generalProtection();
  let newCpl = cpl;
  if (how === 'call' && !c.isConforming && c.dpl < cpl) {
    newCpl = c.dpl;
    const old = Stack.current(cpu);
    const values = Array.from({ length: parameters }, () => old.pop(size));
    const stack = new Stack(cpu, long, newCpl === 3 ? Mmu.USER : Mmu.SUPERVISOR);
    const oldSs = memory.get(State.segSelector + 4 * Seg.ss);
    const oldLow = memory.reg(4);
    const oldHigh = memory.get(State.gpr + 8 * 4 + 4);
    let ss = 0;
    if (long) {
      const tss = memory.u32[(State.segBase + 8 * Seg.tr) >> 2]! + 4 + newCpl * 8;
      const high = memory.get(State.segBase + 8 * Seg.tr + 4);
      stack.set(cpu.mmu.readSystem32(tss | 0, high), cpu.mmu.readSystem32((tss + 4) | 0, high), 0, -1);
      stack.push(64, oldSs);
      stack.push(64, oldLow, oldHigh);
    } else {
      const [selectorOfStack, esp] = innerStack(cpu, newCpl, 0);
      ss = selectorOfStack;
      checkStackSegment(cpu, ss, newCpl, 0, stackSegment);
      stack.setSegment(esp, stackSegment, ss & 0xfffc);
      stack.push(size, oldSs);
      stack.push(size, oldLow);
      for (const value of values.reverse()) stack.push(size, value);
    }
    stack.push(size, memory.get(State.segSelector + 4 * Seg.cs));
    stack.push(size, memory.get(State.rip), memory.get(State.rip + 4));
    if (long) {
      setNullSegment(memory, Seg.ss, newCpl);
      memory.set(State.segAttributes + 4 * Seg.ss, Attribute.unusable | (newCpl << 5));
    } else setSegmentFrom(memory, Seg.ss, (ss & 0xfffc) | newCpl, stackSegment);
    stack.commit();
  } else {
    if (!c.isConforming && c.dpl !== cpl) generalProtection(gateError);
    if (how === 'call') pushReturn(cpu, size, long);
  }
  markDescriptor(cpu, c, Attribute.accessed);
  setSegmentFrom(memory, Seg.cs, gateError | newCpl, c);
  memory.set(State.cpl, newCpl);
  memory.set64(State.rip, offsetLow, offsetHigh);
}

/** RET far. @param release - bytes of parameters to drop */
export function farReturn(cpu: CpuContext, size: number, release: number): void {
  const { memory } = cpu;
  const stack = Stack.current(cpu);
  const low = stack.pop(size);
  const high = stack.popHigh;
  const cs = stack.pop(size) & 0xffff;
  if (isReal(memory) || isVirtual8086(memory)) {
    checkOffset(memory.u32[(State.segLimit >> 2) + Seg.cs]!, size, low);
    stack.skip(release);
    stack.commit();
    setRealSegment(memory, Seg.cs, cs, isVirtual8086(memory));
    memory.set64(State.rip, low, 0);
    cpu.updateMode();
    return;
  }
  const cpl = memory.get(State.cpl);
  const rpl = cs & 3;
  const code = cs & 0xfffc;
  const c = target;
  let spLow = 0;
  let spHigh = 0;
  let ss = 0;
  // As processors do, whatever CS is.
  if (rpl !== cpl) {
    stack.skip(release);
    spLow = stack.pop(size);
    spHigh = stack.popHigh;
    ss = stack.pop(size) & 0xffff;
  }
  if (code === 0) generalProtection();
  if (!readDescriptor(cpu, cs, c)) generalProtection(code);
  if (!c.isCode || rpl < cpl || (c.isConforming ? c.dpl > rpl : c.dpl !== rpl)) generalProtection(code);
  checkCodeSize(cpu, c, code);
  if (!c.present) raise(Vector.NP, code);
  const to64 = isLong(memory) && (c.attributes & Attribute.l) !== 0;
  if (to64 ? !isCanonical(high) : low >>> 0 > c.limit) generalProtection();
  if (rpl > cpl) {
    if ((ss & 0xfffc) === 0) {
      if (!(to64 && rpl !== 3)) generalProtection();
      setNullSegment(memory, Seg.ss, ss);
    } else {
      const s = stackSegment;
      if (!readDescriptor(cpu, ss, s)) generalProtection(ss & 0xfffc);
      if ((ss & 3) !== rpl || s.dpl !== rpl || s.isSystem || s.isCode || !(s.attributes & Attribute.writable))
        generalProtection(ss & 0xfffc);
      if (!s.present) raise(Vector.SS, ss & 0xfffc);
      markDescriptor(cpu, s, Attribute.accessed);
      setSegmentFrom(memory, Seg.ss, ss, s);
    }
  } else stack.commit();
  markDescriptor(cpu, c, Attribute.accessed);
  setSegmentFrom(memory, Seg.cs, cs, c);
  memory.set64(State.rip, low, to64 ? high : 0);
  memory.set(State.cpl, rpl);
  if (rpl > cpl) dropSegments(cpu, rpl);
  cpu.updateMode();
  // Parameters are dropped from the new stack, by its size.
  const after = Stack.current(cpu);
  if (rpl > cpl) after.moveTo(spLow, spHigh);
  after.skip(release);
  after.commit();
}

/** Flat segments as the fast system calls load them, whatever the tables say. */
function flatCode(cpu: CpuContext, selector: number, cpl: number, long: boolean): void {
  setSegment(
    cpu.memory,
    Seg.cs,
    selector & 0xffff,
    0,
    0,
    -1,
    0x809b | (cpl << 5) | (long ? Attribute.l : Attribute.db),
  );
  cpu.memory.set(State.cpl, cpl);
}

function flatStack(cpu: CpuContext, selector: number, cpl: number): void {
  setSegment(cpu.memory, Seg.ss, selector & 0xffff, 0, 0, -1, 0xc093 | (cpl << 5));
}

/**
 * SYSCALL. State.rip is the next instruction. Outside 64-bit mode only AMD's processors have it: from
 * compatibility mode by CSTAR, and in protected mode by the low half of STAR.
 */
export function syscall(cpu: CpuContext): void {
  const { memory } = cpu;
  if (!(memory.get(State.efer) & EFER.SCE) || isReal(memory)) raise(Vector.UD);
  const flags = getEflags(memory) & ~EFLAGS.RF;
  const selector = memory.get(State.star + 4) & 0xfffc;
  const long = isLong(memory);
  memory.setReg64(1, memory.get(State.rip), memory.get(State.rip + 4));
  if (long) {
    memory.setReg64(11, flags, 0);
    const entry = is64BitCode(memory) ? State.lstar : State.cstar;
    memory.set64(State.rip, memory.get(entry), memory.get(entry + 4));
    setEflags(memory, flags & ~memory.get(State.sfmask));
  } else {
    memory.set64(State.rip, memory.get(State.star), 0);
    setEflags(memory, flags & ~(EFLAGS.VM | EFLAGS.IF));
  }
  flatCode(cpu, selector, 0, long);
  flatStack(cpu, selector + 8, 0);
  cpu.updateMode();
  // Whether it traps is for the new TF to say.
  if (!(memory.get(State.eflags) & EFLAGS.TF)) cpu.inhibitTrap();
}

export function sysret(cpu: CpuContext, size: number): void {
  const { memory } = cpu;
  if (!(memory.get(State.efer) & EFER.SCE)) raise(Vector.UD);
  if (isReal(memory) || memory.get(State.cpl) !== 0) generalProtection();
  const high = memory.get(State.gpr + 8 + 4);
  if (size === 64 && high >> 15 !== 0 && high >> 15 !== -1) generalProtection();
  memory.set64(State.rip, memory.reg(1), size === 64 ? high : 0);
  if (isLong(memory)) setEflags(memory, memory.reg(11) & ~(EFLAGS.RF | EFLAGS.VM));
  else setEflags(memory, getEflags(memory) | EFLAGS.IF);
  const base = (memory.get(State.star + 4) >>> 16) & 0xffff;
  flatCode(cpu, (size === 64 ? base + 16 : base) | 3, 3, size === 64);
  flatStack(cpu, (base + 8) | 3, 3);
  cpu.updateMode();
  cpu.interruptsChanged();
  // As if the SYSCALL that it returns from had just been done.
  if (memory.get(State.eflags) & EFLAGS.TF) cpu.trapAfter(DebugStatus.step);
  else cpu.inhibitTrap();
}

/** SYSENTER: AMD's processors don't have it in IA-32e mode. */
export function sysenter(cpu: CpuContext): void {
  const { memory } = cpu;
  if (isLong(memory)) raise(Vector.UD);
  const selector = memory.get(State.sysenterCs) & 0xfffc;
  if (!(memory.get(State.cr0) & CR0.PE) || selector === 0) generalProtection();
  setEflags(memory, getEflags(memory) & ~(EFLAGS.VM | EFLAGS.IF | EFLAGS.RF));
  memory.setReg64(4, memory.get(State.sysenterEsp), 0);
  memory.set64(State.rip, memory.get(State.sysenterEip), 0);
  flatCode(cpu, selector, 0, false);
  flatStack(cpu, selector + 8, 0);
  cpu.updateMode();
}

export function sysexit(cpu: CpuContext): void {
  const { memory } = cpu;
  const selector = memory.get(State.sysenterCs) & 0xfffc;
  if (!(memory.get(State.cr0) & CR0.PE) || selector === 0 || memory.get(State.cpl) !== 0) generalProtection();
  if (isLong(memory)) raise(Vector.UD);
  memory.set64(State.rip, memory.reg(2), 0);
  memory.setReg64(4, memory.reg(1), 0);
  flatCode(cpu, (selector + 16) | 3, 3, false);
  flatStack(cpu, (selector + 24) | 3, 3);
  cpu.updateMode();
  cpu.interruptsChanged();
}
