/**
 * Peers that take turns: each boots its guest once a round, so that whatever else the host does meets all of them.
 * From what the rounds came to a table is made, with how many times as fast the first peer is as each other.
 */
import type { Progress } from '../progress.ts';
import type { Cell, Column, Direction, Row, Table, Unit } from '../report.ts';
import { geometricMean, summarize } from '../statistics.ts';
import type { Peer } from './peers.ts';
import { type GuestRun, PeerUnavailable } from './watch.ts';

/** A peer, and what its runs came to. A failed round leaves a hole. */
export interface Entry {
  readonly peer: Peer;
  readonly runs: (GuestRun | undefined)[];
  /** Why it isn't there, if it is not. */
  missing: string | undefined;
  readonly errors: string[];
}

/**
 * Runs all peers in turns.
 * @param check - what is wrong with a run's results
 */
export async function takeTurns(
  peers: readonly Peer[],
  rounds: number,
  progress: Progress,
  check: (run: GuestRun) => readonly string[] = wrongRows,
): Promise<Entry[]> {
  const entries = peers.map((peer): Entry => ({ peer, runs: [], missing: undefined, errors: [] }));
  for (let round = 0; round < rounds; round++) {
    for (const entry of entries) {
      const { peer, runs } = entry;
      // Who never came through won't in the next round.
      if (round > 0 && runs.every((run) => run === undefined)) continue;
      const label = `round ${round + 1} of ${rounds}, ${peer.title} ${peer.arch}`;
      progress(label);
      try {
        const run = await peer.run();
        runs.push(run);
        entry.errors.push(...check(run).map((text) => `${peer.title} ${peer.arch}: ${text}`));
      } catch (error) {
        runs.push(undefined);
        const text = (error as Error).message;
        if (error instanceof PeerUnavailable) entry.missing = text;
        else entry.errors.push(`${label}: ${text}`);
      }
    }
  }
  return entries;
}

/** Rows whose results the guest itself found wrong. */
export function wrongRows({ rows }: GuestRun): string[] {
  return rows.filter(({ right }) => !right).map(({ name }) => `${name}: the guest computed a wrong result`);
}

/** A row of a table of peers. */
export interface PeerRow {
  readonly name: string;
  readonly title: string;
  readonly unit: Unit;
  readonly better: Direction;
  /** A run's figure; undefined where it has none. */
  readonly value: (run: GuestRun) => number | undefined;
  /** Whether it counts for the mean of the ratios; false if absent. */
  readonly counts?: boolean;
}

/** The rows' figures by peer; ratios are taken round by round. */
export function peerTable(
  name: string,
  title: string,
  entries: readonly Entry[],
  peerRows: readonly PeerRow[],
): Table {
  const [base, ...others] = entries.filter(({ runs }) => runs.some((run) => run !== undefined));
  const columns: Column[] = entries.map(({ peer }) => ({ name: peer.name, title: peer.title }));
  for (const { peer } of others) {
    const heading = `${base!.peer.title} is so many times as fast as ${peer.title}`;
    const short = `× ${peer.title}`;
    columns.push({
      name: `to-${peer.name}`,
      title: others.length > 1 ? short : heading,
      unit: 'ratio',
      better: 'more',
    });
  }
  const logs = new Map<string, number[]>();
  const rows = peerRows.flatMap((row): Row[] => {
    const cells: Record<string, Cell> = {};
    for (const { peer, runs, missing } of entries) {
      const values = known(runs.map((run) => run && row.value(run)));
      if (values.length > 0) cells[peer.name] = summarize(values);
      else if (missing !== undefined) cells[peer.name] = { text: missing };
    }
    if (Object.values(cells).every((cell) => 'text' in cell)) return [];
    for (const { peer, runs } of others) {
      const ratios = known(runs.map((run, round) => timesAsFast(row, base!.runs[round], run)));
      if (ratios.length === 0) continue;
      const summary = summarize(ratios);
      cells[`to-${peer.name}`] = summary;
      if (row.counts === true) logs.set(peer.name, [...(logs.get(peer.name) ?? []), summary.median]);
    }
    return [{ name: row.name, title: row.title, unit: row.unit, better: row.better, cells }];
  });
  if ([...logs.values()].some((values) => values.length > 1)) {
    const cells = [...logs].map(([peer, values]): [string, Cell] => {
      const mean = geometricMean(values);
      return [`to-${peer}`, { median: mean, low: mean, high: mean, count: 1 }];
    });
    const mean = {
      name: 'mean',
      title: 'geometric mean',
      unit: 'ratio',
      better: 'neither',
    } as const;
    rows.push({ ...mean, cells: Object.fromEntries(cells) });
  }
  return { name, title, columns, rows };
}

function timesAsFast(
  row: PeerRow,
  ours: GuestRun | undefined,
  theirs: GuestRun | undefined,
): number | undefined {
  const [a, b] = [ours && row.value(ours), theirs && row.value(theirs)];
  if (a === undefined || b === undefined || a === 0 || b === 0) return undefined;
  return row.better === 'more' ? a / b : b / a;
}

function known(values: readonly (number | undefined)[]): number[] {
  return values.filter((value) => value !== undefined);
}

/** Seconds of one of the guest's rows. */
export function secondsOf(name: string): (run: GuestRun) => number | undefined {
  return (run) => run.rows.find((row) => row.name === name)?.seconds;
}
