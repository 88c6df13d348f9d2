/**
 * Devices that users write, on their way into a machine: loads their modules in this thread, and finds each a
 * place where nothing else is. Every thread of a machine does both, with the same result.
 */
import type { Bus } from '../devices/bus.ts';
import { ConfigError } from '../devices/errors.ts';
import { type AnyDeviceModule, moduleLayout } from '../devices/module.ts';
import { StateAllocator } from '../devices/state.ts';
import {
  GSI_COUNT,
  HIGH_RAM_START,
  RESERVED_ADDRESSES,
  RESERVED_GSIS,
  RESERVED_PORTS,
  type Reserved,
  ramRanges,
  virtioSlot,
} from './layout.ts';
import type { ModulePart } from './parts.ts';

const NAME = /^[A-Za-z0-9_-]{1,32}$/;
const PORTS = 0x1_0000;
/** Most bytes of addresses that a device may take. */
const LENGTH_MAXIMUM = 256 * 2 ** 20;
/** Most registers and words of tables of one device. */
const STATE_MAXIMUM = 2 ** 20;

/** Imports the modules, in order. @throws ConfigError when one can't be imported, or is no device */
export async function loadDeviceModules(parts: readonly ModulePart[]): Promise<AnyDeviceModule[]> {
  const modules: AnyDeviceModule[] = [];
  for (const part of parts) modules.push(checkModule(await importModule(part), part.file));
  return modules;
}

/** Bytes of shared state that the modules' devices take. */
export function moduleStateBytes(modules: readonly AnyDeviceModule[]): number {
  return modules.reduce((sum, module) => sum + StateAllocator.bytesFor(moduleLayout(module)), 0);
}

async function importModule({ url, file, compiled }: ModulePart): Promise<unknown> {
  // Stacks of errors then name the user's lines.
  if (compiled) process.setSourceMapsEnabled(true);
  try {
    const namespace = (await import(url)) as { default?: unknown };
    return namespace.default;
  } catch (cause) {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    throw new ConfigError(`device ${file}: ${error.name}: ${error.message}`, {
      ...(error instanceof SyntaxError ? { hint: `\`node --check ${file}\` shows the line.` } : {}),
      cause,
    });
  }
}

/** Whether what a file exports is a device. @throws ConfigError that says what is missing */
function checkModule(exported: unknown, file: string): AnyDeviceModule {
  const wrong = (what: string): ConfigError =>
    new ConfigError(`device ${file}: ${what}`, {
      hint: 'docs/write-a-device.md shows what a device module looks like.',
    });
  if (typeof exported !== 'object' || exported === null) {
    throw wrong('it has no default export that is a device: write `export default { name, length, create }`');
  }
  const module = exported as AnyDeviceModule;
  if (typeof module.name !== 'string' || !NAME.test(module.name)) {
    throw wrong("`name` has to be 1 to 32 letters, digits, '-' or '_'");
  }
  if (!isCount(module.length, LENGTH_MAXIMUM)) throw wrong('`length` has to be a number of ports or bytes');
  if (typeof module.create !== 'function') throw wrong('`create` has to be a function');
  const { registers = [], tables = {} } = module;
  if (!Array.isArray(registers) || !registers.every((name) => typeof name === 'string')) {
    throw wrong("`registers` has to be a list of names, such as ['sum', 'count']");
  }
  if (typeof tables !== 'object' || !Object.values(tables).every((count) => isCount(count, STATE_MAXIMUM))) {
    throw wrong('`tables` has to give each name a number of words, such as { fifo: 16 }');
  }
  const names = [...registers, ...Object.keys(tables)];
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw wrong(`there are two registers or tables '${twice}'`);
  return module;
}

function isCount(value: unknown, most: number): boolean {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most;
}

/** Where a module's device is in its machine. */
export interface PlacedModule {
  readonly module: AnyDeviceModule;
  readonly file: string;
  readonly name: string;
  readonly port: number | undefined;
  readonly mmio: number | undefined;
  readonly irq: number | undefined;
}

/** What the machine has already. */
export interface Neighbours {
  readonly pio: Bus;
  readonly mmio: Bus;
  /** Names of devices. */
  readonly names: Iterable<string>;
  /** Bytes of RAM. */
  readonly memory: number;
  /** How many virtio devices there are. */
  readonly virtio: number;
}

