/**
 * What all ACPI tables have in common: the system description table header and its checksum
 * (ACPI 6.5, section 5.2.6).
 */
import { StructWriter, setChecksum } from '../struct-writer.ts';

export const OEM_ID = 'TYPE2';
const OEM_TABLE_ID = 'TYPE2VM';
const CREATOR_ID = 'TYP2';
const OEM_REVISION = 1;
const CREATOR_REVISION = 1;

const TABLE_HEADER_SIZE = 36;
const CHECKSUM_OFFSET = 9;

/**
 * A whole table: header, then `body`.
 * @param signature - four characters
 */
export function acpiTable(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const table = new StructWriter()
    .ascii(signature, 4)
    .u32(TABLE_HEADER_SIZE + body.length)
    .u8(revision)
    .u8(0) // checksum, below
    .ascii(OEM_ID, 6, 0x20)
    .ascii(OEM_TABLE_ID, 8, 0x20)
    .u32(OEM_REVISION)
    .ascii(CREATOR_ID, 4)
    .u32(CREATOR_REVISION)
    .data(body)
    .finish();
  setChecksum(table, CHECKSUM_OFFSET);
  return table;
}
