/**
 * The PS/2 keyboard controller at ports 0x60 (offset 0) and 0x64 (offset 4), with nothing plugged into it
 * (IBM PS/2 Technical Reference, keyboard and auxiliary device controller; Intel 8042 data sheet for the
 * status bits).
 *
 * Guests use it to reset the machine and to open the A20 gate, and look for a keyboard. Every command that
 * has an answer gets it at once, and a byte for the missing keyboard or mouse comes back at once as a
 * time-out: Linux' probe waits up to half a second for each answer that does not come.
 */
import { readBytes, writeBytes } from './bus.ts';
import type { AccessSize, BusDevice, Device, IrqLine, MachineControl } from './device.ts';
import { bitNames, type Register } from './registers.ts';
import { type DeviceState, defineState, type SavedState } from './state.ts';

const LAYOUT = defineState({
  /** The controller's RAM; byte 0 is the command byte. */
  ram: 32,
  /** What port 0x60 reads. */
  output: 1,
  /** The output-buffer-full and time-out bits of the status. */
  status: 1,
  outputPort: 1,
  /** The command that waits for its data byte at port 0x60; 0 for none, the byte then goes to the keyboard. */
  pendingCommand: 1,
});
const {
  ram: RAM,
  output: OUTPUT,
  status: STATUS,
  outputPort: OUTPUT_PORT,
  pendingCommand: PENDING_COMMAND,
} = LAYOUT.word;

const STATUS_OUTPUT_FULL = 0x01;
/** The self-test has passed; copied from the command byte. */
const STATUS_SYSTEM_FLAG = 0x04;
/** The last write went to port 0x64. */
const STATUS_COMMAND = 0x08;
const STATUS_NOT_LOCKED = 0x10;
const STATUS_TIMEOUT = 0x40;

const COMMAND_BYTE_KEYBOARD_INTERRUPT = 0x01;
const COMMAND_BYTE_SYSTEM_FLAG = 0x04;
const COMMAND_BYTE_DISABLE_KEYBOARD = 0x10;
const COMMAND_BYTE_DISABLE_AUX = 0x20;
const COMMAND_BYTE_RESET = COMMAND_BYTE_DISABLE_KEYBOARD | COMMAND_BYTE_DISABLE_AUX;

const COMMAND_READ_RAM = 0x20;
const COMMAND_WRITE_RAM = 0x60;
const COMMAND_WRITE_OUTPUT_PORT = 0xd1;
const COMMAND_ECHO_KEYBOARD = 0xd2;
const COMMAND_ECHO_AUX = 0xd3;
const COMMAND_WRITE_AUX = 0xd4;
/** 0xf0–0xff pulse the output-port lines whose bits are 0. */
const COMMAND_PULSE = 0xf0;

const SELF_TEST_PASSED = 0x55;
const INTERFACE_WORKS = 0x00;
/** What the interface test says of the mouse port: its clock line is stuck low. There is no such port. */
const INTERFACE_CLOCK_LOW = 0x01;
/** What the controller puts in the output buffer when a device does not answer. */
const NO_ANSWER = 0xfe;

/** Output port bits. Low resets the processor. */
const OUTPUT_PORT_NO_RESET = 0x01;
const OUTPUT_PORT_A20 = 0x02;
const OUTPUT_PORT_RESET = 0xcc | OUTPUT_PORT_NO_RESET | OUTPUT_PORT_A20;
/** Input port: keyboard not locked, no manufacturing jumper. */
const INPUT_PORT = 0xa0;

const REGISTERS: readonly Register[] = [
  { offset: 0, name: 'Output buffer', only: 'read', state: 'output' },
  { offset: 0, name: 'Input buffer', only: 'write' },
  {
    offset: 4,
    name: 'Status',
    only: 'read',
    state: 'status',
    bits: bitNames('OBF IBF SYS A2 INH mouse-OBF timeout parity'),
  },
  { offset: 4, name: 'Command', only: 'write' },
];

/** Keyboard controller without keyboard. Map port 0x64 with `firstOffset` 4. */
export class I8042 implements Device, BusDevice {
  static readonly layout = LAYOUT;
  readonly name = 'i8042';
  readonly registers = REGISTERS;
  readonly state: DeviceState;
  private readonly machine: MachineControl;
  private readonly irq: IrqLine | undefined;

  /** @param irq - the keyboard's interrupt, 1 on a PC; without it guests must poll */
  constructor(state: DeviceState, machine: MachineControl, irq?: IrqLine) {
    this.state = state;
    this.machine = machine;
    this.irq = irq;
  }

