/**
 * String instructions, one element or repeated. SDM volume 2: MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS, REP.
 *
 * Runs within a page are done in bulk. Registers are up to date after each run, so that a fault or an
 * interrupt finds an instruction that can go on where it was.
 */

import { StringKind } from '../isa/control.ts';
import { Op, Seg, State } from '../layout.ts';
import type { CpuMemory } from '../memory.ts';
import { type CpuContext, EFLAGS } from './context.ts';
import { checkPort } from './ports.ts';
import { checkSegment, is64BitCode, roomIn } from './segments.ts';

/**
 * A repeated instruction lets interrupts be looked at whenever its count passes a multiple of this: in bytes, and
 * in elements where an element is done by itself, which takes as long as many in bulk. By the count, and not by
 * what has been done, so that it is the same wherever the instruction was begun anew.
 */
const RUN_MAXIMUM = 1 << 18;
const ELEMENTS_MAXIMUM = 1 << 12;
const CX = 1;
const SI = 6;
const DI = 7;

/** A register by address size. */
function counter(memory: CpuMemory, register: number, addressSize: number): number {
  const low = memory.u32[(State.gpr >> 2) + 2 * register]!;
  if (addressSize === 16) return low & 0xffff;
  // A count beyond 2³² is as good as endless.
  return addressSize === 32 ? low : low + memory.u32[(State.gpr >> 2) + 2 * register + 1]! * 0x1_0000_0000;
}

function advance(memory: CpuMemory, register: number, addressSize: number, by: number): void {
  const at = (State.gpr >> 2) + 2 * register;
  const sum = memory.u32[at]! + by;
  if (addressSize === 16) memory.setReg16(register, sum);
  else if (addressSize === 32) memory.setReg32(register, sum | 0);
  else {
    memory.i32[at] = sum | 0;
    memory.i32[at + 1] = memory.i32[at + 1]! + Math.floor(sum / 0x1_0000_0000);
  }
}

/** Sets the flags of x − y. */
function compare(
  memory: CpuMemory,
  size: number,
  xLow: number,
  xHigh: number,
  yLow: number,
  yHigh: number,
): void {
  const low = (xLow - yLow) | 0;
  const high = (xHigh - yHigh - (xLow >>> 0 < yLow >>> 0 ? 1 : 0)) | 0;
  memory.set64(State.ccRes, low, high);
  memory.set64(
    State.ccAux,
    (~xLow & yLow) | ((~xLow | yLow) & low),
    (~xHigh & yHigh) | ((~xHigh | yHigh) & high),
  );
  memory.set(State.ccShift, 64 - size);
}

export function stringInstruction(cpu: CpuContext, argument: number, record: number): void {
  const { memory } = cpu;
  const kind = argument & 15;
  const width = (argument >> 4) & 0x7f;
  const bytes = width / 8;
  const addressSize = (argument >> 12) & 0x7f;
  const repeat = (argument >>> 20) & 0xff;
  const segmented = !is64BitCode(memory);
  const source = memory.u8[record + Op.segment + 3]!;
  const step = memory.get(State.eflags) & EFLAGS.DF ? -bytes : bytes;
  const usesSource =
    kind === StringKind.movs ||
    kind === StringKind.cmps ||
    kind === StringKind.lods ||
    kind === StringKind.outs;
  const usesTarget = kind !== StringKind.lods && kind !== StringKind.outs;
  if (kind === StringKind.ins || kind === StringKind.outs) checkPort(cpu, memory.reg(2) & 0xffff, bytes);
  let left = repeat === 0 ? 1 : counter(memory, CX, addressSize);

  const offset = (register: number): number => {
    const low = memory.reg(register);
    return addressSize === 16 ? low & 0xffff : low;
  };
  const high = (register: number): number =>
    addressSize === 64 ? memory.get(State.gpr + 8 * register + 4) : 0;
  let sourceLow = 0;
  let sourceHigh = 0;
  let targetLow = 0;
  let targetHigh = 0;
  const locate = (length: number, write: boolean): void => {
    if (usesSource) {
      if (segmented) {
        sourceLow = checkSegment(memory, source, offset(SI), length, false);
        sourceHigh = 0;
        // A fault of the source comes before what is wrong with the target.
        if (kind === StringKind.movs) cpu.mmu.readable(sourceLow, 0, bytes);
      } else {
        const base = source >= Seg.fs ? State.segBase + 8 * source : State.zero;
        const sum = memory.u32[base >> 2]! + (offset(SI) >>> 0);
        sourceLow = sum | 0;
        sourceHigh = (memory.get(base + 4) + high(SI) + (sum > 0xffff_ffff ? 1 : 0)) | 0;
      }
    }
    if (usesTarget) {
      if (segmented) {
        targetLow = checkSegment(memory, Seg.es, offset(DI), length, write);
        targetHigh = 0;
      } else {
        targetLow = offset(DI);
        targetHigh = high(DI);
      }
    }
  };
  const writes = kind === StringKind.movs || kind === StringKind.stos || kind === StringKind.ins;

  while (left > 0) {
    locate(bytes, writes);
    let run = 1;
    // In bulk: upwards, within the pages that both sides are in.
    if (
      repeat !== 0 &&
      step > 0 &&
      left > 1 &&
      !cpu.stopsEarly &&
      (kind === StringKind.movs || kind === StringKind.stos)
    ) {
      run = Math.min(left, Math.floor((4096 - (targetLow & 0xfff)) / bytes));
      if (kind === StringKind.movs) run = Math.min(run, Math.floor((4096 - (sourceLow & 0xfff)) / bytes));
      if (addressSize === 16)
        run = Math.min(
          run,
          (0x10000 - offset(DI)) / bytes,
          usesSource ? (0x10000 - offset(SI)) / bytes : run,
        );
      if (segmented) {
        run = Math.min(run, roomIn(memory, Seg.es, offset(DI)) / bytes);
        if (usesSource) run = Math.min(run, roomIn(memory, source, offset(SI)) / bytes);
      }
      run = Math.floor(run);
      if (run > 1) {
        if (!bulk(cpu, kind, run, bytes, sourceLow, sourceHigh, targetLow, targetHigh)) run = 1;
      }
    }
    if (run <= 1) {
      run = 1;
      one(cpu, kind, bytes, width, sourceLow, sourceHigh, targetLow, targetHigh);
    }
    if (usesSource) advance(memory, SI, addressSize, step * run);
    if (usesTarget) advance(memory, DI, addressSize, step * run);
    const every = run === 1 ? ELEMENTS_MAXIMUM : RUN_MAXIMUM / bytes;
    const isLong = Math.floor((left - run) / every) !== Math.floor(left / every);
    left -= run;
    if (repeat === 0) return;
    advance(memory, CX, addressSize, -run);
    if (kind === StringKind.cmps || kind === StringKind.scas) {
      const equal =
        width === 64
          ? (memory.get(State.ccRes) | memory.get(State.ccRes + 4)) === 0
          : (width === 32 ? memory.get(State.ccRes) : memory.get(State.ccRes) & ((1 << width) - 1)) === 0;
      if (equal !== (repeat === 0xf3)) return;
    }
    if (kind === StringKind.outs || cpu.hasTouchedDevice || cpu.stopsEarly || (left > 0 && isLong)) {
      // One element a time for devices: what has been answered is not asked again.
      if (left > 0) {
        goBack(cpu, record);
        cpu.yield();
      }
      return;
    }
  }
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
}

