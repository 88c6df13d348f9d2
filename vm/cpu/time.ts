/**
 * Time as a guest on the CPU in TypeScript sees it: the machine's clock, the time stamp counter that follows from
 * it, and, where a run shall be repeatable, a clock that runs by instructions and not by the host. With it go the
 * few things that are the machine's and no single vCPU's: whose turn it is, and the seeded random numbers.
 */
import type { Clock, Device } from '../../devices/device.ts';
import { type DeviceState, defineState, type SavedState } from '../../devices/state.ts';
import { TSC_HZ } from '../cpuid.ts';

const LAYOUT = defineState(
  {
    /** Which vCPU's turn it is. */
    current: 1,
    /** Instructions left of its turn. */
    turn: 1,
    /** State of the seeded random numbers. */
    random: 4,
  },
  {
    /** The TSC less what the clock comes to. */
    tscOffset: 1,
    /** IA32_TSC_ADJUST: how far the guest has moved the TSC. SDM volume 3B, 18.17.3. */
    tscAdjust: 1,
    /** Ticks of the TSC a second. */
    tscHz: 1,
    /** Instructions executed, as of the last time that the vCPUs stood still. */
    instructions: 1,
    /** kvmclock less the machine's clock, in nanoseconds: not 0 for a guest that began elsewhere. */
    kvmClockOffset: 1,
    /** Virtual time: nanoseconds that were skipped because all vCPUs had halted. */
    skipped: 1,
  },
);
const { current: CURRENT, turn: TURN, random: RANDOM } = LAYOUT.word;
const {
  tscOffset: TSC_OFFSET,
  tscAdjust: TSC_ADJUST,
  tscHz: TSC_RATE,
  instructions: INSTRUCTIONS,
  kvmClockOffset: KVM_CLOCK_OFFSET,
  skipped: SKIPPED,
} = LAYOUT.double;

/** Where virtual time begins on the wall: 2025-01-01 00:00:00 UTC, in milliseconds since 1970. */
export const VIRTUAL_START = Date.UTC(2025, 0, 1);
/** Any four numbers but zeroes; they were the first digits of π, e, √2 and √3. */
const SEED = [314_159_265, 271_828_182, 141_421_356, 173_205_080] as const;

/** The clock of a machine on the CPU in TypeScript, and what else there is once a machine. */
export class CpuTime implements Device, Clock {
  static readonly layout = LAYOUT;
  readonly name = 'cpu-time';
  readonly state: DeviceState;
  private readonly hostClock: Clock | undefined;
  private readonly executed: () => number;

  /**
   * @param hostClock - the machine's clock; undefined for virtual time
   * @param executed - instructions done before the one that runs
   */
  constructor(state: DeviceState, hostClock: Clock | undefined, executed: () => number) {
    this.state = state;
    this.hostClock = hostClock;
    this.executed = executed;
  }

  reset(): void {
    this.state.clear();
    this.state.words.set(SEED, RANDOM);
    this.state.doubles[TSC_RATE] = TSC_HZ;
  }

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    this.state.restore(saved);
  }

  /** Whether time is virtual: a nanosecond an instruction, and what was skipped. */
  get isVirtual(): boolean {
    return this.hostClock === undefined;
  }

  now(): number {
    return this.hostClock?.now() ?? this.executed() + this.state.doubles[SKIPPED]!;
  }

  wallTime(): number {
    return this.hostClock?.wallTime() ?? VIRTUAL_START + this.now() / 1e6;
  }

  /** Lets virtual time pass without instructions, to a time in nanoseconds; or sets it, for a state from elsewhere. */
  skipTo(time: number): void {
    const { doubles } = this.state;
    doubles[SKIPPED] = doubles[SKIPPED]! + Math.ceil(time - this.now());
  }

  get current(): number {
    return this.state.words[CURRENT]!;
  }

  set current(index: number) {
    this.state.words[CURRENT] = index;
  }

  get turn(): number {
    return this.state.words[TURN]!;
  }

  set turn(instructions: number) {
    this.state.words[TURN] = instructions;
  }

  get instructions(): number {
    return this.state.doubles[INSTRUCTIONS]!;
  }

  set instructions(count: number) {
    this.state.doubles[INSTRUCTIONS] = count;
  }

  /** Ticks of the TSC a second. */
  get tscFrequency(): number {
    return this.state.doubles[TSC_RATE]!;
  }

  set tscFrequency(hertz: number) {
    this.state.doubles[TSC_RATE] = hertz;
  }

  /** The guest's TSC, a whole number. */
  tsc(now = this.now()): number {
    const { doubles } = this.state;
    return Math.floor((now * doubles[TSC_RATE]!) / 1e9) + doubles[TSC_OFFSET]!;
  }

  setTsc(value: number, now = this.now()): void {
    this.moveTsc(value - this.tsc(now));
  }

  /** How far the guest has moved the TSC since reset, by either register. */
  get tscAdjust(): number {
    return this.state.doubles[TSC_ADJUST]!;
  }

  /** Writes IA32_TSC_ADJUST, which moves the TSC by as much. */
  setTscAdjust(value: number): void {
    this.moveTsc(value - this.tscAdjust);
  }

  private moveTsc(by: number): void {
    const { doubles } = this.state;
    doubles[TSC_OFFSET] = doubles[TSC_OFFSET]! + by;
    doubles[TSC_ADJUST] = doubles[TSC_ADJUST]! + by;
  }

  /** Takes over a TSC from elsewhere: its value at a time, and how much of that the guest has added. */
  restoreTsc(value: number, adjust: number, now: number): void {
    this.setTsc(value, now);
    this.state.doubles[TSC_ADJUST] = adjust;
  }

  /** kvmclock, in nanoseconds. */
  kvmClock(now: number): number {
    return now + this.state.doubles[KVM_CLOCK_OFFSET]!;
  }

  /** Takes over a kvmclock from elsewhere. */
  restoreKvmClock(value: number, now: number): void {
    this.state.doubles[KVM_CLOCK_OFFSET] = value - now;
  }

  /** 32 random bits that are the same in every run: xoshiro128** by Blackman and Vigna. */
  seededRandom(): number {
    const { words } = this.state;
    const s1 = words[RANDOM + 1]!;
    const result = Math.imul(rotate(Math.imul(s1, 5), 7), 9);
    const s2 = words[RANDOM + 2]! ^ words[RANDOM]!;
    const s3 = words[RANDOM + 3]! ^ s1;
    words[RANDOM + 1] = s1 ^ s2;
    words[RANDOM] = words[RANDOM]! ^ s3;
    words[RANDOM + 2] = s2 ^ (s1 << 9);
    words[RANDOM + 3] = rotate(s3, 11);
    return result;
  }
}

function rotate(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}
