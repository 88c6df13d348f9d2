/**
 * Decoded code: blocks of instructions as records in the CPU's memory, found by physical page, offset and
 * mode. In front of it lies the jump cache, by linear address (jump-cache.ts).
 *
 * A block has a head that everything jumps to, whether or not it has been decoded yet; compiling a block
 * means writing another handler into its head. Records are given back all at once, when their area is full.
 */
import { Decoded, INSTRUCTION_MAXIMUM, Instruction, RIP_BASE } from './decode.ts';
import { raise, Vector } from './fault.ts';
import { type Form, formOf } from './forms.ts';
import { Terminator } from './ir/node.ts';
import { EntryBit } from './isa/table.ts';
import { JumpCache } from './jump-cache.ts';
import { CODE_END, CODE_START, ModeBit, Op, RAM_START, Seg, State } from './layout.ts';
import { Handler } from './lower/base-module.ts';
import { gprAddress } from './lower/interp.ts';
import type { CpuMemory } from './memory.ts';
import { type Mmu, pageNumber } from './mmu.ts';

/** Most instructions of a block. */
const BLOCK_MAXIMUM = 64;
/** When less than this is left, all code is thrown away at the next occasion. */
const HEADROOM = 64 * 1024;
const PAGE = 4096;

/** A decoded block. */
export interface Block {
  readonly head: number;
  readonly page: CodePage;
  /** Offset of its first instruction in the page. */
  readonly offset: number;
  /** Offset after its last one. */
  readonly end: number;
  readonly mode: number;
  readonly instructions: number;
  /** First instruction's record; the others follow. */
  readonly first: number;
  /** Whether it has been part of a compiled region. */
  wasHot: boolean;
  /** How often a slice has ended here since it was compiled last, and how far its region reaches. */
  samples: number;
  level: number;
  /** Instructions of the largest region that it is in the middle of; 0 for none that is large. */
  largest: number;
  /** Where the small regions begin that have it in their middle; undefined for none. */
  passedBy: Set<Block> | undefined;
  /** Where the large region begins in which a slice can't end at this block, as it can at the head of a loop. */
  insideOf: Block | undefined;
  /** How often slices have ended in the middle of its large region all the same, and so in other regions; and since which. */
  strays: number;
  straysSince: number;
  /** Where those regions begin, as far as they have it in their middle. */
  bypasses: Set<Block> | undefined;
  /** Whether small regions leave for its own large one when they come by. */
  takesOver: boolean;
}

/** A page of RAM with decoded code. */
export interface CodePage {
  /** Physical page number. */
  readonly number: number;
  /** Heads by offset and mode. */
  readonly heads: Map<number, number>;
  readonly blocks: Block[];
  /** One bit a byte that has been decoded. */
  readonly covered: Uint32Array;
  /** Linear address at which it was met last. */
  linearLow: number;
  linearHigh: number;
  /** Blocks of other pages whose regions reach into this one. */
  readonly reachedFrom: Set<Block>;
}

/** What a head that waits for being decoded stands for, kept in the head itself. */
const HeadField = { page: 16, mode: 20, second: 24 } as const;

export class CodeCache {
  /** By physical page number. */
  readonly pages = new Map<number, CodePage>();
  /** Decoded blocks by head. */
  readonly blocks = new Map<number, Block>();
  /** Set when the area for records is nearly full. */
  isFull = false;
  /** Called when compiled code of a page must go. */
  onInvalidate: (page: CodePage) => void = () => {};
  /** What finds heads by linear address. */
  readonly jumps: JumpCache;
  private readonly memory: CpuMemory;
  private readonly mmuOf: () => Mmu;
  private readonly handlerOf: (form: Form) => number;
  private readonly hasCodeFlags: Uint8Array;
  private next = CODE_START;
  /** What has been decoded last. */
  readonly instruction = new Instruction();
  /** After {@link stepHead} its form; undefined when those bytes are no instruction. */
  stepForm: Form | undefined;
  private readonly straddle = new Uint8Array(2 * INSTRUCTION_MAXIMUM);
  /** Blocks of one instruction that crosses into another page, by both pages. */
  private readonly straddling = new Map<string, number>();
  /** Pages by the linear page where they were met last. */
  private readonly byLinear = new Map<number, CodePage>();

  /** @param handlerOf - index of a form's handler in the function table */
  constructor(memory: CpuMemory, mmu: () => Mmu, handlerOf: (form: Form) => number) {
    this.memory = memory;
    this.jumps = new JumpCache(memory);
    this.hasCodeFlags = new Uint8Array(memory.ramSize / PAGE);
    this.mmuOf = mmu;
    this.handlerOf = handlerOf;
  }

