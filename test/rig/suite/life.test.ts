/** How runs end: power-off, halt, reboot, panic, triple fault, time-out, signals, the debug-exit port. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { linux, PATIENCE_S, runGuest, show, startGuest, temporaryFolder, test } from './support.ts';

const folder = temporaryFolder();

test('reboot starts the guest anew', async () => {
  const disk = join(folder, 'boots.img');
  writeFileSync(disk, new Uint8Array(65536));
  const command =
    'read -r line < /dev/vda; case $line in again*) echo second boot;; *) echo again > /dev/vda; sync; echo first boot; reboot -f;; esac';
  const result = await runGuest([...linux(command), '--disk', disk]);
  assert.equal(result.status, 0, show(result));
  assert.match(result.stdout, /first boot[\s\S]*second boot/, show(result));
});

test('--no-reboot ends the run when the guest resets', async () => {
  const result = await runGuest([...linux('reboot -f'), '--no-reboot']);
  assert.equal(result.status, 5, show(result));
});

test('a guest that halts for good ends the run', async () => {
  const result = await runGuest([...linux('halt -f'), '--cpus', '2']);
  assert.equal(result.status, 0, show(result));
  assert.match(result.stderr, /halted/, show(result));
});

test('a kernel panic has a status of its own', async () => {
  const result = await runGuest([
    '--guest',
    'linux-x86_64',
    '--append',
    'console=ttyS0 quiet panic=-1 rdinit=/nonexistent root=none',
  ]);
  assert.equal(result.status, 3, show(result));
  assert.match(result.stdout, /Kernel panic/, show(result));
});

test('a triple fault has a status of its own', async () => {
  // lidt [zero]; int3
  const code = join(folder, 'triple.bin');
  writeFileSync(
    code,
    Uint8Array.of(0x0f, 0x01, 0x1e, 0x10, 0x7c, 0xcc, 0xf4, ...new Array<number>(16).fill(0)),
  );
  const result = await runGuest(['--kernel', code, '--protocol', 'flat', '--memory', '1M']);
  assert.equal(result.status, 4, show(result));
});

test('--timeout ends a guest that would run for ever', async () => {
  const code = join(folder, 'loop.bin');
  writeFileSync(code, Uint8Array.of(0xeb, 0xfe));
  const result = await runGuest(['--kernel', code, '--protocol', 'flat', '--memory', '1M', '--timeout', '3']);
  assert.equal(result.status, 124, show(result));
});

test('the debug-exit port sets the status', async () => {
  const result = await runGuest([...linux('outb 0xf4 21'), '--debug-exit']);
  assert.equal(result.status, 43, show(result));
});

test('SIGTERM ends a running guest, SIGKILL leaves nothing behind', async () => {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const guest = startGuest([...linux('echo running; while :; do :; done'), '--cpus', '2']);
    await guest.printed('running');
    guest.process.kill(signal);
    const result = await guest.result;
    assert.equal(result.status, signal === 'SIGTERM' ? 130 : null, show(result));
    const left = readdirSync('/proc').filter((name) => {
      if (!/^\d+$/.test(name) || Number(name) === process.pid) return false;
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'latin1').includes('bin/main.cjs\0run');
      } catch {
        return false;
      }
    });
    assert.deepEqual(left, []);
  }
});

/** Each byte takes some exits of 60 µs under emulation, so the usual run pastes less than a megabyte. */
const PASTE = Number(process.env['TYPE2_PASTE_BYTES'] ?? 65536);

test(`${PASTE} bytes that are pasted arrive whole`, async () => {
  const guest = startGuest([
    ...linux(`stty raw -echo; echo ready; head -c ${PASTE} | sha256sum`),
    ...['--timeout', String(PATIENCE_S + Math.ceil(PASTE / 1024))],
  ]);
  await guest.printed('ready');
  const bytes = new Uint8Array(PASTE).map((_, i) => (i * 31 + (i >> 8)) & 0xff);
  guest.process.stdin!.end(bytes);
  const result = await guest.result;
  const { createHash } = await import('node:crypto');
  assert.ok(result.stdout.includes(createHash('sha256').update(bytes).digest('hex')), show(result));
});
