/**
 * Decodes instructions: prefixes, opcode, ModRM, SIB, displacement, immediates. SDM volume 2, chapter 2.
 * The result is an {@link Instruction} that is filled anew for each instruction; the entry it names leads to
 * the form (forms.ts) that knows what it means.
 */
import { type Entry, MAPS, OTHER_MODE } from './isa/table.ts';
import { ModeBit, Seg } from './layout.ts';

export const Decoded = { ok: 0, needsMore: 1, invalid: 2 } as const;
export type Decoded = (typeof Decoded)[keyof typeof Decoded];

/** Longest instruction. SDM volume 2, 2.3.11. */
export const INSTRUCTION_MAXIMUM = 15;

/** Base register of a RIP-relative address. */
export const RIP_BASE = 32;
const NO_REGISTER = -1;

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
  hasModRm = false;
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
  private end = 0;
  private rex = 0;
  private legacySize = false;

  /**
   * Decodes the instruction at `start`.
   * @param end - where the bytes end that may be looked at
   * @param mode - see {@link ModeBit}
   */
  decode(bytes: Uint8Array, start: number, end: number, mode: number): Decoded {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    const limit = Math.min(end, start + INSTRUCTION_MAXIMUM);
    this.end = limit;
    const result = this.decodeWithin(mode);
    this.tooLong = this.at > start + INSTRUCTION_MAXIMUM;
    if (this.at > limit)
      return limit === end && end < start + INSTRUCTION_MAXIMUM ? Decoded.needsMore : Decoded.invalid;
    this.length = this.at - start;
    return result;
  }

  private u8(): number {
    const at = this.at++;
    return at < this.end ? this.bytes[at]! : 0;
  }

  private u16(): number {
    const low = this.u8();
    return low | (this.u8() << 8);
  }

  private s32(): number {
    const low = this.u16();
    return low | (this.u16() << 16);
  }

  private decodeWithin(mode: number): Decoded {
    const codeSize = mode & ModeBit.codeSize;
    const is64 = codeSize === 2;
    let operandPrefix = false;
    let addressPrefix = false;
    let repeat = 0;
    let segment = -1;
    this.lock = false;
    this.rex = 0;
    let opcode: number;
    for (;;) {
      opcode = this.u8();
      if (this.at > this.end) return Decoded.ok;
      let isPrefix = true;
      switch (opcode) {
        case 0x66:
          operandPrefix = true;
          break;
        case 0x67:
          addressPrefix = true;
          break;
        case 0xf0:
          this.lock = true;
          break;
        case 0xf2:
        case 0xf3:
          repeat = opcode;
          break;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
          if (!is64) segment = (opcode >> 3) & 3;
          break;
        case 0x64:
          segment = Seg.fs;
          break;
        case 0x65:
          segment = Seg.gs;
          break;
        default:
          isPrefix = false;
      }
      if (isPrefix) {
        this.rex = 0;
        continue;
      }
      if (is64 && (opcode & 0xf0) === 0x40) {
        this.rex = opcode;
        continue;
      }
      break;
    }
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
    const byPrefix = node.byPrefix;
    const repeatSlot = repeat === 0xf3 ? 2 : repeat === 0xf2 ? 3 : 0;
    let choice = repeatSlot > 0 ? byPrefix[repeatSlot] : undefined;
    this.repeat = choice === undefined ? repeat : 0;
    choice ??=
      (operandPrefix && (repeatSlot === 0 || byPrefix[repeatSlot] === undefined) ? byPrefix[1] : undefined) ??
      byPrefix[0];
    if (choice === undefined) return Decoded.invalid;
    let entry = choice.all;
    this.hasModRm = choice.hasModRm;
    this.isMemory = false;
    if (choice.hasModRm) {
      this.modRm = this.u8();
      const reg = (this.modRm >> 3) & 7;
      const isMemory = this.modRm < 0xc0;
      entry = choice.byModRm?.get(this.modRm) ?? choice.byReg?.[isMemory ? 8 + reg : reg] ?? entry;
    }
    // 90 is NOP, unless REX.B makes it an exchange with R8.
    if (map === 0 && opcode === 0x90 && (this.rex & 1) !== 0) entry = MAPS[0]![0x91]!.byPrefix[0]!.all;
    if (entry === undefined) return Decoded.invalid;
    if (
      map !== 0 ||
      !(
        (opcode >= 0xa4 && opcode <= 0xaf && opcode !== 0xa8 && opcode !== 0xa9) ||
        (opcode >= 0x6c && opcode <= 0x6f)
      )
    )
      this.repeat = 0;
    let { attributes } = entry;
    if (is64 ? attributes.not64 : attributes.only64) {
      // 63 is MOVSXD or ARPL.
      const other = OTHER_MODE.get(entry);
      if (other === undefined) return Decoded.invalid;
      entry = other;
      attributes = other.attributes;
    }
    // Prefixes that would choose another instruction, were there one.
    if (repeat !== 0 && (attributes.noPrefix || attributes.noRepeat) && choice !== byPrefix[repeatSlot])
      return Decoded.invalid;
    if (repeat === 0 && operandPrefix && attributes.noPrefix && choice === byPrefix[0])
      return Decoded.invalid;
    this.entry = entry;
    const w = (this.rex & 8) !== 0;
    if (is64) {
      this.size = attributes.force64
        ? 64
        : w
          ? attributes.atMost32
            ? 32
            : 64
          : attributes.default64
            ? operandPrefix
              ? 16
              : 64
            : operandPrefix
              ? 16
              : 32;
      this.addressSize = addressPrefix ? 32 : 64;
    } else {
      this.size = (codeSize === 1) !== operandPrefix ? 32 : 16;
      this.addressSize = (codeSize === 1) !== addressPrefix ? 32 : 16;
    }
    this.legacySize = operandPrefix;
    this.segment = segment >= 0 ? segment : Seg.ds;
    this.base = NO_REGISTER;
    this.index = NO_REGISTER;
    this.scale = 0;
    this.displacementLow = 0;
    this.displacementHigh = 0;
    if (choice.hasModRm) this.decodeModRm(is64, segment);
    this.operands(entry, opcode, segment);
    if (this.lock && !(attributes.lock && this.isMemory)) return Decoded.invalid;
    if (attributes.memoryOnly && !this.isMemory) return Decoded.invalid;
    if (attributes.registerOnly && this.isMemory) return Decoded.invalid;
    return Decoded.ok;
  }

  private decodeModRm(is64: boolean, segmentPrefix: number): void {
    const mod = this.modRm >> 6;
    const rm = this.modRm & 7;
    if (mod === 3) return;
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
    if (mod === 1) this.displacementLow = (this.u8() << 24) >> 24;
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
    } else if (mod === 1) this.displacementLow = (this.u8() << 24) >> 24;
    else if (mod === 2) this.displacementLow = (this.u16() << 16) >> 16;
    this.displacementHigh = this.displacementLow >> 31;
    if (segmentPrefix < 0 && this.base === 5) this.segment = Seg.ss;
  }

  private operands(entry: Entry, opcode: number, segmentPrefix: number): void {
    let slot = 0;
    const { rex, registers } = this;
    const reg = ((this.modRm >> 3) & 7) | ((rex & 4) << 1);
    const rm = (this.modRm & 7) | ((rex & 1) << 3);
    for (const code of entry.operands) {
      const width = code[1];
      switch (code[0]) {
        case 'E':
          if (!this.isMemory) registers[slot++] = width === 'b' ? this.byteRegister(rm) : rm;
          break;
        case 'R':
          registers[slot++] = rm;
          break;
        case 'G':
          registers[slot++] = width === 'b' ? this.byteRegister(reg) : reg;
          break;
        case 'Z': {
          const number = (opcode & 7) | ((rex & 1) << 3);
          registers[slot++] = width === 'b' ? this.byteRegister(number) : number;
          break;
        }
        case 'W':
          if (!this.isMemory) registers[slot++] = rm;
          break;
        case 'U':
          registers[slot++] = rm;
          break;
        case 'V':
          registers[slot++] = reg;
          break;
        case 'Q':
          if (!this.isMemory) registers[slot++] = rm & 7;
          break;
        case 'N':
          registers[slot++] = rm & 7;
          break;
        case 'P':
          registers[slot++] = reg & 7;
          break;
        case 'T':
          registers[slot++] = this.modRm & 7;
          break;
        case 'S':
          this.special = reg & 7;
          break;
        case 'C':
          if (code === 'CL') break;
          // On AMD's processors, LOCK MOV CR0 is MOV CR8.
          this.special = !this.lock ? reg : reg === 0 ? 8 : 15;
          this.lock = false;
          break;
        case 'D':
          if (code !== 'DX') this.special = reg;
          break;
        case 'I':
          this.decodeImmediate(code);
          break;
        case 'J': {
          const relative =
            code === 'Jb'
              ? (this.u8() << 24) >> 24
              : this.size === 16
                ? (this.u16() << 16) >> 16
                : this.s32();
          this.immediateLow = relative;
          this.immediateHigh = relative >> 31;
          break;
        }
        case 'A':
          if (code !== 'Ap') break;
          this.immediateLow = this.size === 16 ? this.u16() : this.s32();
          this.immediate2 = this.u16();
          break;
        case 'O':
          this.isMemory = true;
          this.displacementLow = this.addressSize === 16 ? this.u16() : this.s32();
          this.displacementHigh = this.addressSize === 64 ? this.s32() : 0;
          if (segmentPrefix < 0) this.segment = Seg.ds;
          break;
        case '1':
          this.immediateLow = 1;
          this.immediateHigh = 0;
          break;
        default:
          break;
      }
    }
  }

  private decodeImmediate(code: string): void {
    switch (code) {
      case 'Ib':
        this.immediateLow = this.u8();
        this.immediateHigh = 0;
        return;
      case 'Ib2':
        this.immediate2 = this.u8();
        return;
      case 'Ibs':
        this.immediateLow = (this.u8() << 24) >> 24;
        if (this.size === 16) this.immediateLow &= 0xffff;
        break;
      case 'Iw':
        this.immediateLow = this.u16();
        this.immediateHigh = 0;
        return;
      case 'Iv':
        if (this.size === 64) {
          this.immediateLow = this.s32();
          this.immediateHigh = this.s32();
          return;
        }
        this.immediateLow = this.size === 16 ? this.u16() : this.s32();
        break;
      default:
        this.immediateLow = this.size === 16 ? this.u16() : this.s32();
    }
    this.immediateHigh = this.immediateLow >> 31;
  }

  private byteRegister(number: number): number {
    return this.rex === 0 && number >= 4 && number < 8 ? number + 12 : number;
  }

  /** Whether a 66 prefix was there. */
  get hasOperandPrefix(): boolean {
    return this.legacySize;
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
