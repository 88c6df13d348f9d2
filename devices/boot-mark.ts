/**
 * A port that marks moments of a guest's boot: whoever writes a byte to port 0xf5 says "I have come this
 * far", and the VMM notes when. The guest images in guests/linux write it; what each byte means is theirs.
 */
import type { AccessSize, BusDevice, Device } from './device.ts';
import type { Register } from './registers.ts';
import { type DeviceState, defineState, type SavedState } from './state.ts';

const LAYOUT = defineState({});
const REGISTERS: readonly Register[] = [{ offset: 0, name: 'Mark' }];

/** Port 0xf5. */
export class BootMark implements Device, BusDevice {
  static readonly layout = LAYOUT;
  readonly name = 'boot-mark';
  readonly registers = REGISTERS;
  readonly state: DeviceState;
  private readonly onMark: (mark: number) => void;

  /** @param onMark - called with the byte, 0–255, on the vCPU's thread and under the device's lock */
  constructor(state: DeviceState, onMark: (mark: number) => void) {
    this.state = state;
    this.onMark = onMark;
  }

  reset(): void {}

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    this.state.restore(saved);
  }

  /** Reads 0, so that a guest can tell whether the port is there. */
  read(_offset: number, _size: AccessSize): number {
    return 0;
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    this.onMark(value & 0xff);
  }
}
