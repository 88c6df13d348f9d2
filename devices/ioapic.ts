/**
 * The I/O APIC: 24 interrupt inputs, each with an entry in the redirection table that says which vector is sent
 * to which CPU, and how (Intel 82093AA data sheet, chapter 3; the register names are its own).
 *
 * Inputs are driven by whether they are *asserted*. The polarity bit is kept for the guest to read, but there
 * are no voltages here that could mean either.
 */
import { IOAPIC_REGISTERS } from './apic-register-names.ts';
import type { AccessSize, BusDevice, Device } from './device.ts';
import { DeliveryMode, InterruptMessage, type MessageBus } from './interrupt-message.ts';
import { type DeviceState, defineState, type SavedState } from './state.ts';

/** Interrupt inputs of an IOAPIC. */
export const IOAPIC_INPUTS = 24;

const LAYOUT = defineState({
  ioregsel: 1,
  id: 1,
  /** Bits 31:0 and 63:32 of the redirection table's entries. */
  low: IOAPIC_INPUTS,
  high: IOAPIC_INPUTS,
  /** Which inputs are asserted, a bit each. */
  inputs: 1,
});
const { ioregsel: IOREGSEL, id: ID, low: LOW, high: HIGH, inputs: INPUTS } = LAYOUT.word;

/** Memory-mapped registers. 3.1 */
const OFFSET_IOREGSEL = 0x00;
const OFFSET_IOWIN = 0x10;

/** Registers behind IOWIN. 3.2 */
const IOAPICID = 0x00;
const IOAPICVER = 0x01;
const IOAPICARB = 0x02;
const IOREDTBL = 0x10;

/** Version 0x11, and the last entry's number. 3.2.2 */
const VERSION = ((IOAPIC_INPUTS - 1) << 16) | 0x11;
const ID_SHIFT = 24;
const ID_BITS = 0x0f;

/** A redirection entry, bits 31:0. 3.2.4 */
const VECTOR = 0xff;
const MODE_SHIFT = 8;
const MODE = 7;
const LOGICAL = 1 << 11;
const REMOTE_IRR = 1 << 14;
const LEVEL = 1 << 15;
const MASKED = 1 << 16;
/** Delivery status, which is always idle here, and remote IRR are read-only. */
const WRITABLE = 0x1_afff;
/** Bits 63:56 are the destination, the rest is reserved. */
const DESTINATION_SHIFT = 24;
const HIGH_BITS = 0xff00_0000 | 0;

/** An IOAPIC on the memory bus, offsets 0–0x1f. */
export class Ioapic implements Device, BusDevice {
  static readonly layout = LAYOUT;
  readonly name: string;
  readonly registers = IOAPIC_REGISTERS;
  readonly state: DeviceState;
  private readonly bus: MessageBus;
  private readonly initialId: number;
  private readonly message = new InterruptMessage();

  /** @param id - what the id register holds after reset, 0–15; software knows the IOAPIC by it */
  constructor(name: string, state: DeviceState, bus: MessageBus, id = 0) {
    this.name = name;
    this.state = state;
    this.bus = bus;
    this.initialId = id;
  }

  selected(): number {
    return this.state.words[IOREGSEL]!;
  }

  /** The redirection table, for people to look at. */
  get redirections(): { readonly low: number; readonly high: number }[] {
    const { words } = this.state;
    return Array.from({ length: IOAPIC_INPUTS }, (_, i) => ({
      low: words[LOW + i]! >>> 0,
      high: words[HIGH + i]! >>> 0,
    }));
  }

