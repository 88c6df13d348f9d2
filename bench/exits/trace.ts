/**
 * `npm run bench -- trace`: what tracing adds to a port-I/O exit on KVM: switched off, with a filter that
 * matches nothing, and with every event taken and thrown away. All are run in turns.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TraceConfig } from '../src/index.ts';
import { probeDriver } from '../vm/drivers.ts';
import { runOurs } from './exits.ts';
import { printTable, show, summarize } from './report.ts';

const VARIANTS: readonly (readonly [name: string, trace: TraceConfig | undefined])[] = [
  ['off', undefined],
  ['filter by reason, nothing matches', { reasons: ['hypercall'] }],
  ['filter by device, nothing matches', { devices: ['rtc'] }],
  ['everything', {}],
];

export async function benchTrace(options: { rounds: number; count: number }): Promise<void> {
  const { support } = await probeDriver('kvm');
  if (support.capabilities === undefined) {
    process.stdout.write(`trace: can't run here: ${support.reason}\n`);
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'type2-bench-'));
  try {
    const times = VARIANTS.map((): number[] => []);
    for (let round = 0; round < options.rounds; round++) {
      for (const [i, [, trace]] of VARIANTS.entries())
        times[i]!.push(await runOurs(folder, options.count, trace));
      process.stderr.write(`\rtrace: round ${round + 1} of ${options.rounds} `);
    }
    process.stderr.write('\n');
    printTable([
      ['tracing', 'ns an exit', 'rate to off'],
      ...VARIANTS.map(([name], i) => [
        name,
        show(summarize(times[i]!)),
        i === 0 ? '1' : show(summarize(times[i]!.map((time, round) => time / times[0]![round]!)), 3),
      ]),
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
