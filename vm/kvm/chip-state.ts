/**
 * The interrupt controllers and the timer that KVM has in the kernel, to and from the form that devices/ gives them:
 * the classes there know what follows from what, and do the translating. References: <asm/kvm.h>; KVM's i8259.c,
 * ioapic.c and i8254.c for what its fields mean.
 */
import type { Clock } from '../../devices/device.ts';
import { InterruptBus } from '../../devices/interrupt-bus.ts';
import { IOAPIC_INPUTS } from '../../devices/ioapic.ts';
import { LocalApic } from '../../devices/lapic.ts';
import { PicPair } from '../../devices/pic.ts';
import { PIT_HZ, Pit } from '../../devices/pit.ts';
import { DeviceState, type SavedState } from '../../devices/state.ts';
import { kvm_ioapic_state, kvm_pic_state, kvm_pit_channel_state, kvm_pit_state2 } from './abi.ts';

const NOTHING = (): void => {};
const SILENT = { setLevel: NOTHING, pulse: NOTHING };
const NO_ALARM = { deadlineMoved: NOTHING };

function numbers(saved: SavedState, field: string): number[] {
  const value = saved[field];
  if (Array.isArray(value)) return value as number[];
  return [value as number];
}

// Local APIC

/** A local APIC's page with what KVM keeps beside it in MSRs. */
export interface ApicPage {
  readonly page: Uint8Array;
  /** IA32_APIC_BASE bit 11. */
  readonly enabled: boolean;
  readonly tscDeadline: bigint;
}

/** Time as a local APIC's timer counts it. */
export interface ApicTime {
  readonly clock: Clock;
  readonly tscFrequency: number;
  readTsc(): number;
}

function apicAlone(time: ApicTime): LocalApic {
  const apic = new LocalApic('lapic', DeviceState.alone(LocalApic.layout), {
    ...time,
    id: 0,
    alarm: NO_ALARM,
    bus: new InterruptBus(),
    signals: { interruptPending: NOTHING, nmi: NOTHING, init: NOTHING, startup: NOTHING },
  });
  apic.reset();
  return apic;
}

export function apicFromKvm({ page, enabled, tscDeadline }: ApicPage, time: ApicTime): SavedState {
  const apic = apicAlone(time);
  apic.enabled = enabled;
  apic.importPage(page);
  apic.setTscDeadline(Number(tscDeadline >> 32n), Number(tscDeadline & 0xffff_ffffn));
  return apic.save();
}

export function apicToKvm(saved: SavedState, time: ApicTime): ApicPage {
  const apic = apicAlone(time);
  apic.restore(saved);
  return {
    page: apic.exportPage(),
    enabled: apic.enabled,
    tscDeadline: (BigInt(apic.tscDeadlineHigh) << 32n) | BigInt(apic.tscDeadlineLow),
  };
}

// IOAPIC

export function ioapicFromKvm(data: DataView): SavedState {
  const { offset } = kvm_ioapic_state;
  const entry = (i: number, half: number): number => data.getInt32(offset.redirtbl + 8 * i + half, true);
  const inputs = Array.from({ length: IOAPIC_INPUTS }, (_, i) => i);
  return {
    ioregsel: data.getUint32(offset.ioregsel, true),
    id: data.getUint32(offset.id, true) & 15,
    low: inputs.map((i) => entry(i, 0)),
    high: inputs.map((i) => entry(i, 4)),
    inputs: data.getUint32(offset.irr, true) | 0,
  };
}

export function ioapicToKvm(saved: SavedState, data: DataView, base: number): void {
  const { offset } = kvm_ioapic_state;
  data.setBigUint64(offset.base_address, BigInt(base), true);
  data.setUint32(offset.ioregsel, numbers(saved, 'ioregsel')[0]!, true);
  data.setUint32(offset.id, numbers(saved, 'id')[0]!, true);
  data.setUint32(offset.irr, numbers(saved, 'inputs')[0]! >>> 0, true);
  const low = numbers(saved, 'low');
  const high = numbers(saved, 'high');
  for (let i = 0; i < IOAPIC_INPUTS; i++) {
    data.setInt32(offset.redirtbl + 8 * i, low[i]!, true);
    data.setInt32(offset.redirtbl + 8 * i + 4, high[i]!, true);
  }
}

