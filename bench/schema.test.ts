import { describe, expect, it } from 'vitest';
import { parseReport, readReport } from './schema.ts';
import { figure, reportOf } from './testing.ts';

const report = reportOf({
  kvm: { ...figure(5), histogram: { first: 1, growth: 2, counts: [1, 0, 2] } } as never,
  c: { text: 'none' },
});

describe('a report', () => {
  it('is the same when it has been a file', () => {
    expect(parseReport(JSON.stringify(report), 'old.json')).toEqual(report);
  });

  it('is refused when it is none, saying what is wrong', () => {
    expect(() => parseReport('nonsense', 'old.json')).toThrow('old.json is no JSON');
    expect(() => parseReport('{"format":"type2-bench-0"}', 'old.json')).toThrow(
      /old\.json is no report of type2-bench-2: format/,
    );
    const wrong = { ...report, host: { ...report.host, load: 'high' } };
    expect(() => parseReport(JSON.stringify(wrong), 'old.json')).toThrow(/host\.load/);
    expect(() => readReport('/nowhere/old.json')).toThrow("/nowhere/old.json can't be read");
  });
});
