/**
 * The mode that code runs in: worked out from control registers, EFLAGS, CPL and segments into State.mode, and the words
 * that handlers and regions take from it.
 */
import { INSTRUCTION_MAXIMUM } from './decode.ts';
import { ModeBit, Seg, State, TLB } from './layout.ts';
import type { CpuMemory } from './memory.ts';
import { CR0, CR4, EFLAGS, isLong, isVirtual8086 } from './system/context.ts';
import { Attribute } from './system/segments.ts';

/** Attributes of a segment that can be read, when it is present and usable: of a code segment. */
const USABLE = Attribute.unusable | Attribute.present | Attribute.writable;
/** And of a data segment that can be written, and doesn't expand down. */
const USABLE_DATA = USABLE | Attribute.code | Attribute.conforming;

export class CpuMode {
  private readonly memory: CpuMemory;
  private readonly forget: (page: number) => void;

  /** @param forget - has the jump cache forget a linear page */
  constructor(memory: CpuMemory, forget: (page: number) => void) {
    this.memory = memory;
    this.forget = forget;
  }

  /** After any change of control registers, EFLAGS.VM, CPL or segments. */
  update(): void {
    const { memory } = this;
    const cr0 = memory.get(State.cr0);
    const cs = memory.get(State.segAttributes + 4 * Seg.cs);
    const ss = memory.get(State.segAttributes + 4 * Seg.ss);
    const real = (cr0 & CR0.PE) === 0;
    const virtual = isVirtual8086(memory);
    const long = isLong(memory);
    if (virtual) memory.set(State.cpl, 3);
    const cpl = memory.get(State.cpl);
    const is64 = long && (cs & Attribute.l) !== 0;
    const is32 = !real && !virtual && (cs & Attribute.db) !== 0;
    const stack32 = is64 || (!virtual && (ss & Attribute.db) !== 0);
    let mode = is64 ? 2 : is32 ? 1 : 0;
    if (stack32) mode |= ModeBit.stack32;
    if (cpl === 3) mode |= ModeBit.user;
    if (long) mode |= ModeBit.longActive;
    const flatness = this.flatness(mode);
    this.setMode(mode | flatness);
    this.noteCodeLimit(is64 || (flatness & ModeBit.flat) !== 0);
    memory.set64(State.linearMask, -1, is64 ? -1 : 0);
    memory.set64(
      State.ripMask,
      is64 || is32 || memory.u32[(State.segLimit >> 2) + Seg.cs]! > 0xffff ? -1 : 0xffff,
      is64 ? -1 : 0,
    );
    memory.set(State.stackMask, stack32 ? -1 : 0xffff);
    this.setTlb();
    // In 64-bit mode CS has no base.
    if (is64) memory.set64(State.segBase + 8 * Seg.cs, 0, 0);
    const emulated = (cr0 & CR0.EM) !== 0;
    const switched = (cr0 & CR0.TS) !== 0;
    memory.set(
      State.fpuTrap,
      (emulated || switched ? 1 : 0) |
        (emulated || !(memory.get(State.cr4) & CR4.OSFXSR) ? 2 : 0) |
        (switched ? 4 : 0) |
        (emulated ? 8 : 0),
    );
  }

  /** Sets the TLB that handlers look into, by CPL. */
  setTlb(): void {
    this.memory.set(State.tlb, this.memory.get(State.cpl) === 3 ? TLB.user : TLB.supervisor);
  }

  /**
   * Whether accesses have to be aligned: then each instruction is executed by itself, without the TLB. SDM volume 3A, 6.15,
   * "Interrupt 17".
   */
  get checksAlignment(): boolean {
    const { memory } = this;
    return (
      (memory.get(State.eflags) & EFLAGS.AC) !== 0 &&
      memory.get(State.cpl) === 3 &&
      (memory.get(State.cr0) & CR0.AM) !== 0
    );
  }

  /**
   * Linear pages where an instruction may lie across the end of its segment: there they are executed one by one, each
   * looked at before. Code that has been decoded knows nothing of limits, which is why these pages are never entered by
   * the jump cache.
   */
  private limitFirst = 0;
  private limitLast = -1;

  private noteCodeLimit(isFlat: boolean): void {
    const { memory } = this;
    const limit = memory.u32[(State.segLimit >> 2) + Seg.cs]!;
    const none = isFlat || limit === 0xffff_ffff;
    const last = (memory.get(State.segBase + 8 * Seg.cs) + limit) >>> 0;
    const limitFirst = none ? 0 : Math.max(0, last - INSTRUCTION_MAXIMUM) >>> 12;
    const limitLast = none ? -1 : last >>> 12;
    if (limitFirst === this.limitFirst && limitLast === this.limitLast) return;
    this.limitFirst = limitFirst;
    this.limitLast = limitLast;
    for (let page = limitFirst; page <= limitLast; page++) this.forget(page);
  }

  /** Whether State.rip is on such a page. */
  onLimitPage(): boolean {
    // In 64-bit code there is none.
    if (this.limitLast < 0) return false;
    const { memory } = this;
    const page = (memory.get(State.rip) + memory.get(State.segBase + 8 * Seg.cs)) >>> 12;
    return page >= this.limitFirst && page <= this.limitLast;
  }

  /** As {@link update}, after a change of DS, ES, FS or GS alone. */
  updateFlatness(): void {
    const mode = this.memory.get(State.mode);
    const rest = mode & ~(ModeBit.flat | ModeBit.flatFs | ModeBit.flatGs);
    const changed = rest | this.flatness(rest);
    if (changed !== mode) this.setMode(changed);
  }

  private setMode(mode: number): void {
    this.memory.set(State.mode, mode);
    this.memory.set64(State.modeTag, 0, (mode + 1) << 16);
  }

  /** Mode bits that depend on segments' bases and limits. @param mode - the others */
  private flatness(mode: number): number {
    if ((mode & 3) === 2) return ModeBit.flatFs | ModeBit.flatGs;
    let bits = 0;
    // Reads everywhere and writes through all but CS; a null DS or ES is checked at each use.
    if (
      (mode & (3 | ModeBit.stack32)) === (1 | ModeBit.stack32) &&
      this.isFlat(Seg.cs, USABLE) &&
      this.isFlat(Seg.ss, USABLE_DATA) &&
      this.isFlat(Seg.ds, USABLE_DATA) &&
      this.isFlat(Seg.es, USABLE_DATA)
    ) {
      bits |= ModeBit.flat;
    }
    if (this.hasNoLimit(Seg.fs, USABLE_DATA)) bits |= ModeBit.flatFs;
    if (this.hasNoLimit(Seg.gs, USABLE_DATA)) bits |= ModeBit.flatGs;
    return bits;
  }

  /** @param rights - the attributes that count: {@link USABLE} or {@link USABLE_DATA} */
  private hasNoLimit(segment: number, rights: number): boolean {
    const { i32 } = this.memory;
    return (
      (i32[(State.segAttributes >> 2) + segment]! & rights) === (Attribute.present | Attribute.writable) &&
      i32[(State.segLimit >> 2) + segment] === -1
    );
  }

  private isFlat(segment: number, rights: number): boolean {
    return this.hasNoLimit(segment, rights) && this.memory.i32[(State.segBase >> 2) + 2 * segment] === 0;
  }
}
