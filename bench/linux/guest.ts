/**
 * The guest of the benchmarks on Linux, as seen from outside: what it boots with and what it prints. The kernel
 * and the user space are the bundled ones; before them in the initramfs goes one program, bench/guest/bench.c,
 * which the kernel starts instead of /init.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundledGuest, packageRoot } from '../../src/guests.ts';

/** Architectures that there are guests for. */
export const ARCHITECTURES = ['i386', 'x86_64'] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** What the guest measures, in its order, with a title for the reader. */
export const GUEST_ROWS: ReadonlyMap<string, string> = new Map([
  ['crc32', 'CRC-32 of 50 MB'],
  ['sieve', 'sieve of 20 million, 3 times'],
  ['qsort', 'qsort of a million ints'],
  ['float', 'floating point (five bodies)'],
  ['fork', '300 fork+wait'],
  ['getppid', '300,000 getppid'],
  ['gzip', 'gzip of 8 MB'],
  ['shell', 'shell loop, 100,000 turns'],
  ['sha256', 'SHA-256 of 8 MB'],
]);

/** Everything that a VMM needs to boot it. */
export interface GuestFiles {
  readonly arch: Architecture;
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
}

/** RAM of the guest, in MiB. */
export const MEMORY_MB = 256;

/**
 * What the real-mode part of the kernel prints first of all, since the command line says `debug` and
 * `earlyprintk`. Microvm's firmware doubles each letter. With a VMM that enters the kernel at its 32- or 64-bit
 * entry it is never printed: such a one has to say itself when it does ({@link GuestLog.enteredAt}).
 */
const ENTRY = /^e+a+r+l+y+ +c+o+n+s+o+l+e+ +i+n+ +s+e+t+u+p+/;

/**
 * `debug` has the kernel's first part announce itself, `loglevel=3` after it keeps the rest silent, on all
 * VMMs alike. Words that the kernel doesn't know go to the program as its arguments: the names of rows.
 */
const APPEND = 'debug loglevel=3 earlyprintk=serial,ttyS0,115200 console=ttyS0 panic=-1 rdinit=/bench';

/** Writes the guest's initramfs into a folder. @param rows - which to run; none runs all */
export function makeGuest(arch: Architecture, folder: string, rows: readonly string[]): GuestFiles {
  const { kernel, initrd } = bundledGuest(`linux-${arch}`);
  const program = benchProgram(arch);
  const file = join(folder, `bench-${arch}.img`);
  // The kernel unpacks one archive after another. Ours is first: the other's LZ4 frame has no end.
  writeFileSync(file, Buffer.concat([cpio('bench', program), readFileSync(initrd!)]));
  return { arch, kernel, initrd: file, append: [APPEND, ...rows].join(' ') };
}

/** The compiled program, checked against the sum that was committed with it. */
function benchProgram(arch: Architecture): Buffer {
  const folder = join(packageRoot(), 'bench/guest');
  const name = `bench-${arch}`;
  const program = readFileSync(join(folder, name));
  const sum = createHash('sha256').update(program).digest('hex');
  const sums = readFileSync(join(folder, 'SHA256SUMS'), 'utf8').split('\n');
  if (!sums.includes(`${sum}  ${name}`))
    throw new Error(`bench/guest/${name} is not what SHA256SUMS says: run bench/guest/build.sh`);
  return program;
}

/** An archive of one executable, in the "newc" format of Documentation/driver-api/early-userspace. */
function cpio(name: string, content: Uint8Array): Buffer {
  const entry = (inode: number, mode: number, path: string, data: Uint8Array): Buffer => {
    const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length + 1, 0];
    const head = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${path}\0`;
    return Buffer.concat([padded(Buffer.from(head, 'latin1')), padded(data)]);
  };
  return Buffer.concat([entry(1, 0o100755, name, content), entry(0, 0, 'TRAILER!!!', new Uint8Array())]);
}

/** With zeros up to a multiple of four. */
function padded(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}

/** One measured row of one run. */
export interface Row {
  /** `init`, `start`, `kernel-clock`, or one of {@link GUEST_ROWS}. */
  readonly name: string;
  /** What counts: for the guest's rows by the guest's clock, for `init` and `start` by the host's. */
  readonly seconds: number;
  /** The same by the host's clock, where both saw it. */
  readonly hostSeconds: number | undefined;
  /** Whether the guest computed what it should. */
  readonly right: boolean;
}

/** Reads what a guest prints, line by line, and makes rows of it. */
export class GuestLog {
  readonly rows: Row[] = [];
  /** Whether all rows are there. */
  done = false;
  /** Whether the guest has come to its first process. */
  reachedInit = false;
  /** When the kernel's first line came, in milliseconds of `performance.now()`; undefined if none has. */
  entered: number | undefined;
  private began = 0;
  private initAt = 0;
  private lasted = 0;
  private readonly started: number;

  /** @param started - when the VMM's process was started, in milliseconds of `performance.now()` */
  constructor(started: number) {
    this.started = started;
  }

  /** @param time - when the line came, in milliseconds of `performance.now()` */
  line(text: string, time: number): void {
    if (ENTRY.test(text)) {
      this.entered ??= time;
      return;
    }
    const [, kind = '', name = '', value = '', verdict = ''] =
      /^bench: (\w+) ?(\S*) ?(\S*) ?(.*)$/.exec(text) ?? [];
    if (kind === 'init') this.init(Number(name), time);
    else if (kind === 'start') this.began = time;
    else if (kind === 'stop') this.lasted = (time - this.began) / 1000;
    else if (kind === 'row') this.add(name, Number(value), this.lasted, verdict === 'ok');
    else if (kind === 'done') this.done = true;
  }

  /**
   * A VMM that enters the kernel behind its real-mode part, which would have said so, has told itself when it did.
   * @param time - in milliseconds of `performance.now()`
   */
  enteredAt(time: number): void {
    this.entered = time;
    const init = this.rows.findIndex(({ name }) => name === 'init');
    if (init >= 0) this.rows[init] = this.row('init', (this.initAt - time) / 1000);
  }

  private init(kernelClock: number, time: number): void {
    this.reachedInit = true;
    this.initAt = time;
    this.add('init', (time - (this.entered ?? this.started)) / 1000);
    this.add('start', (time - this.started) / 1000);
    this.add('kernel-clock', kernelClock);
  }

  private add(name: string, seconds: number, hostSeconds?: number, right = true): void {
    this.rows.push(this.row(name, seconds, hostSeconds, right));
  }

  private row(name: string, seconds: number, hostSeconds?: number, right = true): Row {
    return { name, seconds, hostSeconds, right };
  }
}
