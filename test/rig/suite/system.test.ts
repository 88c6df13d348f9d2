/**
 * The guests of test/system on KVM: the processor does what the manuals say, and what test/system/*.expected has of them
 * for the CPU in TypeScript. Where this KVM's processor is QEMU's emulation, some checks are left out: see ../emulation.ts.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OTHERWISE } from '../emulation.ts';
import { isEmulated, root, runGuest, show, test } from './support.ts';

const FOLDER = join(root, 'test/system');

/** The name of a line's check. */
const nameOf = (line: string): string => line.replace(/: (ok|#|int ).*/, '');

/**
 * The one that sets breakpoints comes last, of all that the rig runs: QEMU's processors arm what a nested guest moves to
 * DR7 and disarm nothing at #VMEXIT (do_vmexit), and guests behind it get its #DB.
 */
const LAST = 'debug';
const names = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.bin'))
  .map((name) => name.replace('.bin', ''));
const guests = [...names.filter((name) => name !== LAST), LAST];

for (const guest of guests) {
  test(`system instructions: ${guest}`, async () => {
    const kernel = join(FOLDER, `${guest}.bin`);
    const result = await runGuest([
      ...['--kernel', kernel, '--protocol', 'flat', '--memory', '16M', '--portable'],
    ]);
    assert.equal(result.status, 0, show(result));
    const left = isEmulated ? (OTHERWISE[guest] ?? []).flatMap(({ checks }) => checks) : [];
    const counts = (line: string): boolean => !left.includes(nameOf(line));
    const expected = readFileSync(join(FOLDER, `${guest}.expected`), 'latin1').split('\n');
    const lines = result.stdout.split('\r\n');
    assert.equal(lines.map(nameOf).join('\n'), expected.map(nameOf).join('\n'), show(result));
    const wrong = lines.flatMap((line, i) =>
      line !== expected[i] && counts(line) ? [`${line}\n    expected ${expected[i]}`] : [],
    );
    assert.equal(wrong.length, 0, wrong.join('\n'));
  });
}
