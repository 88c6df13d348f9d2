/**
 * A Debian 12 userland on a disk image, made by mmdebstrap: systemd, its kernel as Debian ships it, and the
 * initramfs that initramfs-tools makes for it in there. Made once, then kept.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, command, RigError, requirePrograms, say, shell } from './tools.ts';

const PROGRAMS: Readonly<Record<string, string>> = {
  mmdebstrap: 'mmdebstrap',
  mke2fs: 'e2fsprogs',
  openssl: 'openssl',
  'apt-get': 'apt',
};

const SUITE = 'bookworm';
const PACKAGES = [
  ...['systemd-sysv', 'udev', 'dbus', 'login', 'passwd', 'util-linux', 'kmod', 'procps', 'e2fsprogs'],
  ...['linux-image-cloud-amd64', 'initramfs-tools', 'zstd', 'openssl', 'python3-minimal', 'apt'],
];
const SIZE = '1G';
export const HOSTNAME = 'debian-guest';
export const PASSWORD = 'secret';

/** What to boot it with. */
export interface Userland {
  readonly kernel: string;
  readonly initrd: string;
  /** Boot a copy of it: this one stays as it was made. */
  readonly disk: string;
}

/** A line of sources.list for the mirror that this host takes its own packages from. */
function source(): string {
  const targets = command('apt-get', [
    'indextargets',
    '--format',
    '$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)',
    'Created-By: Packages',
  ]);
  // Updates and security have repositories of their own; the one with the distribution's name has all suites.
  const mirror = /^Debian\|[a-z]+\|main\|(\S+)$/m.exec(targets)?.[1];
  if (mirror === undefined) throw new RigError('apt knows no mirror of Debian: run apt-get update.');
  return `deb ${mirror} ${SUITE} main`;
}

/** Shell lines that finish the tree, which is $1. @param hash - of root's password */
function finishing(hash: string): readonly string[] {
  return [
    `echo ${HOSTNAME} > "$1/etc/hostname"`,
    `printf '127.0.0.1 localhost ${HOSTNAME}\\n' > "$1/etc/hosts"`,
    'echo LANG=C.UTF-8 > "$1/etc/default/locale"',
    'echo "/dev/vda / ext4 rw,errors=remount-ro 0 1" > "$1/etc/fstab"',
    `sed -i 's|^root:[^:]*:|root:${hash}:|' "$1/etc/shadow"`,
  ];
}

/** @throws RigError when this host can't make it */
export function debianUserland(): Userland {
  requirePrograms(PROGRAMS);
  const hash = command('openssl', ['passwd', '-6', '-salt', 'type2', PASSWORD]).trim();
  const hooks = finishing(hash);
  const recipe = createHash('sha256').update(JSON.stringify([SUITE, PACKAGES, SIZE, hooks]));
  const folder = cacheFolder('userland', recipe.digest('hex').slice(0, 12));
  const userland = {
    kernel: join(folder, 'vmlinuz'),
    initrd: join(folder, 'initrd.img'),
    disk: join(folder, 'disk.img'),
  };
  if (existsSync(userland.disk)) return userland;
  if (process.getuid?.() !== 0)
    throw new RigError(
      'making the disk image needs root: files in it belong to many users, and mmdebstrap chroots.',
    );
  const tree = join(folder, 'tree');
  rmSync(tree, { recursive: true, force: true });
  say(`mmdebstrap ${SUITE}, a minute or two`);
  try {
    command('mmdebstrap', [
      ...['--mode=root', '--variant=minbase', '--quiet', '--format=directory'],
      `--include=${PACKAGES.join(',')}`,
      ...hooks.map((line) => `--customize-hook=${line}`),
      ...[SUITE, tree, source()],
    ]);
  } catch (error) {
    throw new RigError(`mmdebstrap failed.\n${(error as { stderr?: string }).stderr ?? ''}`);
  }
  for (const [name, to] of [
    ['vmlinuz-', userland.kernel],
    ['initrd.img-', userland.initrd],
  ] as const) {
    const found = readdirSync(join(tree, 'boot')).find((entry) => entry.startsWith(name));
    if (found === undefined) throw new RigError(`mmdebstrap has made no boot/${name}*`);
    copyFileSync(join(tree, 'boot', found), to);
  }
  say('mke2fs');
  const unfinished = `${userland.disk}.new`;
  rmSync(unfinished, { force: true });
  command('mke2fs', ['-q', '-t', 'ext4', '-L', 'root', '-d', tree, unfinished, SIZE]);
  renameSync(unfinished, userland.disk);
  rmSync(tree, { recursive: true });
  return userland;
}

/** A copy of the disk, to be written to. */
export function diskCopy(userland: Userland, name: string): string {
  const copy = join(cacheFolder('userland'), name);
  shell('cp --sparse=always --reflink=auto "$1" "$2"', [userland.disk, copy], cacheFolder());
  return copy;
}
