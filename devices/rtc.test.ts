/** The RTC as firmware and Linux use it: reading, setting, alarms and interrupts, CMOS contents. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { Rtc } from './rtc.ts';
import { DeviceState } from './state.ts';
import { TestAlarm, TestClock, TestIrq, transfer } from './testing/stand-ins.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const A = 0x0a;
const B = 0x0b;
const C = 0x0c;
const D = 0x0d;

let irq: TestIrq;
let clock: TestClock;
let alarm: TestAlarm;
let rtc: Rtc;

function make(epoch: number, lowRam = 512 * MIB, highRam = 0): void {
  irq = new TestIrq();
  clock = new TestClock(epoch);
  alarm = new TestAlarm();
  rtc = new Rtc(DeviceState.alone(Rtc.layout), irq, clock, alarm, lowRam, highRam);
  rtc.reset();
}

function read(index: number): number {
  rtc.write(0, 1, index);
  return rtc.read(1, 1);
}

function write(index: number, value: number): void {
  rtc.write(0, 1, index);
  rtc.write(1, 1, value);
}

/** Seconds, minutes, hours, weekday, day, month, year, century. */
const time = (): number[] => [0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32].map(read);

/** Lets time pass and serves the device's deadlines, as the machine does. */
function run(milliseconds: number): void {
  const end = clock.now() + milliseconds * 1e6;
  for (let turns = 0; rtc.deadline() <= end; turns++) {
    if (turns > 1e5) throw new Error('the deadline does not move on');
    clock.set(Math.max(clock.now(), rtc.deadline()));
    rtc.expire(clock.now());
    // A handler would read register C; here the test does.
    if (irq.level) break;
  }
  if (!irq.level) clock.set(end);
}

beforeEach(() => make(Date.UTC(2026, 10, 23, 13, 45, 59)));

describe('reading the time', () => {
  it('is BCD and 24 hours after power-on', () => {
    expect(read(B)).toBe(0x02);
    // 23 November 2026 is a Monday.
    expect(time()).toEqual([0x59, 0x45, 0x13, 0x02, 0x23, 0x11, 0x26, 0x20]);
    clock.advance(1000);
    expect(time()).toEqual([0x00, 0x46, 0x13, 0x02, 0x23, 0x11, 0x26, 0x20]);
  });

  it('is binary, and of 12 hours, as register B says', () => {
    write(B, 0x06);
    expect(time()).toEqual([59, 45, 13, 2, 23, 11, 26, 20]);
    write(B, 0x04);
    expect(read(4)).toBe(0x81);
    write(B, 0x00);
    expect(read(4)).toBe(0x81);
    make(Date.UTC(2026, 0, 1, 0, 30));
    write(B, 0x00);
    expect(read(4)).toBe(0x12);
    make(Date.UTC(2026, 0, 1, 12, 30));
    write(B, 0x00);
    expect(read(4)).toBe(0x92);
  });

  it('announces each update by UIP, and gives warning of at least 244 µs', () => {
    expect(read(A)).toBe(0x26);
    clock.advance(999);
    expect(read(A)).toBe(0xa6);
    clock.advance(1);
    expect(read(A)).toBe(0x26);
    clock.advance(997.7);
    expect(read(A)).toBe(0x26);
  });

  it('tolerates the NMI mask in the index, and hides the index port', () => {
    rtc.write(0, 1, 0x80 | B);
    expect(rtc.read(1, 1)).toBe(0x02);
    expect(rtc.read(0, 1)).toBe(0xff);
  });

  it('takes index and data in one 16-bit write', () => {
    rtc.write(0, 2, 0xa50f);
    expect(read(0x0f)).toBe(0xa5);
  });
});

