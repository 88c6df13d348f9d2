/**
 * Stock gdb, run by a script of commands: on a guest, by `--gdb`, and on a program of the host's. And the programs
 * that it steps through, the same code for both (test/gdb/steps.asm and steps16.asm).
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../src/guests.ts';

const root = packageRoot();
const CLI = join(root, 'dist/bin/main.cjs');
/** Where the rig has put the programs, ready-made. */
const READY_MADE = process.env['TYPE2_STOCK'] && join(process.env['TYPE2_STOCK'], 'steps');
/** For a guest to start and gdb to connect, in seconds; under emulation all takes long. */
const CONNECT_S = 60;
/** For Type2 to end once gdb has killed the guest, in seconds. */
const KILLED_S = 20;

const folder = mkdtempSync(join(tmpdir(), 'type2-gdb-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Bits of code. */
export type Width = 16 | 32 | 64;

/** Which of the programs. */
export interface StepsVariant {
  readonly width: Width;
  /** For a guest, or else for the host. */
  readonly isGuest: boolean;
  /** Without x87, SSE and repeated string instructions, which not every KVM can step. */
  readonly integerOnly: boolean;
}

/** All that there are. */
export const STEPS_VARIANTS: readonly StepsVariant[] = ([16, 32, 64] as const).flatMap((width) =>
  [true, false].flatMap((isGuest) => [true, false].map((integerOnly) => ({ width, isGuest, integerOnly }))),
);

/** Its file's name. */
export function stepsName({ width, isGuest, integerOnly }: StepsVariant): string {
  return `steps-${width}${isGuest ? '-guest' : ''}${integerOnly ? '-integer' : ''}`;
}

/** Assembles a program. @throws Error with what nasm says */
export function assembleSteps(variant: StepsVariant, path: string): void {
  const { width, isGuest, integerOnly } = variant;
  const source = join(root, 'test/gdb', width === 16 ? 'steps16.asm' : 'steps.asm');
  const defines = [
    ...(width === 64 ? ['-DWIDE'] : []),
    ...(isGuest ? ['-DGUEST'] : []),
    ...(integerOnly ? ['-DINTEGER'] : []),
  ];
  const { status, stderr } = spawnSync('nasm', ['-f', 'bin', ...defines, '-o', path, source], {
    encoding: 'utf8',
  });
  if (status !== 0 || stderr !== '') throw new Error(`nasm ${source}: ${stderr}`);
}

/** A program's file, and where in it what is. */
export interface StepsProgram {
  readonly path: string;
  readonly variant: StepsVariant;
  /** Arguments of `type2 run` for a guest. */
  readonly machine: readonly string[];
  /** The first instruction that is compared. */
  readonly begin: number;
  /** Called once; does ENTER first. */
  readonly routine: number;
  /** The instruction that writes A to {@link cell}; the one after it adds to it. */
  readonly store: number;
  readonly cell: number;
  /** Bytes that LODSB reads, the first of them an `a`. */
  readonly source: number;
  /** Jumps to itself. */
  readonly finish: number;
}

/** Finds or makes a program. */
export function stepsProgram(variant: StepsVariant): StepsProgram {
  const name = stepsName(variant);
  let path = join(READY_MADE ?? folder, name);
  if (READY_MADE === undefined && !existsSync(path)) assembleSteps(variant, path);
  const bytes = readFileSync(path);
  if (!variant.isGuest) {
    // It may come from an archive or a cache: what runs is a copy that may be executed.
    path = join(folder, `${name}-program`);
    writeFileSync(path, bytes, { mode: 0o755 });
  }
  const MARK = 'LABELS: ';
  const at = bytes.indexOf(MARK, 0, 'latin1') + MARK.length;
  const label = (i: number): number => bytes.readUInt32LE(at + 4 * i);
  const protocol = variant.width === 16 ? ['--protocol', 'flat'] : [];
  return {
    machine: ['--memory', '32M', '--kernel', path, ...protocol],
    ...{ path, variant, begin: label(0), routine: label(1), store: label(2) },
    ...{ cell: label(3), source: label(4), finish: label(5) },
  };
}

/** Programs that are missing here, and how to get them; undefined where there is all. */
export function missingTools(tools: readonly string[] = ['gdb', 'nasm']): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'the host is no Linux on x86-64';
  const missing = tools
    .filter((tool) => tool !== 'nasm' || READY_MADE === undefined)
    .filter((tool) => spawnSync(tool, ['--version']).error !== undefined);
  return missing.length === 0 ? undefined : `apt-get install ${missing.join(' ')}`;
}

/** Runs gdb by commands, to its end. @returns all it has printed, on both streams in order */
export async function runGdb(
  commands: readonly string[],
  patienceS: number,
  file?: string,
  meanwhile?: (gdb: ChildProcess) => void,
): Promise<string> {
  const script = join(mkdtempSync(join(folder, 'script-')), 'commands.gdb');
  const settings = ['set pagination off', 'set confirm off', 'set width 0', 'set startup-with-shell off'];
  writeFileSync(script, `${[...settings, ...commands].join('\n')}\n`);
  const child = spawn('gdb', ['-nx', '-batch', '-x', script, ...(file === undefined ? [] : [file])], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C', DEBUGINFOD_URLS: '', HOME: folder },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill('SIGKILL');
  }, patienceS * 1000);
  meanwhile?.(child);
  try {
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', () => resolve());
    });
  } finally {
    clearTimeout(timer);
  }
  if (isLate) throw new Error(`gdb did not end within ${patienceS} s:\n${output}`);
  return output;
}

