/**
 * The two 8259A interrupt controllers of a PC, the second cascaded into input 2 of the first, and the
 * edge/level registers of later chipsets (Intel 8259A data sheet, order number 231468; ICH9 data sheet,
 * 13.4). Command words have the data sheet's names: ICW1–4 initialize, OCW1–3 operate.
 *
 * Every register is a pair of words: the first for the first controller (master), the second for the other.
 */
import { readBytes, writeBytes } from './bus.ts';
import type { AccessSize, BusDevice, Device } from './device.ts';
import { ELCR_REGISTERS, picRegisters } from './pic-registers.ts';
import type { Register } from './registers.ts';
import { type DeviceState, defineState, type SavedState } from './state.ts';

const LAYOUT = defineState({
  /** Requests: edges that wait to be acknowledged, and levels as they are. */
  irr: 2,
  isr: 2,
  imr: 2,
  /** Inputs as they are driven. The master's input 2 is the slave's output. */
  inputs: 2,
  /** Inputs that are level-triggered. ICH9 13.4.11 */
  elcr: 2,
  /** ICW2: bits 7:3 of the vectors. */
  vectorBase: 2,
  /** The ICW that comes next to the data port: 2, 3 or 4; 0 when initialization is over. */
  expectedIcw: 2,
  /** ICW1 announced an ICW4. */
  needsIcw4: 2,
  /** ICW4, of which AEOI and SFNM count. */
  icw4: 2,
  /** The input with the lowest priority; the one after it has the highest. */
  lowest: 2,
  rotateOnAutoEoi: 2,
  /** OCW3: reading the command port gives ISR instead of IRR. */
  readIsr: 2,
  specialMask: 2,
  /** OCW3: the next read is a poll. */
  poll: 2,
  /** INT outputs: the master's goes to the CPU, the slave's to the master. */
  output: 2,
});
const {
  irr: IRR,
  isr: ISR,
  imr: IMR,
  inputs: INPUTS,
  elcr: ELCR,
  vectorBase: VECTOR_BASE,
  expectedIcw: EXPECTED_ICW,
  needsIcw4: NEEDS_ICW4,
  icw4: ICW4,
  lowest: LOWEST,
  rotateOnAutoEoi: ROTATE_ON_AUTO_EOI,
  readIsr: READ_ISR,
  specialMask: SPECIAL_MASK,
  poll: POLL,
  output: OUTPUT,
} = LAYOUT.word;

const MASTER = 0;
const SLAVE = 1;
const CASCADE_INPUT = 2;
const CASCADE = 1 << CASCADE_INPUT;
const SPURIOUS_INPUT = 7;

/** ICW1. Level triggering (bit 3) is by ELCR instead (ICH9 13.4.2), and the cascade is always there. */
const ICW1 = 0x10;
const ICW1_IC4 = 0x01;
/** ICW4. */
const ICW4_AEOI = 0x02;
const ICW4_SFNM = 0x10;
/** OCW3 is a command with this bit, OCW2 one with neither this nor ICW1. */
const OCW3 = 0x08;
const OCW3_RIS = 0x01;
const OCW3_RR = 0x02;
const OCW3_POLL = 0x04;
const OCW3_SMM = 0x20;
const OCW3_ESMM = 0x40;
const POLL_INTERRUPT = 0x80;

/** Inputs 0, 1, 2, 8 and 13 are edges on every PC. ICH9 13.4.11 and 13.4.12 */
const ELCR_BITS = Uint8Array.of(0xf8, 0xde);

/** Both interrupt controllers. */
export class PicPair implements Device {
  static readonly layout = LAYOUT;
  readonly name = 'pic';
  readonly state: DeviceState;
  /** Ports 0x20 and 0x21. */
  readonly master: BusDevice;
  /** Ports 0xa0 and 0xa1. */
  readonly slave: BusDevice;
  /** Ports 0x4d0 and 0x4d1. */
  readonly elcr: BusDevice;
  private readonly outputChanged: (asserted: boolean) => void;