// PIC

/** Fields that are the same number in both forms, by our name and KVM's. */
const PIC_FIELDS = [
  ['irr', 'irr'],
  ['isr', 'isr'],
  ['imr', 'imr'],
  ['inputs', 'last_irr'],
  ['elcr', 'elcr'],
  ['vectorBase', 'irq_base'],
  ['needsIcw4', 'init4'],
  ['rotateOnAutoEoi', 'rotate_on_auto_eoi'],
  ['readIsr', 'read_reg_select'],
  ['specialMask', 'special_mask'],
  ['poll', 'poll'],
] as const;
const ICW4_AEOI = 0x02;
const ICW4_SFNM = 0x10;
/** Inputs of each controller that ELCR can make level-triggered. */
const ELCR_MASKS = [0xf8, 0xde] as const;

export function picFromKvm(chips: readonly [DataView, DataView]): SavedState {
  const { offset } = kvm_pic_state;
  const saved: Record<string, number[]> = { output: [0, 0] };
  for (const [ours, theirs] of PIC_FIELDS) saved[ours] = chips.map((chip) => chip.getUint8(offset[theirs]));
  // ICW1 has been written: 1, and so on; ours is the number of the word that comes next.
  saved['expectedIcw'] = chips.map((chip) => {
    const state = chip.getUint8(offset.init_state);
    return state === 0 ? 0 : state + 1;
  });
  saved['icw4'] = chips.map(
    (chip) =>
      (chip.getUint8(offset.auto_eoi) ? ICW4_AEOI : 0) |
      (chip.getUint8(offset.special_fully_nested_mode) ? ICW4_SFNM : 0),
  );
  saved['lowest'] = chips.map((chip) => (chip.getUint8(offset.priority_add) + 7) & 7);
  // The outputs follow from the rest.
  const pic = new PicPair(DeviceState.alone(PicPair.layout), NOTHING);
  pic.restore(saved);
  return pic.save();
}

export function picToKvm(saved: SavedState, chips: readonly [DataView, DataView]): void {
  const { offset } = kvm_pic_state;
  chips.forEach((chip, i) => {
    for (const [ours, theirs] of PIC_FIELDS) chip.setUint8(offset[theirs], numbers(saved, ours)[i]!);
    const expected = numbers(saved, 'expectedIcw')[i]!;
    chip.setUint8(offset.init_state, expected === 0 ? 0 : expected - 1);
    const icw4 = numbers(saved, 'icw4')[i]!;
    chip.setUint8(offset.auto_eoi, icw4 & ICW4_AEOI ? 1 : 0);
    chip.setUint8(offset.special_fully_nested_mode, icw4 & ICW4_SFNM ? 1 : 0);
    chip.setUint8(offset.priority_add, (numbers(saved, 'lowest')[i]! + 1) & 7);
    chip.setUint8(offset.elcr_mask, ELCR_MASKS[i]!);
  });
}

// PIT

const CHANNELS = 3;
/** `mode` of a counter that has never been programmed. */
const NO_MODE = 0xff;
/** What a byte access comes to next: low byte, high byte, low byte of two, high byte of two. */
const RwState = { low: 1, high: 2, first: 3, second: 4 } as const;
const TICKS_PER_NANOSECOND = PIT_HZ / 1e9;
/** kvm_pit_state2.flags: the speaker's data bit of port 0x61. */
const SPEAKER_ON = 2;
const PORT_B_GATE2 = 1;
const PORT_B_SPEAKER = 2;

/**
 * @param now - machine time, in nanoseconds
 * @param hostNow - CLOCK_MONOTONIC of that moment, in which KVM notes when counters were loaded
 */
