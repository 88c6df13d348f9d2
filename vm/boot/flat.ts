/**
 * A flat binary, run in real mode as a BIOS runs a boot sector: loaded to 0x7c00 unless told otherwise,
 * started at its first byte with the boot drive's number in DL (BIOS Boot Specification 1.01, 6.5.1).
 * There is no BIOS, though: an INT leads nowhere.
 */
import type { Gpa } from '../../devices/memory.ts';
import { EBDA_START } from '../layout.ts';
import type { EntryState } from '../vcpu-state.ts';
import type { BootContext } from './context.ts';
import { realModeEntry } from './cpu-entry.ts';
import { BootError } from './errors.ts';
import { LowMemory } from './low-memory.ts';
import { hex, mebibytes } from './text.ts';

const BOOT_SECTOR: Gpa = 0x7c00;
const FIRST_HARD_DISK = 0x80n;
/** First address that isn't taken by interrupt vectors and BIOS data. */
const LOWEST: Gpa = LowMemory.gdt.at;
const SEGMENT_SIZE = 0x1_0000;
const PARAGRAPH = 16;
/** Stack that a guest gets at least, in bytes. */
const STACK_MINIMUM = 1024;

/** Loads a flat binary. */
export function loadFlat(context: BootContext): EntryState {
  const { image, plan, loadAddress = BOOT_SECTOR } = context;
  if (image.length === 0) throw image.malformed('the file is empty');
  if (context.initrd !== undefined) {
    throw image.malformed('a flat binary takes no initrd', 'Put the data into the binary.');
  }
  const end = loadAddress + image.length;
  if (!Number.isInteger(loadAddress) || loadAddress < LOWEST || end > EBDA_START) {
    throw new BootError(
      'KERNEL_PLACE',
      `${image.name}: ${mebibytes(image.length)} at ${hex(loadAddress)} are not between ${hex(LOWEST)} and ${hex(EBDA_START)}, ` +
        'where real mode has memory',
      'Load it to another address, make it smaller, or make it a Multiboot kernel.',
    );
  }
  plan.put(image.name, loadAddress, image.bytes);
  // In the first 64 KiB segment 0 is as natural as can be; further up, IP is small.
  const selector = loadAddress < SEGMENT_SIZE ? 0 : Math.floor(loadAddress / PARAGRAPH);
  const code = { selector, offset: loadAddress - selector * PARAGRAPH };
  return realModeEntry(code, stackFor(loadAddress, end), { rdx: FIRST_HARD_DISK });
}

/** Under the boot sector's place, or if the binary is there, under the EBDA, or under the binary. */
function stackFor(start: Gpa, end: Gpa): { selector: number; offset: number } {
  const usual = LowMemory.realModeStack.at + LowMemory.realModeStack.size;
  if (start >= usual || end + STACK_MINIMUM <= usual) return { selector: 0, offset: usual };
  const selector = (EBDA_START - SEGMENT_SIZE) / PARAGRAPH;
  if (end + STACK_MINIMUM <= EBDA_START) return { selector, offset: 0 };
  return { selector: 0, offset: start };
}