  /** @param outputChanged - INT, which goes to the CPU, rises or falls; to be noted only, since it is in the middle of an access */
  constructor(state: DeviceState, outputChanged: (asserted: boolean) => void) {
    this.state = state;
    this.outputChanged = outputChanged;
    this.master = new PicPorts('pic-master', this, MASTER);
    this.slave = new PicPorts('pic-slave', this, SLAVE);
    this.elcr = new ElcrPorts(this);
  }

  /** Not initialized, nothing masked. What drives the inputs goes on driving them. */
  reset(): void {
    const { words } = this.state;
    const master = words[INPUTS]! & ~CASCADE;
    const slave = words[INPUTS + SLAVE]!;
    this.state.clear();
    words[INPUTS] = master;
    words[INPUTS + SLAVE] = slave;
    words[LOWEST] = SPURIOUS_INPUT;
    words[LOWEST + SLAVE] = SPURIOUS_INPUT;
    this.outputChanged(false);
  }

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    this.state.restore(saved);
    // Outputs follow from the rest, and states from elsewhere may lack them.
    this.update();
    this.outputChanged(this.output);
  }

  /** INT: an interrupt waits to be acknowledged. */
  get output(): boolean {
    return this.state.words[OUTPUT + MASTER] !== 0;
  }

  /**
   * Hot path: drives an interrupt input. An edge is held until it is acknowledged, even if the input falls before.
   * @param irq - 0–15 but 2, which is the cascade
   */
  setLevel(irq: number, asserted: boolean): void {
    if (irq < 0 || irq > 15 || irq === CASCADE_INPUT) return;
    const chip = irq >>> 3;
    this.drive(chip, 1 << (irq & 7), asserted);
    this.update();
  }

  /**
   * The CPU's two INTA cycles: the interrupt of highest priority goes into service.
   * @returns its vector; that of input 7 when the request has gone away in between (spurious interrupt)
   */
  acknowledge(): number {
    const { words } = this.state;
    const input = this.take(MASTER);
    const vector =
      input === CASCADE_INPUT
        ? words[VECTOR_BASE + SLAVE]! + this.take(SLAVE)
        : words[VECTOR_BASE + MASTER]! + input;
    // INT falls with INTA, and rises again if there is more.
    this.setOutput(MASTER, false);
    this.update();
    return vector;
  }

  /** Reads offset 0 (command) or 1 (data) of a controller. */
  readPort(chip: number, offset: number): number {
    const { words } = this.state;
    if (words[POLL + chip]) {
      words[POLL + chip] = 0;
      if (this.highestRequest(chip) < 0) return 0;
      const input = this.take(chip);
      this.update();
      return POLL_INTERRUPT | input;
    }
    if (offset === 1) return words[IMR + chip]!;
    return words[READ_ISR + chip] ? words[ISR + chip]! : words[IRR + chip]!;
  }

  /** Writes offset 0 (ICW1, OCW2, OCW3) or 1 (OCW1, ICW2–4) of a controller. */
  writePort(chip: number, offset: number, value: number): void {
    if (offset === 1) this.writeData(chip, value);
    else if (value & ICW1) this.writeIcw1(chip, value);
    else if (value & OCW3) this.writeOcw3(chip, value);
    else this.writeOcw2(chip, value);
    this.update();
  }

  /** Reads the edge/level register of a controller. */
  readElcr(chip: number): number {
    return this.state.words[ELCR + chip]!;
  }

  /** Writes the edge/level register of a controller. */
  writeElcr(chip: number, value: number): void {
    const { words } = this.state;
    const levels = value & ELCR_BITS[chip]!;
    words[ELCR + chip] = levels;
    words[IRR + chip] = (words[IRR + chip]! & ~levels) | (words[INPUTS + chip]! & levels);
    this.update();
  }

  /** Starts initialization: all but ELCR and the inputs is forgotten. An edge must come anew to count. */
  private writeIcw1(chip: number, value: number): void {
    const { words } = this.state;
    words[IRR + chip] = words[INPUTS + chip]! & this.levels(chip);
    words[ISR + chip] = 0;
    words[IMR + chip] = 0;
    words[ICW4 + chip] = 0;
    words[LOWEST + chip] = SPURIOUS_INPUT;
    words[ROTATE_ON_AUTO_EOI + chip] = 0;
    words[READ_ISR + chip] = 0;
    words[SPECIAL_MASK + chip] = 0;
    words[POLL + chip] = 0;
    words[EXPECTED_ICW + chip] = 2;
    words[NEEDS_ICW4 + chip] = value & ICW1_IC4;
  }

  private writeData(chip: number, value: number): void {
    const { words } = this.state;
    switch (words[EXPECTED_ICW + chip]) {
      case 2:
        words[VECTOR_BASE + chip] = value & 0xf8;
        words[EXPECTED_ICW + chip] = 3;
        return;
      case 3:
        // How the two are wired is known.
        words[EXPECTED_ICW + chip] = words[NEEDS_ICW4 + chip] ? 4 : 0;
        return;
      case 4:
        words[ICW4 + chip] = value;
        words[EXPECTED_ICW + chip] = 0;
        return;
      default:
        words[IMR + chip] = value;
    }
  }

  /** End of interrupt and rotation of priorities. */
  private writeOcw2(chip: number, value: number): void {
    const { words } = this.state;
    const input = value & 7;
    switch (value >>> 5) {
      case 0: // rotate in automatic EOI mode: clear
      case 4: // set
        words[ROTATE_ON_AUTO_EOI + chip] = value >>> 7;
        return;
      case 1: // non-specific EOI
      case 5: {
        // and rotate
        const ended = this.first(chip, words[ISR + chip]!);
        if (ended < 0) return;
        words[ISR + chip] = words[ISR + chip]! & ~(1 << ended);
        if (value & 0x80) words[LOWEST + chip] = ended;
        return;
      }
      case 3: // specific EOI
        words[ISR + chip] = words[ISR + chip]! & ~(1 << input);
        return;
      case 7: // and rotate
        words[ISR + chip] = words[ISR + chip]! & ~(1 << input);
        words[LOWEST + chip] = input;
        return;
      case 6: // set priority
        words[LOWEST + chip] = input;
        return;
      default:
        return;
    }
  }

  private writeOcw3(chip: number, value: number): void {
    const { words } = this.state;
    if (value & OCW3_POLL) words[POLL + chip] = 1;
    if (value & OCW3_RR) words[READ_ISR + chip] = value & OCW3_RIS;
    if (value & OCW3_ESMM) words[SPECIAL_MASK + chip] = value & OCW3_SMM ? 1 : 0;
  }

  /** Inputs that follow their level: those of ELCR, and the cascade, whose edges would say no more. */
  private levels(chip: number): number {
    return this.state.words[ELCR + chip]! | (chip === MASTER ? CASCADE : 0);
  }

  /** Hot path. */
  private drive(chip: number, bit: number, asserted: boolean): void {
    const { words } = this.state;
    const before = words[INPUTS + chip]!;
    if (asserted) {
      if (before & bit) return;
      words[INPUTS + chip] = before | bit;
      words[IRR + chip] = words[IRR + chip]! | bit;
    } else {
      words[INPUTS + chip] = before & ~bit;
      if (this.levels(chip) & bit) words[IRR + chip] = words[IRR + chip]! & ~bit;
    }
  }

  /** Of a set of inputs the one with the highest priority, or −1. */
  private first(chip: number, inputs: number): number {
    if (inputs === 0) return -1;
    let input = this.state.words[LOWEST + chip]!;
    do input = (input + 1) & 7;
    while ((inputs & (1 << input)) === 0);
    return input;
  }

  /** The input that the controller would interrupt for, or −1. */
  private highestRequest(chip: number): number {
    const { words } = this.state;
    const masked = words[IMR + chip]!;
    const request = this.first(chip, words[IRR + chip]! & ~masked);
    if (request < 0) return -1;
    let inService = words[ISR + chip]!;
    // In special mask mode, what is masked holds nobody back.
    if (words[SPECIAL_MASK + chip]) inService &= ~masked;
    // In special fully nested mode the slave's more urgent interrupts pass its less urgent ones.
    if (chip === MASTER && words[ICW4]! & ICW4_SFNM) inService &= ~CASCADE;
    const current = this.first(chip, inService);
    if (current < 0) return request;
    return this.rank(chip, request) < this.rank(chip, current) ? request : -1;
  }

  /** 0 for the highest priority, 7 for the lowest. */
  private rank(chip: number, input: number): number {
    return (input - this.state.words[LOWEST + chip]! - 1) & 7;
  }

  /** Puts a controller's interrupt into service. @returns its input, or 7 without anything in service */
  private take(chip: number): number {
    const { words } = this.state;
    const input = this.highestRequest(chip);
    if (input < 0) return SPURIOUS_INPUT;
    const bit = 1 << input;
    if ((words[ICW4 + chip]! & ICW4_AEOI) === 0) words[ISR + chip] = words[ISR + chip]! | bit;
    else if (words[ROTATE_ON_AUTO_EOI + chip]) words[LOWEST + chip] = input;
    if ((this.levels(chip) & bit) === 0) words[IRR + chip] = words[IRR + chip]! & ~bit;
    return input;
  }

  /** Hot path: works out both outputs. */
  private update(): void {
    const pending = this.highestRequest(SLAVE) >= 0;
    this.setOutput(SLAVE, pending);
    this.drive(MASTER, CASCADE, pending);
    this.setOutput(MASTER, this.highestRequest(MASTER) >= 0);
  }

  private setOutput(chip: number, asserted: boolean): void {
    const { words } = this.state;
    const value = asserted ? 1 : 0;
    if (words[OUTPUT + chip] === value) return;
    words[OUTPUT + chip] = value;
    if (chip === MASTER) this.outputChanged(asserted);
  }
}

