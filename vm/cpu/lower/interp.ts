/**
 * Lowers templates to the interpreter's handlers: WebAssembly functions that take the address of a decoded
 * instruction's record, do what it means on the state in memory, and go on to the next record by tail call.
 */
import { type Node, type Statement, type Template, Terminator } from '../ir/node.ts';
import { LazyFlags, Op, State } from '../layout.ts';
import { Convert, I32, I64, type ValueType, Wasm } from '../wasm/opcodes.ts';
import { emitReplaced } from './base-flags.ts';
import { emitLoad, emitStore } from './base-memory.ts';
import { Code } from './code.ts';
import { accessBytes, type FunctionIndices, Lowering, lazyFlags, loadOpcode } from './lowering.ts';

const RECORD = 0;

/** The address of a register's byte, word or whole. */
export function gprAddress(register: number): number {
  return register < 16 ? State.gpr + register * 8 : State.gpr + (register - 16) * 8 + 1;
}

export class HandlerLowering extends Lowering {
  private readonly handlerType: number;

  private readonly isSegmented: boolean;

  private constructor(functions: FunctionIndices, handlerType: number, isSegmented: boolean) {
    super(new Code(1), functions);
    this.handlerType = handlerType;
    this.isSegmented = isSegmented;
  }

  /** @param segmented - for 16- and 32-bit code whose segments aren't flat */
  static lower(
    template: Template,
    segmented: boolean,
    functions: FunctionIndices,
    handlerType: number,
  ): Code {
    const lowering = new HandlerLowering(functions, handlerType, segmented);
    lowering.statements(template);
    lowering.finish(template);
    return lowering.code;
  }

  private finish(template: Template): void {
    const { code } = this;
    switch (template.terminator) {
      case Terminator.none:
        this.goNext();
        return;
      case Terminator.jump:
        this.goTo(Op.taken);
        return;
      case Terminator.branch:
        this.value(template.value!);
        code.if();
        this.goTo(Op.taken);
        code.end();
        this.goTo(Op.fallThrough);
        return;
      case Terminator.indirect:
        this.value(template.value!);
        code.returnCall(this.functions.dispatch);
        return;
      case Terminator.state:
        code.load(Wasm.i64_load, State.rip);
        code.returnCall(this.functions.dispatch);
        return;
    }
  }

  /** To the record that follows. */
  private goNext(): void {
    const { code } = this;
    code.get(RECORD);
    code.i32(Op.size);
    code.op(I32.add);
    code.get(RECORD);
    code.memory(Wasm.i32_load, Op.size + Op.handler);
    code.returnCallIndirect(this.handlerType);
  }

  /** To the block head whose address is in a field of the record. */
  private goTo(field: number): void {
    const { code } = this;
    code.get(RECORD);
    code.memory(Wasm.i32_load, field);
    code.tee(RECORD);
    code.get(RECORD);
    code.memory(Wasm.i32_load, Op.handler);
    code.returnCallIndirect(this.handlerType);
  }

  protected record(): void {
    this.code.get(RECORD);
  }

  private loadRegister(size: number, offset: number): void {
    this.code.memory(loadOpcode(size / 8), offset);
  }

  private storeRegister(size: number, value: () => void, offset: number): void {
    value();
    if (size === 32) this.code.op(Convert.i64_extend_i32_u);
    this.code.memory(size === 8 ? Wasm.i32_store8 : size === 16 ? Wasm.i32_store16 : Wasm.i64_store, offset);
  }

  protected getGpr(register: number, size: number): void {
    this.code.i32(0);
    this.loadRegister(size, gprAddress(register));
  }

  protected setGpr(register: number, size: number, value: () => void): void {
    this.code.i32(0);
    this.storeRegister(size, value, gprAddress(register));
  }

  protected operandAddress(index: number): void {
    this.code.get(RECORD);
    this.code.memory(Wasm.i32_load, Op.reg0 + 4 * index);
  }

  protected getOperand(index: number, size: number): void {
    this.operandAddress(index);
    this.loadRegister(size, 0);
  }

