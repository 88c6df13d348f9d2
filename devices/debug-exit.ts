/**
 * A port that ends the run with a value, for tests and teaching guests: `out` to port 0xf4, of one, two or
 * four bytes, is the guest's exit status. QEMU's isa-debug-exit is at the same port, but reports
 * `value * 2 + 1`; here it is the value itself.
 */
import { allOnes } from './bus.ts';
import type { AccessSize, BusDevice, Device, MachineControl } from './device.ts';
import type { Register } from './registers.ts';
import { type DeviceState, defineState, type SavedState } from './state.ts';

const LAYOUT = defineState({});
const REGISTERS: readonly Register[] = [{ offset: 0, name: 'Value' }];

/** Port 0xf4. Map it with `whole`, so that a four-byte value is not split. */
export class DebugExit implements Device, BusDevice {
  static readonly layout = LAYOUT;
  /** In ports. */
  static readonly length = 1;
  readonly name = 'debug-exit';
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

  read(_offset: number, size: AccessSize): number {
    return allOnes(size);
  }

  write(_offset: number, size: AccessSize, value: number): void {
    this.machine.debugExit((value & allOnes(size)) >>> 0);
  }
}
