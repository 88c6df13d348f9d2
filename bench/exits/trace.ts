/**
 * `npm run bench -- trace`: what tracing adds to a port-I/O exit on KVM: switched off, with a filter that
 * matches nothing, and with every event taken and thrown away. All are run in turns.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TraceConfig } from '../../src/index.ts';
import { probeDriver } from '../../vm/drivers.ts';
import { progressOf } from '../progress.ts';
import { emptyPart, type Part } from '../report.ts';
import { quantile, summarize } from '../statistics.ts';
import { OPERATIONS } from './guest.ts';
import { runOperation } from './run.ts';

const TITLE = 'What tracing costs an exit';

/** A loop of port writes: each round is a handful of them. */
const LOOP = OPERATIONS[0]!;
const ROUNDS = 4000;

/** Name, title, and what is traced. */
const VARIANTS: readonly (readonly [name: string, title: string, trace: TraceConfig | undefined])[] = [
  ['off', 'off', undefined],
  ['filter-reason', 'filter by reason, nothing matches', { reasons: ['hypercall'] }],
  ['filter-device', 'filter by device, nothing matches', { devices: ['rtc'] }],
  ['everything', 'everything', {}],
];

export async function benchTrace(options: {
  readonly rounds: number;
  readonly short: boolean;
}): Promise<Part> {
  const began = performance.now();
  const { support } = await probeDriver('kvm');
  if (support.capabilities === undefined)
    return emptyPart('trace', TITLE, `kvm: can't run here: ${support.reason}`);
  const folder = mkdtempSync(join(tmpdir(), 'type2-bench-'));
  const progress = progressOf('trace');
  try {
    const times = VARIANTS.map((): number[] => []);
    for (let round = 0; round < options.rounds; round++) {
      progress(`round ${round + 1} of ${options.rounds}`);
      for (const [i, [, , trace]] of VARIANTS.entries())
        times[i]!.push(await typicalExit(folder, options.short ? ROUNDS / 10 : ROUNDS, trace));
    }
    const rows = VARIANTS.map(([name, title], i) => ({
      name,
      title,
      unit: 'ns' as const,
      better: 'less' as const,
      cells: {
        time: summarize(times[i]!),
        ...(i === 0 ? {} : { ratio: summarize(times[i]!.map((time, round) => time / times[0]![round]!)) }),
      },
    }));
    const table = {
      name: 'exit',
      title: 'PIO out on kvm, tracing',
      columns: [
        { name: 'time', title: 'time' },
        { name: 'ratio', title: 'to off', unit: 'ratio' as const },
      ],
      rows,
    };
    const seconds = (performance.now() - began) / 1000;
    return { name: 'trace', title: TITLE, tables: [table], notes: [], errors: [], seconds };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The median of a run, in ns. */
async function typicalExit(folder: string, rounds: number, trace: TraceConfig | undefined): Promise<number> {
  const { first } = await runOperation('kvm', folder, LOOP, rounds, trace);
  return quantile(first, 0.5);
}
