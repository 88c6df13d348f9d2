/**
 * What the tests of the suite share: running the command line as a user would, and files to work on.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test as declare, type TestContext } from 'node:test';
import { packageRoot } from '../../../src/guests.ts';
import { PLAN } from '../verdicts.ts';

export const root = packageRoot();
/** The stock Debian kernel and its initramfs, where the rig has put them. */
export const stock = process.env['TYPE2_STOCK'];

/** Whether KVM here runs on QEMU's emulation of SVM. */
export const isEmulated = readFileSync('/proc/cpuinfo', 'latin1').includes('QEMU') || stock !== undefined;

const CLI = join(root, 'dist/bin/main.cjs');
/** For one guest or session, in seconds. Under emulation everything takes twenty to fifty times as long. */
export const PATIENCE_S = 60;

const plan = JSON.parse(process.env[PLAN] ?? '{"done":[]}') as { done: string[]; only?: string };
const done = new Set(plan.done);
const only = new RegExp(plan.only ?? '');

type TestBody = (context: TestContext) => Promise<void>;

/** A test of node:test, unless it has been judged already or hasn't been asked for. */
export function test(
  name: string,
  ...rest: [body: TestBody] | [options: { readonly skip: string | false }, body: TestBody]
): void {
  const [options, body] = rest.length === 1 ? [{}, ...rest] : rest;
  if (!done.has(name) && only.test(name)) void declare(name, options, body);
}

/** What a run of the command line came to. */
export interface RunResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A guest that runs. */
export interface RunningGuest {
  readonly process: ChildProcess;
  readonly result: Promise<RunResult>;
  /** Resolved when stdout has this text. */
  printed(text: string): Promise<void>;
}

/** Starts `type2 run` on KVM. */
export function startGuest(args: readonly string[]): RunningGuest {
  const child = spawn(
    process.execPath,
    [CLI, 'run', '--engine', 'kvm', '--timeout', String(PATIENCE_S), ...args],
    {
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  let stdout = '';
  let stderr = '';
  const waiting: { text: string; resolve: () => void }[] = [];
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString('latin1');
    for (const { text, resolve } of waiting) if (stdout.includes(text)) resolve();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString('latin1');
  });
  const result = new Promise<RunResult>((resolve) => {
    child.once('close', (status) => resolve({ status, stdout, stderr }));
  });
  const printed = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      if (stdout.includes(text)) resolve();
      waiting.push({ text, resolve });
      void result.then((end) => reject(new Error(`ended without printing '${text}': ${show(end)}`)));
    });
  return { process: child, result, printed };
}

/** Runs `type2 run` on KVM to its end. */
export function runGuest(args: readonly string[]): Promise<RunResult> {
  const guest = startGuest([...args, '--stats']);
  guest.process.stdin!.end();
  return guest.result;
}

/** Arguments that run a shell command in a bundled Linux. */
export function linux(command: string, name = 'linux-x86_64', append = ''): string[] {
  return ['--guest', name, '--append', `console=ttyS0 quiet ${append} type2.exec="${command}"`];
}

/** A result for the message of a failed assertion. */
export function show(result: RunResult): string {
  return `status ${result.status}\n--- stdout\n${result.stdout}\n--- stderr\n${result.stderr}`;
}

/** A folder that is gone after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'type2-rig-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
