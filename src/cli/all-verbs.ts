/** `type2`, with all its verbs. */
import { debugCommand } from './debug.ts';
import { doctorCommand } from './doctor.ts';
import { labCommand } from './lab.ts';
import { runProgram } from './program.ts';
import { runCommand } from './run.ts';
import { traceCommand } from './trace.ts';

void runProgram([runCommand(), traceCommand(), debugCommand(), labCommand(), doctorCommand()]);
