import { describe, expect, it } from 'vitest';
import { onThread } from '../../devices/testing/threads.ts';
import { RECORD_DOUBLES } from './event.ts';
import { TraceRing } from './ring.ts';

describe('TraceRing', () => {
  const put = (ring: TraceRing, value: number, wait = false): boolean => {
    const at = ring.begin(wait);
    if (at < 0) return false;
    ring.words[at] = value;
    ring.commit();
    return true;
  };
  const take = (ring: TraceRing): number[] => {
    const count = ring.length;
    const values = Array.from({ length: count }, (_, n) => ring.words[ring.first(n)]!);
    ring.release(count);
    return values;
  };

  it('hands records over in order, round and round', () => {
    const buffer = TraceRing.buffer(4);
    const [producer, consumer] = [new TraceRing(buffer), new TraceRing(buffer)];
    const seen: number[] = [];
    for (let n = 0; n < 20; n++) {
      expect(put(producer, n)).toBe(true);
      if (n % 3 === 2) seen.push(...take(consumer));
    }
    expect([...seen, ...take(consumer)]).toEqual(Array.from({ length: 20 }, (_, n) => n));
  });

  it('drops what finds no room, and counts it', () => {
    const ring = new TraceRing(TraceRing.buffer(2));
    expect([put(ring, 1), put(ring, 2), put(ring, 3), put(ring, 4)]).toEqual([true, true, false, false]);
    expect(ring.dropped).toBe(2);
    expect(take(ring)).toEqual([1, 2]);
    expect(put(ring, 5)).toBe(true);
    expect(take(ring)).toEqual([5]);
  });

  it('holds its producer back until there is room, so that nothing is lost', async () => {
    const buffer = TraceRing.buffer(4);
    const ring = new TraceRing(buffer);
    const total = 1000;
    const producing = onThread(
      ({ buffer, total }, Ring: new (buffer: SharedArrayBuffer) => TraceRing) => {
        const mine = new Ring(buffer);
        for (let n = 0; n < total; n++) {
          mine.words[mine.begin(true)] = n;
          mine.commit();
        }
        return mine.dropped;
      },
      { buffer, total },
      [TraceRing],
      {
        HEADER_BYTES: 64,
        HEAD: 0,
        TAIL: 1,
        DROPPED: 2,
        CLOSED: 3,
        WAITED: 2,
        WAIT_MS: 20,
        RECORD_WORDS: 2 * RECORD_DOUBLES,
        RECORD_DOUBLES,
      },
    );
    const seen: number[] = [];
    while (seen.length < total) {
      seen.push(...take(ring));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await producing).toBe(0);
    expect(seen).toEqual(Array.from({ length: total }, (_, n) => n));
    expect(ring.waited).toBeGreaterThan(0);
  });

  it('lets nobody wait for a reader that has gone', () => {
    const ring = new TraceRing(TraceRing.buffer(2));
    ring.close();
    expect([put(ring, 1, true), put(ring, 2, true), put(ring, 3, true)]).toEqual([true, true, false]);
    expect(ring.dropped).toBe(1);
  });

  it('refuses lengths that are no powers of two', () => {
    expect(() => TraceRing.buffer(3)).toThrow(/power of two/);
  });
});
