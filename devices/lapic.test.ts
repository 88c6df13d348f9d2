/** The local APIC: registers, priorities, timer, saved forms. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { LocalApic } from './lapic.ts';
import { ApicRig, Reg } from './testing/apic-rig.ts';
import { transfer } from './testing/stand-ins.ts';

const MASKED = 0x1_0000;
const PERIODIC = 1 << 17;
const TSC_DEADLINE = 2 << 17;

let rig: ApicRig;
let apic: LocalApic;

function read(offset: number): number {
  return apic.read(offset, 4);
}

function write(offset: number, value: number): void {
  apic.write(offset, 4, value);
}

beforeEach(() => {
  rig = new ApicRig();
  apic = rig.apic;
});

describe('registers', () => {
  it('are as after power-on', () => {
    apic = new ApicRig().add(5);
    apic.reset();
    expect(read(Reg.id)).toBe(0x0500_0000);
    expect(read(Reg.version)).toBe(0x0005_0014);
    expect(read(Reg.svr)).toBe(0xff);
    expect(read(Reg.dfr)).toBe(0xffff_ffff);
    for (let lvt = Reg.lvtTimer as number; lvt <= Reg.lvtError; lvt += 0x10) expect(read(lvt)).toBe(MASKED);
    expect(apic.pendingVector()).toBe(-1);
    expect(apic.acceptsExtInt()).toBe(false);
  });

  it('keep only the bits they have', () => {
    write(Reg.dfr, 0);
    expect(read(Reg.dfr)).toBe(0x0fff_ffff);
    write(Reg.ldr, 0xffff_ffff);
    expect(read(Reg.ldr)).toBe(0xff00_0000);
    write(Reg.lvtTimer, 0xffff_ffff);
    expect(read(Reg.lvtTimer)).toBe(0x7_00ff);
    write(Reg.lint0, 0xffff_ffff);
    expect(read(Reg.lint0)).toBe(0x1_a7ff);
    write(Reg.lvtError, 0xffff_ffff);
    expect(read(Reg.lvtError)).toBe(0x1_00ff);
  });

  it('can be read by byte, and written only by doubleword', () => {
    expect(apic.read(Reg.version + 2, 1)).toBe(0x05);
    expect(apic.read(Reg.version + 2, 2)).toBe(0x0005);
    expect(apic.read(Reg.version + 4, 4)).toBe(0);
    apic.write(Reg.tpr, 1, 0x20);
    apic.write(Reg.tpr + 1, 4, 0x20);
    expect(read(Reg.tpr)).toBe(0);
  });

  it('are not there while the APIC is disabled', () => {
    apic.accept(0x40, false);
    apic.enabled = false;
    expect(read(Reg.version)).toBe(0xffff_ffff);
    expect(apic.read(Reg.version, 1)).toBe(0xff);
    write(Reg.tpr, 0x20);
    expect(apic.pendingVector()).toBe(-1);
    expect(apic.matches(0, false)).toBe(false);
    expect(apic.acceptsExtInt()).toBe(true);
    apic.enabled = true;
    expect(read(Reg.tpr)).toBe(0);
    expect(apic.pendingVector()).toBe(0x40);
  });

  it('report an address without a register, and illegal vectors', () => {
    write(Reg.lvtError, 0xfe);
    write(0x3d0, 1);
    apic.accept(0x0f, false);
    write(Reg.icrLow, 0x0e);
    expect(apic.pendingVector()).toBe(0xfe);
    expect(read(Reg.esr)).toBe(0);
    write(Reg.esr, 0);
    expect(read(Reg.esr)).toBe(0xe0);
    write(Reg.esr, 0);
    expect(read(Reg.esr)).toBe(0);
  });

  it('survive an error entry with an illegal vector', () => {
    write(Reg.lvtError, 0x01);
    apic.accept(0x02, false);
    write(Reg.esr, 0);
    expect(read(Reg.esr)).toBe(0x40);
  });
});

describe('priorities', () => {
  it('give the highest vector first, and the lower one after EOI', () => {
    apic.accept(0x31, false);
    apic.accept(0x45, false);
    expect(rig.attention).toBe(2);
    expect(apic.pendingVector()).toBe(0x45);
    expect(apic.acknowledge()).toBe(0x45);
    expect(read(Reg.ppr)).toBe(0x40);
    expect(read(Reg.isr + 0x20)).toBe(1 << 5);
    expect(apic.pendingVector()).toBe(-1);
    write(Reg.eoi, 0);
    expect(rig.attention).toBe(3);
    expect(apic.pendingVector()).toBe(0x31);
    expect(apic.acknowledge()).toBe(0x31);
    write(Reg.eoi, 0);
    expect(read(Reg.ppr)).toBe(0);
    expect(apic.pendingVector()).toBe(-1);
  });

  it('let a higher class in, but not another vector of the same', () => {
    apic.accept(0x41, false);
    apic.acknowledge();
    apic.accept(0x4f, false);
    expect(apic.pendingVector()).toBe(-1);
    apic.accept(0x50, false);
    expect(apic.pendingVector()).toBe(0x50);
  });

  it('are held back by TPR, through the register or CR8', () => {
    apic.accept(0x45, false);
    write(Reg.tpr, 0x42);
    expect(apic.pendingVector()).toBe(-1);
    expect(apic.taskPriority).toBe(4);
    expect(read(Reg.ppr)).toBe(0x42);
    apic.taskPriority = 3;
    expect(read(Reg.tpr)).toBe(0x30);
    expect(apic.pendingVector()).toBe(0x45);
    expect(read(Reg.apr)).toBe(0x40);
  });

  it('keep a vector that comes again while it is in service', () => {
    apic.accept(0x41, false);
    apic.acknowledge();
    apic.accept(0x41, false);
    write(Reg.eoi, 0);
    expect(apic.pendingVector()).toBe(0x41);
  });

  it('give the spurious vector when nothing is pending any more', () => {
    expect(apic.acknowledge()).toBe(0xff);
    expect(read(Reg.ppr)).toBe(0);
    write(Reg.eoi, 0);
  });

  it('tell the IOAPICs of the end of level-triggered interrupts only', () => {
    const ends: number[] = [];
    rig.bus.addIoapic({ eoi: (vector) => ends.push(vector) });
    apic.accept(0x41, true);
    expect(read(Reg.tmr + 0x20)).toBe(2);
    apic.acknowledge();
    write(Reg.eoi, 0);
    apic.accept(0x41, false);
    apic.acknowledge();
    write(Reg.eoi, 0);
    expect(ends).toEqual([0x41]);
  });

  it('work for all vectors from 16 to 255', () => {
    for (let vector = 16; vector < 256; vector++) {
      apic.accept(vector, false);
      expect(apic.acknowledge()).toBe(vector);
      write(Reg.eoi, 0);
    }
    expect(apic.pendingVector()).toBe(-1);
  });
});

describe('disabled by software', () => {
  it('masks the LVT, accepts nothing, and keeps what it has', () => {
    write(Reg.lint1, 0x400);
    apic.accept(0x41, false);
    write(Reg.svr, 0xff);
    expect(read(Reg.lint1)).toBe(MASKED | 0x400);
    write(Reg.lint1, 0x400);
    expect(read(Reg.lint1)).toBe(MASKED | 0x400);
    apic.accept(0x51, false);
    expect(apic.pendingVector()).toBe(0x41);
  });
});

describe('pins', () => {
  it('are as firmware leaves them', () => {
    apic.reset();
    apic.programLikeFirmware(true);
    expect(read(Reg.lint0)).toBe(0x700);
    expect(read(Reg.lint1)).toBe(0x400);
    expect(apic.acceptsExtInt()).toBe(true);
    apic.reset();
    apic.programLikeFirmware(false);
    expect(apic.acceptsExtInt()).toBe(false);
  });

  it('deliver as their entries say', () => {
    write(Reg.lint0, 0x700);
    const before = rig.attention;
    apic.setPin(0, true);
    expect(rig.attention).toBe(before + 1);
    apic.setPin(0, false);
    write(Reg.lint0, 0x38);
    expect(apic.acceptsExtInt()).toBe(false);
    apic.setPin(0, true);
    apic.setPin(0, true);
    expect(apic.acknowledge()).toBe(0x38);
    expect(apic.pendingVector()).toBe(-1);
    write(Reg.lint1, 0x400);
    apic.setPin(1, true);
    expect(rig.calls).toEqual(['nmi 0']);
    write(Reg.lint1, MASKED | 0x400);
    apic.setPin(1, false);
    apic.setPin(1, true);
    expect(rig.calls).toEqual(['nmi 0']);
  });
});

describe('timer', () => {
  it('counts down once', () => {
    write(Reg.lvtTimer, 0x40);
    write(Reg.divide, 0x0b);
    write(Reg.initialCount, 1000);
    expect(apic.deadline()).toBe(1000);
    rig.runTo(400);
    expect(read(Reg.currentCount)).toBe(600);
    rig.runTo(999);
    expect(apic.pendingVector()).toBe(-1);
    rig.runTo(1000);
    expect(apic.acknowledge()).toBe(0x40);
    expect(read(Reg.currentCount)).toBe(0);
    expect(apic.deadline()).toBe(Number.POSITIVE_INFINITY);
  });

  it.each([
    [0x0, 2],
    [0x1, 4],
    [0x2, 8],
    [0x3, 16],
    [0x8, 32],
    [0x9, 64],
    [0xa, 128],
    [0xb, 1],
  ])('divides by %#: %i → %i', (value, divisor) => {
    write(Reg.divide, value);
    expect(read(Reg.divide)).toBe(value);
    write(Reg.initialCount, 0xffff_ffff);
    expect(read(Reg.initialCount)).toBe(0xffff_ffff);
    expect(apic.deadline()).toBe(0xffff_ffff * divisor);
    rig.runTo(10 * divisor);
    expect(read(Reg.currentCount)).toBe(0xffff_ffff - 10);
  });

  it('goes on from its count when the divider changes', () => {
    write(Reg.divide, 0x0b);
    write(Reg.initialCount, 1000);
    rig.runTo(400);
    write(Reg.divide, 0);
    expect(read(Reg.currentCount)).toBe(600);
    expect(apic.deadline()).toBe(1600);
  });

  it('repeats, and drops what nobody was there for', () => {
    write(Reg.lvtTimer, PERIODIC | 0x40);
    write(Reg.divide, 0x0b);
    write(Reg.initialCount, 1_000_000);
    rig.runTo(1_000_000);
    expect(apic.acknowledge()).toBe(0x40);
    write(Reg.eoi, 0);
    expect(read(Reg.currentCount)).toBe(1_000_000);
    rig.clock.set(5_300_000);
    expect(read(Reg.currentCount)).toBe(700_000);
    apic.expire(5_300_000);
    expect(apic.deadline()).toBe(6_000_000);
    expect(apic.acknowledge()).toBe(0x40);
    write(Reg.initialCount, 0);
    expect(apic.deadline()).toBe(Number.POSITIVE_INFINITY);
  });

  it('does not repeat faster than every 200 µs', () => {
    write(Reg.lvtTimer, PERIODIC | 0x40);
    write(Reg.initialCount, 1);
    expect(apic.deadline()).toBe(200_000);
    expect(read(Reg.currentCount)).toBe(1);
  });

  it('runs without interrupting while masked', () => {
    write(Reg.lvtTimer, MASKED | 0x40);
    write(Reg.initialCount, 500);
    rig.runTo(2000);
    expect(apic.pendingVector()).toBe(-1);
    expect(read(Reg.currentCount)).toBe(0);
  });

  it('interrupts at a TSC deadline', () => {
    write(Reg.lvtTimer, TSC_DEADLINE | 0x40);
    apic.setTscDeadline(1, 0);
    expect(apic.tscDeadlineHigh).toBe(1);
    expect(apic.deadline()).toBe(2 ** 31);
    write(Reg.initialCount, 5);
    expect(read(Reg.initialCount)).toBe(0);
    rig.runTo(2 ** 31);
    expect(apic.acknowledge()).toBe(0x40);
    expect(apic.tscDeadlineHigh).toBe(0);
    expect(apic.deadline()).toBe(Number.POSITIVE_INFINITY);
  });

  it('interrupts at once when the TSC deadline has passed, and can be disarmed', () => {
    write(Reg.lvtTimer, TSC_DEADLINE | 0x40);
    rig.runTo(1000);
    apic.setTscDeadline(0, 5000);
    apic.setTscDeadline(0, 0);
    expect(apic.deadline()).toBe(Number.POSITIVE_INFINITY);
    apic.setTscDeadline(0, 1999);
    expect(apic.acknowledge()).toBe(0x40);
    expect(apic.tscDeadlineLow).toBe(0);
  });

  it('follows a TSC that is set', () => {
    write(Reg.lvtTimer, TSC_DEADLINE | 0x40);
    apic.setTscDeadline(0, 20_000);
    rig.tscOffset = 10_000;
    apic.tscChanged();
    expect(apic.deadline()).toBe(5000);
    rig.tscOffset = 0;
    rig.runTo(5000);
    expect(apic.pendingVector()).toBe(-1);
    expect(apic.deadline()).toBe(10_000);
  });

  it('is disarmed on the way to and from TSC-deadline mode, and ignores deadlines elsewhere', () => {
    write(Reg.initialCount, 500);
    write(Reg.lvtTimer, TSC_DEADLINE | 0x40);
    expect(apic.deadline()).toBe(Number.POSITIVE_INFINITY);
    apic.setTscDeadline(0, 500);
    write(Reg.lvtTimer, 0x40);
    expect(apic.deadline()).toBe(Number.POSITIVE_INFINITY);
    apic.setTscDeadline(0, 500);
    expect(apic.tscDeadlineLow).toBe(0);
    expect(apic.deadline()).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('saved', () => {
  function busy(): void {
    write(Reg.ldr, 0x0100_0000);
    write(Reg.lvtTimer, PERIODIC | 0xec);
    write(Reg.divide, 0x0b);
    write(Reg.initialCount, 4_000_000);
    apic.accept(0xfb, true);
    apic.acknowledge();
    apic.accept(0x31, false);
    rig.runTo(1_000_000);
  }

  it('goes on in another APIC', () => {
    busy();
    const other = rig.add(7);
    transfer(apic, other);
    const page = apic.exportPage();
    expect(other.exportPage()).toEqual(page);
    expect(other.deadline()).toBe(4_000_000);
    other.write(Reg.eoi, 4, 0);
    expect(other.pendingVector()).toBe(0x31);
  });

  it('goes on from a register page as KVM gives it', () => {
    busy();
    const page = apic.exportPage();
    expect(page.length).toBe(1024);
    const view = new DataView(page.buffer);
    expect(view.getUint32(Reg.id, true)).toBe(0);
    expect(view.getUint32(Reg.version, true)).toBe(0x0005_0014);
    expect(view.getUint32(Reg.isr + 0x70, true)).toBe(1 << 27);
    expect(view.getUint32(Reg.currentCount, true)).toBe(3_000_000);
    const other = rig.add(7);
    rig.clock.set(50_000_000);
    other.importPage(page);
    expect(other.id).toBe(0);
    expect(other.exportPage()).toEqual(page);
    expect(other.deadline()).toBe(53_000_000);
    expect(other.pendingVector()).toBe(-1);
    other.write(Reg.eoi, 4, 0);
    expect(other.pendingVector()).toBe(0x31);
    expect(() => other.importPage(new Uint8Array(100))).toThrow(RangeError);
  });

  it('has a timer that had run out stand still', () => {
    write(Reg.initialCount, 100);
    rig.runTo(1000);
    const other = rig.add(7);
    other.importPage(apic.exportPage());
    expect(other.deadline()).toBe(Number.POSITIVE_INFINITY);
  });
});

it('forgets all but its id and the global enable with INIT', () => {
  write(Reg.id, 0x0900_0000);
  write(Reg.initialCount, 100);
  apic.accept(0x40, false);
  apic.initialize();
  expect(apic.id).toBe(9);
  expect(apic.pendingVector()).toBe(-1);
  expect(apic.softwareEnabled).toBe(false);
  expect(apic.deadline()).toBe(Number.POSITIVE_INFINITY);
  apic.reset();
  expect(apic.id).toBe(0);
});
