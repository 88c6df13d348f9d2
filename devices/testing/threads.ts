/**
 * Runs functions on worker threads, for tests of what threads share. A worker gets the functions and
 * classes that it needs as source text, so no file of its own and no build.
 */
import { Worker } from 'node:worker_threads';

/**
 * Runs `body(data, ...classes)` on a thread of its own.
 * @param classes - what the body needs besides plain JavaScript; self-contained classes
 * @param constants - names and values that those classes refer to
 */
export function onThread<T, R>(
  body: (data: T, ...classes: never[]) => R,
  data: T,
  // biome-ignore lint/suspicious/noExplicitAny: any class at all
  classes: readonly (new (...args: any[]) => unknown)[] = [],
  constants: Readonly<Record<string, number>> = {},
): Promise<R> {
  const lines = [
    "const { workerData, parentPort } = require('node:worker_threads');",
    ...Object.entries(constants).map(([name, value]) => `const ${name} = ${value};`),
    ...classes.map((one, i) => `const class${i} = ${String(one)};`),
    `const body = ${String(body)};`,
    `parentPort.postMessage(body(workerData, ${classes.map((_, i) => `class${i}`).join(', ')}));`,
  ];
  const worker = new Worker(lines.join('\n'), { eval: true, workerData: data });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}
