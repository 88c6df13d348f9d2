/**
 * Getting a thread out of KVM_RUN. The thread blocks one signal for good, and has KVM unblock it only
 * while the guest runs (KVM_SET_SIGNAL_MASK). Sent with tgkill(2), it ends KVM_RUN with EINTR and stays
 * pending, however close to entry it came; the thread then takes it with sigtimedwait(2). No signal
 * handler is needed, and no kick is lost. Reference: Documentation/virt/kvm/api.rst, 4.20.
 */
import * as libc from '../../devices/host/libc.ts';
import { kvm_signal_mask } from './abi.ts';
import { ioctl } from './ioctl.ts';

/** SIGRTMIN + 6: the C library takes the first two real-time signals for itself. */
const KICK_SIGNAL = 40;
const KICK_BIT = 1n << BigInt(KICK_SIGNAL - 1);
/** Bytes of the kernel's sigset_t. */
const SIGSET_SIZE = 8;

/** The thread's side. Construct it on the vCPU's thread. */
export class KickReceiver {
  /** For {@link kick}. */
  readonly threadId: number;
  private readonly scratch = libc.nativeBuffer(4096);
  private readonly set = this.scratch.address;
  private readonly zeroTimeout = this.scratch.address + 64;

  constructor(vcpuFd: number) {
    const { data, address } = this.scratch;
    const old = address + 128;
    const mask = address + 256;
    data.setBigUint64(0, KICK_BIT, true);
    const error = libc.pthread_sigmask(libc.SIG_BLOCK, this.set, old);
    if (error !== 0) throw libc.systemError('pthread_sigmask', error);
    data.setUint32(256, SIGSET_SIZE, true);
    data.setBigUint64(256 + kvm_signal_mask.size, data.getBigUint64(128, true) & ~KICK_BIT, true);
    ioctl(vcpuFd, 'KVM_SET_SIGNAL_MASK', mask);
    this.threadId = libc.syscall(libc.SYS.gettid, 0, 0, 0, 0);
  }

  /** Takes a pending kick, if there is one. */
  take(): void {
    libc.syscall(libc.SYS.rt_sigtimedwait, this.set, 0, this.zeroTimeout, SIGSET_SIZE);
  }
}

/** Gets a thread out of KVM_RUN, or keeps it from entering the next time. From any thread. */
export function kick(threadId: number): void {
  libc.syscall(libc.SYS.tgkill, process.pid, threadId, KICK_SIGNAL, 0);
}
