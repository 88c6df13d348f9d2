/**
 * The labs' solutions on a KVM with hardware behind it: those that need it run nowhere else on many machines. Lab 5
 * is a device in TypeScript, for which the rig lacks a compiler; lab 10's answers are for the CPU in TypeScript.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../../src/guests.ts';
import { checkLab } from '../../../src/labs/check.ts';
import { LABS } from '../../../src/labs/index.ts';
import { PATIENCE_S, stock, test } from './support.ts';

/** Lab 7's guest waits a second for the device thread, which under emulation is still loading its code then. */
const HASTY = 7;

for (const lab of LABS.filter(({ kind }) => kind === 'assembly')) {
  const skip = lab.number === HASTY && stock !== undefined ? 'too hasty for an emulated host' : false;
  test(`lab solution ${lab.number}`, { skip }, async () => {
    const file = join(packageRoot(), 'test/labs', `${lab.name}.bin`);
    assert.ok(existsSync(file), file);
    const { verdicts } = await checkLab({ ...lab, timeout: PATIENCE_S }, file, 'kvm');
    const faults = verdicts.filter(({ fault }) => fault !== undefined);
    assert.deepEqual(faults, []);
  });
}
