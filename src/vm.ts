/**
 * The library's machine: `Vm.create(config)` checks a configuration, reads the guest's files, chooses an
 * engine and makes the machine; nothing runs before `start()`.
 */
import { EventEmitter } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { imageSize } from '../devices/block/image.ts';
import { ConfigError } from '../devices/errors.ts';
import type { GuestSource } from '../vm/boot/load.ts';
import { loadDeviceModules } from '../vm/device-modules.ts';
import { type ChosenDriver, chooseDriver } from '../vm/drivers.ts';
import { VIRTIO_GSIS } from '../vm/layout.ts';
import { Machine } from '../vm/machine.ts';
import type { MachineState } from '../vm/machine-state.ts';
import type { Outcome } from '../vm/outcome.ts';
import type { ModulePart } from '../vm/parts.ts';
import type { Statistics } from '../vm/statistics.ts';
import { TraceKind } from '../vm/trace/event.ts';
import type { TraceOptions } from '../vm/trace/machine-trace.ts';
import type { TraceTotals } from '../vm/trace/reader.ts';
import type { MachineView } from '../vm/view.ts';
import { parseConfig, type ResolvedConfig, type TraceConfig, type VmConfig } from './config.ts';
import { deviceSource } from './device-source.ts';
import { type BundledGuest, bundledGuest, DEFAULT_GUEST } from './guests.ts';

/** Larger files are no kernels and no initrds: refused before they fill memory. */
const FILE_MAXIMUM = 2 ** 31 - 1;
/** The first three bytes of MAC addresses that are made here: locally administered. */
const MAC_PREFIX = [0x52, 0x54, 0x00] as const;
/** What a kernel is told when nobody says anything else. */
const DEFAULT_APPEND = 'console=ttyS0';

/** What a {@link Vm} says while it lives. */
export interface VmEventMap {
  /** The guest has run for the last time. {@link Vm.inspect} works in this event: afterwards all is given back. */
  stopped: [];
  /** The run has ended. */
  exit: [outcome: Outcome];
  /** The guest asked for a reset and is being started anew. */
  reset: [];
  /** The guest marked a moment of its boot. Time in milliseconds since `start()`. */
  'boot-mark': [mark: number, milliseconds: number];
}

/** A machine's serial console. */
export interface VmConsole {
  /** What the guest prints. Bytes wait in the guest while nobody reads. */
  readonly output: Readable;
  /** What the guest reads. Ending it does not stop the guest. */
  readonly input: Writable;
}

/** What happens in a traced machine. */
export interface VmTrace {
  /**
   * {@link TraceEvent} objects in order of time; ends when the machine has. While nobody reads, the guest
   * waits, unless the trace is lossy. Destroying the stream ends the trace.
   */
  readonly events: Readable;
  /** How many there were so far, and what became of others. */
  readonly totals: TraceTotals;
}

/** A saved machine: what {@link Vm.save} gives. */
export interface VmState {
  /** What it was made of. */
  readonly config: ResolvedConfig;
  /** Its RAM, vCPUs, devices and time. */
  readonly machine: MachineState;
}

/** What may be different where a saved machine goes on. */
export interface RestoreChanges extends Pick<VmConfig, 'engine' | 'disks' | 'nets' | 'console'> {
  /**
   * Takes a guest that was promised CPU features, or a rate of its time stamp counter, that the engine lacks. It goes
   * wrong as soon as it uses them: for guests that never look.
   */
  readonly anyCpu?: boolean;
}

/**
 * A virtual machine.
 *
 * @example
 * ```ts
 * await using vm = await Vm.create({ append: 'console=ttyS0 type2.exec="uname -a"' });
 * vm.console.output.pipe(process.stdout);
 * await vm.start();
 * const outcome = await vm.ended;
 * ```
 */
export class Vm extends EventEmitter<VmEventMap> implements AsyncDisposable {
  /** The configuration with all defaults filled in. */
  readonly config: ResolvedConfig;
  /** Name of the engine that runs the guest. */
  readonly engine: string;
  /** Why it is not a better engine, in one line; empty when there is nothing to say. */
  readonly notice: string;
  /** What happens in the machine; undefined unless {@link VmConfig.trace} asks for it. */
  readonly trace: VmTrace | undefined;
  /**
   * The machine behind it, for the command line's debugger.
   * @internal
   */
  readonly machine: Machine;

