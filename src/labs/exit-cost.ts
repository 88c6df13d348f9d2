/**
 * Lab 8: what an exit costs, and how to have fewer of them.
 */
import { join } from 'node:path';
import { packageRoot } from '../guests.ts';
import { countOf, endedByPowerOff, type Lab } from './lab.ts';

const BLOCK_SIZE = 4096;
const EXITS_ALLOWED = 10;

/** What the recorder's hash comes to for the skeleton's block. */
const EXPECTED_HASH = Array.from({ length: BLOCK_SIZE }, (_, i) => (3 + 7 * i) & 0xff).reduce(
  (hash, byte) => (Math.imul(hash, 31) + byte) >>> 0,
  0,
);

export const exitCost: Lab = {
  number: 8,
  name: '08-exits',
  title: 'What an exit costs',
  kind: 'assembly',
  machine: {
    protocol: 'multiboot',
    devices: [{ path: join(packageRoot(), 'dist/src/labs/recorder.js') }],
  },
  checks: [
    endedByPowerOff(),
    {
      what: `the recorder gets ${BLOCK_SIZE} bytes, and the right ones`,
      fault: ({ machine }) => {
        const { count, hash } = machine.devices['recorder']!;
        if (count !== BLOCK_SIZE) return `It got ${count}.`;
        return hash === EXPECTED_HASH
          ? undefined
          : 'It got as many, but others: the block is at BLOCK (0x20000).';
      },
    },
    {
      what: `that took at most ${EXITS_ALLOWED} exits`,
      fault: ({ statistics }) => {
        const exits = countOf(statistics.exits, 'io');
        if (exits <= EXITS_ALLOWED) return undefined;
        return `It took ${exits}. Tell the recorder where the bytes are (RECORDER_ADDRESS) and how many (RECORDER_LENGTH), and let it fetch them: two exits.`;
      },
    },
  ],
};
