/**
 * `npm run bench -- blk`: virtio-blk on a raw file, beside QEMU with the same image and the same kernel. The guest
 * reads and writes past its page cache, and checks what it reads; the host's page cache takes part for all alike, but
 * in flushes. Times by the host's clock: some guests have none worth the name.
 */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { probeDriver } from '../../vm/drivers.ts';
import type { EngineName } from '../../vm/engine.ts';
import { progressOf } from '../progress.ts';
import type { Part } from '../report.ts';
import { makeGuest } from './guest.ts';
import { describePeers, type Peer, qemuPeer, type2Peer } from './peers.ts';
import { type PeerRow, peerTable, takeTurns } from './turns.ts';
import type { GuestRun } from './watch.ts';

/** Options of the disk benchmark. */
export interface BlkOptions {
  readonly rounds: number;
  readonly engines: readonly EngineName[];
  readonly short: boolean;
}

/** As in bench/guest/disk.h. */
const DISK_SIZE = 256 * 2 ** 20;
const BLOCK = 4096;
const RANDOM_TRANSFERS = 4000;
const FLUSHES = 300;

const ROWS: readonly PeerRow[] = [
  throughput('seq-write', 'sequential write of 256 MiB'),
  throughput('seq-read', 'sequential read of 256 MiB'),
  latency('rand-read', 'random read of 4 KiB', RANDOM_TRANSFERS),
  latency('rand-write', 'random write of 4 KiB', RANDOM_TRANSFERS),
  latency('flush', 'write of 4 KiB and flush', FLUSHES),
];
const SHORT_ROWS = ['seq-read', 'rand-read', 'flush'];

function hostSeconds(name: string): (run: GuestRun) => number | undefined {
  return (run) => run.rows.find((row) => row.name === name)?.hostSeconds;
}

function throughput(name: string, title: string): PeerRow {
  const seconds = hostSeconds(name);
  const value = (run: GuestRun): number | undefined => {
    const taken = seconds(run);
    return taken && DISK_SIZE / 1e6 / taken;
  };
  return { name, title, unit: 'MB/s', better: 'more', value, counts: true };
}

function latency(name: string, title: string, count: number): PeerRow {
  const seconds = hostSeconds(name);
  const value = (run: GuestRun): number | undefined => {
    const taken = seconds(run);
    return taken && (taken / count) * 1e6;
  };
  return { name, title, unit: 'µs', better: 'less', value, counts: true };
}

export async function benchBlk(options: BlkOptions): Promise<Part> {
  const began = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'type2-bench-'));
  try {
    const disk = { path: join(folder, 'disk.img') };
    makeDisk(disk.path);
    const { support } = await probeDriver('kvm');
    const notes = describePeers(['qemu']);
    if (!support.usable) notes.push(`kvm: Linux can't run here: ${support.reason}.`);
    const rows = ROWS.map(({ name }) => name).filter((name) => !options.short || SHORT_ROWS.includes(name));
    const guest = makeGuest('x86_64', folder, rows);
    const run = { cpu: undefined, patience: 120 };
    const peers: Peer[] = options.engines
      .filter((engine) => engine !== 'kvm' || support.usable)
      .map((engine) => type2Peer(engine, guest, run, disk));
    if (support.usable) peers.push(qemuPeer(guest, run, { accelerator: 'kvm', machine: 'microvm' }, disk));
    peers.push(qemuPeer(guest, run, { accelerator: 'tcg', machine: 'microvm' }, disk));
    const entries = await takeTurns(peers, options.rounds, progressOf('blk'));
    const tables = [peerTable('raw', 'virtio-blk on a raw file', entries, ROWS)];
    const errors = entries.flatMap((entry) => entry.errors);
    const seconds = (performance.now() - began) / 1000;
    return { name: 'blk', title: 'How fast disks are', tables, notes, errors, seconds };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A disk of which each block begins with its number. */
function makeDisk(path: string): void {
  const file = openSync(path, 'wx');
  try {
    ftruncateSync(file, DISK_SIZE);
    const chunk = Buffer.alloc(2 ** 20);
    for (let at = 0; at < DISK_SIZE; at += chunk.length) {
      for (let i = 0; i < chunk.length; i += BLOCK) chunk.writeUInt32LE((at + i) / BLOCK, i);
      writeSync(file, chunk, 0, chunk.length, at);
    }
  } finally {
    closeSync(file);
  }
}
