/**
 * Segment registers and descriptors. SDM volume 3A, 3.4 and 5.
 *
 * A segment's attributes are bits 8–15 and 20–23 of its descriptor's second word, moved down by 8: type,
 * S, DPL, P, and from bit 12 on AVL, L, D/B, G.
 */
import { generalProtection, raise, Vector } from '../fault.ts';
import { Seg, State } from '../layout.ts';
import type { CpuMemory } from '../memory.ts';
import { isCanonical, Mmu } from '../mmu.ts';
import { type CpuContext, isLong, isReal, isVirtual8086 } from './context.ts';

export const Attribute = {
  accessed: 1,
  /** Data: writable. Code: readable. */
  writable: 2,
  /** Data: expands down. Code: conforming. */
  conforming: 4,
  code: 8,
  s: 0x10,
  present: 0x80,
  l: 0x2000,
  db: 0x4000,
  g: 0x8000,
  unusable: 0x1_0000,
} as const;

/** A descriptor as read from a table; refilled by each read. */
export class Descriptor {
  low = 0;
  high = 0;
  /** Linear address of the descriptor. */
  addressLow = 0;
  addressHigh = 0;
  base = 0;
  /** High half of a system descriptor's base in IA-32e mode. */
  baseHigh = 0;

  get attributes(): number {
    return (this.high >>> 8) & 0xf0ff;
  }
  get type(): number {
    return (this.high >>> 8) & 15;
  }
  get isSystem(): boolean {
    return (this.high & 0x1000) === 0;
  }
  get dpl(): number {
    return (this.high >>> 13) & 3;
  }
  get present(): boolean {
    return (this.high & 0x8000) !== 0;
  }
  get isCode(): boolean {
    return !this.isSystem && (this.high & 0x800) !== 0;
  }
  get isConforming(): boolean {
    return (this.high & 0x400) !== 0;
  }
  get limit(): number {
    const raw = (this.low & 0xffff) | (this.high & 0xf0000);
    return this.high & 0x80_0000 ? ((raw << 12) | 0xfff) >>> 0 : raw;
  }
  get segmentBase(): number {
    return (this.low >>> 16) | ((this.high & 0xff) << 16) | (this.high & 0xff00_0000);
  }
}

/**
 * Reads a descriptor by selector. @returns false when it lies beyond its table
 * @param wide - 16-byte system descriptor, as IA-32e mode has
 */
export function readDescriptor(cpu: CpuContext, selector: number, into: Descriptor, wide = false): boolean {
  const { memory, mmu } = cpu;
  const table = selector & 4 ? Seg.ldtr : Seg.gdtr;
  if (table === Seg.ldtr && memory.get(State.segAttributes + 4 * Seg.ldtr) & Attribute.unusable) return false;
  const offset = selector & 0xfff8;
  if (offset + (wide ? 15 : 7) > memory.u32[(State.segLimit >> 2) + table]!) return false;
  const sum = memory.u32[(State.segBase >> 2) + 2 * table]! + offset;
  const low = sum | 0;
  // By the full address in compatibility mode, too.
  const high = isLong(memory)
    ? (memory.get(State.segBase + 8 * table + 4) + (sum > 0xffff_ffff ? 1 : 0)) | 0
    : 0;
  into.addressLow = low;
  into.addressHigh = high;
  const host = mmu.readable(low, high, 8, Mmu.SUPERVISOR);
  into.low = memory.data.getInt32(host, true);
  into.high = memory.data.getInt32(host + 4, true);
  into.baseHigh = wide ? mmu.readSystem32(low + 8, high) : 0;
  return true;
}

/** Sets the accessed or busy bit of a descriptor in memory. */
export function markDescriptor(cpu: CpuContext, d: Descriptor, bits: number, clear = 0): void {
  const value = (d.high | (bits << 8)) & ~(clear << 8);
  if (value === d.high) return;
  d.high = value;
  cpu.mmu.writeNumber(d.addressLow + 4, d.addressHigh, 4, value, Mmu.SUPERVISOR);
}

/** Fills a segment register. */
export function setSegment(
  memory: CpuMemory,
  segment: number,
  selector: number,
  baseLow: number,
  baseHigh: number,
  limit: number,
  attributes: number,
): void {
  memory.set(State.segSelector + 4 * segment, selector);
  memory.set64(State.segBase + 8 * segment, baseLow, baseHigh);
  memory.set(State.segLimit + 4 * segment, limit | 0);
  memory.set(State.segAttributes + 4 * segment, attributes);
}

export function setSegmentFrom(memory: CpuMemory, segment: number, selector: number, d: Descriptor): void {
  setSegment(memory, segment, selector, d.segmentBase, 0, d.limit, d.attributes);
}

/** A null selector: unusable, but in 64-bit mode its base still counts for FS and GS. */
export function setNullSegment(memory: CpuMemory, segment: number, selector: number): void {
  setSegment(memory, segment, selector, 0, 0, 0, Attribute.unusable);
}

