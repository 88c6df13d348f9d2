/** Device state: layouts, the saved form, and the lock between threads. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeviceState, defineState, Lock, type SavedState, SavedStateError, StateAllocator } from './state.ts';
import { onThread } from './testing/threads.ts';

const LAYOUT = defineState({ control: 1, fifo: 4, status: 1 }, { deadline: 1, times: 2 });
const json = (saved: SavedState): SavedState => JSON.parse(JSON.stringify(saved)) as SavedState;

describe('layout', () => {
  it('gives every register its own place', () => {
    expect(LAYOUT.word).toEqual({ control: 0, fifo: 1, status: 5 });
    expect(LAYOUT.double).toEqual({ deadline: 0, times: 1 });
    const state = DeviceState.alone(LAYOUT);
    expect(state.words.length).toBe(6);
    expect(state.doubles.length).toBe(3);
  });

  it('refuses a name for two registers, which the saved form could not tell apart', () => {
    expect(() => defineState({ control: 1 }, { control: 1 })).toThrow(/'control'/);
  });

  it('may be empty', () => {
    const state = DeviceState.alone(defineState({}));
    expect(state.save()).toEqual({});
    state.restore({});
  });
});

describe('saved form', () => {
  it('brings back every register through JSON', () => {
    const number = fc.double({ noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { minLength: 6, maxLength: 6 }),
        fc.array(fc.oneof(number, fc.constant(Number.POSITIVE_INFINITY)), { minLength: 3, maxLength: 3 }),
        (words, doubles) => {
          const state = DeviceState.alone(LAYOUT);
          state.words.set(words);
          // JSON has no negative zero.
          state.doubles.set(doubles.map((value) => value + 0));
          const copy = DeviceState.alone(LAYOUT);
          copy.restore(json(state.save()));
          expect([...copy.words]).toEqual(words);
          expect([...copy.doubles]).toEqual([...state.doubles]);
        },
      ),
    );
  });

  it('names registers as the layout does', () => {
    const state = DeviceState.alone(LAYOUT);
    state.words[LAYOUT.word.fifo + 2] = 9;
    expect(state.save()).toEqual({ control: 0, fifo: [0, 0, 9, 0], status: 0, deadline: 0, times: [0, 0] });
  });

  it('refuses what does not fit and changes nothing', () => {
    const state = DeviceState.alone(LAYOUT);
    state.words.fill(7);
    state.doubles.fill(7);
    const good = DeviceState.alone(LAYOUT).save();
    const { status: _, ...incomplete } = good;
    for (const bad of [
      incomplete,
      { ...good, fifo: [1, 2, 3] },
      { ...good, fifo: 1 },
      { ...good, control: [1, 2] },
      { ...good, times: [0, 'x'] },
      { ...good, deadline: 'soon' },
      { ...good, control: {} },
    ]) {
      expect(() => state.restore(bad as SavedState)).toThrow(SavedStateError);
    }
    expect([...state.words, ...state.doubles]).toEqual(new Array(9).fill(7));
  });

  it('says which field is wrong', () => {
    const state = DeviceState.alone(LAYOUT);
    expect(() => state.restore({ ...state.save(), fifo: [1] })).toThrow(/'fifo'/);
  });
});

describe('allocator', () => {
  it('deals out places that do not touch, the same on every thread', () => {
    const layouts = [
      LAYOUT,
      defineState({ one: 1 }),
      defineState({}),
      defineState({ a: 3 }, { b: 1 }),
      LAYOUT,
    ];
    const total = layouts.reduce((sum, layout) => sum + StateAllocator.bytesFor(layout), 0);
    const buffer = new SharedArrayBuffer(total);
    const here = new StateAllocator(buffer);
    const there = new StateAllocator(buffer);
    const mine = layouts.map((layout) => here.allocate(layout));
    const theirs = layouts.map((layout) => there.allocate(layout));
    mine.forEach((state, i) => {
      state.lock.acquire();
      state.words.fill(i + 1);
      state.doubles.fill(i + 1);
    });
    theirs.forEach((state, i) => {
      expect([...state.words, ...state.doubles].every((value) => value === i + 1)).toBe(true);
      state.lock.release();
    });
  });

  it('refuses when the buffer was made for fewer devices', () => {
    const allocator = new StateAllocator(new SharedArrayBuffer(StateAllocator.bytesFor(LAYOUT)));
    allocator.allocate(LAYOUT);
    expect(() => allocator.allocate(LAYOUT)).toThrow(RangeError);
  });
});

describe('lock', () => {
  const THREADS = 4;
  const ROUNDS = 20_000;

  /** Adds to plain (not atomic) words under the lock; two at once would lose additions. */
  const work = (
    { shared, rounds, linger }: { shared: SharedArrayBuffer; rounds: number; linger: number },
    LockClass: typeof Lock,
  ): number => {
    const words = new Int32Array(shared);
    const lock = new LockClass(words, 0);
    let torn = 0;
    for (let i = 0; i < rounds; i++) {
      lock.acquire();
      if (words[1] !== words[2]) torn++;
      words[1] = words[1]! + 1;
      for (let spin = 0; spin < linger; spin++) words[3] = spin;
      words[2] = words[2]! + 1;
      lock.release();
    }
    return torn;
  };

  it.each([
    ['short sections, which spin', 0, ROUNDS],
    ['long sections, which sleep', 2000, ROUNDS / 20],
  ])('lets one thread in at a time: %s', async (_name, linger, rounds) => {
    const shared = new SharedArrayBuffer(16);
    const threads = Array.from({ length: THREADS }, () => onThread(work, { shared, rounds, linger }, [Lock]));
    expect(await Promise.all(threads)).toEqual(new Array(THREADS).fill(0));
    const words = new Int32Array(shared);
    expect([words[1], words[2]]).toEqual([THREADS * rounds, THREADS * rounds]);
    expect(words[0]).toBe(0);
  });
});
