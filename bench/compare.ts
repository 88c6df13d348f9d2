/**
 * `--compare OLD.json`: what has changed between two reports. A figure has changed when the spans of the
 * two samples don't touch, and by more than some hundredths; all else is noise. A figure that was taken once
 * has no span: a tenth is its noise.
 */
import {
  alignColumns,
  type Direction,
  directionOf,
  type Figure,
  isFigure,
  type Report,
  showFigure,
  type Unit,
  unitOf,
} from './report.ts';

/** Changes by less are never told, however steady the figure. */
const LEAST_CHANGE = 0.03;
/** What a figure of one measurement may be off. */
const SINGLE_NOISE = 0.1;

/** One figure in two reports. */
export interface Comparison {
  /** `part/table/row/column`. */
  readonly name: string;
  readonly title: string;
  readonly unit: Unit;
  readonly old: Figure;
  readonly new: Figure;
  /** New to old: 1.1 is a tenth more. */
  readonly ratio: number;
  /** `same` is within the noise; `changed` is neither better nor worse. */
  readonly verdict: 'same' | 'better' | 'worse' | 'changed';
}

interface NamedFigure {
  readonly title: string;
  readonly unit: Unit;
  readonly better: Direction;
  readonly figure: Figure;
}

function figures(report: Report): Map<string, NamedFigure> {
  const all = new Map<string, NamedFigure>();
  for (const part of report.parts) {
    for (const table of part.tables) {
      // Tables of one part may have the same rows.
      const place = part.tables.length > 1 ? `${part.name}, ${table.title}` : part.name;
      for (const row of table.rows) {
        for (const column of table.columns) {
          const figure = row.cells[column.name];
          if (!isFigure(figure)) continue;
          all.set([part.name, table.name, row.name, column.name].join('/'), {
            title: `${place}: ${row.title}, ${column.title}`,
            unit: unitOf(row, column),
            better: directionOf(row, column),
            figure,
          });
        }
      }
    }
  }
  return all;
}

/** The figures that both reports have, in the order of the newer one. */
export function compareReports(before: Report, after: Report): Comparison[] {
  const old = figures(before);
  const comparisons: Comparison[] = [];
  for (const [name, { title, unit, better, figure }] of figures(after)) {
    const earlier = old.get(name);
    if (earlier === undefined || earlier.unit !== unit || earlier.figure.median === 0) continue;
    const ratio = figure.median / earlier.figure.median;
    const changed = Math.abs(ratio - 1) > LEAST_CHANGE && apart(span(earlier.figure), span(figure));
    const verdict = !changed
      ? 'same'
      : better === 'neither'
        ? 'changed'
        : ratio < 1 === (better === 'less')
          ? 'better'
          : 'worse';
    comparisons.push({ name, title, unit, old: earlier.figure, new: figure, ratio, verdict });
  }
  return comparisons;
}

function span({ low, high, median, count }: Figure): readonly [number, number] {
  return count > 1 ? [low, high] : [median * (1 - SINGLE_NOISE), median * (1 + SINGLE_NOISE)];
}

function apart(a: readonly [number, number], b: readonly [number, number]): boolean {
  return a[1] < b[0] || b[1] < a[0];
}

/** `+12 %` */
export function showChange(ratio: number): string {
  return `${ratio >= 1 ? '+' : '−'}${Math.abs((ratio - 1) * 100).toFixed(0)} %`;
}

/** What differs between the two machines or runs, so that figures can't be compared just so. */
export function differences(before: Report, after: Report): string[] {
  const names = ['processor', 'processors', 'kernel', 'node'] as const;
  const found = names
    .filter((name) => before.host[name] !== after.host[name])
    .map((name) => `${name}: ${before.host[name]} before, ${after.host[name]} now`);
  if (before.short || after.short) found.push('short runs: their figures say little');
  return found;
}

/** What has changed, as text. */
export function formatComparison(before: Report, after: Report): string {
  const all = compareReports(before, after);
  const moved = all.filter(({ verdict }) => verdict !== 'same');
  const lines = [`Compared with ${before.date}, version ${before.version}`, ...differences(before, after)];
  const unchanged = `${all.length - moved.length} of ${all.length} figures are as they were, within their noise.`;
  const table = moved.map(({ title, old, new: now, unit, ratio, verdict }) => [
    title,
    showFigure(old, unit),
    showFigure(now, unit),
    showChange(ratio),
    verdict,
  ]);
  return [
    `${lines.join('\n')}\n`,
    ...(table.length === 0 ? [] : [alignColumns([['figure', 'before', 'now', 'change', ''], ...table])]),
    `${unchanged}\n`,
  ].join('\n');
}
