/**
 * Runs random bytes as guest code in every mode and sees that the CPU survives: whatever a guest executes, it
 * ends in a guest's exception, a shutdown or an exit, never in an error of ours.
 *
 *     node dist/test/fuzz/cpu.js --seconds 60 --seed 1 --engine jit
 */
import { parseArgs } from 'node:util';
import { ACCESS_DATA, type Cpu, CpuExit } from '../../vm/cpu/cpu.ts';
import { RAM_START, Seg, State } from '../../vm/cpu/layout.ts';
import { CpuMemory, createCpuMemory } from '../../vm/cpu/memory.ts';
import { resetState } from '../../vm/cpu/system/reset.ts';
import { setSegment } from '../../vm/cpu/system/segments.ts';
import { makeCpu } from '../conformance/engine-rig.ts';

const RAM = 8 << 20;
/** Code and data lie here; tables and stacks elsewhere in RAM are random too. */
const CODE = 0x10_0000;
const CODE_SIZE = 0x1_0000;
const PAGE_TABLES = 0x20_0000;
const INSTRUCTIONS = 20_000;

/** Numbers that a seed repeats (xorshift). */
class Random {
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

class Fuzzer {
  readonly memory = new CpuMemory(createCpuMemory(RAM), RAM);
  readonly cpu: Cpu;
  private readonly random: Random;
  readonly exits = new Map<string, number>();

  constructor(seed: number, compiles: boolean) {
    this.random = new Random(seed);
    this.cpu = makeCpu(this.memory, compiles).cpu;
  }

  /** One random program in one mode. */
  run(mode: 16 | 32 | 64): void {
    const { memory, cpu, random } = this;
    cpu.codeWritten(0, RAM);
    const words = memory.u32;
    for (let i = 0; i < CODE_SIZE / 4; i++) words[(RAM_START + CODE) / 4 + i] = random.next();
    for (let i = 0; i < CODE_SIZE; i++) {
      if (random.below(3) === 0) memory.u8[RAM_START + CODE + i] = FAVOURED[random.below(FAVOURED.length)]!;
    }
    // Low memory: interrupt vectors and tables of random contents, so that exceptions lead somewhere.
    for (let i = 0; i < 0x1000; i++) words[RAM_START / 4 + i] = random.below(2) === 0 ? 0 : random.next();
    this.enter(mode);
    let left = INSTRUCTIONS;
    while (left > 0) {
      const before = cpu.executed;
      const exit =
        cpu.settle() === CpuExit.slice ? cpu.run(left, random.below(2) === 0 || left < 100) : CpuExit.mmio;
      // A repeated string instruction may take many turns.
      left -= cpu.executed - before + 200;
      const name = Object.keys(CpuExit)[exit]!;
      this.exits.set(name, (this.exits.get(name) ?? 0) + 1);
      if (exit === CpuExit.io || exit === CpuExit.mmio) {
        memory.set(ACCESS_DATA, random.next() | 0);
        left -= 50;
      } else if (exit !== CpuExit.slice) return;
    }
  }

  private enter(mode: 16 | 32 | 64): void {
    const { memory, cpu, random } = this;
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
}

function main(): number {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: '1' },
      engine: { type: 'string', default: 'jit' },
    },
  });
  const seconds = Number(values.seconds);
  const fuzzer = new Fuzzer(Number(values.seed), values.engine === 'jit');
  const started = performance.now();
  let programs = 0;
  let spoken = started;
  while (performance.now() - started < seconds * 1000) {
    const mode = ([16, 32, 64] as const)[programs % 3]!;
    try {
      fuzzer.run(mode);
    } catch (error) {
      console.error(
        `seed ${values.seed}, program ${programs}, ${mode}-bit: ${(error as Error).stack ?? error}`,
      );
      return 1;
    }
    programs++;
    if (performance.now() - spoken > 10_000) {
      spoken = performance.now();
      console.log(`${programs} programs, ${(fuzzer.cpu.executed / 1e6).toFixed(0)} million instructions`);
    }
  }
  const exits = [...fuzzer.exits].map(([name, count]) => `${name} ${count}`).join(', ');
  console.log(
    `${programs} programs, ${(fuzzer.cpu.executed / 1e6).toFixed(1)} million instructions; ${exits}`,
  );
  return 0;
}

process.exitCode = main();
