/**
 * Machine time on drivers that run in real time: the host's monotonic clock, less the time that the
 * machine was paused. All threads see the same time.
 */
import type { Clock } from '../devices/device.ts';
import type { Control } from './control.ts';

/**
 * The host's monotonic clock in nanoseconds, as a double. Threads agree on it, unlike on
 * `performance.now()`, whose origin is the thread's start; that one is only used for its speed.
 */
const threadOrigin = findOrigin();

/** The best of some tries: between the two clocks' readings the thread may lose the processor, and be milliseconds off. */
function findOrigin(): number {
  let best = Number.POSITIVE_INFINITY;
  let origin = 0;
  for (let i = 0; i < 5; i++) {
    const before = performance.now();
    const host = Number(process.hrtime.bigint());
    const after = performance.now();
    if (after - before >= best) continue;
    best = after - before;
    origin = host - ((before + after) / 2) * 1e6;
  }
  return origin;
}

export function monotonicNow(): number {
  return threadOrigin + performance.now() * 1e6;
}

/** Real time since power-on. */
export class HostClock implements Clock {
  private readonly control: Control;

  constructor(control: Control) {
    this.control = control;
  }

  now(): number {
    return monotonicNow() - this.control.clockBase;
  }

  wallTime(): number {
    return Date.now();
  }
}
