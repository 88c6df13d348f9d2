/**
 * ioctl calls on KVM's descriptors, with errors that name the request, the error number and the likely
 * cause.
 */
import { HostError } from '../../devices/errors.ts';
import * as libc from '../../devices/host/libc.ts';
import { IOCTL, type IoctlName } from './abi.ts';

/** What an error of a request most likely means. First match wins; no errno matches all. */
const CAUSES: readonly { request: IoctlName; errno?: string; cause: string }[] = [
  {
    request: 'KVM_CREATE_VM',
    errno: 'EBUSY',
    cause:
      'another hypervisor holds the processor’s virtualization extensions (VirtualBox or VMware, perhaps): stop it.',
  },
  {
    request: 'KVM_CREATE_VM',
    errno: 'ENOMEM',
    cause: 'the host is out of memory, or a limit on locked memory or cgroup memory applies.',
  },
  {
    request: 'KVM_SET_USER_MEMORY_REGION',
    errno: 'ENOMEM',
    cause: 'the host has no memory for this guest: ask for less --memory.',
  },
  { request: 'KVM_CREATE_VCPU', errno: 'EINVAL', cause: 'the host allows fewer vCPUs: ask for less --cpus.' },
  { request: 'KVM_CREATE_VCPU', errno: 'EMFILE', cause: 'too many open files: raise `ulimit -n`.' },
  { request: 'KVM_CREATE_IRQCHIP', cause: 'this KVM has no in-kernel interrupt controllers.' },
  { request: 'KVM_SET_CPUID2', errno: 'EINVAL', cause: 'this KVM refuses the CPU features that it offered.' },
];

/** @throws HostError naming the request, when it fails */
export function ioctl(fd: number, request: IoctlName, argument = 0): number {
  const result = libc.ioctl(fd, IOCTL[request], argument);
  if (result < 0) throw ioctlError(request, libc.errno());
  return result;
}

/** The error for a request that failed with this error number. */
export function ioctlError(request: IoctlName, errno: number): HostError {
  const name = libc.errnoName(errno);
  const known = CAUSES.find((cause) => cause.request === request && (cause.errno ?? name) === name);
  return new HostError('KVM_IOCTL', `ioctl ${request}: ${name}`, {
    hint:
      known === undefined
        ? 'Run `type2 doctor` to see what this host offers.'
        : `Likely cause: ${known.cause}`,
  });
}
