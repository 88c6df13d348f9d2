/**
 * Names of the RTC's registers and bits (MC146818A data sheet, figure 12 on). Those behind the data port are
 * selected by the index port.
 */
import { bitNames, type Register } from './registers.ts';

const BEHIND_DATA: readonly (readonly [number, string, string?])[] = [
  [0x00, 'Seconds'],
  [0x01, 'Seconds alarm'],
  [0x02, 'Minutes'],
  [0x03, 'Minutes alarm'],
  [0x04, 'Hours'],
  [0x05, 'Hours alarm'],
  [0x06, 'Day of week'],
  [0x07, 'Day of month'],
  [0x08, 'Month'],
  [0x09, 'Year'],
  [0x0a, 'Register A', 'RS:4 DV:3 UIP'],
  [0x0b, 'Register B', 'DSE 24-hour DM SQWE UIE AIE PIE SET'],
  [0x0c, 'Register C', '-:4 UF AF PF IRQF'],
  [0x0d, 'Register D', '-:7 VRT'],
  [0x0f, 'Shutdown status'],
  [0x10, 'Floppy drives'],
  [0x14, 'Equipment'],
  [0x15, 'Base memory, low'],
  [0x16, 'Base memory, high'],
  [0x17, 'Extended memory, low'],
  [0x18, 'Extended memory, high'],
  [0x32, 'Century'],
  [0x34, 'Memory above 16 MiB, low'],
  [0x35, 'Memory above 16 MiB, high'],
];

export const RTC_REGISTERS: readonly Register[] = [
  { offset: 0, name: 'Index', state: 'index' },
  ...BEHIND_DATA.map(
    ([selected, name, bits]): Register => ({
      offset: 1,
      name,
      selected,
      state: 'cmos',
      stateIndex: selected,
      ...(bits === undefined ? {} : { bits: bitNames(bits) }),
    }),
  ),
  { offset: 1, name: 'CMOS data' },
];
