/**
 * The kernel file, read with care: it comes from outside, so every field is bounds-checked, and a field
 * that isn't there is an error that names the file and the field.
 */
import { BootError } from './errors.ts';

/** The bytes of a kernel file and its name. */
export class KernelImage {
  /** As the user named it; opens every message. */
  readonly name: string;
  readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(name: string, bytes: Uint8Array) {
    this.name = name;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get length(): number {
    return this.bytes.length;
  }

  /** Whether the file has `length` bytes at `offset`. */
  has(offset: number, length: number): boolean {
    return offset >= 0 && length >= 0 && offset + length <= this.bytes.length;
  }

  /** @param field - its name in the specification. @throws BootError KERNEL_TRUNCATED */
  u8(offset: number, field: string): number {
    this.need(offset, 1, field);
    return this.view.getUint8(offset);
  }

  /** Little-endian. @throws BootError KERNEL_TRUNCATED */
  u16(offset: number, field: string): number {
    this.need(offset, 2, field);
    return this.view.getUint16(offset, true);
  }

  /** Little-endian. @throws BootError KERNEL_TRUNCATED */
  u32(offset: number, field: string): number {
    this.need(offset, 4, field);
    return this.view.getUint32(offset, true);
  }

  /**
   * Little-endian. Exact up to 2^53; what is above is no address or size that a guest can have,
   * and stays above when rounded.
   * @throws BootError KERNEL_TRUNCATED
   */
  u64(offset: number, field: string): number {
    this.need(offset, 8, field);
    return Number(this.view.getBigUint64(offset, true));
  }

  /** A view, not a copy. @throws BootError KERNEL_TRUNCATED */
  slice(offset: number, length: number, field: string): Uint8Array {
    this.need(offset, length, field);
    return this.bytes.subarray(offset, offset + length);
  }

  /** The file isn't what it should be. */
  malformed(what: string, hint?: string): BootError {
    return new BootError('KERNEL_FORMAT', `${this.name}: ${what}`, hint);
  }

  private need(offset: number, length: number, field: string): void {
    if (this.has(offset, length)) return;
    throw new BootError(
      'KERNEL_TRUNCATED',
      `${this.name}: the file ends after ${this.bytes.length} bytes, before its ${field} ` +
        `(${length} bytes at offset 0x${offset.toString(16)})`,
      'The file may have been cut off on its way: copy or download it again.',
    );
  }
}
