/** The transport, the queue and the devices, driven as an operating system drives them. */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { RawFile } from '../block/raw.ts';
import { GuestMemory } from '../memory.ts';
import { DeviceState } from '../state.ts';
import { TestIrq } from '../testing/stand-ins.ts';
import { type DriverQueue, TestDriver } from '../testing/virtio-driver.ts';
import { VirtioBlock } from './blk.ts';
import type { VirtioDevice } from './device.ts';
import { VirtioMmio } from './mmio.ts';
import { VirtioNet } from './net.ts';
import { VirtioRng } from './rng.ts';

const RINGS = 0x1_0000;
const DATA = 0x10_0000;
const EVENT_INDEX = 1 << 29;

const folder = mkdtempSync(join(tmpdir(), 'type2-virtio-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Bench {
  readonly memory: GuestMemory;
  readonly irq: TestIrq;
  readonly transport: VirtioMmio;
  readonly driver: TestDriver;
  readonly notified: number[];
}

function bench(make: (memory: GuestMemory) => VirtioDevice): Bench {
  const memory = GuestMemory.alone(4 * 2 ** 20);
  const device = make(memory);
  const irq = new TestIrq();
  const notified: number[] = [];
  const state = DeviceState.alone(VirtioMmio.layoutFor(device));
  const transport = new VirtioMmio('device', state, device, memory, irq, (queue) => notified.push(queue));
  return { memory, irq, transport, driver: new TestDriver(transport, memory), notified };
}

const rng = (): Bench => bench((memory) => new VirtioRng(memory));

/** A block device on a file of so many sectors, each filled with its number. */
function disk(sectors: number, readonly = false): Bench & { path: string; queue: DriverQueue } {
  const path = join(folder, `disk-${Math.random().toString(36).slice(2)}`);
  writeFileSync(path, '');
  truncateSync(path, sectors * 512);
  const made = bench((memory) => {
    const device = new VirtioBlock({ size: sectors * 512, readonly, id: 'serial-number' }, memory);
    device.attach(new RawFile(path, readonly, memory));
    return device;
  });
  made.driver.negotiate();
  const queue = made.driver.setUpQueue(0, 16, RINGS);
  made.driver.start();
  return { ...made, path, queue };
}

/** Does one block request. @returns its status byte */
function request(
  d: ReturnType<typeof disk>,
  type: number,
  sector: number,
  data: { address: number; length: number; writable: boolean }[],
): number {
  const header = DATA - 64;
  d.memory.writeU32(header, type);
  d.memory.writeU32(header + 4, 0);
  d.memory.writeU64(header + 8, BigInt(sector));
  d.memory.writeU8(header + 32, 0xee);
  d.queue.add([
    { address: header, length: 16, writable: false },
    ...data,
    { address: header + 32, length: 1, writable: true },
  ]);
  d.transport.process(0);
  expect(d.queue.takeUsed()).toHaveLength(1);
  return d.memory.readU8(header + 32);
}

describe('virtio-mmio', () => {
  it('says what it is', () => {
    const { transport } = rng();
    expect(transport.read(0, 4)).toBe(0x74726976);
    expect(transport.read(4, 4)).toBe(2);
    expect(transport.read(8, 4)).toBe(4);
    expect(transport.read(0, 1)).toBe(0);
    expect(transport.read(0xb0, 4)).toBe(0xffff_ffff);
  });

  it('insists on VIRTIO_F_VERSION_1 and refuses features that it has not offered', () => {
    const { driver } = rng();
    driver.write('status', 3);
    driver.write('status', 11);
    expect(driver.read('status')).toBe(3);
    driver.write('driverFeaturesSel', 1);
    driver.write('driverFeatures', 1 | 2);
    driver.write('status', 11);
    expect(driver.read('status')).toBe(3);
    driver.write('driverFeatures', 1);
    driver.write('status', 11);
    expect(driver.read('status')).toBe(11);
  });

  it('does not let a driver be ready without agreed features', () => {
    const { driver } = rng();
    driver.write('status', 7);
    expect(driver.read('status') & 4).toBe(0);
  });

  it('looks at all queues at DRIVER_OK, since buffers may be there already', () => {
    const { driver, notified } = rng();
    driver.negotiate();
    driver.setUpQueue(0, 8, RINGS);
    driver.start();
    expect(notified).toEqual([0]);
  });

  it('forgets everything at reset', () => {
    const { driver, transport, memory } = rng();
    driver.negotiate();
    const queue = driver.setUpQueue(0, 8, RINGS);
    driver.start();
    driver.write('status', 0);
    expect(driver.read('status')).toBe(0);
    expect(driver.read('queueReady')).toBe(0);
    queue.add([{ address: DATA, length: 8, writable: true }]);
    transport.process(0);
    expect(memory.readU16(queue.used + 2)).toBe(0);
  });

  it.each([
    ['a size that is no power of two', 12, RINGS],
    ['a size of 0', 0, RINGS],
    ['a size beyond the device’s', 512, RINGS],
    ['rings outside RAM', 8, 0x4000_0000],
    ['a misaligned table', 8, RINGS + 8],
  ])('needs a reset after a queue with %s', (_what, size, base) => {
    const { driver } = rng();
    driver.negotiate();
    driver.write('queueSel', 0);
    driver.write('queueNum', size);
    for (const register of [0x80, 0x90, 0xa0]) driver.transport.write(register, 4, base);
    driver.write('queueReady', 1);
    expect(driver.needsReset).toBe(true);
    expect(driver.read('queueReady')).toBe(0);
    driver.write('status', 0);
    expect(driver.needsReset).toBe(false);
  });

  it('is saved and restored in the middle of work', () => {
    const a = rng();
    a.driver.negotiate(0xffff_ffff & ~EVENT_INDEX);
    const queue = a.driver.setUpQueue(0, 8, RINGS);
    a.driver.start();
    for (let i = 0; i < 5; i++) queue.add([{ address: DATA, length: 16, writable: true }]);
    a.transport.process(0);
    expect(queue.takeUsed()).toHaveLength(5);
    const saved = JSON.parse(JSON.stringify(a.transport.save()));

    const b = rng();
    b.transport.restore(saved);
    b.memory.write(0, a.memory.view(0, a.memory.size));
    expect(b.transport.save()).toEqual(saved);
    // The same rings, now in the other machine's memory.
    const head = b.memory.readU16(queue.available + 2);
    b.memory.writeU16(queue.available + 4 + 2 * (head % 8), 0);
    b.memory.writeU16(queue.available + 2, head + 1);
    b.transport.process(0);
    expect(b.memory.readU16(queue.used + 2)).toBe(6);
    expect(b.irq.edges).toBe(1);
  });
});

describe('virtqueue', () => {
  it('works off 70,000 requests over a small ring, with and without event index', () => {
    for (const mask of [0xffff_ffff, 0xffff_ffff & ~EVENT_INDEX]) {
      const { driver, transport, irq } = rng();
      driver.negotiate(mask);
      const queue = driver.setUpQueue(0, 8, RINGS);
      driver.start();
      let used = 0;
      for (let i = 0; i < 70_000; i++) {
        queue.add([{ address: DATA + (i % 64), length: 4, writable: true }]);
        queue.usedEvent = i;
        transport.process(0);
        used += queue.takeUsed().length;
      }
      expect(used).toBe(70_000);
      expect(irq.edges).toBe(70_000);
    }
  });

  it('interrupts only after the used event', () => {
    const { driver, transport, irq } = rng();
    driver.negotiate();
    const queue = driver.setUpQueue(0, 8, RINGS);
    driver.start();
    queue.usedEvent = 2;
    for (let i = 0; i < 4; i++) {
      queue.add([{ address: DATA, length: 4, writable: true }]);
      transport.process(0);
    }
    expect(irq.edges).toBe(1);
  });

  it('asks to be notified of the next chain when it has seen all', () => {
    const { driver, transport } = rng();
    driver.negotiate();
    const queue = driver.setUpQueue(0, 8, RINGS);
    driver.start();
    queue.add([{ address: DATA, length: 4, writable: true }]);
    queue.add([{ address: DATA, length: 4, writable: true }]);
    transport.process(0);
    expect(queue.availableEvent).toBe(2);
  });

  it('does not interrupt when the driver says so', () => {
    const { driver, transport, irq, memory } = rng();
    driver.negotiate(0xffff_ffff & ~EVENT_INDEX);
    const queue = driver.setUpQueue(0, 8, RINGS);
    driver.start();
    memory.writeU16(queue.available, 1);
    queue.add([{ address: DATA, length: 4, writable: true }]);
    transport.process(0);
    expect(irq.edges).toBe(0);
    expect(driver.read('interruptStatus')).toBe(0);
  });

  it('follows indirect tables', () => {
    const { driver, transport, memory } = rng();
    driver.negotiate();
    const queue = driver.setUpQueue(0, 4, RINGS);
    driver.start();
    const parts = Array.from({ length: 4 }, (_, i) => ({
      address: DATA + 0x100 * i,
      length: 16,
      writable: true,
    }));
    queue.addIndirect(parts, DATA + 0x8000);
    transport.process(0);
    expect(queue.takeUsed()).toEqual([{ head: 0, written: 64 }]);
    expect(memory.view(DATA + 0x300, 16).some((byte) => byte !== 0)).toBe(true);
  });

  it('survives any contents of rings and descriptors', () => {
    let cases = 0;
    fc.assert(
      fc.property(
        fc.record({
          descriptors: fc.array(
            fc.record({
              address: fc.oneof(
                fc.integer({ min: 0, max: 0x40_0000 }),
                fc.maxSafeNat(),
                fc.constant(0x3f_ffff),
              ),
              length: fc.oneof(fc.integer({ min: 0, max: 8192 }), fc.integer({ min: 0, max: 0xffff_ffff })),
              flags: fc.integer({ min: 0, max: 7 }),
              next: fc.integer({ min: 0, max: 20 }),
            }),
            { minLength: 8, maxLength: 8 },
          ),
          heads: fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 8 }),
          index: fc.option(fc.integer({ min: 0, max: 0xffff })),
        }),
        ({ descriptors, heads, index }) => {
          cases++;
          for (const make of [
            rng,
            () => disk(8),
            () => bench((memory) => new VirtioNet([2, 0, 0, 0, 0, 1], memory)),
          ]) {
            const { driver, transport, memory } = make();
            driver.negotiate();
            const queue = driver.setUpQueue(0, 8, RINGS);
            driver.start();
            descriptors.forEach((d, i) => {
              queue.describe(i, d.address, d.length, d.flags, d.next);
            });
            heads.forEach((head) => {
              queue.publish(head);
            });
            if (index !== null) memory.writeU16(queue.available + 2, index);
            transport.process(0);
            // Either it has worked off what there was, or it has given up in the way the specification has for it.
            if (driver.needsReset) expect(transport.process(0)).toBe(false);
          }
        },
      ),
      { numRuns: 300 },
    );
    expect(cases).toBeGreaterThanOrEqual(300);
  });

  it('reports a loop of descriptors, and none of it reaches anyone', () => {
    const { driver, transport, memory } = rng();
    driver.negotiate();
    const queue = driver.setUpQueue(0, 8, RINGS);
    driver.start();
    queue.describe(0, DATA, 4, 1 | 2, 1);
    queue.describe(1, DATA, 4, 1 | 2, 0);
    queue.publish(0);
    transport.process(0);
    expect(driver.needsReset).toBe(true);
    expect(memory.readU16(queue.used + 2)).toBe(0);
    expect(driver.read('interruptStatus') & 2).toBe(2);
  });
});

