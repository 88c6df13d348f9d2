/**
 * SYSCALL, SYSRET, SYSENTER and SYSEXIT leave the same state whether compiled code does them or the helper, which tells
 * them in full.
 */
import { describe, expect, it } from 'vitest';
import { type Cpu, CpuExit } from '../../vm/cpu/cpu.ts';
import { RAM_START, Seg, State } from '../../vm/cpu/layout.ts';
import { CpuMemory, createCpuMemory } from '../../vm/cpu/memory.ts';
import { EFER, EFLAGS, setEflags } from '../../vm/cpu/system/context.ts';
import { resetState } from '../../vm/cpu/system/reset.ts';
import { setSegment } from '../../vm/cpu/system/segments.ts';
import { syscall, sysenter, sysexit, sysret } from '../../vm/cpu/system/transfer.ts';
import { makeCpu } from '../conformance/engine-rig.ts';
import { numbers, stateOf } from './state.ts';

const RAM = 1 << 20;
const CODE = 0x1000;
const memory = new CpuMemory(createCpuMemory(RAM), RAM);
const { cpu } = makeCpu(memory, true);

interface Call {
  readonly name: string;
  readonly code: readonly number[];
  readonly long: boolean;
  readonly cpl: 0 | 3;
  readonly helper: (cpu: Cpu) => void;
}

const CALLS: readonly Call[] = [
  { name: 'SYSCALL', code: [0x0f, 0x05], long: true, cpl: 3, helper: syscall },
  { name: 'SYSCALL at CPL 0', code: [0x0f, 0x05], long: true, cpl: 0, helper: syscall },
  { name: 'SYSRET', code: [0x48, 0x0f, 0x07], long: true, cpl: 0, helper: (on) => sysret(on, 64) },
  { name: 'SYSENTER', code: [0x0f, 0x34], long: false, cpl: 3, helper: sysenter },
  { name: 'SYSEXIT', code: [0x0f, 0x35], long: false, cpl: 0, helper: sysexit },
];

/** A state in which a call is made, of random numbers. */
function prepare({ code, long, cpl }: Call, seed: number): void {
  const next = numbers(seed);
  resetState(memory, true);
  memory.u8.set(code, RAM_START + CODE);
  for (let register = 0; register < 16; register++) memory.setReg64(register, next(), long ? next() : 0);
  // Where SYSRET goes to, canonical.
  memory.setReg64(1, next(), long ? next() >> 17 : 0);
  // One in two would check alignment.
  const { TF, VM, NT, AC } = EFLAGS;
  const mask = seed % 8 === 0 ? ~TF : ~(TF | AC);
  memory.setReg64(11, next() & mask, next());
  for (const segment of [Seg.es, Seg.ss, Seg.ds, Seg.fs, Seg.gs])
    setSegment(memory, segment, 0x20 | cpl, 0, 0, -1, 0xc093 | (cpl << 5));
  setSegment(memory, Seg.cs, 0x28 | cpl, 0, 0, -1, (long ? 0xa09b : 0xc09b) | (cpl << 5));
  if (!long && next() & 1) setSegment(memory, Seg.fs, 0, 0, 0, 0, 0x1_0000);
  memory.set(State.cr0, 0x11);
  memory.set(State.cpl, cpl);
  memory.set(State.efer, EFER.SCE | (long ? EFER.LME | EFER.LMA : 0));
  memory.set64(State.star, next(), next());
  memory.set64(State.lstar, next(), next());
  memory.set64(State.sfmask, next(), 0);
  memory.set64(State.sysenterCs, next() | 8, 0);
  memory.set64(State.sysenterEsp, next(), 0);
  memory.set64(State.sysenterEip, next(), 0);
  setEflags(memory, next() & ~(VM | NT) & mask);
  memory.set64(State.rip, CODE, 0);
  cpu.mmu.flushAll();
  cpu.updateMode();
}

describe.each(CALLS)('$name', (call) => {
  it('is the same compiled and in the helper', () => {
    for (let seed = 1; seed <= 300; seed++) {
      prepare(call, seed);
      cpu.codeWritten(0, RAM);
      expect(cpu.stepOnce()).toBe(CpuExit.slice);
      const compiled = stateOf(memory);
      prepare(call, seed);
      memory.set64(State.rip, CODE + call.code.length, 0);
      call.helper(cpu);
      expect(compiled, `seed ${seed}`).toEqual(stateOf(memory));
    }
  });
});

it('SYSRET to an address that is not canonical raises #GP at CPL 0', () => {
  const sysretCall = CALLS[2]!;
  prepare(sysretCall, 1);
  memory.setReg64(1, 0, 0x0000_8000);
  cpu.codeWritten(0, RAM);
  // There is no IDT to go through.
  memory.set(State.segLimit + 4 * Seg.idtr, 0);
  expect(cpu.stepOnce()).toBe(CpuExit.shutdown);
  expect(memory.get(State.cpl)).toBe(0);
});
