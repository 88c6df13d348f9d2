/**
 * `type2 trace` on every engine: what it says, what filters leave, files that a viewer can open, also of a run
 * that was killed.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';
import type { TraceEvent } from '../../src/index.ts';
import { probeDriver } from '../../vm/drivers.ts';
import { ENGINE_NAMES } from '../../vm/engine.ts';
import { checkChromeTrace } from './checker.ts';

const CLI = join(packageRoot(), 'dist/bin/main.cjs');
/** The built library: its threads are files beside it. */
const { Vm } = (await import(
  join(packageRoot(), 'dist/src/index.js')
)) as typeof import('../../src/index.ts');
const folder = mkdtempSync(join(tmpdir(), 'type2-trace-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function trace(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [CLI, 'trace', '--quiet', '--memory', '16M', ...args], {
    encoding: 'utf8',
    timeout: 60_000,
    input: '',
  });
}

const { support } = await probeDriver('kvm');
const noKvm = support.capabilities === undefined ? ` (skipped: ${support.reason}; ${support.hint})` : '';

for (const engine of ENGINE_NAMES) {
  const reason = engine === 'kvm' ? noKvm : '';
  describe.skipIf(reason !== '')(`type2 trace on ${engine}${reason}`, () => {
    it('names accesses as people know them, and leaves the console alone', () => {
      const { status, stdout, stderr } = trace('--engine', engine, '--guest', 'hello-real');
      expect(status).toBe(0);
      expect(stdout).toContain('Hello from real mode');
      expect(stderr).toMatch(/cpu0 {2}PIO out 0x3f8 ← 0x48 'H' {2}serial0 THR +[\d.]+ µs/);
      expect(stderr).toMatch(/PIO in 0x3fd → 0x60 \(THRE TEMT\) {2}serial0 LSR/);
      expect(stderr).toMatch(/PIO out\.2 0x604 ← 0x3400 \(SLP_TYP=5 SLP_EN\) {2}acpi-pm1-control PM1_CNT/);
    });

    it('filters by device, by reason, by vCPU and by time', () => {
      const lines = (...filter: string[]): string[] =>
        trace('--engine', engine, '--guest', 'hello-real', '--console', 'none', ...filter)
          .stderr.split('\n')
          .filter((line) => line !== '');
      const serial = lines('--of', 'serial');
      expect(serial.length).toBeGreaterThan(20);
      expect(serial.every((line) => line.includes('serial0'))).toBe(true);
      expect(lines('--reason', 'mmio')).toEqual([]);
      expect(lines('--reason', 'pio', '--of', 'acpi-pm1-control')).toHaveLength(1);
      expect(lines('--from', '20', '--to', '30')).toEqual([]);
      expect(lines('--vcpu', '0').length).toBeGreaterThan(20);
    });

    it('sums up', () => {
      const { stderr } = trace('--engine', engine, '--guest', 'hello-real', '--summary');
      expect(stderr).toMatch(/reason +device +count +of time +median µs/);
      expect(stderr).toMatch(/pio +serial0 +\d+ +[\d.]+ %/);
    });

    it('writes a file that a viewer can open', () => {
      const path = join(folder, `${engine}.json`);
      expect(trace('--engine', engine, '--guest', 'smp', '--output', path).status).toBe(0);
      const { tracks, spans } = checkChromeTrace(readFileSync(path, 'utf8'));
      expect(tracks).toEqual(expect.arrayContaining(['vCPUs/vCPU 0', 'vCPUs/vCPU 1', 'devices/serial0']));
      expect(spans).toBeGreaterThan(50);
    });

    it('writes one that can be opened although the run was killed', async () => {
      const path = join(folder, `${engine}-killed.json`);
      const args = ['trace', '--engine', engine, '--guest', 'exits', '--memory', '16M', '--output', path];
      const child = spawn(process.execPath, [CLI, ...args], { stdio: 'ignore' });
      const gone = new Promise((resolve) => child.once('close', resolve));
      const size = (): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
      while (size() < 20_000 && child.exitCode === null)
        await new Promise((resolve) => setTimeout(resolve, 2));
      child.kill('SIGKILL');
      await gone;
      expect(checkChromeTrace(readFileSync(path, 'utf8')).spans).toBeGreaterThan(10);
    });

    it('can be had from the library', async () => {
      await using vm = await Vm.create({
        engine,
        guest: 'hello-real',
        memory: '16M',
        trace: { devices: ['serial0'] },
      });
      vm.console.output.resume();
      await vm.start();
      let text = '';
      for await (const event of vm.trace!.events as AsyncIterable<TraceEvent>)
        if (event.register === 'THR') text += String.fromCharCode(Number(event.value));
      expect(text).toBe('Hello from real mode\r\n');
      expect(vm.trace!.totals).toMatchObject({ dropped: 0 });
    });
  });
}

