/**
 * Task switches through the TSS. SDM volume 3A, 7.3.
 */
import { raise, Vector } from '../fault.ts';
import { Seg, State } from '../layout.ts';
import { Mmu } from '../mmu.ts';
import { type CpuContext, CR0, DebugStatus, EFLAGS, getEflags, setEflags } from './context.ts';
import {
  Attribute,
  Descriptor,
  markDescriptor,
  readDescriptor,
  setNullSegment,
  setRealSegment,
  setSegment,
  setSegmentFrom,
} from './segments.ts';

const BUSY = 2;
/** Breakpoints of DR7 that are one task's: L0 to L3, and LE. */
const DR7_LOCAL = 0x155;
const incoming = new Descriptor();
const segment = new Descriptor();
const SEGMENTS = [Seg.es, Seg.cs, Seg.ss, Seg.ds, Seg.fs, Seg.gs];

/**
 * Switches to the task of a TSS selector.
 * @param how - call: nested, to be returned from by IRET; jump; iret: back
 * @throws FAULT
 */
export function switchTask(
  cpu: CpuContext,
  selector: number,
  how: 'call' | 'jump' | 'iret',
  ext: number,
): void {
  const { memory, mmu } = cpu;
  const error = (selector & 0xfffc) + ext;
  const vector = how === 'iret' ? Vector.TS : Vector.GP;
  if (selector & 4 || (selector & 0xfffc) === 0 || !readDescriptor(cpu, selector, incoming))
    raise(vector, error);
  const busy = (incoming.type & BUSY) !== 0;
  if (!incoming.isSystem || (incoming.type & 5) !== 1 || busy !== (how === 'iret')) raise(vector, error);
  if (!incoming.present) raise(Vector.NP, error);
  const is32 = (incoming.type & 8) !== 0;
  if (incoming.limit < (is32 ? 103 : 43)) raise(Vector.TS, error);
  const oldSelector = memory.get(State.segSelector + 4 * Seg.tr);
  const oldBase = memory.get(State.segBase + 8 * Seg.tr);
  const oldIs32 = (memory.get(State.segAttributes + 4 * Seg.tr) & 8) !== 0;
  const base = incoming.segmentBase;
  mmu.checkWritable(oldBase, 0, oldIs32 ? 104 : 44, Mmu.SUPERVISOR);

  // Save the old task.
  let eflags = getEflags(memory);
  if (how === 'iret') eflags &= ~EFLAGS.NT;
  const put = (at: number, bytes: 2 | 4, value: number): void =>
    mmu.writeNumber((oldBase + at) | 0, 0, bytes, value, Mmu.SUPERVISOR);
  if (oldIs32) {
    put(32, 4, memory.get(State.rip));
    put(36, 4, eflags);
    for (let i = 0; i < 8; i++) put(40 + 4 * i, 4, memory.reg(i));
    SEGMENTS.forEach((s, i) => {
      put(72 + 4 * i, 2, memory.get(State.segSelector + 4 * s));
    });
  } else {
    put(14, 2, memory.get(State.rip));
    put(16, 2, eflags);
    for (let i = 0; i < 8; i++) put(18 + 2 * i, 2, memory.reg(i));
    SEGMENTS.slice(0, 4).forEach((s, i) => {
      put(34 + 2 * i, 2, memory.get(State.segSelector + 4 * s));
    });
  }
  if (how !== 'call' && readDescriptor(cpu, oldSelector, segment)) markDescriptor(cpu, segment, 0, BUSY);
  if (how === 'call') mmu.writeNumber(base, 0, 2, oldSelector, Mmu.SUPERVISOR);

  // Load the new one.
  const get32 = (at: number): number => mmu.readSystem32((base + at) | 0, 0);
  const get16 = (at: number): number => mmu.readSystem16((base + at) | 0, 0);
  const rip = is32 ? get32(32) : get16(14);
  let flags = is32 ? get32(36) : get16(16);
  const registers = Array.from({ length: 8 }, (_, i) => (is32 ? get32(40 + 4 * i) : get16(18 + 2 * i)));
  const selectors = SEGMENTS.map((_, i) => (is32 ? get16(72 + 4 * i) : i < 4 ? get16(34 + 2 * i) : 0));
  const ldt = is32 ? get16(96) : get16(42);
  const cr3 = is32 ? get32(28) : 0;
  if (how !== 'iret') markDescriptor(cpu, incoming, BUSY);
  setSegment(memory, Seg.tr, selector, base, 0, incoming.limit, incoming.attributes | BUSY);
  if (how === 'call') flags |= EFLAGS.NT;
  if (is32 && memory.get(State.cr0) & CR0.PG) {
    memory.set64(State.cr3, cr3, 0);
    mmu.flushNonGlobal();
  }
  setEflags(memory, flags);
  registers.forEach((value, i) => {
    memory.setReg32(i, value);
  });
  memory.set64(State.rip, rip, 0);
  memory.set(State.cr0, memory.get(State.cr0) | CR0.TS);
  memory.set(State.dr + 40, memory.get(State.dr + 40) & ~DR7_LOCAL);
  cpu.debugRegistersChanged();
  // From here on faults are the new task's.
  cpu.leaveInstruction();
  // Its selectors are all there before the first descriptor is looked at.
  SEGMENTS.forEach((s, i) => {
    memory.set(State.segSelector + 4 * s, selectors[i]!);
  });
  const cpl = flags & EFLAGS.VM ? 3 : selectors[1]! & 3;
  memory.set(State.cpl, cpl);
  if ((ldt & 0xfffc) === 0) setNullSegment(memory, Seg.ldtr, ldt);
  else {
    if (
      ldt & 4 ||
      !readDescriptor(cpu, ldt, segment) ||
      !segment.isSystem ||
      segment.type !== 2 ||
      !segment.present
    )
      raise(Vector.TS, (ldt & 0xfffc) + ext);
    setSegmentFrom(memory, Seg.ldtr, ldt, segment);
  }
  if (is32 && get16(100) & 1) cpu.trapAfter(DebugStatus.task);
  if (flags & EFLAGS.VM) {
    SEGMENTS.forEach((s, i) => {
      setRealSegment(memory, s, selectors[i]!, true);
    });
  } else {
    SEGMENTS.forEach((s, i) => {
      loadTaskSegment(cpu, s, selectors[i]!, cpl, ext);
    });
  }
  cpu.updateMode();
  cpu.settleResumeFlag();
}

