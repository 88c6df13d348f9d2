/**
 * The x87 FPU's registers and instructions. SDM volume 1, chapter 8; volume 2 by name.
 */
import { raise, Vector } from '../fault.ts';
import { X87Form } from '../isa/x87.ts';
import { Op, State } from '../layout.ts';
import type { CpuMemory } from '../memory.ts';
import { type CpuContext, CR0, getEflags, setEflags } from '../system/context.ts';
import {
  type Float80,
  FpuContext,
  FpuFlag,
  INDEFINITE,
  isDenormal,
  isInfinite,
  isNaN80,
  isUnsupported,
  isZero,
  power,
} from './float80.ts';
import {
  angle,
  cosine,
  isInRange,
  ONE80,
  powerOf2Less1,
  sine,
  tangent,
  yLogarithm,
  yLogarithmOf1Plus,
} from './transcendental.ts';

const { IE, ZE, SF, C0, C1, C2, C3, ES } = FpuFlag;
const EXCEPTIONS = 0x3f;
/** Those that are found before anything is computed. SDM volume 1, 8.6. */
const BEFORE = IE | FpuFlag.DE | ZE;
/** Bits of the control word that exist. */
const CONTROL_BITS = 0x1f7f;
const CONDITIONS = C0 | C1 | C2 | C3;

const context = new FpuContext();

/** Constants of FLD1 … FLDZ: exponent and significand, truncated, with the next bits for rounding. */
const CONSTANTS: readonly (readonly [number, bigint])[] = [
  [0x3fff, 0x8000_0000_0000_0000_00n],
  [0x4000, 0xd49a_784b_cd1b_8afe_49n],
  [0x3fff, 0xb8aa_3b29_5c17_f0bb_bfn],
  [0x4000, 0xc90f_daa2_2168_c234_c5n],
  [0x3ffd, 0x9a20_9a84_fbcf_f798_8fn],
  [0x3ffe, 0xb172_17f7_d1cf_79ab_can],
  [0, 0n],
];

class Fpu {
  private readonly cpu: CpuContext;
  private readonly memory: CpuMemory;
  constructor(cpu: CpuContext) {
    this.cpu = cpu;
    this.memory = cpu.memory;
  }

  // Registers

  get status(): number {
    return this.memory.get(State.fpuStatus);
  }
  set status(value: number) {
    this.memory.set(State.fpuStatus, value);
  }
  get control(): number {
    return this.memory.get(State.fpuControl);
  }
  get top(): number {
    return this.memory.get(State.fpuTop);
  }
  set top(value: number) {
    this.memory.set(State.fpuTop, value & 7);
  }

  private place(i: number): number {
    return State.fpr + 16 * ((this.top + i) & 7);
  }

  isEmpty(i: number): boolean {
    return (this.memory.get(State.fpuTags) & (1 << ((this.top + i) & 7))) === 0;
  }

  free(i: number): void {
    this.memory.set(State.fpuTags, this.memory.get(State.fpuTags) & ~(1 << ((this.top + i) & 7)));
  }

  get(i: number): Float80 {
    const at = this.place(i);
    const top = this.memory.u16[(at >> 1) + 4]!;
    return { sign: top >> 15, exponent: top & 0x7fff, significand: this.memory.u64[at >> 3]! };
  }

  set(i: number, x: Float80): void {
    const at = this.place(i);
    this.memory.u64[at >> 3] = x.significand;
    this.memory.u16[(at >> 1) + 4] = (x.sign << 15) | x.exponent;
    this.memory.set(State.fpuTags, this.memory.get(State.fpuTags) | (1 << ((this.top + i) & 7)));
  }

  pop(): void {
    this.free(0);
    this.top = this.top + 1;
  }

  /** Pushes, or a NaN when there is no room. */
  push(x: Float80): void {
    const overflow = !this.isEmpty(7);
    if (overflow) {
      this.fault(true);
      if ((this.control & IE) === 0) return;
    }
    this.top = this.top - 1;
    this.set(0, overflow ? INDEFINITE : x);
  }

  // Exceptions

  /** Stack fault. C1 says which way. */
  fault(overflow: boolean): void {
    this.status = (this.status & ~C1) | IE | SF | (overflow ? C1 : 0);
    this.summarize();
  }

  summarize(): void {
    const pending = this.status & EXCEPTIONS & ~this.control;
    this.status = pending ? this.status | ES | 0x8000 : this.status & ~(ES | 0x8000);
  }

