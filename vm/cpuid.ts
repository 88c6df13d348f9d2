/**
 * CPUID as the CPU in TypeScript has it: it promises what works. KVM gives the same to a guest that is to be
 * portable, so that it can go on with the other engine. And what two CPUs differ in. SDM volume 2, CPUID.
 */

/** Guest TSC frequency in Hz: a nanosecond a tick. */
export const TSC_HZ = 1_000_000_000;

/** One leaf, as a guest sees it and as struct kvm_cpuid_entry2 has it. All values unsigned 32-bit. */
export interface CpuidLeaf {
  /** The leaf: what the guest has in EAX. SDM volume 2A, CPUID, table 3-8. */
  readonly function: number;
  /** The subleaf: what it has in ECX. */
  readonly index: number;
  /** 1 where the index counts, 0 where the leaf has no subleaves. */
  readonly flags: number;
  /** EAX, as CPUID gives it. */
  readonly eax: number;
  /** EBX. */
  readonly ebx: number;
  /** ECX. */
  readonly ecx: number;
  /** EDX. */
  readonly edx: number;
}

/** Registers of one leaf: EAX, EBX, ECX, EDX. */
export type CpuidResult = readonly [number, number, number, number];

function registers(text: string): [number, number, number] {
  const word = (at: number): number =>
    [3, 2, 1, 0].reduce((value, i) => (value << 8) | text.charCodeAt(at + i), 0);
  return [word(0), word(4), word(8)];
}

const [VENDOR_B, VENDOR_D, VENDOR_C] = registers('AuthenticAMD');
const BRAND = 'Type2 virtual CPU'.padEnd(48, '\0');

const bits = (...positions: number[]): number => positions.reduce((mask, n) => mask | (1 << n), 0);

/** FPU DE PSE TSC MSR PAE CX8 APIC SEP PGE CMOV PAT CLFSH MMX FXSR SSE SSE2. */
const FEATURES_D = bits(0, 2, 3, 4, 5, 6, 8, 9, 11, 13, 15, 16, 19, 23, 24, 25, 26);
/** SSE3 SSSE3 CX16 SSE4.1 SSE4.2 MOVBE POPCNT TSC-deadline RDRAND, hypervisor. */
const FEATURES_C = bits(0, 9, 13, 19, 20, 22, 23, 24, 30, 31);
/** TSC_ADJUST, without which Linux mistrusts the TSC when the host is busy; SMEP, ERMS, RDSEED. */
const FEATURES_7B = bits(1, 7, 9, 18);
/** SYSCALL NX RDTSCP LM, and those of leaf 1 that AMD repeats: FPU DE PSE TSC MSR PAE CX8 APIC PGE CMOV PAT MMX FXSR. */
const EXTENDED_D = bits(0, 2, 3, 4, 5, 6, 8, 9, 11, 13, 15, 16, 20, 23, 24, 27, 29);
/** KVM_FEATURE_CLOCKSOURCE2 and KVM_FEATURE_CLOCKSOURCE_STABLE_BIT. Linux, Documentation/virt/kvm/x86/cpuid.rst. */
const KVM_FEATURES = bits(3, 24);
/** LAHF in 64-bit mode, LZCNT. */
const EXTENDED_C = bits(0, 5);

export interface CpuidMachine {
  readonly index: number;
  readonly cpus: number;
  /** Whether 64-bit mode is offered. */
  readonly long: boolean;
}

