/**
 * A debugger's view of a machine, the same for every engine: vCPUs that stop and go, their registers, memory by
 * linear address, breakpoints. What gdb and the monitor speak to.
 *
 * All vCPUs stop and go together. A step is done by one vCPU alone, and takes no interrupt.
 */
import { EventEmitter } from 'node:events';
import { Type2Error } from '../../devices/errors.ts';
import { GuestAddressError } from '../../devices/memory.ts';
import type { Machine } from '../machine.ts';
import type { MachineState } from '../machine-state.ts';
import type { VcpuChange, VcpuState } from '../vcpu-state.ts';
import { type PageWalk, walkPages } from './page-walk.ts';
import {
  type DebugEvent,
  DebugKind,
  type DebugSettings,
  type HardwareAccess,
  type HardwareBreakpoint,
} from './settings.ts';

/** Why the machine stands. */
export interface DebugStop {
  /** The vCPU that it is about. */
  readonly vcpu: number;
  readonly reason: 'step' | 'breakpoint' | 'hardware' | 'interrupted' | 'reset';
  /** For `hardware`: which. */
  readonly hardware?: HardwareBreakpoint;
}

/** What a debugger says. */
export interface DebuggerEventMap {
  /** The machine has stopped. */
  stop: [stop: DebugStop];
}

const PAGE = 4096;
/** Instructions between two states that are kept to go back to: about a second's worth. */
const CHECKPOINT_INSTRUCTIONS = 100e6;
const CHECKPOINTS_MAXIMUM = 5;

/** Debugs one machine. */
export class Debugger extends EventEmitter<DebuggerEventMap> {
  readonly machine: Machine;
  private readonly software = new Set<bigint>();
  private readonly hardware: HardwareBreakpoint[] = [];
  private stepping: number | undefined;
  /** The count of instructions that the machine runs to. */
  private until: number | undefined;
  /** States to go back to, in order of time. */
  private readonly checkpoints: { readonly instructions: number; readonly state: MachineState }[] = [];
  /** What the engine was told last of {@link hardware}: stops name it by index. */
  private armed: readonly HardwareBreakpoint[] = [];
  /** Stops of other vCPUs at the same time, which nobody has heard of yet. */
  private readonly waiting: DebugStop[] = [];
  /** While the machine stands. */
  private states: VcpuState[] | undefined;

  constructor(machine: Machine) {
    super();
    this.machine = machine;
    machine.haltsOnReset = true;
    machine.on('debug-stop', this.onStop);
  }

  /** Takes all breakpoints away and lets the machine run. */
  detach(): void {
    this.machine.off('debug-stop', this.onStop);
    this.machine.haltsOnReset = false;
    this.removeAll();
    if (!this.machine.isRunning && !this.machine.hasEnded) this.resume();
  }

  get isRunning(): boolean {
    return this.machine.isRunning;
  }

  // Stopping and going

  /** Lets all vCPUs run until something stops them. */
  resume(): void {
    this.go(undefined);
  }

  /**
   * Lets a vCPU do one instruction. In a run that repeats itself, whichever vCPU's turn it is does one, or takes an
   * interrupt that is due: anything else would not be repeated.
   */
  step(vcpu: number): void {
    const count = this.machine.instructionCount;
    if (count === undefined) this.go(vcpu);
    else this.go(undefined, count + 1);
  }

  /**
   * Undoes instructions, in a run that repeats itself: takes up a state from before and runs to where it shall be.
   * What disks hold, and console input, is not taken back.
   * @throws Type2Error with code `BACK` where that can't be done
   */
  back(instructions: number): void {
    const count = this.machine.instructionCount;
    if (count === undefined) {
      throw new Type2Error('BACK', 'only a run that repeats itself can go back', {
        hint: 'Start it with --deterministic, which needs --engine jit or interp.',
      });
    }
    const target = count - instructions;
    const from = this.checkpoints.findLast((checkpoint) => checkpoint.instructions <= target);
    if (from === undefined) {
      throw new Type2Error(
        'BACK',
        `that is before the beginning: ${count - (this.checkpoints[0]?.instructions ?? count)} instructions can be undone`,
      );
    }
    this.machine.restore(from.state);
    this.states = undefined;
    // Breakpoints on the way are none: nobody wants to stop there.
    this.run({ software: [], hardware: [], step: undefined, until: target });
  }