  /** @returns whether an unmasked exception forbids the result */
  collect(): boolean {
    // One that is found before computing leaves nothing to overflow or to round.
    const forbidden = (context.flags & BEFORE & ~this.control) !== 0;
    if (forbidden) context.flags &= BEFORE;
    this.status = (this.status & ~C1) | (context.flags & (EXCEPTIONS | C1));
    this.summarize();
    return forbidden;
  }

  /** Raises what is pending: before all but control instructions. */
  wait(): void {
    if ((this.status & ES) === 0) return;
    if (this.memory.get(State.cr0) & CR0.NE) raise(Vector.MF);
  }

  /** Whether operands are there; if not, the invalid result is stored by `respond`. */
  underflow(...registers: number[]): boolean {
    if (!registers.some((i) => this.isEmpty(i))) return false;
    this.fault(false);
    return true;
  }

  begin(): void {
    context.begin(this.control);
  }

  // Memory operands

  private get address(): [number, number] {
    return [this.memory.get(State.ea), this.memory.get(State.ea + 4)];
  }

  readInteger(bytes: 2 | 4 | 8): bigint {
    const host = this.cpu.mmu.readable(...this.address, bytes);
    const { data } = this.memory;
    return bytes === 2
      ? BigInt(data.getInt16(host, true))
      : bytes === 4
        ? BigInt(data.getInt32(host, true))
        : data.getBigInt64(host, true);
  }

  readUnsigned(bytes: 4 | 8): bigint {
    return BigInt.asUintN(bytes * 8, this.readInteger(bytes));
  }

  /** Faults if the operand can't be written: before any flag is set. */
  private checkWritable(bytes: number): void {
    this.cpu.mmu.checkWritable(...this.address, bytes);
  }

  write(bytes: number, value: bigint, high = 0): void {
    const { data } = this.memory;
    data.setBigUint64(SCRATCH, BigInt.asUintN(64, value), true);
    data.setUint16(SCRATCH + 8, high, true);
    this.cpu.mmu.write(...this.address, bytes, SCRATCH);
  }

  read80(): Float80 {
    const host = this.cpu.mmu.readable(...this.address, 10);
    const top = this.memory.data.getUint16(host + 8, true);
    return {
      sign: top >> 15,
      exponent: top & 0x7fff,
      significand: this.memory.data.getBigUint64(host, true),
    };
  }

  // Instructions

  /** ADD MUL COM COMP SUB SUBR DIV DIVR, as opcodes number them. */
  arithmetic(kind: number, to: number, a: Float80, b: Float80): void {
    let result: Float80;
    switch (kind) {
      case 0:
        result = context.add(a, b);
        break;
      case 1:
        result = context.multiply(a, b);
        break;
      case 4:
        result = context.subtract(a, b);
        break;
      case 5:
        result = context.subtract(b, a);
        break;
      case 6:
        result = context.divide(a, b);
        break;
      default:
        result = context.divide(b, a);
    }
    // What is invalid, or a division by zero, counts instead of a denormal operand.
    if ((context.flags & (IE | ZE)) !== 0) context.flags &= ~FpuFlag.DE;
    if (!this.collect()) this.set(to, result);
  }

  compare(a: Float80, b: Float80, quiet: boolean): void {
    const order = context.compare(a, b, quiet);
    if (order === undefined) context.flags &= ~FpuFlag.DE;
    this.collect();
    this.setOrder(order);
  }

  setOrder(order: number | undefined): void {
    const codes = order === undefined ? C0 | C2 | C3 : order < 0 ? C0 : order === 0 ? C3 : 0;
    this.status = (this.status & ~(C0 | C2 | C3)) | codes;
  }

  compareToFlags(i: number, quiet: boolean): void {
    const flags = getEflags(this.memory) & ~0x8d5;
    if (this.underflow(0, i)) {
      setEflags(this.memory, flags | 0x45);
      return;
    }
    this.begin();
    const order = context.compare(this.get(0), this.get(i), quiet);
    const c1 = this.status & C1;
    this.collect();
    this.status |= c1;
    setEflags(this.memory, flags | (order === undefined ? 0x45 : order < 0 ? 1 : order === 0 ? 0x40 : 0));
  }

  // Environment

  get tagWord(): number {
    let word = 0;
    for (let i = 0; i < 8; i++) {
      const at = State.fpr + 16 * i;
      const exponent = this.memory.u16[(at >> 1) + 4]! & 0x7fff;
      const significand = this.memory.u64[at >> 3]!;
      const empty = (this.memory.get(State.fpuTags) & (1 << i)) === 0;
      const tag = empty
        ? 3
        : exponent === 0 && significand === 0n
          ? 1
          : exponent === 0x7fff || exponent === 0 || significand >> 63n === 0n
            ? 2
            : 0;
      word |= tag << (2 * i);
    }
    return word;
  }

