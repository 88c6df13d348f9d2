/**
 * One run of the exit benchmarks' guest: under an engine of Type2, or under the C loop (peer.c).
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../src/guests.ts';
import { type TraceConfig, Vm } from '../../src/index.ts';
import type { EngineName } from '../../vm/engine.ts';
import {
  END,
  guestImage,
  KEPT_MEMORY,
  type Operation,
  type OperationName,
  readSamples,
  type Samples,
  START,
} from './guest.ts';

/** A run that takes longer has gone wrong. */
const PATIENCE_MS = 60_000;
/** Some KVMs never get past a hypercall in real mode; where it works, all are over in a tenth of this. */
const HYPERCALL_PATIENCE_MS = 2000;

function patience(operation: OperationName): number {
  return operation === 'hypercall' ? HYPERCALL_PATIENCE_MS : PATIENCE_MS;
}

/** What a run leaves. */
interface Run {
  /** Nanoseconds between the guest's marks. */
  readonly elapsed: number;
  readonly memory: Uint8Array;
}

/** Who runs the guest. */
export interface Subject {
  /** A column's name. */
  readonly name: EngineName | 'c';
  readonly title: string;
  /** @throws Error when the guest doesn't come to its end */
  run(operation: Operation, rounds: number): Promise<Samples>;
}

/** @param folder - for the guest's image */
export function type2Subject(engine: EngineName, folder: string): Subject {
  return {
    name: engine,
    title: engine,
    run: (operation, rounds) => runOperation(engine, folder, operation, rounds),
  };
}

async function runType2(
  engine: EngineName,
  folder: string,
  operation: OperationName,
  rounds: number,
  trace?: TraceConfig,
): Promise<Run> {
  const kernel = join(folder, 'guest.bin');
  writeFileSync(kernel, guestImage(operation, rounds));
  await using vm = await Vm.create({ engine, kernel, protocol: 'flat', memory: '1M', onReset: 'end', trace });
  vm.trace?.events.resume();
  const marks = new Map<number, number>();
  vm.on('boot-mark', (mark, milliseconds) => marks.set(mark, milliseconds));
  let memory: Uint8Array | undefined;
  vm.on('stopped', () => {
    memory = vm.inspect().read(0, KEPT_MEMORY);
  });
  vm.console.output.resume();
  await vm.start();
  const timer = setTimeout(() => void vm.stop('timeout'), patience(operation));
  const { kind, error } = await vm.ended;
  clearTimeout(timer);
  const [start, end] = [marks.get(START), marks.get(END)];
  if (kind !== 'power-off' || start === undefined || end === undefined || memory === undefined)
    throw new Error(kind === 'timeout' ? STUCK : `the guest ended with ${kind}`, { cause: error });
  return { elapsed: (end - start) * 1e6, memory };
}

const STUCK = 'the guest did not come to its end';

/**
 * Runs an operation under an engine of Type2.
 * @param folder - for the guest's image
 * @param trace - what is traced meanwhile; events go nowhere
 * @throws Error when the guest doesn't come to its end
 */
export async function runOperation(
  engine: EngineName,
  folder: string,
  operation: Operation,
  rounds: number,
  trace?: TraceConfig,
): Promise<Samples> {
  const { memory, elapsed } = await runType2(engine, folder, operation.name, rounds, trace);
  return readSamples(memory, operation, rounds, elapsed);
}

/** The C loop, compiled. */
export interface CompiledPeer extends Subject {
  /** Nanoseconds of an ioctl that does nothing, from C. */
  emptyIoctl(): number;
}

/**
 * The C loop, compiled; where there is no compiler, TYPE2_C_LOOP names one that was compiled elsewhere.
 * @returns the reason in a line where it can't be had
 */
export function compilePeer(folder: string): CompiledPeer | string {
  const ready = process.env['TYPE2_C_LOOP'];
  const program = ready !== undefined && existsSync(ready) ? ready : join(folder, 'peer');
  if (program !== ready) {
    const source = join(packageRoot(), 'bench/exits/peer.c');
    const { error, status, stderr } = spawnSync('cc', ['-O2', '-pthread', '-o', program, source], {
      encoding: 'utf8',
    });
    if (error !== undefined) return 'no C compiler: sudo apt-get install gcc libc6-dev linux-libc-dev';
    if (status !== 0) return `peer.c does not compile: ${stderr.split('\n')[0]}`;
  }
  const image = join(folder, 'peer-guest.bin');
  const output = join(folder, 'peer-memory.bin');
  const run = async (operation: OperationName, rounds: number): Promise<number> => {
    writeFileSync(image, guestImage(operation, rounds));
    const args = [image, output, ...(operation === 'mmio-coalesced' ? ['coalesced'] : [])];
    const { stdout } = await promisify(execFile)(program, args, { timeout: patience(operation) }).catch(
      (cause: Error & { killed?: boolean; stderr?: string }) => {
        throw new Error(cause.killed === true ? STUCK : (cause.stderr ?? cause.message).trim());
      },
    );
    return Number(stdout);
  };
  return {
    name: 'c',
    title: 'C loop',
    run: async (operation, rounds) => {
      const elapsed = await run(operation.name, rounds);
      return readSamples(readFileSync(output), operation, rounds, elapsed);
    },
    emptyIoctl: () => Number(execFileSync(program, ['ioctl'], { encoding: 'utf8' })),
  };
}