  /** Stops the machine, wherever it is. Nothing happens when it stands. */
  async interrupt(): Promise<void> {
    if (!this.machine.isRunning || this.machine.hasEnded) return;
    await this.machine.pause();
    if (this.machine.hasEnded) return;
    const [first] = this.take();
    this.stopped(first ?? { vcpu: this.stepping ?? 0, reason: 'interrupted' });
  }

  private go(step: number | undefined, until?: number): void {
    const next = step === undefined && until === undefined ? this.waiting.shift() : undefined;
    if (next !== undefined) {
      queueMicrotask(() => this.stopped(next));
      return;
    }
    this.waiting.length = 0;
    this.keepCheckpoint();
    this.run({ software: [...this.software], hardware: [...this.hardware], step, until });
  }

  private run(settings: DebugSettings): void {
    this.stepping = settings.step;
    this.until = settings.until;
    this.armed = settings.hardware;
    this.machine.setDebug(settings);
    this.states = undefined;
    this.machine.resume();
  }

  /** Keeps the state to go back to, at the beginning and now and then. */
  private keepCheckpoint(): void {
    const count = this.machine.instructionCount;
    if (count === undefined) return;
    const last = this.checkpoints.at(-1);
    if (last !== undefined && count - last.instructions < CHECKPOINT_INSTRUCTIONS) return;
    this.checkpoints.push({ instructions: count, state: this.machine.save() });
    // The beginning stays.
    if (this.checkpoints.length > CHECKPOINTS_MAXIMUM) this.checkpoints.splice(1, 1);
  }

  private readonly onStop = (): void => {
    const stops = this.machine.takeDebugStops();
    if (stops.length === 0) {
      this.stopped({ vcpu: 0, reason: 'reset' });
      return;
    }
    const [first, ...others] = this.sort(stops);
    // The guest's own INT3 or trap, and nothing of ours: it goes on as if nothing had been.
    if (first === undefined) {
      this.go(this.stepping, this.until);
      return;
    }
    this.waiting.push(...others);
    this.stopped(first);
  };

  private stopped(stop: DebugStop): void {
    this.emit('stop', stop);
  }

  private take(): DebugStop[] {
    return this.sort(this.machine.takeDebugStops());
  }

  /** Stops that are the debugger's; the guest gets what is its own. */
  private sort(events: readonly DebugEvent[]): DebugStop[] {
    const stops: DebugStop[] = [];
    for (const event of events) {
      const { vcpu, kind, hits } = event;
      const hardware = this.armed.find((_, index) => hits & (1 << index));
      if (hardware !== undefined) stops.push({ vcpu, reason: 'hardware', hardware });
      else if (kind === DebugKind.step && (this.stepping === vcpu || this.until !== undefined))
        stops.push({ vcpu, reason: 'step' });
      else if ((kind !== DebugKind.step || hits !== 0) && this.isOurs(event))
        stops.push({ vcpu, reason: 'breakpoint' });
      else this.machine.deliverTrap(vcpu, kind as DebugKind);
    }
    return stops;
  }

  private isOurs({ addressLow, addressHigh }: DebugEvent): boolean {
    const address = (BigInt(addressHigh >>> 0) << 32n) | BigInt(addressLow >>> 0);
    return this.software.has(address);
  }

  // Breakpoints: they take effect when the machine goes on

  /**
   * Stops at an instruction.
   * @throws Type2Error with code `BREAKPOINT` when it can't be set
   */
  addBreakpoint(address: bigint): void {
    if (this.software.has(address)) return;
    this.software.add(address);
    this.tryOut(() => this.software.delete(address));
  }

  removeBreakpoint(address: bigint): void {
    this.software.delete(address);
  }

  /**
   * Stops at an instruction, or after an access to some bytes, by the processor's debug registers.
   * @throws Type2Error with code `BREAKPOINT` when there are none left
   */
  addHardware(address: bigint, length: number, access: HardwareAccess): void {
    const parts = watchable(address, length, access);
    this.hardware.push(...parts);
    this.tryOut(() => this.hardware.splice(this.hardware.length - parts.length));
  }

