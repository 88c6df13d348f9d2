/**
 * All vCPUs of a machine on one thread, in turns: what the loop of vm/vcpu-loop.ts sees as one vCPU.
 *
 * Between slices it does what on KVM is a device thread's work: console, deadlines, virtqueues. When no vCPU
 * has anything to do it sleeps until a deadline or until the main thread writes the wake word.
 */
import type { Clock } from '../../devices/device.ts';
import { type Control, Request } from '../control.ts';
import { type DebugEvent, DebugKind, debugEvent } from '../debug/settings.ts';
import { type Exit, ExitReason, type Vcpu } from '../engine.ts';
import type { Platform } from '../platform.ts';
import type { Chips } from './chips.ts';
import { ACCESS_DATA, type Cpu, CpuExit } from './cpu.ts';
import type { CpuMemory } from './memory.ts';

/** Instructions between two looks at the clock, about a tenth of a millisecond of compiled code. */
const SLICE = 100_000;
/** Without a deadline, how long to sleep at most, in ms. */
const SLEEP_MAXIMUM = 1000;

export interface CpuGroupParts {
  readonly cpu: Cpu;
  readonly cpus: number;
  readonly memory: CpuMemory;
  readonly chips: Chips;
  readonly platform: Platform;
  readonly control: Control;
  readonly clock: Clock;
  /** Written and notified by the main thread when there is something to look at. */
  readonly wake: Int32Array;
}

export class CpuGroup implements Vcpu {
  readonly index = 0;
  readonly exit: Exit = { address: 0, size: 1, count: 1, isWrite: false, dataOffset: ACCESS_DATA };
  readonly data: DataView;
  readonly debugEvent: DebugEvent = debugEvent(0);
  private readonly parts: CpuGroupParts;
  /** Instructions that are left of the selected vCPU's turn. */
  private turn = SLICE;
  /** Virtqueues that a driver has notified. */
  private readonly notified: { readonly device: number; readonly queue: number }[] = [];
  private nextDeadline = 0;
  private isSettled = false;
  /** A debugger's single step waits for a device's answer. */
  private isStepping = false;

  constructor(parts: CpuGroupParts) {
    this.parts = parts;
    this.data = parts.memory.data;
  }

  /** A queue has work; done before guest code runs again. */
  queueNotified(device: number, queue: number): void {
    this.notified.push({ device, queue });
  }

  /** A deadline has moved. */
  deadlineMoved(): void {
    this.nextDeadline = 0;
  }

  run(): ExitReason {
    const { cpu, control, wake } = this.parts;
    if (this.isSettled) {
      // What was stored may be another state by now.
      this.isSettled = false;
      this.nextDeadline = 0;
      cpu.reloadDebug();
      cpu.load();
    }
    const half = cpu.settle();
    if (half !== CpuExit.slice) return this.accessOf(half);
    if (this.isStepping || cpu.debug.watchHit >= 0) return this.stopped();
    for (;;) {
      if (control.request !== Request.run) return ExitReason.interrupted;
      if (Atomics.load(wake, 0) !== 0) {
        Atomics.store(wake, 0, 0);
        this.lookAround();
      }
      if (this.notified.length > 0) this.workOffQueues();
      this.expire();
      if (control.ended) return ExitReason.interrupted;
      if (!this.pick()) {
        this.sleep();
        continue;
      }
      if (cpu.debug.step >= 0) {
        const reason = cpu.debugStep();
        if (reason === CpuExit.halted) continue;
        this.isStepping = true;
        if (reason === CpuExit.slice) return this.stopped();
        if (reason === CpuExit.shutdown) return ExitReason.shutdown;
        return this.accessOf(reason);
      }
      const before = cpu.executed;
      const reason = cpu.run(SLICE);
      this.turn -= cpu.executed - before;
      switch (reason) {
        case CpuExit.slice:
        case CpuExit.halted:
          this.turn = 0;
          continue;
        case CpuExit.shutdown:
          return ExitReason.shutdown;
        case CpuExit.debug:
          return this.stopped();
        default:
          return this.accessOf(reason);
      }
    }
  }

