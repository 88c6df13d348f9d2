/**
 * Worker threads that are started before anybody has use for them. Starting a thread and loading its code takes about
 * as long as all else that comes before a guest's first instruction, so it pays to {@link warmUp} one while the
 * configuration is still being read.
 *
 * A thread's module waits for one message, its data, and ends when that is null.
 */
import { SHARE_ENV, Worker } from 'node:worker_threads';

/** Threads that have loaded their code, or are at it, and belong to no machine yet: by their module. */
const warm = new Map<string, Worker>();

/** The module of a thread, beside the module that asks: where modules are bundled, all are in one folder. */
export function threadModule(name: string, asker: string): URL {
  return new URL(`./${name}.${asker.endsWith('.cjs') ? 'cjs' : 'js'}`, asker);
}

function start(module: URL): Worker {
  return new Worker(module, { env: SHARE_ENV, trackUnmanagedFds: false });
}

/**
 * Starts a thread for a machine that will most likely be made. It keeps no process alive; {@link coolDown} ends it if
 * there is no machine. One of a kind: more would keep each other, and the main thread, from getting on.
 */
export function warmUp(module: URL): void {
  const key = module.href;
  if (warm.has(key)) return;
  const worker = start(module);
  worker.unref();
  // One that can't load is forgotten: whoever then starts another is told.
  worker.once('error', () => warm.delete(key));
  warm.set(key, worker);
}

/** A thread of a module: one that has been started before, or a new one. */
export function takeThread(module: URL): Worker {
  const worker = warm.get(module.href) ?? start(module);
  warm.delete(module.href);
  worker.ref();
  return worker;
}

/**
 * Ends a thread that has not begun, when its code is loaded. Ending it in the middle (terminate(), or the
 * process's exit) would take native code away while that is being loaded.
 */
export function dismiss(worker: Worker): void {
  worker.postMessage(null);
}

/** Ends the threads that nobody has used. To be waited for before the process exits. */
export async function coolDown(): Promise<void> {
  const unused = [...warm.values()];
  warm.clear();
  await Promise.all(
    unused.map(async (worker) => {
      worker.ref();
      const exited = new Promise((resolve) => worker.once('exit', resolve));
      dismiss(worker);
      await exited;
    }),
  );
}
