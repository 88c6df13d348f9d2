/**
 * `npm run bench -- allocations`: what a million exits leave on the heap. It runs the very loop of a
 * vCPU's thread, on this thread, with a real platform, and reads the heap before and after with the
 * garbage collector held off. A vCPU on KVM gives its exits; the result is printed as bytes an exit.
 */

import { Bus } from '../devices/bus.ts';
import { Serial } from '../devices/serial.ts';
import { DeviceState } from '../devices/state.ts';
import { Control } from '../vm/control.ts';
import { debugEvent } from '../vm/debug/settings.ts';
import { probeDriver } from '../vm/drivers.ts';
import { type Exit, ExitReason, type Vcpu } from '../vm/engine.ts';
import { statisticsBuffer, threadCounters } from '../vm/statistics.ts';
import { runVcpu } from '../vm/vcpu-loop.ts';
import { exitsGuest } from './exits-guest.ts';

const PORT = 0x3ff;
const EXITS = 1_000_000;
const WARM_UP = 100_000;

export async function benchAllocations(): Promise<void> {
  const { support } = await probeDriver('kvm');
  if (support.capabilities === undefined) {
    process.stdout.write(`allocations: can't run here: ${support.reason}\n`);
    return;
  }
  const { openBenchVcpu } = await import('./kvm-vcpu.ts');
  const bench = openBenchVcpu(exitsGuest(PORT, WARM_UP + EXITS + 10));
  try {
    const used = measure(bench.vcpu);
    process.stdout.write(
      `allocations: ${used} bytes on the heap after ${EXITS} exits (${(used / EXITS).toFixed(3)} an exit)\n`,
    );
  } finally {
    bench.close();
  }
}

/** Heap growth over the measured exits. No collection happens in between: new space holds what is made. */
function measure(inner: Vcpu): number {
  const control = new Control(Control.buffer(1));
  const counters = threadCounters(statisticsBuffer(1), 0);
  const pio = new Bus(counters.pio);
  const serial = new Serial(
    'serial0',
    DeviceState.alone(Serial.layout),
    { setLevel: () => {}, pulse: () => {} },
    {
      send: () => true,
      receive: () => -1,
    },
  );
  serial.reset();
  pio.map(0x3f8, 8, serial, serial.state.lock);
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
      else if (exits === WARM_UP + EXITS) {
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
