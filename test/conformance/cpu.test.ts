/**
 * The CPU in TypeScript against the host's processor: a fixed sample of cases, a few of every instruction form.
 * main.ts runs millions.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MAPS } from '../../vm/cpu/isa/table.ts';
import { generateBytes } from './bytes.ts';
import { generateCases, INTEGER_GROUPS, NOT_OFFERED, VECTOR_GROUPS, X87_GROUPS } from './cases.ts';
import { compare } from './compare.ts';
import { EngineUnderTest } from './engine.ts';
import { Oracle } from './oracle.ts';
import { Kind, type Mode } from './records.ts';

const unavailable = Oracle.unavailable();
const title = unavailable === undefined ? 'vm/cpu' : `vm/cpu (skipped: ${unavailable})`;

/** Cases in each mode: ten of every form. */
const COUNT = 5000;

const hasX87 = MAPS[0]![0xd8] !== undefined;

let engine: EngineUnderTest;
// Makes all of the interpreter's handlers.
beforeAll(() => {
  engine = new EngineUnderTest();
}, 60_000);

describe.skipIf(unavailable !== undefined)(title, () => {
  const oracle = unavailable === undefined ? new Oracle() : (undefined as never);
  afterAll(() => oracle?.close());

  it.each([64, 32, 16] as const)(
    'executes integer instructions as the processor does in %i-bit code',
    (mode) => {
      if (!oracle.supports(mode)) return;
      const cases = generateCases({ seed: 7, count: COUNT, groups: INTEGER_GROUPS, modes: [mode] });
      const report = compare(oracle, engine, cases);
      expect(report.differing, report.format()).toBe(0);
    },
  );

  it.each(['interp', 'jit'] as const)('does so at full speed: %s', (how) => {
    const cases = generateCases({ seed: 11, count: COUNT / 2, groups: INTEGER_GROUPS });
    const report = compare(oracle, new EngineUnderTest({ how }), cases);
    expect(report.differing, report.format()).toBe(0);
  });

  // Intel's processors look at pages first, and at alignment last.
  it.runIf(oracle?.vendor === 'AuthenticAMD')('checks the alignment of accesses as those of AMD do', () => {
    const report = compare(oracle, engine, generateCases({ seed: 17, count: COUNT, aligned: true }));
    expect(report.differing, report.format()).toBe(0);
  });

  it('does so by plain evaluation', () => {
    const cases = generateCases({ seed: 15, count: COUNT, groups: INTEGER_GROUPS });
    const report = compare(oracle, new EngineUnderTest({ how: 'plain' }), cases);
    expect(report.differing, report.format()).toBe(0);
  });

  it('takes the same bytes for instructions, of the same length', () => {
    const cases = [...generateBytes({ seed: 10, count: 8000 })];
    const report = compare(
      oracle,
      engine,
      cases.filter((c) => hasX87 || !/(^| )(9b|d[89a-f])( |$)/.test(c.form)),
    );
    expect(report.differing, report.format()).toBe(0);
  });

  it.each([32, 16] as const)('looks the same to %i-bit code under a 32-bit kernel', (mode) => {
    if (!oracle.supports(mode)) return;
    const groups = INTEGER_GROUPS.filter((group) => group !== 'far');
    const legacy = new EngineUnderTest({ paging: 'legacy' });
    const report = compare(
      oracle,
      legacy,
      generateCases({ seed: 8, count: COUNT / 2, groups, modes: [mode] }),
    );
    expect(report.differing, report.format()).toBe(0);
  });
});

describe.skipIf(unavailable !== undefined)(`${title}: x87, MMX and SSE`, () => {
  const oracle = unavailable === undefined ? new Oracle() : (undefined as never);
  afterAll(() => oracle?.close());

  it('executes vector instructions as the processor does', () => {
    const report = compare(oracle, engine, generateCases({ seed: 12, count: COUNT, groups: VECTOR_GROUPS }));
    expect(report.differing, report.format()).toBe(0);
  });

  it('does so by plain evaluation', () => {
    const cases = generateCases({ seed: 16, count: COUNT, groups: VECTOR_GROUPS });
    const report = compare(oracle, new EngineUnderTest({ how: 'plain' }), cases);
    expect(report.differing, report.format()).toBe(0);
  });

  // What AMD's processors do in the corners of x87 that no manual describes is not known here.
  it.skipIf(oracle?.vendor !== 'GenuineIntel')('executes x87 instructions as the processor does', () => {
    const cases = generateCases({ seed: 13, count: 2 * COUNT, groups: X87_GROUPS });
    const report = compare(oracle, engine, cases);
    expect(report.differing, report.format()).toBe(0);
  });
});

describe('vm/cpu', () => {
  it.each([64, 32, 16] as Mode[])('has no instructions in %i-bit code that CPUID does not offer', (mode) => {
    for (const c of generateCases({ seed: 9, count: 500, groups: NOT_OFFERED, modes: [mode] })) {
      const { kind, trap } = engine.run(c);
      expect([kind, trap], `${c.form}, seed ${c.seed}`).toEqual([Kind.trap, 6]);
    }
  });
});