  hasCode(page: number): boolean {
    return this.hasCodeFlags[page] === 1;
  }

  // Finding

  /**
   * Head of the block at State.rip, which is put into the jump cache.
   * @throws FAULT
   */
  lookup(): number {
    const { memory } = this;
    const ripLow = memory.get(State.rip);
    const ripHigh = memory.get(State.rip + 4);
    const mode = memory.get(State.mode);
    const is64 = (mode & ModeBit.codeSize) === 2;
    let low = ripLow;
    let high = ripHigh;
    if (is64) {
      // A RIP that isn't canonical.
      if (high >> 15 !== 0 && high >> 15 !== -1) raise(Vector.GP, 0);
    } else {
      if (ripLow >>> 0 > memory.u32[(State.segLimit >> 2) + Seg.cs]!) raise(Vector.GP, 0);
      low = (ripLow + memory.get(State.segBase + 8 * Seg.cs)) | 0;
      high = 0;
    }
    const gpa = this.mmuOf().translateFetch(low, high);
    const isGlobal = this.mmuOf().lastWasGlobal;
    if (gpa >= memory.ramSize) raise(Vector.GP, 0);
    const offset = low & 0xfff;
    // RIP of the page's first byte.
    const baseLow = ripLow - offset;
    memory.set64(
      State.ripBase,
      baseLow | 0,
      is64 ? (ripHigh - (ripLow >>> 0 < offset ? 1 : 0)) | 0 : ripLow >>> 0 < offset ? -1 : 0,
    );
    const number = Math.floor(gpa / PAGE);
    const page = this.page(number);
    page.linearLow = low - offset;
    page.linearHigh = high;
    this.byLinear.set(pageNumber(low, high), page);
    const head = this.crosses(number, offset, mode)
      ? this.straddlingHead(number, low, high, mode)
      : this.headFor(page, offset, mode);
    if (memory.get(head + Op.handler) === Handler.undecoded) this.decode(head);
    this.jumps.remember(low, high, head, isGlobal);
    return head;
  }

  /** Gives a block's head another handler. */
  install(block: Block, handler: number): void {
    const { head, page, offset } = block;
    this.memory.set(head + Op.handler, handler);
    // Where it was met last; elsewhere the old handler finds the new one.
    this.jumps.handlerChanged(page.linearLow + offset, page.linearHigh, head);
  }

  /**
   * Head of the block that lay at an offset from a page, perhaps outside it, when its linear address was looked
   * up last. Where that leads now has to be asked again when code goes there.
   */
  headAt(from: CodePage, offset: number, mode: number): number | undefined {
    const sum = (from.linearLow >>> 0) + offset;
    const is64 = (mode & ModeBit.codeSize) === 2;
    const high = is64 ? from.linearHigh + Math.floor(sum / 0x1_0000_0000) : 0;
    const page = this.byLinear.get(pageNumber(sum | 0, high));
    return page?.heads.get(mode * PAGE + (sum & 0xfff));
  }

  /** The block at State.rip, if the jump cache knows it. */
  blockAtRip(): Block | undefined {
    const { memory } = this;
    const low = (memory.get(State.rip) + memory.get(State.segBase + 8 * Seg.cs)) | 0;
    const high = memory.get(State.rip + 4) & memory.get(State.linearMask + 4);
    const page = this.byLinear.get(pageNumber(low, high));
    const head = page?.heads.get(memory.get(State.mode) * PAGE + (low & 0xfff));
    return head === undefined ? undefined : this.blocks.get(head);
  }

  page(number: number): CodePage {
    let page = this.pages.get(number);
    if (page === undefined) {
      page = {
        number,
        heads: new Map(),
        blocks: [],
        covered: new Uint32Array(PAGE / 32),
        linearLow: 0,
        linearHigh: 0,
        reachedFrom: new Set(),
      };
      this.pages.set(number, page);
    }
    return page;
  }

  /** Head of a block, made when there is none. */
  headFor(page: CodePage, offset: number, mode: number): number {
    const key = mode * PAGE + offset;
    const found = page.heads.get(key);
    if (found !== undefined) return found;
    const head = this.allocate();
    this.setHead(head, Handler.undecoded, offset);
    this.memory.set(head + HeadField.page, page.number);
    this.memory.set(head + HeadField.mode, mode);
    page.heads.set(key, head);
    return head;
  }

