/**
 * The real-time clock and CMOS memory of a PC: a Motorola MC146818 behind an index port (offset 0, port
 * 0x70) and a data port (offset 1, port 0x71). Register numbers and bits are those of the MC146818A data
 * sheet; the bytes above them are where PC firmware keeps them.
 *
 * The clock does not tick: time is the host's wall time plus an offset, which changes when the guest sets
 * the clock. What happened since the last look (updates, alarms, periodic ticks) is worked out when the
 * guest reads register C, and when an enabled interrupt is due.
 */
import { readBytes, writeBytes } from './bus.ts';
import type { AccessSize, Alarm, BusDevice, Clock, IrqLine, TimedDevice } from './device.ts';
import { Calendar, decodeHours, encodeHours, fromRegister, toRegister } from './rtc-calendar.ts';
import { RTC_REGISTERS } from './rtc-registers.ts';
import { type DeviceState, defineState, type SavedState } from './state.ts';

const LAYOUT = defineState(
  {
    index: 1,
    /** All 128 bytes. The time registers in it count only while the clock is stopped. */
    cmos: 128,
  },
  {
    /** Guest time less {@link Clock.wallTime}, in milliseconds. Survives a reset, as on battery. */
    offset: 1,
    /** How far events have been worked out: {@link Clock.now} nanoseconds, and guest time in whole seconds. */
    seenAt: 1,
    seenSecond: 1,
    /** When an enabled interrupt is due next, in {@link Clock.now} nanoseconds. */
    due: 1,
  },
);
const { index: INDEX, cmos: CMOS } = LAYOUT.word;
const { offset: OFFSET, seenAt: SEEN_AT, seenSecond: SEEN_SECOND, due: DUE } = LAYOUT.double;

/** Registers. */
const SECONDS = 0x00;
const SECONDS_ALARM = 0x01;
const MINUTES = 0x02;
const MINUTES_ALARM = 0x03;
const HOURS = 0x04;
const HOURS_ALARM = 0x05;
const WEEKDAY = 0x06;
const DAY = 0x07;
const MONTH = 0x08;
const YEAR = 0x09;
const REGISTER_A = 0x0a;
const REGISTER_B = 0x0b;
const REGISTER_C = 0x0c;
const REGISTER_D = 0x0d;
const CENTURY = 0x32;

/** Register A: update in progress, divider, rate of the periodic interrupt. */
const A_UPDATE_IN_PROGRESS = 0x80;
const A_DIVIDER_RESET = 0x60;
const A_RATE = 0x0f;
const A_RESET = 0x26;

/** Register B. */
const B_SET = 0x80;
const B_PERIODIC = 0x40;
const B_ALARM = 0x20;
const B_UPDATE_ENDED = 0x10;
const B_BINARY = 0x04;
const B_24_HOURS = 0x02;

/** Register C: the same bits as B enables, and whether any of them interrupts. */
const C_INTERRUPT = 0x80;
const C_FLAGS = B_PERIODIC | B_ALARM | B_UPDATE_ENDED;

/** Register D: the battery is good. */
const D_VALID_TIME = 0x80;

/** UIP is set this long before a second ends: one update cycle and the 244 µs of warning before it. */
const UPDATE_MILLISECONDS = 2;
const NANOSECONDS_PER_MILLISECOND = 1e6;
const OSCILLATOR_HZ = 32768;
const DONT_CARE = 0xc0;

const KIB = 1024;
const MIB = 1024 * KIB;

/** The RTC, offsets 0 and 1. */
export class Rtc implements TimedDevice, BusDevice {
  static readonly layout = LAYOUT;
  readonly name = 'rtc';
  readonly registers = RTC_REGISTERS;
  readonly state: DeviceState;
  private readonly irq: IrqLine;
  private readonly clock: Clock;
  private readonly alarm: Alarm;
  private readonly lowRam: number;
  private readonly highRam: number;
  /** Scratch for one call at a time. */
  private readonly calendar = new Calendar();