describe('setting the time', () => {
  /** As Linux does it: stop, reset the divider, write, start. */
  function set(fields: { [index: number]: number }, control = 0x02): void {
    write(B, 0x80 | control);
    write(A, 0x76);
    for (const [index, value] of Object.entries(fields)) write(Number(index), value);
    write(B, control);
    write(A, 0x26);
  }

  it('goes on from what was set, and the first second ends after half a second', () => {
    clock.advance(321);
    set({ 0: 0x58, 2: 0x59, 4: 0x23, 7: 0x31, 8: 0x12, 9: 0x99, 50: 0x19 });
    expect(time()).toEqual([0x58, 0x59, 0x23, 0x06, 0x31, 0x12, 0x99, 0x19]);
    clock.advance(499);
    expect(read(0)).toBe(0x58);
    clock.advance(1);
    expect(read(0)).toBe(0x59);
    clock.advance(1000);
    expect(time()).toEqual([0x00, 0x00, 0x00, 0x07, 0x01, 0x01, 0x00, 0x20]);
  });

  it('stands still while SET is set', () => {
    write(B, 0x82);
    clock.advance(5000);
    expect(read(0)).toBe(0x59);
    expect(read(A) & 0x80).toBe(0);
    write(B, 0x02);
    expect(read(0)).toBe(0x59);
    clock.advance(1000);
    expect(read(0)).toBe(0x00);
  });

  it('works without stopping the clock, too', () => {
    write(4, 0x07);
    expect(time()).toEqual([0x59, 0x45, 0x07, 0x02, 0x23, 0x11, 0x26, 0x20]);
    clock.advance(1000);
    expect(read(2)).toBe(0x46);
  });

  it('survives a reset of the machine', () => {
    set({ 9: 0x30 });
    rtc.reset();
    expect(read(9)).toBe(0x30);
  });

  it('reads back any date in any format', () => {
    const date = fc.date({
      min: new Date('1980-01-01T00:00:00Z'),
      max: new Date('2099-12-31T23:59:59Z'),
      noInvalidDate: true,
    });
    fc.assert(
      fc.property(date, fc.constantFrom(0, 2, 4, 6), (moment, format) => {
        make(0);
        write(B, 0x80 | format);
        const encode = (value: number): number => (format & 4 ? value : Number.parseInt(String(value), 16));
        const hour = moment.getUTCHours();
        const hourRegister = format & 2 ? encode(hour) : encode(hour % 12 || 12) | (hour >= 12 ? 0x80 : 0);
        const fields = [
          encode(moment.getUTCSeconds()),
          encode(moment.getUTCMinutes()),
          hourRegister,
          encode(moment.getUTCDay() + 1),
          encode(moment.getUTCDate()),
          encode(moment.getUTCMonth() + 1),
          encode(moment.getUTCFullYear() % 100),
          encode(Math.floor(moment.getUTCFullYear() / 100)),
        ];
        [0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32].forEach((index, i) => {
          write(index, fields[i]!);
        });
        write(B, format);
        expect(time()).toEqual(fields);
      }),
    );
  });
});

describe('interrupts', () => {
  it('has no deadline while none is enabled', () => {
    expect(rtc.deadline()).toBe(Number.POSITIVE_INFINITY);
  });

  it('flags updates without interrupting unless enabled, until C is read', () => {
    expect(read(C)).toBe(0);
    clock.advance(1000);
    expect(read(C) & 0x10).toBe(0x10);
    expect(read(C) & 0x10).toBe(0);
    expect(irq.edges).toBe(0);
  });

  it('interrupts at the end of an update', () => {
    clock.advance(300);
    write(B, 0x12);
    expect(rtc.deadline()).toBe(1000e6);
    expect(alarm.moved).toBeGreaterThan(0);
    run(5000);
    expect(irq.level).toBe(true);
    expect(clock.now()).toBe(1000e6);
    expect(read(C) & 0x90).toBe(0x90);
    expect(irq.level).toBe(false);
    expect(rtc.deadline()).toBe(2000e6);
  });

  it('interrupts periodically at the selected rate', () => {
    write(A, 0x26);
    write(B, 0x42);
    let ticks = 0;
    while (clock.now() < 1e9) {
      run(1000);
      if (!irq.level) break;
      ticks++;
      read(C);
    }
    expect(ticks).toBe(1024);
  });

  it('has no periodic interrupt at rate 0', () => {
    write(A, 0x20);
    write(B, 0x42);
    expect(rtc.deadline()).toBe(Number.POSITIVE_INFINITY);
  });

  it('flags an alarm at its second and at no other', () => {
    write(1, 0x01);
    write(3, 0xff);
    write(5, 0xff);
    clock.advance(1000);
    expect(read(C) & 0x30).toBe(0x10);
    clock.advance(1000);
    expect(read(C) & 0x30).toBe(0x30);
    clock.advance(1000);
    expect(read(C) & 0x30).toBe(0x10);
  });

  it('wakes at the alarm, once a day', () => {
    write(1, 0x05);
    write(3, 0x46);
    write(5, 0x13);
    write(B, 0x22);
    expect(rtc.deadline()).toBe(6000e6);
    run(10_000);
    expect(irq.level).toBe(true);
    expect(time().slice(0, 3)).toEqual([0x05, 0x46, 0x13]);
    expect(read(C) & 0xa0).toBe(0xa0);
    expect(rtc.deadline()).toBe(6000e6 + 86_400e9);
  });

  it('takes alarm bytes from 0xc0 up for any value', () => {
    write(1, 0x30);
    write(3, 0xc0);
    write(5, 0xff);
    write(B, 0x22);
    run(60_000);
    expect(time().slice(0, 3)).toEqual([0x30, 0x46, 0x13]);
    read(C);
    run(120_000);
    expect(time().slice(0, 3)).toEqual([0x30, 0x47, 0x13]);
  });

  it('never wakes for an alarm that no time matches', () => {
    write(1, 0x75);
    write(3, 0xff);
    write(5, 0xff);
    write(B, 0x22);
    expect(rtc.deadline()).toBe(Number.POSITIVE_INFINITY);
  });

  it('does not take a time that was set for one that has passed', () => {
    write(B, 0x82);
    write(5, 0x23);
    write(3, 0);
    write(1, 0);
    write(4, 0x23);
    write(2, 0x30);
    write(B, 0x22);
    expect(read(C)).toBe(0);
    expect(irq.level).toBe(false);
  });

  it('finds the next alarm exactly', () => {
    const value = (most: number) => fc.oneof(fc.nat(most - 1), fc.constant(0xff));
    fc.assert(
      fc.property(value(60), value(60), value(24), fc.nat(86_399), (s, m, h, start) => {
        make(Date.UTC(2026, 0, 1) + start * 1000);
        write(B, 0x06);
        write(1, s);
        write(3, m);
        write(5, h);
        write(B, 0x26);
        const matches = (at: number): boolean =>
          (s === 0xff || at % 60 === s) &&
          (m === 0xff || Math.floor(at / 60) % 60 === m) &&
          (h === 0xff || Math.floor(at / 3600) % 24 === h);
        let expected = start + 1;
        while (!matches(expected)) expected++;
        expect(rtc.deadline()).toBe((expected - start) * 1e9);
      }),
      { numRuns: 50 },
    );
  });
});

