/**
 * Writes the structures that boot protocols and firmware tables are made of: little-endian fields one
 * after the other, each line of the caller a field of the specification.
 */

/** Bytes that grow as fields are written. Cold path. */
export class StructWriter {
  private bytes = new Uint8Array(256);
  private view = new DataView(this.bytes.buffer);
  private used = 0;

  /** Bytes written so far: the offset of the next field. */
  get length(): number {
    return this.used;
  }

  u8(value: number): this {
    const at = this.grow(1);
    this.view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.grow(2);
    this.view.setUint16(at, value, true);
    return this;
  }

  u32(value: number): this {
    const at = this.grow(4);
    this.view.setUint32(at, value, true);
    return this;
  }

  /** @param value - up to 2^53 as a number */
  u64(value: number | bigint): this {
    const at = this.grow(8);
    this.view.setBigUint64(at, BigInt(value), true);
    return this;
  }

  data(source: Uint8Array): this {
    const at = this.grow(source.length);
    this.bytes.set(source, at);
    return this;
  }

  /** ASCII in a field of `length` bytes, filled up with `fill` (0, or a space where the spec says so). */
  ascii(text: string, length = text.length, fill = 0): this {
    const at = this.grow(length);
    for (let i = 0; i < length; i++) this.bytes[at + i] = i < text.length ? text.charCodeAt(i) : fill;
    return this;
  }

  /** Reserved bytes. */
  zeros(count: number): this {
    this.grow(count);
    return this;
  }

  /** What was written, as a copy. */
  finish(): Uint8Array {
    return this.bytes.slice(0, this.used);
  }

  /** Makes room. May replace `bytes` and `view`, so call it before touching them. */
  private grow(count: number): number {
    const at = this.used;
    this.used += count;
    if (this.used > this.bytes.length) {
      const larger = new Uint8Array(Math.max(this.used, this.bytes.length * 2));
      larger.set(this.bytes);
      this.bytes = larger;
      this.view = new DataView(larger.buffer);
    }
    return at;
  }
}

/** Sets the byte at `offset` so that all bytes add up to 0 modulo 256, as ACPI and MP tables ask for. */
export function setChecksum(table: Uint8Array, offset: number): void {
  table[offset] = 0;
  table[offset] = -sum(table);
}

/** Sum of all bytes modulo 256. */
export function sum(bytes: Uint8Array): number {
  return bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
}
