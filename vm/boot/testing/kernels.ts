/**
 * Small valid kernel files of every format, for tests: as little as each boot protocol asks for, with the
 * fields that matter as parameters.
 */
import { StructWriter } from '../struct-writer.ts';

export const KERNEL_AT = 0x100_0000;
const MIB = 2 ** 20;

/** Bytes that can be told from zeros and from each other. */
export function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + seed) % 251 || 1);
}

export interface BzImageFields {
  readonly version?: number;
  readonly loadflags?: number;
  readonly xloadflags?: number;
  readonly relocatable?: boolean;
  readonly prefAddress?: number;
  readonly initSize?: number;
  readonly initrdMaximum?: number;
  readonly commandLineSize?: number;
  readonly kernel?: Uint8Array;
}

/** One setup sector's header, then the protected-mode kernel. boot.rst */
export function bzImage(fields: BzImageFields = {}): Uint8Array {
  const kernel = fields.kernel ?? pattern(4096);
  const setupSectors = 1;
  const image = new Uint8Array((setupSectors + 1) * 512 + kernel.length);
  const view = new DataView(image.buffer);
  view.setUint8(0x1f1, setupSectors);
  view.setUint32(0x1f4, kernel.length / 16, true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint8(0x200, 0xeb);
  view.setUint8(0x201, 0x6a);
  view.setUint32(0x202, 0x53726448, true);
  view.setUint16(0x206, fields.version ?? 0x020f, true);
  view.setUint8(0x211, fields.loadflags ?? 1);
  view.setUint32(0x214, 0x100000, true);
  view.setUint32(0x22c, fields.initrdMaximum ?? 0x7fff_ffff, true);
  view.setUint32(0x230, 2 * MIB, true);
  view.setUint8(0x234, (fields.relocatable ?? true) ? 1 : 0);
  view.setUint16(0x236, fields.xloadflags ?? 3, true);
  view.setUint32(0x238, fields.commandLineSize ?? 2047, true);
  view.setBigUint64(0x258, BigInt(fields.prefAddress ?? KERNEL_AT), true);
  view.setUint32(0x260, fields.initSize ?? MIB, true);
  image.set(kernel, (setupSectors + 1) * 512);
  return image;
}

export interface ElfFields {
  readonly bits: 32 | 64;
  readonly entry?: number;
  readonly physical?: number;
  readonly virtual?: number;
  readonly bytes?: Uint8Array;
  readonly memorySize?: number;
  /** Physical address of a PVH entry point; no note if absent. */
  readonly pvhEntry?: number;
  readonly machine?: number;
}

/** One loadable segment, and a note if asked for. */
export function elf(fields: ElfFields): Uint8Array {
  const { bits, physical = KERNEL_AT, entry = physical, virtual = physical, bytes = pattern(64) } = fields;
  const word = (w: StructWriter, value: number): StructWriter => (bits === 64 ? w.u64(value) : w.u32(value));
  const headerSize = bits === 64 ? 64 : 52;
  const programHeaderSize = bits === 64 ? 56 : 32;
  const note = fields.pvhEntry === undefined ? new Uint8Array(0) : xenNote(fields.pvhEntry);
  const count = note.length > 0 ? 2 : 1;
  const noteAt = headerSize + count * programHeaderSize;
  const bytesAt = noteAt + note.length;

  const file = new StructWriter()
    .ascii('\x7fELF')
    .u8(bits === 64 ? 2 : 1)
    .u8(1)
    .u8(1)
    .zeros(9);
  file
    .u16(2)
    .u16(fields.machine ?? (bits === 64 ? 62 : 3))
    .u32(1);
  word(word(word(file, entry), headerSize), 0);
  file.u32(0).u16(headerSize).u16(programHeaderSize).u16(count).u16(0).u16(0).u16(0);
  const program = (type: number, at: number, v: number, p: number, size: number, memory: number): void => {
    file.u32(type);
    if (bits === 64) file.u32(5);
    for (const value of [at, v, p, size, memory]) word(file, value);
    if (bits === 32) file.u32(5);
    word(file, 4);
  };
  program(1, bytesAt, virtual, physical, bytes.length, fields.memorySize ?? bytes.length);
  if (count === 2) program(4, noteAt, 0, 0, note.length, note.length);
  return file.data(note).data(bytes).finish();
}

/** XEN_ELFNOTE_PHYS32_ENTRY behind a note that isn't meant. */
function xenNote(entry: number): Uint8Array {
  return new StructWriter()
    .u32(4)
    .u32(3)
    .u32(3)
    .ascii('GNU', 4)
    .ascii('abc', 4)
    .u32(4)
    .u32(4)
    .u32(18)
    .ascii('Xen', 4)
    .u32(entry)
    .finish();
}

export interface MultibootFields {
  readonly flags?: number;
  readonly headerAddress?: number;
  readonly loadAddress?: number;
  readonly loadEnd?: number;
  readonly bssEnd?: number;
  readonly entry?: number;
  readonly payload?: Uint8Array;
}

/** A Multiboot header with address fields, 16 bytes into the file, and what it loads. */
export function multibootRaw(fields: MultibootFields = {}): Uint8Array {
  const { flags = 1 << 16, loadAddress = 0x10_0000, payload = pattern(64) } = fields;
  return new StructWriter()
    .zeros(16)
    .data(multibootHeader(flags))
    .u32(fields.headerAddress ?? loadAddress + 16)
    .u32(loadAddress)
    .u32(fields.loadEnd ?? 0)
    .u32(fields.bssEnd ?? loadAddress + 0x1000)
    .u32(fields.entry ?? loadAddress + 48)
    .data(payload)
    .finish();
}

/** The three words that every Multiboot header starts with. */
export function multibootHeader(flags: number): Uint8Array {
  return new StructWriter()
    .u32(0x1bad_b002)
    .u32(flags)
    .u32(-(0x1bad_b002 + flags))
    .finish();
}
