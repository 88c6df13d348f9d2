/**
 * One of the three counters of an 8254 interval timer (Intel 8254 data sheet, order number 231164).
 *
 * Nothing counts. A counter knows the tick at which it was loaded, and its count and output follow from the
 * tick that it is now; ticks are whole periods of the timer's clock since power-on, as doubles.
 */
import type { DeviceState } from './state.ts';

/** Registers of the three counters: one after the other in each table. */
export const PIT_WORDS = {
  mode: 3,
  bcd: 3,
  /** The RW field: 1 low byte, 2 high byte, 3 low byte and then high byte. */
  access: 3,
  gate: 3,
  /** A count has been written since the control word. */
  loaded: 3,
  /** CLK pulses are counted, or would be but for the gate. */
  running: 3,
  /** The count register: what was written last, in ticks (1–65,536). */
  reload: 3,
  /** What the counting element was loaded with. */
  period: 3,
  /** A new count waits for the end of the current period (modes 2 and 3). */
  reloadPending: 3,
  /** With `access` 3: the high byte is next. */
  writeHigh: 3,
  readHigh: 3,
  lowByte: 3,
  /** Bytes of a latched count still to be read: bit 0 the low, bit 1 the high one. */
  countLatched: 3,
  latchedCount: 3,
  statusLatched: 3,
  latchedStatus: 3,
} as const;
export const PIT_DOUBLES = {
  /** The tick at which the current period, or the count, began. */
  loadTick: 3,
  /** How far it had counted when the gate stopped it. */
  elapsed: 3,
  /** When the pending count is loaded. */
  reloadTick: 3,
} as const;

type Words = Readonly<Record<keyof typeof PIT_WORDS, number>>;
type Doubles = Readonly<Record<keyof typeof PIT_DOUBLES, number>>;

const LOW_BYTE = 1;
const LOW_THEN_HIGH = 3;
/** Status byte. Data sheet, read-back command. */
const STATUS_OUTPUT = 0x80;
const STATUS_NULL_COUNT = 0x40;
const NEVER = Number.POSITIVE_INFINITY;

/** A counter. All ticks given to it must not go back. */
export class PitChannel {
  private readonly words: Int32Array;
  private readonly doubles: Float64Array;
  private readonly word: Words;
  private readonly double: Doubles;
  private readonly index: number;

  /** @param word - where each table of the state begins; this channel is at `index` in it */
  constructor(state: DeviceState, word: Words, double: Doubles, index: number) {
    this.words = state.words;
    this.doubles = state.doubles;
    this.word = word;
    this.double = double;
    this.index = index;
  }

  /** Undefined on the chip; here, waiting in mode 0 for a control word. */
  reset(gate: boolean): void {
    for (const table of Object.values(this.word)) this.words[table + this.index] = 0;
    for (const table of Object.values(this.double)) this.doubles[table + this.index] = 0;
    this.set('gate', gate ? 1 : 0);
    this.set('access', LOW_THEN_HIGH);
    this.set('reload', 0x1_0000);
    this.set('period', 0x1_0000);
  }

  /** A control word: counting stops until a count is written. */
  control(access: number, mode: number, bcd: number): void {
    this.set('access', access);
    // Bit 2 counts in modes 2 and 3 only where bit 1 is 0.
    this.set('mode', mode > 5 ? mode - 4 : mode);
    this.set('bcd', bcd);
    this.set('loaded', 0);
    this.set('running', 0);
    this.set('reloadPending', 0);
    this.set('writeHigh', 0);
    this.set('readHigh', 0);
    this.set('countLatched', 0);
    this.set('statusLatched', 0);
  }

  /** Writes a byte of the count. @returns true when a count is complete, so that the output may change at another time */
  write(byte: number, tick: number): boolean {
    const access = this.get('access');
    if (access !== LOW_THEN_HIGH) {
      this.load(access === LOW_BYTE ? byte : byte << 8, tick);
      return true;
    }
    if (this.get('writeHigh') === 0) {
      this.set('lowByte', byte);
      this.set('writeHigh', 1);
      // In mode 0 the first byte stops the count. Mode 0, rule 1
      if (this.get('mode') === 0) this.set('running', 0);
      return this.get('mode') === 0;
    }
    this.set('writeHigh', 0);
    this.load(this.get('lowByte') | (byte << 8), tick);
    return true;
  }

  /** Reads a byte: of the latched status, of the latched count, or of the count as it is. */
  read(tick: number): number {
    if (this.get('statusLatched')) {
      this.set('statusLatched', 0);
      return this.get('latchedStatus');
    }
    const latched = this.get('countLatched');
    if (latched) {
      const low = latched & 1;
      this.set('countLatched', low ? latched & 2 : 0);
      return low ? this.get('latchedCount') & 0xff : this.get('latchedCount') >>> 8;
    }
    const count = this.count(tick);
    const access = this.get('access');
    if (access !== LOW_THEN_HIGH) return access === LOW_BYTE ? count & 0xff : count >>> 8;
    const high = this.get('readHigh');
    this.set('readHigh', high ^ 1);
    return high ? count >>> 8 : count & 0xff;
  }

  /** Counter latch command. A count that is latched already stays. */
  latchCount(tick: number): void {
    if (this.get('countLatched')) return;
    this.set('latchedCount', this.count(tick));
    this.set('countLatched', this.get('access'));
  }

