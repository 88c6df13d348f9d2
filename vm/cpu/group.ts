/**
 * All vCPUs of a machine on one thread, in turns: what the loop of vm/vcpu-loop.ts sees as one vCPU.
 *
 * Between slices it does what on KVM is a device thread's work: console, deadlines, virtqueues. When no vCPU
 * has anything to do it sleeps until a deadline or until the main thread writes the wake word.
 */

import type { GuestConsole } from '../console.ts';
import { type Control, Request } from '../control.ts';
import { type DebugEvent, DebugKind, debugEvent } from '../debug/settings.ts';
import { type Exit, ExitReason, type Vcpu } from '../engine.ts';
import type { Platform } from '../platform.ts';
import type { Chips } from './chips.ts';
import { ACCESS_DATA, type Cpu, CpuExit } from './cpu.ts';
import type { CpuMemory } from './memory.ts';
import { RESTORED, Restored, WAKE } from './threads.ts';

/** Most instructions of a slice with virtual time, and of the first one with real time. */
const SLICE = 100_000;
/**
 * With real time a slice is to last until the next deadline, by the pace of those before, and at most so many nanoseconds:
 * console and queues wait for its end. Each end costs some microseconds, since compiled code is left for it.
 */
const SLICE_TIME = 1_000_000;
const SLICE_MINIMUM = 20_000;
const SLICE_MAXIMUM = 4_000_000;
/**
 * Instructions of a vCPU's turn, when others have something to do. A change empties the TLB, so turns are not short; a
 * vCPU that waits for another ends its own with PAUSE, as the spin locks of kernels do.
 */
const TURN = 10 * SLICE;
/** As many instructions of its turn does an exit cost a vCPU: one that polls a device must not keep others waiting. */
const EXIT_COST = 2000;
/** Without a deadline, how long to sleep at most, in ms. */
const SLEEP_MAXIMUM = 1000;

export interface CpuGroupParts {
  readonly cpu: Cpu;
  readonly cpus: number;
  readonly memory: CpuMemory;
  readonly chips: Chips;
  readonly platform: Platform;
  readonly control: Control;
  /** Statistics: instructions executed by this and all former runs. */
  readonly instructions: Float64Array;
  readonly console: GuestConsole;
  /** See {@link CpuThreadData.wake}. */
  readonly wake: Int32Array;
}

export class CpuGroup implements Vcpu {
  readonly index = 0;
  readonly exit: Exit = { address: 0, size: 1, count: 1, isWrite: false, dataOffset: ACCESS_DATA };
  readonly data: DataView;
  readonly debugEvent: DebugEvent = debugEvent(0);
  /** Serves what {@link exit} is about: the loop that this group runs in. */
  serve: (reason: ExitReason) => void = () => {};
  private readonly parts: CpuGroupParts;
  /** Instructions that are left of the selected vCPU's turn. */
  private turn = 0;
  private readonly instructionsBefore: number;
  /** Virtqueues that a driver has notified. */
  private readonly notified: { readonly device: number; readonly queue: number }[] = [];
  private nextDeadline = 0;
  /** When deadlines were looked at last. */
  private lookedAt = 0;
  /** Instructions a nanosecond, with real time. */
  private pace = SLICE / SLICE_TIME;
  /** A debugger's single step waits for a device's answer. */
  private isStepping = false;
  /** Whether the vCPUs' states are where others can see and change them. */
  private isSettled = true;

  constructor(parts: CpuGroupParts) {
    this.parts = parts;
    this.instructionsBefore = parts.instructions[0]!;
    this.data = parts.memory.data;
  }

  /**
   * Serves an access of the running instruction while that waits.
   * @returns whether guest code must be left behind it, since there is something to do here
   */
  serveAccess(): boolean {
    const { control } = this.parts;
    this.serve(this.accessOf(CpuExit.mmio));
    this.turn -= EXIT_COST;
    return (
      this.notified.length > 0 || this.nextDeadline === 0 || control.request !== Request.run || control.ended
    );
  }

  /** A queue has work; done before guest code runs again. */
  queueNotified(device: number, queue: number): void {
    this.notified.push({ device, queue });
  }

  private notifyAllQueues(): void {
    this.parts.platform.virtio.forEach(({ transport }, device) => {
      transport.queues.forEach((_, queue) => {
        this.queueNotified(device, queue);
      });
    });
  }

  /** A deadline has moved. */
  deadlineMoved(): void {
    this.nextDeadline = 0;
    // The slice was to last until the old one.
    this.parts.cpu.yield();
  }

