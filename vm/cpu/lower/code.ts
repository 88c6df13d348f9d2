/**
 * Writes WebAssembly instructions of one function body.
 */
import { Bytes } from '../wasm/bytes.ts';
import type { BranchHint } from '../wasm/module.ts';
import type { ValueType } from '../wasm/opcodes.ts';
import { Wasm } from '../wasm/opcodes.ts';

/** log2 of the alignment that is promised: none, since guests access memory at any address. */
const UNALIGNED = 0;

export class Code {
  readonly bytes = new Bytes(512);
  /** Types of the locals beyond the parameters. */
  readonly locals: ValueType[] = [];
  /** What is known of branches, by their offset in the bytes. */
  readonly hints: BranchHint[] = [];
  /** Blocks, loops and ifs that are open. */
  depth = 0;
  private readonly parameters: number;

  constructor(parameters: number) {
    this.parameters = parameters;
  }

  /** A new local. @returns its index */
  local(type: ValueType): number {
    return this.parameters + this.locals.push(type) - 1;
  }

  op(code: number): void {
    if (code < 0x100) {
      this.bytes.u8(code);
      return;
    }
    this.bytes.u8(code >>> 8);
    this.bytes.u32(code & 0xff);
  }

  get(local: number): void {
    this.bytes.u8(Wasm.local_get);
    this.bytes.u32(local);
  }

  set(local: number): void {
    this.bytes.u8(Wasm.local_set);
    this.bytes.u32(local);
  }

  tee(local: number): void {
    this.bytes.u8(Wasm.local_tee);
    this.bytes.u32(local);
  }

  i32(value: number): void {
    this.bytes.u8(Wasm.i32_const);
    this.bytes.s32(value);
  }

  i64(low: number, high = low < 0 ? -1 : 0): void {
    this.bytes.u8(Wasm.i64_const);
    this.bytes.s64(low, high);
  }

  /** Load or store with a constant offset on top of the address on the stack. */
  memory(code: number, offset: number): void {
    this.op(code);
    this.bytes.u32(UNALIGNED);
    this.bytes.u32(offset);
  }

  /** Moves bytes: to, from and count are on the stack. */
  memoryCopy(): void {
    this.op(Wasm.memory_copy);
    this.bytes.u8(0);
    this.bytes.u8(0);
  }

  /** Fills bytes: address, value and count are on the stack. */
  memoryFill(): void {
    this.op(Wasm.memory_fill);
    this.bytes.u8(0);
  }

  /** Loads from a constant address. */
  load(code: number, address: number): void {
    this.i32(0);
    this.memory(code, address);
  }

  /** @param type - of the value that is left; undefined for none */
  block(type?: ValueType): void {
    this.depth++;
    this.bytes.u8(Wasm.block);
    this.blockType(type);
  }

  loop(): void {
    this.depth++;
    this.bytes.u8(Wasm.loop);
    this.bytes.u8(Wasm.void);
  }

  /**
   * @param type - of the value that both arms leave; undefined for none
   * @param likely - whether the condition is true nearly always, or nearly never; undefined when it may be either
   */
  if(type?: ValueType, likely?: boolean): void {
    this.hint(likely);
    this.depth++;
    this.bytes.u8(Wasm.if);
    this.blockType(type);
  }

  private blockType(type: ValueType | undefined): void {
    this.bytes.u8(
      type === undefined ? Wasm.void : { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b }[type],
    );
  }

  drop(): void {
    this.bytes.u8(Wasm.drop);
  }

  private hint(likely: boolean | undefined): void {
    if (likely !== undefined) this.hints.push({ offset: this.bytes.length, likely });
  }

  else(): void {
    this.bytes.u8(Wasm.else);
  }

  end(): void {
    this.depth--;
    this.bytes.u8(Wasm.end);
  }

  br(depth: number): void {
    this.bytes.u8(Wasm.br);
    this.bytes.u32(depth);
  }

  brIf(depth: number, likely?: boolean): void {
    this.hint(likely);
    this.bytes.u8(Wasm.br_if);
    this.bytes.u32(depth);
  }

  call(index: number): void {
    this.bytes.u8(Wasm.call);
    this.bytes.u32(index);
  }

  /** Calls a function of {@link forRegions}. */
  callBase(index: number): void {
    this.noVector();
    this.call(index);
  }

  returnCallBase(index: number): void {
    this.noVector();
    this.returnCall(index);
  }

  /** A vector in four bytes; a constant has eighteen. */
  private noVector(): void {
    this.i32(0);
    this.op(Wasm.i32x4_splat);
  }

  returnCall(index: number): void {
    this.bytes.u8(Wasm.return_call);
    this.bytes.u32(index);
  }

  /** Tail call through table 0; arguments and then the index are on the stack. */
  returnCallIndirect(type: number): void {
    this.bytes.u8(Wasm.return_call_indirect);
    this.bytes.u32(type);
    this.bytes.u8(0);
  }
}
