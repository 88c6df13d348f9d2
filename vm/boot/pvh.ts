/**
 * PVH: an uncompressed kernel whose ELF note names a 32-bit entry point, which finds all it needs in a
 * start info structure (Xen, docs/misc/pvh.pandoc, and xen/include/public/arch-x86/hvm/start_info.h).
 */
import { HIGH_RAM_START } from '../layout.ts';
import type { EntryState } from '../vcpu-state.ts';
import { encodeCommandLine } from './command-line.ts';
import type { BootContext } from './context.ts';
import { protectedModeEntry } from './cpu-entry.ts';
import type { E820Entry } from './e820.ts';
import { type Elf, parseElf, planSegments } from './elf.ts';
import { type PlacedInitrd, planInitrd } from './initrd.ts';
import { LowMemory } from './low-memory.ts';
import { StructWriter } from './struct-writer.ts';
import { hex } from './text.ts';

const NOTE_NAME = 'Xen';
const XEN_ELFNOTE_PHYS32_ENTRY = 18;

const START_MAGIC = 0x336e_c578;
const START_INFO_VERSION = 1;
const START_INFO_SIZE = 56;
const MODULE_ENTRY_SIZE = 32;

/** The PVH entry point, or undefined when the kernel has none. */
export function pvhEntry(elf: Elf): number | undefined {
  return elf.notes.find((note) => note.name === NOTE_NAME && note.type === XEN_ELFNOTE_PHYS32_ENTRY)?.number;
}

/** Loads by PVH: 32-bit protected mode, paging off, EBX points to the start info. */
export function loadPvh(context: BootContext): EntryState {
  const { image, plan } = context;
  const elf = parseElf(image);
  const entry = pvhEntry(elf);
  if (entry === undefined) {
    throw image.malformed(
      'it has no PVH entry point (ELF note XEN_ELFNOTE_PHYS32_ENTRY)',
      'Build Linux with CONFIG_PVH, or load it by --protocol elf64.',
    );
  }
  if (!elf.segments.some((s) => entry >= s.physical && entry < s.physical + s.memorySize)) {
    throw image.malformed(`its PVH entry point ${hex(entry)} is in none of its segments`);
  }
  planSegments(plan, image, elf);
  const commandLine = encodeCommandLine(context.linuxCommandLine, image.name);
  // Linux takes over no more than 32 bits of the address.
  const initrd = planInitrd(plan, context.initrd, { limit: HIGH_RAM_START });
  plan.put('the command line', LowMemory.commandLine.at, commandLine);
  plan.put(
    'the PVH start info',
    LowMemory.hvmStartInfo.at,
    startInfo(initrd, context.memoryMap, context.rsdp),
  );
  return protectedModeEntry(plan, entry, { rbx: BigInt(LowMemory.hvmStartInfo.at) });
}

/** hvm_start_info, and behind it the module list and the memory map. */
function startInfo(initrd: PlacedInitrd, memoryMap: readonly E820Entry[], rsdp: number): Uint8Array {
  const { at } = LowMemory.hvmStartInfo;
  const modules = initrd.length > 0 ? 1 : 0;
  const moduleList = at + START_INFO_SIZE;
  const memoryMapAt = moduleList + modules * MODULE_ENTRY_SIZE;
  const info = new StructWriter()
    .u32(START_MAGIC)
    .u32(START_INFO_VERSION)
    .u32(0) // flags
    .u32(modules)
    .u64(modules > 0 ? moduleList : 0)
    .u64(LowMemory.commandLine.at)
    .u64(rsdp)
    .u64(memoryMapAt)
    .u32(memoryMap.length)
    .u32(0);
  if (modules > 0) info.u64(initrd.at).u64(initrd.length).u64(0).u64(0);
  for (const { base, length, type } of memoryMap) info.u64(base).u64(length).u32(type).u32(0);
  return info.finish();
}
