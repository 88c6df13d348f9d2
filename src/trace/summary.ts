/**
 * The table of `type2 trace --summary`: events by reason and device, with how often, what share of the run's
 * time, and how long each took.
 */
import type { TraceEvent } from '../../vm/trace/reader.ts';
import { EXCEPTION_NAMES } from '../../vm/trace/text.ts';

/** Buckets of the histogram for one doubling of the duration: medians are exact to 1/16. */
const PER_OCTAVE = 16;
const OCTAVES = 40;

/** Durations of one kind of event. */
class Row {
  count = 0;
  total = 0;
  longest = 0;
  private readonly buckets = new Uint32Array(PER_OCTAVE * OCTAVES);

  add(duration: number): void {
    this.count++;
    this.total += duration;
    this.longest = Math.max(this.longest, duration);
    const bucket = Math.floor(Math.log2(Math.max(1, duration)) * PER_OCTAVE);
    const at = Math.min(bucket, this.buckets.length - 1);
    this.buckets[at] = this.buckets[at]! + 1;
  }

  /** The duration that this share of events doesn't exceed. */
  quantile(share: number): number {
    let left = Math.ceil(this.count * share);
    for (let i = 0; i < this.buckets.length; i++) {
      left -= this.buckets[i]!;
      if (left <= 0) return Math.min(2 ** ((i + 1) / PER_OCTAVE), this.longest);
    }
    return this.longest;
  }
}

/** Counts events as they come. */
export class TraceSummary {
  private readonly rows = new Map<
    string,
    { readonly reason: string; readonly who: string; readonly row: Row }
  >();
  private first = Number.POSITIVE_INFINITY;
  private last = 0;
  private readonly vcpus = new Set<number>();

  add(event: TraceEvent): void {
    const reason = event.kind;
    const who = event.device ?? (event.vector === undefined ? '' : vectorName(event));
    const key = `${reason} ${who}`;
    let entry = this.rows.get(key);
    if (entry === undefined) {
      entry = { reason, who, row: new Row() };
      this.rows.set(key, entry);
    }
    entry.row.add(event.duration);
    this.first = Math.min(this.first, event.time);
    this.last = Math.max(this.last, event.time + event.duration);
    if (event.vcpu !== undefined) this.vcpus.add(event.vcpu);
  }

  /** The table, with its title. Shares are of the vCPUs' time from the first event to the last. */
  format(): string {
    if (this.rows.size === 0) return 'no events\n';
    const span = this.last - this.first;
    const time = span * Math.max(1, this.vcpus.size);
    const entries = [...this.rows.values()].sort(
      (a, b) => b.row.total - a.row.total || b.row.count - a.row.count,
    );
    const body = entries.map(({ reason, who, row }) => [
      reason,
      who,
      String(row.count),
      row.total === 0 ? '' : `${((100 * row.total) / time).toFixed(2)} %`,
      ...(row.total === 0
        ? ['', '', '']
        : [row.quantile(0.5), row.quantile(0.99), row.longest].map((duration) =>
            (duration / 1000).toFixed(1),
          )),
    ]);
    const served = entries
      .filter(({ reason }) => reason !== 'queue')
      .reduce((sum, { row }) => sum + row.total, 0);
    const head = ['reason', 'device', 'count', 'of time', 'median µs', '99 % µs', 'longest µs'];
    const rows = [head, ...body];
    const widths = head.map((_, i) => Math.max(...rows.map((cells) => cells[i]!.length)));
    const table = rows.map((cells) =>
      cells
        .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join('  ')
        .trimEnd(),
    );
    const rest = (100 * Math.max(0, time - served)) / time;
    return [
      ...table,
      '',
      `${(span / 1e9).toFixed(3)} s from the first event to the last; ${rest.toFixed(1)} % of the vCPUs' time was not spent on these exits: guest code, or waiting.`,
      '',
    ].join('\n');
  }
}

function vectorName({ kind, vector }: TraceEvent): string {
  const name = kind === 'exception' ? EXCEPTION_NAMES[vector!] : undefined;
  return name ?? `vector 0x${vector!.toString(16)}`;
}
