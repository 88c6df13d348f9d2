/** `type2 run` alone: half of the code to load before a guest runs. */
import { runProgram } from './program.ts';
import { runCommand } from './run.ts';

void runProgram([runCommand()]);