  private setHead(head: number, handler: number, offset: number): void {
    const { memory } = this;
    memory.set(head + Op.handler, handler);
    memory.set(head + Op.place, offset);
    memory.set(head + Op.count, 0);
    memory.set(head + Op.instructions, 0);
  }

  private allocate(): number {
    const at = this.next;
    this.next += Op.size;
    if (this.next > CODE_END - HEADROOM) this.isFull = true;
    if (this.next > CODE_END) throw new Error('the area for decoded code has overflowed');
    return at;
  }

  // Decoding

  /** Whether the instruction at an offset reaches beyond its page. */
  private crosses(number: number, offset: number, mode: number): boolean {
    if (offset <= PAGE - INSTRUCTION_MAXIMUM) return false;
    const start = RAM_START + number * PAGE + offset;
    return (
      this.instruction.decode(this.memory.u8, start, RAM_START + (number + 1) * PAGE, mode) ===
      Decoded.needsMore
    );
  }

  /** Decodes the block of a head. @returns the head */
  decode(head: number): number {
    const { memory } = this;
    const number = memory.get(head + HeadField.page);
    const mode = memory.get(head + HeadField.mode);
    const page = this.page(number);
    const offset = memory.get(head + Op.place) & 0xffff;
    const pageStart = RAM_START + number * PAGE;
    const first = this.next;
    let at = offset;
    let count = 0;
    let ended = false;
    const { instruction } = this;
    while (count < BLOCK_MAXIMUM && at < PAGE && !ended) {
      const result = instruction.decode(memory.u8, pageStart + at, pageStart + PAGE, mode);
      if (result === Decoded.needsMore) break;
      count++;
      if (result === Decoded.invalid) {
        this.undefinedRecord(at, instruction);
        ended = true;
        at = Math.min(at + 1, PAGE);
        break;
      }
      const form = formOf(instruction, mode);
      this.writeRecord(page, at, mode, form, instruction);
      at += instruction.length;
      ended = form.template.terminator !== Terminator.none;
    }
    if (!ended) {
      // On to what follows: in this page, or in the next by its linear address.
      if (at < PAGE && !this.crosses(number, at, mode)) {
        const link = this.allocate();
        memory.set(link + Op.handler, Handler.link);
        memory.set(link + Op.place, at);
        memory.set(link + Op.taken, this.headFor(page, at, mode));
      } else this.crossing(at, at);
    }
    for (let i = 0; i < count; i++) {
      const record = first + i * Op.size;
      memory.set(record + Op.place, (memory.get(record + Op.place) & 0xffff) | ((count - i) << 16));
    }
    memory.set(head + Op.handler, Handler.head);
    memory.set(head + Op.instructions, count);
    memory.set(head + Op.count, 0);
    memory.set(head + Op.taken, first);
    this.register({
      ...{ head, page, offset, end: at, mode, instructions: count, first },
      ...{
        wasHot: false,
        samples: 0,
        level: 0,
        largest: 0,
        passedBy: undefined,
        insideOf: undefined,
        strays: 0,
        straysSince: 0,
        bypasses: undefined,
        takesOver: false,
      },
    });
    return head;
  }

  private register(block: Block): void {
    const { page } = block;
    page.blocks.push(block);
    this.blocks.set(block.head, block);
    this.cover(page, block.offset, Math.min(block.end, PAGE));
  }

  private cover(page: CodePage, from: number, to: number): void {
    const { covered } = page;
    for (let word = from >> 5; word << 5 < to; word++) {
      const first = Math.max(0, from - (word << 5));
      const behind = Math.min(32, to - (word << 5));
      covered[word] = covered[word]! | ((behind === 32 ? -1 : (1 << behind) - 1) & (-1 << first));
    }
    if (this.hasCodeFlags[page.number] === 1) return;
    this.hasCodeFlags[page.number] = 1;
    this.mmuOf().protect(page.number);
  }

  /** A record that goes to another page's block by linear address. @returns its address */
  private crossing(place: number, target: number): number {
    const { memory } = this;
    const record = this.allocate();
    memory.set(record + Op.handler, Handler.cross);
    memory.set(record + Op.place, place);
    memory.set64(record + Op.immediate, target, target >> 31);
    return record;
  }

