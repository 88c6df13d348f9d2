/**
 * Lowers a template to WebAssembly. What is the same for the interpreter's handlers and for compiled
 * regions is here; where registers, immediates, flags and memory are found differs, and is left to them.
 */
import { Expr, FlagKind, type Node, type Statement, Stmt, type Template, WRITES } from '../ir/node.ts';
import { LazyFlags, State } from '../layout.ts';
import { Convert, I32, I64, type ValueType, Wasm } from '../wasm/opcodes.ts';
import { type BaseFunction, FUNCTION_NAMES, type HostFunction } from './base.ts';
import type { Code } from './code.ts';

/** Function indices in the module that is being made. */
export type FunctionIndices = Readonly<Record<BaseFunction | HostFunction, number>>;

export abstract class Lowering {
  readonly code: Code;
  protected readonly functions: FunctionIndices;
  /** Local of each temporary of the current template. */
  protected temps: number[] = [];

  constructor(code: Code, functions: FunctionIndices) {
    this.code = code;
    this.functions = functions;
  }

  /** Pushes a general register, zero-extended; AH and its like have numbers from 16 on. */
  protected abstract getGpr(register: number, size: number): void;
  /** Stores into a general register what `value` pushes. */
  protected abstract setGpr(register: number, size: number, value: () => void): void;
  protected abstract getOperand(index: number, size: number): void;
  protected abstract setOperand(index: number, size: number, value: () => void): void;
  /** Pushes the state address of a register operand. */
  protected abstract operandAddress(index: number): void;
  protected abstract getVector(index: number): void;
  protected abstract setVector(index: number, value: () => void): void;
  protected abstract immediate(type: ValueType): void;
  protected abstract effectiveAddress(type: ValueType, size: number): void;
  /** Turns the offset on the stack into a linear address. */
  protected abstract segmented(node: Node): void;
  protected abstract nextRip(): void;
  protected abstract target(): void;
  protected abstract load(node: Node): void;
  protected abstract probe(node: Node): void;
  protected abstract store(statement: Statement): void;
  protected abstract setFlags(statement: Statement): void;
  protected abstract condition(code: number): void;
  protected abstract flagBits(): void;
  /** Pushes (ccRes, ccAux, ccShift) and takes what the statement leaves. */
  protected abstract setFlagBits(statement: Statement): void;
  protected abstract setCarry(statement: Statement): void;
  /** Pushes the record of the current instruction. */
  protected abstract record(): void;
  /** The record for a load or store; `flags` is 0 or STACK_ACCESS (base.ts). */
  protected accessRecord(flags: number): void {
    this.record();
    if (flags === 0) return;
    this.code.i32(flags);
    this.code.op(I32.or);
  }
  protected abstract helper(statement: Statement): void;
  protected abstract raise(statement: Statement): void;
  /** Takes from the budget what `instructions` pushes. */
  protected abstract spend(instructions: () => void): void;
  /** What is known of the value at this time, to leave out what it decides against. */
  protected constant(_node: Node): number | undefined {
    return undefined;
  }
  /** Called around each arm of an if. */
  protected beginArm(): void {}
  protected endArm(): void {}

  /** Emits all statements of a template. */
  protected statements(template: Template): void {
    this.temps = template.temps.map((type) => this.tempLocal(type));
    this.list(template.statements);
  }

  protected tempLocal(type: ValueType): number {
    return this.code.local(type);
  }

  protected list(statements: readonly Statement[]): void {
    for (const statement of statements) this.statement(statement);
  }

  private statement(s: Statement): void {
    const { code } = this;
    switch (s.op) {
      case Stmt.let:
        this.value(s.a!);
        code.set(this.temps[s.k]!);
        return;
      case Stmt.setGpr:
        this.setGpr(s.k, s.h, () => this.value(s.a!));
        return;
      case Stmt.setOperand:
        this.setOperand(s.k, s.h, () => this.value(s.a!));
        return;
      case Stmt.setVector:
        this.setVector(s.k, () => this.value(s.a!));
        return;
      case Stmt.setField:
        code.i32(0);
        this.value(s.a!);
        code.memory(
          s.h === 8
            ? Wasm.i64_store
            : s.h === 4
              ? Wasm.i32_store
              : s.h === 2
                ? Wasm.i32_store16
                : Wasm.i32_store8,
          s.k,
        );
        return;
      case Stmt.store:
      case Stmt.storeVector:
        this.store(s);
        return;
      case Stmt.rawStore:
        this.rawStore(s);
        return;
      case Stmt.setFlags:
        this.setFlags(s);
        return;
      case Stmt.setFlagBits:
        this.setFlagBits(s);
        return;
      case Stmt.setCarry:
        this.setCarry(s);
        return;
      case Stmt.if:
        this.conditional(s);
        return;
      case Stmt.poke:
        this.value(s.a!);
        this.value(s.b!);
        code.memory(storeOpcode(s.k, s.b!.type), 0);
        return;
      case Stmt.fallBack:
        this.fallBack(s);
        return;
      case Stmt.helper:
        this.helper(s);
        return;
      case Stmt.spend:
        this.spend(() => this.value(s.a!));
        return;
      case Stmt.raise:
        this.raise(s);
        return;
      default:
        throw new Error(`unknown statement ${s.op}`);
    }
  }

  protected steady(n: Node): void {
    this.value(n.a!);
  }

  /** Without compiled code to leave, an if like others. */
  protected fallBack(s: Statement): void {
    this.conditional(s);
  }

