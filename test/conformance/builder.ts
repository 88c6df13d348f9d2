/**
 * Makes one case of one instruction form: random state, prefixes, ModRM and SIB, and registers set so that the
 * effective address falls where it should — in the data windows mostly, across the border of two pages and
 * into pages that fault at times.
 */
import type { Form } from './forms.ts';
import { edgeDecimal, edgeDouble, edgeExtended, edgeInteger, edgeSingle, Random } from './random.ts';
import { Case, Flag, Layout, type Mode, segmentsOf } from './records.ts';

export type OperandSize = 8 | 16 | 32 | 64;
export type AddressSize = 16 | 32 | 64;

export const Gpr = { ax: 0, cx: 1, dx: 2, bx: 3, sp: 4, bp: 5, si: 6, di: 7 } as const;

const Segment = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5 } as const;
const SEGMENT_PREFIX = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65] as const;

const STATUS = Flag.CF | Flag.PF | Flag.AF | Flag.ZF | Flag.SF | Flag.OF;
const MIDDLE_END = Layout.middleBase + Layout.middleSize;
const DATA_END = Layout.dataBase + Layout.dataSize;
const PAGE_BORDER = Layout.dataBase + 0x1000;

/** Builds a case; the hooks of a form (see Traits) read and adjust it half-way. */
export class CaseBuilder {
  readonly form: Form;
  readonly mode: Mode;
  readonly random: Random;
  readonly case: Case;
  operandSize: OperandSize = 32;
  addressSize: AddressSize = 32;
  /** The immediates' values, in order. */
  readonly immediates: number[] = [];
  /** ModRM.reg, with REX.R. */
  reg = 0;
  /** ModRM.rm with REX.B (or the opcode's register): the register operand, when `memory` is undefined. */
  rm = 0;
  /** The linear address of the memory operand, or undefined. */
  memory: number | bigint | undefined;
  /** VEX.vvvv. */
  vvvv = 0;
  /** The F2 or F3 prefix of a string instruction; a hook may set it. */
  repeat = 0;
  /** Whether LOCK may be tried where it isn't allowed. */
  mayLock = true;
  /** A segment override (index of ES…GS), or -1. */
  segment = -1;
  /** Bit n: general register n has its value for a reason. */
  #pinned = 1 << Gpr.sp;
  #rex = 0;
  #needRex = false;
  #lock = false;
  #operandPrefix = false;
  #addressPrefix = false;
  #modrm: number[] = [];
  /** A RIP-relative operand: its displacement depends on the instruction's length. */
  #ripTarget: number | undefined;

  constructor(form: Form, mode: Mode, seed: number) {
    this.form = form;
    this.mode = mode;
    this.random = new Random(seed);
    this.case = new Case(mode);
    this.case.form = form.name;
    this.case.group = form.group;
    this.case.seed = seed;
  }