  private constructor(config: ResolvedConfig, machine: Machine, notice: string) {
    super();
    this.config = config;
    this.machine = machine;
    this.engine = machine.engineName;
    this.notice = notice;
    const { trace } = machine;
    this.trace = trace && {
      events: trace.stream,
      get totals() {
        return trace.totals;
      },
    };
    machine.on('reset', () => this.emit('reset'));
    machine.on('boot-mark', (mark, time) => this.emit('boot-mark', mark, time));
    machine.on('stopped', () => this.emit('stopped'));
    void machine.ended.then((outcome) => this.emit('exit', outcome));
  }

  /**
   * Makes a machine, with its guest loaded and ready to start.
   * @throws ConfigError for a wrong configuration or a device that doesn't fit in, BootError for a guest that can't be loaded, HostError
   * when the host refuses something, Type2Error with code `NO_ENGINE` when no engine works here
   */
  static async create(config: VmConfig = {}): Promise<Vm> {
    return Vm.fromResolved(parseConfig(config));
  }

  /** As {@link Vm.create}, for a configuration that {@link parseConfig} has checked. */
  static async fromResolved(config: ResolvedConfig): Promise<Vm> {
    const bundled = bundledPart(config);
    const guest = guestSource(config, bundled);
    const cpus = config.cpus ?? bundled?.cpus ?? 1;
    const disks = await Promise.all(
      config.disks.map(async (disk) => ({
        path: disk.path,
        readonly: disk.readonly,
        id: disk.id ?? (await defaultSerial(disk.path)),
        size: imageSize(disk.path, disk.readonly),
      })),
    );
    const nets = await Promise.all(
      config.nets.map(async ({ tap, mac }) => ({ tap, mac: parseMac(mac) ?? (await defaultMac(tap)) })),
    );
    const devices = disks.length + nets.length + (config.rng ? 1 : 0);
    if (devices > VIRTIO_GSIS.length) {
      throw new ConfigError(`${devices} virtio devices, but at most ${VIRTIO_GSIS.length} fit in a machine`);
    }
    const parts: ModulePart[] = [];
    for (const { path, ...place } of config.devices) {
      parts.push({ ...(await deviceSource(path)), file: path, ...place });
    }
    const modules = { parts, loaded: await loadDeviceModules(parts) };
    const { driver, notice }: ChosenDriver = await chooseDriver(config.engine, config.deterministic);
    const { rng, debugExit, deterministic, portable, memory, onReset } = config;
    const trace = config.trace && traceOptions(config.trace);
    const machine = new Machine({
      driver,
      memory,
      cpus,
      disks,
      nets,
      rng,
      modules,
      debugExit,
      deterministic,
      portable,
      guest,
      onReset,
      trace,
    });
    return new Vm(config, machine, notice);
  }

  /**
   * Makes a machine that goes on from a saved state when it is started. Its disks must hold what they held when the
   * state was saved; after a reset, it reads the guest's files anew.
   * @throws as {@link Vm.create}; Type2Error with code `STATE_MISMATCH` for a state that doesn't fit, as when the guest
   * was promised CPU features that the engine lacks
   */
  static async restore(state: VmState, changes: RestoreChanges = {}): Promise<Vm> {
    const { anyCpu = false, ...config } = changes;
    const vm = await Vm.create({ ...state.config, ...config });
    try {
      vm.machine.restore(state.machine, anyCpu);
    } catch (error) {
      await vm.stop();
      throw error;
    }
    return vm;
  }

  /** The serial console: `output` is what the guest prints, `input` what it reads. */
  get console(): VmConsole {
    return this.machine.console;
  }

  /** Resolved when the run has ended. Never rejected: an error is an outcome. */
  get ended(): Promise<Outcome> {
    return this.machine.ended;
  }

  /**
   * Lets the guest run, or with {@link GdbConfig.wait} stand until gdb lets it go.
   * @throws HostError when a thread of the machine can't start, or gdb's port can't be listened on
   */
  async start(): Promise<void> {
    const { gdb } = this.config;
    if (gdb !== undefined) {
      // What gdb needs is loaded when it is asked for.
      const { GdbServer } = await import('./gdb/server.ts');
      const server = await GdbServer.listen(this.machine, { ...gdb, host: gdb.host ?? '127.0.0.1' });
      void this.ended.then((outcome) => server.close(outcome.kind === 'error' ? 1 : (outcome.value ?? 0)));
    }
    return this.machine.start(gdb?.wait === true);
  }

  /**
   * Starts the machine with the guest standing before its first instruction.
   * @internal
   */
  startPaused(): Promise<void> {
    return this.machine.start(true);
  }

