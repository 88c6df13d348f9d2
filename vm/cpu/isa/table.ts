/**
 * The table of instructions: each line gives an encoding, a name, operands and a meaning. Decoder,
 * interpreter, compiler and tests are all made from it.
 *
 * Encodings are written as in the SDM: bytes in hex, a mandatory prefix first (`66`, `f3`, `f2`), `/n` for
 * the ModRM byte's reg field, `+r` for a register in the opcode's low three bits, and a third byte as `=xx`
 * for a whole ModRM byte. Operand codes follow appendix A of volume 2: a letter for where the operand is and
 * one for its size.
 *
 *   E  register or memory by ModRM      G  register by ModRM.reg     M  memory only     R  register only (mod 3)
 *   Z  register by opcode               I  immediate                 J  relative target
 *   O  memory at an absolute offset     S  segment register          C, D  control, debug register
 *   W  XMM register or memory           V  XMM register by reg       U  XMM register only (mod 3)
 *   Q  MMX register or memory           P  MMX register by reg       N  MMX register only (mod 3)
 *
 *   b 8   w 16   d 32   q 64   x 128 bits   v operand size   y 32 or 64   z operand size, immediates at most 32
 *   bs: a byte immediate, sign-extended to the operand size
 */
import type { Builder, Operand } from '../ir/builder.ts';

export type Meaning = (b: Builder, ...operands: Operand[]) => void;

/** What an encoding needs beside its operands. */
export interface Attributes {
  /** Operand size is 64 bits by default in 64-bit mode, and can't be 32. */
  readonly default64?: boolean;
  /** Operand size is 64 bits in 64-bit mode, whatever the prefixes. */
  readonly force64?: boolean;
  /** Operand size is at most 32 bits, also with REX.W: pointers of 16:64 bits don't exist on AMD's processors. */
  readonly atMost32?: boolean;
  readonly not64?: boolean;
  readonly only64?: boolean;
  /** Different code for memory and register forms of ModRM. */
  readonly memoryOnly?: boolean;
  readonly registerOnly?: boolean;
  /** A 66, F2 or F3 prefix that no other line has makes it #UD: `NP` in the SDM. Vector instructions are so all. */
  readonly noPrefix?: boolean;
  /** The same of F2 and F3 alone: `NFx`. */
  readonly noRepeat?: boolean;
  /** LOCK is allowed (with a memory destination). */
  readonly lock?: boolean;
}

export interface Entry {
  readonly id: number;
  readonly name: string;
  readonly encoding: string;
  readonly operands: readonly string[];
  readonly meaning: Meaning;
  readonly attributes: Attributes;
  readonly hasModRm: boolean;
}

/** All entries, in order of definition. */
export const ENTRIES: Entry[] = [];

/** What an opcode byte leads to: an entry, or a choice by something else. */
export interface OpcodeNode {
  /** By mandatory prefix: none, 66, f3, f2. An absent one falls back to none. */
  readonly byPrefix: (Choice | undefined)[];
}
export interface Choice {
  all: Entry | undefined;
  /** By ModRM.reg; register forms first 8, memory forms next 8. */
  byReg: (Entry | undefined)[] | undefined;
  /** By whole ModRM byte. */
  byModRm: Map<number, Entry> | undefined;
  hasModRm: boolean;
}

function emptyMap(): (OpcodeNode | undefined)[] {
  return new Array<OpcodeNode | undefined>(256).fill(undefined);
}

/** Opcode maps: one byte, 0F, 0F38, 0F3A. */
export const MAPS: readonly (OpcodeNode | undefined)[][] = [emptyMap(), emptyMap(), emptyMap(), emptyMap()];

/** Encodings that are different instructions in and outside 64-bit mode: from one to the other. */
export const OTHER_MODE = new Map<Entry, Entry>();

const PREFIXES = ['', '66', 'f3', 'f2'];

/** Defines one encoding. */
export function define(
  encoding: string,
  name: string,
  operands: string,
  meaning: Meaning,
  attributes: Attributes = {},
): void {
  const codes = operands === '' ? [] : operands.split(' ');
  const parts: string[] = encoding.split(' ');
  const prefix = /^[0-9a-f]/.test(parts[1] ?? '') ? PREFIXES.indexOf(parts[0]!) : -1;
  if (prefix > 0) parts.shift();
  let map = 0;
  if (parts[0] === '0f') {
    parts.shift();
    map = 1;
    const second = parts[0] as string;
    if (second === '38' || second === '3a') {
      map = second === '38' ? 2 : 3;
      parts.shift();
    }
  }
  const [opcodeText, selector] = [parts[0]!, parts[1]];
  const plus = opcodeText.endsWith('+r');
  const first = Number.parseInt(opcodeText, 16);
  const needsModRm =
    selector !== undefined ||
    codes.some(
      (code) =>
        'EGMRSCDWVUQPN'.includes(code[0]!) &&
        code.length >= 2 &&
        code !== 'CL' &&
        code !== 'DX' &&
        !code.startsWith('ST'),
    );
  const entry: Entry = {
    id: ENTRIES.length,
    name,
    encoding,
    operands: codes,
    meaning,
    attributes: codes.some((code) => 'WVUQPN'.includes(code[0]!))
      ? { noPrefix: true, ...attributes }
      : attributes,
    hasModRm: needsModRm,
  };
  ENTRIES.push(entry);
  for (let opcode = first; opcode < first + (plus ? 8 : 1); opcode++) {
    place(MAPS[map]!, opcode, Math.max(prefix, 0), selector, entry);
  }
}

function place(
  map: (OpcodeNode | undefined)[],
  opcode: number,
  prefix: number,
  selector: string | undefined,
  entry: Entry,
): void {
  map[opcode] ??= { byPrefix: [undefined, undefined, undefined, undefined] };
  const { byPrefix } = map[opcode]!;
  byPrefix[prefix] ??= { all: undefined, byReg: undefined, byModRm: undefined, hasModRm: false };
  const choice = byPrefix[prefix]!;
  choice.hasModRm ||= entry.hasModRm;
  const { memoryOnly, registerOnly } = entry.attributes;
  if (selector?.startsWith('=')) {
    choice.byModRm ??= new Map();
    choice.byModRm.set(Number.parseInt(selector.slice(1), 16), entry);
  } else if (selector?.startsWith('/') || memoryOnly || registerOnly) {
    choice.byReg ??= new Array<Entry | undefined>(16).fill(undefined);
    const regs = selector === undefined ? [0, 1, 2, 3, 4, 5, 6, 7] : [Number(selector.slice(1))];
    for (const reg of regs) {
      if (!memoryOnly) choice.byReg[reg] = entry;
      if (!registerOnly) choice.byReg[8 + reg] = entry;
    }
  } else {
    if (choice.all?.attributes.only64 && entry.attributes.not64) OTHER_MODE.set(entry, choice.all);
    choice.all = entry;
  }
}
