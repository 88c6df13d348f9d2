/** pvpanic as Linux' driver uses it. */
import { expect, it } from 'vitest';
import { Pvpanic } from './pvpanic.ts';
import { DeviceState } from './state.ts';
import { TestMachine, transfer } from './testing/stand-ins.ts';

it('offers its events and passes a panic on', () => {
  const machine = new TestMachine();
  const device = new Pvpanic(DeviceState.alone(Pvpanic.layout), machine);
  device.reset();
  expect(device.read(0, 1)).toBe(0x03);
  device.write(0, 1, 0x01);
  expect(machine.calls).toEqual(['panicked']);
});

it('lets a guest be that runs its crash kernel', () => {
  const machine = new TestMachine();
  const device = new Pvpanic(DeviceState.alone(Pvpanic.layout), machine);
  device.write(0, 1, 0x02);
  expect(machine.calls).toEqual([]);
  transfer(device, new Pvpanic(DeviceState.alone(Pvpanic.layout), machine));
});
