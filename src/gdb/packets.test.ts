import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Incoming, PacketReader, packet } from './packets.ts';

const latin1 = fc.array(fc.integer({ min: 0, max: 255 })).map((codes) => String.fromCharCode(...codes));

describe('packets of the remote serial protocol', () => {
  it('come out as they went in, however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(latin1), fc.integer({ min: 1, max: 7 }), (texts, step) => {
        const stream = Buffer.concat(texts.flatMap((text) => [packet(text), Buffer.from('+')]));
        const reader = new PacketReader();
        const found: Incoming[] = [];
        for (let at = 0; at < stream.length; at += step)
          found.push(...reader.feed(stream.subarray(at, at + step)));
        expect(found).toEqual(texts.map((data) => ({ type: 'packet', data })));
      }),
    );
  });

  it('with a wrong checksum are garbled', () => {
    expect(new PacketReader().feed(Buffer.from('$g#00'))).toEqual([{ type: 'garbled' }]);
  });

  it('are interrupted by a lone 0x03', () => {
    expect(new PacketReader().feed(Buffer.from('+\x03$g#67'))).toEqual([
      { type: 'interrupt' },
      { type: 'packet', data: 'g' },
    ]);
  });

  it('end, or the other side speaks something else', () => {
    const reader = new PacketReader();
    reader.feed(Buffer.from('$'));
    expect(() => reader.feed(new Uint8Array(2 ** 20 + 1).fill(65))).toThrow(RangeError);
  });
});