describe('what only the CPU in TypeScript sees', () => {
  it('interrupts that are injected, lines that are driven, EOIs', () => {
    const { stderr } = trace('--engine', 'jit', '--guest', 'interrupt');
    expect(stderr).toMatch(/IRQ GSI 0 ↑↓ {2}pit/);
    expect(stderr).toMatch(/interrupt 0x20 injected at rip 0x7c/);
    expect(stderr).toMatch(/← 0x20 \(OCW2: non-specific EOI\) {2}pic-master/);
  });

  it('a whole boot of Linux', () => {
    const boot = ['--engine', 'jit', '--memory', '128M', '--append', 'console=ttyS0 type2.exec=true'];
    const path = join(folder, 'linux.json');
    trace(...boot, '--console', 'none', '--output', path);
    const { tracks, spans, instants } = checkChromeTrace(readFileSync(path, 'utf8'));
    expect(tracks).toEqual(expect.arrayContaining(['vCPUs/vCPU 0', 'devices/serial0']));
    expect(spans).toBeGreaterThan(1000);
    expect(instants).toBeGreaterThan(100);
    // As text, with a file that is slower than the guest: nothing is said but how long that waited.
    const { stderr } = trace(...boot, '--console', 'none', '--output', join(folder, 'linux.txt'));
    expect(stderr).not.toContain('Warning');
  });

  it('page faults with address and error code, and work on virtqueues', () => {
    const append = 'console=ttyS0 quiet type2.exec="head -c 100 /dev/hwrng"';
    const { stderr } = trace(
      '--engine',
      'jit',
      '--memory',
      '128M',
      '--console',
      'none',
      '--append',
      append,
      '--reason',
      'exception',
      '--reason',
      'queue',
    );
    expect(stderr).toMatch(
      /#PF 0x[0-9a-f]+ error 0x[0-9a-f]+ \((read|write|fetch), by (user|supervisor), (not present|protection)\) at rip 0x/,
    );
    expect(stderr).toMatch(/virtqueue virtio-rng queue 0: \d+ chains?/);
  });
});

describe('type2 trace, misused', () => {
  it.each([
    [['--of', 'floppy'], /no device 'floppy'[\s\S]*It has: unmapped, serial0, rtc/],
    [['--reason', 'vmexit'], /no 'vmexit': there are pio, mmio/],
    [['--vcpu', '3'], /no vCPU 3[\s\S]*only vCPU 0/],
    [['--vcpu', 'x'], /--vcpu: 'x' is no number/],
    [['--from', '2', '--to', '1'], /from 2 to 1 seconds there is nothing/],
    [['--output', '/nonexistent/trace.json'], /--output \/nonexistent\/trace.json: .*no such file/i],
    [['--output', '/nonexistent/trace.txt'], /--output \/nonexistent\/trace.txt: .*no such file/i],
  ])('%j', (args, message) => {
    const { status, stderr } = trace(
      '--engine',
      'jit',
      '--guest',
      'hello-real',
      '--console',
      'none',
      ...args,
    );
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/unexpected error/);
    expect(status).toBe(2);
  });
});