  saveEnvironment(size: number): void {
    const { data } = this.memory;
    this.cpu.mmu.alignImage(...this.address, size === 16 ? 2 : 4);
    const words = [
      this.control,
      this.status | (this.top << 11),
      this.tagWord,
      this.memory.get(State.fpuIp),
      this.memory.get(State.fpuOpcode) << 16,
      this.memory.get(State.fpuDp),
      0,
    ];
    const [low, high] = this.address;
    words.forEach((word, i) => {
      if (size === 16) data.setUint16(SCRATCH + 2 * i, word & 0xffff, true);
      else data.setUint32(SCRATCH + 4 * i, i < 3 ? 0xffff_0000 | word : word, true);
    });
    this.cpu.mmu.write(low, high, size === 16 ? 14 : 28, SCRATCH);
  }

  loadEnvironment(size: number): void {
    const [low, high] = this.address;
    const bytes = size === 16 ? 2 : 4;
    this.cpu.mmu.alignImage(low, high, bytes);
    this.cpu.mmu.checkReadable(low, high, 7 * bytes);
    const words = Array.from({ length: 3 }, (_, i) => this.cpu.mmu.readU16(low + i * bytes, high));
    this.memory.set(State.fpuControl, (words[0]! & CONTROL_BITS) | 0x40);
    this.status = words[1]! & ~0x3800;
    this.top = (words[1]! >> 11) & 7;
    let tags = 0;
    for (let i = 0; i < 8; i++) if (((words[2]! >> (2 * i)) & 3) !== 3) tags |= 1 << i;
    this.memory.set(State.fpuTags, tags);
    this.summarize();
  }

  initialize(): void {
    this.memory.set(State.fpuControl, 0x37f);
    this.status = 0;
    this.top = 0;
    this.memory.set(State.fpuTags, 0);
    this.memory.set(State.fpuOpcode, 0);
    this.memory.set64(State.fpuIp, 0, 0);
    this.memory.set64(State.fpuDp, 0, 0);
  }

  save(size: number): void {
    const [low, high] = this.address;
    const start = size === 16 ? 14 : 28;
    this.cpu.mmu.alignImage(low, high, size === 16 ? 2 : 4);
    this.checkWritable(start + 80);
    this.saveEnvironment(size);
    for (let i = 0; i < 8; i++) {
      const from = this.place(i);
      this.cpu.mmu.write(low + start + 10 * i, high, 10, from);
    }
    this.initialize();
  }

  restore(size: number): void {
    const [low, high] = this.address;
    const start = size === 16 ? 14 : 28;
    this.cpu.mmu.alignImage(low, high, size === 16 ? 2 : 4);
    this.cpu.mmu.checkReadable(low, high, start + 80);
    this.loadEnvironment(size);
    for (let i = 0; i < 8; i++) {
      const host = this.cpu.mmu.readable(low + start + 10 * i, high, 10);
      this.memory.u8.copyWithin(this.place(i), host, host + 10);
    }
  }

  // By opcode

  memoryForm(opcode: number, reg: number, size: number): void {
    const control = (opcode === 1 && reg >= 4) || (opcode === 5 && reg >= 4);
    if (!control || (opcode === 1 && (reg === 4 || reg === 5)) || (opcode === 5 && reg === 4)) this.wait();
    this.begin();
    switch (opcode) {
      case 0:
      case 4:
        this.withOperand(
          reg,
          context.fromBits(this.readUnsigned(opcode === 0 ? 4 : 8), opcode === 0 ? 23 : 52, true),
        );
        return;
      case 2:
      case 6:
        this.withOperand(reg, FpuContext.fromInteger(this.readInteger(opcode === 2 ? 4 : 2)));
        return;
      case 1:
        this.opcodeD9(reg, size);
        return;
      case 5:
        this.opcodeDd(reg, size);
        return;
      case 3:
        if (reg === 0) this.load(FpuContext.fromInteger(this.readInteger(4)));
        else if (reg === 5) this.load(this.read80());
        else if (reg === 7) this.store80();
        else this.storeInteger(4, reg === 1, reg !== 2);
        return;
      default:
        if (reg === 0) this.load(FpuContext.fromInteger(this.readInteger(2)));
        else if (reg === 4) this.loadDecimal();
        else if (reg === 5) this.load(FpuContext.fromInteger(this.readInteger(8)));
        else if (reg === 6) this.storeDecimal();
        else if (reg === 7) this.storeInteger(8, false, true);
        else this.storeInteger(2, reg === 1, reg !== 2);
    }
  }

