/** The time stamp counter, as a guest reads and moves it. */
import { describe, expect, it } from 'vitest';
import { DeviceState } from '../../devices/state.ts';
import { CpuTime } from './time.ts';

function timeAt(clock: { now: number }): CpuTime {
  const host = { now: () => clock.now, wallTime: () => 0 };
  const time = new CpuTime(DeviceState.alone(CpuTime.layout), host, () => 0);
  time.reset();
  return time;
}

describe('the time stamp counter', () => {
  it('follows the clock from where the guest has set it, and IA32_TSC_ADJUST tells how far that was', () => {
    const clock = { now: 1000 };
    const time = timeAt(clock);
    expect([time.tsc(), time.tscAdjust]).toEqual([1000, 0]);
    time.setTsc(5000);
    clock.now += 10;
    expect([time.tsc(), time.tscAdjust]).toEqual([5010, 4000]);
  });

  it('moves by what is written to IA32_TSC_ADJUST', () => {
    const time = timeAt({ now: 1000 });
    time.setTscAdjust(-300);
    expect([time.tsc(), time.tscAdjust]).toEqual([700, -300]);
    time.setTscAdjust(0);
    expect([time.tsc(), time.tscAdjust]).toEqual([1000, 0]);
  });

  it('goes on from a state from elsewhere', () => {
    const time = timeAt({ now: 1000 });
    time.restoreTsc(7, -2, 1000);
    expect([time.tsc(), time.tscAdjust]).toEqual([7, -2]);
    time.setTscAdjust(0);
    expect(time.tsc()).toBe(9);
  });
});
