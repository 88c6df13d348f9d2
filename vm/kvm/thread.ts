/**
 * A worker thread of the KVM driver, as the main thread sees it: it loads its code at once, begins when it
 * is given its data, and ends by itself when the run does.
 */
import type { Worker } from 'node:worker_threads';
import { HostError } from '../../devices/errors.ts';
import { dismiss, takeThread, threadModule, warmUp } from '../warm-threads.ts';
import type { KvmThreadData, ThreadMessage } from './threads.ts';

/** What a thread is for: the name of its module. */
export type ThreadRole = 'vcpu-thread' | 'device-thread';

/** An error that nobody caught on the thread. */
export interface ThreadCrash {
  readonly type: 'crashed';
  readonly error: Error;
}

/** Starts the thread of a vCPU before there is a machine. */
export function warmUpKvm(): void {
  warmUp(threadModule('vcpu-thread', import.meta.url));
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
    const worker = takeThread(threadModule(role, import.meta.url));
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
