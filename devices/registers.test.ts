import { describe, expect, it } from 'vitest';
import { bitNames, describeBits, registerAt, registerName } from './registers.ts';
import { SERIAL_REGISTERS } from './serial-registers.ts';
import { VIRTIO_MMIO_REGISTERS } from './virtio/mmio-registers.ts';

describe('bit names', () => {
  it('count from the lowest bit, over reserved ones and fields', () => {
    expect(bitNames('A B:2 -:3 C')).toEqual([
      { bit: 0, width: 1, name: 'A' },
      { bit: 1, width: 2, name: 'B' },
      { bit: 6, width: 1, name: 'C' },
    ]);
  });

  it('tell which flags are set and which fields are not 0', () => {
    expect(describeBits(0x60, bitNames('DR OE PE FE BI THRE TEMT FIFO-error'))).toBe('THRE TEMT');
    expect(describeBits(0b101, bitNames('A B:2'))).toBe('A B=2');
    expect(describeBits(0, bitNames('A'))).toBe('');
  });

  it('work above bit 31', () => {
    expect(describeBits(2 ** 40, [{ bit: 40, width: 1, name: 'high' }])).toBe('high');
  });
});

describe('registers by name', () => {
  const name = (offset: number, isWrite: boolean, selected?: number) =>
    registerAt(SERIAL_REGISTERS, offset, isWrite, selected)?.name;

  it('differ by direction and by what is selected', () => {
    expect([name(0, false), name(0, true), name(0, true, 1)]).toEqual(['RBR', 'THR', 'DLL']);
    expect([name(2, false), name(2, true)]).toEqual(['IIR', 'FCR']);
    expect(name(8, false)).toBeUndefined();
  });

  it('say where in a register an access begins', () => {
    const config = registerAt(VIRTIO_MMIO_REGISTERS, 0x108, false)!;
    expect(registerName(config, 0x108)).toBe('Config+0x8');
    expect(registerName(config, 0x100)).toBe('Config');
  });
});
