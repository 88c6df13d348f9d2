/** The kernels that come with the project go through the loader, in every machine that should take them. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../../devices/memory.ts';
import { parseBzImage } from './bzimage.ts';
import { BootError } from './errors.ts';
import { KernelImage } from './kernel-image.ts';
import { loadGuest } from './load.ts';

const MIB = 2 ** 20;
const images = new URL('../../guests/linux/images/', import.meta.url);
const file = (name: string): string => fileURLToPath(new URL(name, images));

describe.each([
  ['x86_64', 'linux64'],
  ['i386', 'linux32'],
] as const)('Linux for %s', (architecture, protocol) => {
  const kernel = file(`bzImage-${architecture}`);
  const present = existsSync(kernel);

  it.skipIf(!present)(`loads by ${protocol} (needs guests/linux/images)`, () => {
    const image = readFileSync(kernel);
    const initrd = readFileSync(file(`initramfs-${architecture}.cpio.lz4`));
    const memory = GuestMemory.alone(64 * MIB);
    const options = {
      memory,
      image,
      imageName: kernel,
      initrd,
      commandLine: '',
      cpus: 2,
      virtio: [],
      acpi: true,
    };
    const guest = loadGuest({ ...options, protocol: 'auto' });
    expect(guest.protocol).toBe(protocol);

    const { initSize, prefAddress, initrdLimit } = parseBzImage(new KernelImage(kernel, image));
    const initrdAt = memory.readU32(0x7000 + 0x218);
    expect(initrdAt).toBeGreaterThanOrEqual(prefAddress + initSize);
    expect(initrdAt + initrd.length).toBeLessThanOrEqual(Math.min(initrdLimit, 64 * MIB));
    expect(Buffer.from(memory.view(initrdAt, initrd.length)).equals(initrd)).toBe(true);

    const small = { ...options, memory: GuestMemory.alone(16 * MIB), protocol: 'auto' } as const;
    expect(() => loadGuest(small)).toThrow(BootError);
  });
});