  /**
   * @param irq - interrupt 8 on a PC
   * @param lowRam - bytes of RAM below 4 GiB, from address 0
   * @param highRam - bytes of RAM above 4 GiB
   */
  constructor(state: DeviceState, irq: IrqLine, clock: Clock, alarm: Alarm, lowRam: number, highRam = 0) {
    this.state = state;
    this.irq = irq;
    this.clock = clock;
    this.alarm = alarm;
    this.lowRam = lowRam;
    this.highRam = highRam;
  }

  selected(): number {
    return this.state.words[INDEX]! & 0x7f;
  }

  reset(): void {
    const { words, doubles } = this.state;
    words.fill(0);
    words[CMOS + REGISTER_A] = A_RESET;
    words[CMOS + REGISTER_B] = B_24_HOURS;
    words[CMOS + REGISTER_D] = D_VALID_TIME;
    this.storeMemorySize();
    doubles[SEEN_AT] = this.clock.now();
    doubles[SEEN_SECOND] = this.second();
    this.update();
  }

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    this.state.restore(saved);
    this.update();
  }

  deadline(): number {
    return this.state.doubles[DUE]!;
  }

  expire(_now: number): void {
    this.catchUp();
    this.update();
  }

  read(offset: number, size: AccessSize): number {
    if (size !== 1) return readBytes(this, offset, size);
    // The index port is write-only.
    if (offset !== 1) return 0xff;
    const { words } = this.state;
    const index = words[INDEX]! & 0x7f;
    switch (index) {
      case REGISTER_A:
        return words[CMOS + REGISTER_A]! | (this.updateInProgress() ? A_UPDATE_IN_PROGRESS : 0);
      case REGISTER_C: {
        this.catchUp();
        const flags = words[CMOS + REGISTER_C]!;
        const value = flags & words[CMOS + REGISTER_B]! ? flags | C_INTERRUPT : flags;
        words[CMOS + REGISTER_C] = 0;
        this.update();
        return value;
      }
      default:
        if (isTime(index) && !this.stopped()) this.storeTime();
        return words[CMOS + index]!;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    const { words } = this.state;
    const byte = value & 0xff;
    if (size !== 1) {
      writeBytes(this, offset, size, value);
    } else if (offset === 0) {
      // Bit 7 masks NMI, of which there is none.
      words[INDEX] = byte & 0x7f;
    } else if (offset === 1) {
      this.writeRegister(words[INDEX]! & 0x7f, byte);
    }
  }

  private writeRegister(index: number, value: number): void {
    const { words } = this.state;
    switch (index) {
      case REGISTER_A:
      case REGISTER_B:
        this.writeControl(index, value);
        return;
      case REGISTER_C:
      case REGISTER_D:
        return;
      case SECONDS_ALARM:
      case MINUTES_ALARM:
      case HOURS_ALARM:
        this.catchUp();
        words[CMOS + index] = value;
        this.update();
        return;
      default:
        if (isTime(index) && !this.stopped()) {
          this.catchUp();
          this.storeTime();
          words[CMOS + index] = value;
          this.adoptTime(this.milliseconds());
          this.update();
        } else {
          words[CMOS + index] = value;
        }
        return;
    }
  }

  /** Registers A and B stop and start the clock. */
  private writeControl(index: number, value: number): void {
    const { words } = this.state;
    this.catchUp();
    const wasStopped = this.stopped();
    const wasReset = this.dividerReset();
    if (!wasStopped) this.storeTime();
    // SET takes back the update-ended interrupt.
    const kept =
      index === REGISTER_A ? value & ~A_UPDATE_IN_PROGRESS : value & B_SET ? value & ~B_UPDATE_ENDED : value;
    words[CMOS + index] = kept;
    if (wasStopped && !this.stopped()) {
      // After a divider reset the first second ends half a second later.
      this.adoptTime(wasReset ? 500 : this.milliseconds());
    }
    this.update();
  }

  /** The clock shows what was last stored or written, and no time passes. */
  private stopped(): boolean {
    return (this.state.words[CMOS + REGISTER_B]! & B_SET) !== 0 || this.dividerReset();
  }

  private dividerReset(): boolean {
    return (this.state.words[CMOS + REGISTER_A]! & A_DIVIDER_RESET) === A_DIVIDER_RESET;
  }

  private updateInProgress(): boolean {
    return !this.stopped() && this.milliseconds() >= 1000 - UPDATE_MILLISECONDS;
  }

  /** Guest time in milliseconds since 1970. */
  private time(): number {
    return this.clock.wallTime() + this.state.doubles[OFFSET]!;
  }

  private second(): number {
    return Math.floor(this.time() / 1000);
  }

  /** Milliseconds into the current second. */
  private milliseconds(): number {
    const time = this.time();
    return time - Math.floor(time / 1000) * 1000;
  }

  /** Puts the current time into the time registers, in the format of register B. */
  private storeTime(): void {
    const { words } = this.state;
    const { calendar } = this;
    const b = words[CMOS + REGISTER_B]!;
    const binary = (b & B_BINARY) !== 0;
    calendar.set(this.time());
    words[CMOS + SECONDS] = toRegister(calendar.second, binary);
    words[CMOS + MINUTES] = toRegister(calendar.minute, binary);
    words[CMOS + HOURS] = encodeHours(calendar.hour, binary, (b & B_24_HOURS) !== 0);
    words[CMOS + WEEKDAY] = toRegister(calendar.weekday, binary);
    words[CMOS + DAY] = toRegister(calendar.day, binary);
    words[CMOS + MONTH] = toRegister(calendar.month, binary);
    words[CMOS + YEAR] = toRegister(calendar.year % 100, binary);
    words[CMOS + CENTURY] = toRegister(Math.floor(calendar.year / 100), binary);
  }

  /**
   * Goes on from the time in the time registers. The weekday follows from the date.
   * @param milliseconds - how far into its second that time is
   */
  private adoptTime(milliseconds: number): void {
    const { words, doubles } = this.state;
    const b = words[CMOS + REGISTER_B]!;
    const binary = (b & B_BINARY) !== 0;
    const field = (index: number): number => fromRegister(words[CMOS + index]!, binary);
    const time = Calendar.time(
      field(CENTURY) * 100 + field(YEAR),
      field(MONTH),
      field(DAY),
      decodeHours(words[CMOS + HOURS]!, binary, (b & B_24_HOURS) !== 0),
      field(MINUTES),
      field(SECONDS),
    );
    doubles[OFFSET] = time + milliseconds - this.clock.wallTime();
    // A second that was set has not passed: it is no update, and wakes no alarm.
    doubles[SEEN_SECOND] = this.second();
  }

  /** Sets the flags of what has happened since the last time. */
  private catchUp(): void {
    const { words, doubles } = this.state;
    const now = this.clock.now();
    const period = this.period();
    let flags = words[CMOS + REGISTER_C]!;
    if (Math.floor(now / period) > Math.floor(doubles[SEEN_AT]! / period)) flags |= B_PERIODIC;
    doubles[SEEN_AT] = now;
    const second = this.second();
    const seen = doubles[SEEN_SECOND]!;
    if (second !== seen) {
      if (second > seen && !this.stopped()) {
        flags |= B_UPDATE_ENDED;
        if (this.nextAlarm(seen + 1) <= second) flags |= B_ALARM;
      }
      doubles[SEEN_SECOND] = second;
    }
    words[CMOS + REGISTER_C] = flags & C_FLAGS;
  }

  /** Drives the interrupt line, and works out when an enabled interrupt is due that is not yet flagged. */
  private update(): void {
    const { words, doubles } = this.state;
    const flags = words[CMOS + REGISTER_C]!;
    const enabled = words[CMOS + REGISTER_B]!;
    this.irq.setLevel((flags & enabled & C_FLAGS) !== 0);
    const awaited = enabled & ~flags;
    let due = Number.POSITIVE_INFINITY;
    if (awaited & B_PERIODIC) {
      const period = this.period();
      due = (Math.floor(doubles[SEEN_AT]! / period) + 1) * period;
    }
    if (!this.stopped()) {
      if (awaited & B_UPDATE_ENDED) due = Math.min(due, this.nowAtSecond(doubles[SEEN_SECOND]! + 1));
      if (awaited & B_ALARM) due = Math.min(due, this.nowAtSecond(this.nextAlarm(doubles[SEEN_SECOND]! + 1)));
    }
    if (due !== doubles[DUE]) {
      doubles[DUE] = due;
      this.alarm.deadlineMoved();
    }
  }

  /** Nanoseconds between periodic interrupts; Infinity when off. Data sheet, table 5. */
  private period(): number {
    const rate = this.state.words[CMOS + REGISTER_A]! & A_RATE;
    if (rate === 0 || this.dividerReset()) return Number.POSITIVE_INFINITY;
    // Rates 1 and 2 are the same as 8 and 9: 256 and 128 Hz.
    const hertz = OSCILLATOR_HZ / 2 ** ((rate <= 2 ? rate + 7 : rate) - 1);
    return 1e9 / hertz;
  }

  /** When, on {@link Clock.now}, guest time reaches a second; at least now. */
  private nowAtSecond(second: number): number {
    return this.clock.now() + Math.max(0, second * 1000 - this.time()) * NANOSECONDS_PER_MILLISECOND;
  }

  /** The first second from `from` on at which the alarm registers match; Infinity if none ever does. */
  private nextAlarm(from: number): number {
    const { words } = this.state;
    const b = words[CMOS + REGISTER_B]!;
    const binary = (b & B_BINARY) !== 0;
    const hours = words[CMOS + HOURS_ALARM]!;
    const minutes = words[CMOS + MINUTES_ALARM]!;
    const seconds = words[CMOS + SECONDS_ALARM]!;
    const hour = hours >= DONT_CARE ? -1 : decodeHours(hours, binary, (b & B_24_HOURS) !== 0);
    const minute = minutes >= DONT_CARE ? -1 : fromRegister(minutes, binary);
    const second = seconds >= DONT_CARE ? -1 : fromRegister(seconds, binary);
    if (hour > 23 || minute > 59 || second > 59) return Number.POSITIVE_INFINITY;
    // Each step skips the rest of an hour, a minute or a second that cannot match: at most 24 + 60 + 60 steps.
    for (let at = from; at <= from + 86_400; ) {
      const ofDay = at - Math.floor(at / 86_400) * 86_400;
      if (hour >= 0 && Math.floor(ofDay / 3600) !== hour) at += 3600 - (ofDay % 3600);
      else if (minute >= 0 && Math.floor(ofDay / 60) % 60 !== minute) at += 60 - (ofDay % 60);
      else if (second >= 0 && ofDay % 60 !== second) at += 1;
      else return at;
    }
    return Number.POSITIVE_INFINITY;
  }

  /** The memory sizes that PC firmware leaves in CMOS, little-endian. */
  private storeMemorySize(): void {
    this.storeSize(0x15, 2, 640);
    const extended = Math.min(Math.max(0, this.lowRam - MIB) / KIB, 0xffff);
    this.storeSize(0x17, 2, extended);
    this.storeSize(0x30, 2, extended);
    this.storeSize(0x34, 2, Math.min(Math.max(0, this.lowRam - 16 * MIB) / (64 * KIB), 0xffff));
    this.storeSize(0x5b, 3, Math.min(this.highRam / (64 * KIB), 0xff_ffff));
  }

  private storeSize(index: number, bytes: number, value: number): void {
    for (let i = 0; i < bytes; i++) this.state.words[CMOS + index + i] = (value >>> (8 * i)) & 0xff;
  }
}

function isTime(index: number): boolean {
  switch (index) {
    case SECONDS:
    case MINUTES:
    case HOURS:
    case WEEKDAY:
    case DAY:
    case MONTH:
    case YEAR:
    case CENTURY:
      return true;
    default:
      return false;
  }
}
