/** kvmclock as a guest reads it: Linux, Documentation/virt/kvm/x86/msr.rst. */
import { describe, expect, it } from 'vitest';
import { DeviceState } from '../../devices/state.ts';
import { KvmClock } from './kvm-clock.ts';
import { RAM_START } from './layout.ts';
import { CpuMemory, createCpuMemory } from './memory.ts';
import { CpuTime } from './time.ts';

const RAM = 1 << 20;
const WALL = Date.UTC(2026, 0, 2, 3, 4, 5);

function make(frequency: number) {
  const host = { time: 5e9 };
  const clock = { now: () => host.time, wallTime: () => WALL + host.time / 1e6 };
  const time = new CpuTime(DeviceState.alone(CpuTime.layout), clock, () => 0);
  time.reset();
  time.tscFrequency = frequency;
  const memory = new CpuMemory(createCpuMemory(RAM), RAM);
  const written: number[][] = [];
  const kvmClock = new KvmClock(memory, time, (...range) => written.push(range));
  const view = new DataView(memory.u8.buffer, RAM_START);
  return { host, time, memory, kvmClock, view, written };
}

/** What a guest makes of its TSC: pvclock_clocksource_read() in short. */
function read(view: DataView, at: number, tsc: number): number {
  const delta = BigInt(tsc) - view.getBigUint64(at + 8, true);
  const shift = view.getInt8(at + 28);
  const shifted = shift >= 0 ? delta << BigInt(shift) : delta >> BigInt(-shift);
  const scaled = (shifted * BigInt(view.getUint32(at + 24, true))) >> 32n;
  return Number(view.getBigUint64(at + 16, true) + scaled);
}

describe('kvmclock', () => {
  it.each([1e9, 2_450_000_000, 333_333_000])('tells the time by a TSC of %i Hz', (frequency) => {
    const { host, time, kvmClock, view, written } = make(frequency);
    time.setTsc(123_456);
    kvmClock.writeSystemTime(0x4020);
    expect(written).toEqual([[0x4020, 32]]);
    expect(view.getUint32(0x4020, true) % 2).toBe(0);
    expect(view.getUint8(0x4020 + 29)).toBe(1);
    for (const passed of [0, 1e6, 3e9, 86_400e9]) {
      host.time = 5e9 + passed;
      // A multiplier of 32 bits is off by a billionth at most.
      expect(Math.abs(read(view, 0x4020, time.tsc()) - host.time)).toBeLessThan(10 + passed / 1e9);
    }
  });

  it('goes on from a time that it had elsewhere', () => {
    const { host, time, kvmClock, view } = make(1e9);
    time.restoreKvmClock(77e9, host.time);
    kvmClock.writeSystemTime(0);
    host.time += 1000;
    expect(read(view, 0, time.tsc())).toBe(77e9 + 1000);
  });

  it('says when it was 0, with another version each time', () => {
    const { kvmClock, view } = make(1e9);
    kvmClock.writeWallClock(0x100);
    expect(view.getUint32(0x104, true)).toBe(WALL / 1000);
    const version = view.getUint32(0x100, true);
    kvmClock.writeWallClock(0x100);
    expect(view.getUint32(0x100, true)).toBe(version + 2);
  });

  it('leaves alone what is no RAM', () => {
    const { kvmClock, written } = make(1e9);
    kvmClock.writeSystemTime(RAM - 31);
    kvmClock.writeWallClock(0xfee0_0000);
    expect(written).toEqual([]);
  });
});
