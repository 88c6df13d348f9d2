/**
 * A CPU that consists of handlers alone, for tests of single instructions: no paging (all accesses miss the
 * TLB and come here), no run loop. Linear addresses from 0 on are a small RAM.
 */
import { slotAddress } from '../code-cache.ts';
import { Decoded, Instruction } from '../decode.ts';
import { FAULT, GuestFault, raise } from '../fault.ts';
import { type Form, formOf } from '../forms.ts';
import '../isa/index.ts';
import {
  CODE_START,
  ModeBit,
  Op,
  RAM_START,
  Seg,
  State,
  TLB,
  TLB_READ_TAG,
  TLB_WRITE_TAG,
} from '../layout.ts';
import { BASE_FUNCTIONS, HANDLER, type HostFunction } from '../lower/base.ts';
import { beginBaseModule, FIRST_HANDLER, Handler } from '../lower/base-module.ts';
import { gprAddress, HandlerLowering } from '../lower/interp.ts';
import { CpuMemory, createCpuMemory } from '../memory.ts';
import { type CpuContext, CR4 } from '../system/context.ts';
import { HELPERS } from '../system/helpers.ts';
import { functionBody } from '../wasm/module.ts';

const RAM = 0x10000;
const MODE = 2 | ModeBit.flatFs | ModeBit.flatGs | ModeBit.stack32;

/** Runs 64-bit instructions, each given by its bytes. */
export class HandlerMachine {
  readonly memory = new CpuMemory(createCpuMemory(RAM), RAM);
  /** The base module's functions. */
  readonly exports: Record<string, unknown>;
  /** Calls of helpers so far. */
  helperCalls = 0;
  private readonly table = new WebAssembly.Table({ element: 'anyfunc', initial: 4096 });
  private readonly decoded = new Map<string, { instruction: Instruction; form: Form; handler: number }>();

  /** @param codes - all instructions that will be run, in hexadecimal */
  constructor(codes: readonly string[]) {
    const { memory, table } = this;
    const { module, functions, handlerType } = beginBaseModule();
    codes.forEach((code, i) => {
      const instruction = new Instruction();
      const bytes = Buffer.from(code.replaceAll(' ', ''), 'hex');
      if (instruction.decode(bytes, 0, bytes.length, MODE) !== Decoded.ok)
        throw new Error(`not an instruction: ${code}`);
      const form = formOf(instruction, MODE);
      const body = HandlerLowering.lower(form.template, false, functions, handlerType);
      const index = module.addFunction(HANDLER, functionBody(body.locals, body.bytes.view()));
      module.addElements(FIRST_HANDLER + i, [index]);
      this.decoded.set(code, { instruction, form, handler: FIRST_HANDLER + i });
    });
    const cpu = { memory } as unknown as CpuContext;
    const host: Record<HostFunction, (...args: number[]) => unknown> = {
      missRead: (bytes) => this.place(bytes!),
      missProbe: (bytes) => this.place(bytes!),
      missStore: (bytes) => {
        memory.u8.copyWithin(this.place(bytes!), State.storeValue, State.storeValue + bytes!);
        return 0;
      },
      refused: () => 0,
      finishStore: () => {},
      segmented: () => 0,
      raise: (vector, error) => raise(vector!, error),
      helper: (number, argument, record) => {
        this.helperCalls++;
        HELPERS[number!]!(cpu, argument!, record!);
      },
      lookup: () => 0,
      decode: () => 0,
      hot: () => {},
    };
    const imports = { memory: memory.memory, table, ...host };
    this.exports = new WebAssembly.Instance(new WebAssembly.Module(module.build()), { cpu: imports }).exports;
    for (const name of Object.keys(BASE_FUNCTIONS))
      if (!(name in this.exports)) throw new Error(`no ${name}`);
    // An empty TLB: zero is no tag but in the first entry.
    for (const tag of [TLB_READ_TAG, TLB_WRITE_TAG]) memory.set(TLB.user + tag, 0x1000);
    memory.set(State.tlb, TLB.user);
    memory.set64(State.ripMask, -1, -1);
    memory.set64(State.linearMask, -1, -1);
    memory.set(State.cr4, CR4.OSFXSR | CR4.OSXMMEXCPT);
    memory.set(State.mxcsr, 0x1f80);
  }

  private place(bytes: number): number {
    const { memory } = this;
    const address = memory.u32[State.faultAddress >> 2]!;
    if (address + bytes > RAM || memory.get(State.faultAddress + 4) !== 0) raise(14, 0);
    return RAM_START + address;
  }

  /** Executes one instruction. @returns the vector of the exception that it raised, or −1 */
  run(code: string): number {
    const { memory } = this;
    const known = this.decoded.get(code);
    if (known === undefined) throw new Error(`not made: ${code}`);
    const { instruction, form, handler } = known;
    const record = CODE_START;
    form.slots.forEach((kind, slot) => {
      memory.set(record + Op.reg0 + 4 * slot, slotAddress(kind, instruction.registers[slot]!));
    });
    const { base, index } = instruction;
    memory.set(record + Op.base, base < 0 ? State.zero : gprAddress(base));
    memory.set(record + Op.index, index < 0 ? State.zero : gprAddress(index));
    memory.set(record + Op.segment, State.zero | (instruction.scale << 16) | (Seg.ds << 24));
    memory.set64(record + Op.displacement, instruction.displacementLow, instruction.displacementHigh);
    memory.set64(record + Op.immediate, instruction.immediateLow, instruction.immediateHigh);
    memory.set(record + Op.size + Op.handler, Handler.stop);
    try {
      (this.table.get(handler) as (record: number) => void)(record);
      return -1;
    } catch (thrown) {
      if (!(thrown instanceof GuestFault)) throw thrown;
      return FAULT.vector;
    }
  }

  /** The two halves of an XMM register. */
  xmm(number: number): [bigint, bigint] {
    const at = (State.xmm >> 3) + 2 * number;
    return [this.memory.u64[at]!, this.memory.u64[at + 1]!];
  }

  setXmm(number: number, low: bigint, high = 0n): void {
    const at = (State.xmm >> 3) + 2 * number;
    this.memory.u64[at] = BigInt.asUintN(64, low);
    this.memory.u64[at + 1] = BigInt.asUintN(64, high);
  }

  get mxcsr(): number {
    return this.memory.get(State.mxcsr);
  }

  set mxcsr(value: number) {
    this.memory.set(State.mxcsr, value);
  }
}
