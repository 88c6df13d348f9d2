/**
 * What particular instructions need of their operands to do something worth testing, and what the manual leaves
 * undefined in their outcome (SDM vol. 2, "Flags Affected" and "Operation" of each).
 */
import { type CaseBuilder, Gpr } from './builder.ts';
import { Flag, FpuFlag, Layout } from './records.ts';

const { CF, PF, AF, ZF, SF, OF, TF } = Flag;

/** The count of a shift or rotate, after masking. */
function shiftCount(b: CaseBuilder): number {
  const opcode = b.form.opcode[b.form.opcode.length - 1]!;
  let count = Number(b.register(Gpr.cx, 8));
  if (b.form.immediates.length > 0) count = b.immediates[0]! & 0xff;
  else if (b.form.opcode[0] !== 0x0f && opcode <= 0xd1) count = 1;
  return count & (b.operandSize === 64 ? 63 : 31);
}

/** Counts around the operand's size more often than by chance. */
function interestingCount(b: CaseBuilder): void {
  if (b.random.chance(50)) return;
  const count = b.random.pick([0, 1, 2, 7, 8, 9, 15, 16, 17, 18, 31, 32, 33, 63, 64]);
  if (b.form.immediates.length > 0) b.immediates[0] = count;
  else b.setRegister(Gpr.cx, BigInt(count), 8);
}

export function rotate(b: CaseBuilder): void {
  interestingCount(b);
  if (shiftCount(b) > 1) b.case.leeway.flags |= OF;
}

export function shift(b: CaseBuilder): void {
  interestingCount(b);
  const count = shiftCount(b);
  if (count >= 1) b.case.leeway.flags |= AF;
  if (count > 1) b.case.leeway.flags |= OF;
  const arithmetic = b.form.digit === 7;
  if (!arithmetic && count >= b.operandSize) b.case.leeway.flags |= CF;
}

/** SHLD and SHRD: with a 16-bit operand and a count above 16, everything is undefined. */
export function doubleShift(b: CaseBuilder): void {
  interestingCount(b);
  const count = shiftCount(b);
  if (count >= 1) b.case.leeway.flags |= AF;
  if (count > 1) b.case.leeway.flags |= OF;
  if (count > b.operandSize) {
    b.case.leeway.flags |= CF | OF | SF | ZF | AF | PF;
    b.operandUndefined(b.operandSize);
    // Wherever that is: addresses of 16 bits wrap.
    b.case.leeway.partialStores = true;
  }
}

/** DIV and IDIV: dividends whose quotient fits, by half. */
export function divide(b: CaseBuilder): void {
  const size = b.operandSize;
  const signed = b.form.digit === 7;
  const roll = b.random.below(100);
  if (b.random.chance(40) && b.operand(size) === 0n) b.setOperand(BigInt(1 + b.random.below(1000)), size);
  if (roll > 75) return;
  const low = b.register(Gpr.ax, size);
  const extension = signed && low >> BigInt(size - 1) ? -1n : 0n;
  let high = extension;
  if (roll > 35) {
    // Below the divisor by a random factor: the quotient is of any length.
    const divisor = signed ? BigInt.asIntN(size, b.operand(size)) : b.operand(size);
    const magnitude = divisor < 0n ? -divisor : divisor;
    high = (magnitude >> BigInt(signed ? 1 : 0)) >> BigInt(b.random.below(size));
    if (signed && b.random.chance(50)) high = -high;
  }
  if (size === 8) b.setRegister(Gpr.ax, (BigInt.asUintN(8, high) << 8n) | BigInt.asUintN(8, low), 16);
  else b.setRegister(Gpr.dx, high, size);
}

/** BSF and BSR leave the destination undefined when the source is zero. */
export function bitScan(b: CaseBuilder): void {
  if (b.random.chance(15)) b.setOperand(0n, b.operandSize);
  else if (b.random.chance(30)) b.setOperand(1n << BigInt(b.random.below(b.operandSize)), b.operandSize);
  if (b.operand(b.operandSize) === 0n) b.case.leeway.gprs |= 1 << b.reg;
}

