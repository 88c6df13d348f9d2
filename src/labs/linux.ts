/**
 * Lab 10: boot Linux and read its exits. The learner's file holds kernel parameters, and what the statistics of a
 * boot with them say.
 */
import { countOf, type Evidence, endedByPowerOff, type Lab, quote } from './lab.ts';

const SERIAL_ACCESSES_ALLOWED = 1000;
/** How far off an answer may be, as a share: no two boots are quite the same. */
const TOLERANCE = 0.1;

function busiest({ statistics }: Evidence): [string, number] {
  const [first = ['', 0] as [string, number]] = Object.entries(statistics.devices).sort(
    ([, a], [, b]) => b - a,
  );
  return first;
}

export const linux: Lab = {
  number: 10,
  name: '10-linux',
  title: 'Boot Linux and read its exits',
  kind: 'answers',
  machine: { guest: 'linux-x86_64', memory: '128M' },
  timeout: 120,
  needsHardware: 'it knows no SSE, so Linux does not run on it',
  checks: [
    endedByPowerOff({
      timeout: 'With type2.exec="…" in `append` the guest runs the commands and switches itself off.',
    }),
    {
      what: 'the guest prints its release, as `uname -r` does',
      fault: ({ output, answers }) =>
        /^6\.1\.\d+-type2\r?$/m.test(output)
          ? undefined
          : `It did not, with \`append\` being ${quote(String(answers['append']))}: use console=ttyS0 and type2.exec="uname -r".`,
    },
    {
      what: `it needs fewer than ${SERIAL_ACCESSES_ALLOWED} accesses to the serial port`,
      fault: ({ statistics }) => {
        const accesses = countOf(statistics.devices, 'serial0');
        if (accesses < SERIAL_ACCESSES_ALLOWED) return undefined;
        return `It made ${accesses}: each character that the kernel prints costs two. Which kernel parameter keeps it from printing?`;
      },
    },
    {
      what: '`busiest` names the device with the most accesses',
      fault: (evidence) => {
        const [name, count] = busiest(evidence);
        const answer = evidence.answers['busiest'];
        if (answer === name) return undefined;
        const had = countOf(evidence.statistics.devices, String(answer));
        return had > 0
          ? `${answer} had ${had} in this boot, and another had ${count}.`
          : `${quote(String(answer ?? ''))} had none. The second table of \`type2 run --stats\` tells, for a boot with your parameters.`;
      },
    },
    {
      what: '`mmioExits` says how many exits were accesses to memory that is a device',
      fault: ({ statistics, answers }) => {
        const exits = countOf(statistics.exits, 'mmio');
        const answer = answers['mmioExits'];
        if (typeof answer !== 'number') return `\`mmioExits\` is ${quote(String(answer))}: write a number.`;
        return Math.abs(answer - exits) <= exits * TOLERANCE
          ? undefined
          : `It was not ${answer} in this boot. The first table of \`type2 run --stats\` tells: the line \`mmio\`.`;
      },
    },
  ],
};
