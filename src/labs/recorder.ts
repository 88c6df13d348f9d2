/**
 * The device of lab 8: records bytes, one port write each or a whole block by DMA.
 *
 *   0x310  byte, write          record this byte
 *   0x314  double word, write   guest-physical address of a block
 *   0x318  double word, write   record so many bytes from there
 */
import type { DeviceModule } from '../../devices/module.ts';

const DATA = 0;
const ADDRESS = 4;
const LENGTH = 8;

const recorder: DeviceModule<'address' | 'count' | 'hash'> = {
  name: 'recorder',
  port: 0x310,
  length: 12,
  registers: ['address', 'count', 'hash'],
  create({ registers, memory }) {
    const record = (byte: number): void => {
      registers.count++;
      registers.hash = (Math.imul(registers.hash, 31) + byte) >>> 0;
    };
    return {
      read: () => 0,
      write(offset, _size, value) {
        if (offset === DATA) record(value & 0xff);
        else if (offset === ADDRESS) registers.address = value;
        else if (offset === LENGTH) memory.read(registers.address, value).forEach(record);
      },
    };
  },
};

export default recorder;
