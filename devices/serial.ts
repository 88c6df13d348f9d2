/**
 * A 16550A UART: eight byte registers at offsets 0–7, two 16-byte FIFOs, one interrupt line
 * (National Semiconductor PC16550D data sheet, chapter 8; the register names are its own).
 *
 * The line it talks over is infinitely fast. A byte written to THR has left the transmitter at once unless
 * the host side is full; then bytes wait in the transmit FIFO, THRE stays 0, and the guest waits: nothing is
 * lost. The other way, bytes are pulled from the host side only as the guest empties the receive FIFO, so
 * the receiver never overruns however much is pasted; and while the guest holds DTR but takes back RTS,
 * input waits, as with RTS/CTS flow control on a wire. Input also waits until the guest shows that it wants any:
 * until it enables the receive interrupt, or looks at LSR again and again with nothing to send. A driver that sets
 * the port up empties the FIFOs, and what had come before would be lost.
 */
import { readBytes, writeBytes } from './bus.ts';
import type { AccessSize, BusDevice, Device, IrqLine } from './device.ts';
import { DIVISOR_LATCH, SERIAL_REGISTERS } from './serial-registers.ts';
import { type DeviceState, defineState, type SavedState, SavedStateError } from './state.ts';

/** The host side of a serial line. Called with the device's lock held. */
export interface CharBackend {
  /** Takes one byte from the guest. @returns false when full; the port offers the byte again after {@link Serial.outputDrained} */
  send(byte: number): boolean;
  /** @returns the next byte for the guest, or −1 when there is none now */
  receive(): number;
}

/** How a serial port differs from the usual. */
export interface SerialOptions {
  /**
   * Let MCR's OUT2 bit gate the interrupt line, as wired on a PC. Off unless given: many small guests
   * (xv6, say) never set it.
   */
  readonly gateByOut2?: boolean;
}

const FIFO_SIZE = 16;
const FIFO_MASK = FIFO_SIZE - 1;

const LAYOUT = defineState({
  ier: 1,
  fcr: 1,
  lcr: 1,
  mcr: 1,
  lsr: 1,
  msr: 1,
  scr: 1,
  /** Divisor latch, 16 bits. Without effect: the line has no speed. */
  divisor: 1,
  /** The THRE interrupt is pending: THR ran empty (or IER enabled it empty) and IIR has not been read since. */
  thrEmptyPending: 1,
  /** The guest has taken back RTS, though it still holds DTR: input waits until it says otherwise. */
  held: 1,
  /** How often in a row LSR was read and had nothing to tell; at {@link POLLS}, the guest polls for input. */
  polls: 1,
  /** The guest has looked at IIR, LSR or RBR since it enabled the receive interrupt. */
  noticed: 1,
  /** What RBR reads when nothing has arrived: the byte read last. */
  rbr: 1,
  rxHead: 1,
  /** Bytes in the receive FIFO. While LSR doesn't show them, they have not arrived as far as the guest is concerned. */
  rxCount: 1,
  rxFifo: FIFO_SIZE,
  txHead: 1,
  txCount: 1,
  txFifo: FIFO_SIZE,
});

const {
  ier: IER,
  fcr: FCR,
  lcr: LCR,
  mcr: MCR,
  lsr: LSR,
  msr: MSR,
  scr: SCR,
  divisor: DIVISOR,
  thrEmptyPending: THR_EMPTY_PENDING,
  held: HELD,
  polls: POLLED,
  noticed: NOTICED,
  rbr: RBR,
  rxHead: RX_HEAD,
  rxCount: RX_COUNT,
  rxFifo: RX_FIFO,
  txHead: TX_HEAD,
  txCount: TX_COUNT,
  txFifo: TX_FIFO,
} = LAYOUT.word;

/** Interrupt enable. 8.6.7 */
const IER_RX_AVAILABLE = 0x01;
const IER_THR_EMPTY = 0x02;
const IER_LINE_STATUS = 0x04;
const IER_MODEM_STATUS = 0x08;