  /** Arithmetic of ST(0) with an operand from memory. */
  private withOperand(kind: number, operand: Float80): void {
    if (this.underflow(0)) {
      if (kind === 2 || kind === 3) {
        this.setOrder(undefined);
        if (kind === 3 && this.control & IE) this.pop();
      } else if (this.control & IE) this.set(0, INDEFINITE);
      return;
    }
    if (kind === 2 || kind === 3) {
      this.compare(this.get(0), operand, false);
      if (kind === 3 && (context.flags & (IE | FpuFlag.DE) & ~this.control) === 0) this.pop();
      return;
    }
    // A denormal operand from memory counts, as one in a register does; beside a NaN it doesn't.
    if (isNaN80(this.get(0))) context.flags &= ~FpuFlag.DE;
    this.arithmetic(kind, 0, this.get(0), operand);
  }

  private load(x: Float80): void {
    // No room counts before what the operand is. A denormal is loaded even if that is flagged and not masked.
    if (!this.isEmpty(7)) this.push(x);
    else {
      this.collect();
      if ((context.flags & IE & ~this.control) === 0) this.push(x);
    }
  }

  private opcodeD9(reg: number, size: number): void {
    switch (reg) {
      case 0:
        this.load(context.fromBits(this.readUnsigned(4), 23));
        return;
      case 2:
      case 3:
        this.storeReal(4, reg === 3);
        return;
      case 4:
        this.loadEnvironment(size);
        return;
      case 5:
        this.memory.set(State.fpuControl, (this.cpu.mmu.readU16(...this.address) & CONTROL_BITS) | 0x40);
        this.summarize();
        return;
      case 6:
        this.saveEnvironment(size);
        this.memory.set(State.fpuControl, this.control | EXCEPTIONS);
        this.summarize();
        return;
      default:
        this.write(2, BigInt(this.control));
    }
  }

  private opcodeDd(reg: number, size: number): void {
    switch (reg) {
      case 0:
        this.load(context.fromBits(this.readUnsigned(8), 52));
        return;
      case 1:
        this.storeInteger(8, true, true);
        return;
      case 2:
      case 3:
        this.storeReal(8, reg === 3);
        return;
      case 4:
        this.restore(size);
        return;
      case 6:
        this.save(size);
        return;
      default:
        this.write(2, BigInt(this.status | (this.top << 11)));
    }
  }

  /**
   * What a store does with an empty ST(0): @returns whether the invalid value is to be stored, which is checked
   * first. An unmasked exception leaves memory alone, be it there or not.
   */
  private storesEmpty(bytes: number): boolean {
    if (this.control & IE) this.checkWritable(bytes);
    this.fault(false);
    return (this.control & IE) !== 0;
  }

  private storeReal(bytes: 4 | 8, pops: boolean): void {
    if (this.isEmpty(0)) {
      if (!this.storesEmpty(bytes)) return;
      this.write(bytes, bytes === 4 ? 0xffc0_0000n : 0xfff8_0000_0000_0000n);
    } else {
      const bits = context.toBits(this.get(0), bytes === 4 ? 23 : 52);
      const unmasked = context.flags & (IE | FpuFlag.OE | FpuFlag.UE) & ~this.control;
      if (unmasked !== 0) {
        context.flags = unmasked;
        this.collect();
        return;
      }
      this.write(bytes, bits);
      this.collect();
    }
    if (pops) this.pop();
  }

  private store80(): void {
    let x = INDEFINITE;
    if (this.isEmpty(0)) {
      if (!this.storesEmpty(10)) return;
    } else x = this.get(0);
    this.write(10, x.significand, (x.sign << 15) | x.exponent);
    if (!this.isEmpty(0)) this.status &= ~C1;
    this.pop();
  }

  private storeInteger(bytes: 2 | 4 | 8, truncate: boolean, pops: boolean): void {
    const invalid = 1n << BigInt(bytes * 8 - 1);
    if (this.isEmpty(0)) {
      if (!this.storesEmpty(bytes)) return;
      this.write(bytes, invalid);
    } else {
      const value = context.integer(this.get(0), bytes * 8, truncate);
      if (value !== undefined || this.control & IE) this.write(bytes, value ?? invalid);
      if (this.collect()) return;
    }
    if (pops) this.pop();
  }

  private loadDecimal(): void {
    const host = this.cpu.mmu.readable(...this.address, 10);
    const { data } = this.memory;
    let value = 0n;
    for (let i = 8; i >= 0; i--) {
      const byte = data.getUint8(host + i);
      value = value * 100n + BigInt((byte >> 4) * 10 + (byte & 15));
    }
    const x = FpuContext.fromInteger(value);
    this.load({ ...x, sign: data.getUint8(host + 9) >> 7 });
  }

