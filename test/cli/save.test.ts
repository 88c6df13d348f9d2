/**
 * A machine saved in the middle of a run goes on in a new one, on the other engine of the CPU in TypeScript too.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { deserialize, serialize } from 'node:v8';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';
// As built: engines start threads, which are bundles.
import type { Vm as VmClass, VmConfig, VmState } from '../../src/index.ts';
import { probeDriver } from '../../vm/drivers.ts';

const { Vm } = (await import(`${packageRoot()}/dist/src/index.js`)) as { Vm: typeof VmClass };

/** Collects what a machine prints, and says when there is enough of it. */
class Listener {
  printed = '';
  private waiting: (() => void)[] = [];

  constructor(vm: VmClass) {
    vm.console.output.on('data', (chunk: Buffer) => {
      this.printed += chunk.toString('latin1');
      for (const wake of this.waiting.splice(0)) wake();
    });
  }

  async until(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.printed)) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }
}

const LINES = 220;
const config = (more: VmConfig): VmConfig => ({
  memory: '128M',
  append: `console=ttyS0 quiet type2.exec="i=0; while [ $i -lt ${LINES} ]; do i=$((i+1)); echo line $i; [ $((i % 50)) = 0 ] && sleep 0.05; done; uname -m"`,
  ...more,
});

const numbers = (text: string): number[] =>
  [...text.matchAll(/^line (\d+)\r?$/gm)].map(([, number]) => Number(number));

/** Lets a machine print for a while, and saves it. */
async function runTo(vm: VmClass, pattern: RegExp): Promise<{ state: VmState; printed: string }> {
  const listener = new Listener(vm);
  await vm.start();
  await listener.until(pattern);
  await vm.pause();
  const state = deserialize(serialize(vm.save())) as VmState;
  // What was printed before is still on its way.
  await vm.stop();
  return { state, printed: listener.printed };
}

async function runToEnd(vm: VmClass): Promise<string> {
  const listener = new Listener(vm);
  await vm.start();
  expect((await vm.ended).kind).toBe('power-off');
  return listener.printed;
}

const { support } = await probeDriver('kvm');
const noKvm = support.capabilities === undefined ? ` (skipped: ${support.reason}; ${support.hint})` : '';

/** The guest's state when its timer ticks. On a busy host it may come to its tenth tick first: then another is started. */
async function betweenTicks(engine: 'kvm' | 'jit'): Promise<VmState> {
  for (;;) {
    const vm = await Vm.create({ engine, portable: true, guest: 'interrupt', memory: '16M' });
    vm.console.output.resume();
    await vm.start();
    let isOver = false;
    void vm.ended.then(() => {
      isOver = true;
    });
    while (!isOver) {
      try {
        await vm.pause();
      } catch (error) {
        if ((error as { code?: string }).code === 'MACHINE_STATE') break;
        throw error;
      }
      const state = vm.save();
      const timer = state.machine.engine.chips['pit'] as { running: number[] };
      if (timer.running[0] === 1) {
        await vm.stop();
        return state;
      }
      vm.resume();
      // A pause that follows at once may come before the guest's thread has even woken.
      await delay(1);
    }
  }
}

describe.skipIf(noKvm !== '')(`a saved teaching guest${noKvm}`, () => {
  it.each([
    ['kvm', 'jit'],
    ['jit', 'kvm'],
    ['kvm', 'kvm'],
  ] as const)('goes from %s to %s between two ticks of its timer', async (from, to) => {
    const state = await betweenTicks(from);
    expect(state.machine.engine.chips['pit']).toMatchObject({ reload: [11931, 0x1_0000, 0x1_0000] });
    expect(state.machine.engine.chips['pic']).toMatchObject({ vectorBase: [32, 40], imr: [254, 255] });
    // A KVM without hardware has fewer features than jit. The guest looks at none.
    const anyCpu = from === 'jit';
    expect(await runToEnd(await Vm.restore(state, { engine: to, anyCpu }))).toBe('Ten timer ticks\r\n');
  });
});

describe('a saved machine', () => {
  it.each([
    ['linux-x86_64', 1],
    ['linux-i386', 1],
    ['linux-x86_64', 2],
  ])(
    '%s with %i vCPUs goes from jit to interp and back',
    async (guest, cpus) => {
      const first = await runTo(await Vm.create(config({ engine: 'jit', guest, cpus })), /line 60\r/);
      const second = await runTo(await Vm.restore(first.state, { engine: 'interp' }), /line 120\r/);
      const third = await runToEnd(await Vm.restore(second.state, { engine: 'jit' }));
      const printed = first.printed + second.printed + third;
      expect(numbers(printed)).toEqual(Array.from({ length: LINES }, (_, i) => i + 1));
      expect(third).toMatch(guest === 'linux-i386' ? /i686/ : /x86_64/);
    },
    60_000,
  );

  it('whose run is deterministic does exactly what it would have done', async () => {
    const options = config({ engine: 'jit', deterministic: true });
    const whole = await Vm.create(options);
    const expected = await runToEnd(whole);
    const first = await runTo(await Vm.create(options), /line 60\r/);
    const rest = await Vm.restore(first.state, { engine: 'interp' });
    expect(first.printed + (await runToEnd(rest))).toBe(expected);
    expect(rest.statistics().instructions).toBe(whole.statistics().instructions);
  }, 60_000);

  it('goes on in the machine that it was saved from, as often as one likes', async () => {
    await using vm = await Vm.create(config({ engine: 'jit' }));
    const listener = new Listener(vm);
    await vm.start();
    await listener.until(/line 60\r/);
    await vm.pause();
    const state = vm.save();
    vm.resume();
    await listener.until(/line 200\r/);
    await vm.stop();
    const again = await runToEnd(await Vm.restore(state));
    expect(numbers(again).at(-1)).toBe(LINES);
    expect(numbers(again)[0]).toBeGreaterThan(59);
  }, 60_000);

  it('is refused by a machine of another kind', async () => {
    await using vm = await Vm.create({ engine: 'jit', guest: 'hello-real', memory: '16M' });
    vm.console.output.resume();
    expect(() => vm.save()).toThrow(/can't save a machine that is created/);
    const first = await runTo(await Vm.create(config({ engine: 'jit' })), /line 3\r/);
    const without: VmState = { ...first.state, config: { ...first.state.config, rng: false } };
    await expect(Vm.restore(without)).rejects.toThrow(/has devices .*virtio-rng/);
    const modern = structuredClone(first.state);
    const leaf7 = modern.machine.engine.vcpus[0]!.cpuid.find((leaf) => leaf.function === 7)!;
    (leaf7 as { ebx: number }).ebx |= 1 << 5;
    await expect(Vm.restore(modern)).rejects.toThrow(/CPUID\.07H:EBX\[5\]/);
    await using lenient = await Vm.restore(modern, { anyCpu: true });
    expect(lenient.engine).toBe('jit');
  }, 60_000);
});
