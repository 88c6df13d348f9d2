/**
 * What the command line of `npm run bench` says, checked: a wrong value is refused with what is allowed.
 */
import { ConfigError } from '../devices/errors.ts';
import { ENGINE_NAMES, type EngineName } from '../vm/engine.ts';

/** Flags as they come. */
export interface Flags {
  readonly rounds?: string;
  readonly short?: boolean;
  readonly engine?: string;
  readonly json?: string;
  readonly html?: string;
  readonly compare?: string;
  readonly only?: string;
  readonly arch?: string;
  readonly rows?: string;
  readonly pin?: string;
  readonly patience?: string;
}

/** Options that all parts have. */
export interface Options {
  /** How often each figure is measured, if the command line says so; else each part has its own number. */
  readonly rounds: number | undefined;
  /** Whether only to see that all works: one round, little work. */
  readonly short: boolean;
  readonly engines: readonly EngineName[];
}

/** @throws ConfigError that says what is allowed */
export function parseOptions(flags: Flags): Options {
  return {
    rounds: flags.rounds === undefined ? undefined : count('--rounds', flags.rounds, 1, 1000),
    short: flags.short ?? false,
    engines: list('--engine', flags.engine, ENGINE_NAMES),
  };
}

/** A whole number. @throws ConfigError */
export function count(flag: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value) || value < least || value > most)
    throw new ConfigError(`${flag} ${text}: expected a whole number from ${least} to ${most}`);
  return value;
}

/** Names with commas between; all if absent. @throws ConfigError that names what there is */
export function list<Name extends string>(
  flag: string,
  text: string | undefined,
  all: readonly Name[],
): Name[] {
  if (text === undefined) return [...all];
  const names = text.split(',');
  const unknown = names.filter((name) => !all.includes(name as Name));
  if (unknown.length > 0)
    throw new ConfigError(`${flag}: there is no '${unknown.join("', '")}': there are ${all.join(', ')}`);
  return all.filter((name) => names.includes(name));
}

/** Which parts are asked for; all if none is named. @throws ConfigError that names what there is */
export function chosenParts(names: readonly string[], all: readonly string[]): string[] {
  return names.length === 0 ? [...all] : list('parts', names.join(','), all);
}
