/**
 * x87 and SSE state as images in memory: FXSAVE, FXRSTOR, and the standard form of XSAVE.
 * SDM volume 1, 10.5.1 and 13.4.
 */
import { FAULT, generalProtection, raise, Vector } from '../fault.ts';
import { State } from '../layout.ts';
import type { CpuMemory } from '../memory.ts';
import { isCanonical, type Mmu } from '../mmu.ts';
import type { CpuContext } from './context.ts';
import { is64BitCode } from './segments.ts';

const XSAVE_SIZE = 576;
const XSTATE_BV = 512;
const FXSAVE_SIZE = 512;
/** Up to here FXSAVE writes; what follows is for software. */
const FXSAVE_WRITTEN = 416;
/** XMM8 and on, which only 64-bit code saves. */
const FXSAVE_LEGACY_END = 288;
/** Where its x87 and XMM registers begin. */
const REGISTERS = 32;
const XMM = 160;
const XMM_BYTES = 256;
/** Bits of the x87 control word that there are. */
const CONTROL_BITS = 0x1f7f;
/** Bits of MXCSR that may be set. */
const MXCSR_MASK = 0xffff;

/** x87 and SSE state as FXSAVE lays it out, with an XSAVE header. SDM volume 1, 10.5.1 and 13.4. */
export function saveExtended(memory: CpuMemory): Uint8Array {
  const image = new Uint8Array(XSAVE_SIZE);
  writeImage(memory, IMAGE);
  image.set(memory.u8.subarray(IMAGE, IMAGE + FXSAVE_WRITTEN));
  new DataView(image.buffer).setBigUint64(XSTATE_BV, 3n, true);
  return image;
}

/** Takes back what {@link saveExtended} gave; 512 bytes are enough. */
export function restoreExtended(memory: CpuMemory, image: Uint8Array): void {
  memory.u8.set(image.subarray(0, FXSAVE_WRITTEN), IMAGE);
  readImage(memory, IMAGE, XMM_BYTES);
}

/** Lays the state out at an address in the CPU's memory. Kernels do it whenever they go from one task to another. */
function writeImage(memory: CpuMemory, at: number): void {
  const { i32 } = memory;
  const top = memory.get(State.fpuTop);
  const status = (memory.get(State.fpuStatus) & ~0x3800) | (top << 11);
  memory.set(at, (memory.get(State.fpuControl) & 0xffff) | (status << 16));
  memory.set(at + 4, (memory.get(State.fpuTags) & 0xff) | (memory.get(State.fpuOpcode) << 16));
  memory.set64(at + 8, memory.get(State.fpuIp), memory.get(State.fpuIp + 4));
  memory.set64(at + 16, memory.get(State.fpuDp), memory.get(State.fpuDp + 4));
  memory.set64(at + 24, memory.get(State.mxcsr), MXCSR_MASK);
  for (let i = 0; i < 8; i++) {
    const from = (State.fpr >> 2) + 4 * ((top + i) & 7);
    const to = ((at + REGISTERS) >> 2) + 4 * i;
    i32[to] = i32[from]!;
    i32[to + 1] = i32[from + 1]!;
    i32[to + 2] = i32[from + 2]! & 0xffff;
    i32[to + 3] = 0;
  }
  memory.u8.copyWithin(at + XMM, State.xmm, State.xmm + XMM_BYTES);
}

/** @param xmmBytes - how much there is of XMM registers */
function readImage(memory: CpuMemory, at: number, xmmBytes: number): void {
  const { i32 } = memory;
  const words = memory.get(at);
  const top = (words >> 27) & 7;
  // As FLDCW has it: bit 6 is always set.
  memory.set(State.fpuControl, (words & CONTROL_BITS) | 0x40);
  memory.set(State.fpuStatus, (words >>> 16) & ~0x3800);
  memory.set(State.fpuTop, top);
  memory.set(State.fpuTags, memory.get(at + 4) & 0xff);
  memory.set(State.fpuOpcode, memory.get(at + 4) >>> 16);
  memory.set64(State.fpuIp, memory.get(at + 8), memory.get(at + 12));
  memory.set64(State.fpuDp, memory.get(at + 16), memory.get(at + 20));
  memory.set(State.mxcsr, memory.get(at + 24));
  for (let i = 0; i < 8; i++) {
    const from = ((at + REGISTERS) >> 2) + 4 * i;
    const to = (State.fpr >> 2) + 4 * ((top + i) & 7);
    i32[to] = i32[from]!;
    i32[to + 1] = i32[from + 1]!;
    // What lies behind the ten bytes of a register is nobody's.
    i32[to + 2] = i32[from + 2]! & 0xffff;
  }
  memory.u8.copyWithin(State.xmm, at + XMM, at + XMM + xmmBytes);
}

function checkAvailable(cpu: CpuContext): void {
  const trap = cpu.memory.get(State.fpuTrap);
  if (trap & 8) raise(Vector.NM);
  if (trap & 4) raise(Vector.NM);
}

/** An address that isn't canonical is wrong first, which is #SS where it is the stack segment's. */
function checkAligned({ aligned }: Mmu, low: number, high: number): void {
  if ((low & 15) === 0) return;
  if (aligned && (low & 3) !== 0 && isCanonical(high)) raise(Vector.AC, 0);
  throw FAULT.set(Vector.GP, 0, !isCanonical(high));
}

/** FXSAVE to State.ea. */
export function fxsave(cpu: CpuContext): void {
  const { memory, mmu } = cpu;
  checkAvailable(cpu);
  const low = memory.get(State.ea);
  const high = memory.get(State.ea + 4);
  checkAligned(mmu, low, high);
  const length = is64BitCode(memory) ? FXSAVE_WRITTEN : FXSAVE_LEGACY_END;
  writeImage(memory, IMAGE);
  // All of it must be writable, though not all is written.
  mmu.checkWritable(low, high, FXSAVE_SIZE);
  mmu.write(low, high, length, IMAGE);
}

/** FXRSTOR from State.ea. */
export function fxrstor(cpu: CpuContext): void {
  const { memory, mmu } = cpu;
  checkAvailable(cpu);
  const low = memory.get(State.ea);
  const high = memory.get(State.ea + 4);
  checkAligned(mmu, low, high);
  const at = readableImage(mmu, memory, low, high);
  if (memory.get(at + 24) & ~MXCSR_MASK) generalProtection();
  readImage(memory, at, is64BitCode(memory) ? XMM_BYTES : XMM_BYTES / 2);
}

/** Host address of an image that is in RAM and one page; else it is copied. */
function readableImage(mmu: Mmu, memory: CpuMemory, low: number, high: number): number {
  const host =
    (low & 0xfff) <= 0x1000 - FXSAVE_SIZE && mmu.watch === undefined ? mmu.ramToRead(low, high) : -1;
  if (host >= 0) return host;
  for (let offset = 0; offset < FXSAVE_SIZE; offset += 16)
    memory.copy(IMAGE + offset, mmu.readable(low + offset, high, 16), 16);
  return IMAGE;
}

/** Where an image lies on its way into the guest's memory. */
const IMAGE = 0x1c00;
