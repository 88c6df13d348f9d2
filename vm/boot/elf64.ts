/**
 * An uncompressed 64-bit Linux kernel (vmlinux) by its own entry point: as if the unpacking part of a
 * bzImage had just finished (Linux, arch/x86/kernel/head_64.S, startup_64). RSI points to the zero page,
 * whose setup header the boot loader makes up, since the file has none.
 */
import { HIGH_RAM_START } from '../layout.ts';
import type { EntryState } from '../vcpu-state.ts';
import { encodeCommandLine } from './command-line.ts';
import type { BootContext } from './context.ts';
import { longModeEntry } from './cpu-entry.ts';
import { parseElf, physicalEntry, planSegments } from './elf.ts';
import { planInitrd } from './initrd.ts';
import { LowMemory } from './low-memory.ts';
import { StructWriter } from './struct-writer.ts';
import { hex } from './text.ts';
import { buildZeroPage } from './zero-page.ts';

/** COMMAND_LINE_SIZE of x86 Linux, with the NUL. */
const COMMAND_LINE_SIZE = 2048;
/** Boot protocol 2.12, the first with 64-bit addresses. */
const VERSION = 0x020c;
const LOADED_HIGH = 0x01;

/** Loads a vmlinux. */
export function loadElf64(context: BootContext): EntryState {
  const { image, plan, memoryMap, rsdp } = context;
  const elf = parseElf(image);
  if (elf.bits !== 64) {
    throw image.malformed('a 32-bit ELF file', 'Load it by --protocol pvh or --protocol multiboot.');
  }
  const entry = physicalEntry(image, elf);
  if (entry >= HIGH_RAM_START) throw image.malformed(`its entry point ${hex(entry)} is above 4 GiB`);
  planSegments(plan, image, elf);
  const commandLine = encodeCommandLine(context.linuxCommandLine, image.name, COMMAND_LINE_SIZE - 1);
  const initrd = planInitrd(plan, context.initrd, { limit: HIGH_RAM_START, aboveLimit: true });
  plan.put('the command line', LowMemory.commandLine.at, commandLine);
  plan.put(
    'the zero page',
    LowMemory.zeroPage.at,
    buildZeroPage({
      header: setupHeader(),
      memoryMap,
      commandLineAt: LowMemory.commandLine.at,
      initrd,
      rsdp,
    }),
  );
  return longModeEntry(plan, entry, { rsi: BigInt(LowMemory.zeroPage.at) });
}

/** The fields of the setup header that the kernel proper looks at, from 0x1f1 on. */
function setupHeader(): Uint8Array {
  return new StructWriter()
    .zeros(0x1fe - 0x1f1)
    .u16(0xaa55) // boot_flag
    .u16(0)
    .ascii('HdrS')
    .u16(VERSION)
    .zeros(0x211 - 0x208)
    .u8(LOADED_HIGH)
    .zeros(0x238 - 0x212)
    .u32(COMMAND_LINE_SIZE - 1)
    .finish();
}
