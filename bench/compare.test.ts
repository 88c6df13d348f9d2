import { describe, expect, it } from 'vitest';
import { compareReports, differences, formatComparison, showChange } from './compare.ts';
import { figure, reportOf } from './testing.ts';

const verdict = (before: number, after: number, spread = 0.05): string | undefined =>
  compareReports(reportOf({ kvm: figure(before, spread) }), reportOf({ kvm: figure(after, spread) }))[0]
    ?.verdict;

describe('two reports', () => {
  it('differ where the middle halves of their figures lie apart', () => {
    expect(verdict(100, 105)).toBe('same');
    expect(verdict(100, 130)).toBe('worse');
    expect(verdict(130, 100)).toBe('better');
    expect(verdict(100, 130, 0.2)).toBe('same');
  });

  it('do not differ by a hair, however steady', () => {
    expect(verdict(100, 102, 0.001)).toBe('same');
    expect(verdict(100, 104, 0.001)).toBe('worse');
  });

  it('take a figure that was measured once for a tenth off', () => {
    const once = (median: number) => reportOf({ kvm: { median, low: median, high: median, count: 1 } });
    expect(compareReports(once(100), once(115))[0]?.verdict).toBe('same');
    expect(compareReports(once(100), once(150))[0]?.verdict).toBe('worse');
  });

  it('are compared where both have a figure', () => {
    const before = reportOf({ kvm: figure(100), jit: { text: 'not here' } });
    const after = reportOf({ kvm: figure(100), jit: figure(5), c: figure(7) });
    expect(compareReports(before, after).map(({ name }) => name)).toEqual(['exits/table/row/kvm']);
  });

  it('show what has changed, and on what else they differ', () => {
    const before = reportOf({ kvm: figure(100) });
    const after = { ...reportOf({ kvm: figure(150) }), short: true };
    expect(formatComparison(before, after)).toContain(
      'exits: PIO <out>, kvm  100 (95.0–105)  150 (143–158)  +50 %   worse',
    );
    expect(differences(before, { ...after, host: { ...after.host, node: 'v22' } })).toEqual([
      'node: v20 before, v22 now',
      'short runs: their figures say little',
    ]);
    expect(showChange(0.876)).toBe('−12 %');
  });
});
