/**
 * The local APIC of a virtual CPU, as xAPIC: a 4 KiB page of 32-bit registers at 16-byte steps
 * (Intel SDM volume 3A, chapter 10; the register names are its own). Its timer is in `lapic-timer.ts`, what is
 * requested and in service in `lapic-vectors.ts`; messages from one APIC to another go through the bus in
 * `interrupt-bus.ts`.
 *
 * The CPU asks {@link LocalApic.pendingVector} whether there is something to take, takes it with
 * {@link LocalApic.acknowledge}, and is told through its {@link CpuSignals} when to ask again.
 */
import { LAPIC_REGISTERS } from './apic-register-names.ts';
import type { AccessSize, BusDevice, TimedDevice } from './device.ts';
import { DeliveryMode, InterruptMessage, Shorthand } from './interrupt-message.ts';
import {
  DFR_RESERVED,
  ICR_LOW_BITS,
  importRegisters,
  isRegister,
  LAPIC_LAYOUT,
  LAPIC_PAGE_BYTES,
  LVT_BITS,
  LVT_MASKED,
  LVT_MODE,
  LVT_MODE_SHIFT,
  LVT_VECTOR,
  LvtIndex,
  SVR_BITS,
} from './lapic-registers.ts';
import { LapicTimer, type LapicTimerOptions } from './lapic-timer.ts';
import { LapicVectors } from './lapic-vectors.ts';
import type { DeviceState, SavedState } from './state.ts';

const {
  enabled: ENABLED,
  id: ID,
  tpr: TPR,
  ppr: PPR,
  pending: PENDING,
  ldr: LDR,
  dfr: DFR,
  svr: SVR,
  isr: ISR,
  tmr: TMR,
  irr: IRR,
  esr: ESR,
  errors: ERRORS,
  icrLow: ICR_LOW,
  icrHigh: ICR_HIGH,
  lvt: LVT,
  initialCount: INITIAL_COUNT,
  divide: DIVIDE,
  tscDeadlineHigh: TSC_DEADLINE_HIGH,
  tscDeadlineLow: TSC_DEADLINE_LOW,
  pins: PINS,
} = LAPIC_LAYOUT.word;
const { due: DUE } = LAPIC_LAYOUT.double;

/** Version 0x14 with entries 0 to 5 in the LVT, no EOI-broadcast suppression. 10.4.8 */
const VERSION = 0x0005_0014;
/** Spurious-interrupt vector register. 10.9 */
const SVR_RESET = 0xff;
const SVR_ENABLE = 1 << 8;
/** Destination format, flat model. 10.6.2.2 */
const DFR_FLAT = -1;
/** Destination that is everyone. 10.6.2.1 */
const BROADCAST = 0xff;
/** Vectors 0–15 are the processor's own. 10.5.2 */
const FIRST_LEGAL_VECTOR = 16;

/** Error status. 10.5.3 */
const SEND_ILLEGAL_VECTOR = 1 << 5;
const RECEIVE_ILLEGAL_VECTOR = 1 << 6;
const ILLEGAL_REGISTER = 1 << 7;

/** Interrupt command. 10.6.1 */
const ICR_LOGICAL = 1 << 11;
const ICR_ASSERT = 1 << 14;
const ICR_LEVEL = 1 << 15;

/** How a local APIC draws its CPU's attention. Called with locks held: note it, and return. */
export interface CpuSignals {
  /** Something may have become pending: ask {@link LocalApic.pendingVector}, and the PIC, before the next instruction. */
  interruptPending(): void;
  nmi(): void;
  /** INIT: the CPU goes to its reset state and waits for STARTUP. Its local APIC is already reset. */
  init(): void;
  /** @param vector - execution starts at address vector × 4096 */
  startup(vector: number): void;
}

/** What joins the APICs of a machine. */
export interface ApicBus {
  /** The message is the sender's own: it is filled anew for the next one. */
  send(message: InterruptMessage, from: LocalApic): void;
  /** A level-triggered interrupt has been handled. 10.8.5 */
  eoi(vector: number): void;
}

