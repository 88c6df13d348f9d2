/**
 * What a PC's firmware would have left in memory for the operating system, whatever boots it: the few
 * fields of the BIOS data area that guests read, the MP table and the ACPI tables.
 */
import type { Gpa } from '../../devices/memory.ts';
import { EBDA_START, Port, type VirtioSlot } from '../layout.ts';
import { buildAcpiTables } from './acpi/tables.ts';
import type { LoadPlan } from './load-plan.ts';
import { LowMemory } from './low-memory.ts';
import { buildMpFloatingPointer, buildMpTable } from './mp-table.ts';
import { StructWriter } from './struct-writer.ts';

/** What the tables describe. */
export interface FirmwareOptions {
  readonly cpus: number;
  readonly virtio: readonly VirtioSlot[];
  readonly acpi: boolean;
}

/** Plans all of it. @returns address of the RSDP, 0 without ACPI */
export function planFirmware(plan: LoadPlan, options: FirmwareOptions): Gpa {
  const { cpus, virtio, acpi } = options;
  plan.put('the BIOS data area', LowMemory.biosData.at, biosDataArea());
  plan.put('the EBDA', LowMemory.ebda.at, extendedBiosDataArea());
  plan.put('the MP table', LowMemory.mpTable.at, buildMpTable(cpus));
  if (!acpi) return 0;
  for (const { name, at, bytes } of buildAcpiTables(LowMemory.acpi.at, cpus, virtio)) {
    plan.put(`the ACPI table ${name}`, at, bytes);
  }
  return LowMemory.acpi.at;
}

/** Its first 0x15 bytes: COM and LPT ports, EBDA segment, equipment, KiB of base memory. */
function biosDataArea(): Uint8Array {
  const oneSerialPort = 1 << 9;
  return new StructWriter()
    .u16(Port.serial)
    .zeros(6) // COM2–COM4
    .zeros(6) // LPT1–LPT3
    .u16(EBDA_START / 16)
    .u16(oneSerialPort)
    .u8(0)
    .u16(EBDA_START / 1024)
    .finish();
}

/** One KiB, as its first byte says; the MP floating pointer is the next paragraph. */
function extendedBiosDataArea(): Uint8Array {
  return new StructWriter().u8(1).zeros(15).data(buildMpFloatingPointer(LowMemory.mpTable.at)).finish();
}
