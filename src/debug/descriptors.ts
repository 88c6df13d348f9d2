/**
 * Segment descriptors and gates, decoded (SDM volume 3A, 3.4.5, 3.5, 6.11 and 6.14.1).
 */
import { hex } from '../../vm/trace/text.ts';

/** Types of system segments and gates, table 3-2. Long mode has only those in the second list. */
const SYSTEM_TYPES = [
  'reserved',
  '16-bit TSS',
  'LDT',
  'busy 16-bit TSS',
  '16-bit call gate',
  'task gate',
  '16-bit interrupt gate',
  '16-bit trap gate',
  'reserved',
  '32-bit TSS',
  'reserved',
  'busy 32-bit TSS',
  '32-bit call gate',
  'reserved',
  '32-bit interrupt gate',
  '32-bit trap gate',
] as const;
const LONG_TYPES: Readonly<Record<number, string>> = {
  2: 'LDT',
  9: '64-bit TSS',
  11: 'busy 64-bit TSS',
  12: '64-bit call gate',
  14: '64-bit interrupt gate',
  15: '64-bit trap gate',
};
const CODE_TYPES = ['execute', 'execute/read', 'conforming', 'conforming, read'] as const;
const DATA_TYPES = ['read', 'read/write', 'expand-down', 'expand-down, write'] as const;

/** What a system segment or gate of a type is called. */
export function systemType(type: number, isLong: boolean): string {
  return (isLong ? LONG_TYPES[type] : SYSTEM_TYPES[type]) ?? 'reserved';
}

/** A line on a descriptor of a GDT or LDT, and how many bytes it takes. */
export function describeDescriptor(bytes: Uint8Array, isLong: boolean): { text: string; length: 8 | 16 } {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const low = data.getUint32(0, true);
  const high = data.getUint32(4, true);
  if (low === 0 && high === 0) return { text: 'null', length: 8 };
  const type = (high >>> 8) & 15;
  const isSystem = (high & 0x1000) === 0;
  const limit = ((low & 0xffff) | (high & 0xf_0000)) >>> 0;
  const bytesLimit = high & 0x80_0000 ? limit * 4096 + 4095 : limit;
  let base = BigInt(((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff00_0000)) >>> 0);
  const length = isLong && isSystem && bytes.length >= 16 ? 16 : 8;
  if (length === 16) base |= BigInt(data.getUint32(8, true)) << 32n;
  const common = [
    `base ${hex(base)} limit ${hex(bytesLimit)}`,
    `DPL ${(high >>> 13) & 3}`,
    high & 0x8000 ? 'P' : 'not present',
  ];
  if (isSystem)
    return {
      text: [systemType(type, isLong), ...common].join('  '),
      length,
    };
  const isCode = (type & 8) !== 0;
  const size = isCode && high & 0x20_0000 ? '64-bit' : high & 0x40_0000 ? '32-bit' : '16-bit';
  const names = isCode ? CODE_TYPES : DATA_TYPES;
  const what = `${size} ${isCode ? 'code' : 'data'}, ${names[(type >> 1) & 3]}${type & 1 ? ', accessed' : ''}`;
  return { text: [what, ...common].join('  '), length };
}

/** An entry of an IDT. */
export interface Gate {
  readonly isPresent: boolean;
  readonly selector: number;
  readonly offset: bigint;
  readonly text: string;
}

/** Decodes a gate: 16 bytes in long mode, 8 in protected mode, 4 in real mode. */
export function describeGate(bytes: Uint8Array, mode: 'real' | 'protected' | 'long'): Gate {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const low = data.getUint32(0, true);
  if (mode === 'real') {
    const selector = low >>> 16;
    const offset = BigInt(low & 0xffff);
    return { isPresent: low !== 0, selector, offset, text: 'vector' };
  }
  const high = data.getUint32(4, true);
  const type = (high >>> 8) & 15;
  const upper = mode === 'long' ? BigInt(data.getUint32(8, true)) << 32n : 0n;
  const ist = mode === 'long' && high & 7 ? `  IST ${high & 7}` : '';
  const name = systemType(type, mode === 'long');
  return {
    isPresent: (high & 0x8000) !== 0,
    selector: low >>> 16,
    offset: upper | BigInt(((low & 0xffff) | (high & 0xffff_0000)) >>> 0),
    text: `${name}  DPL ${(high >>> 13) & 3}${ist}`,
  };
}