  /** A stop for the debugger: a watchpoint that was hit, a step that is done, else a breakpoint. */
  private stopped(): ExitReason {
    const { cpu } = this.parts;
    const { debug } = cpu;
    const { debugEvent: event } = this;
    event.vcpu = cpu.index;
    event.kind = debug.watchHit >= 0 ? DebugKind.hardware : this.isStepping ? DebugKind.step : debug.hit.kind;
    event.detail = debug.watchHit >= 0 ? debug.watchHit : debug.hit.index;
    event.addressLow = debug.linearLow();
    event.addressHigh = debug.linearHigh();
    debug.watchHit = -1;
    this.isStepping = false;
    return ExitReason.debug;
  }

  /** What the exit is about. */
  private accessOf(reason: CpuExit): ExitReason {
    const { cpu } = this.parts;
    const { access } = cpu;
    this.exit.address = access.address;
    this.exit.size = access.bytes;
    this.exit.isWrite = access.isWrite;
    return reason === CpuExit.io || cpu.isPortExit ? ExitReason.io : ExitReason.mmio;
  }

  /** Selects the next vCPU that has something to do. @returns whether there is one */
  private pick(): boolean {
    const { cpu, cpus } = this.parts;
    const { step } = cpu.debug;
    if (step >= 0) {
      if (!cpu.canRun(step)) return false;
      cpu.select(step);
      return true;
    }
    const first = this.turn > 0 ? cpu.index : cpu.index + 1;
    for (let i = 0; i < cpus; i++) {
      const index = (first + i) % cpus;
      if (!cpu.canRun(index)) continue;
      if (index !== cpu.index || this.turn <= 0) this.turn = SLICE;
      cpu.select(index);
      return true;
    }
    return false;
  }

  private lookAround(): void {
    const { platform, control, cpu, cpus } = this.parts;
    const { serial, acpiPm } = platform;
    serial.state.lock.acquire();
    serial.inputReady();
    serial.outputDrained();
    serial.state.lock.release();
    if (control.takePowerButton()) {
      acpiPm.state.lock.acquire();
      acpiPm.pressPowerButton();
      acpiPm.state.lock.release();
    }
    for (let index = 0; index < cpus; index++) {
      if (control.takeHaltedQuestion(index)) control.setHalted(index, cpu.haltedForGood(index));
    }
  }

  private workOffQueues(): void {
    const tasks = this.notified.splice(0);
    for (const task of tasks) if (this.parts.platform.work(task.device, task.queue)) this.notified.push(task);
  }

  private expire(): void {
    const now = this.parts.clock.now();
    if (now < this.nextDeadline) return;
    const { platform, chips } = this.parts;
    for (const device of platform.timed) if (device.deadline() <= now) device.expire(now);
    for (const device of chips.timed) if (device.deadline() <= now) device.expire(now);
    this.nextDeadline = this.earliest();
  }

  private earliest(): number {
    const { platform, chips } = this.parts;
    let next = Number.POSITIVE_INFINITY;
    for (const device of platform.timed) next = Math.min(next, device.deadline());
    for (const device of chips.timed) next = Math.min(next, device.deadline());
    return next;
  }

  private sleep(): void {
    const { clock, wake } = this.parts;
    const milliseconds = Math.min((this.earliest() - clock.now()) / 1e6, SLEEP_MAXIMUM);
    if (milliseconds <= 0) return;
    Atomics.wait(wake, 0, 0, milliseconds);
  }

  settle(): void {
    const { cpu } = this.parts;
    cpu.settle();
    cpu.store();
    this.isSettled = true;
  }

  haltedForGood(): boolean {
    const { cpu, cpus } = this.parts;
    return Array.from({ length: cpus }, (_, index) => cpu.haltedForGood(index)).every(Boolean);
  }

  describeFailure(): string {
    return 'the CPU has stopped';
  }
}
