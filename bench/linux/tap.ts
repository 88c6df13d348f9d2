/**
 * A tap interface for a benchmark: made, given an address, and removed. Needs root. Reference:
 * Documentation/networking/tuntap.rst in the Linux sources.
 */
import { execFileSync } from 'node:child_process';
import * as libc from '../../devices/host/libc.ts';

const TUNSETIFF = 0x4004_54ca;
const TUNSETPERSIST = 0x4004_54cb;
const IFF_TAP_NO_PI = 0x1002;
/** struct ifreq: the name, then flags. */
const IFREQ_SIZE = 64;
const IFREQ_FLAGS = 16;

/** @param address - with the length of its prefix, such as `10.99.8.1/24`. @throws Error when the host refuses */
export function makeTap(name: string, address: string): void {
  persist(name, true);
  execFileSync('ip', ['addr', 'add', address, 'dev', name]);
  execFileSync('ip', ['link', 'set', name, 'up']);
}

export function removeTap(name: string): void {
  persist(name, false);
}

function persist(name: string, shall: boolean): void {
  const fd = libc.check(libc.open('/dev/net/tun', libc.O_RDWR), 'open /dev/net/tun');
  const request = libc.nativeBuffer(IFREQ_SIZE);
  try {
    request.u8.set(new TextEncoder().encode(name));
    request.data.setUint16(IFREQ_FLAGS, IFF_TAP_NO_PI, true);
    libc.check(libc.ioctl(fd, TUNSETIFF, request.address), 'TUNSETIFF');
    libc.check(libc.ioctl(fd, TUNSETPERSIST, shall ? 1 : 0), 'TUNSETPERSIST');
  } finally {
    request.free();
    libc.close(fd);
  }
}
