/**
 * The timer of a local APIC: one-shot, periodic and TSC-deadline mode (Intel SDM volume 3A, 10.5.4).
 *
 * Nothing ticks. The state holds when the count will reach zero, and the current count is worked out when the
 * guest reads it. The input clock runs at 1 GHz, as under KVM: one nanosecond of machine time a tick, before
 * the divider.
 */
import type { Alarm, Clock } from './device.ts';
import { LAPIC_LAYOUT, LvtIndex } from './lapic-registers.ts';
import type { DeviceState } from './state.ts';

const {
  lvt: LVT,
  initialCount: INITIAL_COUNT,
  divide: DIVIDE,
  tscDeadlineHigh: TSC_DEADLINE_HIGH,
  tscDeadlineLow: TSC_DEADLINE_LOW,
} = LAPIC_LAYOUT.word;
const { due: DUE } = LAPIC_LAYOUT.double;

/** Timer mode, LVT timer bits 18:17. 10.5.4 */
const MODE_SHIFT = 17;
const PERIODIC = 1;
const TSC_DEADLINE = 2;

/** Bits of the divide configuration register. 10.5.4, figure 10-10 */
const DIVIDE_BITS = 0x0b;

/**
 * A periodic timer is not allowed to interrupt more often than this, or a guest that programs a few
 * nanoseconds would get no further than its interrupt handler. KVM's limit (min_timer_period_us).
 */
const SHORTEST_PERIOD = 200_000;

const TWO_32 = 2 ** 32;
const NEVER = Number.POSITIVE_INFINITY;

/** What a timer counts by. */
export interface LapicTimerOptions {
  readonly clock: Clock;
  /** Told whenever the time of expiry has moved. */
  readonly alarm: Alarm;
  /** Of the guest's TSC, in Hz. */
  readonly tscFrequency: number;
  /** The guest's TSC now, as a double. */
  readTsc(): number;
}

/** The timer part of a local APIC, over that APIC's state. */
export class LapicTimer {
  private readonly state: DeviceState;
  private readonly options: LapicTimerOptions;

  constructor(state: DeviceState, options: LapicTimerOptions) {
    this.state = state;
    this.options = options;
  }

  /** When {@link LapicTimer.expire} is due, in clock nanoseconds. */
  deadline(): number {
    return this.state.doubles[DUE]!;
  }

  /**
   * The deadline has come, or may have.
   * @returns true when the timer interrupts
   */
  expire(now: number): boolean {
    const { doubles } = this.state;
    const due = doubles[DUE]!;
    if (now < due) return false;
    if (this.mode() === TSC_DEADLINE) {
      // Clock and TSC are both doubles: a nanosecond may be missing to the deadline.
      if (this.ticksToDeadline() > 0) {
        this.rearm();
        return false;
      }
      this.disarm();
    } else if (this.mode() === PERIODIC) {
      const period = this.period();
      // Periods that nobody was there to see are dropped: they would all be one bit of IRR.
      doubles[DUE] = due + (Math.floor((now - due) / period) + 1) * period;
      this.options.alarm.deadlineMoved();
    } else {
      this.moveTo(NEVER);
    }
    return true;
  }

  /** Writes the initial-count register, which starts the timer; 0 stops it. Without effect in TSC-deadline mode. */
  setInitialCount(count: number): void {
    if (this.mode() === TSC_DEADLINE) return;
    this.state.words[INITIAL_COUNT] = count;
    this.moveTo(count === 0 ? NEVER : this.options.clock.now() + this.period());
  }

  /** The current-count register. */
  currentCount(): number {
    const { words, doubles } = this.state;
    const due = doubles[DUE]!;
    if (due === NEVER || this.mode() === TSC_DEADLINE) return 0;
    let left = due - this.options.clock.now();
    if (left <= 0) {
      if (this.mode() !== PERIODIC) return 0;
      const period = this.period();
      left = period - (-left % period);
    }
    // While the period is stretched (SHORTEST_PERIOD), the count waits at its top.
    return Math.min(Math.ceil(left / this.divisor()), words[INITIAL_COUNT]! >>> 0);
  }

