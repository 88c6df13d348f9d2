/** The interval timer: counts, outputs, latches, and the interrupts of counter 0. */
import { beforeEach, describe, expect, it } from 'vitest';
import { PIT_HZ, Pit } from './pit.ts';
import { DeviceState } from './state.ts';
import { TestAlarm, TestClock, TestIrq, transfer } from './testing/stand-ins.ts';

const CONTROL = 3;
const LOW_THEN_HIGH = 0x30;
const NEVER = Number.POSITIVE_INFINITY;

let irq: TestIrq;
let clock: TestClock;
let pit: Pit;

function make(): Pit {
  const device = new Pit(DeviceState.alone(Pit.layout), irq, clock, new TestAlarm());
  device.reset();
  return device;
}

/** Time at which the timer's clock has had `tick` periods. */
function timeOf(tick: number): number {
  return Math.ceil((tick * 1e9) / PIT_HZ) + 1;
}

function toTick(tick: number): void {
  clock.set(timeOf(tick));
}

/** @param count - 16 bits as written */
function program(channel: number, mode: number, count: number, bcd = 0): void {
  pit.write(CONTROL, 1, (channel << 6) | LOW_THEN_HIGH | (mode << 1) | bcd);
  pit.write(channel, 1, count & 0xff);
  pit.write(channel, 1, count >>> 8);
}

function count(channel: number): number {
  pit.write(CONTROL, 1, channel << 6);
  return pit.read(channel, 1) | (pit.read(channel, 1) << 8);
}

/** Output as the read-back command's status shows it. */
function output(channel: number): number {
  pit.write(CONTROL, 1, 0xe0 | (2 << channel));
  return pit.read(channel, 1) >>> 7;
}

/** Output at each of so many ticks from `start`. */
function wave(channel: number, start: number, length: number): string {
  let levels = '';
  for (let tick = start; tick < start + length; tick++) {
    toTick(tick);
    levels += output(channel);
  }
  return levels;
}

/** Lets the timer expire as often as it wants until then. @returns the times */
function runTo(nanoseconds: number): number[] {
  const times: number[] = [];
  while (pit.deadline() <= nanoseconds) {
    clock.set(Math.max(clock.now(), pit.deadline()));
    times.push(clock.now());
    pit.expire(clock.now());
  }
  clock.set(nanoseconds);
  return times;
}

beforeEach(() => {
  irq = new TestIrq();
  clock = new TestClock();
  pit = make();
});

describe('modes', () => {
  beforeEach(() => pit.timer2.setGate(true));

  it('0: output rises at terminal count, and the count goes on', () => {
    program(2, 0, 4);
    expect(wave(2, 0, 8)).toBe('00001111');
    toTick(3);
    expect(count(2)).toBe(1);
    toTick(5);
    expect(count(2)).toBe(0xffff);
  });

  it('0: the first byte of a new count stops it', () => {
    program(2, 0, 4);
    toTick(4);
    expect(pit.timer2.output()).toBe(true);
    pit.write(2, 1, 10);
    toTick(6);
    expect(pit.timer2.output()).toBe(false);
    pit.write(2, 1, 0);
    toTick(16);
    expect(pit.timer2.output()).toBe(true);
  });

  it('1: a rising gate starts a pulse', () => {
    program(2, 1, 3);
    expect(wave(2, 0, 3)).toBe('111');
    pit.timer2.setGate(false);
    pit.timer2.setGate(true);
    expect(wave(2, 2, 5)).toBe('00011');
    pit.timer2.setGate(false);
    pit.timer2.setGate(true);
    expect(wave(2, 6, 4)).toBe('0001');
  });

  it('2: output falls for the last tick of each period', () => {
    program(2, 2, 4);
    expect(wave(2, 0, 9)).toBe('111011101');
    toTick(9);
    expect(count(2)).toBe(3);
  });

  it('2: a new count waits for the end of the period', () => {
    program(2, 2, 4);
    toTick(1);
    pit.write(2, 1, 3);
    pit.write(2, 1, 0);
    expect(wave(2, 1, 9)).toBe('110110110');
  });

  it('3: a square wave, counted down by two', () => {
    program(2, 3, 6);
    expect(wave(2, 0, 9)).toBe('111000111');
    toTick(10);
    expect(count(2)).toBe(4);
    program(2, 3, 5);
    expect(wave(2, 10, 10)).toBe('1110011100');
    toTick(21);
    expect(count(2)).toBe(2);
  });

  it('4: one strobe after the count', () => {
    program(2, 4, 3);
    expect(wave(2, 0, 6)).toBe('111011');
  });

  it('5: one strobe after the gate', () => {
    program(2, 5, 3);
    expect(wave(2, 0, 5)).toBe('11111');
    pit.timer2.setGate(false);
    pit.timer2.setGate(true);
    expect(wave(2, 4, 6)).toBe('111011');
  });

  it('6 and 7 are 2 and 3', () => {
    program(2, 6, 4);
    expect(wave(2, 0, 5)).toBe('11101');
    program(2, 7, 4);
    expect(wave(2, 4, 5)).toBe('11001');
  });
});

