/**
 * The network device: one receive queue, one transmit queue. Virtio 1.2, section 5.1.
 *
 * Frames go between the backend and guest memory without a copy. When the driver has no buffers for what
 * arrives, frames wait in the backend, and {@link VirtioNet.starved} says that looking there is useless.
 */
import type { AccessSize } from '../device.ts';
import type { GuestMemory } from '../memory.ts';
import type { NetBackend } from '../net/backend.ts';
import type { SavedState } from '../state.ts';
import { BufferList } from './buffers.ts';
import {
  DeviceId,
  type FeatureSet,
  GuestError,
  QUEUE_SIZE_MAXIMUM,
  readConfigBytes,
  type VirtioDevice,
  WORK_LIMIT,
} from './device.ts';
import type { Virtqueue } from './virtqueue.ts';

const QUEUE_SIZE = 256;
/** Queue numbers, 5.1.2. */
export const RECEIVE_QUEUE = 0;
const TRANSMIT_QUEUE = 1;

/** Feature bits, 5.1.3. */
const F_CSUM = 0;
const F_GUEST_CSUM = 1;
const F_MAC = 5;
const F_HOST_TSO4 = 11;
const F_HOST_TSO6 = 12;
const F_STATUS = 16;

const STATUS_LINK_UP = 1;
/** struct virtio_net_hdr with num_buffers. */
const HEADER_SIZE = 12;
const FRAME_MAXIMUM = HEADER_SIZE + 65_550;

export class VirtioNet implements VirtioDevice {
  readonly deviceId = DeviceId.net;
  readonly features = [F_CSUM, F_GUEST_CSUM, F_MAC, F_HOST_TSO4, F_HOST_TSO6, F_STATUS] as const;
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE] as const;
  /** Whether frames can't be received for want of buffers. */
  starved = true;
  private readonly config = new DataView(new ArrayBuffer(12));
  private readonly frame = new BufferList(QUEUE_SIZE_MAXIMUM);
  private backend: NetBackend | undefined;
  private readonly memory: GuestMemory;

  /** @param mac - six bytes */
  constructor(mac: readonly number[], memory: GuestMemory) {
    this.memory = memory;
    mac.forEach((byte, i) => {
      this.config.setUint8(i, byte);
    });
    this.config.setUint16(6, STATUS_LINK_UP, true);
  }

  /** Gives the device its network, on the thread that works on queues. */
  attach(backend: NetBackend): void {
    this.backend = backend;
  }

  readConfig(offset: number, size: AccessSize): number {
    return readConfigBytes(this.config, offset, size);
  }

  writeConfig(): void {}

  activate(features: FeatureSet): void {
    this.backend?.setChecksumOffload(features.has(F_GUEST_CSUM));
  }

  process(index: number, queue: Virtqueue): boolean {
    const { backend } = this;
    if (backend === undefined) return false;
    return index === TRANSMIT_QUEUE ? this.transmit(queue, backend) : this.receive(queue, backend);
  }

  save(): SavedState {
    return {};
  }

  restore(): void {}

  private transmit(queue: Virtqueue, backend: NetBackend): boolean {
    for (let n = 0; n < WORK_LIMIT; n++) {
      if (!queue.next()) return false;
      const { chain } = queue;
      if (chain.readableBytes < HEADER_SIZE) throw new GuestError(`frame of ${chain.readableBytes} bytes`);
      if (chain.readableBytes <= FRAME_MAXIMUM) {
        this.frame.take(chain, false, 0, chain.readableBytes);
        backend.send(this.frame);
      }
      queue.push(chain.head, 0);
    }
    return true;
  }

  private receive(queue: Virtqueue, backend: NetBackend): boolean {
    this.starved = false;
    for (let n = 0; n < WORK_LIMIT; n++) {
      if (!queue.next()) {
        this.starved = true;
        return false;
      }
      const { chain } = queue;
      if (chain.writableBytes < HEADER_SIZE)
        throw new GuestError(`receive buffer of ${chain.writableBytes} bytes`);
      this.frame.take(chain, true, 0, chain.writableBytes);
      const length = backend.receive(this.frame);
      if (length === 0) {
        queue.unnext();
        return false;
      }
      this.setNumBuffers(queue);
      queue.push(chain.head, length);
    }
    return true;
  }

  /** Without VIRTIO_NET_F_MRG_RXBUF, num_buffers is 1 (5.1.6.4.1); tap leaves it as it was. */
  private setNumBuffers(queue: Virtqueue): void {
    this.frame.take(queue.chain, true, HEADER_SIZE - 2, 2);
    this.memory.writeU8(this.frame.address[0]!, 1);
    this.memory.writeU8(
      this.frame.address[this.frame.count - 1]! + this.frame.length[this.frame.count - 1]! - 1,
      0,
    );
  }
}
