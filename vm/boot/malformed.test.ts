/**
 * Kernel files that were cut off or damaged. Whatever is in them, loading ends soon, either in a guest
 * that is all in RAM or in a BootError that leaves memory untouched; nothing else is ever thrown.
 */
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { GuestMemory } from '../../devices/memory.ts';
import { BootError } from './errors.ts';
import { type LoadOptions, loadGuest } from './load.ts';
import type { BootProtocol } from './protocols.ts';
import { bzImage, elf, KERNEL_AT, multibootHeader, multibootRaw, pattern } from './testing/kernels.ts';

const RAM = 20 * 2 ** 20;
/** Marks memory that nothing was written to; cheap to look for. */
const UNTOUCHED = 0xa5;
const RUNS = 60;
/** Headers are in the first bytes of a file, so that is where damage matters. */
const HEADERS = 0x280;

const elfKernel = new Uint8Array(64);
elfKernel.set(multibootHeader(3));

const VALID: readonly [string, BootProtocol, Uint8Array][] = [
  ['bzImage by 64-bit protocol', 'linux64', bzImage()],
  ['bzImage by 32-bit protocol', 'linux32', bzImage({ xloadflags: 0, relocatable: false })],
  ['PVH in ELF64', 'pvh', elf({ bits: 64, pvhEntry: KERNEL_AT })],
  ['PVH in ELF32', 'pvh', elf({ bits: 32, pvhEntry: KERNEL_AT })],
  ['vmlinux', 'elf64', elf({ bits: 64, memorySize: 4096 })],
  ['Multiboot with addresses', 'multiboot', multibootRaw()],
  ['Multiboot in ELF32', 'multiboot', elf({ bits: 32, bytes: elfKernel })],
  ['flat', 'flat', pattern(512)],
];

const memory = GuestMemory.alone(RAM);
const [region] = memory.regions;
region!.u8.fill(UNTOUCHED);
const everything = region!.u8;
const reference = Buffer.alloc(RAM, UNTOUCHED);

let tried = 0;
let refused = 0;
let loaded = 0;

/** Whether all of memory is as it was before. */
function untouched(): boolean {
  return Buffer.from(everything.buffer, everything.byteOffset, everything.length).equals(reference);
}

function tryLoad(image: Uint8Array, protocol: BootProtocol, options: Partial<LoadOptions> = {}): void {
  tried++;
  try {
    const guest = loadGuest({
      memory,
      image,
      imageName: 'kernel',
      commandLine: 'quiet',
      initrd: protocol === 'flat' ? undefined! : pattern(100),
      cpus: 1,
      virtio: [],
      protocol,
      acpi: true,
      ...options,
    });
    loaded++;
    const { rip } = guest.registers;
    const at = Number(rip) + Number(guest.system.cs?.base);
    expect(memory.contains(at, 1)).toBe(true);
    everything.fill(UNTOUCHED);
  } catch (error) {
    if (!(error instanceof BootError)) throw error;
    refused++;
    expect(error.message.length).toBeGreaterThan(10);
    expect(untouched(), error.message).toBe(true);
  }
}

/** Damage: bytes overwritten, with a liking for the values where arithmetic breaks. */
const damage = fc.array(
  fc.record({
    at: fc.nat(HEADERS),
    bytes: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 8 }),
      fc.constantFrom(
        Uint8Array.of(0, 0, 0, 0),
        Uint8Array.of(0xff, 0xff, 0xff, 0xff),
        Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
        Uint8Array.of(0xff, 0xff, 0xff, 0x7f),
        Uint8Array.of(0, 0, 0, 0x80),
      ),
    ),
  }),
  { minLength: 1, maxLength: 6 },
);

function damaged(image: Uint8Array, hits: readonly { at: number; bytes: Uint8Array }[]): Uint8Array {
  const copy = image.slice();
  for (const { at, bytes } of hits) {
    const start = at % copy.length;
    copy.set(bytes.subarray(0, copy.length - start), start);
  }
  return copy;
}

describe.each(VALID)('%s', (_, protocol, image) => {
  it('loads when whole', () => {
    const before = loaded;
    tryLoad(image, protocol);
    tryLoad(image, protocol === 'flat' ? 'flat' : 'auto');
    expect(loaded - before).toBe(2);
  });

  it('cut off anywhere', () => {
    fc.assert(
      fc.property(fc.nat(image.length - 1), fc.boolean(), (length, auto) =>
        tryLoad(image.subarray(0, length), auto ? 'auto' : protocol),
      ),
      { numRuns: RUNS },
    );
  });

  it('damaged in its headers', () => {
    fc.assert(
      fc.property(damage, fc.boolean(), (hits, auto) =>
        tryLoad(damaged(image, hits), auto ? 'auto' : protocol),
      ),
      { numRuns: RUNS },
    );
  });
});

it('noise behind each magic number', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 64, maxLength: 9000 }),
      fc.constantFrom(...VALID),
      (noise, [, protocol, image]) => {
        const copy = noise.slice();
        copy.set(image.subarray(0, Math.min(16, copy.length)));
        tryLoad(copy, protocol);
      },
    ),
    { numRuns: RUNS },
  );
});

it('initrds and command lines of any size', () => {
  fc.assert(
    fc.property(fc.nat(8 * 2 ** 20), fc.string({ maxLength: 4000 }), (size, commandLine) =>
      tryLoad(bzImage(), 'linux64', { initrd: new Uint8Array(size), commandLine }),
    ),
    { numRuns: 30 },
  );
});

afterAll(() => {
  expect(tried).toBeGreaterThan(200);
  expect(refused).toBeGreaterThan(200);
  console.log(`${tried} kernel files tried: ${refused} refused, ${loaded} loaded`);
});
