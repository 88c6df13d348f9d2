/**
 * Control and debug registers. SDM volume 3A, 2.5 and 17.2.
 */
import { generalProtection, raise, Vector } from '../fault.ts';
import { Seg, State } from '../layout.ts';
import { type CpuContext, CR0, CR4, DebugStatus, EFER } from './context.ts';
import { Attribute, is64BitCode } from './segments.ts';

/** Bits of CR4 that CPUID's features allow. */
const CR4_ALLOWED =
  CR4.VME |
  CR4.PVI |
  CR4.TSD |
  CR4.DE |
  CR4.PSE |
  CR4.PAE |
  CR4.MCE |
  CR4.PGE |
  CR4.PCE |
  CR4.OSFXSR |
  CR4.OSXMMEXCPT |
  CR4.SMEP;

/** Physical addresses have 40 bits, as CPUID says: those of them in a high word. */
const PHYSICAL_HIGH = 0xff;

export function readControl(cpu: CpuContext, number: number): [number, number] {
  const { memory } = cpu;
  const at = CONTROL_ADDRESSES[number];
  if (number === 8) return [cpu.getTpr() >> 4, 0];
  if (at === undefined) raise(Vector.UD);
  return [memory.get(at), memory.get(at + 4)];
}

/** Where the control registers lie that are plain state. */
export const CONTROL_ADDRESSES: Readonly<Record<number, number>> = {
  0: State.cr0,
  2: State.cr2,
  3: State.cr3,
  4: State.cr4,
};

/** MOV to a control register. @throws FAULT */
export function writeControl(cpu: CpuContext, number: number, low: number, high: number): void {
  const { memory, mmu } = cpu;
  switch (number) {
    case 0:
      if (high !== 0) generalProtection();
      writeCr0(cpu, low);
      return;
    case 2:
      memory.set64(State.cr2, low, high);
      return;
    case 3:
      if (high & ~PHYSICAL_HIGH) generalProtection();
      memory.set64(State.cr3, low, high);
      mmu.flushNonGlobal();
      return;
    case 4:
      if (high !== 0 || low & ~CR4_ALLOWED) generalProtection();
      writeCr4(cpu, low);
      return;
    case 8:
      if (high !== 0 || low & ~15) generalProtection();
      cpu.setTpr(low << 4);
      return;
    default:
      raise(Vector.UD);
  }
}

export function writeCr0(cpu: CpuContext, value: number): void {
  const { memory, mmu } = cpu;
  const old = memory.get(State.cr0);
  const next =
    (value & (CR0.PE | CR0.MP | CR0.EM | CR0.TS | CR0.NE | CR0.WP | CR0.AM | CR0.NW | CR0.CD | CR0.PG)) |
    CR0.ET;
  if ((next & CR0.PG && !(next & CR0.PE)) || (next & CR0.NW && !(next & CR0.CD))) generalProtection();
  let efer = memory.get(State.efer);
  if (old & CR0.PG && !(next & CR0.PG) && is64BitCode(memory)) generalProtection();
  if ((old ^ next) & CR0.PG) {
    if (next & CR0.PG && efer & EFER.LME) {
      if (!(memory.get(State.cr4) & CR4.PAE) || memory.get(State.segAttributes + 4 * Seg.cs) & Attribute.l)
        generalProtection();
      efer |= EFER.LMA;
    } else efer &= ~EFER.LMA;
    memory.set(State.efer, efer);
  }
  memory.set(State.cr0, next);
  if (!(next & CR0.PE)) memory.set(State.cpl, 0);
  if ((old ^ next) & (CR0.PG | CR0.PE | CR0.WP)) mmu.flushAll();
  cpu.updateMode();
}

function writeCr4(cpu: CpuContext, value: number): void {
  const { memory, mmu } = cpu;
  const old = memory.get(State.cr4);
  if (memory.get(State.efer) & EFER.LMA && !(value & CR4.PAE)) generalProtection();
  memory.set(State.cr4, value);
  if ((old ^ value) & (CR4.PGE | CR4.PSE | CR4.PAE | CR4.SMEP)) mmu.flushAll();
  if ((old ^ value) & CR4.DE) cpu.debugRegistersChanged();
  cpu.updateMode();
}

const DR7_GD = 1 << 13;
const DR7_RESERVED = 0xd800;

export function readDebug(cpu: CpuContext, number: number): [number, number] {
  const { memory } = cpu;
  detectAccess(cpu);
  const at = State.dr + 8 * debugIndex(cpu, number);
  return [memory.get(at), memory.get(at + 4)];
}

export function writeDebug(cpu: CpuContext, number: number, low: number, high: number): void {
  detectAccess(cpu);
  const index = debugIndex(cpu, number);
  if (index >= 4 && high !== 0) generalProtection();
  const value = index === 4 ? (low & 0xe00f) | 0xffff0ff0 : index === 5 ? (low & ~DR7_RESERVED) | 0x400 : low;
  cpu.memory.set64(State.dr + 8 * index, value, high);
  cpu.debugRegistersChanged();
}

/** General detect: with DR7.GD an access to a debug register is a fault, whose handler has access again. */
function detectAccess(cpu: CpuContext): void {
  const { memory } = cpu;
  const dr7 = memory.get(State.dr + 8 * 5);
  if (!(dr7 & DR7_GD)) return;
  memory.set(State.dr + 8 * 5, dr7 & ~DR7_GD);
  memory.set(State.dr + 8 * 4, memory.get(State.dr + 8 * 4) | DebugStatus.access);
  raise(Vector.DB);
}

/** DR4 and DR5 are DR6 and DR7 unless debugging extensions are on. */
function debugIndex(cpu: CpuContext, number: number): number {
  if (number < 4) return number;
  if (number < 6 && cpu.memory.get(State.cr4) & CR4.DE) raise(Vector.UD);
  if (number > 7) raise(Vector.UD);
  return number & 1 ? 5 : 4;
}
