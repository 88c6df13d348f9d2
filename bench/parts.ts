/**
 * The benchmarks there are, in the order in which they run.
 */
import type { EngineName } from '../vm/engine.ts';
import type { Flags, Options } from './options.ts';
import type { Part } from './report.ts';

/** A benchmark. Its code is loaded when it runs. */
export interface PartDefinition {
  readonly title: string;
  /** @throws whatever makes the whole part impossible; what single figures lack is in the part */
  run(options: Options, flags: Flags): Promise<Part>;
}

/** Unless it is asked for, the interpreter is left out: Linux takes ten times as long on it. */
function forLinux(engines: readonly EngineName[], flags: Flags): EngineName[] {
  return engines.filter((name) => flags.engine !== undefined || name !== 'interp');
}

export const PARTS: Readonly<Record<string, PartDefinition>> = {
  exits: {
    title: 'what an exit costs',
    run: async ({ rounds, short, engines }) =>
      (await import('./exits/exits.ts')).benchExits({ rounds: rounds ?? (short ? 1 : 5), short, engines }),
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
  boot: {
    title: 'how long a start takes',
    run: async ({ rounds, short, engines }, flags) => {
      const options = { rounds: rounds ?? (short ? 1 : 3), short, engines: forLinux(engines, flags) };
      return (await import('./linux/boot.ts')).benchBoot(options, flags);
    },
  },
  cpu: {
    title: 'how fast the CPU in TypeScript is',
    run: async ({ rounds, short, engines }, flags) => {
      const inTypeScript = forLinux(engines, flags).filter((name) => name !== 'kvm');
      const options = { rounds: rounds ?? (short ? 1 : 5), short, engines: inTypeScript };
      return (await import('./linux/cpu.ts')).benchCpu(options, flags);
    },
  },
  blk: {
    title: 'how fast disks are',
    run: async ({ rounds, short, engines }, flags) => {
      const options = { rounds: rounds ?? (short ? 1 : 5), short, engines: forLinux(engines, flags) };
      return (await import('./linux/blk.ts')).benchBlk(options);
    },
  },
  net: {
    title: 'how fast networks are',
    run: async ({ rounds, short }) =>
      (await import('./linux/net.ts')).benchNet({ rounds: rounds ?? (short ? 1 : 3), short }),
  },
  density: {
    title: 'what idle machines take',
    run: async ({ rounds, short, engines }, flags) => {
      const options = { rounds: rounds ?? (short ? 1 : 2), short, engines: forLinux(engines, flags) };
      return (await import('./linux/density.ts')).benchDensity(options);
    },
  },
  guests: {
    title: 'which exits a boot of Linux makes',
    run: async ({ short, engines }, flags) => {
      return (await import('./linux/guests.ts')).benchGuests({ engines: forLinux(engines, flags), short });
    },
  },
};
