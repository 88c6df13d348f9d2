/**
 * What the rig needs of the host: programs, a place to keep what it has built, and a way to say how far
 * it has come.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/guests.ts';

/** Something that the rig can't go on without. The exit status is then 2. */
export class RigError extends Error {}

export const root = packageRoot();
export const cache = join(root, '.cache', 'rig');

const started = performance.now();

/** A line of progress, with the seconds since the start. */
export function say(line: string): void {
  process.stdout.write(`rig ${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s  ${line}\n`);
}

/** The rig's programs, each with the Debian package that has it. */
const PROGRAMS: Readonly<Record<string, string>> = {
  'qemu-system-x86_64': 'qemu-system-x86 seabios',
  cpio: 'cpio',
  'apt-get': 'apt',
  'dpkg-deb': 'dpkg',
  modprobe: 'kmod',
  depmod: 'kmod',
  ldd: 'libc-bin',
  lz4: 'lz4',
  nasm: 'nasm',
};

/** @throws RigError that names the packages to install */
export function requirePrograms(programs = PROGRAMS): void {
  const missing = Object.keys(programs).filter((name) => spawnSync('which', [name]).status !== 0);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((name) => programs[name]))].join(' ');
  throw new RigError(
    `${missing.join(', ')} not found. On Debian: sudo apt-get install --no-install-recommends ${packages}`,
  );
}

/** Runs a program to its end. @returns what it printed */
export function command(program: string, args: readonly string[], options: { cwd?: string } = {}): string {
  return execFileSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  });
}

/** A shell script, for pipes. The arguments are $1, $2 …, so that no name needs quoting. */
export function shell(script: string, args: readonly string[], cwd: string): void {
  execFileSync('bash', ['-euo', 'pipefail', '-c', script, 'rig', ...args], {
    cwd,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

/** A folder in the cache. */
export function cacheFolder(...names: string[]): string {
  const folder = join(cache, ...names);
  mkdirSync(folder, { recursive: true });
  return folder;
}
