/**
 * A growing buffer of WebAssembly binary format. WebAssembly Core Specification 2.0, chapter 5.
 */

export class Bytes {
  data: Uint8Array;
  length = 0;
  private readonly scratch = new DataView(new ArrayBuffer(8));

  constructor(capacity = 1024) {
    this.data = new Uint8Array(capacity);
  }

  private reserve(count: number): void {
    if (this.length + count <= this.data.length) return;
    const bigger = new Uint8Array(Math.max(this.data.length * 2, this.length + count));
    bigger.set(this.data.subarray(0, this.length));
    this.data = bigger;
  }

  u8(value: number): void {
    if (this.length === this.data.length) this.reserve(1);
    this.data[this.length++] = value;
  }

  /** Unsigned LEB128 of a number below 2³². */
  u32(value: number): void {
    this.reserve(5);
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.data[this.length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.data[this.length++] = rest;
  }

  /** Signed LEB128 of a 32-bit number. */
  s32(value: number): void {
    this.reserve(5);
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) {
        this.data[this.length++] = low;
        return;
      }
      this.data[this.length++] = low | 0x80;
    }
  }

  /** Signed LEB128 of the 64-bit number whose halves are given. */
  s64(low: number, high: number): void {
    if (high === low >> 31) {
      this.s32(low);
      return;
    }
    this.reserve(10);
    let lo = low | 0;
    let hi = high | 0;
    for (;;) {
      const septet = lo & 0x7f;
      lo = (lo >>> 7) | (hi << 25);
      hi >>= 7;
      if (
        (lo === 0 && hi === 0 && (septet & 0x40) === 0) ||
        (lo === -1 && hi === -1 && (septet & 0x40) !== 0)
      ) {
        this.data[this.length++] = septet;
        return;
      }
      this.data[this.length++] = septet | 0x80;
    }
  }

  f64(value: number): void {
    this.scratch.setFloat64(0, value, true);
    for (let i = 0; i < 8; i++) this.u8(this.scratch.getUint8(i));
  }

  append(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.data.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** A name in ASCII. */
  name(text: string): void {
    this.u32(text.length);
    for (let i = 0; i < text.length; i++) this.u8(text.charCodeAt(i));
  }

  /** What has been written; a view, valid until the next write. */
  view(): Uint8Array {
    return this.data.subarray(0, this.length);
  }
}