  /** Read-back command, status part. */
  latchStatus(tick: number): void {
    if (this.get('statusLatched')) return;
    this.settle(tick);
    const nullCount = this.get('reloadPending') || !this.get('running') ? STATUS_NULL_COUNT : 0;
    this.set('statusLatched', 1);
    this.set(
      'latchedStatus',
      (this.output(tick) ? STATUS_OUTPUT : 0) |
        nullCount |
        (this.get('access') << 4) |
        (this.get('mode') << 1) |
        this.get('bcd'),
    );
  }

  /** Drives the gate input. Data sheet, figure 21: what it does in each mode. */
  setGate(high: boolean, tick: number): void {
    if ((this.get('gate') !== 0) === high) return;
    this.settle(tick);
    const triggered = this.isTriggered();
    if (!high) {
      this.setTime('elapsed', tick - this.time('loadTick'));
      this.setTime('reloadTick', NEVER);
      this.set('gate', 0);
      return;
    }
    this.set('gate', 1);
    if (this.isPeriodic() || triggered) {
      if (this.get('loaded')) this.start(tick);
    } else {
      this.setTime('loadTick', tick - this.time('elapsed'));
    }
  }

  /** Level of the output. */
  output(tick: number): boolean {
    const mode = this.get('mode');
    if (!this.get('running')) return mode !== 0;
    this.settle(tick);
    const elapsed = this.elapsed(tick);
    const period = this.get('period');
    switch (mode) {
      case 2:
        return !this.get('gate') || elapsed % period !== period - 1;
      case 3:
        return !this.get('gate') || elapsed % period < (period + 1) >>> 1;
      case 4:
      case 5:
        return elapsed !== period;
      default:
        return elapsed >= period;
    }
  }

  /** The first tick after `tick` at which the output rises as it counts; Infinity for never. */
  nextRise(tick: number): number {
    if (!this.get('running') || (!this.get('gate') && !this.isTriggered())) return NEVER;
    this.settle(tick);
    const start = this.time('loadTick');
    const period = this.get('period');
    if (this.isPeriodic()) return start + (Math.floor((tick - start) / period) + 1) * period;
    const rise = start + period + (this.get('mode') >= 4 ? 1 : 0);
    return rise > tick ? rise : NEVER;
  }

  /** Ticks from one rise to the next, or from loading to the only one. */
  period(): number {
    return this.get('period');
  }

  /** Modes 2 and 3 start over by themselves. */
  isPeriodic(): boolean {
    const mode = this.get('mode');
    return mode === 2 || mode === 3;
  }

  /** Modes 1 and 5 start with a rising gate. */
  private isTriggered(): boolean {
    const mode = this.get('mode');
    return mode === 1 || mode === 5;
  }

  private load(value: number, tick: number): void {
    this.settle(tick);
    const ticks = this.get('bcd') ? fromBcd(value) || 10_000 : value || 0x1_0000;
    this.set('reload', ticks);
    this.set('loaded', 1);
    if (this.isTriggered()) return;
    if (this.isPeriodic() && this.get('running')) {
      this.set('reloadPending', 1);
      this.setTime('reloadTick', this.nextPeriod(tick));
    } else {
      this.start(tick);
      this.setTime('elapsed', 0);
    }
  }

  private nextPeriod(tick: number): number {
    const start = this.time('loadTick');
    const period = this.get('period');
    // While the gate is low the count stands, and a rising gate loads it anyway.
    if (!this.get('gate')) return NEVER;
    return start + (Math.floor((tick - start) / period) + 1) * period;
  }

  private start(tick: number): void {
    this.set('period', this.get('reload'));
    this.set('reloadPending', 0);
    this.set('running', 1);
    this.setTime('loadTick', tick);
  }

  /** Loads a pending count if its time has come. */
  private settle(tick: number): void {
    if (this.get('reloadPending') && tick >= this.time('reloadTick')) this.start(this.time('reloadTick'));
  }

  private elapsed(tick: number): number {
    return this.get('gate') || this.isTriggered() ? tick - this.time('loadTick') : this.time('elapsed');
  }

  /** The counting element as the guest reads it. */
  private count(tick: number): number {
    this.settle(tick);
    const period = this.get('period');
    const range = this.get('bcd') ? 10_000 : 0x1_0000;
    const elapsed = this.get('running') ? this.elapsed(tick) : 0;
    let left: number;
    if (this.get('mode') === 3) {
      // It counts down by two, from an even number, once for each half of the square wave.
      const half = (period + 1) >>> 1;
      const phase = elapsed % period;
      left = (period & ~1) - 2 * (phase < half ? phase : phase - half);
    } else if (this.get('mode') === 2) {
      left = period - (elapsed % period);
    } else {
      // Past zero it goes on from the top.
      left = period - (elapsed % range) + range;
    }
    left %= range;
    return this.get('bcd') ? toBcd(left) : left;
  }

  private get(register: keyof Words): number {
    return this.words[this.word[register] + this.index]!;
  }

  private set(register: keyof Words, value: number): void {
    this.words[this.word[register] + this.index] = value;
  }

  private time(register: keyof Doubles): number {
    return this.doubles[this.double[register] + this.index]!;
  }

  private setTime(register: keyof Doubles, value: number): void {
    this.doubles[this.double[register] + this.index] = value;
  }
}

/** Four decimal digits. */
function fromBcd(value: number): number {
  return (
    (value & 0xf) + ((value >>> 4) & 0xf) * 10 + ((value >>> 8) & 0xf) * 100 + ((value >>> 12) & 0xf) * 1000
  );
}

function toBcd(value: number): number {
  return (
    (value % 10) |
    ((Math.floor(value / 10) % 10) << 4) |
    ((Math.floor(value / 100) % 10) << 8) |
    (Math.floor(value / 1000) << 12)
  );
}
