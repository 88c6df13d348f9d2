/**
 * Drivers 2 and 3: the CPU in TypeScript, as the main thread sees it. RAM and CPU state lie in one shared
 * WebAssembly memory; one worker thread runs the vCPUs in turns, and the devices with them.
 */
import { once } from 'node:events';
import type { Bus } from '../../devices/bus.ts';
import type { Clock } from '../../devices/device.ts';
import { ConfigError, HostError, Type2Error } from '../../devices/errors.ts';
import type { GuestMemory } from '../../devices/memory.ts';
import { HostClock } from '../clock.ts';
import { Control, Request } from '../control.ts';
import { cpuidLeaves } from '../cpuid.ts';
import type { DebugSettings } from '../debug/settings.ts';
import type {
  Engine,
  EngineCapabilities,
  EngineDriver,
  EngineEvents,
  EngineName,
  EngineSupport,
  InterruptControllers,
} from '../engine.ts';
import { checkFeatures, type EngineState, stateMismatch } from '../machine-state.ts';
import type { MachineParts } from '../parts.ts';
import { type EntryState, MSR_TSC, MSR_TSC_ADJUST, type VcpuChange, type VcpuState } from '../vcpu-state.ts';
import { Chips, chipsBuffer } from './chips.ts';
import { CpuidTable } from './cpuid-table.ts';
import { BREAKPOINTS_MAXIMUM, debugBuffer, noteMemoryWritten, writeDebugSettings } from './debug.ts';
import { CPU_VCPUS_MAXIMUM, SAVED_STATE_SIZE, SAVED_STATES, State } from './layout.ts';
import { CPU_MEMORY_MAXIMUM, CpuMemory, createCpuMemory, guestMemoryOver } from './memory.ts';
import { restoreExtended } from './system/extended-state.ts';
import { resetState } from './system/reset.ts';
import { takeCpuThread } from './thread.ts';
import {
  type CpuThreadData,
  type CpuThreadMessage,
  RESTORED,
  Restored,
  WAKE,
  WAKE_WORDS,
} from './threads.ts';
import { applyEntry, readVcpuState, writeVcpuState } from './vcpu-state.ts';

const CAPABILITIES: EngineCapabilities = {
  maxCpus: CPU_VCPUS_MAXIMUM,
  maxMemory: CPU_MEMORY_MAXIMUM,
  completeInstructionSet: true,
  tap: false,
  platformTimer: true,
  hardwareBreakpoints: 32,
  watchpoints: true,
};

/** How long a thread may take to come to rest. */
const PARK_PATIENCE_MS = 10_000;
const PARK_POLL_MS = 1;

function driver(name: EngineName): EngineDriver {
  return {
    name,
    probe: (): EngineSupport => ({ usable: true, reason: '', hint: '', capabilities: CAPABILITIES }),
    create: (parts, events) => new CpuEngine(name, parts, events),
  };
}

export const jitDriver = driver('jit');
export const interpDriver = driver('interp');

export class CpuEngine implements Engine {
  readonly name: EngineName;
  readonly capabilities = CAPABILITIES;
  readonly memory: GuestMemory;
  private readonly parts: MachineParts;
  private readonly events: EngineEvents;
  private readonly control: Control;
  private readonly cpuMemory: CpuMemory;
  private readonly cpuid: CpuidTable;
  /** As the CPU's thread has them; touched here only while that stands. */
  private readonly chips: Chips;
  private readonly data: CpuThreadData;
  private readonly wake: Int32Array;
  private exited: Promise<void> = Promise.resolve();
  private running = false;
  private stopping: Promise<void> | undefined;

