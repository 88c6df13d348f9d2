/**
 * Model-specific registers: SDM volume 4; what is AMD's, APM volume 2, appendix A.
 */
import type { LocalApic } from '../../../devices/lapic.ts';
import { MSR_TSC, MSR_TSC_ADJUST } from '../../vcpu-state.ts';
import { KVM_SYSTEM_TIME_ENABLED, MSR_KVM_SYSTEM_TIME, MSR_KVM_WALL_CLOCK } from '../kvm-clock.ts';
import { Seg, State } from '../layout.ts';
import type { CpuMemory } from '../memory.ts';
import { isCanonical, type Mmu } from '../mmu.ts';
import { CR0, EFER } from './context.ts';

const MSR_PLATFORM_ID = 0x17;
const MSR_APIC_BASE = 0x1b;
const MSR_UCODE_WRITE = 0x79;
const MSR_UCODE_REV = 0x8b;
const MSR_SYSENTER_CS = 0x174;
const MSR_SYSENTER_ESP = 0x175;
const MSR_SYSENTER_EIP = 0x176;
const MSR_MISC_ENABLE = 0x1a0;
const MSR_PAT = 0x277;
const MSR_TSC_DEADLINE = 0x6e0;
const MSR_EFER = 0xc000_0080;
const MSR_STAR = 0xc000_0081;
const MSR_LSTAR = 0xc000_0082;
const MSR_CSTAR = 0xc000_0083;
const MSR_SFMASK = 0xc000_0084;
const MSR_FS_BASE = 0xc000_0100;
const MSR_GS_BASE = 0xc000_0101;
const MSR_KERNEL_GS_BASE = 0xc000_0102;
const MSR_TSC_AUX = 0xc000_0103;
const MSR_TSC_RATIO = 0xc000_0104;
const MSR_AMD_HWCR = 0xc001_0015;
const MSR_AMD_NB_CFG = 0xc001_001f;
/**
 * Int Pending and CMP-Halt of AMD's family 15: kernels look there whether C1E, which stops the APIC's timer, is on. It
 * isn't. BIOS and Kernel Developer's Guide for AMD NPT family 0Fh processors, 14.2.
 */
const MSR_AMD_INT_PENDING = 0xc001_0055;
const MSR_AMD_DE_CFG = 0xc001_1029;

/** APIC_BASE, bit 11: the local APIC is on. */
const APIC_ENABLED = 1 << 11;

/** What kernels read, some without asking, and there is nothing of: microcode, platform, the processor's own settings. */
const ZERO = new Set([
  MSR_UCODE_REV,
  MSR_PLATFORM_ID,
  MSR_AMD_HWCR,
  MSR_AMD_NB_CFG,
  MSR_AMD_INT_PENDING,
  MSR_AMD_DE_CFG,
  MSR_TSC_RATIO,
]);
/** What they write, and nothing comes of it. */
const IGNORED = new Set([MSR_UCODE_REV, MSR_UCODE_WRITE, MSR_AMD_HWCR, MSR_AMD_DE_CFG]);

/** MSRs that are 64 bits of state without side effects. */
export const PLAIN_MSRS: Readonly<Record<number, number>> = {
  [MSR_SYSENTER_CS]: State.sysenterCs,
  [MSR_SYSENTER_ESP]: State.sysenterEsp,
  [MSR_SYSENTER_EIP]: State.sysenterEip,
  [MSR_MISC_ENABLE]: State.misc,
  [MSR_PAT]: State.pat,
  [MSR_STAR]: State.star,
  [MSR_LSTAR]: State.lstar,
  [MSR_CSTAR]: State.cstar,
  [MSR_SFMASK]: State.sfmask,
  [MSR_FS_BASE]: State.segBase + 8 * Seg.fs,
  [MSR_GS_BASE]: State.segBase + 8 * Seg.gs,
  [MSR_KERNEL_GS_BASE]: State.kernelGsBase,
  [MSR_TSC_AUX]: State.tscAux,
  [MSR_KVM_WALL_CLOCK]: State.kvmWallClock,
  [MSR_KVM_SYSTEM_TIME]: State.kvmSystemTime,
};
/** Those among them that hold linear addresses, which must be canonical. */
const ADDRESS_MSRS = new Set([
  MSR_SYSENTER_ESP,
  MSR_SYSENTER_EIP,
  MSR_LSTAR,
  MSR_CSTAR,
  MSR_FS_BASE,
  MSR_GS_BASE,
  MSR_KERNEL_GS_BASE,
]);

/** Time, as MSRs show and set it. */
export interface MsrHost {
  /** Guest TSC as a double. */
  tsc(): number;
  setTsc(value: number): void;
  /** IA32_TSC_ADJUST. */
  tscAdjust(): number;
  setTscAdjust(value: number): void;
  /** Writes a structure of kvmclock at a physical address: see kvm-clock.ts. */
  writeSystemTime(gpa: number): void;
  writeWallClock(gpa: number): void;
}

