/**
 * `type2 debug`: commands from a pipe, on every engine; what it draws of a lab's page tables and of Linux.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';
import { probeDriver } from '../../vm/drivers.ts';
import { ENGINE_NAMES } from '../../vm/engine.ts';

const CLI = join(packageRoot(), 'dist/bin/main.cjs');
const folder = mkdtempSync(join(tmpdir(), 'type2-debug-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function debug(
  commands: readonly string[],
  ...args: string[]
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [CLI, 'debug', '--quiet', '--memory', '16M', ...args], {
    encoding: 'utf8',
    timeout: 60_000,
    input: `${commands.join('\n')}\n`,
  });
}

const { support } = await probeDriver('kvm');
const noKvm = support.capabilities === undefined ? ` (skipped: ${support.reason}; ${support.hint})` : '';

for (const engine of ENGINE_NAMES) {
  const reason = engine === 'kvm' ? noKvm : '';
  describe.skipIf(reason !== '')(`type2 debug on ${engine}${reason}`, () => {
    const lab = (name: string, ...commands: string[]) => debug(commands, '--engine', engine, '--guest', name);

    it('steps, shows registers with their bits, breaks, and lets the guest end', () => {
      const { status, stdout } = lab(
        'hello-real',
        'step 2',
        'registers',
        'break 0x7c08',
        'continue',
        'delete',
        'continue',
      );
      expect(stdout).toMatch(/16-bit code, at 0x7c04: {2}cld/);
      expect(stdout).toMatch(/rflags 0x46 {2}PF ZF/);
      expect(stdout).toMatch(/vCPU 0 is at a breakpoint\n.*at 0x7c08: {2}lodsb/);
      expect(stdout).toContain('Hello from real mode');
      expect(status).toBe(0);
    });

    it('refuses to step a vCPU that nobody has started yet', () => {
      const { stdout, status } = debug(
        ['cpu 1', 'step', 'next', 'cpu 0', 'step', 'continue'],
        ...['--engine', engine, '--guest', 'smp', '--cpus', '2'],
      );
      expect(stdout.match(/vCPU 1 does nothing before another has started it/g)).toHaveLength(2);
      expect(stdout).toMatch(/^vCPU 0, 32-bit code, at /m);
      expect(stdout).toContain('Two CPUs');
      expect(status).toBe(0);
    });

    it('steps over calls and runs to an address', () => {
      // call 0x7c05; nop; hlt … ; inc bx; ret
      const kernel = join(folder, 'call.bin');
      writeFileSync(
        kernel,
        Uint8Array.from([0xe8, 0x02, 0x00, 0x90, 0xf4, 0x43, 0xc3, ...new Array<number>(32).fill(0)]),
      );
      const { stdout } = debug(
        ['next', 'p $rbx', 'until 0x7c04', 'quit'],
        '--engine',
        engine,
        '--kernel',
        kernel,
        '--protocol',
        'flat',
      );
      expect(stdout).toMatch(/at 0x7c03: {2}nop/);
      expect(stdout).toMatch(/0x1 {2}1/);
      expect(stdout).toMatch(/at 0x7c04: {2}hlt/);
    });

    it('draws page tables and descriptor tables', () => {
      const { stdout } = lab('hello-long', 'page 0x7c00', 'step 100000', 'quit');
      expect(stdout).toContain('paging is off (CR0.PG): linear 0x7c00 is physical 0x7c00');
    }, 60_000);

    it('looks at memory, devices and interrupt controllers', () => {
      const { stdout } = lab(
        'hello-real',
        'x 0x7c00 16',
        'xp 0x7c00 4',
        'devices',
        'device serial0',
        'lapic',
        'ioapic',
        'virtqueue virtio-rng',
        'gdt',
        'idt',
        'registers',
        'q',
      );
      expect(stdout).toMatch(/0x7c00 +31 c0 8e d8 fc be 2a 7c/);
      expect(stdout).toMatch(/port +0x3f8–0x3ff {2}serial0/);
      expect(stdout).toMatch(/0x5 +LSR +0x60 {2}THRE TEMT/);
      expect(stdout).toMatch(/LVT timer +0x10000: vector 0x0, one-shot, masked/);
      expect(stdout).toMatch(/^timer: initial count 0, current 0, counts every 2 bus cycles$/m);
      expect(stdout).toMatch(/^ICR 0x0:0x0: vector 0x0, fixed, to APIC 0$/m);
      // Memory at 0 is no descriptor table only because GDTR says 0 after reset.
      expect(stdout).toMatch(/^GDTR is as after reset: /m);
      expect(stdout).toMatch(/^tr .*busy (16|32)-bit TSS, DPL 0$/m);
      expect(stdout).toMatch(/^ldt .*LDT, DPL 0$/m);
      expect(stdout).toMatch(/4 serial0 +masked/);
      expect(stdout).toMatch(/virtio-rng queue 0: not ready/);
    });

    it('explains instructions by their one meaning', () => {
      const { stdout } = lab(
        'hello-real',
        'explain',
        'explain 0x7c02',
        'explain 0x7c05',
        'explain 0x7c08',
        'explain 0x7c09',
        'explain 0x7c0b',
        'q',
      );
      expect(stdout).toMatch(/xor ax, ax\nXOR .*16-bit operands\)/);
      expect(stdout).toMatch(/SF ZF PF ← of .*; OF CF ← 0/);
      expect(stdout).toMatch(/the value ← AX\n.*DS ← the value as selector/);
      expect(stdout).toMatch(/SI ← 0x7c2a/);
      expect(stdout).toMatch(/the accumulator ← memory\[DS:SI\]/);
      expect(stdout).toMatch(/RIP ← 0x7c1f if ZF, else 0x7c0d/);
    });

    it('answers what is wrong with a reason, and goes on', () => {
      const { stdout, status } = lab(
        'hello-real',
        'fly',
        'x',
        'x $nowhere',
        'break nosuch',
        'print rax',
        'print 1+',
        'x 0xfffffff0',
        'delete 7',
        'cpu 9',
        'device x',
        'symbols /nonexistent',
        'help',
        'quit',
      );
      for (const text of [
        /no command 'fly': `help` lists them/,
        /an address is missing/,
        /no register \$nowhere/,
        /'nosuch' is neither a number nor a register nor a symbol\n {2}Load symbols/,
        /'rax' is neither a number nor a register nor a symbol\n {2}Registers are written \$rax/,
        /missing beside \+/,
        /nothing is mapped to RAM at 0xfffffff0/,
        /no breakpoint 7/,
        /no vCPU 9: there are 0 to 0/,
        /no device 'x'\n {2}There are: /,
        /symbols \/nonexistent: can't be read/,
        /explain \(e\) \[ADDRESS\] +what the next instruction will do/,
      ])
        expect(stdout).toMatch(text);
      expect(stdout).not.toMatch(/at .*\.c?js:\d+/);
      expect(status).toBe(0);
    });
  });
}

describe.each(['jit', 'interp'])('going back on %s', (engine) => {
  const lab = (...commands: string[]) =>
    debug(commands, '--engine', engine, '--guest', 'hello-real', '--deterministic').stdout;

  it('undoes instructions, one or many, over device accesses, and can go on again', () => {
    const stdout = lab(
      'step 12',
      'back',
      'back 10',
      'registers',
      'back 2',
      'step 3',
      'break 0x7c1f',
      'continue',
      'back 3',
      'step 3',
      'continue',
    );
    const places = [...stdout.matchAll(/code, at (0x[0-9a-f]+):/g)].map(([, place]) => place);
    // The start, twelve steps, then what each command came to.
    expect(places.slice(13)).toEqual([
      '0x7c15',
      '0x7c02',
      '0x7c04',
      '0x7c05',
      '0x7c08',
      '0x7c1f',
      '0x7c08',
      '0x7c09',
      '0x7c0b',
      '0x7c1f',
    ]);
    expect(stdout).toMatch(/that is before the beginning: 1 instructions can be undone/);
    expect(stdout).toMatch(/eip 0x00007c02\nrflags 0x46 {2}PF ZF/);
  });

  it('needs a run that repeats itself', () => {
    const { stdout } = debug(['step', 'back', 'quit'], '--engine', engine, '--guest', 'hello-real');
    expect(stdout).toMatch(/only a run that repeats itself can go back\n {2}Start it with --deterministic/);
  });
});

describe('type2 debug on Linux', () => {
  it('knows its symbols, walks its page tables, and draws a virtqueue', () => {
    const kallsyms = spawnSync(
      process.execPath,
      [
        CLI,
        'run',
        '--engine',
        'jit',
        '--quiet',
        '--append',
        'console=ttyS0 quiet type2.exec="cat /proc/kallsyms"',
      ],
      { encoding: 'latin1', timeout: 60_000, input: '', maxBuffer: 2 ** 24 },
    );
    const map = join(folder, 'System.map');
    writeFileSync(map, kallsyms.stdout.replaceAll('\r', ''));
    const { stdout } = debug(
      [
        'hbreak start_kernel',
        'c',
        'page $rip',
        'gdt',
        'idt',
        'delete',
        'break do_sys_openat2',
        'c',
        'disassemble',
        'page $rsp',
        'vq virtio-rng',
        'q',
      ],
      ...[
        '--engine',
        'jit',
        '--memory',
        '128M',
        '--console',
        'none',
        '--symbols',
        map,
        '--append',
        'console=ttyS0 quiet type2.exec="true"',
      ],
    );
    expect(stdout).toMatch(/at 0x[0-9a-f]+ <start_kernel>/);
    expect(stdout).toMatch(/└─ PML4E {2}511 at 0x[0-9a-f]+ = 0x[0-9a-f]+ {2}P R\/W U\/S A/);
    expect(stdout).toMatch(/└─ physical 0x[0-9a-f]+, in a page of 2 MiB/);
    expect(stdout).toMatch(
      /0x10 +64-bit code, execute\/read, accessed {2}base 0x0 limit 0xffffffff {2}DPL 0 {2}P/,
    );
    expect(stdout).toMatch(/0xe +0x10:0x[0-9a-f]+ <.*> {2}64-bit interrupt gate {2}DPL 0/);
    expect(stdout).toMatch(/do_sys_openat2:\n=> 0x/);
    expect(stdout).toMatch(/└─ PTE .* XD\n.*in a page of 4 KiB/);
    expect(stdout).toMatch(/virtio-rng queue 0: 64 descriptors\ndescriptor table {2}0x/);

    const back = debug(
      [
        'hbreak start_kernel',
        'c',
        'delete',
        'registers',
        'step 300',
        'back 300',
        'registers',
        'break do_sys_openat2',
        'c',
        'registers',
        'back 1000000',
        'c',
        'registers',
        'q',
      ],
      ...[
        '--engine',
        'jit',
        '--memory',
        '128M',
        '--console',
        'none',
        '--deterministic',
        '--symbols',
        map,
        '--append',
        'console=ttyS0 quiet type2.exec="true"',
      ],
    );
    const dumps = back.stdout
      .split('\n')
      .filter((line) => /^(r[a-z0-9]+ +0x|cr|efer)/.test(line))
      .join('\n')
      .split(/(?=^rax)/m);
    expect(dumps).toHaveLength(4);
    expect(dumps[1]).toBe(dumps[0]!);
    expect(dumps[3]!.trim()).toBe(dumps[2]!.trim());
  }, 120_000);
});
