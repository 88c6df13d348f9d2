/**
 * Where the initrd goes: the highest page-aligned place that the kernel can reach and that is free, so
 * that it is out of the way of a kernel that grows upwards from its own place
 * (Linux, Documentation/arch/x86/boot.rst, initrd_addr_max).
 */
import type { Gpa } from '../../devices/memory.ts';
import { MEMORY_MAXIMUM, PAGE_SIZE, type RamRange, ramRanges } from '../layout.ts';
import { BootError } from './errors.ts';
import type { LoadPlan } from './load-plan.ts';
import { hex, mebibytes } from './text.ts';

/** An initrd in guest memory; length 0 and address 0 when there is none. */
export interface PlacedInitrd {
  readonly at: Gpa;
  readonly length: number;
}

export const NO_INITRD: PlacedInitrd = { at: 0, length: 0 };

/** What a kernel can do with an initrd. */
export interface InitrdRules {
  /** First address that it must not reach. */
  readonly limit: Gpa;
  /** Whether it may be above `limit` if it fits nowhere else. */
  readonly aboveLimit?: boolean;
  readonly from?: 'top' | 'bottom';
}

/**
 * Finds room and adds the initrd to the plan, which must know of the kernel by now.
 * @throws BootError INITRD_TOO_LARGE; its message says how much memory the guest needs
 */
export function planInitrd(plan: LoadPlan, initrd: Uint8Array | undefined, rules: InitrdRules): PlacedInitrd {
  if (initrd === undefined || initrd.length === 0) return NO_INITRD;
  const { length } = initrd;
  const at = place(plan, length, rules);
  if (at === undefined) throw tooLarge(plan, length, rules);
  plan.put('the initrd', at, initrd);
  return { at, length };
}

function place(
  plan: LoadPlan,
  length: number,
  rules: InitrdRules,
  ram?: readonly RamRange[],
): Gpa | undefined {
  const { limit, aboveLimit = false, from = 'top' } = rules;
  const request = { length, alignment: PAGE_SIZE, from };
  return plan.findFree({ ...request, limit }, ram) ?? (aboveLimit ? plan.findFree(request, ram) : undefined);
}

function tooLarge(plan: LoadPlan, length: number, rules: InitrdRules): BootError {
  const what = `the initrd of ${mebibytes(length)} does not fit`;
  const mebibytesNeeded = leastMemory(
    (mib) => place(plan, length, rules, ramRanges(mib * 2 ** 20)) !== undefined,
  );
  if (mebibytesNeeded === undefined) {
    return new BootError(
      'INITRD_TOO_LARGE',
      `${what} below ${hex(rules.limit)}, the last address where this kernel can take one`,
      'Make the initrd smaller: this is a limit of the kernel, more memory would not help.',
    );
  }
  return new BootError(
    'INITRD_TOO_LARGE',
    `${what} into the guest's memory beside the kernel: ` +
      `give the guest at least --memory ${mebibytesNeeded}M, and more for what it unpacks`,
  );
}

/** Least RAM, in MiB, with which something fits that fits with all that is more; undefined if it never does. */
function leastMemory(fits: (mebibytes: number) => boolean): number | undefined {
  let high = MEMORY_MAXIMUM / 2 ** 20;
  if (!fits(high)) return undefined;
  let low = 0;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (middle > 0 && fits(middle)) high = middle;
    else low = middle;
  }
  return high;
}
