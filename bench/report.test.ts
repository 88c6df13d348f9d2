import { describe, expect, it } from 'vitest';
import { formatPart, formatTable, showFigure, showNumber, type Table } from './report.ts';
import { figure, partOf } from './testing.ts';

describe('figures as text', () => {
  it('have as many digits as count', () => {
    expect(showNumber(1234567.8, 'ns')).toBe('1,234,568');
    expect(showNumber(98.76, 'ms')).toBe('98.8');
    expect(showNumber(1.2345, 's')).toBe('1.23');
    expect(showNumber(0.9, 'ratio')).toBe('0.900');
    expect(showNumber(3, 'count')).toBe('3');
    expect(showNumber(-1234.5, 'ns')).toBe('-1,235');
  });

  it('show their spread, and a mark when it is wide', () => {
    expect(showFigure({ median: 100, low: 98, high: 103, count: 5 }, 'ns')).toBe('100 (98.0–103)');
    expect(showFigure({ median: 100, low: 90, high: 120, count: 5 }, 'ns')).toBe('~100 (90.0–120)');
    expect(showFigure({ median: 100, low: 100, high: 100, count: 1 }, 'ns')).toBe('100');
  });
});

describe('tables as text', () => {
  it('say their unit once where all rows share it, and a reason where there is no figure', () => {
    const [table] = partOf({ kvm: figure(1000), c: { text: 'no C compiler' } }).tables;
    expect(formatTable(table!)).toBe(
      'round trip, ns  kvm                c\nPIO <out>       1,000 (950–1,050)  no C compiler\n',
    );
  });

  it('say it row by row where they differ', () => {
    const table: Table = {
      name: 't',
      title: 'disk',
      columns: [{ name: 'jit', title: 'jit' }],
      rows: [
        { name: 'a', title: 'read', unit: 'MB/s', better: 'more', cells: { jit: figure(10, 0) } },
        { name: 'b', title: 'flush', unit: 'µs', better: 'less', cells: {} },
      ],
    };
    expect(formatTable(table)).toBe('disk        jit\nread, MB/s  10.0 (10.0–10.0)\nflush, µs   –\n');
  });

  it('say none for a row that has figures only in columns with a unit of their own', () => {
    const table: Table = {
      name: 't',
      title: 'disk',
      columns: [
        { name: 'jit', title: 'jit' },
        { name: 'to-tcg', title: '× tcg', unit: 'ratio' },
      ],
      rows: [
        { name: 'a', title: 'read', unit: 'MB/s', better: 'more', cells: { jit: figure(10, 0) } },
        { name: 'b', title: 'flush', unit: 'µs', better: 'less', cells: { jit: figure(10, 0) } },
        { name: 'mean', title: 'mean', unit: 'ratio', better: 'neither', cells: { 'to-tcg': figure(2, 0) } },
      ],
    };
    expect(formatTable(table)).toMatch(/^disk .*\nread, MB\/s .*\nflush, µs .*\nmean {2,}–/);
    const same = { ...table, rows: [table.rows[0]!, table.rows[2]!] };
    expect(formatTable(same)).toMatch(/^disk, MB\/s .*\nread .*\nmean {2,}–/);
  });

  it('are followed by notes and by what went wrong', () => {
    const part = { ...partOf({ kvm: figure(1) }), errors: ['the guest computed a wrong result'] };
    expect(formatPart(part)).toMatch(/^Exits & more \(3 s\)\n\n[\s\S]*\na note\nWRONG: the guest computed/);
  });
});
