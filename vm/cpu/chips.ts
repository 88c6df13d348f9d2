/**
 * The interrupt controllers and timers that KVM has in the kernel and that the CPU in TypeScript needs as
 * devices: local APICs, IOAPIC, the pair of PICs, the interval timer.
 */

import type { Bus } from '../../devices/bus.ts';
import type { Alarm, Clock, Device, IrqLine, TimedDevice } from '../../devices/device.ts';
import { InterruptBus } from '../../devices/interrupt-bus.ts';
import { Ioapic } from '../../devices/ioapic.ts';
import { type CpuSignals, LocalApic } from '../../devices/lapic.ts';
import { PicPair } from '../../devices/pic.ts';
import { Pit } from '../../devices/pit.ts';
import { StateAllocator } from '../../devices/state.ts';
import { IOAPIC_BASE } from '../layout.ts';
import type { PlatformObserver } from '../platform.ts';
import { CpuTime } from './time.ts';

const TIMER_GSI = 0;
/** IOAPIC input of the timer, as the MADT says. */
const TIMER_INPUT = 2;
const PIC_INPUTS = 16;

export interface ChipsHost {
  /** The machine's clock; undefined where time is virtual. */
  readonly hostClock: Clock | undefined;
  readonly alarm: Alarm;
  /** Instructions done before the one that runs. */
  executed(): number;
  signals(cpu: number): CpuSignals;
  readonly observer?: Pick<PlatformObserver, 'irqLine'> | undefined;
}

/** Shared memory for the chips of a machine. */
export function chipsBuffer(cpus: number): SharedArrayBuffer {
  const layouts = [
    CpuTime.layout,
    ...Array.from({ length: cpus }, () => LocalApic.layout),
    Ioapic.layout,
    PicPair.layout,
    Pit.layout,
  ];
  return new SharedArrayBuffer(layouts.reduce((sum, layout) => sum + StateAllocator.bytesFor(layout), 0));
}

export class Chips {
  /** Not a chip, but saved with them. */
  readonly time: CpuTime;
  readonly apics: readonly LocalApic[];
  readonly ioapic: Ioapic;
  readonly pic: PicPair;
  readonly pit: Pit;
  readonly devices: readonly Device[];
  readonly timed: readonly TimedDevice[];

  constructor(cpus: number, buffer: SharedArrayBuffer, host: ChipsHost) {
    const allocator = new StateAllocator(buffer);
    const bus = new InterruptBus();
    const { alarm } = host;
    this.time = new CpuTime(allocator.allocate(CpuTime.layout), host.hostClock, () => host.executed());
    const { time } = this;
    this.apics = Array.from({ length: cpus }, (_, id) => {
      const apic = new LocalApic(`lapic${id}`, allocator.allocate(LocalApic.layout), {
        id,
        clock: time,
        alarm,
        get tscFrequency() {
          return time.tscFrequency;
        },
        readTsc: () => time.tsc(),
        bus,
        signals: host.signals(id),
      });
      bus.addLocalApic(apic);
      return apic;
    });
    this.ioapic = new Ioapic('ioapic', allocator.allocate(Ioapic.layout), bus);
    bus.addIoapic(this.ioapic);
    this.pic = new PicPair(allocator.allocate(PicPair.layout), (asserted) =>
      this.apics[0]!.setPin(0, asserted),
    );
    const timerLine = this.line(TIMER_GSI);
    this.pit = new Pit(
      allocator.allocate(Pit.layout),
      host.observer?.irqLine('pit', TIMER_GSI, timerLine) ?? timerLine,
      time,
      alarm,
    );
    this.devices = [time, ...this.apics, this.ioapic, this.pic, this.pit];
    this.timed = [...this.apics, this.pit];
  }

  /** Power-on state. */
  reset(): void {
    for (const device of this.devices) device.reset();
    this.apics.forEach((apic, i) => {
      apic.programLikeFirmware(i === 0);
    });
  }

  /** The input of a global system interrupt: PIC and IOAPIC both see it, and software masks one. */
  line(gsi: number): IrqLine {
    const input = gsi === TIMER_GSI ? TIMER_INPUT : gsi;
    const setLevel = (asserted: boolean): void => {
      if (gsi < PIC_INPUTS) this.pic.setLevel(gsi, asserted);
      this.ioapic.setLevel(input, asserted);
    };
    return {
      setLevel,
      pulse: () => {
        setLevel(true);
        setLevel(false);
      },
    };
  }

  /** Puts the chips that are reached by ports and memory on their buses. Local APICs are reached by their CPUs. */
  map(pio: Bus, mmio: Bus): void {
    const { pic, pit, ioapic } = this;
    pio.map(0x20, 2, pic.master, pic.state.lock);
    pio.map(0xa0, 2, pic.slave, pic.state.lock);
    pio.map(0x4d0, 2, pic.elcr, pic.state.lock);
    pio.map(0x40, 4, pit, pit.state.lock);
    mmio.map(IOAPIC_BASE, 0x1000, ioapic, ioapic.state.lock);
  }
}
