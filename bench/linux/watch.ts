/**
 * Running a VMM in a process of its own, and watching its console: when the guest comes how far, and whether it has
 * gone silent.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { GuestLog, type Row } from './guest.ts';

/** This peer can't run here; the others go on. */
export class PeerUnavailable extends Error {
  override readonly name = 'PeerUnavailable';
}

/** How a run is watched. */
export interface RunOptions {
  /** The host's processor that a run is tied to; undefined ties it to none. */
  readonly cpu: number | undefined;
  /** Seconds without a line from the guest after which a run has failed. */
  readonly patience: number;
}

/** How long a guest may take to switch itself off. */
const GRACE_MS = 2000;

/** What a run came to. */
export interface GuestRun {
  readonly rows: readonly Row[];
  /** Seconds from the start of the process to the kernel's first line, where there is one. */
  readonly entered: number | undefined;
  /** Seconds from the guest's last line to the end of the process; undefined where it had to be ended. */
  readonly ending: number | undefined;
}

/** Whether processes can be tied to a processor. */
export function canPin(cpu: number): boolean {
  return spawnSync('taskset', ['-c', String(cpu), 'true']).status === 0;
}

/** Starts a VMM, reads its console until the guest has measured everything, and ends it. */
export async function runGuest(command: readonly string[], options: RunOptions): Promise<GuestRun> {
  const pinned = options.cpu === undefined ? command : ['taskset', '-c', String(options.cpu), ...command];
  const [program, ...args] = pinned as [string, ...string[]];
  const started = performance.now();
  const log = new GuestLog(started);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (status, signal) => resolve(signal ?? `exit status ${status}`));
  });
  const tail: string[] = [];
  const complaints: string[] = [];
  let began: number | undefined;
  eachLine(child.stderr, (text) => {
    const [, milliseconds] = /^guest began +([\d.]+) ms after the process$/.exec(text) ?? [];
    if (milliseconds !== undefined) began = Number(milliseconds);
    complaints.push(text);
  });
  let heard = performance.now();
  const through = new Promise<void>((resolve) => {
    eachLine(child.stdout, (text, time) => {
      heard = time;
      log.line(text, time);
      tail.push(text);
      if (tail.length > 8) tail.shift();
      if (log.done) resolve();
    });
  });
  let watch: NodeJS.Timeout | undefined;
  const silent = new Promise<string>((resolve) => {
    const look = (): void => {
      if (performance.now() - heard > options.patience * 1000)
        resolve(`nothing from the guest for ${options.patience} s`);
    };
    watch = setInterval(look, 1000);
  });
  const outcome = await Promise.race([through, closed, silent]);
  clearInterval(watch);
  const done = performance.now();
  const byItself = await end(child, closed, log.done);
  if (log.done) {
    if (began !== undefined) log.enteredAt(started + began);
    const { rows, entered } = log;
    const ending = byItself ? (performance.now() - done) / 1000 : undefined;
    return { rows, entered: entered && (entered - started) / 1000, ending };
  }
  const said = [...tail, ...complaints].join('\n    ');
  if (tail.length === 0 && typeof outcome === 'string' && /^exit status [1-9]/.test(outcome))
    throw new PeerUnavailable(complaints[0] ?? outcome);
  throw new Error(`${outcome}, ${log.reachedInit ? 'in user space' : 'in the kernel'}:\n    ${said}`);
}

/** Most guests switch themselves off, which is let happen. @returns whether this one did */
async function end(child: ChildProcess, closed: Promise<unknown>, gently: boolean): Promise<boolean> {
  if (gently && (await Promise.race([closed, delay(GRACE_MS)])) !== undefined) return true;
  child.kill('SIGTERM');
  await Promise.race([closed, delay(1000)]);
  child.kill('SIGKILL');
  await closed;
  return false;
}

/** Resolves after a time, which keeps no process alive. */
function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}

/** Lines of a stream, each with the time at which its last byte came. */
function eachLine(stream: NodeJS.ReadableStream, take: (text: string, time: number) => void): void {
  let rest = '';
  stream.setEncoding('latin1');
  stream.on('data', (chunk: string) => {
    const time = performance.now();
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      const text = line.replaceAll('\r', '');
      if (text !== '') take(text, time);
    }
  });
}