  private undefinedRecord(place: number, instruction: Instruction): void {
    const { memory } = this;
    const record = this.allocate();
    memory.set(record + Op.handler, Handler.undefined);
    memory.set(record + Op.place, place);
    memory.set(record + Op.reg0, instruction.tooLong ? Vector.GP : Vector.UD);
    memory.set(record + Op.reg1, instruction.tooLong ? 0 : -1);
  }

  /** Where a branch from this page goes to: a head, or a crossing. */
  linkTo(page: CodePage, place: number, target: number, mode: number): number {
    if (target >= 0 && target < PAGE && !this.crosses(page.number, target, mode))
      return this.headFor(page, target, mode);
    return this.crossing(place, target);
  }

  private writeRecord(
    page: CodePage,
    place: number,
    mode: number,
    form: Form,
    instruction: Instruction,
  ): void {
    const { memory } = this;
    const record = this.allocate();
    const next = place + instruction.length;
    this.fillRecord(record, place, mode, form, instruction);
    const { terminator } = form.template;
    if (terminator === Terminator.none) return;
    // What follows says where the next instruction is.
    const end = this.allocate();
    memory.set(end + Op.handler, Handler.stale);
    memory.set(end + Op.place, next);
    if (terminator === Terminator.jump || terminator === Terminator.branch) {
      // linkTo decodes ahead with the same instruction object, so that what is needed is taken first.
      const target = form.template.repeats
        ? place
        : branchTarget(instruction, mode, next, memory.get(State.ripBase));
      const length = instruction.length;
      memory.set(record + Op.taken, this.linkTo(page, place, target, mode));
      if (terminator === Terminator.branch)
        memory.set(record + Op.fallThrough, this.linkTo(page, place, next, mode));
      instruction.length = length;
    }
  }

  /** Operands of a record. */
  private fillRecord(
    record: number,
    place: number,
    mode: number,
    form: Form,
    instruction: Instruction,
  ): void {
    const { memory } = this;
    memory.set(record + Op.handler, form.handler !== 0 ? form.handler : this.handlerOf(form));
    memory.set(record + Op.place, place);
    const { slots } = form;
    for (let slot = 0; slot < slots.length; slot++)
      memory.set(record + Op.reg0 + 4 * slot, slotAddress(slots[slot]!, instruction.registers[slot]!));
    if (instruction.isMemory) {
      const { base, index } = instruction;
      const relative = base === RIP_BASE;
      memory.set(record + Op.base, relative ? State.ripBase : base < 0 ? State.zero : gprAddress(base));
      memory.set(record + Op.index, index < 0 ? State.zero : gprAddress(index));
      const displacement = relative
        ? instruction.displacementLow + place + instruction.length
        : instruction.displacementLow;
      // A sum that leaves 32 bits can only be a RIP-relative one.
      memory.set64(
        record + Op.displacement,
        displacement | 0,
        relative ? (displacement < 0 ? -1 : 0) : instruction.displacementHigh,
      );
    }
    memory.set(record + Op.segment, segmentField(instruction, mode));
    memory.set64(record + Op.immediate, instruction.immediateLow, instruction.immediateHigh);
    if ((form.entry.bits & EntryBit.secondImmediate) !== 0)
      memory.set(record + Op.displacement, instruction.immediate2);
  }

  // Instructions across pages, and single steps

  private straddlingHead(number: number, low: number, high: number, mode: number): number {
    const { memory } = this;
    const offset = low & 0xfff;
    const first = PAGE - offset;
    const nextLow = (low + first) | 0;
    const nextHigh = nextLow === 0 && memory.get(State.linearMask + 4) !== 0 ? (high + 1) | 0 : high;
    const secondGpa = this.mmuOf().translateFetch(nextLow, nextHigh);
    if (secondGpa >= memory.ramSize) raise(Vector.GP, 0);
    const second = Math.floor(secondGpa / PAGE);
    const key = `${number}:${second}:${offset}:${mode}`;
    const found = this.straddling.get(key);
    if (found !== undefined) return found;
    const bytes = this.straddle;
    bytes.fill(0);
    const from = RAM_START + number * PAGE + offset;
    bytes.set(memory.u8.subarray(from, from + first));
    bytes.set(
      memory.u8.subarray(RAM_START + second * PAGE, RAM_START + second * PAGE + INSTRUCTION_MAXIMUM),
      first,
    );
    const head = this.oneInstruction(this.page(number), offset, mode, bytes, 'cross');
    this.straddling.set(key, head);
    this.cover(this.page(number), offset, PAGE);
    this.cover(this.page(second), 0, Math.max(1, this.instruction.length - first));
    this.page(number).heads.set(-1 - offset - mode * PAGE - second * 2 ** 24, head);
    this.page(second).heads.set(-1 - offset - mode * PAGE - number * 2 ** 24, head);
    return head;
  }

