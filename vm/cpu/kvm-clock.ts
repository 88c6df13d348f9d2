/**
 * kvmclock, as KVM offers it to its guests: a structure in guest memory that says how the TSC tells the time, so that a
 * kernel needn't measure how fast the TSC runs. Linux, Documentation/virt/kvm/x86/msr.rst: MSR_KVM_SYSTEM_TIME_NEW and
 * MSR_KVM_WALL_CLOCK_NEW. As long as the TSC isn't moved, what was written once stays true.
 */
import { RAM_START } from './layout.ts';
import type { CpuMemory } from './memory.ts';
import type { CpuTime } from './time.ts';

export const MSR_KVM_WALL_CLOCK = 0x4b56_4d00;
export const MSR_KVM_SYSTEM_TIME = 0x4b56_4d01;
/** Of MSR_KVM_SYSTEM_TIME_NEW: the structure is to be kept. */
export const KVM_SYSTEM_TIME_ENABLED = 1;

/** struct pvclock_vcpu_time_info. */
const TimeInfo = {
  version: 0,
  tscTimestamp: 8,
  systemTime: 16,
  multiplier: 24,
  shift: 28,
  flags: 29,
  size: 32,
};
/** struct pvclock_wall_clock. */
const WallClock = { version: 0, seconds: 4, nanoseconds: 8, size: 12 };
/** All vCPUs' structures say the same at the same time. */
const TSC_STABLE = 1;

export class KvmClock {
  private readonly memory: CpuMemory;
  private readonly time: CpuTime;
  private readonly written: (gpa: number, bytes: number) => void;

  /** @param written - called before guest memory is written */
  constructor(memory: CpuMemory, time: CpuTime, written: (gpa: number, bytes: number) => void) {
    this.memory = memory;
    this.time = time;
    this.written = written;
  }

  /** Says how the TSC tells the time, at a physical address; nothing outside RAM. */
  writeSystemTime(gpa: number): void {
    const { time } = this;
    const view = this.memory.data;
    const at = this.place(gpa, TimeInfo.size);
    if (at < 0) return;
    const now = time.now();
    const { multiplier, shift } = scale(time.tscFrequency);
    view.setUint32(at + TimeInfo.version, nextVersion(view.getUint32(at + TimeInfo.version, true)), true);
    view.setBigUint64(at + TimeInfo.tscTimestamp, BigInt.asUintN(64, BigInt(time.tsc(now))), true);
    view.setBigUint64(at + TimeInfo.systemTime, BigInt(Math.floor(time.kvmClock(now))), true);
    view.setUint32(at + TimeInfo.multiplier, multiplier, true);
    view.setInt8(at + TimeInfo.shift, shift);
    view.setUint8(at + TimeInfo.flags, TSC_STABLE);
  }

  /** Says at which date kvmclock was 0, at a physical address; nothing outside RAM. */
  writeWallClock(gpa: number): void {
    const { time } = this;
    const view = this.memory.data;
    const at = this.place(gpa, WallClock.size);
    if (at < 0) return;
    const milliseconds = time.wallTime() - time.kvmClock(time.now()) / 1e6;
    const seconds = Math.floor(milliseconds / 1000);
    view.setUint32(at + WallClock.version, nextVersion(view.getUint32(at + WallClock.version, true)), true);
    view.setUint32(at + WallClock.seconds, seconds, true);
    view.setUint32(at + WallClock.nanoseconds, Math.floor((milliseconds - seconds * 1000) * 1e6), true);
  }

  private place(gpa: number, bytes: number): number {
    if (gpa + bytes > this.memory.ramSize) return -1;
    this.written(gpa, bytes);
    return RAM_START + gpa;
  }
}

/** Even: the structure isn't being changed. */
function nextVersion(version: number): number {
  return ((version | 1) + 1) >>> 0;
}

/** What makes nanoseconds of ticks: (ticks << shift) × multiplier / 2³², or ticks >> −shift. */
function scale(frequency: number): { multiplier: number; shift: number } {
  let rate = frequency;
  let shift = 0;
  for (; rate > 2e9; rate /= 2) shift--;
  for (; rate <= 1e9; rate *= 2) shift++;
  return { multiplier: Math.floor((1e9 / rate) * 0x1_0000_0000), shift };
}
