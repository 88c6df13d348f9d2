/**
 * The built command line, used and misused; and the teaching guests on this host's /dev/kvm, which need no
 * SSE and so run on one without hardware behind it too.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { bundledGuests, packageRoot } from '../../src/guests.ts';
import { probeDriver } from '../../vm/drivers.ts';
import { ENGINE_NAMES } from '../../vm/engine.ts';

const CLI = join(packageRoot(), 'dist/bin/main.cjs');
const folder = mkdtempSync(join(tmpdir(), 'type2-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function type2(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [CLI, ...args], { encoding: 'latin1', timeout: 60_000, input: '' });
}

function file(name: string, contents: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, contents);
  return path;
}

describe('type2', () => {
  it('lists its verbs', () => {
    const { status, stdout } = type2('--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(/run[\s\S]*doctor/);
  });

  it('lists the flags and exit statuses of run', () => {
    const { status, stdout } = type2('run', '--help');
    expect(status).toBe(0);
    for (const flag of ['--kernel', '--disk', '--net', '--debug-exit', '--stats', 'Exit status'])
      expect(stdout).toContain(flag);
  });

  it('says nothing when nobody reads what it says', () => {
    const command = `{ sleep 0.2; '${process.execPath}' '${CLI}' help run; echo "status $?" >&2; } | true`;
    const { stderr } = spawnSync('sh', ['-c', command], { encoding: 'latin1', timeout: 60_000 });
    expect(stderr).toBe('status 0\n');
  });

  it.each([
    [['fly'], /unknown command/],
    [['run', '--kernl', 'x'], /unknown option '--kernl'/],
    [['run', '--kernel', '/nonexistent'], /no such file/],
    [['run', '--kernel', '/'], /not a file/],
    [['run', '--engine', 'xen'], /Allowed choices are auto, kvm/],
    [['run', '--memory', 'lots'], /no size/],
    [['run', '--guest', 'windows'], /no bundled guest 'windows'[\s\S]*linux-x86_64/],
    [['run', '--disk', '/nonexistent.img'], /no such file[\s\S]*truncate -s/],
    [['run', '--config', '/nonexistent.json'], /can't be read/],
    [['run', '--gdb', 'here'], /--gdb: 'here' is no address[\s\S]*127\.0\.0\.1:1234/],
    [['run', '--gdb', '1234,stop'], /'stop' is not known here: there are wait, arch=/],
    [['run', '--gdb', '99999'], /gdb\.port: expected 1 to 65535/],
    [['debug', '--gdb', '1234', '--engine', 'jit'], /both debug a guest/],
    [['debug', '--engine', 'jit', '--symbols', '/nonexistent'], /symbols \/nonexistent: can't be read/],
  ])('%j is wrong usage: status 2, one reason', (args, message) => {
    const { status, stderr } = type2(...args);
    expect(stderr).toMatch(message);
    expect(status).toBe(2);
    expect(stderr).not.toMatch(/at .*\.js:\d+/);
  });

  it('refuses a --config that is not a JSON object', () => {
    expect(type2('run', '--config', file('bad.json', '{')).stderr).toMatch(/not JSON/);
    expect(type2('run', '--config', file('list.json', '[]')).stderr).toMatch(/expected a JSON object/);
    expect(type2('run', '--config', file('typo.json', '{"kernle": "x"}')).stderr).toMatch(
      /no field 'kernle'/,
    );
  });

  it('says which address gdb can’t be listened for on', () => {
    const { status, stderr } = type2(
      'run',
      '--engine',
      'jit',
      '--guest',
      'hello-real',
      '--gdb',
      '192.0.2.1:1234',
    );
    expect(stderr).toMatch(/--gdb 192\.0\.2\.1:1234: .*EADDRNOTAVAIL[\s\S]*Name an address of this host/);
    expect(status).toBe(1);
  });

  it('doctor speaks of node, engines and tap', () => {
    const { stdout } = type2('doctor');
    for (const what of ['node', 'kvm', 'tap']) expect(stdout).toContain(what);
  });
});

const { support } = await probeDriver('kvm');
const noKvm = support.capabilities === undefined ? ` (skipped: ${support.reason}; ${support.hint})` : '';

for (const engine of ENGINE_NAMES) {
  const reason = engine === 'kvm' ? noKvm : '';
  describe.skipIf(reason !== '')(`small guests on ${engine}${reason}`, () => {
    const run = (...args: string[]) =>
      type2('run', '--engine', engine, '--quiet', '--timeout', '30', '--memory', '16M', ...args);

    for (const [name, guest] of bundledGuests()) {
      if (guest.expect === undefined) continue;
      it(`lab ${name} says what it should`, () => {
        const { status, stdout } = run('--guest', name);
        expect(stdout).toContain(guest.expect);
        expect(status).toBe(0);
      });
    }

    it('--config, --stats and --console file go together', () => {
      const log = join(folder, `console-${engine}.log`);
      const config = file(
        `hello-${engine}.json`,
        JSON.stringify({ guest: 'hello-long', stats: true, console: { path: log } }),
      );
      const { status, stderr } = run('--config', config);
      expect(status).toBe(0);
      expect(readFileSync(log, 'latin1')).toContain('Hello from long mode');
      expect(stderr).toMatch(/exits by reason[\s\S]*io[\s\S]*serial0/);
    });

    it.each([
      // mov al, 21; out 0xf4, al
      ['a debug exit', [0xb0, 0x15, 0xe6, 0xf4, 0xf4], ['--debug-exit'], 43],
      // jmp $
      ['a time-out', [0xeb, 0xfe], ['--timeout', '1'], 124],
      // mov al, 0xfe; out 0x64, al
      ['a reset', [0xb0, 0xfe, 0xe6, 0x64, 0xf4], ['--no-reboot'], 5],
      // lidt [0x200], an empty table: ud2. A KVM without hardware doesn't emulate this.
      ...(engine === 'kvm'
        ? []
        : [['a triple fault', [0x0f, 0x01, 0x1e, 0x00, 0x02, 0x0f, 0x0b], [], 4] as const]),
      // cli; hlt
      ['a halt for good', [0xfa, 0xf4], [], 0],
    ] as const)('%s has its status', (name, code, flags, expected) => {
      const kernel = file(
        `${name}-${engine}.bin`,
        Uint8Array.from([...code, ...new Array<number>(32).fill(0)]),
      );
      const { status, stderr } = run('--kernel', kernel, '--protocol', 'flat', ...flags);
      expect(stderr).toBe('');
      expect(status).toBe(expected);
    });
  });
}

describe.skipIf(noKvm !== '')(`hosts with KVM${noKvm}`, () => {
  it.skipIf(support.usable)(
    'auto steps past a KVM without hardware, with a reason (skipped: this one has hardware)',
    () => {
      const { status, stdout, stderr } = type2('run', '--guest', 'hello-real', '--memory', '16M');
      expect(stderr).toMatch(/kvm: this \/dev\/kvm emulates instructions.*running on jit/);
      expect(stdout).toContain('Hello');
      expect(status).toBe(0);
    },
  );

  it('a disk that is in use, and a tap that is none, are refused before the guest runs', () => {
    const kvm = ['run', '--engine', 'kvm', '--guest', 'hello-real', '--quiet'];
    const disk = file('locked.img', new Uint8Array(4096));
    const held = spawnSync('flock', [disk, process.execPath, CLI, ...kvm, '--disk', disk], {
      encoding: 'latin1',
    });
    expect(held.stderr).toMatch(/in use by another machine[\s\S]*readonly/);
    expect(held.stdout).toBe('');
    expect(held.status).toBe(1);
    const net = type2(...kvm, '--net', 'tap=lo');
    expect(net.stderr).toMatch(/tap lo|\/dev\/net\/tun/);
    expect(net.stderr).not.toMatch(/unexpected error/);
    expect(net.stdout).toBe('');
    expect(net.status).toBe(1);
  });
});

describe.each(['jit', 'interp'])('an instruction that %s has not got', (engine) => {
  it('raises #UD and is counted by name', () => {
    // mov word [0x18], 0x7c15; again: xsavec [bx]; vpaddd ymm0, ymm1, ymm2
    // handler at 0x7c15: add word [esp], 4; inc cx; cmp cx, 4; jne back; out 0xf4, al; back: iret
    const code = [
      0xc7, 0x06, 0x18, 0x00, 0x15, 0x7c, 0xc7, 0x06, 0x1a, 0x00, 0, 0, 0x0f, 0xc7, 0x27, 0x90, 0xc5,
    ];
    code.push(
      0xf5,
      0xfe,
      0xc2,
      0x90,
      0x67,
      0x83,
      0x04,
      0x24,
      4,
      0x41,
      0x83,
      0xf9,
      2,
      0x75,
      2,
      0xe6,
      0xf4,
      0xcf,
    );
    const kernel = file(
      `absent-${engine}.bin`,
      Uint8Array.from([...code, ...new Array<number>(32).fill(0x90)]),
    );
    const args = ['--kernel', kernel, '--protocol', 'flat', '--debug-exit', '--stats', '--timeout', '20'];
    const { status, stderr } = type2('run', '--engine', engine, ...args);
    expect(stderr).toMatch(/^undefined instructions: (xsavec 1, vpaddd 1|vpaddd 1, xsavec 1)$/m);
    expect(status).toBe(1);
  });
});

describe.each(['jit', 'interp'])('Linux on %s', (engine) => {
  const linux = (...args: string[]) =>
    type2('run', '--engine', engine, '--quiet', '--timeout', '55', '--memory', '128M', ...args);

  it.each([
    ['linux-x86_64', 'x86_64'],
    ['linux-i386', 'i686'],
  ])(
    '%s boots to userspace, runs a command and powers off',
    (guest, machine) => {
      const append = 'console=ttyS0 quiet type2.exec="uname -srm"';
      const { status, stdout } = linux('--guest', guest, '--append', append);
      expect(stdout).toMatch(new RegExp(`Linux 6\\.1\\.\\d+-type2 ${machine}`));
      expect(status).toBe(0);
    },
    60_000,
  );

  it.each(['linux-x86_64', 'linux-i386'])(
    '%s gets all that was piped in before it was up',
    (guest) => {
      const { status, stdout } = spawnSync(
        process.execPath,
        [CLI, 'run', '--engine', engine, '--guest', guest, '--quiet', '--timeout', '55', '--memory', '128M'],
        { encoding: 'latin1', timeout: 60_000, input: 'echo $((6 * 7))\npoweroff\n' },
      );
      expect(stdout).toMatch(/# echo \$\(\(6 \* 7\)\)\r\n42\r\n/);
      expect(status).toBe(0);
    },
    60_000,
  );

  it('runs two vCPUs in turns', () => {
    const append = 'console=ttyS0 quiet type2.exec="nproc; sleep 0.2"';
    const { status, stdout } = linux('--cpus', '2', '--append', append);
    expect(stdout).toMatch(/^2\r$/m);
    expect(status).toBe(0);
  }, 60_000);

  it('a disk that the guest writes holds what it wrote', () => {
    const disk = file(`disk-${engine}.img`, new Uint8Array(1 << 20));
    const append =
      'console=ttyS0 quiet type2.exec="dd if=/proc/version of=/dev/vda bs=512 seek=3 conv=fsync 2>&1"';
    const { status } = linux('--disk', disk, '--append', append);
    expect(status).toBe(0);
    expect(readFileSync(disk).subarray(1536, 1600).toString('latin1')).toContain('Linux version 6.1');
  }, 60_000);
});
