/**
 * Begins what a machine will most likely need, before it is known what machine. Apart from the drivers, since it runs
 * before their code is loaded.
 */
import { existsSync, readFileSync } from 'node:fs';
import { warmUpCpu } from './cpu/thread.ts';
import type { EngineName } from './engine.ts';
import { warmUpKvm } from './kvm/thread.ts';

/** Whether this is a host of the kind that KVM's driver is for. */
export const supportsKvm = process.platform === 'linux' && process.arch === 'x64';

/**
 * Starts the thread of KVM's vCPU or that of the CPU in TypeScript. To be ended by `coolDown` of warm-threads.ts if
 * there is no machine after all.
 * @param named - the driver that was asked for, if any; else KVM is begun where the processor can run it
 */
export function warmUpDriver(named: EngineName | undefined): void {
  const canKvm = supportsKvm && existsSync('/dev/kvm');
  if (named === undefined ? canKvm && hasVirtualization() : named === 'kvm') {
    if (canKvm) warmUpKvm();
  } else warmUpCpu();
}

/** Whether the processor says that it can run guests: VT-x or AMD-V. */
function hasVirtualization(): boolean {
  try {
    return /^flags\s*:.*\b(vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'latin1'));
  } catch {
    return false;
  }
}
