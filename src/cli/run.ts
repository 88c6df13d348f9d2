/**
 * `type2 run`: boots a guest and connects its console to the terminal.
 */
import { Command } from 'commander';
import { EXIT_STATUS_HELP } from './exit-status.ts';
import type { Flags } from './flags.ts';
import { addMachineOptions, readConfig } from './machine-options.ts';
import { runSession } from './session.ts';

const EXAMPLES = `Examples:
  type2 run                                         the bundled Linux, to a shell
  type2 run --append 'console=ttyS0 type2.exec="uname -a"'
  type2 run --kernel vmlinuz --initrd initrd.img --append console=ttyS0 --memory 512M
  type2 run --disk disk.img --net tap=tap0 --cpus 2
  type2 run --guest hello-real                      one of the teaching guests
  type2 run --device ./mine.ts,port=0x300           with a device written in TypeScript

On a terminal, Ctrl-A x leaves and Ctrl-A h helps.`;

export function runCommand(): Command {
  return addMachineOptions(new Command('run'))
    .description('Boot a guest and connect its console to this terminal.')
    .allowExcessArguments(false)
    .addHelpText('after', `\n${EXAMPLES}\n\n${EXIT_STATUS_HELP}`)
    .action(async (flags: Flags) => {
      process.exitCode = await runSession(readConfig(flags));
    });
}
