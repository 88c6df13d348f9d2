/**
 * The fixed hardware of ACPI: PM1a event and control blocks and the power-management timer
 * (ACPI 6.5, 4.8.2 and 4.8.3), as the FADT describes them to the guest.
 *
 * It has three faces on the port bus, because the FADT places each block by itself: {@link AcpiPm.event},
 * {@link AcpiPm.control} and {@link AcpiPm.timer}. Through it the guest switches the machine off, and the
 * VMM asks the guest to do so ({@link AcpiPm.pressPowerButton}). The machine has no legacy mode, so SCI_EN
 * always reads 1 (4.8.3.2.1: a platform without SMI_CMD is always in ACPI mode).
 */
import type { AccessSize, Alarm, BusDevice, Clock, IrqLine, MachineControl, TimedDevice } from './device.ts';
import { bitNames, type Register } from './registers.ts';
import { type DeviceState, defineState, type SavedState } from './state.ts';

const LAYOUT = defineState(
  {
    /** PM1 status, low half, and enable, high half: the event block as the guest sees it. */
    event: 1,
    control: 1,
  },
  {
    /** How often the timer's top bit had changed when TMR_STS was last looked at. */
    timerChanges: 1,
    /** When it will change next, if the guest wants to be told. */
    due: 1,
  },
);
const { event: EVENT, control: CONTROL } = LAYOUT.word;
const { timerChanges: TIMER_CHANGES, due: DUE } = LAYOUT.double;

/** PM1 status and enable. 4.8.3.1 */
const TIMER = 0x0001;
const GLOBAL = 0x0020;
const POWER_BUTTON = 0x0100;
const SLEEP_BUTTON = 0x0200;
const RTC = 0x0400;
const WAKE = 0x8000;
const STATUS_BITS = TIMER | GLOBAL | POWER_BUTTON | SLEEP_BUTTON | RTC | WAKE;
const ENABLE_BITS = TIMER | GLOBAL | POWER_BUTTON | SLEEP_BUTTON | RTC;

/** PM1 control. 4.8.3.2 */
const SCI_ENABLE = 0x0001;
const SLEEP_TYPE_SHIFT = 10;
const SLEEP_TYPE = 0x1c00;
const SLEEP_ENABLE = 0x2000;
/** BM_RLD and SLP_TYP keep what is written; GBL_RLS and SLP_EN read 0. */
const CONTROL_KEPT = 0x0002 | SLEEP_TYPE;

/** Ticks of the PM timer per nanosecond: 3.579545 MHz. 4.8.3.3 */
const TICKS_PER_NANOSECOND = 3.579545e-3;

/** 4.8.3.1 and 4.8.3.2 */
const EVENT_BITS = bitNames('TMR -:3 BM GBL -:2 PWRBTN SLPBTN RTC -:3 PCIEXP WAK');
const EVENT_REGISTERS: readonly Register[] = [
  { offset: 0, length: 2, name: 'PM1_STS', state: 'event', bits: EVENT_BITS },
  { offset: 2, length: 2, name: 'PM1_EN', bits: EVENT_BITS },
];
const CONTROL_REGISTERS: readonly Register[] = [
  {
    offset: 0,
    length: 2,
    name: 'PM1_CNT',
    state: 'control',
    bits: bitNames('SCI_EN BM_RLD GBL_RLS -:7 SLP_TYP:3 SLP_EN'),
  },
];
const TIMER_REGISTERS: readonly Register[] = [{ offset: 0, length: 4, name: 'PM_TMR' }];

/** The ACPI fixed hardware of a machine. */
export class AcpiPm implements TimedDevice {
  static readonly layout = LAYOUT;
  readonly name = 'acpi-pm';
  readonly state: DeviceState;
  /** PM1a event block, 4 bytes: status, then enable. */
  readonly event: BusDevice;
  /** PM1a control block, 2 bytes. */
  readonly control: BusDevice;
  /** PM timer, 4 bytes. */
  readonly timer: BusDevice;
  private readonly sci: IrqLine;
  private readonly clock: Clock;
  private readonly alarm: Alarm;
  private readonly machine: MachineControl;
  private readonly softOff: number;
  private readonly timerModulus: number;

