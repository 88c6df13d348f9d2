/**
 * `type2 debug`: runs a guest under a monitor at the terminal.
 */
import { Command } from 'commander';
import { ConfigError } from '../../devices/errors.ts';
import { Vm } from '../vm.ts';
import { reportError } from './errors.ts';
import { ExitStatus } from './exit-status.ts';
import type { Flags } from './flags.ts';
import { addMachineOptions, readConfig } from './machine-options.ts';

const HELP = `The guest stands before its first instruction; \`help\` lists the monitor's commands. While the guest runs, what
you type goes to its console, and Ctrl-C stops it. Commands can also come from a file or a pipe:

  type2 debug --guest hello-long
  type2 debug --symbols System.map --append 'console=ttyS0 nokaslr'
  printf 'step 3\\nregisters\\nexplain\\n' | type2 debug --guest hello-real

Exit status: 0 when the session has ended, 1 for an error of Type2 or of the host, 2 for wrong usage.`;

interface DebugFlags extends Flags {
  readonly symbols?: string;
}

export function debugCommand(): Command {
  return addMachineOptions(new Command('debug'))
    .description('Run a guest under a monitor: break, step, look inside, explain.')
    .option('--symbols <file>', 'a vmlinux or a System.map of the guest’s kernel')
    .allowExcessArguments(false)
    .addHelpText('after', `\n${HELP}`)
    .action(async (flags: DebugFlags) => {
      const config = readConfig(flags);
      if (config.gdb !== undefined)
        throw new ConfigError('--gdb and the monitor can’t both debug a guest', {
          hint: 'Use type2 run --gdb.',
        });
      const vm = await Vm.fromResolved(config);
      if (vm.notice !== '' && !config.quiet) process.stderr.write(`type2: ${vm.notice}\n`);
      // The disassembler is loaded only here.
      const { Monitor } = await import('../debug/monitor.ts');
      vm.console.output.pipe(process.stdout, { end: false });
      vm.console.input.on('error', () => {});
      const monitor = new Monitor(vm.machine, {
        input: process.stdin,
        output: process.stdout,
        isTerminal: process.stdin.isTTY === true && process.stdout.isTTY === true,
        console: vm.console,
      });
      try {
        if (flags.symbols !== undefined) monitor.symbols.load(flags.symbols);
        await vm.startPaused();
        await monitor.run();
      } catch (error) {
        await vm.stop();
        process.exitCode = reportError(error);
        return;
      } finally {
        process.stdin.destroy();
      }
      const outcome = await vm.ended;
      process.exitCode = outcome.kind === 'error' ? reportError(outcome.error) : ExitStatus.ok;
    });
}