describe('gate of counter 2', () => {
  it('holds the count in mode 0', () => {
    program(2, 0, 100);
    toTick(10);
    expect(count(2)).toBe(100);
    pit.timer2.setGate(true);
    toTick(40);
    expect(count(2)).toBe(70);
    pit.timer2.setGate(false);
    toTick(1000);
    expect(count(2)).toBe(70);
    pit.timer2.setGate(true);
    toTick(1069);
    expect(pit.timer2.output()).toBe(false);
    toTick(1070);
    expect(pit.timer2.output()).toBe(true);
  });

  it('forces the output high and starts anew in modes 2 and 3', () => {
    pit.timer2.setGate(true);
    program(2, 3, 100);
    toTick(60);
    expect(pit.timer2.output()).toBe(false);
    pit.timer2.setGate(false);
    expect(pit.timer2.output()).toBe(true);
    toTick(500);
    pit.timer2.setGate(true);
    toTick(510);
    expect(count(2)).toBe(80);
  });
});

describe('ports', () => {
  it('take one byte of the count if told so', () => {
    pit.write(CONTROL, 1, 0x14);
    pit.write(0, 1, 200);
    expect(pit.read(0, 1)).toBe(200);
    toTick(50);
    expect(pit.read(0, 1)).toBe(150);
    pit.write(CONTROL, 1, 0x24);
    pit.write(0, 1, 2);
    expect(pit.read(0, 1)).toBe(2);
    toTick(50 + 256);
    expect(pit.read(0, 1)).toBe(1);
  });

  it('count 65,536 for 0', () => {
    program(0, 2, 0);
    expect(count(0)).toBe(0);
    toTick(1);
    expect(count(0)).toBe(0xffff);
    toTick(65536);
    expect(count(0)).toBe(0);
  });

  it('count in decimal', () => {
    program(1, 2, 0x1000, 1);
    toTick(1);
    expect(count(1)).toBe(0x0999);
    program(1, 2, 0x0000, 1);
    toTick(2);
    expect(count(1)).toBe(0x9999);
  });

  it('give low and high byte in turn, and a latched count before that', () => {
    program(0, 2, 0x1234);
    expect(pit.read(0, 1)).toBe(0x34);
    pit.write(CONTROL, 1, 0x00);
    toTick(5);
    pit.write(CONTROL, 1, 0x00);
    expect(pit.read(0, 1)).toBe(0x34);
    expect(pit.read(0, 1)).toBe(0x12);
    expect(pit.read(0, 1)).toBe(0x12);
    expect(pit.read(0, 1)).toBe(0x2f);
  });

  it('read back status and count of several counters', () => {
    program(0, 2, 0x1234);
    pit.write(CONTROL, 1, 0x40 | LOW_THEN_HIGH | 0x07);
    pit.write(CONTROL, 1, 0xc0 | 0x06);
    // Counter 0 runs, high, mode 2; counter 1 waits for its count, high, mode 3, BCD.
    expect(pit.read(0, 1)).toBe(0x80 | LOW_THEN_HIGH | 0x04);
    expect(pit.read(0, 1)).toBe(0x34);
    expect(pit.read(0, 1)).toBe(0x12);
    expect(pit.read(1, 1)).toBe(0xc0 | LOW_THEN_HIGH | 0x07);
    expect(pit.read(CONTROL, 1)).toBe(0xff);
  });
});

