/**
 * The state of a whole machine in its neutral form: what {@link Machine.save} gives and what a new machine can go on
 * from, on whichever engine. Plain data: bigints, typed arrays and maps, which `structuredClone` and Node's
 * `v8.serialize` can copy and write to a file.
 */
import { Type2Error } from '../devices/errors.ts';
import type { GuestMemory } from '../devices/memory.ts';
import type { SavedState } from '../devices/state.ts';
import { type CpuidLeaf, missingFeatures } from './cpuid.ts';
import type { EngineName } from './engine.ts';
import type { VcpuState } from './vcpu-state.ts';

/** What a driver keeps: its vCPUs, and the chips that are devices on one driver and in the kernel on another. */
export interface EngineState {
  /** The driver that the state was saved on. */
  readonly engine: EngineName;
  /** vCPU 0 first. */
  readonly vcpus: readonly VcpuState[];
  /**
   * By name, as the classes in devices/ have it: `lapic0` and on, `ioapic`, `pic`, `pit`. More than that is one
   * driver's own (`cpu-time`), and others do without.
   */
  readonly chips: Readonly<Record<string, SavedState>>;
  /** Of the guest's TSC, in Hz: what the guest has measured. */
  readonly tscFrequency: number;
  /** kvmclock in nanoseconds, where the guest has one. */
  readonly kvmClock?: bigint;
}

/** A run of RAM that isn't all zeroes. */
export interface RamPart {
  /** Guest-physical address. */
  readonly address: number;
  /** What is there, up to 64 KiB. */
  readonly bytes: Uint8Array;
}

/** A machine. */
export interface MachineState {
  /** Of this form; goes up when it changes. */
  readonly version: 1;
  /** Bytes of RAM. */
  readonly memory: number;
  /** Machine time in nanoseconds: {@link Clock.now}. */
  readonly clock: number;
  /** What the driver keeps of it. */
  readonly engine: EngineState;
  /** By device name. */
  readonly devices: Readonly<Record<string, SavedState>>;
  /** In ascending order; what lies between is zero. */
  readonly ram: readonly RamPart[];
}

/** RAM is looked at in pieces of this many bytes. */
const PIECE = 64 * 1024;

/** Copies what isn't zero. */
export function saveRam(memory: GuestMemory): RamPart[] {
  const parts: RamPart[] = [];
  for (const { base, length } of memory.regions) {
    for (let at = 0; at < length; at += PIECE) {
      const bytes = memory.view(base + at, Math.min(PIECE, length - at));
      const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8);
      if (words.some((word) => word !== 0n))
        parts.push({ address: base + at, bytes: Uint8Array.from(bytes) });
    }
  }
  return parts;
}

/** Takes back what {@link saveRam} gave; all else becomes zero. */
export function restoreRam(memory: GuestMemory, parts: readonly RamPart[]): void {
  for (const { u8 } of memory.regions) u8.fill(0);
  for (const { address, bytes } of parts) memory.write(address, bytes);
}

/**
 * Gate and speaker bits of port 0x61 belong to the platform on one driver and to the timer in the kernel on another,
 * which has them as a chip of this name. In a machine's state they are the platform's.
 */
export const PORT_B_CHIP = 'port-b';
const PORT_B_DEVICE = 'system-control';
const PORT_B_TIMER_BITS = 3;

/** From a driver's state to the machine's. */
export function portBToPlatform(
  engine: EngineState,
  devices: Readonly<Record<string, SavedState>>,
): { engine: EngineState; devices: Record<string, SavedState> } {
  const { [PORT_B_CHIP]: chip, ...chips } = engine.chips;
  const device = devices[PORT_B_DEVICE];
  if (chip === undefined || device === undefined) return { engine, devices: { ...devices } };
  const portB = (Number(device['portB']) & ~PORT_B_TIMER_BITS) | Number(chip['portB']);
  return { engine: { ...engine, chips }, devices: { ...devices, [PORT_B_DEVICE]: { ...device, portB } } };
}

/** And back. */
export function portBToChips({ engine, devices }: Pick<MachineState, 'engine' | 'devices'>): EngineState {
  const portB = Number(devices[PORT_B_DEVICE]?.['portB'] ?? 0) & PORT_B_TIMER_BITS;
  return { ...engine, chips: { ...engine.chips, [PORT_B_CHIP]: { portB } } };
}

/** A state that another machine can't go on from. */
export function stateMismatch(message: string, hint: string): Type2Error {
  return new Type2Error('STATE_MISMATCH', message, { hint });
}

/** Most features that an error names. */
const NAMED_MAXIMUM = 6;

/**
 * Refuses a guest that has been promised what this CPU hasn't got: it would go wrong at the first such instruction.
 * @throws Type2Error with code `STATE_MISMATCH`
 */
export function checkFeatures(state: EngineState, here: readonly CpuidLeaf[], engine: EngineName): void {
  const missing = missingFeatures(state.vcpus[0]?.cpuid ?? [], here);
  if (missing.length === 0) return;
  const named = missing.slice(0, NAMED_MAXIMUM).join(', ');
  const more = missing.length > NAMED_MAXIMUM ? ` and ${missing.length - NAMED_MAXIMUM} more` : '';
  throw stateMismatch(
    `the guest was started with CPU features that ${engine} has not got here: ${named}${more}`,
    'Start the guest with portable: true, so that it sees no more of the processor than every engine has.',
  );
}
