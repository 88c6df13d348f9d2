import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';
import { guestImage, KEPT_MEMORY, OPERATIONS, readSamples } from './guest.ts';
import { compilePeer } from './run.ts';

const here = join(packageRoot(), 'bench/exits');
const hasNasm = spawnSync('nasm', ['-v']).status === 0;
const operation = (name: string) => OPERATIONS.find((one) => one.name === name)!;

describe('the guest of the exit benchmarks', () => {
  it.skipIf(!hasNasm)('is built from its source, byte by byte (needs nasm)', () => {
    const output = mkdtempSync(join(tmpdir(), 'type2-bench-'));
    try {
      const { stderr, status } = spawnSync('sh', [join(here, 'build.sh'), output], { encoding: 'utf8' });
      expect(stderr).toBe('');
      expect(status).toBe(0);
      expect(readFileSync(join(output, 'guest.bin')).equals(readFileSync(join(here, 'guest.bin')))).toBe(
        true,
      );
    } finally {
      rmSync(output, { recursive: true });
    }
  });

  it('has the operations in the order of its source', () => {
    const source = readFileSync(join(here, 'guest.asm'), 'utf8');
    const names = [
      ...source
        .split('\noperations:\n')[1]!
        .split('\n\n')[0]!
        .matchAll(/\b[a-z]\w+\b/g),
    ].map(String);
    const labels = names.filter((name) => name !== 'dw');
    expect(labels).toHaveLength(OPERATIONS.length + 1);
    expect(labels.at(-1)).toBe('bare_out');
    expect(OPERATIONS.map(({ name }) => guestImage(name, 77).readUInt32LE(8))).toEqual([
      ...OPERATIONS.keys(),
    ]);
  });

  it('is told how many rounds to make', () => {
    expect(guestImage('pio-out', 77).readUInt32LE(4)).toBe(77);
  });
});

describe('what the guest has noted', () => {
  /** Ten rounds of 21, 42, … ticks, in 2100 ticks. */
  function memory(): Uint8Array {
    const bytes = new Uint8Array(KEPT_MEMORY);
    const data = new DataView(bytes.buffer);
    data.setBigUint64(0x500, 1000n, true);
    data.setBigUint64(0x508, 3100n, true);
    for (let i = 0; i < 10; i++) {
      data.setInt32(0x2_0000 + 4 * i, 21 * (i + 1), true);
      data.setInt32(0x5_0000 + 4 * i, -21, true);
    }
    return bytes;
  }

  it('is scaled by the time between its marks; the first rounds are left out', () => {
    const { first, second } = readSamples(memory(), operation('pio-out'), 10, 1000);
    expect(Array.from(first, (value) => Math.round(value))).toEqual([30, 40, 50, 60, 70, 80, 90, 100]);
    expect(second).toHaveLength(0);
  });

  it('has a second figure where the operation has one', () => {
    expect(readSamples(memory(), operation('notify'), 10, 1000).second[0]).toBeCloseTo(-10);
  });

  it('is nonsense when the time stamp counter stood still, or no round took any time', () => {
    expect(() => readSamples(memory(), operation('pio-out'), 10, 0)).toThrow('TSC');
    const empty = memory().fill(0, 0x2_0000);
    expect(() => readSamples(empty, operation('pio-out'), 10, 1000)).toThrow(
      'pio-out: no round took any time',
    );
  });
});

describe('the C loop', () => {
  it('compiles, or says what to install', () => {
    const folder = mkdtempSync(join(tmpdir(), 'type2-bench-'));
    const peer = compilePeer(folder);
    if (typeof peer === 'string') expect(peer).toContain('apt-get install gcc');
    else expect(peer.title).toBe('C loop');
    rmSync(folder, { recursive: true });
  });
});
