/**
 * Devices that users write: what a device module exports, what it is given, and the adapter that makes a
 * device of the machine from it.
 *
 * A module is loaded in every thread that builds the platform, so its own variables exist several times over.
 * What a guest can observe belongs in the registers and tables that it declares: they lie in the machine's
 * shared device state, like every other device's, and are saved with it.
 */
import { allOnes } from './bus.ts';
import type { AccessSize, Alarm, BusDevice, Clock, Device, IrqLine, TimedDevice } from './device.ts';
import { Type2Error } from './errors.ts';
import { GuestAddressError, type GuestMemory } from './memory.ts';
import { type DeviceState, defineState, type SavedState, type StateLayout } from './state.ts';

/**
 * A device written by a user: the default export of the file that `--device` or {@link VmConfig.devices} names.
 *
 * @typeParam R - names of its registers, `'sum' | 'count'`
 * @typeParam T - names of its tables
 */
export interface DeviceModule<R extends string = never, T extends string = never> {
  /** What statistics call it: letters, digits, `-` and `_`. Two devices of a machine can't have the same name. */
  readonly name: string;
  /** How many ports, or bytes of the guest's address space, it answers for. */
  readonly length: number;
  /** Its first I/O port, unless the configuration says another. */
  readonly port?: number;
  /** Its first guest-physical address, unless the configuration says another. */
  readonly mmio?: number;
  /** Its interrupt (a GSI, 1 to 23), unless the configuration says another. */
  readonly irq?: number;
  /** Registers, each a number: an integer up to 2⁵³, or a time. Zero after a reset. */
  readonly registers?: readonly R[];
  /** Arrays of 32-bit words by name, and how many words each has. Zeroes after a reset. */
  readonly tables?: Readonly<Record<T, number>>;
  /** Makes the device's code. Called once in each thread, before the guest runs. */
  create(host: DeviceHost<R, T>): DeviceHandlers;
}

/** The code of a device. All of it runs under the device's lock: never twice at the same time. */
export interface DeviceHandlers {
  /**
   * The guest reads `size` bytes (1, 2 or 4) at an offset from the device's first port or address.
   * @returns the value; bits beyond `size` are dropped
   */
  read(offset: number, size: AccessSize): number;
  /** The guest writes `size` bytes. `value` is unsigned. */
  write(offset: number, size: AccessSize, value: number): void;
  /** Power-on: registers and tables are zero already. */
  reset?(): void;
  /** The time that {@link DeviceTimer.set} was given has come. */
  expire?(now: number): void;
}

/**
 * What a device is given.
 *
 * @typeParam R - names of its registers
 * @typeParam T - names of its tables
 */
export interface DeviceHost<R extends string = never, T extends string = never> {
  /** The declared registers: read and assign them like fields. */
  readonly registers: Record<R, number>;
  /** The declared tables. */
  readonly tables: Readonly<Record<T, Int32Array>>;
  /** The interrupt line; drives nothing where the device was given no interrupt. */
  readonly irq: IrqLine;
  /** Machine time, the only time that a device should ask for. */
  readonly clock: Clock;
  /** Calls {@link DeviceHandlers.expire}. */
  readonly timer: DeviceTimer;
  /** The guest's RAM, for DMA. */
  readonly memory: DeviceMemory;
}

/** A device's timer. There is one a device. */
export interface DeviceTimer {
  /** Sets it to a time of {@link Clock.now}, in nanoseconds, instead of what it was set to. */
  set(time: number): void;
  /** Sets it to never. */
  cancel(): void;
}

/**
 * The guest's RAM by guest-physical address, as a device reaches it. An address outside RAM is the guest's
 * mistake: the call throws, and if the device doesn't catch it, the guest's access is dropped (a read gives all
 * ones), as on a bus where nobody answers.
 */
export interface DeviceMemory {
  /** Whether `length` bytes from an address are all RAM. */
  contains(address: number, length: number): boolean;
  /** A copy of the guest's bytes. @throws GuestAddressError outside RAM */
  read(address: number, length: number): Uint8Array;
  /** @throws GuestAddressError outside RAM */
  write(address: number, bytes: Uint8Array): void;
}

/** What the platform gives a module's device. */
export interface ModuleParts {
  readonly state: DeviceState;
  readonly irq: IrqLine;
  readonly clock: Clock;
  readonly alarm: Alarm;
  readonly memory: GuestMemory;
  /** What the user called the file, for messages. */
  readonly file: string;
}

/** A module of any registers, as the machine keeps it. */
export type AnyDeviceModule = DeviceModule<string, string>;

/** In a module's state beside what it declares itself: when its timer is due. No register can have this name. */
const DEADLINE = 'timer.deadline';

/** The module's code threw something. */
export class DeviceModuleError extends Type2Error {
  override readonly name = 'DeviceModuleError';
}

