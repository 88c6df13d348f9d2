/**
 * The driver contract: what the machine knows of whatever executes guest code.
 *
 * A driver has two sides. On the main thread an {@link Engine} owns guest RAM and the threads that run
 * the guest, and is told to start, pause and close. On a vCPU's thread a {@link Vcpu} runs guest code
 * until it needs someone, and says so in its reused {@link Exit}; vcpu-loop.ts serves that, for every
 * driver alike.
 */
import type { Bus } from '../devices/bus.ts';
import type { Clock } from '../devices/device.ts';
import type { GuestMemory } from '../devices/memory.ts';
import type { DebugEvent, DebugKind, DebugSettings } from './debug/settings.ts';
import type { EngineState } from './machine-state.ts';
import type { MachineParts } from './parts.ts';
import type { EntryState, VcpuChange, VcpuState } from './vcpu-state.ts';

/** The drivers there are, best first. */
export const ENGINE_NAMES = ['kvm', 'jit', 'interp'] as const;
/** A driver's name. */
export type EngineName = (typeof ENGINE_NAMES)[number];

/** Why a vCPU stopped running guest code. */
export const ExitReason = {
  /** Port I/O: see {@link Exit.address}, `size`, `count`, `isWrite`, `dataOffset`. */
  io: 0,
  /** Access to an address that is not RAM. */
  mmio: 1,
  /** HLT where the driver doesn't wait for interrupts by itself. */
  hlt: 2,
  /** Triple fault. */
  shutdown: 3,
  hypercall: 4,
  /** Breakpoint or single step. */
  debug: 5,
  /** Someone asked the vCPU to come out: {@link Engine.pause} and its like. */
  interrupted: 6,
  /** The driver can't go on; {@link Vcpu.describeFailure} says why. */
  internalError: 7,
} as const;
export type ExitReason = (typeof ExitReason)[keyof typeof ExitReason];

/** Names of exit reasons, by number, as statistics print them. */
export const EXIT_REASON_NAMES: readonly string[] = Object.keys(ExitReason);

/** What the guest wants, for `io` and `mmio`. One object a vCPU, refilled at each exit. */
export interface Exit {
  /** Port number, or guest-physical address. */
  address: number;
  /** Width of one access in bytes: 1, 2, 4, and for MMIO up to 8. */
  size: number;
  /** How many accesses of `size` bytes follow one another in the data (string I/O); at least 1. */
  count: number;
  isWrite: boolean;
  /** Where the bytes are, in {@link Vcpu.data}: to be read for a write, to be filled for a read. */
  dataOffset: number;
}

/** One virtual CPU, as its own thread sees it. */
export interface Vcpu {
  readonly index: number;
  readonly exit: Exit;
  /** The memory that {@link Exit.dataOffset} points into; the same for the vCPU's whole life. */
  readonly data: DataView;
  /**
   * Runs guest code until it needs someone.
   * Hot path: allocates nothing.
   */
  run(): ExitReason;
  /**
   * Finishes what the last exit left half done (the read of a port, say), so that the state can be saved.
   * @returns `interrupted` when all is done; an exit that the instruction needs first
   */
  settle(): ExitReason;
  /** After a `debug` exit: why. */
  readonly debugEvent: Readonly<DebugEvent>;
  /** Whether the vCPU has halted and no interrupt can wake it. */
  haltedForGood(): boolean;
  /** After `internalError`: what happened, for the user. */
  describeFailure(): string;
}

/** What a driver can do that not all can. */
export interface EngineCapabilities {
  /** Most vCPUs. */
  readonly maxCpus: number;
  /** Most bytes of guest RAM. */
  readonly maxMemory: number;
  /** Whether all of a guest's instructions run, SSE included, so that Linux boots. */
  readonly completeInstructionSet: boolean;
  /** Whether a tap interface can be attached. */
  readonly tap: boolean;
  /** Whether the interval timer is a device of the platform, and port 0x61 with it; else the driver has both. */
  readonly platformTimer: boolean;
  /** Most hardware breakpoints and watchpoints of a debugger. */
  readonly hardwareBreakpoints: number;
  /** Whether these can watch data, too. */
  readonly watchpoints: boolean;
}

/** Whether a driver works on this host, and if not why. */
export interface EngineSupport {
  readonly usable: boolean;
  /** One line without the driver's name, for example `/dev/kvm: permission denied`. Empty when all is well. */
  readonly reason: string;
  /** What to do about it, as a sentence; may be empty. */
  readonly hint: string;
  readonly capabilities: EngineCapabilities | undefined;
}

