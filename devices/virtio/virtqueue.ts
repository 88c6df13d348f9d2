/**
 * The split virtqueue, device side. Virtio 1.2, sections 2.6 and 2.7.
 *
 *   descriptor table   16 bytes each: address, length, flags, next     written by the driver
 *   available ring     flags, idx, ring[size], used_event              written by the driver
 *   used ring          flags, idx, ring[size] of (id, len), avail_event  written by the device
 *
 * One thread works on a queue. {@link Virtqueue.next} takes a chain of descriptors into arrays that are
 * used again for every chain, {@link Virtqueue.push} hands it back, {@link Virtqueue.needsInterrupt}
 * says whether the driver wants to hear of it. Nothing is allocated per chain. All addresses and sizes
 * come from the guest and are checked: whatever is wrong with them throws {@link GuestError} or
 * GuestAddressError, and the transport then asks for a reset.
 */
import type { GuestMemory, MemoryRegion } from '../memory.ts';
import { GuestError } from './device.ts';

const DESCRIPTOR_SIZE = 16;
const DESCRIPTOR_NEXT = 1;
const DESCRIPTOR_WRITE = 2;
const DESCRIPTOR_INDIRECT = 4;

const AVAILABLE_NO_INTERRUPT = 1;
const USED_NO_NOTIFY = 1;

/** Where a queue's registers are in the transport's state words; `doubles` hold the three addresses. */
export interface QueueRegisters {
  readonly words: Int32Array;
  /** Index of the first of {@link QUEUE_WORDS} words. */
  readonly word: number;
  readonly doubles: Float64Array;
  /** Index of the first of {@link QUEUE_DOUBLES} doubles. */
  readonly double: number;
}

/** Words a queue takes in the transport's state. */
export const QUEUE_WORDS = 5;
/** Doubles a queue takes: guest-physical addresses. */
export const QUEUE_DOUBLES = 3;

/** Order of a queue's words. */
export const QueueWord = { size: 0, ready: 1, nextAvailable: 2, nextUsed: 3, signalledUsed: 4 } as const;
/** Order of a queue's doubles. */
export const QueueDouble = { descriptors: 0, available: 1, used: 2 } as const;

/** One chain of buffers, as the driver made it available: device-readable segments first, then writable ones. */
export class Chain {
  /** Index of the chain's first descriptor, to be given back. */
  head = 0;
  /** Segments in use. */
  count = 0;
  /** Of these, how many the device may only read. */
  readable = 0;
  readonly address: Float64Array;
  readonly length: Uint32Array;
  /** Total bytes of device-readable and device-writable segments. */
  readableBytes = 0;
  writableBytes = 0;

  constructor(capacity: number) {
    this.address = new Float64Array(capacity);
    this.length = new Uint32Array(capacity);
  }
}

/** One queue. */
export class Virtqueue {
  /** The chain that {@link Virtqueue.next} found last. */
  readonly chain: Chain;
  private readonly memory: GuestMemory;
  private readonly registers: QueueRegisters;
  private readonly capacity: number;
  private indirect = false;
  private eventIndex = false;

  /** @param capacity - the largest size that the driver may choose */
  constructor(memory: GuestMemory, registers: QueueRegisters, capacity: number) {
    this.memory = memory;
    this.registers = registers;
    this.capacity = capacity;
    // An indirect table may be as long as the queue, and no chain may be longer (2.7.5.3.1).
    this.chain = new Chain(capacity);
  }

  get ready(): boolean {
    return Atomics.load(this.registers.words, this.registers.word + QueueWord.ready) !== 0;
  }

  get size(): number {
    return this.registers.words[this.registers.word + QueueWord.size]!;
  }

  /** How many chains have been taken, modulo 65,536. */
  get takenIndex(): number {
    return this.registers.words[this.registers.word + QueueWord.nextAvailable]!;
  }

  /** Where the driver has put the queue: guest-physical addresses. For people to look at. */
  get addresses(): { readonly descriptors: number; readonly available: number; readonly used: number } {
    return {
      descriptors: this.address(QueueDouble.descriptors),
      available: this.address(QueueDouble.available),
      used: this.address(QueueDouble.used),
    };
  }

