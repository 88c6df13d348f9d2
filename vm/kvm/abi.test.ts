/** Compares every number of abi.ts with the C headers of the machine that the test runs on. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import * as abi from './abi.ts';

const directory = mkdtempSync(join(tmpdir(), 'type2-abi-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const probe = spawnSync('cc', ['-E', '-include', 'linux/kvm.h', '-x', 'c', '/dev/null'], {
  encoding: 'utf8',
});
const missing =
  probe.status === 0 ? '' : ' (skipped: needs a C compiler and linux/kvm.h: install gcc and linux-libc-dev)';

/** Lines `name value` that a C program prints for these expressions. */
function fromHeaders(expressions: readonly string[]): Map<string, number> {
  const source = [
    '#include <stdio.h>',
    '#include <stddef.h>',
    '#include <linux/kvm.h>',
    'int main(void) {',
    ...expressions.map((text) => `printf("%llu\\n", (unsigned long long)(${text}));`),
    'return 0; }',
  ].join('\n');
  writeFileSync(join(directory, 'abi.c'), source);
  execFileSync('cc', ['-o', join(directory, 'abi'), join(directory, 'abi.c')]);
  const lines = execFileSync(join(directory, 'abi'), { encoding: 'utf8' }).trim().split('\n');
  return new Map(expressions.map((text, i) => [text, Number(lines[i])]));
}

describe.skipIf(missing)(`KVM's binary interface${missing}`, () => {
  it('has the ioctl numbers, capabilities and exit reasons of linux/kvm.h', () => {
    const ours = new Map<string, number>([
      ...Object.entries(abi.IOCTL),
      ...Object.entries(abi.CAP),
      ...Object.entries(abi.KVM_EXIT).map(([name, value]): [string, number] => [`KVM_EXIT_${name}`, value]),
      ...Object.entries(abi).flatMap(([name, value]): [string, number][] =>
        name.startsWith('KVM_') && typeof value === 'number' ? [[name, value]] : [],
      ),
    ]);
    expect(Object.fromEntries(ours)).toEqual(Object.fromEntries(fromHeaders([...ours.keys()])));
    expect(ours.size).toBeGreaterThan(80);
  });

  it('has the structure sizes and field offsets of linux/kvm.h', () => {
    const ours = new Map<string, number>();
    for (const [name, layout] of Object.entries(abi.STRUCTS)) {
      ours.set(`sizeof(struct ${name})`, layout.size);
      for (const [field, offset] of Object.entries(layout.offset))
        ours.set(`offsetof(struct ${name}, ${field})`, offset);
    }
    expect(Object.fromEntries(ours)).toEqual(Object.fromEntries(fromHeaders([...ours.keys()])));
  });

  it('has kvm_run and its union where linux/kvm.h has them', () => {
    const ours = new Map<string, number>();
    for (const field of [
      'immediate_exit',
      'exit_reason',
      'if_flag',
      'cr8',
      'apic_base',
      'kvm_valid_regs',
      'kvm_dirty_regs',
    ] as const) {
      ours.set(`offsetof(struct kvm_run, ${field})`, abi.kvm_run.offset[field]);
    }
    const debugPath: Readonly<Record<string, string>> = { debug: 'debug.arch' };
    for (const [member, fields] of Object.entries(abi.kvm_run_exit)) {
      for (const [field, offset] of Object.entries(fields)) {
        ours.set(`offsetof(struct kvm_run, ${debugPath[member] ?? member}.${field})`, offset);
      }
    }
    expect(Object.fromEntries(ours)).toEqual(Object.fromEntries(fromHeaders([...ours.keys()])));
  });
});
