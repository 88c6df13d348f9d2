/** What tests that hold compiled code against TypeScript have in common: a CPU's state to compare, and numbers to fill it. */
import { State } from '../../vm/cpu/layout.ts';
import type { CpuMemory } from '../../vm/cpu/memory.ts';
import { getEflags } from '../../vm/cpu/system/context.ts';

/** 32-bit words from an address on. */
export function words(memory: CpuMemory, at: number, count: number): number[] {
  return [...memory.i32.subarray(at >> 2, (at >> 2) + count)];
}

/** Everything that a change of privilege or of segments may change, but for memory. */
export function stateOf(memory: CpuMemory): Record<string, unknown> {
  return {
    gpr: words(memory, State.gpr, 32),
    rip: words(memory, State.rip, 2),
    eflags: getEflags(memory),
    selectors: words(memory, State.segSelector, 6),
    bases: words(memory, State.segBase, 12),
    limits: words(memory, State.segLimit, 6),
    attributes: words(memory, State.segAttributes, 6),
    cpl: memory.get(State.cpl),
    mode: memory.get(State.mode),
    modeTag: words(memory, State.modeTag, 2),
    tlb: memory.get(State.tlb),
    masks: [
      ...words(memory, State.linearMask, 2),
      ...words(memory, State.ripMask, 2),
      memory.get(State.stackMask),
    ],
    others: [memory.get(State.halted), memory.get(State.nmiMasked), memory.get(State.interruptShadow)],
  };
}

/** xorshift32: the same numbers in each run. */
export function numbers(seed: number): () => number {
  let state = Math.imul(seed, 0x9e37_79b1) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state | 0;
  };
}
