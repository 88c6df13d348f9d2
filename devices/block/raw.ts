/**
 * A raw disk image by Node's own file functions: works on every host. Data goes straight between the
 * file and views of guest memory. For Linux there is raw-ffi.ts, which needs no views.
 */
import { closeSync, fdatasyncSync, openSync, readvSync, writevSync } from 'node:fs';
import type { GuestMemory } from '../memory.ts';
import type { BufferList } from '../virtio/buffers.ts';
import type { BlockBackend } from './backend.ts';

/** Zeroes are written in pieces of this size. */
const ZERO_PIECE = 1024 * 1024;

export class RawFile implements BlockBackend {
  private readonly fd: number;
  private readonly memory: GuestMemory;
  private zeroes: Uint8Array | undefined;

  /** @throws the error of node:fs when the file can't be opened */
  constructor(path: string, readonly: boolean, memory: GuestMemory) {
    this.fd = openSync(path, readonly ? 'r' : 'r+');
    this.memory = memory;
  }

  read(offset: number, buffers: BufferList): boolean {
    return this.transfer(offset, buffers, readvSync);
  }

  write(offset: number, buffers: BufferList): boolean {
    return this.transfer(offset, buffers, writevSync);
  }

  flush(): boolean {
    return attempt(() => fdatasyncSync(this.fd));
  }

  /** Discarding is a hint, and without fallocate(2) there is nothing to do about it. */
  discard(): boolean {
    return true;
  }

  writeZeroes(offset: number, length: number): boolean {
    this.zeroes ??= new Uint8Array(ZERO_PIECE);
    const { zeroes } = this;
    return attempt(() => {
      for (let done = 0; done < length; ) {
        done += writevSync(this.fd, [zeroes.subarray(0, Math.min(ZERO_PIECE, length - done))], offset + done);
      }
    });
  }

  close(): void {
    closeSync(this.fd);
  }

  private transfer(
    offset: number,
    buffers: BufferList,
    call: (fd: number, views: Uint8Array[], position: number) => number,
  ): boolean {
    return attempt(() => {
      let at = offset;
      while (buffers.count > 0) {
        const done = call(this.fd, buffers.views(this.memory), at);
        if (done === 0) throw new Error('the file ends here');
        buffers.advance(done);
        at += done;
      }
    });
  }
}

/** Whether an operation went through: a host's error is an I/O error to the guest, and nothing more. */
function attempt(operation: () => void): boolean {
  try {
    operation();
    return true;
  } catch {
    return false;
  }
}