describe('virtio-blk', () => {
  let d: ReturnType<typeof disk>;
  beforeEach(() => {
    d = disk(64);
  });

  it('reads back what was written, scattered over many segments', () => {
    const out = Array.from({ length: 8 }, (_, i) => ({
      address: DATA + i * 0x1000,
      length: 128,
      writable: false,
    }));
    out.forEach(({ address }, i) => {
      d.memory.view(address, 128).fill(i + 1);
    });
    expect(request(d, 1, 3, out)).toBe(0);
    expect(request(d, 4, 0, [])).toBe(0);
    const back = [
      { address: DATA + 0x20_000, length: 1000, writable: true },
      { address: DATA + 0x30_000, length: 24, writable: true },
    ];
    expect(request(d, 0, 3, back)).toBe(0);
    const bytes = Buffer.concat([d.memory.view(DATA + 0x20_000, 1000), d.memory.view(DATA + 0x30_000, 24)]);
    expect([...bytes]).toEqual(Array.from({ length: 1024 }, (_, i) => Math.floor(i / 128) + 1));
    expect(
      readFileSync(d.path)
        .subarray(3 * 512, 5 * 512)
        .equals(bytes),
    ).toBe(true);
  });

  it('takes header and status in any layout', () => {
    const header = DATA - 64;
    d.memory.writeU32(header, 1);
    d.memory.writeU64(header + 8, 7n);
    d.memory.view(DATA, 512).fill(0x5a);
    d.queue.add([
      { address: header, length: 5, writable: false },
      { address: header + 5, length: 11, writable: false },
      { address: DATA, length: 512, writable: false },
      { address: header + 32, length: 1, writable: true },
    ]);
    d.transport.process(0);
    expect(readFileSync(d.path)[7 * 512]).toBe(0x5a);
  });

  it('answers with I/O errors to what is not on the disk', () => {
    const buffer = [{ address: DATA, length: 512, writable: true }];
    expect(request(d, 0, 64, buffer)).toBe(1);
    expect(request(d, 0, 2 ** 52, buffer)).toBe(1);
    expect(request(d, 0, 63, [{ address: DATA, length: 1024, writable: true }])).toBe(1);
    expect(request(d, 0, 0, [{ address: DATA, length: 100, writable: true }])).toBe(1);
    expect(request(d, 99, 0, [])).toBe(2);
  });

  it('says its serial number', () => {
    expect(request(d, 8, 0, [{ address: DATA, length: 20, writable: true }])).toBe(0);
    expect(Buffer.from(d.memory.view(DATA, 20)).toString('latin1')).toBe('serial-number'.padEnd(20, '\0'));
  });

  it('zeroes ranges, and refuses bad ones', () => {
    d.memory.view(DATA, 4096).fill(0xff);
    expect(request(d, 1, 0, [{ address: DATA, length: 4096, writable: false }])).toBe(0);
    const range = (sector: number, count: number, flags: number): number => {
      d.memory.writeU64(DATA, BigInt(sector));
      d.memory.writeU32(DATA + 8, count);
      d.memory.writeU32(DATA + 12, flags);
      return request(d, 13, 0, [{ address: DATA, length: 16, writable: false }]);
    };
    expect(range(2, 3, 0)).toBe(0);
    const bytes = readFileSync(d.path);
    expect([bytes[1023], bytes[1024], bytes[2559], bytes[2560]]).toEqual([0xff, 0, 0, 0xff]);
    expect(range(62, 3, 0)).toBe(1);
    expect(range(0, 1, 2)).toBe(2);
  });

  it('does not write to a readonly disk', () => {
    const ro = disk(8, true);
    expect(request(ro, 1, 0, [{ address: DATA, length: 512, writable: false }])).toBe(1);
    expect(request(ro, 13, 0, [{ address: DATA, length: 16, writable: false }])).toBe(1);
  });

  it('shows its capacity in bytes, half-words and words', () => {
    expect(d.transport.read(0x100, 4)).toBe(64);
    expect(d.transport.read(0x100, 1)).toBe(64);
    expect(d.transport.read(0x114, 2)).toBe(512);
    expect(d.transport.read(0x1fc, 4)).toBe(0);
  });
});
