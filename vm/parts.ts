/**
 * The parts list of a machine: everything that a thread needs to put the same machine together.
 * It is plain data and shared memory, so it can be handed to a worker thread as it is.
 */
import type { ConsoleBuffers } from './console.ts';
import type { TracePart } from './trace/event.ts';

/** A disk, checked and with its size known. */
export interface DiskPart {
  readonly path: string;
  readonly readonly: boolean;
  /** The serial number that the guest sees, at most 20 ASCII characters. */
  readonly id: string;
  /** In bytes, a multiple of 512. */
  readonly size: number;
}

/** A network interface. */
export interface NetPart {
  /** Name of the host's tap interface. */
  readonly tap: string;
  /** Six bytes. */
  readonly mac: readonly number[];
}

/** A device whose code is a user's: see devices/module.ts. */
export interface ModulePart {
  /** What to import; the same code in every thread. */
  readonly url: string;
  /** What the user called the file. */
  readonly file: string;
  /** Whether it was compiled, and has a map from its lines to those of the user's file. */
  readonly compiled: boolean;
  /** These come before what the module says itself. */
  readonly name?: string | undefined;
  readonly port?: number | undefined;
  readonly mmio?: number | undefined;
  readonly irq?: number | undefined;
}

/** What a machine is made of. */
export interface MachineParts {
  /** Bytes of RAM, a multiple of 4096. */
  readonly memory: number;
  readonly cpus: number;
  readonly disks: readonly DiskPart[];
  readonly nets: readonly NetPart[];
  readonly rng: boolean;
  readonly modules: readonly ModulePart[];
  readonly debugExit: boolean;
  /** Whether the run shall be repeatable: virtual time, seeded random numbers. */
  readonly deterministic: boolean;
  /** Whether the guest shall see a CPU that every engine has, so that its state can go from one to another. */
  readonly portable: boolean;
  /** Shared memory of the machine's threads. */
  readonly control: SharedArrayBuffer;
  readonly deviceState: SharedArrayBuffer;
  readonly statistics: SharedArrayBuffer;
  readonly console: ConsoleBuffers;
  /** What is traced; absent when nothing is. */
  readonly trace?: TracePart;
}
