/**
 * Debugging on the CPU in TypeScript: breakpoints, watchpoints and single steps, set by the main thread in a
 * block of shared memory while the CPU's thread stands.
 *
 * A linear page with a breakpoint is never entered by the jump cache: every way into it comes by the lookup,
 * which leaves guest code there (cpu.ts), and it is executed one instruction after the other, each looked at
 * before. All other code runs as it always does. A watched page gets no entry in the TLB, so that every access to
 * it comes by the MMU, which tells it here. The guest's own breakpoints are found the same ways (guest-breakpoints.ts).
 */
import { DebugKind, type DebugSettings, type HardwareAccess } from '../debug/settings.ts';
import { INSTRUCTION_EXIT } from './fault.ts';
import { GuestBreakpoints } from './guest-breakpoints.ts';
import { ModeBit, Seg, State } from './layout.ts';
import type { CpuMemory } from './memory.ts';
import { type Mmu, pageNumber } from './mmu.ts';

/** Most breakpoints and watchpoints together. */
export const BREAKPOINTS_MAXIMUM = 1024;

/** Words of the block: how often it was written, entries, vCPU to step plus one, whether RAM was written. */
const VERSION = 0;
const COUNT = 1;
const STEP = 2;
const MEMORY_WRITTEN = 3;
const HEADER_WORDS = 6;
/** A double of the header: the count of instructions to stop at. */
const UNTIL = 2;
/** Words of an entry: linear address, length, and what it waits for. */
const ENTRY_WORDS = 4;
const SOFTWARE = 0;
const ACCESS_CODES: Readonly<Record<HardwareAccess, number>> = { execute: 1, write: 2, access: 3 };

/** Shared memory for the settings of one machine. */
export function debugBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer((HEADER_WORDS + BREAKPOINTS_MAXIMUM * ENTRY_WORDS) * 4);
}

/** Main thread, while the CPU's thread stands: writes settings. */
export function writeDebugSettings(buffer: SharedArrayBuffer, settings: DebugSettings): void {
  const words = new Int32Array(buffer);
  const entries = [
    ...settings.software.map((address) => ({ address, length: 1, code: SOFTWARE })),
    ...settings.hardware.map(({ address, length, access }) => ({
      address,
      length,
      code: ACCESS_CODES[access],
    })),
  ];
  entries.forEach(({ address, length, code }, i) => {
    const at = HEADER_WORDS + i * ENTRY_WORDS;
    words[at] = Number(BigInt.asIntN(32, address));
    words[at + 1] = Number(BigInt.asIntN(32, address >> 32n));
    words[at + 2] = length;
    words[at + 3] = code;
  });
  words[COUNT] = entries.length;
  words[STEP] = settings.step === undefined ? 0 : settings.step + 1;
  new Float64Array(buffer)[UNTIL] = settings.until ?? Number.POSITIVE_INFINITY;
  Atomics.add(words, VERSION, 1);
}

/** Main thread, while the CPU's thread stands: RAM was written, and what was decoded of it may be old. */
export function noteMemoryWritten(buffer: SharedArrayBuffer): void {
  const words = new Int32Array(buffer);
  words[MEMORY_WRITTEN] = 1;
  Atomics.add(words, VERSION, 1);
}

interface Watchpoint {
  /** First byte in its page, and the byte after the last. */
  readonly from: number;
  readonly to: number;
  readonly reads: boolean;
  readonly index: number;
}

interface Breakpoint {
  readonly offset: number;
  readonly kind: DebugKind;
  readonly index: number;
}

/** The CPU thread's side. */
export class CpuDebug {
  /** Whether there is any breakpoint. */
  hasBreakpoints = false;
  /** The vCPU that does a single instruction; −1 when all run. */
  step = -1;
  /** Count of instructions to stop at. */
  until = Number.POSITIVE_INFINITY;
  /** Index of the hardware breakpoint that the running instruction has hit by an access; −1 for none. */
  watchHit = -1;
  /** What {@link atBreakpoint} has found. */
  readonly hit = { kind: 0, index: 0 };
  private readonly words: Int32Array;
  private readonly doubles: Float64Array;
  private readonly memory: CpuMemory;
  private version = 0;
  private readonly breakpoints = new Map<number, Breakpoint[]>();
  private readonly watchpoints = new Map<number, Watchpoint[]>();
  private readonly guest: GuestBreakpoints;
  /** Bits of DR6 of the guest's breakpoints that the running instruction has hit by an access. */
  guestHits = 0;

  constructor(memory: CpuMemory, buffer = debugBuffer()) {
    this.memory = memory;
    this.guest = new GuestBreakpoints(memory);
    this.words = new Int32Array(buffer);
    this.doubles = new Float64Array(buffer);
  }

