/** Devices that users write: registers in shared state, the timer, and mistakes on both sides. */
import { describe, expect, it } from 'vitest';
import type { AccessSize, IrqLine } from './device.ts';
import { GuestMemory } from './memory.ts';
import { type AnyDeviceModule, ModuleDevice, moduleLayout } from './module.ts';
import { DeviceState } from './state.ts';

const NO_LINE: IrqLine = { setLevel: () => {}, pulse: () => {} };

function make(module: Partial<AnyDeviceModule> & Pick<AnyDeviceModule, 'create'>, state?: DeviceState) {
  const whole: AnyDeviceModule = { name: 'mine', length: 8, ...module };
  const moved: number[] = [];
  const memory = GuestMemory.alone(4096);
  const device = new ModuleDevice(whole, 'mine', {
    state: state ?? DeviceState.alone(moduleLayout(whole)),
    irq: NO_LINE,
    clock: { now: () => 100, wallTime: () => 0 },
    alarm: { deadlineMoved: () => moved.push(1) },
    memory,
    file: './mine.ts',
  });
  device.reset();
  return { device, memory, moved };
}

/** A device that does nothing but what is given. */
const handlers = (some: {
  read?: (offset: number, size: AccessSize) => number;
  write?: (offset: number, size: AccessSize, value: number) => void;
}) => ({ read: some.read ?? (() => 0), write: some.write ?? (() => {}) });

describe('a device of a module', () => {
  const adder: Parameters<typeof make>[0] = {
    registers: ['sum'],
    tables: { log: 4 },
    create: ({ registers, tables }) => ({
      read: () => registers['sum']!,
      write: (offset, _size, value) => {
        registers['sum']! += value;
        tables['log']![offset] = value;
      },
      reset: () => {
        registers['sum'] = 1;
      },
    }),
  };

  it('keeps its registers in shared state, so that two threads see one device', () => {
    const state = DeviceState.alone(moduleLayout({ name: 'mine', length: 8, ...adder }));
    const one = make(adder, state).device;
    const other = make(adder, state).device;
    one.write(2, 4, 41);
    expect(other.read(0, 4)).toBe(42);
    expect(other.save()).toEqual({
      sum: 42,
      log: [0, 0, 41, 0],
      'timer.deadline': Number.POSITIVE_INFINITY,
    });
  });

  it('comes back from what it saved', () => {
    const { device } = make(adder);
    device.write(0, 4, 9);
    const saved = JSON.parse(JSON.stringify(device.save()));
    device.reset();
    expect(device.read(0, 4)).toBe(1);
    device.restore(saved);
    expect(device.read(0, 4)).toBe(10);
    expect(device.deadline()).toBe(Number.POSITIVE_INFINITY);
  });

  it('gives values of the width that was asked for, and gets unsigned ones', () => {
    const seen: number[] = [];
    const { device } = make({
      create: () => handlers({ read: () => -1, write: (_offset, _size, value) => seen.push(value) }),
    });
    expect([device.read(0, 1), device.read(0, 2), device.read(0, 4)]).toEqual([0xff, 0xffff, 0xffff_ffff]);
    device.write(0, 4, -2);
    expect(seen).toEqual([0xffff_fffe]);
  });

  it('has a timer that goes off once', () => {
    const times: number[] = [];
    const { device, moved } = make({
      create: ({ timer, clock }) => ({
        ...handlers({ write: (_offset, _size, value) => timer.set(clock.now() + value) }),
        expire: (now) => times.push(now),
      }),
    });
    device.write(0, 4, 50);
    expect([device.deadline(), moved.length]).toEqual([150, 1]);
    device.expire(160);
    expect([device.deadline(), times]).toEqual([Number.POSITIVE_INFINITY, [160]]);
  });

  it('reads and writes guest memory, and tells the CPU of what it wrote', () => {
    const { device, memory } = make({
      create: ({ memory: ram }) => handlers({ write: (offset) => ram.write(offset, ram.read(0, 4)) }),
    });
    const told: number[][] = [];
    memory.onDeviceWrite = (gpa, length) => told.push([gpa, length]);
    memory.write(0, Uint8Array.of(1, 2, 3, 4));
    device.write(8, 4, 0);
    expect([...memory.view(8, 4)]).toEqual([1, 2, 3, 4]);
    expect(told).toEqual([[8, 4]]);
  });

  it('drops an access that named memory outside RAM: the guest did that', () => {
    const { device } = make({
      create: ({ memory }) =>
        handlers({ read: () => memory.read(1e9, 1)[0]!, write: () => memory.write(1e9, Uint8Array.of(1)) }),
    });
    expect(device.read(0, 2)).toBe(0xffff);
    device.write(0, 1, 1);
  });

  it.each([
    [
      'a read that throws',
      () => {
        throw new RangeError('too far');
      },
      /device mine \(.*\), read of 1 byte\(s\) at offset 3: RangeError: too far/,
    ],
    ['a read that returns nothing', () => undefined as unknown as number, /returned undefined, not a number/],
  ])('%s ends the run with a message that names the device', (_what, read, message) => {
    expect(() => make({ create: () => handlers({ read }) }).device.read(3, 1)).toThrow(message);
  });

  it('is refused a register that it has not declared', () => {
    const { device } = make({
      registers: ['sum'],
      create: ({ registers }) =>
        handlers({
          write: (_offset, _size, value) => {
            registers['smu'] = value;
          },
        }),
    });
    expect(() => device.write(0, 1, 1)).toThrow(/mine.*smu/);
  });

  it('has to have read and write', () => {
    expect(() => make({ create: () => ({ read: () => 0 }) as never })).toThrow(/functions read and write/);
    expect(() => make({ create: () => undefined as never })).toThrow(/functions read and write/);
  });
});
