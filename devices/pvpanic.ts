/**
 * The pvpanic device at port 0x505 (QEMU, docs/specs/pvpanic.rst): one byte by which the guest's kernel says
 * that it has panicked, before it prints its last words and hangs or reboots.
 */
import type { AccessSize, BusDevice, Device, MachineControl } from './device.ts';
import { bitNames, type Register } from './registers.ts';
import { type DeviceState, defineState, type SavedState } from './state.ts';

const LAYOUT = defineState({});

/** Bit 0: the kernel has panicked. */
const PANICKED = 0x01;
/** Bit 1: the kernel has panicked and is about to run its crash kernel; the guest goes on by itself. */
const CRASH_LOADED = 0x02;
const SUPPORTED_EVENTS = PANICKED | CRASH_LOADED;
const REGISTERS: readonly Register[] = [
  { offset: 0, name: 'Events', bits: bitNames('panicked crash-loaded') },
];

/** Port 0x505. */
export class Pvpanic implements Device, BusDevice {
  static readonly layout = LAYOUT;
  readonly name = 'pvpanic';
  readonly registers = REGISTERS;
  readonly state: DeviceState;
  private readonly machine: MachineControl;

  constructor(state: DeviceState, machine: MachineControl) {
    this.state = state;
    this.machine = machine;
  }

  reset(): void {}

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    this.state.restore(saved);
  }

  read(_offset: number, _size: AccessSize): number {
    return SUPPORTED_EVENTS;
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    if (value & PANICKED) this.machine.panicked();
  }
}
