#!/usr/bin/env node
/**
 * Where `type2` starts. `type2 run` is nearly always followed by a machine: the thread of its vCPU is started first of
 * all, and loads its code on another core while this one loads the command line's. Where no machine follows, the thread
 * keeps nobody waiting.
 */
import { ENGINE_NAMES } from '../../vm/engine.ts';
import { warmUpDriver } from '../../vm/warm-driver.ts';

if (process.argv[2] === 'run') {
  warmUpDriver(ENGINE_NAMES.find((name) => process.argv.some((argument) => isNamed(argument, name))));
  void import('./run-verb.ts');
} else {
  void import('./all-verbs.ts');
}

/** Whether an argument is an engine's name, or `--engine=` with it. */
function isNamed(argument: string, name: string): boolean {
  return argument === name || argument === `--engine=${name}`;
}