/** A run of MOVS or STOS within a page. @returns false when it has to go element by element */
function bulk(
  cpu: CpuContext,
  kind: number,
  run: number,
  bytes: number,
  sourceLow: number,
  sourceHigh: number,
  targetLow: number,
  targetHigh: number,
): boolean {
  const { memory, mmu } = cpu;
  const length = run * bytes;
  if (mmu.isWatched(targetLow, targetHigh)) return false;
  if (kind === StringKind.movs && mmu.isWatched(sourceLow, sourceHigh)) return false;
  if (kind === StringKind.movs) {
    const from = mmu.ramToRead(sourceLow, sourceHigh);
    if (from < 0) return false;
    const to = mmu.ramToWrite(targetLow, targetHigh, length);
    // Moving up into itself repeats what has been moved.
    if (to < 0 || (to > from && to < from + length)) return false;
    memory.u8.copyWithin(to, from, from + length);
    return true;
  }
  const to = mmu.ramToWrite(targetLow, targetHigh, length);
  if (to < 0) return false;
  const low = memory.reg(0);
  if (bytes === 1) memory.u8.fill(low & 0xff, to, to + length);
  else if (bytes === 8 && (to & 7) === 0)
    memory.u64.fill(memory.u64[State.gpr >> 3]!, to / 8, (to + length) / 8);
  else if (bytes === 4 && (to & 3) === 0) memory.i32.fill(low, to / 4, (to + length) / 4);
  else if (bytes === 2 && (to & 1) === 0) memory.u16.fill(low, to / 2, (to + length) / 2);
  else return false;
  return true;
}

function one(
  cpu: CpuContext,
  kind: number,
  bytes: number,
  width: number,
  sourceLow: number,
  sourceHigh: number,
  targetLow: number,
  targetHigh: number,
): void {
  const { memory, mmu } = cpu;
  const low = (host: number): number =>
    bytes === 1
      ? memory.u8[host]!
      : bytes === 2
        ? memory.data.getUint16(host, true)
        : memory.data.getInt32(host, true);
  const high = (host: number): number => (bytes === 8 ? memory.data.getInt32(host + 4, true) : 0);
  switch (kind) {
    case StringKind.movs: {
      const host = mmu.readable(sourceLow, sourceHigh, bytes);
      memory.u8.copyWithin(STRING_SCRATCH, host, host + bytes);
      mmu.write(targetLow, targetHigh, bytes, STRING_SCRATCH);
      return;
    }
    case StringKind.stos:
      mmu.write(targetLow, targetHigh, bytes, State.gpr);
      return;
    case StringKind.lods: {
      const host = mmu.readable(sourceLow, sourceHigh, bytes);
      if (bytes === 4) memory.setReg32(0, low(host));
      else memory.u8.copyWithin(State.gpr, host, host + bytes);
      return;
    }
    case StringKind.cmps: {
      const second = mmu.readable(targetLow, targetHigh, bytes);
      const yLow = low(second);
      const yHigh = high(second);
      const first = mmu.readable(sourceLow, sourceHigh, bytes);
      compare(memory, width, low(first), high(first), yLow, yHigh);
      return;
    }
    case StringKind.scas: {
      const host = mmu.readable(targetLow, targetHigh, bytes);
      compare(memory, width, low(State.gpr), high(State.gpr), low(host), high(host));
      return;
    }
    case StringKind.ins:
      mmu.checkWritable(targetLow, targetHigh, bytes);
      cpu.portString(memory.reg(2) & 0xffff, bytes as 1 | 2 | 4, false);
      mmu.write(targetLow, targetHigh, bytes, STRING_SCRATCH);
      return;
    case StringKind.outs: {
      const host = mmu.readable(sourceLow, sourceHigh, bytes);
      memory.u8.copyWithin(STRING_SCRATCH, host, host + bytes);
      cpu.portString(memory.reg(2) & 0xffff, bytes as 1 | 2 | 4, true);
      return;
    }
  }
}

/** Where an element lies on its way. */
export const STRING_SCRATCH = 0x18d0;
