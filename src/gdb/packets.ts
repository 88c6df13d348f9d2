/**
 * Packets of GDB's remote serial protocol: `$data#checksum`, acknowledged by `+` or `-` until that is switched
 * off, and a lone 0x03 that stops the target (GDB manual, appendix E).
 */

const INTERRUPT = 0x03;
const ESCAPE = 0x7d;
/** Longer packets than we ever announce: whoever sends one speaks another protocol. */
const LENGTH_MAXIMUM = 1 << 20;

/** What a stream of bytes is made of. */
export type Incoming =
  | { readonly type: 'packet'; readonly data: string }
  /** A packet whose checksum is wrong. */
  | { readonly type: 'garbled' }
  | { readonly type: 'interrupt' };

/** Splits a stream into packets, however it is cut. Acknowledgements are skipped. */
export class PacketReader {
  private bytes: number[] = [];
  private state: 'idle' | 'data' | 'checksum' = 'idle';
  private checksum = '';

  /** @throws RangeError when a packet never ends */
  feed(chunk: Uint8Array): Incoming[] {
    const found: Incoming[] = [];
    for (const byte of chunk) {
      if (this.state === 'idle') {
        if (byte === INTERRUPT) found.push({ type: 'interrupt' });
        else if (byte === 0x24) this.begin();
      } else if (this.state === 'data') {
        if (byte === 0x23) this.state = 'checksum';
        else this.bytes.push(byte);
        if (this.bytes.length > LENGTH_MAXIMUM) throw new RangeError('a packet of more than a mebibyte');
      } else {
        this.checksum += String.fromCharCode(byte);
        if (this.checksum.length < 2) continue;
        this.state = 'idle';
        const sum = this.bytes.reduce((total, one) => (total + one) & 0xff, 0);
        if (Number.parseInt(this.checksum, 16) === sum) found.push({ type: 'packet', data: this.unescape() });
        else found.push({ type: 'garbled' });
      }
    }
    return found;
  }

  private begin(): void {
    this.bytes = [];
    this.checksum = '';
    this.state = 'data';
  }

  private unescape(): string {
    let text = '';
    for (let i = 0; i < this.bytes.length; i++) {
      const byte = this.bytes[i]!;
      text += String.fromCharCode(byte === ESCAPE ? (this.bytes[++i] ?? 0) ^ 0x20 : byte);
    }
    return text;
  }
}

/** A packet with this data, one byte a character. */
export function packet(data: string): Buffer {
  const escaped = data.replace(/[#$}*]/g, (char) => `}${String.fromCharCode(char.charCodeAt(0) ^ 0x20)}`);
  const bytes = Buffer.from(escaped, 'latin1');
  const sum = bytes.reduce((total, one) => (total + one) & 0xff, 0);
  return Buffer.concat([Buffer.from('$'), bytes, Buffer.from(`#${sum.toString(16).padStart(2, '0')}`)]);
}