/** The two ports of one controller. */
class PicPorts implements BusDevice {
  readonly name: string;
  readonly registers: readonly Register[];
  private readonly pair: PicPair;
  private readonly chip: number;

  constructor(name: string, pair: PicPair, chip: number) {
    this.name = name;
    this.pair = pair;
    this.chip = chip;
    this.registers = picRegisters(chip === MASTER ? 0 : 1);
  }

  /** The ICW that comes next, 8 when the command port reads ISR, else 0. */
  selected(): number {
    const { words } = this.pair.state;
    return words[EXPECTED_ICW + this.chip]! || (words[READ_ISR + this.chip]! ? 8 : 0);
  }

  /** Hot path. */
  read(offset: number, size: AccessSize): number {
    return size === 1 ? this.pair.readPort(this.chip, offset) : readBytes(this, offset, size);
  }

  /** Hot path. */
  write(offset: number, size: AccessSize, value: number): void {
    if (size === 1) this.pair.writePort(this.chip, offset, value & 0xff);
    else writeBytes(this, offset, size, value);
  }
}

/** The edge/level registers: offset 0 for the master, 1 for the slave. */
class ElcrPorts implements BusDevice {
  readonly name = 'pic-elcr';
  readonly registers = ELCR_REGISTERS;
  private readonly pair: PicPair;

  constructor(pair: PicPair) {
    this.pair = pair;
  }

  read(offset: number, size: AccessSize): number {
    return size === 1 ? this.pair.readElcr(offset & 1) : readBytes(this, offset, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size === 1) this.pair.writeElcr(offset & 1, value & 0xff);
    else writeBytes(this, offset, size, value);
  }
}