/** The shared state of a module's device. */
export function moduleLayout(module: AnyDeviceModule): StateLayout {
  const doubles = Object.fromEntries((module.registers ?? []).map((name) => [name, 1]));
  return defineState(module.tables ?? {}, { ...doubles, [DEADLINE]: 1 });
}

/** A device of the machine whose code is a user's. */
export class ModuleDevice implements Device, BusDevice, TimedDevice {
  readonly name: string;
  readonly state: DeviceState;
  private readonly file: string;
  private readonly handlers: DeviceHandlers;
  private readonly deadlineAt: number;

  /** @throws DeviceModuleError when the module's `create` does */
  constructor(module: AnyDeviceModule, name: string, parts: ModuleParts) {
    this.name = name;
    this.state = parts.state;
    this.file = parts.file;
    const layout = moduleLayout(module);
    this.deadlineAt = layout.double[DEADLINE]!;
    const { doubles } = this.state;
    const setDeadline = (time: number): void => {
      doubles[this.deadlineAt] = time;
      parts.alarm.deadlineMoved();
    };
    const host: DeviceHost<string, string> = {
      registers: registersOver(doubles, layout, module.registers ?? []),
      tables: tablesOver(this.state.words, layout, module.tables ?? {}),
      irq: parts.irq,
      clock: parts.clock,
      timer: { set: setDeadline, cancel: () => setDeadline(Number.POSITIVE_INFINITY) },
      memory: memoryFor(parts.memory),
    };
    this.handlers = this.guarded('create', () => module.create(host));
    const { handlers } = this;
    if (typeof handlers?.read !== 'function' || typeof handlers.write !== 'function') {
      throw this.failure('create', new TypeError('returned no object with the functions read and write'));
    }
  }

  reset(): void {
    this.state.clear();
    this.state.doubles[this.deadlineAt] = Number.POSITIVE_INFINITY;
    this.guarded('reset', () => this.handlers.reset?.());
  }

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    this.state.restore(saved);
  }

  read(offset: number, size: AccessSize): number {
    try {
      const value: unknown = this.handlers.read(offset, size);
      if (typeof value !== 'number') throw new TypeError(`returned ${String(value)}, not a number`);
      return (value & allOnes(size)) >>> 0;
    } catch (error) {
      if (error instanceof GuestAddressError) return allOnes(size);
      throw this.failure(`read of ${size} byte(s) at offset ${offset}`, error);
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    try {
      this.handlers.write(offset, size, value >>> 0);
    } catch (error) {
      if (error instanceof GuestAddressError) return;
      throw this.failure(`write of ${size} byte(s) at offset ${offset}`, error);
    }
  }

  deadline(): number {
    return this.state.doubles[this.deadlineAt]!;
  }

  expire(now: number): void {
    this.state.doubles[this.deadlineAt] = Number.POSITIVE_INFINITY;
    try {
      this.handlers.expire?.(now);
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw this.failure('expire', error);
    }
  }

  private guarded<V>(doing: string, action: () => V): V {
    try {
      return action();
    } catch (error) {
      throw this.failure(doing, error);
    }
  }

  private failure(doing: string, cause: unknown): DeviceModuleError {
    const message = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    return new DeviceModuleError(
      'DEVICE',
      `device ${this.name} (${placeOf(cause) ?? this.file}), ${doing}: ${message}`,
      { cause },
    );
  }
}

/** File and line of where an error was thrown, as its stack tells. */
function placeOf(error: unknown): string | undefined {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  const frame = stack.split('\n').find((line) => line.trimStart().startsWith('at '));
  const place = /(?:file:\/\/)?(\/[^()]*?)(?:\?[^:]*)?(:\d+:\d+)\)?$/.exec(frame ?? '');
  // A place in our own code says nothing to the module's author.
  return place === null || frame?.includes('ModuleDevice') === true ? undefined : `${place[1]}${place[2]}`;
}

/** An object whose fields are words of shared memory. */
function registersOver(
  doubles: Float64Array,
  layout: StateLayout,
  names: readonly string[],
): Record<string, number> {
  const registers: Record<string, number> = {};
  for (const name of names) {
    const at = layout.double[name]!;
    Object.defineProperty(registers, name, {
      enumerable: true,
      get: () => doubles[at]!,
      set: (value: number) => {
        doubles[at] = value;
      },
    });
  }
  // A misspelt register would be a variable of one thread's own.
  return Object.seal(registers);
}

function tablesOver(
  words: Int32Array,
  layout: StateLayout,
  tables: Readonly<Record<string, number>>,
): Record<string, Int32Array> {
  return Object.fromEntries(
    Object.entries(tables).map(([name, count]) => {
      const at = layout.word[name]!;
      return [name, words.subarray(at, at + count)];
    }),
  );
}

function memoryFor(memory: GuestMemory): DeviceMemory {
  return {
    contains: (address, length) => memory.contains(address, length),
    read: (address, length) => memory.view(address, length).slice(),
    write: (address, bytes) => {
      memory.write(address, bytes);
      memory.onDeviceWrite(address, bytes.length);
    },
  };
}
