/**
 * The producer's side of a trace, one on each thread of a traced machine. It hangs on the seam of the vCPU's
 * loop (vm/vcpu-loop.ts), on the platform (interrupt lines, virtqueues) and, for the CPU in TypeScript, on
 * what that delivers to the guest. Without a trace there is no such object, and each of them does one
 * comparison with `undefined` at most.
 */
import type { Bus } from '../../devices/bus.ts';
import type { IrqLine } from '../../devices/device.ts';
import { monotonicNow } from '../clock.ts';
import { ExitReason, type Vcpu } from '../engine.ts';
import type { PlatformObserver } from '../platform.ts';
import type { ExitObserver } from '../vcpu-loop.ts';
import { RecordField, RecordFlag, TraceKind, type TracePart } from './event.ts';
import { TraceRing } from './ring.ts';

/** A time that is outside the filter's window. */
const OUTSIDE = -1;

/**
 * Whether a name of the filter means a device: its name, or its name without the number. `unmapped` means
 * what no device answers.
 */
export function isDeviceNamed(device: string, name: string): boolean {
  return device === name || device.replace(/(\d+|-read|-write)$/, '') === name;
}

/** Records what happens on one thread. */
export class Tracer implements ExitObserver, PlatformObserver {
  private readonly part: TracePart;
  private readonly ring: TraceRing;
  private readonly vcpuOf: () => number;
  private readonly kinds: number;
  private readonly start: Float64Array;
  private readonly levels: Int32Array;
  /** By vCPU: 1 when it is traced. */
  private readonly vcpus: Uint8Array | undefined;
  /** By {@link Bus.counterAt}: 1 when the device is traced; undefined when all are. */
  private pioDevices: Uint8Array | undefined;
  private mmioDevices: Uint8Array | undefined;
  private pio: Bus | undefined;
  private mmio: Bus | undefined;
  /** The exit that is being served: since when, and what was selected before; −1 when it isn't recorded. */
  private since = -1;
  private selected = 0;

  /**
   * @param ring - which of the part's rings is this thread's
   * @param vcpu - the vCPU that the thread runs now; −1 on a thread that runs none
   */
  constructor(part: TracePart, ring: number, vcpu: () => number) {
    this.part = part;
    this.ring = new TraceRing(part.rings[ring]!);
    this.vcpuOf = vcpu;
    this.kinds = part.filter.kinds;
    this.start = new Float64Array(part.start);
    this.levels = new Int32Array(part.levels);
    const { vcpus } = part.filter;
    if (vcpus !== undefined) {
      this.vcpus = new Uint8Array(256);
      for (const index of vcpus) this.vcpus[index] = 1;
    }
  }

  /** Tells the tracer of the thread's buses, once all devices are mapped. */
  attach(pio: Bus, mmio: Bus): void {
    this.pio = pio;
    this.mmio = mmio;
    const { devices } = this.part.filter;
    if (devices === undefined) return;
    const chosen = (bus: Bus): Uint8Array =>
      Uint8Array.from(bus.names, (name) => (devices.some((wanted) => isDeviceNamed(name, wanted)) ? 1 : 0));
    this.pioDevices = chosen(pio);
    this.mmioDevices = chosen(mmio);
  }

  /** Hot path when tracing: an exit is about to be served. */
  exit(vcpu: Vcpu, reason: ExitReason): void {
    this.since = -1;
    if ((this.kinds & (1 << reason)) === 0) return;
    if (!this.wantsVcpu()) return;
    const { address } = vcpu.exit;
    if (this.pioDevices !== undefined) {
      if (reason === ExitReason.io) {
        if (this.pioDevices[this.pio!.counterAt(address)] !== 1) return;
      } else if (reason === ExitReason.mmio) {
        if (this.mmioDevices![this.mmio!.counterAt(address)] !== 1) return;
      } else return;
    }
    if (reason === ExitReason.io) this.selected = this.pio!.selectedAt(address);
    else if (reason === ExitReason.mmio) this.selected = this.mmio!.selectedAt(address);
    this.since = this.nowInWindow();
  }

  /** Hot path when tracing: the exit has been served. */
  served(vcpu: Vcpu, reason: ExitReason): void {
    const { since } = this;
    if (since < 0) return;
    const at = this.begin(reason, since, this.vcpuOf(), 0);
    if (at < 0) return;
    const { words, doubles } = this.ring;
    doubles[(at >> 1) + RecordField.duration] = Math.max(0, monotonicNow() - since);
    if (reason === ExitReason.io || reason === ExitReason.mmio) {
      const { exit, data } = vcpu;
      words[at + RecordField.addressLow] = exit.address | 0;
      words[at + RecordField.addressHigh] = Math.floor(exit.address / 0x1_0000_0000);
      let low = 0;
      let high = 0;
      const bytes = Math.min(exit.size * exit.count, 8);
      for (let i = 0; i < bytes; i++) {
        const byte = data.getUint8(exit.dataOffset + i);
        if (i < 4) low |= byte << (8 * i);
        else high |= byte << (8 * (i - 4));
      }
      words[at + RecordField.valueLow] = low;
      words[at + RecordField.valueHigh] = high;
      words[at + RecordField.count] = exit.count;
      words[at + RecordField.size] = exit.size;
      words[at + RecordField.detail] = this.selected;
      if (exit.isWrite)
        words[at + RecordField.head] = words[at + RecordField.head]! | (RecordFlag.write << 16);
    }
    this.ring.commit();
  }

