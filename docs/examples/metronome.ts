/** A metronome. Offset 0: beats a minute, written by the guest. Offset 4: beats so far; each is an interrupt. */
import type { DeviceModule } from 'type2';

const metronome: DeviceModule<'tempo' | 'beats'> = {
  name: 'metronome',
  mmio: 0xd010_0000,
  length: 8,
  irq: 10,
  registers: ['tempo', 'beats'],
  create({ registers, timer, clock, irq }) {
    const period = (): number => 60e9 / registers.tempo;
    return {
      read: (offset) => (offset === 0 ? registers.tempo : registers.beats),
      write(offset, _size, value) {
        if (offset !== 0) return;
        registers.tempo = value;
        if (value === 0) timer.cancel();
        else timer.set(clock.now() + period());
      },
      expire(now) {
        registers.beats++;
        irq.pulse();
        timer.set(now + period());
      },
    };
  },
};

export default metronome;