  /** Stops the guest between two instructions; resolved when it stands. @throws Type2Error when it isn't running */
  pause(): Promise<void> {
    return this.machine.pause();
  }

  /** @throws Type2Error when the machine isn't paused */
  resume(): void {
    this.machine.resume();
  }

  /**
   * All of a paused machine, as plain data: {@link Vm.restore} goes on from it, on this engine or another, and
   * `v8.serialize` makes a file of it. What the disks hold is not in it.
   * @throws Type2Error when the machine isn't paused
   */
  save(): VmState {
    return { config: this.config, machine: this.machine.save() };
  }

  /** Ends the run, whatever the guest is doing. Safe at any time. */
  stop(kind: 'stopped' | 'timeout' = 'stopped'): Promise<void> {
    return this.machine.stop(kind);
  }

  /** Asks the guest to shut itself down, as the power button of a PC does. */
  pressPowerButton(): void {
    this.machine.pressPowerButton();
  }

  /** Exits by reason and accesses by device, so far. */
  statistics(): Statistics {
    return this.machine.statistics();
  }

  /**
   * What the guest is like: registers, memory, devices. For a machine that stands still: not started, paused, or
   * in the event `stopped`.
   * @throws Type2Error when it runs, or has ended
   */
  inspect(): MachineView {
    return this.machine.inspect();
  }

  /** Ends the run: what `await using` calls. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function traceOptions(config: TraceConfig): TraceOptions {
  const { reasons, devices, vcpus, from = 0, to = Number.POSITIVE_INFINITY, lossy = false } = config;
  if (to <= from) throw new ConfigError(`trace: from ${from} to ${to} seconds there is nothing`);
  return {
    filter: {
      kinds: reasons === undefined ? -1 : reasons.reduce((mask, name) => mask | (1 << TraceKind[name]), 0),
      devices,
      vcpus,
      from: from * 1e9,
      to: to * 1e9,
    },
    lossy,
  };
}

/** The bundled guest that a configuration names, or means by naming no kernel. */
function bundledPart(config: ResolvedConfig): BundledGuest | undefined {
  if (config.kernel !== undefined && config.guest === undefined) return undefined;
  return bundledGuest(config.guest ?? DEFAULT_GUEST);
}

/** The guest's files and how to start it: a bundled guest's, with whatever the configuration says instead. */
function guestSource(config: ResolvedConfig, bundled: BundledGuest | undefined): GuestSource {
  const kernel = config.kernel ?? bundled!.kernel;
  // A kernel of the user's own comes alone: the bundled initrd would not fit it.
  const initrd = config.initrd ?? (config.kernel === undefined ? bundled?.initrd : undefined);
  const protocol = config.protocol === 'auto' ? (bundled?.protocol ?? 'auto') : config.protocol;
  const loadAddress = config.loadAddress ?? bundled?.loadAddress;
  return {
    image: readGuestFile('kernel', kernel),
    imageName: basename(kernel),
    ...(initrd === undefined ? {} : { initrd: readGuestFile('initrd', initrd) }),
    commandLine: config.append ?? bundled?.append ?? DEFAULT_APPEND,
    protocol,
    ...(loadAddress === undefined ? {} : { loadAddress }),
    acpi: config.acpi,
  };
}

function readGuestFile(what: string, path: string): Uint8Array {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new ConfigError(`${what} ${path}: no such file`);
  if (!stat.isFile()) throw new ConfigError(`${what} ${path}: not a file`);
  if (stat.size > FILE_MAXIMUM)
    throw new ConfigError(`${what} ${path}: ${stat.size} bytes are too many for a ${what}`);
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new ConfigError(`${what} ${path}: can't be read`, { hint: 'Check its permissions.', cause });
  }
}

/** Stable for a file name, so that /dev/disk/by-id stays the same from run to run. */
async function defaultSerial(path: string): Promise<string> {
  return `type2-${(await sha256(path)).toString('hex').slice(0, 12)}`;
}

function parseMac(text: string | undefined): number[] | undefined {
  return text?.split(':').map((byte) => Number.parseInt(byte, 16));
}

/** Stable for a tap name, different for different ones. */
async function defaultMac(tap: string): Promise<number[]> {
  return [...MAC_PREFIX, ...(await sha256(tap)).subarray(0, 3)];
}

/** Loads Node's cryptography when there is something to hash, which takes a while. */
async function sha256(text: string): Promise<Buffer> {
  const { createHash } = await import('node:crypto');
  return createHash('sha256').update(text).digest();
}
