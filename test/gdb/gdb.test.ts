/**
 * Stock gdb on both sides: what it shows of a program of the host's after each of a hundred steps, and of the same
 * code in a guest, is the same, register for register. And gdb in a Linux guest.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';
import { probeDriver } from '../../vm/drivers.ts';

const CLI = join(packageRoot(), 'dist/bin/main.cjs');
const SOURCE = fileURLToPath(new URL('steps.asm', import.meta.url));
const STEPS = 100;
const folder = mkdtempSync(join(tmpdir(), 'type2-gdb-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const missing = ['gdb', 'nasm'].filter((tool) => spawnSync(tool, ['--version']).error !== undefined);
const why =
  process.platform !== 'linux' || process.arch !== 'x64'
    ? ' (skipped: the host is no Linux on x86-64)'
    : missing.length > 0
      ? ` (skipped: apt-get install ${missing.join(' ')})`
      : '';
const { support } = await probeDriver('kvm');

/** Assembles the program. */
function assemble(...defines: string[]): string {
  const path = join(folder, `steps${defines.join('')}`);
  const result = spawnSync('nasm', ['-f', 'bin', ...defines, '-o', path, SOURCE], { encoding: 'utf8' });
  expect(result.stderr).toBe('');
  chmodSync(path, 0o755);
  return path;
}

/** Commands that step and print all registers that both sides share. */
function stepScript(wide: boolean, withFpu: boolean): string {
  const general = wide
    ? [
        'rax',
        'rbx',
        'rcx',
        'rdx',
        'rsi',
        'rdi',
        'rbp',
        'rsp',
        ...Array.from({ length: 8 }, (_, i) => `r${8 + i}`),
        'rip',
      ]
    : ['eax', 'ebx', 'ecx', 'edx', 'esi', 'edi', 'ebp', 'esp', 'eip'];
  const print = [
    ...general.map((name) => `printf "${name} %#lx\\n", $${name}`),
    // Without IF, which is the host's or the guest's affair, and AF, which many instructions leave undefined.
    'printf "eflags %#x\\n", $eflags & 0xcc5',
    ...(withFpu
      ? [
          'info registers st0 st1 st2 st3 st4 st5 st6 st7 fctrl fstat ftag mxcsr',
          ...Array.from({ length: wide ? 16 : 8 }, (_, i) => `p/x $xmm${i}.v2_int64`),
        ]
      : []),
  ];
  const path = join(folder, `script-${wide}-${withFpu}.gdb`);
  writeFileSync(
    path,
    [
      'set $n = 0',
      `while $n < ${STEPS}`,
      'stepi',
      'printf "step %d\\n", $n',
      ...print,
      'set $n = $n + 1',
      'end',
      '',
    ].join('\n'),
  );
  return path;
}

/**
 * Without the flags of steps that end within a repeated instruction (REPE CMPS), and so stay where they are. Some
 * processors write them at each iteration, others at the end (SDM volume 2B, REP).
 */
function withoutFlagsInRepeats(steps: string): string {
  const place = (step: string | undefined): string | undefined => /^[re]ip (.*)$/m.exec(step ?? '')?.[1];
  const each = steps.split(/^(?=step )/m);
  return each
    .map((step, i) => (place(step) === place(each[i - 1]) ? step.replace(/^eflags .*$/m, 'eflags -') : step))
    .join('');
}

