/** The bus: who is found, what happens at the edges of mappings, and that locks are given back. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bus, BusMapError, UNMAPPED_READ, UNMAPPED_WRITE } from './bus.ts';
import type { AccessSize, BusDevice } from './device.ts';
import { Lock } from './state.ts';

const MMIO = 0xd000_0000;

class Recorder implements BusDevice {
  readonly name: string;
  readonly log: string[] = [];
  value = 0;

  constructor(name: string) {
    this.name = name;
  }

  read(offset: number, size: AccessSize): number {
    this.log.push(`r${offset}/${size}`);
    return this.value;
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.log.push(`w${offset}/${size}=${value.toString(16)}`);
  }
}

const newLock = (): { lock: Lock; word: Int32Array } => {
  const word = new Int32Array(new SharedArrayBuffer(4));
  return { lock: new Lock(word, 0), word };
};

describe.each([
  ['ports', 0x3f8],
  ['memory', MMIO],
  ['memory above 4 GiB', 2 ** 40],
])('%s', (_name, base) => {
  it('hands accesses over with the offset', () => {
    const bus = new Bus();
    const device = new Recorder('serial0');
    bus.map(base, 8, device, newLock().lock);
    device.value = 0x1234;
    bus.write(base, 1, 0x41);
    bus.write(base + 4, 4, 0xffff_ffff);
    expect(bus.read(base + 6, 2)).toBe(0x1234);
    expect(device.log).toEqual(['w0/1=41', 'w4/4=ffffffff', 'r6/2']);
  });

  it('reads all ones and drops writes where nobody is, and counts both', () => {
    const bus = new Bus();
    bus.map(base, 1, new Recorder('a'), newLock().lock);
    expect(bus.read(base + 1, 1)).toBe(0xff);
    expect(bus.read(base - 4, 2)).toBe(0xffff);
    expect(bus.read(base + 1, 4)).toBe(0xffff_ffff);
    bus.write(base + 1, 4, 1);
    expect(bus.counters[UNMAPPED_READ]).toBe(3);
    expect(bus.counters[UNMAPPED_WRITE]).toBe(1);
  });

  it('splits an access that runs past the end of a device into bytes', () => {
    const bus = new Bus();
    const first = new Recorder('first');
    const second = new Recorder('second');
    bus.map(base, 2, first, newLock().lock);
    bus.map(base + 2, 1, second, newLock().lock);
    first.value = 0x11;
    second.value = 0x22;
    expect(bus.read(base + 1, 4)).toBe(0xffff_2211);
    bus.write(base + 1, 2, 0xaabb);
    expect(first.log).toEqual(['r1/1', 'w1/1=bb']);
    expect(second.log).toEqual(['r0/1', 'w0/1=aa']);
  });

  it('gives a device mapped whole the width that the guest used', () => {
    const bus = new Bus();
    const exit = new Recorder('debug-exit');
    const neighbour = new Recorder('neighbour');
    bus.map(base, 1, exit, newLock().lock, { whole: true });
    bus.map(base + 1, 1, neighbour, newLock().lock);
    bus.write(base, 4, 0xdead_beef);
    expect(exit.log).toEqual(['w0/4=deadbeef']);
    expect(neighbour.log).toEqual([]);
  });

  it('leaves alone a device that an access of the address before it reaches into', () => {
    const bus = new Bus();
    const reset = new Recorder('reset');
    bus.map(base + 1, 1, reset, newLock().lock);
    bus.write(base, 4, 0x8000_0600);
    expect(bus.read(base, 4)).toBe(0xffff_ffff);
    expect(reset.log).toEqual([]);
  });

  it('refuses overlaps and says with whom', () => {
    const bus = new Bus();
    bus.map(base, 8, new Recorder('serial0'), newLock().lock);
    for (const [at, length] of [
      [base, 1],
      [base + 7, 4],
      [base - 1, 2],
      [base - 1, 100],
    ] as const) {
      expect(() => bus.map(at, length, new Recorder('other'), newLock().lock)).toThrow(/other: .* serial0/);
    }
    bus.map(base + 8, 1, new Recorder('after'), newLock().lock);
    bus.map(base - 1, 1, new Recorder('before'), newLock().lock);
  });

  it('counts accesses for each device, one that is mapped twice as one', () => {
    const bus = new Bus();
    const keyboard = new Recorder('i8042');
    const lock = newLock().lock;
    bus.map(base, 1, keyboard, lock);
    bus.map(base + 1, 1, new Recorder('port-b'), lock);
    bus.map(base + 4, 1, keyboard, lock, { firstOffset: 4 });
    bus.read(base, 1);
    bus.read(base + 4, 1);
    bus.write(base + 1, 1, 0);
    expect(keyboard.log).toEqual(['r0/1', 'r4/1']);
    const counts = Object.fromEntries(bus.names.map((name, i) => [name, bus.counters[i]]));
    expect(counts).toMatchObject({ i8042: 2, 'port-b': 1 });
  });
});

describe('locks', () => {
  it('are held during an access and given back, also when a device throws', () => {
    const bus = new Bus();
    const { lock, word } = newLock();
    let during = 0;
    const device: BusDevice = {
      name: 'thrower',
      read: () => {
        during = word[0]!;
        throw new Error('broken');
      },
      write: () => {
        throw new Error('broken');
      },
    };
    bus.map(0, 1, device, lock);
    expect(() => bus.read(0, 1)).toThrow('broken');
    expect(during).toBe(1);
    expect(word[0]).toBe(0);
    expect(() => bus.write(0, 1, 0)).toThrow('broken');
    expect(word[0]).toBe(0);
  });
});

describe('mapping', () => {
  it('refuses ranges that do not exist', () => {
    const bus = new Bus();
    const { lock } = newLock();
    for (const [base, length] of [
      [-1, 2],
      [0, 0],
      [0.5, 1],
      [2 ** 52, 1],
      [2 ** 52 - 1, 2],
    ] as const) {
      expect(() => bus.map(base, length, new Recorder('x'), lock)).toThrow(BusMapError);
    }
    bus.map(2 ** 52 - 1, 1, new Recorder('last'), lock);
    expect(bus.read(2 ** 52 - 1, 1)).toBe(0);
  });

  it('refuses more devices than it can count', () => {
    const bus = new Bus(new Float64Array(3));
    const { lock } = newLock();
    bus.map(0, 1, new Recorder('a'), lock);
    expect(() => bus.map(1, 1, new Recorder('b'), lock)).toThrow(BusMapError);
  });

  it('finds what a plain list of ranges would, in whatever order devices come', () => {
    const ranges = fc.array(fc.record({ base: fc.nat(400), length: fc.integer({ min: 1, max: 40 }) }), {
      maxLength: 20,
    });
    fc.assert(
      fc.property(ranges, fc.constantFrom(0, 0xff00, MMIO), (list, start) => {
        const bus = new Bus();
        const owner = new Map<number, number>();
        list.forEach(({ base, length }, index) => {
          const addresses = Array.from({ length }, (_, i) => start + base + i);
          const device: BusDevice = { name: `${index}`, read: () => index, write: () => {} };
          const map = (): void => bus.map(start + base, length, device, newLock().lock);
          if (addresses.some((address) => owner.has(address))) expect(map).toThrow(BusMapError);
          else {
            map();
            for (const address of addresses) owner.set(address, index);
          }
        });
        for (let address = start; address < start + 450; address++) {
          expect(bus.read(address, 1)).toBe(owner.get(address) ?? 0xff);
        }
      }),
    );
  });
});