describe('CMOS', () => {
  const word = (index: number): number => read(index) | (read(index + 1) << 8);

  it('says that the battery is good, and keeps what is written', () => {
    expect(read(D)).toBe(0x80);
    write(D, 0);
    expect(read(D)).toBe(0x80);
    write(0x0f, 0x05);
    write(0x7f, 0xaa);
    expect([read(0x0f), read(0x7f)]).toEqual([0x05, 0xaa]);
  });

  it('has the memory sizes of a small machine', () => {
    make(0, 32 * MIB);
    expect(word(0x15)).toBe(640);
    expect(word(0x17)).toBe(31 * 1024);
    expect(word(0x30)).toBe(31 * 1024);
    expect(word(0x34)).toBe(16 * 16);
    make(0, MIB);
    expect([word(0x30), word(0x34)]).toEqual([0, 0]);
  });

  it('has the memory sizes of a large machine', () => {
    make(0, 3 * GIB, 5 * GIB);
    expect(word(0x30)).toBe(0xffff);
    expect(word(0x34)).toBe((3 * 1024 - 16) * 16);
    expect(word(0x5b) | (read(0x5d) << 16)).toBe(5 * 1024 * 16);
  });
});

it('goes on after save and restore in the middle of work', () => {
  clock.advance(250);
  write(4, 0x07);
  write(1, 0x02);
  write(3, 0xff);
  write(5, 0xff);
  write(B, 0x32);
  run(800);
  const level = irq.level;
  expect(level).toBe(true);
  const copyIrq = new TestIrq();
  const copy = new Rtc(DeviceState.alone(Rtc.layout), copyIrq, clock, new TestAlarm(), 512 * MIB);
  copy.reset();
  transfer(rtc, copy);
  expect(copyIrq.level).toBe(level);
  const before = time();
  rtc = copy;
  irq = copyIrq;
  expect(time()).toEqual(before);
  expect(read(C) & 0x90).toBe(0x90);
  expect(rtc.deadline()).toBe(2000e6);
});

it('is one device to all threads, each with an object of its own over the same registers', () => {
  const other = new Rtc(rtc.state, irq, clock, alarm, 512 * MIB);
  rtc.write(0, 1, B);
  other.write(1, 1, 0x12);
  expect(rtc.deadline()).toBe(1000e6);
  clock.advance(1000);
  other.expire(clock.now());
  expect(irq.level).toBe(true);
  expect(read(C) & 0x90).toBe(0x90);
  expect(other.deadline()).toBe(2000e6);
});

it('restores a deadline of never, which JSON cannot hold', () => {
  const copy = new Rtc(DeviceState.alone(Rtc.layout), irq, clock, alarm, MIB);
  copy.reset();
  transfer(rtc, copy);
  expect(copy.deadline()).toBe(Number.POSITIVE_INFINITY);
});