export function cpuid(leaf: number, subleaf: number, machine: CpuidMachine): CpuidResult {
  switch (leaf) {
    case 0:
      return [0xd, VENDOR_B, VENDOR_C, VENDOR_D];
    case 1: {
      // Family 15, model 107, stepping 1: an AMD64 processor without features that must be asked for by model.
      const signature = 0x00060fb1;
      const htt = machine.cpus > 1 ? 1 << 28 : 0;
      return [
        signature,
        (machine.index << 24) | (machine.cpus << 16) | (8 << 8),
        FEATURES_C,
        FEATURES_D | htt,
      ];
    }
    case 7:
      return subleaf === 0 ? [0, FEATURES_7B, 0, 0] : [0, 0, 0, 0];
    case 0x4000_0000: {
      // KVM's name: it is by this that guests look for kvmclock.
      const [b, c, d] = registers('KVMKVMKVM\0\0\0');
      return [0x4000_0001, b, c, d];
    }
    case 0x4000_0001:
      return [KVM_FEATURES, 0, 0, 0];
    case 0x8000_0000:
      return [0x8000_0008 | 0, VENDOR_B, VENDOR_C, VENDOR_D];
    case 0x8000_0001:
      return [0x00060fb1, 0, EXTENDED_C, machine.long ? EXTENDED_D : EXTENDED_D & ~(1 << 29)];
    case 0x8000_0002:
    case 0x8000_0003:
    case 0x8000_0004: {
      const at = (leaf - 0x8000_0002) * 16;
      const [a, b, c] = registers(BRAND.slice(at, at + 12));
      const [d] = registers(BRAND.slice(at + 12, at + 16).padEnd(12, '\0'));
      return [a, b, c, d];
    }
    case 0x8000_0007:
      // The TSC runs at one rate.
      return [0, 0, 0, 1 << 8];
    case 0x8000_0008:
      // FXSAVE keeps the error pointers, so that kernels needn't clear them.
      return [40 | (48 << 8), 1 << 2, machine.cpus - 1, 0];
    default:
      return [0, 0, 0, 0];
  }
}

/** Leaves that there are; all others are zeroes. */
const LEAVES = [
  0, 1, 7, 0xd, 0x4000_0000, 0x4000_0001, 0x8000_0000, 0x8000_0001, 0x8000_0002, 0x8000_0003, 0x8000_0004,
  0x8000_0007, 0x8000_0008,
];
/** Leaves whose index counts. */
const INDEXED = [7, 0xd];

/** All leaves of a CPU of this kind. */
export function cpuidLeaves(machine: CpuidMachine): CpuidLeaf[] {
  return LEAVES.map((leaf) => {
    const [eax, ebx, ecx, edx] = cpuid(leaf, 0, machine).map((value) => value >>> 0) as [
      number,
      number,
      number,
      number,
    ];
    return { function: leaf, index: 0, flags: INDEXED.includes(leaf) ? 1 : 0, eax, ebx, ecx, edx };
  });
}

/** Registers that promise instructions and registers, and those of their bits that promise nothing: OSXSAVE and hypervisor, HTT. */
const FEATURE_REGISTERS = [
  [1, 0, 'ecx', bits(27, 31)],
  [1, 0, 'edx', bits(28)],
  [7, 0, 'ebx', 0],
  [7, 0, 'ecx', 0],
  [7, 0, 'edx', 0],
  [7, 1, 'eax', 0],
  [0xd, 0, 'eax', 0],
  [0xd, 1, 'eax', 0],
  [0x4000_0001, 0, 'eax', 0],
  [0x8000_0001, 0, 'ecx', 0],
  [0x8000_0001, 0, 'edx', 0],
] as const;

/** A CPU's leaves without the features that another hasn't got. */
export function withoutFeatures(leaves: readonly CpuidLeaf[], there: readonly CpuidLeaf[]): CpuidLeaf[] {
  const others = (leaf: number, index: number): CpuidLeaf | undefined =>
    there.find((entry) => entry.function === leaf && entry.index === index);
  return leaves.map((entry) => {
    const registers: Record<string, number> = {};
    for (const [leaf, index, register, without] of FEATURE_REGISTERS) {
      if (leaf !== entry.function || index !== entry.index) continue;
      registers[register] = (entry[register] & ((others(leaf, index)?.[register] ?? 0) | without)) >>> 0;
    }
    return { ...entry, ...registers };
  });
}

/** What one CPU promises and another has not, in the SDM's notation, such as `CPUID.07H:EBX[5]`. */
export function missingFeatures(wanted: readonly CpuidLeaf[], there: readonly CpuidLeaf[]): string[] {
  const missing: string[] = [];
  for (const [leaf, index, register, without] of FEATURE_REGISTERS) {
    const value = (leaves: readonly CpuidLeaf[]): number =>
      leaves.find((entry) => entry.function === leaf && entry.index === index)?.[register] ?? 0;
    const lacking = value(wanted) & ~value(there) & ~without;
    for (let bit = 0; bit < 32; bit++) {
      if (lacking & (1 << bit)) {
        const number = leaf.toString(16).toUpperCase().padStart(2, '0');
        missing.push(`CPUID.${number}H:${register.toUpperCase()}[${bit}]`);
      }
    }
  }
  return missing;
}
