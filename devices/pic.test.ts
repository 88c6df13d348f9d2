/** The two 8259As: initialization, priorities, the cascade, ends of interrupts. */
import { beforeEach, describe, expect, it } from 'vitest';
import { PicPair } from './pic.ts';
import { DeviceState } from './state.ts';
import { transfer } from './testing/stand-ins.ts';

const EOI = 0x20;
const READ_IRR = 0x0a;
const READ_ISR = 0x0b;

let outputs: boolean[];
let pic: PicPair;

function make(): PicPair {
  const pair = new PicPair(DeviceState.alone(PicPair.layout), (asserted) => outputs.push(asserted));
  pair.reset();
  outputs.length = 0;
  return pair;
}

/** As a PC's operating system does it: vectors 0x20 and 0x28, nothing masked. @param icw4 - 8086 mode, and more */
function initialize(icw4 = 0x01): void {
  for (const [chip, base, wiring] of [
    [pic.master, 0x20, 0x04],
    [pic.slave, 0x28, 0x02],
  ] as const) {
    chip.write(0, 1, 0x11);
    chip.write(1, 1, base);
    chip.write(1, 1, wiring);
    chip.write(1, 1, icw4);
    chip.write(1, 1, 0x00);
  }
}

function pulse(...irqs: number[]): void {
  for (const irq of irqs) {
    pic.setLevel(irq, true);
    pic.setLevel(irq, false);
  }
}

function isr(): number {
  pic.master.write(0, 1, READ_ISR);
  pic.slave.write(0, 1, READ_ISR);
  return pic.master.read(0, 1) | (pic.slave.read(0, 1) << 8);
}

/** Takes and ends all that is pending. */
function serveAll(): number[] {
  const vectors: number[] = [];
  while (pic.output) {
    const vector = pic.acknowledge();
    vectors.push(vector);
    if (vector >= 0x28) pic.slave.write(0, 1, EOI);
    pic.master.write(0, 1, EOI);
  }
  return vectors;
}

beforeEach(() => {
  outputs = [];
  pic = make();
  initialize();
});

describe('edges', () => {
  it('interrupt once, and drive the output', () => {
    pic.setLevel(4, true);
    expect(outputs).toEqual([true]);
    expect(pic.master.read(0, 1)).toBe(0x10);
    expect(pic.acknowledge()).toBe(0x24);
    expect(outputs).toEqual([true, false]);
    expect(isr()).toBe(0x10);
    pic.master.write(0, 1, EOI);
    expect(isr()).toBe(0);
    expect(pic.output).toBe(false);
    pic.setLevel(4, true);
    expect(pic.output).toBe(false);
    pulse(4);
    expect(pic.output).toBe(false);
    pic.setLevel(4, true);
    expect(pic.output).toBe(true);
  });

  it('are held while masked', () => {
    pic.master.write(1, 1, 0x10);
    expect(pic.master.read(1, 1)).toBe(0x10);
    pulse(4);
    expect(pic.output).toBe(false);
    pic.master.write(1, 1, 0x00);
    expect(serveAll()).toEqual([0x24]);
  });

  it('let INT fall and rise when one follows another', () => {
    pulse(1, 4);
    pic.acknowledge();
    outputs.length = 0;
    pic.master.write(0, 1, EOI);
    expect(outputs).toEqual([true]);
    pulse(0);
    outputs.length = 0;
    pic.acknowledge();
    expect(outputs).toEqual([false]);
  });
});

describe('priorities', () => {
  it('put input 0 first and the slave in place of input 2', () => {
    pulse(7, 3, 15, 8, 1, 0);
    expect(serveAll()).toEqual([0x20, 0x21, 0x28, 0x2f, 0x23, 0x27]);
  });

  it('nest', () => {
    pulse(4);
    pic.acknowledge();
    pulse(5);
    expect(pic.output).toBe(false);
    pulse(1);
    expect(pic.acknowledge()).toBe(0x21);
    expect(isr()).toBe(0x12);
    pic.master.write(0, 1, EOI);
    expect(isr()).toBe(0x10);
    pic.master.write(0, 1, EOI);
    expect(pic.acknowledge()).toBe(0x25);
  });

  it('can be set, and rotate with EOI', () => {
    pic.master.write(0, 1, 0xc0 | 4);
    pulse(0, 5);
    expect(pic.acknowledge()).toBe(0x25);
    // Rotate on non-specific EOI: 5 is the lowest now, 6 the highest.
    pic.master.write(0, 1, 0xa0);
    pulse(5, 6);
    expect(pic.acknowledge()).toBe(0x26);
    // Rotate on specific EOI.
    pic.master.write(0, 1, 0xe0 | 6);
    expect(pic.acknowledge()).toBe(0x20);
    expect(isr()).toBe(0x01);
    pic.master.write(0, 1, 0x60 | 0);
    expect(isr()).toBe(0);
  });

  it('let the unmasked ones in when in special mask mode', () => {
    pulse(1);
    pic.acknowledge();
    pulse(4);
    expect(pic.output).toBe(false);
    pic.master.write(1, 1, 0x02);
    pic.master.write(0, 1, 0x68);
    expect(pic.output).toBe(true);
    pic.master.write(0, 1, 0x48);
    expect(pic.output).toBe(false);
  });
});

