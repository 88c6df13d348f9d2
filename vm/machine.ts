/**
 * The machine: puts RAM, devices, vCPUs and a guest together on an engine, and leads them through their
 * life: create, start, pause, resume, reset, stop. It lives on the main thread and knows its engine only
 * by engine.ts.
 *
 * A reset makes a new engine: interrupt controllers, timers and CPUs that were never used are in their
 * reset state for certain. The console and the statistics go on.
 */
import { EventEmitter } from 'node:events';
import { Type2Error } from '../devices/errors.ts';
import type { GuestMemory } from '../devices/memory.ts';
import type { AnyDeviceModule } from '../devices/module.ts';
import { type GuestSource, loadGuest } from './boot/load.ts';
import { monotonicNow } from './clock.ts';
import { consoleBuffers, HostConsole } from './console.ts';
import { Control, Request } from './control.ts';
import type { DebugEvent, DebugKind, DebugSettings } from './debug/settings.ts';
import { moduleStateBytes } from './device-modules.ts';
import type {
  Engine,
  EngineCapabilities,
  EngineDriver,
  EngineEvents,
  InterruptControllers,
} from './engine.ts';
import {
  type MachineState,
  portBToChips,
  portBToPlatform,
  restoreRam,
  saveRam,
  stateMismatch,
} from './machine-state.ts';
import type { Outcome } from './outcome.ts';
import type { DiskPart, MachineParts, ModulePart, NetPart } from './parts.ts';
import { buildPlatform, DEVICE_STATE_BYTES, type Platform, type PlatformHost } from './platform.ts';
import { gatherStatistics, type Statistics, statisticsBuffer } from './statistics.ts';
import { MachineTrace, type TraceOptions } from './trace/machine-trace.ts';
import type { VcpuChange, VcpuState } from './vcpu-state.ts';
import { type MachineView, machineView } from './view.ts';

/** How often the machine looks whether all vCPUs have halted for good, in ms. */
const HALT_CHECK_MS = 500;

/** What to make a machine of. Checked already: see src/config.ts. */
export interface MachineOptions {
  readonly driver: EngineDriver;
  /** Bytes of RAM, a multiple of 4096. */
  readonly memory: number;
  readonly cpus: number;
  readonly disks: readonly DiskPart[];
  readonly nets: readonly NetPart[];
  readonly rng: boolean;
  /** Devices whose code is a user's, and the same, loaded; none if absent. */
  readonly modules?: { readonly parts: readonly ModulePart[]; readonly loaded: readonly AnyDeviceModule[] };
  readonly debugExit: boolean;
  /** Virtual time and seeded random numbers; the driver has {@link EngineCapabilities.virtualTime}. */
  readonly deterministic: boolean;
  /** See {@link MachineParts.portable}. */
  readonly portable: boolean;
  readonly guest: GuestSource;
  /** What to do when the guest asks for a reset: start it anew, or end the run. */
  readonly onReset: 'restart' | 'end';
  /** What is traced; nothing if absent. */
  readonly trace?: TraceOptions | undefined;
}

/** What a machine says while it lives. */
export interface MachineEventMap {
  /** The guest marked a moment of its boot. Time in ms since the machine was started. */
  'boot-mark': [mark: number, milliseconds: number];
  /** The guest asked for a reset and is being started anew. */
  reset: [];
  /** The guest has run for the last time; {@link Machine.inspect} still sees it, in this event only. */
  stopped: [];
  /** A vCPU has stopped for the debugger, or a reset under {@link Machine.haltsOnReset}; the machine is paused. */
  'debug-stop': [];
}

const NO_MODULES = { parts: [], loaded: [] };

/** For messages. */
const STATE_TEXT = { running: 'is running', ended: 'has ended' } as const;

type Phase = 'created' | 'running' | 'paused' | 'stopped' | 'ended';

/** One machine, for one run from power-on to its end. */
export class Machine extends EventEmitter<MachineEventMap> {
  readonly console: HostConsole;
  /** Resolved when the run has ended and everything is given back. Never rejected. */
  readonly ended: Promise<Outcome>;
  /** What happens in the machine, when it is traced. */
  readonly trace: MachineTrace | undefined;
  private readonly options: MachineOptions;
  private readonly parts: MachineParts;
  private readonly control: Control;
  private platform: Platform;
  private engine: Engine;
  private phase: Phase = 'created';
  private failure: Error | undefined;
  private finish!: (outcome: Outcome) => void;
  private ending = false;
  private concluding: Promise<void> = Promise.resolve();
  private stopping: 'stopped' | 'timeout' | undefined;
  private haltTimer: NodeJS.Timeout | undefined;
  private lastExits: number[] = [];
  private pausedAt = 0;
  private startedAt = 0;

