/**
 * The one map of what boot code puts below 1 MiB. Everything that the loaders and the tables write there
 * has its place here, so that nothing can overlap; the kernel and the initrd go above 1 MiB. Where RAM,
 * EBDA and BIOS area themselves are is in ../layout.ts.
 *
 * A protocol uses only what it needs of it. Linux keeps off the zero page, the command line and, until it
 * has its own, the page tables; GDT and page tables are free for the guest once it has replaced them.
 */
import type { Gpa } from '../../devices/memory.ts';
import { BIOS_AREA_START, EBDA_START, PAGE_SIZE } from '../layout.ts';

/** A fixed place. */
export interface LowRange {
  readonly at: Gpa;
  /** Most bytes that fit. */
  readonly size: number;
}

const range = (at: Gpa, end: Gpa): LowRange => ({ at, size: end - at });

export const LowMemory = {
  /** Real-mode interrupt vectors: left zero. */
  interruptVectors: range(0x0000, 0x0400),
  /** BIOS data area: the few fields that operating systems look at. */
  biosData: range(0x0400, 0x0500),
  gdt: range(0x0500, 0x0600),
  /** Where a real-mode guest's stack starts, growing down to the GDT's end. */
  realModeStack: range(0x0600, 0x7c00),
  /** PVH start info with its memory map and module list. */
  hvmStartInfo: range(0x6000, 0x7000),
  /** Multiboot information with its memory map and module list. */
  multibootInfo: range(0x6000, 0x7000),
  /** Linux' boot_params. */
  zeroPage: range(0x7000, 0x8000),
  /** PML4, page-directory-pointer table and four page directories: identity for 4 GiB. */
  pageTables: range(0x9000, 0x9000 + 6 * PAGE_SIZE),
  commandLine: range(0x2_0000, 0x3_0000),
  /** MP floating pointer structure. */
  ebda: range(EBDA_START, 0xa_0000),
  /** RSDP, found by guests that scan for it, and all other ACPI tables behind it. */
  acpi: range(BIOS_AREA_START, 0xf_0000),
  mpTable: range(0xf_0000, 0xf_1000),
} as const satisfies Record<string, LowRange>;
