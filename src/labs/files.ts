/**
 * The files of a lab: the page and what the learner begins with, both in the package, and what the learner has
 * made of it, brought into the form that a machine takes.
 */
import { spawnSync } from 'node:child_process';
import { constants, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, extname, join } from 'node:path';
import { ConfigError } from '../../devices/errors.ts';
import type { VmConfig } from '../config.ts';
import { packageRoot } from '../guests.ts';
import type { Lab } from './lab.ts';

const EXTENSIONS: Readonly<Record<Lab['kind'], string>> = {
  assembly: '.asm',
  device: '.ts',
  answers: '.json',
};
/** What sources of labs include. */
const INCLUDES = ['machine.inc', 'long-mode.inc', 'multiboot.inc'] as const;

const folder = (): string => join(packageRoot(), 'guests/labs');

/** Name of the learner's file. */
export function labFile(lab: Lab): string {
  return lab.name + EXTENSIONS[lab.kind];
}

/** The lab's page, in Markdown. */
export function labPage(lab: Lab): string {
  return readFileSync(join(packageRoot(), 'docs/labs', `${lab.name}.md`), 'utf8');
}

/**
 * Puts what the learner begins with into a folder, with the files that it includes.
 * @returns names of the files that were made
 * @throws ConfigError when the learner's file is there already: it may hold work
 */
export function startLab(lab: Lab, target: string): string[] {
  const file = labFile(lab);
  if (existsSync(join(target, file))) {
    throw new ConfigError(`${join(target, file)} is there already`, {
      hint: `Move it away to begin anew, or check it: type2 lab check ${lab.number}`,
    });
  }
  const made: string[] = [];
  const copy = (from: string, name: string): void => {
    if (existsSync(join(target, name))) return;
    try {
      copyFileSync(from, join(target, name), constants.COPYFILE_EXCL);
    } catch (cause) {
      throw new ConfigError(`${join(target, name)}: can't be written: ${(cause as Error).message}`, {
        cause,
      });
    }
    made.push(name);
  };
  copy(join(folder(), 'start', file), file);
  if (lab.kind === 'assembly') {
    const source = readFileSync(join(folder(), 'start', file), 'latin1');
    for (const name of INCLUDES) if (source.includes(`"${name}"`)) copy(join(folder(), name), name);
  }
  return made;
}

/** A learner's file, ready to be run. */
export interface Subject {
  /** What it adds to the lab's machine. */
  readonly config: VmConfig;
  /** What a file of answers says. */
  readonly answers: Readonly<Record<string, unknown>>;
  /** Gives back what was made for the run. */
  dispose(): void;
}

/** Reads, and where need be assembles, a learner's file. @throws ConfigError that says what is wrong with it */
export function prepare(lab: Lab, file: string): Subject {
  if (!existsSync(file)) {
    throw new ConfigError(`${file}: no such file`, {
      hint: `\`type2 lab start ${lab.number}\` makes one to begin with, or name yours: type2 lab check ${lab.number} FILE`,
    });
  }
  const nothing = { answers: {}, dispose: () => {} };
  if (lab.kind === 'device') return { ...nothing, config: { devices: [{ path: file }] } };
  if (lab.kind === 'answers') {
    const answers = readAnswers(file);
    return { ...nothing, answers, config: { append: answers['append'] as string } };
  }
  if (extname(file) !== '.asm') return { ...nothing, config: { kernel: file } };
  const output = mkdtempSync(join(tmpdir(), 'type2-lab-'));
  const dispose = (): void => rmSync(output, { recursive: true, force: true });
  try {
    const kernel = join(output, `${basename(file, '.asm')}.bin`);
    assemble(file, kernel);
    return { answers: {}, config: { kernel }, dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

function assemble(source: string, output: string): void {
  const args = ['-i', `${folder()}/`, '-f', 'bin', '-w+all', '-o', output, source];
  const { error, status, stderr } = spawnSync('nasm', args, { encoding: 'utf8' });
  if (error !== undefined) {
    throw new ConfigError(`${source}: nasm, which assembles it, can't be run: ${error.message}`, {
      hint: 'Install it (Debian, Ubuntu: sudo apt-get install nasm; Fedora: sudo dnf install nasm; macOS: brew install nasm), or assemble elsewhere and name the .bin file.',
    });
  }
  process.stderr.write(stderr);
  if (status !== 0)
    throw new ConfigError(`${source}: nasm did not accept it`, { hint: 'Its messages are above.' });
}

function readAnswers(file: string): Record<string, unknown> {
  let answers: unknown;
  try {
    answers = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new ConfigError(`${file}: not JSON: ${(cause as Error).message}`, { cause });
  }
  const { append } = (answers ?? {}) as Record<string, unknown>;
  if (typeof append !== 'string')
    throw new ConfigError(`${file}: expected a JSON object with a string \`append\``);
  return answers as Record<string, unknown>;
}
