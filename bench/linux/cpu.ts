/**
 * `npm run bench -- cpu`: the CPU in TypeScript beside QEMU's TCG and v86. All boot the same guest and take
 * turns, so that whatever else the host does meets all of them.
 *
 * How time is taken:
 * - The guest's rows by its own CLOCK_MONOTONIC. The longest row of each run is checked against the host's
 *   clock, since a VMM whose guest clock goes slow would look fast.
 * - "Kernel entry to /init" by the host's clock, from the first line of the kernel's real-mode part to the
 *   first line of the first process: what firmware a VMM runs before that doesn't count. Type2 skips the kernel's
 *   real-mode part, so that there is no such line; its time runs from the guest's first instruction, as it says
 *   itself in its statistics. Unpacking the kernel is in it either way.
 * - "Process start to /init" by the host's clock, for all alike: what a user waits for.
 * - "Kernel's clock at /init" is what the guest believes to have passed by then, as printk's times do. It
 *   begins after unpacking the kernel and is no result, only a check.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EngineName } from '../../vm/engine.ts';
import { count, type Flags, list } from '../options.ts';
import { progressOf } from '../progress.ts';
import type { Part } from '../report.ts';
import { ARCHITECTURES, type Architecture, GUEST_ROWS, makeGuest } from './guest.ts';
import { describePeers, FAMILIES, type Family, type Peer, qemuPeer, type2Peer, v86Peer } from './peers.ts';
import { type PeerRow, peerTable, secondsOf, takeTurns, wrongRows } from './turns.ts';
import { canPin, type GuestRun, type RunOptions } from './watch.ts';

/** Options of the CPU benchmark. */
export interface CpuOptions {
  readonly rounds: number;
  /** Engines that are to take part: those in TypeScript. */
  readonly engines: readonly EngineName[];
  readonly short: boolean;
}

/** Rows in the order of the report. Those in brackets don't count for the mean: they repeat or check another. */
const ROWS: readonly PeerRow[] = [
  row('init', 'kernel entry to /init', true),
  ...[...GUEST_ROWS].map(([name, title]) => row(name, title, true)),
  row('start', '(process start to /init)', false),
  row('kernel-clock', "(kernel's clock at /init)", false),
];

function row(name: string, title: string, counts: boolean): PeerRow {
  return { name, title, unit: 's', better: 'less', value: secondsOf(name), counts };
}

/** What a short run measures. */
const SHORT_ROWS = ['crc32', 'getppid', 'sha256'];

/** By how much the guest's clock may differ from the host's. */
const CLOCK_TOLERANCE = 0.05;

export async function benchCpu(options: CpuOptions, flags: Flags): Promise<Part> {
  const began = performance.now();
  const only =
    flags.only === undefined && options.short ? SHORT_FAMILIES : list('--only', flags.only, FAMILIES);
  const architectures = list('--arch', flags.arch, ARCHITECTURES);
  const rows =
    flags.rows === undefined
      ? options.short
        ? SHORT_ROWS
        : []
      : list('--rows', flags.rows, [...GUEST_ROWS.keys()]);
  const patience = flags.patience === undefined ? 120 : count('--patience', flags.patience, 1, 100_000);
  const cpu = processor(flags.pin);
  const folder = mkdtempSync(join(tmpdir(), 'type2-bench-'));
  try {
    const peers = makePeers(architectures, only, options.engines, folder, rows, { cpu, patience });
    const entries = await takeTurns(peers, options.rounds, progressOf('cpu'), wrongRows);
    const tables = architectures.map((arch) => {
      const ofArch = entries.filter(({ peer }) => peer.arch === arch);
      return peerTable(arch, arch, ofArch, ROWS);
    });
    const clocks = entries.flatMap(({ peer, runs }) =>
      runs.flatMap((run) =>
        run === undefined ? [] : clockTrouble(run).map((text) => `${peer.title} ${peer.arch}: ${text}`),
      ),
    );
    const notes = [
      [
        ...describePeers(only),
        cpu === undefined ? 'peers run on any processor' : `each is tied to processor ${cpu}`,
      ].join('; '),
      ...clocks,
    ];
    const errors = entries.flatMap((entry) => entry.errors);
    const seconds = (performance.now() - began) / 1000;
    return { name: 'cpu', title: 'How fast the CPU in TypeScript is', tables, notes, errors, seconds };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const SHORT_FAMILIES: readonly Family[] = ['type2', 'qemu'];

/** In the order in which they take turns; the first of each architecture is what others are compared to. */
function makePeers(
  architectures: readonly Architecture[],
  only: readonly Family[],
  engines: readonly EngineName[],
  folder: string,
  rows: readonly string[],
  run: RunOptions,
): Peer[] {
  return architectures.flatMap((arch) => {
    const guest = makeGuest(arch, folder, rows);
    const peers: Peer[] = [];
    if (only.includes('type2')) peers.push(...engines.map((engine) => type2Peer(engine, guest, run)));
    if (only.includes('qemu')) peers.push(qemuPeer(guest, run, { accelerator: 'tcg', machine: 'pc' }));
    // v86 knows no long mode.
    if (only.includes('v86') && arch === 'i386') peers.push(v86Peer(guest, run));
    return peers;
  });
}

/** Whether the guest's clock goes wrong, by the longest row that the host's clock saw as well. A timing, not an error. */
function clockTrouble({ rows }: GuestRun): string[] {
  const seen = rows.filter(({ hostSeconds }) => hostSeconds !== undefined);
  const [longest] = [...seen].sort((a, b) => b.seconds - a.seconds);
  if (longest?.hostSeconds === undefined) return [];
  const { name, seconds, hostSeconds } = longest;
  if (Math.abs(seconds / hostSeconds - 1) <= CLOCK_TOLERANCE) return [];
  const clocks = `${seconds.toFixed(2)} s by the guest's clock, ${hostSeconds.toFixed(2)} s by the host's`;
  return [`${name}: ${clocks}: don't trust this round's figures`];
}

function processor(text: string | undefined): number | undefined {
  if (text === 'any') return undefined;
  const cpu = text === undefined ? cpus().length - 1 : count('--pin', text, 0, cpus().length - 1);
  return canPin(cpu) ? cpu : undefined;
}