export function sparseOperand(b: CaseBuilder): void {
  if (b.random.chance(10)) b.setOperand(0n, b.operandSize);
  else if (b.random.chance(30)) b.setOperand(1n << BigInt(b.random.below(b.operandSize)), b.operandSize);
}

/** BT and kin with a register bit offset reach far from a memory operand: keep them near, of either sign. */
export function bitOffset(b: CaseBuilder): void {
  if (b.memory === undefined || b.form.immediates.length > 0) return;
  const near = BigInt(b.random.below(1024) - 512);
  if (b.setRegister(b.reg, near, b.operandSize)) return;
  // The offset register is part of the address: anything but a wild access needs another register.
  for (const other of [0, 1, 2, 3, 5, 6, 7]) {
    const register = other | (b.reg & 8);
    if (b.setRegister(register, near, b.operandSize)) {
      b.changeReg(register);
      return;
    }
  }
}

export function bswap(b: CaseBuilder): void {
  if (b.operandSize === 16) b.case.leeway.gprs |= 1 << b.rm;
}

export function compareExchange(b: CaseBuilder): void {
  if (b.random.chance(50)) b.setRegister(Gpr.ax, b.operand(b.operandSize), b.operandSize);
}

export function compareExchangeWide(b: CaseBuilder): void {
  if (b.memory === undefined || b.random.chance(50)) return;
  const half = b.operandSize === 64 ? 64 : 32;
  b.setRegister(Gpr.ax, b.peek(b.memory, half), half);
  b.setRegister(Gpr.dx, b.peek(Number(b.memory) + half / 8, half), half);
}

/** XLAT: [BX + AL]. */
export function xlat(b: CaseBuilder): void {
  const al = b.register(Gpr.ax, 8);
  b.pinRegister(Gpr.bx, b.offsetOf(b.target(1)) - al, b.addressSize);
}

/** MOV with a full address in the instruction. */
export function moffs(b: CaseBuilder): void {
  const linear = b.target(b.operandSize / 8);
  b.immediates[0] = Number(BigInt.asIntN(b.addressSize, b.offsetOf(linear)));
}

/** String instructions: SI, DI and CX, and a repeat prefix two times of three. */
export function string(b: CaseBuilder): void {
  if (b.mode === 32 && b.random.chance(90)) b.dropAddressPrefix();
  const { random } = b;
  const size = b.operandSize / 8;
  b.pointAt(Gpr.si, size, 3, true);
  b.pointAt(Gpr.di, size, 0, false);
  if (random.chance(20)) {
    // Overlapping, at a distance that shows in which steps bytes are copied.
    const distance = BigInt(random.below(33) - 16);
    b.pinRegister(Gpr.di, b.register(Gpr.si, b.addressSize) + distance, b.addressSize);
  }
  b.repeat = random.pick([0, 0xf2, 0xf3]);
  b.case.leeway.anyPage = true;
  b.case.leeway.anyFault = b.form.mnemonic === 'cmps';
  const roll = random.below(100);
  const count =
    roll < 60 ? random.below(9) : roll < 85 ? random.below(65) : roll < 96 ? random.below(600) : -1;
  if (count >= 0) b.pinRegister(Gpr.cx, BigInt(count), b.addressSize);
  // Compares end early mostly: let elements be equal more often.
  if (random.chance(50)) {
    const fill = BigInt.asUintN(8, b.register(Gpr.ax, 8));
    b.case.memory.fill(Number(fill));
    b.pinRegister(Gpr.ax, fill * 0x0101_0101_0101_0101n, 64);
    for (let i = random.below(4); i > 0; i--)
      b.case.memory[random.below(b.case.memory.length)] = random.u32();
  }
}