  /** @returns the case, or undefined if the dice gave more than 15 bytes of code. */
  build(): Case | undefined {
    this.#randomState();
    this.#choosePrefixes();
    this.case.leeway.flags = this.form.undefinedFlags;
    this.case.leeway.fsw = this.form.undefinedFsw;
    this.form.before?.(this);
    this.#chooseOperands();
    this.#chooseImmediates();
    this.form.after?.(this);
    if (!this.#encode()) return undefined;
    if (this.form.modrm !== 'none') this.case.reg = this.reg;
    if (this.form.modrm !== 'none' || this.form.registerInOpcode) this.case.rm = this.rm;
    this.case.operand = this.memory;
    this.case.straight = !['branch', 'far', 'flags'].includes(this.form.group);
    if (this.mode !== 64) for (let i = 0; i < 32; i++) if (i > 15 || i % 2 === 1) this.case.gprHalves[i] = 0;
    return this.case;
  }

  // What hooks use.

  /** Register `index`, its low `size` bits. */
  register(index: number, size: number): bigint {
    return BigInt.asUintN(size, this.case.gpr[index]!);
  }

  /** Sets the low `size` bits of a register, unless an address depends on it. */
  setRegister(index: number, value: bigint, size: number = this.mode): boolean {
    if (this.#pinned & (1 << index)) return false;
    this.#write(index, value, size);
    return true;
  }

  /** Sets a register that later choices must leave alone. */
  pinRegister(index: number, value: bigint, size: number = this.mode): void {
    this.#pinned |= 1 << index;
    this.#write(index, value, size);
  }

  /** Reads the window memory at a linear address; 0 outside the windows. */
  peek(address: number | bigint, size: number): bigint {
    let value = 0n;
    for (let i = size / 8 - 1; i >= 0; i--) {
      const at = windowIndex(Number(address) + i);
      value = (value << 8n) | BigInt(at < 0 ? 0 : this.case.memory[at]!);
    }
    return value;
  }

  /** Writes window memory at a linear address; what falls outside the windows is dropped. */
  poke(address: number | bigint, value: bigint, size: number): void {
    let rest = value;
    for (let i = 0; i < size / 8; i++, rest >>= 8n) {
      const at = windowIndex(Number(address) + i);
      if (at >= 0) this.case.memory[at] = Number(rest & 0xffn);
    }
  }

  /** The r/m operand's value. */
  operand(size: number): bigint {
    if (this.memory !== undefined) return this.peek(this.memory, size);
    if (size === 8) return this.byteRegister(this.rm);
    return this.register(this.rm, size);
  }

  setOperand(value: bigint, size: number): void {
    if (this.memory !== undefined) this.poke(this.memory, value, size);
    else this.setRegister(this.rm, value, size);
  }

  byteRegister(index: number): bigint {
    if (index >= 4 && index < 8 && !this.#needRex && this.#rex === 0)
      return (this.case.gpr[index - 4]! >> 8n) & 0xffn;
    return this.case.gpr[index]! & 0xffn;
  }

  /** Takes another register for ModRM.reg; only the low three bits can change. */
  changeReg(index: number): void {
    this.reg = (this.reg & 8) | (index & 7);
    this.#modrm[0] = (this.#modrm[0]! & ~0x38) | ((index & 7) << 3);
  }

  /** Declares the r/m operand undefined afterwards. */
  operandUndefined(size: number): void {
    if (this.memory !== undefined) this.case.leeway.memory.push(Number(this.memory), size / 8);
    else this.case.leeway.gprs |= 1 << this.rm;
  }

  /** The size of the stack pointer: that of the stack segment. */
  get stackSize(): 16 | 32 | 64 {
    return this.mode;
  }

  /** The offset of a linear address in the segment that `segment` says, or in the default one. */
  offsetOf(linear: number | bigint, defaultSegment: number = Segment.ds): bigint {
    const segment = this.segment < 0 ? defaultSegment : this.segment;
    const ignored = this.mode === 64 && segment < Segment.fs;
    return BigInt(linear) - BigInt(ignored ? 0 : segmentsOf(this.mode)[segment]!.base);
  }

  /** A linear address for `size` bytes of operand: see the file's comment. */
  target(size: number, alignment = this.form.alignment): number | bigint {
    const { random } = this;
    const roll = random.below(100);
    const aligned = (address: number): number =>
      random.chance(alignment > 1 ? 88 : 30)
        ? address - (address % Math.max(alignment, size > 8 ? 16 : size))
        : address;
    if (roll < 74) return aligned(Layout.middleBase + random.below(Math.max(1, Layout.middleSize - size)));
    if (roll < 81) return PAGE_BORDER - random.below(size + 1);
    if (roll < 90)
      return DATA_END - size - (random.chance(30) ? 0 : random.below(Math.max(1, Layout.tailSize - size)));
    if (roll < 94) return DATA_END - random.below(size + 1);
    if (roll < 96) return DATA_END + random.below(0x1000);
    if (roll < 97) {
      const before = random.below(size + 1);
      // By FS or GS in 32-bit code that is where offsets wrap at 4 GiB, a limit that vm/cpu doesn't look at.
      return Layout.dataBase - before - (this.mode === 32 && this.segment >= Segment.fs ? 64 : 0);
    }
    if (roll < 99) return aligned(Layout.readonlyBase + random.below(Layout.readonlySize - size));
    if (this.mode === 64)
      return random.pick([
        0x8000_0000_0000n,
        0x7fff_ffff_ffff_ffffn,
        0xdead_beef_dead_beefn,
        0x1_0000_1000_1000n,
      ]);
    return random.pick([0, 0x7ffc, 0x1_0000, Layout.dataBase + 0xffff]);
  }

  /** Where a branch may go: into the code region, but not into the instruction itself. */
  branchTarget(): bigint {
    const { random } = this;
    const base = this.mode === 16 ? 0 : Layout.codeBase;
    const roll = random.below(100);
    if (roll < 80) return BigInt(base + Layout.codeStart + 16 + random.below(0x4000));
    if (roll < 92) return BigInt(base + Layout.codeStart - 1 - random.below(0x700));
    return this.mode === 16
      ? BigInt(random.below(0x700))
      : BigInt(random.pick([0, 0x1234, 0x5000_0000, 0x1000_0f80, 0x7000_0000]));
  }

  /** Points SI or DI (or any register) at window memory, with the address size's bits only. */
  pointAt(index: number, size: number, segment: number, overridable: boolean): void {
    const linear = this.target(size);
    const offset = overridable
      ? this.offsetOf(linear, segment)
      : BigInt(linear) - BigInt(this.mode === 64 ? 0 : segmentsOf(this.mode)[segment]!.base);
    this.pinRegister(index, offset, this.addressSize);
  }

  /** Puts the stack pointer at `linear`. */
  pointStack(linear: number | bigint, index: number = Gpr.sp): void {
    const base = this.mode === 16 ? Layout.dataBase : 0;
    this.pinRegister(index, BigInt(linear) - BigInt(base), this.stackSize);
  }

  /** The linear address that the stack pointer (or BP) means. */
  stackAddress(index: number = Gpr.sp): bigint {
    return this.register(index, this.stackSize) + BigInt(this.mode === 16 ? Layout.dataBase : 0);
  }

  // Random state.

  #randomState(): void {
    const { random, case: c, form } = this;
    const registers = this.mode === 64 ? 16 : 8;
    for (let i = 0; i < registers; i++) edgeInteger(random, c.gprHalves, 2 * i);
    c.rflags = random.u32() & STATUS;
    if (random.chance(10)) c.rflags |= Flag.DF;
    const words = new Uint32Array(c.bytes.buffer, c.memory.byteOffset, c.memory.length / 4);
    this.#fill(words);
    if (form.usesXmm) {
      this.#fill(new Uint32Array(c.bytes.buffer, 160, 64));
      if (random.chance(40)) c.mxcsr = this.#randomMxcsr();
    }
    if (form.usesX87) this.#randomX87();
    this.pointStack(Layout.middleBase + 64 + 8 * random.below(48));
  }

  #fill(words: Uint32Array): void {
    const { random } = this;
    switch (this.form.data) {
      case 'single':
        for (let i = 0; i < words.length; i++) words[i] = edgeSingle(random);
        break;
      case 'double':
        for (let i = 0; i < words.length; i += 2) edgeDouble(random, words, i);
        break;
      case 'x87':
        for (let i = 0; i < words.length; i += 2)
          if (random.chance(40)) edgeInteger(random, words, i);
          else if (random.chance(50)) edgeDouble(random, words, i);
          else {
            words[i] = edgeSingle(random);
            words[i + 1] = edgeSingle(random);
          }
        break;
      default:
        for (let i = 0; i < words.length; i += 2) edgeInteger(random, words, i);
    }
  }

  #randomMxcsr(): number {
    const { random } = this;
    let value = 0x1f80 | (random.below(4) << 13);
    if (random.chance(30)) value |= 0x8000; // flush to zero
    if (random.chance(30)) value |= 0x40; // denormals are zeros
    if (random.chance(30)) value |= random.below(64); // flags from before
    if (random.chance(15)) value &= ~(random.below(64) << 7); // unmasked exceptions
    return value;
  }

