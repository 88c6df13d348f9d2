/** fw_cfg as firmware and Linux' qemu_fw_cfg driver use it, by port and by DMA. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { FwCfg } from './fw-cfg.ts';
import { GuestMemory } from './memory.ts';
import { DeviceState } from './state.ts';
import { transfer } from './testing/stand-ins.ts';

const RAM = 0x1_0000;
const REQUEST = 0x100;
const TARGET = 0x1000;
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const FILES = new Map([
  ['opt/second', encode('22')],
  ['etc/first', encode('one')],
]);

let memory: GuestMemory;
let fwCfg: FwCfg;

beforeEach(() => {
  memory = GuestMemory.alone(RAM);
  fwCfg = make();
});

function make(): FwCfg {
  const options = { ramSize: 5 * 2 ** 30, cpus: 3, files: FILES, memory };
  const device = new FwCfg(DeviceState.alone(FwCfg.layout), options);
  device.reset();
  return device;
}

const select = (key: number): void => fwCfg.write(0, 2, key);
const take = (length: number): number[] => Array.from({ length }, () => fwCfg.read(1, 1));

/** Runs a DMA request at REQUEST. @returns its control field afterwards */
function dma(control: number, length: number, address: number, request = REQUEST): number {
  const { data } = memory.regions[0]!;
  data.setUint32(REQUEST, control);
  data.setUint32(REQUEST + 4, length);
  data.setBigUint64(REQUEST + 8, BigInt(address));
  const swapped = new DataView(new ArrayBuffer(8));
  swapped.setBigUint64(0, BigInt(request));
  fwCfg.write(4, 4, swapped.getUint32(0, true));
  fwCfg.write(8, 4, swapped.getUint32(4, true));
  return data.getUint32(REQUEST);
}

describe('by port', () => {
  it('shows its signature and what it can', () => {
    select(0);
    expect(take(6)).toEqual([...encode('QEMU'), 0, 0]);
    select(1);
    expect(take(4)).toEqual([3, 0, 0, 0]);
    const traditional = new FwCfg(DeviceState.alone(FwCfg.layout), { ramSize: 0, cpus: 1 });
    traditional.write(0, 2, 1);
    expect(traditional.read(1, 1)).toBe(1);
    expect(traditional.read(4, 4)).toBe(0xffff_ffff);
  });

  it('tells RAM size and CPUs in little-endian', () => {
    select(3);
    expect(take(8)).toEqual([0, 0, 0, 0x40, 1, 0, 0, 0]);
    select(5);
    expect(take(2)).toEqual([3, 0]);
    select(0x0f);
    expect(take(2)).toEqual([3, 0]);
  });

  it('lists its files, sorted, in big-endian', () => {
    select(0x19);
    expect(take(4)).toEqual([0, 0, 0, 2]);
    const entry = (): unknown => {
      const bytes = take(64);
      const name = String.fromCharCode(...bytes.slice(8)).replace(/\0+$/, '');
      return { size: bytes[3], key: bytes[4]! * 256 + bytes[5]!, name };
    };
    expect(entry()).toEqual({ size: 3, key: 0x20, name: 'etc/first' });
    expect(entry()).toEqual({ size: 2, key: 0x21, name: 'opt/second' });
    select(0x20);
    expect(take(4)).toEqual([...encode('one'), 0]);
  });

  it('starts over when an item is selected again, and reads zeros where there is none', () => {
    select(0x21);
    take(1);
    select(0x21);
    expect(take(2)).toEqual([...encode('22')]);
    select(0x1234);
    expect(take(2)).toEqual([0, 0]);
  });

  it('refuses names that do not fit a directory entry', () => {
    for (const name of ['', 'x'.repeat(56), 'späße']) {
      const files = new Map([[name, encode('')]]);
      expect(() => new FwCfg(DeviceState.alone(FwCfg.layout), { ramSize: 0, cpus: 1, files })).toThrow(
        RangeError,
      );
    }
  });
});

describe('by DMA', () => {
  it('shows the DMA signature', () => {
    const bytes = new DataView(new ArrayBuffer(8));
    bytes.setUint32(0, fwCfg.read(4, 4), true);
    bytes.setUint32(4, fwCfg.read(8, 4), true);
    expect(String.fromCharCode(...new Uint8Array(bytes.buffer))).toBe('QEMU CFG');
  });

  it('selects, skips and reads, and fills with zeros past the end', () => {
    memory.regions[0]!.u8.fill(0xee, TARGET, TARGET + 8);
    expect(dma((0x20 << 16) | 0x08 | 0x04, 1, 0)).toBe(0);
    expect(dma(0x02, 4, TARGET)).toBe(0);
    expect([...memory.view(TARGET, 5)]).toEqual([...encode('ne'), 0, 0, 0xee]);
  });

  it('reports a target outside RAM, and refuses to be written', () => {
    select(0x20);
    expect(dma(0x02, 4, RAM - 3)).toBe(1);
    expect(dma(0x02, 0xffff_ffff, 0)).toBe(1);
    expect(dma(0x02, 1, 2 ** 53)).toBe(1);
    expect(dma(0x10, 1, TARGET)).toBe(1);
    expect(take(1)).toEqual([...encode('o')]);
  });

  it('ignores a request outside RAM', () => {
    expect(dma(0x02, 1, TARGET, RAM - 8)).toBe(0x02);
    expect(dma(0x02, 1, TARGET, 2 ** 40)).toBe(0x02);
  });

  it('never throws, whatever the guest asks', () => {
    const anything = fc.nat(0xffff_ffff);
    fc.assert(
      fc.property(anything, anything, anything, fc.nat(RAM + 32), (control, length, address, request) => {
        dma(control, length, address);
        dma(control, length, address, request);
        take(2);
      }),
    );
  });
});

it('ignores accesses of other widths than its registers have', () => {
  select(0x20);
  fwCfg.write(0, 1, 0);
  fwCfg.write(1, 1, 0);
  expect(fwCfg.read(1, 2)).toBe(0xffff);
  expect(fwCfg.read(0, 2)).toBe(0xffff);
  expect(take(1)).toEqual([...encode('o')]);
});

it('goes on in the middle of an item after save and restore', () => {
  select(0x20);
  take(1);
  const before = fwCfg;
  fwCfg = make();
  transfer(before, fwCfg);
  expect(take(3)).toEqual([...encode('ne'), 0]);
});
