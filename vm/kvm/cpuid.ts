/**
 * The CPUID leaves that a guest sees: what KVM supports, with each vCPU's own place in the topology.
 * One package of single-threaded cores. References: Intel SDM volume 2A, CPUID; AMD APM volume 3,
 * appendix E; Documentation/virt/kvm/x86/cpuid.rst.
 */

import type { CpuidLeaf } from '../cpuid.ts';

const LEAF1_EDX_HTT = 1 << 28;
const LEAF1_ECX_MONITOR = 1 << 3;
const LEAF1_ECX_TSC_DEADLINE = 1 << 24;
const LEAF1_ECX_HYPERVISOR = 1 << 31;
/** AMX tile data in XCR0 grows XSAVE past the 4 KiB that KVM_GET_XSAVE gives. */
const XCR0_AMX = (1 << 17) | (1 << 18);
const LEAF7_EDX_AMX = (1 << 22) | (1 << 24) | (1 << 25);
const LEVEL_TYPE_SMT = 1;
const LEVEL_TYPE_CORE = 2;
const FLAG_SIGNIFICANT_INDEX = 1;

/** The leaves for one vCPU. @param cpus - vCPUs of the machine; the APIC id is the vCPU's index */
export function guestCpuid(
  supported: readonly CpuidLeaf[],
  vcpu: number,
  cpus: number,
  tscDeadline: boolean,
): CpuidLeaf[] {
  const topologyLeaves = new Set([0xb, 0x1f]);
  const entries = supported
    .filter((entry) => !topologyLeaves.has(entry.function))
    .map((entry) => adapt(entry, vcpu, cpus, tscDeadline));
  for (const leaf of topologyLeaves) {
    if (supported.some((entry) => entry.function === leaf)) entries.push(...topology(leaf, vcpu, cpus));
  }
  return entries;
}

function adapt(entry: CpuidLeaf, vcpu: number, cpus: number, tscDeadline: boolean): CpuidLeaf {
  const { eax, ebx, ecx, edx } = entry;
  switch (entry.function) {
    case 1:
      return {
        ...entry,
        ebx: ((vcpu << 24) | (cpus << 16) | (ebx & 0xffff)) >>> 0,
        ecx:
          ((ecx & ~LEAF1_ECX_MONITOR) | LEAF1_ECX_HYPERVISOR | (tscDeadline ? LEAF1_ECX_TSC_DEADLINE : 0)) >>>
          0,
        edx: (cpus > 1 ? edx | LEAF1_EDX_HTT : edx & ~LEAF1_EDX_HTT) >>> 0,
      };
    case 4: // deterministic cache parameters: which APIC ids share a cache, and cores a package
    case 0x8000_001d: {
      if ((eax & 0x1f) === 0) return entry;
      const level = (eax >>> 5) & 7;
      const sharing = level >= 3 ? cpus - 1 : 0;
      const cores = entry.function === 4 ? (cpus - 1) << 26 : 0;
      return { ...entry, eax: (cores | (sharing << 14) | (eax & 0x3fff)) >>> 0 };
    }
    case 7:
      return entry.index === 0 ? { ...entry, edx: (edx & ~LEAF7_EDX_AMX) >>> 0 } : entry;
    case 0xd:
      return entry.index === 0 ? { ...entry, eax: (eax & ~XCR0_AMX) >>> 0 } : entry;
    case 0x8000_0008: // AMD: number of cores − 1, and bits of the APIC id that number them
      return { ...entry, ecx: ((ecx & ~0xf0ff) | (idBits(cpus) << 12) | (cpus - 1)) >>> 0 };
    case 0x8000_001e: // AMD: extended APIC id, core id with one thread each, node 0
      return { ...entry, eax: vcpu, ebx: vcpu, ecx: 0 };
    default:
      return entry;
  }
}

/** Extended topology, leaves 0BH and 1FH. */
function topology(leaf: number, vcpu: number, cpus: number): CpuidLeaf[] {
  const level = (index: number, shift: number, count: number, type: number): CpuidLeaf => ({
    function: leaf,
    index,
    flags: FLAG_SIGNIFICANT_INDEX,
    eax: shift,
    ebx: count,
    ecx: (type << 8) | index,
    edx: vcpu,
  });
  return [level(0, 0, 1, LEVEL_TYPE_SMT), level(1, idBits(cpus), cpus, LEVEL_TYPE_CORE), level(2, 0, 0, 0)];
}

/** Bits that number `count` things. */
function idBits(count: number): number {
  return count <= 1 ? 0 : 32 - Math.clz32(count - 1);
}