/** What gdb prints from the first step on. */
function gdb(...args: string[]): { steps: string; all: string } {
  const { stdout, stderr } = spawnSync(
    'gdb',
    ['-nx', '-batch', '-ex', 'set pagination off', '-ex', 'set confirm off', ...args],
    {
      encoding: 'utf8',
      timeout: 120_000,
    },
  );
  const lines = stdout.split('\n').filter((line) => !/ in \?\? \(\)$/.test(line));
  return {
    steps: withoutFlagsInRepeats(
      lines.slice(lines.indexOf('step 0')).join('\n').split('[Inferior')[0]!.trim(),
    ),
    all: stdout + stderr,
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Runs a guest, and gdb on it. */
async function inGuest(
  machine: readonly string[],
  ...commands: string[]
): Promise<{ steps: string; all: string }> {
  const port = await freePort();
  const child = spawn(
    process.execPath,
    [CLI, 'run', '--quiet', '--console', 'none', '--timeout', '100', ...machine, '--gdb', `${port},wait`],
    { stdio: 'ignore' },
  );
  try {
    // gdb tries for so many seconds.
    return gdb(
      '-ex',
      'set tcp connect-timeout 30',
      '-ex',
      `target remote 127.0.0.1:${port}`,
      ...commands,
      '-ex',
      'kill',
    );
  } finally {
    child.kill();
    await new Promise((resolve) => child.once('close', resolve));
  }
}

/** Entry point of an ELF file. */
function entryOf(path: string, wide: boolean): string {
  const file = readFileSync(path);
  return `*0x${(wide ? file.readBigUInt64LE(24) : BigInt(file.readUInt32LE(24))).toString(16)}`;
}

describe.skipIf(why !== '')(`gdb on the host and on a guest agree${why}`, () => {
  for (const engine of ['jit', 'interp', 'kvm'] as const) {
    for (const wide of [true, false]) {
      const noKvm = engine === 'kvm' && support.capabilities === undefined;
      // A KVM without hardware knows no SSE, and does all of a repeated instruction in one step.
      const plain = engine === 'kvm' && !support.usable;
      const note = noKvm ? ` (skipped: ${support.reason})` : plain ? ', integer instructions only' : '';
      it.skipIf(noKvm)(
        `${STEPS} steps of ${wide ? 64 : 32}-bit code on ${engine}${note}`,
        async () => {
          const flags = [...(wide ? ['-DWIDE'] : []), ...(plain ? ['-DINTEGER'] : [])];
          const native = assemble(...flags);
          const script = stepScript(wide, !plain);
          const host = gdb('-ex', 'starti', '-x', script, native);
          const guest = await inGuest(
            ['--engine', engine, '--memory', '32M', '--kernel', assemble(...flags, '-DGUEST')],
            ...['-ex', `hbreak ${entryOf(native, wide)}`, '-ex', 'continue', '-ex', 'delete', '-x', script],
          );
          expect(host.steps.match(/^step /gm)).toHaveLength(STEPS);
          expect(guest.steps).toBe(host.steps);
        },
        120_000,
      );
    }
  }

  it('stops a booting Linux at a function, whichever vCPU comes by', async () => {
    const append = [
      '--append',
      `console=ttyS0 quiet type2.exec="grep -wE 'start_kernel|do_sys_openat2' /proc/kallsyms"`,
    ];
    const { stdout } = spawnSync(process.execPath, [CLI, 'run', '--engine', 'jit', '--quiet', ...append], {
      encoding: 'latin1',
      timeout: 60_000,
      input: '',
    });
    const address = (name: string): string =>
      `*0x${new RegExp(`^([0-9a-f]+) . ${name}\r?$`, 'm').exec(stdout)![1]}`;
    const { all } = await inGuest(
      ['--engine', 'jit', '--cpus', '2'],
      ...['-ex', `hbreak ${address('start_kernel')}`, '-ex', 'continue', '-ex', 'delete'],
      ...[
        '-ex',
        `break ${address('do_sys_openat2')}`,
        '-ex',
        'continue',
        '-ex',
        'info threads',
        '-ex',
        'stepi',
        '-ex',
        'p $rip',
      ],
    );
    expect(all).toMatch(/hit Breakpoint 1/);
    expect(all).toMatch(/hit Breakpoint 2/);
    expect(all).toMatch(/Thread 2 \(vCPU 1, \w+, 64-bit code\)/);
  }, 120_000);
});