  private storeDecimal(): void {
    if (this.isEmpty(0)) {
      if (!this.storesEmpty(10)) return;
      this.write(10, 0xc000_0000_0000_0000n, 0xffff);
      this.pop();
      return;
    }
    const x = this.get(0);
    const value = context.integer(x, 64);
    const magnitude = value === undefined ? undefined : value < 0n ? -value : value;
    if (magnitude === undefined || magnitude >= 10n ** 18n) {
      context.flags = IE;
      if (this.control & IE) this.write(10, 0xc000_0000_0000_0000n, 0xffff);
      if (!this.collect()) this.pop();
      return;
    }
    let rest = magnitude;
    let low = 0n;
    for (let i = 0; i < 16; i++) {
      low |= (rest % 10n) << BigInt(4 * i);
      rest /= 10n;
    }
    this.write(10, low, Number(rest % 10n) | (Number(rest / 10n) << 4) | (x.sign << 15));
    this.collect();
    this.pop();
  }

  registerForm(opcode: number, reg: number, rm: number): void {
    // What isn't an instruction says so before what is pending does.
    if (isUndefined(opcode, reg, rm)) raise(Vector.UD);
    // FNINIT, FNCLEX and FNSTSW AX don't wait.
    if (!(opcode === 3 && reg === 4) && !(opcode === 7 && reg === 4 && rm === 0)) this.wait();
    this.begin();
    switch (opcode) {
      case 0:
        this.two(reg, 0, rm, false);
        return;
      case 1:
        this.registerD9(reg, rm);
        return;
      case 2:
      case 3:
        this.registerDaDb(opcode, reg, rm);
        return;
      case 4:
        // DC: the destination is ST(i), and the pairs of subtractions and divisions are the other way round.
        if (reg === 2 || reg === 3) this.two(reg, 0, rm, false);
        else this.two(reg >= 4 ? reg ^ 1 : reg, rm, 0, false, true);
        return;
      case 5:
        switch (reg) {
          case 0:
            this.free(rm);
            return;
          case 1:
            this.exchange(rm);
            return;
          case 2:
          case 3:
            this.storeRegister(rm, reg === 3);
            return;
          case 4:
          case 5:
            this.unordered(rm, reg === 5 ? 1 : 0);
            return;
          default:
            raise(Vector.UD);
        }
        return;
      case 6:
        if (reg === 3) {
          if (rm !== 1) raise(Vector.UD);
          this.comparePop(rm, 2, false);
        } else if (reg === 2) this.two(3, 0, rm, false);
        else this.two(reg >= 4 ? reg ^ 1 : reg, rm, 0, true, true);
        return;
      default:
        switch (reg) {
          case 0:
            // FFREEP
            this.free(rm);
            this.pop();
            return;
          case 1:
            this.exchange(rm);
            return;
          case 2:
          case 3:
            this.storeRegister(rm, true);
            return;
          case 4:
            if (rm !== 0) raise(Vector.UD);
            this.memory.setReg16(0, this.status | (this.top << 11));
            return;
          case 5:
          case 6: {
            const hadOperands = !this.isEmpty(0) && !this.isEmpty(rm);
            this.compareToFlags(rm, reg === 5);
            if (hadOperands ? (context.flags & BEFORE & ~this.control) === 0 : (this.control & IE) !== 0)
              this.pop();
            return;
          }
          default:
            raise(Vector.UD);
        }
    }
  }

  /** Arithmetic of two registers. @param toOther - the destination is the operation's first operand */
  private two(kind: number, to: number, other: number, pops: boolean, toOther = false): void {
    if (kind === 2 || kind === 3) {
      this.comparePop(other, kind === 3 ? 1 : 0, false);
      return;
    }
    if (this.underflow(to, other)) {
      if (this.control & IE) {
        this.set(to, INDEFINITE);
        if (pops) this.pop();
      }
      return;
    }
    // ST(0) is always the first operand of the encoding's operation.
    const [a, b] = toOther ? [this.get(to), this.get(other)] : [this.get(0), this.get(other)];
    this.arithmetic(kind, to, a, b);
    if (pops && (context.flags & (IE | FpuFlag.DE | ZE) & ~this.control) === 0) this.pop();
  }

  private comparePop(i: number, pops: number, quiet: boolean): void {
    if (this.underflow(0, i)) {
      this.setOrder(undefined);
      if ((this.control & IE) === 0) return;
    } else {
      this.compare(this.get(0), this.get(i), quiet);
      if (context.flags & (IE | FpuFlag.DE) & ~this.control) return;
    }
    for (let n = 0; n < pops; n++) this.pop();
  }

