/**
 * `npm run test:stock`: Debian's stock cloud kernel on the CPU in TypeScript, with the bundled initramfs, to
 * user space and switched off by itself. It needs apt, for the kernel, and neither root nor KVM.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { bundledGuest, packageRoot } from '../../src/guests.ts';
import { debianKernel } from './debian.ts';
import { RigError, say } from './tools.ts';

const PATIENCE_MS = 180_000;

function boot(engine: string, cpus: number): boolean {
  const { vmlinuz, release } = debianKernel();
  const { initrd } = bundledGuest('linux-x86_64');
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      join(packageRoot(), 'dist/bin/main.cjs'),
      ...['run', '--engine', engine, '--cpus', String(cpus), '--memory', '512M', '--quiet'],
      ...['--kernel', vmlinuz, '--initrd', initrd!],
      ...['--append', 'console=ttyS0 quiet type2.exec="uname -r; nproc"'],
    ],
    { encoding: 'utf8', timeout: PATIENCE_MS, input: '' },
  );
  const lines = stdout.split('\r\n');
  const passed = status === 0 && lines.includes(release) && lines.includes(String(cpus));
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  say(
    `${passed ? 'ok    ' : 'FAILED'} ${release} on ${engine}, ${cpus} vCPU${cpus > 1 ? 's' : ''}: ${seconds} s`,
  );
  if (!passed) process.stderr.write(`status ${status}\n${stdout}\n${stderr}\n`);
  return passed;
}

try {
  const results = [boot('jit', 1), boot('interp', 1), boot('jit', 2)];
  if (results.includes(false)) process.exitCode = 1;
} catch (error) {
  if (!(error instanceof RigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
