/**
 * Paging: walks the guest's page tables and fills the TLB that handlers and compiled code look into.
 * SDM volume 3A, chapter 4.
 *
 * Linear addresses are given as low and high word; a high word of 0 outside 64-bit mode. The TLB lies in the
 * CPU's memory (layout.ts): for each privilege, read and write tags hold the page's linear address when such
 * an access needs no further look, and the addend leads from linear to host address. A page with decoded code
 * on it gets no write tag, so that every write to it comes by here.
 */
import { FAULT, INSTRUCTION_EXIT, Vector } from './fault.ts';
import {
  CROSS_PAGE,
  ModeBit,
  RAM_START,
  State,
  TLB,
  TLB_ADDEND,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_READ_TAG,
  TLB_WRITE_TAG,
} from './layout.ts';
import type { CpuMemory } from './memory.ts';

/** Where a value lies on its way into memory. */
const WRITE_SCRATCH = CROSS_PAGE + 192;

/** Page-fault error code bits. SDM volume 3A, 4.7. */
export const PageFault = { present: 1, write: 2, user: 4, reserved: 8, fetch: 16 } as const;
const PRESENT_RESERVED = PageFault.present | PageFault.reserved;

const CR0_PG = 1 << 31;
const CR0_WP = 1 << 16;
const CR4_PSE = 1 << 4;
const CR4_PAE = 1 << 5;
const CR4_PGE = 1 << 7;
const CR4_SMEP = 1 << 20;
const CR4_SMAP = 1 << 21;
const EFER_LMA = 1 << 10;
const EFER_NXE = 1 << 11;
const EFLAGS_AC = 1 << 18;

const PTE_P = 1;
const PTE_W = 2;
const PTE_U = 4;
const PTE_A = 0x20;
const PTE_D = 0x40;
const PTE_PS = 0x80;
const PTE_G = 0x100;

/** Bits of an entry's high word: no execution; address bits beyond the 40 that CPUID tells; those that only IA-32e paging ignores. */
const NX = 1 << 31;
const RESERVED_HIGH = 0x000f_ff00;
const IGNORED_HIGH = 0x7ff0_0000;
/** Reserved bits of large pages' entries: of a 4 MiB page, and of 8-byte entries with PS by level. */
const RESERVED_4M = 0x003f_e000;
const RESERVED_LARGE = [0, 0, 0x001f_e000, 0x3fff_e000, PTE_PS];

/** Low word of a tag that matches nothing: that of a page which would lie in another entry. */
function noTag(entry: number): number {
  return entry === 0 ? 0x1000 : 0;
}
const FETCH_ENTRIES = 256;
const USER = TLB.user - TLB.supervisor;
/** Bits of an entry's address that are its offset in the TLB, which is aligned. */
const TLB_OFFSET = (TLB_ENTRIES << TLB_ENTRY_SHIFT) - 1;

/** Whoever wants to hear of accesses to some linear pages: a debugger's watchpoints. */
export interface MmuWatch {
  isWatched(page: number): boolean;
  /** An access to such a page is about to be made. May throw {@link INSTRUCTION_EXIT}. */
  access(low: number, high: number, bytes: number, isWrite: boolean, alone: boolean): void;
}

/** Whoever knows which pages hold decoded code, and answers for addresses that aren't RAM. */
export interface MmuClient {
  /** Whether code has been decoded from a page of RAM. */
  hasCode(page: number): boolean;
  /** Bytes of such a page are about to be written. @returns whether code was thrown away */
  codeWritten(gpa: number, bytes: number): boolean;
  /** Reads a device register into the CPU's memory at `host`. May throw {@link INSTRUCTION_EXIT}. */
  readDevice(gpa: number, bytes: number, host: number): void;
  writeDevice(gpa: number, bytes: number, host: number): void;
}

/** In place of a host address: there is a device; the access may not be. */
const DEVICE = -1;
const REFUSED = -2;

/** Addresses of TLB entries. */
class EntryList {
  readonly entries = new Int32Array(16384);
  count = 0;
}

/** More entries than two: all have to be looked at. */
const SEVERAL = -1;

