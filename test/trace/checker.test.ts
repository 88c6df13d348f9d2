import { describe, expect, it } from 'vitest';
import { checkChromeTrace } from './checker.ts';

const NAMES = [
  { ph: 'M', name: 'process_name', pid: 1, args: { name: 'vCPUs' } },
  { ph: 'M', name: 'thread_name', pid: 1, tid: 0, args: { name: 'vCPU 0' } },
];
const span = (ts: number, dur: number) => ({ ph: 'X', name: 'pio', pid: 1, tid: 0, ts, dur });
const check = (...events: object[]) =>
  checkChromeTrace(JSON.stringify({ traceEvents: [...NAMES, ...events] }));

describe('the checker of traces', () => {
  it('takes spans one after the other and within one another', () => {
    const instant = { ph: 'i', s: 't', name: '#PF', pid: 1, tid: 0, ts: 5 };
    expect(check(span(0, 10), span(1, 3), span(4, 6), span(10, 2), instant)).toEqual({
      tracks: ['vCPUs/vCPU 0'],
      spans: 4,
      instants: 1,
    });
  });

  it.each([
    ['overlapping spans', [span(0, 10), span(5, 10)], /overlaps/],
    ['a negative time', [span(-1, 10)], /negative time/],
    ['a negative duration', [span(1, -1)], /negative duration/],
    ['a track without a name', [{ ...span(0, 1), tid: 7 }], /track without a name/],
    ['an event without a name', [{ ...span(0, 1), name: '' }], /no name/],
  ] as const)('refuses %s', (_, events, message) => {
    expect(() => check(...events)).toThrow(message);
  });

  it('refuses what is no JSON', () => {
    expect(() => checkChromeTrace('{"traceEvents":[')).toThrow();
  });
});