  /** How many chains have been given back, modulo 65,536. */
  get usedIndex(): number {
    return this.registers.words[this.registers.word + QueueWord.nextUsed]!;
  }

  /** What was negotiated: VIRTIO_F_INDIRECT_DESC and VIRTIO_F_EVENT_IDX. */
  negotiate(indirect: boolean, eventIndex: boolean): void {
    this.indirect = indirect;
    this.eventIndex = eventIndex;
  }

  /**
   * Takes the next available chain into {@link Virtqueue.chain}.
   * Hot path.
   * @returns false when there is none; the driver will then notify when there is
   * @throws GuestError, GuestAddressError
   */
  next(): boolean {
    if (!this.available) return false;
    const { words, word } = this.registers;
    const position = words[word + QueueWord.nextAvailable]!;
    const ring = this.address(QueueDouble.available) + 4;
    const head = this.memory.readU16(ring + 2 * (position % this.size));
    words[word + QueueWord.nextAvailable] = (position + 1) & 0xffff;
    this.gather(head);
    return true;
  }

  /** Puts the chain that was taken last back as available, for a device that can't use it yet. */
  unnext(): void {
    const { words, word } = this.registers;
    words[word + QueueWord.nextAvailable] = (words[word + QueueWord.nextAvailable]! - 1) & 0xffff;
  }

  /**
   * Whether a chain is available. When none is, asks the driver to notify of the next one, and looks
   * again, so that none slips in between (2.7.7.1, 2.7.10).
   */
  get available(): boolean {
    if (this.peek()) return true;
    this.setNotification(true);
    if (!this.peek()) return false;
    this.setNotification(false);
    return true;
  }

  /**
   * Hands a chain back as used.
   * Hot path.
   * @param written - bytes written to its device-writable segments, from the start
   */
  push(head: number, written: number): void {
    const { words, word } = this.registers;
    const size = this.size;
    const position = words[word + QueueWord.nextUsed]!;
    const used = this.address(QueueDouble.used);
    const region = this.memory.locate(used, 6 + 8 * size);
    const element = used - region.base + 4 + 8 * (position % size);
    region.data.setUint32(element, head, true);
    region.data.setUint32(element + 4, written, true);
    const next = (position + 1) & 0xffff;
    words[word + QueueWord.nextUsed] = next;
    // The element must be seen before the index that covers it; Atomics orders both.
    Atomics.store(region.u16, (used - region.base) / 2 + 1, next);
  }

  /** Whether the driver wants an interrupt for what was pushed since the last time it got one (2.7.7.2, 2.7.8). */
  needsInterrupt(): boolean {
    const { words, word } = this.registers;
    const used = words[word + QueueWord.nextUsed]!;
    const last = words[word + QueueWord.signalledUsed]!;
    if (used === last) return false;
    const available = this.address(QueueDouble.available);
    const region = this.memory.locate(available, 6 + 2 * this.size);
    const at = (available - region.base) / 2;
    if (!this.eventIndex) {
      words[word + QueueWord.signalledUsed] = used;
      return (Atomics.load(region.u16, at) & AVAILABLE_NO_INTERRUPT) === 0;
    }
    const event = Atomics.load(region.u16, at + 2 + this.size);
    words[word + QueueWord.signalledUsed] = used;
    return ((used - event - 1) & 0xffff) < ((used - last) & 0xffff);
  }

  /** Checks the addresses once the driver has enabled the queue. @throws GuestError, GuestAddressError */
  check(): void {
    const size = this.size;
    if (size === 0 || size > this.capacity || (size & (size - 1)) !== 0) {
      throw new GuestError(`queue size ${size} is not a power of two up to ${this.capacity}`);
    }
    this.checkPart('descriptor table', QueueDouble.descriptors, 16, DESCRIPTOR_SIZE * size);
    this.checkPart('available ring', QueueDouble.available, 2, 6 + 2 * size);
    this.checkPart('used ring', QueueDouble.used, 4, 6 + 8 * size);
  }

  private checkPart(name: string, which: number, alignment: number, length: number): void {
    const address = this.address(which);
    if (address % alignment !== 0)
      throw new GuestError(`${name} at 0x${address.toString(16)} is not aligned to ${alignment}`);
    this.memory.locate(address, length);
  }

