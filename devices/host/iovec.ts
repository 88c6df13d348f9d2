/**
 * An iovec in native memory, filled from a list of guest buffers: what preadv and its like take.
 */
import type { GuestMemory, HostAddress } from '../memory.ts';
import type { BufferList } from '../virtio/buffers.ts';
import { type NativeBuffer, nativeBuffer } from './libc.ts';

/** The kernel's UIO_MAXIOV. */
const CAPACITY = 1024;
/** struct iovec: base, length; 64 bits each. */
const WORDS = 4;

export class IoVector {
  readonly address: HostAddress;
  private readonly buffer: NativeBuffer;
  private readonly words: Uint32Array;
  private readonly memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.memory = memory;
    this.buffer = nativeBuffer(CAPACITY * WORDS * 4);
    this.address = this.buffer.address;
    this.words = new Uint32Array(this.buffer.u8.buffer);
  }

  /**
   * Hot path: allocates nothing.
   * @returns how many entries were filled in: all of the list, up to 1024
   */
  fill(buffers: BufferList): number {
    const count = Math.min(buffers.count, CAPACITY);
    for (let i = 0; i < count; i++) {
      const length = buffers.length[i]!;
      this.set(i, this.memory.hostAddress(buffers.address[i]!, length), length);
    }
    return count;
  }

  /** One entry of native memory. */
  fillOne(address: HostAddress, length: number): void {
    this.set(0, address, length);
  }

  free(): void {
    this.buffer.free();
  }

  private set(index: number, address: HostAddress, length: number): void {
    const at = index * WORDS;
    this.words[at] = address % 0x1_0000_0000;
    this.words[at + 1] = Math.floor(address / 0x1_0000_0000);
    this.words[at + 2] = length;
    this.words[at + 3] = 0;
  }
}
