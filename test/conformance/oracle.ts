/**
 * The host's processor as a judge of instructions: builds oracle.c with gcc and runs batches of cases on it.
 *
 * A batch is one run of the program, with files for input and output: it costs a few milliseconds to start, so
 * batches should be of thousands. Because nothing outlives a batch, no case can spoil a later batch.
 */
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Case, type Mode, RECORD_SIZE, Result } from './records.ts';

export type OracleErrorCode = 'unsupported-host' | 'no-compiler' | 'build-failed' | 'run-failed';

/** The oracle cannot be had, or died. The message says what to do about it. */
export class OracleError extends Error {
  readonly code: OracleErrorCode;
  constructor(code: OracleErrorCode, message: string) {
    super(message);
    this.name = 'OracleError';
    this.code = code;
  }
}

/** Cases sent to the program in one run: bounds the buffers at 11 MB each way. */
const BATCH = 8192;

export class Oracle {
  /** CPUID's vendor string, e.g. `AuthenticAMD`: what the manual leaves undefined differs by it. */
  readonly vendor: string;
  /** What the host can do: CPUID names (`sse4.1`, `bmi2` …) and `mode16`, `mode32`, `mode64`. */
  readonly features: ReadonlySet<string>;
  readonly #folder: string;
  readonly #program: string;
  #closed = false;
  readonly #outgoing = new Uint8Array(BATCH * RECORD_SIZE);
  /** The program's stdin and stdout: kept, as fresh pages for every batch would cost more than the cases. */
  readonly #input: number;
  readonly #output: number;

  /**
   * Builds the program into a folder of its own. `close()` removes it.
   * @throws {OracleError} if the host isn't x86-64 Linux, gcc is missing or the build fails.
   */
  constructor() {
    if (process.platform !== 'linux' || process.arch !== 'x64')
      throw new OracleError(
        'unsupported-host',
        `the oracle runs instructions on the host's processor: it needs x86-64 Linux, not ${process.arch} ${process.platform}`,
      );
    this.#input = scratchFile();
    this.#output = scratchFile();
    this.#folder = mkdtempSync(join(tmpdir(), 'type2-oracle-'));
    this.#program = join(this.#folder, 'oracle');
    try {
      this.#build();
      const words = this.#features();
      this.vendor = words.find((word) => word.startsWith('vendor='))?.slice('vendor='.length) ?? '';
      this.features = new Set(words.filter((word) => !word.includes('=')));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Why there is no oracle here, or undefined if there is one: what a test is skipped with. */
  static unavailable(): string | undefined {
    try {
      new Oracle().close();
      return undefined;
    } catch (error) {
      if (error instanceof OracleError) return error.message;
      throw error;
    }
  }

  supports(mode: Mode): boolean {
    return this.features.has(`mode${mode}`);
  }

  /**
   * Runs each case on the host's processor.
   * @param buffer where to put the results, if that is big enough: for those who are done with the last ones.
   * @returns the results in the cases' order.
   * @throws {OracleError} if the program died, which no case should be able to make it do.
   */
  run(cases: readonly Case[], buffer?: ArrayBuffer): Result[] {
    const size = cases.length * RECORD_SIZE;
    const storage = buffer && buffer.byteLength >= size ? buffer : new ArrayBuffer(size);
    for (let start = 0; start < cases.length; start += BATCH)
      this.#batch(cases.slice(start, start + BATCH), new Uint8Array(storage, start * RECORD_SIZE));
    return cases.map((_, i) => new Result(storage, i * RECORD_SIZE));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#input);
    closeSync(this.#output);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #build(): void {
    const source = sourceFile();
    const flags = [
      '-O1',
      '-g',
      '-Wall',
      '-Werror',
      '-pie',
      '-fPIE',
      '-fno-stack-protector',
      '-fcf-protection=none',
    ];
    const gcc = spawnSync('gcc', [...flags, '-o', this.#program, source], { encoding: 'utf8' });
    if (gcc.error && 'code' in gcc.error && gcc.error.code === 'ENOENT')
      throw new OracleError(
        'no-compiler',
        'the oracle is built with gcc, which is not installed (Debian, Ubuntu: apt-get install gcc libc6-dev)',
      );
    if (gcc.status !== 0)
      throw new OracleError(
        'build-failed',
        `gcc cannot build ${source} (are the C library's headers there? Debian, Ubuntu: apt-get install libc6-dev):\n${gcc.stderr}`,
      );
  }

  #features(): string[] {
    const run = spawnSync(this.#program, ['features'], { encoding: 'utf8' });
    if (run.status !== 0)
      throw new OracleError(
        'run-failed',
        `the oracle does not start: ${run.stderr || run.signal || run.error}`,
      );
    return run.stdout.trim().split(' ');
  }

  #batch(cases: readonly Case[], results: Uint8Array): void {
    const size = cases.length * RECORD_SIZE;
    cases.forEach((c, i) => {
      this.#outgoing.set(c.bytes, i * RECORD_SIZE);
    });
    for (let done = 0; done < size; ) done += writeSync(this.#input, this.#outgoing, done, size - done, done);
    ftruncateSync(this.#input, size);
    const run = spawnSync(this.#program, ['run'], {
      stdio: [this.#input, this.#output, 'pipe'],
      encoding: 'utf8',
    });
    if (run.status !== 0)
      throw new OracleError(
        'run-failed',
        `the oracle died in a batch of ${cases.length} cases (status ${run.status}, signal ${run.signal}): ${run.stderr}`,
      );
    for (let done = 0; done < size; ) {
      const read = readSync(this.#output, results, done, size - done, done);
      if (read === 0) throw new OracleError('run-failed', 'the oracle wrote fewer results than it had cases');
      done += read;
    }
  }
}

/** oracle.c, which compiled code in dist/ has in the source tree. */
function sourceFile(): string {
  const beside = fileURLToPath(new URL('oracle.c', import.meta.url));
  return existsSync(beside)
    ? beside
    : fileURLToPath(new URL('../../../test/conformance/oracle.c', import.meta.url));
}

/** An open file without a name, in memory where there is /dev/shm. */
function scratchFile(): number {
  const path = join(scratchFolder(), `type2-oracle-${process.pid}-${Math.random().toString(36).slice(2)}`);
  const file = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  return file;
}

function scratchFolder(): string {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}
