/**
 * `npm run test:userland`: Debian 12 with systemd on the CPU in TypeScript, from its stock kernel and initramfs to the
 * login prompt; logs in, runs commands, and switches it off.
 */
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { Session, SessionError } from './session.ts';
import { RigError, say } from './tools.ts';
import { debianUserland, diskCopy, HOSTNAME, PASSWORD, type Userland } from './userland.ts';

/** Half a minute each on a free processor; many times as long on one that is shared. */
const BOOT_PATIENCE_MS = 600_000;
const COMMAND_PATIENCE_MS = 120_000;

/** A command and what it has to print. */
type Check = readonly [line: string, printed: string | RegExp];

/** 4 MiB of zeroes, as `dd` makes them. */
const ZEROES = Buffer.alloc(4 << 20);
const digest = (algorithm: string): string => createHash(algorithm).update(ZEROES).digest('hex');
/** Sums in the order in which the guest sums: the same to the last bit. */
const harmonic = Array.from({ length: 9999 }, (_, i) => 1 / (i + 1)).reduce((sum, term) => sum + term, 0);

function checks(cpus: number): readonly Check[] {
  return [
    ['uname -sm', 'Linux x86_64'],
    ['hostname', HOSTNAME],
    ['nproc', String(cpus)],
    ['systemctl is-system-running --wait', 'running'],
    ['systemctl list-units --failed --no-legend', ''],
    // Whatever the kernel complains about is something that the machine does wrong.
    ['dmesg --level=emerg,alert,crit,err,warn | grep -v -f /tmp/expected || true', ''],
    ['cat /sys/devices/system/clocksource/clocksource0/current_clocksource', 'tsc'],
    ['head -c 4M /dev/zero | sha256sum', `${digest('sha256')}  -`],
    ['head -c 4M /dev/zero | openssl dgst -r -sha512', `${digest('sha512')} *stdin`],
    ['head -c 4M /dev/zero | openssl dgst -r -md5', `${digest('md5')} *stdin`],
    [
      'head -c 1M /dev/urandom > /tmp/r; openssl enc -aes-256-cbc -pbkdf2 -k x -in /tmp/r | openssl enc -d -aes-256-cbc -pbkdf2 -k x | cmp - /tmp/r',
      '',
    ],
    [
      `python3 -c 'print(repr(sum(1/x for x in range(1, 10000))), pow(7, 10**6, 1000003))'`,
      `${harmonic} ${power(7n, 10n ** 6n, 1000003n)}`,
    ],
    [
      `perl -e 'printf("%.3f %s\\n", atan2(1,1)*4, join(",", sort { $a <=> $b } 10, 9, 2, 33, 1))'`,
      '3.142 1,2,9,10,33',
    ],
    ['apt list --installed 2> /dev/null | grep -c ^systemd-sysv/', '1'],
    ['dpkg --verify libc6 systemd bash', ''],
    ['journalctl -b -q -p err --no-pager | grep -v -f /tmp/expected || true', ''],
  ];
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (let b = base, e = exponent; e > 0n; e >>= 1n, b = (b * b) % modulus)
    if (e & 1n) result = (result * b) % modulus;
  return result;
}

/** What Debian's kernel says here, and which is no fault: patterns of grep. */
const EXPECTED = [
  'PCI: ',
  // On a busy host; it then takes the PM timer.
  'tsc: Unable to calibrate against PIT',
  'CONFIG_IMA_DISABLE_HTABLE is disabled',
  // When the host had no time for the guest in the middle of one.
  'hrtimer: interrupt took',
];

async function boot(userland: Userland, cpus: number): Promise<boolean> {
  const disk = diskCopy(userland, `disk-${cpus}.img`);
  const name = `Debian 12 on jit, ${cpus} vCPU${cpus > 1 ? 's' : ''}`;
  const started = performance.now();
  const seconds = (): string => `${((performance.now() - started) / 1000).toFixed(1)} s`;
  const session = new Session([
    ...['run', '--engine', 'jit', '--cpus', String(cpus), '--memory', '1G', '--quiet', '--no-reboot'],
    ...['--kernel', userland.kernel, '--initrd', userland.initrd, '--disk', disk],
    ...['--append', 'console=ttyS0 root=/dev/vda rw quiet'],
  ]);
  const failures: string[] = [];
  try {
    await session.logIn('root', PASSWORD, BOOT_PATIENCE_MS);
    say(`${name}: logged in after ${seconds()}`);
    await session.command(
      `printf '%s\\n' ${EXPECTED.map((line) => `'${line}'`).join(' ')} > /tmp/expected`,
      COMMAND_PATIENCE_MS,
    );
    for (const [line, printed] of checks(cpus)) {
      const { output } = await session.command(line, COMMAND_PATIENCE_MS);
      const fits = typeof printed === 'string' ? output === printed : printed.test(output);
      if (!fits) failures.push(`${line}\n    printed  ${output}\n    and not  ${printed}`);
    }
    session.type('poweroff\n');
    const status = await session.end(BOOT_PATIENCE_MS);
    if (status !== 0) failures.push(`exit status ${status} after poweroff`);
  } catch (error) {
    if (!(error instanceof SessionError)) throw error;
    failures.push(`${error.message}\n${session.transcript}`);
  } finally {
    session.child.kill('SIGKILL');
    rmSync(disk);
  }
  if (failures.length > 0 && session.errors !== '') failures.push(session.errors);
  say(`${failures.length === 0 ? 'ok    ' : 'FAILED'} ${name}: ${seconds()}`);
  for (const failure of failures) process.stderr.write(`${failure}\n`);
  return failures.length === 0;
}

try {
  const userland = debianUserland();
  const results = [await boot(userland, 1), await boot(userland, 2)];
  if (results.includes(false)) process.exitCode = 1;
} catch (error) {
  if (!(error instanceof RigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
}