/** A guest that gdb can attach to. */
export class GdbGuest {
  readonly port: number;
  private readonly child: ChildProcess;
  /** Resolved when the process has ended. */
  readonly gone: Promise<void>;
  private output = '';
  private look: () => void = () => {};

  private constructor(port: number, child: ChildProcess) {
    this.port = port;
    this.child = child;
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding('latin1').on('data', (text: string) => {
        this.output += text;
        this.look();
      });
    this.gone = new Promise((resolve) => child.once('close', () => resolve()));
  }

  /**
   * @param machine - arguments of `type2 run`
   * @param gdb - what follows the port, such as `,wait`
   */
  static async start(machine: readonly string[], gdb: string, patienceS: number): Promise<GdbGuest> {
    const port = await freePort();
    const args = ['--quiet', '--timeout', String(patienceS), ...machine, '--gdb', `${port}${gdb}`];
    return new GdbGuest(
      port,
      spawn(process.execPath, [CLI, 'run', ...args], { stdio: ['ignore', 'pipe', 'pipe'] }),
    );
  }

  /** What the guest and Type2 have printed. */
  get transcript(): string {
    return this.output;
  }

  /** Resolved when the guest has printed this. @throws Error when it ends before */
  async printed(text: string): Promise<void> {
    const seen = new Promise<void>((resolve) => {
      this.look = () => {
        if (this.output.includes(text)) resolve();
      };
      this.look();
    });
    await Promise.race([seen, this.gone]);
    if (!this.output.includes(text)) throw new Error(`the guest ended without '${text}':\n${this.output}`);
  }

  /** Commands that connect. */
  get connect(): string[] {
    return [`set tcp connect-timeout ${CONNECT_S}`, `target remote 127.0.0.1:${this.port}`];
  }

  /** Exit status; null as long as there is none. */
  get status(): number | null {
    return this.child.exitCode;
  }

  /** Ends the guest, unless it has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL');
    await this.gone;
  }

  /** Resolved when the run has ended by itself. @throws Error when it does not */
  async ended(patienceS: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((_, reject) => {
      const message = `Type2 was still there after ${patienceS} s`;
      timer = setTimeout(() => reject(new Error(message)), patienceS * 1000);
    });
    await Promise.race([this.gone, late]);
    clearTimeout(timer);
  }
}

/** Runs a guest that waits before its first instruction, and gdb on it. @returns what gdb has printed */
export async function gdbOnGuest(
  machine: readonly string[],
  commands: readonly string[],
  { arch, patienceS, file }: { arch?: 'i386' | 'x86-64' | undefined; patienceS: number; file?: string },
): Promise<string> {
  const guest = await GdbGuest.start(machine, `,wait${arch === undefined ? '' : `,arch=${arch}`}`, patienceS);
  try {
    const output = await runGdb([...guest.connect, ...commands, 'kill'], patienceS, file, (gdb) => {
      // A guest that could not be started leaves gdb waiting for someone to connect to.
      void guest.gone.then(() => {
        if (guest.status !== 0) gdb.kill();
      });
    });
    await guest.ended(KILLED_S);
    return output;
  } catch (error) {
    throw new Error(`${(error as Error).message}\nThe guest: ${guest.transcript}`);
  } finally {
    await guest[Symbol.asyncDispose]();
  }
}

