/**
 * The entropy device: fills the driver's buffers with random numbers, the host's unless it is given others.
 * Virtio 1.2, section 5.4.
 */
import type { GuestMemory } from '../memory.ts';
import { fillRandom } from '../random.ts';
import type { SavedState } from '../state.ts';
import { DeviceId, type VirtioDevice, WORK_LIMIT } from './device.ts';
import type { Virtqueue } from './virtqueue.ts';

/** Most bytes given for one request: as a driver may ask for gigabytes, and has to take less. */
const REQUEST_MAXIMUM = 64 * 1024;

export class VirtioRng implements VirtioDevice {
  readonly deviceId = DeviceId.rng;
  readonly features = [] as const;
  readonly queueSizes = [64] as const;
  private readonly memory: GuestMemory;
  private readonly fill: (bytes: Uint8Array) => void;

  /** @param fill - fills bytes at random */
  constructor(memory: GuestMemory, fill: (bytes: Uint8Array) => void = fillRandom) {
    this.memory = memory;
    this.fill = fill;
  }

  readConfig(): number {
    return 0;
  }

  writeConfig(): void {}

  activate(): void {}

  process(_index: number, queue: Virtqueue): boolean {
    for (let n = 0; n < WORK_LIMIT; n++) {
      if (!queue.next()) return false;
      const { chain } = queue;
      let written = 0;
      for (let i = chain.readable; i < chain.count && written < REQUEST_MAXIMUM; i++) {
        const length = Math.min(chain.length[i]!, REQUEST_MAXIMUM - written);
        if (length > 0) this.fill(this.memory.view(chain.address[i]!, length));
        written += length;
      }
      queue.push(chain.head, written);
    }
    return true;
  }

  save(): SavedState {
    return {};
  }

  restore(): void {}
}
