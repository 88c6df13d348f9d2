/** Ports 0x61, 0x92 and 0xcf9. */
import { beforeEach, describe, expect, it } from 'vitest';
import { DeviceState } from './state.ts';
import { SystemControl, type Timer2 } from './system-control.ts';
import { TestMachine, transfer } from './testing/stand-ins.ts';

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
