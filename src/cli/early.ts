/**
 * Imported before all else by main.ts: starts loading the code of the vCPU's thread on another core, while
 * this thread still loads the command line's. `type2 run` is nearly always followed by a machine; where it
 * isn't, the thread keeps nobody waiting.
 */
import { warmUpDriver } from '../../vm/drivers.ts';
import { ENGINE_NAMES } from '../../vm/engine.ts';

if (process.argv[2] === 'run')
  warmUpDriver(ENGINE_NAMES.find((name) => process.argv.some((argument) => isNamed(argument, name))));

/** Whether an argument is an engine's name, or `--engine=` with it. */
function isNamed(argument: string, name: string): boolean {
  return argument === name || argument === `--engine=${name}`;
}
