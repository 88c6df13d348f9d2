/** Guest memory: what is RAM and what is not, on both sides of the hole and at the edges. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GuestAddressError, GuestMemory, MemoryRegion } from './memory.ts';

const GIB = 2 ** 30;
const LOW = 0x4000;
const HIGH = 0x2000;
const HIGH_BASE = 4 * GIB;

function make(): GuestMemory {
  const buffer = new SharedArrayBuffer(0x1000 + LOW + HIGH);
  return new GuestMemory([
    new MemoryRegion(0, buffer, 0x1000, LOW, 0x7000_0000),
    new MemoryRegion(HIGH_BASE, buffer, 0x1000 + LOW, HIGH, 0x7f00_0000_0000),
  ]);
}

describe('addresses', () => {
  it('knows RAM from what is not', () => {
    const memory = make();
    expect(memory.size).toBe(LOW + HIGH);
    for (const [gpa, length, expected] of [
      [0, LOW, true],
      [0, LOW + 1, false],
      [LOW - 1, 1, true],
      [LOW - 1, 2, false],
      [LOW, 1, false],
      [HIGH_BASE - 1, 2, false],
      [HIGH_BASE, HIGH, true],
      [HIGH_BASE + HIGH - 8, 8, true],
      [HIGH_BASE + HIGH, 1, false],
      [-1, 1, false],
      [2 ** 52, 8, false],
    ] as const) {
      expect(memory.contains(gpa, length), `${gpa}+${length}`).toBe(expected);
    }
  });

  it('agrees with the definition, in any order of questions', () => {
    const memory = make();
    const near = fc.oneof(
      fc.nat(LOW + 32),
      fc.nat(HIGH + 32).map((offset) => HIGH_BASE - 16 + offset),
      fc.maxSafeNat(),
      fc.constantFrom(Number.NaN, -1, -LOW),
    );
    fc.assert(
      fc.property(near, fc.nat(LOW + 32), (gpa, length) => {
        const inside = (base: number, size: number): boolean => gpa >= base && gpa + length <= base + size;
        expect(memory.contains(gpa, length)).toBe(inside(0, LOW) || inside(HIGH_BASE, HIGH));
      }),
    );
  });

  it('needs at least one region', () => {
    expect(() => new GuestMemory([])).toThrow(RangeError);
  });
});

describe('access', () => {
  it('is little-endian at any alignment, above 4 GiB too', () => {
    const memory = make();
    for (const base of [1, HIGH_BASE + 3]) {
      memory.writeU64(base, 0x8877_6655_4433_2211n);
      expect(memory.readU8(base)).toBe(0x11);
      expect(memory.readU16(base + 1)).toBe(0x3322);
      expect(memory.readU32(base + 4)).toBe(0x8877_6655);
      expect(memory.readU64(base)).toBe(0x8877_6655_4433_2211n);
      memory.writeU8(base, 0xff);
      memory.writeU16(base + 1, 0xeeee);
      memory.writeU32(base + 3, 0xffff_ffff);
      expect([...memory.view(base, 8)]).toEqual([0xff, 0xee, 0xee, 0xff, 0xff, 0xff, 0xff, 0x88]);
    }
  });

  it('throws GuestAddressError, with the range, and changes nothing', () => {
    const memory = make();
    const bytes = new Uint8Array(8).fill(0xaa);
    for (const attempt of [
      () => memory.readU32(LOW - 2),
      () => memory.writeU16(LOW - 1, 0xffff),
      () => memory.writeU64(LOW - 4, 0xffff_ffff_ffff_ffffn),
      () => memory.write(LOW - 4, bytes),
      () => memory.read(LOW - 4, bytes),
      () => memory.view(HIGH_BASE + HIGH - 4, 5),
      () => memory.locate(LOW, 0x1000),
      () => memory.readU8(-1),
    ]) {
      expect(attempt).toThrow(GuestAddressError);
    }
    expect(memory.readU32(LOW - 4)).toBe(0);
    expect(bytes.every((byte) => byte === 0xaa)).toBe(true);
    expect(() => memory.readU32(0xdead_beef)).toThrow(/0xdeadbeef\+0x4/);
  });

  it('copies in and out', () => {
    const memory = make();
    const source = Uint8Array.from({ length: 100 }, (_, i) => i);
    const target = new Uint8Array(100);
    memory.write(HIGH_BASE + HIGH - 100, source);
    memory.read(HIGH_BASE + HIGH - 100, target);
    expect(target).toEqual(source);
  });

  it('hands out views that are the memory itself, not copies, and do not reach beyond it', () => {
    const memory = make();
    memory.view(0x10, 4)[3] = 7;
    expect(memory.readU8(0x13)).toBe(7);
    memory.view(LOW - 4, 4).fill(0xff);
    expect(memory.readU8(HIGH_BASE)).toBe(0);
  });

  it('shows the same bytes through all of a region’s arrays', () => {
    const memory = make();
    const region = memory.locate(HIGH_BASE + 8, 4);
    region.u32[2] = 0x0403_0201;
    expect([...region.u8.subarray(8, 12)]).toEqual([1, 2, 3, 4]);
    expect(region.u16[4]).toBe(0x0201);
    expect(region.data.getUint32(8, true)).toBe(memory.readU32(HIGH_BASE + 8));
  });
});

describe('host addresses', () => {
  it('count from where the region is mapped', () => {
    const memory = make();
    expect(memory.hostAddress(0x123, 1)).toBe(0x7000_0123);
    expect(memory.hostAddress(HIGH_BASE + 0x123, 1)).toBe(0x7f00_0000_0123);
    expect(() => memory.hostAddress(LOW - 1, 2)).toThrow(GuestAddressError);
  });

  it('do not exist where nothing is mapped for FFI', () => {
    expect(() => GuestMemory.alone(0x1000).hostAddress(0, 1)).toThrow(GuestAddressError);
  });
});
