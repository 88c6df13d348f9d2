/**
 * The command line: `type2 VERB …`. Each verb is a file of its own in this folder.
 */
import { Command, CommanderError } from 'commander';
import { coolDown } from '../../vm/warm-threads.ts';
import { reportError } from './errors.ts';
import { ExitStatus } from './exit-status.ts';
import { packageVersion } from './version.ts';

/** Does what the process's arguments say, and sets its exit status. */
export async function runProgram(verbs: readonly Command[]): Promise<void> {
  const program = new Command('type2')
    .description('A type-2 hypervisor: boots small Linux guests, on KVM or on its own x86 CPU.')
    .version(packageVersion())
    .showHelpAfterError('(see `type2 --help`)')
    .exitOverride();
  for (const verb of verbs) {
    program.addCommand(verb.exitOverride().showHelpAfterError(`(see \`type2 ${verb.name()} --help\`)`));
  }
  // Whoever reads our output may have seen enough: `type2 help run | head`. What a guest prints is another matter
  // (terminal.ts).
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  try {
    await program.parseAsync();
  } catch (error) {
    // commander has printed what there is to say; help and version are no errors.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : ExitStatus.usage;
    else process.exitCode = reportError(error);
  } finally {
    await coolDown();
  }
}