  /** @throws ConfigError for what this driver can't do, HostError when there isn't enough memory */
  constructor(name: EngineName, parts: MachineParts, events: EngineEvents) {
    if (parts.cpus > CPU_VCPUS_MAXIMUM)
      throw new ConfigError(`${parts.cpus} vCPUs, but ${name} has at most ${CPU_VCPUS_MAXIMUM}`);
    if (parts.memory > CPU_MEMORY_MAXIMUM) {
      throw new ConfigError(
        `${parts.memory / 2 ** 20} MiB of RAM, but ${name} has at most ${CPU_MEMORY_MAXIMUM / 2 ** 20}`,
      );
    }
    if (parts.nets.length > 0) {
      throw new ConfigError(`a tap can't be attached to ${name}`, {
        hint: 'Leave --net out, or use --engine kvm.',
      });
    }
    this.name = name;
    this.parts = parts;
    this.events = events;
    this.control = new Control(parts.control);
    let memory: WebAssembly.Memory;
    try {
      memory = createCpuMemory(parts.memory);
    } catch (cause) {
      throw new HostError('MEMORY', `no memory for a guest of ${parts.memory / 2 ** 20} MiB`, {
        hint: 'Give it less with --memory.',
        cause,
      });
    }
    this.cpuMemory = new CpuMemory(memory, parts.memory);
    this.memory = guestMemoryOver(memory, parts.memory);
    const wake = new SharedArrayBuffer(4 * WAKE_WORDS);
    this.wake = new Int32Array(wake);
    const chips = chipsBuffer(parts.cpus);
    const cpuid = CpuidTable.buffer(parts.cpus);
    this.cpuid = new CpuidTable(cpuid);
    this.data = { parts, engine: name, memory, chips, cpuid, wake, debug: debugBuffer() };
    const nothing = (): void => {};
    this.chips = new Chips(parts.cpus, chips, {
      hostClock: parts.deterministic ? undefined : new HostClock(this.control),
      alarm: { deadlineMoved: nothing },
      executed: () => this.chips.time.instructions,
      signals: () => ({ interruptPending: nothing, nmi: nothing, init: nothing, startup: nothing }),
    });
    this.chips.reset();
    for (let index = 0; index < parts.cpus; index++) {
      this.cpuid.set(index, cpuidLeaves({ index, cpus: parts.cpus, long: true }));
      resetState(this.cpuMemory, index === 0);
      this.putAside(index);
    }
  }

  mapDevices(pio: Bus, mmio: Bus): void {
    this.chips.map(pio, mmio);
  }

  get clock(): Clock {
    return this.chips.time;
  }

  setEntry(entry: EntryState): void {
    this.takeUp(0);
    applyEntry(this.cpuMemory, entry);
    this.putAside(0);
  }

  async start(): Promise<void> {
    const worker = takeCpuThread();
    this.running = true;
    this.exited = once(worker, 'exit').then(() => {
      this.running = false;
    });
    await new Promise<void>((resolve, reject) => {
      worker.on('message', (message: CpuThreadMessage) => {
        if (message.type === 'ready') resolve();
        else if (message.type === 'refused') {
          reject(
            new HostError(
              message.code,
              message.message,
              message.hint === undefined ? {} : { hint: message.hint },
            ),
          );
        } else this.hear(message);
      });
      worker.once('error', (error: Error) => {
        reject(error);
        this.events.failed(error);
      });
      void this.exited.then(resolve);
      worker.postMessage(this.data);
    });
  }

