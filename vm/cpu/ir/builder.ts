/**
 * The words in which meanings are written: an instruction's meaning is a function that calls this builder,
 * and what it calls is recorded as a {@link Template}.
 *
 * Values of 8, 16 and 32 bits are i32, zero-extended when read; those of 64 bits are i64. Results may carry
 * garbage above their size: writing an operand, and the flags, take only what counts.
 *
 * A meaning changes registers and flags only after the last access that can fault, so that a fault finds
 * the state from before the instruction.
 */
import { Vector } from '../fault.ts';
import { Seg, State } from '../layout.ts';
import { type CompareOp, Convert, I32, I64, type IntegerOp, type ValueType } from '../wasm/opcodes.ts';
import {
  Expr,
  FlagKind,
  type Node,
  type Statement,
  Stmt,
  type Template,
  Terminator,
  WRITES,
} from './node.ts';

/** Operand sizes in bits. */
export type Size = 8 | 16 | 32 | 64;

/** An operand of the form that is being recorded. */
export interface Operand {
  /** general: chosen by ModRM or opcode; fixed: a given register; vector: XMM or MMX register. */
  readonly kind: 'general' | 'fixed' | 'memory' | 'immediate' | 'vector' | 'other';
  /** In bits. */
  readonly size: number;
  /** Which of the instruction's register slots, or the register's number when fixed. */
  readonly index: number;
}

/** For which mode a form is recorded: `segmented` is 16- and 32-bit code whose segments aren't flat. */
export type ModeClass = 'segmented' | 'flat' | 'long';

export interface FormContext {
  /** Repeat prefix: 0xf3, 0xf2, or 0. */
  readonly repeat: number;
  readonly mode: ModeClass;
  readonly size: Size;
  readonly addressSize: 16 | 32 | 64;
}

/** Functions of the base module that expressions may call, with their types. */
export interface BaseFunction {
  readonly name: string;
  readonly params: readonly ValueType[];
  readonly result: ValueType | undefined;
}

export const Reg = { ax: 0, cx: 1, dx: 2, bx: 3, sp: 4, bp: 5, si: 6, di: 7, ah: 16 } as const;

export class Builder {
  readonly mode: ModeClass;
  /** Operand size in bits. */
  readonly size: Size;
  readonly addressSize: 16 | 32 | 64;
  readonly repeat: number;
  private statements: Statement[] = [];
  private readonly temps: ValueType[] = [];
  private terminator: Terminator = Terminator.none;
  private value: Node | undefined;
  private isCall = false;
  private isReturn = false;
  private repeats = false;

  constructor(context: FormContext) {
    this.mode = context.mode;
    this.size = context.size;
    this.addressSize = context.addressSize;
    this.repeat = context.repeat;
  }

  template(): Template {
    const { statements, temps, terminator, value, isCall, isReturn, repeats } = this;
    return { statements, temps, terminator, value, isCall, isReturn, repeats };
  }

  // Values

  /** A constant of an operand size. */
  const(size: number, low: number, high = low < 0 ? -1 : 0): Node {
    return size === 64 ? node(Expr.const, 'i64', low | 0, high) : node(Expr.const, 'i32', low | 0);
  }

  /** A constant of the same type as another value. */
  like(value: Node, low: number, high = low < 0 ? -1 : 0): Node {
    return node(Expr.const, value.type, low | 0, high);
  }

  i32(value: number): Node {
    return this.const(32, value);
  }

  /** Computes a value now: later changes of registers don't change it. */
  let(value: Node): Node {
    if (value.op === Expr.const || value.op === Expr.temp || value.op === Expr.immediate) return value;
    const k = this.temps.push(value.type) - 1;
    this.emit({ op: Stmt.let, k, a: value });
    return node(Expr.temp, value.type, k);
  }

  /** A temporary that statements may change by {@link assign}. */
  variable(value: Node): Node {
    const k = this.temps.push(value.type) - 1;
    this.emit({ op: Stmt.let, k, a: value });
    return node(Expr.temp, value.type, k);
  }

  assign(variable: Node, value: Node): void {
    this.emit({ op: Stmt.let, k: variable.k, a: value });
  }

  private integer(op: IntegerOp | CompareOp, type: ValueType, a: Node, b?: Node): Node {
    const code = a.type === 'i64' ? I64[op] : I32[op];
    return node(code, type, 0, 0, a, b);
  }