  /**
   * Makes a machine with its guest loaded, ready to start.
   * @throws BootError when the guest can't be loaded, HostError when the host refuses something
   */
  constructor(options: MachineOptions) {
    super();
    this.options = options;
    const {
      memory,
      cpus,
      disks,
      nets,
      rng,
      modules = NO_MODULES,
      debugExit,
      deterministic,
      portable,
      trace,
    } = options;
    this.trace = trace && new MachineTrace(trace, cpus, () => this.platform);
    this.parts = {
      memory,
      cpus,
      disks,
      nets,
      rng,
      modules: modules.parts,
      debugExit,
      deterministic,
      portable,
      control: Control.buffer(cpus),
      deviceState: new SharedArrayBuffer(DEVICE_STATE_BYTES + moduleStateBytes(modules.loaded)),
      statistics: statisticsBuffer(cpus),
      console: consoleBuffers(deterministic),
      ...(this.trace === undefined ? {} : { trace: this.trace.part }),
    };
    this.control = new Control(this.parts.control);
    this.control.onOutcome = () => this.runEnded();
    this.console = new HostConsole(this.parts.console, () => this.engine.wakeDevices());
    this.ended = new Promise((resolve) => {
      this.finish = resolve;
    });
    this.engine = this.assemble();
    this.platform = this.powerOn();
    this.pausedAt = monotonicNow();
  }

  /** Name of the engine that runs the guest. */
  get engineName(): string {
    return this.engine.name;
  }

  /**
   * Lets the guest run.
   * @param paused - whether it shall stand before its first instruction, until {@link Machine.resume}
   * @throws HostError when a thread can't start
   */
  async start(paused = false): Promise<void> {
    this.expect('start', 'created');
    this.phase = paused ? 'paused' : 'running';
    this.control.clockBase += monotonicNow() - this.pausedAt;
    if (paused) this.standStill();
    this.startedAt = monotonicNow();
    this.trace?.begin(this.startedAt);
    this.watchForHalt();
    await this.startEngine();
  }

  /** Stops the guest between two instructions. Machine time stands still. @throws Type2Error also when the guest ends instead */
  async pause(): Promise<void> {
    this.expect('pause', 'running');
    this.phase = 'paused';
    await this.engine.pause();
    while (this.ending) {
      // The run has ended meanwhile: for good, or for a reset, after which another engine runs.
      await this.concluding;
      if (this.is('ended')) break;
      await this.engine.pause();
    }
    this.expect('pause', 'paused');
    this.pausedAt = monotonicNow();
  }

  /** Lets a paused guest go on. */
  resume(): void {
    // The run may have been ended while a debugger had it stand.
    if (this.hasEnded) return;
    this.expect('resume', 'paused');
    this.control.clockBase += monotonicNow() - this.pausedAt;
    this.phase = 'running';
    this.engine.resume();
  }

  // For debuggers, while the machine is paused or not started

  /** Whether a reset pauses the machine before the guest's first instruction, with a `debug-stop`. */
  haltsOnReset = false;

  /** Whether the run is over, or about to be: nothing of the machine can be looked at any more. */
  get hasEnded(): boolean {
    return this.ending || this.phase === 'ended';
  }

  get isRunning(): boolean {
    return this.phase === 'running';
  }

  get cpus(): number {
    return this.parts.cpus;
  }

  get memory(): GuestMemory {
    return this.engine.memory;
  }

  get capabilities(): EngineCapabilities {
    return this.engine.capabilities;
  }

  /** The devices, on buses of the main thread's. */
  get devices(): Platform {
    return this.platform;
  }

  vcpuStates(): VcpuState[] {
    this.expectStanding('look at');
    return this.engine.vcpuStates();
  }

  /** Sets some of a vCPU's registers. @throws HostError when the host refuses them */
  changeVcpu(index: number, change: VcpuChange): void {
    this.expectStanding('change');
    this.engine.changeVcpu(index, change);
  }

  /** What vCPUs stop at. @throws Type2Error with code `BREAKPOINT` when something can't be set */
  setDebug(settings: DebugSettings): void {
    this.expectStanding('set breakpoints in');
    this.engine.setDebug(settings);
  }

  /** See {@link Engine.instructionCount}. */
  get instructionCount(): number | undefined {
    return this.engine.instructionCount;
  }

  interruptControllers(): InterruptControllers {
    this.expectStanding('look at');
    return this.engine.interruptControllers();
  }

  /** See {@link Engine.deliverTrap}. */
  deliverTrap(vcpu: number, kind: DebugKind): void {
    this.engine.deliverTrap(vcpu, kind);
  }

  /** A debugger has written guest RAM. */
  memoryWritten(): void {
    this.engine.memoryWritten();
  }

