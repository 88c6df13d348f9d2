/**
 * /dev/kvm itself: opening it, what this KVM offers, and the CPU features it supports.
 */
import { HostError } from '../../devices/errors.ts';
import * as libc from '../../devices/host/libc.ts';
import type { CpuidLeaf } from '../cpuid.ts';
import { CAP, IOCTL, KVM_API_VERSION, kvm_cpuid_entry2, kvm_cpuid2 } from './abi.ts';
import { ioctl } from './ioctl.ts';

export const KVM_DEVICE = '/dev/kvm';

/** What must be there for a machine to run at all, with what it is for. */
const REQUIRED: readonly (keyof typeof CAP)[] = [
  'KVM_CAP_IRQCHIP',
  'KVM_CAP_USER_MEMORY',
  'KVM_CAP_MP_STATE',
  'KVM_CAP_PIT2',
  'KVM_CAP_IRQFD',
  'KVM_CAP_IOEVENTFD',
  'KVM_CAP_VCPU_EVENTS',
  'KVM_CAP_DEBUGREGS',
];

/** An open /dev/kvm. */
export class KvmSystem {
  readonly fd: number;

  /** @throws HostError with code `KVM_OPEN` or `KVM_CAPABILITY`, saying what to do */
  constructor() {
    this.fd = libc.open(KVM_DEVICE, libc.O_RDWR | libc.O_CLOEXEC);
    if (this.fd < 0) throw openError(libc.errnoName(libc.errno()));
    const version = libc.ioctl(this.fd, IOCTL.KVM_GET_API_VERSION, 0);
    if (version !== KVM_API_VERSION) {
      this.close();
      throw new HostError('KVM_OPEN', `${KVM_DEVICE}: API version ${version}, not ${KVM_API_VERSION}`, {
        hint: 'It is not the KVM of a Linux kernel since 2.6.22.',
      });
    }
    const missing = REQUIRED.filter((name) => this.capability(name) === 0);
    if (missing.length > 0) {
      this.close();
      throw new HostError('KVM_CAPABILITY', `${KVM_DEVICE} lacks ${missing.join(', ')}`, {
        hint: 'Type2 needs KVM of Linux 4.11 or newer on x86-64.',
      });
    }
  }

  /** 0 when the capability is absent, else 1 or a number that it stands for. */
  capability(name: keyof typeof CAP): number {
    return Math.max(0, libc.ioctl(this.fd, IOCTL.KVM_CHECK_EXTENSION, CAP[name]));
  }

  get maxCpus(): number {
    return this.capability('KVM_CAP_MAX_VCPUS') || this.capability('KVM_CAP_NR_VCPUS') || 4;
  }

  /** Bytes of struct kvm_run with what follows it. */
  get runSize(): number {
    return ioctl(this.fd, 'KVM_GET_VCPU_MMAP_SIZE');
  }

  /** The CPUID leaves that host processor and KVM support. */
  supportedCpuid(): CpuidLeaf[] {
    const capacity = 256;
    const buffer = libc.nativeBuffer(kvm_cpuid2.size + capacity * kvm_cpuid_entry2.size);
    try {
      buffer.data.setUint32(kvm_cpuid2.offset.nent, capacity, true);
      ioctl(this.fd, 'KVM_GET_SUPPORTED_CPUID', buffer.address);
      const count = buffer.data.getUint32(kvm_cpuid2.offset.nent, true);
      const { offset, size } = kvm_cpuid_entry2;
      return Array.from({ length: count }, (_, i) => {
        const at = kvm_cpuid2.size + i * size;
        const get = (field: keyof typeof offset): number => buffer.data.getUint32(at + offset[field], true);
        return {
          function: get('function'),
          index: get('index'),
          flags: get('flags'),
          eax: get('eax'),
          ebx: get('ebx'),
          ecx: get('ecx'),
          edx: get('edx'),
        };
      });
    } finally {
      buffer.free();
    }
  }

  /** Indices of the MSRs that make up a vCPU's state. */
  msrIndices(): number[] {
    const capacity = 1024;
    const buffer = libc.nativeBuffer(4 + capacity * 4);
    try {
      buffer.data.setUint32(0, capacity, true);
      ioctl(this.fd, 'KVM_GET_MSR_INDEX_LIST', buffer.address);
      const count = buffer.data.getUint32(0, true);
      return Array.from({ length: count }, (_, i) => buffer.data.getUint32(4 + i * 4, true));
    } finally {
      buffer.free();
    }
  }

  close(): void {
    libc.close(this.fd);
  }
}

function openError(errno: string): HostError {
  const advice: Readonly<Record<string, [string, string]>> = {
    ENOENT: [
      'not there',
      'Load the kernel module (modprobe kvm_intel or kvm_amd), switch on VT-x or AMD-V in the firmware, or, in a virtual machine, let its host nest.',
    ],
    EACCES: [
      'permission denied',
      'Add yourself to group kvm (sudo usermod -aG kvm $USER), then log in again.',
    ],
    EPERM: ['permission denied', 'Give the container this device (--device /dev/kvm).'],
    ENODEV: ['no virtualization extensions', 'Switch on VT-x or AMD-V in the firmware.'],
    ENXIO: ['no driver behind it', 'Load the kernel module: modprobe kvm_intel or kvm_amd.'],
    EBUSY: ['busy', 'Another hypervisor holds the processor: stop it.'],
  };
  const [reason, hint] = advice[errno] ?? [errno, 'Run `type2 doctor`.'];
  return new HostError('KVM_OPEN', `${KVM_DEVICE}: ${reason}`, { hint });
}