  add = (a: Node, b: Node): Node => this.integer('add', a.type, a, b);
  sub = (a: Node, b: Node): Node => this.integer('sub', a.type, a, b);
  mul = (a: Node, b: Node): Node => this.integer('mul', a.type, a, b);
  and = (a: Node, b: Node): Node => this.integer('and', a.type, a, b);
  or = (a: Node, b: Node): Node => this.integer('or', a.type, a, b);
  xor = (a: Node, b: Node): Node => this.integer('xor', a.type, a, b);
  shl = (a: Node, b: Node): Node => this.integer('shl', a.type, a, b);
  shrU = (a: Node, b: Node): Node => this.integer('shr_u', a.type, a, b);
  shrS = (a: Node, b: Node): Node => this.integer('shr_s', a.type, a, b);
  rotl = (a: Node, b: Node): Node => this.integer('rotl', a.type, a, b);
  rotr = (a: Node, b: Node): Node => this.integer('rotr', a.type, a, b);
  divU = (a: Node, b: Node): Node => this.integer('div_u', a.type, a, b);
  divS = (a: Node, b: Node): Node => this.integer('div_s', a.type, a, b);
  remU = (a: Node, b: Node): Node => this.integer('rem_u', a.type, a, b);
  remS = (a: Node, b: Node): Node => this.integer('rem_s', a.type, a, b);
  clz = (a: Node): Node => this.integer('clz', a.type, a);
  ctz = (a: Node): Node => this.integer('ctz', a.type, a);
  popcnt = (a: Node): Node => this.integer('popcnt', a.type, a);
  eqz = (a: Node): Node => this.integer('eqz', 'i32', a);
  eq = (a: Node, b: Node): Node => this.integer('eq', 'i32', a, b);
  ne = (a: Node, b: Node): Node => this.integer('ne', 'i32', a, b);
  ltU = (a: Node, b: Node): Node => this.integer('lt_u', 'i32', a, b);
  ltS = (a: Node, b: Node): Node => this.integer('lt_s', 'i32', a, b);
  gtU = (a: Node, b: Node): Node => this.integer('gt_u', 'i32', a, b);
  gtS = (a: Node, b: Node): Node => this.integer('gt_s', 'i32', a, b);
  geS = (a: Node, b: Node): Node => this.integer('ge_s', 'i32', a, b);
  geU = (a: Node, b: Node): Node => this.integer('ge_u', 'i32', a, b);
  leU = (a: Node, b: Node): Node => this.integer('le_u', 'i32', a, b);
  not = (a: Node): Node => this.xor(a, this.like(a, -1));
  neg = (a: Node): Node => this.sub(this.like(a, 0), a);

  select(condition: Node, yes: Node, no: Node): Node {
    return node(Expr.select, yes.type, 0, 0, yes, no, condition);
  }

  /** Any instruction of WebAssembly that has only value operands. */
  op(code: number, type: ValueType, a: Node, b?: Node, c?: Node): Node {
    return node(code, type, 0, 0, a, b, c);
  }

  /** Vector instruction with an immediate lane. */
  lane(code: number, type: ValueType, lane: number, a: Node, b?: Node): Node {
    return node(Expr.lane, type, lane, code, a, b);
  }

  shuffle(a: Node, b: Node, lanes: readonly number[]): Node {
    return { ...node(Expr.shuffle, 'v128', 0, 0, a, b), list: lanes };
  }

  wrap = (a: Node): Node => (a.type === 'i64' ? node(Convert.i32_wrap_i64, 'i32', 0, 0, a) : a);
  extendU = (a: Node): Node => (a.type === 'i32' ? node(Convert.i64_extend_i32_u, 'i64', 0, 0, a) : a);
  extendS = (a: Node): Node => (a.type === 'i32' ? node(Convert.i64_extend_i32_s, 'i64', 0, 0, a) : a);

  /** Clears what lies above a size. */
  truncate(size: number, value: Node): Node {
    if (size >= 32) return value;
    return this.and(value, this.like(value, (1 << size) - 1));
  }

  /** Sign-extends a value of `from` bits to the type of `to` bits. */
  signExtend(from: number, to: number, value: Node): Node {
    const narrow =
      from === 8
        ? node(I32.extend8_s, 'i32', 0, 0, this.wrap(value))
        : from === 16
          ? node(I32.extend16_s, 'i32', 0, 0, this.wrap(value))
          : value;
    return to === 64 ? this.extendS(narrow) : narrow;
  }

