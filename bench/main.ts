/**
 * `npm run bench [-- NAME …]`: the benchmarks. Without a name, all of them.
 */
import { parseArgs } from 'node:util';
import { benchAllocations } from './allocations.ts';
import { benchCpu } from './cpu.ts';
import { benchExits } from './exits.ts';
import { benchStart } from './start.ts';
import { benchTrace } from './trace.ts';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    count: { type: 'string', default: '100000' },
    // Of `cpu`: see CpuBenchOptions.
    only: { type: 'string' },
    engine: { type: 'string' },
    arch: { type: 'string' },
    rows: { type: 'string' },
    pin: { type: 'string' },
    patience: { type: 'string' },
    json: { type: 'string' },
  },
});
const options = { rounds: Number(values.rounds ?? 9), count: Number(values.count) };

const BENCHMARKS: Readonly<Record<string, () => Promise<void>>> = {
  exits: () => benchExits(options),
  allocations: () => benchAllocations(),
  start: () => benchStart(options),
  trace: () => benchTrace(options),
  cpu: () => benchCpu({ ...values, rounds: Number(values.rounds ?? 5) }),
};

const names = positionals.length > 0 ? positionals : Object.keys(BENCHMARKS);
const unknown = names.filter((name) => !(name in BENCHMARKS));
if (unknown.length > 0) {
  process.stderr.write(
    `bench: there is no '${unknown.join("', '")}': there are ${Object.keys(BENCHMARKS).join(', ')}\n`,
  );
  process.exitCode = 2;
} else {
  for (const name of names) await BENCHMARKS[name]!();
}