  private hear(message: CpuThreadMessage): void {
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
      default:
        break;
    }
  }

  async pause(): Promise<void> {
    this.control.request = Request.pause;
    this.wakeDevices();
    const since = performance.now();
    while (this.running && this.control.parked === 0) {
      if (performance.now() - since > PARK_PATIENCE_MS) {
        throw new Type2Error('THREAD_STUCK', 'the thread of the machine does not come to rest', {
          hint: 'This is a bug in Type2, or a disk that does not answer.',
        });
      }
      await new Promise((resolve) => setTimeout(resolve, PARK_POLL_MS));
    }
  }

  resume(): void {
    this.control.request = Request.run;
  }

  save(now: number): EngineState {
    const { time, devices } = this.chips;
    const vcpus = this.vcpusAt(now);
    return {
      engine: this.name,
      vcpus,
      chips: Object.fromEntries(devices.map((device) => [device.name, device.save()])),
      tscFrequency: time.tscFrequency,
      kvmClock: BigInt(Math.floor(time.kvmClock(now))),
    };
  }

  restore(state: EngineState, now: number, lenient: boolean): void {
    if (!lenient)
      checkFeatures(state, cpuidLeaves({ index: 0, cpus: this.parts.cpus, long: true }), this.name);
    const { time, devices } = this.chips;
    const isOwn = time.name in state.chips;
    for (const device of devices) {
      const saved = state.chips[device.name];
      if (saved !== undefined) device.restore(saved);
      else if (device !== time) throw stateMismatch(`the saved state lacks ${device.name}`, '');
    }
    if (!isOwn) {
      time.reset();
      time.tscFrequency = state.tscFrequency;
      const { msrs } = state.vcpus[0]!;
      const adjust = BigInt.asIntN(64, msrs.get(MSR_TSC_ADJUST) ?? 0n);
      time.restoreTsc(Number(msrs.get(MSR_TSC) ?? 0n), Number(adjust), now);
      time.restoreKvmClock(Number(state.kvmClock ?? 0n), now);
    }
    if (time.isVirtual) time.skipTo(now);
    state.vcpus.forEach((vcpu, index) => {
      this.takeUp(index);
      writeVcpuState(this.cpuMemory, vcpu);
      this.putAside(index);
      this.cpuid.set(index, vcpu.cpuid);
    });
    Atomics.store(this.wake, RESTORED, isOwn ? Restored.fromCpu : Restored.fromKvm);
    this.wakeDevices();
  }

  get instructionCount(): number | undefined {
    const { time } = this.chips;
    return time.isVirtual ? time.instructions : undefined;
  }

  vcpuStates(): VcpuState[] {
    return this.vcpusAt(this.chips.time.now());
  }

  private vcpusAt(now: number): VcpuState[] {
    const { time, apics } = this.chips;
    return apics.map((apic, index) => {
      this.takeUp(index);
      return readVcpuState(this.cpuMemory, {
        taskPriority: apic.taskPriority,
        tsc: time.tsc(now),
        tscAdjust: time.tscAdjust,
        cpuid: this.cpuid.get(index),
      });
    });
  }

  changeVcpu(index: number, { registers = {}, system = {}, xsave }: VcpuChange): void {
    this.takeUp(index);
    applyEntry(this.cpuMemory, { registers, system });
    if (xsave !== undefined) restoreExtended(this.cpuMemory, xsave);
    this.putAside(index);
  }

  setDebug(settings: DebugSettings): void {
    if (settings.software.length + settings.hardware.length > BREAKPOINTS_MAXIMUM)
      throw new Type2Error('BREAKPOINT', `more than ${BREAKPOINTS_MAXIMUM} breakpoints`);
    writeDebugSettings(this.data.debug, settings);
  }

  interruptControllers(): InterruptControllers {
    const { apics, ioapic } = this.chips;
    return { lapics: apics.map((apic) => apic.exportPage()), redirections: ioapic.redirections };
  }

  deliverTrap(): void {}

  memoryWritten(): void {
    noteMemoryWritten(this.data.debug);
  }

  wakeDevices(): void {
    Atomics.store(this.wake, WAKE, 1);
    Atomics.notify(this.wake, WAKE);
  }

  checkHalted(): void {
    for (let index = 0; index < this.parts.cpus; index++) this.control.askHalted(index);
    this.wakeDevices();
  }

  /** The memory is WebAssembly's: it goes when nobody holds it. */
  close(): Promise<void> {
    return this.stop();
  }

  stop(): Promise<void> {
    this.stopping ??= this.stopThread();
    return this.stopping;
  }

  private async stopThread(): Promise<void> {
    this.control.request = Request.stop;
    this.wakeDevices();
    await this.exited;
  }

  /** The CPU's own place for state is free while its thread stands: states are worked on there. */
  private takeUp(index: number): void {
    const from = SAVED_STATES + index * SAVED_STATE_SIZE;
    this.cpuMemory.u8.copyWithin(State.gpr, from, from + State.end - State.gpr);
  }

  private putAside(index: number): void {
    this.cpuMemory.u8.copyWithin(SAVED_STATES + index * SAVED_STATE_SIZE, State.gpr, State.end);
  }
}
