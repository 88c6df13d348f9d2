/** Ports 0x61, 0x92 and 0xcf9. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Pit } from './pit.ts';
import { DeviceState } from './state.ts';
import { SystemControl, type Timer2 } from './system-control.ts';
import { TestAlarm, TestClock, TestIrq, TestMachine, transfer } from './testing/stand-ins.ts';

let machine: TestMachine;
let timer: Timer2 & { gate: boolean; level: boolean };
let control: SystemControl;

function make(): SystemControl {
  const device = new SystemControl(DeviceState.alone(SystemControl.layout), machine, timer);
  device.reset();
  return device;
}

beforeEach(() => {
  machine = new TestMachine();
  timer = {
    gate: true,
    level: false,
    setGate(high) {
      this.gate = high;
    },
    output() {
      return this.level;
    },
  };
  control = make();
});

describe('port 0x61', () => {
  it('drives the gate of timer 2 and shows its output', () => {
    expect(timer.gate).toBe(false);
    control.portB.write(0, 1, 0x01);
    expect(timer.gate).toBe(true);
    expect(control.portB.read(0, 1) & 0x2f).toBe(0x01);
    timer.level = true;
    expect(control.portB.read(0, 1) & 0x2f).toBe(0x21);
  });

  it('toggles the refresh bit, so that who waits for it goes on', () => {
    const first = control.portB.read(0, 1) & 0x10;
    expect(control.portB.read(0, 1) & 0x10).not.toBe(first);
  });

  it('measures time with counter 2 of the interval timer, as Linux does for the TSC', () => {
    const clock = new TestClock();
    const pit = new Pit(DeviceState.alone(Pit.layout), new TestIrq(), clock, new TestAlarm());
    pit.reset();
    const wired = new SystemControl(DeviceState.alone(SystemControl.layout), machine, pit.timer2);
    wired.reset();
    const output = () => wired.portB.read(0, 1) & 0x20;
    wired.portB.write(0, 1, (wired.portB.read(0, 1) & ~0x02) | 0x01);
    pit.write(3, 1, 0xb0);
    pit.write(2, 1, 11932 & 0xff);
    pit.write(2, 1, 11932 >>> 8);
    clock.advance(9.99);
    expect(output()).toBe(0);
    clock.advance(0.02);
    expect(output()).toBe(0x20);
    // Without the gate it stands.
    wired.portB.write(0, 1, 0x00);
    pit.write(3, 1, 0xb0);
    pit.write(2, 1, 100);
    pit.write(2, 1, 0);
    clock.advance(50);
    expect(output()).toBe(0);
  });

  it('works without a timer', () => {
    const alone = new SystemControl(DeviceState.alone(SystemControl.layout), machine);
    alone.reset();
    alone.portB.write(0, 1, 0x03);
    expect(alone.portB.read(0, 1) & 0x2f).toBe(0x03);
  });
});

describe('port 0x92', () => {
  it('has A20 open and keeps the gate bit', () => {
    expect(control.controlA.read(0, 1)).toBe(0x02);
    control.controlA.write(0, 1, 0x00);
    expect(control.controlA.read(0, 1)).toBe(0x00);
  });

  it('resets the machine when bit 0 rises', () => {
    control.controlA.write(0, 1, 0x02);
    expect(machine.calls).toEqual([]);
    control.controlA.write(0, 1, 0x03);
    expect(machine.calls).toEqual(['reset']);
    control.controlA.write(0, 1, 0x03);
    expect(machine.calls).toEqual(['reset']);
  });
});

describe('port 0xcf9', () => {
  it('resets the machine as Linux asks: type first, then the reset bit', () => {
    control.resetControl.write(0, 1, 0x02);
    expect(machine.calls).toEqual([]);
    expect(control.resetControl.read(0, 1)).toBe(0x02);
    control.resetControl.write(0, 1, 0x06);
    expect(machine.calls).toEqual(['reset']);
  });
});

it('keeps all three across save and restore', () => {
  control.portB.write(0, 1, 0x03);
  control.controlA.write(0, 1, 0x00);
  control.resetControl.write(0, 1, 0x0a);
  timer.gate = false;
  const copy = make();
  transfer(control, copy);
  expect(copy.portB.read(0, 1) & 0x0f).toBe(0x03);
  expect(copy.controlA.read(0, 1)).toBe(0x00);
  expect(copy.resetControl.read(0, 1)).toBe(0x0a);
  // The gate is a wire of ours, so it is driven again.
  expect(timer.gate).toBe(true);
});
