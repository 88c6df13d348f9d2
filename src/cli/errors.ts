/**
 * How the command line tells of errors: one line that says what went wrong, one that says what to do. Only
 * an error that nobody foresaw comes with its stack.
 */
import { ConfigError, Type2Error } from '../../devices/errors.ts';
import { BootError } from '../../vm/boot/errors.ts';
import { ExitStatus } from './exit-status.ts';

/** Prints an error. @returns the exit status that it gives */
export function reportError(error: unknown): number {
  if (!(error instanceof Type2Error)) {
    process.stderr.write(`type2: unexpected error, please report it: ${stackOf(error)}\n`);
    return ExitStatus.vmmError;
  }
  process.stderr.write(`type2: ${error.message}\n`);
  if (error.hint !== undefined && error.hint !== '') process.stderr.write(`       ${error.hint}\n`);
  // A guest that can't be loaded is a wrong file name or a wrong file.
  return error instanceof ConfigError || error instanceof BootError ? ExitStatus.usage : ExitStatus.vmmError;
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
