/**
 * `npm run test:kvm`: the KVM driver's tests, on the built project. Where this host has a usable KVM, they
 * run here; elsewhere in a machine that QEMU emulates, with a Debian kernel whose KVM is real.
 *
 *   --only PATTERN   only tests whose name matches
 *   --nested         under QEMU even where this host has KVM
 *   --shell          no tests, but a shell in the rig
 *   --bench PARTS    no tests, but benchmarks, of kvm alone unless another is named: 'exits net --rounds 2', say
 *   --timeout S      seconds for the whole (default 1800)
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { probeDriver } from '../../vm/drivers.ts';
import { type DebianKernel, debianKernel } from './debian.ts';
import { C_LOOP, rigInitramfs } from './initramfs.ts';
import { bootRig, END_MARK, RigStandsStill } from './qemu.ts';
import type { TestEvent } from './reporter.ts';
import { RigError, requirePrograms, root, say } from './tools.ts';
import { PLAN, Verdicts } from './verdicts.ts';

/** Each has a chance of a few in a hundred of coming to no end. */
const MAX_BOOTS = 8;

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    nested: { type: 'boolean', default: false },
    shell: { type: 'boolean', default: false },
    bench: { type: 'string' },
    timeout: { type: 'string', default: '1800' },
  },
});

const SUITE = 'dist/test/rig/suite';

/** The suite's files, in the order in which they run. @throws RigError when it has not been built */
function suiteFiles(): string[] {
  const files = readdirSync(join(root, SUITE)).filter((name) => name.endsWith('.test.js'));
  if (files.length === 0) throw new RigError(`there are no tests in ${SUITE}: run npm run build`);
  return files.sort().map((name) => `${SUITE}/${name}`);
}

/** Arguments for node that run files of the suite. */
const suiteArguments = (reporter: string, files: readonly string[]): string[] => [
  '--test',
  '--test-concurrency=1',
  `--test-reporter=${reporter}`,
  ...files,
];

/** Arguments for node that run benchmarks. */
function benchArguments(parts: readonly string[]): string[] {
  // The CPU in TypeScript on a CPU that is emulated itself says nothing.
  const engine = parts.includes('--engine') ? [] : ['--engine', 'kvm'];
  return ['dist/bench/main.js', '--json', '/tmp/bench.json', ...engine, ...parts];
}

/** What the suite's own test() heeds: see suite/support.ts. */
function planFor(done: readonly string[]): Record<string, string> {
  return { [PLAN]: JSON.stringify({ done, only: options.only }) };
}

/** Shell lines that run node in the rig, and say with which status it has ended. */
function nodeLines(args: readonly string[], environment: Readonly<Record<string, string>> = {}): string {
  const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const settings = {
    TYPE2_STOCK: '/stock',
    TYPE2_C_LOOP: C_LOOP,
    TYPE2_PASTE_BYTES: process.env['TYPE2_PASTE_BYTES'] ?? '65536',
    FORCE_COLOR: '0',
    ...environment,
  };
  const words = [...Object.entries(settings).map(([name, value]) => `${name}=${quote(value)}`), 'node'];
  return `${[...words, ...args.map(quote)].join(' ')} < /dev/null\necho ${END_MARK} $?`;
}

/** Tells of a test what node's own reporter tells of it. */
function tell({ kind, name, ms = 0, text = '' }: TestEvent): void {
  // A file's path stands for what happens outside of its tests, and tells nothing unless it fails.
  if (kind === 'begin' || (kind === 'pass' && name.endsWith('.test.js'))) return;
  const mark = { pass: '✔', skip: '﹣', fail: '✖' }[kind];
  const remark =
    kind === 'skip' ? ` # ${text}` : kind === 'fail' ? `\n  ${text.replaceAll('\n', '\n  ')}` : '';
  process.stdout.write(`${mark} ${name} (${Math.round(ms)} ms)${remark}\n`);
}

/** Runs the suite under QEMU, in as many boots as it takes. @returns the exit status */
async function runNested(kernel: DebianKernel, deadline: number): Promise<number> {
  const verdicts = new Verdicts(suiteFiles());
  for (let boot = 1; verdicts.left.length > 0; boot++) {
    if (boot > MAX_BOOTS)
      throw new RigError(`the rig has been booted ${MAX_BOOTS} times, and is not through`);
    const args = suiteArguments('./dist/test/rig/reporter.js', verdicts.left);
    const initramfs = rigInitramfs({ kernel, script: nodeLines(args, planFor(verdicts.done)) });
    say(
      `booting ${kernel.release} under QEMU${boot === 1 ? '' : `, boot ${boot}: ${verdicts.left.join(', ')}`}`,
    );
    let hasFailed = false;
    const onEvent = (event: TestEvent): void => {
      verdicts.take(event);
      tell(event);
      hasFailed ||= event.kind === 'fail';
    };
    const timeout = (deadline - performance.now()) / 1000;
    try {
      const status = await bootRig({ kernel, initramfs, timeout, interactive: false, onEvent });
      verdicts.endOfBoot(status === 0 || hasFailed ? undefined : `node ended with status ${status}`);
    } catch (error) {
      if (!(error instanceof RigStandsStill)) throw error;
      say(error.message);
      verdicts.endOfBoot(error.message);
    }
  }
  for (const { name, reasons } of verdicts.recovered)
    say(`right the second time: ${name}: ${reasons[0]!.split('\n', 1)[0]}`);
  for (const { name, reasons } of verdicts.failed) say(`failed: ${name}:\n${reasons.join('\n')}`);
  const { failed } = verdicts;
  say(`${verdicts.count('pass')} passed, ${failed.length} failed, ${verdicts.count('skip')} skipped`);
  return failed.length === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const { support } = await probeDriver('kvm');
  if (support.usable && !options.nested) {
    say('this host has KVM: running the tests on it');
    const args =
      options.bench === undefined
        ? suiteArguments('spec', suiteFiles())
        : benchArguments(options.bench.split(' '));
    const env = { ...process.env, ...planFor([]) };
    return spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', env }).status ?? 1;
  }
  say(options.nested ? 'running nested' : `no usable KVM here (${support.reason}): running under QEMU`);
  requirePrograms();
  const kernel = debianKernel();
  const timeout = Number(options.timeout);
  if (!options.shell && options.bench === undefined)
    return runNested(kernel, performance.now() + timeout * 1000);
  const script = options.shell ? 'setsid cttyhack sh' : nodeLines(benchArguments(options.bench!.split(' ')));
  const initramfs = rigInitramfs({ kernel, script, withPeers: options.bench !== undefined });
  say(`booting ${kernel.release} under QEMU`);
  return bootRig({ kernel, initramfs, timeout, interactive: options.shell, onEvent: tell });
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof RigError)) throw error;
  say(error.message);
  process.exitCode = 2;
}
