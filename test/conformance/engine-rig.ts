/**
 * A CPU of vm/cpu without a machine around it: no devices, no interrupts, no time.
 */
import { InterruptBus } from '../../devices/interrupt-bus.ts';
import { LocalApic } from '../../devices/lapic.ts';
import { DeviceState } from '../../devices/state.ts';
import { CpuCode } from '../../vm/cpu/code.ts';
import { Cpu, type CpuHost } from '../../vm/cpu/cpu.ts';
import { buildHandlers, type HandlerModule } from '../../vm/cpu/handlers.ts';
import { RAM_START, Seg, State } from '../../vm/cpu/layout.ts';
import type { CpuMemory } from '../../vm/cpu/memory.ts';
import { resetState } from '../../vm/cpu/system/reset.ts';
import { setSegment } from '../../vm/cpu/system/segments.ts';
import { cpuid } from '../../vm/cpuid.ts';

export interface CpuRig {
  readonly cpu: Cpu;
  readonly program: CpuCode;
  /** By name. */
  readonly undefinedInstructions: ReadonlyMap<string, number>;
}

let made: HandlerModule | undefined;

/**
 * All handlers at once, which takes seconds, where making them one by one takes milliseconds each. Or none, when
 * there is a form that cannot be made: cases that need it will say so.
 */
function handlers(): HandlerModule | undefined {
  try {
    made ??= buildHandlers();
    return made;
  } catch (error) {
    console.warn(`conformance: handlers are made one by one, since ${String(error)}`);
    return undefined;
  }
}

/**
 * @param compiles - whether the program may have a JIT
 * @param Program - which kind of program it is
 */
export function makeCpu(
  memory: CpuMemory,
  compiles: boolean,
  cpus = 1,
  host: Partial<CpuHost> = {},
  Program: typeof CpuCode = CpuCode,
): CpuRig {
  let tsc = 0;
  const apics = Array.from({ length: cpus }, (_, id) => {
    const apic = new LocalApic(`lapic${id}`, DeviceState.alone(LocalApic.layout), {
      id,
      clock: { now: () => 0, wallTime: () => 0 },
      alarm: { deadlineMoved() {} },
      tscFrequency: 1e9,
      readTsc: () => tsc,
      bus: new InterruptBus(),
      signals: { interruptPending() {}, nmi() {}, init() {}, startup() {} },
    });
    apic.reset();
    return apic;
  });
  const undefinedInstructions = new Map<string, number>();
  const program = new Program(memory, handlers(), compiles);
  const cpu = new Cpu(memory, program, apics, {
    cpuid: (index, leaf, subleaf) => cpuid(leaf, subleaf, { index, cpus, long: true }),
    tsc: () => ++tsc,
    setTsc(value) {
      tsc = value;
    },
    tscAdjust: () => 0,
    setTscAdjust() {},
    writeSystemTime() {},
    writeWallClock() {},
    externalInterrupt: () => -1,
    hasExternalInterrupt: () => false,
    random: () => 0x1234_5678,
    ...host,
    undefinedInstruction: (name) => {
      undefinedInstructions.set(name, (undefinedInstructions.get(name) ?? 0) + 1);
    },
  });
  // The memory may have been another CPU's.
  program.clear();
  return { cpu, program, undefinedInstructions };
}

/** Resets a CPU into flat 32-bit mode at CPL 0 without paging, to run code at an address, with its stack below that. */
export function enterFlat(cpu: Cpu, code: readonly number[], at: number): void {
  const { memory } = cpu;
  resetState(memory, true);
  memory.u8.set(code, RAM_START + at);
  for (const segment of [Seg.es, Seg.ss, Seg.ds, Seg.fs, Seg.gs])
    setSegment(memory, segment, 8, 0, 0, -1, 0xc093);
  setSegment(memory, Seg.cs, 16, 0, 0, -1, 0xc09b);
  memory.set(State.cr0, 0x11);
  memory.set64(State.rip, at, 0);
  memory.setReg32(4, at);
  cpu.mmu.flushAll();
  cpu.updateMode();
}
