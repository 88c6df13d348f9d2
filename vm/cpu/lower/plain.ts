/**
 * Plain evaluation: executes a template as it is. TypeScript walks its tree and does what the nodes say, one instruction
 * at a time, on the same state in memory as handlers and compiled code.
 *
 * It is there to be independent of the code generators, and written to be read; nothing in it is fast. Arithmetic, flags,
 * operands and addresses are its own (plain-*.ts). The base module's functions for SSE and x87 are templates too, and are
 * evaluated alike. With the interpreter it shares what that calls in TypeScript: the MMU, segment checks and helpers.
 */
import { slotAddress } from '../code-cache.ts';
import { type Instruction, RIP_BASE } from '../decode.ts';
import { FAULT, Vector } from '../fault.ts';
import type { Form } from '../forms.ts';
import { Expr, type Node, type Statement, Stmt, type Template, Terminator } from '../ir/node.ts';
import { CROSS_PAGE_END, Op, Seg, State } from '../layout.ts';
import type { CpuMemory } from '../memory.ts';
import { SCALAR_OPS, VECTOR_OPS } from '../simd/opcodes.ts';
import { EFLAGS } from '../system/context.ts';
import { Convert, I32, I64 } from '../wasm/opcodes.ts';
import { type BaseFunction, FUNCTION_NAMES, type HostFunctions, STACK_ACCESS } from './base.ts';
import { type FunctionMeaning, functionMeanings } from './base-meanings.ts';
import { gprAddress } from './interp.ts';
import { accessBytes } from './lowering.ts';
import { conditionHolds, flagsAfter, readFlags, writeFlags } from './plain-flags.ts';
import { SCALAR_OPERATIONS, type Value } from './plain-scalar.ts';
import { LANE_OPERATIONS, shuffle, VECTOR_OPERATIONS } from './plain-vector.ts';

/** Functions of the base module that do in bulk what the meaning can do otherwise: they say that they haven't. */
const DECLINED: ReadonlySet<string> = new Set<BaseFunction>(['moveRun', 'fillRun']);

/** What the template under evaluation has of its own: an instruction's, or that of a function which it calls. */
interface Frame {
  readonly temps: Value[];
  /** A function's; register operands stand for them. */
  readonly parameters: readonly Value[] | undefined;
}

export class PlainEvaluator {
  private readonly memory: CpuMemory;
  private readonly host: HostFunctions;
  private readonly functions: ReadonlyMap<string, FunctionMeaning> = functionMeanings();
  private form!: Form;
  private instruction!: Instruction;
  /** Address of the instruction's record, which functions of TypeScript are told. */
  private record = 0;
  private frame: Frame = { temps: [], parameters: undefined };

  constructor(memory: CpuMemory, host: HostFunctions) {
    this.memory = memory;
    this.host = host;
  }

  /**
   * Executes a decoded instruction. State.rip then has what comes next.
   * @param form - undefined when it is none
   * @throws FAULT, INSTRUCTION_EXIT
   */
  execute(form: Form | undefined, instruction: Instruction, record: number): void {
    if (form === undefined) {
      if (instruction.tooLong) this.host.raise(Vector.GP, 0, record);
      else this.host.raise(Vector.UD, -1, record);
      return;
    }
    this.form = form;
    this.instruction = instruction;
    this.record = record;
    const { template } = form;
    this.frame = { temps: [], parameters: undefined };
    this.list(template.statements);
    const rip = this.successor(template);
    if (rip !== undefined) this.memory.u64[State.rip >> 3] = rip;
  }

  /** RIP after the instruction; undefined when a helper has set it. */
  private successor({ terminator, value, repeats }: Template): bigint | undefined {
    switch (terminator) {
      case Terminator.none:
        return this.nextRip();
      case Terminator.jump:
        return this.target();
      case Terminator.branch:
        if (!this.isTrue(value!)) return this.nextRip();
        return repeats ? this.ripAt(0) : this.target();
      case Terminator.indirect:
        return this.wide(value!);
      case Terminator.state:
        return undefined;
    }
  }

  // Statements

  private list(statements: readonly Statement[]): void {
    for (const statement of statements) this.statement(statement);
  }