describe('cascade', () => {
  it('needs an EOI on both', () => {
    pulse(8);
    expect(pic.acknowledge()).toBe(0x28);
    expect(isr()).toBe(0x0104);
    pulse(9);
    expect(pic.output).toBe(false);
    pic.slave.write(0, 1, EOI);
    expect(pic.output).toBe(false);
    pic.master.write(0, 1, EOI);
    expect(pic.acknowledge()).toBe(0x29);
  });

  it('lets more urgent ones of the slave pass in special fully nested mode', () => {
    initialize(0x11);
    pulse(12);
    expect(pic.acknowledge()).toBe(0x2c);
    pulse(13);
    expect(pic.output).toBe(false);
    pulse(8);
    expect(pic.acknowledge()).toBe(0x28);
  });

  it('cannot be driven from outside', () => {
    pulse(2);
    pulse(16, -1);
    expect(pic.output).toBe(false);
  });
});

describe('levels', () => {
  beforeEach(() => {
    pic.elcr.write(0, 2, 0xffff);
  });

  it('are for the inputs that can have them', () => {
    expect(pic.elcr.read(0, 1)).toBe(0xf8);
    expect(pic.elcr.read(1, 1)).toBe(0xde);
    expect(pic.elcr.read(0, 2)).toBe(0xdef8);
  });

  it('interrupt for as long as they last', () => {
    pic.setLevel(11, true);
    expect(pic.acknowledge()).toBe(0x2b);
    pic.slave.write(0, 1, EOI);
    pic.master.write(0, 1, EOI);
    expect(pic.acknowledge()).toBe(0x2b);
    pic.setLevel(11, false);
    pic.slave.write(0, 1, EOI);
    pic.master.write(0, 1, EOI);
    expect(pic.output).toBe(false);
  });

  it('leave a spurious interrupt 7 or 15 when they go too soon', () => {
    pic.setLevel(5, true);
    pic.setLevel(5, false);
    expect(outputs).toEqual([true, false]);
    expect(pic.acknowledge()).toBe(0x27);
    expect(isr()).toBe(0);
    // The slave's request is gone, but the master has taken it already.
    pic.setLevel(11, true);
    pic.state.words[PicPair.layout.word.irr + 1] = 0;
    expect(pic.acknowledge()).toBe(0x2f);
    expect(isr()).toBe(0x0004);
  });

  it('are still there after initialization, edges not', () => {
    pulse(1);
    pic.setLevel(5, true);
    initialize();
    expect(pic.acknowledge()).toBe(0x25);
    pic.setLevel(5, false);
    pic.master.write(0, 1, EOI);
    expect(pic.output).toBe(false);
  });
});

describe('automatic EOI', () => {
  it('leaves nothing in service', () => {
    initialize(0x03);
    pulse(4, 9);
    expect(pic.acknowledge()).toBe(0x29);
    expect(pic.acknowledge()).toBe(0x24);
    expect(isr()).toBe(0);
  });

  it('rotates when told to', () => {
    initialize(0x03);
    pic.master.write(0, 1, 0x80);
    pulse(3, 4);
    expect(pic.acknowledge()).toBe(0x23);
    pulse(3);
    expect(pic.acknowledge()).toBe(0x24);
    expect(pic.acknowledge()).toBe(0x23);
    pic.master.write(0, 1, 0x00);
    pulse(3);
    pic.acknowledge();
  });
});

it('can be polled', () => {
  pic.master.write(0, 1, 0x0c);
  expect(pic.master.read(0, 1)).toBe(0);
  pulse(6);
  pic.master.write(0, 1, 0x0c);
  expect(pic.master.read(0, 1)).toBe(0x86);
  expect(isr()).toBe(0x40);
  expect(pic.output).toBe(false);
  pic.master.write(0, 1, READ_IRR);
  expect(pic.master.read(0, 1)).toBe(0);
});

it('takes no ICW4 unless ICW1 says so', () => {
  pic.master.write(0, 1, 0x10);
  pic.master.write(1, 1, 0x40);
  pic.master.write(1, 1, 0x04);
  pic.master.write(1, 1, 0xfe);
  expect(pic.master.read(1, 1)).toBe(0xfe);
  pulse(0);
  expect(pic.acknowledge()).toBe(0x40);
});

it('goes on where it was saved', () => {
  pulse(4, 10);
  pic.acknowledge();
  const copy = make();
  transfer(pic, copy);
  expect(outputs).toEqual([false]);
  pic = copy;
  expect(isr()).toBe(0x0404);
  pic.slave.write(0, 1, EOI);
  pic.master.write(0, 1, EOI);
  expect(pic.acknowledge()).toBe(0x24);
});
