/**
 * The memory map that a PC's firmware gives by INT 15h, function E820h (ACPI 6.5, section 15): what is
 * RAM and what isn't. Linux, PVH and Multiboot each pass it on in a form of their own.
 */
import type { Gpa } from '../../devices/memory.ts';
import { BIOS_AREA_END, BIOS_AREA_START, EBDA_START, HIGH_MEMORY_START, type RamRange } from '../layout.ts';

/** Address range types. ACPI 6.5, table 15.1. */
export const E820Type = { memory: 1, reserved: 2 } as const;
export type E820Type = (typeof E820Type)[keyof typeof E820Type];

/** One range of the map. */
export interface E820Entry {
  readonly base: Gpa;
  readonly length: number;
  readonly type: E820Type;
}

const BASE_MEMORY_END: Gpa = 0xa_0000;

/** The map of a machine with this RAM. @param ram - in ascending order, the first from address 0 */
export function e820Map(ram: readonly RamRange[]): readonly E820Entry[] {
  const low: E820Entry[] = [
    { base: 0, length: EBDA_START, type: E820Type.memory },
    { base: EBDA_START, length: BASE_MEMORY_END - EBDA_START, type: E820Type.reserved },
    { base: BIOS_AREA_START, length: BIOS_AREA_END - BIOS_AREA_START, type: E820Type.reserved },
  ];
  const high = ram.flatMap(({ base, length }): E820Entry[] => {
    const start = Math.max(base, HIGH_MEMORY_START);
    const end = base + length;
    return start < end ? [{ base: start, length: end - start, type: E820Type.memory }] : [];
  });
  return [...low, ...high];
}