  private unordered(i: number, pops: number): void {
    this.comparePop(i, pops, true);
  }

  private exchange(i: number): void {
    const first = this.isEmpty(0);
    const second = this.isEmpty(i);
    if (first || second) {
      this.fault(false);
      if ((this.control & IE) === 0) return;
    } else this.status &= ~C1;
    const a = first ? INDEFINITE : this.get(0);
    const b = second ? INDEFINITE : this.get(i);
    this.set(0, b);
    this.set(i, a);
  }

  private storeRegister(i: number, pops: boolean): void {
    let x = INDEFINITE;
    if (this.underflow(0)) {
      if ((this.control & IE) === 0) return;
    } else {
      x = this.get(0);
      this.status &= ~C1;
    }
    this.set(i, x);
    if (pops) this.pop();
  }

  private registerDaDb(opcode: number, reg: number, rm: number): void {
    if (reg < 4) {
      this.conditionalMove(reg | (opcode === 3 ? 4 : 0), rm);
      return;
    }
    if (opcode === 2) {
      if (reg !== 5 || rm !== 1) raise(Vector.UD);
      this.comparePop(1, 2, true);
      return;
    }
    switch (reg) {
      case 4:
        if (rm === 2) {
          this.status &= ~(EXCEPTIONS | SF | ES | 0x8000);
        } else if (rm === 3) this.initialize();
        else if (rm > 4) raise(Vector.UD);
        return;
      case 5:
      case 6:
        this.compareToFlags(rm, reg === 5);
        return;
      default:
        raise(Vector.UD);
    }
  }

  private conditionalMove(code: number, i: number): void {
    const flags = getEflags(this.memory);
    const conditions = [flags & 1, flags & 0x40, flags & 0x41, flags & 4];
    const met = (conditions[code & 3] !== 0) === code < 4;
    if (this.underflow(0, i)) {
      if (this.control & IE) this.set(0, INDEFINITE);
      return;
    }
    if (met) this.set(0, this.get(i));
  }

  private registerD9(reg: number, rm: number): void {
    switch (reg) {
      case 0: {
        const empty = this.isEmpty(rm);
        if (empty) {
          this.fault(false);
          if ((this.control & IE) === 0) return;
          this.top = this.top - 1;
          this.set(0, INDEFINITE);
          return;
        }
        const x = this.get(rm);
        this.status &= ~C1;
        this.push(x);
        return;
      }
      case 1:
        this.exchange(rm);
        return;
      case 2:
        if (rm !== 0) raise(Vector.UD);
        return;
      case 3:
        // FSTP1 copies what is there, be it empty.
        if (this.isEmpty(0)) {
          const x = this.get(0);
          this.set(rm, x);
          this.free(rm);
          this.status &= ~C1;
          this.pop();
        } else this.storeRegister(rm, true);
        return;
      case 4:
        this.signs(rm);
        return;
      case 5:
        this.constant(rm);
        return;
      default:
        this.functions(((reg & 1) << 3) | rm);
    }
  }

  private signs(rm: number): void {
    if (rm === 5) {
      this.examine();
      return;
    }
    if (rm !== 0 && rm !== 1 && rm !== 4) raise(Vector.UD);
    if (this.underflow(0)) {
      if (rm === 4) this.setOrder(undefined);
      else if (this.control & IE) this.set(0, INDEFINITE);
      return;
    }
    const x = this.get(0);
    if (rm === 4) {
      this.compare(x, { sign: 0, exponent: 0, significand: 0n }, false);
      return;
    }
    this.status &= ~C1;
    this.set(0, { ...x, sign: rm === 0 ? x.sign ^ 1 : 0 });
  }

  private examine(): void {
    const x = this.get(0);
    const kind = this.isEmpty(0)
      ? C3 | C0
      : isUnsupported(x)
        ? 0
        : isNaN80(x)
          ? C0
          : isInfinite(x)
            ? C2 | C0
            : isZero(x)
              ? C3
              : isDenormal(x)
                ? C3 | C2
                : C2;
    this.status = (this.status & ~CONDITIONS) | kind | (x.sign === 1 ? C1 : 0);
  }

  private constant(rm: number): void {
    const entry = CONSTANTS[rm];
    if (entry === undefined) raise(Vector.UD);
    const [exponent, wide] = entry;
    const rest = wide & 0xffn;
    const rounding = (this.control >> 10) & 3;
    const up = rest !== 0n && (rounding === 0 ? rest >= 0x80n : rounding === 2);
    this.status &= ~C1;
    this.push({ sign: 0, exponent, significand: (wide >> 8n) + (up ? 1n : 0n) });
  }

