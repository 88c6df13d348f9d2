/**
 * Every lab on every engine: what the learner begins with fails with something to go by, and the solution passes.
 * The built command line, used as a learner would, and misused.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';
import { LABS } from '../../src/labs/index.ts';
import type { Lab } from '../../src/labs/lab.ts';
import { probeDriver } from '../../vm/drivers.ts';
import { ENGINE_NAMES } from '../../vm/engine.ts';

const root = packageRoot();
// Worker threads are compiled modules, so the machine has to be.
const compiled = pathToFileURL(join(root, 'dist/src/labs/check.js')).href;
const { checkLab } = (await import(compiled)) as typeof import('../../src/labs/check.ts');

const folder = mkdtempSync(join(tmpdir(), 'type2-lab-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const EXTENSIONS = { assembly: '.bin', device: '.ts', answers: '.json' } as const;
const skeleton = (lab: Lab): string => join(root, 'guests/labs/start', lab.name + EXTENSIONS[lab.kind]);
const solution = (lab: Lab): string => join(root, 'test/labs', lab.name + EXTENSIONS[lab.kind]);

const { support } = await probeDriver('kvm');
const hasNasm = spawnSync('nasm', ['-v']).error === undefined;

/** Why a lab can't be run on an engine here; empty if it can. */
function obstacle(lab: Lab, engine: string): string {
  if (engine !== 'kvm') return '';
  if (support.capabilities === undefined) return support.reason;
  return support.usable ? '' : (lab.needsHardware ?? '');
}

describe.each(ENGINE_NAMES)('on %s', (engine) => {
  for (const lab of LABS) {
    const reason = obstacle(lab, engine);
    const title = `lab ${lab.number}, ${lab.title}${reason === '' ? '' : ` (skipped: ${reason})`}`;
    describe.skipIf(reason !== '')(title, () => {
      // That an empty file of answers is wrong is shown by the command in its page: test/docs runs it.
      it.skipIf(lab.kind === 'answers')(
        'what one begins with fails, and says why',
        async () => {
          const { verdicts, evidence } = await checkLab(lab, skeleton(lab), engine);
          const faults = verdicts.filter(({ fault }) => fault !== undefined);
          expect(faults.length).toBeGreaterThan(0);
          for (const { fault } of faults) expect(fault).toMatch(/^.{10,}[.?]$/s);
          expect(evidence.outcome.kind).toBe('power-off');
        },
        60_000,
      );

      it('the solution passes', async () => {
        const { verdicts, evidence } = await checkLab(lab, solution(lab), engine);
        const wrong = verdicts.filter(({ fault }) => fault !== undefined);
        if (lab.kind !== 'answers' || engine !== 'kvm') return expect(wrong).toEqual([]);
        // What a boot's figures are depends on who has the timers: in KVM's case the kernel.
        const { devices, exits } = evidence.statistics;
        const [busiest] = Object.entries(devices).sort(([, a], [, b]) => b - a)[0]!;
        const answers = { ...evidence.answers, busiest, mmioExits: exits['mmio'] };
        for (const check of lab.checks) expect(check.fault({ ...evidence, answers })).toBeUndefined();
      }, 60_000);
    });
  }
});

describe('the labs', () => {
  it('have numbers in order, and each its page', () => {
    expect(LABS.map(({ number }) => number)).toEqual(LABS.map((_, i) => i + 1));
    const pages = readdirSync(join(root, 'docs/labs')).filter((file) => /^\d/.test(file));
    expect(pages.sort()).toEqual(LABS.map(({ name }) => `${name}.md`));
    for (const lab of LABS) {
      const page = readFileSync(join(root, 'docs/labs', `${lab.name}.md`), 'utf8');
      expect(page).toMatch(new RegExp(`^# Lab ${lab.number}: ${lab.title}\n`));
    }
  });

  it.skipIf(!hasNasm)('have solutions that are built from their sources (needs nasm)', () => {
    for (const { name } of LABS.filter(({ kind }) => kind === 'assembly')) {
      const output = join(folder, `${name}.bin`);
      const source = join(root, 'test/labs', `${name}.asm`);
      const args = ['-i', `${join(root, 'guests/labs')}/`, '-f', 'bin', '-w+all', '-o', output, source];
      expect(spawnSync('nasm', args, { encoding: 'utf8' }).stderr).toBe('');
      expect(readFileSync(output).equals(readFileSync(join(root, 'test/labs', `${name}.bin`))), name).toBe(
        true,
      );
    }
  });
});

describe('type2 lab', () => {
  const lab = (args: readonly string[], environment: NodeJS.ProcessEnv = process.env) =>
    spawnSync(process.execPath, [join(root, 'dist/bin/main.cjs'), 'lab', ...args], {
      encoding: 'utf8',
      cwd: folder,
      env: environment,
    });

  it('lists, shows, starts and checks', () => {
    expect(lab(['list']).stdout.trim().split('\n')).toHaveLength(LABS.length);
    expect(lab(['show', '3']).stdout).toMatch(/^# Lab 3: A page table by hand\n/);
    const start = lab(['start', '1']);
    expect(start.stdout).toBe('01-hello.asm\nmachine.inc\n');
    expect(start.stderr).toMatch(/type2 lab check 1/);
    const again = lab(['start', '1']);
    expect(again.stderr).toMatch(/is there already/);
    expect(again.status).toBe(2);
  });

  it.skipIf(!hasNasm)('assembles what it checks (needs nasm)', () => {
    const source = join(folder, '01-hello.asm');
    copyFileSync(join(root, 'guests/labs/start/01-hello.asm'), source);
    const begun = lab(['check', '1', '--engine', 'interp']);
    expect(begun.stdout).toMatch(/ no {2}it prints “Hello, port”\n {6}It printed nothing/);
    expect(begun.status).toBe(1);
    copyFileSync(join(root, 'test/labs/01-hello.asm'), source);
    const done = lab(['check', '01', source]);
    expect(done.stdout).toMatch(/All is right\.\n$/);
    expect(done.status).toBe(0);
    writeFileSync(source, 'mov ax, nothing\n');
    const wrong = lab(['check', '1']);
    expect(wrong.stderr).toMatch(/01-hello\.asm:1: error: .*nothing[\s\S]*did not accept it/);
    expect(wrong.status).toBe(2);
  });

  it('says how to get nasm where there is none', () => {
    const { stderr, status } = lab(['check', '1', join(root, 'test/labs/01-hello.asm')], { PATH: folder });
    expect(stderr).toMatch(/nasm.*can't be run[\s\S]*apt-get install nasm[\s\S]*\.bin/);
    expect(status).toBe(2);
  });

  it.each([
    [['check', '99'], /no lab '99'[\s\S]*1 to 10/],
    [['check', '2', 'nothing.asm'], /nothing\.asm: no such file[\s\S]*type2 lab start 2/],
    [['check'], /missing required argument 'number'/],
    [['do', '1'], /unknown command 'do'/],
    [['check', '10', join(root, 'package.json')], /a string `append`/],
  ])('%j is wrong usage: status 2, one reason', (args, message) => {
    const { stderr, status } = lab(args);
    expect(stderr).toMatch(message);
    expect(status).toBe(2);
  });
});
