/**
 * Lowers templates to compiled regions: general registers and flags are locals, operands are constants, the
 * TLB is looked into on the spot.
 */

import { slotAddress } from '../code-cache.ts';
import { type Instruction, RIP_BASE } from '../decode.ts';
import type { Form } from '../forms.ts';
import { Expr, FlagKind, type Node, type Statement } from '../ir/node.ts';
import { RARE_HELPERS } from '../isa/helpers.ts';
import {
  LazyFlags,
  ModeBit,
  Seg,
  State,
  TLB,
  TLB_ADDEND,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_READ_TAG,
  TLB_WRITE_TAG,
} from '../layout.ts';
import { emitCarries, emitCarryFlag, emitReplaced } from '../lower/base-flags.ts';
import type { Code } from '../lower/code.ts';
import { conditionFunction, gprAddress } from '../lower/interp.ts';
import {
  accessBytes,
  type FunctionIndices,
  Lowering,
  lazyFlags,
  loadOpcode,
  storeOpcode,
} from '../lower/lowering.ts';
import { Convert, I32, I64, type ValueType, Wasm } from '../wasm/opcodes.ts';
import type { Access, Accesses } from './accesses.ts';
import { constantOf } from './constants.ts';

/** Registers and flags that a region's code has in locals. */
export interface RegionLocals {
  /** Local of each general register that the region uses, or −1. */
  readonly gpr: readonly number[];
  readonly usesFlags: boolean;
  readonly ccRes: number;
  readonly ccAux: number;
  readonly ccShift: number;
  readonly budget: number;
}

/** An instruction as it is emitted. */
export interface EmittedStep {
  readonly instruction: Instruction;
  readonly form: Form;
  readonly place: number;
  readonly record: number;
  readonly flagsLive: boolean;
  readonly accesses: Accesses | undefined;
  readonly looksUp: boolean;
}

/** What is known at compile time of the flags. */
interface KnownFlags {
  readonly kind: number;
  readonly size: number;
  /** Whether CF and OF have been replaced since. */
  readonly replaced: boolean;
}

/** What is known at the end of a block, and so at the start of one that nothing else leads to. */
export interface Known {
  readonly flags: KnownFlags | undefined;
  /** Bits of words of state that are not set. */
  readonly guarded: ReadonlyMap<number, number>;
  /** Locals of values that have been worked out. */
  readonly steady: ReadonlyMap<number, number>;
  /** Locals for addends that are in use. */
  readonly addends: number;
}

export class RegionLowering extends Lowering {
  private readonly locals: RegionLocals;
  private readonly mode: number;
  private instruction!: Instruction;
  private form!: Form;
  private place = 0;
  private recordAddress = 0;
  /** Whether something looks at the flags that the current instruction makes. */
  private flagsLive = true;
  private known: KnownFlags | undefined;
  /** Operands of the comparison that made the flags. */
  private readonly compared: { x32: number; y32: number; x64: number; y64: number };
  /** Locals for temporaries, by type; reused from instruction to instruction. */
  private readonly pools: Record<ValueType, { locals: number[]; used: number }> = {
    i32: { locals: [], used: 0 },
    i64: { locals: [], used: 0 },
    f32: { locals: [], used: 0 },
    f64: { locals: [], used: 0 },
    v128: { locals: [], used: 0 },
  };
  private readonly entry: number;
  /** Depth of the block around the body, and what may have been changed at one of the ways out of it. */
  private bodyDepth = 0;
  private dirtyOut = 0;
  private flagsDirtyOut = false;
  /** What the current instruction's accesses have in common with others. */
  private accesses: Accesses | undefined;
  /** Whether its memory operand is an element of a small table. */
  private looksUp = false;
  /** Locals for the addends of groups of accesses; used anew where nothing is known of them. */
  private readonly addends: number[] = [];
  private addendsUsed = 0;
  /** Registers that may not be in memory as they are in locals, as bits; whether the flags may not. */
  private dirty = 0;
  private flagsDirty = false;

