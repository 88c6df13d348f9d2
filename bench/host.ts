/**
 * The host that benchmarks run on: its description for reports, and what it has.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../src/guests.ts';
import { probeDriver } from '../vm/drivers.ts';
import type { HostDescription } from './report.ts';

/** The host's processor, as it calls itself. */
export function hostProcessor(): string {
  try {
    return /model name\s*: (.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown processor';
  } catch {
    return 'unknown processor';
  }
}

export async function describeHost(): Promise<HostDescription> {
  const { support } = await probeDriver('kvm');
  return {
    processor: hostProcessor(),
    processors: cpus().length,
    memory: totalmem(),
    kernel: release(),
    node: process.version,
    kvm: support.reason,
    load: loadavg()[0]!,
  };
}

/** In a line or two, for the head of a report. */
export function showHost(host: HostDescription): string {
  const { processor, processors, memory, kernel, node, kvm, load } = host;
  const gib = (memory / 2 ** 30).toFixed(0);
  const lines = [`${processor}, ${processors} processors, ${gib} GiB; Linux ${kernel}; Node.js ${node}`];
  if (kvm !== '') lines.push(`kvm: ${kvm}`);
  if (load > 0.5 * processors) lines.push(`the host is busy: load ${load.toFixed(1)} when the run began`);
  return `${lines.join('\n')}\n`;
}

/** The version of Type2. */
export function ownVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string })
    .version;
}

/** Whether a program can be run. @param args - that make it end at once */
export function hasProgram(program: string, ...args: string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).error === undefined;
}

/** The first line of what a program prints; undefined where there is no such program. */
export function firstLine(program: string, ...args: string[]): string | undefined {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split(
      '\n',
    )[0];
  } catch {
    return undefined;
  }
}
