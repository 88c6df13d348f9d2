/**
 * The device thread of a KVM machine. What it does is in device-loop.ts; like a vCPU's thread it never
 * returns to Node's event loop while the run lasts.
 */
import { type MessagePort, parentPort } from 'node:worker_threads';
import { Type2Error } from '../../devices/errors.ts';
import { freeNativeBuffers } from '../../devices/host/libc.ts';
import { type AnyDeviceModule, DeviceModuleError } from '../../devices/module.ts';
import { Control } from '../control.ts';
import { loadDeviceModules } from '../device-modules.ts';
import { DeviceLoop } from './device-loop.ts';
import type { KvmThreadData, ThreadMessage } from './threads.ts';

// This module is loaded while the main thread still makes the VM; the data comes when that is done.
// Nothing comes when there is no machine after all.
parentPort!.once('message', (data: KvmThreadData | null) => {
  void begin(data).finally(freeNativeBuffers);
});

async function begin(data: KvmThreadData | null): Promise<void> {
  if (data !== null) runThread(data, await loadDeviceModules(data.parts.modules), parentPort!);
}

function runThread(data: KvmThreadData, modules: readonly AnyDeviceModule[], port: MessagePort): void {
  const post = (message: ThreadMessage): void => port.postMessage(message);
  let loop: DeviceLoop;
  try {
    loop = new DeviceLoop(data, modules, port);
  } catch (error) {
    if (!(error instanceof Type2Error)) throw error;
    post({ type: 'refused', code: error.code, message: error.message, hint: error.hint });
    return;
  }
  post({ type: 'ready' });
  try {
    loop.run();
  } catch (error) {
    if (!(error instanceof DeviceModuleError)) throw error;
    new Control(data.parts.control).end('error');
    post({ type: 'failed', message: error.message });
  }
  loop.close();
}
