/**
 * The I/O bus: finds the device behind a port or a guest-physical address and runs it under its lock.
 *
 * One class serves both address spaces of x86 (SDM volume 1, 19.2 and 19.3), so that the vCPU loop's calls
 * stay monomorphic. For addresses below 65,536, which are all of the ports, a table answers in one load;
 * memory-mapped devices are few and far apart, so above that a sorted list is searched, after a look at the
 * mapping that was hit last.
 *
 * Each vCPU thread builds a bus of its own over devices whose registers are shared: the bus itself holds
 * nothing that a guest can see.
 */
import type { AccessSize, BusDevice } from './device.ts';
import type { Lock } from './state.ts';

/** As many addresses as there are ports. */
const TABLE_LENGTH = 0x1_0000;
/** Guest-physical addresses have at most 52 bits. */
const ADDRESS_LIMIT = 2 ** 52;
const DEFAULT_COUNTERS = 64;

/** Indices of {@link Bus.counters} for accesses that no device claimed; devices follow. */
export const UNMAPPED_READ = 0;
export const UNMAPPED_WRITE = 1;

/** How a mapping differs from the usual. */
export interface MapOptions {
  /** The offset that the device sees at the mapping's first address; 0 unless given. For devices with scattered ports. */
  readonly firstOffset?: number;
  /**
   * Hand over an access that starts here even if it ends past the mapping, instead of splitting it into
   * bytes. For the debug-exit port, where the width of the value is not the number of ports.
   */
  readonly whole?: boolean;
}

/** A range of addresses and who answers there. */
interface Mapping {
  readonly base: number;
  /** First address after the range. */
  readonly end: number;
  /** An access may not reach beyond this address if it is to be handed over whole. */
  readonly wholeUpTo: number;
  /** The address at which the device's offsets start. */
  readonly origin: number;
  readonly device: BusDevice;
  readonly lock: Lock;
  /** In {@link Bus.counters}. */
  readonly counter: number;
}

/** A bus was built wrongly: two devices at one address, or an address that does not exist. Our own mistake. */
export class BusMapError extends Error {
  override readonly name = 'BusMapError';
  readonly code = 'BUS_MAP';
}

/** Ports or memory-mapped devices of a machine, as one thread reaches them. */
export class Bus {
  /**
   * Accesses since power-on: those nobody claimed at {@link UNMAPPED_READ} and {@link UNMAPPED_WRITE}, then
   * each device in order of its first mapping. {@link Bus.names} names them.
   */
  readonly counters: Float64Array;
  private readonly counterNames: string[] = ['unmapped-read', 'unmapped-write'];
  /** For each low address: number of the mapping plus one, 0 where there is none. */
  private readonly table = new Uint16Array(TABLE_LENGTH);
  /** In order of mapping: what {@link Bus.table} indexes. */
  private readonly mappings: Mapping[] = [];
  /** In order of address: what is searched for the higher ones. */
  private readonly sorted: Mapping[] = [];
  private recent: Mapping | undefined;

  /** @param counters - shared memory for the counters, if others want to see them; at least 2 and one a device */
  constructor(counters: Float64Array = new Float64Array(DEFAULT_COUNTERS)) {
    this.counters = counters;
  }

  /** What each of {@link Bus.counters} counts. */
  get names(): readonly string[] {
    return this.counterNames;
  }

  /**
   * Puts a device at [base, base+length). A device with scattered registers is mapped several times.
   * @param lock - taken around each access; the lock of the device's state
   * @throws BusMapError when the range is empty, outside the address space, or partly taken
   */
  map(base: number, length: number, device: BusDevice, lock: Lock, options: MapOptions = {}): void {
    const end = base + length;
    if (
      !Number.isInteger(base) ||
      !Number.isInteger(length) ||
      base < 0 ||
      length < 1 ||
      end > ADDRESS_LIMIT
    ) {
      throw new BusMapError(`${device.name}: cannot be mapped at ${range(base, end)}`);
    }
    const owner = this.ownerOf(base, length);
    if (owner !== undefined)
      throw new BusMapError(`${device.name}: ${range(base, end)} is taken by ${owner}`);
    const at = this.sorted.findIndex((other) => other.end > base);
    const mapping: Mapping = {
      base,
      end,
      wholeUpTo: options.whole === true ? Number.POSITIVE_INFINITY : end,
      origin: base - (options.firstOffset ?? 0),
      device,
      lock,
      counter: this.counterOf(device),
    };
    this.mappings.push(mapping);
    this.sorted.splice(at < 0 ? this.sorted.length : at, 0, mapping);
    if (base < TABLE_LENGTH) this.table.fill(this.mappings.length, base, end);
  }

  /** Who answers somewhere in [base, base+length), and where, as text for a message; undefined when nobody does. */
  ownerOf(base: number, length: number): string | undefined {
    const other = this.sorted.find(({ end }) => end > base);
    if (other === undefined || other.base >= base + length) return undefined;
    return `${other.device.name} (${range(other.base, other.end)})`;
  }

