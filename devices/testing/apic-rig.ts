/** Local APICs on a bus, for tests: CPUs that note how they were signalled, and a TSC of 2 GHz. */
import { InterruptBus } from '../interrupt-bus.ts';
import { LocalApic } from '../lapic.ts';
import { DeviceState } from '../state.ts';
import { TestAlarm, TestClock } from './stand-ins.ts';

/** Registers by their offset in the page. SDM volume 3A, table 10-1 */
export const Reg = {
  id: 0x20,
  version: 0x30,
  tpr: 0x80,
  apr: 0x90,
  ppr: 0xa0,
  eoi: 0xb0,
  ldr: 0xd0,
  dfr: 0xe0,
  svr: 0xf0,
  isr: 0x100,
  tmr: 0x180,
  irr: 0x200,
  esr: 0x280,
  icrLow: 0x300,
  icrHigh: 0x310,
  lvtTimer: 0x320,
  lint0: 0x350,
  lint1: 0x360,
  lvtError: 0x370,
  initialCount: 0x380,
  currentCount: 0x390,
  divide: 0x3e0,
} as const;

/** A machine's APICs without the machine. */
export class ApicRig {
  readonly clock = new TestClock();
  readonly alarm = new TestAlarm();
  readonly bus = new InterruptBus();
  readonly apics: LocalApic[] = [];
  /** What each CPU was told, but for interruptPending. */
  readonly calls: string[] = [];
  /** How often a CPU was told to look for interrupts. */
  attention = 0;
  /** Added to the TSC. */
  tscOffset = 0;

  /** @param count - CPUs, with APIC ids from 0; their APICs are enabled by software */
  constructor(count = 1) {
    for (let id = 0; id < count; id++) this.apics.push(this.add(id));
  }

  get apic(): LocalApic {
    return this.apics[0]!;
  }

  /** Another APIC on the same bus. */
  add(id: number): LocalApic {
    const apic = new LocalApic(`lapic${id}`, DeviceState.alone(LocalApic.layout), {
      id,
      clock: this.clock,
      alarm: this.alarm,
      tscFrequency: 2e9,
      readTsc: () => Math.floor(this.clock.now() * 2) + this.tscOffset,
      bus: this.bus,
      signals: {
        interruptPending: () => this.attention++,
        nmi: () => this.calls.push(`nmi ${id}`),
        init: () => this.calls.push(`init ${id}`),
        startup: (vector) => this.calls.push(`startup ${id} ${vector}`),
      },
    });
    apic.reset();
    apic.write(Reg.svr, 4, 0x1ff);
    this.bus.addLocalApic(apic);
    return apic;
  }

  /** Lets time pass, with the timers' expiries on their way. */
  runTo(nanoseconds: number): void {
    for (;;) {
      const due = Math.min(...this.apics.map((apic) => apic.deadline()));
      if (due > nanoseconds) break;
      this.clock.set(due);
      for (const apic of this.apics) if (apic.deadline() <= due) apic.expire(due);
    }
    this.clock.set(nanoseconds);
  }

  /** The pending vectors of all CPUs. */
  pending(): number[] {
    return this.apics.map((apic) => apic.pendingVector());
  }
}