/** Real-address and virtual-8086 mode: the base is the selector times 16. */
export function setRealSegment(
  memory: CpuMemory,
  segment: number,
  selector: number,
  limitToo: boolean,
): void {
  memory.set(State.segSelector + 4 * segment, selector);
  memory.set64(State.segBase + 8 * segment, selector << 4, 0);
  if (!limitToo) return;
  // Virtual-8086 mode: DPL 3.
  memory.set(State.segLimit + 4 * segment, 0xffff);
  memory.set(State.segAttributes + 4 * segment, 0xf3);
}

const descriptor = new Descriptor();

/** MOV, POP, LES and their like: loads ES, SS, DS, FS or GS. @throws FAULT */
export function loadSegment(cpu: CpuContext, segment: number, selector: number): void {
  const { memory } = cpu;
  if (isReal(memory) || isVirtual8086(memory)) {
    setRealSegment(memory, segment, selector, isVirtual8086(memory));
    return;
  }
  const cpl = memory.get(State.cpl);
  const code = selector & 0xfffc;
  if (code === 0) {
    if (segment === Seg.ss && !(is64BitCode(memory) && cpl !== 3 && (selector & 3) === cpl))
      generalProtection();
    setNullSegment(memory, segment, selector);
    if (segment === Seg.ss) memory.set(State.segAttributes + 4 * Seg.ss, Attribute.unusable | (cpl << 5));
    return;
  }
  const d = descriptor;
  if (!readDescriptor(cpu, selector, d)) generalProtection(code);
  const rpl = selector & 3;
  if (segment === Seg.ss) {
    if (rpl !== cpl || d.isSystem || d.isCode || !(d.attributes & Attribute.writable) || d.dpl !== cpl)
      generalProtection(code);
    if (!d.present) raise(Vector.SS, code);
  } else {
    if (d.isSystem || (d.isCode && !(d.attributes & Attribute.writable))) generalProtection(code);
    if (!(d.isCode && d.isConforming) && (rpl > d.dpl || cpl > d.dpl)) generalProtection(code);
    if (!d.present) raise(Vector.NP, code);
  }
  markDescriptor(cpu, d, Attribute.accessed);
  setSegmentFrom(memory, segment, selector, d);
}

/** A code segment can't be of 64 and of 32 bits. @throws FAULT: #GP */
export function checkCodeSize(cpu: CpuContext, d: Descriptor, errorCode: number): void {
  const both = Attribute.l | Attribute.db;
  if (isLong(cpu.memory) && (d.attributes & both) === both) generalProtection(errorCode);
}

/** Whether the code that runs is 64-bit code. */
export function is64BitCode(memory: CpuMemory): boolean {
  return (memory.get(State.mode) & 3) === 2;
}

/**
 * Checks an access by segment and offset, outside 64-bit mode.
 * @returns the linear address
 * @throws FAULT: #GP, or #SS for the stack segment
 */
export function checkSegment(
  memory: CpuMemory,
  segment: number,
  offset: number,
  bytes: number,
  write: boolean,
): number {
  const base = memory.get(State.segBase + 8 * segment);
  if (segment === Seg.none) return offset;
  const attributes = memory.get(State.segAttributes + 4 * segment);
  const limit = memory.u32[(State.segLimit >> 2) + segment]!;
  let bad = (attributes & Attribute.unusable) !== 0;
  if (!isReal(memory)) {
    if (attributes & Attribute.code) bad ||= write || !(attributes & Attribute.writable);
    else bad ||= write && !(attributes & Attribute.writable);
  }
  bad ||= isOutside(attributes, limit, offset, bytes);
  if (bad) raise(segment === Seg.ss ? Vector.SS : Vector.GP, 0);
  return (base + offset) | 0;
}

/** Whether some of the bytes at an offset are beyond a segment's limit. */
function isOutside(attributes: number, limit: number, offset: number, bytes: number): boolean {
  const first = offset >>> 0;
  const last = first + bytes - 1;
  if (!expandsDown(attributes)) return bytes > 0 && last > limit;
  // Expand-down: the limit is the last offset that is not in it.
  const top = attributes & Attribute.db ? 0xffff_ffff : 0xffff;
  return first <= limit || last > top;
}

function expandsDown(attributes: number): boolean {
  return (attributes & (Attribute.code | Attribute.conforming)) === Attribute.conforming;
}

/** Bytes from the start of its segment to an offset. */
export function roomBelow(memory: CpuMemory, segment: number, offset: number): number {
  const attributes = memory.get(State.segAttributes + 4 * segment);
  const first = expandsDown(attributes) ? memory.u32[(State.segLimit >> 2) + segment]! + 1 : 0;
  return (offset >>> 0) - first;
}

/** Bytes from an offset to the end of its segment: an access there that is allowed is so for this many, too. */
export function roomIn(memory: CpuMemory, segment: number, offset: number): number {
  const attributes = memory.get(State.segAttributes + 4 * segment);
  const last = expandsDown(attributes)
    ? attributes & Attribute.db
      ? 0xffff_ffff
      : 0xffff
    : memory.u32[(State.segLimit >> 2) + segment]!;
  return last - (offset >>> 0) + 1;
}