export class Mmu {
  private readonly memory: CpuMemory;
  private readonly client: MmuClient;
  /** TLB entries that have been filled, since there are too many to clear them all: of pages that aren't global, and are. */
  private readonly filled = new EntryList();
  private readonly filledGlobal = new EntryList();
  /** Pages that instructions were fetched from, direct-mapped; those of an older epoch have been flushed. */
  private readonly fetched = Array.from({ length: FETCH_ENTRIES }, () => ({
    epoch: 0,
    tag: 0,
    high: 0,
    page: 0,
    global: false,
  }));
  private epoch = 1;
  /** Linear addresses / 2 MiB where large pages have been split into entries. */
  private readonly large = new Set<number>();
  /**
   * Two for each page of RAM: entries that may let it through to be written, 0 for none; the first is {@link SEVERAL} when
   * there are more. Linux writes a page where all of RAM is mapped, and a program where it has mapped it.
   */
  private readonly writers: Int32Array;
  /** Result of the last walk: physical address of the page. */
  private page = 0;
  private writable = false;
  private global = false;
  private isLarge = false;
  /** Set while an instruction runs by itself: writes to code need no exit. */
  stepping = false;
  /** Set while one runs whose accesses as a user have to be aligned. */
  aligned = false;
  /** Pages that never get into the TLB. Change it only together with {@link flushAll}. */
  watch: MmuWatch | undefined;
  /** Told when translations have gone: with the linear page, or −1 for those not global, −2 for all. */
  onFlush: (page: number) => void = () => {};

  constructor(memory: CpuMemory, client: MmuClient) {
    this.memory = memory;
    this.client = client;
    this.writers = new Int32Array((memory.ramSize / 4096) * 2);
    for (const base of [TLB.supervisor, TLB.user, TLB.nothing]) {
      memory.i32.fill(0, base >> 2, (base >> 2) + (TLB_ENTRIES << (TLB_ENTRY_SHIFT - 2)));
      this.clear(base, 0);
    }
  }

  // Flushing

  flushAll(): void {
    this.epoch++;
    this.clearAll(this.filled);
    this.clearAll(this.filledGlobal);
    this.large.clear();
    this.onFlush(-2);
  }

  private clear(base: number, entry: number): void {
    const { i32 } = this.memory;
    i32[(base + entry + TLB_READ_TAG) >> 2] = noTag(entry);
    i32[(base + entry + TLB_WRITE_TAG) >> 2] = noTag(entry);
  }

  /** All but global pages: a load of CR3. */
  flushNonGlobal(): void {
    this.epoch++;
    this.clearAll(this.filled);
    this.onFlush(-1);
  }

  private clearAll(list: EntryList): void {
    const { entries, count } = list;
    for (let i = 0; i < count; i++) {
      const address = entries[i]!;
      this.forgetWriter(this.writtenBy(address), address);
      this.clear(address & ~TLB_OFFSET, address & TLB_OFFSET);
    }
    list.count = 0;
  }

  /** Number of the page of RAM that an entry lets through to be written, by its tag and addend; −1 for none. */
  private writtenBy(address: number): number {
    const { i32 } = this.memory;
    const at = address >> 2;
    const tag = i32[at + (TLB_WRITE_TAG >> 2)]!;
    if ((tag & 0xfff) !== 0 || tag === noTag(address & TLB_OFFSET)) return -1;
    return ((tag + i32[at + (TLB_ADDEND >> 2)]! - RAM_START) >>> 0) / 4096;
  }

  /** INVLPG. */
  flushPage(low: number, high: number): void {
    this.epoch++;
    if (this.large.has(high * 2048 + (low >>> 21))) {
      this.flushAll();
      return;
    }
    for (const base of [TLB.supervisor, TLB.user]) this.clear(base, entryOf(low));
    this.onFlush(pageNumber(low, high));
  }

