/**
 * `--deterministic`: what a guest prints and how many instructions it takes are the same each time, on both engines
 * of the CPU in TypeScript.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';

const CLI = join(packageRoot(), 'dist/bin/main.cjs');
const folder = mkdtempSync(join(tmpdir(), 'type2-deterministic-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function type2(args: readonly string[], input = '') {
  return spawnSync(process.execPath, [CLI, 'run', '--timeout', '55', ...args], {
    encoding: 'latin1',
    timeout: 60_000,
    input,
  });
}

interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly instructions: number;
}

function repeatable(engine: string, args: readonly string[], input = ''): Run {
  const { status, stdout, stderr } = type2(
    ['--engine', engine, '--deterministic', '--stats', '--quiet', '--memory', '128M', ...args],
    input,
  );
  const instructions = Number(/^instructions +(\d+)$/m.exec(stderr)?.[1]);
  expect(stderr).toMatch(/^instructions +\d+$/m);
  return { status, stdout, instructions };
}

/** Processes, timers that expire in the middle of them, sleep, random numbers, the date. */
const COMMAND =
  'i=0; while [ $i -lt 5 ]; do i=$((i+1)); echo $i | sha256sum; done; sleep 0.7; date; cat /proc/uptime; head -c 20 /dev/random | od -x; grep timer /proc/interrupts';
const linux = (guest: string, ...more: string[]): string[] => [
  '--guest',
  guest,
  '--append',
  `console=ttyS0 type2.exec="${COMMAND}"`,
  ...more,
];

describe('a deterministic run', () => {
  it('of Linux is the same twice on jit, and on interp', () => {
    const first = repeatable('jit', linux('linux-x86_64'));
    expect(first.status).toBe(0);
    expect(first.stdout).toMatch(/Wed Jan {2}1 00:00:00 UTC 2025/);
    expect(first.stdout).toContain('reboot: Power down');
    expect(repeatable('jit', linux('linux-x86_64'))).toEqual(first);
    expect(repeatable('interp', linux('linux-x86_64'))).toEqual(first);
  }, 120_000);

  it('of 32-bit Linux on two vCPUs is the same on jit and interp', () => {
    const first = repeatable('jit', linux('linux-i386', '--cpus', '2'));
    expect(first.status).toBe(0);
    expect(repeatable('interp', linux('linux-i386', '--cpus', '2'))).toEqual(first);
  }, 120_000);

  it('takes its input from a pipe', () => {
    const args = ['--append', 'console=ttyS0 quiet'];
    const first = repeatable('jit', args, 'echo one two\npoweroff\n');
    expect(first.stdout).toMatch(/# echo one two\r\none two\r\n/);
    expect(first.status).toBe(0);
    expect(repeatable('interp', args, 'echo one two\npoweroff\n')).toEqual(first);
  }, 120_000);

  it('does not depend on how fast its output is read', () => {
    // mov dx, 0x3f8; mov ecx, 200000; l: mov al, cl; out dx, al; loop l; mov al, 1; out 0xf4, al
    const code = [0xba, 0xf8, 0x03, 0x66, 0xb9, 0x40, 0x0d, 0x03, 0, 0x88, 0xc8, 0xee, 0x67, 0xe2, 0xfa];
    const kernel = join(folder, 'flood.bin');
    writeFileSync(
      kernel,
      Uint8Array.from([...code, 0xb0, 1, 0xe6, 0xf4, 0xf4, ...new Array<number>(32).fill(0)]),
    );
    const args = ['--kernel', kernel, '--protocol', 'flat', '--debug-exit'];
    const runs = ['jit', 'jit', 'interp'].map((engine) => repeatable(engine, args));
    expect(runs[0]).toMatchObject({ status: 3, instructions: 2 + 3 * 200_000 + 2 });
    expect(runs[0]!.stdout.length).toBe(200_000);
    expect(runs[1]).toEqual(runs[0]);
    expect(runs[2]).toEqual(runs[0]);
  }, 60_000);

  it('takes a timer’s interrupts at the same instructions', () => {
    const [first, ...others] = ['jit', 'jit', 'interp'].map((engine) =>
      repeatable(engine, ['--guest', 'interrupt']),
    );
    expect(first!.stdout).toContain('Ten timer ticks');
    for (const other of others) expect(other).toEqual(first);
  });

  it('is refused on kvm, with what to do', () => {
    const { status, stderr } = type2(['--deterministic', '--engine', 'kvm']);
    expect(stderr).toMatch(/virtual time[\s\S]*--engine jit/);
    expect(status).toBe(2);
  });

  it('refuses more input than it can take', () => {
    const { status, stderr } = type2(['--deterministic', '--engine', 'jit'], 'x'.repeat(2 ** 20 + 1));
    expect(stderr).toMatch(/stdin has more than the 1024 KiB/);
    expect(status).toBe(2);
  });
});
