/**
 * Getting a thread out of KVM_RUN. Whoever wants it out sets `immediate_exit` in the vCPU's kvm_run and sends the thread
 * a signal. The signal ends a KVM_RUN that is under way, with EINTR; the flag one that is about to begin, however close
 * to entry it came. The vCPU's thread clears the flag (KvmVcpu.run) before it looks at what is wanted of it, so that no
 * kick is lost. Reference: Documentation/virt/kvm/api.rst, section 5.
 *
 * KVM_SET_SIGNAL_MASK would do without a handler, but has the kernel change the thread's signal mask twice for each
 * KVM_RUN. JavaScript can't run in a handler, so that a function of the C library is it that does nothing: abs(3).
 */
import { HostError } from '../../devices/errors.ts';
import * as libc from '../../devices/host/libc.ts';
import type { HostAddress } from '../../devices/memory.ts';
import { kvm_run } from './abi.ts';

/** SIGRTMIN + 6: the C library takes the first two real-time signals for itself. */
const KICK_SIGNAL = 40;
const KICK_BIT = 1n << BigInt(KICK_SIGNAL - 1);
/** The C library's struct sigaction on x86-64: handler, mask of 128 bytes, flags, restorer. */
const SA_FLAGS_OFFSET = 136;

/**
 * Lets the calling thread, which is a vCPU's, be kicked.
 * @returns its number, for {@link kick}
 * @throws HostError
 */
export function acceptKicks(): number {
  const { data, address } = libc.nativeBuffer(4096);
  const handler = libc.dlsym(0, 'abs');
  // Without a handler the signal would end the process.
  if (handler === 0)
    throw new HostError('HOST', 'the C library has no abs(3), which takes the vCPUs’ signal');
  data.setBigUint64(0, BigInt(handler), true);
  // Nothing else that the thread may wait for is to notice.
  data.setUint32(SA_FLAGS_OFFSET, libc.SA_RESTART, true);
  libc.check(libc.sigaction(KICK_SIGNAL, address, 0), 'sigaction');
  data.setBigUint64(512, KICK_BIT, true);
  const error = libc.pthread_sigmask(libc.SIG_UNBLOCK, address + 512, 0);
  if (error !== 0) throw libc.systemError('pthread_sigmask', error);
  return libc.syscall(libc.SYS.gettid, 0, 0, 0, 0);
}

/** One vCPU, as others see it that want it out of KVM_RUN. */
export class KickTarget {
  private readonly run: Uint8Array;

  /** @param run - where its kvm_run is mapped */
  constructor(run: HostAddress, runSize: number) {
    this.run = new Uint8Array(libc.bytesAt(run, runSize));
  }

  /** Gets its thread out of KVM_RUN, or keeps it from entering the next time. From any thread. */
  kick(threadId: number): void {
    this.run[kvm_run.offset.immediate_exit] = 1;
    libc.syscall(libc.SYS.tgkill, process.pid, threadId, KICK_SIGNAL, 0);
  }
}
