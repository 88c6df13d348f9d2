/**
 * A worker thread of the KVM driver, as the main thread sees it: it loads its code at once, begins when it
 * is given its data, and ends by itself when the run does.
 *
 * Starting a thread and loading its code takes about as long as all else that comes before a guest's first
 * instruction, so it pays to {@link warmUp} threads while the configuration is still being read.
 */
import { SHARE_ENV, Worker } from 'node:worker_threads';
import { HostError } from '../../devices/errors.ts';
import type { KvmThreadData, ThreadMessage } from './threads.ts';

/** What a thread is for: the name of its module. */
export type ThreadRole = 'vcpu-thread' | 'device-thread';

/** An error that nobody caught on the thread. */
export interface ThreadCrash {
  readonly type: 'crashed';
  readonly error: Error;
}

/** vCPU threads that have loaded their code, or are at it, and belong to no machine yet. */
const warm: Worker[] = [];

function startWorker(role: ThreadRole): Worker {
  // Where the modules are bundled, this one's neighbours are too.
  const extension = import.meta.url.endsWith('.cjs') ? 'cjs' : 'js';
  return new Worker(new URL(`./${role}.${extension}`, import.meta.url), {
    env: SHARE_ENV,
    trackUnmanagedFds: false,
  });
}

/**
 * Starts the thread of a vCPU for a machine that will most likely be made. It keeps no process alive;
 * {@link coolDown} ends it if there is no machine. One only: more would keep each other, and the main thread, from getting on.
 */
export function warmUp(): void {
  const worker = startWorker('vcpu-thread');
  worker.unref();
  // Without koffi it can't load; whoever then asks for KVM is told so by the driver.
  worker.once('error', () => {
    const index = warm.indexOf(worker);
    if (index >= 0) warm.splice(index, 1);
  });
  warm.push(worker);
}

/**
 * Ends a thread that has not begun, when its code is loaded. Ending it in the middle (terminate(), or the
 * process's exit) would take its native code away while that is being loaded.
 */
function dismiss(worker: Worker): void {
  const nothing: KvmThreadData | null = null;
  worker.postMessage(nothing);
}

/** Ends the threads that nobody has used. To be waited for before the process exits. */
export async function coolDown(): Promise<void> {
  await Promise.all(
    warm.splice(0).map(async (worker) => {
      worker.ref();
      const exited = new Promise((resolve) => worker.once('exit', resolve));
      dismiss(worker);
      await exited;
    }),
  );
}

/** Errors lose their class on their way from thread to thread. */
function refusal({ code, message, hint }: Extract<ThreadMessage, { type: 'refused' }>): HostError {
  return new HostError(code, message, hint === undefined ? {} : { hint });
}

export class KvmThread {
  /** Resolved when the thread has built its machine; rejected when it failed to. */
  readonly ready: Promise<void>;
  readonly exited: Promise<void>;
  /** Whether it has been given its data and has not ended. */
  running = false;
  private readonly worker: Worker;
  private begun = false;

  /** @param hear - gets what the thread says, on the main thread */
  constructor(role: ThreadRole, hear: (message: ThreadMessage | ThreadCrash) => void) {
    const worker = (role === 'vcpu-thread' ? warm.pop() : undefined) ?? startWorker(role);
    worker.ref();
    this.worker = worker;
    this.exited = new Promise((resolve) => {
      worker.once('exit', () => {
        this.running = false;
        resolve();
      });
    });
    this.ready = new Promise((resolve, reject) => {
      worker.on('message', (message: ThreadMessage) => {
        if (message.type === 'ready') resolve();
        else if (message.type === 'refused') reject(refusal(message));
        else hear(message);
      });
      worker.once('error', (error: Error) => {
        reject(error);
        hear({ type: 'crashed', error });
      });
      // A thread that ends before it is ready was stopped, and nobody waits for it any more.
      void this.exited.then(resolve);
    });
    // Whoever starts the machine sees the rejection; later, the outcome tells of it.
    this.ready.catch(() => {});
  }

  /** Hands the thread its data. */
  begin(data: KvmThreadData): void {
    this.begun = true;
    this.running = true;
    this.worker.postMessage(data);
  }

  /** Resolved when the thread has ended: one that has begun ends by itself, one that has not is ended here. */
  async end(): Promise<void> {
    if (!this.begun) dismiss(this.worker);
    await this.exited;
  }
}
