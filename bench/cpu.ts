/**
 * `npm run bench -- cpu`: the CPU in TypeScript beside QEMU's TCG and v86. All boot the same guest and take
 * turns, so that whatever else the host does meets all of them.
 *
 * How time is taken:
 * - The guest's rows by its own CLOCK_MONOTONIC. The longest row of each run is checked against the host's
 *   clock, since a VMM whose guest clock goes slow would look fast.
 * - "Kernel entry to /init" by the host's clock, from the first line of the kernel's real-mode part to the
 *   first line of the first process: what firmware a VMM runs before that doesn't count. A VMM that skips
 *   the kernel's real-mode part, as Type2 does, has no such line; its time runs from the start of its process,
 *   which is to its disadvantage.
 * - "Process start to /init" by the host's clock, for all alike: what a user waits for.
 * - "Kernel's clock at /init" is what the guest believes to have passed by then, as printk's times do. It
 *   begins after unpacking the kernel and is no result, only a check.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ARCHITECTURES, type Architecture, GUEST_ROWS, makeGuest, type Row } from './cpu-guest.ts';
import {
  canPin,
  describePeers,
  FAMILIES,
  type Family,
  hostProcessor,
  type Peer,
  PeerUnavailable,
  qemuPeer,
  type RunOptions,
  type2Peer,
  v86Peer,
} from './cpu-peers.ts';
import { printTable, show, summarize } from './report.ts';

/** What of the command line concerns this benchmark, as text; absent is the default. */
export interface CpuBenchOptions {
  readonly rounds: number;
  /** Families of peers, with commas between. */
  readonly only?: string | undefined;
  /** Type2's engines, with commas between: `jit` if absent. */
  readonly engine?: string | undefined;
  /** One architecture; both if absent. */
  readonly arch?: string | undefined;
  /** Names of guest rows, with commas between. */
  readonly rows?: string | undefined;
  /** The host's processor that each peer is tied to, or `any`; the last one if absent. */
  readonly pin?: string | undefined;
  /** Seconds without a line from a guest after which its run has failed; 120 if absent. */
  readonly patience?: string | undefined;
  /** File that all figures are written to. */
  readonly json?: string | undefined;
}

/** Rows in the order of the report. Those marked don't count for the mean: they repeat or check another. */
const ROWS: readonly { name: string; title: string; counts: boolean }[] = [
  { name: 'init', title: 'kernel entry to /init', counts: true },
  ...[...GUEST_ROWS].map(([name, title]) => ({ name, title, counts: true })),
  { name: 'start', title: '(process start to /init)', counts: false },
  { name: 'kernel-clock', title: "(kernel's clock at /init)", counts: false },
];

/** By how much the guest's clock may differ from the host's. */
const CLOCK_TOLERANCE = 0.05;

/** A peer, and what its runs came to. A failed round leaves a hole. */
interface Entry {
  readonly peer: Peer;
  readonly rounds: (Row[] | undefined)[];
  readonly trouble: string[];
  out: boolean;
}