  /** Takes away the right to write a page of RAM by the fast path: code has been decoded from it. */
  protect(gpaPage: number): void {
    const { writers } = this;
    const first = writers[2 * gpaPage]!;
    const second = writers[2 * gpaPage + 1]!;
    writers[2 * gpaPage] = writers[2 * gpaPage + 1] = 0;
    if (first === SEVERAL) {
      for (const base of [TLB.supervisor, TLB.user])
        for (let n = 0; n < TLB_ENTRIES; n++) this.unwrite(base + (n << TLB_ENTRY_SHIFT), gpaPage);
      return;
    }
    if (first !== 0) this.unwrite(first, gpaPage);
    if (second !== 0) this.unwrite(second, gpaPage);
  }

  /** Takes away the right to write from an entry, if it is for this page. */
  private unwrite(address: number, gpaPage: number): void {
    if (this.writtenBy(address) !== gpaPage) return;
    this.memory.i32[(address + TLB_WRITE_TAG) >> 2] = noTag(address & TLB_OFFSET);
  }

  // Walking

  /**
   * Translates for an access and remembers the result in this object.
   * @param access - bits of {@link PageFault} (write, fetch); user for an access at CPL 3
   * @returns whether that may be; if not, FAULT says why not. To throw it is left to callers near to WebAssembly's frames:
   * V8 looks for a handler in each frame in between
   */
  private walk(low: number, high: number, access: number): boolean {
    const { memory } = this;
    const cr0 = memory.get(State.cr0);
    this.writable = true;
    this.global = false;
    this.isLarge = false;
    if ((cr0 & CR0_PG) === 0) {
      this.page = (low & ~0xfff) >>> 0;
      this.global = true;
      return true;
    }
    const cr4 = memory.get(State.cr4);
    const efer = memory.get(State.efer);
    const cr3 = memory.u32[State.cr3 >> 2]!;
    const reservedHigh =
      (efer & EFER_NXE ? 0 : NX) | (efer & EFER_LMA ? RESERVED_HIGH : RESERVED_HIGH | IGNORED_HIGH);
    let rights = PTE_W | PTE_U;
    let noExecute = false;
    let entryAddress = 0;
    let entryLow = 0;
    let entryHigh = 0;
    let size = 12;
    if ((cr4 & CR4_PAE) === 0) {
      entryAddress = (cr3 & ~0xfff) + ((low >>> 22) << 2);
      if (!this.isRam(entryAddress)) return this.refuse(low, high, access | PRESENT_RESERVED);
      entryLow = this.entryAt(entryAddress);
      if ((entryLow & PTE_P) === 0) return this.refuse(low, high, access);
      rights &= entryLow;
      if (entryLow & PTE_PS && cr4 & CR4_PSE) {
        // There is no PSE-36, whose address bits these would be.
        if (entryLow & RESERVED_4M) return this.refuse(low, high, access | PRESENT_RESERVED);
        size = 22;
        this.page = ((entryLow & 0xffc00000) | (low & 0x003ff000)) >>> 0;
      } else {
        this.setBits(entryAddress, entryLow, PTE_A);
        entryAddress = (entryLow & ~0xfff) + (((low >>> 12) & 0x3ff) << 2);
        if (!this.isRam(entryAddress)) return this.refuse(low, high, access | PRESENT_RESERVED);
        entryLow = this.entryAt(entryAddress);
        if ((entryLow & PTE_P) === 0) return this.refuse(low, high, access);
        rights &= entryLow;
        this.page = (entryLow & ~0xfff) >>> 0;
      }
    } else {
      let table: number;
      let level: number;
      if (efer & EFER_LMA) {
        if (!isCanonical(high)) {
          FAULT.set(Vector.GP, 0, true);
          return false;
        }
        table = cr3 & ~0xfff;
        level = 4;
      } else {
        // The four PDPTEs; their rights are the pages' alone.
        const pdpte = (cr3 & ~0x1f) + ((low >>> 30) << 3);
        if (!this.isRam(pdpte)) return this.refuse(low, high, access | PRESENT_RESERVED);
        entryLow = this.entryAt(pdpte);
        if ((entryLow & PTE_P) === 0) return this.refuse(low, high, access);
        table = entryLow & ~0xfff;
        level = 2;
      }
      for (;;) {
        const index =
          level === 1
            ? (low >>> 12) & 0x1ff
            : level === 2
              ? (low >>> 21) & 0x1ff
              : level === 3
                ? ((low >>> 30) | (high << 2)) & 0x1ff
                : (high >>> 7) & 0x1ff;
        entryAddress = (table >>> 0) + index * 8;
        if (!this.isRam(entryAddress)) return this.refuse(low, high, access | PRESENT_RESERVED);
        entryLow = this.entryAt(entryAddress);
        entryHigh = this.entryAt(entryAddress + 4);
        if ((entryLow & PTE_P) === 0) return this.refuse(low, high, access);
        const isLast = level === 1 || (entryLow & PTE_PS) !== 0;
        if (entryHigh & reservedHigh || (isLast && entryLow & RESERVED_LARGE[level]!))
          return this.refuse(low, high, access | PRESENT_RESERVED);
        if (entryHigh & NX) noExecute = true;
        rights &= entryLow;
        if (isLast) break;
        this.setBits(entryAddress, entryLow, PTE_A);
        table = entryLow & ~0xfff;
        level--;
      }
      const base = (entryHigh & 0xfffff) * 0x1_0000_0000;
      if (level === 1) this.page = base + ((entryLow & ~0xfff) >>> 0);
      else if (level === 2) {
        size = 21;
        this.page = base + (((entryLow & 0xffe00000) | (low & 0x001ff000)) >>> 0);
      } else {
        size = 30;
        this.page = base + (((entryLow & 0xc0000000) | (low & 0x3ffff000)) >>> 0);
      }
    }
    this.isLarge = size !== 12;
    const user = (rights & PTE_U) !== 0;
    const byUser = (access & PageFault.user) !== 0;
    if (byUser && !user) return this.refuse(low, high, access | PageFault.present);
    if (access & PageFault.fetch) {
      if (noExecute) return this.refuse(low, high, access | PageFault.present);
      if (!byUser && user && cr4 & CR4_SMEP) return this.refuse(low, high, access | PageFault.present);
    } else if (!byUser && user && cr4 & CR4_SMAP && !(memory.get(State.eflags) & EFLAGS_AC)) {
      return this.refuse(low, high, access | PageFault.present);
    }
    const mayWrite = (rights & PTE_W) !== 0 || (!byUser && (cr0 & CR0_WP) === 0);
    if (access & PageFault.write && !mayWrite) return this.refuse(low, high, access | PageFault.present);
    const bits = access & PageFault.write ? PTE_A | PTE_D : PTE_A;
    this.setBits(entryAddress, entryLow, bits);
    // The first write must come by here again, to set the dirty bit.
    this.writable = mayWrite && ((entryLow | bits) & PTE_D) !== 0;
    this.global = (entryLow & PTE_G) !== 0 && (cr4 & CR4_PGE) !== 0;
    return true;
  }

