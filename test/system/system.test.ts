/**
 * System instructions: guests by hand that print what each check came to, on both lowerings of the CPU in TypeScript. What
 * they are to print is written by the manuals; test/rig runs the same on KVM.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';

const root = packageRoot();
const here = join(root, 'test/system');
const guests = readdirSync(here)
  .filter((file) => file.endsWith('.asm'))
  .map((file) => file.replace('.asm', ''));
const hasNasm = spawnSync('nasm', ['-v']).error === undefined;

function output(guest: string, engine: string): string {
  const kernel = join(here, `${guest}.bin`);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      ...[join(root, 'dist/bin/main.cjs'), 'run', '--engine', engine, '--quiet', '--timeout', '20'],
      ...['--kernel', kernel, '--protocol', 'flat', '--memory', '16M'],
    ],
    { encoding: 'latin1' },
  );
  expect(status, stderr + stdout).toBe(0);
  return stdout.replaceAll('\r\n', '\n');
}

describe.each(['interp', 'jit'])('on %s', (engine) => {
  it.each(guests)('%s', (guest) => {
    expect(output(guest, engine)).toBe(readFileSync(join(here, `${guest}.expected`), 'latin1'));
  });
});

it.skipIf(!hasNasm)('the guests are built from their sources, byte by byte (needs nasm)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'type2-system-'));
  try {
    const result = spawnSync('sh', [join(here, 'build.sh'), folder], { encoding: 'utf8' });
    expect(result.stderr).toBe('');
    expect(result.status).toBe(0);
    for (const guest of guests) {
      const [built, committed] = [folder, here].map((at) => readFileSync(join(at, `${guest}.bin`)));
      expect(built!.equals(committed!), guest).toBe(true);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
