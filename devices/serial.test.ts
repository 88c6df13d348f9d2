/** The UART as a driver sees it: registers, interrupts, FIFOs, and that no byte is ever lost. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { type CharBackend, Serial } from './serial.ts';
import { DeviceState, SavedStateError } from './state.ts';
import { TestIrq, transfer } from './testing/stand-ins.ts';

const RBR = 0;
const THR = 0;
const IER = 1;
const IIR = 2;
const FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;

/** A host side with a bounded output and an unbounded input. */
class TestBackend implements CharBackend {
  readonly sent: number[] = [];
  readonly input: number[] = [];
  room = Number.POSITIVE_INFINITY;

  send(byte: number): boolean {
    if (this.room <= 0) return false;
    this.room--;
    this.sent.push(byte);
    return true;
  }

  receive(): number {
    return this.input.shift() ?? -1;
  }
}

let irq: TestIrq;
let backend: TestBackend;
let serial: Serial;

function make(gateByOut2 = false): void {
  irq = new TestIrq();
  backend = new TestBackend();
  serial = new Serial('serial0', DeviceState.alone(Serial.layout), irq, backend, { gateByOut2 });
  serial.reset();
}

const read = (offset: number): number => serial.read(offset, 1);
const write = (offset: number, value: number): void => serial.write(offset, 1, value);
/** Input from the host. */
const feed = (...bytes: number[]): void => {
  backend.input.push(...bytes);
  serial.inputReady();
};

/** The guest asks for input. */
const listen = (): void => write(IER, 0x01);

beforeEach(() => make());

describe('registers', () => {
  it('has the state after master reset that the data sheet gives', () => {
    expect(read(IER)).toBe(0);
    expect(read(IIR)).toBe(0x01);
    expect(read(LCR)).toBe(0);
    expect(read(MCR)).toBe(0);
    expect(read(LSR)).toBe(0x60);
    expect(read(MSR)).toBe(0xb0);
    expect(irq.level).toBe(false);
  });

  it('keeps what is written to SCR, LCR, MCR and IER', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 255 }), (value) => {
        write(SCR, value);
        expect(read(SCR)).toBe(value);
        write(LCR, value);
        expect(read(LCR)).toBe(value);
        write(LCR, 0);
        write(MCR, value);
        expect(read(MCR)).toBe(value & 0x1f);
        write(IER, value);
        expect(read(IER)).toBe(value & 0x0f);
      }),
    );
  });

  it('shows the divisor latch while DLAB is set, and only then', () => {
    write(LCR, 0x83);
    write(0, 0x34);
    write(1, 0x12);
    expect([read(0), read(1)]).toEqual([0x34, 0x12]);
    write(LCR, 0x03);
    expect(read(IER)).toBe(0);
    expect(backend.sent).toEqual([]);
    write(LCR, 0x83);
    expect([read(0), read(1)]).toEqual([0x34, 0x12]);
  });

  it('ignores writes to LSR and MSR', () => {
    write(LSR, 0);
    write(MSR, 0);
    expect([read(LSR), read(MSR)]).toEqual([0x60, 0xb0]);
  });

  it('takes a 16-bit access as two of eight', () => {
    serial.write(SCR - 1, 2, 0xab00);
    expect(serial.read(SCR - 1, 2)).toBe(0xabb0);
  });

  it('says by IIR whether the FIFOs are on', () => {
    expect(read(IIR) & 0xc0).toBe(0);
    write(FCR, 0x01);
    expect(read(IIR) & 0xc0).toBe(0xc0);
    write(FCR, 0x00);
    expect(read(IIR) & 0xc0).toBe(0);
  });
});

