/**
 * Decodes instructions: prefixes, opcode, ModRM, SIB, displacement, immediates. SDM volume 2, chapter 2.
 * The result is an {@link Instruction} that is filled anew for each instruction; the entry it names leads to
 * the form (forms.ts) that knows what it means.
 */
import { type Entry, EntryBit, MAPS, OTHER_MODE, Step } from './isa/table.ts';
import { ModeBit, Seg } from './layout.ts';

export const Decoded = { ok: 0, needsMore: 1, invalid: 2 } as const;
export type Decoded = (typeof Decoded)[keyof typeof Decoded];

/** Longest instruction. SDM volume 2, 2.3.11. */
export const INSTRUCTION_MAXIMUM = 15;

/** Base register of a RIP-relative address. */
export const RIP_BASE = 32;
const NO_REGISTER = -1;

const Prefix = { none: 0, rex: 1, operandSize: 2, addressSize: 3, lock: 4, repeat: 5, segment: 6 } as const;

/** {@link Prefix} of each byte that can be one. */
const PREFIX_KINDS = new Uint8Array(256).fill(Prefix.rex, 0x40, 0x50);
for (const [byte, kind] of [
  [0x66, Prefix.operandSize],
  [0x67, Prefix.addressSize],
  [0xf0, Prefix.lock],
  [0xf2, Prefix.repeat],
  [0xf3, Prefix.repeat],
  ...[0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65].map((segment) => [segment, Prefix.segment] as const),
] as const)
  PREFIX_KINDS[byte] = kind;

/** Whether an opcode of the one-byte map is a string instruction, which REP repeats. */
function isString(opcode: number): boolean {
  return (
    (opcode >= 0xa4 && opcode <= 0xaf && opcode !== 0xa8 && opcode !== 0xa9) ||
    (opcode >= 0x6c && opcode <= 0x6f)
  );
}

/** Operand size in 64-bit mode. SDM volume 2, 2.2.1.2 and 2.2.1.7. */
function sizeIn64(bits: number, w: boolean, operandPrefix: boolean): 16 | 32 | 64 {
  if ((bits & EntryBit.force64) !== 0) return 64;
  if (w) return (bits & EntryBit.atMost32) !== 0 ? 32 : 64;
  if (operandPrefix) return 16;
  return (bits & EntryBit.default64) !== 0 ? 64 : 32;
}

export class Instruction {
  entry!: Entry;
  /** Of an invalid instruction: whether it is longer than 15 bytes, which is #GP instead of #UD. */
  tooLong = false;
  length = 0;
  /** Operand size in bits. */
  size: 8 | 16 | 32 | 64 = 32;
  addressSize: 16 | 32 | 64 = 32;
  /** 0xf3, 0xf2 or 0, when it isn't a mandatory prefix. */
  repeat = 0;
  lock = false;
  modRm = 0;
  /** Whether ModRM (or the opcode) names memory. */
  isMemory = false;
  /** Registers of the memory operand, −1 for none, {@link RIP_BASE} for the next instruction's address. */
  base = NO_REGISTER;
  index = NO_REGISTER;
  scale = 0;
  displacementLow = 0;
  displacementHigh = 0;
  segment: number = Seg.ds;
  immediateLow = 0;
  immediateHigh = 0;
  /** Second immediate: ENTER's level, a far pointer's selector. */
  immediate2 = 0;
  /** Register operands in order: 0–15, 16–19 for AH and its like, vector and x87 registers by number. */
  readonly registers = [0, 0, 0, 0];
  /** Segment, control or debug register; part of the form. */
  special = 0;

  private bytes: Uint8Array = new Uint8Array(0);
  private at = 0;
  private rex = 0;

