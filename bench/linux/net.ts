/**
 * `npm run bench -- net`: virtio-net over a tap, on KVM, beside QEMU on KVM with the same kernel: how long a ping
 * takes, and how fast TCP is each way. A tap needs KVM, FFI and root: the CPU in TypeScript has no network yet.
 * Throughput by the host's clock, from the first byte to the last; pings by the guest's.
 */
import { spawn } from 'node:child_process';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { bundledGuest, packageRoot } from '../../src/guests.ts';
import { probeDriver } from '../../vm/drivers.ts';
import { firstLine } from '../host.ts';
import { progressOf } from '../progress.ts';
import { type Cell, type Direction, emptyPart, type Part, type Row, type Unit } from '../report.ts';
import { summarize } from '../statistics.ts';

/** Options of the network benchmark. */
export interface NetOptions {
  readonly rounds: number;
  readonly short: boolean;
}

const TITLE = 'How fast networks are';
const TAP = 'type2bench0';
const HOST = '10.99.8.1';
const GUEST = '10.99.8.2';
const PREFIX = 24;
const SINK_PORT = 8198;
const SOURCE_PORT = 8199;
const MEGABYTES = 64;
const PINGS = 100;
const PATIENCE_MS = 180_000;
const MEMORY_MB = 256;

/** What one run came to. */
interface NetFigures {
  /** Microseconds from request to answer. */
  readonly ping: number;
  /** MB/s from the guest and to it. */
  readonly sent: number;
  readonly received: number;
}

const ROWS: readonly { name: keyof NetFigures; title: string; unit: Unit; better: Direction }[] = [
  { name: 'ping', title: 'ping from the guest', unit: 'µs', better: 'less' },
  { name: 'sent', title: 'TCP from the guest', unit: 'MB/s', better: 'more' },
  { name: 'received', title: 'TCP to the guest', unit: 'MB/s', better: 'more' },
];

export async function benchNet(options: NetOptions): Promise<Part> {
  const began = performance.now();
  const { support } = await probeDriver('kvm');
  const noTap = 'jit, interp: the CPU in TypeScript has no tap yet.';
  if (!support.usable) return emptyPart('net', TITLE, `kvm: Linux can't run here: ${support.reason}.`, noTap);
  if (process.getuid?.() !== 0)
    return emptyPart('net', TITLE, 'kvm: a tap needs root: run it with sudo.', noTap);
  const { makeTap, removeTap } = await import('./tap.ts');
  try {
    makeTap(TAP, `${HOST}/${PREFIX}`);
  } catch (error) {
    return emptyPart('net', TITLE, `kvm: no tap can be made here: ${(error as Error).message}`, noTap);
  }
  const megabytes = options.short ? MEGABYTES / 16 : MEGABYTES;
  const pings = options.short ? PINGS / 10 : PINGS;
  const host = await HostSide.listen(megabytes * 1e6);
  const notes = [noTap];
  const errors: string[] = [];
  try {
    const peers = netPeers(guestCommand(megabytes, pings), notes);
    const samples = new Map<string, NetFigures[]>();
    const progress = progressOf('net');
    for (let round = 0; round < options.rounds; round++) {
      for (const { name, title, command } of peers) {
        progress(`round ${round + 1} of ${options.rounds}, ${title}`);
        try {
          samples.set(name, [...(samples.get(name) ?? []), await measure(command, host)]);
        } catch (error) {
          errors.push(`round ${round + 1}, ${title}: ${(error as Error).message}`);
        }
      }
    }
    const rows = ROWS.map((row): Row => {
      const cells = [...samples].map(([name, figures]): [string, Cell] => [
        name,
        summarize(figures.map((figure) => figure[row.name])),
      ]);
      return { ...row, cells: Object.fromEntries(cells) };
    });
    const columns = peers.map(({ name, title }) => ({ name, title }));
    const tables = [{ name: 'tap', title: 'virtio-net on a tap', columns, rows }];
    const seconds = (performance.now() - began) / 1000;
    return { name: 'net', title: TITLE, tables, notes, errors, seconds };
  } finally {
    host.close();
    removeTap(TAP);
  }
}

/** What the guest's shell does: the host's side sees when bytes come and go. */
function guestCommand(megabytes: number, pings: number): string {
  return [
    // The bundled busybox knows no parts of a second, but to send when the answer has come.
    `ping -q -c ${pings} -A ${HOST}`,
    `dd if=/dev/zero bs=64k count=${Math.ceil((megabytes * 1e6) / 65536)} | nc ${HOST} ${SINK_PORT}`,
    `nc ${HOST} ${SOURCE_PORT} < /dev/null | wc -c`,
  ].join('; ');
}