/** What a local APIC is given. */
export interface LocalApicOptions extends LapicTimerOptions {
  /** APIC id, 0–254. */
  readonly id: number;
  readonly bus: ApicBus;
  readonly signals: CpuSignals;
}

/** The local APIC of one CPU, offsets 0–0xfff. */
export class LocalApic implements TimedDevice, BusDevice {
  static readonly layout = LAPIC_LAYOUT;
  readonly name: string;
  readonly registers = LAPIC_REGISTERS;
  readonly state: DeviceState;
  readonly signals: CpuSignals;
  private readonly words: Int32Array;
  private readonly initialId: number;
  private readonly bus: ApicBus;
  private readonly vectors: LapicVectors;
  private readonly timer: LapicTimer;
  private readonly timerOptions: LapicTimerOptions;
  private readonly message = new InterruptMessage();

  constructor(name: string, state: DeviceState, options: LocalApicOptions) {
    this.name = name;
    this.state = state;
    this.words = state.words;
    this.initialId = options.id;
    this.bus = options.bus;
    this.signals = options.signals;
    this.timerOptions = options;
    this.vectors = new LapicVectors(state, options.signals);
    this.timer = new LapicTimer(state, options);
  }

  /** Power-on. 10.4.7.1 */
  reset(): void {
    this.words[ID] = this.initialId;
    this.words[ENABLED] = 1;
    this.initialize();
  }

  /** After INIT: as after power-on, but for the id and the global enable. 10.4.7.3 */
  initialize(): void {
    const { words } = this;
    const id = words[ID]!;
    const enabled = words[ENABLED]!;
    const pins = words[PINS]!;
    this.state.clear();
    words[ID] = id;
    words[ENABLED] = enabled;
    words[PINS] = pins;
    words[DFR] = DFR_FLAT;
    words[SVR] = SVR_RESET;
    words.fill(LVT_MASKED, LVT, LVT + LVT_BITS.length);
    this.state.doubles[DUE] = Number.POSITIVE_INFINITY;
    this.timerOptions.alarm.deadlineMoved();
    this.vectors.update();
  }

