import { describe, expect, it } from 'vitest';
import type { TestEvent } from './reporter.ts';
import { Verdicts } from './verdicts.ts';

const A = 'suite/a.test.js';
const B = 'suite/b.test.js';

/** One boot: files and tests as they began, each with how it ended; what has no end was running when the rig stopped. */
function boot(verdicts: Verdicts, story: readonly string[], end?: string): void {
  for (const line of story) {
    const [name = '', kind = ''] = line.split(' ');
    const take = (event: TestEvent['kind']): void =>
      verdicts.take({ kind: event, name: name.endsWith('.js') ? `/type2/${name}` : name, text: kind });
    if (kind !== 'crashed') take('begin');
    if (kind === 'crashed') take('fail');
    else if (kind !== '') take(kind as TestEvent['kind']);
  }
  verdicts.endOfBoot(end);
}

const summary = (verdicts: Verdicts): Record<string, unknown> => ({
  left: verdicts.left,
  done: verdicts.done,
  failed: verdicts.failed.map(({ name }) => name),
  recovered: verdicts.recovered.map(({ name }) => name),
});

describe('verdicts over several boots of the rig', () => {
  it('need one boot when nothing goes wrong', () => {
    const verdicts = new Verdicts([A, B]);
    boot(verdicts, [A, 'one pass', 'two skip', B, 'three pass']);
    expect(summary(verdicts)).toEqual({ left: [], done: ['one', 'two', 'three'], failed: [], recovered: [] });
    expect([verdicts.count('pass'), verdicts.count('skip')]).toEqual([2, 1]);
  });

  it('run a failed test once more, and nothing else', () => {
    const verdicts = new Verdicts([A, B]);
    boot(verdicts, [A, 'one fail', 'two pass', B, 'three pass']);
    expect(summary(verdicts)).toEqual({ left: [A], done: ['two', 'three'], failed: [], recovered: [] });
    boot(verdicts, [A, 'one pass']);
    expect(summary(verdicts)).toMatchObject({ left: [], failed: [], recovered: ['one'] });
  });

  it('count a test as failed that fails twice', () => {
    const verdicts = new Verdicts([A]);
    boot(verdicts, [A, 'one fail', 'two pass']);
    boot(verdicts, [A, 'one fail']);
    expect(summary(verdicts)).toEqual({ left: [], done: ['two', 'one'], failed: ['one'], recovered: [] });
  });

  it('go on where the rig stood still', () => {
    const verdicts = new Verdicts([A, B]);
    boot(verdicts, [A, 'one pass', B, 'two pass', 'three'], 'silent');
    expect(summary(verdicts)).toEqual({ left: [B], done: ['one', 'two'], failed: [], recovered: [] });
    boot(verdicts, [B, 'three'], 'silent');
    // What stands behind it has not been run yet.
    expect(summary(verdicts)).toEqual({
      left: [B],
      done: ['one', 'two', 'three'],
      failed: ['three'],
      recovered: [],
    });
    boot(verdicts, [B, 'four pass']);
    expect(summary(verdicts)).toMatchObject({ left: [], failed: ['three'] });
    expect(verdicts.failed[0]!.reasons).toEqual(['silent', 'silent']);
  });

  it('run a file again whole that stood still between its tests, or crashed', () => {
    const verdicts = new Verdicts([A, B]);
    boot(verdicts, [A, 'one pass', B, 'two pass', `${B} crashed`]);
    expect(summary(verdicts)).toEqual({ left: [B], done: ['one'], failed: [], recovered: [] });
    boot(verdicts, [B], 'silent');
    expect(summary(verdicts)).toMatchObject({ left: [], failed: [B] });
    const others = new Verdicts([A, B]);
    boot(others, [A], 'silent');
    boot(others, [A, 'one pass', B, 'two pass', `${B} pass`]);
    expect(summary(others)).toEqual({ left: [], done: ['one', 'two'], failed: [], recovered: [A] });
  });

  it('blame the first file when the rig never came so far', () => {
    const verdicts = new Verdicts([A, B]);
    boot(verdicts, [], 'panicked');
    expect(summary(verdicts)).toEqual({ left: [A, B], done: [], failed: [], recovered: [] });
    boot(verdicts, [], 'panicked');
    expect(summary(verdicts)).toMatchObject({ left: [B], failed: [A] });
  });

  it('notice a verdict that has not come through', () => {
    const verdicts = new Verdicts([A, B]);
    boot(verdicts, [A, 'one', B, 'two pass', 'three']);
    expect(summary(verdicts)).toEqual({ left: [A, B], done: ['two'], failed: [], recovered: [] });
    boot(verdicts, [A, 'one pass', B, 'three pass']);
    expect(summary(verdicts)).toMatchObject({ left: [], failed: [], recovered: ['one', 'three'] });
  });

  it('refuse tests of none of the files', () => {
    expect(() => new Verdicts([A]).take({ kind: 'begin', name: 'x' })).toThrow(RangeError);
  });
});