  /** Whether there is RAM for a table's entry. */
  private isRam(gpa: number): boolean {
    return gpa >>> 0 < this.memory.ramSize;
  }

  private entryAt(gpa: number): number {
    return this.memory.i32[(RAM_START + (gpa >>> 0)) >>> 2]!;
  }

  private setBits(gpa: number, entry: number, bits: number): void {
    if ((entry & bits) === bits) return;
    const at = (RAM_START + (gpa >>> 0)) >>> 2;
    this.memory.i32[at] = this.memory.i32[at]! | bits;
  }

  /** Leaves a page fault in FAULT and CR2. @returns false */
  private refuse(low: number, high: number, code: number): boolean {
    const { memory } = this;
    memory.set64(State.cr2, low, high);
    // The fetch bit exists only where execution can be denied.
    const fetchBit =
      (memory.get(State.efer) & EFER_NXE && memory.get(State.cr4) & CR4_PAE) ||
      memory.get(State.cr4) & CR4_SMEP;
    FAULT.set(Vector.PF, fetchBit ? code : code & ~PageFault.fetch);
    return false;
  }

  /**
   * Physical address of an instruction.
   * @throws FAULT: #PF
   */
  translateFetch(low: number, high: number): number {
    const user = this.memory.get(State.cpl) === 3 ? PageFault.user : 0;
    const entry = this.fetched[(low >>> 12) & (FETCH_ENTRIES - 1)]!;
    const tag = (low & ~0xfff) | user;
    if (entry.epoch === this.epoch && entry.tag === tag && entry.high === high) {
      this.global = entry.global;
      return entry.page + (low & 0xfff);
    }
    if (!this.walk(low, high, PageFault.fetch | user)) throw FAULT;
    entry.epoch = this.epoch;
    entry.tag = tag;
    entry.high = high;
    entry.page = this.page;
    entry.global = this.global;
    return this.page + (low & 0xfff);
  }

