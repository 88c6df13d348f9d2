/**
 * The interval timer of a PC: an Intel 8254 at 1.193182 MHz behind ports 0x40–0x43 (Intel 8254 data sheet,
 * order number 231164). Counter 0 interrupts by GSI 0, counter 1 once refreshed DRAM, counter 2 goes to the
 * speaker and to port 0x61, through {@link Pit.timer2}.
 *
 * The counters are in `pit-channel.ts`; here are the ports, the clock, and the interrupts of counter 0.
 */
import { readBytes, writeBytes } from './bus.ts';
import type { AccessSize, Alarm, BusDevice, Clock, IrqLine, TimedDevice } from './device.ts';
import { PIT_DOUBLES, PIT_WORDS, PitChannel } from './pit-channel.ts';
import { bitNames, type Register } from './registers.ts';
import { type DeviceState, defineState, type SavedState } from './state.ts';
import type { Timer2 } from './system-control.ts';

/** Frequency of the timer's clock, in Hz. */
export const PIT_HZ = 1_193_182;

const LAYOUT = defineState(PIT_WORDS, {
  ...PIT_DOUBLES,
  /** The tick of the next rise of counter 0's output that has not interrupted yet. */
  rise: 1,
  /** When that interrupt is due, in clock nanoseconds. */
  due: 1,
});
const { rise: RISE, due: DUE } = LAYOUT.double;

const CONTROL_PORT = 3;
/** Control word. */
const COUNTER_SHIFT = 6;
const READ_BACK = 3;
const ACCESS_SHIFT = 4;
const LATCH = 0;
/** Read-back command: these are low for what is to be latched. */
const READ_BACK_NO_COUNT = 0x20;
const READ_BACK_NO_STATUS = 0x10;

const TICKS_PER_NANOSECOND = PIT_HZ / 1e9;
/**
 * Interrupts missed while nobody ran are made up for, so that guests that count them keep time: one each
 * quarter of a period, and none that is older than this, in nanoseconds.
 */
const LONGEST_BACKLOG = 100e6;
/** No two interrupts come closer than this, in nanoseconds, or a guest could do nothing else. */
const SHORTEST_GAP = 100e3;
const NEVER = Number.POSITIVE_INFINITY;

const REGISTERS: readonly Register[] = [
  { offset: 0, name: 'Counter 0' },
  { offset: 1, name: 'Counter 1' },
  { offset: 2, name: 'Counter 2' },
  { offset: 3, name: 'Control word', only: 'write', bits: bitNames('BCD mode:3 RW:2 counter:2') },
];

/** The interval timer, offsets 0–3. */
export class Pit implements TimedDevice, BusDevice {
  static readonly layout = LAYOUT;
  readonly name = 'pit';
  readonly registers = REGISTERS;
  readonly state: DeviceState;
  /** Counter 2 as port 0x61 is wired to it. */
  readonly timer2: Timer2;
  private readonly irq: IrqLine;
  private readonly clock: Clock;
  private readonly alarm: Alarm;
  private readonly channels: readonly [PitChannel, PitChannel, PitChannel];

  /** @param irq - GSI 0; gets one edge for each rise of counter 0's output */
  constructor(state: DeviceState, irq: IrqLine, clock: Clock, alarm: Alarm) {
    this.state = state;
    this.irq = irq;
    this.clock = clock;
    this.alarm = alarm;
    const { word, double } = LAYOUT;
    this.channels = [
      new PitChannel(state, word, double, 0),
      new PitChannel(state, word, double, 1),
      new PitChannel(state, word, double, 2),
    ];
    const counter = this.channels[2];
    this.timer2 = {
      setGate: (high) => counter.setGate(high, this.tick()),
      output: () => counter.output(this.tick()),
    };
  }

  /** All counters stand until they are programmed. Gates 0 and 1 are wired high. */
  reset(): void {
    this.channels[0].reset(true);
    this.channels[1].reset(true);
    this.channels[2].reset(false);
    this.reschedule();
  }

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    this.state.restore(saved);
    this.alarm.deadlineMoved();
  }

  deadline(): number {
    return this.state.doubles[DUE]!;
  }

  /** One interrupt. If more are overdue, the next comes a while later. */
  expire(now: number): void {
    const { doubles } = this.state;
    if (now < doubles[DUE]!) return;
    this.irq.pulse();
    const counter = this.channels[0];
    const rise = counter.nextRise(doubles[RISE]!);
    const overdue = now - timeOf(rise);
    const period = counter.period() / TICKS_PER_NANOSECOND;
    if (overdue > LONGEST_BACKLOG) {
      // On the grid of periods still, where the guest's own clock expects them.
      const dropped = Math.ceil((overdue - LONGEST_BACKLOG) / period);
      doubles[RISE] = rise + dropped * counter.period();
    } else {
      doubles[RISE] = rise;
    }
    this.wakeAt(Math.max(timeOf(doubles[RISE]!), Math.ceil(now + Math.max(period / 4, SHORTEST_GAP))));
  }

  /** The control port is write-only. */
  read(offset: number, size: AccessSize): number {
    if (size !== 1) return readBytes(this, offset, size);
    if (offset >= CONTROL_PORT) return 0xff;
    return this.channels[offset]!.read(this.tick());
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 1) writeBytes(this, offset, size, value);
    else if (offset === CONTROL_PORT) this.control(value & 0xff);
    else if (offset < CONTROL_PORT) {
      const tick = this.tick();
      const complete = this.channels[offset]!.write(value & 0xff, tick);
      if (complete && offset === 0) this.reschedule(tick);
    }
  }

  private control(value: number): void {
    const index = value >>> COUNTER_SHIFT;
    if (index === READ_BACK) {
      this.readBack(value);
      return;
    }
    const counter = this.channels[index]!;
    const access = (value >>> ACCESS_SHIFT) & 3;
    if (access === LATCH) {
      counter.latchCount(this.tick());
      return;
    }
    counter.control(access, (value >>> 1) & 7, value & 1);
    if (index === 0) this.reschedule();
  }

  private readBack(value: number): void {
    const tick = this.tick();
    for (let index = 0; index < 3; index++) {
      if ((value & (2 << index)) === 0) continue;
      const counter = this.channels[index]!;
      if ((value & READ_BACK_NO_COUNT) === 0) counter.latchCount(tick);
      if ((value & READ_BACK_NO_STATUS) === 0) counter.latchStatus(tick);
    }
  }

  /**
   * Counter 0 has been programmed, or comes from elsewhere: what it had missed counts no more.
   * @param tick - when that was. A count that has run out since then, on a thread that was kept waiting, still
   * gives its interrupt.
   */
  reschedule(tick = this.tick()): void {
    const rise = this.channels[0].nextRise(tick);
    this.state.doubles[RISE] = rise;
    this.wakeAt(timeOf(rise));
  }

  private wakeAt(due: number): void {
    this.state.doubles[DUE] = due;
    this.alarm.deadlineMoved();
  }

  /** Whole periods of the timer's clock since power-on. */
  private tick(): number {
    return Math.floor(this.clock.now() * TICKS_PER_NANOSECOND);
  }
}

/** When a tick has come for certain, in clock nanoseconds. */
function timeOf(tick: number): number {
  return tick === NEVER ? NEVER : Math.ceil(tick / TICKS_PER_NANOSECOND) + 1;
}
