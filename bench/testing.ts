/**
 * Reports made up for tests.
 */
import { type Cell, FORMAT, type Part, type Report } from './report.ts';

/** A figure whose span is a twentieth of it to either side. */
export function figure(median: number, spread = 0.05): Cell {
  return { median, low: median * (1 - spread), high: median * (1 + spread), count: 5 };
}

/** A part with one table of one row. */
export function partOf(cells: Readonly<Record<string, Cell>>): Part {
  const columns = Object.keys(cells).map((name) => ({ name, title: name }));
  const row = { name: 'row', title: 'PIO <out>', unit: 'ns', better: 'less', cells } as const;
  return {
    name: 'exits',
    title: 'Exits & more',
    tables: [{ name: 'table', title: 'round trip', columns, rows: [row] }],
    notes: ['a note'],
    errors: [],
    seconds: 3,
  };
}

/** A report of one such part. */
export function reportOf(cells: Readonly<Record<string, Cell>>): Report {
  const host = {
    processor: 'P',
    processors: 2,
    memory: 2 ** 33,
    kernel: '6.1',
    node: 'v20',
    kvm: '',
    load: 0,
  };
  const date = '2025-01-01T00:00:00.000Z';
  return { format: FORMAT, version: '0.1.0', date, short: false, host, parts: [partOf(cells)] };
}
