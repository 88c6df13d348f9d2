/**
 * The device thread of a KVM machine. What it does is in device-loop.ts; like a vCPU's thread it never
 * returns to Node's event loop while the run lasts.
 */
import { parentPort } from 'node:worker_threads';
import { freeNativeBuffers } from '../../devices/host/libc.ts';
import { DeviceLoop } from './device-loop.ts';
import type { KvmThreadData, ThreadMessage } from './threads.ts';

// This module is loaded while the main thread still makes the VM; the data comes when that is done.
// Nothing comes when there is no machine after all.
parentPort!.once('message', (data: KvmThreadData | null) => {
  if (data === null) return;
  const ready: ThreadMessage = { type: 'ready' };
  const loop = new DeviceLoop(data, parentPort!);
  parentPort!.postMessage(ready);
  loop.run();
  loop.close();
  freeNativeBuffers();
});