/** A port of the loopback interface that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// Steps, register for register

/** Most steps from where gdb attaches to where the programs agree. */
const LEAD_IN = 60;

/** Commands that step and print all registers that both sides share. */
function stepCommands({ width, integerOnly }: StepsVariant, begin: number, steps: number): string[] {
  const wide = width === 64;
  const names = ['ax', 'bx', 'cx', 'dx', 'si', 'di', 'bp', 'sp'].map((name) => `${wide ? 'r' : 'e'}${name}`);
  if (wide) names.push(...Array.from({ length: 8 }, (_, i) => `r${8 + i}`));
  names.push(wide ? 'rip' : 'eip');
  const xmm = Array.from({ length: wide ? 16 : 8 }, (_, i) => `p/x $xmm${i}.v2_int64`);
  return [
    'set $n = 0',
    `while $pc != ${begin} && $n < ${LEAD_IN}`,
    'stepi',
    'set $n = $n + 1',
    'end',
    'set $n = 0',
    `while $n < ${steps}`,
    'stepi',
    'printf "step %d\\n", $n',
    ...names.map((name) => `printf "${name} %#lx\\n", $${name}`),
    // Without IF, which is the host's or the guest's affair, and AF, which many instructions leave undefined.
    'printf "eflags %#x\\n", $eflags & 0xcc5',
    ...(integerOnly ? [] : ['info registers st0 st1 st2 st3 st4 st5 st6 st7 fctrl fstat ftag mxcsr', ...xmm]),
    'set $n = $n + 1',
    'end',
  ];
}

/** Each step as text, from what gdb has printed. @throws Error when there are not so many */
function stepsOf(output: string, wanted: number): string[] {
  const lines = output
    .split('[Inferior')[0]!
    .split('\n')
    .filter((line) => !/ in \?\? \(\)$/.test(line));
  const steps = lines
    .join('\n')
    .split(/^(?=step )/m)
    .slice(1)
    .map((step) => step.trim());
  if (steps.length !== wanted) throw new Error(`${steps.length} of ${wanted} steps:\n${output}`);
  // Steps that end within a repeated instruction (REPE CMPS) stay where they are. Some processors write its flags
  // at each iteration, others at the end (SDM volume 2B, REP).
  const place = (step: string | undefined): string | undefined => /^[re]ip (.*)$/m.exec(step ?? '')?.[1];
  return steps.map((step, i) =>
    place(step) === place(steps[i - 1]) ? step.replace(/^eflags .*$/m, 'eflags -') : step,
  );
}

/** Linux has refused a program segments of 16 bits, as Debian's cloud kernel does. */
export class No16BitSegments extends Error {
  constructor() {
    super(
      'this kernel has no 16-bit segments for programs: boot one with CONFIG_X86_16BIT (Debian: linux-image-amd64)',
    );
  }
}

/**
 * What gdb shows after each step of a program of the host's.
 * @throws No16BitSegments
 */
export async function hostSteps(variant: StepsVariant, steps: number, patienceS: number): Promise<string[]> {
  const program = stepsProgram({ ...variant, isGuest: false });
  // The kernel sets RSP and EFLAGS alone; that of 16-bit code has first to get there.
  const commands = ['starti', ...stepCommands(variant, program.begin, steps)];
  const output = await runGdb(commands, patienceS, program.path);
  if (variant.width === 16 && /exited with code 01/.test(output)) throw new No16BitSegments();
  return stepsOf(output, steps);
}

/** What gdb shows after each step of the same code in a guest. */
export async function guestSteps(
  engine: string,
  variant: StepsVariant,
  steps: number,
  patienceS: number,
): Promise<string[]> {
  const program = stepsProgram({ ...variant, isGuest: true });
  const machine = ['--engine', engine, ...program.machine];
  const arch = variant.width === 64 ? 'x86-64' : 'i386';
  return stepsOf(
    await gdbOnGuest(machine, stepCommands(variant, program.begin, steps), { arch, patienceS }),
    steps,
  );
}