  /**
   * Takes over what the main thread has set.
   * @returns undefined when nothing has changed, else whether RAM was written
   */
  reload(mmu: Mmu): { readonly memoryWritten: boolean } | undefined {
    const { words } = this;
    if (words[VERSION] === this.version) return undefined;
    this.version = words[VERSION]!;
    this.breakpoints.clear();
    this.watchpoints.clear();
    let hardware = 0;
    for (let i = 0; i < words[COUNT]!; i++) {
      const at = HEADER_WORDS + i * ENTRY_WORDS;
      const code = words[at + 3]!;
      this.add(words[at]!, words[at + 1]!, words[at + 2]!, code, code === SOFTWARE ? 0 : hardware++);
    }
    this.hasBreakpoints = this.breakpoints.size > 0;
    this.setWatch(mmu);
    this.step = words[STEP]! - 1;
    this.until = this.doubles[UNTIL]!;
    this.watchHit = -1;
    const memoryWritten = words[MEMORY_WRITTEN] !== 0;
    words[MEMORY_WRITTEN] = 0;
    return { memoryWritten };
  }

  /** Takes over the guest's debug registers. @returns whether the TLB and the jump cache must be flushed */
  reloadGuest(mmu: Mmu): boolean {
    if (!this.guest.reload()) return false;
    this.setWatch(mmu);
    return true;
  }

  private setWatch(mmu: Mmu): void {
    mmu.watch = this.watchpoints.size > 0 || this.guest.watchesAny ? this : undefined;
  }

  private add(low: number, high: number, length: number, code: number, index: number): void {
    const page = pageNumber(low, high);
    const offset = low & 0xfff;
    if (code === SOFTWARE || code === ACCESS_CODES.execute) {
      const kind = code === SOFTWARE ? DebugKind.software : DebugKind.hardware;
      push(this.breakpoints, page, { offset, kind, index });
    } else
      push(this.watchpoints, page, {
        from: offset,
        to: offset + length,
        reads: code === ACCESS_CODES.access,
        index,
      });
  }

  /** Whether the page of State.rip has a breakpoint: its code is executed step by step. */
  onBreakpointPage(): boolean {
    return (
      (this.hasBreakpoints && this.breakpoints.has(this.ripPage())) ||
      (this.guest.hasAny && this.guest.onPage(this.ripPage()))
    );
  }

  /** Bits of DR6 of the guest's breakpoints on the instruction at State.rip. */
  guestBreakpoint(): number {
    return this.guest.hasAny ? this.guest.at(this.ripPage(), this.linearLow() & 0xfff) : 0;
  }

  /** Bits of DR6 of the guest's breakpoints on an access to ports. */
  portHits(port: number, bytes: number): number {
    return this.guest.hasAny ? this.guest.ports(port, bytes) : 0;
  }

  /** Whether there is a breakpoint at State.rip. */
  atBreakpoint(): boolean {
    if (!this.hasBreakpoints) return false;
    const found = this.breakpoints.get(this.ripPage());
    if (found === undefined) return false;
    const offset = this.linearLow() & 0xfff;
    const breakpoint = found.find((one) => one.offset === offset);
    if (breakpoint === undefined) return false;
    this.hit.kind = breakpoint.kind;
    this.hit.index = breakpoint.index;
    return true;
  }

  /** Whether a linear page is watched. */
  isWatched(page: number): boolean {
    return this.watchpoints.has(page) || this.guest.watches(page);
  }

  /**
   * An access to a watched page is about to be made.
   * @param alone - whether the instruction runs by itself; else it is begun anew so, for it to stop right after
   * @throws INSTRUCTION_EXIT
   */
  access(low: number, high: number, bytes: number, isWrite: boolean, alone: boolean): void {
    const from = low & 0xfff;
    const hits = this.guest.hits(pageNumber(low, high), from, bytes, isWrite);
    if (hits !== 0) {
      if (!alone) {
        INSTRUCTION_EXIT.kind = 'step';
        throw INSTRUCTION_EXIT;
      }
      this.guestHits |= hits;
    }
    for (const watchpoint of this.watchpoints.get(pageNumber(low, high)) ?? []) {
      if (from >= watchpoint.to || from + bytes <= watchpoint.from) continue;
      if (!isWrite && !watchpoint.reads) continue;
      if (!alone) {
        INSTRUCTION_EXIT.kind = 'step';
        throw INSTRUCTION_EXIT;
      }
      this.watchHit = watchpoint.index;
    }
  }

  /** Low half of the linear address of State.rip. */
  linearLow(): number {
    const { memory } = this;
    const is64 = (memory.get(State.mode) & ModeBit.codeSize) === 2;
    return (memory.get(State.rip) + (is64 ? 0 : memory.get(State.segBase + 8 * Seg.cs))) | 0;
  }

  /** Its high half: 0 outside 64-bit mode. */
  linearHigh(): number {
    const { memory } = this;
    return (memory.get(State.mode) & ModeBit.codeSize) === 2 ? memory.get(State.rip + 4) : 0;
  }

  private ripPage(): number {
    return pageNumber(this.linearLow(), this.linearHigh());
  }
}

function push<T>(map: Map<number, T[]>, key: number, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