  /** A block of one instruction whose bytes are given. */
  private oneInstruction(
    page: CodePage,
    offset: number,
    mode: number,
    bytes: Uint8Array,
    then: 'cross' | 'stop',
  ): number {
    const { memory, instruction } = this;
    const head = this.allocate();
    this.setHead(head, Handler.head, offset);
    memory.set(head + Op.instructions, 1);
    // Never hot.
    memory.set(head + Op.count, 0x4000_0000);
    const record = this.next;
    memory.set(head + Op.taken, record);
    const result = instruction.decode(bytes, 0, INSTRUCTION_MAXIMUM, mode);
    let { length } = instruction;
    this.stepForm = undefined;
    if (result !== Decoded.ok) {
      this.undefinedRecord(offset, instruction);
      length = 1;
    } else {
      const form = formOf(instruction, mode);
      this.stepForm = form;
      this.allocate();
      this.fillRecord(record, offset, mode, form, instruction);
      const { terminator } = form.template;
      const next = offset + length;
      if (terminator === Terminator.jump || terminator === Terminator.branch) {
        const target = form.template.repeats
          ? offset
          : branchTarget(instruction, mode, next, memory.get(State.ripBase));
        // The record that ends the block follows directly; links come after it.
        const after = this.ending(next, then);
        memory.set(record + Op.place, offset | (1 << 16));
        memory.set(record + Op.taken, this.linkFor(offset, target, then));
        if (terminator === Terminator.branch)
          memory.set(record + Op.fallThrough, this.linkFor(offset, next, then));
        void after;
        instruction.length = length;
        return head;
      }
    }
    memory.set(record + Op.place, offset | (1 << 16));
    this.ending(offset + length, then);
    instruction.length = length;
    void page;
    return head;
  }

  private ending(place: number, then: 'cross' | 'stop'): number {
    if (then === 'cross') return this.crossing(place, place);
    const record = this.allocate();
    this.memory.set(record + Op.handler, Handler.stop);
    this.memory.set(record + Op.place, place);
    return record;
  }

  private linkFor(place: number, target: number, then: 'cross' | 'stop'): number {
    // Dispatch finds an exhausted budget at the target's head, which ends a step as well.
    void then;
    return this.crossing(place, target);
  }

  /**
   * A block of the instruction at State.rip alone, for single steps. Its records are given back at once:
   * they are valid until the next call.
   */
  stepHead(): number {
    const { memory } = this;
    const ripLow = memory.get(State.rip);
    const ripHigh = memory.get(State.rip + 4);
    const mode = memory.get(State.mode);
    const is64 = (mode & ModeBit.codeSize) === 2;
    const low = is64 ? ripLow : (ripLow + memory.get(State.segBase + 8 * Seg.cs)) | 0;
    const high = is64 ? ripHigh : 0;
    if (!is64 && ripLow >>> 0 > memory.u32[(State.segLimit >> 2) + Seg.cs]!) raise(Vector.GP, 0);
    const offset = low & 0xfff;
    const gpa = this.mmuOf().translateFetch(low, high);
    if (gpa >= memory.ramSize) raise(Vector.GP, 0);
    memory.set64(
      State.ripBase,
      (ripLow - offset) | 0,
      is64 ? (ripHigh - (ripLow >>> 0 < offset ? 1 : 0)) | 0 : ripLow >>> 0 < offset ? -1 : 0,
    );
    const bytes = this.straddle;
    bytes.fill(0);
    const first = Math.min(PAGE - offset, INSTRUCTION_MAXIMUM);
    bytes.set(memory.u8.subarray(RAM_START + gpa, RAM_START + gpa + first));
    if (first < INSTRUCTION_MAXIMUM && this.instruction.decode(bytes, 0, first, mode) === Decoded.needsMore) {
      if (!is64) this.checkLimit(ripLow, first + 1);
      const nextLow = (low + first) | 0;
      const nextHigh = nextLow === 0 && is64 ? (high + 1) | 0 : high;
      const second = this.mmuOf().translateFetch(nextLow, nextHigh);
      if (second >= memory.ramSize) raise(Vector.GP, 0);
      bytes.set(
        memory.u8.subarray(RAM_START + second, RAM_START + second + INSTRUCTION_MAXIMUM - first),
        first,
      );
    }
    const before = this.next;
    const head = this.oneInstruction(this.page(Math.floor(gpa / PAGE)), offset, mode, bytes, 'stop');
    this.next = before;
    if (!is64) this.checkLimit(ripLow, this.instruction.length);
    return head;
  }

