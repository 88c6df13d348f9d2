/** A guest that is saved on KVM goes on with the CPU in TypeScript, and back. */
import assert from 'node:assert/strict';
import { Vm, type VmState } from '../../../src/index.ts';
import { isEmulated, test } from './support.ts';

const LINES = 400;

async function runTo(vm: Vm, line: number): Promise<{ printed: string; state: VmState }> {
  let printed = '';
  const there = new Promise<void>((resolve) => {
    vm.console.output.on('data', (chunk: Buffer) => {
      printed += chunk.toString('latin1');
      if (printed.includes(`line ${line}\r`)) resolve();
    });
  });
  await vm.start();
  await there;
  await vm.pause();
  const state = vm.save();
  await vm.stop();
  return { printed, state };
}

const append = (more = ''): string =>
  `console=ttyS0 quiet ${more} type2.exec="i=0; while [ $i -lt ${LINES} ]; do i=$((i+1)); echo line $i; [ $((i % 100)) = 0 ] && sleep 0.1; done; date +%s"`;

function check(printed: string): void {
  const lines = [...printed.matchAll(/^line (\d+)\r?$/gm)].map(([, number]) => Number(number));
  assert.deepEqual(
    lines,
    Array.from({ length: LINES }, (_, i) => i + 1),
    printed.slice(-1000),
  );
}

for (const [guest, cpus] of [
  ['linux-x86_64', 1],
  ['linux-i386', 1],
  ['linux-x86_64', 2],
] as const) {
  // Under QEMU's TCG with several threads Node crashes when it compiles WebAssembly in the background, with nothing but
  // a guest on jit as well, and not with --no-liftoff. And a 32-bit guest's TR comes back with the busy bit set, as
  // processors have it: QEMU's LTR never sets it, and the next change of privilege ends QEMU ("invalid tss type").
  const skip =
    isEmulated && 'neither Node on jit nor a restored TSS survives QEMU: run this on a host with KVM';
  const title = `migrate: a portable ${guest} with ${cpus} vCPUs goes from kvm to jit and back to kvm`;
  test(title, { skip }, async () => {
    const config = { engine: 'kvm', portable: true, memory: '128M', guest, cpus, append: append() } as const;
    const first = await runTo(await Vm.create(config), 60);
    const second = await runTo(await Vm.restore(first.state, { engine: 'jit' }), 150);
    const last = await Vm.restore(second.state, { engine: 'kvm' });
    let printed = first.printed + second.printed;
    last.console.output.on('data', (chunk: Buffer) => {
      printed += chunk.toString('latin1');
    });
    await last.start();
    assert.equal((await last.ended).kind, 'power-off');
    check(printed);
    // What it had measured of its TSC still holds.
    const time = Number(/^(\d{9,})\r?$/m.exec(printed)?.[1]);
    assert.ok(Math.abs(time - Date.now() / 1000) < 60, `${time}`);
  });
}

test('migrate: a saved machine goes on in a new one on kvm, kvmclock and all', async () => {
  const first = await runTo(await Vm.create({ engine: 'kvm', memory: '128M', append: append() }), 60);
  const last = await Vm.restore(first.state);
  let { printed } = first;
  last.console.output.on('data', (chunk: Buffer) => {
    printed += chunk.toString('latin1');
  });
  await last.start();
  assert.equal((await last.ended).kind, 'power-off');
  check(printed);
});

test('migrate: a guest that saw the whole processor is refused by jit, with what to do', async () => {
  const first = await runTo(await Vm.create({ engine: 'kvm', memory: '128M', append: append() }), 10);
  await assert.rejects(
    Vm.restore(first.state, { engine: 'jit' }),
    (error: Error & { hint?: string }) => /CPUID/.test(error.message) && /portable/.test(error.hint ?? ''),
  );
});
