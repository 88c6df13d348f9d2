/**
 * Guest memory: the only way to bytes of the guest by guest-physical address.
 *
 * RAM is one or two regions (below and above the hole under 4 GiB). A buffer is bounds-checked once
 * by {@link GuestMemory.locate}; its bytes are then reached through the region's typed arrays.
 * An address outside RAM is the guest's error and throws {@link GuestAddressError}, which whoever
 * works for the guest turns into a device error: it never leaves the VMM's loops.
 */

/**
 * A guest-physical address. x86 has at most 52 physical bits, so a double holds it exactly;
 * `>>` and `&` truncate to 32 bits, so divide or use `%` instead.
 */
export type Gpa = number;

declare const hostAddressBrand: unique symbol;
/** A virtual address of the VMM's own process, for FFI only. User space has 47 bits, so a double holds it exactly. */
export type HostAddress = number & { readonly [hostAddressBrand]: true };

/** The guest named memory that isn't there. */
export class GuestAddressError extends Error {
  /** `GuestAddressError`. */
  override readonly name = 'GuestAddressError';
  /** Stable, for programs. */
  readonly code = 'GUEST_ADDRESS';
  /** First guest-physical address that was named. */
  readonly gpa: number;
  /** In bytes. */
  readonly length: number;

  /** For [gpa, gpa+length), which is not all RAM. */
  constructor(gpa: Gpa, length: number) {
    super(`guest-physical range 0x${gpa.toString(16)}+0x${length.toString(16)} is not all RAM`);
    this.gpa = gpa;
    this.length = length;
  }
}

/** A contiguous piece of guest RAM and the typed arrays over it. */
export class MemoryRegion {
  /** Guest-physical address of the first byte; a multiple of 4096. */
  readonly base: Gpa;
  /** In bytes; a multiple of 4096. */
  readonly length: number;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly data: DataView;
  /** Where the region is mapped in this process; 0 when the driver needs no FFI. */
  readonly host: HostAddress;

  constructor(base: Gpa, buffer: ArrayBufferLike, byteOffset: number, length: number, host: number) {
    this.base = base;
    this.length = length;
    this.u8 = new Uint8Array(buffer, byteOffset, length);
    this.u16 = new Uint16Array(buffer, byteOffset, length / 2);
    this.u32 = new Uint32Array(buffer, byteOffset, length / 4);
    this.data = new DataView(buffer, byteOffset, length);
    this.host = host as HostAddress;
  }
}

/** All of a machine's RAM. */
export class GuestMemory {
  readonly regions: readonly MemoryRegion[];
  /** Bytes of RAM in all regions. */
  readonly size: number;
  private recent: MemoryRegion;
  /**
   * Told of bytes that a device writes into the guest's buffers, before or after it does: a CPU that keeps
   * decoded code must know. KVM's doesn't.
   */
  onDeviceWrite: (gpa: Gpa, length: number) => void = () => {};

  /** @param regions - in ascending order, not overlapping; at least one */
  constructor(regions: readonly MemoryRegion[]) {
    const first = regions[0];
    if (first === undefined) throw new RangeError('guest memory needs at least one region');
    this.regions = regions;
    this.recent = first;
    this.size = regions.reduce((sum, region) => sum + region.length, 0);
  }

  /** RAM of its own from address 0, for tests. */
  static alone(length: number): GuestMemory {
    return new GuestMemory([new MemoryRegion(0, new SharedArrayBuffer(length), 0, length, 0)]);
  }

  /** Whether all of [gpa, gpa+length) is RAM of one region. */
  contains(gpa: Gpa, length: number): boolean {
    return this.find(gpa, length) !== undefined;
  }

  /**
   * The region that holds all of [gpa, gpa+length); index its arrays by `gpa - region.base`.
   * Hot path: allocates nothing.
   * @throws GuestAddressError when part of the range is not RAM
   */
  locate(gpa: Gpa, length: number): MemoryRegion {
    const region = this.find(gpa, length);
    if (region === undefined) throw new GuestAddressError(gpa, length);
    return region;
  }

  /** @throws GuestAddressError */
  readU8(gpa: Gpa): number {
    const region = this.locate(gpa, 1);
    return region.u8[gpa - region.base]!;
  }

  /** Little-endian, any alignment. @throws GuestAddressError */
  readU16(gpa: Gpa): number {
    const region = this.locate(gpa, 2);
    return region.data.getUint16(gpa - region.base, true);
  }

  /** Little-endian, any alignment. @throws GuestAddressError */
  readU32(gpa: Gpa): number {
    const region = this.locate(gpa, 4);
    return region.data.getUint32(gpa - region.base, true);
  }

  /** Little-endian, any alignment. Cold path: allocates a BigInt. @throws GuestAddressError */
  readU64(gpa: Gpa): bigint {
    const region = this.locate(gpa, 8);
    return region.data.getBigUint64(gpa - region.base, true);
  }

  /** @throws GuestAddressError */
  writeU8(gpa: Gpa, value: number): void {
    const region = this.locate(gpa, 1);
    region.u8[gpa - region.base] = value;
  }

  /** Little-endian, any alignment. @throws GuestAddressError */
  writeU16(gpa: Gpa, value: number): void {
    const region = this.locate(gpa, 2);
    region.data.setUint16(gpa - region.base, value, true);
  }

  /** Little-endian, any alignment. @throws GuestAddressError */
  writeU32(gpa: Gpa, value: number): void {
    const region = this.locate(gpa, 4);
    region.data.setUint32(gpa - region.base, value, true);
  }

  /** Little-endian, any alignment. Cold path. @throws GuestAddressError */
  writeU64(gpa: Gpa, value: bigint): void {
    const region = this.locate(gpa, 8);
    region.data.setBigUint64(gpa - region.base, value, true);
  }

  /** Copies guest bytes into `target`, all of it. @throws GuestAddressError */
  read(gpa: Gpa, target: Uint8Array): void {
    target.set(this.view(gpa, target.length));
  }

  /** Copies `source` to the guest. @throws GuestAddressError */
  write(gpa: Gpa, source: Uint8Array): void {
    const region = this.locate(gpa, source.length);
    region.u8.set(source, gpa - region.base);
  }

  /** The guest's bytes themselves, not a copy. Cold path: allocates a view. @throws GuestAddressError */
  view(gpa: Gpa, length: number): Uint8Array {
    const region = this.locate(gpa, length);
    const at = gpa - region.base;
    return region.u8.subarray(at, at + length);
  }

  /** Where FFI finds [gpa, gpa+length). @throws GuestAddressError, also when the driver maps nothing for FFI */
  hostAddress(gpa: Gpa, length: number): HostAddress {
    const region = this.locate(gpa, length);
    if (region.host === 0) throw new GuestAddressError(gpa, length);
    return (region.host + (gpa - region.base)) as HostAddress;
  }

  private find(gpa: Gpa, length: number): MemoryRegion | undefined {
    const recent = this.recent;
    if (gpa >= recent.base && gpa + length <= recent.base + recent.length) return recent;
    for (const region of this.regions) {
      if (gpa >= region.base && gpa + length <= region.base + region.length) {
        this.recent = region;
        return region;
      }
    }
    return undefined;
  }
}
