/**
 * A serial port on a bus of its own, which talks to nobody: the device of the exit benchmarks.
 */
import { Bus } from '../../devices/bus.ts';
import { Serial } from '../../devices/serial.ts';
import { DeviceState } from '../../devices/state.ts';

/** @param counters - as of {@link Bus} */
export function serialOnBus(counters?: Float64Array): { pio: Bus; serial: Serial } {
  const pio = new Bus(counters);
  const serial = new Serial(
    'serial0',
    DeviceState.alone(Serial.layout),
    { setLevel: () => {}, pulse: () => {} },
    { send: () => true, receive: () => -1 },
  );
  serial.reset();
  pio.map(0x3f8, 8, serial, serial.state.lock);
  return { pio, serial };
}
