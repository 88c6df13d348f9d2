/**
 * Permission to access I/O ports. SDM volume 1, 19.5.
 */
import { generalProtection } from '../fault.ts';
import { Seg, State } from '../layout.ts';
import { type CpuContext, iopl, isReal, isVirtual8086 } from './context.ts';

/** Whether a port may be accessed: by IOPL, or by the bitmap in the TSS. @throws FAULT: #GP */
export function checkPort(cpu: CpuContext, port: number, bytes: number): void {
  const { memory, mmu } = cpu;
  if (isReal(memory)) return;
  if (!isVirtual8086(memory) && memory.get(State.cpl) <= iopl(memory)) return;
  const base = memory.u32[(State.segBase >> 2) + 2 * Seg.tr]!;
  const high = memory.get(State.segBase + 8 * Seg.tr + 4);
  const limit = memory.u32[(State.segLimit >> 2) + Seg.tr]!;
  if (!(memory.get(State.segAttributes + 4 * Seg.tr) & 8) || limit < 103) generalProtection();
  const map = mmu.readSystem16((base + 102) | 0, high);
  const at = map + (port >> 3);
  if (at + 1 > limit) generalProtection();
  const bits = mmu.readSystem16((base + at) | 0, high) >> (port & 7);
  if (bits & ((1 << bytes) - 1)) generalProtection();
}
