/**
 * QEMU's firmware configuration device (QEMU, docs/specs/fw_cfg.rst): numbered items of bytes that a guest
 * or its firmware selects and then reads one byte after the other. Ports 0x510–0x51b: selector (16 bits,
 * offset 0), data (8 bits, offset 1), and DMA address (64 bits, big-endian, offset 4).
 *
 * Everything here is fixed when the machine is built; only the selected item and the position in it are state.
 */
import { allOnes } from './bus.ts';
import type { AccessSize, BusDevice, Device } from './device.ts';
import { GuestAddressError, type GuestMemory } from './memory.ts';
import type { Register } from './registers.ts';
import { type DeviceState, defineState, type SavedState } from './state.ts';

/** What the guest finds. */
export interface FwCfgOptions {
  /** Bytes of RAM. */
  readonly ramSize: number;
  readonly cpus: number;
  /** File name (at most 55 ASCII characters) → contents. */
  readonly files?: ReadonlyMap<string, Uint8Array>;
  /** Where DMA goes; without it the device says that it has no DMA. */
  readonly memory?: GuestMemory;
}

const LAYOUT = defineState({
  key: 1,
  /** Of the next byte in the selected item. */
  position: 1,
  /** Upper half of the DMA address, written first. */
  dmaAddressHigh: 1,
});
const { key: KEY, position: POSITION, dmaAddressHigh: DMA_ADDRESS_HIGH } = LAYOUT.word;

/** Item keys. */
const KEY_SIGNATURE = 0x00;
const KEY_ID = 0x01;
const KEY_RAM_SIZE = 0x03;
const KEY_CPUS = 0x05;
const KEY_MAX_CPUS = 0x0f;
const KEY_FILE_DIRECTORY = 0x19;
const KEY_FIRST_FILE = 0x20;
/** Bit 14 of a selector once asked for writing; no item can be written. */
const KEY_BITS = 0xbfff;

const ID_TRADITIONAL = 0x01;
const ID_DMA = 0x02;

const DIRECTORY_ENTRY_SIZE = 64;
const NAME_SIZE = 56;

/** Registers by offset. */
const SELECTOR = 0;
const DATA = 1;
const DMA_HIGH = 4;
const DMA_LOW = 8;
/** What the DMA register reads: "QEMU CFG". */
const DMA_SIGNATURE_HIGH = 0x51454d55;
const DMA_SIGNATURE_LOW = 0x20434647;

/** The control field of a DMA request; its upper half is a key to select. */
const DMA_ERROR = 0x01;
const DMA_READ = 0x02;
const DMA_SKIP = 0x04;
const DMA_SELECT = 0x08;
const DMA_WRITE = 0x10;
const DMA_REQUEST_SIZE = 16;

const NOTHING = new Uint8Array(0);

const REGISTERS: readonly Register[] = [
  { offset: SELECTOR, length: 2, name: 'Selector', only: 'write', state: 'key' },
  { offset: DATA, name: 'Data', only: 'read' },
  { offset: DMA_HIGH, length: 4, name: 'DMA address, high', state: 'dmaAddressHigh' },
  { offset: DMA_LOW, length: 4, name: 'DMA address, low' },
];

/** fw_cfg at its twelve ports. */
export class FwCfg implements Device, BusDevice {
  static readonly layout = LAYOUT;
  /** In ports. */
  static readonly length = 12;
  readonly name = 'fw-cfg';
  readonly registers = REGISTERS;
  readonly state: DeviceState;
  private readonly items: ReadonlyMap<number, Uint8Array>;
  private readonly memory: GuestMemory | undefined;

  /** @throws RangeError when a file's name is too long or not ASCII */
  constructor(state: DeviceState, options: FwCfgOptions) {
    this.state = state;
    this.memory = options.memory;
    this.items = buildItems(options);
  }