  /**
   * As firmware leaves it to the operating system (MP specification 1.4, 3.6.2.2, virtual wire mode): the boot
   * CPU takes the PIC's interrupts by LINT0, every CPU takes NMI by LINT1. To be called after a reset.
   */
  programLikeFirmware(isBsp: boolean): void {
    if (isBsp) this.words[LVT + LvtIndex.lint0] = DeliveryMode.extInt << LVT_MODE_SHIFT;
    this.words[LVT + LvtIndex.lint1] = DeliveryMode.nmi << LVT_MODE_SHIFT;
  }

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    this.state.restore(saved);
    this.timerOptions.alarm.deadlineMoved();
    this.vectors.update();
  }

  deadline(): number {
    return this.timer.deadline();
  }

  expire(now: number): void {
    if (this.timer.expire(now)) this.deliverLocal(LvtIndex.timer);
  }

  /** APIC id. */
  get id(): number {
    return this.words[ID]!;
  }

  /** IA32_APIC_BASE bit 11. Disabled, it is as if there were no APIC: neither registers nor interrupts. 10.4.3 */
  get enabled(): boolean {
    return this.words[ENABLED] !== 0;
  }

  set enabled(enabled: boolean) {
    this.words[ENABLED] = enabled ? 1 : 0;
    this.vectors.update();
  }

  /** SVR bit 8: whether fixed interrupts are accepted. 10.4.7.2 */
  get softwareEnabled(): boolean {
    return (this.words[SVR]! & SVR_ENABLE) !== 0;
  }

  /** CR8: bits 7:4 of TPR. 10.8.6.1 */
  get taskPriority(): number {
    return this.words[TPR]! >>> 4;
  }

  set taskPriority(priority: number) {
    this.words[TPR] = (priority & 0xf) << 4;
    this.vectors.update();
  }

  /** PPR, by which lowest-priority messages find their CPU. */
  get processorPriority(): number {
    return this.words[PPR]!;
  }

  /** IA32_TSC_DEADLINE bits 63:32; 0 once the deadline has passed. */
  get tscDeadlineHigh(): number {
    return this.words[TSC_DEADLINE_HIGH]! >>> 0;
  }

  /** IA32_TSC_DEADLINE bits 31:0. */
  get tscDeadlineLow(): number {
    return this.words[TSC_DEADLINE_LOW]! >>> 0;
  }

  /** Writes IA32_TSC_DEADLINE. Counts only while the LVT timer entry says TSC-deadline mode. 10.5.4.1 */
  setTscDeadline(high: number, low: number): void {
    if (this.timer.setTscDeadline(high, low)) this.deliverLocal(LvtIndex.timer);
  }

  /** The guest's TSC has been set: a TSC deadline is due at another time. */
  tscChanged(): void {
    this.timer.rearm();
  }

  /**
   * The vector to be taken next: the highest in IRR whose class is above PPR, or −1. Hot path: one load.
   * Whether the CPU may take it (RFLAGS.IF, interrupt shadow) is the CPU's matter. 10.8.3
   */
  pendingVector(): number {
    return this.words[PENDING]!;
  }

  /**
   * The CPU takes the pending interrupt: its vector moves from IRR to ISR. 10.8.4
   * @returns the vector; the spurious vector when there is none any more (10.9)
   */
  acknowledge(): number {
    const vector = this.vectors.take();
    return vector < 0 ? this.words[SVR]! & LVT_VECTOR : vector;
  }

  /**
   * A fixed interrupt arrives. Dropped while the APIC is disabled. 10.8.4
   * @param levelTriggered - its EOI is to be told to the IOAPICs
   */
  accept(vector: number, levelTriggered: boolean): void {
    const { words } = this;
    if (words[ENABLED] === 0 || (words[SVR]! & SVR_ENABLE) === 0) return;
    if (vector < FIRST_LEGAL_VECTOR) this.reportError(RECEIVE_ILLEGAL_VECTOR);
    else this.vectors.request(vector, levelTriggered);
  }

  /** Whether the PIC's interrupts reach the CPU: LINT0 takes them as ExtINT, or there is no APIC in between. 10.4.3, 10.5.1 */
  acceptsExtInt(): boolean {
    const { words } = this;
    if (words[ENABLED] === 0) return true;
    const lint0 = words[LVT + LvtIndex.lint0]!;
    return (lint0 & LVT_MASKED) === 0 && modeOf(lint0) === DeliveryMode.extInt;
  }

  /** Drives pin LINT0 (the PIC's INT output) or LINT1 (NMI), which count as edge-triggered. 10.5.1 */
  setPin(pin: 0 | 1, asserted: boolean): void {
    const { words } = this;
    const bit = 1 << pin;
    const rises = asserted && (words[PINS]! & bit) === 0;
    words[PINS] = asserted ? words[PINS]! | bit : words[PINS]! & ~bit;
    if (!rises) return;
    // Without an APIC the pins are the CPU's own INTR and NMI.
    if (words[ENABLED] !== 0) this.deliverLocal(LvtIndex.lint0 + pin);
    else if (pin === 0) this.signals.interruptPending();
    else this.signals.nmi();
  }

  /** Whether a message to this destination is for this APIC. 10.6.2 */
  matches(destination: number, logical: boolean): boolean {
    const { words } = this;
    if (words[ENABLED] === 0) return false;
    if (destination === BROADCAST) return true;
    if (!logical) return destination === words[ID];
    const own = words[LDR]! >>> 24;
    if (words[DFR] === DFR_FLAT) return (own & destination) !== 0;
    return own >>> 4 === destination >>> 4 && (own & destination & 0xf) !== 0;
  }

  /** Reads a register; bytes and words within one as KVM does, too. */
  read(offset: number, size: AccessSize): number {
    if (this.words[ENABLED] === 0) return size === 4 ? 0xffff_ffff : (1 << (8 * size)) - 1;
    const within = offset & 0xf;
    if (within + size > 4) return 0;
    const value = this.readRegister(offset >>> 4) >>> (8 * within);
    return size === 4 ? value >>> 0 : value & ((1 << (8 * size)) - 1);
  }

  /** Hot path for EOI, TPR and ICR. Only aligned 32-bit writes are defined (10.4.1); others are dropped. */
  write(offset: number, size: AccessSize, value: number): void {
    const { words } = this;
    if (size !== 4 || offset & 0xf || words[ENABLED] === 0) return;
    switch (offset >>> 4) {
      case 0x02:
        words[ID] = value >>> 24;
        return;
      case 0x08:
        words[TPR] = value & 0xff;
        this.vectors.update();
        return;
      case 0x0b:
        this.endOfInterrupt();
        return;
      case 0x0d:
        words[LDR] = value & ~0x00ff_ffff;
        return;
      case 0x0e:
        words[DFR] = value | DFR_RESERVED;
        return;
      case 0x0f:
        this.writeSvr(value & SVR_BITS);
        return;
      case 0x28:
        words[ESR] = words[ERRORS]!;
        words[ERRORS] = 0;
        return;
      case 0x30:
        words[ICR_LOW] = value & ICR_LOW_BITS;
        this.sendCommand();
        return;
      case 0x31:
        words[ICR_HIGH] = value & ~0x00ff_ffff;
        return;
      case 0x32:
      case 0x33:
      case 0x34:
      case 0x35:
      case 0x36:
      case 0x37:
        this.writeLvt((offset >>> 4) - 0x32, value);
        return;
      case 0x38:
        this.timer.setInitialCount(value >>> 0);
        return;
      case 0x3e:
        this.timer.setDivide(value);
        return;
      default:
        if (!isRegister(offset >>> 4)) this.reportError(ILLEGAL_REGISTER);
    }
  }

  /** The register page in the form of KVM_GET_LAPIC: the first 1024 bytes, little-endian. 10.4.1 */
  exportPage(): Uint8Array {
    const page = new Uint8Array(LAPIC_PAGE_BYTES);
    const view = new DataView(page.buffer);
    for (let index = 0; index < LAPIC_PAGE_BYTES >>> 4; index++) {
      if (isRegister(index)) view.setUint32(index << 4, this.readRegister(index), true);
    }
    return page;
  }

  /**
   * Takes over a register page, as {@link LocalApic.exportPage} and KVM_GET_LAPIC give it. The global enable and
   * a TSC deadline are MSRs, not part of the page: {@link LocalApic.setTscDeadline} comes after this.
   * @throws RangeError when there are fewer than 1024 bytes
   */
  importPage(bytes: Uint8Array): void {
    this.timer.continueFrom(importRegisters(this.words, bytes));
    this.vectors.update();
  }

  /** @param index - offset in the page divided by 16 */
  private readRegister(index: number): number {
    const { words } = this;
    if (index >= 0x10 && index < 0x28) {
      const table = index < 0x18 ? ISR : index < 0x20 ? TMR : IRR;
      return words[table + (index & 7)]! >>> 0;
    }
    if (index >= 0x32 && index < 0x38) return words[LVT + index - 0x32]!;
    switch (index) {
      case 0x02:
        return (words[ID]! << 24) >>> 0;
      case 0x03:
        return VERSION;
      case 0x08:
        return words[TPR]!;
      case 0x09:
        return this.vectors.arbitrationPriority();
      case 0x0a:
        return words[PPR]!;
      case 0x0d:
        return words[LDR]! >>> 0;
      case 0x0e:
        return words[DFR]! >>> 0;
      case 0x0f:
        return words[SVR]!;
      case 0x28:
        return words[ESR]!;
      case 0x30:
        return words[ICR_LOW]!;
      case 0x31:
        return words[ICR_HIGH]! >>> 0;
      case 0x38:
        return words[INITIAL_COUNT]! >>> 0;
      case 0x39:
        return this.timer.currentCount();
      case 0x3e:
        return words[DIVIDE]!;
      default:
        if (!isRegister(index)) this.reportError(ILLEGAL_REGISTER);
        return 0;
    }
  }

  /** Hot path. 10.8.5 */
  private endOfInterrupt(): void {
    const vector = this.vectors.end();
    if (vector >= 0 && this.vectors.isLevelTriggered(vector)) this.bus.eoi(vector);
  }

  /** Disabled by software, the APIC masks its whole LVT; what has been accepted stays. 10.4.7.2 */
  private writeSvr(value: number): void {
    const { words } = this;
    const disabled = words[SVR]! & ~value & SVR_ENABLE;
    words[SVR] = value;
    if (!disabled) return;
    for (let i = 0; i < LVT_BITS.length; i++) words[LVT + i] = words[LVT + i]! | LVT_MASKED;
  }

  private writeLvt(index: number, value: number): void {
    const mask = this.softwareEnabled ? 0 : LVT_MASKED;
    const entry = (value & LVT_BITS[index]!) | mask;
    if (index === LvtIndex.timer) this.timer.setLvt(entry);
    else this.words[LVT + index] = entry;
    // The PIC may have been waiting for LINT0 to take its interrupts.
    if (index === LvtIndex.lint0 && this.acceptsExtInt()) this.signals.interruptPending();
  }

  /** The low half of the ICR has been written: sends the command. 10.6.1 */
  private sendCommand(): void {
    const { words, message } = this;
    const command = words[ICR_LOW]!;
    const mode = modeOf(command);
    const vector = command & LVT_VECTOR;
    if (mode <= DeliveryMode.lowestPriority && vector < FIRST_LEGAL_VECTOR) {
      this.reportError(SEND_ILLEGAL_VECTOR);
      return;
    }
    // INIT level de-assert, by which older APICs took their arbitration ids anew. 10.6.1
    if (mode === DeliveryMode.init && (command & (ICR_LEVEL | ICR_ASSERT)) === ICR_LEVEL) return;
    message.vector = vector;
    message.deliveryMode = mode;
    message.destination = words[ICR_HIGH]! >>> 24;
    message.logical = (command & ICR_LOGICAL) !== 0;
    // Between processors every interrupt is an edge, whatever the trigger bit says. 10.6.1, trigger mode
    message.levelTriggered = false;
    message.shorthand = (command >>> 18) & 3;
    if (message.shorthand === Shorthand.self && mode === DeliveryMode.fixed) this.accept(vector, false);
    else this.bus.send(message, this);
  }

  /** A local source interrupts: as its LVT entry says. 10.5.1 */
  private deliverLocal(index: number): void {
    const entry = this.words[LVT + index]!;
    if (entry & LVT_MASKED) return;
    // Timer and error entries have no delivery mode: their bits are 0, fixed.
    switch (modeOf(entry)) {
      case DeliveryMode.fixed:
        this.accept(entry & LVT_VECTOR, false);
        return;
      case DeliveryMode.nmi:
        this.signals.nmi();
        return;
      case DeliveryMode.init:
        this.initialize();
        this.signals.init();
        return;
      case DeliveryMode.extInt:
        this.signals.interruptPending();
        return;
      default:
        // SMI: there is no system management mode here.
        return;
    }
  }

  /** Notes an error; the interrupt comes with the first of its kind. 10.5.3 */
  private reportError(error: number): void {
    const { words } = this;
    if (words[ERRORS]! & error) return;
    words[ERRORS] = words[ERRORS]! | error;
    this.deliverLocal(LvtIndex.error);
  }
}

function modeOf(entry: number): number {
  return (entry >>> LVT_MODE_SHIFT) & LVT_MODE;
}
