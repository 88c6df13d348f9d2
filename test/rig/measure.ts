/**
 * `node dist/test/rig/measure.js [minutes]`: what Debian 12 on engine jit costs this host, and how well it keeps time,
 * run by hand. Boot, memory, the processor while the guest idles, how soon a busy guest answers, the clock's drift.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Session } from './session.ts';
import { say } from './tools.ts';
import { debianUserland, diskCopy, PASSWORD } from './userland.ts';

const PATIENCE_MS = 600_000;
const IDLE_MS = 30_000;
const SETTLE_MS = 20_000;
const ANSWERS = 40;
const MIB = 1 << 20;
const MEMORY = 1024 * MIB;
/** Linux counts processor time in these a second, whatever its tick. */
const USER_HZ = 100;

/** The process of the machine: the child, or what script(1) has started. */
function machineOf(session: Session): number {
  const { pid } = session.child;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return children === '' ? pid! : Number(children.split(' ')[0]);
}

/** Processor time of all threads so far, in seconds. */
function processorTime(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / USER_HZ;
}

/** Resident memory in MiB: all, and that of the mapping with guest RAM, code and caches of the CPU. */
function resident(pid: number): { all: number; machine: number } {
  let all = 0;
  let machine = 0;
  let size = 0;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const [, name, kib] = /^(Size|Rss): +(\d+) kB/.exec(line) ?? [];
    if (name === 'Size') size = Number(kib) * 1024;
    if (name !== 'Rss') continue;
    all += Number(kib) / 1024;
    if (size >= MEMORY) machine += Number(kib) / 1024;
  }
  return { all, machine };
}

async function seconds(session: Session): Promise<{ guest: number; host: number }> {
  let best = { guest: 0, host: 0, took: Number.POSITIVE_INFINITY };
  for (let i = 0; i < 10; i++) {
    const before = performance.now();
    const { output } = await session.command('date +%s.%N', PATIENCE_MS);
    const took = performance.now() - before;
    if (took < best.took) best = { guest: Number(output), host: (before + took / 2) / 1000, took };
  }
  return best;
}

async function answers(session: Session): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < ANSWERS; i++) {
    await sleep(50 + ((i * 37) % 100));
    const before = performance.now();
    // The line discipline echoes at once, whatever shell there is to read it: that is input that has reached the guest.
    session.type('x');
    await session.expect(/x/, PATIENCE_MS);
    times.push(performance.now() - before);
  }
  session.type('\x15');
  return times.sort((a, b) => a - b);
}

function tell(what: string, times: readonly number[]): void {
  const at = (part: number): string =>
    times[Math.min(times.length - 1, Math.floor(part * times.length))]!.toFixed(1);
  say(`${what}: median ${at(0.5)} ms, nine of ten ${at(0.9)} ms, all ${at(1)} ms`);
}

const minutes = Number(process.argv[2] ?? 10);
const userland = debianUserland();
const disk = diskCopy(userland, 'disk-measure.img');
const session = new Session(
  [
    ...['run', '--engine', 'jit', '--memory', `${MEMORY / MIB}M`, '--no-reboot'],
    ...['--kernel', userland.kernel, '--initrd', userland.initrd, '--disk', disk],
    ...['--append', 'console=ttyS0 root=/dev/vda rw quiet'],
  ],
  true,
);
try {
  const started = performance.now();
  await session.expect(/login: $/, PATIENCE_MS);
  const pid = machineOf(session);
  say(
    `login prompt after ${((performance.now() - started) / 1000).toFixed(1)} s, ${processorTime(pid).toFixed(1)} s of processor time in ${readdirSync(`/proc/${pid}/task`).length} threads`,
  );
  const { all, machine } = resident(pid);
  say(`resident: ${all.toFixed(0)} MiB, of which guest RAM and decoded code ${machine.toFixed(0)} MiB`);
  session.type('\n');
  await session.logIn('root', PASSWORD, PATIENCE_MS);
  await sleep(SETTLE_MS);
  const before = processorTime(pid);
  await sleep(IDLE_MS);
  say(`idle: ${(((processorTime(pid) - before) / IDLE_MS) * 1e5).toFixed(2)} % of a core`);
  const start = await seconds(session);
  await session.command('stty echo', PATIENCE_MS);
  tell('echo of an idle guest', await answers(session));
  await session.command('stty -echo; (while :; do :; done) & stty echo', PATIENCE_MS);
  tell('echo of a busy guest', await answers(session));
  await session.command('stty -echo; kill $!', PATIENCE_MS);
  await sleep(Math.max(0, minutes * 60_000 - (performance.now() - start.host * 1000)));
  const end = await seconds(session);
  const passed = end.host - start.host;
  const drift = (end.guest - start.guest) / passed - 1;
  say(`clock: ${(drift * 100).toFixed(5)} % off over ${passed.toFixed(0)} s`);
  await session.command('(while :; do :; done) &', PATIENCE_MS);
  const left = performance.now();
  session.type('\x01x');
  const status = await session.end(PATIENCE_MS);
  say(
    `Ctrl-A x of a busy guest: ended after ${(performance.now() - left).toFixed(0)} ms, exit status ${status}`,
  );
} finally {
  session.child.kill('SIGKILL');
  rmSync(disk);
}
