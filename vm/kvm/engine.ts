/**
 * Driver 1: Linux KVM, as the main thread sees it. It makes the VM, its RAM and its vCPUs, starts one
 * thread for each vCPU and one for the devices, and stops them again. While the guest runs, the main
 * thread does nothing for it.
 */
import type { Clock } from '../../devices/device.ts';
import { ConfigError, Type2Error } from '../../devices/errors.ts';
import * as libc from '../../devices/host/libc.ts';
import type { GuestMemory, HostAddress } from '../../devices/memory.ts';
import { QUEUE_NOTIFY } from '../../devices/virtio/mmio.ts';
import { HostClock } from '../clock.ts';
import { Control, Request } from '../control.ts';
import { type CpuidLeaf, cpuidLeaves, withoutFeatures } from '../cpuid.ts';
import type { DebugKind, DebugSettings } from '../debug/settings.ts';
import type { Engine, EngineCapabilities, EngineEvents, InterruptControllers } from '../engine.ts';
import { CPUS_MAXIMUM, MEMORY_MAXIMUM, virtioSlot } from '../layout.ts';
import { checkFeatures, type EngineState, stateMismatch } from '../machine-state.ts';
import type { MachineParts } from '../parts.ts';
import { queueCounts } from '../platform.ts';
import { type EntryState, MpState, MSR_TSC, type VcpuChange, type VcpuState } from '../vcpu-state.ts';
import { IOCTL } from './abi.ts';
import { type ApicTime, apicFromKvm, apicToKvm } from './chip-state.ts';
import { guestCpuid } from './cpuid.ts';
import { DEBUG_REGISTERS, KvmDebug } from './debug.ts';
import { ioctl } from './ioctl.ts';
import { KickTarget } from './kick.ts';
import { EventWriter, irqLevelsBuffer } from './platform-host.ts';
import { KvmSystem } from './system.ts';
import { KvmThread, type ThreadCrash, type ThreadRole } from './thread.ts';
import type { KvmThreadData, ThreadMessage, VcpuThreadData } from './threads.ts';
import { KvmVcpuState } from './vcpu-state.ts';
import { KvmVm } from './vm.ts';

/** TSC rates that differ by no more are the same: KVM's tsc_tolerance_ppm. */
const TSC_TOLERANCE = 250e-6;
/** Between two looks whether all threads have parked, in ms. */
const PARK_POLL_MS = 1;
/** A thread that has not come to rest after this long never will. */
const PARK_PATIENCE_MS = 10_000;
/** IA32_MISC_ENABLE and its fast-strings bit; IA32_MTRR_DEF_TYPE with MTRRs on and write-back by default. */
const FIRMWARE_MSRS: ReadonlyMap<number, bigint> = new Map([
  [0x1a0, 1n],
  [0x2ff, 0x806n],
]);

interface VcpuHandle {
  readonly fd: number;
  readonly run: HostAddress;
  readonly state: KvmVcpuState;
  readonly kicks: KickTarget;
}

export class KvmEngine implements Engine {
  readonly name = 'kvm';
  readonly capabilities: EngineCapabilities;
  readonly memory: GuestMemory;
  readonly clock: Clock;
  private readonly parts: MachineParts;
  private readonly events: EngineEvents;
  private readonly system: KvmSystem;
  private readonly vm: KvmVm;
  private readonly control: Control;
  private readonly vcpus: VcpuHandle[] = [];
  private readonly runSize: number;
  private readonly threadData: KvmThreadData;
  private readonly eventfds: number[] = [];
  private readonly writer = new EventWriter();
  private readonly vcpuThreads: readonly KvmThread[];
  /** Started with the guest: what its code has to do comes late enough. */
  private deviceThread: KvmThread | undefined;
  private stopping: Promise<void> | undefined;
  private readonly debug: KvmDebug;
  private closing: Promise<void> | undefined;