  private statement(s: Statement): void {
    const { memory, host, record } = this;
    switch (s.op) {
      case Stmt.let:
        this.frame.temps[s.k] = this.value(s.a!);
        return;
      case Stmt.setGpr:
        this.writeRegister(gprAddress(s.k), s.h, this.value(s.a!));
        return;
      case Stmt.setOperand:
        this.writeRegister(this.operandAddress(s.k), s.h, this.value(s.a!));
        return;
      case Stmt.setVector:
        this.put(this.operandAddress(s.k), 16, this.value(s.a!));
        return;
      case Stmt.setField:
        this.put(s.k, s.h, this.value(s.a!));
        return;
      case Stmt.poke:
        this.put(this.number(s.a!) >>> 0, s.k, this.value(s.b!));
        return;
      case Stmt.store:
        this.store(s, s.k);
        return;
      case Stmt.storeVector:
        this.store(s, 16);
        return;
      case Stmt.rawStore:
        this.rawStore(s);
        return;
      case Stmt.setFlags:
        this.setFlags(s);
        return;
      case Stmt.setFlagBits:
        writeFlags(memory, this.number(s.a!));
        return;
      case Stmt.setCarry:
        this.setCarry(s);
        return;
      case Stmt.if:
      case Stmt.fallBack:
        this.list(this.isTrue(s.a!) ? s.whenTrue! : s.otherwise!);
        return;
      case Stmt.helper:
        host.helper(s.k, s.h, record);
        return;
      case Stmt.raise:
        host.raise(s.k, s.h, record);
        return;
      case Stmt.spend:
        memory.set(State.budget, memory.get(State.budget) - this.number(s.a!));
        return;
      default:
        throw unknown('statement', s.op, Stmt);
    }
  }

  private setFlags({ k, h, a, b, c, d }: Statement): void {
    writeFlags(
      this.memory,
      flagsAfter({
        kind: k,
        size: h,
        result: this.wide(a!),
        carries: this.wide(b!),
        operands: c && d && [this.wide(c), this.wide(d)],
      }),
    );
  }

  /** Only CF and, if it is given, OF change. */
  private setCarry({ a, b }: Statement): void {
    const { memory } = this;
    const carry = this.isTrue(a!);
    const overflow = b === undefined ? undefined : this.isTrue(b);
    writeFlags(memory, withCarry(readFlags(memory), carry, overflow));
  }

  // Expressions

  private value(n: Node): Value {
    const { memory } = this;
    switch (n.op) {
      case Expr.const:
        return n.type === 'i64' ? wordsOf(n.k, n.h) : n.k;
      case Expr.immediate:
        return n.type === 'i64' ? this.immediate() : this.instruction.immediateLow;
      case Expr.temp:
        return this.frame.temps[n.k]!;
      case Expr.gpr:
        return this.take(gprAddress(n.k), n.h / 8);
      case Expr.operand:
        return this.frame.parameters?.[n.k] ?? this.take(this.operandAddress(n.k), n.h / 8);
      case Expr.vectorOperand:
        return this.frame.parameters?.[n.k] ?? this.take(this.operandAddress(n.k), 16);
      case Expr.operandAddress:
        return this.operandAddress(n.k);
      case Expr.field:
        return this.take(n.k, n.h);
      case Expr.rawLoad:
        return this.take(this.number(n.a!) >>> 0, n.k);
      case Expr.effectiveAddress:
        return ofType(n, this.effectiveAddress(n.h));
      case Expr.segmented:
        return this.segmented(n);
      case Expr.load:
        return this.load(n);
      case Expr.probe:
        this.setAddress(n.a!);
        return (this.host.missProbe(n.k, this.record) as number) | 0;
      case Expr.condition:
        return Number(conditionHolds(n.k, readFlags(memory)));
      case Expr.arithmeticFlags:
        return readFlags(memory);
      case Expr.nextRip:
        return this.nextRip();
      case Expr.select:
        return this.select(n);
      case Expr.steady:
        return this.value(n.a!);
      case Expr.call:
        return this.call(n);
      case Expr.shuffle:
        return shuffle(this.value(n.a!), this.value(n.b!), n.list as readonly number[]);
      case Expr.lane:
        return this.lane(n);
      default:
        return this.operation(n);
    }
  }

