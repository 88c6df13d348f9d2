/** ACPI fixed hardware: power button, soft off, PM timer. */
import { beforeEach, describe, expect, it } from 'vitest';
import { AcpiPm } from './acpi-pm.ts';
import { DeviceState } from './state.ts';
import { TestAlarm, TestClock, TestIrq, TestMachine, transfer } from './testing/stand-ins.ts';

const S5 = 5;
const TIMER_HZ = 3_579_545;
const PWRBTN = 0x0100;

let sci: TestIrq;
let clock: TestClock;
let machine: TestMachine;
let pm: AcpiPm;

function make(timerBits: 24 | 32 = 32): AcpiPm {
  const device = new AcpiPm(
    DeviceState.alone(AcpiPm.layout),
    sci,
    clock,
    new TestAlarm(),
    machine,
    S5,
    timerBits,
  );
  device.reset();
  return device;
}

beforeEach(() => {
  sci = new TestIrq();
  clock = new TestClock();
  machine = new TestMachine();
  pm = make();
});

describe('power button', () => {
  it('raises the SCI when enabled, until its status is cleared by writing 1', () => {
    pm.event.write(2, 2, PWRBTN);
    expect(sci.level).toBe(false);
    pm.pressPowerButton();
    expect(sci.level).toBe(true);
    expect(pm.event.read(0, 2)).toBe(PWRBTN);
    pm.event.write(0, 2, 0);
    expect(sci.level).toBe(true);
    pm.event.write(0, 2, PWRBTN);
    expect(sci.level).toBe(false);
    expect(pm.event.read(0, 4)).toBe(PWRBTN << 16);
  });

  it('waits for the guest to enable it', () => {
    pm.pressPowerButton();
    expect(sci.level).toBe(false);
    pm.event.write(3, 1, PWRBTN >> 8);
    expect(sci.level).toBe(true);
  });

  it('is remembered across save and restore', () => {
    pm.event.write(2, 2, PWRBTN);
    pm.pressPowerButton();
    const before = pm;
    sci = new TestIrq();
    pm = make();
    transfer(before, pm);
    expect(sci.level).toBe(true);
    expect(pm.event.read(0, 2)).toBe(PWRBTN);
    expect(pm.deadline()).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('event block', () => {
  it('keeps enable bits, and only those that exist', () => {
    pm.event.write(2, 2, 0xffff);
    expect(pm.event.read(2, 2)).toBe(0x0721);
    pm.event.write(3, 1, 0);
    expect(pm.event.read(2, 2)).toBe(0x0021);
    expect(pm.event.read(2, 1)).toBe(0x21);
  });
});

describe('control', () => {
  it('always says that ACPI is on', () => {
    expect(pm.control.read(0, 2)).toBe(1);
    pm.control.write(0, 2, 0);
    expect(pm.control.read(0, 2)).toBe(1);
  });

  it('switches the machine off by SLP_EN with the sleep type of S5, as ACPICA writes it', () => {
    pm.control.write(0, 2, (S5 << 10) | 1);
    expect(machine.calls).toEqual([]);
    pm.control.write(0, 2, (S5 << 10) | 0x2000 | 1);
    expect(machine.calls).toEqual(['power-off']);
    expect(pm.control.read(0, 2)).toBe((S5 << 10) | 1);
  });

  it('works a byte at a time, too', () => {
    pm.control.write(1, 1, (S5 << 2) | 0x20);
    expect(machine.calls).toEqual(['power-off']);
  });

  it('ignores sleep types that it does not offer', () => {
    for (let type = 0; type < 8; type++) if (type !== S5) pm.control.write(0, 2, (type << 10) | 0x2001);
    expect(machine.calls).toEqual([]);
  });
});

describe('timer', () => {
  it('counts at 3.579545 MHz', () => {
    expect(pm.timer.read(0, 4)).toBe(0);
    clock.advance(1000);
    expect(pm.timer.read(0, 4)).toBe(TIMER_HZ);
    expect(pm.timer.read(0, 1)).toBe(TIMER_HZ & 0xff);
    expect(pm.timer.read(2, 2)).toBe(TIMER_HZ >>> 16);
    pm.timer.write(0, 4, 0);
    expect(pm.timer.read(0, 4)).toBe(TIMER_HZ);
  });

  it.each([24, 32] as const)('wraps at %i bits and does not lose accuracy after weeks', (bits) => {
    pm = make(bits);
    clock.advance(1e6 * 1000);
    expect(pm.timer.read(0, 4)).toBe(Number((BigInt(TIMER_HZ) * 1_000_000n) % (1n << BigInt(bits))));
  });

  it('interrupts when the top bit changes, if asked to', () => {
    pm = make(24);
    pm.event.write(2, 2, 1);
    const half = (2 ** 23 / TIMER_HZ) * 1e9;
    expect(pm.deadline()).toBeGreaterThanOrEqual(half);
    expect(pm.deadline()).toBeLessThan(half + 10);
    clock.set(pm.deadline());
    pm.expire(clock.now());
    expect(sci.level).toBe(true);
    expect(pm.event.read(0, 2)).toBe(1);
    pm.event.write(0, 2, 1);
    expect(sci.level).toBe(false);
    expect(pm.deadline()).toBeGreaterThanOrEqual(2 * half);
  });

  it('sets its status without interrupt otherwise', () => {
    pm = make(24);
    clock.advance(2400);
    expect(pm.event.read(0, 2)).toBe(1);
    expect(sci.edges).toBe(0);
    expect(pm.deadline()).toBe(Number.POSITIVE_INFINITY);
  });
});
