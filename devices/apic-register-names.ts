/**
 * Names of the local APIC's registers (SDM volume 3A, table 10-1) and the IOAPIC's (82093AA data sheet,
 * chapter 3), and of the bits in them.
 */
import { bitNames, type Register } from './registers.ts';

/** Of an LVT entry; not all have every field. 10.5.1, figure 10-8 */
export const LVT_FIELDS = bitNames('vector:8 mode:3 - pending polarity remote-IRR level masked timer-mode:2');
/** The interrupt command's low half. 10.6.1 */
export const ICR_FIELDS = bitNames('vector:8 mode:3 logical pending - assert level -:2 shorthand:2');
/** A redirection entry's low half. 3.2.4 */
export const REDIRECTION_FIELDS = bitNames(
  'vector:8 mode:3 logical pending polarity remote-IRR level masked',
);

const VECTORS = Array.from({ length: 8 }, (_, i) => i);

export const LAPIC_REGISTERS: readonly Register[] = [
  { offset: 0x020, length: 4, name: 'ID', state: 'id' },
  { offset: 0x030, length: 4, name: 'Version' },
  { offset: 0x080, length: 4, name: 'TPR', state: 'tpr' },
  { offset: 0x090, length: 4, name: 'APR' },
  { offset: 0x0a0, length: 4, name: 'PPR', state: 'ppr' },
  { offset: 0x0b0, length: 4, name: 'EOI', only: 'write' },
  { offset: 0x0c0, length: 4, name: 'RRD' },
  { offset: 0x0d0, length: 4, name: 'LDR', state: 'ldr' },
  { offset: 0x0e0, length: 4, name: 'DFR', state: 'dfr' },
  { offset: 0x0f0, length: 4, name: 'SVR', state: 'svr', bits: bitNames('vector:8 enabled focus-off') },
  ...VECTORS.map(
    (i): Register => ({ offset: 0x100 + 16 * i, length: 4, name: `ISR${i}`, state: 'isr', stateIndex: i }),
  ),
  ...VECTORS.map(
    (i): Register => ({ offset: 0x180 + 16 * i, length: 4, name: `TMR${i}`, state: 'tmr', stateIndex: i }),
  ),
  ...VECTORS.map(
    (i): Register => ({ offset: 0x200 + 16 * i, length: 4, name: `IRR${i}`, state: 'irr', stateIndex: i }),
  ),
  { offset: 0x280, length: 4, name: 'ESR', state: 'esr' },
  { offset: 0x2f0, length: 4, name: 'LVT CMCI' },
  { offset: 0x300, length: 4, name: 'ICR low', state: 'icrLow', bits: ICR_FIELDS },
  { offset: 0x310, length: 4, name: 'ICR high', state: 'icrHigh', bits: bitNames('-:24 destination:8') },
  ...['timer', 'thermal', 'performance', 'LINT0', 'LINT1', 'error'].map(
    (name, i): Register => ({
      offset: 0x320 + 16 * i,
      length: 4,
      name: `LVT ${name}`,
      state: 'lvt',
      stateIndex: i,
      bits: LVT_FIELDS,
    }),
  ),
  { offset: 0x380, length: 4, name: 'Timer initial count', state: 'initialCount' },
  { offset: 0x390, length: 4, name: 'Timer current count' },
  { offset: 0x3e0, length: 4, name: 'Timer divide', state: 'divide' },
];

export const IOAPIC_REGISTERS: readonly Register[] = [
  { offset: 0x00, length: 4, name: 'IOREGSEL', state: 'ioregsel' },
  { offset: 0x10, length: 4, name: 'IOAPICID', selected: 0, state: 'id' },
  { offset: 0x10, length: 4, name: 'IOAPICVER', selected: 1 },
  { offset: 0x10, length: 4, name: 'IOAPICARB', selected: 2 },
  ...Array.from({ length: 24 }, (_, i): Register[] => [
    {
      offset: 0x10,
      length: 4,
      name: `IOREDTBL${i} low`,
      selected: 0x10 + 2 * i,
      state: 'low',
      stateIndex: i,
      bits: REDIRECTION_FIELDS,
    },
    {
      offset: 0x10,
      length: 4,
      name: `IOREDTBL${i} high`,
      selected: 0x11 + 2 * i,
      state: 'high',
      stateIndex: i,
      bits: bitNames('-:24 destination:8'),
    },
  ]).flat(),
  { offset: 0x10, length: 4, name: 'IOWIN' },
];