  /** Whether the last translation was of a global page. */
  get lastWasGlobal(): boolean {
    return this.global;
  }

  // Access from TypeScript and from the slow path

  /**
   * Translates for a data access within one page, and fills the TLB.
   * @returns host address; {@link DEVICE} when it isn't RAM (this.page says what it is); {@link REFUSED} when FAULT says why not
   */
  private translate(low: number, high: number, write: boolean, user: number): number {
    if (!this.walk(low, high, (write ? PageFault.write : 0) | (user ? PageFault.user : 0))) return REFUSED;
    const { page } = this;
    if (page >= this.memory.ramSize) return DEVICE;
    if (this.isWatched(low, high)) return RAM_START + page + (low & 0xfff);
    const { i32 } = this.memory;
    const entry = entryOf(low);
    const entryAddress = TLB.supervisor + user + entry;
    const at = entryAddress >> 2;
    const tag = low & ~0xfff;
    const writable = this.writable && !this.client.hasCode(page / 4096);
    i32[at + (TLB_READ_TAG >> 2)] = tag;
    i32[at + (TLB_READ_TAG >> 2) + 1] = high;
    i32[at + (TLB_WRITE_TAG >> 2)] = writable ? tag : noTag(entry);
    i32[at + (TLB_WRITE_TAG >> 2) + 1] = high;
    i32[at + (TLB_ADDEND >> 2)] = (RAM_START + page - (tag >>> 0)) | 0;
    if (writable) this.noteWriter(page / 4096, entryAddress);
    if (this.isLarge) this.large.add(high * 2048 + (low >>> 21));
    const list = this.global ? this.filledGlobal : this.filled;
    list.entries[list.count++] = entryAddress;
    // This entry goes as well: whoever asked has its answer.
    if (list.count === list.entries.length) this.flushAll();
    return RAM_START + page + (low & 0xfff);
  }

  private noteWriter(gpaPage: number, entryAddress: number): void {
    const { writers } = this;
    const at = 2 * gpaPage;
    const first = writers[at]!;
    const second = writers[at + 1]!;
    if (first === entryAddress || second === entryAddress || first === SEVERAL) return;
    if (first === 0 || this.writtenBy(first) !== gpaPage) writers[at] = entryAddress;
    else if (second === 0 || this.writtenBy(second) !== gpaPage) writers[at + 1] = entryAddress;
    else writers[at] = SEVERAL;
  }

  /** @param gpaPage - −1 for none */
  private forgetWriter(gpaPage: number, entryAddress: number): void {
    const { writers } = this;
    if (gpaPage < 0) return;
    if (writers[2 * gpaPage] === entryAddress) writers[2 * gpaPage] = 0;
    if (writers[2 * gpaPage + 1] === entryAddress) writers[2 * gpaPage + 1] = 0;
  }

  /** Whether accesses to the page of a linear address are watched. */
  isWatched(low: number, high: number): boolean {
    return this.watch?.isWatched(pageNumber(low, high)) === true;
  }

  private hit(low: number, high: number, tagOffset: number, user: number): number {
    const { i32 } = this.memory;
    const at = (TLB.supervisor + user + entryOf(low)) >> 2;
    if (i32[at + (tagOffset >> 2)] !== (low & ~0xfff) || i32[at + (tagOffset >> 2) + 1] !== high) return -1;
    return (low + i32[at + (TLB_ADDEND >> 2)]!) >>> 0;
  }

