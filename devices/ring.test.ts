/** The byte ring: first in, first out, nothing lost, also between two threads and when counters wrap. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteRing } from './ring.ts';
import { onThread } from './testing/threads.ts';

describe('one thread', () => {
  it('refuses capacities that are no powers of two', () => {
    for (const capacity of [0, 1, 3, 100]) expect(() => ByteRing.buffer(capacity)).toThrow(RangeError);
    expect(new ByteRing(ByteRing.buffer(64)).capacity).toBe(64);
  });

  it('behaves like a bounded queue, wherever its counters stand', () => {
    const put = fc.record({ kind: fc.constant('put' as const), count: fc.integer({ min: 0, max: 20 }) });
    const putAll = fc.record({ kind: fc.constant('putAll' as const), count: fc.nat(20) });
    const take = fc.record({ kind: fc.constant('take' as const), count: fc.nat(20) });
    const takeAll = fc.record({ kind: fc.constant('takeAll' as const), count: fc.constant(0) });
    const start = fc.constantFrom(0, 1, 13, 0x7fff_fff9, -9, -1);
    fc.assert(
      fc.property(start, fc.array(fc.oneof(put, putAll, take, takeAll)), (at, steps) => {
        const buffer = ByteRing.buffer(16);
        new Int32Array(buffer, 0, 2).fill(at);
        const ring = new ByteRing(buffer);
        const model: number[] = [];
        let next = 0;
        for (const { kind, count } of steps) {
          if (kind === 'put') {
            for (let i = 0; i < count; i++, next++) {
              const room = model.length < 16;
              expect(ring.put(next & 0xff)).toBe(room);
              if (room) model.push(next & 0xff);
            }
          } else if (kind === 'putAll') {
            const bytes = Uint8Array.from({ length: count }, () => next++ & 0xff);
            const taken = Math.min(count, 16 - model.length);
            expect(ring.putAll(bytes)).toBe(taken);
            model.push(...bytes.subarray(0, taken));
          } else if (kind === 'take') {
            for (let i = 0; i < count; i++) expect(ring.take()).toBe(model.shift() ?? -1);
          } else {
            expect([...ring.takeAll()]).toEqual(model.splice(0));
          }
          expect(ring.length).toBe(model.length);
          expect(ring.space).toBe(16 - model.length);
        }
      }),
    );
  });
});

describe('two threads', () => {
  const TOTAL = 300_000;

  /** Puts 0, 1, 2 … by single bytes and in blocks, from a worker. */
  const produce = (
    { buffer, total }: { buffer: SharedArrayBuffer; total: number },
    Ring: typeof ByteRing,
  ): number => {
    const ring = new Ring(buffer);
    const block = new Uint8Array(100);
    let sent = 0;
    let refused = 0;
    while (sent < total) {
      if (sent % 3 === 0) {
        if (ring.put(sent % 251)) sent++;
        else refused++;
      } else {
        const length = Math.min(block.length, total - sent);
        for (let i = 0; i < length; i++) block[i] = (sent + i) % 251;
        const put = ring.putAll(block.subarray(0, length));
        if (put === 0) refused++;
        sent += put;
      }
    }
    return refused;
  };

  it.each([
    ['byte by byte', false],
    ['all at once', true],
  ])('hands every byte over in order, %s', async (_name, all) => {
    const buffer = ByteRing.buffer(256);
    const ring = new ByteRing(buffer);
    // The counters pass 2³¹ on the way.
    new Int32Array(buffer, 0, 2).fill(0x7fff_ffff - 1000);
    const producer = onThread(produce, { buffer, total: TOTAL }, [ByteRing], {
      HEAD: 0,
      TAIL: 1,
      HEADER_BYTES: 8,
    });
    let got = 0;
    let wrong = 0;
    const deadline = Date.now() + 15_000;
    while (got < TOTAL && Date.now() < deadline) {
      for (let turn = 0; turn < 10_000; turn++) {
        if (all) {
          for (const byte of ring.takeAll()) if (byte !== got++ % 251) wrong++;
        } else {
          const byte = ring.take();
          if (byte >= 0 && byte !== got++ % 251) wrong++;
        }
      }
    }
    expect({ got, wrong }).toEqual({ got: TOTAL, wrong: 0 });
    await producer;
    expect(ring.take()).toBe(-1);
  });
});