  zeroExtend(to: number, value: Node): Node {
    return to === 64 ? this.extendU(value) : value;
  }

  /** The value as the type of an operand size, cutting off or zero-extending. */
  resize(to: number, value: Node): Node {
    return to === 64 ? this.extendU(value) : this.wrap(value);
  }

  // Registers and state

  /** A general register by number. */
  gpr(register: number, size: number): Node {
    return this.let(node(Expr.gpr, size === 64 ? 'i64' : 'i32', register, size));
  }

  setGpr(register: number, size: number, value: Node): void {
    this.emit({ op: Stmt.setGpr, k: register, h: size, a: value });
  }

  /** A field of the CPU's state. */
  field(address: number, bytes: 1 | 2 | 4 | 8): Node {
    return this.let(node(Expr.field, bytes === 8 ? 'i64' : 'i32', address, bytes));
  }

  setField(address: number, bytes: 1 | 2 | 4 | 8, value: Node): void {
    this.emit({ op: Stmt.setField, k: address, h: bytes, a: value });
  }

  nextRip(): Node {
    return node(Expr.nextRip, 'i64');
  }

  // Operands

  read(operand: Operand): Node {
    const type = operand.size === 64 ? 'i64' : 'i32';
    switch (operand.kind) {
      case 'general':
        return this.let(node(Expr.operand, type, operand.index, operand.size));
      case 'fixed':
        return this.gpr(operand.index, operand.size);
      case 'immediate':
        return node(Expr.immediate, type);
      case 'memory':
        return this.load(this.address(operand.size / 8), operand.size);
      default:
        throw new TypeError(`an operand of kind ${operand.kind} has no integer value`);
    }
  }

  write(operand: Operand, value: Node): void {
    switch (operand.kind) {
      case 'general':
        this.emit({ op: Stmt.setOperand, k: operand.index, h: operand.size, a: value });
        return;
      case 'fixed':
        this.setGpr(operand.index, operand.size, value);
        return;
      case 'memory':
        this.store(this.address(operand.size / 8, true), operand.size, value);
        return;
      default:
        throw new TypeError(`an operand of kind ${operand.kind} can't be written`);
    }
  }

  /**
   * Reads an operand and writes it back changed. What `change` does beyond computing happens after the write
   * can't fault any more.
   */
  modify(operand: Operand, change: (old: Node) => Node): void {
    if (operand.kind !== 'memory') {
      this.write(operand, change(this.read(operand)));
      return;
    }
    this.modifyAt(this.address(operand.size / 8, true), operand.size, change);
  }

  /** As {@link modify}, for memory at a linear address. */
  modifyAt(address: Node, size: number, change: (old: Node) => Node): void {
    const bytes = size / 8;
    const host = this.let(node(Expr.probe, 'i32', bytes, 0, address));
    const old = this.let(node(Expr.rawLoad, size === 64 ? 'i64' : 'i32', bytes, 0, host));
    const value = change(old);
    this.emit({ op: Stmt.rawStore, k: bytes, a: host, b: value, c: address });
  }

  /**
   * Reads and replaces 16 aligned bytes of memory, as two i64.
   * @throws GP into the guest when they aren't aligned
   */
  modifyPair(change: (low: Node, high: Node) => readonly [Node, Node]): void {
    const address = this.address(16, true);
    this.raiseIf(this.ne(this.and(address, this.like(address, 15)), this.like(address, 0)), 13, 0);
    const host = this.let(node(Expr.probe, 'i32', 16, 0, address));
    const second = this.let(this.add(host, this.i32(8)));
    const low = this.let(node(Expr.rawLoad, 'i64', 8, 0, host));
    const high = this.let(node(Expr.rawLoad, 'i64', 8, 0, second));
    const [newLow, newHigh] = change(low, high);
    this.emit({ op: Stmt.rawStore, k: 8, a: host, b: newLow, c: address });
    this.emit({ op: Stmt.rawStore, k: 8, a: second, b: newHigh, c: address });
  }

  // Memory

  /** Effective address of the memory operand, without its segment. */
  effectiveAddress(): Node {
    return node(Expr.effectiveAddress, this.mode === 'long' ? 'i64' : 'i32', 0, this.addressSize);
  }