  /**
   * @param complete - whether KVM has hardware behind it
   * @throws HostError when the host refuses; nothing is left behind then. ConfigError for what KVM can't do
   */
  constructor(parts: MachineParts, events: EngineEvents, complete: boolean) {
    if (parts.deterministic) throw new ConfigError('kvm has no virtual time');
    this.parts = parts;
    this.events = events;
    this.control = new Control(parts.control);
    this.clock = new HostClock(this.control);
    this.system = new KvmSystem();
    this.capabilities = kvmCapabilities(this.system, complete);
    // Threads load their code while this one makes the VM; they wait for their data.
    const thread = (role: ThreadRole): KvmThread => new KvmThread(role, (message) => this.hear(message));
    this.vcpuThreads = Array.from({ length: parts.cpus }, () => thread('vcpu-thread'));
    try {
      this.runSize = this.system.runSize;
      this.vm = new KvmVm(this.system, parts.memory);
    } catch (error) {
      void this.endThreads();
      this.system.close();
      throw error;
    }
    this.memory = this.vm.memory;
    try {
      this.createVcpus();
      this.threadData = this.createEventfds();
      this.debug = new KvmDebug(
        this.vcpus.map(({ fd }) => fd),
        this.memory,
        this.system.capability('KVM_CAP_SET_GUEST_DEBUG2'),
        this.capabilities.watchpoints,
        (index) => this.vcpus[index]!.state.getSystem(),
      );
    } catch (error) {
      void this.endThreads();
      this.release();
      throw error;
    }
  }

  readonly instructionCount = undefined;

  /** KVM has them in the kernel. */
  mapDevices(): void {}

  setEntry(entry: EntryState): void {
    const { state } = this.vcpus[0]!;
    state.setSystem(entry.system);
    state.setRegisters(entry.registers);
  }

  async start(): Promise<void> {
    const data = this.threadData;
    if (this.control.request === Request.run) this.debug.arm();
    this.deviceThread = new KvmThread('device-thread', (message) => this.hear(message));
    this.deviceThread.begin(data);
    // A disk or a tap that can't be opened is refused before the guest runs.
    if (this.parts.disks.length + this.parts.nets.length > 0) await this.deviceThread.ready;
    const begin = ({ fd, run }: VcpuHandle, index: number): void => {
      const vcpuData: VcpuThreadData = { ...data, index, vcpuFd: fd, run, runSize: this.runSize };
      this.vcpuThreads[index]!.begin(vcpuData);
    };
    // The others are there when the boot CPU wakes them: its guest may not wait as long as a thread takes to start.
    const [boot, ...others] = this.vcpus;
    others.forEach((vcpu, i) => {
      begin(vcpu, i + 1);
    });
    await Promise.all(this.vcpuThreads.slice(1).map(({ ready }) => ready));
    begin(boot!, 0);
    await Promise.all(this.threads.map(({ ready }) => ready));
  }

  async pause(): Promise<void> {
    this.control.request = Request.pause;
    this.kickAll();
    const since = performance.now();
    while (this.control.parked < this.threads.filter(({ running }) => running).length) {
      if (performance.now() - since > PARK_PATIENCE_MS) {
        throw new Type2Error('THREAD_STUCK', 'a thread of the machine does not come to rest', {
          hint: 'This is a bug in Type2, or a disk that does not answer.',
        });
      }
      await new Promise((resolve) => setTimeout(resolve, PARK_POLL_MS));
    }
    this.debug.disarm();
  }

  resume(): void {
    this.debug.arm();
    for (const { fd } of this.vcpus) {
      // Tells a guest with kvmclock that time was lost, so that it doesn't take it for a lockup. Others refuse.
      libc.ioctl(fd, IOCTL.KVM_KVMCLOCK_CTRL, 0);
    }
    this.control.request = Request.run;
  }

  save(now: number): EngineState {
    const tscFrequency = this.vcpus[0]!.state.getTscFrequency() * 1000;
    const vcpus = this.vcpuStates();
    const apics = this.vcpus.map(({ state }, i) => [
      `lapic${i}`,
      apicFromKvm(state.getApic(), apicTime(now, tscFrequency, vcpus[i]!)),
    ]);
    return {
      engine: this.name,
      vcpus,
      chips: { ...Object.fromEntries(apics), ...this.vm.saveChips(now) },
      tscFrequency,
      kvmClock: this.vm.getClock(),
    };
  }

