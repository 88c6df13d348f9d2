/**
 * What comes before a guest's first instruction and after its last: a guest of a few bytes that prints one and
 * switches itself off, by the command line and by the library.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/guests.ts';
import { Vm } from '../../src/index.ts';
import { probeDriver } from '../../vm/drivers.ts';
import type { EngineName } from '../../vm/engine.ts';
import type { Progress } from '../progress.ts';
import type { Cell, Column, Row, Table } from '../report.ts';
import { summarize } from '../statistics.ts';

/** mov dx, 0x3f8; mov al, '!'; out dx, al; then ACPI power-off: mov dx, 0x604; mov ax, 0x3400; out dx, ax; hlt */
const HELLO = Uint8Array.from(Buffer.from('baf803b021eeba0406b80034eff4', 'hex'));
const MEMORY = '256M';

/** A row's title, by its name. */
const ROWS = {
  'first-instruction': 'process start to the first guest instruction',
  'process-end': "from there to the process's end",
  create: 'library: Vm.create',
  start: 'library: start to the first guest instruction',
  close: "library: from there to the run's end, all given back",
} as const;
type RowName = keyof typeof ROWS;
type Times = Record<RowName, number>;

/** Figures of each engine, and of an empty Node.js program for comparison. */
export async function tinyGuestTable(
  engines: readonly EngineName[],
  rounds: number,
  folder: string,
  progress: Progress,
): Promise<{ table: Table; errors: string[] }> {
  const kernel = join(folder, 'hello.bin');
  writeFileSync(kernel, HELLO);
  const samples = new Map<string, Times[]>();
  const node: number[] = [];
  const errors: string[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const engine of engines) {
      const { support } = await probeDriver(engine);
      if (support.capabilities === undefined || errors.some((text) => text.startsWith(`${engine}:`)))
        continue;
      progress(`round ${round + 1} of ${rounds}, tiny guest on ${engine}`);
      try {
        const times = { ...(await byCommand(engine, kernel)), ...(await byLibrary(engine, kernel)) };
        samples.set(engine, [...(samples.get(engine) ?? []), times]);
      } catch (error) {
        errors.push(`${engine}: the tiny guest: ${(error as Error).message}`);
      }
    }
    node.push((await timeProcess(['-e', '0'])).ended);
  }
  const columns: Column[] = [...samples.keys()].map((name) => ({ name, title: name }));
  columns.push({ name: 'node', title: 'node -e 0' });
  const rows = (Object.keys(ROWS) as RowName[]).map((name): Row => {
    const cells: Record<string, Cell> = {};
    for (const [engine, times] of samples) cells[engine] = summarize(times.map((time) => time[name]));
    if (name === 'process-end') cells['node'] = { text: '' };
    return { name, title: ROWS[name], unit: 'ms', better: 'less', cells };
  });
  rows.push({
    name: 'node',
    title: 'a whole process',
    unit: 'ms',
    better: 'less',
    cells: {
      ...Object.fromEntries(
        [...samples].map(([engine, times]): [string, Cell] => [
          engine,
          summarize(times.map((time) => time['first-instruction'] + time['process-end'])),
        ]),
      ),
      node: summarize(node),
    },
  });
  return { table: { name: 'tiny', title: 'tiny guest', columns, rows }, errors };
}

/** Milliseconds from spawning Node.js to its first output and to its end. */
async function timeProcess(args: readonly string[]): Promise<{ printed: number | undefined; ended: number }> {
  const start = performance.now();
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed: number | undefined;
  child.stdout.on('data', () => {
    printed ??= performance.now() - start;
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (status !== 0) throw new Error(`exit status ${status}`);
  return { printed, ended: performance.now() - start };
}

async function byCommand(
  engine: EngineName,
  kernel: string,
): Promise<Pick<Times, 'first-instruction' | 'process-end'>> {
  const cli = join(packageRoot(), 'dist/bin/main.cjs');
  const args = [
    'run',
    '--engine',
    engine,
    '--kernel',
    kernel,
    '--protocol',
    'flat',
    '--memory',
    MEMORY,
    '--quiet',
  ];
  const { printed, ended } = await timeProcess([cli, ...args]);
  if (printed === undefined) throw new Error('it printed nothing');
  return { 'first-instruction': printed, 'process-end': ended - printed };
}

async function byLibrary(
  engine: EngineName,
  kernel: string,
): Promise<Pick<Times, 'create' | 'start' | 'close'>> {
  const began = performance.now();
  const vm = await Vm.create({ engine, kernel, protocol: 'flat', memory: MEMORY, onReset: 'end' });
  const created = performance.now();
  const printed = new Promise<number>((resolve) => {
    vm.console.output.once('data', () => resolve(performance.now()));
  });
  await vm.start();
  vm.console.output.resume();
  const first = await printed;
  const { kind } = await vm.ended;
  await vm.stop();
  if (kind !== 'power-off') throw new Error(`it ended with ${kind}`);
  return { create: created - began, start: first - created, close: performance.now() - first };
}