  private functions(n: number): void {
    if (n === 6 || n === 7) {
      this.top = this.top + (n === 6 ? -1 : 1);
      this.status &= ~C1;
      return;
    }
    const isBinary = n === 1 || n === 3 || n === 5 || n === 8 || n === 9 || n === 13;
    // What may be left half done says so in C2, and only then.
    if ([2, 5, 8, 11, 14, 15].includes(n)) this.status &= ~C2;
    if (this.underflow(0, ...(isBinary ? [1] : []))) {
      if ((this.control & IE) === 0) return;
      if (n === 1 || n === 3 || n === 9) this.pop();
      this.set(0, INDEFINITE);
      if (n !== 2 && n !== 4 && n !== 11) return;
      // Whether there is room doesn't count any more.
      this.top = this.top - 1;
      this.set(0, INDEFINITE);
      return;
    }
    // Those with two results need room for the second.
    if ((n === 2 || n === 4 || n === 11) && !this.isEmpty(7)) {
      this.fault(true);
      if ((this.control & IE) === 0) return;
      this.set(0, INDEFINITE);
      this.top = this.top - 1;
      this.set(0, INDEFINITE);
      return;
    }
    const x = this.get(0);
    const y = isBinary ? this.get(1) : x;
    switch (n) {
      case 10:
        this.result(context.squareRoot(x));
        return;
      case 12:
        this.result(context.toInteger(x));
        return;
      case 13:
        this.scale(x, y);
        return;
      case 4:
        this.extract(x);
        return;
      case 5:
      case 8:
        this.remainder(x, y, n === 5);
        return;
      default:
        this.transcendental(n, x, y);
    }
  }

  private result(x: Float80): void {
    if (!this.collect()) this.set(0, x);
  }

  private scale(x: Float80, y: Float80): void {
    const nan = context.nans(x, y);
    if (nan !== undefined) {
      this.result(nan);
      return;
    }
    if (isDenormal(x) || isDenormal(y)) context.flags |= FpuFlag.DE;
    if (isInfinite(y)) {
      if ((y.sign === 0 && isZero(x)) || (y.sign === 1 && isInfinite(x))) this.result(context.invalid());
      else
        this.result(
          y.sign === 0
            ? { sign: x.sign, exponent: 0x7fff, significand: 1n << 63n }
            : { sign: x.sign, exponent: 0, significand: 0n },
        );
      return;
    }
    if (isZero(x) || isInfinite(x)) {
      this.result(x);
      return;
    }
    const by = truncated(y, 65536);
    const { precision } = context;
    context.precision = 64;
    this.result(context.round(x.sign, x.significand, power(x) + by, false));
    context.precision = precision;
  }

  private extract(x: Float80): void {
    const nan = context.nans(x, x);
    if (nan !== undefined) {
      if (this.collect()) return;
      this.set(0, nan);
      this.push(nan);
      return;
    }
    if (isZero(x)) {
      context.flags |= ZE;
      if (this.collect()) return;
      this.set(0, { sign: 1, exponent: 0x7fff, significand: 1n << 63n });
      this.push(x);
      return;
    }
    if (isInfinite(x)) {
      this.collect();
      this.set(0, { ...x, sign: 0 });
      this.push(x);
      return;
    }
    if (isDenormal(x)) context.flags |= FpuFlag.DE;
    if (this.collect()) return;
    const length = x.significand.toString(2).length;
    const exponent = power(x) + length - 1;
    this.set(0, FpuContext.fromInteger(BigInt(exponent)));
    this.push({ sign: x.sign, exponent: 16383, significand: x.significand << BigInt(64 - length) });
  }

