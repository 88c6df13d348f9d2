/**
 * Multiboot 1 (Multiboot Specification 0.6.96): kernels that carry a header with a magic number in their
 * first 8 KiB, as ELF files or as raw images with addresses in the header. ELF files of either class are
 * loaded; the kernel starts in 32-bit protected mode in any case.
 */
import type { Gpa } from '../../devices/memory.ts';
import { HIGH_MEMORY_START, HIGH_RAM_START } from '../layout.ts';
import type { EntryState } from '../vcpu-state.ts';
import { encodeCommandLine } from './command-line.ts';
import type { BootContext } from './context.ts';
import { protectedModeEntry } from './cpu-entry.ts';
import { type E820Entry, E820Type } from './e820.ts';
import { isElf, parseElf, physicalEntry, planSegments } from './elf.ts';
import { type PlacedInitrd, planInitrd } from './initrd.ts';
import type { KernelImage } from './kernel-image.ts';
import { LowMemory } from './low-memory.ts';
import { StructWriter } from './struct-writer.ts';
import { hex } from './text.ts';

const HEADER_MAGIC = 0x1bad_b002;
/** What EAX holds when the kernel starts. 3.2 */
const LOADER_MAGIC = 0x2bad_b002n;
/** The header is in the first 8192 bytes, at a multiple of 4. 3.1 */
const SEARCH_LENGTH = 8192;
const HEADER_ALIGNMENT = 4;
const HEADER_SIZE = 12;
const HEADER_SIZE_WITH_ADDRESSES = 32;

/** Header flags. 3.1.2. A boot loader must refuse what it doesn't know in the lower half. */
const PAGE_ALIGN_MODULES = 1 << 0;
const MEMORY_INFO = 1 << 1;
const VIDEO_MODE = 1 << 2;
const KNOWN_REQUIREMENTS = PAGE_ALIGN_MODULES | MEMORY_INFO;
const REQUIREMENTS = 0xffff;
const ADDRESS_FIELDS = 1 << 16;

/** Flags of the information structure. 3.3 */
const INFO_MEMORY = 1 << 0;
const INFO_COMMAND_LINE = 1 << 2;
const INFO_MODULES = 1 << 3;
const INFO_MEMORY_MAP = 1 << 6;
const INFO_LOADER_NAME = 1 << 9;

const INFO_SIZE = 88;
const MODULE_SIZE = 16;
const MAP_ENTRY_SIZE = 24;
const LOADER_NAME = 'Type2';

/** A Multiboot header. */
interface MultibootHeader {
  /** Where it is in the file. */
  readonly offset: number;
  readonly flags: number;
}

export function hasMultibootHeader(image: KernelImage): boolean {
  return findHeader(image) !== undefined;
}

/** Loads by Multiboot 1. EBX points to the information structure. */
export function loadMultiboot(context: BootContext): EntryState {
  const { image, plan, memoryMap } = context;
  const header = findHeader(image);
  if (header === undefined) throw image.malformed('it has no Multiboot header in its first 8 KiB');
  const unknown = header.flags & REQUIREMENTS & ~KNOWN_REQUIREMENTS;
  if (unknown !== 0) {
    const what =
      unknown === VIDEO_MODE ? 'a video mode, and the machine has no display' : `flags ${hex(unknown)}`;
    throw image.malformed(`its Multiboot header asks for ${what}`, 'Build it without this requirement.');
  }
  const entry = (header.flags & ADDRESS_FIELDS) !== 0 ? planRawImage(context, header) : planElf(context);
  const commandLine = encodeCommandLine(context.commandLine, image.name);
  // Small kernels map little more than themselves, so the module follows the kernel as closely as it can.
  const module = planInitrd(plan, context.initrd, { limit: HIGH_RAM_START, from: 'bottom' });
  plan.put('the command line', LowMemory.commandLine.at, commandLine);
  plan.put('the Multiboot information', LowMemory.multibootInfo.at, information(module, memoryMap));
  return protectedModeEntry(plan, entry, { rax: LOADER_MAGIC, rbx: BigInt(LowMemory.multibootInfo.at) });
}

function findHeader(image: KernelImage): MultibootHeader | undefined {
  const end = Math.min(SEARCH_LENGTH, image.length) - HEADER_SIZE;
  for (let offset = 0; offset <= end; offset += HEADER_ALIGNMENT) {
    if (image.u32(offset, 'magic') !== HEADER_MAGIC) continue;
    const flags = image.u32(offset + 4, 'flags');
    const checksum = image.u32(offset + 8, 'checksum');
    if ((HEADER_MAGIC + flags + checksum) % 2 ** 32 === 0) return { offset, flags };
  }
  return undefined;
}