  /** The CPU in TypeScript delivers an exception. @param errorCode - −1 for none. Addresses as low and high word */
  exception(
    vector: number,
    errorCode: number,
    addressLow: number,
    addressHigh: number,
    ripLow: number,
    ripHigh: number,
  ): void {
    const at = this.instant(TraceKind.exception);
    if (at < 0) return;
    const { words } = this.ring;
    words[at + RecordField.addressLow] = addressLow;
    words[at + RecordField.addressHigh] = addressHigh;
    words[at + RecordField.valueLow] = ripLow;
    words[at + RecordField.valueHigh] = ripHigh;
    words[at + RecordField.count] = errorCode;
    words[at + RecordField.detail] = vector;
    this.ring.commit();
  }

  /** The CPU in TypeScript takes an interrupt. */
  interrupt(vector: number, ripLow: number, ripHigh: number): void {
    const at = this.instant(TraceKind.interrupt);
    if (at < 0) return;
    const { words } = this.ring;
    words[at + RecordField.valueLow] = ripLow;
    words[at + RecordField.valueHigh] = ripHigh;
    words[at + RecordField.detail] = vector;
    this.ring.commit();
  }

  /** The CPU in TypeScript accesses its local APIC. */
  lapic(offset: number, isWrite: boolean, value: number): void {
    if (this.pioDevices !== undefined && !this.wantsDevice(`lapic${this.vcpuOf()}`)) return;
    const at = this.instant(TraceKind.lapic, true);
    if (at < 0) return;
    const { words } = this.ring;
    words[at + RecordField.addressLow] = offset;
    words[at + RecordField.valueLow] = value;
    words[at + RecordField.size] = 4;
    words[at + RecordField.count] = 1;
    if (isWrite) words[at + RecordField.head] = words[at + RecordField.head]! | (RecordFlag.write << 16);
    this.ring.commit();
  }

  /** A line that a device drives, with its changes recorded. */
  irqLine(device: string, gsi: number, line: IrqLine): IrqLine {
    if ((this.kinds & (1 << TraceKind.irq)) === 0 || !this.wantsDevice(device)) return line;
    return {
      setLevel: (asserted) => {
        const level = asserted ? 1 : 0;
        if (Atomics.exchange(this.levels, gsi, level) !== level) this.irq(gsi, level, 0);
        line.setLevel(asserted);
      },
      pulse: () => {
        this.irq(gsi, 1, RecordFlag.pulse);
        line.pulse();
      },
    };
  }

  /** Work on a virtqueue, recorded when there was any. */
  queueWork(device: number, name: string, queue: number, done: () => number, work: () => boolean): boolean {
    if ((this.kinds & (1 << TraceKind.queue)) === 0 || !this.wantsDevice(name)) return work();
    const since = this.nowInWindow();
    if (since < 0) return work();
    const before = done();
    const more = work();
    const duration = Math.max(0, monotonicNow() - since);
    const at = this.begin(TraceKind.queue, since, 0, RecordFlag.noVcpu);
    if (at < 0) return more;
    const { words, doubles } = this.ring;
    doubles[(at >> 1) + RecordField.duration] = duration;
    words[at + RecordField.count] = (done() - before) & 0xffff;
    words[at + RecordField.detail] = device | (queue << 16);
    this.ring.commit();
    return more;
  }

  private irq(gsi: number, level: number, flag: number): void {
    const now = this.nowInWindow();
    if (now < 0) return;
    const at = this.begin(TraceKind.irq, now, 0, RecordFlag.noVcpu | flag);
    if (at < 0) return;
    this.ring.words[at + RecordField.size] = level;
    this.ring.words[at + RecordField.detail] = gsi;
    this.ring.commit();
  }

  /** Begins the record of something without duration on the running vCPU. @param ofDevice - whether the device was looked at already */
  private instant(kind: TraceKind, ofDevice = false): number {
    if ((this.kinds & (1 << kind)) === 0 || !this.wantsVcpu()) return -1;
    if (!ofDevice && this.pioDevices !== undefined) return -1;
    const now = this.nowInWindow();
    return now < 0 ? -1 : this.begin(kind, now, this.vcpuOf(), 0);
  }

  private wantsVcpu(): boolean {
    return this.vcpus === undefined || this.vcpus[this.vcpuOf()] === 1;
  }

  private wantsDevice(name: string): boolean {
    const { devices } = this.part.filter;
    return devices === undefined || devices.some((wanted) => isDeviceNamed(name, wanted));
  }

  /** The time now, or −1 outside the filter's window. */
  private nowInWindow(): number {
    const now = monotonicNow();
    const { from, to } = this.part.filter;
    const elapsed = now - this.start[0]!;
    return elapsed >= from && elapsed < to ? now : OUTSIDE;
  }

  private begin(kind: number, time: number, vcpu: number, flags: number): number {
    const at = this.ring.begin(!this.part.lossy);
    if (at < 0) return at;
    const { words, doubles } = this.ring;
    doubles[(at >> 1) + RecordField.time] = time;
    doubles[(at >> 1) + RecordField.duration] = 0;
    for (let i = RecordField.addressLow; i <= RecordField.detail; i++) words[at + i] = 0;
    words[at + RecordField.head] = kind | (vcpu << 8) | (flags << 16);
    return at;
  }
}
