/**
 * The benchmarks there are, in the order in which they run.
 */
import type { Flags, Options } from './options.ts';
import type { Part } from './report.ts';

/** A benchmark. Its code is loaded when it runs. */
export interface PartDefinition {
  readonly title: string;
  /** @throws whatever makes the whole part impossible; what single figures lack is in the part */
  run(options: Options, flags: Flags): Promise<Part>;
}

export const PARTS: Readonly<Record<string, PartDefinition>> = {
  exits: {
    title: 'what an exit costs',
    run: async ({ rounds, short, engines }) =>
      (await import('./exits/exits.ts')).benchExits({ rounds: rounds ?? (short ? 1 : 7), short, engines }),
  },
  allocations: {
    title: 'what an exit leaves on the heap',
    run: async ({ short }) => (await import('./exits/allocations.ts')).benchAllocations({ short }),
  },
  trace: {
    title: 'what tracing costs an exit',
    run: async ({ rounds, short }) =>
      (await import('./exits/trace.ts')).benchTrace({ rounds: rounds ?? (short ? 1 : 9), short }),
  },
  cpu: {
    title: 'how fast the CPU in TypeScript is',
    run: async ({ rounds, short, engines }, flags) => {
      // Unless it is asked for, the interpreter is left out: it takes ten times as long.
      const inTypeScript =
        flags.engine === undefined ? (['jit'] as const) : engines.filter((name) => name !== 'kvm');
      const options = { rounds: rounds ?? (short ? 1 : 5), short, engines: inTypeScript };
      return (await import('./linux/cpu.ts')).benchCpu(options, flags);
    },
  },
};
