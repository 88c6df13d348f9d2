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

/** {@link Attributes} as bits, and what the decoder would else have to find out of the operands each time. */
export const EntryBit = {
  default64: 1,
  force64: 2,
  atMost32: 4,
  not64: 8,
  only64: 0x10,
  memoryOnly: 0x20,
  registerOnly: 0x40,
  noPrefix: 0x80,
  noRepeat: 0x100,
  lock: 0x200,
  /** A segment, control or debug register is part of the form. */
  special: 0x400,
  /** There are two immediates. */
  secondImmediate: 0x800,
} as const;

/** What the decoder does for an operand: its code in one small number. Most come to the same few things. */
export const Step = {
  nothing: 0,
  /** A register by ModRM.rm, unless that names memory. */
  rmOrMemory: 1,
  rmOrMemory8: 2,
  rm: 3,
  rm8: 4,
  reg: 5,
  reg8: 6,
  opcode: 7,
  opcode8: 8,
  /** Those without REX bits: MMX and x87 registers. */
  legacyRmOrMemory: 9,
  legacyRm: 10,
  legacyReg: 11,
  segment: 12,
  control: 13,
  debug: 14,
  imm8: 15,
  secondImm8: 16,
  imm8s: 17,
  imm16: 18,
  /** Of the operand's size. */
  imm: 19,
  /** At most 32 bits. */
  imm32: 20,
  relative8: 21,
  relative: 22,
  far: 23,
  offset: 24,
  one: 25,
} as const;

const STEPS: Readonly<Record<string, number>> = {
  CL: Step.nothing,
  DX: Step.nothing,
  Ib: Step.imm8,
  Ib2: Step.secondImm8,
  Ibs: Step.imm8s,
  Iw: Step.imm16,
  Iv: Step.imm,
  Jb: Step.relative8,
  Ap: Step.far,
};
const STEPS_BY_LETTER: Readonly<Record<string, readonly [number, number]>> = {
  E: [Step.rmOrMemory, Step.rmOrMemory8],
  W: [Step.rmOrMemory, Step.rmOrMemory],
  R: [Step.rm, Step.rm8],
  U: [Step.rm, Step.rm],
  G: [Step.reg, Step.reg8],
  V: [Step.reg, Step.reg],
  Z: [Step.opcode, Step.opcode8],
  Q: [Step.legacyRmOrMemory, Step.legacyRmOrMemory],
  N: [Step.legacyRm, Step.legacyRm],
  T: [Step.legacyRm, Step.legacyRm],
  P: [Step.legacyReg, Step.legacyReg],
  S: [Step.segment, Step.segment],
  C: [Step.control, Step.control],
  D: [Step.debug, Step.debug],
  I: [Step.imm32, Step.imm32],
  J: [Step.relative, Step.relative],
  O: [Step.offset, Step.offset],
  1: [Step.one, Step.one],
};

function stepOf(code: string): number {
  return STEPS[code] ?? STEPS_BY_LETTER[code[0]!]?.[code[1] === 'b' ? 1 : 0] ?? Step.nothing;
}

function entryBits(attributes: Attributes, codes: readonly string[]): number {
  let bits = 0;
  for (const [name, value] of Object.entries(attributes))
    if (value) bits |= EntryBit[name as keyof Attributes];
  const steps = codes.map(stepOf);
  const has = (...wanted: number[]): boolean => wanted.some((step) => steps.includes(step));
  if (has(Step.segment, Step.control, Step.debug)) bits |= EntryBit.special;
  if (has(Step.secondImm8, Step.far)) bits |= EntryBit.secondImmediate;
  return bits;
}

export interface Entry {
  readonly id: number;
  readonly name: string;
  readonly encoding: string;
  readonly operands: readonly string[];
  readonly meaning: Meaning;
  readonly attributes: Attributes;
  readonly hasModRm: boolean;
  /** {@link EntryBit} */
  readonly bits: number;
  /** {@link Step}s of the operands; those that ask for nothing are left out. */
  readonly steps: readonly number[];
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
  const isVector = codes.some((code) => 'WVUQPN'.includes(code[0]!));
  const allAttributes = isVector ? { noPrefix: true, ...attributes } : attributes;
  const entry: Entry = {
    id: ENTRIES.length,
    name,
    encoding,
    operands: codes,
    meaning,
    attributes: allAttributes,
    hasModRm: needsModRm,
    bits: entryBits(allAttributes, codes),
    steps: codes.map(stepOf).filter((step) => step !== Step.nothing),
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