  /** FPREM and FPREM1. */
  private remainder(x: Float80, y: Float80, nearest: boolean): void {
    const nan = context.nans(x, y) ?? (isInfinite(x) || isZero(y) ? context.invalid() : undefined);
    if (nan !== undefined) {
      this.result(nan);
      return;
    }
    if (isDenormal(x) || isDenormal(y)) context.flags |= FpuFlag.DE;
    if (this.collect()) return;
    if (isZero(x)) {
      this.status &= ~CONDITIONS;
      this.set(0, x);
      return;
    }
    if (isInfinite(y)) {
      this.status &= ~CONDITIONS;
      this.remainderIs(x.sign, x.significand, power(x));
      return;
    }
    const distance =
      power(x) + x.significand.toString(2).length - (power(y) + y.significand.toString(2).length);
    const least = Math.min(power(x), power(y));
    let a = x.significand << BigInt(power(x) - least);
    const b = y.significand << BigInt(power(y) - least);
    this.status &= ~CONDITIONS;
    let sign = x.sign;
    if (distance < 64) {
      let quotient = a / b;
      a -= quotient * b;
      if (nearest && (a * 2n > b || (a * 2n === b && (quotient & 1n) === 1n))) {
        quotient += 1n;
        a = b - a;
        sign ^= 1;
      }
      const q = Number(quotient & 7n);
      this.status |= (q & 4 ? C0 : 0) | (q & 2 ? C3 : 0) | (q & 1 ? C1 : 0);
    } else {
      // Part of the way: the exponent falls by between 32 and 63.
      const by = 32 + ((distance - 32) % 32);
      const shifted = b << BigInt(distance - by);
      a -= (a / shifted) * shifted;
      this.status |= C2;
    }
    this.remainderIs(a === 0n ? x.sign : sign, a, least);
  }

  /** A remainder is exact, though it may be tiny. */
  private remainderIs(sign: number, m: bigint, e: number): void {
    context.precision = 64;
    this.set(0, context.round(sign, m, e, false));
    this.status |= context.flags & EXCEPTIONS;
    this.summarize();
  }

  private transcendental(n: number, x: Float80, y: Float80): void {
    const isBinary = n === 1 || n === 3 || n === 9;
    const isCircular = n === 2 || n === 11 || n >= 14;
    const nan = context.nans(x, y);
    if (isCircular && nan === undefined && !isInfinite(x) && !isInRange(x)) {
      this.status = (this.status & ~C1) | C2;
      return;
    }
    const result = nan ?? this.function(n, x, y);
    // Two results: the cosine, or 1, is pushed.
    let second: Float80 | undefined;
    if (n === 2 || n === 11) {
      const invalid = nan ?? (isInfinite(x) ? result : undefined);
      second = invalid ?? (n === 2 ? ONE80 : cosine(context, x));
    }
    if (this.collect()) return;
    this.set(isBinary ? 1 : 0, result);
    if (isBinary) this.pop();
    if (second !== undefined) this.push(second);
  }

  private function(n: number, x: Float80, y: Float80): Float80 {
    switch (n) {
      case 0:
        return powerOf2Less1(context, x);
      case 1:
        return yLogarithm(context, x, y);
      case 9:
        return yLogarithmOf1Plus(context, x, y);
      case 3:
        return angle(context, x, y);
      case 2:
        return tangent(context, x);
      case 15:
        return cosine(context, x);
      default:
        return sine(context, x);
    }
  }
}

/** Towards zero, and no further from it than a limit. */
function truncated(x: Float80, limit: number): number {
  const e = power(x);
  const magnitude = e >= 0 ? limit : Number(x.significand >> BigInt(Math.min(-e, 64)));
  return Math.min(magnitude, limit) * (x.sign === 1 ? -1 : 1);
}

/** Register forms that mean nothing, by opcode, ModRM.reg and ModRM.rm. SDM volume 2, appendix A.5. */
function isUndefined(opcode: number, reg: number, rm: number): boolean {
  switch (opcode) {
    case 1:
      if (reg === 4) return rm === 2 || rm === 3 || rm >= 6;
      return (reg === 2 && rm !== 0) || (reg === 5 && rm === 7);
    case 2:
      return reg >= 4 && !(reg === 5 && rm === 1);
    case 3:
      return reg === 7 || (reg === 4 && rm > 4);
    case 5:
      return reg >= 6;
    case 6:
      return reg === 3 && rm !== 1;
    case 7:
      return reg === 7 || (reg === 4 && rm !== 0);
    default:
      return false;
  }
}

/** Where values lie on their way to memory. */
const SCRATCH = 0x1d00;

/** The helper of all x87 instructions. @param argument - see isa/x87.ts */
export function x87(cpu: CpuContext, argument: number, record: number): void {
  const { memory } = cpu;
  if (memory.get(State.fpuTrap) & 1) raise(Vector.NM);
  const fpu = new Fpu(cpu);
  const opcode = argument & 7;
  const reg = (argument >> 3) & 7;
  if (argument & X87Form.register) fpu.registerForm(opcode, reg, memory.get(record + Op.reg0));
  else fpu.memoryForm(opcode, reg, argument >> 8);
}

/** FWAIT. */
export function fwait(cpu: CpuContext): void {
  const { memory } = cpu;
  const cr0 = memory.get(State.cr0);
  if ((cr0 & (CR0.TS | CR0.MP)) === (CR0.TS | CR0.MP)) raise(Vector.NM);
  new Fpu(cpu).wait();
}
