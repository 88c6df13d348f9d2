/**
 * Random programs, step by step, by handlers of the interpreter and by plain evaluation: both leave the same state, that
 * of the system included, which the cases of test/conformance don't see.
 */
import { expect, it } from 'vitest';
import { CpuCode } from '../../vm/cpu/code.ts';
import { ACCESS_DATA, type Cpu, CpuExit } from '../../vm/cpu/cpu.ts';
import { RAM_START, State } from '../../vm/cpu/layout.ts';
import { PlainCode } from '../../vm/cpu/lower/plain-code.ts';
import { CpuMemory, createCpuMemory } from '../../vm/cpu/memory.ts';
import { getEflags } from '../../vm/cpu/system/context.ts';
import { makeCpu } from '../conformance/engine-rig.ts';
import { loadProgram, RAM, Random } from './programs.ts';

const SEED = 1;
const PROGRAMS = 150;
/** Most steps of a program. */
const STEPS = 300;

/** A CPU and the numbers that its programs are made of. */
class Machine {
  readonly memory = new CpuMemory(createCpuMemory(RAM), RAM);
  readonly cpu: Cpu;
  readonly random = new Random(SEED);

  constructor(Program: typeof CpuCode) {
    this.cpu = makeCpu(this.memory, false, 1, {}, Program).cpu;
  }

  /** Does an instruction, or what is left of one that waits for a device. */
  step(): CpuExit {
    const { cpu } = this;
    const exit = cpu.settle();
    return exit === CpuExit.slice ? cpu.stepOnce() : exit;
  }

  /** Everything that an instruction may change, but for RAM, as bytes. Flags are the same in any lazy form. */
  state(): Uint8Array {
    const { memory } = this;
    const bytes = memory.u8.slice(State.gpr, State.end);
    for (const [field, length] of WITHOUT_MEANING)
      bytes.fill(0, field - State.gpr, field - State.gpr + length);
    new DataView(bytes.buffer).setUint32(State.eflags - State.gpr, getEflags(memory), true);
    return bytes;
  }

  get ram(): Buffer {
    return Buffer.from(this.memory.memory.buffer as unknown as ArrayBuffer, RAM_START, RAM);
  }
}

/** Fields that no guest sees: lazy flags, and what serves an access or a lookup. */
const WITHOUT_MEANING = [
  [State.ripBase, 8],
  [State.ccRes, 8],
  [State.ccAux, 8],
  [State.ccShift, 4],
  [State.budget, 4],
  [State.faultAddress, 8],
  [State.storeValue, 16],
] as const;

it('step by step, plain evaluation leaves what handlers leave', () => {
  const machines = [new Machine(CpuCode), new Machine(PlainCode)];
  const [first, second] = machines as [Machine, Machine];
  let done = 0;
  for (let program = 0; program < PROGRAMS; program++) {
    const mode = ([16, 32, 64] as const)[program % 3]!;
    for (const { cpu, random } of machines) loadProgram(cpu, random, mode);
    for (let n = 0; n < STEPS; n++) {
      const at = `program ${program}, ${mode}-bit, step ${n}, RIP ${first.memory.u64[State.rip >> 3]!.toString(16)}`;
      const exit = first.step();
      expect(second.step(), at).toBe(exit);
      const [expected, actual] = [first.state(), second.state()];
      if (Buffer.compare(expected, actual) !== 0) expect(differing(expected, actual), at).toEqual([]);
      done++;
      if (exit === CpuExit.shutdown) break;
      // What a device answers.
      for (const { memory, random } of machines) memory.set(ACCESS_DATA, random.next() | 0);
    }
    expect(Buffer.compare(first.ram, second.ram), `RAM after program ${program}`).toBe(0);
  }
  expect(done).toBeGreaterThan(10 * PROGRAMS);
}, 60_000);

/** State addresses of bytes that differ. */
function differing(expected: Uint8Array, actual: Uint8Array): string[] {
  return [...expected.keys()]
    .filter((i) => expected[i] !== actual[i])
    .map((i) => (State.gpr + i).toString(16));
}
