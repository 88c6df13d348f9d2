/** The worker thread of the CPU in TypeScript, as the main thread starts it. */
import { setFlagsFromString } from 'node:v8';
import type { Worker } from 'node:worker_threads';
import { takeThread, threadModule, warmUp } from '../warm-threads.ts';

const module = threadModule('cpu-thread', import.meta.url);

/** Starts it before there is a machine, in a process that is there for one machine alone. */
export function warmUpCpu(): void {
  // V8 11 (Node.js 20) optimizes functions after some hundred calls: for a boot it did so all the time, on another core or
  // instead of running the guest, which came to a third of all work. It now waits for ten times as much. Later versions
  // have a compiler in between and wait by themselves, and don't know the flag.
  if (process.versions.v8.startsWith('11.')) setFlagsFromString('--interrupt-budget=700000');
  warmUp(module);
}

/** One that waits for its data. */
export function takeCpuThread(): Worker {
  return takeThread(module);
}
