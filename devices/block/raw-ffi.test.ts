/** The disk image by system calls: scattered transfers, zeroes, discards, and the lock. Linux only. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HostError } from '../errors.ts';
import { GuestMemory, MemoryRegion } from '../memory.ts';
import { BufferList } from '../virtio/buffers.ts';

const MIB = 2 ** 20;
const linux = process.platform === 'linux' && process.arch === 'x64';

describe.skipIf(!linux)('RawFileFfi (needs Linux on x86-64)', async () => {
  const libc = linux ? await import('../host/libc.ts') : undefined!;
  const { RawFileFfi } = linux ? await import('./raw-ffi.ts') : { RawFileFfi: undefined! };
  const folder = mkdtempSync(join(tmpdir(), 'type2-raw-'));
  const path = join(folder, 'disk.img');
  let memory: GuestMemory;

  beforeAll(() => {
    const buffer = libc.nativeBuffer(MIB);
    memory = new GuestMemory([new MemoryRegion(0, buffer.u8.buffer, 0, MIB, buffer.address)]);
  });
  afterAll(() => {
    libc.freeNativeBuffers();
    rmSync(folder, { recursive: true, force: true });
  });

  const fresh = (): void => writeFileSync(path, new Uint8Array(MIB).fill(0xaa));

  function list(...pieces: [address: number, length: number][]): BufferList {
    const buffers = new BufferList(2048);
    for (const [address, length] of pieces) {
      buffers.address[buffers.count] = address;
      buffers.length[buffers.count] = length;
      buffers.count++;
      buffers.bytes += length;
    }
    return buffers;
  }

  it('writes and reads scattered memory', () => {
    fresh();
    const disk = new RawFileFfi(path, false, memory);
    memory.view(0x1000, 512).fill(1);
    memory.view(0x3000, 1024).fill(2);
    expect(disk.write(4096, list([0x1000, 512], [0x3000, 1024]))).toBe(true);
    expect(disk.flush()).toBe(true);
    const bytes = readFileSync(path);
    expect([bytes[4095], bytes[4096], bytes[4607], bytes[4608], bytes[5631], bytes[5632]]).toEqual([
      0xaa, 1, 1, 2, 2, 0xaa,
    ]);
    expect(disk.read(4096 + 256, list([0x8000, 300], [0x9000, 212]))).toBe(true);
    expect(memory.readU8(0x8000)).toBe(1);
    expect(memory.readU8(0x9000 + 211)).toBe(2);
    disk.close();
  });

  it('goes on where the kernel takes no more than 1024 pieces at once', () => {
    fresh();
    const disk = new RawFileFfi(path, false, memory);
    const pieces = Array.from({ length: 1500 }, (_, i): [number, number] => [i * 64, 16]);
    for (const [address] of pieces) memory.view(address, 16).fill((address / 64) & 0xff);
    expect(disk.write(0, list(...pieces))).toBe(true);
    const bytes = readFileSync(path);
    expect(pieces.every((_, i) => bytes[i * 16] === (i & 0xff))).toBe(true);
    disk.close();
  });

  it('zeroes and discards', () => {
    fresh();
    const disk = new RawFileFfi(path, false, memory);
    const before = statSync(path).blocks;
    expect(disk.writeZeroes(512, 1024, false)).toBe(true);
    expect(disk.writeZeroes(65536, 65536, true)).toBe(true);
    expect(disk.discard(262144, 262144)).toBe(true);
    disk.close();
    const bytes = readFileSync(path);
    expect([bytes[511], bytes[512], bytes[1535], bytes[1536]]).toEqual([0xaa, 0, 0, 0xaa]);
    expect(bytes.subarray(65536, 131072).every((byte) => byte === 0)).toBe(true);
    expect(bytes.length).toBe(MIB);
    expect(statSync(path).blocks).toBeLessThanOrEqual(before);
  });

  it('is an I/O error past the end of a file that has shrunk, and on a readonly image', () => {
    fresh();
    const disk = new RawFileFfi(path, true, memory);
    expect(disk.read(MIB - 512, list([0, 1024]))).toBe(false);
    expect(disk.write(0, list([0, 512]))).toBe(false);
    disk.close();
  });

  it('locks the image: one writer, or many readers', () => {
    fresh();
    const writer = new RawFileFfi(path, false, memory);
    expect(() => new RawFileFfi(path, true, memory)).toThrow(HostError);
    expect(() => new RawFileFfi(path, false, memory)).toThrow(/in use by another machine/);
    writer.close();
    const readers = [new RawFileFfi(path, true, memory), new RawFileFfi(path, true, memory)];
    for (const reader of readers) reader.close();
  });
});