interface NetPeer {
  readonly name: string;
  readonly title: string;
  readonly command: readonly string[];
}

function netPeers(script: string, notes: string[]): NetPeer[] {
  const { kernel, initrd } = bundledGuest('linux-x86_64');
  const append = `console=ttyS0 loglevel=3 type2.ip=${GUEST}/${PREFIX} type2.exec="${script}"`;
  const cli = join(packageRoot(), 'dist/bin/main.cjs');
  const ours = [process.execPath, cli, 'run', '--engine', 'kvm', '--memory', `${MEMORY_MB}M`, '--quiet'];
  ours.push('--append', append, '--net', `tap=${TAP}`);
  const peers: NetPeer[] = [{ name: 'kvm', title: 'type2 kvm', command: ours }];
  if (firstLine('qemu-system-x86_64', '--version') === undefined) {
    notes.push('no qemu-system-x86_64: sudo apt-get install qemu-system-x86');
    return peers;
  }
  const qemu = ['qemu-system-x86_64', '-M', 'microvm,rtc=on,acpi=off', '-accel', 'kvm', '-cpu', 'host'];
  qemu.push('-m', String(MEMORY_MB), '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none');
  qemu.push('-serial', 'stdio', '-kernel', kernel, '-initrd', initrd!, '-append', append);
  qemu.push(
    '-netdev',
    `tap,id=net,ifname=${TAP},script=no,downscript=no`,
    '-device',
    'virtio-net-device,netdev=net',
  );
  return [...peers, { name: 'qemu-kvm', title: 'qemu kvm microvm', command: qemu }];
}

/** Runs a guest until it has received everything. */
async function measure(command: readonly string[], host: HostSide): Promise<NetFigures> {
  const [program, ...args] = command as [string, ...string[]];
  host.begin();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString('latin1');
  });
  let complaints = '';
  child.stderr.on('data', (chunk: Buffer) => {
    complaints += chunk.toString('latin1');
  });
  const closed = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => resolve());
  });
  const done = new RegExp(`^${host.size}\\b`, 'm');
  const until = performance.now() + PATIENCE_MS;
  let running = true;
  const over = (): void => {
    running = false;
  };
  closed.then(over, over);
  while (!done.test(printed) && running && performance.now() < until) await delay(50);
  child.kill('SIGKILL');
  await closed;
  const ping = /min\/avg\/max = [\d.]+\/([\d.]+)\//.exec(printed)?.[1];
  if (!done.test(printed) || ping === undefined)
    throw new Error(`the guest did not come through: ${printed.slice(-300)} ${complaints.slice(-300)}`);
  return { ping: Number(ping) * 1000, ...host.figures() };
}

/** The host's ends of both transfers. */
class HostSide {
  /** Bytes that the guest is sent. */
  readonly size: number;
  private readonly servers: Server[] = [];
  private first = 0;
  private last = 0;
  private taken = 0;
  private givenFrom = 0;
  private givenTo = 0;

  private constructor(size: number) {
    this.size = size;
  }

  static async listen(size: number): Promise<HostSide> {
    const side = new HostSide(size);
    const payload = Buffer.alloc(size, 0x55);
    await side.serve(SINK_PORT, (socket) => {
      socket.on('data', (chunk) => {
        side.last = performance.now();
        if (side.taken === 0) side.first = side.last;
        side.taken += chunk.length;
      });
    });
    await side.serve(SOURCE_PORT, (socket) => {
      side.givenFrom = performance.now();
      // The other end closes when it has everything.
      socket.on('close', () => {
        side.givenTo = performance.now();
      });
      socket.end(payload);
    });
    return side;
  }

  private async serve(port: number, take: (socket: Socket) => void): Promise<void> {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      take(socket);
    });
    this.servers.push(server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, HOST, resolve);
    });
  }

  begin(): void {
    this.taken = 0;
    this.givenTo = 0;
  }

  /** @throws Error when a transfer has not been whole */
  figures(): Pick<NetFigures, 'sent' | 'received'> {
    if (this.taken < this.size) throw new Error(`the guest sent ${this.taken} bytes of ${this.size}`);
    const to = this.givenTo > 0 ? this.givenTo : performance.now();
    return {
      sent: this.taken / 1e3 / (this.last - this.first),
      received: this.size / 1e3 / (to - this.givenFrom),
    };
  }

  close(): void {
    for (const server of this.servers) server.close();
  }
}

function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