describe('transmitter', () => {
  it('sends at once and stays ready', () => {
    write(THR, 0x41);
    expect(backend.sent).toEqual([0x41]);
    expect(read(LSR)).toBe(0x60);
  });

  it('says that it is busy while the host side is full, and loses nothing', () => {
    backend.room = 0;
    write(THR, 0x41);
    expect(read(LSR) & 0x60).toBe(0);
    serial.outputDrained();
    expect(read(LSR) & 0x60).toBe(0);
    backend.room = 1;
    serial.outputDrained();
    expect(read(LSR) & 0x60).toBe(0x60);
    expect(backend.sent).toEqual([0x41]);
  });

  it('takes a whole FIFO from a guest that looked at THRE only before it', () => {
    write(FCR, 0x01);
    backend.room = 3;
    const bytes = Array.from({ length: 16 }, (_, i) => i);
    for (const byte of bytes) write(THR, byte);
    expect(backend.sent).toEqual([0, 1, 2]);
    backend.room = 5;
    serial.outputDrained();
    expect(read(LSR) & 0x20).toBe(0);
    backend.room = 100;
    serial.outputDrained();
    expect(backend.sent).toEqual(bytes);
    expect(read(LSR) & 0x60).toBe(0x60);
  });

  it('raises the THRE interrupt when the host side has drained', () => {
    write(IER, 0x02);
    read(IIR);
    backend.room = 0;
    write(THR, 1);
    expect(irq.level).toBe(false);
    backend.room = 1;
    serial.outputDrained();
    expect(irq.level).toBe(true);
    expect(read(IIR)).toBe(0x02);
  });

  it('raises no interrupt when told of room that nothing waited for', () => {
    write(IER, 0x02);
    read(IIR);
    serial.outputDrained();
    expect(irq.level).toBe(false);
  });
});

describe('THRE interrupt', () => {
  it('comes when it is enabled with THR empty, and goes when IIR is read', () => {
    write(IER, 0x02);
    expect(irq.level).toBe(true);
    expect(read(IIR)).toBe(0x02);
    expect(irq.level).toBe(false);
    expect(read(IIR)).toBe(0x01);
  });

  it('comes again when it is disabled and enabled (Linux tests for chips that lack this)', () => {
    write(IER, 0x02);
    read(IIR);
    write(IER, 0x02);
    expect(irq.level).toBe(false);
    write(IER, 0x00);
    write(IER, 0x02);
    expect(read(IIR)).toBe(0x02);
  });

  it('comes after each byte sent, as an edge even if IIR was not read between', () => {
    write(IER, 0x02);
    const before = irq.edges;
    write(THR, 1);
    write(THR, 2);
    expect(irq.edges).toBe(before + 2);
    expect(irq.level).toBe(true);
  });

  it('outlasts an IIR read that shows something more urgent', () => {
    write(IER, 0x03);
    feed(0x41);
    expect(read(IIR)).toBe(0x04);
    expect(read(RBR)).toBe(0x41);
    expect(read(IIR)).toBe(0x02);
    expect(read(IIR)).toBe(0x01);
  });
});

describe('receiver', () => {
  it('shows a byte, interrupts, and is quiet again when it has been read', () => {
    write(IER, 0x01);
    feed(0x41);
    expect(irq.level).toBe(true);
    expect(read(LSR)).toBe(0x61);
    expect(read(IIR)).toBe(0x04);
    expect(read(RBR)).toBe(0x41);
    expect(irq.level).toBe(false);
    expect(read(LSR)).toBe(0x60);
  });

  it('interrupts with a time-out below the trigger level, and as data available at it', () => {
    write(FCR, 0x81);
    write(IER, 0x01);
    feed(1);
    expect(irq.level).toBe(true);
    expect(read(IIR)).toBe(0xcc);
    feed(2, 3, 4, 5, 6, 7, 8);
    expect(read(IIR)).toBe(0xc4);
    read(RBR);
    expect(read(IIR)).toBe(0xcc);
  });

  it('pulls no more from the host than it has room for', () => {
    listen();
    write(FCR, 0x01);
    feed(...Array.from({ length: 100 }, (_, i) => i));
    expect(backend.input.length).toBe(84);
    for (let i = 0; i < 100; i++) {
      expect(read(LSR) & 1).toBe(1);
      expect(read(RBR)).toBe(i);
    }
    expect(read(LSR) & 1).toBe(0);
  });

  it('lets the line fall each time the FIFO has been emptied, so that edge-triggered interrupts go on', () => {
    write(FCR, 0x01);
    write(IER, 0x01);
    feed(...new Array(64).fill(0));
    const before = irq.edges;
    for (let i = 0; i < 64; i++) read(RBR);
    expect(irq.edges).toBe(before + 3);
    expect(irq.level).toBe(false);
  });

  it('holds one byte without FIFOs', () => {
    listen();
    feed(1, 2);
    expect(backend.input).toEqual([2]);
    expect([read(RBR), read(RBR)]).toEqual([1, 2]);
  });

  it('drops what has arrived when the FIFO is cleared, and goes on with what has not', () => {
    listen();
    write(FCR, 0x01);
    feed(...Array.from({ length: 20 }, (_, i) => i));
    read(LSR);
    write(FCR, 0x03);
    expect(read(RBR)).toBe(16);
  });
});

