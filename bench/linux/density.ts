/**
 * `npm run bench -- density`: what 1, 4 and 16 idle machines take, each a process of its own: memory, the time until
 * the last of them is up, and the processor while all of them idle. Linux at its shell's prompt; where Linux can't run
 * on KVM, a guest there that halts and waits.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundledGuest, packageRoot } from '../../src/guests.ts';
import { probeDriver } from '../../vm/drivers.ts';
import type { EngineName } from '../../vm/engine.ts';
import { firstLine } from '../host.ts';
import { progressOf } from '../progress.ts';
import type { Cell, Part, Row, Table, Unit } from '../report.ts';
import { summarize } from '../statistics.ts';

/** Options of the density benchmark. */
export interface DensityOptions {
  readonly engines: readonly EngineName[];
  readonly short: boolean;
  readonly rounds: number;
}

const NUMBERS = [1, 4, 16] as const;
const MEMORY_MB = 64;
const APPEND = 'console=ttyS0 loglevel=3';
/** What the bundled guest says when its shell is there. */
const LINUX_UP = 'Type2 guest, Linux';
/**
 * Masks both PICs, prints a byte, and halts with interrupts on, again and again: mov al, 0xff; out 0x21, al;
 * out 0xa1, al; mov dx, 0x3f8; mov al, '!'; out dx, al; sti; again: hlt; jmp again
 */
const HALTING = Uint8Array.from(Buffer.from('b0ffe621e6a1baf803b021eefbf4ebfd', 'hex'));
const HALTING_UP = '!';
const PATIENCE_MS = 180_000;
/** After the last machine is up, until the processor's use is looked at, and for how long, in ms. */
const SETTLE_MS = 2000;
const WATCH_MS = 5000;
/** Ticks of /proc's processor times a second, on x86 always. */
const TICKS = 100;
const PAGE_KB = 4;

/** A VMM with an idle guest. */
interface Idler {
  readonly name: string;
  readonly title: string;
  readonly command: readonly string[];
  /** What it prints when the guest is up. */
  readonly up: string;
}

/** What so many machines took. */
interface Load {
  /** Milliseconds from the first process's start until all guests are up. */
  readonly start: number;
  /** Memory of one, in MB: its share of pages that several map counts in part. */
  readonly memory: number;
  /** Percent of one processor, all together. */
  readonly processor: number;
}

