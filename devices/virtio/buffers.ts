/**
 * Lists of guest buffers: the part of a descriptor chain that goes to or comes from a backend. Used
 * again for every request, so that nothing is allocated.
 */
import type { GuestMemory } from '../memory.ts';
import type { Chain } from './virtqueue.ts';

/** Pieces of guest memory, in order. */
export class BufferList {
  count = 0;
  /** Bytes in all pieces. */
  bytes = 0;
  readonly address: Float64Array;
  readonly length: Uint32Array;

  constructor(capacity: number) {
    this.address = new Float64Array(capacity);
    this.length = new Uint32Array(capacity);
  }

  /**
   * Takes bytes [from, from+bytes) of a chain's device-readable or device-writable part.
   * Hot path. The chain must have that many.
   */
  take(chain: Chain, writable: boolean, from: number, bytes: number): void {
    this.count = 0;
    this.bytes = bytes;
    let skip = from;
    let left = bytes;
    const end = writable ? chain.count : chain.readable;
    for (let i = writable ? chain.readable : 0; i < end && left > 0; i++) {
      const length = chain.length[i]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const piece = Math.min(length - skip, left);
      this.address[this.count] = chain.address[i]! + skip;
      this.length[this.count] = piece;
      this.count++;
      left -= piece;
      skip = 0;
    }
  }

  /** Drops the first `bytes` bytes: what a partial read or write has done. */
  advance(bytes: number): void {
    let skip = bytes;
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      const length = this.length[i]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      this.address[kept] = this.address[i]! + skip;
      this.length[kept] = length - skip;
      skip = 0;
      kept++;
    }
    this.count = kept;
    this.bytes -= bytes;
  }

  /** The pieces as views of guest memory. Allocates: for backends without FFI. */
  views(memory: GuestMemory): Uint8Array[] {
    return Array.from({ length: this.count }, (_, i) => memory.view(this.address[i]!, this.length[i]!));
  }

  /** Copies all of it out of the guest. @param target - at least {@link BufferList.bytes} long */
  copyTo(memory: GuestMemory, target: Uint8Array): void {
    let at = 0;
    for (let i = 0; i < this.count; i++) {
      const length = this.length[i]!;
      const region = memory.locate(this.address[i]!, length);
      const start = this.address[i]! - region.base;
      for (let j = 0; j < length; j++) target[at++] = region.u8[start + j]!;
    }
  }
}
