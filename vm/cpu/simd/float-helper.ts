/**
 * SSE floating point when the fast paths don't apply: NaNs, infinities, denormals, overflow, unusual modes and
 * unmasked exceptions. Operands and result are in the scratch area; see operations.ts.
 */
import { raise, Vector } from '../fault.ts';
import { State } from '../layout.ts';
import type { CpuMemory } from '../memory.ts';
import { CR4 } from '../system/context.ts';
import { FloatOp, Mxcsr, Scratch, SINGLE_FORMAT } from './operations.ts';
import { DOUBLE, FloatUnit, type Format, PRE_COMPUTATION, Rounding, SINGLE } from './soft-float.ts';

const unit = new FloatUnit();

function setModes(mxcsr: number): void {
  unit.rounding = ((mxcsr & Mxcsr.RC) >> 13) as Rounding;
  unit.denormalsAreZeros = (mxcsr & Mxcsr.DAZ) !== 0;
  unit.flushToZero = (mxcsr & Mxcsr.FTZ) !== 0;
  unit.overflowMasked = (mxcsr & 0x400) !== 0;
  unit.underflowMasked = (mxcsr & 0x800) !== 0;
  unit.flags = 0;
}

/**
 * Puts the flags that have come up into MXCSR.
 * @throws FAULT: #XM for an unmasked one (#UD when the system doesn't know #XM). SDM volume 1, 11.5
 */
function report(memory: CpuMemory): void {
  const mxcsr = memory.get(State.mxcsr);
  const unmasked = unit.flags & ~(mxcsr >> 7) & 0x3f;
  // When operands are refused, no lane gets as far as rounding.
  const flags = unmasked & PRE_COMPUTATION ? unit.flags & PRE_COMPUTATION : unit.flags;
  memory.set(State.mxcsr, mxcsr | flags);
  if (unmasked !== 0) raise(memory.get(State.cr4) & CR4.OSXMMEXCPT ? Vector.XM : Vector.UD);
}

function read(memory: CpuMemory, at: number, bits: number, lane: number): bigint {
  return bits === 64 ? memory.u64[(at >> 3) + lane]! : BigInt(memory.u32[(at >> 2) + lane]!);
}

function write(memory: CpuMemory, bits: number, lane: number, value: bigint): void {
  if (bits === 64) memory.u64[(Scratch.result >> 3) + lane] = value;
  else memory.u32[(Scratch.result >> 2) + lane] = Number(value & 0xffff_ffffn);
}

/** Does what a request asks for. @throws FAULT: #XM */
export function floatOperation(memory: CpuMemory, request: number): void {
  const op = request & 0xff;
  const f = request & SINGLE_FORMAT ? SINGLE : DOUBLE;
  const lanes = request >> 12;
  setModes(memory.get(State.mxcsr));
  if (op === FloatOp.dot) {
    dotProduct(memory, f, memory.get(Scratch.immediate));
    return;
  }
  const operandBits = op === FloatOp.fromInt32 ? 32 : op === FloatOp.fromInt64 ? 64 : f.bits;
  const resultBits =
    op === FloatOp.toInt32 || op === FloatOp.truncate32
      ? 32
      : op === FloatOp.toInt64 || op === FloatOp.truncate64
        ? 64
        : op === FloatOp.convert
          ? 96 - f.bits
          : f.bits;
  for (let lane = 0; lane < lanes; lane++) {
    const x = read(memory, Scratch.first, f.bits, lane);
    const y = read(memory, Scratch.second, operandBits, lane);
    write(memory, resultBits, lane, compute(memory, op as FloatOp, f, lane, x, y));
  }
  report(memory);
}

function compute(memory: CpuMemory, op: FloatOp, f: Format, lane: number, x: bigint, y: bigint): bigint {
  switch (op) {
    case FloatOp.add:
      return unit.add(f, x, y);
    case FloatOp.sub:
      return unit.subtract(f, x, y);
    case FloatOp.mul:
      return unit.multiply(f, x, y);
    case FloatOp.div:
      return unit.divide(f, x, y);
    case FloatOp.sqrt:
      return unit.squareRoot(f, y);
    case FloatOp.addsub:
      return unit.add(f, x, y, (lane & 1) === 0);
    case FloatOp.min:
      return unit.minimum(f, x, y);
    case FloatOp.max:
      return unit.minimum(f, x, y, true);
    case FloatOp.compare:
      return unit.predicate(f, x, y, memory.get(Scratch.immediate) & 7) ? f.sign | (f.sign - 1n) : 0n;
    case FloatOp.ordered:
    case FloatOp.unordered:
      return ORDER_FLAGS[unit.compare(f, x, y, op === FloatOp.unordered) + 1]!;
    case FloatOp.round: {
      const control = memory.get(Scratch.immediate);
      return unit.integral(
        f,
        y,
        control & 4 ? unit.rounding : ((control & 3) as Rounding),
        (control & 8) !== 0,
      );
    }
    case FloatOp.toInt32:
      return unit.toInteger(f, y, 32, unit.rounding);
    case FloatOp.toInt64:
      return unit.toInteger(f, y, 64, unit.rounding);
    case FloatOp.truncate32:
      return unit.toInteger(f, y, 32, Rounding.zero);
    case FloatOp.truncate64:
      return unit.toInteger(f, y, 64, Rounding.zero);
    case FloatOp.fromInt32:
      return unit.fromInteger(f, BigInt.asIntN(32, y));
    case FloatOp.fromInt64:
      return unit.fromInteger(f, BigInt.asIntN(64, y));
    case FloatOp.convert:
      return unit.convert(f, f === SINGLE ? DOUBLE : SINGLE, y);
    default:
      return 0n;
  }
}

/** EFLAGS of less, equal, greater and unordered: CF, ZF, none, all three with PF. SDM volume 2, COMISD. */
const ORDER_FLAGS = [1n, 0x40n, 0n, 0x45n] as const;

/** DPPS, DPPD: each multiplication and addition rounds and reports by itself. SDM volume 2. */
function dotProduct(memory: CpuMemory, f: Format, control: number): void {
  const lanes = f === SINGLE ? 4 : 2;
  let terms: bigint[] = [];
  for (let lane = 0; lane < lanes; lane++) {
    const x = read(memory, Scratch.first, f.bits, lane);
    const y = read(memory, Scratch.second, f.bits, lane);
    terms.push(control & (0x10 << lane) ? unit.multiply(f, x, y) : 0n);
  }
  report(memory);
  while (terms.length > 1) {
    const sums: bigint[] = [];
    for (let i = 0; i < terms.length; i += 2) sums.push(unit.add(f, terms[i]!, terms[i + 1]!));
    report(memory);
    terms = sums;
  }
  for (let lane = 0; lane < lanes; lane++)
    write(memory, f.bits, lane, control & (1 << lane) ? terms[0]! : 0n);
}