  /** How many arms of conditions the code is in that is being emitted. */
  private arms = 0;
  /** What has been asked: bits of words of state that are not set. */
  private readonly guarded = new Map<number, number>();
  /** Locals of values that have been worked out in this block. */
  private readonly steadyLocals = new Map<number, number>();

  /** Whether registers and the budget are in memory at any time, and only read from their locals. */
  private readonly writesThrough: boolean;
  private readonly loops: boolean;

  constructor(
    code: Code,
    functions: FunctionIndices,
    mode: number,
    locals: RegionLocals,
    { writesThrough, loops }: { readonly writesThrough: boolean; readonly loops: boolean },
  ) {
    super(code, functions);
    this.mode = mode;
    this.locals = locals;
    this.writesThrough = writesThrough;
    this.loops = loops;
    this.compared = {
      x32: code.local('i32'),
      y32: code.local('i32'),
      x64: code.local('i64'),
      y64: code.local('i64'),
    };
    this.entry = code.local('i32');
  }

  /**
   * A block begins, and so much may have been changed before.
   * @param known - at the end of the only block that leads here
   */
  beginBlock({ registers, flags }: { registers: number; flags: boolean }, known: Known | undefined): void {
    this.forgetState();
    this.addendsUsed = known?.addends ?? 0;
    this.known = known?.flags;
    for (const [state, bits] of known?.guarded ?? []) this.guarded.set(state, bits);
    for (const [value, local] of known?.steady ?? []) this.steadyLocals.set(value, local);
    this.dirty = this.writesThrough ? 0 : registers;
    this.flagsDirty = flags;
  }

  /** What is known now that the block's instructions have been emitted. */
  endBlock(): Known {
    return {
      flags: this.known,
      guarded: new Map(this.guarded),
      steady: new Map(this.steadyLocals),
      addends: this.addendsUsed,
    };
  }

  /** Counts instructions that are about to be done. */
  takeBudget(instructions: number): void {
    this.spend(() => this.code.i32(instructions));
  }

  protected spend(instructions: () => void): void {
    const { code, locals, writesThrough } = this;
    if (writesThrough) code.i32(0);
    code.get(locals.budget);
    instructions();
    code.op(I32.sub);
    if (writesThrough) {
      code.tee(locals.budget);
      code.memory(Wasm.i32_store, State.budget);
    } else code.set(locals.budget);
  }

  /** Emits an instruction, without what its terminator does. */
  instructionAt({ instruction, form, place, record, flagsLive, accesses, looksUp }: EmittedStep): void {
    this.accesses = accesses;
    this.looksUp = looksUp;
    this.instruction = instruction;
    this.form = form;
    this.place = place;
    this.recordAddress = record;
    this.flagsLive = flagsLive;
    for (const pool of Object.values(this.pools)) pool.used = 0;
    this.statements(form.template);
  }

  /** Pushes the value of the terminator of the instruction that was emitted last. */
  terminatorValue(): void {
    this.value(this.form.template.value!);
  }

  /** Pushes the RIP behind the instruction that was emitted last. */
  returnAddress(): void {
    this.nextRip();
  }

  protected override tempLocal(type: ValueType): number {
    const pool = this.pools[type];
    const local = pool.locals[pool.used] ?? this.code.local(type);
    pool.locals[pool.used++] = local;
    return local;
  }

  protected record(): void {
    this.code.i32(this.recordAddress);
  }

  // Registers

  protected getGpr(register: number, size: number): void {
    const { code } = this;
    const high = register >= 16;
    code.get(this.locals.gpr[high ? register - 16 : register]!);
    if (size === 64) return;
    code.op(Convert.i32_wrap_i64);
    if (high) {
      code.i32(8);
      code.op(I32.shr_u);
    }
    if (size < 32) {
      code.i32(size === 8 ? 0xff : 0xffff);
      code.op(I32.and);
    }
  }

