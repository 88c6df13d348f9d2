/**
 * Stock gdb on both sides: what it shows of a program of the host's after each of a hundred steps, and of the same
 * code in a guest, is the same, register for register, in 16-, 32- and 64-bit code. And sessions with gdb on each
 * engine. On a KVM with hardware behind it the rig (test/rig) does the same, and more.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';
import { probeDriver } from '../../vm/drivers.ts';
import { ENGINE_NAMES } from '../../vm/engine.ts';
import * as sessions from '../rig/gdb-sessions.ts';
import { guestSteps, hostSteps, missingTools, No16BitSegments, type Width } from '../rig/stock-gdb.ts';
import { type KernelSymbols, SYMBOLS_COMMAND, symbolFile } from '../rig/symbol-file.ts';

const CLI = join(packageRoot(), 'dist/bin/main.cjs');
const STEPS = 100;
const PATIENCE_S = 100;
const TIMEOUT_MS = 120_000;
const WIDTHS: readonly Width[] = [16, 32, 64];
const missing = missingTools();
const { support } = await probeDriver('kvm');

for (const engine of ENGINE_NAMES) {
  const noKvm =
    engine === 'kvm' && support.capabilities === undefined ? `${support.reason}; ${support.hint}` : undefined;
  const reason = missing ?? noKvm;
  describe.skipIf(reason !== undefined)(
    `gdb on ${engine}${reason === undefined ? '' : ` (skipped: ${reason})`}`,
    () => {
      // A KVM without hardware knows no SSE and no data breakpoints, and does all of a repeated instruction in one
      // step.
      const withoutHardware = engine === 'kvm' && !support.usable;
      for (const width of WIDTHS) {
        it(
          `sees what it sees of a program of the host’s, for ${STEPS} steps of ${width}-bit code${withoutHardware ? ', integer instructions only' : ''}`,
          async ({ skip }) => {
            const variant = { width, isGuest: false, integerOnly: withoutHardware };
            const host = await hostSteps(variant, STEPS, PATIENCE_S).catch((error) => {
              if (error instanceof No16BitSegments) skip(error.message);
              throw error;
            });
            expect(await guestSteps(engine, variant, STEPS, PATIENCE_S)).toEqual(host);
          },
          TIMEOUT_MS,
        );
        it(
          `breaks and watches in ${width}-bit code${withoutHardware ? ', by steps' : ''}`,
          () => sessions.breakpoints(engine, width, PATIENCE_S, !withoutHardware),
          TIMEOUT_MS,
        );
        it(
          `steps, reads and writes registers and memory in ${width}-bit code`,
          () => sessions.steps(engine, width, PATIENCE_S),
          TIMEOUT_MS,
        );
      }
      it('shows two vCPUs as threads', () => sessions.threads(engine, PATIENCE_S), TIMEOUT_MS);
      it('stops the vCPU that comes by', () => sessions.threadBreakpoint(engine, PATIENCE_S), TIMEOUT_MS);
    },
  );
}

const why = missing === undefined ? '' : ` (skipped: ${missing})`;
describe.skipIf(missing !== undefined)(`gdb on Linux${why}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'type2-gdb-'));
  const machine = (command: string): string[] => [
    ...['--engine', 'jit', '--cpus', '2', '--append', `console=ttyS0 quiet type2.exec="${command}"`],
  ];
  let symbols: KernelSymbols;

  beforeAll(() => {
    const { stdout } = spawnSync(process.execPath, [CLI, 'run', '--quiet', ...machine(SYMBOLS_COMMAND)], {
      encoding: 'latin1',
      timeout: 60_000,
      input: '',
    });
    symbols = symbolFile(stdout, join(folder, 'symbols'));
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it(
    'stops it while it boots, at functions by their names',
    () => sessions.bootingLinux(machine('true'), symbols, PATIENCE_S),
    TIMEOUT_MS,
  );
  it(
    'attaches while it runs, looks, steps, interrupts and lets go',
    () => sessions.runningLinux(machine('echo user space; sleep 8'), symbols, PATIENCE_S),
    TIMEOUT_MS,
  );
});
