/**
 * The system control ports of a PC that are older than its chipsets: port B at 0x61 (timer 2 and speaker),
 * control port A at 0x92 (A20 gate and fast reset), and the reset control register at 0xcf9, which the FADT
 * names as the machine's reset register (Intel ICH9 data sheet, 13.7.1, 13.7.3 and 13.7.5).
 *
 * One device with three faces on the port bus, a byte each. Drivers that emulate port 0x61 together with the
 * PIT (KVM) don't map {@link SystemControl.portB}.
 */
import type { BusDevice, Device, MachineControl } from './device.ts';
import { bitNames, type Register } from './registers.ts';
import { type DeviceState, defineState, type SavedState } from './state.ts';

/** Channel 2 of the interval timer, as port 0x61 is wired to it. */
export interface Timer2 {
  /** Drives the channel's gate input. */
  setGate(high: boolean): void;
  /** Level of the channel's output. */
  output(): boolean;
}

const LAYOUT = defineState({ portB: 1, controlA: 1, resetControl: 1 });
const { portB: PORT_B, controlA: CONTROL_A, resetControl: RESET_CONTROL } = LAYOUT.word;

/** Port 0x61. ICH9 13.7.1 */
const TIMER2_GATE = 0x01;
/** Bits 0–3 keep what is written: gate, speaker, and two NMI masks. */
const PORT_B_KEPT = 0x0f;
/** Toggles with every refresh of DRAM; old guests count it to wait. */
const REFRESH_TOGGLE = 0x10;
const TIMER2_OUTPUT = 0x20;

/** Port 0x92. ICH9 13.7.3 */
const FAST_INIT = 0x01;
/** A20 is never masked in this machine, so the gate is only remembered. */
const A20_GATE = 0x02;

/** Port 0xcf9. ICH9 13.7.5 */
const SYS_RST = 0x02;
const RST_CPU = 0x04;
const FULL_RST = 0x08;
/** RST_CPU is an action, not a state: it reads 0. */
const RESET_CONTROL_KEPT = SYS_RST | FULL_RST;

const port = (name: string, state: string, bits: string): readonly Register[] => [
  { offset: 0, name, state, bits: bitNames(bits) },
];
const PORT_B_REGISTER = port(
  'NMI_SC',
  'portB',
  'TIM_CNT2_EN SPKR_DAT_EN PCI_SERR_EN IOCHK_EN REF_TOGGLE TMR2_OUT IOCHK SERR',
);
const CONTROL_A_REGISTER = port('Port A', 'controlA', 'INIT_NOW ALT_A20_GATE');
const RESET_CONTROL_REGISTER = port('RST_CNT', 'resetControl', '- SYS_RST RST_CPU FULL_RST');

/** Ports 0x61, 0x92 and 0xcf9. */
export class SystemControl implements Device {
  static readonly layout = LAYOUT;
  readonly name = 'system-control';
  readonly state: DeviceState;
  /** Port 0x61. */
  readonly portB: BusDevice;
  /** Port 0x92. */
  readonly controlA: BusDevice;
  /** Port 0xcf9. */
  readonly resetControl: BusDevice;
  private readonly machine: MachineControl;
  private readonly timer2: Timer2 | undefined;

  /** @param timer2 - where there is none, its output reads low */
  constructor(state: DeviceState, machine: MachineControl, timer2?: Timer2) {
    this.state = state;
    this.machine = machine;
    this.timer2 = timer2;
    const { words } = state;
    this.portB = {
      name: 'port-b',
      registers: PORT_B_REGISTER,
      read: () => this.readPortB(),
      write: (_offset, _size, value) => {
        words[PORT_B] = (words[PORT_B]! & ~PORT_B_KEPT) | (value & PORT_B_KEPT);
        this.timer2?.setGate((value & TIMER2_GATE) !== 0);
      },
    };
    this.controlA = {
      name: 'control-port-a',
      registers: CONTROL_A_REGISTER,
      read: () => words[CONTROL_A]!,
      write: (_offset, _size, value) => this.writeControlA(value),
    };
    this.resetControl = {
      name: 'reset-control',
      registers: RESET_CONTROL_REGISTER,
      read: () => words[RESET_CONTROL]!,
      write: (_offset, _size, value) => {
        words[RESET_CONTROL] = value & RESET_CONTROL_KEPT;
        if (value & RST_CPU) this.machine.reset();
      },
    };
  }

  reset(): void {
    this.state.clear();
    this.state.words[CONTROL_A] = A20_GATE;
    this.timer2?.setGate(false);
  }

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    this.state.restore(saved);
    this.timer2?.setGate((this.state.words[PORT_B]! & TIMER2_GATE) !== 0);
  }

  private readPortB(): number {
    const { words } = this.state;
    // Flips with each look at it: whoever waits for it to change waits no longer than it must.
    const value = words[PORT_B]! ^ REFRESH_TOGGLE;
    words[PORT_B] = value;
    return this.timer2?.output() ? value | TIMER2_OUTPUT : value;
  }

  private writeControlA(value: number): void {
    const { words } = this.state;
    const rising = value & ~words[CONTROL_A]! & FAST_INIT;
    words[CONTROL_A] = value & (FAST_INIT | A20_GATE);
    if (rising) this.machine.reset();
  }
}