  protected conditional(s: Statement): void {
    const known = this.constant(s.a!);
    if (known !== undefined) {
      this.list(known !== 0 ? s.whenTrue! : s.otherwise!);
      return;
    }
    this.value(s.a!);
    this.code.if(undefined, likelihood(s));
    this.beginArm();
    this.list(s.whenTrue!);
    this.endArm();
    if (s.otherwise!.length > 0) {
      this.code.else();
      this.beginArm();
      this.list(s.otherwise!);
      this.endArm();
    }
    this.code.end();
  }

  /** Stores at a host address that came from a probe; what lies in the cross-page area is then written back. */
  protected rawStore(s: Statement): void {
    const { code } = this;
    this.value(s.a!);
    this.value(s.b!);
    code.memory(storeOpcode(s.k, s.b!.type), 0);
    this.value(s.a!);
    code.i32(RAW_LIMIT);
    code.op(I32.lt_u);
    code.if(undefined, false);
    this.value(s.a!);
    code.i32(s.k);
    this.record();
    code.call(this.functions.finishStore);
    code.end();
  }

  /** Pushes the value of an expression. */
  protected value(n: Node): void {
    const { code } = this;
    switch (n.op) {
      case Expr.const:
        if (n.type === 'i64') code.i64(n.k, n.h);
        else code.i32(n.k);
        return;
      case Expr.immediate:
        this.immediate(n.type);
        return;
      case Expr.temp:
        code.get(this.temps[n.k]!);
        return;
      case Expr.gpr:
        this.getGpr(n.k, n.h);
        return;
      case Expr.operand:
        this.getOperand(n.k, n.h);
        return;
      case Expr.effectiveAddress:
        this.effectiveAddress(n.type, n.h);
        return;
      case Expr.field:
        code.load(
          n.h === 8
            ? Wasm.i64_load
            : n.h === 4
              ? Wasm.i32_load
              : n.h === 2
                ? Wasm.i32_load16_u
                : Wasm.i32_load8_u,
          n.k,
        );
        return;
      case Expr.steady:
        this.steady(n);
        return;
      case Expr.load:
        this.load(n);
        return;
      case Expr.probe:
        this.probe(n);
        return;
      case Expr.rawLoad:
        this.value(n.a!);
        code.memory(loadOpcode(n.k), 0);
        return;
      case Expr.condition:
        this.condition(n.k);
        return;
      case Expr.arithmeticFlags:
        this.flagBits();
        return;
      case Expr.nextRip:
        this.nextRip();
        return;
      case Expr.target:
        this.target();
        return;
      case Expr.segmented:
        this.segmented(n);
        return;
      case Expr.call:
        for (const argument of n.list as readonly Node[]) this.value(argument);
        code.call(this.functions[FUNCTION_NAMES[n.k]!]);
        return;
      case Expr.vectorOperand:
        this.getVector(n.k);
        return;
      case Expr.operandAddress:
        this.operandAddress(n.k);
        return;
      case Expr.select:
        this.value(n.a!);
        this.value(n.b!);
        this.value(n.c!);
        code.op(Wasm.select);
        return;
      case Expr.shuffle:
        this.value(n.a!);
        this.value(n.b!);
        code.op(0xfd0d);
        for (const lane of n.list as readonly number[]) code.bytes.u8(lane);
        return;
      case Expr.lane:
        this.value(n.a!);
        if (n.b !== undefined) this.value(n.b);
        code.op(n.h);
        code.bytes.u8(n.k);
        return;
      default:
        this.value(n.a!);
        if (n.b !== undefined) this.value(n.b);
        if (n.c !== undefined) this.value(n.c);
        code.op(n.op);
    }
  }

  /** Pushes a value as i64, zero-extended. */
  protected value64(n: Node): void {
    this.value(n);
    if (n.type === 'i32') this.code.op(Convert.i64_extend_i32_u);
  }

  /** Pushes the current page's RIP base plus an offset, cut to the code size. */
  protected ripOf(offset: number): void {
    const { code } = this;
    code.load(Wasm.i64_load, State.ripBase);
    code.i64(offset);
    code.op(I64.add);
  }
}

/** What State.ccShift says of flags of a kind beside the shift; 0 when their carries are worked out at once. */
export function lazyFlags(kind: number): number {
  return kind === FlagKind.sub ? LazyFlags.sub : kind === FlagKind.add ? LazyFlags.add : 0;
}

/** An arm that raises an exception is rarely taken. */
function likelihood(s: Statement): boolean | undefined {
  if (s.whenTrue!.at(-1)?.op === Stmt.raise) return false;
  return s.otherwise!.at(-1)?.op === Stmt.raise ? true : undefined;
}

/** Host addresses below this are in the cross-page area. */
const RAW_LIMIT = 0x2000;

/** How many bytes an access has whose linear address a node is, from 1 to 16: what is longer is done in parts. */
export function accessBytes({ h }: Node): number {
  return Math.min(Math.max(1, h & ~WRITES), 16);
}

export function loadOpcode(bytes: number): number {
  switch (bytes) {
    case 1:
      return Wasm.i32_load8_u;
    case 2:
      return Wasm.i32_load16_u;
    case 4:
      return Wasm.i32_load;
    case 8:
      return Wasm.i64_load;
    default:
      return Wasm.v128_load;
  }
}

export function storeOpcode(bytes: number, type: ValueType): number {
  switch (bytes) {
    case 1:
      return Wasm.i32_store8;
    case 2:
      return Wasm.i32_store16;
    case 4:
      return type === 'i64' ? Wasm.i64_store32 : Wasm.i32_store;
    case 8:
      return Wasm.i64_store;
    default:
      return Wasm.v128_store;
  }
}
