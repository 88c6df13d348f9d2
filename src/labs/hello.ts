/**
 * Lab 1: hello by port I/O.
 */
import { countOf, endedByPowerOff, type Lab, printed } from './lab.ts';

const TEXT = 'Hello, port\r\n';
/** What the line status register reads when the transmitter is empty: the mistake of printing AL after `in`. */
const LINE_STATUS = '`';

export const hello: Lab = {
  number: 1,
  name: '01-hello',
  title: 'Hello by port I/O',
  kind: 'assembly',
  machine: { protocol: 'flat' },
  checks: [
    endedByPowerOff({
      timeout: 'Is the wait for the transmitter looking at bit 5 (TRANSMIT_READY) of port 0x3fd?',
    }),
    printed(TEXT, (output) => {
      if (output === '')
        return 'Each character goes to port COM1_DATA (0x3f8): mov dx, COM1_DATA / out dx, al.';
      if (output.includes(LINE_STATUS))
        return 'These are line status values: `in al, dx` has overwritten the character in al. Keep it in ah.';
      if (TEXT.startsWith(output)) return 'It stops early: does the loop go on to the next character?';
      return 'The text of the skeleton should come out unchanged, one byte after the other.';
    }),
    {
      what: 'it waits for the transmitter before each character',
      fault: ({ statistics }) => {
        const accesses = countOf(statistics.devices, 'serial0');
        if (accesses >= 2 * TEXT.length) return undefined;
        return `There were ${accesses} accesses to the serial port for ${TEXT.length} characters. A real UART drops what comes while it is busy: read COM1_STATUS before each write.`;
      },
    },
  ],
};
