/**
 * What benchmarks hand over: a report of parts, each with tables of figures. It is what is printed, what the
 * JSON file holds (README.md in this folder describes it, `schema.ts` checks it), what pages are made of, and
 * what two runs are compared by. A figure's name is made of those of its part, table, row and column.
 */
import { type Histogram, noise, type Summary } from './statistics.ts';

/** What figures are measured in; `ratio` has no dimension. */
export const UNITS = ['ns', 'µs', 'ms', 's', 'bytes', 'MB', 'MB/s', '1/s', '%', 'count', 'ratio'] as const;
export type Unit = (typeof UNITS)[number];

/** Which way is better. */
export const DIRECTIONS = ['less', 'more', 'neither'] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** A measured value with its spread over the rounds of a run. */
export interface Figure extends Summary {
  /** How single measurements were spread, where there were many a round. */
  readonly histogram?: Histogram | undefined;
}

/** In place of a figure: why there is none. */
export interface Absence {
  readonly text: string;
}

export type Cell = Figure | Absence;

export interface Column {
  readonly name: string;
  readonly title: string;
  /** Where the column has one of its own; else the row says it. */
  readonly unit?: Unit | undefined;
  readonly better?: Direction | undefined;
}

export interface Row {
  readonly name: string;
  readonly title: string;
  /** Of its figures, but for those in columns with a unit of their own. */
  readonly unit: Unit;
  readonly better: Direction;
  /** By name of the column. */
  readonly cells: Readonly<Record<string, Cell>>;
}

export interface Table {
  readonly name: string;
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
}

/** What one benchmark has found. */
export interface Part {
  readonly name: string;
  readonly title: string;
  readonly tables: readonly Table[];
  /** What a reader should know: what can't run here and why, how something was measured. */
  readonly notes: readonly string[];
  /** What came out wrong: a guest that computed nonsense, a run that failed. Never a timing. */
  readonly errors: readonly string[];
  /** How long it took, in seconds. */
  readonly seconds: number;
}

/** Where a run was made. */
export interface HostDescription {
  readonly processor: string;
  readonly processors: number;
  /** In bytes. */
  readonly memory: number;
  readonly kernel: string;
  readonly node: string;
  /** Whether there is a /dev/kvm, and what is wrong with it; empty when all is well. */
  readonly kvm: string;
  /** The load average when the run began. */
  readonly load: number;
}

export const FORMAT = 'type2-bench-2';

export interface Report {
  readonly format: typeof FORMAT;
  /** Of Type2. */
  readonly version: string;
  /** ISO 8601, UTC. */
  readonly date: string;
  /** Whether it was a short run, whose figures say little. */
  readonly short: boolean;
  readonly host: HostDescription;
  readonly parts: readonly Part[];
}

export function isFigure(cell: Cell | undefined): cell is Figure {
  return cell !== undefined && 'median' in cell;
}

/** The part of a benchmark that can't run, or has nothing but words. */
export function emptyPart(name: string, title: string, ...notes: string[]): Part {
  return { name, title, tables: [], notes, errors: [], seconds: 0 };
}

export function unitOf(row: Row, column: Column): Unit {
  return column.unit ?? row.unit;
}

export function directionOf(row: Row, column: Column): Direction {
  return column.better ?? row.better;
}

/** Figures whose span is wider than this share of the median are marked. */
export const NOISY = 0.1;

/** `1,234` or `1.23`: three or more digits that count. */
export function showNumber(value: number, unit: Unit): string {
  if (unit === 'ratio') return value.toFixed(value < 10 ? 3 : 1);
  const size = Math.abs(value);
  const digits = unit === 'count' || size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : 2;
  return value.toFixed(digits).replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ',');
}

/** `1,234 (1,200–1,300)`, with `~` before it when it is noisy. */
export function showFigure(figure: Figure, unit: Unit): string {
  const { median, low, high, count } = figure;
  if (count < 2) return showNumber(median, unit);
  const mark = noise(figure) > NOISY ? '~' : '';
  return `${mark}${showNumber(median, unit)} (${showNumber(low, unit)}–${showNumber(high, unit)})`;
}

export function showCell(cell: Cell | undefined, unit: Unit): string {
  if (cell === undefined) return '–';
  return isFigure(cell) ? showFigure(cell, unit) : cell.text;
}

/** The unit that all rows of a table have, if there is one. */
export function commonUnit(table: Table): Unit | undefined {
  const units = new Set(table.rows.filter((row) => usesUnit(row, table)).map(({ unit }) => unit));
  return units.size === 1 ? [...units][0] : undefined;
}

/** Whether a row's unit says anything: not where all of its cells are in columns with a unit of their own. */
function usesUnit({ cells }: Row, { columns }: Table): boolean {
  const own = columns.filter(({ unit }) => unit === undefined);
  const filled = own.some(({ name }) => cells[name] !== undefined);
  return filled || (own.length > 0 && Object.keys(cells).length === 0);
}

/** What a table is of, with the unit if all rows have one. */
export function titleOfTable(table: Table): string {
  const unit = commonUnit(table);
  return unit === undefined ? table.title : `${table.title}, ${unit}`;
}

/** What a row is, with its unit where that isn't in the table's title. */
export function titleOfRow(row: Row, table: Table): string {
  return commonUnit(table) === undefined && usesUnit(row, table) ? `${row.title}, ${row.unit}` : row.title;
}

/** A table as text, columns aligned. */
export function formatTable(table: Table): string {
  const head = [titleOfTable(table), ...table.columns.map(({ title }) => title)];
  const lines = table.rows.map((row) => [
    titleOfRow(row, table),
    ...table.columns.map((column) => showCell(row.cells[column.name], unitOf(row, column))),
  ]);
  return alignColumns([head, ...lines]);
}

/** Rows of text in aligned columns. What a longer text says comes at the end of its line. */
export function alignColumns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]!))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** A part as text. */
export function formatPart(part: Part): string {
  const blocks = [`${part.title} (${part.seconds.toFixed(0)} s)\n`, ...part.tables.map(formatTable)];
  const words = [...part.notes, ...part.errors.map((text) => `WRONG: ${text}`)];
  if (words.length > 0) blocks.push(words.map((text) => `${text}\n`).join(''));
  return blocks.join('\n');
}
