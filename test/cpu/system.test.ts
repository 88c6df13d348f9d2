/**
 * What the guests of test/system don't come by: reserved bits of CR3 and of FXRSTOR's control word, and watchpoints in long
 * runs of string instructions.
 */
import { describe, expect, it } from 'vitest';
import { CpuExit } from '../../vm/cpu/cpu.ts';
import { debugBuffer, writeDebugSettings } from '../../vm/cpu/debug.ts';
import { FAULT, Vector } from '../../vm/cpu/fault.ts';
import { RAM_START, State } from '../../vm/cpu/layout.ts';
import { CpuMemory, createCpuMemory } from '../../vm/cpu/memory.ts';
import { writeControl } from '../../vm/cpu/system/control-registers.ts';
import { NO_DEBUGGING } from '../../vm/debug/settings.ts';
import { enterFlat, makeCpu } from '../conformance/engine-rig.ts';

const RAM = 4 << 20;
const CODE = 0x1000;
const memory = new CpuMemory(createCpuMemory(RAM), RAM);

/** A CPU in flat 32-bit mode with code at CODE. */
function start(code: readonly number[], debug = debugBuffer()) {
  const { cpu } = makeCpu(memory, true, 1, { debug });
  enterFlat(cpu, code, CODE);
  return cpu;
}

describe('MOV to CR3', () => {
  const cpu = start([]);
  it('takes the 40 bits of an address', () => {
    writeControl(cpu, 3, 0x1000, 0xff);
    expect([memory.get(State.cr3), memory.get(State.cr3 + 4)]).toEqual([0x1000, 0xff]);
  });

  it.each([0x100, 0x8_0000, 1 << 31])('is #GP with bits %i of the upper half', (high) => {
    expect(() => writeControl(cpu, 3, 0, high)).toThrow();
    expect([FAULT.vector, FAULT.errorCode]).toEqual([Vector.GP, 0]);
  });
});

it('FXRSTOR takes the bits of the control word that there are, and sets bit 6', () => {
  // fxrstor [0x300000]; hlt
  const cpu = start([0x0f, 0xae, 0x0d, 0, 0, 0x30, 0, 0xf4]);
  memory.u8.fill(0, RAM_START + 0x30_0000, RAM_START + 0x30_0200);
  memory.u16[(RAM_START + 0x30_0000) >> 1] = 0xe080;
  expect(cpu.run(10)).toBe(CpuExit.halted);
  expect(memory.get(State.fpuControl)).toBe(0x40);
});

it.each([
  // mov edi, 0x300000; mov ecx, 100; rep stosd; hlt
  ['rep stosd', [0xbf, 0, 0, 0x30, 0, 0xb9, 100, 0, 0, 0, 0xf3, 0xab, 0xf4], 'write', 0x30_0080],
  // mov esi, 0x300000; mov edi, 0x310000; mov ecx, 100; rep movsd; hlt
  [
    'rep movsd',
    [0xbe, 0, 0, 0x30, 0, 0xbf, 0, 0, 0x31, 0, 0xb9, 100, 0, 0, 0, 0xf3, 0xa5, 0xf4],
    'access',
    0x30_0080,
  ],
] as const)('%s stops at a watchpoint in the middle', (_, code, access, address) => {
  const debug = debugBuffer();
  writeDebugSettings(debug, {
    ...NO_DEBUGGING,
    hardware: [{ address: BigInt(address), length: 4, access }],
  });
  const cpu = start(code, debug);
  cpu.reloadDebug();
  expect(cpu.run(10_000)).toBe(CpuExit.debug);
  // The element at 0x80 has been done, and those after it not.
  expect(memory.reg(1)).toBe(100 - 0x84 / 4);
});
