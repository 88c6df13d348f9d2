/**
 * A KVM vCPU on the calling thread, for benchmarks of the loop itself.
 */
import * as libc from '../../devices/host/libc.ts';
import type { GuestMemory } from '../../devices/memory.ts';
import { ioctl } from '../../vm/kvm/ioctl.ts';
import { KvmSystem } from '../../vm/kvm/system.ts';
import { KvmVcpu } from '../../vm/kvm/vcpu.ts';
import { KvmVcpuState } from '../../vm/kvm/vcpu-state.ts';
import { KvmVm } from '../../vm/kvm/vm.ts';
import { realModeSegment } from '../../vm/vcpu-state.ts';

const CODE = 0x7c00;
const MEMORY = 1024 * 1024;

/** Runs `code` in real mode at 0x7c00. */
export function openBenchVcpu(code: Uint8Array): { vcpu: KvmVcpu; memory: GuestMemory; close: () => void } {
  const system = new KvmSystem();
  const vm = new KvmVm(system, MEMORY);
  vm.memory.write(CODE, code);
  const fd = ioctl(vm.fd, 'KVM_CREATE_VCPU', 0);
  const runSize = system.runSize;
  const run = libc.mmap(runSize, libc.PROT_READ | libc.PROT_WRITE, libc.MAP_SHARED, fd);
  const state = new KvmVcpuState(fd, []);
  state.setSystem({ cs: realModeSegment(0, 0xb) });
  state.setRegisters({ rip: BigInt(CODE), rflags: 2n });
  return {
    vcpu: new KvmVcpu(0, fd, run, runSize),
    memory: vm.memory,
    close: () => {
      state.free();
      libc.munmap(run, runSize);
      libc.close(fd);
      vm.close();
      system.close();
    },
  };
}
