/**
 * Lab 7: a virtqueue by hand. The checks follow a driver's steps (virtio 1.2, 3.1.1) through the device's registers.
 */
import { type Evidence, endedByPowerOff, hex, type Lab, printed, readWords } from './lab.ts';

const DEVICE = 'virtio-rng';
const BUFFER = 0x2_4000;
const BUFFER_SIZE = 64;
const QUEUE_SIZE_MAXIMUM = 64;

/** Device status bits. 2.1. */
const STATUS = [
  { name: 'ACKNOWLEDGE', bit: 1 },
  { name: 'DRIVER', bit: 2 },
  { name: 'FEATURES_OK', bit: 8 },
  { name: 'DRIVER_OK', bit: 4 },
] as const;
const NEEDS_RESET = 64;

interface QueueState {
  readonly status: number;
  readonly size: number;
  readonly ready: boolean;
  readonly taken: number;
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
}

function stateOf({ machine }: Evidence): QueueState {
  const registers = machine.devices[DEVICE]?.['registers'] as Readonly<
    Record<string, number | readonly number[]>
  >;
  const [size = 0, ready = 0, taken = 0] = registers['queues'] as readonly number[];
  const [descriptors = 0, available = 0, used = 0] = registers['addresses'] as readonly number[];
  return {
    status: registers['status'] as number,
    size,
    ready: ready !== 0,
    taken,
    descriptors,
    available,
    used,
  };
}

export const virtqueue: Lab = {
  number: 7,
  name: '07-virtqueue',
  title: 'A virtqueue by hand',
  kind: 'assembly',
  machine: { protocol: 'multiboot' },
  checks: [
    endedByPowerOff(),
    {
      what: 'the driver introduces itself and accepts the features',
      fault: (evidence) => {
        const { status } = stateOf(evidence);
        const missing = STATUS.slice(0, 3).find(({ bit }) => (status & bit) === 0);
        if (missing === undefined) return undefined;
        const why =
          missing.name === 'FEATURES_OK'
            ? 'The device refuses it unless VIRTIO_F_VERSION_1 was accepted before: bit 0 of the second word, so DRIVER_FEATURES_SEL = 1, DRIVER_FEATURES = 1.'
            : 'Write the status bits one after the other, each time with those before.';
        return `The status register is ${hex(status)}: ${missing.name} (${missing.bit}) is not set. ${why}`;
      },
    },
    {
      what: 'queue 0 is set up and enabled',
      fault: (evidence) => {
        const { size, ready, descriptors, available, used } = stateOf(evidence);
        if (size > QUEUE_SIZE_MAXIMUM || (size & (size - 1)) !== 0)
          return `QUEUE_NUM is ${size}: a power of two up to ${QUEUE_SIZE_MAXIMUM} is allowed.`;
        const places = Object.entries({ descriptors, available, used });
        const unset = places.find(([, address]) => address === 0);
        if (unset !== undefined)
          return `The address of the ${unset[0]} part is 0: write QUEUE_DESC_LOW, QUEUE_DRIVER_LOW and QUEUE_DEVICE_LOW before QUEUE_READY.`;
        return ready ? undefined : 'QUEUE_READY is 0: write 1 when size and addresses are there.';
      },
    },
    {
      what: 'the device was told to go (DRIVER_OK) and found nothing wrong',
      fault: (evidence) => {
        const { status } = stateOf(evidence);
        if (status & NEEDS_RESET)
          return 'It has set DEVICE_NEEDS_RESET (64): an address outside RAM, a descriptor that is not in the table, or a wrong ring index.';
        return status & 4 ? undefined : 'DRIVER_OK (4) is not set in the status register.';
      },
    },
    {
      what: 'the device has taken one chain from the available ring',
      fault: (evidence) => {
        const { taken, available } = stateOf(evidence);
        if (taken === 1) return undefined;
        if (taken > 1) return `It took ${taken}: make the ring's idx 1, not the index of the descriptor.`;
        if (available === 0) return 'There is no available ring yet.';
        const [word = 0] = readWords(evidence.machine, available, 1);
        if (word >>> 16 === 0)
          return "The available ring's idx is 0: put the descriptor into the ring, then make idx 1.";
        return 'The ring says that there is one, but nobody told the device: write 0 to QUEUE_NOTIFY, after DRIVER_OK.';
      },
    },
    {
      what: `it has filled the ${BUFFER_SIZE} bytes of the buffer`,
      fault: (evidence) => {
        const { used } = stateOf(evidence);
        if (used === 0) return 'There is no used ring yet.';
        const [index = 0, , length = 0] = readWords(evidence.machine, used, 3);
        if (index >>> 16 === 0) return 'The used ring is empty.';
        if (length !== BUFFER_SIZE)
          return `The used ring says ${length} bytes: the descriptor needs length ${BUFFER_SIZE} and the flag DESCRIPTOR_WRITE (2), without which the device may only read it.`;
        const bytes = evidence.machine.read(BUFFER, BUFFER_SIZE);
        return bytes.some((byte) => byte !== 0) ? undefined : `The buffer at ${hex(BUFFER)} is all zeroes.`;
      },
    },
    printed(
      'The device has answered\r\n',
      'The skeleton prints this when the used ring has something in time.',
    ),
  ],
};