/**
 * Settles where each device goes: where the configuration says, or else the module.
 * @param map - called for each as soon as it is known to fit, so that the next one sees it on the buses
 * @throws ConfigError when one has no place, or one that something else has
 */
export function placeModules(
  modules: readonly AnyDeviceModule[],
  parts: readonly ModulePart[],
  machine: Neighbours,
  map: (placed: PlacedModule) => void,
): void {
  const names = new Set(machine.names);
  const gsis = new Map(RESERVED_GSIS.map((gsi) => [gsi, 'the machine']));
  for (let i = 0; i < machine.virtio; i++) gsis.set(virtioSlot(i).gsi, `virtio device ${i}`);
  modules.forEach((module, i) => {
    const part = parts[i]!;
    const placed: PlacedModule = {
      module,
      file: part.file,
      name: part.name ?? module.name,
      port: part.port ?? module.port,
      mmio: part.mmio ?? module.mmio,
      irq: part.irq ?? module.irq,
    };
    const { name, port, mmio, irq } = placed;
    if (names.has(name)) {
      throw refuse(placed, 'there is a device of that name already', 'Give it another: name=….');
    }
    names.add(name);
    if (port === undefined && mmio === undefined) {
      throw refuse(
        placed,
        'it says neither a port nor an address',
        'Give it one: port=0x300, or mmio=0xd0100000.',
      );
    }
    if (port !== undefined) checkPorts(placed, port, machine.pio);
    if (mmio !== undefined) checkAddresses(placed, mmio, machine);
    if (irq !== undefined) {
      if (!Number.isInteger(irq) || irq < 1 || irq >= GSI_COUNT) {
        throw refuse(placed, `interrupt ${irq} is outside 1 to ${GSI_COUNT - 1}`);
      }
      const owner = gsis.get(irq);
      const free = Array.from({ length: GSI_COUNT }, (_, gsi) => gsi).filter((gsi) => !gsis.has(gsi));
      if (owner !== undefined) {
        throw refuse(placed, `interrupt ${irq} is ${owner}'s`, `These are free: ${free.join(', ')}.`);
      }
      gsis.set(irq, name);
    }
    map(placed);
  });
}

function checkPorts(placed: PlacedModule, port: number, bus: Bus): void {
  const { length } = placed.module;
  if (!Number.isInteger(port) || port < 0 || port + length > PORTS) {
    throw refuse(placed, `${length} ports from ${hex(port)} are not between 0 and 0xffff`);
  }
  const owner = bus.ownerOf(port, length) ?? reservedBy(RESERVED_PORTS, port, length);
  if (owner !== undefined) {
    throw refuse(
      placed,
      `ports ${span(port, length)}: ${owner} is there`,
      'Put it elsewhere: port=0x300, say.',
    );
  }
}

function checkAddresses(placed: PlacedModule, mmio: number, machine: Neighbours): void {
  const { length } = placed.module;
  if (!Number.isInteger(mmio) || mmio < 0 || mmio + length > HIGH_RAM_START) {
    throw refuse(placed, `${length} bytes from ${hex(mmio)} are not below 4 GiB`);
  }
  const ram = ramRanges(machine.memory).some(
    ({ base, length: size }) => base < mmio + length && mmio < base + size,
  );
  const owner = ram
    ? 'RAM'
    : (machine.mmio.ownerOf(mmio, length) ?? reservedBy(RESERVED_ADDRESSES, mmio, length));
  if (owner !== undefined) {
    throw refuse(
      placed,
      `addresses ${span(mmio, length)}: ${owner} is there`,
      'Put it elsewhere: mmio=0xd0100000, say.',
    );
  }
}

function reservedBy(reserved: readonly Reserved[], base: number, length: number): string | undefined {
  return reserved.find((other) => other.base < base + length && base < other.base + other.length)?.owner;
}

function refuse(placed: PlacedModule, what: string, hint?: string): ConfigError {
  return new ConfigError(
    `device ${placed.name} (${placed.file}): ${what}`,
    hint === undefined ? {} : { hint },
  );
}

function span(base: number, length: number): string {
  return `${hex(base)}–${hex(base + length - 1)}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
