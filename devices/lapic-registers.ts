/**
 * The registers of a local APIC: how its state is laid out, which of them exist, and how they come out of a
 * saved register page (Intel SDM volume 3A, 10.4.1, table 10-1, and 10.5.1).
 */
import { defineState } from './state.ts';

export const LAPIC_LAYOUT = defineState(
  {
    /** IA32_APIC_BASE bit 11. 10.4.3 */
    enabled: 1,
    /** APIC id, 8 bits. */
    id: 1,
    tpr: 1,
    /** Worked out from TPR and ISR whenever one of them changes. */
    ppr: 1,
    /** The vector to be taken next, or −1; worked out from IRR and PPR whenever one of them changes. */
    pending: 1,
    ldr: 1,
    dfr: 1,
    svr: 1,
    isr: 8,
    tmr: 8,
    irr: 8,
    /** What ESR reads: the errors up to the last write to it. */
    esr: 1,
    /** Errors since then. */
    errors: 1,
    icrLow: 1,
    icrHigh: 1,
    /** In order of their addresses: timer, thermal, performance counters, LINT0, LINT1, error. */
    lvt: 6,
    initialCount: 1,
    divide: 1,
    tscDeadlineHigh: 1,
    tscDeadlineLow: 1,
    /** Levels of the pins LINT0 and LINT1, a bit each. */
    pins: 1,
  },
  {
    /** When the timer's count reaches 0, in clock nanoseconds; Infinity while it stands. */
    due: 1,
  },
);

/** Places in the `lvt` table. */
export const LvtIndex = {
  timer: 0,
  thermal: 1,
  performance: 2,
  lint0: 3,
  lint1: 4,
  error: 5,
} as const;

/** LVT entries. 10.5.1, figure 10-8 */
export const LVT_VECTOR = 0xff;
export const LVT_MASKED = 1 << 16;
export const LVT_MODE_SHIFT = 8;
export const LVT_MODE = 7;

/** What can be written of each LVT entry; delivery status and remote IRR read 0. 10.5.1, figure 10-8 */
export const LVT_BITS = Int32Array.of(0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff);
/** Enable bit, focus processor checking, vector. 10.9 */
export const SVR_BITS = 0x3ff;
/** Destination format: bits 31:28 are the model, the rest reads as ones. 10.6.2.2 */
export const DFR_RESERVED = 0x0fff_ffff;
/** Of the ICR's low half; reserved bits and the delivery status, which is always idle, read 0. 10.6.1 */
export const ICR_LOW_BITS = 0x000c_cfff;

/** The page as KVM_GET_LAPIC and KVM_SET_LAPIC take it. */
export const LAPIC_PAGE_BYTES = 1024;

/** Whether the SDM has a register at this offset (divided by 16); read-only and write-only ones, too. Table 10-1 */
export function isRegister(index: number): boolean {
  return (
    index === 0x02 ||
    index === 0x03 ||
    (index >= 0x08 && index <= 0x28) ||
    (index >= 0x30 && index <= 0x39) ||
    index === 0x3e
  );
}

/**
 * Fills the registers from a page. What follows from them is left to be worked out.
 * @returns the timer's current count, from which it goes on
 * @throws RangeError when there are fewer than 1024 bytes
 */
export function importRegisters(words: Int32Array, bytes: Uint8Array): number {
  if (bytes.length < LAPIC_PAGE_BYTES)
    throw new RangeError(`a local APIC's page has ${LAPIC_PAGE_BYTES} bytes, not ${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = LAPIC_LAYOUT.word;
  const register = (index: number) => view.getInt32(index << 4, true);
  words[at.id] = register(0x02) >>> 24;
  words[at.tpr] = register(0x08) & 0xff;
  words[at.ldr] = register(0x0d);
  words[at.dfr] = register(0x0e) | DFR_RESERVED;
  words[at.svr] = register(0x0f) & SVR_BITS;
  for (let i = 0; i < 8; i++) {
    words[at.isr + i] = register(0x10 + i);
    words[at.tmr + i] = register(0x18 + i);
    words[at.irr + i] = register(0x20 + i);
  }
  words[at.esr] = register(0x28);
  words[at.errors] = 0;
  words[at.icrLow] = register(0x30) & ICR_LOW_BITS;
  words[at.icrHigh] = register(0x31);
  for (let i = 0; i < LVT_BITS.length; i++) words[at.lvt + i] = register(0x32 + i) & LVT_BITS[i]!;
  words[at.initialCount] = register(0x38);
  words[at.divide] = register(0x3e);
  words[at.tscDeadlineHigh] = 0;
  words[at.tscDeadlineLow] = 0;
  return register(0x39) >>> 0;
}
