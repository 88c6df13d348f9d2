/**
 * `npm run bench -- allocations`: what a million exits leave on the heap. It runs the very loop of a
 * vCPU's thread, on this thread, with a real platform, and reads the heap before and after with the
 * garbage collector held off. A vCPU on KVM gives its exits; the result is printed as bytes an exit.
 */

import { Bus } from '../../devices/bus.ts';
import { Control } from '../../vm/control.ts';
import { debugEvent } from '../../vm/debug/settings.ts';
import { probeDriver } from '../../vm/drivers.ts';
import { type Exit, ExitReason, type Vcpu } from '../../vm/engine.ts';
import { statisticsBuffer, threadCounters } from '../../vm/statistics.ts';
import { runVcpu } from '../../vm/vcpu-loop.ts';
import { progressOf } from '../progress.ts';
import { emptyPart, type Part } from '../report.ts';
import { guestImage } from './guest.ts';
import { serialOnBus } from './serial-bus.ts';

const EXITS = 1_000_000;
const WARM_UP = 100_000;
const TITLE = 'What an exit leaves on the heap';

export async function benchAllocations(options: { readonly short: boolean }): Promise<Part> {
  const began = performance.now();
  const { support } = await probeDriver('kvm');
  if (support.capabilities === undefined)
    return emptyPart('allocations', TITLE, `kvm: can't run here: ${support.reason}`);
  const exits = options.short ? EXITS / 20 : EXITS;
  progressOf('allocations')(`${exits} exits`);
  const { openBenchVcpu } = await import('./kvm-vcpu.ts');
  const bench = openBenchVcpu(guestImage('bare-out', WARM_UP + exits + 10));
  try {
    const value = measure(bench.vcpu, exits) / exits;
    const cells = { kvm: { median: value, low: value, high: value, count: 1 } };
    return {
      name: 'allocations',
      title: TITLE,
      tables: [
        {
          name: 'heap',
          title: `heap growth over ${exits} exits`,
          columns: [{ name: 'kvm', title: 'bytes an exit' }],
          rows: [
            { name: 'pio-out', title: 'PIO out, serial register', unit: 'bytes', better: 'less', cells },
          ],
        },
      ],
      notes: [],
      errors: [],
      seconds: (performance.now() - began) / 1000,
    };
  } finally {
    bench.close();
  }
}

/** Heap growth over the measured exits. No collection happens in between: new space holds what is made. */
function measure(inner: Vcpu, measured: number): number {
  const control = new Control(Control.buffer(1));
  const counters = threadCounters(statisticsBuffer(1), 0);
  const { pio } = serialOnBus(counters.pio);
  let exits = 0;
  let before = 0;
  let after = 0;
  const exit: Exit = inner.exit;
  const vcpu: Vcpu = {
    index: 0,
    exit,
    data: inner.data,
    run: () => {
      const reason = inner.run();
      if (exits === WARM_UP) before = process.memoryUsage().heapUsed;
      else if (exits === WARM_UP + measured) {
        after = process.memoryUsage().heapUsed;
        control.end('stopped');
      }
      exits++;
      return reason === ExitReason.interrupted ? ExitReason.interrupted : reason;
    },
    settle: () => inner.settle(),
    debugEvent: debugEvent(0),
    haltedForGood: () => false,
    describeFailure: () => inner.describeFailure(),
  };
  const failure = runVcpu({ vcpu, pio, mmio: new Bus(counters.mmio), control, counts: counters.exits });
  if (failure !== undefined) throw new Error(failure);
  return after - before;
}
