/**
 * What string instructions leave to TypeScript: long runs of REP MOVS and REP STOS, and INS and OUTS. SDM volume 2.
 *
 * Registers are up to date after each run, so that a fault or an interrupt finds an instruction that can go on
 * where it was.
 */

import { BYTES_AN_INSTRUCTION, StringKind } from '../isa/string.ts';
import { Op, Seg, State } from '../layout.ts';
import type { CpuMemory } from '../memory.ts';
import { type CpuContext, EFLAGS } from './context.ts';
import { checkPort } from './ports.ts';
import { checkSegment, is64BitCode, roomBelow, roomIn } from './segments.ts';

const PAGE = 4096;
const CX = 1;
const SI = 6;
const DI = 7;

/** A string instruction's argument to its helper, and what its record says. */
class StringOperation {
  readonly memory: CpuMemory;
  readonly kind: number;
  readonly bytes: number;
  readonly addressSize: number;
  readonly isRepeated: boolean;
  /** Segment of the source. */
  readonly source: number;
  readonly isSegmented: boolean;
  readonly isDown: boolean;

  constructor(memory: CpuMemory, argument: number, record: number) {
    this.memory = memory;
    this.kind = argument & 15;
    this.bytes = ((argument >> 4) & 0x7f) / 8;
    this.addressSize = (argument >> 12) & 0x7f;
    this.isRepeated = argument >>> 20 !== 0;
    this.source = memory.u8[record + Op.segment + 3]!;
    this.isSegmented = !is64BitCode(memory);
    this.isDown = (memory.get(State.eflags) & EFLAGS.DF) !== 0;
  }

  /** RCX by address size. */
  get count(): number {
    const { memory, addressSize } = this;
    const low = memory.u32[(State.gpr >> 2) + 2 * CX]!;
    if (addressSize === 16) return low & 0xffff;
    // A count beyond 2³² is as good as endless.
    return addressSize === 32 ? low : low + memory.u32[(State.gpr >> 2) + 2 * CX + 1]! * 0x1_0000_0000;
  }

  offset(register: number): number {
    const low = this.memory.reg(register);
    return this.addressSize === 16 ? low & 0xffff : low;
  }

  private high(register: number): number {
    return this.addressSize === 64 ? this.memory.get(State.gpr + 8 * register + 4) : 0;
  }

  /** Linear address of the source: low and high word. @throws FAULT */
  sourceAddress(length: number): readonly [number, number] {
    const { memory, source } = this;
    if (this.isSegmented) return [checkSegment(memory, source, this.offset(SI), length, false), 0];
    const base = source >= Seg.fs ? State.segBase + 8 * source : State.zero;
    const sum = memory.u32[base >> 2]! + (this.offset(SI) >>> 0);
    return [sum | 0, (memory.get(base + 4) + this.high(SI) + (sum > 0xffff_ffff ? 1 : 0)) | 0];
  }

  /** Linear address of the target. @throws FAULT */
  targetAddress(length: number, write: boolean): readonly [number, number] {
    if (this.isSegmented) return [checkSegment(this.memory, Seg.es, this.offset(DI), length, write), 0];
    return [this.offset(DI), this.high(DI)];
  }

  advance(register: number, by: number): void {
    const { memory, addressSize } = this;
    const at = (State.gpr >> 2) + 2 * register;
    const sum = memory.u32[at]! + by;
    if (addressSize === 16) memory.setReg16(register, sum);
    else if (addressSize === 32) memory.setReg32(register, sum | 0);
    else {
      memory.i32[at] = sum | 0;
      memory.i32[at + 1] = memory.i32[at + 1]! + Math.floor(sum / 0x1_0000_0000);
    }
  }

  /** Bytes from an element on that are in its page, its segment, and what its address size reaches. */
  private room(register: number, segment: number, linearLow: number): number {
    const { memory, addressSize, isSegmented, isDown, bytes } = this;
    const offset = this.offset(register);
    const inPage = linearLow & 0xfff;
    if (isDown) {
      // The element that lies highest is the first.
      if (inPage + bytes > PAGE) return 0;
      const below = isSegmented
        ? roomBelow(memory, segment, offset)
        : addressSize === 64
          ? Number.POSITIVE_INFINITY
          : offset >>> 0;
      return Math.min(inPage, below) + bytes;
    }
    const reach = addressSize === 16 ? 0x1_0000 - offset : Number.POSITIVE_INFINITY;
    return Math.min(PAGE - inPage, reach, isSegmented ? roomIn(memory, segment, offset) : reach);
  }

  /** Elements of a run that stays in a page and in its segment, on either side. */
  runLength(sourceLow: number, targetLow: number): number {
    const target = this.room(DI, Seg.es, targetLow);
    const room =
      this.kind === StringKind.movs ? Math.min(target, this.room(SI, this.source, sourceLow)) : target;
    return Math.floor(room / this.bytes);
  }
}

