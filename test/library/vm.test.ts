/** The library as it is installed: the life of a machine, its events, and what one can see of it when it stands still. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';
import type { MachineView, VmConfig } from '../../src/index.ts';
import { probeDriver } from '../../vm/drivers.ts';
import { ENGINE_NAMES } from '../../vm/engine.ts';

// Worker threads are compiled modules, so the machine has to be.
const compiled = pathToFileURL(join(packageRoot(), 'dist/src/index.js')).href;
const { Vm } = (await import(compiled)) as typeof import('../../src/index.ts');

const folder = mkdtempSync(join(tmpdir(), 'type2-library-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
/** jmp $ */
const ENDLESS = join(folder, 'endless.bin');
writeFileSync(ENDLESS, Uint8Array.of(0xeb, 0xfe));

const { support } = await probeDriver('kvm');
const engines = ENGINE_NAMES.filter((name) => name !== 'kvm' || support.capabilities !== undefined);

describe.each(engines)('a machine on %s', (engine) => {
  const small: VmConfig = { engine, memory: '16M', onReset: 'end' };

  it('says what its guest prints and how it ended, and shows registers and memory before it is gone', async () => {
    await using vm = await Vm.create({ ...small, guest: 'hello-long' });
    const events: string[] = [];
    let seen: MachineView | undefined;
    let firstBytes: number[] = [];
    vm.on('stopped', () => {
      events.push('stopped');
      seen = vm.inspect();
      firstBytes = [...seen.read(0x1000, 4)];
    });
    vm.on('exit', (outcome) => events.push(outcome.kind));
    let output = '';
    vm.console.output.on('data', (chunk: Buffer) => {
      output += chunk.toString('latin1');
    });
    await vm.start();
    expect(await vm.ended).toEqual({ kind: 'power-off' });
    expect(output).toBe('Hello from long mode\r\n');
    expect(events).toEqual(['stopped', 'power-off']);
    const [vcpu] = seen!.vcpus;
    expect(vcpu).toMatchObject({ mode: '64-bit', activity: 'running', selectors: { cs: 0x18, ds: 0x10 } });
    expect(vcpu!.control.cr3).toBe(0x1000n);
    expect(vcpu!.registers.rax & 0xffffn).toBe(0x3400n);
    // The first entry of the PML4: present, writable, accessed, at 0x2000.
    expect(firstBytes).toEqual([0x23, 0x20, 0, 0]);
    expect(seen!.devices).toHaveProperty('serial0');
    expect(() => vm.inspect()).toThrow(/has ended/);
  });

  it('can be looked at before it starts and while it is paused, and not while it runs', async () => {
    await using vm = await Vm.create({ ...small, kernel: ENDLESS, protocol: 'flat', cpus: 2 });
    const before = vm.inspect();
    expect(before.vcpus.map(({ activity }) => activity)).toEqual(['running', 'waiting']);
    expect(before.vcpus[0]!.mode).toBe('real');
    expect(() => before.read(2 ** 32, 1)).toThrow(/not all RAM/);
    await vm.start();
    expect(() => vm.inspect()).toThrow(/is running/);
    await vm.pause();
    expect(vm.inspect().vcpus[0]!.registers.rip).toBe(0x7c00n);
    vm.resume();
    await vm.stop();
    expect((await vm.ended).kind).toBe('stopped');
  });

  it('can’t be paused any more once its guest is about to end, and says so', async () => {
    for (let i = 0; i < 5; i++) {
      await using vm = await Vm.create({ ...small, guest: 'hello-real' });
      vm.console.output.resume();
      await vm.start();
      try {
        await vm.pause();
        vm.resume();
      } catch (error) {
        expect(error).toMatchObject({ code: 'MACHINE_STATE' });
      }
      expect((await vm.ended).kind).toBe('power-off');
    }
  });

  it('shows what a device of one’s own has in its registers', async () => {
    const path = join(packageRoot(), 'test/labs/05-device.ts');
    await using vm = await Vm.create({ ...small, guest: 'checksum', devices: [{ path, name: 'sums' }] });
    vm.console.output.resume();
    let state: unknown;
    vm.on('stopped', () => {
      state = vm.inspect().devices['sums'];
    });
    await vm.start();
    await vm.ended;
    expect(state).toMatchObject({ sum1: 0x57, sum2: 0x20, count: 6 });
    expect(vm.statistics().devices['sums']).toBe(16);
  });
});
