/**
 * Who takes part in the CPU benchmark: Type2's own engines, QEMU's TCG and v86. Each boots the same kernel
 * with the same initramfs, command line and RAM on one processor of the host, in a process of its own that
 * is started and watched in one way.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../src/guests.ts';
import { type Architecture, type GuestFiles, GuestLog, MEMORY_MB, type Row } from './cpu-guest.ts';

/** One VMM with one guest. */
export interface Peer {
  /** Such as `qemu tcg`. */
  readonly name: string;
  readonly arch: Architecture;
  /** Boots the guest and measures all rows. @throws PeerUnavailable, or Error if the run goes wrong */
  run(): Promise<Row[]>;
}

/** This peer can't run here; the others go on. */
export class PeerUnavailable extends Error {
  override readonly name = 'PeerUnavailable';
}

/** A family of peers, as `--only` names them. */
export const FAMILIES = ['type2', 'qemu', 'v86'] as const;
export type Family = (typeof FAMILIES)[number];

/** How a run is watched. */
export interface RunOptions {
  /** The host's processor that a run is tied to; undefined ties it to none. */
  readonly cpu: number | undefined;
  /** Seconds without a line from the guest after which a run has failed. */
  readonly patience: number;
}

export function type2Peer(engine: string, guest: GuestFiles, options: RunOptions): Peer {
  const args = ['run', '--engine', engine, '--kernel', guest.kernel, '--initrd', guest.initrd];
  args.push('--append', guest.append, '--memory', `${MEMORY_MB}M`, '--no-rng', '--no-reboot', '--quiet');
  const command = [process.execPath, join(packageRoot(), 'dist/bin/main.cjs'), ...args];
  return { name: `type2 ${engine}`, arch: guest.arch, run: () => runGuest(command, options) };
}

/**
 * The `pc` machine: the kernel comes up faster on `microvm`, by some 0.2 s, but not always, since there it
 * has nothing to measure its TSC by when the host is busy.
 */
export function qemuPeer(guest: GuestFiles, options: RunOptions): Peer {
  const program = `qemu-system-${guest.arch}`;
  const args = ['-M', 'pc', '-accel', 'tcg', '-smp', '1', '-m', `${MEMORY_MB}M`, '-nodefaults', '-no-reboot'];
  args.push('-display', 'none', '-serial', 'stdio', '-kernel', guest.kernel, '-initrd', guest.initrd);
  const command = [program, ...args, '-append', guest.append];
  const run = async (): Promise<Row[]> => {
    if (spawnSync(program, ['--version']).status !== 0)
      throw new PeerUnavailable(`no ${program}: sudo apt-get install qemu-system-x86`);
    return runGuest(command, options);
  };
  return { name: 'qemu tcg', arch: guest.arch, run };
}

/** Where Debian's seabios package puts what v86 needs and its own package leaves out. */
const V86_BIOS = '/usr/share/seabios/bios.bin';
const V86_VGA_BIOS = '/usr/share/seabios/vgabios-stdvga.bin';

/** Without ACPI, v86's default, the kernel is sooner in user space than with it. */
export function v86Peer(guest: GuestFiles, options: RunOptions): Peer {
  const script = fileURLToPath(new URL('./cpu-v86.js', import.meta.url));
  const { kernel, initrd, append } = guest;
  const command = [process.execPath, script, kernel, initrd, append, V86_BIOS, V86_VGA_BIOS];
  const run = async (): Promise<Row[]> => {
    if (v86Version() === undefined) throw new PeerUnavailable('no package v86: npm ci');
    if (!existsSync(V86_BIOS) || !existsSync(V86_VGA_BIOS))
      throw new PeerUnavailable(`no ${V86_BIOS}: sudo apt-get install seabios`);
    return runGuest([...command, String(MEMORY_MB)], options);
  };
  return { name: 'v86', arch: guest.arch, run };
}

/** What the peers are, a line each. */
export function describePeers(families: readonly Family[]): string[] {
  const lines: string[] = [];
  if (families.includes('qemu')) {
    const version = spawnSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' }).stdout;
    if (version) lines.push(version.split('\n')[0]!);
  }
  const v86 = v86Version();
  if (families.includes('v86') && v86 !== undefined) lines.push(`v86 ${v86}`);
  return lines;
}

function v86Version(): string | undefined {
  try {
    const path = join(packageRoot(), 'node_modules/v86/package.json');
    return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
  } catch {
    return undefined;
  }
}

/** Whether processes can be tied to a processor. */
export function canPin(cpu: number): boolean {
  return spawnSync('taskset', ['-c', String(cpu), 'true']).status === 0;
}

/** Starts a VMM, reads its console until the guest has measured everything, and ends it. */
async function runGuest(command: readonly string[], options: RunOptions): Promise<Row[]> {
  const pinned = options.cpu === undefined ? command : ['taskset', '-c', String(options.cpu), ...command];
  const [program, ...args] = pinned as [string, ...string[]];
  const log = new GuestLog(performance.now());
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (status, signal) => resolve(signal ?? `exit status ${status}`));
  });
  const tail: string[] = [];
  const complaints: string[] = [];
  eachLine(child.stderr, (text) => complaints.push(text));
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
  await end(child, closed, log.done);
  if (log.done) return log.rows;
  const said = [...tail, ...complaints].join('\n    ');
  if (tail.length === 0 && typeof outcome === 'string' && /^exit status [1-9]/.test(outcome))
    throw new PeerUnavailable(complaints[0] ?? outcome);
  throw new Error(`${outcome}, ${log.reachedInit ? 'in user space' : 'in the kernel'}:\n    ${said}`);
}

/** Most guests switch themselves off, which is let happen. */
async function end(child: ChildProcess, closed: Promise<unknown>, gently: boolean): Promise<void> {
  if (gently) await Promise.race([closed, delay(1000)]);
  child.kill('SIGTERM');
  await Promise.race([closed, delay(1000)]);
  child.kill('SIGKILL');
  await closed;
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

/** The host's processor, for the head of a report. */
export function hostProcessor(): string {
  try {
    const model = /model name\s*: (.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1];
    return `${model ?? 'unknown processor'}, ${execFileSync('nproc', { encoding: 'utf8' }).trim()} cores`;
  } catch {
    return 'unknown processor';
  }
}
