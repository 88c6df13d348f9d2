/**
 * The form in which an instruction's meaning is kept: expressions and statements over operands, registers,
 * memory and flags. A meaning is recorded once for each form of an instruction (operand size, register or
 * memory, mode) by the builder, and then lowered many times: to the interpreter's handlers, to compiled
 * regions, and by plain evaluation.
 *
 * Pure arithmetic carries WebAssembly's opcode as its own; what is special to a guest has numbers from
 * 0x10000 on.
 */
import type { ValueType } from '../wasm/opcodes.ts';

/** Of a checked address: it is for a write. Above any count of bytes (FXSAVE has 512). */
export const WRITES = 0x1000;

/** Expressions beyond WebAssembly's arithmetic. */
export const Expr = {
  /** k, h: low and high word. */
  const: 0x10000,
  /** The instruction's immediate, extended to the operand size. */
  immediate: 0x10001,
  /** k: temporary's number. */
  temp: 0x10002,
  /** k: general register 0–15, or 16–19 for AH, CH, DH, BH; h: size in bits. */
  gpr: 0x10003,
  /** k: operand number; h: size in bits. A general register chosen by the instruction. */
  operand: 0x10004,
  /** Effective address of the memory operand, without segment; h: address size. */
  effectiveAddress: 0x10005,
  /** k: state address; h: bytes. */
  field: 0x10006,
  /** a: linear address; k: bytes; h: 1 for the stack segment. Value zero-extended. */
  load: 0x10007,
  /** a: linear address; k: bytes. Host address of bytes that may be written, checked for that. */
  probe: 0x10008,
  /** a: host address; k: bytes. */
  rawLoad: 0x10009,
  /** k: condition code as encoded in opcodes. */
  condition: 0x1000a,
  /** EFLAGS' six arithmetic flags as bits. */
  arithmeticFlags: 0x1000b,
  /** RIP of the next instruction, as i64. */
  nextRip: 0x1000c,
  /** Target of a relative branch, as i64. */
  target: 0x1000d,
  /** a: offset; k: segment number or −1 for the memory operand's; h: bytes, with {@link WRITES}. Checks limits. */
  segmented: 0x1000e,
  /** k: number of a function of the base module; list: arguments. */
  call: 0x1000f,
  /** k: state address of the instruction's vector register operand number. */
  vectorOperand: 0x10010,
  /** a, b: values, c: condition. */
  select: 0x10011,
  /** State address of register operand k, as i32. */
  operandAddress: 0x10012,
  /** a, b; k, h etc. of shuffles: 16 lane bytes in list. */
  shuffle: 0x10013,
  /** Lane operations: wasm opcode in h, lane in k. */
  lane: 0x10014,
  /**
   * a: a value that depends on a word of state which only helpers change, but for changes that may be seen late; k: its
   * number. Compiled code works it out once a block.
   */
  steady: 0x10015,
} as const;

/** Statements. */
export const Stmt = {
  /** k: temporary; a: value. */
  let: 1,
  /** k: register as in Expr.gpr; h: size; a: value. */
  setGpr: 2,
  /** k: operand; h: size; a: value. */
  setOperand: 3,
  /** k: state address; h: bytes; a: value. */
  setField: 4,
  /** a: linear address; b: value; k: bytes; h: 1 for the stack segment. */
  store: 5,
  /** a: host address from probe; b: value; k: bytes; c: linear address. */
  rawStore: 6,
  /** k: {@link FlagKind}; h: size; a: result; b: carries; c, d: operands. */
  setFlags: 7,
  /** a: the arithmetic flags as EFLAGS bits. */
  setFlagBits: 8,
  /** a: CF, 0 or 1; b: OF, or absent to leave it. The other flags stay. */
  setCarry: 9,
  /**
   * a: condition; whenTrue, otherwise. k: a state address, or 0: the condition is that this word, which only helpers
   * change, has bits of h, and raises an exception. Compiled code asks once a block, and leaves that to the interpreter.
   */
  if: 10,
  /** k: helper's number; h: its argument. */
  helper: 11,
  /** k: vector; h: error code or −1. Doesn't come back. */
  raise: 12,
  /** k: operand; a: v128. */
  setVector: 13,
  /** a: linear address; b: v128. */
  storeVector: 14,
  /** a: address of state; b: value; k: bytes. */
  poke: 15,
  /**
   * a: condition; whenTrue, otherwise. The first arm is rare and does all that the instruction does, before which
   * nothing has been changed: compiled code may leave it to the interpreter.
   */
  fallBack: 16,
  /** a: so many instructions more than one have been done, as far as the budget is concerned. */
  spend: 17,
} as const;

/**
 * What made the flags. After sub and add (without a carry in) the second operand is kept in place of the carries,
 * which follow from it and the result; and a condition right behind can use the operands themselves.
 */
export const FlagKind = { other: 0, sub: 1, logic: 2, add: 3 } as const;

export interface Node {
  readonly op: number;
  readonly type: ValueType;
  readonly a: Node | undefined;
  readonly b: Node | undefined;
  readonly c: Node | undefined;
  readonly k: number;
  readonly h: number;
  readonly list: readonly Node[] | readonly number[] | undefined;
}

export interface Statement {
  readonly op: number;
  readonly a: Node | undefined;
  readonly b: Node | undefined;
  readonly c: Node | undefined;
  readonly d: Node | undefined;
  readonly k: number;
  readonly h: number;
  readonly whenTrue: readonly Statement[] | undefined;
  readonly otherwise: readonly Statement[] | undefined;
}

/** How an instruction hands on control. */
export const Terminator = {
  /** To the next instruction. */
  none: 0,
  /** Relative jump or call: always to the target. */
  jump: 1,
  /** Relative, on a condition. */
  branch: 2,
  /** To the RIP given by a value. */
  indirect: 3,
  /** A helper has set RIP, and perhaps the mode. */
  state: 4,
} as const;
export type Terminator = (typeof Terminator)[keyof typeof Terminator];

/** A recorded meaning. */
export interface Template {
  readonly statements: readonly Statement[];
  /** Types of the temporaries, by number. */
  readonly temps: readonly ValueType[];
  readonly terminator: Terminator;
  /** For branch: the condition; for indirect: the RIP. */
  readonly value: Node | undefined;
  /** Whether a jump is a call (its return address is pushed) or the indirect jump a return. */
  readonly isCall: boolean;
  readonly isReturn: boolean;
  /** Whether a branch that is taken leads to the instruction itself. */
  readonly repeats: boolean;
}