describe('interrupts of counter 0', () => {
  it('come once in modes 0 and 4', () => {
    for (const mode of [0, 4]) {
      program(0, mode, 1000);
      const end = clock.now() + 1e8;
      const [first, ...more] = runTo(end);
      expect(first! - (end - 1e8)).toBeCloseTo((1000 * 1e9) / PIT_HZ, -4);
      expect(more).toEqual([]);
    }
    expect(irq.edges).toBe(2);
  });

  it.each([2, 3])('come each period in mode %i', (mode) => {
    program(0, mode, 11932);
    const times = runTo(1e9);
    expect(times).toHaveLength(99);
    expect(times.at(-1)).toBe(timeOf(99 * 11932));
    expect(irq.edges).toBe(99);
  });

  it('come from a count that runs out while its program is kept from the processor', () => {
    // Whenever the timer looks at the clock, two milliseconds have passed; the count takes one.
    const slow = new TestClock();
    const device = new Pit(
      DeviceState.alone(Pit.layout),
      irq,
      {
        now: () => {
          slow.set(slow.now() + 2e6);
          return slow.now();
        },
        wallTime: () => slow.wallTime(),
      },
      new TestAlarm(),
    );
    device.reset();
    device.write(CONTROL, 1, LOW_THEN_HIGH);
    device.write(0, 1, 1193 & 0xff);
    device.write(0, 1, 1193 >>> 8);
    expect(device.deadline()).toBeLessThan(NEVER);
  });

  it('stop with a control word', () => {
    program(0, 2, 1193);
    pit.write(CONTROL, 1, LOW_THEN_HIGH);
    expect(pit.deadline()).toBe(NEVER);
    program(2, 2, 1193);
    expect(pit.deadline()).toBe(NEVER);
  });

  it('follow a new count at the end of the period', () => {
    program(0, 2, 10_000);
    toTick(1000);
    pit.write(0, 1, 5000 & 0xff);
    pit.write(0, 1, 5000 >>> 8);
    expect(runTo(timeOf(20_001))).toEqual([10_000, 15_000, 20_000].map(timeOf));
  });

  it('are made up for at four times the pace, on the old grid', () => {
    program(0, 2, 11932);
    const period = (11932 * 1e9) / PIT_HZ;
    const late = Math.ceil(5.5 * period);
    clock.set(late);
    const times = runTo(10.5 * period);
    expect(times).toHaveLength(10);
    expect(times[0]).toBe(late);
    for (let i = 1; i < 5; i++) expect(times[i]! - times[i - 1]!).toBeGreaterThanOrEqual(period / 4);
    expect(times.at(-1)).toBe(timeOf(10 * 11932));
  });

  it('are dropped when they are older than 100 ms', () => {
    program(0, 2, 11932);
    clock.set(10e9);
    pit.expire(clock.now());
    const times = runTo(20e9);
    // What was left of the stop, and those of the ten seconds since.
    expect(times.length).toBeGreaterThanOrEqual(1008);
    expect(times.length).toBeLessThanOrEqual(1011);
    expect(times.at(-1)! - timeOf(1999 * 11932)).toBeLessThan(1e7);
  });

  it('never come closer than 100 µs', () => {
    program(0, 2, 2);
    expect(runTo(10e6).length).toBeLessThanOrEqual(101);
  });
});

it('goes on where it was saved', () => {
  program(0, 2, 11932);
  program(2, 0, 1000);
  pit.timer2.setGate(true);
  toTick(400);
  const copy = make();
  transfer(pit, copy);
  expect(copy.deadline()).toBe(pit.deadline());
  pit = copy;
  expect(count(2)).toBe(600);
  toTick(1000);
  expect(copy.timer2.output()).toBe(true);
  const idle = make();
  const other = make();
  transfer(idle, other);
  expect(other.deadline()).toBe(NEVER);
});