  /** Continues from a count, as when a saved state comes from elsewhere; 0 starts a period or stops a one-shot. */
  continueFrom(count: number): void {
    const { words } = this.state;
    if (this.mode() === TSC_DEADLINE || words[INITIAL_COUNT] === 0) this.moveTo(NEVER);
    else if (count > 0) this.moveTo(this.options.clock.now() + count * this.divisor());
    else this.moveTo(this.mode() === PERIODIC ? this.options.clock.now() + this.period() : NEVER);
  }

  /** Writes the divide-configuration register. The count goes on from where it is, at the new speed. */
  setDivide(value: number): void {
    const count = this.currentCount();
    this.state.words[DIVIDE] = value & DIVIDE_BITS;
    if (this.state.doubles[DUE] !== NEVER && this.mode() !== TSC_DEADLINE) this.continueFrom(count);
  }

  /** The LVT timer entry is written. To and from TSC-deadline mode the timer is disarmed. 10.5.4.1 */
  setLvt(entry: number): void {
    const { words } = this.state;
    const before = this.mode();
    words[LVT + LvtIndex.timer] = entry;
    const mode = this.mode();
    if (mode === before || (mode !== TSC_DEADLINE && before !== TSC_DEADLINE)) return;
    words[INITIAL_COUNT] = 0;
    this.disarm();
  }

  /**
   * Writes IA32_TSC_DEADLINE: arms the timer, or disarms it with 0. Without effect in the other modes. 10.5.4.1
   * @returns true when the deadline has already passed, so that the timer interrupts now
   */
  setTscDeadline(high: number, low: number): boolean {
    if (this.mode() !== TSC_DEADLINE) return false;
    const { words } = this.state;
    words[TSC_DEADLINE_HIGH] = high;
    words[TSC_DEADLINE_LOW] = low;
    if ((high | low) === 0) {
      this.moveTo(NEVER);
      return false;
    }
    if (this.ticksToDeadline() > 0) {
      this.rearm();
      return false;
    }
    this.disarm();
    return true;
  }

  /** The guest's TSC has been set: works out anew when a TSC deadline is due. */
  rearm(): void {
    const { words } = this.state;
    if (this.mode() !== TSC_DEADLINE || (words[TSC_DEADLINE_HIGH]! | words[TSC_DEADLINE_LOW]!) === 0) return;
    const { clock, tscFrequency } = this.options;
    this.moveTo(clock.now() + Math.max(0, Math.ceil((this.ticksToDeadline() * 1e9) / tscFrequency)));
  }

  private disarm(): void {
    const { words } = this.state;
    words[TSC_DEADLINE_HIGH] = 0;
    words[TSC_DEADLINE_LOW] = 0;
    this.moveTo(NEVER);
  }

  private moveTo(due: number): void {
    if (this.state.doubles[DUE] === due) return;
    this.state.doubles[DUE] = due;
    this.options.alarm.deadlineMoved();
  }

  private mode(): number {
    return (this.state.words[LVT + LvtIndex.timer]! >>> MODE_SHIFT) & 3;
  }

  /** From the initial count to zero, in nanoseconds. */
  private period(): number {
    const period = (this.state.words[INITIAL_COUNT]! >>> 0) * this.divisor();
    return this.mode() === PERIODIC ? Math.max(period, SHORTEST_PERIOD) : period;
  }

  /** 1, 2, 4 … 128. 10.5.4, figure 10-10: bits 3, 1 and 0 are the exponent less one, and 7 stands for −1. */
  private divisor(): number {
    const divide = this.state.words[DIVIDE]!;
    return 1 << ((((divide & 8) >>> 1) + (divide & 3) + 1) & 7);
  }

  private ticksToDeadline(): number {
    const { words } = this.state;
    const deadline = (words[TSC_DEADLINE_HIGH]! >>> 0) * TWO_32 + (words[TSC_DEADLINE_LOW]! >>> 0);
    return deadline - this.options.readTsc();
  }
}
