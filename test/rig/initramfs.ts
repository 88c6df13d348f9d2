/**
 * The rig's initramfs: archives one behind the other, which the kernel unpacks in turn. The large one
 * with Node.js, gdb and the kernel modules changes seldom and is kept; the one with the project is made anew.
 */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type DebianKernel, debianBusybox, debianGdb, moduleFiles } from './debian.ts';
import { assembleSteps, STEPS_VARIANTS, stepsName } from './stock-gdb.ts';
import { cache, cacheFolder, command, RigError, root, say, shell } from './tools.ts';

/** In the rig: KVM on the SVM that QEMU emulates, and taps. */
const HOST_MODULES = ['kvm_amd', 'tun'];
/** In the stock kernel as a guest: what is no part of it but of its modules. */
const GUEST_MODULES = ['virtio_mmio', 'virtio_blk', 'virtio_net', 'virtio-rng', 'pvpanic-mmio'];
const DEPENDENCIES = ['koffi', '@koromix/koffi-linux-x64', 'commander', 'valibot'];

/** Where the project is, in the rig. */
const PROJECT = '/type2';
/** Where the C loop of the exits is there. */
export const C_LOOP = '/bin/type2-c-loop';

function archive(tree: string, file: string): void {
  shell(
    'find . -print0 | LC_ALL=C sort -z | cpio --null --quiet --create --format=newc > "$1"',
    [file],
    tree,
  );
}

function place(tree: string, path: string, contents: string, mode: number): void {
  const file = join(tree, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, contents);
  chmodSync(file, mode);
}

function copy(from: string, tree: string, path: string): void {
  const file = join(tree, path);
  mkdirSync(dirname(file), { recursive: true });
  copyFileSync(from, file);
}

/** A program, and the shared libraries of this host that it needs. */
function addProgram(from: string, tree: string, path: string): void {
  copy(from, tree, path);
  const libraries = command('ldd', [from]);
  const missing = /^\s*(\S+) => not found/m.exec(libraries)?.[1];
  if (missing !== undefined) {
    throw new RigError(
      `${basename(path)} needs ${missing}, which this host lacks: sudo apt-get install gdb has it.`,
    );
  }
  for (const [, library] of libraries.matchAll(/(\/\S+\.so\S*)/g)) copy(library!, tree, library!);
}

function freshTree(name: string): string {
  const tree = join(cache, name);
  rmSync(tree, { recursive: true, force: true });
  for (const folder of ['bin', 'dev', 'proc', 'sys', 'tmp'])
    mkdirSync(join(tree, folder), { recursive: true });
  return tree;
}

/** Copies modules and gives the shell lines that load them. */
function addModules(tree: string, kernel: DebianKernel, modules: readonly string[]): string {
  return moduleFiles(kernel, modules)
    .map((file) => {
      copy(file, tree, `modules/${basename(file)}`);
      return `insmod /modules/${basename(file)}`;
    })
    .join('\n');
}

const MOUNTS = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ TERM=linux
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp`;

/** An initramfs with which the stock kernel, as a guest, does what the bundled guests do. */
export function stockGuestInitramfs(kernel: DebianKernel): string {
  const file = join(cacheFolder('images'), 'stock-initramfs.cpio');
  const tree = freshTree('stock-tree');
  copy(debianBusybox(), tree, 'bin/busybox');
  const insmods = addModules(tree, kernel, GUEST_MODULES);
  place(
    tree,
    'init',
    `${MOUNTS}