  protected setOperand(index: number, size: number, value: () => void): void {
    this.operandAddress(index);
    this.storeRegister(size, value, 0);
  }

  protected getVector(index: number): void {
    this.operandAddress(index);
    this.code.memory(Wasm.v128_load, 0);
  }

  protected setVector(index: number, value: () => void): void {
    this.operandAddress(index);
    value();
    this.code.memory(Wasm.v128_store, 0);
  }

  protected immediate(type: ValueType): void {
    this.code.get(RECORD);
    this.code.memory(type === 'i64' ? Wasm.i64_load : Wasm.i32_load, Op.immediate);
  }

  protected effectiveAddress(type: ValueType, size: number): void {
    const { code } = this;
    // base + (index << scale) + displacement; absent registers are read from a slot that is always zero.
    code.get(RECORD);
    code.memory(Wasm.i32_load, Op.base);
    code.memory(Wasm.i64_load, 0);
    code.get(RECORD);
    code.memory(Wasm.i32_load, Op.index);
    code.memory(Wasm.i64_load, 0);
    code.get(RECORD);
    code.memory(0x31 /* i64.load8_u */, Op.segment + 2);
    code.op(I64.shl);
    code.op(I64.add);
    code.get(RECORD);
    code.memory(Wasm.i64_load, Op.displacement);
    code.op(I64.add);
    if (type === 'i32') {
      code.op(Convert.i32_wrap_i64);
      if (size === 16) {
        code.i32(0xffff);
        code.op(I32.and);
      }
    } else if (size === 32) {
      code.i64(-1, 0);
      code.op(I64.and);
    }
  }

  protected segmented(node: Node): void {
    const { code } = this;
    if (this.isSegmented) this.checked(node, () => this.value(node.a!));
    else if (node.k >= 0) this.value(node.a!);
    else if (node.type === 'i64') this.based(node, () => this.value(node.a!));
    else {
      // FS and GS without a limit end at 4 GiB all the same, wherever that is from their base.
      const offset = code.local('i32');
      this.value(node.a!);
      code.tee(offset);
      code.i32(-accessBytes(node));
      code.op(I32.gt_u);
      code.if('i32', false);
      this.checked(node, () => code.get(offset));
      code.else();
      this.based(node, () => code.get(offset));
      code.end();
    }
  }

  /** The linear address of an offset in a segment whose limits and rights are looked at in TypeScript. */
  private checked(node: Node, offset: () => void): void {
    const { code } = this;
    if (node.k >= 0) code.i32(node.k);
    else {
      code.get(RECORD);
      code.memory(Wasm.i32_load8_u, Op.segment + 3);
    }
    offset();
    code.i32(node.h);
    this.record();
    code.call(this.functions.segmented);
  }

  /** That of an offset in the memory operand's segment. */
  private based(node: Node, offset: () => void): void {
    const { code } = this;
    offset();
    code.get(RECORD);
    code.memory(Wasm.i32_load16_u, Op.segment);
    code.memory(node.type === 'i64' ? Wasm.i64_load : Wasm.i32_load, 0);
    code.op(node.type === 'i64' ? I64.add : I32.add);
  }

  protected nextRip(): void {
    const { code } = this;
    // The next record's place, which every decoder fills in.
    code.load(Wasm.i64_load, State.ripBase);
    code.get(RECORD);
    code.memory(0x33 /* i64.load16_u */, Op.size + Op.place);
    code.op(I64.add);
    code.load(Wasm.i64_load, State.ripMask);
    code.op(I64.and);
  }

  protected target(): void {
    throw new Error('targets are links in records');
  }

  protected load(node: Node): void {
    const { code, functions } = this;
    const address = code.local('i64');
    this.value64(node.a!);
    code.set(address);
    emitLoad(code, functions, node.k, address, () => this.accessRecord(node.h));
  }

  protected probe(node: Node): void {
    this.value64(node.a!);
    this.code.i32(node.k);
    this.record();
    this.code.call(this.functions.probe);
  }

