/**
 * Lazy flags in WebAssembly: conditions, EFLAGS bits and carries from what is kept of the instruction that set them
 * (ir/builder.ts). They are functions of the base module.
 */
import { LazyFlags } from '../layout.ts';
import { Convert, I32, I64, Wasm } from '../wasm/opcodes.ts';
import type { BaseFunction } from './base.ts';
import type { Code } from './code.ts';
import type { FunctionIndices } from './lowering.ts';

const RESULT = 0;
const CARRIES = 1;
const SHIFT = 2;

/** Flags from their lazy form: each pushes 0 or 1, for flags that aren't EFLAGS bits already. */
const LAZY = {
  carry: (code: Code, carries = CARRIES, shift = SHIFT): void => {
    code.get(carries);
    pushShift(code, shift);
    code.op(I64.shl);
    code.i64(0);
    code.op(I64.lt_s);
  },
  overflow: (code: Code, carries = CARRIES, shift = SHIFT): void => {
    code.get(carries);
    code.get(carries);
    code.i64(1);
    code.op(I64.shl);
    code.op(I64.xor);
    pushShift(code, shift);
    code.op(I64.shl);
    code.i64(0);
    code.op(I64.lt_s);
  },
  zero: (code: Code): void => {
    code.get(RESULT);
    pushShift(code, SHIFT);
    code.op(I64.shl);
    code.op(I64.eqz);
  },
  sign: (code: Code): void => {
    code.get(RESULT);
    pushShift(code, SHIFT);
    code.op(I64.shl);
    code.i64(0);
    code.op(I64.lt_s);
  },
  parity: (code: Code): void => {
    code.get(RESULT);
    code.i64(0xff);
    code.op(I64.and);
    code.op(I64.popcnt);
    code.op(Convert.i32_wrap_i64);
    code.i32(1);
    code.op(I32.and);
    code.op(I32.eqz);
  },
  auxiliary: (code: Code): void => {
    code.get(CARRIES);
    code.i64(3);
    code.op(I64.shr_u);
    code.op(Convert.i32_wrap_i64);
    code.i32(1);
    code.op(I32.and);
  },
} as const;

function pushShift(code: Code, shift: number): void {
  code.get(shift);
  code.op(Convert.i64_extend_i32_u);
}

/** Pushes one of the EFLAGS bits in the carries word. */
function explicitBit(code: Code, bit: number): void {
  code.get(CARRIES);
  code.op(Convert.i32_wrap_i64);
  code.i32(bit);
  code.op(I32.shr_u);
  code.i32(1);
  code.op(I32.and);
}

/** Pushes the carries of a subtraction, or of an addition, from its result and second operand, in locals. */
export function emitCarries(
  code: Code,
  { result, operand, scratch }: { result: number; operand: number; scratch: number },
  isSub: boolean,
): void {
  // The first operand.
  code.get(result);
  code.get(operand);
  code.op(isSub ? I64.add : I64.sub);
  if (isSub) {
    // Complemented: borrows are the carries of y − x.
    code.i64(-1);
    code.op(I64.xor);
  }
  code.tee(scratch);
  code.get(operand);
  code.op(I64.and);
  code.get(scratch);
  code.get(operand);
  code.op(I64.or);
  code.get(result);
  if (!isSub) {
    code.i64(-1);
    code.op(I64.xor);
  }
  code.op(I64.and);
  code.op(I64.or);
}

/** Pushes State.ccShift with CF and OF replaced: beside what made the other flags, which stays as it is. */
export function emitReplaced(code: Code, how: () => void, carry: () => void, overflow: () => void): void {
  how();
  code.i32(LazyFlags.kept);
  code.op(I32.and);
  code.i32(LazyFlags.replaced);
  code.op(I32.or);
  carry();
  code.i32(LazyFlags.carry);
  code.op(I32.shl);
  code.op(I32.or);
  overflow();
  code.i32(LazyFlags.overflow);
  code.op(I32.shl);
  code.op(I32.or);
}

/**
 * Pushes CF from flags of which nothing is known, in locals: what the function condition2 gives, without a call. INC and
 * DEC keep CF, and nearly always nobody looks at it: then this is off every path that matters.
 */
export function emitCarryFlag(
  code: Code,
  { result, carries, how }: { result: number; carries: number; how: number },
): void {
  const bitOf = (bit: number): void => {
    code.get(how);
    code.i32(bit);
    code.op(I32.shr_u);
    code.i32(1);
    code.op(I32.and);
  };
  // Of EFLAGS bits, CF is the lowest, and is moved to the top.
  const shift = (): void => {
    code.i32(0);
    bitOf(6);
    code.op(I32.sub);
    code.get(how);
    code.op(I32.or);
    code.i32(63);
    code.op(I32.and);
    code.op(Convert.i64_extend_i32_u);
  };
  // Replaced.
  bitOf(LazyFlags.carry);
  // A carry out of the top bit.
  code.get(carries);
  shift();
  code.op(I64.shl);
  code.i64(0);
  code.op(I64.lt_s);
  // After an addition whether the sum, and after a subtraction whether the first operand, is less than the second.
  code.i64(0);
  bitOf(8);
  code.op(Convert.i64_extend_i32_u);
  code.op(I64.sub);
  code.get(carries);
  code.op(I64.and);
  code.get(result);
  code.op(I64.add);
  shift();
  code.op(I64.shl);
  code.get(carries);
  shift();
  code.op(I64.shl);
  code.op(I64.lt_u);
  code.get(how);
  code.i32(LazyFlags.sub | LazyFlags.add);
  code.op(I32.and);
  code.op(I32.eqz);
  code.op(Wasm.select);
  code.get(how);
  code.i32(LazyFlags.replaced);
  code.op(I32.and);
  code.op(Wasm.select);
}

