/**
 * The ways in which vm/cpu executes an instruction against each other, also where no processor can judge: single steps
 * by plain evaluation against handlers of the interpreter, and against compiled code.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { generateCases } from './cases.ts';
import { describe as describeCase, differences } from './compare.ts';
import { EngineUnderTest, type How } from './engine.ts';
import { Case } from './records.ts';

/** Cases in all modes: two of every form. */
const COUNT = 3000;
/** Cases that differ before a test gives up. */
const SHOWN = 5;

let plain: EngineUnderTest;
// Makes all of the interpreter's handlers.
beforeAll(() => {
  plain = new EngineUnderTest({ how: 'plain' });
}, 60_000);

describe('plain evaluation', () => {
  it.each(['step', 'interp', 'jit'] as How[])('leaves the same as %s', (how) => {
    const other = new EngineUnderTest({ how });
    const cases = [...generateCases({ seed: 14, count: COUNT })];
    other.prepare(cases);
    const found: string[] = [];
    for (const c of cases) {
      // What is undefined must be the same, too.
      Object.assign(c.leeway, new Case().leeway);
      const differing = differences(c, other.run(c), plain.run(c));
      if (differing.length > 0) found.push(describeCase(c, differing));
      if (found.length === SHOWN) break;
    }
    expect(found.join('\n')).toBe('');
  });
});
