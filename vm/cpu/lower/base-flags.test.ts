/** What compiled code works out of flags by itself, against the base module's functions. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LazyFlags } from '../layout.ts';
import { HandlerMachine } from '../simd/testing.ts';
import { functionBody, ModuleBuilder } from '../wasm/module.ts';
import { emitCarryFlag } from './base-flags.ts';
import { Code } from './code.ts';

type Condition = (result: bigint, carries: bigint, how: number) => number;

function carryFlag(): Condition {
  const module = new ModuleBuilder();
  const code = new Code(3);
  emitCarryFlag(code, { result: 0, carries: 1, how: 2 });
  const signature = { params: ['i64', 'i64', 'i32'], results: ['i32'] } as const;
  const index = module.addFunction(signature, functionBody(code.locals, code.bytes.view(), code.hints));
  module.exportFunction('carry', index);
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.build()), {});
  return instance.exports['carry'] as Condition;
}

describe('CF on the spot', () => {
  it('is what condition2 gives, whatever has made the flags', () => {
    const onTheSpot = carryFlag();
    const called = new HandlerMachine([]).exports['condition2'] as Condition;
    const word = fc.oneof(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.constantFrom(0n, 1n, -1n),
    );
    // By size, whether lazy; EFLAGS bits are never lazy.
    const made = fc.oneof(
      fc.record({
        shift: fc.constantFrom(0, 32, 48, 56),
        lazy: fc.constantFrom(0, LazyFlags.sub, LazyFlags.add),
      }),
      fc.constant({ shift: 64, lazy: 0 }),
    );
    const replaced = fc.constantFrom(
      0,
      ...[0, 1, 2, 3].map((bits) => LazyFlags.replaced | (bits << LazyFlags.carry)),
    );
    fc.assert(
      fc.property(word, word, made, replaced, (result, carries, { shift, lazy }, bits) => {
        const how = shift | lazy | bits;
        expect(onTheSpot(result, carries, how)).toBe(called(result, carries, how));
      }),
      { numRuns: 5000 },
    );
  });
});
