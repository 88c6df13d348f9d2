/**
 * Exceptions and IRET leave the same state whether WebAssembly does them in their usual cases or TypeScript, which tells
 * them in full; and the usual cases are done by WebAssembly.
 */
import { describe, expect, it } from 'vitest';
import { CpuExit } from '../../vm/cpu/cpu.ts';
import { GuestFault } from '../../vm/cpu/fault.ts';
import { Helper } from '../../vm/cpu/isa/helpers.ts';
import { RAM_START, Seg, State } from '../../vm/cpu/layout.ts';
import { CpuMemory, createCpuMemory } from '../../vm/cpu/memory.ts';
import { Mmu } from '../../vm/cpu/mmu.ts';
import { EFER, EFLAGS, getEflags, setEflags } from '../../vm/cpu/system/context.ts';
import { HELPERS } from '../../vm/cpu/system/helpers.ts';
import { deliver, interruptReturn, resumeFlag } from '../../vm/cpu/system/interrupts.ts';
import { resetState } from '../../vm/cpu/system/reset.ts';
import { setSegment } from '../../vm/cpu/system/segments.ts';
import { makeCpu } from '../conformance/engine-rig.ts';
import { numbers, stateOf, words } from './state.ts';

const RAM = 1 << 20;
const CODE = 0x1000;
const GDT = 0x2000;
const IDT = 0x3000;
const TSS = 0x4000;
/** Of the code that is interrupted, and of CPL 0. */
const STACK = 0x5800;
const INNER_STACK = 0x6800;
const memory = new CpuMemory(createCpuMemory(RAM), RAM);
const { cpu, program } = makeCpu(memory, false);

/** Selectors by what they name. */
const Selector = {
  code: 0x08,
  data: 0x10,
  userCode: 0x1b,
  userData: 0x23,
  readOnly: 0x28,
  notAccessed: 0x30,
  conforming: 0x38,
  notPresent: 0x40,
  limited: 0x48,
  beyond: 0x50,
} as const;
const FLAT = 0x0000_ffff;
/** Flags with which it isn't the usual case. */
const UNUSUAL = EFLAGS.TF | EFLAGS.VM | EFLAGS.NT | EFLAGS.AC;

function descriptors(long: boolean): readonly (readonly [number, number])[] {
  const size = long ? 0x00a0_0000 : 0x00c0_0000;
  return [
    [0, 0],
    [FLAT, size | 0x000f_9b00],
    [FLAT, 0x00cf_9300],
    [FLAT, size | 0x000f_fb00],
    [FLAT, 0x00cf_f300],
    [FLAT, 0x00cf_f100],
    [FLAT, size | 0x000f_9a00],
    [FLAT, size | 0x000f_9f00],
    [FLAT, size | 0x000f_1b00],
    [0x0000_1000, size | 0x9b00],
  ];
}

const oneOf = <T>(next: () => number, values: readonly T[]): T => values[(next() >>> 8) % values.length]!;

