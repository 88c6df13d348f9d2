/**
 * `type2 lab`: lists the labs, shows their pages, hands out what a learner begins with, and checks what the
 * learner has made of it.
 */
import { Argument, Command, Option } from 'commander';
import { ConfigError } from '../../devices/errors.ts';
import type { EngineChoice } from '../../vm/drivers.ts';
import { ENGINE_NAMES } from '../../vm/engine.ts';
import { checkLab, type LabReport } from '../labs/check.ts';
import { labFile, labPage, startLab } from '../labs/files.ts';
import { LABS } from '../labs/index.ts';
import type { Lab } from '../labs/lab.ts';
import { ExitStatus } from './exit-status.ts';

const HELP = `A lab goes like this:
  type2 lab show 1           read its page
  type2 lab start 1          get a file to begin with, in this folder
  (edit 01-hello.asm)
  type2 lab check 1          see what is right and what isn't yet

Exit status of check: 0 when all is right, 1 when something isn't yet, 2 when the file can't be used.`;

export function labCommand(): Command {
  const number = (): Argument => new Argument('<number>', `1 to ${LABS.length}`);
  const command = new Command('lab')
    .description('Ten labs about how virtualization works: list, show, start, check.')
    .addHelpText('after', `\n${HELP}`);
  command
    .command('list')
    .description('List the labs.')
    .allowExcessArguments(false)
    .action(() => {
      for (const lab of LABS) process.stdout.write(`${String(lab.number).padStart(2)}  ${lab.title}\n`);
    });
  command
    .command('show')
    .description("Print a lab's page.")
    .addArgument(number())
    .allowExcessArguments(false)
    .action((text: string) => {
      process.stdout.write(labPage(labOf(text)));
    });
  command
    .command('start')
    .description('Put the file to begin with into this folder. Never writes over one that is there.')
    .addArgument(number())
    .allowExcessArguments(false)
    .action((text: string) => {
      const lab = labOf(text);
      for (const file of startLab(lab, '.')) process.stdout.write(`${file}\n`);
      process.stderr.write(`type2: edit ${labFile(lab)}, then: type2 lab check ${lab.number}\n`);
    });
  command
    .command('check')
    .description('Run your file and say what is right and what is not yet.')
    .addArgument(number())
    .argument('[file]', "your file, or its built .bin; the lab's name in this folder if absent")
    .addOption(
      new Option('--engine <name>', 'what runs the guest')
        .choices(['auto', ...ENGINE_NAMES])
        .default('auto' satisfies EngineChoice),
    )
    .allowExcessArguments(false)
    .action(async (text: string, file: string | undefined, { engine }: { engine: EngineChoice }) => {
      const lab = labOf(text);
      const report = await checkLab(lab, file ?? labFile(lab), engine);
      process.stdout.write(formatReport(lab, report));
      process.exitCode = report.verdicts.every(({ fault }) => fault === undefined) ? 0 : ExitStatus.vmmError;
    });
  for (const verb of command.commands) {
    verb.exitOverride().showHelpAfterError(`(see \`type2 lab ${verb.name()} --help\`)`);
  }
  return command;
}

function labOf(text: string): Lab {
  const lab = LABS.find(({ number }) => String(number) === text || String(number).padStart(2, '0') === text);
  if (lab !== undefined) return lab;
  throw new ConfigError(`lab: there is no lab '${text}'`, {
    hint: `They have numbers, 1 to ${LABS.length}: type2 lab list`,
  });
}

function formatReport(lab: Lab, { engine, notice, verdicts, evidence }: LabReport): string {
  const right = verdicts.filter(({ fault }) => fault === undefined).length;
  const lines = [`Lab ${lab.number}: ${lab.title} (on ${engine})`];
  for (const { check, fault } of verdicts) {
    lines.push(`${fault === undefined ? ' ok ' : ' no '} ${check.what}`);
    if (fault !== undefined) lines.push(`      ${fault}`);
  }
  if (engine === 'kvm' && notice !== '' && lab.needsHardware !== undefined) {
    lines.push(`This KVM has no hardware behind it: ${lab.needsHardware}. Add --engine jit.`);
  }
  const exits = Object.entries(evidence.statistics.exits).map(([reason, count]) => `${count} ${reason}`);
  lines.push(`Exits: ${exits.length === 0 ? 'none' : exits.join(', ')}.`);
  lines.push(right === verdicts.length ? 'All is right.' : `${right} of ${verdicts.length} are right.`);
  return `${lines.join('\n')}\n`;
}