  /** @throws FAULT: #GP for an instruction whose bytes are not all within the code segment */
  private checkLimit(rip: number, length: number): void {
    if ((rip >>> 0) + length - 1 > this.memory.u32[(State.segLimit >> 2) + Seg.cs]!) raise(Vector.GP, 0);
  }

  // Throwing away

  /** Bytes of RAM have been or will be written. @returns whether any had been decoded */
  written(gpa: number, bytes: number): boolean {
    let any = false;
    const last = Math.floor((gpa + bytes - 1) / PAGE);
    for (let number = Math.floor(gpa / PAGE); number <= last; number++) {
      if (this.hasCodeFlags[number] !== 1) continue;
      const page = this.pages.get(number)!;
      const from = Math.max(0, gpa - number * PAGE);
      const to = Math.min(PAGE, gpa + bytes - number * PAGE);
      for (let i = from; i < to; i++) {
        if ((page.covered[i >> 5]! & (1 << (i & 31))) !== 0) {
          this.invalidate(page);
          any = true;
          break;
        }
      }
    }
    return any;
  }

  private invalidate(page: CodePage): void {
    const { memory } = this;
    this.onInvalidate(page);
    for (const block of page.blocks) {
      memory.set(block.head + Op.handler, Handler.stale);
      memory.set(block.head + Op.place, block.offset);
      this.blocks.delete(block.head);
      for (let i = 0; i < block.instructions; i++)
        memory.set(block.first + i * Op.size + Op.handler, Handler.stale);
    }
    for (const [key, head] of page.heads) {
      if (key < 0 || memory.get(head + Op.handler) === Handler.undecoded)
        memory.set(head + Op.handler, Handler.stale);
      memory.set(head + Op.place, memory.get(head + Op.place) & 0xffff);
      if (key < 0) {
        const record = memory.get(head + Op.taken);
        memory.set(record + Op.handler, Handler.stale);
        for (const [name, straddling] of this.straddling)
          if (straddling === head) this.straddling.delete(name);
      }
    }
    // Their regions find that they can't go here any more, and are worth making anew.
    for (const block of page.reachedFrom) block.level = block.samples = 0;
    page.reachedFrom.clear();
    page.heads.clear();
    page.blocks.length = 0;
    page.covered.fill(0);
    this.pages.delete(page.number);
    this.hasCodeFlags[page.number] = 0;
    // Whatever led here leads nowhere now.
    this.jumps.forget(-2);
  }

  /** Throws away all decoded code. Not while guest code runs. */
  clear(): void {
    this.pages.clear();
    this.blocks.clear();
    this.straddling.clear();
    this.byLinear.clear();
    this.hasCodeFlags.fill(0);
    this.jumps.forget(-2);
    this.next = CODE_START;
    this.isFull = false;
  }

  /** Bytes of the area for records that are in use. */
  get used(): number {
    return this.next - CODE_START;
  }
}

/** Offset in the page that a relative branch goes to; may lie outside it. */
export function branchTarget(
  instruction: Instruction,
  mode: number,
  next: number,
  ripBaseLow: number,
): number {
  const target = next + instruction.immediateLow;
  if ((mode & ModeBit.codeSize) !== 2 && instruction.size === 16) {
    // IP wraps at 64 KiB.
    const ip = (ripBaseLow + target) & 0xffff;
    return ip - ripBaseLow;
  }
  return target;
}

/** State address of a register operand, or the number itself for x87. */
export function slotAddress(kind: Form['slots'][number], register: number): number {
  switch (kind) {
    case 'vector':
      return State.xmm + 16 * register;
    case 'mmx':
      return State.fpr + 16 * register;
    case 'x87':
      return register;
    case 'general8':
    case 'general':
      return gprAddress(register);
  }
}

/** Segment base's address, scale, and segment number, as a record's segment field holds them. */
function segmentField(instruction: Instruction, mode: number): number {
  const { segment } = instruction;
  const is64 = (mode & ModeBit.codeSize) === 2;
  const hasBase = segment >= Seg.fs || (!is64 && !(mode & ModeBit.flat));
  const base = hasBase ? State.segBase + 8 * segment : State.zero;
  return base | (instruction.scale << 16) | (segment << 24);
}