function planElf({ image, plan }: BootContext): Gpa {
  if (!isElf(image)) {
    throw image.malformed('its Multiboot header has no address fields (flag 16), and it is no ELF file');
  }
  const elf = parseElf(image);
  const entry = physicalEntry(image, elf);
  if (entry >= HIGH_RAM_START) throw image.malformed(`its entry point ${hex(entry)} is above 4 GiB`);
  planSegments(plan, image, elf);
  return entry;
}

/** 3.1.3: the header itself says what of the file goes where. */
function planRawImage({ image, plan }: BootContext, { offset }: MultibootHeader): Gpa {
  image.slice(offset, HEADER_SIZE_WITH_ADDRESSES, 'Multiboot header with address fields');
  const headerAddress = image.u32(offset + 12, 'header_addr');
  const loadAddress = image.u32(offset + 16, 'load_addr');
  const loadEnd = image.u32(offset + 20, 'load_end_addr');
  const bssEnd = image.u32(offset + 24, 'bss_end_addr');
  const entry = image.u32(offset + 28, 'entry_addr');

  const start = offset - (headerAddress - loadAddress);
  if (headerAddress < loadAddress || start < 0) {
    throw image.malformed(
      `its Multiboot header is at ${hex(headerAddress)} (header_addr), not where load_addr ${hex(loadAddress)} puts it`,
    );
  }
  if (loadEnd !== 0 && loadEnd < headerAddress) {
    throw image.malformed(`its load_end_addr ${hex(loadEnd)} is before its header`);
  }
  const length = loadEnd === 0 ? image.length - start : loadEnd - loadAddress;
  const bytes = image.slice(start, length, 'text and data (load_addr to load_end_addr)');
  const bss = bssEnd === 0 ? 0 : bssEnd - (loadAddress + length);
  if (bss < 0) throw image.malformed(`its bss_end_addr ${hex(bssEnd)} is before the end of its data`);
  if (entry < loadAddress || entry >= loadAddress + length) {
    throw image.malformed(`its entry point ${hex(entry)} (entry_addr) is outside of what it loads`);
  }
  plan.put(image.name, loadAddress, bytes);
  plan.clear(`${image.name} (bss)`, loadAddress + length, bss);
  return entry;
}

/** 3.3: the information structure, and behind it module list, memory map and name. */
function information(module: PlacedInitrd, memoryMap: readonly E820Entry[]): Uint8Array {
  const { at } = LowMemory.multibootInfo;
  const modules = module.length > 0 ? 1 : 0;
  const moduleList = at + INFO_SIZE;
  const map = moduleList + modules * MODULE_SIZE;
  const mapLength = memoryMap.length * MAP_ENTRY_SIZE;
  const name = map + mapLength;
  const memory = memoryMap.filter(({ type }) => type === E820Type.memory);
  const kibibytesAt = (base: Gpa): number => (memory.find((r) => r.base === base)?.length ?? 0) / 1024;
  const flags = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MEMORY_MAP | INFO_LOADER_NAME;

  const info = new StructWriter()
    .u32(flags)
    .u32(kibibytesAt(0)) // mem_lower
    .u32(kibibytesAt(HIGH_MEMORY_START)) // mem_upper
    .u32(0) // boot_device
    .u32(LowMemory.commandLine.at)
    .u32(modules)
    .u32(modules > 0 ? moduleList : 0)
    .zeros(16) // syms
    .u32(mapLength)
    .u32(map)
    .u32(0) // drives_length
    .u32(0) // drives_addr
    .u32(0) // config_table
    .u32(name)
    .zeros(INFO_SIZE - 68); // apm_table, VBE
  if (modules > 0) {
    // A module's string is its command line; it has none.
    const noString = name + LOADER_NAME.length;
    info
      .u32(module.at)
      .u32(module.at + module.length)
      .u32(noString)
      .u32(0);
  }
  for (const { base, length, type } of memoryMap) {
    // The size does not count itself.
    info
      .u32(MAP_ENTRY_SIZE - 4)
      .u64(base)
      .u64(length)
      .u32(type);
  }
  return info.ascii(LOADER_NAME, LOADER_NAME.length + 1).finish();
}
