/** The boot-mark port. */
import { expect, it } from 'vitest';
import { BootMark } from './boot-mark.ts';
import { DeviceState } from './state.ts';
import { transfer } from './testing/stand-ins.ts';

it('reports each byte in order', () => {
  const marks: number[] = [];
  const device = new BootMark(DeviceState.alone(BootMark.layout), (mark) => marks.push(mark));
  device.reset();
  device.write(0, 1, 0x41);
  device.write(0, 1, 0xff);
  device.write(0, 2, 0x1234);
  expect(marks).toEqual([0x41, 0xff, 0x34]);
  expect(device.read(0, 1)).toBe(0);
  transfer(device, new BootMark(DeviceState.alone(BootMark.layout), () => {}));
});
