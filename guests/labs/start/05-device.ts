/**
 * Lab 5: a device in TypeScript. The page: type2 lab show 5
 *
 * A checksum device at ports 0x300 to 0x307. It is loaded already, but computes nothing yet.
 */
import type { DeviceModule } from 'type2';

const device: DeviceModule<'sum1' | 'sum2' | 'count'> = {
  name: 'checksum',
  port: 0x300,
  length: 8,
  // What the guest can observe lives here: every thread of the machine sees the same registers.
  registers: ['sum1', 'sum2', 'count'],

  create({ registers }) {
    return {
      read(offset) {
        if (offset === 4) return registers.count;
        // TODO: offset 2 reads the checksum: sum2 in its high byte, sum1 in its low byte.
        return 0;
      },
      write(offset, _size, value) {
        if (offset === 0) {
          registers.count++;
          // TODO: Fletcher-16: sum1 = (sum1 + value) % 255, and then sum2 = (sum2 + sum1) % 255.
          registers.sum1 = value;
        }
        // TODO: offset 6 starts anew, whatever the value.
      },
    };
  },
};

export default device;