/** Whose registers they are. */
export interface MsrOwner {
  readonly memory: CpuMemory;
  readonly mmu: Mmu;
  readonly vcpus: number;
  /** Of the vCPU that runs. */
  readonly apic: LocalApic;
  /** Where a vCPU's field of state is now. */
  place(vcpu: number, field: number): number;
}

export class Msrs {
  private readonly owner: MsrOwner;
  private readonly host: MsrHost;

  constructor(owner: MsrOwner, host: MsrHost) {
    this.owner = owner;
    this.host = host;
  }

  /** RDMSR, of the vCPU that runs. @returns undefined when there is no such register */
  read(index: number): { low: number; high: number } | undefined {
    const { memory, apic } = this.owner;
    const plain = PLAIN_MSRS[index];
    if (plain !== undefined) return { low: memory.get(plain), high: memory.get(plain + 4) };
    switch (index) {
      case MSR_TSC:
        return words(this.host.tsc());
      case MSR_TSC_ADJUST:
        return words(this.host.tscAdjust());
      case MSR_APIC_BASE:
        return { low: memory.get(State.apicBase), high: 0 };
      case MSR_TSC_DEADLINE:
        return { low: apic.tscDeadlineLow | 0, high: apic.tscDeadlineHigh | 0 };
      case MSR_EFER:
        return { low: memory.get(State.efer), high: 0 };
      default:
        return ZERO.has(index) ? { low: 0, high: 0 } : undefined;
    }
  }

  /** WRMSR. @returns whether there is such a register and the value is allowed */
  write(index: number, low: number, high: number): boolean {
    const { memory, mmu, apic } = this.owner;
    const plain = PLAIN_MSRS[index];
    if (plain !== undefined) return this.writePlain(index, plain, low, high);
    switch (index) {
      case MSR_TSC:
        this.host.setTsc(toNumber(low, high));
        this.updateSystemTimes();
        return true;
      case MSR_TSC_ADJUST:
        this.host.setTscAdjust(high * 0x1_0000_0000 + (low >>> 0));
        this.updateSystemTimes();
        return true;
      case MSR_APIC_BASE:
        memory.set(State.apicBase, low);
        apic.enabled = (low & APIC_ENABLED) !== 0;
        mmu.flushAll();
        return true;
      case MSR_TSC_DEADLINE:
        apic.setTscDeadline(high, low);
        return true;
      case MSR_EFER:
        return this.writeEfer(low, high);
      default:
        return IGNORED.has(index);
    }
  }

  private writePlain(index: number, at: number, low: number, high: number): boolean {
    if (ADDRESS_MSRS.has(index) && !isCanonical(high)) return false;
    this.owner.memory.set64(at, low, high);
    if (index === MSR_KVM_SYSTEM_TIME) this.updateSystemTime(at);
    else if (index === MSR_KVM_WALL_CLOCK) this.host.writeWallClock(toNumber(low, high));
    return true;
  }

  private writeEfer(low: number, high: number): boolean {
    const { memory, mmu } = this.owner;
    const allowed = EFER.SCE | EFER.LME | EFER.NXE;
    const old = memory.get(State.efer);
    if (low & ~(allowed | EFER.LMA) || high !== 0) return false;
    if ((old ^ low) & EFER.LME && memory.get(State.cr0) & CR0.PG) return false;
    memory.set(State.efer, (low & allowed) | (old & EFER.LMA));
    if ((old ^ low) & EFER.NXE) mmu.flushAll();
    return true;
  }

  /** The TSC or kvmclock has been moved: tells all vCPUs that look at kvmclock. */
  updateSystemTimes(): void {
    const { owner } = this;
    for (let vcpu = 0; vcpu < owner.vcpus; vcpu++)
      this.updateSystemTime(owner.place(vcpu, State.kvmSystemTime));
  }

  /** @param at - where a vCPU's MSR_KVM_SYSTEM_TIME_NEW lies */
  private updateSystemTime(at: number): void {
    const { memory } = this.owner;
    const low = memory.get(at);
    if (low & KVM_SYSTEM_TIME_ENABLED)
      this.host.writeSystemTime(toNumber(low & ~KVM_SYSTEM_TIME_ENABLED, memory.get(at + 4)));
  }
}

/** A whole number in two words. */
function toNumber(low: number, high: number): number {
  return (high >>> 0) * 0x1_0000_0000 + (low >>> 0);
}

function words(value: number): { low: number; high: number } {
  return { low: (value % 0x1_0000_0000) | 0, high: Math.floor(value / 0x1_0000_0000) };
}
