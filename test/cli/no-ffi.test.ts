/**
 * The TypeScript CPU needs no native code: a copy of the installed package without koffi boots Linux, and
 * says in one line why it isn't on KVM.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';

const folder = mkdtempSync(join(tmpdir(), 'type2-no-ffi-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function copy(path: string): void {
  cpSync(join(packageRoot(), path), join(folder, path), { recursive: true });
}

it('boots Linux with koffi absent from node_modules', () => {
  mkdirSync(join(folder, 'node_modules'));
  for (const path of ['dist/bin', 'guests', 'package.json']) copy(path);
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [join(folder, 'dist/bin/main.cjs'), 'run', ...args], {
      encoding: 'utf8',
      timeout: 60_000,
      input: '',
    });
  const { status, stdout, stderr } = run('--append', 'console=ttyS0 quiet type2.exec="uname -m"');
  expect(stderr).toMatch(/^type2: kvm: .* — running on jit\n$/);
  expect(stdout).toContain('x86_64');
  expect(status).toBe(0);
  const kvm = run('--engine', 'kvm');
  expect(kvm.stderr).toMatch(/no engine works here: kvm/);
  expect(kvm.status).toBe(1);
}, 90_000);