/** How much of ESP counts outside 64-bit mode. */
function stackMask(memory: CpuMemory): number {
  return memory.get(State.segAttributes + 4 * Seg.ss) & Attribute.db && !isVirtual8086(memory) ? -1 : 0xffff;
}

/** Pushes onto the current stack. Values of 8 bytes take a high word. @throws FAULT; RSP is unchanged then */
export class Stack {
  private readonly cpu: CpuContext;
  /** The stack pointer that {@link commit} sets. */
  spLow = 0;
  spHigh = 0;
  private mask = 0;
  private baseLow = 0;
  private readonly long: boolean;
  private readonly user: number;
  /** Descriptor of a stack that SS doesn't name yet, and the error code of #SS when it has no room. */
  private segment: Descriptor | undefined;
  private errorCode = 0;

  /** @param user - TLB of the privilege that pushes are made with */
  constructor(cpu: CpuContext, long: boolean, user: number) {
    this.cpu = cpu;
    this.long = long;
    this.user = user;
  }

  /** The stack that SS:RSP names now, or will in other code. */
  static current(cpu: CpuContext, long = is64BitCode(cpu.memory)): Stack {
    const { memory } = cpu;
    const stack = new Stack(cpu, long, memory.get(State.cpl) === 3 ? Mmu.USER : Mmu.SUPERVISOR);
    stack.set(
      memory.reg(4),
      memory.get(State.gpr + 8 * 4 + 4),
      memory.get(State.segBase + 8 * Seg.ss),
      stackMask(memory),
    );
    return stack;
  }

  /** @param mask - 0xffff or −1: how much of ESP counts */
  set(spLow: number, spHigh: number, baseLow: number, mask: number): void {
    this.spLow = spLow;
    this.spHigh = spHigh;
    this.baseLow = this.long ? 0 : baseLow;
    this.mask = this.long ? -1 : mask;
  }

  /** Takes another stack than SS's, outside IA-32e mode. @param errorCode - of #SS when it has no room */
  setSegment(esp: number, segment: Descriptor, errorCode: number): void {
    this.segment = segment;
    this.errorCode = errorCode;
    this.set(esp, 0, segment.segmentBase, segment.attributes & Attribute.db ? -1 : 0xffff);
  }

  /** Sets the stack pointer, as far as the stack's size goes. */
  moveTo(spLow: number, spHigh: number): void {
    this.spLow = (this.spLow & ~this.mask) | (spLow & this.mask);
    this.spHigh = spHigh;
  }

  private move(delta: number): void {
    const sum = (this.spLow >>> 0) + delta;
    if (this.long) {
      this.spHigh = (this.spHigh + Math.floor(sum / 0x1_0000_0000)) | 0;
      this.spLow = sum | 0;
    } else this.spLow = (this.spLow & ~this.mask) | (sum & this.mask);
  }

  private linear(): number {
    return (this.baseLow + (this.spLow & this.mask)) | 0;
  }

  push(size: number, low: number, high = 0): void {
    const { mmu } = this.cpu;
    const bytes = size / 8;
    this.move(-bytes);
    this.checkLimit(bytes, true);
    this.checkCanonical();
    mmu.writeWords(this.linear(), this.long ? this.spHigh : 0, bytes, low, high, this.user);
  }

  private checkCanonical(): void {
    if (this.long && !isCanonical(this.spHigh)) raise(Vector.SS, 0);
  }

  private checkLimit(bytes: number, write: boolean): void {
    if (this.long) return;
    const offset = this.spLow & this.mask;
    const { segment } = this;
    if (segment === undefined) checkSegment(this.cpu.memory, Seg.ss, offset, bytes, write);
    else if (isOutside(segment.attributes, segment.limit, offset, bytes)) raise(Vector.SS, this.errorCode);
  }

  /** Low word of what is popped; {@link popHigh} has the rest. */
  pop(size: number): number {
    const { memory, mmu } = this.cpu;
    const bytes = size / 8;
    this.checkLimit(bytes, false);
    this.checkCanonical();
    const host = mmu.readable(this.linear(), this.long ? this.spHigh : 0, bytes, this.user);
    this.move(bytes);
    this.popHigh = size === 64 ? memory.data.getInt32(host + 4, true) : 0;
    return size === 16 ? memory.data.getUint16(host, true) : memory.data.getInt32(host, true);
  }

  popHigh = 0;

  skip(bytes: number): void {
    this.move(bytes);
  }

  /** Checks that the bytes where the stack pointer has come to can be written: the last of ENTER's frame. @throws FAULT */
  checkTop(bytes: number): void {
    const { mmu } = this.cpu;
    this.checkLimit(bytes, true);
    this.checkCanonical();
    mmu.checkWritable(this.linear(), this.long ? this.spHigh : 0, bytes, this.user);
  }

  /** RSP becomes where this stack has come to. */
  commit(): void {
    const { memory } = this.cpu;
    if (this.long) memory.setReg64(4, this.spLow, this.spHigh);
    else if (this.mask === 0xffff) memory.setReg16(4, this.spLow);
    else memory.setReg32(4, this.spLow);
  }
}