describe('input before the guest wants any', () => {
  it('waits while a driver sets up the port as Linux does, and then comes whole', () => {
    feed(...Array.from({ length: 20 }, (_, i) => i));
    expect(read(LSR)).toBe(0x60);
    // Which bits has IER?
    write(IER, 0x0f);
    expect(read(IER)).toBe(0x0f);
    write(IER, 0);
    write(FCR, 0x01);
    write(FCR, 0x07);
    write(FCR, 0);
    for (const register of [LSR, RBR, IIR, MSR]) read(register);
    expect(backend.input.length).toBeGreaterThan(0);
    listen();
    write(FCR, 0x01);
    write(FCR, 0x81);
    expect(irq.level).toBe(true);
    for (let i = 0; i < 20; i++) {
      expect(read(LSR) & 1).toBe(1);
      expect(read(RBR)).toBe(i);
    }
  });

  it('comes to a guest that polls, and not to one that looks before it sends', () => {
    feed(1, 2);
    for (let i = 0; i < 1000; i++) {
      expect(read(LSR)).toBe(0x60);
      write(THR, i);
    }
    expect(backend.input).toEqual([1, 2]);
    let polls = 0;
    while ((read(LSR) & 1) === 0) expect(polls++).toBeLessThan(100);
    write(THR, 0);
    expect([read(RBR), read(RBR)]).toEqual([1, 2]);
    feed(3);
    expect(read(LSR) & 1).toBe(1);
  });

  it('does not vanish when the receive interrupt is turned off for a while by a guest that has seen it', () => {
    listen();
    feed(1);
    expect(read(IIR)).toBe(0x04);
    write(IER, 0);
    expect(read(LSR) & 1).toBe(1);
    expect(read(RBR)).toBe(1);
  });
});

describe('flow control', () => {
  it('holds input back while the guest keeps DTR and takes back RTS', () => {
    listen();
    write(FCR, 0x01);
    write(MCR, 0x0b);
    feed(1);
    write(MCR, 0x09);
    feed(2);
    expect(read(RBR)).toBe(1);
    expect(read(LSR) & 1).toBe(0);
    write(MCR, 0x0b);
    expect(read(RBR)).toBe(2);
  });

  it('gives input to guests that know nothing of RTS, and after the port was closed', () => {
    listen();
    feed(1);
    expect(read(RBR)).toBe(1);
    write(MCR, 0x01);
    feed(2);
    expect(read(RBR)).toBe(2);
    write(MCR, 0x0b);
    write(MCR, 0x00);
    feed(3);
    expect(read(RBR)).toBe(3);
  });
});