  #randomX87(): void {
    const { random, case: c, form } = this;
    let control = 0x37f;
    if (random.chance(50)) control = 0x7f | (random.pick([0, 2, 3, 3]) << 8) | (random.below(4) << 10);
    if (random.chance(15)) control &= ~random.below(64);
    let status = random.chance(50) ? 0 : random.below(8) << 11;
    if (random.chance(50)) status |= random.u32() & 0x4700;
    if (random.chance(20)) status |= random.below(128);
    // Mostly nothing is pending: most instructions would only raise #MF.
    if ((status & ~control & 0x3f) !== 0) {
      if (random.chance(50)) status |= 0x8080;
      else status &= ~(~control & 0x3f);
    }
    c.fcw = control;
    c.fsw = status;
    c.ftw = random.chance(60) ? 0xff : random.chance(20) ? 0 : random.below(256);
    for (let i = 0; i < 8; i++) {
      const register = c.st(i);
      if (form.data === 'x87') edgeExtended(random, register);
      else {
        register.set(c.memory.subarray(16 * i, 16 * i + 8));
        register[8] = register[9] = 0xff;
      }
    }
  }

  // Prefixes and operands.

  #choosePrefixes(): void {
    const { random, form, mode } = this;
    this.#addressPrefix = random.chance(mode === 64 ? 8 : 15);
    if (mode === 64) this.addressSize = this.#addressPrefix ? 32 : 64;
    else this.addressSize = (mode === 32) !== this.#addressPrefix ? 32 : 16;
    // In 32-bit mode 16-bit addresses reach the windows by FS and GS only.
    const far = mode === 32 && this.addressSize === 16;
    if (random.chance(far ? 85 : mode === 64 ? 5 : 8))
      this.segment = far ? random.pick([Segment.fs, Segment.gs]) : random.below(6);
    if (this.segment === Segment.cs && mode === 16) this.segment = -1;
    if (mode === 64 && !form.vex) {
      if (random.chance(60)) this.#rex = 0x40 | random.below(16);
      if (!form.sized && random.chance(60)) this.#rex &= ~8;
      if (this.#rex === 0x40 && random.chance(70)) this.#rex = 0;
      if (this.#rex & 0x40) this.#needRex = true;
    }
    if (form.sized && random.chance(25)) this.#operandPrefix = true;
    this.#setOperandSize();
  }

  #setOperandSize(): void {
    const { form, mode } = this;
    if (form.byteForm) this.operandSize = 8;
    else if (mode === 64 && this.#rex & 8) this.operandSize = 64;
    else this.operandSize = (mode === 16) !== this.#operandPrefix ? 16 : 32;
  }

  /** For hooks run before the operands: no 67 prefix after all. */
  dropAddressPrefix(): void {
    this.#addressPrefix = false;
    this.addressSize = this.mode;
  }

  /** The same for 66 (REX.W may stay). */
  dropOperandPrefix(): void {
    this.#operandPrefix = false;
    this.#setOperandSize();
  }

  #chooseOperands(): void {
    const { random, form, mode } = this;
    const high = mode === 64 ? 8 : 0;
    if (form.vex) {
      this.#rex = mode === 64 ? random.below(16) : random.chance(50) ? 8 : 0;
      this.operandSize = mode === 64 && this.#rex & 8 ? 64 : 32;
      this.vvvv = random.below(8 + high);
    }
    this.reg = form.digit ?? random.below(8) + (this.#rex & 4 ? high : 0);
    if (form.registerInOpcode) this.rm = random.below(8) + (this.#rex & 1 ? high : 0);
    if (form.modrm === 'none') return;
    const memory = form.modrm === 'memory' || (form.modrm === 'any' && random.chance(50));
    if (memory) {
      if (form.lockable && random.chance(8)) this.#lock = true;
      this.#placeMemory();
    } else {
      this.rm = random.below(8) + (this.#rex & 1 ? high : 0);
      this.#modrm = [0xc0 | ((this.reg & 7) << 3) | (this.rm & 7)];
    }
  }

  /** How many bytes the memory operand has, about: places it well, and needn't be right. */
  #memorySize(): number {
    const { form } = this;
    if (form.bytes) return form.bytes;
    if (form.usesXmm) return 16;
    if (form.usesX87) return this.random.pick([2, 4, 8, 10]);
    if (form.mnemonic === 'cmpxchg8b') return this.operandSize === 64 ? 16 : 8;
    if (form.mnemonic === 'bound') return this.operandSize / 4;
    return this.operandSize / 8;
  }

  #placeMemory(): void {
    const { random, form } = this;
    const size = this.#memorySize();
    // Locked accesses across cache lines are slow on real processors, or trapped (split-lock detection).
    const implicitLock = form.mnemonic === 'xchg';
    let linear = this.target(size);
    if (this.#lock || implicitLock) linear = BigInt(linear) & ~BigInt(size - 1);
    this.memory = linear;
    const address = this.addressSize === 16 ? this.#address16(linear) : this.#address32(linear);
    this.#modrm = address;
    // Now and then an operand that the instruction can tell from its neighbours.
    if (form.usesX87 && random.chance(25)) {
      const bytes = new Uint8Array(10);
      if (random.chance(40)) edgeDecimal(random, bytes);
      else edgeExtended(random, bytes);
      for (let i = 0; i < 10; i++) this.poke(Number(linear) + i, BigInt(bytes[i]!), 8);
    }
  }

  /** ModRM with 16-bit addressing (SDM vol. 2, table 2-1). */
  #address16(linear: number | bigint): number[] {
    const { random } = this;
    const rm = random.below(8);
    let mod = random.below(3);
    if (rm === 6 && mod === 0 && random.chance(60)) mod = 1;
    const onStack = rm === 2 || rm === 3 || (rm === 6 && mod !== 0);
    const wanted = this.offsetOf(linear, onStack ? Segment.ss : Segment.ds);
    const offset = Number(wanted & 0xffffn);
    if (wanted !== BigInt(offset)) this.memory = BigInt(linear) - wanted + BigInt(offset);
    const first = (mod << 6) | ((this.reg & 7) << 3) | rm;
    if (rm === 6 && mod === 0) return [first, offset & 0xff, offset >> 8];
    const displacement = mod === 0 ? 0 : mod === 1 ? random.below(256) - 128 : random.u32() & 0xffff;
    const base = [Gpr.bx, Gpr.bx, Gpr.bp, Gpr.bp, Gpr.si, Gpr.di, Gpr.bp, Gpr.bx][rm]!;
    const index = rm < 4 ? (rm & 1 ? Gpr.di : Gpr.si) : -1;
    let value = offset - displacement;
    if (index >= 0) {
      value -= Number(this.register(index, 16));
      this.#pinned |= 1 << index;
    }
    this.pinRegister(base, BigInt(value & 0xffff), 16);
    if (mod === 0) return [first];
    if (mod === 1) return [first, displacement & 0xff];
    return [first, displacement & 0xff, (displacement >> 8) & 0xff];
  }

  /** ModRM and SIB with 32- and 64-bit addressing (SDM vol. 2, tables 2-2 and 2-3). */
  #address32(linear: number | bigint): number[] {
    const { random, mode } = this;
    const size = this.addressSize;
    const extendBase = this.#rex & 1 ? 8 : 0;
    const extendIndex = this.#rex & 2 ? 8 : 0;
    const reg = (this.reg & 7) << 3;
    const direct = random.below(100);
    if (direct < 10) {
      // No base: an absolute address, or relative to RIP; or an index alone.
      const offset = this.offsetOf(linear);
      if (random.chance(50)) {
        this.#reaches(linear, offset, 0n);
        if (mode === 64) this.#ripTarget = Number(BigInt.asIntN(32, offset));
        return [reg | 5, ...littleEndian(offset, 4)];
      }
      const index = random.below(8) + extendIndex;
      const scale = random.below(4);
      if (index === 4) {
        this.#reaches(linear, offset, 0n);
        return [reg | 4, (scale << 6) | (4 << 3) | 5, ...littleEndian(offset, 4)];
      }
      if (!(this.#pinned & (1 << index))) this.pinRegister(index, BigInt(random.below(0x1000)), size);
      this.#pinned |= 1 << index;
      const scaled = this.register(index, size) << BigInt(scale);
      const displacement = offset - scaled;
      this.#reaches(linear, offset, scaled);
      return [reg | 4, (scale << 6) | ((index & 7) << 3) | 5, ...littleEndian(displacement, 4)];
    }
    const base = random.below(8) + extendBase;
    let mod = random.below(3);
    if ((base & 7) === 5 && mod === 0) mod = 1;
    const sib = (base & 7) === 4 || random.chance(40);
    let index = 4;
    const scale = random.below(4);
    if (sib) {
      index = random.below(8) + extendIndex;
      if (index === base) index = 4;
      // With REX.X the number 4 means R12: without a register to spare, no index.
      if (index === 4 && extendIndex) index = (base & 7) === 1 ? 10 : 9;
    }
    const displacement = mod === 0 ? 0n : BigInt(mod === 1 ? random.below(256) - 128 : random.u32() | 0);
    const onStack = base === Gpr.sp || base === Gpr.bp;
    const offset = this.offsetOf(linear, onStack ? Segment.ss : Segment.ds);
    let value = offset - displacement;
    if (index !== 4) {
      this.#pinned |= 1 << index;
      value -= this.register(index, size) << BigInt(scale);
    }
    if (size === 32) this.#reaches(linear, offset, offset);
    this.pinRegister(base, value, size);
    const tail = mod === 0 ? [] : littleEndian(displacement, mod === 1 ? 1 : 4);
    if (!sib) return [(mod << 6) | reg | (base & 7), ...tail];
    return [(mod << 6) | reg | 4, (scale << 6) | ((index & 7) << 3) | (base & 7), ...tail];
  }

  /**
   * Corrects where the operand is, as 64-bit code extends a displacement of 32 bits.
   * @param offset - where it should be in its segment, of which `scaled` doesn't come from the displacement
   */
  #reaches(linear: number | bigint, offset: bigint, scaled: bigint): void {
    if (this.mode !== 64) return;
    const reached = BigInt.asUintN(this.addressSize, BigInt.asIntN(32, offset - scaled) + scaled);
    if (reached !== offset) this.memory = BigInt.asUintN(64, BigInt(linear) - offset + reached);
  }

  #chooseImmediates(): void {
    const { random } = this;
    for (const kind of this.form.immediates) {
      const edge = random.pick([0, 1, -1, 0x7f, 0x80, 0x7fff, 0x7fff_ffff, -0x8000_0000, 15, 16, 31, 32]);
      let value = random.chance(40) ? edge : random.u32() | 0;
      if (kind === 'iv' && random.chance(50)) value *= 0x10_0001;
      // Ahead of the instruction, or well behind it: never into itself.
      if (kind === 'rb') value = random.chance(60) ? random.below(128) : -16 - random.below(113);
      if (kind === 'rz') value = random.chance(60) ? random.below(0x4000) : -16 - random.below(0x700);
      this.immediates.push(value);
    }
  }

  // Putting the bytes together.

  #encode(): boolean {
    const { form, random, mode } = this;
    const prefixes: number[] = [];
    if (this.#operandPrefix) prefixes.push(0x66);
    if (this.#addressPrefix) prefixes.push(0x67);
    if (this.segment >= 0) prefixes.push(SEGMENT_PREFIX[this.segment]!);
    if (this.#lock || (random.below(400) === 0 && this.mayLock)) prefixes.push(0xf0);
    for (let i = prefixes.length - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [prefixes[i], prefixes[j]] = [prefixes[j]!, prefixes[i]!];
    }
    if (this.repeat) prefixes.splice(random.below(prefixes.length + 1), 0, this.repeat);
    if (form.prefix && !form.vex) prefixes.splice(random.below(prefixes.length + 1), 0, form.prefix);

    const opcode = [...form.opcode];
    if (form.registerInOpcode) opcode[opcode.length - 1]! += this.rm & 7;
    const head = form.vex
      ? this.#vexPrefix(opcode)
      : mode === 64 && this.#rex
        ? [this.#rex, ...opcode]
        : opcode;
    const immediates: number[] = [];
    form.immediates.forEach((kind, i) => {
      immediates.push(...littleEndian(BigInt(this.immediates[i]!), this.#immediateSize(kind)));
    });
    const code = [...prefixes, ...head, ...this.#modrm, ...immediates];
    if (code.length > 15) return false;
    if (this.#ripTarget !== undefined) {
      const displacement = this.#ripTarget - (Layout.codeBase + Layout.codeStart + code.length);
      const at = code.length - immediates.length - 4;
      littleEndian(BigInt(displacement), 4).forEach((byte, i) => {
        code[at + i] = byte;
      });
    }
    this.case.setCode(code);
    return true;
  }

  /** The three-byte VEX prefix (SDM vol. 2, 2.3.5) and the opcode byte that follows it. */
  #vexPrefix(opcode: readonly number[]): number[] {
    const map = opcode[1] === 0x38 ? 2 : opcode[1] === 0x3a ? 3 : 1;
    const pp = [0, 0x66, 0xf3, 0xf2].indexOf(this.form.prefix);
    const inverted = (~this.#rex & 7) << 5;
    const vvvv = (~this.vvvv & 15) << 3;
    const long = this.random.below(60) === 0 ? 4 : 0; // VEX.L: #UD
    return [0xc4, inverted | map, ((this.#rex & 8) << 4) | vvvv | long | pp, opcode[opcode.length - 1]!];
  }

  #immediateSize(kind: string): number {
    switch (kind) {
      case 'ib':
      case 'rb':
        return 1;
      case 'iw':
        return 2;
      case 'id':
        return 4;
      case 'iv':
        return this.operandSize / 8;
      case 'ia':
        return this.addressSize / 8;
      default:
        return this.operandSize === 16 ? 2 : 4;
    }
  }

  #write(index: number, value: bigint, size: number): void {
    const old = this.case.gpr[index]!;
    const bits = BigInt(size);
    this.case.gpr[index] = ((old >> bits) << bits) | BigInt.asUintN(size, value);
  }
}

/** Where a linear address lies in Case.memory, or -1. */
function windowIndex(address: number): number {
  if (address >= Layout.middleBase && address < MIDDLE_END) return address - Layout.middleBase;
  if (address >= Layout.tailBase && address < DATA_END) return address - Layout.tailBase + Layout.middleSize;
  return -1;
}

function littleEndian(value: bigint, size: number): number[] {
  const bytes: number[] = [];
  for (let i = 0, rest = value; i < size; i++, rest >>= 8n) bytes.push(Number(rest & 0xffn));
  return bytes;
}
