/**
 * The driver's side of a virtio device, for tests: negotiates over the registers as an operating system
 * does, lays out rings in guest memory, and makes buffers available.
 */
import type { GuestMemory } from '../memory.ts';
import type { VirtioMmio } from '../virtio/mmio.ts';

const REGISTER = {
  deviceFeatures: 0x10,
  deviceFeaturesSel: 0x14,
  driverFeatures: 0x20,
  driverFeaturesSel: 0x24,
  queueSel: 0x30,
  queueNum: 0x38,
  queueReady: 0x44,
  interruptStatus: 0x60,
  interruptAck: 0x64,
  status: 0x70,
} as const;
const ADDRESS_REGISTERS = [0x80, 0x90, 0xa0] as const;

/** A buffer of a chain. */
export interface TestBuffer {
  readonly address: number;
  readonly length: number;
  readonly writable: boolean;
}

/** One queue as the driver sees it. */
export class DriverQueue {
  readonly size: number;
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
  private readonly memory: GuestMemory;
  private nextDescriptor = 0;
  private nextAvailable = 0;
  private seenUsed = 0;

  /** @param base - a 4 KiB-aligned place for the rings; 64 KiB are taken */
  constructor(memory: GuestMemory, size: number, base: number) {
    this.memory = memory;
    this.size = size;
    this.descriptors = base;
    this.available = base + 0x4000;
    this.used = base + 0x8000;
  }

  /** Writes a descriptor. */
  describe(
    index: number,
    address: number,
    length: number,
    flags: number,
    next: number,
    table = this.descriptors,
  ): void {
    const at = table + 16 * index;
    this.memory.writeU64(at, BigInt(address));
    this.memory.writeU32(at + 8, length);
    this.memory.writeU16(at + 12, flags);
    this.memory.writeU16(at + 14, next);
  }

  /** Makes a chain available. @returns the index of its first descriptor */
  add(buffers: readonly TestBuffer[]): number {
    const first = this.nextDescriptor;
    buffers.forEach((buffer, i) => {
      const index = (first + i) % this.size;
      const more = i + 1 < buffers.length;
      this.describe(
        index,
        buffer.address,
        buffer.length,
        (more ? 1 : 0) | (buffer.writable ? 2 : 0),
        (index + 1) % this.size,
      );
    });
    this.nextDescriptor = (first + buffers.length) % this.size;
    this.publish(first);
    return first;
  }

  /** Makes a chain available that lies in an indirect table at `table`. */
  addIndirect(buffers: readonly TestBuffer[], table: number): number {
    buffers.forEach((buffer, i) => {
      this.describe(
        i,
        buffer.address,
        buffer.length,
        (i + 1 < buffers.length ? 1 : 0) | (buffer.writable ? 2 : 0),
        i + 1,
        table,
      );
    });
    const first = this.nextDescriptor;
    this.describe(first, table, 16 * buffers.length, 4, 0);
    this.nextDescriptor = (first + 1) % this.size;
    this.publish(first);
    return first;
  }

  /** Puts a descriptor index in the available ring. */
  publish(head: number): void {
    this.memory.writeU16(this.available + 4 + 2 * (this.nextAvailable % this.size), head);
    this.nextAvailable = (this.nextAvailable + 1) & 0xffff;
    this.memory.writeU16(this.available + 2, this.nextAvailable);
  }

  /** Chains that the device has used since the last call. */
  takeUsed(): { head: number; written: number }[] {
    const index = this.memory.readU16(this.used + 2);
    const taken: { head: number; written: number }[] = [];
    for (; this.seenUsed !== index; this.seenUsed = (this.seenUsed + 1) & 0xffff) {
      const at = this.used + 4 + 8 * (this.seenUsed % this.size);
      taken.push({ head: this.memory.readU32(at), written: this.memory.readU32(at + 4) });
    }
    return taken;
  }

  /** With VIRTIO_F_EVENT_IDX: the used index after which the driver wants an interrupt. */
  set usedEvent(value: number) {
    this.memory.writeU16(this.available + 4 + 2 * this.size, value & 0xffff);
  }

  /** With VIRTIO_F_EVENT_IDX: the available index after which the device wants a notification. */
  get availableEvent(): number {
    return this.memory.readU16(this.used + 4 + 8 * this.size);
  }
}

/** A driver that has found its device. */
export class TestDriver {
  readonly transport: VirtioMmio;
  private readonly memory: GuestMemory;

  constructor(transport: VirtioMmio, memory: GuestMemory) {
    this.transport = transport;
    this.memory = memory;
    transport.reset();
  }

  read(register: keyof typeof REGISTER): number {
    return this.transport.read(REGISTER[register], 4) >>> 0;
  }

  write(register: keyof typeof REGISTER, value: number): void {
    this.transport.write(REGISTER[register], 4, value);
  }

  /** The feature words that the device offers. */
  offered(): [number, number] {
    return [0, 1].map((word) => {
      this.write('deviceFeaturesSel', word);
      return this.read('deviceFeatures');
    }) as [number, number];
  }

  /** Up to FEATURES_OK. @param mask - which of the low word's features to take */
  negotiate(mask = 0xffff_ffff): void {
    this.write('status', 0);
    this.write('status', 1);
    this.write('status', 3);
    this.offered().forEach((features, word) => {
      this.write('driverFeaturesSel', word);
      this.write('driverFeatures', word === 0 ? features & mask : features);
    });
    this.write('status', 11);
  }

  /** Places a queue and enables it. */
  setUpQueue(index: number, size: number, base: number): DriverQueue {
    const queue = new DriverQueue(this.memory, size, base);
    this.write('queueSel', index);
    this.write('queueNum', size);
    [queue.descriptors, queue.available, queue.used].forEach((address, i) => {
      this.transport.write(ADDRESS_REGISTERS[i]!, 4, address);
      this.transport.write(ADDRESS_REGISTERS[i]! + 4, 4, 0);
    });
    this.write('queueReady', 1);
    return queue;
  }

  /** DRIVER_OK. */
  start(): void {
    this.write('status', 15);
  }

  /** Whether the device says that it needs a reset. */
  get needsReset(): boolean {
    return (this.read('status') & 64) !== 0;
  }
}
