/**
 * A raw disk image by system calls: preadv and pwritev straight to and from guest memory, with an iovec
 * that is filled in again for each request, and fallocate for discard and write-zeroes. Linux only.
 */

import { IoVector } from '../host/iovec.ts';
import * as libc from '../host/libc.ts';
import type { GuestMemory } from '../memory.ts';
import type { BufferList } from '../virtio/buffers.ts';
import type { BlockBackend } from './backend.ts';

const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const FALLOC_FL_ZERO_RANGE = 16;
/** Zeroes are written in pieces of this size where the file system can't make them itself. */
const ZERO_PIECE = 1024 * 1024;

export class RawFileFfi implements BlockBackend {
  private readonly fd: number;
  private readonly vector: IoVector;
  private zeroes: libc.NativeBuffer | undefined;

  /**
   * Opens the image, and locks it: two machines that write to one image would destroy it.
   * @throws HostError
   */
  constructor(path: string, readonly: boolean, memory: GuestMemory) {
    const flags = (readonly ? libc.O_RDONLY : libc.O_RDWR) | libc.O_CLOEXEC;
    this.fd = libc.check(libc.open(path, flags), `open ${path}`);
    this.vector = new IoVector(memory);
    const lock = (readonly ? libc.LOCK_SH : libc.LOCK_EX) | libc.LOCK_NB;
    if (libc.flock(this.fd, lock) < 0 && libc.errno() === libc.Errno['EWOULDBLOCK']) {
      libc.close(this.fd);
      this.vector.free();
      throw libc.systemError(
        `${path} is in use by another machine: flock`,
        libc.Errno['EWOULDBLOCK']!,
        'Stop that machine, or give both the disk readonly.',
      );
    }
  }

  read(offset: number, buffers: BufferList): boolean {
    return this.transfer(libc.preadv, offset, buffers);
  }

  write(offset: number, buffers: BufferList): boolean {
    return this.transfer(libc.pwritev, offset, buffers);
  }

  flush(): boolean {
    return libc.fdatasync(this.fd) === 0;
  }

  discard(offset: number, length: number): boolean {
    // A hint: where the file system can't punch holes, the bytes stay.
    libc.fallocate(this.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
    return true;
  }

  writeZeroes(offset: number, length: number, mayUnmap: boolean): boolean {
    const first = mayUnmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
    if (libc.fallocate(this.fd, first | FALLOC_FL_KEEP_SIZE, offset, length) === 0) return true;
    return this.writeZeroBytes(offset, length);
  }

  close(): void {
    libc.close(this.fd);
    this.vector.free();
    this.zeroes?.free();
  }

  /** Hot path: allocates nothing. */
  private transfer(call: typeof libc.preadv, offset: number, buffers: BufferList): boolean {
    let at = offset;
    while (buffers.count > 0) {
      const count = this.vector.fill(buffers);
      const done = call(this.fd, this.vector.address, count, at);
      if (done < 0) {
        if (libc.errno() === libc.Errno['EINTR']) continue;
        return false;
      }
      // Zero: the file has become shorter than the disk.
      if (done === 0) return false;
      if (done === buffers.bytes) return true;
      buffers.advance(done);
      at += done;
    }
    return true;
  }

  private writeZeroBytes(offset: number, length: number): boolean {
    this.zeroes ??= libc.nativeBuffer(ZERO_PIECE);
    for (let done = 0; done < length; ) {
      this.vector.fillOne(this.zeroes.address, Math.min(ZERO_PIECE, length - done));
      const written = libc.pwritev(this.fd, this.vector.address, 1, offset + done);
      if (written <= 0) return false;
      done += written;
    }
    return true;
  }
}
