/**
 * The labs' solutions on a KVM with hardware behind it: those that need it run nowhere else on many machines. Lab 5
 * is a device in TypeScript, for which the rig lacks a compiler; lab 10's answers are for the CPU in TypeScript.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../../../src/guests.ts';
import { checkLab } from '../../../src/labs/check.ts';
import { LABS } from '../../../src/labs/index.ts';
import { PATIENCE_S } from './support.ts';

for (const lab of LABS.filter(({ kind }) => kind === 'assembly')) {
  test(`lab solution ${lab.number}`, async () => {
    const file = join(packageRoot(), 'test/labs', `${lab.name}.bin`);
    assert.ok(existsSync(file), file);
    const { verdicts } = await checkLab({ ...lab, timeout: PATIENCE_S }, file, 'kvm');
    const faults = verdicts.filter(({ fault }) => fault !== undefined);
    assert.deepEqual(faults, []);
  });
}
