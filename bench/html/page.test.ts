import { describe, expect, it } from 'vitest';
import { figure, reportOf } from '../testing.ts';
import { barChart } from './charts.ts';
import { htmlPage } from './page.ts';

describe('the page of a report', () => {
  const page = htmlPage(reportOf({ kvm: figure(1000), c: figure(900), jit: { text: 'not <here>' } }));

  it('has the tables, with markup escaped', () => {
    expect(page).toContain('<td>PIO &lt;out&gt;</td><td class="number">1,000 (950–1,050)</td>');
    expect(page).toContain('<td class="text">not &lt;here&gt;</td>');
    expect(page).toContain('Exits &amp; more');
  });

  it('has a chart with a bar for each figure', () => {
    expect(page.match(/<rect/g)).toHaveLength(2);
  });

  it('needs nothing else', () => {
    expect(page).not.toMatch(/\b(src|href)="(?!#)/);
    expect(page).not.toContain('<script');
    expect(page).not.toContain('@import');
  });

  it('says what has changed when it is compared', () => {
    const compared = htmlPage(reportOf({ kvm: figure(1000) }), reportOf({ kvm: figure(2000) }));
    expect(compared).toContain('−50 %');
    expect(compared).toContain('better');
  });

  it('draws histograms where there are some', () => {
    const histogram = { first: 100, growth: 2, counts: [3, 0, 1] };
    const drawn = htmlPage(reportOf({ p50: { ...figure(100), histogram } as never }));
    expect(drawn).toContain('<figure>');
    expect(drawn.match(/<rect/g)).toHaveLength(2);
  });
});

describe('a bar chart', () => {
  const bar = (median: number) =>
    ({ label: 'x', figure: { median, low: median, high: median, count: 1 }, unit: 'ns', series: 0 }) as const;

  it('takes a logarithmic scale when values are far apart, and says so', () => {
    expect(barChart([bar(1), bar(10)])).not.toContain('logarithmic');
    expect(barChart([bar(1), bar(100_000)])).toContain('logarithmic scale');
    expect(barChart([bar(0)])).toBe('');
  });
});
