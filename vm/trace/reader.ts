/**
 * The consumer's side of a trace, on the main thread: takes records out of the rings of all threads, puts
 * them in order of time, names devices and registers, and hands them out as a stream.
 */
import { Readable } from 'node:stream';
import type { Bus } from '../../devices/bus.ts';
import { describeBits, type Register, registerAt, registerName } from '../../devices/registers.ts';
import { monotonicNow } from '../clock.ts';
import {
  RecordField,
  RecordFlag,
  TRACE_KIND_NAMES,
  TraceKind,
  type TraceKindName,
  type TracePart,
} from './event.ts';
import { TraceRing } from './ring.ts';

/** How often the rings are looked at, in ms. */
const POLL_MS = 5;
/** Records younger than this wait, so that those of other threads can be put before them, in nanoseconds. */
const SETTLE = 20e6;
/** Events that may wait for whoever reads the stream, before the rings are left to fill. */
const WAITING_MAXIMUM = 8192;
/** Records taken from one ring at a time. */
const PORTION = 4096;

/** One event of a trace. */
export interface TraceEvent {
  /** What happened. */
  readonly kind: TraceKindName;
  /** When, in nanoseconds since the machine was started. */
  readonly time: number;
  /** How long the VMM was at it, in nanoseconds; 0 for what has no length. */
  readonly duration: number;
  /** The virtual CPU; absent for what devices do by themselves. */
  readonly vcpu?: number;
  /** The device's name; absent where none is meant, or none answered. */
  readonly device?: string;
  /** The register's name as its manual has it. */
  readonly register?: string;
  /** Port, guest-physical address, or for a page fault the linear address. */
  readonly address?: number | bigint;
  /** Whether an access is a write. */
  readonly isWrite?: boolean;
  /** Bytes of one access. */
  readonly size?: number;
  /** Accesses of one exit (string instructions), or chains of buffers that a virtqueue's work was about. */
  readonly count?: number;
  /** What was written or read: the first eight bytes, as a little-endian number. */
  readonly value?: number | bigint;
  /** What the value means, in few words: a character, bits by name. */
  readonly meaning?: string;
  /** Interrupt or exception vector. */
  readonly vector?: number;
  /** An exception's error code, where it has one. */
  readonly errorCode?: number;
  /** Where the guest was when an exception or interrupt came. */
  readonly rip?: bigint;
  /** Of `irq`: the global system interrupt; its line goes up (1) or down (0), or up and down at once. */
  readonly gsi?: number;
  /** Of `irq`: 1 for up, 0 for down. */
  readonly level?: number;
  /** Of `irq`: whether the line goes up and down at once. */
  readonly pulse?: boolean;
  /** Of `queue`: its number. */
  readonly queue?: number;
}

/** How a trace stands. */
export interface TraceTotals {
  /** Events handed out so far. */
  readonly events: number;
  /** Events that found no room, when the trace was asked to drop them. */
  readonly dropped: number;
  /** Nanoseconds for which threads were held back because nobody took their events, all threads together. */
  readonly heldBack: number;
}

/** What the reader asks about the machine. It is made anew with every reset. */
export interface TraceNames {
  readonly pio: Bus;
  readonly mmio: Bus;
  /** Device on an interrupt line, by GSI. */
  readonly interrupts: ReadonlyMap<number, string>;
  /** Names of the virtio devices. */
  readonly virtio: readonly string[];
  /** Registers of the local APICs, where the guest's accesses to them are seen. */
  readonly lapic: readonly Register[];
}

/** Events of a machine as a stream of objects. Who doesn't read holds the guest back, or loses events. */
export class TraceReader {
  /** In order of time, each a {@link TraceEvent}. Ends when the machine has. */
  readonly stream: Readable;
  private readonly rings: readonly TraceRing[];
  private readonly start: Float64Array;
  private readonly names: () => TraceNames;
  private timer: NodeJS.Timeout | undefined;
  private pending: TraceEvent[] = [];
  private wanted = false;
  /** Events up to this time can be handed out: none before them will come. */
  private settled = 0;
  private events = 0;

  /** @param names - the machine's names now */
  constructor(part: TracePart, names: () => TraceNames) {
    this.rings = part.rings.map((buffer) => new TraceRing(buffer));
    this.start = new Float64Array(part.start);
    this.names = names;
    this.stream = new Readable({
      objectMode: true,
      highWaterMark: 1024,
      read: () => {
        this.wanted = true;
        this.hand();
      },
      destroy: (error, done) => {
        this.close();
        done(error);
      },
    });
  }

  /** The machine starts. @param time - CLOCK_MONOTONIC nanoseconds */
  begin(time: number): void {
    this.start[0] = time;
    this.timer = setInterval(() => this.poll(), POLL_MS);
  }

  /** Events so far, and what became of others. */
  get totals(): TraceTotals {
    return {
      events: this.events,
      dropped: this.rings.reduce((sum, ring) => sum + ring.dropped, 0),
      heldBack: this.rings.reduce((sum, ring) => sum + ring.waited, 0),
    };
  }

