/**
 * `npm run bench -- exits`: what a port-I/O exit costs on KVM, from the guest's instruction through FFI,
 * dispatch and a real serial register and back, beside a C loop of the same ioctls on the same /dev/kvm.
 * The two are run in turns, so that whatever else the host does meets both.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../src/guests.ts';
import { type TraceConfig, Vm } from '../src/index.ts';
import { probeDriver } from '../vm/drivers.ts';
import { END, exitsGuest, START } from './exits-guest.ts';
import { printTable, show, summarize } from './report.ts';

/** The UART's scratch register. */
const PORT = 0x3ff;

export async function benchExits(options: { rounds: number; count: number }): Promise<void> {
  const { support } = await probeDriver('kvm');
  if (support.capabilities === undefined) {
    process.stdout.write(`exits: can't run here: ${support.reason}\n`);
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'type2-bench-'));
  try {
    const peer = compilePeer(folder);
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let round = 0; round < options.rounds; round++) {
      ours.push(await runOurs(folder, options.count));
      if (peer !== undefined)
        theirs.push(Number(execFileSync(peer, [String(options.count), String(PORT)])) / options.count);
      process.stderr.write(`\rexits: round ${round + 1} of ${options.rounds} `);
    }
    process.stderr.write('\n');
    const rows = [
      ['PIO write to a serial register', 'ns an exit', 'rate to C'],
      ['type2 on kvm', show(summarize(ours)), ''],
    ];
    if (theirs.length > 0) {
      const ratio = summarize(theirs.map((time, i) => time / ours[i]!));
      rows[1]![2] = show(ratio, 3);
      rows.push(['C loop', show(summarize(theirs)), '1']);
    } else rows.push(['C loop', 'no C compiler: install gcc and linux-libc-dev', '']);
    printTable(rows);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Nanoseconds an exit on KVM. @param trace - what is traced meanwhile; events go nowhere */
export async function runOurs(folder: string, count: number, trace?: TraceConfig): Promise<number> {
  const kernel = join(folder, 'guest.bin');
  writeFileSync(kernel, exitsGuest(PORT, count));
  await using vm = await Vm.create({
    engine: 'kvm',
    kernel,
    protocol: 'flat',
    memory: '1M',
    console: 'none',
    rng: false,
    trace,
  });
  vm.trace?.events.resume();
  const marks = new Map<number, number>();
  vm.on('boot-mark', (mark, milliseconds) => marks.set(mark, milliseconds));
  vm.console.output.resume();
  await vm.start();
  const outcome = await vm.ended;
  const [start, end] = [marks.get(START), marks.get(END)];
  if (outcome.kind !== 'power-off' || start === undefined || end === undefined) {
    throw new Error(`the guest of the exit benchmark ended with ${outcome.kind}`, { cause: outcome.error });
  }
  return ((end - start) * 1e6) / count;
}

/** @returns the program, or undefined where there is no compiler */
function compilePeer(folder: string): string | undefined {
  const program = join(folder, 'exits');
  const built = spawnSync('cc', ['-O2', '-o', program, join(packageRoot(), 'bench/exits.c')]);
  return built.status === 0 ? program : undefined;
}
