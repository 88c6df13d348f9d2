/**
 * The host's side of a disk, as virtio-blk sees it: bytes at offsets, straight to and from guest
 * memory. Called on the thread that works on queues; each call ends when the work is done.
 */
import type { BufferList } from '../virtio/buffers.ts';

/** Smallest unit of a disk, in bytes (virtio 1.2, 5.2.2). */
export const SECTOR_SIZE = 512;

/** All methods say whether they succeeded; a failure is an I/O error to the guest. */
export interface BlockBackend {
  /** Reads [offset, offset+buffers.bytes). The list is used up. */
  read(offset: number, buffers: BufferList): boolean;
  /** Writes [offset, offset+buffers.bytes). The list is used up. */
  write(offset: number, buffers: BufferList): boolean;
  /** All completed writes are on stable storage when this returns true. */
  flush(): boolean;
  /** The bytes are not needed any more; what they read as is undefined. */
  discard(offset: number, length: number): boolean;
  /** The bytes read as zeroes. @param mayUnmap - whether their space may be given back */
  writeZeroes(offset: number, length: number, mayUnmap: boolean): boolean;
  close(): void;
}