  /** Linear address of the memory operand, checked against its segment for an access of so many bytes. */
  address(bytes: number, write = false): Node {
    return this.let(
      node(
        Expr.segmented,
        this.mode === 'long' ? 'i64' : 'i32',
        -1,
        bytes | (write ? WRITES : 0),
        this.effectiveAddress(),
      ),
    );
  }

  /** As {@link address}, for another offset in the memory operand's segment. */
  addressAt(offset: Node, bytes: number, write = false): Node {
    return this.linear(-1, offset, bytes, write);
  }

  /** Linear address of an offset in a segment, checked for an access of so many bytes. */
  linear(segment: number, offset: Node, bytes: number, write = false): Node {
    return this.let(
      node(
        Expr.segmented,
        this.mode === 'long' ? 'i64' : 'i32',
        segment,
        bytes | (write ? WRITES : 0),
        offset,
      ),
    );
  }

  /**
   * Loads from a linear address, zero-extended.
   * @param segment - the segment it was made with, if that isn't the memory operand's
   */
  load(address: Node, size: number, segment = -1): Node {
    return this.let(
      node(Expr.load, size === 64 ? 'i64' : 'i32', size / 8, segment === Seg.ss ? 1 : 0, address),
    );
  }

  store(address: Node, size: number, value: Node, segment = -1): void {
    this.emit({ op: Stmt.store, k: size / 8, h: segment === Seg.ss ? 1 : 0, a: address, b: value });
  }

  /** Loads 16 bytes from a linear address. */
  loadVector(address: Node): Node {
    return this.let(node(Expr.load, 'v128', 16, 0, address));
  }

  storeVector(address: Node, value: Node): void {
    this.emit({ op: Stmt.storeVector, a: address, b: value });
  }

  /** Size of the stack pointer in bits. */
  get stackSize(): 32 | 64 {
    return this.mode === 'long' ? 64 : 32;
  }

  /** RSP by `delta` bytes, wrapped to the stack's size. */
  private stackPointer(delta: number): Node {
    const sp = this.gpr(Reg.sp, this.stackSize);
    const moved = delta === 0 ? sp : this.add(sp, this.like(sp, delta));
    return this.mode === 'segmented'
      ? this.let(this.and(moved, this.field(State.stackMask, 4)))
      : this.let(moved);
  }

  /** Writes RSP, keeping what lies above the stack's size. */
  setStackPointer(value: Node): void {
    if (this.mode !== 'segmented') {
      this.setGpr(Reg.sp, this.stackSize, value);
      return;
    }
    const mask = this.field(State.stackMask, 4);
    const old = this.gpr(Reg.sp, 32);
    this.setGpr(Reg.sp, 32, this.or(this.and(value, mask), this.and(old, this.not(mask))));
  }

  push(size: number, value: Node): void {
    const sp = this.stackPointer(-size / 8);
    this.store(this.linear(Seg.ss, sp, size / 8, true), size, value, Seg.ss);
    this.setStackPointer(sp);
  }

  /** High 64 bits of the product of two unsigned i64. */
  mulHighU(x: Node, y: Node): Node {
    const low = (v: Node): Node => this.and(v, this.like(v, -1, 0));
    const high = (v: Node): Node => this.shrU(v, this.like(v, 32));
    const x0 = this.let(low(x));
    const x1 = this.let(high(x));
    const y0 = this.let(low(y));
    const y1 = this.let(high(y));
    const a = this.let(this.add(this.mul(x1, y0), high(this.mul(x0, y0))));
    const b = this.add(this.mul(x0, y1), low(a));
    return this.let(this.add(this.add(this.mul(x1, y1), high(a)), high(b)));
  }

  /** High 64 bits of the product of two signed i64. */
  mulHighS(x: Node, y: Node): Node {
    const sign = (v: Node): Node => this.shrS(v, this.like(v, 63));
    const unsigned = this.mulHighU(x, y);
    return this.let(this.sub(this.sub(unsigned, this.and(sign(x), y)), this.and(sign(y), x)));
  }

  /** Reads the top of the stack; {@link release} then moves the stack pointer. */
  top(size: number): Node {
    return this.load(this.linear(Seg.ss, this.stackPointer(0), size / 8), size, Seg.ss);
  }

