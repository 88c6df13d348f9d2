/**
 * Symbols of a guest's kernel: from an ELF file's symbol table (vmlinux), or from a System.map, which has the
 * format of /proc/kallsyms.
 */
import { readFileSync } from 'node:fs';
import { ConfigError } from '../../devices/errors.ts';

/** Farther from a symbol an address is nobody's. */
const REACH = 0x10_0000n;
const SHT_SYMTAB = 2;
/** STT_NOTYPE, STT_OBJECT, STT_FUNC. */
const NAMED_TYPES = new Set([0, 1, 2]);

/** Names of addresses. */
export class Symbols {
  private readonly byName = new Map<string, bigint>();
  /** In ascending order. */
  private addresses: bigint[] = [];
  private names: string[] = [];

  get size(): number {
    return this.byName.size;
  }

  /** @throws ConfigError when the file can't be read, or holds no symbols */
  load(path: string): number {
    let file: Buffer;
    try {
      file = readFileSync(path);
    } catch (cause) {
      throw new ConfigError(`symbols ${path}: can't be read`, { cause });
    }
    const isElf = file.length > 64 && file.readUInt32BE(0) === 0x7f454c46;
    const before = this.byName.size;
    if (isElf) this.loadElf(file);
    else this.loadMap(file.toString('latin1'));
    if (this.byName.size === before) {
      throw new ConfigError(`symbols ${path}: there are none`, {
        hint: 'Give a vmlinux that was not stripped, or a System.map.',
      });
    }
    const sorted = [...this.byName].sort(([, a], [, b]) => (a < b ? -1 : a > b ? 1 : 0));
    this.names = sorted.map(([name]) => name);
    this.addresses = sorted.map(([, address]) => address);
    return this.byName.size - before;
  }

  address(name: string): bigint | undefined {
    return this.byName.get(name);
  }

  /** `name+0x12`; undefined where no symbol is near. */
  describe(address: bigint): string | undefined {
    let low = 0;
    let high = this.addresses.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.addresses[middle]! <= address) low = middle + 1;
      else high = middle;
    }
    const at = low - 1;
    if (at < 0) return undefined;
    const distance = address - this.addresses[at]!;
    if (distance >= REACH) return undefined;
    return distance === 0n ? this.names[at]! : `${this.names[at]}+0x${distance.toString(16)}`;
  }

  private loadMap(text: string): void {
    for (const match of text.matchAll(/^([0-9a-f]{8,16}) [a-zA-Z?] (\S+)/gm)) {
      // Addresses of per-CPU data count from 0.
      const address = BigInt(`0x${match[1]}`);
      if (address > 0x1000n) this.byName.set(match[2]!, address);
    }
  }

  private loadElf(file: Buffer): void {
    const wide = file[4] === 2;
    const word = (at: number): number => (wide ? Number(file.readBigUInt64LE(at)) : file.readUInt32LE(at));
    const sections = word(wide ? 0x28 : 0x20);
    const entrySize = file.readUInt16LE(wide ? 0x3a : 0x2e);
    const count = file.readUInt16LE(wide ? 0x3c : 0x30);
    const section = (i: number) => {
      const at = sections + i * entrySize;
      return {
        type: file.readUInt32LE(at + 4),
        offset: word(at + (wide ? 0x18 : 0x10)),
        size: word(at + (wide ? 0x20 : 0x14)),
        link: file.readUInt32LE(at + (wide ? 0x28 : 0x18)),
      };
    };
    try {
      for (let i = 0; i < count; i++) {
        const table = section(i);
        if (table.type === SHT_SYMTAB) this.loadTable(file, wide, table, section(table.link).offset);
      }
    } catch (error) {
      // A cut-off file: what was found so far counts.
      if (!(error instanceof RangeError)) throw error;
    }
  }

  private loadTable(
    file: Buffer,
    wide: boolean,
    table: { offset: number; size: number },
    strings: number,
  ): void {
    const size = wide ? 24 : 16;
    for (let at = table.offset; at < table.offset + table.size; at += size) {
      const info = file[at + (wide ? 4 : 12)]!;
      const value = wide ? file.readBigUInt64LE(at + 8) : BigInt(file.readUInt32LE(at + 4));
      if (value === 0n || !NAMED_TYPES.has(info & 15)) continue;
      const start = strings + file.readUInt32LE(at);
      const name = file.toString('latin1', start, file.indexOf(0, start));
      if (name !== '') this.byName.set(name, value);
    }
  }
}
