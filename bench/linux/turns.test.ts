import { describe, expect, it } from 'vitest';
import { isFigure } from '../report.ts';
import { GuestLog } from './guest.ts';
import type { Peer } from './peers.ts';
import { peerTable, secondsOf, takeTurns } from './turns.ts';
import { type GuestRun, PeerUnavailable } from './watch.ts';

const run = (seconds: number, right = true): GuestRun => ({
  rows: [{ name: 'crc32', seconds, hostSeconds: undefined, right }],
  entered: undefined,
  ending: undefined,
});

function peer(name: string, results: (GuestRun | Error)[]): Peer {
  return {
    name,
    title: name.toUpperCase(),
    arch: 'x86_64',
    run: async () => {
      const result = results.shift()!;
      if (result instanceof Error) throw result;
      return result;
    },
  };
}

const ROW = { name: 'crc32', title: 'CRC', unit: 's', better: 'less', value: secondsOf('crc32') } as const;

describe('peers that take turns', () => {
  it('are compared round by round', async () => {
    const ours = peer('jit', [run(1), run(2), run(4)]);
    const theirs = peer('tcg', [run(2), run(4), run(8)]);
    const entries = await takeTurns([ours, theirs], 3, () => {});
    const { columns, rows } = peerTable('t', 'title', entries, [ROW]);
    expect(columns.map(({ name }) => name)).toEqual(['jit', 'tcg', 'to-tcg']);
    expect(rows[0]!.cells['jit']).toMatchObject({ median: 2 });
    expect(rows[0]!.cells['to-tcg']).toMatchObject({ median: 2, low: 2, high: 2, count: 3 });
  });

  it('turn a throughput round, so that more is always better', async () => {
    const entries = await takeTurns([peer('jit', [run(1)]), peer('tcg', [run(4)])], 1, () => {});
    const { rows } = peerTable('t', 'title', entries, [{ ...ROW, unit: 'MB/s', better: 'more' }]);
    expect(rows[0]!.cells['to-tcg']).toMatchObject({ median: 0.25 });
  });

  it('are a word in the table when they are not there, and no error', async () => {
    const absent = peer('v86', [new PeerUnavailable('no package v86: npm ci')]);
    const entries = await takeTurns([peer('jit', [run(1), run(1)]), absent], 2, () => {});
    expect(entries[1]!.errors).toEqual([]);
    const { rows } = peerTable('t', 'title', entries, [ROW]);
    expect(rows[0]!.cells['v86']).toEqual({ text: 'no package v86: npm ci' });
    expect(isFigure(rows[0]!.cells['to-v86'])).toBe(false);
  });

  it('are an error when a run fails or computes nonsense, and go on', async () => {
    const flaky = peer('tcg', [run(1), new Error('it hung'), run(3, false)]);
    const [entry] = await takeTurns([flaky], 3, () => {});
    expect(entry!.errors).toEqual([
      'round 2 of 3, TCG x86_64: it hung',
      'TCG x86_64: crc32: the guest computed a wrong result',
    ]);
    expect(entry!.runs.map((one) => one !== undefined)).toEqual([true, false, true]);
  });
});

describe('the log of a guest', () => {
  it('has the guest’s rows, by its clock and the host’s', () => {
    const log = new GuestLog(1000);
    log.line('early console in setup code', 1100);
    log.line('bench: init 0.35', 1600);
    log.line('bench: start crc32', 2000);
    log.line('bench: stop crc32', 2500);
    log.line('bench: row crc32 0.48 ok', 2501);
    log.line('bench: row getppid 0.1 wrong 0badf00d', 2502);
    log.line('bench: done', 2600);
    expect(log.rows).toEqual([
      { name: 'init', seconds: 0.5, hostSeconds: undefined, right: true },
      { name: 'start', seconds: 0.6, hostSeconds: undefined, right: true },
      { name: 'kernel-clock', seconds: 0.35, hostSeconds: undefined, right: true },
      { name: 'crc32', seconds: 0.48, hostSeconds: 0.5, right: true },
      { name: 'getppid', seconds: 0.1, hostSeconds: 0.5, right: false },
    ]);
    expect(log.done).toBe(true);
  });
});
