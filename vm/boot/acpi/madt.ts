/**
 * The MADT: processors and interrupt controllers, and how ISA interrupts reach the IOAPIC
 * (ACPI 6.5, section 5.2.12).
 */
import { Gsi, IOAPIC_BASE, LAPIC_BASE } from '../../layout.ts';
import { StructWriter } from '../struct-writer.ts';
import { acpiTable } from './table.ts';

const MADT_REVISION = 5;
/** The machine also has the two 8259 PICs. */
const PCAT_COMPAT = 1;

/** Interrupt controller structure types. */
const LOCAL_APIC = 0;
const IO_APIC = 1;
const INTERRUPT_SOURCE_OVERRIDE = 2;
const LOCAL_APIC_NMI = 4;
const LOCAL_X2APIC = 9;
const LOCAL_X2APIC_NMI = 10;

const ENABLED = 1;
/** 0xff means all processors in an 8-bit field; greater ids need an x2APIC. 5.2.12.12 */
const LAST_XAPIC_ID = 254;
const ALL_PROCESSORS_8 = 0xff;
const ALL_PROCESSORS_32 = 0xffff_ffff;
const ISA_BUS = 0;
const NMI_LINT = 1;

/** MPS INTI flags. 5.2.12.5, table 5.27 */
const CONFORMS_TO_BUS = 0x0000;
const ACTIVE_HIGH_LEVEL = 0x000d;

/** What the IOAPIC's id register holds after reset; no firmware is there to change it. */
export const IOAPIC_ID = 0;

/** ISA interrupts that aren't GSIs of the same number, edge-triggered and active high. */
export const INTERRUPT_OVERRIDES = [
  // As on every PC the timer is on the IOAPIC's input 2, because the PICs' cascade leaves that free.
  { irq: 0, gsi: 2, flags: CONFORMS_TO_BUS },
  { irq: Gsi.sci, gsi: Gsi.sci, flags: ACTIVE_HIGH_LEVEL },
] as const;

/** @param cpus - APIC ids and processor UIDs are 0 … n−1, the boot CPU first */
export function buildMadt(cpus: number): Uint8Array {
  const madt = new StructWriter().u32(LAPIC_BASE).u32(PCAT_COMPAT);
  for (let id = 0; id < cpus; id++) {
    if (id <= LAST_XAPIC_ID) madt.u8(LOCAL_APIC).u8(8).u8(id).u8(id).u32(ENABLED);
    else madt.u8(LOCAL_X2APIC).u8(16).u16(0).u32(id).u32(ENABLED).u32(id);
  }
  madt.u8(IO_APIC).u8(12).u8(IOAPIC_ID).u8(0).u32(IOAPIC_BASE).u32(0);
  for (const { irq, gsi, flags } of INTERRUPT_OVERRIDES) {
    madt.u8(INTERRUPT_SOURCE_OVERRIDE).u8(10).u8(ISA_BUS).u8(irq).u32(gsi).u16(flags);
  }
  madt.u8(LOCAL_APIC_NMI).u8(6).u8(ALL_PROCESSORS_8).u16(CONFORMS_TO_BUS).u8(NMI_LINT);
  if (cpus - 1 > LAST_XAPIC_ID) {
    madt.u8(LOCAL_X2APIC_NMI).u8(12).u16(CONFORMS_TO_BUS).u32(ALL_PROCESSORS_32).u8(NMI_LINT).zeros(3);
  }
  return acpiTable('APIC', MADT_REVISION, madt.finish());
}