  reset(): void {
    this.state.clear();
  }

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    this.state.restore(saved);
  }

  read(offset: number, size: AccessSize): number {
    if (offset === DATA && size === 1) return this.nextByte();
    if (this.memory !== undefined && size === 4) {
      if (offset === DMA_HIGH) return swap32(DMA_SIGNATURE_HIGH);
      if (offset === DMA_LOW) return swap32(DMA_SIGNATURE_LOW);
    }
    return allOnes(size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset === SELECTOR && size === 2) this.select(value);
    else if (offset === DMA_HIGH && size === 4) this.state.words[DMA_ADDRESS_HIGH] = swap32(value);
    else if (offset === DMA_LOW && size === 4) this.startDma(swap32(value));
  }

  private select(key: number): void {
    const { words } = this.state;
    words[KEY] = key & KEY_BITS;
    words[POSITION] = 0;
  }

  private item(): Uint8Array {
    return this.items.get(this.state.words[KEY]!) ?? NOTHING;
  }

  /** Past the end of an item, and where there is none, zeros. */
  private nextByte(): number {
    const { words } = this.state;
    const position = words[POSITION]! >>> 0;
    const byte = this.item()[position];
    if (byte === undefined) return 0;
    words[POSITION] = position + 1;
    return byte;
  }

  /** Serves the request at a guest-physical address: control, length, address, all big-endian. */
  private startDma(addressLow: number): void {
    const { memory } = this;
    const { words } = this.state;
    const request = (words[DMA_ADDRESS_HIGH]! >>> 0) * 2 ** 32 + addressLow;
    words[DMA_ADDRESS_HIGH] = 0;
    // A request that isn't in RAM cannot even be answered.
    if (memory === undefined || !memory.contains(request, DMA_REQUEST_SIZE)) return;
    const control = swap32(memory.readU32(request));
    const length = swap32(memory.readU32(request + 4));
    const address = swap32(memory.readU32(request + 8)) * 2 ** 32 + swap32(memory.readU32(request + 12));
    if (control & DMA_SELECT) this.select(control >>> 16);
    let result = 0;
    if (control & DMA_READ) memory.onDeviceWrite(address, length);
    if (control & DMA_READ) result = this.readByDma(memory, address, length) ? 0 : DMA_ERROR;
    else if (control & DMA_WRITE) result = DMA_ERROR;
    else if (control & DMA_SKIP) this.skip(length);
    memory.writeU32(request, swap32(result));
  }

  /** @returns false when the target is not RAM; nothing has been read then */
  private readByDma(memory: GuestMemory, address: number, length: number): boolean {
    try {
      const target = memory.view(address, length);
      const position = this.state.words[POSITION]! >>> 0;
      const bytes = this.item().subarray(position, position + length);
      target.set(bytes);
      target.fill(0, bytes.length);
      this.skip(bytes.length);
      return true;
    } catch (error) {
      if (error instanceof GuestAddressError) return false;
      throw error;
    }
  }

  /** Stops at the item's end, so that the position always fits its register. */
  private skip(length: number): void {
    const { words } = this.state;
    const position = words[POSITION]! >>> 0;
    words[POSITION] = Math.min(position + length, Math.max(position, this.item().length));
  }
}

function buildItems(options: FwCfgOptions): Map<number, Uint8Array> {
  const items = new Map<number, Uint8Array>();
  const id = ID_TRADITIONAL | (options.memory === undefined ? 0 : ID_DMA);
  items.set(KEY_SIGNATURE, new TextEncoder().encode('QEMU'));
  items.set(KEY_ID, littleEndian(id, 4));
  items.set(KEY_RAM_SIZE, littleEndian(options.ramSize, 8));
  items.set(KEY_CPUS, littleEndian(options.cpus, 2));
  items.set(KEY_MAX_CPUS, littleEndian(options.cpus, 2));
  // Sorted, so that keys don't depend on the order in which files were given.
  const names = [...(options.files?.keys() ?? [])].sort();
  const directory = new DataView(new ArrayBuffer(4 + names.length * DIRECTORY_ENTRY_SIZE));
  directory.setUint32(0, names.length);
  names.forEach((name, index) => {
    if (!/^[\x21-\x7e]{1,55}$/.test(name)) {
      throw new RangeError(
        `fw_cfg file name '${name}' is not 1 to ${NAME_SIZE - 1} printable ASCII characters`,
      );
    }
    const contents = options.files!.get(name)!;
    const key = KEY_FIRST_FILE + index;
    const at = 4 + index * DIRECTORY_ENTRY_SIZE;
    directory.setUint32(at, contents.length);
    directory.setUint16(at + 4, key);
    new TextEncoder().encodeInto(name, new Uint8Array(directory.buffer, at + 8, NAME_SIZE));
    items.set(key, contents);
  });
  items.set(KEY_FILE_DIRECTORY, new Uint8Array(directory.buffer));
  return items;
}

/** @param value - up to 2⁵³−1 */
function littleEndian(value: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let rest = value;
  for (let i = 0; i < length; i++) {
    bytes[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return bytes;
}

/** The other byte order. */
function swap32(value: number): number {
  return ((value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | ((value >>> 24) & 0xff)) >>> 0;
}
