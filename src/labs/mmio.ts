/**
 * Lab 6: MMIO against PIO: registers that are memory, of a width of their own.
 */
import { countOf, endedByPowerOff, hex, type Lab, printed, readWords } from './lab.ts';

const COPY = 0x2_0000;
const REGISTERS = 16;
/** MagicValue "virt", Version, DeviceID (entropy source), VendorID "TYP2". Virtio 1.2, 4.2.2. */
const EXPECTED = [0x7472_6976, 2, 4, 0x3250_5954] as const;
const NAMES = ['MagicValue', 'Version', 'DeviceID', 'VendorID'] as const;

export const mmio: Lab = {
  number: 6,
  name: '06-mmio',
  title: 'MMIO against PIO',
  kind: 'assembly',
  machine: { protocol: 'multiboot' },
  checks: [
    endedByPowerOff(),
    {
      what: 'the registers were copied to 0x20000',
      fault: ({ machine }) => {
        const words = readWords(machine, COPY, EXPECTED.length);
        const wrong = EXPECTED.findIndex((value, i) => words[i] !== value);
        if (wrong < 0) return undefined;
        if (words.every((word) => word === 0))
          return 'There are only zeroes. A register of virtio-mmio answers to accesses of 32 bits; narrower ones read 0 (virtio 1.2, 4.2.2.2).';
        return `${NAMES[wrong]} at ${hex(COPY + 4 * wrong)} is ${hex(words[wrong]!)}, and the register holds ${hex(EXPECTED[wrong]!)}.`;
      },
    },
    {
      what: `that took ${REGISTERS} exits by MMIO`,
      fault: ({ statistics }) => {
        const exits = countOf(statistics.exits, 'mmio');
        if (exits === REGISTERS) return undefined;
        if (exits === 0) return 'There was none: the registers begin at 0xd0000000.';
        if (exits < REGISTERS) return `There were ${exits}: copy ${REGISTERS} registers of four bytes.`;
        return `There were ${exits}: each access is one, so read every register once, with mov eax, [esi].`;
      },
    },
    printed('virt\r\n', 'This is MagicValue as text; the skeleton prints it from the copy.'),
  ],
};
