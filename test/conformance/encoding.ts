/**
 * An instruction's bytes taken apart as far as differences between processors depend on them (SDM vol. 2, chapter
 * 2). Independent of vm/cpu's decoder, which is under test.
 */
import type { Case } from './records.ts';

export interface Encoding {
  readonly lock: boolean;
  /** F2 or F3, whichever is the last, or 0. */
  readonly repeat: number;
  readonly operandPrefix: boolean;
  /** The last segment prefix, or 0. */
  readonly segmentPrefix: number;
  /** 0 without a REX prefix. */
  readonly rex: number;
  readonly rexW: boolean;
  readonly rexB: boolean;
  /** 0: one byte; 1: 0F; 2: 0F38; 3: 0F3A. */
  readonly map: number;
  /** With the map in front, as in the manual's tables: 0xFF, 0x0FB2, 0x0F38F8. */
  readonly opcode: number;
  /** ModRM.reg, if the opcode has a ModRM byte. */
  readonly reg: number;
  /** ModRM.rm, without REX.B. */
  readonly rm: number;
  /** ModRM says memory, if the opcode has a ModRM byte. */
  readonly isMemory: boolean;
  readonly operandSize: 16 | 32 | 64;
  readonly addressSize: 16 | 32 | 64;
}

const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

export function encodingOf(c: Case): Encoding {
  const { code, mode } = c;
  let at = 0;
  let lock = false;
  let repeat = 0;
  let operandPrefix = false;
  let addressPrefix = false;
  let segmentPrefix = 0;
  for (; at < code.length; at++) {
    const byte = code[at]!;
    if (byte === 0xf0) lock = true;
    else if (byte === 0xf2 || byte === 0xf3) repeat = byte;
    else if (byte === 0x66) operandPrefix = true;
    else if (byte === 0x67) addressPrefix = true;
    else if (SEGMENT_PREFIXES.includes(byte)) segmentPrefix = byte;
    else break;
  }
  let rex = 0;
  if (mode === 64 && (code[at]! & 0xf0) === 0x40) rex = code[at++]!;
  let map = 0;
  if (code[at] === 0x0f) {
    at++;
    map = code[at] === 0x38 ? 2 : code[at] === 0x3a ? 3 : 1;
    if (map > 1) at++;
  }
  const byte = code[at] ?? 0;
  const modRm = code[at + 1] ?? 0;
  const rexW = (rex & 8) !== 0;
  return {
    lock,
    repeat,
    operandPrefix,
    segmentPrefix,
    rex,
    rexW,
    rexB: (rex & 1) !== 0,
    map,
    opcode: [0, 0x0f00, 0x0f_3800, 0x0f_3a00][map]! | byte,
    reg: (modRm >> 3) & 7,
    rm: modRm & 7,
    isMemory: modRm < 0xc0,
    operandSize: rexW ? 64 : (mode === 16) !== operandPrefix ? 16 : 32,
    addressSize: mode === 64 ? (addressPrefix ? 32 : 64) : (mode === 16) !== addressPrefix ? 16 : 32,
  };
}