/** A driver. */
export interface EngineDriver {
  readonly name: EngineName;
  /** Looks whether this host can run it. Never throws. */
  probe(): EngineSupport;
  /**
   * Makes a VM with its RAM, its vCPUs in their reset state, and no thread running.
   * @throws HostError when the host refuses
   */
  create(parts: MachineParts, events: EngineEvents): Engine;
}

/** What an engine tells the machine, on the main thread. */
export interface EngineEvents {
  /** The guest has printed something. */
  consoleOutput(): void;
  /** The control block has an outcome. */
  ended(): void;
  /** A vCPU has stopped for the debugger, and all others are asked to pause. */
  debugStop(): void;
  /** The guest has marked a moment of its boot. @param time - {@link monotonicNow} of that moment */
  bootMark(mark: number, time: number): void;
  /** A thread can't go on; the outcome is `error`. */
  failed(error: Error): void;
}

/** The interrupt controllers as a debugger shows them. */
export interface InterruptControllers {
  /** For each vCPU, its local APIC's register page: 1024 bytes as the SDM lays it out (volume 3A, 10.4.1). */
  readonly lapics: readonly Uint8Array[];
  /** The IOAPIC's redirection table: bits 31:0 and 63:32 of each entry (82093AA, 3.2.4). */
  readonly redirections: readonly { readonly low: number; readonly high: number }[];
}

/** A VM of one driver, as the main thread sees it. */
export interface Engine {
  readonly name: EngineName;
  readonly capabilities: EngineCapabilities;
  readonly memory: GuestMemory;
  /**
   * Puts the devices on the buses that are the engine's own rather than the platform's (interrupt controllers
   * and timers, where they aren't in the kernel), so that traces and debuggers can name them.
   */
  mapDevices(pio: Bus, mmio: Bus): void;
  /** Machine time, as the devices see it. */
  readonly clock: Clock;
  /** Sets the boot CPU to where the loaded guest starts. Before {@link Engine.start}. */
  setEntry(entry: EntryState): void;
  /** Starts the threads and lets the vCPUs run. */
  start(): Promise<void>;
  /** Stops all vCPUs and devices between two instructions; resolved when they stand. */
  pause(): Promise<void>;
  resume(): void;
  /** State of all vCPUs and of the chips that the driver has. Only while paused, not started, or stopped. @param now - machine time */
  save(now: number): EngineState;
  /**
   * Only while paused or not started. The machine's time is what it was when the state was saved.
   * @param lenient - takes a guest that has been promised CPU features, or a rate of the TSC, that aren't here
   * @throws Type2Error with code `STATE_MISMATCH` for a guest that uses what isn't here
   */
  restore(state: EngineState, now: number, lenient: boolean): void;
  /** State of all vCPUs. Only while paused or not started. */
  vcpuStates(): VcpuState[];
  /** Sets some of one vCPU's registers. Only while paused or not started. */
  changeVcpu(index: number, change: VcpuChange): void;
  /**
   * What vCPUs stop at from the next {@link Engine.resume} on. Only while paused or not started.
   * @throws Type2Error with code `BREAKPOINT` when something can't be set, naming it; nothing is set then
   */
  setDebug(settings: DebugSettings): void;
  /**
   * The last stop was not the debugger's but the guest's own INT3 or trap: the guest gets the exception when it
   * goes on. Only where the two can't be told apart in time.
   */
  deliverTrap(vcpu: number, kind: DebugKind): void;
  /** Only while paused or not started. */
  interruptControllers(): InterruptControllers;
  /**
   * Instructions done since power-on, where a run repeats itself exactly; undefined elsewhere. Only while paused or
   * not started.
   */
  readonly instructionCount: number | undefined;
  /** A debugger has written guest RAM. Only while paused or not started. */
  memoryWritten(): void;
  /** Makes the devices look around: there is console input, room for console output, or a pressed power button. */
  wakeDevices(): void;
  /** Asks all vCPUs whether they have halted for good, and notes it in the control block. */
  checkHalted(): void;
  /** Ends all threads; RAM and the state of vCPUs can be looked at until {@link Engine.close}. Safe more than once. */
  stop(): Promise<void>;
  /** Stops, closes all descriptors, unmaps guest RAM. Safe at any time and more than once. */
  close(): Promise<void>;
}
