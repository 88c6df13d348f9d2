/**
 * x87 and SSE state as images in memory: FXSAVE, FXRSTOR, and the standard form of XSAVE.
 * SDM volume 1, 10.5.1 and 13.4.
 */
import { FAULT, generalProtection, raise, Vector } from '../fault.ts';
import { State } from '../layout.ts';
import type { CpuMemory } from '../memory.ts';
import { isCanonical } from '../mmu.ts';
import type { CpuContext } from './context.ts';
import { is64BitCode } from './segments.ts';

const XSAVE_SIZE = 576;
const XSTATE_BV = 512;
const FXSAVE_SIZE = 512;
/** Up to here FXSAVE writes; what follows is for software. */
const FXSAVE_WRITTEN = 416;
/** XMM8 and on, which only 64-bit code saves. */
const FXSAVE_LEGACY_END = 288;
/** Bits of the x87 control word that there are. */
const CONTROL_BITS = 0x1f7f;
/** Bits of MXCSR that may be set. */
const MXCSR_MASK = 0xffff;

/** x87 and SSE state as FXSAVE lays it out, with an XSAVE header. SDM volume 1, 10.5.1 and 13.4. */
export function saveExtended(memory: CpuMemory): Uint8Array {
  const image = new Uint8Array(XSAVE_SIZE);
  const data = new DataView(image.buffer);
  const top = memory.get(State.fpuTop);
  data.setUint16(0, memory.get(State.fpuControl), true);
  data.setUint16(2, (memory.get(State.fpuStatus) & ~0x3800) | (top << 11), true);
  image[4] = memory.get(State.fpuTags);
  data.setUint16(6, memory.get(State.fpuOpcode), true);
  data.setBigUint64(8, memory.u64[State.fpuIp >> 3]!, true);
  data.setBigUint64(16, memory.u64[State.fpuDp >> 3]!, true);
  data.setUint32(24, memory.get(State.mxcsr), true);
  data.setUint32(28, 0xffff, true);
  for (let i = 0; i < 8; i++) {
    const from = State.fpr + 16 * ((top + i) & 7);
    image.set(memory.u8.subarray(from, from + 10), 32 + 16 * i);
  }
  image.set(memory.u8.subarray(State.xmm, State.xmm + 256), 160);
  data.setBigUint64(XSTATE_BV, 3n, true);
  return image;
}

/** Takes back what {@link saveExtended} gave; 512 bytes are enough. */
export function restoreExtended(memory: CpuMemory, image: Uint8Array): void {
  const data = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const status = data.getUint16(2, true);
  const top = (status >> 11) & 7;
  // As FLDCW has it: bit 6 is always set.
  memory.set(State.fpuControl, (data.getUint16(0, true) & CONTROL_BITS) | 0x40);
  memory.set(State.fpuStatus, status & ~0x3800);
  memory.set(State.fpuTop, top);
  memory.set(State.fpuTags, image[4]!);
  memory.set(State.fpuOpcode, data.getUint16(6, true));
  memory.u64[State.fpuIp >> 3] = data.getBigUint64(8, true);
  memory.u64[State.fpuDp >> 3] = data.getBigUint64(16, true);
  memory.set(State.mxcsr, data.getInt32(24, true));
  for (let i = 0; i < 8; i++) {
    const to = State.fpr + 16 * ((top + i) & 7);
    memory.u8.set(image.subarray(32 + 16 * i, 42 + 16 * i), to);
  }
  memory.u8.set(image.subarray(160, 416), State.xmm);
}

function checkAvailable(cpu: CpuContext): void {
  const trap = cpu.memory.get(State.fpuTrap);
  if (trap & 8) raise(Vector.NM);
  if (trap & 4) raise(Vector.NM);
}

/** An address that isn't canonical is wrong first, which is #SS where it is the stack segment's. */
function checkAligned(low: number, high: number): void {
  if (low & 15) throw FAULT.set(Vector.GP, 0, !isCanonical(high));
}

/** FXSAVE to State.ea. */
export function fxsave(cpu: CpuContext): void {
  const { memory, mmu } = cpu;
  checkAvailable(cpu);
  const low = memory.get(State.ea);
  const high = memory.get(State.ea + 4);
  checkAligned(low, high);
  const length = is64BitCode(memory) ? FXSAVE_WRITTEN : FXSAVE_LEGACY_END;
  memory.u8.set(saveExtended(memory).subarray(0, length), IMAGE);
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
  checkAligned(low, high);
  const image = new Uint8Array(FXSAVE_SIZE);
  for (let at = 0; at < FXSAVE_SIZE; at += 16) {
    const host = mmu.readable(low + at, high, 16);
    image.set(memory.u8.subarray(host, host + 16), at);
  }
  const mxcsr = image[24]! | (image[25]! << 8) | (image[26]! << 16) | (image[27]! << 24);
  if (mxcsr & ~MXCSR_MASK) generalProtection();
  if (!is64BitCode(memory))
    image.set(memory.u8.subarray(State.xmm + 128, State.xmm + 256), FXSAVE_LEGACY_END);
  restoreExtended(memory, image);
}

/** Where an image lies on its way into the guest's memory. */
const IMAGE = 0x1c00;
