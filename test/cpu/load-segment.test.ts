/** MOV and POP of data segment registers leave the same state whether compiled code does them or the helper. */
import { describe, expect, it } from 'vitest';
import { CpuExit } from '../../vm/cpu/cpu.ts';
import { RAM_START, Seg, State } from '../../vm/cpu/layout.ts';
import { CpuMemory, createCpuMemory } from '../../vm/cpu/memory.ts';
import { resetState } from '../../vm/cpu/system/reset.ts';
import { loadSegment, setSegment } from '../../vm/cpu/system/segments.ts';
import { makeCpu } from '../conformance/engine-rig.ts';
import { stateOf, words } from './state.ts';

const RAM = 1 << 20;
const CODE = 0x1000;
const GDT = 0x2000;
const STACK = 0x3000;
const memory = new CpuMemory(createCpuMemory(RAM), RAM);
const { cpu } = makeCpu(memory, true);

/** Low and high words of descriptors: those that compiled code takes, and those that it has to leave to the helper. */
const DESCRIPTORS: readonly (readonly [name: string, low: number, high: number])[] = [
  ['the null descriptor', 0, 0],
  ['flat data, DPL 0', 0x0000_ffff, 0x00cf_9300],
  ['flat data, DPL 3', 0x0000_ffff, 0x00cf_f300],
  ['flat data with the system’s bit', 0x0000_ffff, 0x00df_f300],
  ['data with a base', 0x5678_ffff, 0x12cf_9334],
  ['data with a base, DPL 3, 16-bit', 0x5678_ffff, 0x128f_f334],
  ['data that was not accessed', 0x0000_ffff, 0x00cf_f200],
  ['data that can’t be written', 0x0000_ffff, 0x00cf_f100],
  ['data that expands down', 0x0000_ffff, 0x00cf_f700],
  ['data with a limit', 0x0000_1000, 0x00cf_f300],
  ['data with a limit in bytes', 0x0000_ffff, 0x004f_f300],
  ['data that isn’t present', 0x0000_ffff, 0x00cf_7300],
  ['readable code', 0x0000_ffff, 0x00cf_fb00],
  ['code that can’t be read', 0x0000_ffff, 0x00cf_f900],
  ['a task segment', 0x0000_ffff, 0x0000_8b00],
  ['one beyond the limit', 0x0000_ffff, 0x00cf_f300],
];

function prepare(code: readonly number[], selector: number, cpl: 0 | 3): void {
  resetState(memory, true);
  memory.u8.set(code, RAM_START + CODE);
  DESCRIPTORS.forEach(([, low, high], i) => {
    memory.set64(RAM_START + GDT + 8 * i, low, high);
  });
  for (const segment of [Seg.es, Seg.ss, Seg.ds, Seg.fs, Seg.gs])
    setSegment(memory, segment, 8 | cpl, 0, 0, -1, 0xc093 | (cpl << 5));
  setSegment(memory, Seg.cs, 16 | cpl, 0, 0, -1, 0xc09b | (cpl << 5));
  memory.set64(State.segBase + 8 * Seg.gdtr, GDT, 0);
  memory.set(State.segLimit + 4 * Seg.gdtr, 8 * (DESCRIPTORS.length - 1) - 1);
  // There is no IDT: what is raised ends in a triple fault.
  memory.set(State.segLimit + 4 * Seg.idtr, 0);
  memory.set(State.cr0, 0x11);
  memory.set(State.cpl, cpl);
  memory.setReg32(0, 0xabcd_0000 | selector);
  memory.setReg32(4, STACK);
  memory.set(RAM_START + STACK, 0xabcd_0000 | selector);
  memory.set64(State.rip, CODE, 0);
  cpu.mmu.flushAll();
  cpu.updateMode();
}

function result(): Record<string, unknown> {
  return { ...stateOf(memory), gdt: words(memory, RAM_START + GDT, 2 * DESCRIPTORS.length) };
}

const LOADS: readonly [name: string, segment: number, code: readonly number[], pops: boolean][] = [
  ['MOV DS', Seg.ds, [0x8e, 0xd8], false],
  ['MOV ES', Seg.es, [0x8e, 0xc0], false],
  ['MOV FS', Seg.fs, [0x8e, 0xe0], false],
  ['MOV GS', Seg.gs, [0x8e, 0xe8], false],
  ['POP DS', Seg.ds, [0x1f], true],
  ['POP FS', Seg.fs, [0x0f, 0xa1], true],
];

describe.each(LOADS)('%s', (_, segment, code, pops) => {
  it.each(DESCRIPTORS.map(([name], index) => [name, index] as const))('of %s', (name, index) => {
    for (const cpl of [0, 3] as const) {
      for (let low = 0; low < 8; low++) {
        const selector = (index << 3) | low;
        prepare(code, selector, cpl);
        cpu.codeWritten(0, RAM);
        const exit = cpu.stepOnce();
        const compiled = result();
        prepare(code, selector, cpl);
        memory.set64(State.rip, CODE + code.length, 0);
        let raised = false;
        try {
          loadSegment(cpu, segment, selector);
          if (pops) memory.setReg32(4, STACK + 4);
          cpu.updateMode();
        } catch {
          raised = true;
        }
        const what = `${name}, selector ${selector.toString(16)} at CPL ${cpl}`;
        expect(exit, what).toBe(raised ? CpuExit.shutdown : CpuExit.slice);
        if (!raised) expect(compiled, what).toEqual(result());
      }
    }
  });
});
