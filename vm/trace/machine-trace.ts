/**
 * Tracing as the machine has it: the rings that its threads get, and the reader of what they put there.
 */
import type { Readable } from 'node:stream';
import { LAPIC_REGISTERS } from '../../devices/apic-register-names.ts';
import { ConfigError } from '../../devices/errors.ts';
import { GSI_COUNT } from '../layout.ts';
import type { Platform } from '../platform.ts';
import type { TraceFilter, TracePart } from './event.ts';
import { TraceReader, type TraceTotals } from './reader.ts';
import { TraceRing } from './ring.ts';
import { isDeviceNamed } from './tracer.ts';

/** What to trace. */
export interface TraceOptions {
  readonly filter: TraceFilter;
  /** Whether events are dropped, and counted, when nobody takes them in time; else the guest waits. */
  readonly lossy: boolean;
}

/** Where the interval timer's interrupt is, on engines that have it as a device. */
const TIMER_GSI = 0;

/** The trace of one machine, through all its resets. */
export class MachineTrace {
  /** For the machine's threads. */
  readonly part: TracePart;
  private readonly reader: TraceReader;
  private readonly cpus: number;

  /** @param platform - the machine's platform now */
  constructor(options: TraceOptions, cpus: number, platform: () => Platform) {
    this.cpus = cpus;
    this.part = {
      ...options,
      rings: Array.from({ length: cpus + 1 }, () => TraceRing.buffer()),
      start: new SharedArrayBuffer(8),
      levels: new SharedArrayBuffer(GSI_COUNT * 4),
    };
    this.reader = new TraceReader(this.part, () => {
      const { pio, mmio, interrupts, virtio } = platform();
      return {
        pio,
        mmio,
        interrupts: new Map([[TIMER_GSI, 'pit'], ...interrupts]),
        virtio: virtio.map(({ transport }) => transport.name),
        lapic: LAPIC_REGISTERS,
      };
    });
  }

  /** Events as a stream of {@link TraceEvent} objects. */
  get stream(): Readable {
    return this.reader.stream;
  }

  get totals(): TraceTotals {
    return this.reader.totals;
  }

  /** The machine starts now. @param time - CLOCK_MONOTONIC nanoseconds */
  begin(time: number): void {
    this.reader.begin(time);
  }

  /** The machine has ended. Resolved when all events are handed out. */
  end(): Promise<void> {
    return this.reader.end();
  }

  /** @throws ConfigError when the filter names a device or a vCPU that this machine doesn't have */
  check(platform: Platform): void {
    const { devices, vcpus } = this.part.filter;
    const lapics = Array.from({ length: this.cpus }, (_, i) => `lapic${i}`);
    const names = [...platform.pio.names, ...platform.mmio.names, ...lapics];
    for (const wanted of devices ?? []) {
      if (names.some((name) => isDeviceNamed(name, wanted))) continue;
      throw new ConfigError(`trace: this machine has no device '${wanted}'`, {
        hint: `It has: ${names
          .map((name) => name.replace(/^unmapped-.*/, 'unmapped'))
          .filter(unique)
          .join(', ')}. A name without its number means all of a kind.`,
      });
    }
    for (const vcpu of vcpus ?? []) {
      if (vcpu < this.cpus) continue;
      throw new ConfigError(`trace: this machine has no vCPU ${vcpu}`, {
        hint: this.cpus === 1 ? 'It has only vCPU 0.' : `It has vCPUs 0 to ${this.cpus - 1}.`,
      });
    }
  }
}

function unique<T>(item: T, index: number, all: readonly T[]): boolean {
  return all.indexOf(item) === index;
}
