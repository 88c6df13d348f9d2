/**
 * Counters of what a machine did: exits by reason for each vCPU, and accesses by device. They live in
 * shared memory, are written by whoever does the work, and never cleared while the machine lives.
 */
import { monotonicNow } from './clock.ts';
import { EXIT_REASON_NAMES } from './engine.ts';

/** Most devices on all buses together that are counted. */
const DEVICES_MAXIMUM = 64;
const REASONS = EXIT_REASON_NAMES.length;
/** Every vCPU thread counts in a row of its own, so that no two write to one word. */
const ROW = REASONS + 2 * DEVICES_MAXIMUM + 2;

/** Shared memory for the counters of `threads` vCPU threads. */
export function statisticsBuffer(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(NAMED_BYTES + threads * ROW * 8);
}

/** Counters whose names are not known before: a count and a name each. What comes when all are taken is "others". */
const NAMED_SLOTS = 64;
const NAME_BYTES = 40;
const NAMED_SLOT = 8 + NAME_BYTES;
const NAMED_BYTES = NAMED_SLOTS * NAMED_SLOT;
const OTHERS = 'others';

/** Instructions that weren't there, by name. Written by one thread. */
export class NamedCounters {
  private readonly buffer: SharedArrayBuffer;
  private readonly slots = new Map<string, number>();

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.names().forEach((name, slot) => {
      this.slots.set(name, slot);
    });
  }

  add(name: string): void {
    const slot = this.slots.get(name) ?? this.take(name);
    const count = new Float64Array(this.buffer, slot * NAMED_SLOT, 1);
    count[0] = count[0]! + 1;
  }

  /** The counts so far. */
  counts(): Record<string, number> {
    const count = (slot: number): number => new Float64Array(this.buffer, slot * NAMED_SLOT, 1)[0]!;
    return Object.fromEntries(this.names().map((name, slot) => [name, count(slot)]));
  }

  private take(name: string): number {
    if (this.slots.size === NAMED_SLOTS) return NAMED_SLOTS - 1;
    const slot = this.slots.size;
    const kept = slot === NAMED_SLOTS - 1 ? OTHERS : name;
    const bytes = new Uint8Array(this.buffer, slot * NAMED_SLOT + 8, NAME_BYTES);
    bytes.set(new TextEncoder().encode(kept).subarray(0, NAME_BYTES));
    this.slots.set(name, slot);
    return slot;
  }

  private names(): string[] {
    const names: string[] = [];
    for (let slot = 0; slot < NAMED_SLOTS; slot++) {
      const bytes = Uint8Array.from(new Uint8Array(this.buffer, slot * NAMED_SLOT + 8, NAME_BYTES));
      if (bytes[0] === 0) break;
      const end = bytes.indexOf(0);
      names.push(new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end)));
    }
    return names;
  }
}

/** One thread's counters: doubles, exact to 2⁵³. */
export interface ThreadCounters {
  /** By {@link ExitReason}. */
  readonly exits: Float64Array;
  /** By index of device on the port bus. */
  readonly pio: Float64Array;
  /** By index of device on the memory bus. */
  readonly mmio: Float64Array;
  /** One number: instructions executed, where the driver counts them. */
  readonly instructions: Float64Array;
  /** One number: when the thread turned to the guest, as `monotonicNow()` has it. */
  readonly began: Float64Array;
}

/** The counters that vCPU `thread` writes. */
export function threadCounters(buffer: SharedArrayBuffer, thread: number): ThreadCounters {
  const row = new Float64Array(buffer, NAMED_BYTES + thread * ROW * 8, ROW);
  return {
    exits: row.subarray(0, REASONS),
    pio: row.subarray(REASONS, REASONS + DEVICES_MAXIMUM),
    mmio: row.subarray(REASONS + DEVICES_MAXIMUM, REASONS + 2 * DEVICES_MAXIMUM),
    instructions: row.subarray(ROW - 2, ROW - 1),
    began: row.subarray(ROW - 1),
  };
}

/** The counters of all threads, added up and named. */
export interface Statistics {
  /** Number of exits by reason, all vCPUs. */
  readonly exits: Readonly<Record<string, number>>;
  /** Number of accesses by device name. */
  readonly devices: Readonly<Record<string, number>>;
  /** Instructions executed, all vCPUs; interrupts and exceptions count, too. Undefined on KVM, which doesn't count them. */
  readonly instructions: number | undefined;
  /** How often instructions that the CPU in TypeScript hasn't got raised #UD, by name. */
  readonly undefinedInstructions: Readonly<Record<string, number>>;
  /** When the guest was let run: milliseconds of `performance.now()` on the main thread. Undefined before. */
  readonly began: number | undefined;
}

/** @param pioNames, mmioNames - device names in order of their index on each bus */
export function gatherStatistics(
  buffer: SharedArrayBuffer,
  threads: number,
  pioNames: readonly string[],
  mmioNames: readonly string[],
): Statistics {
  const exits: Record<string, number> = {};
  const devices: Record<string, number> = {};
  let instructions = 0;
  const [began] = threadCounters(buffer, 0).began;
  const add = (into: Record<string, number>, name: string | undefined, count: number): void => {
    if (name !== undefined && count > 0) into[name] = (into[name] ?? 0) + count;
  };
  for (let thread = 0; thread < threads; thread++) {
    const counters = threadCounters(buffer, thread);
    instructions += counters.instructions[0]!;
    counters.exits.forEach((count, reason) => {
      add(exits, EXIT_REASON_NAMES[reason], count);
    });
    counters.pio.forEach((count, index) => {
      add(devices, pioNames[index], count);
    });
    counters.mmio.forEach((count, index) => {
      add(devices, mmioNames[index], count);
    });
  }
  return {
    exits,
    devices,
    instructions: instructions > 0 ? instructions : undefined,
    undefinedInstructions: new NamedCounters(buffer).counts(),
    began: began! > 0 ? performance.now() - (monotonicNow() - began!) / 1e6 : undefined,
  };
}
