/** ACPI and MP tables: checksums, the fields that guests depend on, and what ACPI's own tools say of them. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CPUS_MAXIMUM, VIRTIO_GSIS, virtioSlot } from '../layout.ts';
import { eisaId, integer, name, nameString, packageOf, scope, string } from './acpi/aml.ts';
import { buildMadt } from './acpi/madt.ts';
import { buildAcpiTables } from './acpi/tables.ts';
import { withVirtioDevices } from './command-line.ts';
import { LowMemory } from './low-memory.ts';
import { buildMpFloatingPointer, buildMpTable } from './mp-table.ts';
import { sum } from './struct-writer.ts';

const SLOTS = VIRTIO_GSIS.map((_, i) => virtioSlot(i));
const hasIasl = spawnSync('iasl', ['-v']).error === undefined;

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

describe('AML', () => {
  it('is encoded as the specification says', () => {
    expect([...nameString('\\_SB.COM1')]).toEqual([0x5c, 0x2e, ...new TextEncoder().encode('_SB_COM1')]);
    expect([...nameString('A.B.C')].slice(0, 2)).toEqual([0x2f, 3]);
    expect(() => nameString('TOOLONG')).toThrow(RangeError);
    expect([...eisaId('PNP0501')]).toEqual([0x0c, 0x41, 0xd0, 0x05, 0x01]);
    expect([0, 1, 2, 0x1234, 0x12345678].map((n) => integer(n).length)).toEqual([1, 1, 2, 3, 5]);
    expect([...name('_S5', packageOf(integer(5)))]).toEqual([
      0x08, 0x5f, 0x53, 0x35, 0x5f, 0x12, 4, 1, 0x0a, 5,
    ]);
  });

  it('has package lengths of one to three bytes', () => {
    const lengthBytes = (size: number): number =>
      scope('A', string('x'.repeat(size))).length - size - 1 - 4 - 2;
    expect([10, 56, 57, 4000, 5000].map(lengthBytes)).toEqual([1, 1, 2, 2, 3]);
  });
});

describe('ACPI tables', () => {
  const tables = buildAcpiTables(LowMemory.acpi.at, CPUS_MAXIMUM, SLOTS);
  const table = (signature: string) => tables.find((t) => t.name === signature)!;

  it('fit into their place, with the largest machine', () => {
    const last = tables.at(-1)!;
    expect(last.at + last.bytes.length).toBeLessThanOrEqual(LowMemory.acpi.at + LowMemory.acpi.size);
    expect(buildMpTable(CPUS_MAXIMUM).length).toBeLessThanOrEqual(LowMemory.mpTable.size);
  });

  it('add up to zero and know their length', () => {
    for (const { name, bytes } of tables) {
      if (name === 'RSDP') expect(sum(bytes.subarray(0, 20))).toBe(0);
      else expect(view(bytes).getUint32(4, true)).toBe(bytes.length);
      if (name !== 'FACS') expect(sum(bytes), name).toBe(0);
    }
  });

  it('lead from the RSDP to each other', () => {
    const { bytes: rsdp } = table('RSDP');
    expect(view(rsdp).getUint32(16, true)).toBe(table('RSDT').at);
    expect(view(rsdp).getBigUint64(24, true)).toBe(BigInt(table('XSDT').at));
    const xsdt = view(table('XSDT').bytes);
    expect(xsdt.getBigUint64(36, true)).toBe(BigInt(table('FACP').at));
    expect(xsdt.getBigUint64(44, true)).toBe(BigInt(table('APIC').at));
    expect(table('FACS').at % 64).toBe(0);
  });

  it('describe processors past APIC id 254 as x2APICs', () => {
    const madt = buildMadt(257);
    const types: number[] = [];
    for (let at = 44; at < madt.length; at += madt[at + 1]!) types.push(madt[at]!);
    expect(types.filter((type) => type === 0)).toHaveLength(255);
    expect(types.filter((type) => type === 9)).toHaveLength(2);
    expect(types.slice(-5)).toEqual([1, 2, 2, 4, 10]);
  });

  it.skipIf(!hasIasl)(
    'are read by iasl without errors, and the DSDT compiles to what it was (needs iasl)',
    () => {
      const directory = mkdtempSync(join(tmpdir(), 'type2-acpi-'));
      try {
        for (const { name, bytes } of tables) {
          // iasl takes every table but the RSDP.
          if (name === 'RSDP') continue;
          const file = join(directory, `${name}.aml`);
          writeFileSync(file, bytes);
          const result = spawnSync('iasl', ['-d', file], { encoding: 'utf8' });
          const output = result.stdout + result.stderr;
          expect(result.status, output).toBe(0);
          expect(output).not.toMatch(/error|warning|invalid|incorrect/i);
          const source = join(directory, `${name}.dsl`);
          // "**" marks fields that iasl can't make sense of.
          expect(readFileSync(source, 'utf8')).not.toMatch(/\*\*\*\*|Invalid|Error/);
          if (name !== 'DSDT') continue;
          const again = spawnSync('iasl', ['-oa', '-p', join(directory, 'again'), source], {
            encoding: 'utf8',
          });
          expect(again.stdout + again.stderr).toMatch(/ 0 Errors, 0 Warnings/);
          const body = readFileSync(join(directory, 'again.aml')).subarray(36);
          expect(body.equals(bytes.subarray(36))).toBe(true);
        }
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  );
});

describe('MP table', () => {
  it('has its processors, IOAPIC and interrupts, and counts them', () => {
    const mp = buildMpTable(3);
    expect(sum(mp)).toBe(0);
    expect(view(mp).getUint16(4, true)).toBe(mp.length);
    const entries: number[][] = [];
    for (let at = 44; at < mp.length; ) {
      const size = mp[at] === 0 ? 20 : 8;
      entries.push([...mp.subarray(at, at + size)]);
      at += size;
    }
    expect(view(mp).getUint16(34, true)).toBe(entries.length);
    const processors = entries.filter(([type]) => type === 0);
    expect(processors.map(([, id, , flags]) => [id, flags])).toEqual([
      [0, 3],
      [1, 1],
      [2, 1],
    ]);
    const wiring = new Map(entries.filter(([type]) => type === 3).map((e) => [e[5]!, e[7]!]));
    expect(wiring.get(0)).toBe(2);
    expect(wiring.has(2)).toBe(false);
    for (const gsi of [4, 8, 9, ...VIRTIO_GSIS]) expect(wiring.get(gsi)).toBe(gsi);
    expect(entries.filter(([type]) => type === 4)).toHaveLength(2);
  });

  it('is found by a floating pointer', () => {
    const pointer = buildMpFloatingPointer(0xf_0000);
    expect(pointer).toHaveLength(16);
    expect(sum(pointer)).toBe(0);
    expect(view(pointer).getUint32(4, true)).toBe(0xf_0000);
  });
});

describe('low memory', () => {
  it('holds nothing twice but what no guest has both of', () => {
    const exclusive = new Set(['multibootInfo', 'realModeStack']);
    const ranges = Object.entries(LowMemory)
      .filter(([key]) => !exclusive.has(key))
      .sort(([, a], [, b]) => a.at - b.at);
    for (let i = 1; i < ranges.length; i++) {
      const [, before] = ranges[i - 1]!;
      expect(before.at + before.size, ranges[i]![0]).toBeLessThanOrEqual(ranges[i]![1].at);
    }
  });
});

describe('virtio devices on the command line', () => {
  it.each([
    ['', 'virtio_mmio.device=0x1000@0xd0000000:5'],
    ['a', 'a virtio_mmio.device=0x1000@0xd0000000:5'],
    ['-- init', 'virtio_mmio.device=0x1000@0xd0000000:5 -- init'],
    ['a --', 'a virtio_mmio.device=0x1000@0xd0000000:5 --'],
    ['a --b c', 'a --b c virtio_mmio.device=0x1000@0xd0000000:5'],
  ])('%j becomes %j', (before, after) => {
    expect(withVirtioDevices(before, [virtioSlot(0)])).toBe(after);
  });
});
