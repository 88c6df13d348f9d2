/**
 * The state of a case in the memory of vm/cpu: what is there when the case begins, by mode, how a case is put
 * in, and how its result is taken out.
 */
import { ModeBit, Seg, State } from '../../vm/cpu/layout.ts';
import type { CpuMemory } from '../../vm/cpu/memory.ts';
import { PageFault } from '../../vm/cpu/mmu.ts';
import { CR0, CR4, EFER, getEflags, setEflags } from '../../vm/cpu/system/context.ts';
import { Attribute } from '../../vm/cpu/system/segments.ts';
import {
  GDT_LIMIT,
  kernelBase,
  LDT_LIMIT,
  type Paging,
  Physical,
  RAM_SIZE,
  Selector,
  TSS_LIMIT,
} from './address-space.ts';
import { type Case, Flag, Kind, Layout, type Mode, Result, segmentsOf, TRAP_SYSCALL } from './records.ts';

const STATUS = Flag.CF | Flag.PF | Flag.AF | Flag.ZF | Flag.SF | Flag.OF;
/** Operand sizes that flags come from, and 0 for flags as they are in EFLAGS. */
const LAZY_SIZES = [0, 8, 16, 32, 64];
/** Where the addresses end that Linux gives to user code. */
const LINUX_USER_END = 0x7fff_ffff_f000n;
const FSW_TOP = 7 << 11;
const BREAKPOINT = 3;
const ZEROS = Buffer.alloc(Layout.dataSize);
const MIDDLE = Physical.data + Layout.middleBase - Layout.dataBase;
const TAIL = Physical.data + Layout.tailBase - Layout.dataBase;

/** RIP of a case's instruction. */
export function startOf(mode: Mode): number {
  return mode === 16 ? Layout.codeStart : Layout.codeBase + Layout.codeStart;
}

export class CaseState {
  readonly #paging: Paging;
  readonly #memory: CpuMemory;
  readonly #ram: Buffer;
  readonly #ramView: DataView;
  readonly #result = new Result();
  readonly #resultHalves = this.#result.gprHalves;
  readonly #initial: Readonly<Record<Mode, Uint8Array>>;
  /** Of 32-bit code whose segments count as not flat, though they are. */
  readonly #segmented: Uint8Array;

  /** @param updateMode - {@link Cpu.updateMode} of the CPU that works on the memory */
  constructor(memory: CpuMemory, ram: Buffer, paging: Paging, updateMode: () => void) {
    this.#memory = memory;
    this.#ram = ram;
    this.#ramView = new DataView(ram.buffer, ram.byteOffset, RAM_SIZE);
    this.#paging = paging;
    const prepared = (mode: Mode, isFlat = true): Uint8Array => {
      this.#prepare(mode);
      updateMode();
      if (!isFlat) this.#checkSegments();
      return memory.u8.slice(State.gpr, State.end);
    };
    this.#initial = { 64: prepared(64), 32: prepared(32), 16: prepared(16) };
    this.#segmented = prepared(32, false);
  }

  /** What the kernel is like that a mode's cases run under. */
  paging(mode: Mode): Paging {
    return mode === 64 ? 'long' : this.#paging;
  }

  // Before