  protected setGpr(register: number, size: number, value: () => void): void {
    const { code, writesThrough } = this;
    const high = register >= 16;
    const whole = high ? register - 16 : register;
    const local = this.locals.gpr[whole]!;
    if (writesThrough) code.i32(0);
    else this.dirty |= 1 << whole;
    if (size === 64) value();
    else if (size === 32) {
      value();
      code.op(Convert.i64_extend_i32_u);
    } else {
      const mask = size === 8 ? 0xff : 0xffff;
      code.get(local);
      code.i64(high ? ~0xff00 : ~mask);
      code.op(I64.and);
      value();
      code.i32(mask);
      code.op(I32.and);
      if (high) {
        code.i32(8);
        code.op(I32.shl);
      }
      code.op(Convert.i64_extend_i32_u);
      code.op(I64.or);
    }
    if (writesThrough) {
      code.tee(local);
      code.memory(Wasm.i64_store, gprAddress(whole));
    } else code.set(local);
  }

  protected getOperand(index: number, size: number): void {
    this.getGpr(this.instruction.registers[index]!, size);
  }

  protected setOperand(index: number, size: number, value: () => void): void {
    this.setGpr(this.instruction.registers[index]!, size, value);
  }

  private slot(index: number): number {
    return slotAddress(this.form.slots[index]!, this.instruction.registers[index]!);
  }

  protected operandAddress(index: number): void {
    this.code.i32(this.slot(index));
  }

  protected getVector(index: number): void {
    this.code.load(Wasm.v128_load, this.slot(index));
  }

  protected setVector(index: number, value: () => void): void {
    this.code.i32(0);
    value();
    this.code.memory(Wasm.v128_store, this.slot(index));
  }

  // Constants

  protected immediate(type: ValueType): void {
    const { immediateLow, immediateHigh } = this.instruction;
    if (type === 'i64') this.code.i64(immediateLow, immediateHigh);
    else this.code.i32(immediateLow);
  }

  protected override constant(n: Node): number | undefined {
    return constantOf(n, this.instruction, this.form);
  }

  protected nextRip(): void {
    this.ripOf(this.place + this.instruction.length);
    this.maskRip();
  }

  /** Cuts the RIP on the stack to the code size. */
  maskRip(): void {
    if ((this.mode & ModeBit.codeSize) === 2) return;
    this.code.load(Wasm.i64_load, State.ripMask);
    this.code.op(I64.and);
  }

  /** Pushes the RIP of an offset in the page. */
  ripAt(offset: number): void {
    this.ripOf(offset);
    this.maskRip();
  }

  protected target(): void {
    throw new Error('targets are links');
  }

  // Addresses

  protected effectiveAddress(type: ValueType, size: number): void {
    const { code, instruction } = this;
    const { base, index, scale, displacementLow, displacementHigh } = instruction;
    if (base === RIP_BASE) {
      this.ripOf(instruction.displacementLow + this.place + instruction.length);
      if (size === 32) {
        code.i64(-1, 0);
        code.op(I64.and);
      }
      return;
    }
    const wide = type === 'i64';
    const register = (n: number): void => {
      code.get(this.locals.gpr[n]!);
      if (!wide) code.op(Convert.i32_wrap_i64);
    };
    const add = wide ? I64.add : I32.add;
    let any = false;
    if (index >= 0) {
      register(index);
      if (scale > 0) {
        if (wide) code.i64(scale);
        else code.i32(scale);
        code.op(wide ? I64.shl : I32.shl);
      }
      any = true;
    }
    if (base >= 0) {
      register(base);
      if (any) code.op(add);
      any = true;
    }
    if (!any || displacementLow !== 0 || displacementHigh !== 0) {
      if (wide) code.i64(displacementLow, displacementHigh);
      else code.i32(displacementLow);
      if (any) code.op(add);
    }
    if (size === 16) {
      code.i32(0xffff);
      code.op(I32.and);
    } else if (size === 32 && wide) {
      code.i64(-1, 0);
      code.op(I64.and);
    }
  }

