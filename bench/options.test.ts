import { describe, expect, it } from 'vitest';
import { chosenParts, list, parseOptions } from './options.ts';

describe('options', () => {
  it('have defaults', () => {
    expect(parseOptions({})).toEqual({ rounds: undefined, short: false, engines: ['kvm', 'jit', 'interp'] });
  });

  it('are taken in the order of what there is', () => {
    expect(parseOptions({ rounds: '3', engine: 'interp,kvm' })).toMatchObject({
      rounds: 3,
      engines: ['kvm', 'interp'],
    });
    expect(list('--only', undefined, ['a', 'b'])).toEqual(['a', 'b']);
  });

  it('are refused with what is allowed', () => {
    expect(() => parseOptions({ rounds: '0' })).toThrow('--rounds 0: expected a whole number from 1 to 1000');
    expect(() => parseOptions({ rounds: '' })).toThrow('--rounds');
    expect(() => parseOptions({ engine: 'xen' })).toThrow(
      "--engine: there is no 'xen': there are kvm, jit, interp",
    );
    expect(() => chosenParts(['exit'], ['exits', 'boot'])).toThrow(
      "there is no 'exit': there are exits, boot",
    );
    expect(chosenParts([], ['exits', 'boot'])).toEqual(['exits', 'boot']);
  });
});