  /** Why vCPUs have stopped since the last time. */
  takeDebugStops(): DebugEvent[] {
    const stops: DebugEvent[] = [];
    for (let vcpu = 0; vcpu < this.parts.cpus; vcpu++) {
      const stop = this.control.takeDebugStop(vcpu);
      if (stop !== undefined) stops.push(stop);
    }
    return stops;
  }

  private async stoppedForDebugger(): Promise<void> {
    if (this.phase !== 'running' || this.ending) return;
    await this.pause();
    this.emit('debug-stop');
  }

  /** Has the threads that are about to start stand until {@link Machine.resume}. */
  private standStill(): void {
    this.control.request = Request.pause;
    this.pausedAt = monotonicNow();
  }

  private expectStanding(what: string): void {
    if (this.phase === 'created') return;
    this.expect(what, 'paused');
  }

  /** Presses the power button: a guest that listens shuts itself down. */
  pressPowerButton(): void {
    this.control.pressPowerButton();
    this.engine.wakeDevices();
  }

  /** Ends the run, whatever the guest is doing. Resolved when everything is given back. */
  async stop(kind: 'stopped' | 'timeout' = 'stopped'): Promise<void> {
    // A machine that is just being started anew has ended already, by a reset: it heeds this when it has.
    this.stopping ??= kind;
    this.control.end(kind);
    await this.ended;
  }

  /** Exits and device accesses so far. */
  statistics(): Statistics {
    return gatherStatistics(
      this.parts.statistics,
      this.parts.cpus,
      this.platform.pio.names,
      this.platform.mmio.names,
    );
  }

  /**
   * All of the machine in a form that is the same for every engine: RAM, vCPUs, devices, interrupt controllers, time.
   * What its disks hold is not in it, nor console input that the guest has not read.
   * @throws Type2Error when the machine isn't paused
   */
  save(): MachineState {
    this.expect('save', 'paused');
    const clock = this.options.deterministic
      ? this.engine.clock.now()
      : this.pausedAt - this.control.clockBase;
    const devices = this.platform.devices.map((device) => [device.name, device.save()] as const);
    return {
      version: 1,
      memory: this.options.memory,
      clock,
      ...portBToPlatform(this.engine.save(clock), Object.fromEntries(devices)),
      ram: saveRam(this.engine.memory),
    };
  }

  /** What the guest is like now. @throws Type2Error when it runs, or the machine has ended */
  inspect(): MachineView {
    if (this.phase === 'running' || this.phase === 'ended') {
      throw new Type2Error('MACHINE_STATE', `can't inspect a machine that ${STATE_TEXT[this.phase]}`, {
        hint: 'Pause it, or look at it in the event `stopped`.',
      });
    }
    const devices = this.platform.devices.map((device) => [device.name, device.save()] as const);
    const { vcpus } = this.engine.save(this.engine.clock.now());
    return machineView(vcpus, Object.fromEntries(devices), this.engine.memory);
  }

  /**
   * Takes back what {@link Machine.save} gave, of this machine or of another with the same parts: it goes on from
   * there when it is resumed, or started.
   * @param lenient - takes a guest that was promised CPU features, or a rate of the TSC, that this engine lacks
   * @throws Type2Error when the machine is neither paused nor new, or with code `STATE_MISMATCH` for a state that
   * isn't one of such a machine; SavedStateError for one that is broken. It can't go on then.
   */
  restore(state: MachineState, lenient = false): void {
    if (this.phase !== 'created') this.expect('restore', 'paused');
    this.checkFits(state);
    // Time stands at what it was.
    this.control.clockBase = this.pausedAt - state.clock;
    restoreRam(this.engine.memory, state.ram);
    this.engine.restore(portBToChips(state), state.clock, lenient);
    for (const device of this.platform.devices) device.restore(state.devices[device.name]!);
    // Deadlines are others now than those that the device thread waits for.
    this.engine.wakeDevices();
  }

  private checkFits(state: MachineState): void {
    const hint = 'A state fits a machine with the same RAM, vCPUs and devices.';
    if (state.version !== 1)
      throw stateMismatch(`a saved state of version ${state.version}`, 'This Type2 knows version 1.');
    if (state.memory !== this.options.memory)
      throw stateMismatch(
        `the saved state has ${state.memory} bytes of RAM, not ${this.options.memory}`,
        hint,
      );
    if (state.engine.vcpus.length !== this.options.cpus)
      throw stateMismatch(
        `the saved state has ${state.engine.vcpus.length} vCPUs, not ${this.options.cpus}`,
        hint,
      );
    const here = this.platform.devices.map(({ name }) => name).sort();
    const there = Object.keys(state.devices).sort();
    if (here.join() !== there.join())
      throw stateMismatch(`the saved state has devices ${there.join(', ')}, not ${here.join(', ')}`, hint);
  }