/** A kernel's tables, and code at a privilege; registers at random. */
function prepare(long: boolean, cpl: 0 | 3, next: () => number): void {
  resetState(memory, true);
  memory.u8.fill(0, RAM_START, RAM_START + 0x8000);
  descriptors(long).forEach(([low, high], i) => {
    memory.set64(RAM_START + GDT + 8 * i, low, high);
  });
  for (let register = 0; register < 16; register++) memory.setReg64(register, next(), long ? next() : 0);
  memory.setReg64(4, STACK - 8 * (next() & 15) - 4 * (next() & 1), 0);
  const nothing = long || (next() & 3) === 0;
  for (const segment of [Seg.es, Seg.ds, Seg.fs, Seg.gs])
    if (nothing) setSegment(memory, segment, 0, 0, 0, 0, 0x1_0000);
    else setSegment(memory, segment, Selector.userData, 0, 0, -1, 0xc0f3);
  if (!long)
    for (const segment of [Seg.es, Seg.ds]) setSegment(memory, segment, Selector.userData, 0, 0, -1, 0xc0f3);
  setSegment(memory, Seg.ss, cpl ? Selector.userData : Selector.data, 0, 0, -1, 0xc093 | (cpl << 5));
  setSegment(
    memory,
    Seg.cs,
    cpl ? Selector.userCode : Selector.code,
    0,
    0,
    -1,
    (long ? 0xa09b : 0xc09b) | (cpl << 5),
  );
  setSegment(memory, Seg.gdtr, 0, GDT, 0, 8 * 10 - 1, 0);
  setSegment(memory, Seg.idtr, 0, IDT, 0, 0xff, 0);
  setSegment(memory, Seg.tr, 0x58, TSS, 0, 0x67, 0x008b);
  memory.set64(RAM_START + TSS + 4, INNER_STACK + 4 * (next() & 3), long ? 0 : Selector.data);
  memory.set(State.cr0, 0x11);
  memory.set(State.cpl, cpl);
  memory.set(State.efer, long ? EFER.LME | EFER.LMA : 0);
  memory.set64(State.rip, CODE, 0);
  setEflags(memory, next() & ~UNUSUAL);
  cpu.mmu.flushAll();
  cpu.updateMode();
}

/** Everything that these may change. */
function result(): Record<string, unknown> {
  return { ...stateOf(memory), stacks: words(memory, RAM_START + 0x5000, 0x800) };
}

/** @returns false for a fault */
function succeeds(run: () => void): boolean {
  try {
    run();
    return true;
  } catch (thrown) {
    if (thrown instanceof GuestFault) return false;
    throw thrown;
  }
}

