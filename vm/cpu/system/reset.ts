/** A CPU's state after power-on and INIT. SDM volume 3A, 9.1.1. */
import { Seg, State } from '../layout.ts';
import type { CpuMemory } from '../memory.ts';
import { CR0, setEflags } from './context.ts';
import { setSegment } from './segments.ts';

/** IA32_APIC_BASE after reset, without the bit of the boot processor. SDM volume 3A, 10.4.4. */
const APIC_BASE = 0xfee0_0800 | 0;
const BOOT_PROCESSOR = 0x100;
/** As CPUID leaf 1 says it. */
export const CPU_SIGNATURE = 0x0006_0fb1;

export function resetState(memory: CpuMemory, isBootProcessor: boolean): void {
  memory.i32.fill(0, State.gpr >> 2, State.end >> 2);
  memory.setReg32(2, CPU_SIGNATURE);
  setEflags(memory, 2);
  memory.set(State.cr0, CR0.ET | CR0.NW | CR0.CD);
  for (const segment of [Seg.es, Seg.ss, Seg.ds, Seg.fs, Seg.gs])
    setSegment(memory, segment, 0, 0, 0, 0xffff, 0x93);
  setSegment(memory, Seg.cs, 0xf000, 0xffff_0000 | 0, 0, 0xffff, 0x9b);
  setSegment(memory, Seg.ldtr, 0, 0, 0, 0xffff, 0x82);
  setSegment(memory, Seg.tr, 0, 0, 0, 0xffff, 0x8b);
  memory.set(State.segLimit + 4 * Seg.gdtr, 0xffff);
  memory.set(State.segLimit + 4 * Seg.idtr, 0xffff);
  memory.set64(State.rip, 0xfff0, 0);
  memory.set64(State.dr + 32, 0xffff_0ff0 | 0, 0);
  memory.set64(State.dr + 40, 0x400, 0);
  memory.set(State.mxcsr, 0x1f80);
  memory.set(State.fpuControl, 0x40);
  memory.set(State.fpuTags, 0xff);
  memory.set64(State.pat, 0x0007_0406, 0x0007_0406);
  memory.set(State.apicBase, APIC_BASE | (isBootProcessor ? BOOT_PROCESSOR : 0));
  memory.set(State.waitsForStartup, isBootProcessor ? 0 : 1);
}