/** Defines the base module's functions of flags. */
export function defineFlags(
  define: (name: BaseFunction, emit: (code: Code) => void) => void,
  { carries: carriesFunction, withCarryOverflow }: FunctionIndices,
): void {
  define('carries', (code) => {
    const x = code.local('i64');
    const replaced = code.local('i32');
    code.get(SHIFT);
    code.tee(replaced);
    code.i32(LazyFlags.kept);
    code.op(I32.and);
    code.tee(SHIFT);
    code.i32(LazyFlags.sub);
    code.op(I32.lt_u);
    code.if('i64');
    code.get(CARRIES);
    code.else();
    code.get(SHIFT);
    code.i32(LazyFlags.add);
    code.op(I32.lt_u);
    code.if('i64');
    emitCarries(code, { result: RESULT, operand: CARRIES, scratch: x }, true);
    code.else();
    emitCarries(code, { result: RESULT, operand: CARRIES, scratch: x }, false);
    code.end();
    code.end();
    code.set(CARRIES);
    code.get(replaced);
    code.i32(LazyFlags.replaced);
    code.op(I32.and);
    code.if(undefined, false);
    code.get(CARRIES);
    code.get(SHIFT);
    code.i32(LazyFlags.shiftMask);
    code.op(I32.and);
    for (const bit of [LazyFlags.carry, LazyFlags.overflow]) {
      code.get(replaced);
      code.i32(bit);
      code.op(I32.shr_u);
      code.i32(1);
      code.op(I32.and);
    }
    code.call(withCarryOverflow);
    code.set(CARRIES);
    code.end();
    code.get(CARRIES);
  });
  type Emit = (code: Code) => void;
  const condition = (name: BaseFunction, explicit: Emit, lazy: Emit, byCarries = true): void => {
    define(name, (code) => {
      if (byCarries) {
        code.get(RESULT);
        code.get(CARRIES);
        code.get(SHIFT);
        code.call(carriesFunction);
        code.set(CARRIES);
      }
      code.get(SHIFT);
      code.i32(LazyFlags.shiftMask);
      code.op(I32.and);
      code.tee(SHIFT);
      code.i32(64);
      code.op(I32.eq);
      code.if('i32', false);
      explicit(code);
      code.else();
      lazy(code);
      code.end();
    });
  };
  const bit =
    (n: number): Emit =>
    (code) =>
      explicitBit(code, n);
  const both =
    (x: Emit, y: Emit, op: number): Emit =>
    (code) => {
      x(code);
      y(code);
      code.op(op);
    };
  const { carry, overflow, zero, sign, parity, auxiliary } = LAZY;
  condition('condition0', bit(11), (c) => overflow(c));
  condition('condition2', bit(0), (c) => carry(c));
  condition('condition4', bit(6), zero, false);
  condition(
    'condition6',
    both(bit(0), bit(6), I32.or),
    both((c) => carry(c), zero, I32.or),
  );
  condition('condition8', bit(7), sign, false);
  condition('condition10', bit(2), parity, false);
  condition(
    'condition12',
    both(bit(7), bit(11), I32.xor),
    both(sign, (c) => overflow(c), I32.xor),
  );
  condition(
    'condition14',
    both(both(bit(7), bit(11), I32.xor), bit(6), I32.or),
    both(
      both(sign, (c) => overflow(c), I32.xor),
      zero,
      I32.or,
    ),
  );
  condition(
    'flagBits',
    (code) => {
      code.get(CARRIES);
      code.op(Convert.i32_wrap_i64);
      code.i32(0x8d5);
      code.op(I32.and);
    },
    (code) => {
      carry(code);
      for (const [emit, at] of [
        [parity, 2],
        [auxiliary, 4],
        [zero, 6],
        [sign, 7],
        [overflow, 11],
      ] as [Emit, number][]) {
        emit(code);
        code.i32(at);
        code.op(I32.shl);
        code.op(I32.or);
      }
    },
  );
  const carries = 0;
  const shift = 1;
  const newCarry = 2;
  const replace = (name: BaseFunction, overflowOf: Emit | undefined): void => {
    define(name, (code) => {
      code.get(shift);
      code.i32(64);
      code.op(I32.eq);
      code.if('i64');
      code.get(carries);
      code.i64(overflowOf === undefined ? ~0x801 : ~1);
      code.op(I64.and);
      code.get(newCarry);
      if (overflowOf === undefined) {
        code.get(3);
        code.i32(11);
        code.op(I32.shl);
        code.op(I32.or);
      }
      code.op(Convert.i64_extend_i32_u);
      code.op(I64.or);
      code.else();
      // CF is the top bit, OF the difference of the two highest; AF is bit 3.
      code.get(newCarry);
      code.i32(1);
      code.op(I32.shl);
      code.get(newCarry);
      if (overflowOf === undefined) code.get(3);
      else overflowOf(code);
      code.op(I32.xor);
      code.op(I32.or);
      code.op(Convert.i64_extend_i32_u);
      code.i64(62);
      pushShift(code, shift);
      code.op(I64.sub);
      code.op(I64.shl);
      code.get(carries);
      code.i64(8);
      code.op(I64.and);
      code.op(I64.or);
      code.end();
    });
  };
  replace('withCarry', (code) => LAZY.overflow(code, carries, shift));
  replace('withCarryOverflow', undefined);
}