  protected segmented(n: Node): void {
    const { code, instruction } = this;
    const segment = n.k >= 0 ? n.k : instruction.segment;
    if (this.form.mode === 'segmented') {
      // May throw.
      this.storeState();
      code.i32(segment);
      this.value(n.a!);
      code.i32(n.h);
      this.record();
      code.call(this.functions.segmented);
      return;
    }
    const wide = n.type === 'i64';
    if (n.k >= 0 || segment < Seg.fs || wide || this.endsBelow4GiB(n)) this.value(n.a!);
    else {
      // There the segment ends, though it has no limit.
      const offset = this.inLocal(n.a!);
      code.i32(this.recordAddress);
      code.get(offset);
      code.i32(-accessBytes(n));
      code.op(I32.gt_u);
      this.leaveIf();
      code.get(offset);
    }
    if (n.k >= 0 || segment < Seg.fs) return;
    code.load(wide ? Wasm.i64_load : Wasm.i32_load, State.segBase + 8 * segment);
    code.op(wide ? I64.add : I32.add);
  }

  /** Whether an access by the memory operand is at a constant offset whose end isn't beyond 4 GiB. */
  private endsBelow4GiB(n: Node): boolean {
    const { base, index, displacementLow } = this.instruction;
    const isConstant = n.a!.op === Expr.effectiveAddress && base < 0 && index < 0;
    return isConstant && displacementLow >>> 0 <= 0x1_0000_0000 - accessBytes(n);
  }

  // Memory

  /** A local that holds a value. */
  private inLocal(n: Node): number {
    if (n.op === Expr.temp) return this.temps[n.k]!;
    const local = this.tempLocal(n.type);
    this.value(n);
    this.code.set(local);
    return local;
  }

  private get tlb(): number {
    return this.mode & ModeBit.user ? TLB.user : TLB.supervisor;
  }

  /**
   * Leaves the region unless the TLB has the bytes at an address, whose entry's offset goes to a local. The
   * interpreter then begins the instruction anew, and goes on from there: compiled code has no slow paths, which
   * would take more room and more time to compile than all else.
   */
  private guard(address: number, type: ValueType, bytes: number, tag: number, entry = this.entry): void {
    const { code } = this;
    code.i32(this.recordAddress);
    this.notWithin(address, type, bytes, tag, () => {
      code.get(address);
      if (type === 'i64') code.op(Convert.i32_wrap_i64);
      code.i32(12 - TLB_ENTRY_SHIFT);
      code.op(I32.shr_u);
      code.i32((TLB_ENTRIES - 1) << TLB_ENTRY_SHIFT);
      code.op(I32.and);
      code.tee(entry);
    });
    this.leaveIf();
  }

  /**
   * As {@link guard}, for an access that is nearly always in the page where it was the last time round the loop: looks at
   * the entry that it had then first. The value read then needn't wait for its address, but for the way to it.
   * @returns the local that has the entry's offset
   */
  private guardAgain(address: number, type: ValueType, bytes: number, tag: number): number {
    const { code } = this;
    // At first that is the first entry of all, whatever it is of.
    const entry = code.local('i32');
    this.notWithin(address, type, bytes, tag, () => code.get(entry));
    code.if(undefined, false);
    this.guard(address, type, bytes, tag, entry);
    code.end();
    return entry;
  }

  /** Pushes whether bytes at an address are not in the page of a TLB entry. @param entry - pushes its offset */
  private notWithin(address: number, type: ValueType, bytes: number, tag: number, entry: () => void): void {
    const { code, tlb } = this;
    const wide = type === 'i64';
    // Outside IA-32e mode no tag has a high half.
    const long = wide || (this.mode & ModeBit.longActive) !== 0;
    const op = long ? I64 : I32;
    // At most 4096 − bytes behind the tag.
    code.get(address);
    if (long && !wide) code.op(Convert.i64_extend_i32_u);
    entry();
    code.memory(long ? Wasm.i64_load : Wasm.i32_load, tlb + tag);
    code.op(op.sub);
    if (long) code.i64(4096 - bytes);
    else code.i32(4096 - bytes);
    code.op(op.gt_u);
  }

