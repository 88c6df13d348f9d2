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
const threadOrigin = Number(process.hrtime.bigint()) - performance.now() * 1e6;

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