/** PUSH, POP, CALL, RET: the stack pointer in all kinds of places. */
export function stack(b: CaseBuilder): void {
  const { random } = b;
  const roll = random.below(100);
  let linear: number | bigint = Layout.middleBase + 128 + 8 * random.below(32);
  if (roll < 12) linear = Layout.middleBase + 128 + random.below(256);
  else if (roll < 18) linear = Layout.dataBase + 0x1000 + random.below(17) - 8;
  else if (roll < 23) linear = Layout.dataBase + random.below(12);
  else if (roll < 29) linear = Layout.dataBase + Layout.dataSize - random.below(18);
  else if (roll < 31) linear = Layout.readonlyBase + 0x100;
  else if (roll < 33 && b.mode === 64) linear = 0xdead_beef_dead_beefn;
  b.pointStack(linear);
}

export function enterLeave(b: CaseBuilder): void {
  stack(b);
  if (b.random.chance(90)) b.pointStack(Layout.middleBase + 128 + b.random.below(256), Gpr.bp);
}

export function enterImmediates(b: CaseBuilder): void {
  manyStores(b);
  b.immediates[0] = b.random.chance(80) ? b.random.below(128) : b.random.below(0x1_0000);
  b.immediates[1] = b.random.chance(70) ? b.random.below(4) : b.random.below(256);
}

/** POPF: any flags but TF, which would trap after the next instruction, and none that the kernel minds. */
export function popFlags(b: CaseBuilder): void {
  const top = b.stackAddress();
  b.poke(top, b.peek(top, 64) & ~BigInt(TF), 64);
}

/** Instructions that store several things: how much of it was done before a page fault isn't specified. */
export function manyStores(b: CaseBuilder): void {
  b.case.leeway.partialStores = true;
}

/** The same for instructions that load several registers. */
export function manyLoads(b: CaseBuilder): void {
  b.case.leeway.partialLoads = true;
}

/** INT1: a hypervisor that intercepts #DB, as KVM does on AMD's processors, leaves RIP where it was. */
export function intercepted(b: CaseBuilder): void {
  b.case.leeway.anyRip = true;
}

/** BOUND: an index within the bounds, half of the time. */
export function bound(b: CaseBuilder): void {
  if (b.memory === undefined || b.random.chance(50)) return;
  const index = BigInt.asIntN(b.operandSize, b.register(b.reg, b.operandSize));
  b.poke(b.memory, index - BigInt(b.random.below(3)), b.operandSize);
  b.poke(Number(b.memory) + b.operandSize / 8, index + BigInt(b.random.below(3)), b.operandSize);
}

/**
 * Near branches in 64-bit mode: Intel ignores a 66 prefix, AMD obeys it and cuts RIP to 16 bits. Compilers never
 * write it.
 */
export function branch(b: CaseBuilder): void {
  if (b.mode === 64) b.dropOperandPrefix();
}

export function branchStack(b: CaseBuilder): void {
  branch(b);
  stack(b);
}

/** JMP and CALL through a register or memory. */
export function indirect(b: CaseBuilder): void {
  b.setOperand(b.branchTarget(), b.mode === 64 ? 64 : b.operandSize);
  if (b.memory === undefined && b.rm === Gpr.sp) b.pointStack(Layout.middleBase + 128);
}

export function returnAddress(b: CaseBuilder): void {
  b.poke(b.stackAddress(), b.branchTarget(), b.mode === 64 ? 64 : b.operandSize);
}

/** LOOP and JCXZ: counts near zero. */
export function loop(b: CaseBuilder): void {
  branch(b);
  if (b.random.chance(80)) b.setRegister(Gpr.cx, BigInt(b.random.below(4)), b.addressSize);
}

/** BCD adjustments: digits, and what comes of adding them. */
export function decimalDigits(b: CaseBuilder): void {
  if (b.random.chance(50))
    b.setRegister(
      Gpr.ax,
      BigInt(b.random.below(10) | (b.random.below(10) << 4) | (b.random.below(10) << 8)),
      16,
    );
}

/** INT n for vectors that user code may not raise; 80h is the kernel's. */
export function interruptVector(b: CaseBuilder): void {
  if ((b.immediates[0]! & 0xff) === 0x80 || (b.immediates[0]! & 0xff) === 3) b.immediates[0] = 0x21;
}