  reset(): void {
    const { words } = this.state;
    this.state.clear();
    words[RAM] = COMMAND_BYTE_RESET;
    words[OUTPUT_PORT] = OUTPUT_PORT_RESET;
    words[STATUS] = STATUS_NOT_LOCKED;
    this.updateInterrupt();
  }

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    this.state.restore(saved);
    this.updateInterrupt();
  }

  read(offset: number, size: AccessSize): number {
    if (size !== 1) return readBytes(this, offset, size);
    const { words } = this.state;
    if (offset === 0) {
      words[STATUS] = words[STATUS]! & ~(STATUS_OUTPUT_FULL | STATUS_TIMEOUT);
      this.updateInterrupt();
      return words[OUTPUT]!;
    }
    if (offset === 4) {
      return words[STATUS]! | (words[RAM]! & COMMAND_BYTE_SYSTEM_FLAG ? STATUS_SYSTEM_FLAG : 0);
    }
    return 0xff;
  }

  write(offset: number, size: AccessSize, value: number): void {
    const { words } = this.state;
    if (size !== 1) {
      writeBytes(this, offset, size, value);
    } else if (offset === 0) {
      words[STATUS] = words[STATUS]! & ~STATUS_COMMAND;
      this.writeData(value & 0xff);
    } else if (offset === 4) {
      words[STATUS] = words[STATUS]! | STATUS_COMMAND;
      this.command(value & 0xff);
    }
  }

  private command(command: number): void {
    const { words } = this.state;
    words[PENDING_COMMAND] = 0;
    if (command >= COMMAND_READ_RAM && command < COMMAND_READ_RAM + 32) {
      this.answer(words[RAM + (command & 0x1f)]!);
      return;
    }
    if (command >= COMMAND_WRITE_RAM && command < COMMAND_WRITE_RAM + 32) {
      words[PENDING_COMMAND] = command;
      return;
    }
    if (command >= COMMAND_PULSE) {
      if ((command & OUTPUT_PORT_NO_RESET) === 0) this.machine.reset();
      return;
    }
    switch (command) {
      case 0xa7:
        words[RAM] = words[RAM]! | COMMAND_BYTE_DISABLE_AUX;
        return;
      case 0xa8:
        words[RAM] = words[RAM]! & ~COMMAND_BYTE_DISABLE_AUX;
        return;
      case 0xa9:
        this.answer(INTERFACE_CLOCK_LOW);
        return;
      case 0xaa:
        words[RAM] = words[RAM]! | COMMAND_BYTE_SYSTEM_FLAG;
        this.answer(SELF_TEST_PASSED);
        return;
      case 0xab:
        this.answer(INTERFACE_WORKS);
        return;
      case 0xad:
        words[RAM] = words[RAM]! | COMMAND_BYTE_DISABLE_KEYBOARD;
        return;
      case 0xae:
        words[RAM] = words[RAM]! & ~COMMAND_BYTE_DISABLE_KEYBOARD;
        return;
      case 0xc0:
        this.answer(INPUT_PORT);
        return;
      case 0xd0:
        this.answer(words[OUTPUT_PORT]!);
        return;
      case COMMAND_WRITE_OUTPUT_PORT:
      case COMMAND_ECHO_KEYBOARD:
      case COMMAND_ECHO_AUX:
      case COMMAND_WRITE_AUX:
        words[PENDING_COMMAND] = command;
        return;
      default:
        return;
    }
  }

  private writeData(value: number): void {
    const { words } = this.state;
    const command = words[PENDING_COMMAND]!;
    words[PENDING_COMMAND] = 0;
    if (command >= COMMAND_WRITE_RAM && command < COMMAND_WRITE_RAM + 32) {
      words[RAM + (command & 0x1f)] = value;
      this.updateInterrupt();
      return;
    }
    switch (command) {
      case COMMAND_WRITE_OUTPUT_PORT:
        words[OUTPUT_PORT] = value;
        if ((value & OUTPUT_PORT_NO_RESET) === 0) this.machine.reset();
        return;
      case COMMAND_ECHO_KEYBOARD:
      case COMMAND_ECHO_AUX:
        // The echo never carries the mouse's mark, by which Linux sees that there is no mouse port.
        this.answer(value);
        return;
      default:
        // For the keyboard, or for the mouse with COMMAND_WRITE_AUX: nobody is there.
        this.answer(NO_ANSWER);
        words[STATUS] = words[STATUS]! | STATUS_TIMEOUT;
        return;
    }
  }

  private answer(value: number): void {
    const { words } = this.state;
    words[OUTPUT] = value;
    words[STATUS] = (words[STATUS]! & ~STATUS_TIMEOUT) | STATUS_OUTPUT_FULL;
    this.updateInterrupt();
  }

  private updateInterrupt(): void {
    const { words } = this.state;
    const full = (words[STATUS]! & STATUS_OUTPUT_FULL) !== 0;
    this.irq?.setLevel(full && (words[RAM]! & COMMAND_BYTE_KEYBOARD_INTERRUPT) !== 0);
  }
}
