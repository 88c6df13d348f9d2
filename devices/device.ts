/**
 * What every device is, and what it is given.
 *
 * A device is code over a {@link DeviceState}: its registers live in memory that all threads of the
 * machine share, so whichever vCPU touches its ports runs the device on the spot, under the state's
 * lock, and no exit ever crosses threads. Nothing a guest can observe is kept in ordinary JavaScript
 * fields: two threads would then see two devices.
 *
 * A device sees its bus offset, its interrupt line, the clock and its backend, nothing else.
 */
import type { Register } from './registers.ts';
import type { DeviceState, SavedState } from './state.ts';

/** An access width in bytes. Eight-byte accesses arrive as two of four bytes, low half first. */
export type AccessSize = 1 | 2 | 4;

/** The part of a device that a bus dispatches to. Offsets count from where the device is mapped. */
export interface BusDevice {
  /** As shown by `--stats` and traces, for example `serial0`. */
  readonly name: string;
  /**
   * Hot path: called once per exit with the state's lock held. Must not allocate.
   * @returns an unsigned value of `size` bytes; what nobody decodes reads as all ones.
   */
  read(offset: number, size: AccessSize): number;
  /** Hot path: called once per exit with the state's lock held. Must not allocate. */
  write(offset: number, size: AccessSize, value: number): void;
  /** What its registers are called, for traces and debuggers. */
  readonly registers?: readonly Register[];
  /**
   * For registers that share an offset (behind an index port, say): which of them is meant now, as
   * {@link Register.selected} counts. Called for traced accesses, just before they are served.
   */
  selected?(): number;
}

/** A device as the machine keeps it: something with state that can be reset, saved and restored. */
export interface Device {
  readonly name: string;
  /** The shared registers, and the lock that guards them. */
  readonly state: DeviceState;
  /** Puts the device in its power-on state. The caller holds the lock. */
  reset(): void;
  /** The device's state in the form that is the same for every driver. The caller holds the lock. */
  save(): SavedState;
  /**
   * Takes back what {@link Device.save} gave. The caller holds the lock.
   * @throws SavedStateError when a field is missing or malformed; nothing is changed then.
   */
  restore(saved: SavedState): void;
}

/** An interrupt input of the machine's interrupt controllers (a GSI), as a device sees it. */
export interface IrqLine {
  /** Drives the line. Calling it again with the level it has is harmless, and cheap enough not to avoid. */
  setLevel(asserted: boolean): void;
  /** Raises and lowers the line: one edge. */
  pulse(): void;
}

/** Machine time, the only time a device may ask for. */
export interface Clock {
  /** Nanoseconds since power-on, as a double (exact for 104 days). Stands still while the machine is paused. */
  now(): number;
  /** Wall-clock time in milliseconds since 1970-01-01 UTC, as the guest should see it. */
  wallTime(): number;
}

/** A device that wants to be called at a given time. */
export interface TimedDevice extends Device {
  /** When {@link TimedDevice.expire} is due, in {@link Clock.now} nanoseconds; `Infinity` for never. */
  deadline(): number;
  /** Called at or soon after the deadline, with the lock held. */
  expire(now: number): void;
}

/** Tells whoever sleeps until the next deadline that a deadline has moved. */
export interface Alarm {
  deadlineMoved(): void;
}

/** What a guest can ask of the machine as a whole. May be called from any thread, with locks held. */
export interface MachineControl {
  /** The guest switched the machine off (ACPI S5). */
  powerOff(): void;
  /** The guest asked for a reset (i8042, port 0xcf9, ACPI reset register). */
  reset(): void;
  /** The guest ended the run through the debug-exit port with this value (0 to 2³²−1). */
  debugExit(value: number): void;
  /** The guest's kernel says that it has panicked (pvpanic). */
  panicked(): void;
}
