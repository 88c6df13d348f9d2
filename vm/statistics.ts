/**
 * Counters of what a machine did: exits by reason for each vCPU, and accesses by device. They live in
 * shared memory, are written by whoever does the work, and never cleared while the machine lives.
 */
import { EXIT_REASON_NAMES } from './engine.ts';

/** Most devices on all buses together that are counted. */
const DEVICES_MAXIMUM = 64;
const REASONS = EXIT_REASON_NAMES.length;
/** Every vCPU thread counts in a row of its own, so that no two write to one word. */
const ROW = REASONS + 2 * DEVICES_MAXIMUM + 1;

/** Shared memory for the counters of `threads` vCPU threads. */
export function statisticsBuffer(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * ROW * 8);
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
}

/** The counters that vCPU `thread` writes. */
export function threadCounters(buffer: SharedArrayBuffer, thread: number): ThreadCounters {
  const row = new Float64Array(buffer, thread * ROW * 8, ROW);
  return {
    exits: row.subarray(0, REASONS),
    pio: row.subarray(REASONS, REASONS + DEVICES_MAXIMUM),
    mmio: row.subarray(REASONS + DEVICES_MAXIMUM, REASONS + 2 * DEVICES_MAXIMUM),
    instructions: row.subarray(ROW - 1),
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
  return { exits, devices, instructions: instructions > 0 ? instructions : undefined };
}