/** All but the last of a run of REP MOVS or REP STOS within a page; nothing if it has to go element by element. */
export function stringBulk(cpu: CpuContext, argument: number, record: number): void {
  const { memory } = cpu;
  if (cpu.stopsEarly) return;
  const operation = new StringOperation(memory, argument, record);
  const { bytes, kind, isDown } = operation;
  const [sourceLow, sourceHigh] = kind === StringKind.movs ? operation.sourceAddress(bytes) : [0, 0];
  // A fault of the source comes before what is wrong with the target.
  const from = kind === StringKind.movs ? cpu.mmu.ramToRead(sourceLow, sourceHigh) : 0;
  if (from < 0) return;
  const [targetLow, targetHigh] = operation.targetAddress(bytes, true);
  if (cpu.mmu.isWatched(sourceLow, sourceHigh) || cpu.mmu.isWatched(targetLow, targetHigh)) return;
  const run = Math.min(operation.count - 1, operation.runLength(sourceLow, targetLow));
  if (run < 2) return;
  const length = run * bytes;
  // How far below the first element the run begins.
  const below = isDown ? length - bytes : 0;
  const to = cpu.mmu.ramToWrite(targetLow - below, targetHigh, length);
  if (to < 0) return;
  const done =
    kind === StringKind.movs
      ? move(memory.u8, from - below, to, length, operation)
      : fill(memory, to, length, bytes);
  if (!done) return;
  const by = isDown ? -length : length;
  if (kind === StringKind.movs) operation.advance(SI, by);
  operation.advance(DI, by);
  operation.advance(CX, -run);
  memory.set(State.budget, memory.get(State.budget) - Math.ceil(length / BYTES_AN_INSTRUCTION));
}

/** Moves as one element after the other would: what lies in the way of the target's first ones may be repeated. */
function move(
  u8: Uint8Array,
  from: number,
  to: number,
  length: number,
  { isDown, bytes }: StringOperation,
): boolean {
  const distance = isDown ? from - to : to - from;
  if (distance <= 0 || distance >= length) {
    u8.copyWithin(to, from, from + length);
    return true;
  }
  if (isDown || distance < bytes) return false;
  // Up into itself: what lies before the target is repeated over and over, and what is done doubles each time.
  u8.copyWithin(to, from, to);
  for (let done = distance; done < length; done *= 2)
    u8.copyWithin(to + done, to, to + Math.min(done, length - done));
  return true;
}

function fill(memory: CpuMemory, to: number, length: number, bytes: number): boolean {
  if ((to & (bytes - 1)) !== 0) return false;
  const value = memory.reg(0);
  if (bytes === 1) memory.u8.fill(value & 0xff, to, to + length);
  else if (bytes === 2) memory.u16.fill(value, to / 2, (to + length) / 2);
  else if (bytes === 4) memory.i32.fill(value, to / 4, (to + length) / 4);
  else memory.u64.fill(memory.u64[State.gpr >> 3]!, to / 8, (to + length) / 8);
  return true;
}

/** INS and OUTS. A repeated one does an element each time it is executed. */
export function portString(cpu: CpuContext, argument: number, record: number): void {
  const { memory, mmu } = cpu;
  const operation = new StringOperation(memory, argument, record);
  const { bytes, kind } = operation;
  const port = memory.reg(2) & 0xffff;
  checkPort(cpu, port, bytes);
  if (operation.isRepeated && operation.count === 0) return;
  if (kind === StringKind.ins) {
    const [low, high] = operation.targetAddress(bytes, true);
    mmu.checkWritable(low, high, bytes);
    cpu.portString(port, bytes as 1 | 2 | 4, false);
    mmu.write(low, high, bytes, STRING_SCRATCH);
  } else {
    const [low, high] = operation.sourceAddress(bytes);
    const host = mmu.readable(low, high, bytes);
    memory.u8.copyWithin(STRING_SCRATCH, host, host + bytes);
    cpu.portString(port, bytes as 1 | 2 | 4, true);
  }
  operation.advance(kind === StringKind.ins ? DI : SI, operation.isDown ? -bytes : bytes);
  if (!operation.isRepeated) return;
  operation.advance(CX, -1);
  if (operation.count > 0) goBack(cpu, record);
}

/** RIP stays at the instruction, which goes on when it is executed again. */
function goBack(cpu: CpuContext, record: number): void {
  const { memory } = cpu;
  const sum = memory.u32[State.ripBase >> 2]! + memory.u16[(record + Op.place) >> 1]!;
  memory.set64(
    State.rip,
    sum | 0,
    is64BitCode(memory) ? (memory.get(State.ripBase + 4) + (sum > 0xffff_ffff ? 1 : 0)) | 0 : 0,
  );
  cpu.yield();
}

/** Where an element lies on its way. */
export const STRING_SCRATCH = 0x18d0;