  private get userOffset(): number {
    return this.memory.get(State.cpl) === 3 ? USER : 0;
  }

  /**
   * Where the bytes at a linear address can be read now, at the current privilege.
   * @throws FAULT, INSTRUCTION_EXIT
   */
  readable(low: number, high: number, bytes: number, user = this.userOffset): number {
    if (this.aligned && user !== 0) this.checkAlignment(low, high, bytes);
    return this.readableBytes(low, high, bytes, user);
  }

  /** As {@link readable}, wherever they are aligned. @throws FAULT, INSTRUCTION_EXIT */
  readableBytes(low: number, high: number, bytes: number, user = this.userOffset): number {
    if ((low & 0xfff) + bytes <= 4096) {
      const fast = this.hit(low, high, TLB_READ_TAG, user);
      if (fast >= 0) return fast;
      const host = this.translate(low, high, false, user);
      if (host >= 0) {
        this.watch?.access(low, high, bytes, false, this.stepping);
        return host;
      }
      if (host === REFUSED) throw FAULT;
      this.client.readDevice(this.page + (low & 0xfff), bytes, CROSS_PAGE);
      return CROSS_PAGE;
    }
    const first = 4096 - (low & 0xfff);
    const next = this.after(low, high, first);
    const host1 = this.readableBytes(low, high, first, user);
    const { u8 } = this.memory;
    u8.copyWithin(CROSS_PAGE + 64, host1, host1 + first);
    const host2 = this.readableBytes(next[0], next[1], bytes - first, user);
    u8.copyWithin(CROSS_PAGE + 64 + first, host2, host2 + bytes - first);
    return CROSS_PAGE + 64;
  }

  /**
   * The running instruction accesses an image at an address: with that aligned to so many bytes, its parts need not be.
   * @throws FAULT: #AC
   */
  alignImage(low: number, high: number, bytes: number): void {
    if (this.aligned && this.userOffset !== 0) this.checkAlignment(low, high, bytes);
    this.aligned = false;
  }

  /** @throws FAULT: #AC */
  private checkAlignment(low: number, high: number, bytes: number): void {
    if ((low & (alignmentOf(bytes) - 1)) === 0) return;
    // An address that is not canonical, or beyond a flat segment, is worse.
    const isBeyond =
      (low >>> 0) + bytes > 0x1_0000_0000 && (this.memory.get(State.mode) & ModeBit.flat) !== 0;
    if (isCanonical(high) && !isBeyond) throw FAULT.set(Vector.AC, 0);
  }

  private readonly pair: [number, number] = [0, 0];

  private after(low: number, high: number, bytes: number): [number, number] {
    const sum = (low >>> 0) + bytes;
    // Flat segments end at 4 GiB, and no other check has been made.
    if (sum > 0xffff_ffff && this.memory.get(State.mode) & ModeBit.flat) throw FAULT.set(Vector.GP, 0, true);
    this.pair[0] = sum | 0;
    this.pair[1] =
      sum > 0xffff_ffff ? (this.memory.get(State.linearMask + 4) === 0 ? 0 : (high + 1) | 0) : high;
    // An access out of the canonical addresses is wrong as a whole, before its first page is looked at.
    if (sum > 0xffff_ffff && !isCanonical(this.pair[1])) throw FAULT.set(Vector.GP, 0, true);
    return this.pair;
  }

  /** Host address of bytes within one page that may be written now; −1 when they are a device's. */
  private writableWithin(low: number, high: number, bytes: number, user: number): number {
    const host = this.findWritable(low, high, bytes, user);
    if (host === REFUSED) throw FAULT;
    return host;
  }

  /** As {@link writableWithin}, or REFUSED. @throws INSTRUCTION_EXIT */
  private findWritable(low: number, high: number, bytes: number, user: number): number {
    const fast = this.hit(low, high, TLB_WRITE_TAG, user);
    if (fast >= 0) return fast;
    const host = this.translate(low, high, true, user);
    if (host < 0) return host;
    const gpa = host - RAM_START;
    if (
      this.client.hasCode(Math.floor(gpa / 4096)) &&
      this.client.codeWritten(gpa, bytes) &&
      !this.stepping
    ) {
      // What runs may be what is written: begin this instruction anew, alone.
      INSTRUCTION_EXIT.kind = 'step';
      throw INSTRUCTION_EXIT;
    }
    return host;
  }