  run(): ExitReason {
    const { cpu, control, wake } = this.parts;
    if (this.isSettled) this.takeUp();
    const half = cpu.settle();
    if (half !== CpuExit.slice) return this.accessOf(half);
    if (this.isStepping || cpu.debug.watchHit >= 0) return this.stopped();
    for (;;) {
      if (control.request !== Request.run) return ExitReason.interrupted;
      if (cpu.executed >= cpu.debug.until) {
        this.isStepping = true;
        return this.stopped();
      }
      if (Atomics.load(wake, WAKE) !== 0) {
        Atomics.store(wake, WAKE, 0);
        this.lookAround();
      }
      if (this.notified.length > 0) this.workOffQueues();
      this.expire();
      if (control.ended) return ExitReason.interrupted;
      if (!this.pick()) {
        if (this.haltedForGood()) return ExitReason.hlt;
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
      switch (this.runSelected()) {
        case CpuExit.slice:
          continue;
        case CpuExit.halted:
          this.turn = 0;
          continue;
        case CpuExit.shutdown:
          return ExitReason.shutdown;
        case CpuExit.debug:
          return this.stopped();
        case CpuExit.io:
          return this.accessOf(CpuExit.io);
        default:
          return this.accessOf(CpuExit.mmio);
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
    const index = debug.watchHit >= 0 ? debug.watchHit : debug.hit.index;
    event.hits = event.kind === DebugKind.hardware ? 1 << index : 0;
    event.addressLow = debug.linearLow();
    event.addressHigh = debug.linearHigh();
    debug.watchHit = -1;
    this.isStepping = false;
    return ExitReason.debug;
  }

  /** Runs the selected vCPU for a while. */
  private runSelected(): CpuExit {
    const { cpu, cpus, chips, instructions } = this.parts;
    const before = cpu.executed;
    let reason: CpuExit;
    if (chips.time.isVirtual) {
      // Deadlines and turns end at an exact instruction; what a slice is cut into beside that, nobody sees.
      const left = Math.max(
        1,
        Math.min(Math.ceil(this.nextDeadline - chips.time.now()), cpu.debug.until - cpu.executed),
      );
      const wanted = cpus > 1 ? Math.min(this.turn, left) : left;
      reason = cpu.run(Math.min(wanted, SLICE), wanted <= SLICE);
      this.turn -= cpu.executed - before;
    } else {
      reason = cpu.run(this.sliceLength());
      this.turn -= cpu.executed - before;
      if (reason === CpuExit.slice) this.notePace(cpu.executed - before);
    }
    if (reason === CpuExit.io || reason === CpuExit.mmio) this.turn -= EXIT_COST;
    if (cpu.hasEndedTurn) this.turn = 0;
    instructions[0] = this.instructionsBefore + cpu.executed;
    return reason;
  }

  /** Instructions until it is time to look around, with real time. */
  private sliceLength(): number {
    const time = Math.min(this.nextDeadline - this.lookedAt, SLICE_TIME);
    const longest = this.parts.cpus > 1 ? this.turn : SLICE_MAXIMUM;
    return Math.max(SLICE_MINIMUM, Math.min(Math.round(time * this.pace), longest));
  }

  /** A slice is over. It may have gone slowly for the host's sake: that it gets faster is believed the second time. */
  private notePace(instructions: number): void {
    const pace = instructions / Math.max(1, this.parts.chips.time.now() - this.lookedAt);
    this.pace = pace < this.pace ? pace : (pace + this.pace) / 2;
  }

  /** Goes on from the states that were put aside, which may be others by now. */
  private takeUp(): void {
    const { cpu, chips, wake } = this.parts;
    const { time } = chips;
    this.isSettled = false;
    this.nextDeadline = 0;
    this.turn = time.turn;
    cpu.executed = time.instructions;
    const restored = Atomics.exchange(wake, RESTORED, Restored.no);
    if (restored !== Restored.no) cpu.forgetCode();
    cpu.reloadDebug();
    cpu.takeUp(time.current);
    if (restored !== Restored.fromKvm) return;
    this.notifyAllQueues();
    cpu.msrs.updateSystemTimes();
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
      if (index !== cpu.index || this.turn <= 0) this.turn = TURN;
      cpu.select(index);
      return true;
    }
    return false;
  }

  private lookAround(): void {
    const { platform, control, cpu, cpus } = this.parts;
    const { serial, acpiPm } = platform;
    serial.state.lock.acquire();
    if (!serial.hasReceived) serial.inputReady();
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
    const now = this.parts.chips.time.now();
    this.lookedAt = now;
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

  /** Until the next deadline; virtual time jumps there, unless there is none. */
  private sleep(): void {
    const { chips, wake } = this.parts;
    const { time } = chips;
    const next = this.earliest();
    if (time.isVirtual && next !== Number.POSITIVE_INFINITY) {
      time.skipTo(next);
      return;
    }
    const milliseconds = Math.min((next - time.now()) / 1e6, SLEEP_MAXIMUM);
    if (milliseconds <= 0) return;
    Atomics.wait(wake, WAKE, 0, milliseconds);
  }

  settle(): ExitReason {
    const { cpu, chips } = this.parts;
    const { time } = chips;
    if (this.isSettled) return ExitReason.interrupted;
    const half = cpu.settle();
    if (half !== CpuExit.slice) return this.accessOf(half);
    while (this.notified.length > 0) this.workOffQueues();
    cpu.putAside();
    time.current = cpu.index;
    time.turn = this.turn;
    time.instructions = cpu.executed;
    this.isSettled = true;
    return ExitReason.interrupted;
  }

  haltedForGood(): boolean {
    const { cpu, cpus } = this.parts;
    return Array.from({ length: cpus }, (_, index) => cpu.haltedForGood(index)).every(Boolean);
  }

  describeFailure(): string {
    return 'the CPU has stopped';
  }
}
