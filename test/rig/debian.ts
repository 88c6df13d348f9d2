/**
 * What the rig takes from Debian: the stock cloud kernel with its modules, which is both the host inside
 * the rig and one of its guests, a busybox for their user space, and gdb. Downloaded once, then kept.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, command, RigError, say } from './tools.ts';

/** A stock kernel, unpacked. */
export interface DebianKernel {
  readonly release: string;
  readonly vmlinuz: string;
  /** The folder that lib/modules is in. */
  readonly tree: string;
}

/** Downloads a package and unpacks it, unless that has been done. @returns the folder with its files */
function unpackedPackage(name: string): string {
  const tree = cacheFolder('debian', name);
  if (readdirSync(tree).length > 0) return tree;
  const downloads = cacheFolder('downloads');
  say(`downloading ${name}`);
  try {
    command('apt-get', ['download', name], { cwd: downloads });
  } catch (error) {
    throw new RigError(
      `apt-get download ${name} failed: run apt-get update.\n${(error as { stderr?: string }).stderr ?? ''}`,
    );
  }
  const file = readdirSync(downloads).find((entry) => entry.startsWith(`${name}_`) && entry.endsWith('.deb'));
  if (file === undefined) throw new RigError(`apt-get download ${name} gave no package`);
  command('dpkg-deb', ['-x', join(downloads, file), tree]);
  return tree;
}

/** The kernel that linux-image-cloud-amd64 stands for. */
export function debianKernel(): DebianKernel {
  const kept = readdirSync(cacheFolder('debian')).find((name) => name.startsWith('linux-image-'));
  const name =
    kept ??
    /Depends: (linux-image-\S+)/.exec(command('apt-cache', ['depends', 'linux-image-cloud-amd64']))?.[1];
  if (name === undefined) throw new RigError('apt knows no linux-image-cloud-amd64: run apt-get update.');
  const tree = unpackedPackage(name);
  const release = readdirSync(join(tree, 'lib/modules'))[0]!;
  if (!existsSync(join(tree, 'lib/modules', release, 'modules.dep')))
    command('depmod', ['-b', tree, release]);
  return { release, vmlinuz: join(tree, 'boot', `vmlinuz-${release}`), tree };
}

/** A static busybox with all of its applets. */
export function debianBusybox(): string {
  return join(unpackedPackage('busybox-static'), 'bin/busybox');
}

/** A gdb without Python. */
export function debianGdb(): string {
  return join(unpackedPackage('gdb-minimal'), 'usr/bin/gdb');
}

/** The files of these modules and of what they need, in the order in which to load them. */
export function moduleFiles(kernel: DebianKernel, modules: readonly string[]): string[] {
  const files = modules.flatMap((module) =>
    command('modprobe', ['-d', kernel.tree, '-S', kernel.release, '--show-depends', module])
      .split('\n')
      .filter((line) => line.startsWith('insmod '))
      .map((line) => line.split(' ')[1]!),
  );
  return [...new Set(files)];
}