  /**
   * Reads `size` bytes, little-endian. Hot path: allocates nothing.
   * @returns an unsigned value; all ones where nobody answers
   */
  read(address: number, size: AccessSize): number {
    const mapping = this.find(address);
    if (mapping === undefined) {
      this.counters[UNMAPPED_READ] = this.counters[UNMAPPED_READ]! + 1;
      return allOnes(size);
    }
    if (address + size > mapping.wholeUpTo) return this.readBytewise(address, size);
    this.counters[mapping.counter] = this.counters[mapping.counter]! + 1;
    mapping.lock.acquire();
    try {
      return mapping.device.read(address - mapping.origin, size);
    } finally {
      mapping.lock.release();
    }
  }

  /** Writes the low `size` bytes of `value`; dropped where nobody answers. Hot path: allocates nothing. */
  write(address: number, size: AccessSize, value: number): void {
    const mapping = this.find(address);
    if (mapping === undefined) {
      this.counters[UNMAPPED_WRITE] = this.counters[UNMAPPED_WRITE]! + 1;
      return;
    }
    if (address + size > mapping.wholeUpTo) {
      for (let i = 0; i < size; i++) this.write(address + i, 1, (value >>> (8 * i)) & 0xff);
      return;
    }
    this.counters[mapping.counter] = this.counters[mapping.counter]! + 1;
    mapping.lock.acquire();
    try {
      mapping.device.write(address - mapping.origin, size, value);
    } finally {
      mapping.lock.release();
    }
  }

  /** Which of {@link Bus.counters} an access to this address counts in; of those for unmapped ones, the first. Hot path. */
  counterAt(address: number): number {
    return this.find(address)?.counter ?? UNMAPPED_READ;
  }

  /** The device that answers at an address, and the offset at which it sees it. Cold path: allocates. */
  deviceAt(address: number): { readonly device: BusDevice; readonly offset: number } | undefined {
    const mapping = this.find(address);
    return mapping && { device: mapping.device, offset: address - mapping.origin };
  }

  /** For an access that is about to be served: what {@link BusDevice.selected} says; 0 where it says nothing. Hot path. */
  selectedAt(address: number): number {
    const mapping = this.find(address);
    return mapping?.device.selected === undefined ? 0 : mapping.device.selected();
  }

  /** Who answers where, in order of address. Ranges are [base, end). */
  get ranges(): readonly { readonly base: number; readonly end: number; readonly device: BusDevice }[] {
    return this.sorted;
  }

  /**
   * The mapping of an access is that of its first byte. One that starts where nobody is belongs to nobody,
   * even if it reaches a device: a 32-bit write to the PCI configuration address port 0xcf8 must not
   * reset the machine through port 0xcf9.
   */
  private find(address: number): Mapping | undefined {
    if (address < TABLE_LENGTH) {
      const slot = this.table[address]!;
      return slot === 0 ? undefined : this.mappings[slot - 1];
    }
    const recent = this.recent;
    if (recent !== undefined && address >= recent.base && address < recent.end) return recent;
    return this.search(address);
  }

  private search(address: number): Mapping | undefined {
    const { sorted } = this;
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const mapping = sorted[middle]!;
      if (address < mapping.base) high = middle;
      else if (address >= mapping.end) low = middle + 1;
      else {
        this.recent = mapping;
        return mapping;
      }
    }
    return undefined;
  }

  /** An access across the end of a mapping: as a PC's bus does, one cycle for each byte. */
  private readBytewise(address: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.read(address + i, 1) << (8 * i);
    return value >>> 0;
  }

  private counterOf(device: BusDevice): number {
    const known = this.mappings.find((mapping) => mapping.device === device);
    if (known !== undefined) return known.counter;
    if (this.counterNames.length >= this.counters.length) {
      throw new BusMapError(`${device.name}: the bus has counters for ${this.counters.length} devices only`);
    }
    return this.counterNames.push(device.name) - 1;
  }
}

/** What an access of `size` bytes reads where nobody drives the bus. */
export function allOnes(size: AccessSize): number {
  return size === 1 ? 0xff : size === 2 ? 0xffff : 0xffff_ffff;
}

/** For devices with byte registers: reads successive registers, as a PC's bus does with a wider access. */
export function readBytes(device: BusDevice, offset: number, size: AccessSize): number {
  let value = 0;
  for (let i = 0; i < size; i++) value |= device.read(offset + i, 1) << (8 * i);
  return value >>> 0;
}

/** For devices with byte registers: writes successive registers. */
export function writeBytes(device: BusDevice, offset: number, size: AccessSize, value: number): void {
  for (let i = 0; i < size; i++) device.write(offset + i, 1, (value >>> (8 * i)) & 0xff);
}

function range(base: number, end: number): string {
  return `0x${base.toString(16)}–0x${(end - 1).toString(16)}`;
}
