/**
 * Devices of the user's own on the built command line: on every engine, in TypeScript and in JavaScript, with two
 * vCPUs, and everything that can be wrong with them.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';
import { probeDriver } from '../../vm/drivers.ts';
import { ENGINE_NAMES } from '../../vm/engine.ts';

const folder = mkdtempSync(join(tmpdir(), 'type2-device-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, contents: string | readonly number[]): string {
  writeFileSync(join(folder, name), typeof contents === 'string' ? contents : Uint8Array.from(contents));
  return name;
}

/** 16-bit code: mov dx, 0x300; mov al, 17; out dx, al; mov al, 4; out dx, al; in al, dx; out 0xf4, al; hlt */
const KERNEL = file('kernel.bin', [0xba, 0x00, 0x03, 0xb0, 17, 0xee, 0xb0, 4, 0xee, 0xec, 0xe6, 0xf4, 0xf4]);
const STATUS = (21 << 1) | 1;

function run(...args: string[]): { status: number | null; stderr: string } {
  const common = ['--quiet', '--memory', '16M', '--timeout', '30', '--kernel', KERNEL, '--protocol', 'flat'];
  const main = join(packageRoot(), 'dist/bin/main.cjs');
  return spawnSync(process.execPath, [main, 'run', ...common, '--debug-exit', ...args], {
    encoding: 'utf8',
    cwd: folder,
  });
}

const TYPESCRIPT = file(
  'adder.ts',
  `import type { DeviceModule } from 'type2';
  import { add } from './arithmetic.ts';
  const adder: DeviceModule<'sum'> = {
    name: 'adder', port: 0x300, length: 4, registers: ['sum'],
    create: ({ registers }) => ({
      read: () => registers.sum,
      write(_offset: number, _size: number, value: number): void { registers.sum = add(registers.sum, value); },
    }),
  };
  export default adder;`,
);
file('arithmetic.ts', 'export const add = (a: number, b: number): number => a + b;');

const device = (body: string, head = "name: 'a', port: 0x300, length: 4"): string =>
  `export default { ${head}, ${body} };`;
const JAVASCRIPT = file(
  'adder.mjs',
  device(
    'create: ({ registers: r }) => ({ read: () => r.sum, write: (o, s, v) => { r.sum += v; } })',
    "name: 'adder', mmio: 0xd0100000, port: 0x300, length: 4, irq: 10, registers: ['sum']",
  ),
);

const { support } = await probeDriver('kvm');

describe.each(ENGINE_NAMES)('on %s', (engine) => {
  const reason = engine === 'kvm' && support.capabilities === undefined ? support.reason : '';
  it.skipIf(reason !== '').each([
    ['in TypeScript, with an import of its own', TYPESCRIPT],
    ['in JavaScript, at a port and an address', JAVASCRIPT],
    ['twice, under two names', `${JAVASCRIPT},port=0x310,mmio=0xd0200000,irq=11,name=other`],
  ])(`a device %s${reason}`, (_what, argument) => {
    const more = argument.includes('name=') ? ['--device', JAVASCRIPT] : [];
    const { status, stderr } = run(
      '--engine',
      engine,
      '--cpus',
      '2',
      ...more,
      '--device',
      argument,
      '--stats',
    );
    expect(stderr).toMatch(/adder +3 /);
    expect(status).toBe(STATUS);
  });

  it.skipIf(reason !== '')(`one that throws ends the run, and names its line${reason}`, () => {
    const thrower = file(
      'thrower.ts',
      `export default {\n  name: 'a', port: 0x300, length: 4,\n  create: () => ({\n    read: (): number => 0,
    write() {\n      throw new Error('no');\n    },\n  }),\n};\n`,
    );
    const { status, stderr } = run('--engine', engine, '--device', thrower);
    expect(stderr).toMatch(
      /^type2: device a \(.*thrower\.ts:6:\d+\), write of 1 byte\(s\) at offset 0: Error: no\n$/,
    );
    expect(status).toBe(1);
  });
});

describe('a device is refused', () => {
  it.each([
    ['nothing.ts', /nothing\.ts: no such file/],
    [KERNEL, /expected a file of TypeScript/],
    [`${JAVASCRIPT},port=0x3f8`, /ports 0x3f8–0x3fb: serial0 \(0x3f8–0x3ff\) is there[\s\S]*port=0x300/],
    [`${JAVASCRIPT},port=0x40`, /the interval timer is there/],
    [`${JAVASCRIPT},port=0xfffe`, /not between 0 and 0xffff/],
    [`${JAVASCRIPT},mmio=0xd0000000`, /virtio-rng .*is there/],
    [`${JAVASCRIPT},mmio=0xd0003000`, /the virtio-mmio devices is there/],
    [`${JAVASCRIPT},mmio=0x1000`, /RAM is there/],
    [`${JAVASCRIPT},mmio=0xfffffffe`, /not below 4 GiB/],
    [`${JAVASCRIPT},irq=4`, /interrupt 4 is the machine's[\s\S]*free: 1, 3, 6/],
    [`${JAVASCRIPT},irq=5`, /interrupt 5 is virtio device 0's/],
    [`${JAVASCRIPT},irq=24`, /expected 1 to 23/],
    [`${JAVASCRIPT},name=serial0`, /a device of that name already[\s\S]*name=/],
    [`${JAVASCRIPT},prt=4`, /'prt=4' is not known here/],
    [`${JAVASCRIPT},port=x`, /'x' is no number/],
    [file('empty.mjs', 'export const a = 1;'), /no default export that is a device/],
    [file('nameless.mjs', device('create() {}', 'length: 1')), /`name` has to be/],
    [file('endless.mjs', device('create() {}', "name: 'a'")), /`length` has to be/],
    [file('idle.mjs', device('x: 1')), /`create` has to be a function/],
    [file('twice.mjs', device("registers: ['a', 'a'], create() {}")), /two registers or tables 'a'/],
    [file('nowhere.mjs', device('create() {}', "name: 'a', length: 1")), /neither a port nor an address/],
    [file('lost.mjs', "import './gone.js'; export default {};"), /Cannot find module .*gone\.js/],
    [file('broken.mjs', 'export default {'), /SyntaxError[\s\S]*node --check/],
    [file('broken.ts', 'export default {\n  a: }'), /broken\.ts: /],
  ])('%s: status 2, one reason', (argument, message) => {
    const { status, stderr } = run('--engine', 'interp', '--device', argument);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/unexpected error/);
    expect(status).toBe(2);
  });
});
