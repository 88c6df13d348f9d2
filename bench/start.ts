/**
 * `npm run bench -- start`: from the start of the process to the guest's first instructions, on KVM. They
 * print a byte, and its way to stdout is in the figure.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../src/guests.ts';
import { probeDriver } from '../vm/drivers.ts';
import { printTable, show, summarize } from './report.ts';

/** mov dx, 0x3f8; mov al, '!'; out dx, al; then ACPI power-off: mov dx, 0x604; mov ax, 0x3400; out dx, ax; hlt */
const HELLO = Uint8Array.of(
  0xba,
  0xf8,
  0x03,
  0xb0,
  0x21,
  0xee,
  0xba,
  0x04,
  0x06,
  0xb8,
  0x00,
  0x34,
  0xef,
  0xf4,
);

export async function benchStart(options: { rounds: number }): Promise<void> {
  const { support } = await probeDriver('kvm');
  if (support.capabilities === undefined) {
    process.stdout.write(`start: can't run here: ${support.reason}\n`);
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'type2-bench-'));
  try {
    const kernel = join(folder, 'guest.bin');
    writeFileSync(kernel, HELLO);
    const cli = join(packageRoot(), 'dist/bin/main.cjs');
    const first: number[] = [];
    const node: number[] = [];
    for (let round = 0; round < options.rounds; round++) {
      first.push(
        await firstInstruction([
          cli,
          'run',
          '--engine',
          'kvm',
          '--kernel',
          kernel,
          '--protocol',
          'flat',
          '--memory',
          '256M',
        ]),
      );
      const start = performance.now();
      execFileSync(process.execPath, ['-e', '0']);
      node.push(performance.now() - start);
    }
    printTable([
      ['from process start', 'ms'],
      ['to the first guest instruction', show(summarize(first))],
      ['node -e 0, whole life, for comparison', show(summarize(node))],
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Milliseconds from spawning the process to the byte that the guest's first instructions print. */
async function firstInstruction(args: readonly string[]): Promise<number> {
  const start = performance.now();
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const printed = await new Promise<number>((resolve, reject) => {
    child.stdout.once('data', () => resolve(performance.now()));
    child.once('error', reject);
    child.once('exit', (status) => reject(new Error(`the guest printed nothing; exit status ${status}`)));
  });
  child.stdout.resume();
  await new Promise((resolve) => child.once('close', resolve));
  return printed - start;
}
