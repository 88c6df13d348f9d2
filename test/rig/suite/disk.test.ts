/** Disks: what a guest has written and synced is in the file, byte for byte. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { linux, runGuest, show, temporaryFolder, test } from './support.ts';

const MIB = 2 ** 20;
const folder = temporaryFolder();

function image(name: string, bytes: number): string {
  const path = join(folder, name);
  writeFileSync(path, '');
  truncateSync(path, bytes);
  return path;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test('raw writes arrive', async () => {
  const disk = image('raw.img', 16 * MIB);
  const result = await runGuest([
    ...linux(
      'cat /sys/block/vda/serial; echo; dd if=/dev/urandom of=/tmp/r bs=1M count=8; dd if=/tmp/r of=/dev/vda bs=1M seek=3; sync; sha256sum /tmp/r; cmp -n 8388608 /tmp/r /dev/vda 0 3145728 && echo same',
    ),
    ...['--disk', `${disk},id=my-serial`],
  ]);
  assert.equal(result.status, 0, show(result));
  assert.match(result.stdout, /my-serial/, show(result));
  assert.match(result.stdout, /same/, show(result));
  const written = readFileSync(disk).subarray(3 * MIB, 11 * MIB);
  assert.ok(result.stdout.includes(sha256(written)), show(result));
});

test('a file system keeps its files over a restart', async () => {
  const disk = image('fs.img', 32 * MIB);
  const first = await runGuest([
    ...linux(
      'mke2fs /dev/vda && mount /dev/vda /mnt && dd if=/dev/urandom of=/mnt/data bs=64k count=100 && sha256sum < /mnt/data && umount /mnt',
    ),
    ...['--disk', disk, '--cpus', '2'],
  ]);
  assert.equal(first.status, 0, show(first));
  const sum = /[0-9a-f]{64}/.exec(first.stdout)?.[0];
  assert.ok(sum, show(first));
  const second = await runGuest([
    ...linux('mount -o ro /dev/vda /mnt && sha256sum < /mnt/data'),
    '--disk',
    `${disk},readonly`,
  ]);
  assert.ok(second.stdout.includes(sum), show(second));
});

test('a readonly disk refuses writes', async () => {
  const disk = image('ro.img', MIB);
  const before = sha256(readFileSync(disk));
  const result = await runGuest([
    ...linux('cat /sys/block/vda/ro; echo x > /dev/vda || echo refused'),
    ...['--disk', `${disk},readonly`],
  ]);
  assert.match(result.stdout, /^1\r?$/m, show(result));
  assert.match(result.stdout, /refused/, show(result));
  assert.equal(sha256(readFileSync(disk)), before);
});

test('discarded blocks give their space back and read as zeroes', async () => {
  const disk = image('discard.img', 8 * MIB);
  writeFileSync(disk, new Uint8Array(8 * MIB).fill(0xaa));
  const before = statSync(disk).blocks;
  const result = await runGuest([
    ...linux('blkdiscard -o 1048576 -l 4194304 /dev/vda && echo discarded; sync'),
    ...['--disk', disk],
  ]);
  assert.match(result.stdout, /discarded/, show(result));
  const bytes = readFileSync(disk);
  assert.equal(bytes[MIB - 1], 0xaa);
  assert.ok(
    bytes.subarray(MIB, 5 * MIB).every((byte) => byte === 0),
    'discarded range reads as zeroes',
  );
  assert.equal(bytes[5 * MIB], 0xaa);
  assert.ok(statSync(disk).blocks < before, 'the file has become smaller on its disk');
});

test('two disks are two', async () => {
  const a = image('a.img', MIB);
  const b = image('b.img', MIB);
  const result = await runGuest([
    ...linux('echo first > /dev/vda; echo second > /dev/vdb; sync'),
    '--disk',
    a,
    '--disk',
    b,
  ]);
  assert.equal(result.status, 0, show(result));
  assert.equal(readFileSync(a, 'latin1').slice(0, 5), 'first');
  assert.equal(readFileSync(b, 'latin1').slice(0, 6), 'second');
});