  protected store(s: Statement): void {
    const { code, functions } = this;
    const bytes = s.k === 0 ? 16 : s.k;
    const type: ValueType = bytes === 16 ? 'v128' : bytes === 8 ? 'i64' : 'i32';
    const address = code.local('i64');
    const value = code.local(type);
    this.value64(s.a!);
    code.set(address);
    this.value(s.b!);
    if (type === 'i32' && s.b!.type === 'i64') code.op(Convert.i32_wrap_i64);
    code.set(value);
    emitStore(code, functions, { bytes, type, address, value }, () => this.accessRecord(s.h));
  }

  protected setFlags(s: Statement): void {
    const { code } = this;
    code.i32(0);
    this.value64(s.a!);
    code.memory(Wasm.i64_store, State.ccRes);
    const lazy = lazyFlags(s.k);
    code.i32(0);
    this.value64(lazy === 0 ? s.b! : s.d!);
    code.memory(Wasm.i64_store, State.ccAux);
    code.i32(0);
    code.i32((64 - s.h) | lazy);
    code.memory(Wasm.i32_store, State.ccShift);
  }

  private pushFlags(): void {
    const { code } = this;
    code.load(Wasm.i64_load, State.ccRes);
    code.load(Wasm.i64_load, State.ccAux);
    code.load(Wasm.i32_load, State.ccShift);
  }

  protected condition(cc: number): void {
    const { code } = this;
    this.pushFlags();
    code.call(conditionFunction(this.functions, cc));
    if (cc & 1) code.op(I32.eqz);
  }

  protected flagBits(): void {
    this.pushFlags();
    this.code.call(this.functions.flagBits);
  }

  protected setFlagBits(s: Statement): void {
    const { code } = this;
    code.i32(0);
    this.value64(s.a!);
    code.memory(Wasm.i64_store, State.ccAux);
    code.i32(0);
    code.i32(64);
    code.memory(Wasm.i32_store, State.ccShift);
  }

  protected setCarry(s: Statement): void {
    const { code } = this;
    if (s.b !== undefined) {
      code.i32(0);
      emitReplaced(
        code,
        () => code.load(Wasm.i32_load, State.ccShift),
        () => this.value(s.a!),
        () => this.value(s.b!),
      );
      code.memory(Wasm.i32_store, State.ccShift);
      return;
    }
    code.i32(0);
    this.pushFlags();
    code.call(this.functions.carries);
    code.memory(Wasm.i64_store, State.ccAux);
    code.i32(0);
    code.load(Wasm.i32_load, State.ccShift);
    code.i32(LazyFlags.shiftMask);
    code.op(I32.and);
    code.memory(Wasm.i32_store, State.ccShift);
    code.i32(0);
    code.load(Wasm.i64_load, State.ccAux);
    code.load(Wasm.i32_load, State.ccShift);
    this.value(s.a!);
    code.call(this.functions.withCarry);
    code.memory(Wasm.i64_store, State.ccAux);
  }

  protected helper(s: Statement): void {
    const { code } = this;
    code.i32(s.k);
    code.i32(s.h);
    this.record();
    code.call(this.functions.helper);
  }

  protected spend(instructions: () => void): void {
    const { code } = this;
    code.i32(0);
    code.load(Wasm.i32_load, State.budget);
    instructions();
    code.op(I32.sub);
    code.memory(Wasm.i32_store, State.budget);
  }

  protected raise(s: Statement): void {
    const { code } = this;
    code.i32(s.k);
    code.i32(s.h);
    this.record();
    code.call(this.functions.raise);
  }
}

export function conditionFunction(functions: FunctionIndices, cc: number): number {
  switch (cc >> 1) {
    case 0:
      return functions.condition0;
    case 1:
      return functions.condition2;
    case 2:
      return functions.condition4;
    case 3:
      return functions.condition6;
    case 4:
      return functions.condition8;
    case 5:
      return functions.condition10;
    case 6:
      return functions.condition12;
    default:
      return functions.condition14;
  }
}