  release(bytes: number): void {
    this.setStackPointer(this.stackPointer(bytes));
  }

  // Flags

  /** Flags of an addition: EFLAGS from the result and the carries out of each bit. @param plain - without a carry in */
  flagsOfAdd(size: number, x: Node, y: Node, result: Node, plain = true): void {
    const carries = this.or(this.and(x, y), this.and(this.or(x, y), this.not(result)));
    const k = plain ? FlagKind.add : FlagKind.other;
    this.emit({ op: Stmt.setFlags, k, h: size, a: result, b: carries, c: x, d: y });
  }

  /** Flags of x − y. @param plain - without a borrow in */
  flagsOfSub(size: number, x: Node, y: Node, result: Node, plain = true): void {
    const carries = this.or(this.and(this.not(x), y), this.and(this.or(this.not(x), y), result));
    this.emit({
      op: Stmt.setFlags,
      k: plain ? FlagKind.sub : FlagKind.other,
      h: size,
      a: result,
      b: carries,
      c: x,
      d: y,
    });
  }

  flagsOfLogic(size: number, result: Node): void {
    this.emit({ op: Stmt.setFlags, k: FlagKind.logic, h: size, a: result, b: this.like(result, 0) });
  }

  /** Flags from a result and given carry and overflow (0 or 1 each, of the result's type). */
  flagsOf(size: number, result: Node, carry: Node, overflow: Node): void {
    const top = this.shl(carry, this.like(carry, size - 1));
    const second = this.shl(this.xor(carry, overflow), this.like(carry, size - 2));
    this.emit({ op: Stmt.setFlags, k: FlagKind.other, h: size, a: result, b: this.or(top, second) });
  }

  /** All six arithmetic flags from EFLAGS bits. */
  setFlagBits(bits: Node): void {
    this.emit({ op: Stmt.setFlagBits, a: bits });
  }

  /** CF (an i32 of 0 or 1), and OF if given, and no other flag. */
  setCarry(carry: Node, overflow?: Node): void {
    this.emit({ op: Stmt.setCarry, a: carry, b: overflow });
  }

  /** The six arithmetic flags as EFLAGS bits. */
  flagBits(): Node {
    return this.let(node(Expr.arithmeticFlags, 'i32'));
  }

  /** 0 or 1: a condition as Jcc encodes it. */
  condition(code: number): Node {
    return this.let(node(Expr.condition, 'i32', code));
  }

  /** CF in the type of an operand size. */
  carry(size: number): Node {
    return this.let(this.resize(size, node(Expr.condition, 'i32', 2)));
  }

  // Control

  if(condition: Node, then: () => void, otherwise?: () => void): void {
    const outer = this.statements;
    const first: Statement[] = [];
    this.statements = first;
    then();
    const second: Statement[] = [];
    this.statements = second;
    otherwise?.();
    this.statements = outer;
    this.emit({ op: Stmt.if, a: condition, whenTrue: first, otherwise: second });
  }

  /** Raises an exception where a word of state, which only helpers change, has bits of a mask. The first thing to do. */
  guard(address: number, mask: number, raise: () => void): void {
    this.if(this.and(this.field(address, 4), this.i32(mask)), raise);
    this.emit({ ...this.statements.pop()!, k: address, h: mask });
  }

  /** A value that compiled code may work out once a block: see {@link Expr.steady}. */
  steady(number: number, value: Node): Node {
    return { ...node(Expr.steady, value.type, number), a: value };
  }

  /** As {@link if}, where `then` is rare and all that the instruction does, with nothing changed before. */
  fallBack(condition: Node, then: () => void, otherwise: () => void): void {
    this.if(condition, then, otherwise);
    const { a, whenTrue, otherwise: rest } = this.statements.pop()!;
    this.emit({ op: Stmt.fallBack, a, whenTrue, otherwise: rest });
  }

  /** A value in the CPU's state, at an address that is computed. */
  peek(address: Node, bytes: 2 | 8): Node {
    return node(Expr.rawLoad, bytes === 8 ? 'i64' : 'i32', bytes, 0, address);
  }

  poke(address: Node, bytes: 2 | 4 | 8, value: Node): void {
    this.emit({ op: Stmt.poke, k: bytes, a: address, b: value });
  }

