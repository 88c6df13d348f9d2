/**
 * Who takes part in the benchmarks on Linux: Type2's own engines, QEMU, kvmtool and v86. Each boots the same kernel
 * with the same initramfs, command line and RAM, in a process of its own that is started and watched in one way.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../src/guests.ts';
import { firstLine } from '../host.ts';
import { type Architecture, type GuestFiles, MEMORY_MB } from './guest.ts';
import { type GuestRun, PeerUnavailable, type RunOptions, runGuest } from './watch.ts';

/** One VMM with one guest. */
export interface Peer {
  /** Such as `qemu-tcg`: the name of its column. */
  readonly name: string;
  readonly title: string;
  readonly arch: Architecture;
  /** Boots the guest and measures all rows. @throws PeerUnavailable, or Error if the run goes wrong */
  run(): Promise<GuestRun>;
}

/** A family of peers, as `--only` names them. */
export const FAMILIES = ['type2', 'qemu', 'v86', 'kvmtool'] as const;
export type Family = (typeof FAMILIES)[number];

/** A disk for the guest: a raw image. */
export interface GuestDisk {
  readonly path: string;
}

export function type2Peer(engine: string, guest: GuestFiles, options: RunOptions, disk?: GuestDisk): Peer {
  const args = ['run', '--engine', engine, '--kernel', guest.kernel, '--initrd', guest.initrd];
  args.push(
    '--append',
    guest.append,
    '--memory',
    `${MEMORY_MB}M`,
    '--no-rng',
    '--no-reboot',
    '--quiet',
    '--stats',
  );
  if (disk !== undefined) args.push('--disk', disk.path);
  const command = [process.execPath, join(packageRoot(), 'dist/bin/main.cjs'), ...args];
  return { name: engine, title: `type2 ${engine}`, arch: guest.arch, run: () => runGuest(command, options) };
}

/** What QEMU runs guests by, and as which machine. */
export interface QemuKind {
  readonly accelerator: 'tcg' | 'kvm';
  readonly machine: 'pc' | 'microvm';
}

/**
 * The kernel comes up faster on `microvm`, by some 0.2 s, but its clock is coarse there, since it often has nothing to
 * measure its TSC by when the host is busy, and hangs with ACPI. Without ACPI that machine can't be switched off. So
 * benchmarks by the guest's clock take `pc`; disks take `microvm`, since the bundled kernels know virtio-mmio only.
 */
export function qemuPeer(guest: GuestFiles, options: RunOptions, kind: QemuKind, disk?: GuestDisk): Peer {
  const program = `qemu-system-${guest.arch}`;
  const { accelerator, machine } = kind;
  const micro = machine === 'microvm';
  const args = [
    '-M',
    micro ? 'microvm,rtc=on,acpi=off' : 'pc',
    '-accel',
    accelerator,
    '-smp',
    '1',
    '-m',
    `${MEMORY_MB}M`,
  ];
  args.push('-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-serial', 'stdio');
  args.push('-kernel', guest.kernel, '-initrd', guest.initrd, '-append', guest.append);
  if (accelerator === 'kvm') args.push('-cpu', 'host');
  if (disk !== undefined) {
    args.push('-drive', `if=none,id=disk,format=raw,cache=writeback,file=${disk.path}`);
    args.push('-device', micro ? 'virtio-blk-device,drive=disk' : 'virtio-blk-pci,drive=disk');
  }
  const run = async (): Promise<GuestRun> => {
    if (firstLine(program, '--version') === undefined)
      throw new PeerUnavailable(`no ${program}: sudo apt-get install qemu-system-x86`);
    return runGuest([program, ...args], options);
  };
  const name = `qemu-${accelerator}${micro ? '-microvm' : ''}`;
  return { name, title: name.replaceAll('-', ' '), arch: guest.arch, run };
}

/** On KVM only. */
export function kvmtoolPeer(guest: GuestFiles, options: RunOptions, disk?: GuestDisk): Peer {
  const program =
    ['lkvm', 'kvmtool', 'vm'].find((name) => spawnSync(name, ['version']).status === 0) ?? 'lkvm';
  const args = ['run', '-k', guest.kernel, '-i', guest.initrd, '-m', String(MEMORY_MB), '-c', '1'];
  args.push('--console', 'serial', '-p', guest.append, ...(disk === undefined ? [] : ['-d', disk.path]));
  const run = async (): Promise<GuestRun> => {
    if (firstLine(program, 'version') === undefined)
      throw new PeerUnavailable('no lkvm: sudo apt-get install kvmtool, where there is such a package');
    return runGuest([program, ...args], options);
  };
  return { name: 'kvmtool', title: 'kvmtool', arch: guest.arch, run };
}

/** Where Debian's seabios package puts what v86 needs and its own package leaves out. */
const V86_BIOS = '/usr/share/seabios/bios.bin';
const V86_VGA_BIOS = '/usr/share/seabios/vgabios-stdvga.bin';

/** Without ACPI, v86's default, the kernel is sooner in user space than with it. */
export function v86Peer(guest: GuestFiles, options: RunOptions): Peer {
  const script = fileURLToPath(new URL('./v86.js', import.meta.url));
  const { kernel, initrd, append } = guest;
  const command = [process.execPath, script, kernel, initrd, append, V86_BIOS, V86_VGA_BIOS];
  const run = async (): Promise<GuestRun> => {
    if (v86Version() === undefined) throw new PeerUnavailable('no package v86: npm ci');
    if (!existsSync(V86_BIOS) || !existsSync(V86_VGA_BIOS))
      throw new PeerUnavailable(`no ${V86_BIOS}: sudo apt-get install seabios`);
    return runGuest([...command, String(MEMORY_MB)], options);
  };
  return { name: 'v86', title: 'v86', arch: guest.arch, run };
}

/** What the peers are, a line each. */
export function describePeers(families: readonly Family[]): string[] {
  const lines: string[] = [];
  if (families.includes('qemu')) {
    const version = firstLine('qemu-system-x86_64', '--version');
    if (version !== undefined) lines.push(version);
  }
  const v86 = v86Version();
  if (families.includes('v86') && v86 !== undefined) lines.push(`v86 ${v86}`);
  return lines;
}

function v86Version(): string | undefined {
  try {
    const path = join(packageRoot(), 'node_modules/v86/package.json');
    return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
  } catch {
    return undefined;
  }
}
