/**
 * One run of a machine from the command line: its console, signals, time-out, and what is said at its end.
 * The verbs that run a guest differ only in what they do besides.
 */
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { ConfigError } from '../../devices/errors.ts';
import { OUTCOME_TEXT, type Outcome } from '../../vm/outcome.ts';
import type { ResolvedConfig } from '../config.ts';
import { Vm } from '../vm.ts';
import { reportError } from './errors.ts';
import { ExitStatus, exitStatus } from './exit-status.ts';
import { formatStatistics } from './statistics.ts';
import { attachTerminal, feedAll } from './terminal.ts';

/**
 * Runs a guest to its end.
 * @param attach - called with the machine before it starts; what it returns is waited for at the end, before
 * anything is said
 * @returns the exit status
 * @throws ConfigError, BootError, HostError when there is no machine
 */
export async function runSession(
  config: ResolvedConfig,
  attach?: (vm: Vm) => () => Promise<void>,
): Promise<number> {
  const say = (line: string): void => {
    if (!config.quiet) process.stderr.write(`type2: ${line}\n`);
  };
  const vm = await Vm.fromResolved(config);
  if (vm.notice !== '') say(vm.notice);
  if (config.deterministic && config.console === 'stdio') {
    try {
      await feedAll(vm.console.input, say);
    } catch (error) {
      await vm.stop();
      throw error;
    }
  }
  const finish = attach?.(vm);
  const detach = attachConsole(vm, config, () => void vm.stop());
  let signalled: NodeJS.Signals | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    signalled = signal;
    void vm.stop();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, onSignal);
  const timer =
    config.timeout === undefined
      ? undefined
      : setTimeout(() => void vm.stop('timeout'), config.timeout * 1000);
  vm.on('reset', () => say('the guest resets'));
  try {
    await vm.start();
  } catch (error) {
    await vm.stop();
    await detach();
    return reportError(error);
  } finally {
    if (timer !== undefined) void vm.ended.then(() => clearTimeout(timer));
  }
  const outcome = await vm.ended;
  await detach();
  await finish?.();
  return conclude(vm, outcome, config, say, signalled);
}

function conclude(
  vm: Vm,
  outcome: Outcome,
  config: ResolvedConfig,
  say: (line: string) => void,
  signalled: NodeJS.Signals | undefined,
): number {
  if (config.stats) process.stderr.write(formatStatistics(vm.statistics()));
  if (signalled !== undefined) return ExitStatus.interrupted;
  if (outcome.kind === 'error') return reportError(outcome.error ?? new Error('no reason was given'));
  if (!['power-off', 'stopped', 'debug-exit'].includes(outcome.kind)) say(OUTCOME_TEXT[outcome.kind]);
  return exitStatus(outcome);
}

/** Connects the console as configured. @returns what disconnects it, once everything is printed */
function attachConsole(vm: Vm, config: ResolvedConfig, leave: () => void): () => Promise<void> {
  const { console: target } = config;
  if (target === 'stdio') return attachTerminal(vm.console, leave);
  if (target === 'none') {
    vm.console.output.resume();
    return async () => {};
  }
  const file = createWriteStream(target.path);
  file.on('error', (error) => {
    reportError(new ConfigError(`console file ${target.path}: ${error.message}`));
    leave();
  });
  vm.console.output.pipe(file);
  return async () => {
    await finished(file).catch(() => {});
  };
}
