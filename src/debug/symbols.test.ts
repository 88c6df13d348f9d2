import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Symbols } from './symbols.ts';

const folder = mkdtempSync(join(tmpdir(), 'type2-symbols-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
function file(name: string, contents: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, contents);
  return path;
}

/** An ELF file with nothing but a symbol table. */
function elf(symbols: Readonly<Record<string, bigint>>): Uint8Array {
  const names = Object.keys(symbols);
  const strings = Buffer.from(`\0${names.map((name) => `${name}\0`).join('')}`);
  const table = 64 + 3 * 64;
  const bytes = Buffer.alloc(table + 24 * names.length + strings.length);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  bytes.writeBigUInt64LE(64n, 0x28);
  bytes.writeUInt16LE(64, 0x3a);
  bytes.writeUInt16LE(3, 0x3c);
  const section = (i: number, type: number, offset: number, size: number, link: number): void => {
    const at = 64 + 64 * i;
    bytes.writeUInt32LE(type, at + 4);
    bytes.writeBigUInt64LE(BigInt(offset), at + 0x18);
    bytes.writeBigUInt64LE(BigInt(size), at + 0x20);
    bytes.writeUInt32LE(link, at + 0x28);
  };
  section(1, 2, table, 24 * names.length, 2);
  section(2, 3, table + 24 * names.length, strings.length, 0);
  let name = 1;
  names.forEach((text, i) => {
    bytes.writeUInt32LE(name, table + 24 * i);
    bytes[table + 24 * i + 4] = 2;
    bytes.writeBigUInt64LE(symbols[text]!, table + 24 * i + 8);
    name += text.length + 1;
  });
  bytes.set(strings, table + 24 * names.length);
  return bytes;
}

describe('symbols', () => {
  it.each([
    ['a System.map', 'ffffffff81000000 T _stext\nffffffff81000040 t helper\n0000000000000010 A per_cpu\n'],
    ['an ELF file', elf({ _stext: 0xffff_ffff_8100_0000n, helper: 0xffff_ffff_8100_0040n })],
  ])('come from %s', (name, contents) => {
    const symbols = new Symbols();
    expect(symbols.load(file(name, contents))).toBe(2);
    expect(symbols.address('helper')).toBe(0xffff_ffff_8100_0040n);
    expect(symbols.describe(0xffff_ffff_8100_0000n)).toBe('_stext');
    expect(symbols.describe(0xffff_ffff_8100_0047n)).toBe('helper+0x7');
    expect(symbols.describe(0x1000n)).toBeUndefined();
    expect(symbols.describe(0xffff_ffff_9100_0000n)).toBeUndefined();
  });

  it('that aren’t there are told', () => {
    expect(() => new Symbols().load(file('empty', 'nothing'))).toThrow(/there are none/);
    expect(() => new Symbols().load(join(folder, 'missing'))).toThrow(/can't be read/);
  });

  it('of a cut-off file are what was found', () => {
    const whole = elf({ one: 0x10_0000n, two: 0x20_0000n });
    const symbols = new Symbols();
    expect(() => symbols.load(file('cut', whole.subarray(0, 70)))).toThrow(/there are none/);
  });
});
