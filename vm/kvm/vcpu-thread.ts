/**
 * The thread of one KVM vCPU: builds its view of the platform, and runs the vCPU until the run ends.
 * It never returns to Node's event loop in between.
 */
import { type MessagePort, parentPort } from 'node:worker_threads';
import { freeNativeBuffers } from '../../devices/host/libc.ts';
import type { HostAddress } from '../../devices/memory.ts';
import { type AnyDeviceModule, DeviceModuleError } from '../../devices/module.ts';
import { monotonicNow } from '../clock.ts';
import { Control } from '../control.ts';
import { loadDeviceModules } from '../device-modules.ts';
import { buildPlatform } from '../platform.ts';
import { threadCounters } from '../statistics.ts';
import { Tracer } from '../trace/tracer.ts';
import { runVcpu } from '../vcpu-loop.ts';
import { acceptKicks } from './kick.ts';
import { kvmPlatformHost } from './platform-host.ts';
import type { ThreadMessage, VcpuThreadData } from './threads.ts';
import { KvmVcpu } from './vcpu.ts';
import { memoryOver } from './vm.ts';

// This module is loaded while the main thread still makes the VM; the data comes when that is done.
// Nothing comes when there is no machine after all.
parentPort!.once('message', (data: VcpuThreadData | null) => {
  if (data !== null)
    void loadDeviceModules(data.parts.modules).then((modules) => runThread(data, modules, parentPort!));
});

function runThread(data: VcpuThreadData, modules: readonly AnyDeviceModule[], port: MessagePort): void {
  const post = (message: ThreadMessage): void => port.postMessage(message);
  const control = new Control(data.parts.control);
  control.onOutcome = () => post({ type: 'outcome' });
  control.onDebugStop = () => post({ type: 'debug-stop' });
  const counters = threadCounters(data.parts.statistics, data.index);
  const { trace } = data.parts;
  const tracer = trace && new Tracer(trace, data.index, () => data.index);
  const host = kvmPlatformHost(data, memoryOver(data.ram), control, counters, port);
  const platform = buildPlatform(data.parts, { ...host, observer: tracer }, modules);
  const vcpu = new KvmVcpu(data.index, data.vcpuFd, data.run as HostAddress, data.runSize);
  // From here on the main thread can kick this one; what it asked for before is seen in the control block.
  control.setThread(data.index, acceptKicks());
  post({ type: 'ready' });
  const { pio, mmio } = platform;
  tracer?.attach(pio, mmio);
  let failure: string | undefined;
  counters.began[0] = monotonicNow();
  try {
    const stopped = runVcpu({ vcpu, pio, mmio, control, counts: counters.exits, observer: tracer });
    if (stopped !== undefined) failure = `vCPU ${data.index}: ${stopped}`;
  } catch (error) {
    // A user's device; whatever else is thrown here nobody foresaw, and the main thread shows it whole.
    if (!(error instanceof DeviceModuleError)) throw error;
    control.end('error');
    failure = error.message;
  }
  control.setThread(data.index, 0);
  if (failure !== undefined) post({ type: 'failed', message: failure });
  freeNativeBuffers();
}
