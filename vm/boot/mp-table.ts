/**
 * The tables of the Intel MultiProcessor Specification 1.4, chapter 4: processors, IOAPIC and interrupt
 * wiring for guests that know no ACPI.
 */
import type { Gpa } from '../../devices/memory.ts';
import { GSI_COUNT, IOAPIC_BASE, LAPIC_BASE } from '../layout.ts';
import { INTERRUPT_OVERRIDES, IOAPIC_ID } from './acpi/madt.ts';
import { StructWriter, setChecksum } from './struct-writer.ts';

const SPECIFICATION_REVISION = 4;
const FLOATING_POINTER_CHECKSUM = 10;
const TABLE_CHECKSUM = 7;
const HEADER_SIZE = 44;
const PARAGRAPH = 16;

/** Entry types. 4.3 */
const PROCESSOR = 0;
const BUS = 1;
const IO_APIC = 2;
const IO_INTERRUPT = 3;
const LOCAL_INTERRUPT = 4;

const CPU_ENABLED = 1;
const CPU_BOOT = 2;
const LAPIC_VERSION = 0x14;
const IOAPIC_VERSION = 0x11;
const IOAPIC_ENABLED = 1;
/** Family 6; guests that matter ask CPUID. */
const CPU_SIGNATURE = 0x600;
/** CPUID.1:EDX of a processor with FPU and APIC. */
const CPU_FEATURES = 0x201;

/** Interrupt types. 4.3.4 */
const INT = 0;
const NMI = 1;
const EXT_INT = 3;

const ISA_BUS = 0;
const ALL_LAPICS = 0xff;
const CONFORMS_TO_BUS = 0;
/** Leads to the IOAPIC's input 2 on a PC, where the timer is; the PICs' cascade itself is no interrupt. */
const CASCADE_IRQ = 2;

/** The structure by which guests find the table. 4.1 */
export function buildMpFloatingPointer(table: Gpa): Uint8Array {
  const pointer = new StructWriter()
    .ascii('_MP_')
    .u32(table)
    .u8(1) // length in paragraphs
    .u8(SPECIFICATION_REVISION)
    .u8(0) // checksum, below
    .u8(0) // a configuration table is present
    .u8(0) // no IMCR: virtual wire mode
    .zeros(3)
    .finish();
  if (pointer.length !== PARAGRAPH) throw new RangeError('MP floating pointer is not one paragraph');
  setChecksum(pointer, FLOATING_POINTER_CHECKSUM);
  return pointer;
}

/** The configuration table. 4.2 @param cpus - APIC ids are 0 … n−1, at most 254 of them */
export function buildMpTable(cpus: number): Uint8Array {
  const entries = new StructWriter();
  let count = 0;
  const entry = (type: number): StructWriter => {
    count++;
    return entries.u8(type);
  };

  for (let id = 0; id < cpus; id++) {
    const flags = CPU_ENABLED | (id === 0 ? CPU_BOOT : 0);
    entry(PROCESSOR).u8(id).u8(LAPIC_VERSION).u8(flags).u32(CPU_SIGNATURE).u32(CPU_FEATURES).zeros(8);
  }
  entry(BUS).u8(ISA_BUS).ascii('ISA', 6, 0x20);
  entry(IO_APIC).u8(IOAPIC_ID).u8(IOAPIC_VERSION).u8(IOAPIC_ENABLED).u32(IOAPIC_BASE);
  // All inputs of the IOAPIC are described as ISA interrupts, those past 15 too: virtio devices use them.
  for (let irq = 0; irq < GSI_COUNT; irq++) {
    if (irq === CASCADE_IRQ) continue;
    const override = INTERRUPT_OVERRIDES.find((o) => o.irq === irq);
    const pin = override?.gsi ?? irq;
    entry(IO_INTERRUPT)
      .u8(INT)
      .u16(override?.flags ?? CONFORMS_TO_BUS)
      .u8(ISA_BUS)
      .u8(irq)
      .u8(IOAPIC_ID)
      .u8(pin);
  }
  entry(LOCAL_INTERRUPT).u8(EXT_INT).u16(CONFORMS_TO_BUS).u8(ISA_BUS).u8(0).u8(ALL_LAPICS).u8(0);
  entry(LOCAL_INTERRUPT).u8(NMI).u16(CONFORMS_TO_BUS).u8(ISA_BUS).u8(0).u8(ALL_LAPICS).u8(1);

  const body = entries.finish();
  const table = new StructWriter()
    .ascii('PCMP')
    .u16(HEADER_SIZE + body.length)
    .u8(SPECIFICATION_REVISION)
    .u8(0) // checksum, below
    .ascii('TYPE2', 8, 0x20)
    .ascii('TYPE2 VM', 12, 0x20)
    .u32(0) // no OEM table
    .u16(0)
    .u16(count)
    .u32(LAPIC_BASE)
    .u16(0) // no extended table
    .u8(0)
    .u8(0)
    .data(body)
    .finish();
  setChecksum(table, TABLE_CHECKSUM);
  return table;
}
