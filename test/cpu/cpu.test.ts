/**
 * What single instructions don't show: code that changes itself, devices in the middle of an instruction,
 * compiled loops, exceptions on their way.
 */
import { describe, expect, it } from 'vitest';
import { ACCESS_DATA, type Cpu, CpuExit } from '../../vm/cpu/cpu.ts';
import { RAM_START, Seg, State } from '../../vm/cpu/layout.ts';
import { CpuMemory, createCpuMemory } from '../../vm/cpu/memory.ts';
import { resetState } from '../../vm/cpu/system/reset.ts';
import { setSegment } from '../../vm/cpu/system/segments.ts';
import { makeCpu } from '../conformance/engine-rig.ts';

const RAM = 4 << 20;
const CODE = 0x1000;
const memory = new CpuMemory(createCpuMemory(RAM), RAM);
const { cpu } = makeCpu(memory, true);

/** A CPU in flat 32-bit mode with code at CODE, and its stack below. */
function start(code: readonly number[]): Cpu {
  resetState(memory, true);
  cpu.codeWritten(0, RAM);
  memory.u8.fill(0, RAM_START, RAM_START + RAM);
  memory.u8.set(code, RAM_START + CODE);
  for (const segment of [Seg.es, Seg.ss, Seg.ds, Seg.fs, Seg.gs])
    setSegment(memory, segment, 8, 0, 0, -1, 0xc093);
  setSegment(memory, Seg.cs, 16, 0, 0, -1, 0xc09b);
  memory.set(State.cr0, 0x11);
  memory.set64(State.rip, CODE, 0);
  memory.setReg32(4, CODE);
  cpu.mmu.flushAll();
  cpu.updateMode();
  return cpu;
}

/** Runs until something else than the end of a slice, answering device accesses with `answer`. */
function run(answer = 0): { exits: { address: number; isWrite: boolean; value: number }[]; end: CpuExit } {
  const exits = [];
  for (let turn = 0; turn < 10_000; turn++) {
    const half = cpu.settle();
    const exit = half === CpuExit.slice ? cpu.run(100_000) : half;
    if (exit === CpuExit.io || exit === CpuExit.mmio) {
      const { address, isWrite } = cpu.access;
      exits.push({ address, isWrite, value: memory.get(ACCESS_DATA) });
      if (!isWrite) memory.set(ACCESS_DATA, answer);
    } else if (exit !== CpuExit.slice) return { exits, end: exit };
  }
  throw new Error('the guest does not end');
}

describe('the CPU', () => {
  it('compiles a loop and gets the sum right', () => {
    // mov ecx, 1000000; l: add eax, ecx; dec ecx; jnz l; hlt
    start([0xb9, 0x40, 0x42, 0x0f, 0x00, 0x01, 0xc8, 0x49, 0x75, 0xfb, 0xf4]);
    expect(run().end).toBe(CpuExit.halted);
    expect(memory.reg(0)).toBe(((1_000_000 * 1_000_001) / 2) | 0);
  });

  it('executes the instruction that the one before it has written', () => {
    // mov byte [next+1], 42; next: mov al, 0; hlt
    const next = CODE + 7;
    start([0xc6, 0x05, (next + 1) & 0xff, next >> 8, 0, 0, 42, 0xb0, 0x00, 0xf4]);
    expect(run().end).toBe(CpuExit.halted);
    expect(memory.reg(0) & 0xff).toBe(42);
  });

  it('executes new code in a loop that was compiled', () => {
    // mov ecx, 20000; l: inc eax; dec ecx; jnz l; cmp byte [l], 0x40; jne end;
    // mov byte [l], 0x43 (inc ebx); mov ecx, 20000; jmp l; end: hlt
    const l = CODE + 5;
    const code = [
      0xb9,
      0x20,
      0x4e,
      0,
      0,
      0x40,
      0x49,
      0x75,
      0xfc,
      0x80,
      0x3d,
      l & 0xff,
      l >> 8,
      0,
      0,
      0x40,
      0x75,
      0x0e,
    ];
    start([...code, 0xc6, 0x05, l & 0xff, l >> 8, 0, 0, 0x43, 0xb9, 0x20, 0x4e, 0, 0, 0xeb, 0xe5, 0xf4]);
    expect(run().end).toBe(CpuExit.halted);
    expect([memory.reg(0), memory.reg(3)]).toEqual([20_000, 20_000]);
  });

  it('reads and writes a device in one instruction', () => {
    // add dword [0xd0000000], 5; hlt
    start([0x83, 0x05, 0, 0, 0, 0xd0, 5, 0xf4]);
    const { exits, end } = run(37);
    expect(end).toBe(CpuExit.halted);
    expect(exits).toMatchObject([
      { address: 0xd000_0000, isWrite: false },
      { address: 0xd000_0000, isWrite: true, value: 42 },
    ]);
  });

  it('repeats a string instruction over device registers, element by element', () => {
    // mov edi, 0xd0000000; mov ecx, 200; mov al, 7; rep stosb; hlt
    start([0xbf, 0, 0, 0, 0xd0, 0xb9, 200, 0, 0, 0, 0xb0, 7, 0xf3, 0xaa, 0xf4]);
    const { exits, end } = run();
    expect(end).toBe(CpuExit.halted);
    expect(exits.map(({ address }) => address)).toEqual(
      Array.from({ length: 200 }, (_, i) => 0xd000_0000 + i),
    );
  });

  it('reads each device register once in a repeated copy to memory', () => {
    // mov esi, 0xd0000000; mov edi, 0x300000; mov ecx, 4; rep movsd; hlt
    start([0xbe, 0, 0, 0, 0xd0, 0xbf, 0, 0, 0x30, 0, 0xb9, 4, 0, 0, 0, 0xf3, 0xa5, 0xf4]);
    const { exits, end } = run(9);
    expect(end).toBe(CpuExit.halted);
    expect(exits.map(({ address }) => address)).toEqual([0, 4, 8, 12].map((at) => 0xd000_0000 + at));
    expect([0, 4, 8, 12].map((at) => memory.get(RAM_START + 0x30_0000 + at))).toEqual([9, 9, 9, 9]);
  });

  it('comes back in the middle of a long repeat', () => {
    // std; mov edi, 0x300000; mov ecx, 0x200000; rep stosb; hlt
    start([0xfd, 0xbf, 0, 0, 0x30, 0, 0xb9, 0, 0, 0x20, 0, 0xf3, 0xaa, 0xf4]);
    expect(cpu.run(100_000)).toBe(CpuExit.slice);
    expect(memory.reg(1)).toBeGreaterThan(0);
    expect(run().end).toBe(CpuExit.halted);
    expect(memory.reg(1)).toBe(0);
  });

  it('shuts down at once when an interrupt can’t be delivered, whatever the guest is doing', () => {
    // lidt [0]; l: in al, 0x80; jmp l — the table is empty
    start([0x0f, 0x01, 0x1d, 0, 0, 0, 0, 0xe4, 0x80, 0xeb, 0xfc]);
    expect(cpu.run(100_000)).toBe(CpuExit.io);
    cpu.settle();
    cpu.nmi(0);
    expect(cpu.run(100_000)).toBe(CpuExit.shutdown);
  });

  it('shuts down on a triple fault', () => {
    // lidt [0]; ud2 — the table is empty
    start([0x0f, 0x01, 0x1d, 0, 0, 0, 0, 0x0f, 0x0b]);
    expect(run().end).toBe(CpuExit.shutdown);
  });
});
