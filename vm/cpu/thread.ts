/** The worker thread of the CPU in TypeScript, as the main thread starts it. */
import type { Worker } from 'node:worker_threads';
import { takeThread, threadModule, warmUp } from '../warm-threads.ts';

const module = threadModule('cpu-thread', import.meta.url);

/** Starts it before there is a machine. */
export function warmUpCpu(): void {
  warmUp(module);
}

/** One that waits for its data. */
export function takeCpuThread(): Worker {
  return takeThread(module);
}
