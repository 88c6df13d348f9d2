/**
 * `npm run bench -- boot`: from the start of a process to a guest's end.
 *
 * Linux: Type2 on each engine that can, QEMU and v86, and kvmtool where there is KVM, boot one kernel with one
 * initramfs to a first process that switches the machine off. Times by the host's clock, from the start of the
 * process. A tiny guest, whose first instructions print a byte, shows what comes before any guest code.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { probeDriver } from '../../vm/drivers.ts';
import type { EngineName } from '../../vm/engine.ts';
import { type Flags, list } from '../options.ts';
import { progressOf } from '../progress.ts';
import type { Part } from '../report.ts';
import { makeGuest } from './guest.ts';
import { describePeers, FAMILIES, kvmtoolPeer, type Peer, qemuPeer, type2Peer, v86Peer } from './peers.ts';
import { tinyGuestTable } from './tiny.ts';
import { type PeerRow, peerTable, secondsOf, takeTurns } from './turns.ts';
import type { GuestRun } from './watch.ts';

/** Options of the boot benchmark. */
export interface BootOptions {
  readonly rounds: number;
  readonly engines: readonly EngineName[];
  readonly short: boolean;
}

/** A row that the guest's program doesn't have: it measures nothing then. */
const NO_ROWS = ['nothing'];

const start = secondsOf('start');
const milliseconds = (value: number | undefined): number | undefined => value && value * 1000;

const ROWS: readonly PeerRow[] = [
  row('kernel', "process start to the kernel's first line", ({ entered }) => milliseconds(entered)),
  row('init', 'process start to /init', (run) => milliseconds(start(run))),
  row('kernel-to-init', 'first line to /init', (run) => {
    const [entered, init] = [run.entered, start(run)];
    return entered === undefined || init === undefined ? undefined : (init - entered) * 1000;
  }),
  row('power-off', "/init's end to the process's", ({ ending }) => milliseconds(ending)),
];

function row(name: string, title: string, value: (run: GuestRun) => number | undefined): PeerRow {
  return { name, title, unit: 'ms', better: 'less', value };
}

export async function benchBoot(options: BootOptions, flags: Flags): Promise<Part> {
  const began = performance.now();
  const only = flags.only === undefined ? FAMILIES : list('--only', flags.only, FAMILIES);
  const notes: string[] = describePeers(only);
  const progress = progressOf('boot');
  const { support } = await probeDriver('kvm');
  if (!support.usable)
    notes.push(`kvm: can't boot Linux here: ${support.reason}; QEMU on KVM and kvmtool neither.`);
  const folder = mkdtempSync(join(tmpdir(), 'type2-bench-'));
  try {
    const run = { cpu: undefined, patience: 120 };
    const guest = makeGuest('x86_64', folder, NO_ROWS);
    const peers: Peer[] = [];
    if (only.includes('type2')) {
      const able = options.engines.filter((engine) => engine !== 'kvm' || support.usable);
      peers.push(...able.map((engine) => type2Peer(engine, guest, run)));
    }
    if (only.includes('qemu')) {
      if (support.usable) peers.push(qemuPeer(guest, run, { accelerator: 'kvm', machine: 'microvm' }));
      peers.push(qemuPeer(guest, run, { accelerator: 'tcg', machine: 'pc' }));
      peers.push(qemuPeer(guest, run, { accelerator: 'tcg', machine: 'microvm' }));
    }
    if (only.includes('kvmtool') && support.usable) peers.push(kvmtoolPeer(guest, run));
    const entries = await takeTurns(peers, options.rounds, progress);
    const tables = [peerTable('linux-x86_64', 'Linux, x86-64', entries, ROWS)];
    // Beside the CPU in TypeScript, if that takes part.
    const engine = options.engines.find((name) => name !== 'kvm');
    if (engine !== undefined && only.includes('v86') && !options.short) {
      const small = makeGuest('i386', folder, NO_ROWS);
      const both = await takeTurns(
        [type2Peer(engine, small, run), v86Peer(small, run)],
        options.rounds,
        progress,
      );
      entries.push(...both);
      tables.push(peerTable('linux-i386', 'Linux, i386', both, ROWS));
    }
    const tiny = await tinyGuestTable(options.engines, options.rounds, folder, progress);
    const errors = [...entries.flatMap((entry) => entry.errors), ...tiny.errors];
    const seconds = (performance.now() - began) / 1000;
    return {
      name: 'boot',
      title: 'How long a start takes',
      tables: [tiny.table, ...tables],
      notes,
      errors,
      seconds,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
