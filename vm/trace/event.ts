/**
 * What a trace consists of: the kinds of events, and the record in which a vCPU's or device thread hands one
 * to the main thread (see ring.ts). The first kinds are the exit reasons of vm/engine.ts, by their numbers.
 */
import { ExitReason } from '../engine.ts';

/** A kind of event by name: what `--reason` takes, and what {@link TraceEvent.kind} says. */
export type TraceKindName =
  | 'pio'
  | 'mmio'
  | 'hlt'
  | 'shutdown'
  | 'hypercall'
  | 'debug'
  | 'interrupted'
  | 'error'
  | 'exception'
  | 'interrupt'
  | 'irq'
  | 'queue'
  | 'lapic';

/** What happened. */
export const TraceKind = {
  pio: ExitReason.io,
  mmio: ExitReason.mmio,
  hlt: ExitReason.hlt,
  shutdown: ExitReason.shutdown,
  hypercall: ExitReason.hypercall,
  debug: ExitReason.debug,
  interrupted: ExitReason.interrupted,
  error: ExitReason.internalError,
  /** An exception of the guest's, on its way into the guest. Seen by the CPU in TypeScript only. */
  exception: 8,
  /** An interrupt was injected: the vCPU goes to its handler. Seen by the CPU in TypeScript only. */
  interrupt: 9,
  /** A device drives its interrupt line. */
  irq: 10,
  /** A device has worked on a virtqueue. */
  queue: 11,
  /** An access to a local APIC that needed no exit. Seen by the CPU in TypeScript only. */
  lapic: 12,
} as const satisfies Readonly<Record<TraceKindName, number>>;
export type TraceKind = (typeof TraceKind)[keyof typeof TraceKind];

/** Names of kinds, by number: the numbers count on without a gap. */
export const TRACE_KIND_NAMES = Object.keys(TraceKind).sort(
  (a, b) => TraceKind[a as TraceKindName] - TraceKind[b as TraceKindName],
) as readonly TraceKindName[];

/** Which events are recorded; all others cost no more than the look at this. */
export interface TraceFilter {
  /** A bit for each kind, by its number. */
  readonly kinds: number;
  /** Undefined for all. */
  readonly vcpus: readonly number[] | undefined;
  /** Names of devices; undefined for all events, with or without a device. */
  readonly devices: readonly string[] | undefined;
  /** Nanoseconds since the machine was started: events from here … */
  readonly from: number;
  /** … to before here. */
  readonly to: number;
}

/** All events. */
export const TRACE_EVERYTHING: TraceFilter = {
  kinds: -1,
  vcpus: undefined,
  devices: undefined,
  from: 0,
  to: Number.POSITIVE_INFINITY,
};

/** What a machine's threads need for tracing: plain data and shared memory. */
export interface TracePart {
  readonly filter: TraceFilter;
  /** When a ring is full: whether events are dropped, and counted, rather than the guest held back. */
  readonly lossy: boolean;
  /** One for each vCPU's thread, and the last for the device thread. */
  readonly rings: readonly SharedArrayBuffer[];
  /** A double: when the machine was started, in CLOCK_MONOTONIC nanoseconds. */
  readonly start: SharedArrayBuffer;
  /** Levels of interrupt lines by GSI, so that only changes are events, whichever thread drives a line. */
  readonly levels: SharedArrayBuffer;
}

/** Doubles of a record. */
export const RECORD_DOUBLES = 6;
/** Index of each field of a record: the first two in doubles, the others in 32-bit words. */
export const RecordField = {
  /** CLOCK_MONOTONIC nanoseconds. */
  time: 0,
  /** Nanoseconds. */
  duration: 1,
  /** Port, guest-physical or linear address. */
  addressLow: 4,
  addressHigh: 5,
  /** Data of an access, up to eight bytes; RIP of exceptions and interrupts. */
  valueLow: 6,
  valueHigh: 7,
  /** Kind in bits 0–7, vCPU in 8–15, flags in 16–31. */
  head: 8,
  /** Accesses of an exit, chains of a queue, error code of an exception (−1 for none). */
  count: 9,
  /** Bytes of an access, level of a line. */
  size: 10,
  /** What selects the register; vector; GSI; queue's device (low half) and number (high half). */
  detail: 11,
} as const;

/** Flags of a record. */
export const RecordFlag = { write: 1, pulse: 2, noVcpu: 4 } as const;
