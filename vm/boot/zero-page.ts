/**
 * Linux' boot_params, the "zero page": what a boot loader tells an x86 kernel
 * (Linux, Documentation/arch/x86/zero-page.rst; the setup header in it is that of boot.rst).
 */
import type { Gpa } from '../../devices/memory.ts';
import { PAGE_SIZE } from '../layout.ts';
import type { E820Entry } from './e820.ts';
import type { PlacedInitrd } from './initrd.ts';

/** Offsets in boot_params. */
const ACPI_RSDP_ADDR = 0x070;
const EXT_RAMDISK_IMAGE = 0x0c0;
const EXT_RAMDISK_SIZE = 0x0c4;
const E820_ENTRIES = 0x1e8;
const E820_TABLE = 0x2d0;
const E820_ENTRY_SIZE = 20;
/** Where the setup header starts, in the zero page as in a bzImage, and the first byte after its room. */
export const SETUP_HEADER_START = 0x1f1;
export const SETUP_HEADER_LIMIT = 0x290;
/** Setup header fields that the boot loader fills in. */
const VID_MODE = 0x1fa;
const TYPE_OF_LOADER = 0x210;
const RAMDISK_IMAGE = 0x218;
const RAMDISK_SIZE = 0x21c;
const CMD_LINE_PTR = 0x228;

const VID_MODE_NORMAL = 0xffff;
/** A boot loader without an id of its own. */
const LOADER_UNDEFINED = 0xff;

/** What goes into the zero page. */
export interface ZeroPageContents {
  /** The kernel's setup header, from {@link SETUP_HEADER_START} on. */
  readonly header: Uint8Array;
  readonly memoryMap: readonly E820Entry[];
  readonly commandLineAt: Gpa;
  readonly initrd: PlacedInitrd;
  /** Address of the RSDP, 0 without ACPI. */
  readonly rsdp: Gpa;
}

/** A zero page, 4096 bytes. All that isn't named here stays 0, as the protocol asks for. */
export function buildZeroPage(contents: ZeroPageContents): Uint8Array {
  const { header, memoryMap, commandLineAt, initrd, rsdp } = contents;
  const page = new Uint8Array(PAGE_SIZE);
  const view = new DataView(page.buffer);

  page.set(header.subarray(0, SETUP_HEADER_LIMIT - SETUP_HEADER_START), SETUP_HEADER_START);
  view.setUint16(VID_MODE, VID_MODE_NORMAL, true);
  view.setUint8(TYPE_OF_LOADER, LOADER_UNDEFINED);
  view.setUint32(CMD_LINE_PTR, commandLineAt, true);

  view.setUint32(RAMDISK_IMAGE, initrd.at % 2 ** 32, true);
  view.setUint32(RAMDISK_SIZE, initrd.length % 2 ** 32, true);
  view.setUint32(EXT_RAMDISK_IMAGE, Math.floor(initrd.at / 2 ** 32), true);
  view.setUint32(EXT_RAMDISK_SIZE, Math.floor(initrd.length / 2 ** 32), true);

  view.setBigUint64(ACPI_RSDP_ADDR, BigInt(rsdp), true);
  view.setUint8(E820_ENTRIES, memoryMap.length);
  memoryMap.forEach(({ base, length, type }, i) => {
    const at = E820_TABLE + i * E820_ENTRY_SIZE;
    view.setBigUint64(at, BigInt(base), true);
    view.setBigUint64(at + 8, BigInt(length), true);
    view.setUint32(at + 16, type, true);
  });
  return page;
}
