/**
 * The gdb stub on every engine, spoken to in its own protocol: steps, breakpoints, watchpoints, registers,
 * memory, threads, in 16-, 32- and 64-bit guests.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';
import { probeDriver } from '../../vm/drivers.ts';
import { ENGINE_NAMES } from '../../vm/engine.ts';
import { I386, RspClient, X86_64 } from '../rig/rsp-client.ts';
import { freePort } from '../rig/stock-gdb.ts';

const CLI = join(packageRoot(), 'dist/bin/main.cjs');
const { support } = await probeDriver('kvm');
const noKvm = support.capabilities === undefined ? ` (skipped: ${support.reason}; ${support.hint})` : '';

let guest: { process: ChildProcess; gone: Promise<string>; gdb: RspClient } | undefined;

/** Starts a guest that waits for gdb, and connects. */
async function start(engine: string, name: string, gdb = 'wait', ...args: string[]): Promise<RspClient> {
  const port = await freePort();
  const child = spawn(
    process.execPath,
    [
      CLI,
      'run',
      '--engine',
      engine,
      '--quiet',
      '--timeout',
      '60',
      '--memory',
      '16M',
      '--guest',
      name,
      '--gdb',
      `${port},${gdb}`,
      ...args,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let output = '';
  child.stdout!.on('data', (chunk: Buffer) => {
    output += chunk.toString('latin1');
  });
  const gone = new Promise<string>((resolve) => child.once('close', () => resolve(output)));
  guest = { process: child, gone, gdb: await RspClient.connect(port) };
  expect(await guest.gdb.ask('qSupported:swbreak+;hwbreak+')).toContain('qXfer:features:read+');
  return guest.gdb;
}

afterEach(async () => {
  guest?.gdb.close();
  guest?.process.kill();
  await guest?.gone;
  guest = undefined;
});

for (const engine of ENGINE_NAMES) {
  const reason = engine === 'kvm' ? noKvm : '';
  describe.skipIf(reason !== '')(`the gdb stub on ${engine}${reason}`, () => {
    it('stands before the first instruction, steps, and lets go', async () => {
      const gdb = await start(engine, 'hello-real');
      expect(await gdb.ask('?')).toBe('T02thread:1;');
      expect(await gdb.ask('qfThreadInfo')).toBe('m1');
      expect(await gdb.register(I386.eip)).toBe(0x7c00n);
      const first = await gdb.ask('m7c00,1');
      expect(first).toBe('31'); // xor ax, ax
      expect(await gdb.ask('vCont;s:1')).toBe('T05thread:1;');
      expect(await gdb.register(I386.eip)).toBe(0x7c02n);
      expect(await gdb.ask('D')).toBe('OK');
      expect(await guest!.gone).toContain('Hello from real mode');
    });

    it('writes registers and memory', async () => {
      const gdb = await start(engine, 'hello-real');
      expect(await gdb.ask(`P${I386.ebx.toString(16)}=78563412`)).toBe('OK');
      expect(await gdb.register(I386.ebx)).toBe(0x12345678n);
      // inc ebx; jmp $ in place of what is there; then on from there.
      expect(await gdb.ask('M7c00,4:6643ebfe')).toBe('OK');
      expect(await gdb.ask('m7c00,4')).toBe('6643ebfe');
      expect(await gdb.ask('s')).toBe('T05thread:1;');
      expect(await gdb.register(I386.ebx)).toBe(0x12345679n);
      expect(await gdb.ask('mffffffff00,4')).toBe('E0e');
      gdb.tell('c');
      gdb.interrupt();
      expect(await gdb.next()).toBe('T02thread:1;');
      expect(await gdb.register(I386.eip)).toBe(0x7c02n);
      gdb.tell('k');
      expect(await gdb.next()).toBe('W00');
    });

    it('breaks in software, and shows the guest’s own bytes meanwhile', async () => {
      const gdb = await start(engine, 'hello-real');
      expect(await gdb.ask('Z0,7c02,1')).toBe('OK');
      expect(await gdb.ask('vCont;c')).toBe('T05thread:1;swbreak:;');
      expect(await gdb.register(I386.eip)).toBe(0x7c02n);
      expect(await gdb.ask('m7c02,2')).toBe('8ed8');
      expect(await gdb.ask('z0,7c02,1')).toBe('OK');
      gdb.tell('vCont;c');
      expect(await gdb.next()).toBe('W00');
      expect(await guest!.gone).toContain('Hello from real mode');
    });

    it('breaks in hardware', async () => {
      const gdb = await start(engine, 'hello-real');
      // The fourth instruction.
      expect(await gdb.ask('Z1,7c05,1')).toBe('OK');
      expect(await gdb.ask('vCont;c')).toBe('T05thread:1;hwbreak:;');
      expect(await gdb.register(I386.eip)).toBe(0x7c05n);
      expect(await gdb.ask('z1,7c05,1')).toBe('OK');
      gdb.tell('vCont;c');
      expect(await gdb.next()).toBe('W00');
      expect(await guest!.gone).toContain('Hello from real mode');
    });

    it('says what a machine is: 16 bits, unless told otherwise', async () => {
      const gdb = await start(engine, 'hello-real');
      const description = await gdb.ask('qXfer:features:read:target.xml:0,4000');
      expect(description).toContain('<architecture>i8086</architecture>');
      expect(description).toContain('name="eip"');
    });

    it('says what a machine is: 32 bits or 64', async () => {
      const gdb = await start(engine, 'hello-long', 'wait,arch=x86-64');
      const description = await gdb.ask('qXfer:features:read:target.xml:0,4000');
      expect(description).toContain('<architecture>i386:x86-64</architecture>');
      for (const name of ['rax', 'st0', 'xmm15', 'fs_base', 'cr3', 'efer', 'idtr_base'])
        expect(description).toContain(`name="${name}"`);
      expect(await gdb.register(X86_64.rip)).toBe(0x7c00n);
    });

    it('has a thread for each vCPU', async () => {
      const gdb = await start(engine, 'smp');
      expect(await gdb.ask('qfThreadInfo')).toBe('m1,2');
      expect(Buffer.from(await gdb.ask('qThreadExtraInfo,2'), 'hex').toString()).toMatch(
        /vCPU 1, waits for INIT/,
      );
      // Where the second CPU goes once it is in protected mode: it prints with this routine, too.
      const image = Buffer.from(await gdb.ask('m100000,200'), 'hex');
      const introduce = 0x100000 + image.indexOf(Buffer.from([0xa1, 0x20, 0x00, 0xe0, 0xfe]));
      expect(await gdb.ask(`Z1,${introduce.toString(16)},1`)).toBe('OK');
      expect(await gdb.ask('vCont;c')).toBe('T05thread:1;hwbreak:;');
      expect(await gdb.ask(`z1,${introduce.toString(16)},1`)).toBe('OK');
      expect(await gdb.ask('vCont;s:1;c')).toBe('T05thread:1;');
      expect(await gdb.ask(`Z1,${introduce.toString(16)},1`)).toBe('OK');
      expect(await gdb.ask('vCont;c')).toBe('T05thread:2;hwbreak:;');
      expect(await gdb.ask('Hg2')).toBe('OK');
      expect(await gdb.register(I386.eip)).toBe(BigInt(introduce));
      expect(await gdb.ask(`z1,${introduce.toString(16)},1`)).toBe('OK');
      gdb.tell('vCont;c');
      expect(await gdb.next()).toBe('W00');
      expect(await guest!.gone).toContain('Two CPUs');
    });

    it('refuses what it can’t do, and lives on', async () => {
      const gdb = await start(engine, 'hello-real');
      expect(await gdb.ask('Z3,7c00,1')).toBe('');
      expect(await gdb.ask('Hg7')).toBe('E01');
      expect(await gdb.ask('pffff')).toBe('E01');
      expect(await gdb.ask('mnonsense,4')).toBe('E01');
      expect(await gdb.ask('vMustReplyEmpty')).toBe('');
      expect(await gdb.register(I386.eip)).toBe(0x7c00n);
    });
  });
}

// A KVM without hardware behind it has no data breakpoints.
const complete = ['jit', 'interp', ...(support.usable ? ['kvm'] : [])];
const skipped = complete.includes('kvm') ? '' : ' (kvm skipped: here it has no hardware behind it)';

describe.skipIf(noKvm !== '' || support.usable)(`watchpoints on a KVM without hardware${noKvm}`, () => {
  it('are refused, since they would never stop the guest', async () => {
    const gdb = await start('kvm', 'hello-real');
    expect(await gdb.ask('Z2,9000,1')).toBe('E16');
    expect(await gdb.ask('Z1,7c02,1')).toBe('OK');
    expect(await gdb.ask('c')).toBe('T05thread:1;hwbreak:;');
  });
});

for (const engine of complete) {
  describe(`watchpoints on ${engine}${skipped}`, () => {
    it('stops after the access, for writes and for any', async () => {
      const gdb = await start(engine, 'hello-real');
      // mov byte [0x9000], 5; mov al, [0x9000]; nop; jmp $
      expect(await gdb.ask('M7c00,9:c606009005a0009090')).toBe('OK');
      expect(await gdb.ask('M7c09,2:ebfe')).toBe('OK');
      expect(await gdb.ask('Z2,9000,1')).toBe('OK');
      expect(await gdb.ask('c')).toBe('T05thread:1;watch:9000;');
      expect(await gdb.register(I386.eip)).toBe(0x7c05n);
      expect(await gdb.ask('z2,9000,1')).toBe('OK');
      expect(await gdb.ask('Z4,9000,1')).toBe('OK');
      expect(await gdb.ask('c')).toBe('T05thread:1;awatch:9000;');
      expect(await gdb.register(I386.eip)).toBe(0x7c08n);
      expect(Number(await gdb.register(I386.eax)) & 0xff).toBe(5);
    });
  });
}
