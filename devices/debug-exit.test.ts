/** The debug-exit port, through a bus, because the width of its values is the point. */
import { expect, it } from 'vitest';
import { Bus } from './bus.ts';
import { DebugExit } from './debug-exit.ts';
import { DeviceState } from './state.ts';
import { TestMachine, transfer } from './testing/stand-ins.ts';

const make = (machine: TestMachine): DebugExit => new DebugExit(DeviceState.alone(DebugExit.layout), machine);

it('ends the run with the value written, of any width', () => {
  const machine = new TestMachine();
  const device = make(machine);
  const bus = new Bus();
  bus.map(0xf4, DebugExit.length, device, device.state.lock, { whole: true });
  bus.write(0xf4, 1, 0x12);
  bus.write(0xf4, 2, 0x1234);
  bus.write(0xf4, 4, 0xfedc_ba98);
  bus.write(0xf4, 4, -1);
  expect(machine.calls).toEqual([0x12, 0x1234, 0xfedc_ba98, 0xffff_ffff]);
  expect(bus.read(0xf4, 1)).toBe(0xff);
});

it('has nothing to save', () => {
  const device = make(new TestMachine());
  device.reset();
  expect(device.save()).toEqual({});
  transfer(device, make(new TestMachine()));
});