/** BEXTR: start and length within 8 bits each. */
export function bextr(b: CaseBuilder): void {
  if (b.random.chance(70))
    b.setRegister(b.vvvv, BigInt(b.random.below(80) | (b.random.below(80) << 8)), b.operandSize);
}

/** RORX has no second source: vvvv must say so, and mostly does. */
export function noSecondSource(b: CaseBuilder): void {
  if (b.random.chance(95)) b.vvvv = 0;
}

/** MASKMOVQ, MASKMOVDQU: the destination is [DI]. */
export function maskedMove(b: CaseBuilder): void {
  if (b.mode === 32 && b.random.chance(90)) b.dropAddressPrefix();
  b.pointAt(Gpr.di, b.form.prefix === 0x66 ? 16 : 8, 3, true);
}

/** FNSTENV, FNSAVE: the last instruction's pointers and opcode differ by processor and are not compared. */
export function storedEnvironment(b: CaseBuilder): void {
  manyStores(b);
  if (b.memory === undefined) return;
  const start = Number(b.memory);
  if (b.operandSize === 16) b.case.leeway.memory.push(start + 6, 8);
  else b.case.leeway.memory.push(start + 12, 16);
}

/** FLDENV, FRSTOR: words that make a likely environment. */
export function loadedEnvironment(b: CaseBuilder): void {
  if (b.memory === undefined) return;
  const start = Number(b.memory);
  const step = b.operandSize === 16 ? 2 : 4;
  const control = b.random.chance(80) ? 0x37f : b.random.u32() & 0x1f7f;
  const status = b.random.u32() & 0x7f7f & ~(b.random.chance(80) ? 0x3f & ~control : 0);
  b.poke(start, BigInt(control), 16);
  b.poke(start + step, BigInt(status), 16);
}

/** FXSAVE: pointers, reserved bytes and the MXCSR mask are the processor's. */
export function storedFx(b: CaseBuilder): void {
  manyStores(b);
  if (b.memory === undefined) return;
  const start = Number(b.memory);
  b.case.leeway.memory.push(start + 5, 19, start + 28, 4);
  for (let i = 0; i < 8; i++) b.case.leeway.memory.push(start + 42 + 16 * i, 6);
  b.case.leeway.memory.push(start + 416, 96);
}

export function loadedFx(b: CaseBuilder): void {
  if (b.memory === undefined) return;
  const start = Number(b.memory);
  const control = b.random.chance(80) ? 0x37f : b.random.u32() & 0x1f7f;
  b.poke(start, BigInt(control), 16);
  b.poke(start + 2, BigInt(b.random.u32() & 0x7f7f & ~(0x3f & ~control)), 16);
  b.poke(start + 24, BigInt(b.random.chance(90) ? b.random.u32() & 0xffff : b.random.u32()), 32);
}

/** LDMXCSR: reserved bits (#GP) now and then. */
export function loadedMxcsr(b: CaseBuilder): void {
  if (b.memory === undefined) return;
  b.poke(b.memory, BigInt(b.random.chance(85) ? b.random.u32() & 0xffff : b.random.u32()), 32);
}

/**
 * Transcendental instructions: vm/cpu rounds the exact result, while processors, each with tables of its own, are off by
 * up to 1 ulp when they round to nearest and 1.5 ulps otherwise (SDM vol. 1, "Transcendental Instruction Accuracy").
 * And so C1 (rounded up) may differ.
 */
export function transcendental(b: CaseBuilder): void {
  const toNearest = (b.case.fcw & 0xc00) === 0;
  b.case.leeway.x87Ulps = toNearest ? 1 : 2;
  b.case.leeway.fsw |= FpuFlag.C1;
}

/** Approximations: the relative error is at most 1.5 × 2^-12 on each side. */
export function approximate(b: CaseBuilder): void {
  b.case.leeway.xmmRelative = 2 ** -10;
}
