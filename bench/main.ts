/**
 * `npm run bench [-- NAME …]`: the benchmarks. Without a name, all of them. Each prints its tables when it is done;
 * the whole report goes into a JSON file, and into a page if asked for. README.md in this folder tells more.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { Type2Error } from '../devices/errors.ts';
import { packageRoot } from '../src/guests.ts';
import { formatComparison } from './compare.ts';
import { describeHost, ownVersion, showHost } from './host.ts';
import { chosenParts, type Flags, parseOptions } from './options.ts';
import { PARTS } from './parts.ts';
import { endProgress } from './progress.ts';
import { emptyPart, FORMAT, formatPart, type Part, type Report } from './report.ts';
import { readReport } from './schema.ts';

function command(run: (names: string[], flags: Flags) => Promise<void>): Command {
  const parts = Object.entries(PARTS).map(([name, { title }]) => `  ${name.padEnd(12)} ${title}`);
  return new Command('bench')
    .description('Measures Type2 and its peers, in turns. Without a name, all parts.')
    .argument('[name...]', 'parts')
    .option('--short', 'one round and little work, to see that all is right')
    .option('--rounds <n>', 'how often each figure is measured')
    .option('--engine <names>', 'only these engines: kvm,jit,interp')
    .option('--json <file>', 'where the report goes (default: bench/results/)')
    .option('--html <file>', 'writes a page with charts, too')
    .option('--compare <file>', 'says what has changed since this report')
    .option('--only <families>', 'cpu, boot: only these: type2,qemu,v86,kvmtool')
    .option('--arch <name>', 'cpu: one architecture')
    .option('--rows <names>', 'cpu: only these rows')
    .option('--pin <cpu>', "cpu: the host's processor that peers are tied to, or any")
    .option('--patience <s>', 'cpu: seconds of silence after which a run has failed')
    .addHelpText('after', `\nParts:\n${parts.join('\n')}`)
    .exitOverride()
    .action(run);
}

async function run(names: string[], flags: Flags): Promise<void> {
  const options = parseOptions(flags);
  const chosen = chosenParts(names, Object.keys(PARTS));
  const before = flags.compare === undefined ? undefined : readReport(flags.compare);
  const host = await describeHost();
  process.stdout.write(`${showHost(host)}\n`);
  const parts: Part[] = [];
  for (const name of chosen) {
    const part = await runPart(name, flags);
    endProgress();
    process.stdout.write(`${formatPart(part)}\n`);
    parts.push(part);
  }
  const date = new Date().toISOString();
  const report: Report = { format: FORMAT, version: ownVersion(), date, short: options.short, host, parts };
  const file = flags.json ?? join(packageRoot(), 'bench/results', `${date.replaceAll(':', '')}.json`);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(report, null, 1)}\n`);
  process.stdout.write(`report: ${file}\n`);
  if (flags.html !== undefined) {
    const { htmlPage } = await import('./html/page.ts');
    mkdirSync(dirname(flags.html), { recursive: true });
    writeFileSync(flags.html, htmlPage(report, before));
    process.stdout.write(`page: ${flags.html}\n`);
  }
  if (before !== undefined) process.stdout.write(`\n${formatComparison(before, report)}`);
  if (parts.some(({ errors }) => errors.length > 0)) process.exitCode = 1;
}

/** A part that fails as a whole is an error of the report; the others go on. */
async function runPart(name: string, flags: Flags): Promise<Part> {
  const { title, run } = PARTS[name]!;
  try {
    return await run(parseOptions(flags), flags);
  } catch (error) {
    if (error instanceof Type2Error && error.code === 'CONFIG') throw error;
    return { ...emptyPart(name, title), errors: [error instanceof Error ? error.message : String(error)] };
  }
}

try {
  await command(run).parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else if (error instanceof Type2Error) {
    process.stderr.write(`bench: ${error.message}\n${error.hint ? `${error.hint}\n` : ''}`);
    process.exitCode = 2;
  } else throw error;
}
