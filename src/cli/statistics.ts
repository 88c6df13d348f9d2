/**
 * The table of `--stats`.
 */
import type { Statistics } from '../../vm/statistics.ts';

export function formatStatistics(statistics: Statistics): string {
  const { exits, devices, instructions, undefinedInstructions, began } = statistics;
  const absent = Object.entries(undefinedInstructions)
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${name} ${count}`);
  return (
    table('exits by reason', exits) +
    table('accesses by device', devices) +
    (began === undefined ? '' : `\nguest began   ${began.toFixed(1)} ms after the process\n`) +
    (instructions === undefined ? '' : `\ninstructions  ${instructions}\n`) +
    (absent.length === 0 ? '' : `\nundefined instructions: ${absent.join(', ')}\n`)
  );
}

function table(title: string, counts: Readonly<Record<string, number>>): string {
  const rows = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const total = rows.reduce((sum, [, count]) => sum + count, 0);
  const width = Math.max(title.length, ...rows.map(([name]) => name.length));
  const line = (name: string, count: number, share: string): string =>
    `${name.padEnd(width)}  ${String(count).padStart(12)}  ${share.padStart(6)}\n`;
  const body = rows
    .map(([name, count]) => line(name, count, `${((100 * count) / total).toFixed(1)} %`))
    .join('');
  return `\n${line(title, total, '')}${body}`;
}