  /**
   * Decodes the instruction at `start`.
   * @param end - where the bytes end that may be looked at; what lies behind may be read, but decides nothing
   * @param mode - see {@link ModeBit}
   */
  decode(bytes: Uint8Array, start: number, end: number, mode: number): Decoded {
    this.bytes = bytes;
    this.at = start;
    const result = this.decodeFrom(start, mode);
    const longest = start + INSTRUCTION_MAXIMUM;
    this.tooLong = this.at > longest;
    // Whatever came of bytes that aren't there: that they were asked for counts.
    if (this.at > end && end < longest) return Decoded.needsMore;
    if (this.tooLong) return Decoded.invalid;
    this.length = this.at - start;
    return result;
  }

  private u8(): number {
    return this.bytes[this.at++]! | 0;
  }

  private s8(): number {
    return (this.bytes[this.at++]! << 24) >> 24;
  }

  private u16(): number {
    const { bytes, at } = this;
    this.at = at + 2;
    return bytes[at]! | (bytes[at + 1]! << 8);
  }

  private s32(): number {
    const { bytes, at } = this;
    this.at = at + 4;
    return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  }

  private decodeFrom(start: number, mode: number): Decoded {
    const codeSize = mode & ModeBit.codeSize;
    const is64 = codeSize === 2;
    let operandPrefix = false;
    let addressPrefix = false;
    let repeat = 0;
    let segment = -1;
    let rex = 0;
    this.lock = false;
    let opcode = this.u8();
    for (;;) {
      const prefix = PREFIX_KINDS[opcode]!;
      if (prefix === Prefix.none) break;
      if (prefix === Prefix.rex) {
        if (!is64) break;
        rex = opcode;
      } else {
        // Only directly before the opcode is it REX.
        rex = 0;
        if (prefix === Prefix.operandSize) operandPrefix = true;
        else if (prefix === Prefix.addressSize) addressPrefix = true;
        else if (prefix === Prefix.lock) this.lock = true;
        else if (prefix === Prefix.repeat) repeat = opcode;
        else if (opcode >= 0x64) segment = opcode - 0x64 + Seg.fs;
        else if (!is64) segment = (opcode >> 3) & 3;
      }
      if (this.at > start + INSTRUCTION_MAXIMUM) return Decoded.invalid;
      opcode = this.u8();
    }
    this.rex = rex;
    let map = 0;
    if (opcode === 0x0f) {
      opcode = this.u8();
      map = 1;
      if (opcode === 0x38 || opcode === 0x3a) {
        map = opcode === 0x38 ? 2 : 3;
        opcode = this.u8();
      }
    }
    const node = MAPS[map]![opcode];
    if (node === undefined) return Decoded.invalid;
    const { byPrefix } = node;
    let choice = byPrefix[0];
    let isByRepeat = false;
    if (repeat !== 0 || operandPrefix) {
      const repeated = repeat === 0 ? undefined : byPrefix[repeat === 0xf3 ? 2 : 3];
      isByRepeat = repeated !== undefined;
      choice = repeated ?? (operandPrefix ? byPrefix[1] : undefined) ?? choice;
    }
    if (choice === undefined) return Decoded.invalid;
    let entry = choice.all;
    this.isMemory = false;
    if (choice.hasModRm) {
      const modRm = this.u8();
      this.modRm = modRm;
      if (choice.byReg !== undefined)
        entry = choice.byReg[((modRm >> 3) & 7) | (modRm < 0xc0 ? 8 : 0)] ?? entry;
      if (choice.byModRm !== undefined) entry = choice.byModRm.get(modRm) ?? entry;
    }
    // 90 is NOP, unless REX.B makes it an exchange with R8.
    if (map === 0 && opcode === 0x90 && (rex & 1) !== 0) entry = MAPS[0]![0x91]!.byPrefix[0]!.all;
    if (entry === undefined) return Decoded.invalid;
    this.repeat = repeat !== 0 && !isByRepeat && map === 0 && isString(opcode) ? repeat : 0;
    let { bits } = entry;
    if ((bits & (is64 ? EntryBit.not64 : EntryBit.only64)) !== 0) {
      // 63 is MOVSXD or ARPL.
      const other = OTHER_MODE.get(entry);
      if (other === undefined) return Decoded.invalid;
      entry = other;
      bits = other.bits;
    }
    if ((bits & (EntryBit.noPrefix | EntryBit.noRepeat)) !== 0) {
      // Prefixes that would choose another instruction, were there one.
      if (repeat !== 0 && !isByRepeat) return Decoded.invalid;
      if (repeat === 0 && operandPrefix && (bits & EntryBit.noPrefix) !== 0 && choice === byPrefix[0])
        return Decoded.invalid;
    }
    this.entry = entry;
    if (!is64) {
      this.size = (codeSize === 1) !== operandPrefix ? 32 : 16;
      this.addressSize = (codeSize === 1) !== addressPrefix ? 32 : 16;
    } else {
      this.size = sizeIn64(bits, (rex & 8) !== 0, operandPrefix);
      this.addressSize = addressPrefix ? 32 : 64;
    }
    this.segment = segment >= 0 ? segment : Seg.ds;
    this.base = NO_REGISTER;
    this.index = NO_REGISTER;
    this.scale = 0;
    this.displacementLow = 0;
    this.displacementHigh = 0;
    if (choice.hasModRm && this.modRm < 0xc0) this.decodeModRm(is64, segment);
    this.operands(entry.steps, opcode, segment);
    if (this.lock && !((bits & EntryBit.lock) !== 0 && this.isMemory)) return Decoded.invalid;
    if ((bits & (this.isMemory ? EntryBit.registerOnly : EntryBit.memoryOnly)) !== 0) return Decoded.invalid;
    return Decoded.ok;
  }