  restore(state: EngineState, now: number, lenient: boolean): void {
    const tscDeadline = this.system.capability('KVM_CAP_TSC_DEADLINE_TIMER') > 0;
    const here = guestCpuid(this.system.supportedCpuid(), 0, this.parts.cpus, tscDeadline);
    if (!lenient) {
      checkFeatures(state, here, this.name);
      this.matchTsc(state.tscFrequency);
    }
    this.vm.restoreChips(state.chips, now);
    if (state.kvmClock !== undefined) this.vm.setClock(state.kvmClock);
    state.vcpus.forEach((vcpu, i) => {
      const saved = state.chips[`lapic${i}`];
      if (saved === undefined) throw stateMismatch(`the saved state lacks lapic${i}`, '');
      this.vcpus[i]!.state.restore(vcpu, apicToKvm(saved, apicTime(now, state.tscFrequency, vcpu)));
    });
    const levels = new Int32Array(this.threadData.irqLevels);
    this.vm.levels().forEach((level, gsi) => {
      levels[gsi] = level;
    });
    // Queues may have been notified before.
    for (const fd of this.threadData.notifyFds.flat()) this.writer.signal(fd);
    this.wakeDevices();
  }

  /** @throws Type2Error when the guest's TSC would run at another rate than it has measured */
  private matchTsc(frequency: number): void {
    const wanted = Math.round(frequency / 1000);
    for (const { state } of this.vcpus) {
      const here = state.getTscFrequency();
      if (Math.abs(here - wanted) <= here * TSC_TOLERANCE) continue;
      try {
        state.setTscFrequency(wanted);
      } catch {
        throw stateMismatch(
          `the guest has a time stamp counter of ${wanted / 1000} MHz, and this processor of ${here / 1000} MHz can't scale its own`,
          'Go on with --engine jit, which can have any; or start the guest on KVM.',
        );
      }
    }
  }

  vcpuStates(): VcpuState[] {
    return this.vcpus.map(({ state }) => state.save());
  }

  changeVcpu(index: number, { registers, system, xsave }: VcpuChange): void {
    const { state } = this.vcpus[index]!;
    if (system !== undefined) state.setSystem(system);
    if (registers !== undefined) state.setRegisters(registers);
    if (xsave !== undefined) state.setXsave(xsave);
  }

  setDebug(settings: DebugSettings): void {
    this.debug.set(settings);
    for (let index = 0; index < this.vcpus.length; index++)
      this.control.hold(index, settings.step !== undefined && settings.step !== index);
  }

  interruptControllers(): InterruptControllers {
    return {
      lapics: this.vcpus.map(({ state }) => state.getApic().page),
      redirections: this.vm.ioapicRedirections(),
    };
  }

  deliverTrap(vcpu: number, kind: DebugKind): void {
    this.debug.deliver(vcpu, kind);
  }

  /** The processor sees what is written. */
  memoryWritten(): void {}

  wakeDevices(): void {
    if (this.closing === undefined) this.writer.signal(this.threadData.wakeFd);
  }

  checkHalted(): void {
    this.vcpus.forEach((_, i) => {
      this.control.askHalted(i);
      this.kickVcpu(i);
    });
  }

  stop(): Promise<void> {
    this.stopping ??= this.stopThreads();
    return this.stopping;
  }

  close(): Promise<void> {
    this.closing ??= this.stop().then(() => this.release());
    return this.closing;
  }

  private async stopThreads(): Promise<void> {
    this.control.request = Request.stop;
    // A kick that comes while a thread still starts is not needed: it looks at the request before it runs.
    this.kickAll();
    await this.endThreads();
  }

  private get threads(): readonly KvmThread[] {
    return this.deviceThread === undefined ? this.vcpuThreads : [...this.vcpuThreads, this.deviceThread];
  }

