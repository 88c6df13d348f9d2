/** The committed labs are what their sources say, and can be loaded as the manifest says. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../../devices/memory.ts';
import { loadGuest } from '../../vm/boot/load.ts';

interface Lab {
  readonly kernel: string;
  readonly protocol: 'flat' | 'multiboot';
  readonly loadAddress?: number;
  readonly cpus: number;
  /** Absent for a guest that prints what a device of the learner's says. */
  readonly expect?: string;
  readonly countOffset?: number;
}

const here = fileURLToPath(new URL('.', import.meta.url));
const read = (file: string): Buffer => readFileSync(join(here, file));
const labs: Record<string, Lab> = JSON.parse(read('manifest.json').toString()).guests;
const built = readdirSync(here).filter((file) => file.endsWith('.bin'));
/** What learners begin with: see src/labs. */
const started = readdirSync(join(here, 'start'))
  .filter((file) => file.endsWith('.bin'))
  .map((file) => `start/${file}`)
  .sort();
const hasNasm = spawnSync('nasm', ['-v']).error === undefined;

describe('labs', () => {
  it('are all in the manifest, each with its source', () => {
    const names = readdirSync(here).filter((file) => file.endsWith('.asm'));
    expect(started.map((file) => file.replace('.bin', '.asm'))).toEqual(
      readdirSync(join(here, 'start'))
        .filter((file) => file.endsWith('.asm'))
        .map((file) => `start/${file}`)
        .sort(),
    );
    expect(Object.keys(labs).sort()).toEqual(names.map((file) => file.replace('.asm', '')).sort());
    expect(
      Object.values(labs)
        .map(({ kernel }) => kernel)
        .sort(),
    ).toEqual(built.sort());
  });

  it('have the checksums of SHA256SUMS', () => {
    const sums = [...built.sort(), ...started].map(
      (file) => `${createHash('sha256').update(read(file)).digest('hex')}  ${file}\n`,
    );
    expect(read('SHA256SUMS').toString()).toBe(sums.join(''));
  });

  it.skipIf(!hasNasm)('are built from their sources, byte by byte (needs nasm)', () => {
    const output = mkdtempSync(join(tmpdir(), 'type2-labs-'));
    try {
      const result = spawnSync('sh', [join(here, 'build.sh'), output], { encoding: 'utf8' });
      expect(result.stderr).toBe('');
      expect(result.status).toBe(0);
      for (const file of [...built, ...started, 'SHA256SUMS']) {
        expect(readFileSync(join(output, file)).equals(read(file)), file).toBe(true);
      }
    } finally {
      rmSync(output, { recursive: true });
    }
  });

  it.each(Object.entries(labs))('%s can be loaded', (name, lab) => {
    const image = read(lab.kernel);
    expect(image.length).toBeLessThan(1024);
    const guest = loadGuest({
      memory: GuestMemory.alone(2 * 2 ** 20),
      image,
      imageName: name,
      commandLine: '',
      // A Multiboot kernel is known by its header; a flat binary is not.
      protocol: lab.protocol === 'flat' ? 'flat' : 'auto',
      ...(lab.loadAddress === undefined ? {} : { loadAddress: lab.loadAddress }),
      cpus: lab.cpus,
      virtio: [],
      acpi: false,
    });
    expect(guest.protocol).toBe(lab.protocol);
    if (lab.countOffset !== undefined) expect(image.readUInt32LE(lab.countOffset)).toBe(65536);
    // Everything that a lab prints is text in it, but for the digit of a CPU.
    for (const line of (lab.expect ?? '').split('\r\n')) {
      expect(image.includes(line.replace(/CPU \d/, 'CPU ')), line).toBe(true);
    }
  });
});
