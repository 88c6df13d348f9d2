/**
 * Imported before all else by main.ts: starts loading the code of the vCPU's thread on another core, while
 * this thread still loads the command line's. `type2 run` is nearly always followed by a machine; where it
 * isn't, the thread keeps nobody waiting.
 */
import { warmUp } from '../../vm/drivers.ts';

if (process.argv[2] === 'run') warmUp(process.argv.includes('kvm'));
