/** The IOAPIC: registers, edges, levels, and the way of an interrupt to a local APIC and back. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Ioapic } from './ioapic.ts';
import { DeviceState } from './state.ts';
import { ApicRig, Reg } from './testing/apic-rig.ts';
import { transfer } from './testing/stand-ins.ts';

const LEVEL = 1 << 15;
const MASKED = 1 << 16;
const REMOTE_IRR = 1 << 14;
const LOGICAL = 1 << 11;

let rig: ApicRig;
let ioapic: Ioapic;

function make(): Ioapic {
  const device = new Ioapic('ioapic', DeviceState.alone(Ioapic.layout), rig.bus);
  device.reset();
  return device;
}

function read(register: number, device = ioapic): number {
  device.write(0x00, 4, register);
  return device.read(0x10, 4);
}

function write(register: number, value: number): void {
  ioapic.write(0x00, 4, register);
  ioapic.write(0x10, 4, value);
}

function redirect(input: number, low: number, destination = 0): void {
  write(0x11 + 2 * input, destination << 24);
  write(0x10 + 2 * input, low);
}

/** The CPU takes what is pending and ends it. */
function serve(): number {
  const vector = rig.apic.pendingVector();
  if (vector >= 0) {
    rig.apic.acknowledge();
    rig.apic.write(Reg.eoi, 4, 0);
  }
  return vector;
}

beforeEach(() => {
  rig = new ApicRig(2);
  ioapic = make();
  rig.bus.addIoapic(ioapic);
});

describe('registers', () => {
  it('say who it is', () => {
    expect(read(0x00)).toBe(0);
    expect(read(0x01)).toBe(0x0017_0011);
    write(0x00, 0xffff_ffff);
    expect(read(0x00)).toBe(0x0f00_0000);
    expect(read(0x02)).toBe(0x0f00_0000);
    expect(ioapic.read(0x00, 4)).toBe(0x02);
    expect(ioapic.read(0x10, 1)).toBe(0);
    expect(ioapic.read(0x13, 1)).toBe(0x0f);
  });

  it('are masked after reset, and keep only the bits they have', () => {
    for (let input = 0; input < 24; input++) expect(read(0x10 + 2 * input)).toBe(MASKED);
    write(0x3e, 0xffff_ffff);
    expect(read(0x3e)).toBe(0x1_afff);
    write(0x3f, 0xffff_ffff);
    expect(read(0x3f)).toBe(0xff00_0000);
    expect(read(0x40)).toBe(0);
    expect(read(0x08)).toBe(0);
    write(0x40, 1);
    write(0x08, 1);
    ioapic.setLevel(24, true);
    ioapic.setLevel(-1, true);
  });
});

describe('edges', () => {
  it('interrupt once each', () => {
    redirect(4, 0x41);
    ioapic.setLevel(4, true);
    ioapic.setLevel(4, true);
    expect(serve()).toBe(0x41);
    expect(serve()).toBe(-1);
    ioapic.setLevel(4, false);
    expect(serve()).toBe(-1);
    ioapic.setLevel(4, true);
    expect(serve()).toBe(0x41);
    expect(read(0x18)).toBe(0x41);
  });

  it('are lost while masked', () => {
    redirect(4, MASKED | 0x41);
    ioapic.setLevel(4, true);
    redirect(4, 0x41);
    expect(serve()).toBe(-1);
  });

  it('go where the entry says', () => {
    rig.apics[0]!.write(Reg.ldr, 4, 0x0100_0000);
    rig.apics[1]!.write(Reg.ldr, 4, 0x0200_0000);
    redirect(3, 0x41, 1);
    redirect(4, LOGICAL | 0x52, 3);
    ioapic.setLevel(3, true);
    ioapic.setLevel(4, true);
    expect(rig.pending()).toEqual([0x52, 0x52]);
    redirect(5, LOGICAL | 0x100 | 0x63, 3);
    ioapic.setLevel(5, true);
    expect(rig.pending().filter((vector) => vector === 0x63)).toHaveLength(1);
    redirect(6, 0x400, 1);
    ioapic.setLevel(6, true);
    expect(rig.calls).toEqual(['nmi 1']);
  });
});

describe('levels', () => {
  it('interrupt again after EOI for as long as they last', () => {
    redirect(9, LEVEL | 0x49);
    ioapic.setLevel(9, true);
    expect(read(0x22)).toBe(LEVEL | REMOTE_IRR | 0x49);
    expect(serve()).toBe(0x49);
    expect(serve()).toBe(0x49);
    rig.apic.acknowledge();
    ioapic.setLevel(9, false);
    rig.apic.write(Reg.eoi, 4, 0);
    expect(read(0x22)).toBe(LEVEL | 0x49);
    expect(serve()).toBe(-1);
  });

  it('do not interrupt twice before EOI', () => {
    redirect(9, LEVEL | 0x49);
    ioapic.setLevel(9, true);
    rig.apic.acknowledge();
    ioapic.setLevel(9, false);
    ioapic.setLevel(9, true);
    expect(read(0x22) & REMOTE_IRR).toBe(REMOTE_IRR);
    expect(rig.apic.read(Reg.irr + 0x20, 4)).toBe(0);
    rig.apic.write(Reg.eoi, 4, 0);
    expect(serve()).toBe(0x49);
  });

  it('wait while masked', () => {
    redirect(9, LEVEL | MASKED | 0x49);
    ioapic.setLevel(9, true);
    expect(serve()).toBe(-1);
    redirect(9, LEVEL | 0x49);
    rig.apic.acknowledge();
    redirect(9, LEVEL | MASKED | 0x49);
    rig.apic.write(Reg.eoi, 4, 0);
    expect(serve()).toBe(-1);
    redirect(9, LEVEL | 0x49);
    expect(serve()).toBe(0x49);
  });

  it('are asserted whatever the polarity bit says', () => {
    redirect(9, LEVEL | (1 << 13) | 0x49);
    expect(serve()).toBe(-1);
    ioapic.setLevel(9, true);
    expect(serve()).toBe(0x49);
  });

  it('lose their remote IRR when switched to edge, as Linux does', () => {
    redirect(9, LEVEL | 0x49);
    ioapic.setLevel(9, true);
    ioapic.setLevel(9, false);
    redirect(9, MASKED | 0x49);
    expect(read(0x22)).toBe(MASKED | 0x49);
    redirect(9, LEVEL | 0x49);
    expect(read(0x22)).toBe(LEVEL | 0x49);
  });

  it('share a vector', () => {
    redirect(9, LEVEL | 0x49);
    redirect(10, LEVEL | 0x49);
    ioapic.setLevel(9, true);
    ioapic.setLevel(10, true);
    ioapic.setLevel(9, false);
    expect(serve()).toBe(0x49);
    expect(serve()).toBe(0x49);
    ioapic.setLevel(10, false);
    expect(serve()).toBe(0x49);
    expect(serve()).toBe(-1);
  });
});

it('goes on where it was saved', () => {
  write(0x00, 0x0300_0000);
  redirect(9, LEVEL | 0x49, 0);
  ioapic.setLevel(9, true);
  rig.apic.acknowledge();
  const copy = make();
  transfer(ioapic, copy);
  expect(read(0x22, copy)).toBe(LEVEL | REMOTE_IRR | 0x49);
  expect(read(0x00, copy)).toBe(0x0300_0000);
  copy.eoi(0x49);
  rig.apic.write(Reg.eoi, 4, 0);
  expect(rig.apic.pendingVector()).toBe(0x49);
});
