/**
 * A ring of bytes in shared memory between one producer and one consumer, each on a thread of its
 * own: how console bytes travel between a UART and the process. Nothing is lost: a full ring refuses,
 * and the producer holds the guest back until there is room.
 */

/** Words ahead of the bytes: how many were ever put in and taken out, modulo 2³². */
const HEAD = 0;
const TAIL = 1;
const HEADER_BYTES = 8;

/** Single producer, single consumer. */
export class ByteRing {
  private readonly counters: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly mask: number;

  /** @param buffer - from {@link ByteRing.buffer} */
  constructor(buffer: SharedArrayBuffer) {
    this.counters = new Int32Array(buffer, 0, 2);
    this.bytes = new Uint8Array(buffer, HEADER_BYTES);
    this.mask = this.bytes.length - 1;
  }

  /** Shared memory for a ring. @param capacity - in bytes; a power of two */
  static buffer(capacity: number): SharedArrayBuffer {
    if (capacity < 2 || (capacity & (capacity - 1)) !== 0) {
      throw new RangeError(`ring capacity ${capacity} is not a power of two`);
    }
    return new SharedArrayBuffer(HEADER_BYTES + capacity);
  }

  get capacity(): number {
    return this.mask + 1;
  }

  /** Bytes waiting to be taken. */
  get length(): number {
    return (Atomics.load(this.counters, HEAD) - Atomics.load(this.counters, TAIL)) >>> 0;
  }

  /** Bytes that can still be put. */
  get space(): number {
    return this.capacity - this.length;
  }

  /** Producer. Hot path. @returns false when the ring is full, and nothing was put */
  put(byte: number): boolean {
    const head = Atomics.load(this.counters, HEAD);
    if ((head - Atomics.load(this.counters, TAIL)) >>> 0 > this.mask) return false;
    this.bytes[head & this.mask] = byte;
    Atomics.store(this.counters, HEAD, (head + 1) | 0);
    return true;
  }

  /** Producer. @returns how many bytes from the front of `source` were put */
  putAll(source: Uint8Array): number {
    const head = Atomics.load(this.counters, HEAD);
    const count = Math.min(source.length, this.space);
    const at = head & this.mask;
    const first = Math.min(count, this.bytes.length - at);
    this.bytes.set(source.subarray(0, first), at);
    this.bytes.set(source.subarray(first, count), 0);
    Atomics.store(this.counters, HEAD, (head + count) | 0);
    return count;
  }

  /** Consumer. Hot path. @returns the next byte, or −1 when there is none */
  take(): number {
    const tail = Atomics.load(this.counters, TAIL);
    if (tail === Atomics.load(this.counters, HEAD)) return -1;
    const byte = this.bytes[tail & this.mask]!;
    Atomics.store(this.counters, TAIL, (tail + 1) | 0);
    return byte;
  }

  /** Consumer. Takes everything there is, as a fresh copy. */
  takeAll(): Uint8Array {
    const tail = Atomics.load(this.counters, TAIL);
    const count = this.length;
    const out = new Uint8Array(count);
    const at = tail & this.mask;
    const first = Math.min(count, this.bytes.length - at);
    out.set(this.bytes.subarray(at, at + first));
    out.set(this.bytes.subarray(0, count - first), first);
    Atomics.store(this.counters, TAIL, (tail + count) | 0);
    return out;
  }
}