  removeHardware(address: bigint, length: number, access: HardwareAccess): void {
    for (const part of watchable(address, length, access)) {
      const at = this.hardware.findIndex(
        (one) => one.address === part.address && one.length === part.length && one.access === access,
      );
      if (at >= 0) this.hardware.splice(at, 1);
    }
  }

  removeAll(): void {
    this.software.clear();
    this.hardware.length = 0;
    this.waiting.length = 0;
  }

  /** Has the engine check the settings; takes them back when it refuses. */
  private tryOut(undo: () => void): void {
    try {
      this.machine.setDebug({
        software: [...this.software],
        hardware: this.hardware,
        step: undefined,
      });
    } catch (error) {
      undo();
      throw error;
    }
  }

  // Registers and memory, while the machine stands

  /** A vCPU's state. */
  state(vcpu: number): VcpuState {
    this.states ??= this.machine.vcpuStates();
    return this.states[vcpu]!;
  }

  /** @throws HostError when the host refuses the values */
  change(vcpu: number, change: VcpuChange): void {
    this.states = undefined;
    this.machine.changeVcpu(vcpu, change);
  }

  /** Linear address of the vCPU's next instruction. */
  linearPc(vcpu: number): bigint {
    const { registers, system } = this.state(vcpu);
    return is64Bit(this.state(vcpu)) ? registers.rip : BigInt.asUintN(32, registers.rip + system.cs.base);
  }

  walk(vcpu: number, linear: bigint): PageWalk {
    return walkPages(this.machine.memory, this.state(vcpu).system, BigInt.asUintN(64, linear));
  }

  /** Bytes at a linear address, up to the first that isn't mapped to RAM. */
  read(vcpu: number, linear: bigint, length: number): Uint8Array {
    const out = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const part = this.locate(vcpu, linear + BigInt(done), length - done);
      if (part === undefined) break;
      out.set(part, done);
      done += part.length;
    }
    return out.subarray(0, done);
  }

  /** @returns how many bytes could be written */
  write(vcpu: number, linear: bigint, bytes: Uint8Array): number {
    let done = 0;
    while (done < bytes.length) {
      const part = this.locate(vcpu, linear + BigInt(done), bytes.length - done);
      if (part === undefined) break;
      part.set(bytes.subarray(done, done + part.length));
      done += part.length;
    }
    if (done > 0) this.machine.memoryWritten();
    return done;
  }

  /** The guest's bytes from a linear address to the end of its page at most. */
  private locate(vcpu: number, linear: bigint, length: number): Uint8Array | undefined {
    const { gpa } = this.walk(vcpu, linear);
    if (gpa === undefined) return undefined;
    try {
      return this.machine.memory.view(gpa, Math.min(length, PAGE - (gpa % PAGE)));
    } catch (error) {
      if (error instanceof GuestAddressError) return undefined;
      throw error;
    }
  }
}

/** Bits of the code that a vCPU runs. SDM volume 3A, 3.4.5 */
export function codeSize({ system }: Pick<VcpuState, 'system'>): 16 | 32 | 64 {
  const { cs, efer, cr0 } = system;
  if ((cr0 & 1n) === 0n) return 16;
  if ((efer & EFER_LMA) !== 0n && cs.l !== 0) return 64;
  return cs.db !== 0 ? 32 : 16;
}

const EFER_LMA = 1n << 10n;

function is64Bit(state: VcpuState): boolean {
  return codeSize(state) === 64;
}

/** A range in pieces that a debug register can watch: powers of two up to 8, aligned. */
function watchable(address: bigint, length: number, access: HardwareAccess): HardwareBreakpoint[] {
  if (access === 'execute') return [{ address, length: 1, access }];
  const parts: HardwareBreakpoint[] = [];
  for (let at = address, left = length; left > 0; ) {
    let size = 8;
    while (size > left || at % BigInt(size) !== 0n) size /= 2;
    parts.push({ address: at, length: size, access });
    at += BigInt(size);
    left -= size;
  }
  return parts;
}
