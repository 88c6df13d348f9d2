/** Makes gdb a file of a kernel's symbols from what the running guest says of itself: there is no vmlinux with them. */
import { writeFileSync } from 'node:fs';

/** An ELF file with nothing but symbols, for a kernel of which there is no vmlinux with them. */
export interface KernelSymbols {
  readonly path: string;
  readonly addresses: ReadonlyMap<string, bigint>;
}

/** Functions that sessions name, and where the kernel begins. */
const SYMBOLS_WANTED = ['_text', 'start_kernel', 'do_sys_openat2'];
/** A guest's command that prints where they are. */
export const SYMBOLS_COMMAND = `grep -wE '${SYMBOLS_WANTED.join('|')}' /proc/kallsyms`;

const SYMBOL_BYTES = 24;
const SECTION_BYTES = 64;
const HEADER_BYTES = 64;
const PAGE = 4096n;

/**
 * Writes an ELF file of functions (System V ABI, chapter 4), for gdb to read.
 * @param kallsyms - what a guest has printed at {@link SYMBOLS_COMMAND}
 */
export function symbolFile(kallsyms: string, path: string): KernelSymbols {
  const addresses = new Map<string, bigint>();
  for (const [, address, name] of kallsyms.matchAll(/^([0-9a-f]{16}) [a-zA-Z] (\S+?)\r?$/gm))
    addresses.set(name!, BigInt(`0x${address}`));
  const text = addresses.get('_text');
  if (text === undefined) throw new Error(`no _text in ${kallsyms}`);
  const last = [...addresses.values()].reduce((a, b) => (a > b ? a : b));
  const strings = Buffer.from(`\0${[...addresses.keys()].map((name) => `${name}\0`).join('')}`);
  const names = Buffer.from('\0.text\0.symtab\0.strtab\0.shstrtab\0');
  const table = Buffer.alloc(SYMBOL_BYTES * (addresses.size + 1));
  let at = SYMBOL_BYTES;
  for (const [name, address] of addresses) {
    table.writeUInt32LE(strings.indexOf(`\0${name}\0`) + 1, at);
    // STB_GLOBAL, STT_FUNC; in section 1.
    table.writeUInt8(0x12, at + 4);
    table.writeUInt16LE(1, at + 6);
    table.writeBigUInt64LE(address, at + 8);
    at += SYMBOL_BYTES;
  }
  const sections: {
    name: string;
    type: number;
    flags?: bigint;
    address?: bigint;
    size?: bigint;
    data?: Buffer;
    link?: number;
    info?: number;
    entry?: bigint;
  }[] = [
    // SHT_NOBITS, allocated and executable: it is in the guest.
    { name: '.text', type: 8, flags: 6n, address: text, size: last - text + PAGE },
    { name: '.symtab', type: 2, data: table, link: 3, info: 1, entry: BigInt(SYMBOL_BYTES) },
    { name: '.strtab', type: 3, data: strings },
    { name: '.shstrtab', type: 3, data: names },
  ];
  const headers = Buffer.alloc(SECTION_BYTES * (sections.length + 1));
  let offset = HEADER_BYTES + headers.length;
  for (const [i, section] of sections.entries()) {
    const header = headers.subarray(SECTION_BYTES * (i + 1));
    header.writeUInt32LE(names.indexOf(`\0${section.name}\0`) + 1, 0);
    header.writeUInt32LE(section.type, 4);
    header.writeBigUInt64LE(section.flags ?? 0n, 8);
    header.writeBigUInt64LE(section.address ?? 0n, 16);
    header.writeBigUInt64LE(BigInt(offset), 24);
    header.writeBigUInt64LE(section.size ?? BigInt(section.data?.length ?? 0), 32);
    header.writeUInt32LE(section.link ?? 0, 40);
    header.writeUInt32LE(section.info ?? 0, 44);
    header.writeBigUInt64LE(1n, 48);
    header.writeBigUInt64LE(section.entry ?? 0n, 56);
    offset += section.data?.length ?? 0;
  }
  const header = Buffer.alloc(HEADER_BYTES);
  // 64 bits, little-endian, version 1.
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  // ET_EXEC, EM_X86_64.
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(62, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(HEADER_BYTES), 40);
  header.writeUInt16LE(HEADER_BYTES, 52);
  header.writeUInt16LE(SECTION_BYTES, 58);
  header.writeUInt16LE(sections.length + 1, 60);
  header.writeUInt16LE(sections.length, 62);
  writeFileSync(
    path,
    Buffer.concat([header, headers, ...sections.map(({ data }) => data ?? Buffer.alloc(0))]),
  );
  return { path, addresses };
}