/** Interrupt identification, in order of priority. 8.6.6 */
const IIR_LINE_STATUS = 0x06;
const IIR_RX_AVAILABLE = 0x04;
const IIR_CHARACTER_TIMEOUT = 0x0c;
const IIR_THR_EMPTY = 0x02;
const IIR_MODEM_STATUS = 0x00;
const IIR_NONE = 0x01;
const IIR_FIFOS_ENABLED = 0xc0;

/** FIFO control. 8.6.5 */
const FCR_ENABLE = 0x01;
const FCR_CLEAR_RX = 0x02;
const FCR_CLEAR_TX = 0x04;
/** Bytes in the receive FIFO that raise the interrupt, by FCR bits 6–7. */
const TRIGGER_LEVELS = Uint8Array.of(1, 4, 8, 14);

const LCR_DLAB = 0x80;

/** Modem control. 8.6.8 */
const MCR_DTR = 0x01;
const MCR_RTS = 0x02;
const MCR_OUT1 = 0x04;
const MCR_OUT2 = 0x08;
const MCR_LOOPBACK = 0x10;
const MCR_BITS = 0x1f;

/** Line status. 8.6.3 */
const LSR_DATA_READY = 0x01;
const LSR_OVERRUN = 0x02;
const LSR_ERRORS = 0x1e;
const LSR_THR_EMPTY = 0x20;
const LSR_TRANSMITTER_EMPTY = 0x40;
const LSR_IDLE = LSR_THR_EMPTY | LSR_TRANSMITTER_EMPTY;

/** Modem status: four inputs in the high half, what changed of them in the low. 8.6.9 */
const MSR_RI_ENDED = 0x04;
const MSR_DELTAS = 0x0f;
const MSR_CTS = 0x10;
const MSR_DSR = 0x20;
const MSR_RI = 0x40;
const MSR_DCD = 0x80;
/** The host side is always there and always ready. */
const MSR_CONNECTED = MSR_CTS | MSR_DSR | MSR_DCD;

const RESET_DIVISOR = 12;

/**
 * Reads of an idle LSR, with no byte sent in between, that show that the guest waits for input. Drivers read it two or
 * three times when they set up the port, and once before each byte they send.
 */
const POLLS = 64;

/** A serial port on the bus, offsets 0–7. */
export class Serial implements Device, BusDevice {
  static readonly layout = LAYOUT;
  readonly name: string;
  readonly registers = SERIAL_REGISTERS;
  readonly state: DeviceState;
  private readonly irq: IrqLine;
  private readonly backend: CharBackend;
  private readonly gateByOut2: boolean;

  constructor(
    name: string,
    state: DeviceState,
    irq: IrqLine,
    backend: CharBackend,
    options: SerialOptions = {},
  ) {
    this.state = state;
    this.irq = irq;
    this.backend = backend;
    this.name = name;
    this.gateByOut2 = options.gateByOut2 ?? false;
  }

  selected(): number {
    return this.state.words[LCR]! & LCR_DLAB ? DIVISOR_LATCH : 0;
  }

  reset(): void {
    const { words } = this.state;
    this.state.clear();
    words[LSR] = LSR_IDLE;
    words[MSR] = MSR_CONNECTED;
    words[DIVISOR] = RESET_DIVISOR;
    this.updateInterrupt();
  }

  save(): SavedState {
    return this.state.save();
  }

  restore(saved: SavedState): void {
    for (const field of ['rxHead', 'rxCount', 'txHead', 'txCount']) {
      const value = saved[field];
      const limit = field.endsWith('Head') ? FIFO_MASK : FIFO_SIZE;
      if (typeof value !== 'number' || !(value >= 0 && value <= limit)) {
        throw new SavedStateError(`saved state: field '${field}' should be a number from 0 to ${limit}`);
      }
    }
    this.state.restore(saved);
    this.updateInterrupt();
  }

