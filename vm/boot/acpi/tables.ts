/**
 * All ACPI tables of a machine, laid out one after the other behind the RSDP, in the area that guests
 * scan for it (ACPI 6.5, section 5.2.5.1).
 */
import type { Gpa } from '../../../devices/memory.ts';
import type { VirtioSlot } from '../../layout.ts';
import { StructWriter, setChecksum, sum } from '../struct-writer.ts';
import { buildDsdt } from './dsdt.ts';
import { buildFacs, buildFadt } from './fadt.ts';
import { buildMadt } from './madt.ts';
import { acpiTable, OEM_ID } from './table.ts';

const RSDP_SIGNATURE = 'RSD PTR ';
const RSDP_SIZE = 36;
/** The part of it that ACPI 1.0 has, with a checksum of its own. */
const RSDP_V1_SIZE = 20;
const RSDP_V1_CHECKSUM = 8;
const RSDP_CHECKSUM = 32;
const RSDP_REVISION = 2;
/** The FACS must be aligned to 64 bytes; what is good for it is good for all. */
const ALIGNMENT = 64;

/** A table and its place. */
export interface AcpiTable {
  /** For messages: the table's signature. */
  readonly name: string;
  readonly at: Gpa;
  readonly bytes: Uint8Array;
}

/** The tables of a machine; the first is the RSDP. @param start - where it goes, a multiple of 64 */
export function buildAcpiTables(
  start: Gpa,
  cpus: number,
  virtio: readonly VirtioSlot[],
): readonly AcpiTable[] {
  const tables: AcpiTable[] = [];
  let next = align(start + RSDP_SIZE);
  const place = (name: string, bytes: Uint8Array): Gpa => {
    const at = next;
    tables.push({ name, at, bytes });
    next = align(at + bytes.length);
    return at;
  };
  const facs = place('FACS', buildFacs());
  const dsdt = place('DSDT', buildDsdt(cpus, virtio));
  const fadt = place('FACP', buildFadt(facs, dsdt));
  const madt = place('APIC', buildMadt(cpus));
  const rsdt = place('RSDT', acpiTable('RSDT', 1, new StructWriter().u32(fadt).u32(madt).finish()));
  const xsdt = place('XSDT', acpiTable('XSDT', 1, new StructWriter().u64(fadt).u64(madt).finish()));
  return [{ name: 'RSDP', at: start, bytes: buildRsdp(rsdt, xsdt) }, ...tables];
}

/** 5.2.5.3 */
function buildRsdp(rsdt: Gpa, xsdt: Gpa): Uint8Array {
  const rsdp = new StructWriter()
    .ascii(RSDP_SIGNATURE)
    .u8(0) // checksum of the first 20 bytes, below
    .ascii(OEM_ID, 6, 0x20)
    .u8(RSDP_REVISION)
    .u32(rsdt)
    .u32(RSDP_SIZE)
    .u64(xsdt)
    .u8(0) // checksum of the whole, below
    .zeros(3)
    .finish();
  rsdp[RSDP_V1_CHECKSUM] = -sum(rsdp.subarray(0, RSDP_V1_SIZE));
  setChecksum(rsdp, RSDP_CHECKSUM);
  return rsdp;
}

function align(at: Gpa): Gpa {
  return Math.ceil(at / ALIGNMENT) * ALIGNMENT;
}
