/**
 * What will be written where in the guest's memory. Loaders only add to the plan; when all of them are
 * content it is carried out in one go. So a guest that can't be loaded leaves memory untouched, and two
 * things in one place are found before either is written.
 */
import type { Gpa, GuestMemory } from '../../devices/memory.ts';
import { HIGH_MEMORY_START, HIGH_RAM_START, HOLE_START, MEMORY_MAXIMUM, type RamRange } from '../layout.ts';
import { BootError } from './errors.ts';
import { hex, mebibytes } from './text.ts';

interface Claim {
  readonly what: string;
  readonly at: Gpa;
  readonly length: number;
  /** What goes there: bytes, zeros, or whatever is there already. */
  readonly content: Uint8Array | 'zeros' | undefined;
}

/** Where {@link LoadPlan.findFree} looks. */
export interface FreeRangeRequest {
  /** In bytes, at least 1. */
  readonly length: number;
  /** Power of two. */
  readonly alignment: number;
  /** First address that the range must not reach; RAM's end if absent. */
  readonly limit?: Gpa;
  /** The highest such place, or the lowest. */
  readonly from: 'top' | 'bottom';
}

/** A load in the making. */
export class LoadPlan {
  private readonly ram: readonly RamRange[];
  private readonly claims: Claim[] = [];

  /** @param ram - in ascending order */
  constructor(ram: readonly RamRange[]) {
    this.ram = ram;
  }

  /**
   * Bytes that will be written.
   * @param what - for messages
   * @param room - bytes from `at` on that nothing else may use, at least as many as are written
   * @throws BootError when they can't be there
   */
  put(what: string, at: Gpa, bytes: Uint8Array, room = bytes.length): void {
    this.claim({ what, at, length: room, content: bytes });
  }

  /** Bytes that will be zeroed. @throws BootError when they can't be there */
  clear(what: string, at: Gpa, length: number): void {
    this.claim({ what, at, length, content: 'zeros' });
  }

  /** Keeps others away from a range. @throws BootError when it isn't free RAM */
  reserve(what: string, at: Gpa, length: number): void {
    this.claim({ what, at, length, content: undefined });
  }

  /** Free RAM above 1 MiB, or undefined when there is none. */
  findFree(request: FreeRangeRequest, ram: readonly RamRange[] = this.ram): Gpa | undefined {
    const { length, alignment, limit = Number.POSITIVE_INFINITY, from } = request;
    const gaps = this.gaps(ram).map(({ start, end }) => ({ start, end: Math.min(end, limit) }));
    for (const { start, end } of from === 'top' ? gaps.reverse() : gaps) {
      const at =
        from === 'top'
          ? Math.floor((end - length) / alignment) * alignment
          : Math.ceil(start / alignment) * alignment;
      if (at >= start && at + length <= end) return at;
    }
    return undefined;
  }

  /** Writes everything. Nothing can fail any more. */
  carryOut(memory: GuestMemory): void {
    for (const { at, length, content } of this.claims) {
      if (content === 'zeros') memory.view(at, length).fill(0);
      else if (content !== undefined) memory.write(at, content);
    }
  }

  private claim(claim: Claim): void {
    const { what, at, length } = claim;
    if (length === 0) return;
    const end = at + length;
    if (!this.ram.some((range) => at >= range.base && end <= range.base + range.length)) {
      throw outsideRam(what, at, length);
    }
    const other = this.claims.find((c) => at < c.at + c.length && c.at < end);
    if (other !== undefined) {
      throw new BootError(
        'KERNEL_PLACE',
        `${what} at ${hex(at)}–${hex(end - 1)} would overlap ${other.what} ` +
          `at ${hex(other.at)}–${hex(other.at + other.length - 1)}`,
        'Link the guest to another address; from 1 MiB (0x100000) on, memory is free.',
      );
    }
    this.claims.push(claim);
  }

  /** RAM above 1 MiB that nothing claims, ascending. */
  private gaps(ram: readonly RamRange[]): { start: Gpa; end: Gpa }[] {
    const taken = [...this.claims].sort((a, b) => a.at - b.at);
    return ram.flatMap(({ base, length }) => {
      const gaps: { start: Gpa; end: Gpa }[] = [];
      let start = Math.max(base, HIGH_MEMORY_START);
      for (const claim of taken) {
        if (claim.at + claim.length <= start || claim.at >= base + length) continue;
        if (claim.at > start) gaps.push({ start, end: claim.at });
        start = claim.at + claim.length;
      }
      if (start < base + length) gaps.push({ start, end: base + length });
      return gaps;
    });
  }
}

function outsideRam(what: string, at: Gpa, length: number): BootError {
  const end = at + length;
  const place = `${what} (${mebibytes(length)} at ${hex(at)})`;
  const least = leastMemoryFor(at, length);
  if (least === undefined) {
    return new BootError(
      'KERNEL_PLACE',
      `${place} can't be there: the machine never has RAM up to ${hex(end)}`,
    );
  }
  return new BootError(
    'NOT_ENOUGH_MEMORY',
    `${place} does not fit into the guest's memory`,
    `Give the guest at least --memory ${Math.ceil(least / 2 ** 20)}M.`,
  );
}

/** Bytes of RAM that a machine needs so that [at, at+length) is RAM, or undefined if no machine has it. */
function leastMemoryFor(at: Gpa, length: number): number | undefined {
  const end = at + length;
  if (end <= HOLE_START) return end;
  const least = end - (HIGH_RAM_START - HOLE_START);
  return at >= HIGH_RAM_START && least <= MEMORY_MAXIMUM ? least : undefined;
}
