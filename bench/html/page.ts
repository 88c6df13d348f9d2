/**
 * `--html`: a report as one page that needs nothing else, neither files nor a network.
 */
import { compareReports, differences, showChange } from '../compare.ts';
import { showHost } from '../host.ts';
import {
  isFigure,
  type Part,
  type Report,
  showCell,
  showFigure,
  type Table,
  titleOfRow,
  titleOfTable,
  unitOf,
} from '../report.ts';
import { type Bar, barChart, escapeMarkup, histogramChart } from './charts.ts';

const STYLE = `
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --line: #d8d8d8; --faint: #666; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #161616; --line: #3a3a3a; --faint: #999; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px; }
th, td { text-align: left; padding: 3px 12px 3px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
td.text, .note { color: var(--faint); font-size: 13px; }
.wrong { color: #c22; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg { max-width: 100%; height: auto; }
.span { stroke: var(--ink); stroke-width: 2; }
.s0 { fill: #3f7fbf; } .s1 { fill: #d9822b; } .s2 { fill: #5aa469; } .s3 { fill: #a65ea8; } .s4 { fill: #b5484b; } .s5 { fill: #7a7a7a; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; } figcaption { font-size: 13px; }
`;

/** @param before - an older report that it is compared with */
export function htmlPage(report: Report, before?: Report): string {
  const { host, date, version, parts, short } = report;
  const contents = parts
    .map(({ name, title }) => `<a href="#${name}">${escapeMarkup(title)}</a>`)
    .join(' · ');
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>Type2 benchmarks, ${escapeMarkup(date)}</title><style>${STYLE}</style></head><body>`,
    '<h1>Type2 benchmarks</h1>',
    `<p>Version ${escapeMarkup(version)}, ${escapeMarkup(date)}${short ? '; a short run, whose figures say little' : ''}<br>`,
    `${escapeMarkup(showHost(host).trim()).replaceAll('\n', '<br>')}</p>`,
    '<p class="note">Medians, with the span of the rounds, of eight and more that of their middle half; ~ marks those whose span is wider than a tenth.</p>',
    `<p>${contents}</p>`,
    before === undefined ? '' : comparison(before, report),
    ...parts.map(section),
    '</body></html>\n',
  ].join('\n');
}

function section(part: Part): string {
  return [
    `<h2 id="${part.name}">${escapeMarkup(part.title)}</h2>`,
    ...part.notes.map((text) => `<p class="note">${escapeMarkup(text)}</p>`),
    ...part.errors.map((text) => `<p class="wrong">${escapeMarkup(text)}</p>`),
    ...part.tables.map((table) => tableMarkup(table) + charts(table)),
  ].join('\n');
}

function tableMarkup(table: Table): string {
  const heads = table.columns.map(({ title }) => `<th>${escapeMarkup(title)}</th>`).join('');
  const rows = table.rows.map((row) => {
    const cells = table.columns.map((column) => {
      const cell = row.cells[column.name];
      const style = isFigure(cell) ? 'number' : 'text';
      return `<td class="${style}">${escapeMarkup(showCell(cell, unitOf(row, column)))}</td>`;
    });
    return `<tr><td>${escapeMarkup(titleOfRow(row, table))}</td>${cells.join('')}</tr>`;
  });
  const title = escapeMarkup(titleOfTable(table));
  return `<table><thead><tr><th>${title}</th>${heads}</tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

/** Figures of one unit share a chart; ratios and shares have none. Histograms, where there are some, take its place. */
function charts(table: Table): string {
  const histograms = table.rows.flatMap((row) =>
    table.columns.flatMap((column) => {
      const cell = row.cells[column.name];
      if (!isFigure(cell) || cell.histogram === undefined) return [];
      return [histogramChart(row.title, cell.histogram, unitOf(row, column))];
    }),
  );
  if (histograms.length > 0) return `<div class="charts">${histograms.join('')}</div>`;
  const groups = new Map<string, Bar[]>();
  for (const row of table.rows) {
    table.columns.forEach((column, series) => {
      const figure = row.cells[column.name];
      const unit = unitOf(row, column);
      if (!isFigure(figure) || unit === 'ratio' || unit === '%') return;
      const label = table.columns.length > 1 ? `${row.title}, ${column.title}` : row.title;
      groups.set(unit, [...(groups.get(unit) ?? []), { label, figure, unit, series }]);
    });
  }
  return [...groups.values()].map(barChart).join('');
}

function comparison(before: Report, after: Report): string {
  const all = compareReports(before, after);
  const moved = all.filter(({ verdict }) => verdict !== 'same');
  const rows = moved.map(({ title, old, new: now, unit, ratio, verdict }) => {
    const cells = [showFigure(old, unit), showFigure(now, unit), showChange(ratio), verdict];
    return `<tr><td>${escapeMarkup(title)}</td>${cells.map((text) => `<td class="number">${text}</td>`).join('')}</tr>`;
  });
  return [
    `<h2>Compared with ${escapeMarkup(before.date)}</h2>`,
    ...differences(before, after).map((text) => `<p class="note">${escapeMarkup(text)}</p>`),
    `<p>${all.length - moved.length} of ${all.length} figures are as they were, within their noise.</p>`,
    rows.length === 0
      ? ''
      : `<table><thead><tr><th>figure</th><th>before</th><th>now</th><th>change</th><th></th></tr></thead><tbody>${rows.join('')}</tbody></table>`,
  ].join('\n');
}