export async function benchDensity(options: DensityOptions): Promise<Part> {
  const began = performance.now();
  const notes: string[] = [];
  const errors: string[] = [];
  const progress = progressOf('density');
  const folder = mkdtempSync(join(tmpdir(), 'type2-bench-'));
  try {
    const idlers = await makeIdlers(options.engines, folder, notes);
    const numbers = options.short ? NUMBERS.slice(0, 1) : NUMBERS;
    const loads = new Map<string, Load[]>();
    for (let round = 0; round < options.rounds; round++) {
      for (const number of numbers) {
        for (const idler of idlers) {
          progress(`round ${round + 1} of ${options.rounds}, ${number} × ${idler.title}`);
          try {
            const load = await measure(idler, number, options.short);
            const key = `${idler.name}/${number}`;
            loads.set(key, [...(loads.get(key) ?? []), load]);
          } catch (error) {
            errors.push(`${number} × ${idler.title}: ${(error as Error).message}`);
          }
        }
      }
    }
    const table = densityTable(idlers, numbers, loads);
    const seconds = (performance.now() - began) / 1000;
    return { name: 'density', title: 'What idle machines take', tables: [table], notes, errors, seconds };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function makeIdlers(engines: readonly EngineName[], folder: string, notes: string[]): Promise<Idler[]> {
  const idlers: Idler[] = [];
  const type2 = (engine: string, ...args: string[]): string[] => {
    const cli = join(packageRoot(), 'dist/bin/main.cjs');
    return [
      process.execPath,
      cli,
      'run',
      '--engine',
      engine,
      '--memory',
      `${MEMORY_MB}M`,
      '--quiet',
      ...args,
    ];
  };
  for (const engine of engines) {
    const { support } = await probeDriver(engine);
    if (support.usable) {
      const command = type2(engine, '--append', APPEND);
      idlers.push({ name: engine, title: `type2 ${engine}, Linux`, command, up: LINUX_UP });
    } else if (support.capabilities !== undefined) {
      const kernel = join(folder, 'halting.bin');
      writeFileSync(kernel, HALTING);
      const command = type2(engine, '--kernel', kernel, '--protocol', 'flat');
      idlers.push({
        name: `${engine}-halting`,
        title: `type2 ${engine}, halting guest`,
        command,
        up: HALTING_UP,
      });
      notes.push(`${engine}: ${support.reason}: a guest that halts takes the place of Linux.`);
    } else notes.push(`${engine}: can't run here: ${support.reason}`);
  }
  if (firstLine('qemu-system-x86_64', '--version') === undefined)
    notes.push('no qemu-system-x86_64: sudo apt-get install qemu-system-x86');
  else {
    const { kernel, initrd } = bundledGuest('linux-x86_64');
    const args = ['-M', 'pc', '-accel', 'tcg', '-m', `${MEMORY_MB}`, '-nodefaults', '-display', 'none'];
    args.push('-serial', 'stdio', '-kernel', kernel, '-initrd', initrd!, '-append', APPEND);
    const command = ['qemu-system-x86_64', ...args];
    idlers.push({ name: 'qemu-tcg', title: 'qemu tcg, Linux', command, up: LINUX_UP });
  }
  return idlers;
}

async function measure(idler: Idler, number: number, short: boolean): Promise<Load> {
  const start = performance.now();
  const children = Array.from({ length: number }, () => launch(idler));
  try {
    await Promise.all(children.map(({ up }) => up));
    const up = performance.now();
    await delay(short ? SETTLE_MS / 4 : SETTLE_MS);
    const pids = children.map(({ child }) => child.pid!);
    const before = processorTime(pids);
    const from = performance.now();
    await delay(short ? WATCH_MS / 5 : WATCH_MS);
    const used = processorTime(pids) - before;
    return {
      start: up - start,
      memory: pids.reduce((sum, pid) => sum + memoryOf(pid), 0) / number,
      processor: (100 * used) / ((performance.now() - from) / 1000),
    };
  } finally {
    await Promise.all(children.map(({ child }) => end(child)));
  }
}

/** Starts a machine. `up` is rejected when it ends before its guest is there, or is silent for too long. */
function launch({ command, up }: Idler): { child: ChildProcess; up: Promise<void> } {
  const [program, ...args] = command as [string, ...string[]];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'] });
  const there = new Promise<void>((resolve, reject) => {
    let printed = '';
    const timer = setTimeout(() => reject(new Error('the guest did not come up')), PATIENCE_MS);
    child.stdout!.on('data', (chunk: Buffer) => {
      printed = (printed + chunk.toString('latin1')).slice(-4096);
      if (!printed.includes(up)) return;
      clearTimeout(timer);
      resolve();
    });
    child.once('error', reject);
    child.once('close', () => {
      clearTimeout(timer);
      reject(new Error('the machine ended before its guest was up'));
    });
  });
  // Several fail together; the first one is told.
  there.catch(() => {});
  return { child, up: there };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGKILL');
  await closed;
}

/** Seconds of processor time that processes have used. proc(5), /proc/pid/stat, fields 14 and 15. */
function processorTime(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
    return sum + (Number(fields[11]) + Number(fields[12])) / TICKS;
  }, 0);
}

/** Memory of a process in MB: the proportional set size, or where the kernel doesn't tell it the resident one. */
function memoryOf(pid: number): number {
  try {
    const kilobytes = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1];
    if (kilobytes !== undefined) return Number(kilobytes) / 1000;
  } catch {
    // Older kernels have no such file.
  }
  const pages = Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]);
  return (pages * PAGE_KB) / 1000;
}

function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function densityTable(
  idlers: readonly Idler[],
  numbers: readonly number[],
  loads: ReadonlyMap<string, readonly Load[]>,
): Table {
  const figures: readonly (readonly [keyof Load, string, Unit])[] = [
    ['start', 'until all are up', 'ms'],
    ['memory', 'memory of each', 'MB'],
    ['processor', 'processor while idle, all together', '%'],
  ];
  const rows = figures.flatMap(([figure, title, unit]) =>
    numbers.map((number): Row => {
      const cells = idlers.flatMap(({ name }): [string, Cell][] => {
        const sample = loads.get(`${name}/${number}`);
        return sample === undefined ? [] : [[name, summarize(sample.map((load) => load[figure]))]];
      });
      const cellsByName = Object.fromEntries(cells);
      return {
        name: `${figure}-${number}`,
        title: `${number}: ${title}`,
        unit,
        better: 'less',
        cells: cellsByName,
      };
    }),
  );
  const columns = idlers.map(({ name, title }) => ({ name, title }));
  return { name: 'idle', title: `idle machines of ${MEMORY_MB} MiB`, columns, rows };
}
