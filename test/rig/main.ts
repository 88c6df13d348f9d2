/**
 * `npm run test:kvm`: the KVM driver's tests, on the built project. Where this host has a usable KVM, they
 * run here; elsewhere in a machine that QEMU emulates, with a Debian kernel whose KVM is real.
 *
 *   --only PATTERN   only tests whose name matches
 *   --nested         under QEMU even where this host has KVM
 *   --shell          no tests, but a shell in the rig
 *   --bench PARTS    no tests, but benchmarks, of kvm alone unless another is named: 'exits net --rounds 2', say
 *   --timeout S      seconds for the whole (default 1500)
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { probeDriver } from '../../vm/drivers.ts';
import { debianKernel } from './debian.ts';
import { C_LOOP, rigInitramfs } from './initramfs.ts';
import { bootRig, END_MARK, RigStandsStill, type RigThreads } from './qemu.ts';
import { RigError, requirePrograms, root, say } from './tools.ts';

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    nested: { type: 'boolean', default: false },
    shell: { type: 'boolean', default: false },
    bench: { type: 'string' },
    timeout: { type: 'string', default: '1500' },
  },
});

/** Arguments for node that run the suite, or benchmarks. */
function testArguments(): string[] {
  if (options.bench !== undefined) {
    const parts = options.bench.split(' ');
    // The CPU in TypeScript on a CPU that is emulated itself says nothing.
    const engine = parts.includes('--engine') ? [] : ['--engine', 'kvm'];
    return ['dist/bench/main.js', '--json', '/tmp/bench.json', ...engine, ...parts];
  }
  const folder = 'dist/test/rig/suite';
  const files = readdirSync(join(root, folder)).filter((name) => name.endsWith('.test.js'));
  if (files.length === 0) throw new RigError(`there are no tests in ${folder}: run npm run build`);
  return [
    '--test',
    '--test-concurrency=1',
    '--test-reporter=spec',
    ...(options.only === undefined ? [] : [`--test-name-pattern=${options.only}`]),
    ...files.sort().map((name) => `${folder}/${name}`),
  ];
}

async function main(): Promise<number> {
  const { support } = await probeDriver('kvm');
  if (support.usable && !options.nested) {
    say('this host has KVM: running the tests on it');
    return spawnSync(process.execPath, testArguments(), { cwd: root, stdio: 'inherit' }).status ?? 1;
  }
  say(options.nested ? 'running nested' : `no usable KVM here (${support.reason}): running under QEMU`);
  requirePrograms();
  const kernel = debianKernel();
  const quoted = testArguments().map((argument) => `'${argument.replaceAll("'", "'\\''")}'`);
  const script = options.shell
    ? 'setsid cttyhack sh'
    : `TYPE2_STOCK=/stock TYPE2_C_LOOP=${C_LOOP} TYPE2_PASTE_BYTES=${process.env['TYPE2_PASTE_BYTES'] ?? 65536} FORCE_COLOR=0 node ${quoted.join(' ')} < /dev/null\necho ${END_MARK} $?`;
  const initramfs = rigInitramfs(kernel, script, options.bench !== undefined);
  say(`booting ${kernel.release} under QEMU`);
  const boot = (threads: RigThreads): Promise<number> =>
    bootRig(
      kernel,
      initramfs,
      Number(options.timeout) * (threads === 'single' ? 2 : 1),
      options.shell,
      threads,
    );
  try {
    return await boot('multi');
  } catch (error) {
    if (!(error instanceof RigStandsStill)) throw error;
    say(`${error.message}: once more, from the beginning, with all of QEMU's CPUs in one thread`);
    return boot('single');
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof RigError)) throw error;
  say(error.message);
  process.exitCode = 2;
}