  /** A fresh engine with RAM, nothing loaded. */
  private assemble(): Engine {
    const events: EngineEvents = {
      consoleOutput: () => this.console.outputReady(),
      ended: () => this.runEnded(),
      debugStop: () => void this.stoppedForDebugger(),
      bootMark: (mark, time) => this.emit('boot-mark', mark, (time - this.startedAt) / 1e6),
      failed: (error) => {
        this.failure ??= error;
        this.control.end('error');
        this.runEnded();
      },
    };
    this.control.begin();
    this.control.clockBase = monotonicNow();
    return this.options.driver.create(this.parts, events);
  }

  /** Resets the devices and loads the guest. */
  private powerOn(): Platform {
    try {
      const host: PlatformHost = {
        memory: this.engine.memory,
        clock: this.engine.clock,
        alarm: { deadlineMoved: () => {} },
        control: this.control,
        console: { send: () => false, receive: () => -1 },
        counters: { pio: new Float64Array(64), mmio: new Float64Array(64) },
        irqLine: () => ({ setLevel: () => {}, pulse: () => {} }),
        queueNotified: () => {},
        bootMark: () => {},
        ...(this.engine.capabilities.platformTimer
          ? { timer2: { setGate: () => {}, output: () => false } }
          : {}),
      };
      const platform = buildPlatform(this.parts, host, this.options.modules?.loaded);
      this.engine.mapDevices(platform.pio, platform.mmio);
      this.trace?.check(platform);
      for (const device of platform.devices) device.reset();
      const entry = loadGuest({
        ...this.options.guest,
        memory: this.engine.memory,
        cpus: this.parts.cpus,
        virtio: platform.virtio.map(({ slot }) => slot),
      });
      this.engine.setEntry(entry);
      return platform;
    } catch (error) {
      void this.engine.close();
      throw error;
    }
  }

  private async startEngine(): Promise<void> {
    try {
      await this.engine.start();
    } catch (error) {
      this.failure ??= error as Error;
      this.control.end('error');
      await this.ended;
      throw error;
    }
  }

  /** Something has written an outcome: brings the threads to rest, then restarts or finishes. */
  private runEnded(): void {
    if (this.ending || !this.control.ended) return;
    this.ending = true;
    this.concluding = this.conclude();
  }

  private async conclude(): Promise<void> {
    await this.engine.stop();
    const kind = this.control.outcome;
    if (kind === 'none') throw new Type2Error('INTERNAL', 'a run ended without an outcome');
    if (kind === 'reset' && this.options.onReset === 'restart' && this.stopping === undefined) {
      await this.engine.close();
      await this.restart();
      return;
    }
    clearInterval(this.haltTimer);
    this.phase = 'stopped';
    try {
      this.emit('stopped');
    } finally {
      await this.engine.close();
    }
    this.phase = 'ended';
    this.console.end();
    void this.trace?.end();
    this.finish({
      kind: kind === 'reset' ? (this.stopping ?? kind) : kind,
      ...(kind === 'debug-exit' ? { value: this.control.outcomeValue } : {}),
      ...(this.failure === undefined ? {} : { error: this.failure }),
    });
  }

  private async restart(): Promise<void> {
    this.emit('reset');
    try {
      this.engine = this.assemble();
      this.platform = this.powerOn();
      this.ending = false;
      this.lastExits = [];
      this.phase = this.haltsOnReset ? 'paused' : 'running';
      if (this.haltsOnReset) this.standStill();
      await this.engine.start();
      if (this.haltsOnReset) this.emit('debug-stop');
      if (this.stopping !== undefined) this.control.end(this.stopping);
    } catch (error) {
      this.failure ??= error as Error;
      this.ending = false;
      this.control.end('error');
    }
  }

  /** A guest that halts with interrupts off will never run again, but nothing else says so. */
  private watchForHalt(): void {
    this.haltTimer = setInterval(() => {
      if (this.phase !== 'running' || this.ending) return;
      const indices = Array.from({ length: this.parts.cpus }, (_, i) => i);
      const exits = indices.map((i) => this.control.exits(i));
      const still = exits.every((count, i) => count === this.lastExits[i]);
      this.lastExits = exits;
      if (!still) return;
      if (indices.every((i) => this.control.isHalted(i))) {
        this.control.end('halted');
        return;
      }
      this.engine.checkHalted();
    }, HALT_CHECK_MS);
    this.haltTimer.unref();
  }

  private is(phase: Phase): boolean {
    return this.phase === phase;
  }

  private expect(what: string, phase: Phase): void {
    if (this.is(phase)) return;
    throw new Type2Error('MACHINE_STATE', `can't ${what} a machine that is ${this.phase}`);
  }
}