  private address(which: number): number {
    return this.registers.doubles[this.registers.double + which]!;
  }

  private peek(): boolean {
    const { words, word } = this.registers;
    const available = this.address(QueueDouble.available);
    const region = this.memory.locate(available, 4);
    const index = Atomics.load(region.u16, (available - region.base) / 2 + 1);
    const waiting = (index - words[word + QueueWord.nextAvailable]!) & 0xffff;
    if (waiting > this.size)
      throw new GuestError(`available index ${index} is ${waiting} ahead in a queue of ${this.size}`);
    return waiting !== 0;
  }

  private setNotification(wanted: boolean): void {
    const used = this.address(QueueDouble.used);
    const size = this.size;
    const region = this.memory.locate(used, 6 + 8 * size);
    const at = (used - region.base) / 2;
    if (this.eventIndex) {
      // avail_event stays where it is while notifications are not wanted: far behind.
      if (wanted)
        Atomics.store(
          region.u16,
          at + 2 + 4 * size,
          this.registers.words[this.registers.word + QueueWord.nextAvailable]!,
        );
    } else {
      Atomics.store(region.u16, at, wanted ? 0 : USED_NO_NOTIFY);
    }
  }

  /** Walks the descriptors of a chain. Bounded by the queue's size, so that a loop in it ends (2.7.5.2). */
  private gather(head: number): void {
    const { chain } = this;
    const table = this.address(QueueDouble.descriptors);
    chain.head = head;
    chain.count = 0;
    chain.readable = 0;
    chain.readableBytes = 0;
    chain.writableBytes = 0;
    if (head >= this.size) throw new GuestError(`available ring names descriptor ${head} of ${this.size}`);
    this.walk(this.memory.locate(table, DESCRIPTOR_SIZE * this.size), table, this.size, head, false);
  }

  private walk(
    region: MemoryRegion,
    table: number,
    entries: number,
    first: number,
    inIndirect: boolean,
  ): void {
    const { data } = region;
    let index = first;
    for (let steps = 0; ; steps++) {
      if (steps >= entries) throw new GuestError('descriptor chain is longer than its table: it has a loop');
      const at = table - region.base + DESCRIPTOR_SIZE * index;
      const address = data.getUint32(at, true) + data.getUint32(at + 4, true) * 0x1_0000_0000;
      const length = data.getUint32(at + 8, true);
      const flags = data.getUint16(at + 12, true);
      if (flags & DESCRIPTOR_INDIRECT) {
        this.walkIndirect(address, length, flags, inIndirect);
        return;
      }
      this.add(address, length, (flags & DESCRIPTOR_WRITE) !== 0);
      if (!(flags & DESCRIPTOR_NEXT)) return;
      index = data.getUint16(at + 14, true);
      if (index >= entries) throw new GuestError(`descriptor chain goes on at ${index} of ${entries}`);
    }
  }

  private walkIndirect(address: number, length: number, flags: number, nested: boolean): void {
    if (!this.indirect) throw new GuestError('indirect descriptor without VIRTIO_F_INDIRECT_DESC');
    if (nested) throw new GuestError('indirect descriptor inside an indirect table');
    if (flags & DESCRIPTOR_NEXT) throw new GuestError('indirect descriptor with a next one');
    const entries = length / DESCRIPTOR_SIZE;
    if (!Number.isInteger(entries) || entries === 0 || entries > this.capacity) {
      throw new GuestError(`indirect table of ${length} bytes`);
    }
    this.walk(this.memory.locate(address, length), address, entries, 0, true);
  }

  private add(address: number, length: number, writable: boolean): void {
    const { chain } = this;
    if (chain.count >= chain.address.length)
      throw new GuestError(`chain of more than ${chain.address.length} buffers`);
    // A buffer of no bytes is of no use, but needs no RAM either.
    if (length > 0 && !this.memory.contains(address, length)) this.memory.locate(address, length);
    if (writable) {
      chain.writableBytes += length;
      this.memory.onDeviceWrite(address, length);
    } else if (chain.readable < chain.count)
      throw new GuestError('device-readable buffer after a device-writable one');
    else {
      chain.readable++;
      chain.readableBytes += length;
    }
    chain.address[chain.count] = address;
    chain.length[chain.count] = length;
    chain.count++;
  }
}
