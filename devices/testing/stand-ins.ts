/**
 * Stand-ins for what a device is given, for the tests beside the devices: an interrupt line that
 * remembers, a clock that is set by hand, a machine that notes what it was asked for.
 */
import type { Alarm, Clock, Device, IrqLine, MachineControl } from '../device.ts';
import type { SavedState } from '../state.ts';

/** An interrupt line that counts its rising edges. */
export class TestIrq implements IrqLine {
  level = false;
  edges = 0;

  setLevel(asserted: boolean): void {
    if (asserted && !this.level) this.edges++;
    this.level = asserted;
  }

  pulse(): void {
    this.edges++;
    this.level = false;
  }
}

/** Machine and wall time that move only when told. */
export class TestClock implements Clock {
  private nanoseconds = 0;
  private readonly epoch: number;

  /** @param epoch - wall time at power-on, in milliseconds since 1970 */
  constructor(epoch = Date.UTC(2026, 0, 1)) {
    this.epoch = epoch;
  }

  now(): number {
    return this.nanoseconds;
  }

  wallTime(): number {
    return this.epoch + this.nanoseconds / 1e6;
  }

  advance(milliseconds: number): void {
    this.nanoseconds += milliseconds * 1e6;
  }

  /** To a time in nanoseconds. */
  set(nanoseconds: number): void {
    this.nanoseconds = nanoseconds;
  }
}

/** Counts how often a deadline has moved. */
export class TestAlarm implements Alarm {
  moved = 0;

  deadlineMoved(): void {
    this.moved++;
  }
}

/** Lists what the guest asked of the machine. */
export class TestMachine implements MachineControl {
  readonly calls: (string | number)[] = [];

  powerOff(): void {
    this.calls.push('power-off');
  }

  reset(): void {
    this.calls.push('reset');
  }

  debugExit(value: number): void {
    this.calls.push(value);
  }

  panicked(): void {
    this.calls.push('panicked');
  }
}

/** Takes a device's state through JSON, as a snapshot file does, into another device. */
export function transfer(from: Device, to: Device): void {
  to.restore(JSON.parse(JSON.stringify(from.save())) as SavedState);
}