  raise(vector: number, errorCode = -1): void {
    this.emit({ op: Stmt.raise, k: vector, h: errorCode });
  }

  raiseIf(condition: Node, vector: number, errorCode = -1): void {
    this.if(condition, () => this.raise(vector, errorCode));
  }

  /** Has a helper in TypeScript do something with the whole state. See helpers.ts. */
  helper(number: number, argument = 0): void {
    this.emit({ op: Stmt.helper, k: number, h: argument });
  }

  /** Takes so many instructions (an i32) from the budget. */
  spend(instructions: Node): void {
    this.emit({ op: Stmt.spend, a: instructions });
  }

  /** As {@link helper}, but it may change RIP and mode, so that the block ends. */
  exit(number: number, argument = 0): void {
    this.helper(number, argument);
    this.leave();
  }

  /** The block ends; what comes next is said by State.rip and the mode, which may have changed. */
  leave(): void {
    this.terminator = Terminator.state;
  }

  /** Calls a function of the base module. */
  call(index: number, type: ValueType, ...args: Node[]): Node {
    return this.let({ ...node(Expr.call, type, index), list: args });
  }

  /**
   * A relative jump in 64-bit code whose operand size is 16 bits, which on AMD's processors cuts RIP as elsewhere.
   * It is too rare for links.
   */
  private get cutsRip(): boolean {
    return this.mode === 'long' && this.size === 16;
  }

  private relativeTarget(): Node {
    return this.add(this.nextRip(), node(Expr.immediate, 'i64'));
  }

  jump(): void {
    if (this.cutsRip) this.jumpTo(16, this.relativeTarget());
    else this.terminator = Terminator.jump;
  }

  branch(condition: Node): void {
    if (this.cutsRip) {
      this.jumpTo(
        64,
        this.select(condition, this.and(this.relativeTarget(), this.const(64, 0xffff)), this.nextRip()),
      );
      return;
    }
    this.terminator = Terminator.branch;
    this.value = condition;
  }

  /** Begins the instruction anew if the condition holds. */
  repeatWhile(condition: Node): void {
    this.terminator = Terminator.branch;
    this.value = condition;
    this.repeats = true;
  }

  callRelative(size: number): void {
    this.push(size, this.resize(size, this.nextRip()));
    this.jump();
    this.isCall = true;
  }

  /**
   * #GP when a RIP, cut to the operand size, lies beyond the code segment, or is not canonical: a jump there changes
   * nothing.
   */
  checkTarget(size: number, value: Node): void {
    if (this.mode === 'long' && size === 64) {
      const upper = this.const(64, 16);
      this.raiseIf(this.ne(this.shrS(this.shl(value, upper), upper), value), Vector.GP, 0);
    }
    if (this.mode !== 'segmented') return;
    this.raiseIf(
      this.gtU(this.truncate(size, value), this.field(State.segLimit + 4 * Seg.cs, 4)),
      Vector.GP,
      0,
    );
  }

  /** To a RIP, cut to the operand size. */
  jumpTo(size: number, value: Node, how: 'jump' | 'call' | 'return' = 'jump'): void {
    this.terminator = Terminator.indirect;
    this.value = this.extendU(this.truncate(size, value));
    this.isCall = how === 'call';
    this.isReturn = how === 'return';
  }

  // Vectors

  vector(operand: Operand): Node {
    if (operand.kind === 'memory') return this.loadVector(this.address(16));
    return this.let(node(Expr.vectorOperand, 'v128', operand.index));
  }

  setVector(operand: Operand, value: Node): void {
    if (operand.kind === 'memory') this.storeVector(this.address(16, true), value);
    else this.emit({ op: Stmt.setVector, k: operand.index, a: value });
  }

  /** State address of a vector register operand, for helpers of the base module. */
  operandAddress(operand: Operand): Node {
    return node(Expr.operandAddress, 'i32', operand.index);
  }

  private emit(statement: Partial<Statement> & { op: number }): void {
    this.statements.push({
      a: undefined,
      b: undefined,
      c: undefined,
      d: undefined,
      k: 0,
      h: 0,
      whenTrue: undefined,
      otherwise: undefined,
      ...statement,
    });
  }
}

function node(op: number, type: ValueType, k = 0, h = 0, a?: Node, b?: Node, c?: Node): Node {
  return { op, type, k, h, a, b, c, list: undefined };
}