describe.each([
  ['64-bit', true],
  ['flat 32-bit', false],
] as const)('%s code', (_, long) => {
  /** A frame of the kind that kernels return by, or one with something else about it. */
  function prepareReturn(seed: number, isUsual: boolean): void {
    const next = numbers(seed);
    prepare(long, 0, next);
    const toUser = (next() & 1) === 0;
    let cs: number = toUser ? Selector.userCode : Selector.code;
    let ss: number = toUser ? Selector.userData : long && next() & 1 ? 0 : Selector.data;
    let flags = next() & ~UNUSUAL;
    let ripHigh = long ? next() >> 17 : 0;
    const selectors = [...Object.values(Selector), 0, 3, 4];
    if (!isUsual) {
      const what = (next() >>> 4) % 8;
      if (what === 0) cs = oneOf(next, selectors);
      else if (what === 1) ss = oneOf(next, selectors);
      else if (what === 2) flags |= oneOf(next, [EFLAGS.TF, EFLAGS.NT, EFLAGS.RF, EFLAGS.AC]);
      else if (what === 3 && long) ripHigh = 0x1_0000;
      else if (what === 4) memory.set(State.dr + 8 * 5, 0x1);
      else if (what === 5) setEflags(memory, getEflags(memory) | EFLAGS.NT);
      else if (what === 6) setSegment(memory, Seg.fs, Selector.data, 0, 0, -1, 0xc093);
      else memory.setReg64(4, (memory.reg(4) & ~0xfff) | (0x1000 - 4 * (next() & 7)), 0);
    }
    memory.set(State.nmiMasked, next() & 1);
    const words = [next(), cs | (next() << 16), flags, STACK - 64, ss | (next() << 16)];
    const size = long ? 8 : 4;
    words.forEach((word, i) => {
      memory.set(RAM_START + memory.reg(4) + size * i, word);
      if (long) memory.set(RAM_START + memory.reg(4) + size * i + 4, i === 0 ? ripHigh : 0);
    });
    memory.u8.set(long ? [0x48, 0xcf] : [0xcf], RAM_START + CODE);
    // What is raised ends in a triple fault.
    memory.set(State.segLimit + 4 * Seg.idtr, 0);
    cpu.codeWritten(0, RAM);
    cpu.updateMode();
  }

  it.each([
    ['usual', true],
    ['any', false],
  ] as const)('IRET with %s frames is the same in WebAssembly and in the helper', (_name, isUsual) => {
    const helper = HELPERS[Helper.iret]!;
    let calls = 0;
    HELPERS[Helper.iret] = (...args) => {
      calls++;
      helper(...args);
    };
    try {
      for (let seed = 1; seed <= 400; seed++) {
        prepareReturn(seed, isUsual);
        const exit = cpu.stepOnce();
        const compiled = result();
        prepareReturn(seed, isUsual);
        memory.set64(State.rip, CODE + (long ? 2 : 1), 0);
        if (succeeds(() => interruptReturn(cpu, long ? 64 : 32)))
          expect(compiled, `seed ${seed}`).toEqual(result());
        else expect(exit, `seed ${seed}`).toBe(CpuExit.shutdown);
      }
    } finally {
      HELPERS[Helper.iret] = helper;
    }
    if (isUsual) expect(calls).toBe(0);
    else expect(calls).toBeGreaterThan(200);
  });

  const VECTOR = 14;

  function prepareEvent(seed: number, isUsual: boolean): number {
    const next = numbers(seed);
    prepare(long, next() & 1 ? 0 : 3, next);
    let selector: number = Selector.code | (next() & 3);
    let type = 0x8e00 | ((next() & 3) << 13);
    let upper = long ? next() >> 17 : 0;
    if (!isUsual) {
      const what = (next() >>> 4) % 9;
      if (what === 0) selector = oneOf(next, [...Object.values(Selector), 0, 4]);
      else if (what === 1) type = oneOf(next, [0x8f00, 0x0e00, 0x8600, 0x8500, 0x8c00]);
      else if (what === 2 && long) {
        type |= 1;
        memory.set64(RAM_START + TSS + 0x24, INNER_STACK - 256, 0);
      } else if (what === 3 && long) upper = 0x1_0000;
      else if (what === 4) memory.set(State.segLimit + 4 * Seg.idtr, 0x60);
      else if (what === 5) memory.set(State.segLimit + 4 * Seg.tr, 8);
      else if (what === 6 && !long) memory.set(RAM_START + TSS + 8, oneOf(next, Object.values(Selector)));
      else if (what === 7)
        setSegment(memory, Seg.cs, Selector.code | 1, 0, 0, -1, (long ? 0xa09b : 0xc09b) | 0x20);
      else memory.setReg64(4, 0x5000 + 4 * (next() & 7), 0);
      if (what === 7) memory.set(State.cpl, 1);
    }
    const offset = next();
    const at = RAM_START + IDT + VECTOR * (long ? 16 : 8);
    memory.set64(at, (selector << 16) | (offset & 0xffff), (offset & 0xffff_0000) | type);
    if (long) memory.set64(at + 8, upper, 0);
    memory.set(State.halted, next() & 1);
    cpu.updateMode();
    // What the TLB hasn't got is TypeScript's.
    for (const page of [GDT, IDT, TSS]) cpu.mmu.readSystem32(page, 0);
    for (const page of [0x5000, 0x6000]) cpu.mmu.writeNumber(page, 0, 4, 0, Mmu.SUPERVISOR);
    return next() & 1 ? next() & 0x1f : -1;
  }

  it.each([
    ['the usual way', true],
    ['any way', false],
  ] as const)('an exception goes %s in WebAssembly as in TypeScript', (_name, isUsual) => {
    let delivered = 0;
    for (let seed = 1; seed <= 400; seed++) {
      const errorCode = prepareEvent(seed, isUsual);
      const before = result();
      const done = program.deliver(VECTOR, errorCode, resumeFlag(VECTOR, 'exception'));
      const compiled = result();
      if (!done) {
        expect(compiled, `seed ${seed}`).toEqual(before);
        continue;
      }
      delivered++;
      prepareEvent(seed, isUsual);
      expect(succeeds(() => deliver(cpu, VECTOR, errorCode, 'exception'))).toBe(true);
      expect(compiled, `seed ${seed}`).toEqual(result());
    }
    if (isUsual) expect(delivered).toBe(400);
    else expect(delivered).toBeLessThan(300);
  });
});
