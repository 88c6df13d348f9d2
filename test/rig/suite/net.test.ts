/** Network over tap: pings and a transfer that is compared byte for byte. Needs the right to make taps. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import * as libc from '../../../devices/host/libc.ts';
import { linux, show, startGuest, test } from './support.ts';

const TUNSETIFF = 0x4004_54ca;
const TUNSETPERSIST = 0x4004_54cb;
const IFF_TAP_NO_PI = 0x1002;
const ROOT = process.getuid?.() === 0;

/** Makes a tap, or removes it. */
function persistTap(name: string, persist: boolean): void {
  const fd = libc.check(libc.open('/dev/net/tun', libc.O_RDWR), 'open /dev/net/tun');
  const request = libc.nativeBuffer(64);
  request.u8.set(new TextEncoder().encode(name));
  request.data.setUint16(16, IFF_TAP_NO_PI, true);
  libc.check(libc.ioctl(fd, TUNSETIFF, request.address), 'TUNSETIFF');
  libc.check(libc.ioctl(fd, TUNSETPERSIST, persist ? 1 : 0), 'TUNSETPERSIST');
  libc.close(fd);
  request.free();
}

test('a guest on a tap pings and transfers', {
  skip: !ROOT && 'needs root, to make a tap: sudo npm run test:kvm',
}, async () => {
  const tap = 'type2rig0';
  persistTap(tap, true);
  const payload = randomBytes(4 * 2 ** 20);
  const server = createServer((_request, response) => response.end(payload));
  const uploaded: Buffer[] = [];
  const sink = createTcpServer((socket) => socket.on('data', (chunk) => uploaded.push(chunk)));
  try {
    execFileSync('ip', ['addr', 'add', '10.99.7.1/24', 'dev', tap]);
    execFileSync('ip', ['link', 'set', tap, 'up']);
    await new Promise<void>((resolve) => server.listen(8099, '10.99.7.1', resolve));
    await new Promise<void>((resolve) => sink.listen(8098, '10.99.7.1', resolve));
    const command = [
      'ping -c 3 -W 20 10.99.7.1',
      'wget -q -O /tmp/f http://10.99.7.1:8099/f',
      'sha256sum /tmp/f',
      'nc 10.99.7.1 8098 < /tmp/f',
      'echo up; sleep 8',
    ].join('; ');
    const guest = startGuest([
      ...linux(command, 'linux-x86_64', 'type2.ip=10.99.7.2/24'),
      '--net',
      `tap=${tap}`,
      '--cpus',
      '2',
    ]);
    await guest.printed('up\r');
    const answered = execFileSync('ping', ['-c', '2', '-W', '10', '10.99.7.2'], { encoding: 'utf8' });
    assert.match(answered, /2 packets received|2 received/);
    const result = await guest.result;
    assert.match(result.stdout, /3 packets transmitted, 3 packets received/, show(result));
    assert.ok(result.stdout.includes(createHash('sha256').update(payload).digest('hex')), show(result));
    assert.ok(Buffer.concat(uploaded).equals(payload), 'what the guest sent back is what it got');
  } finally {
    server.close();
    sink.close();
    server.closeAllConnections();
    persistTap(tap, false);
  }
});