  /** Host address of a byte of RAM to be read, for what goes through RAM page by page; −1 for a device's. @throws FAULT */
  ramToRead(low: number, high: number, user = this.userOffset): number {
    const fast = this.hit(low, high, TLB_READ_TAG, user);
    if (fast >= 0) return fast;
    const host = this.translate(low, high, false, user);
    if (host === REFUSED) throw FAULT;
    return host;
  }

  /** As {@link ramToRead} for bytes within one page that will be written. @throws FAULT, INSTRUCTION_EXIT */
  ramToWrite(low: number, high: number, bytes: number, user = this.userOffset): number {
    return this.writableWithin(low, high, bytes, user);
  }

  /** Raises the fault that reading a range would, without reading: a device must not be asked twice. @throws FAULT */
  checkReadable(low: number, high: number, bytes: number, user = this.userOffset): void {
    this.ramToRead(low, high, user);
    const first = 4096 - (low & 0xfff);
    if (first >= bytes) return;
    const [nextLow, nextHigh] = this.after(low, high, first);
    this.ramToRead(nextLow, nextHigh, user);
  }

  /** Checks that all of a range can be written, so that a write in parts can't stop in the middle. */
  checkWritable(low: number, high: number, bytes: number, user = this.userOffset): void {
    // MASKMOVDQU's sixteen bytes are eight and eight; what is larger is an image.
    if (this.aligned && user !== 0 && bytes <= 16) this.checkAlignment(low, high, bytes === 16 ? 8 : bytes);
    const first = Math.min(bytes, 4096 - (low & 0xfff));
    if (first === bytes) {
      this.writableWithin(low, high, first, user);
      return;
    }
    const [nextLow, nextHigh] = this.after(low, high, first);
    this.writableWithin(low, high, first, user);
    this.writableWithin(nextLow, nextHigh, bytes - first, user);
  }

  /**
   * Writes bytes that lie in the CPU's memory at `from` to a linear address.
   * @throws FAULT, INSTRUCTION_EXIT; nothing has been written then
   */
  write(low: number, high: number, bytes: number, from: number, user = this.userOffset): void {
    if (!this.tryWrite(low, high, bytes, from, user)) throw FAULT;
  }

  /**
   * As {@link write}.
   * @returns false when it may not be, in one page: FAULT says why
   */
  tryWrite(low: number, high: number, bytes: number, from: number, user = this.userOffset): boolean {
    if (this.aligned && user !== 0) this.checkAlignment(low, high, bytes);
    const first = Math.min(bytes, 4096 - (low & 0xfff));
    if (first < bytes) {
      this.writeAcross(low, high, bytes, from, user);
      return true;
    }
    const host = this.findWritable(low, high, bytes, user);
    if (host === REFUSED) return false;
    if (host < 0) this.client.writeDevice(this.page + (low & 0xfff), bytes, from);
    else {
      this.watch?.access(low, high, bytes, true, this.stepping);
      this.memory.copy(host, from, bytes);
    }
    return true;
  }

  private writeAcross(low: number, high: number, bytes: number, from: number, user: number): void {
    const { u8 } = this.memory;
    const first = 4096 - (low & 0xfff);
    const [nextLow, nextHigh] = this.after(low, high, first);
    const host = this.writableWithin(low, high, first, user);
    const page1 = this.page;
    const host2 = this.writableWithin(nextLow, nextHigh, bytes - first, user);
    this.watch?.access(low, high, first, true, this.stepping);
    this.watch?.access(nextLow, nextHigh, bytes - first, true, this.stepping);
    if (host < 0) this.client.writeDevice(page1 + (low & 0xfff), first, from);
    else u8.copyWithin(host, from, from + first);
    if (host2 < 0) this.client.writeDevice(this.page, bytes - first, from + first);
    else u8.copyWithin(host2, from + first, from + bytes);
  }