  /**
   * @param sci - the system control interrupt, level-triggered
   * @param softOffSleepType - SLP_TYP of soft off, 0–7, as in the DSDT's \_S5 object
   * @param timerBits - width of the timer: 32 if the FADT sets TMR_VAL_EXT
   */
  constructor(
    state: DeviceState,
    sci: IrqLine,
    clock: Clock,
    alarm: Alarm,
    machine: MachineControl,
    softOffSleepType: number,
    timerBits: 24 | 32 = 32,
  ) {
    this.state = state;
    this.sci = sci;
    this.clock = clock;
    this.alarm = alarm;
    this.machine = machine;
    this.softOff = softOffSleepType;
    this.timerModulus = 2 ** timerBits;
    this.event = {
      name: 'acpi-pm1-event',
      registers: EVENT_REGISTERS,
      read: (offset, size) => this.readEvent(offset, size),
      write: (offset, size, value) => this.writeEvent(offset, size, value),
    };
    this.control = {
      name: 'acpi-pm1-control',
      registers: CONTROL_REGISTERS,
      read: (offset, size) => part(this.state.words[CONTROL]!, offset, size),
      write: (offset, size, value) => this.writeControl(offset, size, value),
    };
    this.timer = {
      name: 'acpi-pm-timer',
      registers: TIMER_REGISTERS,
      read: (offset, size) => part(this.ticks() % this.timerModulus, offset, size),
      write: () => {},
    };
  }

  reset(): void {
    this.state.clear();
    this.state.words[CONTROL] = SCI_ENABLE;
    this.state.doubles[TIMER_CHANGES] = this.topBitChanges();
    this.update();
  }

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    this.state.restore(saved);
    this.update();
  }

  deadline(): number {
    return this.state.doubles[DUE]!;
  }

  expire(_now: number): void {
    this.update();
  }

  /** As if someone pressed the power button: an orderly guest shuts down. The caller holds the lock. 4.8.2.2.1 */
  pressPowerButton(): void {
    this.state.words[EVENT] = this.state.words[EVENT]! | POWER_BUTTON;
    this.update();
  }

  private readEvent(offset: number, size: AccessSize): number {
    this.update();
    return part(this.state.words[EVENT]! >>> 0, offset, size);
  }

  private writeEvent(offset: number, size: AccessSize, value: number): void {
    const { words } = this.state;
    this.update();
    const mask = maskOf(offset, size);
    const written = (value << (8 * offset)) & mask;
    const status = words[EVENT]! & ~written & STATUS_BITS;
    const enable = ((words[EVENT]! & ~mask) | written) & (ENABLE_BITS << 16);
    words[EVENT] = status | enable;
    this.update();
  }

  private writeControl(offset: number, size: AccessSize, value: number): void {
    const { words } = this.state;
    const mask = maskOf(offset, size);
    const control = (words[CONTROL]! & ~mask) | ((value << (8 * offset)) & mask);
    words[CONTROL] = (control & CONTROL_KEPT) | SCI_ENABLE;
    // Sleep types other than soft off are not offered to the guest; asking for one does nothing.
    if (control & SLEEP_ENABLE && (control & SLEEP_TYPE) >>> SLEEP_TYPE_SHIFT === this.softOff) {
      this.machine.powerOff();
    }
  }

  /** Notes what the timer did, and drives the SCI and the deadline from that. */
  private update(): void {
    const { words, doubles } = this.state;
    const changes = this.topBitChanges();
    if (changes !== doubles[TIMER_CHANGES]) {
      doubles[TIMER_CHANGES] = changes;
      words[EVENT] = words[EVENT]! | TIMER;
    }
    const event = words[EVENT]!;
    const enable = event >>> 16;
    this.sci.setLevel((event & enable & ENABLE_BITS) !== 0);
    const due =
      enable & TIMER && !(event & TIMER)
        ? // Up to the next nanosecond, so that the change has happened when the deadline has come.
          Math.ceil(((changes + 1) * (this.timerModulus / 2)) / TICKS_PER_NANOSECOND) + 1
        : Number.POSITIVE_INFINITY;
    if (due !== doubles[DUE]) {
      doubles[DUE] = due;
      this.alarm.deadlineMoved();
    }
  }

  /** Since power-on; not reduced to the timer's width. */
  private ticks(): number {
    return Math.floor(this.clock.now() * TICKS_PER_NANOSECOND);
  }

  private topBitChanges(): number {
    return Math.floor(this.ticks() / (this.timerModulus / 2));
  }
}

/** The bits of a 32-bit register that an access covers. */
function maskOf(offset: number, size: AccessSize): number {
  return (size === 4 ? -1 : (1 << (8 * size)) - 1) << (8 * offset);
}

/** `size` bytes of an unsigned register from `offset` on. */
function part(register: number, offset: number, size: AccessSize): number {
  const value = register >>> (8 * offset);
  return size === 4 ? value : value & ((1 << (8 * size)) - 1);
}
