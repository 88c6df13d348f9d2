/**
 * The block device. Virtio 1.2, section 5.2.
 *
 * A request is a 16-byte header (type, reserved, sector), data, and a status byte, laid over the chain's
 * buffers in any way. Data goes between the backend and guest memory without a copy.
 */
import { type BlockBackend, SECTOR_SIZE } from '../block/backend.ts';
import type { AccessSize } from '../device.ts';
import type { GuestMemory } from '../memory.ts';
import type { SavedState } from '../state.ts';
import { BufferList } from './buffers.ts';
import {
  DeviceId,
  type FeatureSet,
  GuestError,
  QUEUE_SIZE_MAXIMUM,
  readConfigBytes,
  type VirtioDevice,
  WORK_LIMIT,
} from './device.ts';
import type { Chain, Virtqueue } from './virtqueue.ts';

const QUEUE_SIZE = 256;

/** Feature bits, 5.2.3. */
const F_SEG_MAX = 2;
const F_RO = 5;
const F_BLK_SIZE = 6;
const F_FLUSH = 9;
const F_DISCARD = 13;
const F_WRITE_ZEROES = 14;

/** Request types, 5.2.6. */
const T_IN = 0;
const T_OUT = 1;
const T_FLUSH = 4;
const T_GET_ID = 8;
const T_DISCARD = 11;
const T_WRITE_ZEROES = 13;

const S_OK = 0;
const S_IOERR = 1;
const S_UNSUPP = 2;

const HEADER_SIZE = 16;
const ID_SIZE = 20;
/** sector u64, num_sectors u32, flags u32. */
const RANGE_SIZE = 16;
const RANGE_UNMAP = 1;
const RANGES_MAXIMUM = 16;
/** Most sectors of one discard or write-zeroes range: 1 GiB. */
const RANGE_SECTORS_MAXIMUM = 2 ** 21;

/** What a disk is to its guest. */
export interface BlockIdentity {
  /** In bytes, a multiple of 512. */
  readonly size: number;
  readonly readonly: boolean;
  /** Serial number, up to 20 ASCII characters. */
  readonly id: string;
}

export class VirtioBlock implements VirtioDevice {
  readonly deviceId = DeviceId.block;
  readonly features: readonly number[];
  readonly queueSizes = [QUEUE_SIZE] as const;
  private readonly identity: BlockIdentity;
  private readonly config = new DataView(new ArrayBuffer(60));
  private readonly data = new BufferList(QUEUE_SIZE_MAXIMUM);
  private readonly header = new Uint8Array(HEADER_SIZE);
  private readonly headerData = new DataView(this.header.buffer);
  private readonly ranges = new Uint8Array(RANGE_SIZE * RANGES_MAXIMUM);
  private readonly rangesData = new DataView(this.ranges.buffer);
  private readonly memory: GuestMemory;
  private backend: BlockBackend | undefined;
  private writeThrough = false;

  constructor(identity: BlockIdentity, memory: GuestMemory) {
    this.identity = identity;
    this.memory = memory;
    const writable = [F_FLUSH, F_DISCARD, F_WRITE_ZEROES];
    this.features = [F_SEG_MAX, F_BLK_SIZE, ...(identity.readonly ? [F_RO] : writable)];
    const { config } = this;
    config.setBigUint64(0, BigInt(identity.size / SECTOR_SIZE), true); // capacity
    config.setUint32(12, QUEUE_SIZE - 2, true); // seg_max: all but header and status
    config.setUint32(20, SECTOR_SIZE, true); // blk_size
    config.setUint32(36, RANGE_SECTORS_MAXIMUM, true); // max_discard_sectors
    config.setUint32(40, RANGES_MAXIMUM, true); // max_discard_seg
    config.setUint32(44, 4096 / SECTOR_SIZE, true); // discard_sector_alignment
    config.setUint32(48, RANGE_SECTORS_MAXIMUM, true); // max_write_zeroes_sectors
    config.setUint32(52, RANGES_MAXIMUM, true); // max_write_zeroes_seg
    config.setUint8(56, 1); // write_zeroes_may_unmap
  }

  /** Gives the device its disk, on the thread that works on queues. */
  attach(backend: BlockBackend): void {
    this.backend = backend;
  }

  readConfig(offset: number, size: AccessSize): number {
    return readConfigBytes(this.config, offset, size);
  }

  writeConfig(): void {}

  activate(features: FeatureSet): void {
    // A driver that doesn't know of flushes expects its writes to be stable when they are done (5.2.6.2).
    this.writeThrough = !features.has(F_FLUSH);
  }