  private select({ a, b, c }: Node): Value {
    const yes = this.value(a!);
    const no = this.value(b!);
    return this.isTrue(c!) ? yes : no;
  }

  private lane({ a, b, k, h }: Node): Value {
    const operation = LANE_OPERATIONS.get(h);
    if (operation === undefined) throw unknown('lane operation', h, OPCODES);
    return operation(k, this.value(a!), b === undefined ? 0 : this.value(b));
  }

  private operation(n: Node): Value {
    const operation = SCALAR_OPERATIONS.get(n.op) ?? VECTOR_OPERATIONS.get(n.op);
    if (operation === undefined) throw unknown('expression', n.op, OPCODES);
    const operands: Value[] = [];
    for (const operand of [n.a, n.b, n.c]) if (operand !== undefined) operands.push(this.value(operand));
    return operation(...operands);
  }

  /** Calls a function of the base module: evaluates its template. */
  private call({ k, list }: Node): Value {
    const name = FUNCTION_NAMES[k]!;
    if (DECLINED.has(name)) return 0;
    const meaning = this.functions.get(name);
    if (meaning === undefined) throw new Error(`plain evaluation knows no function ${name}`);
    const caller = this.frame;
    this.frame = { temps: [], parameters: (list as readonly Node[]).map((argument) => this.value(argument)) };
    this.list(meaning.template.statements);
    const result = this.value(meaning.result);
    this.frame = caller;
    return result;
  }

  private number(n: Node): number {
    return this.value(n) as number;
  }

  private isTrue(n: Node): boolean {
    return this.number(n) !== 0;
  }

  /** A value of either integer type as 64 bits, zero-extended. */
  private wide(n: Node): bigint {
    const value = this.value(n) as number | bigint;
    return typeof value === 'number' ? BigInt(value >>> 0) : value;
  }

  // Registers and state

  /** A value in state or at a host address: less than 4 bytes zero-extended. */
  private take(at: number, bytes: number): Value {
    const { memory } = this;
    switch (bytes) {
      case 1:
        return memory.u8[at]!;
      case 2:
        return memory.data.getUint16(at, true);
      case 4:
        return memory.data.getInt32(at, true);
      case 8:
        return memory.data.getBigUint64(at, true);
      default:
        return memory.u8.slice(at, at + 16);
    }
  }

  private put(at: number, bytes: number, value: Value): void {
    const { memory } = this;
    switch (bytes) {
      case 1:
        memory.u8[at] = value as number;
        return;
      case 2:
        memory.data.setUint16(at, value as number, true);
        return;
      case 4:
        memory.data.setInt32(at, value as number, true);
        return;
      case 8:
        memory.data.setBigUint64(at, value as bigint, true);
        return;
      default:
        memory.u8.set(value as Uint8Array, at);
    }
  }

  /** A write of 32 bits clears the register's upper half. SDM volume 1, 3.4.1.1 */
  private writeRegister(at: number, size: number, value: Value): void {
    if (size === 32) this.put(at, 8, BigInt((value as number) >>> 0));
    else this.put(at, size / 8, value);
  }

  /** State address of a register operand; of x87's its number. */
  private operandAddress(index: number): number {
    return slotAddress(this.form.slots[index]!, this.instruction.registers[index]!);
  }

  private immediate(): bigint {
    return wordsOf(this.instruction.immediateLow, this.instruction.immediateHigh);
  }

  // RIP

  /** RIP so many bytes behind the instruction's first. */
  private ripAt(offset: number): bigint {
    const { memory } = this;
    const place = memory.u16[(this.record + Op.place) >> 1]!;
    const rip = memory.u64[State.ripBase >> 3]! + BigInt(place + offset);
    return rip & memory.u64[State.ripMask >> 3]!;
  }

  private nextRip(): bigint {
    return this.ripAt(this.instruction.length);
  }

  /** Where a relative jump goes. With an operand size of 16 bits that is in the first 64 KiB. SDM volume 2, JMP */
  private target(): bigint {
    const mask = this.form.size === 16 ? 0xffffn : this.memory.u64[State.ripMask >> 3]!;
    return (this.nextRip() + this.immediate()) & mask;
  }

