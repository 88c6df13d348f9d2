/**
 * The KVM driver as the machine chooses it: whether this host has a usable KVM, and making engines.
 *
 * Some hosts have a /dev/kvm without hardware behind it: the kernel emulates guest instructions, but not
 * SSE, x87 and others, so that Linux doesn't run. {@link probe} notices by running one SSE instruction.
 */
import { Type2Error } from '../../devices/errors.ts';
import * as libc from '../../devices/host/libc.ts';
import type { Engine, EngineDriver, EngineEvents, EngineSupport } from '../engine.ts';
import type { MachineParts } from '../parts.ts';
import { realModeSegment } from '../vcpu-state.ts';
import { IOCTL, KVM_EXIT, kvm_run } from './abi.ts';
import { KvmEngine, kvmCapabilities } from './engine.ts';
import { ioctl } from './ioctl.ts';
import { KvmSystem } from './system.ts';
import { KvmVcpuState } from './vcpu-state.ts';
import { KvmVm } from './vm.ts';

/**
 * 16-bit code: switches SSE on as an operating system would, uses it, and writes to port 0.
 *
 *   mov eax, cr4; or ax, 0x200; mov cr4, eax     0f 20 e0  0d 00 02  0f 22 e0
 *   movaps xmm0, xmm1                            0f 28 c1
 *   xorps xmm0, xmm0                             0f 57 c0
 *   out 0, al                                    e6 00
 */
const PROBE_CODE = [
  0x0f, 0x20, 0xe0, 0x0d, 0x00, 0x02, 0x0f, 0x22, 0xe0, 0x0f, 0x28, 0xc1, 0x0f, 0x57, 0xc0, 0xe6, 0x00,
];
const PROBE_ADDRESS = 0x1000;
const PROBE_MEMORY = 64 * 1024;
/** After the probe, until its VM is torn down. */
const TEAR_DOWN_MS = 200;

export const kvmDriver: EngineDriver = {
  name: 'kvm',

  probe(): EngineSupport {
    probed ??= probeHost();
    return probed;
  },

  create(parts: MachineParts, events: EngineEvents): Engine {
    // Whoever makes a machine without asking first finds out for himself.
    return new KvmEngine(parts, events, probed?.capabilities?.completeInstructionSet ?? true);
  },
};

/** A host does not change while the process lives. */
let probed: EngineSupport | undefined;

function probeHost(): EngineSupport {
  let system: KvmSystem;
  try {
    system = new KvmSystem();
  } catch (error) {
    return unusable(error);
  }
  try {
    const complete = runsSse(system);
    return {
      usable: complete,
      reason: complete
        ? ''
        : 'this /dev/kvm emulates instructions without hardware behind it, and knows no SSE',
      hint: complete
        ? ''
        : 'Linux does not run on it; guests without SSE do (--engine kvm). Ask for a host with VT-x or AMD-V, nested if it is a virtual machine.',
      capabilities: kvmCapabilities(system, complete),
    };
  } catch (error) {
    return unusable(error);
  } finally {
    system.close();
  }
}

function unusable(error: unknown): EngineSupport {
  return {
    usable: false,
    reason: error instanceof Error ? error.message : String(error),
    hint: error instanceof Type2Error ? (error.hint ?? '') : '',
    capabilities: undefined,
  };
}

/** Whether the probe guest gets to its port write. */
function runsSse(system: KvmSystem): boolean {
  const vm = new KvmVm(system, PROBE_MEMORY, false);
  let vcpu = -1;
  try {
    vm.memory.write(PROBE_ADDRESS, Uint8Array.from(PROBE_CODE));
    vcpu = ioctl(vm.fd, 'KVM_CREATE_VCPU', 0);
    const runSize = system.runSize;
    const run = libc.mmap(runSize, libc.PROT_READ | libc.PROT_WRITE, libc.MAP_SHARED, vcpu);
    const state = new KvmVcpuState(vcpu, []);
    try {
      state.setSystem({ cs: realModeSegment(0, 0xb) });
      state.setRegisters({ rip: BigInt(PROBE_ADDRESS), rflags: 2n });
      if (libc.ioctl(vcpu, IOCTL.KVM_RUN, 0) < 0) return false;
      const words = new Uint32Array(libc.bytesAt(run, runSize));
      return words[kvm_run.offset.exit_reason / 4] === KVM_EXIT.IO;
    } finally {
      state.free();
      libc.munmap(run, runSize);
    }
  } finally {
    // Tearing down a VM waits for the kernel's other processors: later, when no guest waits to be started.
    setTimeout(() => {
      if (vcpu >= 0) libc.close(vcpu);
      vm.close();
    }, TEAR_DOWN_MS).unref();
  }
}
