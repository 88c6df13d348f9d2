/**
 * Lab 5: trap and emulate: a device in TypeScript. The guest is given; what is checked is the device.
 */
import { join } from 'node:path';
import { packageRoot } from '../guests.ts';
import { countOf, type Evidence, endedByPowerOff, type Lab, quote } from './lab.ts';

/** What the guest prints where nobody answers. */
const NOBODY = 'FFFF FF';
const FIRST = 'C8F0 05';
const SECOND = '2057 06';

/** Registers of the learner's device, whatever its name: devices of one's own come last. */
function stateOf({ machine }: Evidence): Readonly<Record<string, unknown>> | undefined {
  const names = Object.keys(machine.devices);
  return machine.devices[names.at(-1) ?? ''];
}

export const device: Lab = {
  number: 5,
  name: '05-device',
  title: 'Trap and emulate: a device in TypeScript',
  kind: 'device',
  machine: { kernel: join(packageRoot(), 'guests/labs/checksum.bin'), protocol: 'flat' },
  checks: [
    endedByPowerOff({ error: 'The device threw something.' }),
    {
      what: `the checksum of “abcde” is ${FIRST}`,
      fault: ({ output }) => {
        const [line = ''] = output.split('\r\n');
        if (line === FIRST) return undefined;
        if (line === NOBODY)
          return 'All ones come from ports where nobody is: the device has to be at port 0x300.';
        const [checksum, count] = line.split(' ');
        if (checksum === 'F0C8') return 'The bytes are swapped: sum2 is the high one.';
        if (checksum === 'C8F0')
          return `The checksum is right, but the count of bytes reads ${count}, not 05.`;
        if (checksum === '0000') return 'The device says 0000: see the TODOs of read and write.';
        return `The device says ${quote(line)}. After each byte: first sum1 = (sum1 + value) % 255, then sum2 = (sum2 + sum1) % 255.`;
      },
    },
    {
      what: `after a write to 0x306, the checksum of “abcdef” is ${SECOND}`,
      fault: ({ output }) => {
        const [, line = ''] = output.split('\r\n');
        if (line === SECOND) return undefined;
        const first = output.split('\r\n')[0];
        if (first !== FIRST) return 'First things first.';
        return `The device says ${quote(line)}: a write to offset 6 clears all three registers.`;
      },
    },
    {
      what: 'its registers are in the shared state of the machine',
      fault: (evidence) => {
        if (!evidence.output.includes(SECOND)) return 'First things first.';
        const state = stateOf(evidence);
        const used = Object.entries(state ?? {}).some(
          ([name, value]) => name !== 'timer.deadline' && value !== 0 && value !== null,
        );
        if (used) return undefined;
        return 'They are all zero at the end: what the device remembers has to be in `registers`. A variable of the module exists once a thread, and two vCPUs would see two devices.';
      },
    },
    {
      what: 'each access was an exit',
      fault: ({ statistics }) => {
        const exits = countOf(statistics.exits, 'io');
        return exits >= 16 ? undefined : `There were ${exits} exits by port I/O.`;
      },
    },
  ],
};
