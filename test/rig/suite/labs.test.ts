/** The teaching guests say what they should and switch themselves off. */
import assert from 'node:assert/strict';
import { bundledGuests } from '../../../src/guests.ts';
import { runGuest, show, test } from './support.ts';

for (const [name, guest] of bundledGuests()) {
  if (guest.expect === undefined) continue;
  test(`lab ${name}`, async () => {
    const result = await runGuest(['--guest', name, '--memory', '16M', '--cpus', String(guest.cpus ?? 1)]);
    assert.equal(result.status, 0, show(result));
    assert.ok(result.stdout.includes(guest.expect!), show(result));
  });
}