  /** Pushes the host address for an access, or leaves it to the interpreter. */
  private reach(at: Node | Statement, address: number, type: ValueType, bytes: number, tag: number): void {
    const { code } = this;
    const access = this.accesses?.get(at);
    let { entry } = this;
    if (access === undefined) {
      // Without a loop there is no time before.
      if (this.looksUp && this.loops) entry = this.guardAgain(address, type, bytes, tag);
      else this.guard(address, type, bytes, tag);
    } else if (access.isFirst) this.reachAll(access, address, type);
    code.get(address);
    if (type === 'i64') code.op(Convert.i32_wrap_i64);
    if (access === undefined) this.addend(entry);
    else code.get(access.group.addend);
    code.op(I32.add);
  }

  /** Makes sure that all accesses of a group can be made, of which the first is to an address. */
  private reachAll({ group }: Access, address: number, type: ValueType): void {
    const { code } = this;
    let lowest = address;
    if (group.below < 0) {
      const wide = type === 'i64';
      lowest = this.tempLocal(type);
      code.get(address);
      if (wide) code.i64(group.below);
      else code.i32(group.below);
      code.op(wide ? I64.add : I32.add);
      code.set(lowest);
    }
    this.guard(lowest, type, group.bytes, group.isWritten ? TLB_WRITE_TAG : TLB_READ_TAG);
    this.addend();
    group.addend = this.addends[this.addendsUsed] ?? code.local('i32');
    this.addends[this.addendsUsed++] = group.addend;
    code.set(group.addend);
  }

  /** Pushes what the TLB entry that has been found adds to linear addresses. */
  private addend(entry = this.entry): void {
    this.code.get(entry);
    this.code.memory(Wasm.i32_load, this.tlb + TLB_ADDEND);
  }

  // Ways out

  /**
   * What follows, up to {@link endBody}, is in a block that is left with a record: all ways out have the code in common
   * that stores what has been changed.
   */
  beginBody(): void {
    this.code.block('i32');
    this.bodyDepth = this.code.depth;
  }

  endBody(): void {
    const { code } = this;
    code.end();
    this.dirty = this.dirtyOut;
    this.flagsDirty = this.flagsDirtyOut;
    this.storeState();
    code.returnCallBase(this.functions.go);
  }

  private noteWayOut(): void {
    this.dirtyOut |= this.dirty;
    this.flagsDirtyOut ||= this.flagsDirty;
  }

  /** Out of the region, to a head or to an instruction of the interpreter. */
  leaveTo(record: number): void {
    const { code } = this;
    this.noteWayOut();
    code.i32(record);
    code.br(code.depth - this.bodyDepth);
  }

  /** The same when the condition on the stack is true, which is rare; the record is below it. */
  private leaveIf(): void {
    const { code } = this;
    this.noteWayOut();
    code.brIf(code.depth - this.bodyDepth, false);
    code.drop();
  }

  /** Leaves it to the interpreter to begin the instruction anew and go on from there. */
  protected override fallBack(s: Statement): void {
    const { code } = this;
    const known = this.constant(s.a!);
    if (known === undefined || known !== 0) {
      if (known !== undefined) {
        this.leaveTo(this.recordAddress);
        return;
      }
      code.i32(this.recordAddress);
      this.value(s.a!);
      this.leaveIf();
    }
    this.list(s.otherwise!);
  }

  protected load(n: Node): void {
    const { type } = n.a!;
    const address = this.inLocal(n.a!);
    this.reach(n, address, type, n.k, TLB_READ_TAG);
    this.code.memory(loadOpcode(n.k), 0);
  }