  /** Has every access look at its segment, as if not all were flat. */
  #checkSegments(): void {
    const mode = this.#memory.get(State.mode) & ~ModeBit.flat;
    this.#memory.set(State.mode, mode);
    this.#memory.set64(State.modeTag, 0, (mode + 1) << 16);
  }

  /** Sets up the CPU for a mode. */
  #prepare(mode: Mode): void {
    const memory = this.#memory;
    const paging = this.paging(mode);
    const base = kernelBase(paging);
    const baseLow = Number(BigInt.asIntN(32, base));
    const baseHigh = Number(BigInt.asIntN(32, base >> 32n));
    const long = paging === 'long';
    memory.i32.fill(0, State.gpr >> 2, State.end >> 2);
    memory.set(State.cr0, CR0.PE | CR0.MP | CR0.ET | CR0.NE | CR0.WP | CR0.AM | CR0.PG);
    memory.set(State.cr3, long ? Physical.pml4 : Physical.pdptPae);
    memory.set(State.cr4, CR4.PSE | CR4.PAE | CR4.PGE | CR4.OSFXSR | CR4.OSXMMEXCPT | CR4.UMIP);
    memory.set(State.efer, EFER.SCE | EFER.NXE | (long ? EFER.LME | EFER.LMA : 0));
    memory.set(State.cpl, 3);
    memory.set64(State.dr + 32, 0xffff0ff0 | 0, 0);
    memory.set64(State.dr + 40, 0x400, 0);
    const table = (
      segment: number,
      selector: number,
      physical: number,
      tableLimit: number,
      attributes: number,
    ): void => {
      memory.set(State.segSelector + 4 * segment, selector);
      memory.set64(State.segBase + 8 * segment, baseLow + physical, baseHigh);
      memory.set(State.segLimit + 4 * segment, tableLimit);
      memory.set(State.segAttributes + 4 * segment, attributes);
    };
    table(Seg.gdtr, 0, Physical.gdt, GDT_LIMIT, 0);
    table(Seg.idtr, 0, Physical.idt, long ? 0xfff : 0x7ff, 0);
    table(Seg.ldtr, Selector.ldt, Physical.ldt, LDT_LIMIT, 0x82);
    table(Seg.tr, Selector.tss, Physical.tss, TSS_LIMIT, 0x8b);
    segmentsOf(mode).forEach(({ selector, base: segmentBase, limit, big, code }, segment) => {
      const access = code ? 0xfb : 0xf3;
      const flags =
        (limit > 0xffff ? Attribute.g : 0) |
        (big ? Attribute.db : 0) |
        (code && mode === 64 ? Attribute.l : 0);
      memory.set(State.segSelector + 4 * segment, selector);
      memory.set64(State.segBase + 8 * segment, segmentBase, 0);
      memory.set(State.segLimit + 4 * segment, selector === 0 ? 0 : limit | 0);
      memory.set(State.segAttributes + 4 * segment, selector === 0 ? Attribute.unusable : access | flags);
    });
    const entry = baseLow + Physical.systemCalls;
    memory.set64(State.star, 0, ((0x20 | 3) << 16) | Selector.kernelCode64);
    memory.set64(State.lstar, entry, baseHigh);
    memory.set64(State.cstar, entry + 16, baseHigh);
    memory.set64(State.sysenterCs, Selector.kernelCode64, 0);
    memory.set64(State.sysenterEip, entry + 32, baseHigh);
    memory.set64(State.sysenterEsp, baseLow + Physical.stackTop, baseHigh);
    memory.set64(State.rip, startOf(mode), 0);
  }

  /** The state that a case's mode starts from, without the case's own: enough to look up its code. */
  loadMode(c: Case): void {
    const state = c.mode === 32 && c.seed & 0x40 ? this.#segmented : this.#initial[c.mode];
    this.#memory.u8.set(state, State.gpr);
  }

  /** Registers and memory windows of a case. */
  load(c: Case): void {
    const memory = this.#memory;
    const ram = this.#ram;
    this.loadMode(c);
    const gprs = c.gprHalves;
    for (let i = 0; i < 32; i++) memory.i32[(State.gpr >> 2) + i] = gprs[i]!;
    setEflags(memory, (c.rflags & (STATUS | Flag.DF | Flag.AC)) | Flag.IF);
    this.#loadLazily(c);
    this.#loadFx(c);
    const windows = c.memory;
    ram.set(windows.subarray(0, Layout.middleSize), MIDDLE);
    ram.set(windows.subarray(Layout.middleSize), TAIL);
  }

  /**
   * Puts the flags in their lazy form, as an instruction before would have left them, in four cases of five: a
   * result and carries of some operand size, with garbage above it (State.ccRes in vm/cpu/layout.ts).
   */
  #loadLazily(c: Case): void {
    const memory = this.#memory;
    const size = LAZY_SIZES[c.seed % 5]!;
    const has = (flag: number): boolean => (c.rflags & flag) !== 0;
    if (size === 0 || (has(Flag.ZF) && (has(Flag.SF) || !has(Flag.PF)))) return;
    const garbage = BigInt.asUintN(64, BigInt(c.seed) * 0x9e37_79b9_7f4a_7c15n);
    const all = (1n << BigInt(size)) - 1n;
    const [top, second] = [1n << BigInt(size - 1), 1n << BigInt(size - 2)];
    let result = 0n;
    if (!has(Flag.ZF)) {
      // Two bits or one beside the sign, which is in the byte that parity is of when the size is 8.
      const sign = has(Flag.SF) ? top : 0n;
      const odd = has(Flag.PF) === (size === 8 && has(Flag.SF));
      result = sign | (odd ? 0x10n : 0x30n);
    }
    let carries = has(Flag.CF) ? top : 0n;
    if (has(Flag.CF) !== has(Flag.OF)) carries |= second;
    if (has(Flag.AF)) carries |= 8n;
    const known = top | second | 8n;
    memory.u64[State.ccRes >> 3] = result | (garbage & ~all);
    memory.u64[State.ccAux >> 3] = carries | (garbage & ~known);
    memory.set(State.ccShift, 64 - size);
    if ((getEflags(memory) ^ c.rflags) & STATUS)
      throw new Error('flags lost on their way into the lazy form');
  }

  #loadFx(c: Case): void {
    const memory = this.#memory;
    const { fx, fsw } = c;
    const top = (fsw & FSW_TOP) >> 11;
    memory.set(State.fpuControl, c.fcw);
    memory.set(State.fpuStatus, fsw & ~FSW_TOP);
    memory.set(State.fpuTop, top);
    memory.set(State.fpuTags, c.ftw);
    memory.set(State.mxcsr, c.mxcsr & 0xffff);
    for (let i = 0; i < 8; i++) {
      const to = State.fpr + 16 * ((top + i) & 7);
      for (let n = 0; n < 10; n++) memory.u8[to + n] = fx[32 + 16 * i + n]!;
    }
    memory.u8.set(fx.subarray(160, 416), State.xmm);
  }

  // After

  /**
   * The result of a case, good until the next one's is taken.
   * @param moved - by how much RIP was further than the case says
   * @throws Error if the CPU is where no instruction should bring it
   */
  take(c: Case, moved: number): Result {
    const memory = this.#memory;
    const result = this.#result;
    const gprs = this.#resultHalves;
    for (let i = 0; i < 32; i++) gprs[i] = memory.i32[(State.gpr >> 2) + i]!;
    result.kind = Kind.ok;
    result.trap = 0;
    result.error = 0;
    result.cr2 = 0n;
    for (let i = 0; i < 6; i++)
      result.setSegment(i, selectorSeen(c, i, memory.get(State.segSelector + 4 * i)));
    if (memory.get(State.cpl) === 3) {
      // An exception in other code than 64-bit saves ESP alone, and the oracle sees what was saved.
      if ((memory.get(State.mode) & ModeBit.codeSize) !== 2) gprs[9] = 0;
      result.rflags = getEflags(memory);
      result.rip = memory.u64[State.rip >> 3]! - BigInt(moved);
    } else this.#takeTrap(c, moved);
    // Outside 64-bit mode upper halves can't be seen.
    if (c.mode !== 64) for (let i = 1; i < 32; i += 2) gprs[i] = 0;
    this.#takeFx();
    this.#takeMemory();
    return result;
  }

  /** The interrupted state is on the kernel's stack, or where a fast system call leaves it. */
  #takeTrap(c: Case, moved: number): void {
    const memory = this.#memory;
    const result = this.#result;
    const paging = this.paging(c.mode);
    const handler = Number(memory.u64[State.rip >> 3]! - kernelBase(paging));
    if (handler >= Physical.systemCalls && handler < Physical.systemCalls + 48) {
      result.kind = Kind.trap;
      result.trap = TRAP_SYSCALL;
      result.rflags = memory.get(State.gpr + 8 * 11);
      for (const i of [Seg.cs, Seg.ss]) result.setSegment(i, segmentsOf(c.mode)[i]!.selector);
      result.rip = memory.u64[(State.gpr >> 3) + 1]! - BigInt(moved);
      return;
    }
    const vector = (handler - Physical.gates) / 16;
    if (!Number.isInteger(vector) || vector < 0 || vector > 255)
      throw new Error(`CPL 0 at ${memory.u64[State.rip >> 3]!.toString(16)}`);
    const slot = paging === 'long' ? 8 : 4;
    const at = Physical.stackTop - 5 * slot;
    const pushed = Number(memory.u64[(State.gpr >> 3) + 4]! - kernelBase(paging));
    const hasError = vector === 8 || (vector >= 10 && vector <= 14) || vector === 17 || vector === 21;
    if (pushed !== at - (hasError ? slot : 0))
      throw new Error(
        `vector ${vector}: the kernel's stack pointer is ${(pushed - Physical.stackTop).toString(16)}`,
      );
    const word = (index: number): bigint =>
      slot === 8
        ? this.#ramView.getBigUint64(at + 8 * index, true)
        : BigInt(this.#ramView.getUint32(at + 4 * index, true));
    const error = hasError ? this.#ramView.getUint32(pushed, true) : 0;
    const rip = word(0) - BigInt(moved);
    result.setSegment(1, Number(word(1) & 0xffffn));
    result.rflags = Number(word(2));
    result.gpr[4] = word(3);
    result.setSegment(2, Number(word(4) & 0xffffn));
    result.rip = rip;
    const start = BigInt(startOf(c.mode));
    // The INT3 behind the instruction, or where it jumped to.
    if (vector === BREAKPOINT && (rip <= start || rip > start + BigInt(c.code.length))) {
      result.rip = rip - 1n;
      return;
    }
    // A jump to where nothing can be fetched: the jump itself worked. The oracle sees it so, too.
    if (rip !== start && (vector === 13 || vector === 14)) return;
    result.kind = Kind.trap;
    result.trap = vector;
    result.error = error;
    if (vector !== 14) return;
    result.cr2 = memory.u64[State.cr2 >> 3]!;
    // Linux says of every address that is the kernel's that there is a page, whether there is or not.
    if (result.cr2 >= LINUX_USER_END) result.error |= PageFault.present;
  }

  #takeFx(): void {
    const memory = this.#memory;
    const result = this.#result;
    const { fx } = result;
    const top = memory.get(State.fpuTop) & 7;
    result.fcw = memory.get(State.fpuControl);
    result.fsw = (memory.get(State.fpuStatus) & ~FSW_TOP) | (top << 11);
    result.ftw = memory.get(State.fpuTags);
    result.mxcsr = memory.get(State.mxcsr);
    for (let i = 0; i < 8; i++) {
      const from = State.fpr + 16 * ((top + i) & 7);
      for (let n = 0; n < 10; n++) fx[32 + 16 * i + n] = memory.u8[from + n]!;
    }
    fx.set(memory.u8.subarray(State.xmm, State.xmm + 256), 160);
  }

  #takeMemory(): void {
    const ram = this.#ram;
    const { memory } = this.#result;
    memory.set(ram.subarray(MIDDLE, MIDDLE + Layout.middleSize));
    memory.set(ram.subarray(TAIL, TAIL + Layout.tailSize), Layout.middleSize);
    const below = this.#sweep(Physical.data, MIDDLE);
    const between = this.#sweep(MIDDLE + Layout.middleSize, TAIL);
    this.#result.stray = below || between;
  }

  /** The linear address of the first byte in a range of the data pages that isn't zero, or 0; and zeroes them. */
  #sweep(start: number, end: number): number {
    const ram = this.#ram;
    if (ram.compare(ZEROS, 0, end - start, start, end) === 0) return 0;
    let at = start;
    while (ram[at] === 0) at++;
    ram.fill(0, start, end);
    return Layout.dataBase + at - Physical.data;
  }
}

/**
 * A segment register as the oracle sees it: of 32- and 16-bit code with an exception and an IRET behind it, which
 * clears null selectors of data segments (SDM vol. 2, IRET).
 */
function selectorSeen(c: Case, segment: number, selector: number): number {
  const isData = segment !== Seg.cs && segment !== Seg.ss;
  return c.mode !== 64 && isData && (selector & ~3) === 0 ? 0 : selector;
}
