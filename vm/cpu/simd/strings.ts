/**
 * The comparisons of PCMPESTRI and its kin that isa/sse-string.ts leaves to TypeScript. SDM volume 2, 4.1.
 */
import type { CpuMemory } from '../memory.ts';
import { Scratch } from './operations.ts';

/** The control byte's aggregation. SDM volume 2, table 4-2. */
const Aggregation = { equalAny: 0, ranges: 1, equalEach: 2, equalOrdered: 3 } as const;

/**
 * Compares the elements of the two strings in the scratch area and leaves a bit for each element of the second
 * one (IntRes1), before polarity.
 */
export function compareStrings(memory: CpuMemory): void {
  const control = memory.get(Scratch.immediate);
  const length1 = memory.get(Scratch.immediate + 4);
  const length2 = memory.get(Scratch.immediate + 8);
  const count = control & 1 ? 8 : 16;
  const aggregation = (control >> 2) & 3;
  let result = 0;
  for (let j = 0; j < count; j++) {
    const holds =
      aggregation === Aggregation.equalOrdered
        ? isSubstring(memory, control, length1, length2, j)
        : j < length2 &&
          isIn(
            memory,
            control,
            length1,
            aggregation === Aggregation.ranges,
            element(memory, control, Scratch.second, j),
          );
    if (holds) result |= 1 << j;
  }
  memory.set(Scratch.result, result);
}

/** An element: byte or word, unsigned or signed. */
function element(memory: CpuMemory, control: number, at: number, n: number): number {
  const value = control & 1 ? memory.u16[(at >> 1) + n]! : memory.u8[at + n]!;
  if (!(control & 2)) return value;
  return control & 1 ? (value << 16) >> 16 : (value << 24) >> 24;
}

/** Whether a value is in the set, or one of the ranges, that the first string is. */
function isIn(memory: CpuMemory, control: number, length: number, ranges: boolean, value: number): boolean {
  const step = ranges ? 2 : 1;
  for (let i = 0; i + step <= length; i += step) {
    const low = element(memory, control, Scratch.first, i);
    if (ranges ? value >= low && value <= element(memory, control, Scratch.first, i + 1) : value === low)
      return true;
  }
  return false;
}

/** Whether the first string stands in the second from `start` on, as far as the register reaches. */
function isSubstring(
  memory: CpuMemory,
  control: number,
  length1: number,
  length2: number,
  start: number,
): boolean {
  const count = control & 1 ? 8 : 16;
  for (let i = 0; i < length1 && start + i < count; i++) {
    if (start + i >= length2) return false;
    if (element(memory, control, Scratch.first, i) !== element(memory, control, Scratch.second, start + i))
      return false;
  }
  return true;
}
