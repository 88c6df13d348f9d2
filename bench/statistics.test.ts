import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { geometricMean, histogram, noise, quantile, summarize } from './statistics.ts';

describe('quantile', () => {
  it('is exact at values and linear in between', () => {
    expect(quantile([1, 2, 3, 4, 5], 0)).toBe(1);
    expect(quantile([1, 2, 3, 4, 5], 0.5)).toBe(3);
    expect(quantile([1, 2, 3, 4, 5], 1)).toBe(5);
    expect(quantile([10, 20], 0.25)).toBe(12.5);
  });

  it('refuses an empty sample', () => {
    expect(() => quantile([], 0.5)).toThrow(RangeError);
  });

  it('never leaves the sample, and rises with the share', () => {
    const samples = fc.array(fc.double({ noNaN: true, min: -1e9, max: 1e9 }), { minLength: 1 });
    fc.assert(
      fc.property(samples, fc.double({ min: 0, max: 1, noNaN: true }), (sample, share) => {
        const sorted = Float64Array.from(sample).sort();
        const value = quantile(sorted, share);
        expect(value).toBeGreaterThanOrEqual(sorted[0]!);
        expect(value).toBeLessThanOrEqual(sorted.at(-1)!);
        expect(value).toBeLessThanOrEqual(quantile(sorted, Math.min(1, share + 0.1)) + 1e-6);
      }),
    );
  });
});

describe('summarize', () => {
  it('sorts by number and gives the middle half', () => {
    expect(summarize([80, 1, 70, 20, 60, 30, 50, 40, 100])).toEqual({
      median: 50,
      low: 30,
      high: 70,
      count: 9,
    });
    expect(summarize([7])).toEqual({ median: 7, low: 7, high: 7, count: 1 });
  });

  it('gives the whole span of few values', () => {
    expect(summarize([100, 9, 20, 1, 30])).toEqual({ median: 20, low: 1, high: 100, count: 5 });
  });

  it('tells how wide that is', () => {
    expect(noise(summarize([90, 95, 100, 105, 110]))).toBeCloseTo(0.2);
    expect(noise({ median: 0, low: 0, high: 5, count: 3 })).toBe(0);
  });
});

describe('geometricMean', () => {
  it('lets a half and a double cancel', () => {
    expect(geometricMean([0.5, 2])).toBeCloseTo(1);
    expect(geometricMean([2, 8])).toBeCloseTo(4);
  });
});

describe('histogram', () => {
  it('counts every value once, in buckets that grow', () => {
    const { first, growth, counts } = histogram([100, 100, 200, 400]);
    expect(first).toBe(100);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(4);
    const bucket = (value: number): number => Math.round(Math.log(value / first) / Math.log(growth));
    expect(counts[bucket(100)]).toBe(2);
    expect(counts[bucket(200)]).toBe(1);
    expect(counts[bucket(400)]).toBe(1);
  });

  it('has room for outliers, and for what is not above zero', () => {
    const { counts } = histogram(Float64Array.of(-3, 0, 5, 1e12));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(4);
    expect(counts.length).toBeLessThanOrEqual(88);
  });
});
