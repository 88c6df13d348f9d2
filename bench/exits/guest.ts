/**
 * The guest of the exit benchmarks (guest.asm) as the VMM's side sees it: its operations, its image, and what it
 * leaves in memory.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/guests.ts';

/** The guest's operations, as in its table `operations`, in its order. */
const NAMES = [
  'pio-loop',
  'pio-out',
  'pio-in',
  'pio-string',
  'mmio-read',
  'mmio-write',
  'mmio-coalesced',
  'cpuid',
  'msr',
  'hypercall',
  'hlt',
  'notify',
  'request',
  'bare-out',
] as const;
export type OperationName = (typeof NAMES)[number];

/** An operation of which the guest notes how long it takes: all but `bare-out`, which is a loop of port writes. */
export interface Operation {
  readonly name: OperationName;
  readonly title: string;
  /** Rounds that a run makes; at most {@link ROUNDS_MAXIMUM} where the guest notes each. */
  readonly rounds: number;
  /** The title of the second figure that each round gives, if it does. */
  readonly more?: string;
  /** How many operations make a sample; 1 if absent. */
  readonly turns?: number;
  /** Nanoseconds of waiting on purpose that are in a sample. */
  readonly waits?: number;
}

/** Rounds of the cheap operations. */
const MANY = 10_000;
/** As in guest.asm. */
const LOOP_TURNS = 16;
/** What the guest sets the PIT to: 1193 of its ticks, in nanoseconds. */
const TIMER_NS = (1193 / 1_193_182) * 1e9;

export const OPERATIONS: readonly Operation[] = [
  { name: 'pio-loop', title: 'PIO out, one turn of a loop', rounds: 1500, turns: LOOP_TURNS },
  { name: 'pio-out', title: 'PIO out, serial register', rounds: MANY },
  { name: 'pio-in', title: 'PIO in, serial register', rounds: MANY },
  { name: 'pio-string', title: 'string PIO, 64 bytes out', rounds: 400 },
  { name: 'mmio-read', title: 'MMIO read, virtio register', rounds: MANY },
  { name: 'mmio-write', title: 'MMIO write, virtio register', rounds: MANY },
  { name: 'mmio-coalesced', title: 'coalesced MMIO write', rounds: MANY },
  { name: 'cpuid', title: 'CPUID', rounds: MANY },
  { name: 'msr', title: 'RDMSR of IA32_APIC_BASE', rounds: MANY },
  { name: 'hypercall', title: 'hypercall (VMCALL)', rounds: MANY },
  { name: 'hlt', title: 'HLT to wake by timer: how late', rounds: 300, waits: TIMER_NS },
  {
    name: 'notify',
    title: "queue notify to device's answer in memory",
    rounds: 1000,
    more: 'from there to interrupt handler',
  },
  { name: 'request', title: 'null virtqueue request, with HLT and interrupt', rounds: 2000 },
];

export const ROUNDS_MAXIMUM = 49_152;

/** Marks that the guest makes on port 0xf5. */
export const START = 1;
export const END = 2;

/** Where it is loaded. */
export const LOAD_ADDRESS = 0x7c00;
/** What a VMM has to keep of the guest's memory for {@link readSamples}. */
export const KEPT_MEMORY = 0x8_0000;

const ROUNDS_OFFSET = 4;
const OPERATION_OFFSET = 8;
const STARTED = 0x500;
const ENDED = 0x508;
const SAMPLES = 0x2_0000;
const MORE_SAMPLES = 0x5_0000;
/** Rounds at the beginning that don't count, as a share: caches are cold, and a VMM's code may not be compiled yet. */
const WARM_UP = 0.2;

/** The guest's image. @param rounds - 1 to 2³²−1 for `bare-out`, to {@link ROUNDS_MAXIMUM} for all others */
export function guestImage(operation: OperationName, rounds: number): Buffer {
  const image = readFileSync(join(packageRoot(), 'bench/exits/guest.bin'));
  image.writeUInt32LE(rounds, ROUNDS_OFFSET);
  image.writeUInt32LE(NAMES.indexOf(operation), OPERATION_OFFSET);
  return image;
}

/** What one run came to. */
export interface Samples {
  /** Nanoseconds of each round, in rising order. */
  readonly first: Float64Array;
  /** The second figure of each round, where the operation has one. */
  readonly second: Float64Array;
}

/**
 * Reads what the guest has noted.
 * @param memory - the guest's, from address 0, at least {@link KEPT_MEMORY} bytes
 * @param elapsed - nanoseconds between its marks by the host's clock, by which its TSC is measured
 * @throws Error when there is nonsense
 */
export function readSamples(
  memory: Uint8Array,
  operation: Operation,
  rounds: number,
  elapsed: number,
): Samples {
  const data = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  const ticks = Number(data.getBigUint64(ENDED, true) - data.getBigUint64(STARTED, true));
  if (!(ticks > 0 && elapsed > 0))
    throw new Error(`the guest's TSC went on by ${ticks} ticks in ${elapsed} ns`);
  const scale = elapsed / ticks / (operation.turns ?? 1);
  const skipped = Math.floor(rounds * WARM_UP);
  const sorted = (at: number, wait: number): Float64Array =>
    Float64Array.from(
      { length: rounds - skipped },
      (_, i) => data.getInt32(at + 4 * (skipped + i), true) * scale - wait,
    ).sort();
  const first = sorted(SAMPLES, operation.waits ?? 0);
  if (first.every((value) => value === -(operation.waits ?? 0)))
    throw new Error(`${operation.name}: no round took any time: the guest has noted none`);
  return { first, second: operation.more === undefined ? new Float64Array() : sorted(MORE_SAMPLES, 0) };
}