  /**
   * As {@link write} for 2, 4 or 8 bytes by value: what is pushed. Most often they are aligned, in a page that has been
   * written before.
   */
  writeWords(
    low: number,
    high: number,
    bytes: number,
    valueLow: number,
    valueHigh: number,
    user: number,
  ): void {
    const { memory } = this;
    if (bytes >= 4 && (low & 3) === 0 && (low & 0xfff) + bytes <= 4096) {
      const host = this.hit(low, high, TLB_WRITE_TAG, user);
      if (host >= 0) {
        if (this.aligned && user !== 0) this.checkAlignment(low, high, bytes);
        memory.i32[host >>> 2] = valueLow;
        if (bytes === 8) memory.i32[(host >>> 2) + 1] = valueHigh;
        return;
      }
    }
    memory.set64(WRITE_SCRATCH, valueLow, valueHigh);
    this.write(low, high, bytes, WRITE_SCRATCH, user);
  }

  /** As {@link readable}, but the bytes will be written back by {@link finish} when they aren't RAM of one page. */
  probe(low: number, high: number, bytes: number): number {
    const user = this.userOffset;
    if (this.aligned && user !== 0) this.checkAlignment(low, high, bytes);
    if ((low & 0xfff) + bytes <= 4096) {
      const host = this.writableWithin(low, high, bytes, user);
      if (host >= 0) {
        this.watch?.access(low, high, bytes, true, this.stepping);
        return host;
      }
    } else this.checkWritable(low, high, bytes, user);
    const host = this.readable(low, high, bytes, user);
    if (host >= CROSS_PAGE + 0x100) return host;
    // The bytes and their address wait for the write.
    const { memory } = this;
    memory.u8.copyWithin(CROSS_PAGE + 128, host, host + bytes);
    memory.set64(CROSS_PAGE + 160, low, high);
    return CROSS_PAGE + 128;
  }

  finish(host: number, bytes: number): void {
    const { memory } = this;
    this.write(memory.get(CROSS_PAGE + 160), memory.get(CROSS_PAGE + 164), bytes, host);
  }

  // Numbers, for helpers

  readU8(low: number, high: number): number {
    return this.memory.u8[this.readable(low, high, 1)]!;
  }

  readU16(low: number, high: number): number {
    return this.memory.data.getUint16(this.readable(low, high, 2), true);
  }

  readI32(low: number, high: number): number {
    return this.memory.data.getInt32(this.readable(low, high, 4), true);
  }

  /** Supervisor reads: descriptor tables, task segments and the like, whatever the CPL. */
  readSystem16(low: number, high: number): number {
    return this.memory.data.getUint16(this.readable(low, high, 2, 0), true);
  }

  readSystem32(low: number, high: number): number {
    return this.memory.data.getInt32(this.readable(low, high, 4, 0), true);
  }

  writeNumber(low: number, high: number, bytes: 1 | 2 | 4, value: number, user = this.userOffset): void {
    this.writeWords(low, high, bytes, value, 0, user);
  }

  /** For system writes such as pushes onto another privilege's stack. */
  static readonly SUPERVISOR = 0;
  static readonly USER = USER;
}

/**
 * What an access of so many bytes has to be aligned to (SDM volume 3A, table 6-7): its size, or 8 for ten bytes, or 2 for
 * others that are no power of two. AMD's processors look at that before they look at pages.
 */
function alignmentOf(bytes: number): number {
  if ((bytes & (bytes - 1)) === 0) return bytes;
  return bytes === 10 ? 8 : 2;
}

/** Whether an address with this high word is one of 48 bits, sign-extended. */
export function isCanonical(high: number): boolean {
  return high >> 15 === 0 || high >> 15 === -1;
}

function entryOf(low: number): number {
  return ((low >>> 12) & (TLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT;
}

/** Number of a linear page, exact for 64-bit addresses. */
export function pageNumber(low: number, high: number): number {
  return (high >>> 0) * 0x10_0000 + (low >>> 12);
}
