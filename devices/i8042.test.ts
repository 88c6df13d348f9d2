/** The keyboard controller, asked what firmware and Linux ask it. */
import { beforeEach, expect, it } from 'vitest';
import { I8042 } from './i8042.ts';
import { DeviceState } from './state.ts';
import { TestIrq, TestMachine, transfer } from './testing/stand-ins.ts';

let irq: TestIrq;
let machine: TestMachine;
let i8042: I8042;

function make(): I8042 {
  irq = new TestIrq();
  machine = new TestMachine();
  const device = new I8042(DeviceState.alone(I8042.layout), machine, irq);
  device.reset();
  return device;
}

const status = (): number => i8042.read(4, 1);
const command = (value: number): void => i8042.write(4, 1, value);
const data = (value: number): void => i8042.write(0, 1, value);
/** The answer, which must be there already. */
const answer = (): number => {
  expect(status() & 0x01).toBe(0x01);
  return i8042.read(0, 1);
};

beforeEach(() => {
  i8042 = make();
});

it('is idle after reset: nothing to read, ready to be written', () => {
  expect(status() & 0x03).toBe(0);
});

it('passes its self-test, and says so in the status from then on', () => {
  expect(status() & 0x04).toBe(0);
  command(0xaa);
  expect(answer()).toBe(0x55);
  expect(status() & 0x05).toBe(0x04);
});

it('keeps its command byte and RAM', () => {
  command(0x60);
  data(0x45);
  command(0x20);
  expect(answer()).toBe(0x45);
  command(0x7f);
  data(0xa5);
  command(0x3f);
  expect(answer()).toBe(0xa5);
});

it('disables and enables its ports in the command byte', () => {
  command(0xae);
  command(0xa8);
  command(0x20);
  expect(answer() & 0x30).toBe(0x00);
  command(0xad);
  command(0xa7);
  command(0x20);
  expect(answer() & 0x30).toBe(0x30);
});

it('has a keyboard port and no mouse port', () => {
  command(0xab);
  expect(answer()).toBe(0x00);
  command(0xa9);
  expect(answer()).not.toBe(0x00);
  // Linux: an AUX loop answer without the mouse's mark means that there is no such port.
  command(0xd3);
  data(0x5a);
  expect(status() & 0x21).toBe(0x01);
  expect(answer()).toBe(0x5a);
});

it('says at once that no keyboard and no mouse answers', () => {
  data(0xf2);
  expect(status() & 0x41).toBe(0x41);
  expect(answer()).toBe(0xfe);
  expect(status() & 0x41).toBe(0);
  command(0xd4);
  data(0xff);
  expect(status() & 0x41).toBe(0x41);
  expect(answer()).toBe(0xfe);
});

it('interrupts for a byte if the command byte says so', () => {
  command(0x60);
  data(0x01);
  data(0xf2);
  expect(irq.level).toBe(true);
  answer();
  expect(irq.level).toBe(false);
});

it('opens the A20 gate by the output port', () => {
  command(0xd1);
  data(0xdf);
  command(0xd0);
  expect(answer()).toBe(0xdf);
  expect(machine.calls).toEqual([]);
});

it('resets the machine by a pulse or by the output port', () => {
  command(0xff);
  expect(machine.calls).toEqual([]);
  command(0xfe);
  expect(machine.calls).toEqual(['reset']);
  command(0xd1);
  data(0xfe);
  expect(machine.calls).toEqual(['reset', 'reset']);
});

it('ignores commands it does not know', () => {
  command(0x00);
  command(0xb5);
  expect(status() & 0x03).toBe(0);
});

it('is saved between a command and its data, and with an answer waiting', () => {
  command(0x60);
  const first = i8042;
  i8042 = make();
  transfer(first, i8042);
  data(0x03);
  command(0x20);
  const second = i8042;
  i8042 = make();
  transfer(second, i8042);
  expect(irq.level).toBe(true);
  expect(answer()).toBe(0x03);
});