  private async endThreads(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.end()));
  }

  private release(): void {
    for (const vcpu of this.vcpus) {
      vcpu.state.free();
      libc.munmap(vcpu.run, this.runSize);
      libc.close(vcpu.fd);
    }
    for (const fd of this.eventfds) libc.close(fd);
    this.writer.free();
    this.vm.close();
    this.system.close();
  }

  private createVcpus(): void {
    const supported = this.system.supportedCpuid();
    const msrIndices = this.system.msrIndices();
    const tscDeadline = this.system.capability('KVM_CAP_TSC_DEADLINE_TIMER') > 0;
    for (let index = 0; index < this.parts.cpus; index++) {
      const fd = ioctl(this.vm.fd, 'KVM_CREATE_VCPU', index);
      const run = libc.mmap(this.runSize, libc.PROT_READ | libc.PROT_WRITE, libc.MAP_SHARED, fd);
      const state = new KvmVcpuState(fd, msrIndices);
      this.vcpus.push({ fd, run, state, kicks: new KickTarget(run, this.runSize) });
      state.setCpuid(this.cpuidOf(supported, index, tscDeadline));
      state.setMsrs(FIRMWARE_MSRS);
      if (index === 0) state.setMpState(MpState.runnable);
    }
  }

  private cpuidOf(supported: readonly CpuidLeaf[], index: number, tscDeadline: boolean): CpuidLeaf[] {
    const { cpus, portable } = this.parts;
    const own = guestCpuid(supported, index, cpus, tscDeadline);
    return portable ? withoutFeatures(cpuidLeaves({ index, cpus, long: true }), own) : own;
  }

  private createEventfds(): KvmThreadData {
    const wakeFd = libc.check(libc.eventfd(0, libc.EFD_CLOEXEC | libc.EFD_NONBLOCK), 'eventfd');
    this.eventfds.push(wakeFd);
    const irqfds: number[] = [];
    const notifyFds = queueCounts(this.parts).map((queues, device) => {
      const slot = virtioSlot(device);
      const irqfd = this.vm.createIrqfd(slot.gsi);
      irqfds.push(irqfd);
      this.eventfds.push(irqfd);
      return Array.from({ length: queues }, (_, queue) => {
        const fd = this.vm.createIoeventfd(slot.base + QUEUE_NOTIFY, queue);
        this.eventfds.push(fd);
        return fd;
      });
    });
    return {
      parts: this.parts,
      vmFd: this.vm.fd,
      ram: this.vm.mappings,
      irqLevels: irqLevelsBuffer(),
      irqfds,
      notifyFds,
      wakeFd,
    };
  }

  private hear(message: ThreadMessage | ThreadCrash): void {
    switch (message.type) {
      case 'output':
        this.events.consoleOutput();
        break;
      case 'outcome':
        this.events.ended();
        break;
      case 'debug-stop':
        this.events.debugStop();
        break;
      case 'boot-mark':
        this.events.bootMark(message.mark, message.time);
        break;
      case 'failed':
        this.events.failed(new Type2Error('ENGINE', message.message));
        break;
      case 'crashed':
        this.events.failed(message.error);
        break;
      default:
        break;
    }
  }

  private kickAll(): void {
    this.vcpus.forEach((_, i) => {
      this.kickVcpu(i);
    });
    this.writer.signal(this.threadData.wakeFd);
  }

  private kickVcpu(index: number): void {
    const threadId = this.control.thread(index);
    if (threadId !== 0) this.vcpus[index]!.kicks.kick(threadId);
  }
}

/** Time as a vCPU's timer counts it, standing still. */
function apicTime(now: number, tscFrequency: number, vcpu: VcpuState): ApicTime {
  const tsc = Number(vcpu.msrs.get(MSR_TSC) ?? 0n);
  return { clock: { now: () => now, wallTime: () => 0 }, tscFrequency, readTsc: () => tsc };
}

/** What KVM can do. @param complete - whether it has hardware behind it */
export function kvmCapabilities(system: KvmSystem, complete: boolean): EngineCapabilities {
  return {
    maxCpus: Math.min(system.maxCpus, CPUS_MAXIMUM),
    maxMemory: MEMORY_MAXIMUM,
    completeInstructionSet: complete,
    tap: true,
    platformTimer: false,
    hardwareBreakpoints: DEBUG_REGISTERS,
    // The kernel's instruction emulator looks at no debug register when it accesses memory.
    watchpoints: complete,
  };
}