  /** The machine has ended and no thread runs: hands out what is left, and ends the stream. */
  async end(): Promise<void> {
    while (!this.stream.destroyed && this.rings.some((ring) => ring.length > 0)) {
      this.poll();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    clearInterval(this.timer);
    this.settled = Number.POSITIVE_INFINITY;
    this.hand();
    while (this.pending.length > 0 && !this.stream.destroyed)
      await new Promise((resolve) => setTimeout(resolve, 1));
    if (!this.stream.destroyed) this.stream.push(null);
  }

  private close(): void {
    clearInterval(this.timer);
    this.pending = [];
    for (const ring of this.rings) ring.close();
  }

  private poll(): void {
    if (this.pending.length < WAITING_MAXIMUM) {
      const start = this.start[0]!;
      let taken = 0;
      const horizon = monotonicNow() - start - SETTLE;
      for (const ring of this.rings) {
        const count = Math.min(ring.length, PORTION);
        for (let n = 0; n < count; n++) this.pending.push(this.decode(ring, ring.first(n), start));
        ring.release(count);
        taken += count;
      }
      if (taken > 0) this.pending.sort((a, b) => a.time - b.time);
      this.settled = horizon;
    }
    this.hand();
  }

  private hand(): void {
    const { pending } = this;
    let n = 0;
    while (this.wanted && n < pending.length && pending[n]!.time <= this.settled) {
      this.events++;
      this.wanted = this.stream.push(pending[n++]);
    }
    if (n > 0) pending.splice(0, n);
  }

  private decode(ring: TraceRing, at: number, start: number): TraceEvent {
    const { words, doubles } = ring;
    const head = words[at + RecordField.head]!;
    const kind = head & 0xff;
    const flags = head >>> 16;
    const common = {
      kind: TRACE_KIND_NAMES[kind]!,
      time: doubles[(at >> 1) + RecordField.time]! - start,
      duration: doubles[(at >> 1) + RecordField.duration]!,
      ...(flags & RecordFlag.noVcpu ? {} : { vcpu: (head >>> 8) & 0xff }),
    };
    const detail = words[at + RecordField.detail]!;
    const count = words[at + RecordField.count]!;
    switch (kind) {
      case TraceKind.pio:
      case TraceKind.mmio:
      case TraceKind.lapic:
        return { ...common, ...this.access(kind, words, at, flags) };
      case TraceKind.exception:
        return {
          ...common,
          vector: detail,
          ...(count >= 0 ? { errorCode: count } : {}),
          ...(detail === PAGE_FAULT ? { address: wide(words, at + RecordField.addressLow) } : {}),
          rip: wide(words, at + RecordField.valueLow),
        };
      case TraceKind.interrupt:
        return { ...common, vector: detail, rip: wide(words, at + RecordField.valueLow) };
      case TraceKind.irq:
        return {
          ...common,
          ...named('device', this.names().interrupts.get(detail)),
          gsi: detail,
          level: words[at + RecordField.size]!,
          pulse: (flags & RecordFlag.pulse) !== 0,
        };
      case TraceKind.queue:
        return {
          ...common,
          ...named('device', this.names().virtio[detail & 0xffff]),
          queue: detail >>> 16,
          count,
        };
      default:
        return common;
    }
  }

  private access(kind: number, words: Int32Array, at: number, flags: number): Partial<TraceEvent> {
    const low = words[at + RecordField.addressLow]! >>> 0;
    const address = words[at + RecordField.addressHigh]! * 0x1_0000_0000 + low;
    const isWrite = (flags & RecordFlag.write) !== 0;
    const size = words[at + RecordField.size]!;
    const count = words[at + RecordField.count]!;
    const selected = words[at + RecordField.detail]!;
    const names = this.names();
    let device: string | undefined;
    let register: Register | undefined;
    let offset = address;
    if (kind === TraceKind.lapic) {
      device = `lapic${(words[at + RecordField.head]! >>> 8) & 0xff}`;
      register = registerAt(names.lapic, address, isWrite);
    } else {
      const found = (kind === TraceKind.pio ? names.pio : names.mmio).deviceAt(address);
      device = found?.device.name;
      offset = found?.offset ?? 0;
      register = found && registerAt(found.device.registers, offset, isWrite, selected);
    }
    const bytes = Math.min(8, size * count);
    const value =
      bytes <= 4 ? words[at + RecordField.valueLow]! >>> 0 : wide(words, at + RecordField.valueLow);
    return {
      ...named('device', device),
      ...named('register', register && registerName(register, offset)),
      address,
      isWrite,
      size,
      count,
      value,
      ...named('meaning', register && meaningOf(register, isWrite, value, bytes)),
    };
  }
}

const PAGE_FAULT = 14;

/** What a register's value means, where there is more to say than the number. */
function meaningOf(
  register: Register,
  isWrite: boolean,
  value: number | bigint,
  bytes: number,
): string | undefined {
  if (register.text === true) {
    const data = Buffer.alloc(8);
    data.writeBigUInt64LE(BigInt(value));
    return JSON.stringify(data.toString('latin1', 0, bytes)).replace(/^"(.*)"$/, "'$1'");
  }
  const number = Number(value);
  const text = isWrite ? register.meaning?.(number) : undefined;
  const described = text ?? (register.bits && describeBits(number, register.bits));
  return described === '' ? undefined : described;
}

function wide(words: Int32Array, at: number): bigint {
  return (BigInt(words[at + 1]! >>> 0) << 32n) | BigInt(words[at]! >>> 0);
}

/** An optional field. */
function named<K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]: string });
}