export function pitFromKvm(data: DataView, now: number, hostNow: number): SavedState {
  const { offset, size } = kvm_pit_channel_state;
  const channel = <T>(read: (at: number) => T): T[] =>
    Array.from({ length: CHANNELS }, (_, i) => read(kvm_pit_state2.offset.channels + i * size));
  const byte = (field: keyof typeof offset): number[] => channel((at) => data.getUint8(at + offset[field]));
  const modes = byte('mode');
  const programmed = modes.map((mode) => (mode === NO_MODE ? 0 : 1));
  const counts = channel((at) => data.getUint32(at + offset.count, true) || 0x1_0000);
  const isWordHalf = (state: number): number => (state === RwState.second ? 1 : 0);
  const saved: Record<string, number[]> = {
    mode: modes.map((mode) => (mode === NO_MODE ? 0 : mode)),
    bcd: byte('bcd'),
    access: byte('rw_mode').map((access) => access || 3),
    gate: byte('gate'),
    loaded: programmed,
    running: programmed,
    reload: counts,
    period: counts,
    reloadPending: [0, 0, 0],
    writeHigh: byte('write_state').map(isWordHalf),
    readHigh: byte('read_state').map(isWordHalf),
    lowByte: byte('write_latch'),
    countLatched: byte('count_latched').map((state) =>
      state === 0
        ? 0
        : state === RwState.low
          ? 1
          : state === RwState.high || state === RwState.second
            ? 2
            : 3,
    ),
    latchedCount: channel((at) => data.getUint16(at + offset.latched_count, true)),
    statusLatched: byte('status_latched'),
    latchedStatus: byte('status'),
    loadTick: channel((at) => {
      const ago = hostNow - Number(data.getBigInt64(at + offset.count_load_time, true));
      // Not before power-on, whatever clock a KVM without hardware goes by.
      return Math.floor((now - Math.min(Math.max(0, ago), now)) * TICKS_PER_NANOSECOND);
    }),
    elapsed: [0, 0, 0],
    reloadTick: [0, 0, 0],
    rise: [0],
    due: [0],
  };
  const clock = { now: () => now, wallTime: () => 0 };
  const pit = new Pit(DeviceState.alone(Pit.layout), SILENT, clock, NO_ALARM);
  pit.restore(saved);
  pit.reschedule();
  return pit.save();
}

/** Bits 0 and 1 of port 0x61, which KVM keeps with the timer. */
export function portBFromKvm(data: DataView): number {
  const gate = data.getUint8(
    kvm_pit_state2.offset.channels + 2 * kvm_pit_channel_state.size + kvm_pit_channel_state.offset.gate,
  );
  const flags = data.getUint32(kvm_pit_state2.offset.flags, true);
  return (gate ? PORT_B_GATE2 : 0) | (flags & SPEAKER_ON ? PORT_B_SPEAKER : 0);
}

/** KVM begins counter 0's current period anew when it takes this: its next interrupt may come up to a period late. */
export function pitToKvm(
  saved: SavedState,
  data: DataView,
  portB: number,
  now: number,
  hostNow: number,
): void {
  const { offset, size } = kvm_pit_channel_state;
  for (let i = 0; i < CHANNELS; i++) {
    const at = kvm_pit_state2.offset.channels + i * size;
    const get = (field: string): number => numbers(saved, field)[i]!;
    const access = get('access');
    const half = (high: number): number =>
      access === 3 ? (high ? RwState.second : RwState.first) : access === 1 ? RwState.low : RwState.high;
    const latched = get('countLatched');
    data.setUint32(at + offset.count, get('reload'), true);
    data.setUint16(at + offset.latched_count, get('latchedCount'), true);
    data.setUint8(
      at + offset.count_latched,
      latched === 0 ? 0 : latched === 3 ? RwState.first : latched === 2 ? RwState.high : RwState.low,
    );
    data.setUint8(at + offset.status_latched, get('statusLatched'));
    data.setUint8(at + offset.status, get('latchedStatus'));
    data.setUint8(at + offset.read_state, half(get('readHigh')));
    data.setUint8(at + offset.write_state, half(get('writeHigh')));
    data.setUint8(at + offset.write_latch, get('lowByte'));
    data.setUint8(at + offset.rw_mode, access);
    data.setUint8(at + offset.mode, get('running') || get('loaded') ? get('mode') : NO_MODE);
    data.setUint8(at + offset.bcd, get('bcd'));
    data.setUint8(at + offset.gate, get('gate'));
    const ago = now - get('loadTick') / TICKS_PER_NANOSECOND;
    data.setBigInt64(at + offset.count_load_time, BigInt(Math.round(hostNow - ago)), true);
  }
  data.setUint32(kvm_pit_state2.offset.flags, portB & PORT_B_SPEAKER ? SPEAKER_ON : 0, true);
}
