/**
 * Charts as inline SVG: bars with their span, and histograms on a logarithmic scale. Colours come
 * from the page's style sheet.
 */
import { type Figure, showNumber, type Unit } from '../report.ts';
import type { Histogram } from '../statistics.ts';

const BAR_HEIGHT = 18;
const GAP = 6;
const LABEL_WIDTH = 330;
const CHART_WIDTH = 420;
const VALUE_WIDTH = 130;

/** A bar of a chart. */
export interface Bar {
  readonly label: string;
  readonly figure: Figure;
  readonly unit: Unit;
  /** Which of the page's colours it has: the column's number. */
  readonly series: number;
}

/** Text that means what it says within markup. */
export function escapeMarkup(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

/** Bars that share a scale, on which a line shows the span. Values a thousandfold apart get a logarithmic one. */
export function barChart(bars: readonly Bar[]): string {
  const values = bars.map(({ figure }) => figure.median).filter((value) => value > 0);
  if (values.length === 0) return '';
  const top = Math.max(...bars.map(({ figure }) => Math.max(figure.high, figure.median)));
  const least = Math.min(...values);
  const logarithmic = top / least > 1000;
  const floor = least / 2;
  const scale = (value: number): number => {
    const share = logarithmic
      ? Math.log(Math.max(value, floor) / floor) / Math.log(top / floor)
      : value / top;
    return Math.max(0, Math.min(1, share)) * CHART_WIDTH;
  };
  const height = bars.length * (BAR_HEIGHT + GAP);
  const body = bars.map(({ label, figure, unit, series }, i) => {
    const y = i * (BAR_HEIGHT + GAP);
    const middle = y + BAR_HEIGHT / 2;
    const x = LABEL_WIDTH + scale(figure.median);
    const [from, to] = [LABEL_WIDTH + scale(figure.low), LABEL_WIDTH + scale(figure.high)];
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${middle + 4}" text-anchor="end">${escapeMarkup(label)}</text>`,
      `<rect class="s${series % 6}" x="${LABEL_WIDTH}" y="${y}" width="${(x - LABEL_WIDTH).toFixed(1)}" height="${BAR_HEIGHT}"/>`,
      figure.count > 1
        ? `<line class="span" x1="${from.toFixed(1)}" x2="${to.toFixed(1)}" y1="${middle}" y2="${middle}"/>`
        : '',
      `<text x="${(Math.max(x, to) + 6).toFixed(1)}" y="${middle + 4}">${showNumber(figure.median, unit)} ${unit}</text>`,
    ].join('');
  });
  const width = LABEL_WIDTH + CHART_WIDTH + VALUE_WIDTH;
  const note = logarithmic ? '<p class="note">logarithmic scale</p>' : '';
  return `<svg viewBox="0 0 ${width} ${height}" width="${width}" role="img">${body.join('')}</svg>${note}`;
}

const HISTOGRAM_WIDTH = 260;
const HISTOGRAM_HEIGHT = 70;

/** How single measurements were spread: their number over the logarithm of their value. */
export function histogramChart(title: string, { first, growth, counts }: Histogram, unit: Unit): string {
  const most = Math.max(...counts, 1);
  const step = HISTOGRAM_WIDTH / Math.max(counts.length, 1);
  const bars = counts.map((count, i) => {
    if (count === 0) return '';
    // Rare ones have to be seen too: the height is the root of the share.
    const height = Math.max(1, Math.sqrt(count / most) * HISTOGRAM_HEIGHT);
    const x = (i * step).toFixed(1);
    return `<rect class="s0" x="${x}" y="${(HISTOGRAM_HEIGHT - height).toFixed(1)}" width="${Math.max(step - 0.5, 0.5).toFixed(1)}" height="${height.toFixed(1)}"/>`;
  });
  const last = first * growth ** counts.length;
  return [
    `<figure><figcaption>${escapeMarkup(title)}</figcaption>`,
    `<svg viewBox="0 0 ${HISTOGRAM_WIDTH} ${HISTOGRAM_HEIGHT + 16}" width="${HISTOGRAM_WIDTH}" role="img">${bars.join('')}`,
    `<text x="0" y="${HISTOGRAM_HEIGHT + 13}">${showNumber(first, unit)} ${unit}</text>`,
    `<text x="${HISTOGRAM_WIDTH}" y="${HISTOGRAM_HEIGHT + 13}" text-anchor="end">${showNumber(last, unit)} ${unit}</text></svg></figure>`,
  ].join('');
}