  /** Hot path. */
  read(offset: number, size: AccessSize): number {
    if (size !== 1) return readBytes(this, offset, size);
    const { words } = this.state;
    switch (offset) {
      case 0:
        return words[LCR]! & LCR_DLAB ? words[DIVISOR]! & 0xff : this.receiveByte();
      case 1:
        return words[LCR]! & LCR_DLAB ? words[DIVISOR]! >>> 8 : words[IER]!;
      case 2:
        return this.identifyInterrupt();
      case 3:
        return words[LCR]!;
      case 4:
        return words[MCR]!;
      case 5: {
        const lsr = words[LSR]!;
        words[NOTICED] = 1;
        if (lsr & LSR_ERRORS) {
          words[LSR] = lsr & ~LSR_ERRORS;
          this.updateInterrupt();
        } else if (lsr === LSR_IDLE && words[POLLED]! < POLLS) {
          return this.poll();
        }
        return lsr;
      }
      case 6: {
        const msr = words[MSR]!;
        if (msr & MSR_DELTAS) {
          words[MSR] = msr & ~MSR_DELTAS;
          this.updateInterrupt();
        }
        return msr;
      }
      case 7:
        return words[SCR]!;
      default:
        return 0xff;
    }
  }

  /** Hot path. */
  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 1) {
      writeBytes(this, offset, size, value);
      return;
    }
    const { words } = this.state;
    const byte = value & 0xff;
    switch (offset) {
      case 0:
        if (words[LCR]! & LCR_DLAB) words[DIVISOR] = (words[DIVISOR]! & 0xff00) | byte;
        else this.transmitByte(byte);
        return;
      case 1:
        if (words[LCR]! & LCR_DLAB) words[DIVISOR] = (words[DIVISOR]! & 0x00ff) | (byte << 8);
        else this.enableInterrupts(byte & 0x0f);
        return;
      case 2:
        this.controlFifos(byte);
        return;
      case 3:
        words[LCR] = byte;
        return;
      case 4:
        this.controlModem(byte & MCR_BITS);
        return;
      case 7:
        words[SCR] = byte;
        return;
      default:
        // LSR and MSR are read-only outside the factory.
        return;
    }
  }

  /** Whether the guest has received bytes that it hasn't read; when it has read them all, more is fetched by itself. */
  get hasReceived(): boolean {
    return this.state.words[RX_COUNT]! > 0;
  }

  /** Whether the guest wants input: by interrupt, or by polling. */
  private get listens(): boolean {
    const { words } = this.state;
    return (words[IER]! & IER_RX_AVAILABLE) !== 0 || words[POLLED] === POLLS;
  }

  /** Nothing has come, and the transmitter is empty. @returns LSR */
  private poll(): number {
    const { words } = this.state;
    words[POLLED] = words[POLLED]! + 1;
    if (words[POLLED] === POLLS) this.inputReady();
    return words[LSR]!;
  }

  /** The host side has input. The caller holds the lock. */
  inputReady(): void {
    this.fillReceiver();
    this.updateInterrupt();
  }

  /** The host side, which had refused a byte, has room again. The caller holds the lock. */
  outputDrained(): void {
    const { words } = this.state;
    if (words[TX_COUNT] === 0) return;
    while (words[TX_COUNT]! > 0) {
      const head = words[TX_HEAD]!;
      if (!this.backend.send(words[TX_FIFO + head]!)) return;
      words[TX_HEAD] = (head + 1) & FIFO_MASK;
      words[TX_COUNT] = words[TX_COUNT]! - 1;
    }
    words[LSR] = words[LSR]! | LSR_IDLE;
    this.transmitterEmptied();
  }

  /** Hot path. */
  private transmitByte(byte: number): void {
    const { words } = this.state;
    if (words[POLLED]! < POLLS) words[POLLED] = 0;
    if (words[MCR]! & MCR_LOOPBACK) {
      this.loopBack(byte);
      this.transmitterEmptied();
    } else if (words[TX_COUNT] === 0 && this.backend.send(byte)) {
      this.transmitterEmptied();
    } else {
      // A guest that has seen THRE may send a whole FIFO without looking again: there is room for it all.
      const count = words[TX_COUNT]!;
      if (count < FIFO_SIZE) {
        words[TX_FIFO + ((words[TX_HEAD]! + count) & FIFO_MASK)] = byte;
        words[TX_COUNT] = count + 1;
      }
      words[LSR] = words[LSR]! & ~LSR_IDLE;
      words[THR_EMPTY_PENDING] = 0;
      this.updateInterrupt();
    }
  }

  /** THR was full for a moment and is empty again: an edge on the line, even if the last interrupt is still pending. */
  private transmitterEmptied(): void {
    const { words } = this.state;
    if ((words[IER]! & IER_THR_EMPTY) === 0) return;
    if (words[THR_EMPTY_PENDING] === 1) {
      words[THR_EMPTY_PENDING] = 0;
      this.updateInterrupt();
    }
    words[THR_EMPTY_PENDING] = 1;
    this.updateInterrupt();
  }

  private receiveByte(): number {
    const { words } = this.state;
    const count = words[RX_COUNT]!;
    if ((words[LSR]! & LSR_DATA_READY) === 0) return words[RBR]!;
    const head = words[RX_HEAD]!;
    const byte = words[RX_FIFO + head]!;
    words[RBR] = byte;
    words[RX_HEAD] = (head + 1) & FIFO_MASK;
    words[RX_COUNT] = count - 1;
    if (count === 1) {
      // The line falls before more data can raise it. With edge-triggered interrupts, a handler that gives up
      // half-way ("too much work", says Linux) would otherwise never be called again.
      words[LSR] = words[LSR]! & ~LSR_DATA_READY;
      this.updateInterrupt();
      this.fillReceiver();
    }
    this.updateInterrupt();
    return byte;
  }

  /** Pulls from the host side what the receive FIFO has room for. */
  private fillReceiver(): void {
    const { words } = this.state;
    if (!this.listens || words[HELD] === 1 || words[MCR]! & MCR_LOOPBACK) return;
    const capacity = words[FCR]! & FCR_ENABLE ? FIFO_SIZE : 1;
    if (words[RX_COUNT]! > 0) words[LSR] = words[LSR]! | LSR_DATA_READY;
    while (words[RX_COUNT]! < capacity) {
      const byte = this.backend.receive();
      if (byte < 0) break;
      this.pushReceived(byte);
    }
  }

  private pushReceived(byte: number): void {
    const { words } = this.state;
    words[RX_FIFO + ((words[RX_HEAD]! + words[RX_COUNT]!) & FIFO_MASK)] = byte & 0xff;
    words[RX_COUNT] = words[RX_COUNT]! + 1;
    words[LSR] = words[LSR]! | LSR_DATA_READY;
  }

  /** In loopback the guest talks to itself, and only so can it overrun its receiver. 8.6.8 */
  private loopBack(byte: number): void {
    const { words } = this.state;
    const fifos = (words[FCR]! & FCR_ENABLE) !== 0;
    if ((words[LSR]! & LSR_DATA_READY) === 0) this.clearReceiver();
    words[NOTICED] = 1;
    if (words[RX_COUNT]! < (fifos ? FIFO_SIZE : 1)) {
      this.pushReceived(byte);
    } else {
      // With FIFOs the new byte is lost, without them the old one.
      if (!fifos) words[RX_FIFO + words[RX_HEAD]!] = byte;
      words[LSR] = words[LSR]! | LSR_OVERRUN;
    }
    this.updateInterrupt();
  }

  private enableInterrupts(enabled: number): void {
    const { words } = this.state;
    const before = words[IER]!;
    words[IER] = enabled;
    if ((enabled & IER_THR_EMPTY) === 0) words[THR_EMPTY_PENDING] = 0;
    else if ((before & IER_THR_EMPTY) === 0 && words[LSR]! & LSR_THR_EMPTY) words[THR_EMPTY_PENDING] = 1;
    words[POLLED] = 0;
    if (enabled & ~before & IER_RX_AVAILABLE) words[NOTICED] = 0;
    // A driver that only tries which bits IER has (Linux) must not lose what came at that moment: it has not come.
    if (before & ~enabled & IER_RX_AVAILABLE && words[NOTICED] === 0)
      words[LSR] = words[LSR]! & ~LSR_DATA_READY;
    this.inputReady();
  }

  private controlFifos(value: number): void {
    const { words } = this.state;
    // Turning the FIFOs on or off empties them; the other bits count only while they are on. 8.6.5
    const toggled = ((value ^ words[FCR]!) & FCR_ENABLE) !== 0;
    if (toggled || value & FCR_CLEAR_RX) {
      words[POLLED] = 0;
      // Linux enables the receive interrupt a moment before the FIFOs: what it can't know of is not dropped.
      if (words[LSR]! & LSR_DATA_READY && words[NOTICED] === 1) this.clearReceiver();
    }
    if ((toggled || value & FCR_CLEAR_TX) && words[TX_COUNT]! > 0) {
      words[TX_HEAD] = 0;
      words[TX_COUNT] = 0;
      words[LSR] = words[LSR]! | LSR_IDLE;
      this.transmitterEmptied();
    }
    words[FCR] = value & FCR_ENABLE ? value & (FCR_ENABLE | 0xc8) : 0;
    this.updateInterrupt();
    this.inputReady();
  }

  private clearReceiver(): void {
    const { words } = this.state;
    words[RX_HEAD] = 0;
    words[RX_COUNT] = 0;
    words[LSR] = words[LSR]! & ~LSR_DATA_READY;
  }

  private controlModem(mcr: number): void {
    const { words } = this.state;
    // Flow control for guests that want it (`stty crtscts`). Those that never raise RTS get their input, too.
    const taken = words[MCR]! & ~mcr & MCR_RTS;
    if ((mcr & (MCR_RTS | MCR_DTR)) !== MCR_DTR) words[HELD] = 0;
    else if (taken) words[HELD] = 1;
    words[MCR] = mcr;
    const inputs = mcr & MCR_LOOPBACK ? loopedInputs(mcr) : MSR_CONNECTED;
    const before = words[MSR]!;
    const changed = (before ^ inputs) & (MSR_CTS | MSR_DSR | MSR_DCD);
    // Of the ring indicator only the end is noted.
    const ringEnded = before & ~inputs & MSR_RI ? MSR_RI_ENDED : 0;
    words[MSR] = inputs | (before & MSR_DELTAS) | (changed >>> 4) | ringEnded;
    this.inputReady();
  }

  /** The interrupt of highest priority. 8.6.6, table III */
  private pendingInterrupt(): number {
    const { words } = this.state;
    const enabled = words[IER]!;
    if (enabled & IER_LINE_STATUS && words[LSR]! & LSR_ERRORS) return IIR_LINE_STATUS;
    if (enabled & IER_RX_AVAILABLE && words[RX_COUNT]! > 0) {
      const fcr = words[FCR]!;
      // On an infinitely fast line, bytes below the trigger level have timed out as soon as they are there.
      const timedOut = fcr & FCR_ENABLE && words[RX_COUNT]! < TRIGGER_LEVELS[fcr >>> 6]!;
      return timedOut ? IIR_CHARACTER_TIMEOUT : IIR_RX_AVAILABLE;
    }
    if (words[THR_EMPTY_PENDING] === 1) return IIR_THR_EMPTY;
    if (enabled & IER_MODEM_STATUS && words[MSR]! & MSR_DELTAS) return IIR_MODEM_STATUS;
    return IIR_NONE;
  }

  /** Reads IIR, which takes back the THRE interrupt if that is the one it shows. */
  private identifyInterrupt(): number {
    const { words } = this.state;
    words[NOTICED] = 1;
    const id = this.pendingInterrupt();
    if (id === IIR_THR_EMPTY) {
      words[THR_EMPTY_PENDING] = 0;
      this.updateInterrupt();
    }
    return words[FCR]! & FCR_ENABLE ? id | IIR_FIFOS_ENABLED : id;
  }

  private updateInterrupt(): void {
    const mcr = this.state.words[MCR]!;
    // In loopback the OUT2 pin is inactive whatever MCR says.
    const gated = this.gateByOut2 && (mcr & (MCR_OUT2 | MCR_LOOPBACK)) !== MCR_OUT2;
    this.irq.setLevel(!gated && this.pendingInterrupt() !== IIR_NONE);
  }
}

/** In loopback the modem outputs are wired to the inputs. 8.6.8 */
function loopedInputs(mcr: number): number {
  return (
    (mcr & MCR_RTS ? MSR_CTS : 0) |
    (mcr & MCR_DTR ? MSR_DSR : 0) |
    (mcr & MCR_OUT1 ? MSR_RI : 0) |
    (mcr & MCR_OUT2 ? MSR_DCD : 0)
  );
}