  // Memory

  /** Base, scaled index and displacement. SDM volume 1, 3.7.5 */
  private effectiveAddress(size: number): bigint {
    const { base, index, scale, displacementLow, displacementHigh } = this.instruction;
    let sum = wordsOf(displacementLow, displacementHigh);
    if (base === RIP_BASE) sum += this.nextRip();
    else if (base >= 0) sum += this.register(base);
    if (index >= 0) sum += this.register(index) << BigInt(scale);
    return BigInt.asUintN(size, sum);
  }

  private register(number: number): bigint {
    return this.take(gprAddress(number), 8) as bigint;
  }

  /** The linear address of an offset; with limits and rights of its segment checked, where these aren't known. */
  private segmented(n: Node): Value {
    const segment = n.k >= 0 ? n.k : this.instruction.segment;
    const isBased = n.k < 0 && this.form.mode === 'flat';
    if (
      this.form.mode === 'segmented' ||
      (isBased && this.number(n.a!) >>> 0 > 0x1_0000_0000 - accessBytes(n))
    )
      return this.host.segmented(segment, this.number(n.a!), n.h, this.record) as number;
    return ofType(n, this.wide(n.a!) + this.flatBase(segment));
  }

  /** In 64-bit code only FS and GS have bases (SDM volume 1, 3.4.2.1); in flat code the others' are 0. */
  private flatBase(segment: number): bigint {
    return segment < Seg.fs ? 0n : this.memory.u64[(State.segBase >> 3) + segment]!;
  }

  /** Says which linear address the next access is to. */
  private setAddress(address: Node): void {
    this.memory.u64[State.faultAddress >> 3] = this.wide(address);
  }

  private load(n: Node): Value {
    this.setAddress(n.a!);
    return this.take(this.host.missRead(n.k, this.accessRecord(n.h)) as number, n.k);
  }

  private store(s: Statement, bytes: number): void {
    const value = this.value(s.b!);
    this.setAddress(s.a!);
    this.put(State.storeValue, bytes, value);
    if (this.host.missStore(bytes, this.accessRecord(s.h)) !== 0) throw FAULT;
  }

  /** The record for an access. @param isStack - 1 when it is by the stack segment */
  private accessRecord(isStack: number): number {
    return isStack === 0 ? this.record : this.record | STACK_ACCESS;
  }

  /** Stores where a probe has looked; what isn't RAM of one page is then written from the cross-page area. */
  private rawStore(s: Statement): void {
    const host = this.number(s.a!) >>> 0;
    this.put(host, s.k, this.value(s.b!));
    if (host < CROSS_PAGE_END) this.host.finishStore(host, s.k, this.record);
  }
}

/** Names of what an expression's number can be. */
const OPCODES: Readonly<Record<string, number>> = {
  ...Expr,
  ...Convert,
  ...Object.fromEntries(Object.entries(I32).map(([name, code]) => [`i32.${name}`, code])),
  ...Object.fromEntries(Object.entries(I64).map(([name, code]) => [`i64.${name}`, code])),
  ...Object.fromEntries(Object.entries(SCALAR_OPS).map(([name, { code }]) => [name, code])),
  ...Object.fromEntries(Object.entries(VECTOR_OPS).map(([name, { code }]) => [name, code])),
};

function unknown(what: string, number: number, names: Readonly<Record<string, number>>): Error {
  const name = Object.keys(names).find((key) => names[key] === number) ?? `0x${number.toString(16)}`;
  return new Error(`plain evaluation knows no ${what} ${name}`);
}

/** EFLAGS bits with another CF, and another OF where one is given. */
function withCarry(flags: number, carry: boolean, overflow: boolean | undefined): number {
  const { CF, OF } = EFLAGS;
  const carried = carry ? flags | CF : flags & ~CF;
  if (overflow === undefined) return carried;
  return overflow ? carried | OF : carried & ~OF;
}

/** 64 bits of a low and a high word. */
function wordsOf(low: number, high: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

/** An integer as a value of a node's type. */
function ofType({ type }: Node, value: bigint): Value {
  return type === 'i64' ? BigInt.asUintN(64, value) : Number(BigInt.asIntN(32, value));
}