export async function benchCpu(options: CpuBenchOptions): Promise<void> {
  const only = list('--only', options.only, FAMILIES) as Family[];
  const architectures = list('--arch', options.arch, ARCHITECTURES) as Architecture[];
  const rows = options.rows === undefined ? [] : list('--rows', options.rows, [...GUEST_ROWS.keys()]);
  const cpu = processor(options.pin);
  const folder = mkdtempSync(join(tmpdir(), 'type2-bench-'));
  try {
    const run: RunOptions = { cpu, patience: Number(options.patience ?? 120) };
    const engines = (options.engine ?? 'jit').split(',');
    const entries = makePeers(architectures, only, engines, folder, rows, run).map((peer): Entry => {
      return { peer, rounds: [], trouble: [], out: false };
    });
    process.stdout.write(
      `${[hostProcessor(), `Node.js ${process.version}`, ...describePeers(only)].join('; ')}\n`,
    );
    process.stdout.write(
      cpu === undefined ? 'peers run on any processor\n' : `each peer is tied to processor ${cpu}\n`,
    );
    const load = loadavg()[0]!;
    if (load > 0.5) process.stdout.write(`the host is busy: load ${load.toFixed(1)} before the first run\n`);
    for (let round = 0; round < options.rounds; round++) {
      for (const entry of entries) if (!entry.out) await runOnce(entry, round, options.rounds);
    }
    for (const arch of architectures) {
      report(
        arch,
        entries.filter(({ peer }) => peer.arch === arch),
      );
    }
    reportTrouble(entries);
    if (options.json !== undefined) writeJson(options.json, entries, cpu);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** In the order in which they take turns; the first of each architecture is what others are compared to. */
function makePeers(
  architectures: readonly Architecture[],
  only: readonly Family[],
  engines: readonly string[],
  folder: string,
  rows: readonly string[],
  run: RunOptions,
): Peer[] {
  return architectures.flatMap((arch) => {
    const guest = makeGuest(arch, folder, rows);
    const peers: Peer[] = [];
    if (only.includes('type2')) peers.push(...engines.map((engine) => type2Peer(engine, guest, run)));
    if (only.includes('qemu')) peers.push(qemuPeer(guest, run));
    // v86 knows no long mode.
    if (only.includes('v86') && arch === 'i386') peers.push(v86Peer(guest, run));
    return peers;
  });
}

async function runOnce(entry: Entry, round: number, rounds: number): Promise<void> {
  const { peer } = entry;
  const label = `cpu: round ${round + 1} of ${rounds}, ${peer.name} ${peer.arch}`;
  const say = (text: string): void => void process.stderr.write(`${label}: ${text}\n`);
  const started = performance.now();
  try {
    const rows = await peer.run();
    entry.rounds.push(rows);
    const init = rows.find(({ name }) => name === 'init');
    say(
      `${((performance.now() - started) / 1000).toFixed(1)} s in all, ${init?.seconds.toFixed(2)} s to /init`,
    );
    entry.trouble.push(...check(rows).map((text) => `round ${round + 1}: ${text}`));
  } catch (error) {
    const text = (error as Error).message;
    entry.rounds.push(undefined);
    // Who never came through won't in the next round.
    entry.out = entry.rounds.every((rows) => rows === undefined);
    entry.trouble.push(
      error instanceof PeerUnavailable ? `not there: ${text}` : `round ${round + 1}: ${text}`,
    );
    say(entry.trouble.at(-1)!.split('\n')[0]!);
  }
}

/** What is wrong with the rows of one run. */
function check(rows: readonly Row[]): string[] {
  const wrong = rows
    .filter(({ right }) => !right)
    .map(({ name }) => `${name}: the guest computed a wrong result`);
  const longest = rows.reduce<Row | undefined>(
    (best, row) => (row.hostSeconds !== undefined && row.seconds > (best?.seconds ?? 0) ? row : best),
    undefined,
  );
  if (longest?.hostSeconds === undefined) return wrong;
  const { name, seconds, hostSeconds } = longest;
  if (Math.abs(seconds / hostSeconds - 1) <= CLOCK_TOLERANCE) return wrong;
  const clocks = `${seconds.toFixed(2)} s by the guest's clock, ${hostSeconds.toFixed(2)} s by the host's`;
  return [...wrong, `${name}: ${clocks}: don't trust the guest's figures`];
}

/** Seconds of a row in each round; a hole where there was none. */
function sample(entry: Entry, name: string): (number | undefined)[] {
  return entry.rounds.map((rows) => rows?.find((row) => row.name === name)?.seconds);
}

const known = (values: readonly (number | undefined)[]): number[] =>
  values.filter((value) => value !== undefined);

function report(arch: Architecture, entries: readonly Entry[]): void {
  const there = entries.filter(({ rounds }) => rounds.some((rows) => rows !== undefined));
  const [base, ...others] = there;
  if (base === undefined) return;
  const rows = ROWS.filter(({ name }) => known(sample(base, name)).length > 0);
  const ratios = others.map((other) =>
    rows.map(({ name }) => ratio(sample(other, name), sample(base, name))),
  );
  const cell = (values: readonly number[]): string => (values.length > 0 ? show(summarize(values), 2) : '–');
  process.stdout.write('\n');
  printTable([
    [
      `${arch}, seconds`,
      ...there.map(({ peer }) => peer.name),
      ...others.map(({ peer }) => `${peer.name} / ${base.peer.name}`),
    ],
    ...rows.map(({ name, title }, i) => [
      title,
      ...there.map((entry) => cell(known(sample(entry, name)))),
      ...ratios.map((column) => (name === 'kernel-clock' ? '' : (column[i]?.toFixed(2) ?? '–'))),
    ]),
    ...(others.length === 0
      ? []
      : [
          [
            'geometric mean',
            ...there.map(() => ''),
            ...ratios.map((column) =>
              geometricMean(known(column.filter((_, i) => rows[i]!.counts))).toFixed(2),
            ),
          ],
        ]),
  ]);
}

/** The median over the rounds of how many times longer one takes than the other. */
function ratio(
  theirs: readonly (number | undefined)[],
  ours: readonly (number | undefined)[],
): number | undefined {
  const ratios = known(
    theirs.map((time, i) => (time === undefined || ours[i] === undefined ? undefined : time / ours[i])),
  );
  return ratios.length === 0 ? undefined : summarize(ratios).median;
}

function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

function reportTrouble(entries: readonly Entry[]): void {
  for (const { peer, trouble } of entries) {
    for (const text of trouble) process.stdout.write(`${peer.name} ${peer.arch}: ${text}\n`);
  }
}

function writeJson(path: string, entries: readonly Entry[], cpu: number | undefined): void {
  const peers = entries.map(({ peer, rounds, trouble }) => ({
    name: peer.name,
    arch: peer.arch,
    trouble,
    medians: Object.fromEntries(
      ROWS.map(
        ({ name }) =>
          [name, known(rounds.map((rows) => rows?.find((row) => row.name === name)?.seconds))] as const,
      )
        .filter(([, values]) => values.length > 0)
        .map(([name, values]) => [name, summarize(values)]),
    ),
    rounds,
  }));
  const host = { processor: hostProcessor(), node: process.version, cpu: cpu ?? 'any' };
  writeFileSync(path, `${JSON.stringify({ host, peers }, null, 2)}\n`);
}

/** @throws Error that names what there is */
function list(flag: string, text: string | undefined, all: readonly string[]): string[] {
  const names = text === undefined ? [...all] : text.split(',');
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length > 0)
    throw new Error(`${flag}: there is no '${unknown.join("', '")}': there are ${all.join(', ')}`);
  return names;
}

function processor(text: string | undefined): number | undefined {
  if (text === 'any') return undefined;
  const cpu = text === undefined ? cpus().length - 1 : Number(text);
  return canPin(cpu) ? cpu : undefined;
}
