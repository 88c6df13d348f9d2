/**
 * Resource descriptors: what a device occupies, as its _CRS object says it
 * (ACPI 6.5, section 6.4, in the binary form that the guest reads).
 */
import type { Gpa } from '../../../devices/memory.ts';
import { type Aml, buffer, concat, littleEndian } from './aml.ts';

/** Small resource items: tag, with the length of the rest in its lowest three bits. 6.4.2 */
const IRQ_TAG = 0x22;
const IO_PORT_TAG = 0x47;
const END_TAG = 0x79;
/** Large resource items: tag, then a 16-bit length. 6.4.3 */
const FIXED_MEMORY_32_TAG = 0x86;
const EXTENDED_INTERRUPT_TAG = 0x89;

const DECODES_16_BITS = 0x01;
const READ_WRITE = 0x01;
/** ResourceConsumer, edge-triggered, active high, exclusive. 6.4.3.6 */
const CONSUMER = 0x01;
const EDGE_TRIGGERED = 0x02;

/** Ports [port, port+count). 6.4.2.5 */
export function ioPorts(port: number, count: number): Uint8Array {
  const minimum = littleEndian(port, 2);
  const alignment = 1;
  return concat([IO_PORT_TAG, DECODES_16_BITS], minimum, minimum, [alignment, count]);
}

/** An ISA interrupt: edge-triggered, active high, exclusive. 6.4.2.1 @param irq - 0–15 */
export function isaInterrupt(irq: number): Uint8Array {
  return concat([IRQ_TAG], littleEndian(2 ** irq, 2));
}

/** MMIO registers below 4 GiB. 6.4.3.4 */
export function fixedMemory32(base: Gpa, length: number): Uint8Array {
  return concat(
    [FIXED_MEMORY_32_TAG],
    littleEndian(9, 2),
    [READ_WRITE],
    littleEndian(base, 4),
    littleEndian(length, 4),
  );
}

/** An edge-triggered interrupt of any GSI. 6.4.3.6 */
export function edgeInterrupt(gsi: number): Uint8Array {
  const count = 1;
  return concat(
    [EXTENDED_INTERRUPT_TAG],
    littleEndian(2 + 4 * count, 2),
    [CONSUMER | EDGE_TRIGGERED, count],
    littleEndian(gsi, 4),
  );
}

/** `ResourceTemplate () { descriptors }`. 19.6.114 */
export function resourceTemplate(...descriptors: Uint8Array[]): Aml {
  // A checksum of 0 in the end tag says that there is none. 6.4.2.9
  return buffer(concat(...descriptors, [END_TAG, 0]));
}