  process(_index: number, queue: Virtqueue): boolean {
    for (let n = 0; n < WORK_LIMIT; n++) {
      if (!queue.next()) return false;
      const { chain } = queue;
      const { head } = chain;
      queue.push(head, this.serve(chain));
    }
    return true;
  }

  save(): SavedState {
    return {};
  }

  restore(): void {}

  /** Serves one request. @returns bytes written to the guest, the status byte included */
  private serve(chain: Chain): number {
    if (chain.readableBytes < HEADER_SIZE || chain.writableBytes < 1) {
      throw new GuestError(
        `block request with ${chain.readableBytes} bytes to read and ${chain.writableBytes} to write`,
      );
    }
    const { data } = this;
    data.take(chain, false, 0, HEADER_SIZE);
    data.copyTo(this.memory, this.header);
    const type = this.headerData.getUint32(0, true);
    const sector = this.headerData.getUint32(8, true) + this.headerData.getUint32(12, true) * 0x1_0000_0000;
    const room = chain.writableBytes - 1;
    const status = this.perform(chain, type, sector, room);
    data.take(chain, true, room, 1);
    this.memory.writeU8(data.address[0]!, status);
    return status === S_OK && (type === T_IN || type === T_GET_ID) ? room + 1 : 1;
  }

  private perform(chain: Chain, type: number, sector: number, room: number): number {
    const { backend, data } = this;
    if (backend === undefined) return S_IOERR;
    const sent = chain.readableBytes - HEADER_SIZE;
    switch (type) {
      case T_IN:
        if (!this.inRange(sector, room)) return S_IOERR;
        data.take(chain, true, 0, room);
        return result(backend.read(sector * SECTOR_SIZE, data));
      case T_OUT:
        if (this.identity.readonly || !this.inRange(sector, sent)) return S_IOERR;
        data.take(chain, false, HEADER_SIZE, sent);
        return result(backend.write(sector * SECTOR_SIZE, data) && (!this.writeThrough || backend.flush()));
      case T_FLUSH:
        return result(backend.flush());
      case T_GET_ID:
        return this.getId(chain, room);
      case T_DISCARD:
      case T_WRITE_ZEROES:
        return this.clearRanges(chain, type, sent, backend);
      default:
        return S_UNSUPP;
    }
  }

  /** Whole sectors, at least one, all on the disk. */
  private inRange(sector: number, bytes: number): boolean {
    return bytes > 0 && bytes % SECTOR_SIZE === 0 && sector * SECTOR_SIZE + bytes <= this.identity.size;
  }

  private getId(chain: Chain, room: number): number {
    if (room < ID_SIZE) return S_IOERR;
    const { data } = this;
    data.take(chain, true, 0, room);
    const { id } = this.identity;
    let at = 0;
    for (let i = 0; i < data.count; i++) {
      for (let j = 0; j < data.length[i]!; j++, at++) {
        this.memory.writeU8(data.address[i]! + j, at < Math.min(id.length, ID_SIZE) ? id.charCodeAt(at) : 0);
      }
    }
    return S_OK;
  }

  /** 5.2.6.2: every range must be good before any is touched. */
  private clearRanges(chain: Chain, type: number, sent: number, backend: BlockBackend): number {
    if (this.identity.readonly) return S_IOERR;
    if (sent === 0 || sent % RANGE_SIZE !== 0 || sent > this.ranges.length) return S_UNSUPP;
    this.data.take(chain, false, HEADER_SIZE, sent);
    this.data.copyTo(this.memory, this.ranges);
    for (let at = 0; at < sent; at += RANGE_SIZE) {
      const flags = this.rangesData.getUint32(at + 12, true);
      if (flags & ~RANGE_UNMAP || (type === T_DISCARD && flags !== 0)) return S_UNSUPP;
      const count = this.rangesData.getUint32(at + 8, true);
      if (count > RANGE_SECTORS_MAXIMUM || !this.inRange(this.rangeSector(at), count * SECTOR_SIZE))
        return S_IOERR;
    }
    for (let at = 0; at < sent; at += RANGE_SIZE) {
      const offset = this.rangeSector(at) * SECTOR_SIZE;
      const length = this.rangesData.getUint32(at + 8, true) * SECTOR_SIZE;
      const unmap = (this.rangesData.getUint32(at + 12, true) & RANGE_UNMAP) !== 0;
      const done =
        type === T_DISCARD ? backend.discard(offset, length) : backend.writeZeroes(offset, length, unmap);
      if (!done) return S_IOERR;
    }
    return S_OK;
  }

  private rangeSector(at: number): number {
    return this.rangesData.getUint32(at, true) + this.rangesData.getUint32(at + 4, true) * 0x1_0000_0000;
  }
}

function result(done: boolean): number {
  return done ? S_OK : S_IOERR;
}
