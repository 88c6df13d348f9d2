/**
 * Statistics of samples: medians with their span, quantiles, and histograms whose buckets
 * grow with the value, as latencies want them.
 */

/** Of fewer values than this the quartiles say too little of how far off the next one may be. */
const FEW = 8;

/** The middle of a sample, and its span: that of its middle half, or of the whole if it is of few values. */
export interface Summary {
  readonly median: number;
  /** The first and the third quartile; of few values the least and the greatest. */
  readonly low: number;
  readonly high: number;
  /** How many values it was made of. */
  readonly count: number;
}

/** @throws RangeError for an empty sample */
export function summarize(sample: Iterable<number>): Summary {
  const sorted = Float64Array.from(sample).sort();
  const isFew = sorted.length < FEW;
  return {
    median: quantile(sorted, 0.5),
    low: quantile(sorted, isFew ? 0 : 0.25),
    high: quantile(sorted, isFew ? 1 : 0.75),
    count: sorted.length,
  };
}

/**
 * The value below which a share of a sample lies, by linear interpolation between neighbours.
 * @param sorted - in rising order
 * @param share - 0 to 1
 * @throws RangeError for an empty sample
 */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  if (sorted.length === 0) throw new RangeError('a sample of no values has no quantiles');
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return low + (high - low) * (at - below);
}

/** How wide the span is, as a share of the median: 0.1 is 10 %. */
export function noise({ median, low, high }: Summary): number {
  return median === 0 ? 0 : Math.abs((high - low) / median);
}

/** The mean of ratios: that of their logarithms. */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** Counts by value. Bucket i holds values from `first · growth^i` up to the next bucket's start. */
export interface Histogram {
  /** Where the first bucket starts. What is below it counts in it, too. */
  readonly first: number;
  /** By what factor each bucket starts above the one before. */
  readonly growth: number;
  readonly counts: readonly number[];
}

/** Eight buckets an octave. */
const GROWTH = 2 ** (1 / 8);
/** What lies above so many buckets counts in the last one: eleven octaves. */
const BUCKETS_MAXIMUM = 88;

/** @param sorted - in rising order, at least one value */
export function histogram(sorted: ArrayLike<number>): Histogram {
  const first = Math.max(quantile(sorted, 0.001), 1e-9);
  const counts: number[] = [];
  for (let i = 0; i < sorted.length; i++) {
    // A little more, so that a value at a bucket's start is not below it by rounding.
    const bucket = Math.floor(Math.log(Math.max(sorted[i]!, first) / first) / Math.log(GROWTH) + 1e-9);
    const at = Math.min(Math.max(bucket, 0), BUCKETS_MAXIMUM - 1);
    while (counts.length <= at) counts.push(0);
    counts[at] = counts[at]! + 1;
  }
  return { first, growth: GROWTH, counts };
}
