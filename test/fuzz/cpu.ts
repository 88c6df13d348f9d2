/**
 * Runs random bytes as guest code in every mode and sees that the CPU survives: whatever a guest executes, it
 * ends in a guest's exception, a shutdown or an exit, never in an error of ours.
 *
 *     node dist/test/fuzz/cpu.js --seconds 60 --seed 1 --engine jit
 */
import { parseArgs } from 'node:util';
import { ACCESS_DATA, type Cpu, CpuExit } from '../../vm/cpu/cpu.ts';
import { CpuMemory, createCpuMemory } from '../../vm/cpu/memory.ts';
import { makeCpu } from '../conformance/engine-rig.ts';
import { loadProgram, RAM, Random } from './programs.ts';

const INSTRUCTIONS = 20_000;

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
    loadProgram(cpu, random, mode);
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
