/**
 * `type2 run`: boots a guest and connects its console to the terminal.
 */
import { createWriteStream, readFileSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { Command, Option } from 'commander';
import { ConfigError } from '../../devices/errors.ts';
import { BOOT_PROTOCOLS } from '../../vm/boot/protocols.ts';
import { ENGINE_NAMES } from '../../vm/engine.ts';
import { OUTCOME_TEXT, type Outcome } from '../../vm/outcome.ts';
import { parseConfig, type ResolvedConfig } from '../config.ts';
import { Vm } from '../vm.ts';
import { reportError } from './errors.ts';
import { EXIT_STATUS_HELP, ExitStatus, exitStatus } from './exit-status.ts';
import { type Flags, flagsToConfig } from './flags.ts';
import { formatStatistics } from './statistics.ts';
import { attachTerminal, feedAll } from './terminal.ts';

const EXAMPLES = `Examples:
  type2 run                                         the bundled Linux, to a shell
  type2 run --append 'console=ttyS0 type2.exec="uname -a"'
  type2 run --kernel vmlinuz --initrd initrd.img --append console=ttyS0 --memory 512M
  type2 run --disk disk.img --net tap=tap0 --cpus 2
  type2 run --guest hello-real                      one of the teaching guests
  type2 run --device ./mine.ts,port=0x300           with a device written in TypeScript

On a terminal, Ctrl-A x leaves and Ctrl-A h helps.`;

const collect = (value: string, previous: string[] | undefined): string[] => [...(previous ?? []), value];

export function runCommand(): Command {
  return new Command('run')
    .description('Boot a guest and connect its console to this terminal.')
    .addOption(
      new Option('--engine <name>', 'what runs the guest (default: auto)').choices(['auto', ...ENGINE_NAMES]),
    )
    .option('--guest <name>', 'a bundled guest (default: linux-x86_64)')
    .option('--kernel <file>', 'kernel: bzImage, ELF, multiboot or flat binary')
    .option('--initrd <file>', 'initial RAM disk')
    .option('--append <string>', "the kernel's command line")
    .addOption(
      new Option('--protocol <name>', 'how to start the kernel (default: auto)').choices(BOOT_PROTOCOLS),
    )
    .option('--load-address <address>', 'where a flat binary goes (default: 0x7c00)')
    .option('--memory <size>', 'RAM, such as 256M or 1G (default: 256M)')
    .option('--cpus <n>', 'virtual CPUs (default: 1)')
    .option('--disk <file[,readonly][,id=…]>', 'a raw disk image or block device; repeatable', collect)
    .option('--net <tap=NAME[,mac=…]|none>', 'a network interface on a tap; repeatable', collect)
    .option('--device <file[,port=…][,mmio=…][,irq=…][,name=…]>', 'a device of your own; repeatable', collect)
    .option('--no-rng', 'no virtio entropy device')
    .option('--no-acpi', 'no ACPI tables')
    .option('--console <stdio|none|file=PATH>', 'where the serial console goes (default: stdio)')
    .option('--debug-exit', 'let the guest end the run through port 0xf4')
    .option('--deterministic', 'make the run repeatable: virtual time, seeded random numbers; not on kvm')
    .option('--portable', 'show a guest on kvm no more of the processor than the other engines have')
    .option('--no-reboot', 'end the run when the guest asks for a reset, instead of starting it anew')
    .option('--timeout <seconds>', 'end the run after this time')
    .option('--stats', 'at the end, print exits by reason and by device, and instructions')
    .option('--quiet', 'print nothing of our own but errors')
    .option('--config <file>', 'a JSON file with these settings; flags come before it')
    .allowExcessArguments(false)
    .addHelpText('after', `\n${EXAMPLES}\n\n${EXIT_STATUS_HELP}`)
    .action(async (flags: Flags) => {
      const config = readConfig(flags);
      process.exitCode = await run(config);
    });
}

/** The JSON file of `--config`, if there is one, with the flags over it. */
function readConfig(flags: Flags): ResolvedConfig {
  const config = flagsToConfig(flags);
  if (flags.config === undefined) return parseConfig(config, 'flags');
  let text: string;
  try {
    text = readFileSync(flags.config, 'utf8');
  } catch (cause) {
    throw new ConfigError(`--config ${flags.config}: can't be read`, { cause });
  }
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(`--config ${flags.config}: not JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof file !== 'object' || file === null || Array.isArray(file)) {
    throw new ConfigError(`--config ${flags.config}: expected a JSON object`);
  }
  return parseConfig({ ...file, ...config }, `--config ${flags.config}`);
}

async function run(config: ResolvedConfig): Promise<number> {
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
    await detach();
    return reportError(error);
  } finally {
    if (timer !== undefined) void vm.ended.then(() => clearTimeout(timer));
  }
  const outcome = await vm.ended;
  await detach();
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
