#!/usr/bin/env node
/**
 * The command line: `type2 VERB …`. Each verb is a file of its own in this folder, loaded when it is called.
 */
import './early.ts';
import { Command, CommanderError } from 'commander';
import { coolDown } from '../../vm/warm-threads.ts';
import { debugCommand } from './debug.ts';
import { doctorCommand } from './doctor.ts';
import { reportError } from './errors.ts';
import { ExitStatus } from './exit-status.ts';
import { labCommand } from './lab.ts';
import { runCommand } from './run.ts';
import { traceCommand } from './trace.ts';
import { packageVersion } from './version.ts';

const program = new Command('type2')
  .description('A type-2 hypervisor: boots small Linux guests, on KVM or on its own x86 CPU.')
  .version(packageVersion())
  .showHelpAfterError('(see `type2 --help`)')
  .exitOverride()
  .addCommand(runCommand())
  .addCommand(traceCommand())
  .addCommand(debugCommand())
  .addCommand(labCommand())
  .addCommand(doctorCommand());
for (const command of program.commands)
  command.exitOverride().showHelpAfterError(`(see \`type2 ${command.name()} --help\`)`);

program
  .parseAsync()
  .catch((error: unknown) => {
    // commander has printed what there is to say; help and version are no errors.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : ExitStatus.usage;
    else process.exitCode = reportError(error);
  })
  .finally(coolDown);