  /** All inputs masked. What drives them goes on driving them. */
  reset(): void {
    const { words } = this.state;
    words[IOREGSEL] = 0;
    words[ID] = this.initialId;
    words.fill(MASKED, LOW, LOW + IOAPIC_INPUTS);
    words.fill(0, HIGH, HIGH + IOAPIC_INPUTS);
  }

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    this.state.restore(saved);
  }

  read(offset: number, size: AccessSize): number {
    const within = offset & 0xf;
    if (within + size > 4) return 0;
    const value = this.readRegister(offset - within) >>> (8 * within);
    return size === 4 ? value >>> 0 : value & ((1 << (8 * size)) - 1);
  }

  /** IOREGSEL takes its low byte however wide the access is, IOWIN only 32 bits at once. 3.1 */
  write(offset: number, size: AccessSize, value: number): void {
    if (offset === OFFSET_IOREGSEL) this.state.words[IOREGSEL] = value & 0xff;
    else if (offset === OFFSET_IOWIN && size === 4) this.writeIndirect(this.state.words[IOREGSEL]!, value);
  }

  /**
   * Hot path: drives an interrupt input.
   * @param input - 0 … 23; others are ignored
   */
  setLevel(input: number, asserted: boolean): void {
    if (input < 0 || input >= IOAPIC_INPUTS) return;
    const { words } = this.state;
    const bit = 1 << input;
    const before = words[INPUTS]!;
    if (!asserted) {
      words[INPUTS] = before & ~bit;
      return;
    }
    if (before & bit) return;
    words[INPUTS] = before | bit;
    // An edge on a masked input is ignored, not held pending (3.2.4, bit 16); a level is still there later.
    const entry = words[LOW + input]!;
    if ((entry & MASKED) === 0 && (entry & (LEVEL | REMOTE_IRR)) !== (LEVEL | REMOTE_IRR))
      this.deliver(input);
  }

  /** Hot path: a CPU has handled this vector. Level inputs that sent it and are still asserted send it again. 3.2.4, bit 14 */
  eoi(vector: number): void {
    const { words } = this.state;
    for (let input = 0; input < IOAPIC_INPUTS; input++) {
      const entry = words[LOW + input]!;
      if ((entry & (VECTOR | REMOTE_IRR)) !== (vector | REMOTE_IRR)) continue;
      words[LOW + input] = entry & ~REMOTE_IRR;
      this.deliverLevel(input);
    }
  }

  private readRegister(offset: number): number {
    const { words } = this.state;
    const register = words[IOREGSEL]!;
    if (offset === OFFSET_IOREGSEL) return register;
    if (offset !== OFFSET_IOWIN) return 0;
    if (register === IOAPICID || register === IOAPICARB) return words[ID]! << ID_SHIFT;
    if (register === IOAPICVER) return VERSION;
    const input = (register - IOREDTBL) >> 1;
    if (input < 0 || input >= IOAPIC_INPUTS) return 0;
    return words[(register & 1 ? HIGH : LOW) + input]!;
  }

  private writeIndirect(register: number, value: number): void {
    const { words } = this.state;
    const input = (register - IOREDTBL) >> 1;
    if (register === IOAPICID) words[ID] = (value >>> ID_SHIFT) & ID_BITS;
    else if (input < 0 || input >= IOAPIC_INPUTS) return;
    else if (register & 1) words[HIGH + input] = value & HIGH_BITS;
    else {
      // An edge entry has no remote IRR: guests clear it by switching an entry to edge and back.
      const remoteIrr = value & LEVEL ? words[LOW + input]! & REMOTE_IRR : 0;
      words[LOW + input] = (value & WRITABLE) | remoteIrr;
      this.deliverLevel(input);
    }
  }

  /** Sends for a level-triggered input that is asserted, unless it is masked or a CPU still has its last interrupt. */
  private deliverLevel(input: number): void {
    const { words } = this.state;
    const entry = words[LOW + input]!;
    if ((entry & (LEVEL | MASKED | REMOTE_IRR)) === LEVEL && words[INPUTS]! & (1 << input))
      this.deliver(input);
  }

  /** Hot path. */
  private deliver(input: number): void {
    const { words } = this.state;
    const { message } = this;
    const entry = words[LOW + input]!;
    const mode = (entry >>> MODE_SHIFT) & MODE;
    // Only vectors have levels: NMI, INIT and ExtINT are edges (3.2.4, bits 10:8).
    const level = (entry & LEVEL) !== 0 && mode <= DeliveryMode.lowestPriority;
    message.vector = entry & VECTOR;
    message.deliveryMode = mode;
    message.destination = words[HIGH + input]! >>> DESTINATION_SHIFT;
    message.logical = (entry & LOGICAL) !== 0;
    message.levelTriggered = level;
    if (level) words[LOW + input] = entry | REMOTE_IRR;
    this.bus.send(message);
  }
}
