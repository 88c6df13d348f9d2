/** KVM's interrupt controllers and timer, to and from the form of devices/, without a KVM. */
import { describe, expect, it } from 'vitest';
import { PicPair } from '../../devices/pic.ts';
import { PIT_HZ, Pit } from '../../devices/pit.ts';
import { DeviceState } from '../../devices/state.ts';
import { TestAlarm, TestClock, TestIrq } from '../../devices/testing/stand-ins.ts';
import { kvm_ioapic_state, kvm_pic_state, kvm_pit_channel_state, kvm_pit_state2 } from './abi.ts';
import {
  apicFromKvm,
  apicToKvm,
  ioapicFromKvm,
  ioapicToKvm,
  picFromKvm,
  picToKvm,
  pitFromKvm,
  pitToKvm,
  portBFromKvm,
} from './chip-state.ts';

const view = (bytes: number): DataView => new DataView(new ArrayBuffer(bytes));

describe('PIC state', () => {
  const pair = (): [DataView, DataView] => [view(kvm_pic_state.size), view(kvm_pic_state.size)];

  it('is the same after a way to KVM and back', () => {
    const pic = new PicPair(DeviceState.alone(PicPair.layout), () => {});
    pic.reset();
    for (const [chip, offset, value] of [
      [0, 0, 0x11],
      [0, 1, 0x20],
      [0, 1, 4],
      [0, 1, 0x03],
      [0, 1, 0xfa],
      [1, 0, 0x11],
      [1, 1, 0x28],
      [0, 0, 0xc3],
      [0, 0, 0x0b],
    ] as const)
      pic.writePort(chip, offset, value);
    pic.setLevel(0, true);
    pic.setLevel(9, true);
    const saved = pic.save();
    const chips = pair();
    picToKvm(saved, chips);
    // The second controller waits for ICW3, and counting begins at ICW1.
    expect(chips[1].getUint8(kvm_pic_state.offset.init_state)).toBe(2);
    expect(chips[0].getUint8(kvm_pic_state.offset.priority_add)).toBe(4);
    const back = picFromKvm(chips);
    // Bit 0 of ICW4, 8086 mode, is not kept by KVM, and there is no other mode.
    expect(back).toEqual({ ...saved, icw4: [2, 0] });
  });

  it('has an output that follows from its requests', () => {
    const chips = pair();
    const { offset } = kvm_pic_state;
    chips[0].setUint8(offset.irr, 0x10);
    chips[0].setUint8(offset.last_irr, 0x10);
    expect(picFromKvm(chips)).toMatchObject({ output: [1, 0], irr: [0x10, 0] });
    chips[0].setUint8(offset.imr, 0x10);
    expect(picFromKvm(chips)).toMatchObject({ output: [0, 0] });
  });
});

describe('IOAPIC state', () => {
  it('is the same after a way to KVM and back', () => {
    const saved = {
      ioregsel: 0x12,
      id: 3,
      low: Array.from({ length: 24 }, (_, i) => (i === 9 ? 0x0000_e931 | 0 : 0x1_0000)),
      high: Array.from({ length: 24 }, (_, i) => (i << 24) | 0),
      inputs: 0x80_0210,
    };
    const data = view(kvm_ioapic_state.size);
    ioapicToKvm(saved, data, 0xfec0_0000);
    expect(data.getBigUint64(kvm_ioapic_state.offset.base_address, true)).toBe(0xfec0_0000n);
    expect(ioapicFromKvm(data)).toEqual(saved);
  });
});

describe('PIT state', () => {
  const clock = new TestClock();
  const programmed = (): Pit => {
    clock.set(5e6);
    const pit = new Pit(DeviceState.alone(Pit.layout), new TestIrq(), clock, new TestAlarm());
    pit.reset();
    for (const [port, value] of [
      [3, 0x34],
      [0, 0x9b],
      [0, 0x2e],
      [3, 0xb0],
      [2, 0x34],
    ] as const)
      pit.write(port, 1, value);
    return pit;
  };

  it('goes on where it was', () => {
    const pit = programmed();
    clock.set(12e6);
    const data = view(kvm_pit_state2.size);
    pitToKvm(pit.save(), data, 2, 12e6, 1e12);
    const back = pitFromKvm(data, 12e6, 1e12);
    const other = new Pit(DeviceState.alone(Pit.layout), new TestIrq(), clock, new TestAlarm());
    other.restore(back);
    expect(back).toMatchObject({ mode: [2, 0, 0], running: [1, 0, 0], reload: [0x2e9b, 0x1_0000, 0x1_0000] });
    expect(back).toMatchObject({ access: [3, 3, 3], writeHigh: [0, 0, 1], lowByte: [0x9b, 0, 0x34] });
    // A tick of the timer's clock more or less.
    expect(Math.abs(other.deadline() - pit.deadline())).toBeLessThan(2e9 / PIT_HZ);
    expect(portBFromKvm(data)).toBe(2);
  });

  it('takes a counter that KVM has never programmed for one that stands', () => {
    const data = view(kvm_pit_state2.size);
    const { offset, size } = kvm_pit_channel_state;
    for (let i = 0; i < 3; i++) data.setUint8(i * size + offset.mode, 0xff);
    const saved = pitFromKvm(data, 1e6, 1e9);
    expect(saved).toMatchObject({ running: [0, 0, 0], loaded: [0, 0, 0], due: Number.POSITIVE_INFINITY });
  });
});

describe('local APIC state', () => {
  it('keeps registers and the time that is left', () => {
    const time = { clock: new TestClock(), tscFrequency: 2e9, readTsc: () => 1_000_000 };
    const page = new Uint8Array(1024);
    const registers = new DataView(page.buffer);
    registers.setUint32(0xf0, 0x1ff, true);
    registers.setUint32(0x320, 0x4_00ec, true);
    registers.setUint32(0x80, 0x20, true);
    const saved = apicFromKvm({ page, enabled: true, tscDeadline: 5_000_000n }, time);
    expect(saved).toMatchObject({ svr: 0x1ff, tpr: 0x20, enabled: 1, due: 2e6 });
    const back = apicToKvm(saved, time);
    expect(back).toMatchObject({ enabled: true, tscDeadline: 5_000_000n });
    expect(new DataView(back.page.buffer).getUint32(0x320, true)).toBe(0x4_00ec);
  });
});