  protected probe(n: Node): void {
    const { type } = n.a!;
    const address = this.inLocal(n.a!);
    this.reach(n, address, type, n.k, TLB_WRITE_TAG);
  }

  /** What a probe has let through is RAM. */
  protected override rawStore(s: Statement): void {
    this.value(s.a!);
    this.value(s.b!);
    this.code.memory(storeOpcode(s.k, s.b!.type), 0);
  }

  protected store(s: Statement): void {
    const { code } = this;
    const bytes = s.k === 0 ? 16 : s.k;
    const { type } = s.a!;
    const valueType: ValueType = bytes === 16 ? 'v128' : bytes === 8 ? 'i64' : 'i32';
    const address = this.inLocal(s.a!);
    let value: number;
    if (s.b!.op === Expr.temp && s.b!.type === valueType) value = this.temps[s.b!.k]!;
    else {
      value = this.tempLocal(valueType);
      this.value(s.b!);
      if (s.b!.type === 'i64' && valueType === 'i32') code.op(Convert.i32_wrap_i64);
      code.set(value);
    }
    this.reach(s, address, type, bytes, TLB_WRITE_TAG);
    code.get(value);
    code.memory(storeOpcode(bytes, valueType), 0);
  }

  // Flags

  protected setFlags(s: Statement): void {
    this.known = undefined;
    if (!this.flagsLive) return;
    this.flagsDirty = true;
    const { code, locals } = this;
    this.value64(s.a!);
    code.set(locals.ccRes);
    const lazy = lazyFlags(s.k);
    this.value64(lazy === 0 ? s.b! : s.d!);
    code.set(locals.ccAux);
    code.i32((64 - s.h) | lazy);
    code.set(locals.ccShift);
    if (s.k === FlagKind.sub) {
      const wide = s.h === 64;
      this.value(s.c!);
      code.set(wide ? this.compared.x64 : this.compared.x32);
      this.value(s.d!);
      code.set(wide ? this.compared.y64 : this.compared.y32);
    }
    this.known = { kind: s.k, size: s.h, replaced: false };
  }

  protected override beginArm(): void {
    this.known = undefined;
    this.arms++;
  }

  protected override endArm(): void {
    this.known = undefined;
    this.arms--;
  }

  protected override conditional(s: Statement): void {
    if (s.k === 0) {
      super.conditional(s);
      return;
    }
    const asked = this.guarded.get(s.k) ?? 0;
    if ((asked & s.h) === s.h) return;
    const { code } = this;
    code.i32(this.recordAddress);
    this.value(s.a!);
    this.leaveIf();
    if (this.arms === 0) this.guarded.set(s.k, asked | s.h);
  }

  protected override steady(n: Node): void {
    const { code } = this;
    const known = this.steadyLocals.get(n.k);
    if (known !== undefined) {
      code.get(known);
      return;
    }
    this.value(n.a!);
    if (this.arms > 0) return;
    const local = this.code.local(n.type);
    this.steadyLocals.set(n.k, local);
    code.tee(local);
  }

  /** State that helpers may change has been asked for anew. */
  private forgetState(): void {
    this.known = undefined;
    this.guarded.clear();
    this.steadyLocals.clear();
  }

  private pushFlags(): void {
    const { code, locals } = this;
    code.get(locals.ccRes);
    code.get(locals.ccAux);
    code.get(locals.ccShift);
  }

  protected condition(cc: number): void {
    const { code, known } = this;
    const positive = cc & ~1;
    if (known === undefined || !this.conditionOf(positive, known)) {
      if (positive === 2) this.carryFlag();
      else {
        this.pushFlags();
        code.call(conditionFunction(this.functions, positive));
      }
    }
    if (cc & 1) code.op(I32.eqz);
  }

  private carryFlag(): void {
    const { ccRes: result, ccAux: carries, ccShift: how } = this.locals;
    emitCarryFlag(this.code, { result, carries, how });
  }