  private decodeModRm(is64: boolean, segmentPrefix: number): void {
    const mod = this.modRm >> 6;
    const rm = this.modRm & 7;
    this.isMemory = true;
    if (this.addressSize === 16) {
      this.decodeModRm16(mod, rm, segmentPrefix);
      return;
    }
    const b = (this.rex & 1) << 3;
    const x = (this.rex & 2) << 2;
    let base = rm | b;
    if (rm === 4) {
      const sib = this.u8();
      const index = ((sib >> 3) & 7) | x;
      if (index !== 4) {
        this.index = index;
        this.scale = sib >> 6;
      }
      base = (sib & 7) | b;
      if ((sib & 7) === 5 && mod === 0) {
        this.displacementLow = this.s32();
        base = NO_REGISTER;
      }
    } else if (rm === 5 && mod === 0) {
      this.displacementLow = this.s32();
      base = is64 ? RIP_BASE : NO_REGISTER;
    }
    this.base = base;
    if (mod === 1) this.displacementLow = this.s8();
    else if (mod === 2) this.displacementLow = this.s32();
    this.displacementHigh = this.displacementLow >> 31;
    if (segmentPrefix < 0 && (base === 4 || base === 5)) this.segment = Seg.ss;
  }

  /** SDM volume 2, table 2-1. */
  private decodeModRm16(mod: number, rm: number, segmentPrefix: number): void {
    const [base, index] = ADDRESSES_16[rm]!;
    this.base = base;
    this.index = index;
    if (mod === 0 && rm === 6) {
      this.base = NO_REGISTER;
      this.displacementLow = (this.u16() << 16) >> 16;
    } else if (mod === 1) this.displacementLow = this.s8();
    else if (mod === 2) this.displacementLow = (this.u16() << 16) >> 16;
    this.displacementHigh = this.displacementLow >> 31;
    if (segmentPrefix < 0 && this.base === 5) this.segment = Seg.ss;
  }