${insmods}
read -r cmdline < /proc/cmdline
value=\${cmdline#*type2.exec=\\"}
sh -c "\${value%%\\"*}"
sync
poweroff -f
`,
    0o755,
  );
  archive(tree, file);
  return file;
}

/** What stays the same from run to run. */
function baseArchive(kernel: DebianKernel): string {
  const file = join(cacheFolder('images'), `base-${process.version}-gdb-${kernel.release}.cpio`);
  if (existsSync(file)) return file;
  say('packing Node.js, gdb, kernel modules and busybox');
  const tree = freshTree('base-tree');
  copy(debianBusybox(), tree, 'bin/busybox');
  addProgram(process.execPath, tree, 'bin/node');
  addProgram(debianGdb(), tree, 'bin/gdb');
  copy(kernel.vmlinuz, tree, 'stock/vmlinuz');
  place(tree, 'etc/passwd', 'root:x:0:0:root:/:/bin/sh\n', 0o644);
  place(tree, 'load-modules', addModules(tree, kernel, HOST_MODULES), 0o644);
  archive(tree, file);
  return file;
}

/** Where QEMU looks for its firmware from: ../share/qemu. */
const QEMU = 'usr/bin/qemu-system-x86_64';
/** What its microvm boots a kernel with. */
const QEMU_FIRMWARE = ['qboot.rom', 'linuxboot_dma.bin', 'kvmvapic.bin'].map(
  (name) => `/usr/share/qemu/${name}`,
);

/** Who else takes part in the benchmarks: QEMU, and the C loop of the exits, since there is no compiler in the rig. */
function peersArchive(): string {
  const file = join(cacheFolder('images'), 'peers.cpio');
  const tree = freshTree('peers-tree');
  addProgram(command('which', ['qemu-system-x86_64']).trim(), tree, QEMU);
  symlinkSync(`/${QEMU}`, join(tree, 'bin', basename(QEMU)));
  for (const path of QEMU_FIRMWARE) copy(path, tree, path);
  try {
    const source = join(root, 'bench/exits/peer.c');
    command('cc', ['-O2', '-pthread', '-static', '-o', join(tree, C_LOOP), source]);
  } catch {
    say('the C loop does not compile here, and takes no part: sudo apt-get install gcc libc6-dev');
  }
  archive(tree, file);
  return file;
}

/** The project as it has been built, and the first process. @param script - what that process runs */
function projectArchive(script: string, extra: ReadonlyMap<string, string>): string {
  const tree = freshTree('project-tree');
  const project = join(tree, PROJECT);
  for (const name of [
    'dist',
    'guests',
    'bench',
    'test/labs',
    'test/system',
    'package.json',
    ...DEPENDENCIES.map((name) => `node_modules/${name}`),
  ]) {
    const from = join(root, name);
    if (existsSync(from)) cpSync(from, join(project, name), { recursive: true, dereference: true });
  }
  for (const [path, from] of extra) copy(from, tree, path);
  place(
    tree,
    'init',
    `${MOUNTS}
ip link set lo up
sh /load-modules
cd ${PROJECT}
${script}
sync
poweroff -f
`,
    0o755,
  );
  const file = join(cacheFolder('images'), 'project.cpio');
  archive(tree, file);
  return file;
}

/** vmlinux out of a bzImage whose payload is LZ4-compressed, for the protocols that take ELF files. */
function vmlinuxOf(bzImage: string): string {
  const image = readFileSync(bzImage);
  const setup = (image[0x1f1]! + 1) * 512;
  const start = setup + image.readUInt32LE(0x248);
  // The payload ends with the unpacked size, which is not part of the stream.
  const payload = join(cacheFolder('images'), 'payload.lz4');
  writeFileSync(payload, image.subarray(start, start + image.readUInt32LE(0x24c) - 4));
  const file = join(cacheFolder('images'), 'vmlinux-x86_64');
  shell('lz4 -dc "$1" > "$2"', [payload, file], cache);
  return file;
}

/** The programs that gdb steps through. @returns their places in the rig, with their files */
function stepsPrograms(): [string, string][] {
  return STEPS_VARIANTS.map((variant) => {
    const name = stepsName(variant);
    const file = join(cacheFolder('images', 'steps'), name);
    assembleSteps(variant, file);
    return [`stock/steps/${name}`, file];
  });
}

/** What goes into a rig. */
export interface RigContents {
  readonly kernel: DebianKernel;
  /** Shell lines that the rig's first process runs in the project's folder. */
  readonly script: string;
  /** With those that take part in benchmarks. */
  readonly withPeers?: boolean;
}

/** The whole initramfs. @returns its file */
export function rigInitramfs({ kernel, script, withPeers = false }: RigContents): string {
  const extra = new Map([
    ['stock/initramfs.cpio', stockGuestInitramfs(kernel)],
    ['stock/vmlinux-x86_64', vmlinuxOf(join(root, 'guests/linux/images/bzImage-x86_64'))],
    ...stepsPrograms(),
  ]);
  const parts = [baseArchive(kernel), ...(withPeers ? [peersArchive()] : []), projectArchive(script, extra)];
  const file = join(cacheFolder('images'), 'rig-initramfs.cpio');
  shell('file=$1; shift; cat "$@" > "$file"', [file, ...parts], cache);
  say(`initramfs of ${Math.round(statSync(file).size / 2 ** 20)} MiB`);
  return file;
}