  /** Pushes a condition by what made the flags. @returns false when that is no help */
  private conditionOf(cc: number, { kind, size, replaced }: KnownFlags): boolean {
    const { code, locals } = this;
    const wide = size === 64;
    if (replaced && !ONLY_RESULT.has(cc)) return false;
    if (kind === FlagKind.sub && !replaced) {
      const op = COMPARISONS[cc];
      if (op !== undefined) {
        const isSigned = op.endsWith('_s');
        for (const local of wide
          ? [this.compared.x64, this.compared.y64]
          : [this.compared.x32, this.compared.y32]) {
          code.get(local);
          if (!wide && size < 32) {
            if (isSigned) {
              code.i32(32 - size);
              code.op(I32.shl);
            } else {
              code.i32(size === 8 ? 0xff : 0xffff);
              code.op(I32.and);
            }
          }
        }
        code.op((wide ? I64 : I32)[op]);
        return true;
      }
    }
    const result = (): void => {
      code.get(locals.ccRes);
      if (wide) return;
      code.op(Convert.i32_wrap_i64);
      if (size < 32) {
        code.i32(32 - size);
        code.op(I32.shl);
      }
    };
    const zero = (): void => {
      if (wide) code.i64(0);
      else code.i32(0);
    };
    const op = wide ? I64 : I32;
    if (kind === FlagKind.logic && (cc === 0 || cc === 2)) {
      code.i32(0);
      return true;
    }
    switch (cc) {
      case 4:
        result();
        code.op(op.eqz);
        return true;
      case 8:
        result();
        zero();
        code.op(op.lt_s);
        return true;
      case 6:
        if (kind !== FlagKind.logic) return false;
        result();
        code.op(op.eqz);
        return true;
      case 12:
        if (kind !== FlagKind.logic) return false;
        result();
        zero();
        code.op(op.lt_s);
        return true;
      case 14:
        if (kind !== FlagKind.logic) return false;
        result();
        zero();
        code.op(op.le_s);
        return true;
      case 2:
        if (kind === FlagKind.add) {
          // The sum is less than what was added.
          result();
          this.operandOfAdd(size);
          code.op(op.lt_u);
          return true;
        }
        // The carry out of the top bit.
        code.get(locals.ccAux);
        code.i64(size - 1);
        code.op(I64.shr_u);
        code.op(Convert.i32_wrap_i64);
        code.i32(1);
        code.op(I32.and);
        return true;
      default:
        return false;
    }
  }

  /** Pushes the second operand of an addition as the result is pushed to be compared: moved up to the top. */
  private operandOfAdd(size: number): void {
    const { code } = this;
    code.get(this.locals.ccAux);
    if (size === 64) return;
    code.op(Convert.i32_wrap_i64);
    if (size === 32) return;
    code.i32(32 - size);
    code.op(I32.shl);
  }

  /** Works out the carries if they have been left to be. */
  private workOutCarries(): void {
    const { code, locals, known } = this;
    if (known === undefined || known.replaced) {
      this.pushFlags();
      code.call(this.functions.carries);
      code.set(locals.ccAux);
      code.get(locals.ccShift);
      code.i32(LazyFlags.shiftMask);
      code.op(I32.and);
      code.set(locals.ccShift);
      return;
    }
    if (lazyFlags(known.kind) === 0) return;
    // On the spot rather than by a call: what only an exit needs, V8 moves there.
    emitCarries(
      code,
      { result: locals.ccRes, operand: locals.ccAux, scratch: this.compared.x64 },
      known.kind === FlagKind.sub,
    );
    code.set(locals.ccAux);
    code.i32(64 - known.size);
    code.set(locals.ccShift);
  }

  protected flagBits(): void {
    this.pushFlags();
    this.code.call(this.functions.flagBits);
  }

