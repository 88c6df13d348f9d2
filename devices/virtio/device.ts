/**
 * What a virtio device is to its transport. A device has two sides, on different threads: its identity
 * and configuration, which any vCPU may read, and the work on its queues, which one thread does.
 */
import type { AccessSize } from '../device.ts';
import type { SavedState } from '../state.ts';
import type { Virtqueue } from './virtqueue.ts';

/** Device ids, virtio 1.2 section 5. */
export const DeviceId = { net: 1, block: 2, rng: 4 } as const;

/** Feature bits of no particular device, virtio 1.2 section 6. */
export const Feature = { indirectDescriptors: 28, eventIndex: 29, version1: 32 } as const;

/** Virtio's largest queue here. The specification allows 32768. */
export const QUEUE_SIZE_MAXIMUM = 1024;

/** Chains that a device works off before it lets others have their turn. */
export const WORK_LIMIT = 256;

/** One virtio device, without its transport. */
export interface VirtioDevice {
  readonly deviceId: number;
  /** Numbers of the feature bits offered, besides those of every device. */
  readonly features: readonly number[];
  /** Largest size of each queue; powers of two up to {@link QUEUE_SIZE_MAXIMUM}. */
  readonly queueSizes: readonly number[];
  /** Device-specific configuration: `offset` counts from its start. Beyond its end, zeroes. Any thread. */
  readConfig(offset: number, size: AccessSize): number;
  /** Any thread. Most devices have nothing to write. */
  writeConfig(offset: number, size: AccessSize, value: number): void;
  /** The driver has accepted these feature bits and is ready (DRIVER_OK). On the thread that works on queues, before any work. */
  activate(features: FeatureSet): void;
  /**
   * Works off a queue, up to {@link WORK_LIMIT} chains: the driver has notified it, or the backend has
   * something for it. On the one thread that works on queues.
   * @returns whether there is more to do at once
   * @throws GuestError, GuestAddressError when the driver broke the protocol: the device then needs a reset
   */
  process(index: number, queue: Virtqueue): boolean;
  /** Extra state besides registers and queues; usually none. */
  save(): SavedState;
  restore(saved: SavedState): void;
}

/** The driver did something that the specification forbids. */
export class GuestError extends Error {
  override readonly name = 'GuestError';
  readonly code = 'GUEST';
}

/** Feature bits that both sides agreed on. */
export class FeatureSet {
  private readonly low: number;
  private readonly high: number;

  constructor(low: number, high: number) {
    this.low = low;
    this.high = high;
  }

  has(bit: number): boolean {
    return ((bit < 32 ? this.low >>> bit : this.high >>> (bit - 32)) & 1) === 1;
  }
}

/** A configuration space kept as bytes: its reads. */
export function readConfigBytes(config: DataView, offset: number, size: AccessSize): number {
  if (offset + size > config.byteLength) {
    let value = 0;
    for (let i = 0; i < size; i++) {
      if (offset + i < config.byteLength) value += config.getUint8(offset + i) * 256 ** i;
    }
    return value;
  }
  if (size === 1) return config.getUint8(offset);
  return size === 2 ? config.getUint16(offset, true) : config.getUint32(offset, true);
}