describe('loopback', () => {
  it('returns what is sent, and keeps it from the host', () => {
    write(MCR, 0x10);
    write(THR, 0x55);
    expect(read(LSR) & 1).toBe(1);
    expect(read(RBR)).toBe(0x55);
    expect(backend.sent).toEqual([]);
  });

  it('wires the modem outputs to the inputs (Linux looks for 0x90 after writing 0x1a)', () => {
    write(MCR, 0x1a);
    expect(read(MSR) & 0xf0).toBe(0x90);
    write(MCR, 0x15);
    expect(read(MSR) & 0xf0).toBe(0x60);
  });

  it('notes what changed of the modem inputs until MSR is read, and interrupts', () => {
    write(IER, 0x08);
    write(MCR, 0x10);
    expect(irq.level).toBe(true);
    expect(read(IIR)).toBe(0x00);
    expect(read(MSR)).toBe(0x0b);
    expect(irq.level).toBe(false);
    write(MCR, 0x14);
    expect(read(MSR)).toBe(0x40);
    write(MCR, 0x10);
    expect(read(MSR)).toBe(0x04);
  });

  it('overruns when the guest does not read, and says so once', () => {
    write(IER, 0x04);
    write(MCR, 0x10);
    write(THR, 1);
    write(THR, 2);
    expect(read(IIR)).toBe(0x06);
    expect(read(LSR) & 0x02).toBe(0x02);
    expect(read(LSR) & 0x02).toBe(0);
    expect(irq.level).toBe(false);
    expect(read(RBR)).toBe(2);
  });

  it('takes input from the host again when it ends', () => {
    listen();
    write(MCR, 0x10);
    feed(7);
    expect(read(LSR) & 1).toBe(0);
    write(MCR, 0x00);
    expect(read(RBR)).toBe(7);
  });
});

describe('OUT2', () => {
  it('gates the interrupt line where the machine wants that', () => {
    make(true);
    write(IER, 0x01);
    feed(1);
    expect(irq.level).toBe(false);
    write(MCR, 0x08);
    expect(irq.level).toBe(true);
    write(MCR, 0x18);
    expect(irq.level).toBe(false);
  });
});

describe('all together', () => {
  it('loses and reorders no byte in either direction, whatever the pace, and across save and restore', () => {
    type Step = { kind: 'send' | 'feed' | 'read' | 'room' | 'snapshot' | 'thread'; count: number };
    const step: fc.Arbitrary<Step> = fc.record({
      kind: fc.constantFrom('send', 'feed', 'read', 'room', 'snapshot', 'thread'),
      count: fc.integer({ min: 1, max: 40 }),
    });
    fc.assert(
      fc.property(fc.boolean(), fc.array(step, { maxLength: 60 }), (fifo, steps) => {
        make();
        backend.room = 0;
        if (fifo) write(FCR, 0xc1);
        write(IER, 0x03);
        const sent: number[] = [];
        const fed: number[] = [];
        const got: number[] = [];
        const readAll = (limit: number): void => {
          for (let i = 0; i < limit && read(LSR) & 1; i++) got.push(read(RBR));
        };
        for (const { kind, count } of steps) {
          if (kind === 'send' && read(LSR) & 0x20) {
            for (let i = 0; i < (fifo ? 16 : 1); i++) {
              const byte = sent.length & 0xff;
              sent.push(byte);
              write(THR, byte);
            }
          } else if (kind === 'feed') {
            for (let i = 0; i < count; i++) {
              fed.push(fed.length & 0xff);
              backend.input.push(fed[fed.length - 1]!);
            }
            serial.inputReady();
          } else if (kind === 'read') readAll(count);
          else if (kind === 'room') {
            backend.room += count;
            serial.outputDrained();
          } else if (kind === 'thread') {
            // Another thread's object over the same registers is the same device.
            serial = new Serial('serial0', serial.state, irq, backend);
          } else if (kind === 'snapshot') {
            const level = irq.level;
            irq = new TestIrq();
            const copy = new Serial('serial0', DeviceState.alone(Serial.layout), irq, backend);
            copy.reset();
            transfer(serial, copy);
            serial = copy;
            expect(irq.level).toBe(level);
          }
          // A guest that waits for interrupts misses nothing that it could read.
          if (read(LSR) & 1) expect(irq.level).toBe(true);
        }
        backend.room = Number.POSITIVE_INFINITY;
        serial.outputDrained();
        readAll(1e6);
        expect(backend.sent).toEqual(sent);
        expect(got).toEqual(fed);
      }),
    );
  });

  it('refuses a saved state that does not fit, and stays as it was', () => {
    write(SCR, 7);
    const saved = serial.save();
    expect(() => serial.restore({ ...saved, rxCount: 17 })).toThrow(SavedStateError);
    expect(() => serial.restore({ ...saved, txHead: -1 })).toThrow(SavedStateError);
    expect(() => serial.restore({ ...saved, scr: 9, rxFifo: [1] })).toThrow(SavedStateError);
    expect(read(SCR)).toBe(7);
  });
});