  protected setFlagBits(s: Statement): void {
    this.known = undefined;
    if (!this.flagsLive) return;
    this.flagsDirty = true;
    const { code, locals } = this;
    this.value64(s.a!);
    code.set(locals.ccAux);
    code.i32(64);
    code.set(locals.ccShift);
  }

  protected setCarry(s: Statement): void {
    const { code, locals, known } = this;
    if (!this.flagsLive) {
      this.known = undefined;
      return;
    }
    this.flagsDirty = true;
    if (s.b !== undefined) {
      emitReplaced(
        code,
        () => code.get(locals.ccShift),
        () => this.value(s.a!),
        () => this.value(s.b!),
      );
      code.set(locals.ccShift);
      if (known !== undefined) this.known = { ...known, replaced: true };
      return;
    }
    this.workOutCarries();
    code.get(locals.ccAux);
    code.get(locals.ccShift);
    this.value(s.a!);
    code.call(this.functions.withCarry);
    code.set(locals.ccAux);
    if (known !== undefined) this.known = { kind: FlagKind.other, size: known.size, replaced: false };
  }

  // State in memory

  /** Loads what the region has in locals. @param registers - which, as bits */
  loadState(registers = -1): void {
    const { code, locals } = this;
    locals.gpr.forEach((local, register) => {
      if (local < 0 || !(registers & (1 << register))) return;
      code.load(Wasm.i64_load, gprAddress(register));
      code.set(local);
    });
    if (locals.usesFlags) {
      code.load(Wasm.i64_load, State.ccRes);
      code.set(locals.ccRes);
      code.load(Wasm.i64_load, State.ccAux);
      code.set(locals.ccAux);
      code.load(Wasm.i32_load, State.ccShift);
      code.set(locals.ccShift);
    }
    code.load(Wasm.i32_load, State.budget);
    code.set(locals.budget);
  }

  /** Stores what may have been changed. */
  storeState(): void {
    const { code, locals, dirty } = this;
    locals.gpr.forEach((local, register) => {
      if (local < 0 || !(dirty & (1 << register))) return;
      code.i32(0);
      code.get(local);
      code.memory(Wasm.i64_store, gprAddress(register));
    });
    if (this.flagsDirty) {
      code.i32(0);
      code.get(locals.ccRes);
      code.memory(Wasm.i64_store, State.ccRes);
      code.i32(0);
      code.get(locals.ccAux);
      code.memory(Wasm.i64_store, State.ccAux);
      code.i32(0);
      code.get(locals.ccShift);
      code.memory(Wasm.i32_store, State.ccShift);
    }
    if (this.writesThrough) return;
    code.i32(0);
    code.get(locals.budget);
    code.memory(Wasm.i32_store, State.budget);
  }

  protected helper(s: Statement): void {
    const { code } = this;
    if (RARE_HELPERS.has(s.k)) {
      this.leaveTo(this.recordAddress);
      return;
    }
    this.storeState();
    code.i32(s.k);
    code.i32(s.h);
    this.record();
    code.callBase(this.functions.helper);
    this.loadState();
    this.forgetState();
    if (this.arms > 0) return;
    // Locals are now as memory is.
    this.dirty = 0;
    this.flagsDirty = false;
  }

  protected raise(s: Statement): void {
    const { code } = this;
    this.storeState();
    code.i32(s.k);
    code.i32(s.h);
    this.record();
    code.callBase(this.functions.raise);
    code.bytes.u8(Wasm.unreachable);
  }
}

/** Condition codes that ask for ZF, SF or PF alone. */
const ONLY_RESULT: ReadonlySet<number> = new Set([4, 8, 10]);

/** Conditions of a comparison, by condition code. */
const COMPARISONS: Readonly<Record<number, 'lt_u' | 'eq' | 'le_u' | 'lt_s' | 'le_s'>> = {
  2: 'lt_u',
  4: 'eq',
  6: 'le_u',
  12: 'lt_s',
  14: 'le_s',
};