function loadTaskSegment(cpu: CpuContext, s: number, selector: number, cpl: number, ext: number): void {
  const { memory } = cpu;
  const error = (selector & 0xfffc) + ext;
  if ((selector & 0xfffc) === 0) {
    if (s === Seg.cs || s === Seg.ss) raise(Vector.TS, ext);
    setNullSegment(memory, s, selector);
    return;
  }
  if (!readDescriptor(cpu, selector, segment) || !mayHold(s, segment, selector & 3, cpl))
    raise(Vector.TS, error);
  if (!segment.present) raise(s === Seg.ss ? Vector.SS : Vector.NP, error);
  markDescriptor(cpu, segment, Attribute.accessed);
  setSegmentFrom(memory, s, selector, segment);
}

/** Whether a task's segment register may hold a segment, present or not. SDM volume 3A, table 7-1. */
function mayHold(s: number, d: Descriptor, rpl: number, cpl: number): boolean {
  if (d.isSystem) return false;
  const writable = (d.attributes & Attribute.writable) !== 0;
  // The code segment's RPL is what CPL becomes.
  if (s === Seg.cs) return d.isCode && (d.isConforming ? d.dpl <= rpl : d.dpl === rpl);
  if (s === Seg.ss) return !d.isCode && writable && d.dpl === cpl && rpl === cpl;
  if (d.isCode && !writable) return false;
  return (d.isCode && d.isConforming) || (rpl <= d.dpl && cpl <= d.dpl);
}
