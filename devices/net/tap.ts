/**
 * A Linux tap interface: Ethernet frames to and from the host's network stack, straight between the
 * kernel and guest memory. Reference: Documentation/networking/tuntap.rst and <linux/if_tun.h>.
 */
import { HostError } from '../errors.ts';
import { IoVector } from '../host/iovec.ts';
import * as libc from '../host/libc.ts';
import type { GuestMemory } from '../memory.ts';
import type { BufferList } from '../virtio/buffers.ts';
import type { NetBackend } from './backend.ts';
import { INTERFACE_NAME_MAXIMUM } from './limits.ts';

const TUN_DEVICE = '/dev/net/tun';
const TUNSETIFF = 0x4004_54ca;
const TUNSETOFFLOAD = 0x4004_54d0;
const TUNSETVNETHDRSZ = 0x4004_54d8;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const TUN_F_CSUM = 0x01;
const VIRTIO_NET_HEADER_SIZE = 12;

/** What the error numbers of TUNSETIFF mean here. */
const HINTS: Readonly<Record<string, string>> = {
  EPERM:
    'Make the interface beforehand and give it to yourself: sudo ip tuntap add NAME mode tap user $USER; or run as root.',
  EBUSY: 'Another program holds this interface: give each machine a tap of its own.',
  EINVAL: 'There is an interface of this name that is no tap, or one with other options (multi_queue).',
};

export class Tap implements NetBackend {
  readonly fd: number;
  private readonly vector: IoVector;

  /**
   * Opens the tap interface `name`, making it if there is none and the user may.
   * @throws HostError saying what to do
   */
  constructor(name: string, memory: GuestMemory) {
    this.fd = libc.open(TUN_DEVICE, libc.O_RDWR | libc.O_NONBLOCK | libc.O_CLOEXEC);
    if (this.fd < 0) {
      throw libc.systemError(
        `open ${TUN_DEVICE}`,
        libc.errno(),
        'Load the module (modprobe tun), or give the container this device.',
      );
    }
    this.vector = new IoVector(memory);
    const request = libc.nativeBuffer(4096);
    try {
      const bytes = new TextEncoder().encode(name);
      if (bytes.length > INTERFACE_NAME_MAXIMUM) {
        throw new HostError('TAP_NAME', `tap name '${name}' is longer than ${INTERFACE_NAME_MAXIMUM} bytes`);
      }
      request.u8.set(bytes);
      request.data.setUint16(16, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, true);
      if (libc.ioctl(this.fd, TUNSETIFF, request.address) < 0) {
        const errno = libc.errno();
        const hint = HINTS[libc.errnoName(errno)]?.replace('NAME', name);
        throw libc.systemError(`tap ${name}: ioctl TUNSETIFF`, errno, hint);
      }
      request.data.setInt32(0, VIRTIO_NET_HEADER_SIZE, true);
      libc.check(libc.ioctl(this.fd, TUNSETVNETHDRSZ, request.address), `tap ${name}: ioctl TUNSETVNETHDRSZ`);
      this.setChecksumOffload(false);
    } catch (error) {
      this.close();
      throw error;
    } finally {
      request.free();
    }
  }

  setChecksumOffload(accepted: boolean): void {
    libc.ioctl(this.fd, TUNSETOFFLOAD, accepted ? TUN_F_CSUM : 0);
  }

  /** Hot path. */
  send(buffers: BufferList): void {
    // A full queue, or an interface that is down, loses the frame.
    libc.writev(this.fd, this.vector.address, this.vector.fill(buffers));
  }

  /** Hot path. */
  receive(buffers: BufferList): number {
    const length = libc.readv(this.fd, this.vector.address, this.vector.fill(buffers));
    return Math.max(0, length);
  }

  close(): void {
    libc.close(this.fd);
    this.vector.free();
  }
}
