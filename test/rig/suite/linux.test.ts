/** Linux kernels to user space: the bundled ones by every protocol, and Debian's stock kernel. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { linux, runGuest, show, stock, test } from './support.ts';

for (const name of ['linux-x86_64', 'linux-i386']) {
  for (const cpus of [1, 2]) {
    test(`${name} boots with ${cpus} vCPU(s) and switches itself off`, async () => {
      const result = await runGuest([
        ...linux('uname -m; echo cpus=$(nproc)', name),
        '--cpus',
        String(cpus),
        '--stats',
      ]);
      assert.equal(result.status, 0, show(result));
      assert.match(result.stdout, name === 'linux-x86_64' ? /x86_64/ : /i686/, show(result));
      assert.match(result.stdout, new RegExp(`cpus=${cpus}`), show(result));
      assert.match(result.stderr, /serial0/, show(result));
    });
  }
}

test('linux-x86_64 boots by its 32-bit entry', async () => {
  const result = await runGuest([...linux('echo up'), '--protocol', 'linux32']);
  assert.equal(result.status, 0, show(result));
  assert.match(result.stdout, /up/, show(result));
});

for (const protocol of ['pvh', 'elf64']) {
  test(`vmlinux boots by ${protocol}`, {
    skip: stock === undefined && 'the rig unpacks vmlinux: run with --nested',
  }, async () => {
    const [, , ...append] = linux('echo up');
    const initrd = join(import.meta.dirname, '../../../../guests/linux/images/initramfs-x86_64.cpio.lz4');
    const result = await runGuest([
      '--kernel',
      `${stock}/vmlinux-x86_64`,
      '--initrd',
      initrd,
      '--protocol',
      protocol,
      ...append,
    ]);
    assert.equal(result.status, 0, show(result));
    assert.match(result.stdout, /up/, show(result));
  });
}

test('linux-x86_64 boots without ACPI, and its devices are found', async () => {
  const result = await runGuest([
    ...linux('cat /sys/class/misc/hw_random/rng_available; echo cpus=$(nproc)'),
    '--no-acpi',
    '--cpus',
    '2',
  ]);
  assert.equal(result.status, 0, show(result));
  assert.match(result.stdout, /virtio_rng/, show(result));
  assert.match(result.stdout, /cpus=2/, show(result));
});

test('linux-x86_64 has RAM above the hole', async () => {
  const result = await runGuest([
    ...linux('head -1 /proc/meminfo; grep RAM /proc/iomem'),
    '--memory',
    '3200M',
  ]);
  assert.equal(result.status, 0, show(result));
  assert.match(result.stdout, /100000000-107ffffff : System RAM/, show(result));
});

for (const cpus of [1, 2]) {
  test(`Debian's stock cloud kernel boots with ${cpus} vCPU(s)`, {
    skip: stock === undefined && 'the rig brings this kernel: run with --nested',
  }, async () => {
    const command =
      'uname -v; echo cpus=$(nproc); ls /sys/bus/virtio/drivers; cat /sys/class/misc/hw_random/rng_available';
    const result = await runGuest([
      ...['--kernel', `${stock}/vmlinuz`, '--initrd', `${stock}/initramfs.cpio`, '--cpus', String(cpus)],
      ...['--append', `console=ttyS0 quiet type2.exec="${command}"`],
    ]);
    assert.equal(result.status, 0, show(result));
    assert.match(result.stdout, /Debian/, show(result));
    assert.match(result.stdout, new RegExp(`cpus=${cpus}`), show(result));
    assert.match(result.stdout, /virtio_rng/, show(result));
  });
}
