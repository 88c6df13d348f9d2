/**
 * Random programs for the CPU in TypeScript: bytes that a seed repeats, in every mode, at CPL 0 and with nothing around
 * them. Exceptions lead somewhere in real mode, and elsewhere nearly always to a shutdown.
 */
import type { Cpu } from '../../vm/cpu/cpu.ts';
import { RAM_START, Seg, State } from '../../vm/cpu/layout.ts';
import { resetState } from '../../vm/cpu/system/reset.ts';
import { setSegment } from '../../vm/cpu/system/segments.ts';

export const RAM = 8 << 20;
/** Code and data lie here; tables and stacks elsewhere in RAM are random too. */
const CODE = 0x10_0000;
const CODE_SIZE = 0x1_0000;
const PAGE_TABLES = 0x20_0000;

/** Numbers that a seed repeats (xorshift). */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 1;
  }

  next(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return x >>> 0;
  }

  below(limit: number): number {
    return this.next() % limit;
  }
}

/** Bytes that make valid instructions likelier than chance would. */
const FAVOURED = [
  0x0f, 0x66, 0xf3, 0xf2, 0x48, 0x4c, 0x8b, 0x89, 0x01, 0xe8, 0xeb, 0x74, 0x75, 0xc3, 0xff, 0xd9, 0xdb, 0xa4,
  0xab, 0xcd,
];

/** Writes a program into the CPU's RAM and sets the CPU to begin it. */
export function loadProgram(cpu: Cpu, random: Random, mode: 16 | 32 | 64): void {
  const { memory } = cpu;
  cpu.codeWritten(0, RAM);
  const words = memory.u32;
  for (let i = 0; i < CODE_SIZE / 4; i++) words[(RAM_START + CODE) / 4 + i] = random.next();
  for (let i = 0; i < CODE_SIZE; i++) {
    if (random.below(3) === 0) memory.u8[RAM_START + CODE + i] = FAVOURED[random.below(FAVOURED.length)]!;
  }
  // Low memory: interrupt vectors and tables of random contents, so that exceptions lead somewhere.
  for (let i = 0; i < 0x1000; i++) words[RAM_START / 4 + i] = random.below(2) === 0 ? 0 : random.next();
  enter(cpu, random, mode);
}

function enter(cpu: Cpu, random: Random, mode: 16 | 32 | 64): void {
  const { memory } = cpu;
  resetState(memory, true);
  for (let n = 0; n < 16; n++)
    memory.setReg64(n, random.below(2) === 0 ? CODE + random.below(CODE_SIZE) : random.next(), 0);
  memory.setReg64(4, CODE + 0x8000, 0);
  const attributes = mode === 16 ? 0x93 : 0xc093;
  const base = mode === 16 ? CODE : 0;
  const limit = mode === 16 ? 0xffff : -1;
  for (const segment of [Seg.es, Seg.ss, Seg.ds, Seg.fs, Seg.gs])
    setSegment(memory, segment, 8, base, 0, limit, attributes);
  setSegment(memory, Seg.cs, 16, base, 0, limit, mode === 16 ? 0x9b : mode === 32 ? 0xc09b : 0xa09b);
  memory.set64(State.rip, (mode === 16 ? 0 : CODE) + random.below(0x4000), 0);
  memory.set(State.cr4, 0x600);
  if (mode !== 16) memory.set(State.cr0, 0x11);
  if (mode === 64) {
    // One gigabyte mapped to itself by a large page, writable by all.
    const words = memory.u32;
    words[(RAM_START + PAGE_TABLES) / 4] = PAGE_TABLES + 0x1000 + 7;
    words[(RAM_START + PAGE_TABLES) / 4 + 1] = 0;
    words[(RAM_START + PAGE_TABLES + 0x1000) / 4] = 0x87;
    words[(RAM_START + PAGE_TABLES + 0x1000) / 4 + 1] = 0;
    memory.set64(State.cr3, PAGE_TABLES, 0);
    memory.set(State.cr4, 0x620);
    memory.set(State.efer, 0x501);
    memory.set(State.cr0, 0x8000_0011 | 0);
  }
  cpu.mmu.flushAll();
  cpu.updateMode();
}
