/**
 * How the RTC writes numbers and dates: BCD or binary registers, hours of 12 or 24, and the Gregorian
 * calendar in UTC (MC146818A data sheet, table 3: time, calendar and alarm data modes).
 */

const PM = 0x80;

/** A number from 0 to 99 as a time register holds it. */
export function toRegister(value: number, binary: boolean): number {
  return binary ? value : (Math.floor(value / 10) << 4) | (value % 10);
}

/** The number in a time register. BCD digits above 9 count as they would in the chip's adder: 0x1a is 20. */
export function fromRegister(register: number, binary: boolean): number {
  return binary ? register : (register >>> 4) * 10 + (register & 0x0f);
}

/** An hour from 0 to 23 as the hours register holds it; in 12-hour mode bit 7 says PM. */
export function encodeHours(hour: number, binary: boolean, of24: boolean): number {
  if (of24) return toRegister(hour, binary);
  return toRegister(hour % 12 === 0 ? 12 : hour % 12, binary) | (hour >= 12 ? PM : 0);
}

/** The hour, from 0 to 23, in an hours register. */
export function decodeHours(register: number, binary: boolean, of24: boolean): number {
  if (of24) return fromRegister(register, binary);
  return (fromRegister(register & ~PM, binary) % 12) + (register & PM ? 12 : 0);
}

/** A moment in UTC, taken apart. Reused from call to call, so that reading the clock allocates nothing. */
export class Calendar {
  private readonly date = new Date(0);

  /** Milliseconds since 1970 of a date; fields out of range carry over, as in the chip's counters. */
  static time(
    year: number,
    month: number,
    day: number,
    hour: number,
    minute: number,
    second: number,
  ): number {
    return Date.UTC(year, month - 1, day, hour, minute, second);
  }

  /** @param milliseconds - since 1970 */
  set(milliseconds: number): void {
    this.date.setTime(milliseconds);
  }

  get year(): number {
    return this.date.getUTCFullYear();
  }

  /** 1–12. */
  get month(): number {
    return this.date.getUTCMonth() + 1;
  }

  /** 1–31. */
  get day(): number {
    return this.date.getUTCDate();
  }

  /** 1 is Sunday. */
  get weekday(): number {
    return this.date.getUTCDay() + 1;
  }

  /** 0–23. */
  get hour(): number {
    return this.date.getUTCHours();
  }

  /** 0–59. */
  get minute(): number {
    return this.date.getUTCMinutes();
  }

  /** 0–59. */
  get second(): number {
    return this.date.getUTCSeconds();
  }
}