  private operands(steps: readonly number[], opcode: number, segmentPrefix: number): void {
    const { rex, registers, modRm } = this;
    let slot = 0;
    for (let i = 0; i < steps.length; i++) {
      const step = steps[i]!;
      if (step <= Step.legacyReg) {
        if (this.isMemory && (step <= Step.rmOrMemory8 || step === Step.legacyRmOrMemory)) continue;
        registers[slot++] = this.register(step, opcode, modRm, rex);
      } else if (step <= Step.debug) this.specialRegister(step, ((modRm >> 3) & 7) | ((rex & 4) << 1));
      else this.constant(step, segmentPrefix);
    }
  }

  private register(step: number, opcode: number, modRm: number, rex: number): number {
    switch (step) {
      case Step.rmOrMemory:
      case Step.rm:
        return (modRm & 7) | ((rex & 1) << 3);
      case Step.rmOrMemory8:
      case Step.rm8:
        return this.byteRegister((modRm & 7) | ((rex & 1) << 3));
      case Step.reg:
        return ((modRm >> 3) & 7) | ((rex & 4) << 1);
      case Step.reg8:
        return this.byteRegister(((modRm >> 3) & 7) | ((rex & 4) << 1));
      case Step.opcode:
        return (opcode & 7) | ((rex & 1) << 3);
      case Step.opcode8:
        return this.byteRegister((opcode & 7) | ((rex & 1) << 3));
      case Step.legacyReg:
        return (modRm >> 3) & 7;
      default:
        return modRm & 7;
    }
  }

  private specialRegister(step: number, reg: number): void {
    if (step === Step.segment) this.special = reg & 7;
    else if (step === Step.debug) this.special = reg;
    else {
      // On AMD's processors, LOCK MOV CR0 is MOV CR8.
      this.special = !this.lock ? reg : reg === 0 ? 8 : 15;
      this.lock = false;
    }
  }

  private constant(step: number, segmentPrefix: number): void {
    const { size } = this;
    switch (step) {
      case Step.imm8:
        this.immediateLow = this.u8();
        this.immediateHigh = 0;
        return;
      case Step.secondImm8:
        this.immediate2 = this.u8();
        return;
      case Step.imm16:
        this.immediateLow = this.u16();
        this.immediateHigh = 0;
        return;
      case Step.far:
        this.immediateLow = size === 16 ? this.u16() : this.s32();
        this.immediate2 = this.u16();
        return;
      case Step.one:
        this.immediateLow = 1;
        this.immediateHigh = 0;
        return;
      case Step.offset:
        this.isMemory = true;
        this.displacementLow = this.addressSize === 16 ? this.u16() : this.s32();
        this.displacementHigh = this.addressSize === 64 ? this.s32() : 0;
        if (segmentPrefix < 0) this.segment = Seg.ds;
        return;
      case Step.imm:
        if (size === 64) {
          this.immediateLow = this.s32();
          this.immediateHigh = this.s32();
          return;
        }
        this.immediateLow = size === 16 ? this.u16() : this.s32();
        break;
      case Step.imm8s:
        this.immediateLow = this.s8();
        if (size === 16) this.immediateLow &= 0xffff;
        break;
      case Step.relative8:
        this.immediateLow = this.s8();
        break;
      case Step.relative:
        this.immediateLow = size === 16 ? (this.u16() << 16) >> 16 : this.s32();
        break;
      default:
        this.immediateLow = size === 16 ? this.u16() : this.s32();
    }
    this.immediateHigh = this.immediateLow >> 31;
  }

  private byteRegister(number: number): number {
    return this.rex === 0 && number >= 4 && number < 8 ? number + 12 : number;
  }
}

/** Registers of 16-bit addresses: BX+SI, BX+DI, BP+SI, BP+DI, SI, DI, BP, BX. */
const ADDRESSES_16: readonly (readonly [number, number])[] = [
  [3, 6],
  [3, 7],
  [5, 6],
  [5, 7],
  [6, NO_REGISTER],
  [7, NO_REGISTER],
  [5, NO_REGISTER],
  [3, NO_REGISTER],
];
