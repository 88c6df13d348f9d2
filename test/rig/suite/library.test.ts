/** The library on KVM: pausing, saving and restoring vCPUs, and giving everything back. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { bundledGuest } from '../../../src/guests.ts';
import { Vm } from '../../../src/index.ts';
import { kvmDriver } from '../../../vm/kvm/driver.ts';
import { Machine } from '../../../vm/machine.ts';
import { test } from './support.ts';

const descriptors = (): number => readdirSync('/proc/self/fd').length;
const threads = (): number => readdirSync('/proc/self/task').length;
const RAM = 256 * 2 ** 20;
/** Those of vCPUs, and what is as large as a guest's RAM. Node maps and unmaps much else for itself. */
const mappings = (): string[] =>
  readFileSync('/proc/self/maps', 'latin1')
    .split('\n')
    .filter((line) => {
      const [, from = '', to = ''] = /^(\w+)-(\w+) rw/.exec(line) ?? [];
      return line.includes('anon_inode:kvm') || Number.parseInt(to, 16) - Number.parseInt(from, 16) >= RAM;
    });

async function spin(): Promise<Vm> {
  const vm = await Vm.create({
    engine: 'kvm',
    cpus: 2,
    memory: `${RAM / 2 ** 20}M`,
    append:
      'console=ttyS0 quiet type2.exec="i=0; while :; do i=$((i+1)); [ $((i % 2000)) = 0 ] && echo tick; done"',
  });
  await vm.start();
  return vm;
}

/** Waits until the guest prints something more. */
function nextOutput(vm: Vm): Promise<void> {
  return new Promise((resolve) => {
    vm.console.output.once('data', () => resolve());
  });
}

test('a paused guest stands still and goes on', async () => {
  const vm = await spin();
  await nextOutput(vm);
  await vm.pause();
  const before = vm.statistics().exits['io'];
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.equal(vm.statistics().exits['io'], before);
  vm.resume();
  await nextOutput(vm);
  await nextOutput(vm);
  await vm.stop();
  assert.equal((await vm.ended).kind, 'stopped');
});

test('stopping gives back every descriptor, thread and mapping', async () => {
  // The first machine loads code and warms caches that stay.
  await (await spin()).stop();
  const before = [descriptors(), threads()];
  assert.deepEqual(mappings(), []);
  for (let i = 0; i < 4; i++) {
    await using vm = await spin();
    // RAM and two vCPUs.
    assert.equal(mappings().length, 3, mappings().join('\n'));
    if (i % 2 === 0) await nextOutput(vm);
    if (i === 2) await vm.pause();
  }
  assert.deepEqual([descriptors(), threads()], before);
  assert.deepEqual(mappings(), []);
});

test('state of vCPUs and devices is saved and restored in the middle of a run', async () => {
  const { kernel, initrd } = bundledGuest('linux-x86_64');
  const machine = new Machine({
    driver: kvmDriver,
    memory: 128 * 2 ** 20,
    cpus: 2,
    disks: [],
    nets: [],
    rng: true,
    debugExit: false,
    deterministic: false,
    portable: false,
    onReset: 'end',
    guest: {
      image: readFileSync(kernel),
      imageName: 'bzImage',
      initrd: readFileSync(initrd!),
      commandLine: 'console=ttyS0 quiet type2.exec="i=0; while :; do i=$((i+1)); echo line $i; done"',
      protocol: 'auto',
      acpi: true,
    },
  });
  let printed = '';
  let wanted: { length: number; resolve: () => void } | undefined;
  machine.console.output.on('data', (chunk: Buffer) => {
    printed += chunk.toString('latin1');
    if (wanted !== undefined && printed.length >= wanted.length) wanted.resolve();
  });
  const more = (): Promise<void> =>
    new Promise((resolve) => {
      wanted = { length: printed.length + 200, resolve };
    });
  await machine.start();
  for (let round = 0; round < 5; round++) {
    await more();
    await machine.pause();
    const saved = machine.save();
    machine.restore(saved);
    const registers = machine.save().engine.vcpus.map((vcpu) => vcpu.registers);
    assert.deepEqual(
      registers,
      saved.engine.vcpus.map((vcpu) => vcpu.registers),
    );
    machine.resume();
  }
  await more();
  await machine.stop();
  const lines = [...printed.matchAll(/^line (\d+)\r$/gm)].map(([, number]) => Number(number));
  assert.ok(lines.length > 50, printed.slice(-500));
  assert.deepEqual(
    lines,
    lines.map((_, i) => i + 1),
  );
});
