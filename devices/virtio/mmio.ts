/**
 * The virtio-mmio transport, version 2. Virtio 1.2, section 4.2.
 *
 * The registers are in the shared state and served by whichever vCPU touches them, under the state's
 * lock. The queues are worked off by one thread under a second lock, so that a disk's slow read never
 * keeps a vCPU from a register; a vCPU takes that lock too, after the first, when it resets the device
 * or changes a queue. The bits that both sides set (interrupt status, needs-reset) are set atomically.
 */
import type { AccessSize, BusDevice, Device, IrqLine } from '../device.ts';
import { GuestAddressError, type GuestMemory } from '../memory.ts';
import { type DeviceState, defineState, Lock, type SavedState, type StateLayout } from '../state.ts';
import { Feature, FeatureSet, GuestError, type VirtioDevice } from './device.ts';
import { VIRTIO_MMIO_REGISTERS } from './mmio-registers.ts';
import { QUEUE_DOUBLES, QUEUE_WORDS, QueueDouble, QueueWord, Virtqueue } from './virtqueue.ts';

/** Registers, table 4.1. */
const MAGIC_VALUE = 0x000;
const VERSION = 0x004;
const DEVICE_ID = 0x008;
const VENDOR_ID = 0x00c;
const DEVICE_FEATURES = 0x010;
const DEVICE_FEATURES_SEL = 0x014;
const DRIVER_FEATURES = 0x020;
const DRIVER_FEATURES_SEL = 0x024;
const QUEUE_SEL = 0x030;
const QUEUE_NUM_MAX = 0x034;
const QUEUE_NUM = 0x038;
const QUEUE_READY = 0x044;
/** Where drivers notify queues: on KVM, an ioeventfd for each. */
export const QUEUE_NOTIFY = 0x050;
const INTERRUPT_STATUS = 0x060;
const INTERRUPT_ACK = 0x064;
const STATUS = 0x070;
const QUEUE_DESC_LOW = 0x080;
const QUEUE_DESC_HIGH = 0x084;
const QUEUE_DRIVER_LOW = 0x090;
const QUEUE_DRIVER_HIGH = 0x094;
const QUEUE_DEVICE_LOW = 0x0a0;
const QUEUE_DEVICE_HIGH = 0x0a4;
const SHM_LEN_LOW = 0x0b0;
const SHM_LEN_HIGH = 0x0b4;
const SHM_BASE_LOW = 0x0b8;
const SHM_BASE_HIGH = 0x0bc;
const CONFIG_GENERATION = 0x0fc;
const CONFIG = 0x100;

/** "virt", little-endian. */
const MAGIC = 0x7472_6976;
const MODERN = 2;
/** "TYP2", little-endian. */
const VENDOR = 0x3250_5954;

/** Device status bits, 2.1. */
const STATUS_FEATURES_OK = 8;
const STATUS_DRIVER_OK = 4;
const STATUS_NEEDS_RESET = 64;

const INTERRUPT_USED_BUFFER = 1;
const INTERRUPT_CONFIG_CHANGE = 2;

const FIXED = {
  workLock: 1,
  status: 1,
  deviceFeaturesSel: 1,
  driverFeaturesSel: 1,
  driverFeatures: 2,
  queueSel: 1,
  interruptStatus: 1,
  configGeneration: 1,
  /** Counts DRIVER_OKs, so that the thread that works on queues notices each. */
  activations: 1,
} as const;

/** A virtio device on its transport. */
export class VirtioMmio implements Device, BusDevice {
  readonly name: string;
  readonly registers = VIRTIO_MMIO_REGISTERS;
  readonly state: DeviceState;
  readonly queues: readonly Virtqueue[];
  readonly device: VirtioDevice;
  private readonly r: Int32Array;
  private readonly doubles: Float64Array;
  private readonly layout: ReturnType<typeof VirtioMmio.layoutFor>;
  private readonly irq: IrqLine;
  private readonly queueNotified: (queue: number) => void;
  private readonly features: readonly [number, number];
  /** The activation that this thread's device has been told of. */
  private activation = -1;
  /** Held by whoever works on the queues or takes them away. Taken after the state's lock, never before. */
  private readonly work: Lock;

  /**
   * @param queueNotified - a register write has notified a queue: makes the thread that works on queues
   * call {@link VirtioMmio.process}
   */
  constructor(
    name: string,
    state: DeviceState,
    device: VirtioDevice,
    memory: GuestMemory,
    irq: IrqLine,
    queueNotified: (queue: number) => void,
  ) {
    this.name = name;
    this.state = state;
    this.device = device;
    this.irq = irq;
    this.queueNotified = queueNotified;
    this.layout = VirtioMmio.layoutFor(device);
    this.r = state.words;
    this.doubles = state.doubles;
    this.work = new Lock(this.r, this.layout.word.workLock);
    this.queues = device.queueSizes.map(
      (size, i) =>
        new Virtqueue(
          memory,
          {
            words: this.r,
            word: this.layout.word.queues + i * QUEUE_WORDS,
            doubles: this.doubles,
            double: i * QUEUE_DOUBLES,
          },
          size,
        ),
    );
    this.features = featureWords([
      ...device.features,
      Feature.indirectDescriptors,
      Feature.eventIndex,
      Feature.version1,
    ]);
  }

  /** The registers of a device with so many queues. */
  static layoutFor(device: VirtioDevice): StateLayout<keyof typeof FIXED | 'queues', 'addresses'> {
    const queues = device.queueSizes.length;
    return defineState({ ...FIXED, queues: queues * QUEUE_WORDS }, { addresses: queues * QUEUE_DOUBLES });
  }

  reset(): void {
    this.work.acquire();
    this.clear();
    this.work.release();
  }

  save(): SavedState {
    return { registers: this.state.save(), device: this.device.save() };
  }

  restore(saved: SavedState): void {
    const { word } = this.layout;
    const activations = this.r[word.activations]!;
    this.state.restore((saved['registers'] ?? {}) as SavedState);
    this.device.restore((saved['device'] ?? {}) as SavedState);
    this.r[word.workLock] = 0;
    // Whichever thread works on the queues has not been told of these features.
    this.r[word.activations] = activations + 1;
  }

  read(offset: number, size: AccessSize): number {
    if (offset >= CONFIG) return this.device.readConfig(offset - CONFIG, size);
    // Registers are 32 bits wide and read whole (4.2.2.2); narrower reads see nothing.
    if (size !== 4) return 0;
    const { word } = this.layout;
    const r = this.r;
    switch (offset) {
      case MAGIC_VALUE:
        return MAGIC;
      case VERSION:
        return MODERN;
      case DEVICE_ID:
        return this.device.deviceId;
      case VENDOR_ID:
        return VENDOR;
      case DEVICE_FEATURES:
        return this.features[r[word.deviceFeaturesSel]! as 0 | 1] ?? 0;
      case QUEUE_NUM_MAX:
        return this.device.queueSizes[r[word.queueSel]!] ?? 0;
      case QUEUE_READY:
        return this.selectedQueue(QueueWord.ready);
      case INTERRUPT_STATUS:
        return Atomics.load(r, word.interruptStatus);
      case STATUS:
        return Atomics.load(r, word.status);
      case SHM_LEN_LOW:
      case SHM_LEN_HIGH:
      case SHM_BASE_LOW:
      case SHM_BASE_HIGH:
        return 0xffff_ffff; // no shared memory regions (4.2.2.1)
      case CONFIG_GENERATION:
        return r[word.configGeneration]!;
      default:
        return 0;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset >= CONFIG) {
      this.device.writeConfig(offset - CONFIG, size, value);
      return;
    }
    if (size !== 4) return;
    const { word } = this.layout;
    const r = this.r;
    switch (offset) {
      case DEVICE_FEATURES_SEL:
        r[word.deviceFeaturesSel] = value;
        return;
      case DRIVER_FEATURES_SEL:
        r[word.driverFeaturesSel] = value;
        return;
      case DRIVER_FEATURES:
        // Settled once FEATURES_OK is set (2.2.1).
        if (r[word.driverFeaturesSel]! >>> 0 < 2 && !(r[word.status]! & STATUS_FEATURES_OK)) {
          r[word.driverFeatures + r[word.driverFeaturesSel]!] = value;
        }
        return;
      case QUEUE_SEL:
        r[word.queueSel] = value;
        return;
      case QUEUE_NUM:
        this.setSelectedQueue(QueueWord.size, value);
        return;
      case QUEUE_READY:
        this.setQueueReady(value & 1);
        return;
      case QUEUE_NOTIFY:
        if (value < this.queues.length) this.queueNotified(value);
        return;
      case INTERRUPT_ACK:
        Atomics.and(r, word.interruptStatus, ~value);
        return;
      case STATUS:
        this.setStatus(value & 0xff);
        return;
      case QUEUE_DESC_LOW:
        this.setAddress(QueueDouble.descriptors, 0, value);
        return;
      case QUEUE_DESC_HIGH:
        this.setAddress(QueueDouble.descriptors, 1, value);
        return;
      case QUEUE_DRIVER_LOW:
        this.setAddress(QueueDouble.available, 0, value);
        return;
      case QUEUE_DRIVER_HIGH:
        this.setAddress(QueueDouble.available, 1, value);
        return;
      case QUEUE_DEVICE_LOW:
        this.setAddress(QueueDouble.used, 0, value);
        return;
      case QUEUE_DEVICE_HIGH:
        this.setAddress(QueueDouble.used, 1, value);
        return;
      default:
        return;
    }
  }

  /**
   * Works off a queue and interrupts the driver if it wants to hear of it. On the one thread that works
   * on queues, without the state's lock. Whatever the driver did wrong ends here: the device needs a reset.
   * @returns whether there is more to do at once
   */
  process(index: number): boolean {
    const queue = this.queues[index];
    if (queue === undefined) return false;
    this.work.acquire();
    try {
      if (!this.working || !queue.ready) return false;
      this.activateOnce();
      const more = this.device.process(index, queue);
      if (queue.needsInterrupt()) this.interrupt(INTERRUPT_USED_BUFFER);
      return more;
    } catch (error) {
      if (!(error instanceof GuestError || error instanceof GuestAddressError)) throw error;
      this.needReset();
      return false;
    } finally {
      this.work.release();
    }
  }

  /** Tells the driver that the configuration has changed. */
  configChanged(): void {
    Atomics.add(this.r, this.layout.word.configGeneration, 1);
    this.interrupt(INTERRUPT_CONFIG_CHANGE);
  }

  /** Whether the driver is ready and the device has not failed. */
  get working(): boolean {
    const status = Atomics.load(this.r, this.layout.word.status);
    return (status & (STATUS_DRIVER_OK | STATUS_NEEDS_RESET)) === STATUS_DRIVER_OK;
  }

  private interrupt(cause: number): void {
    Atomics.or(this.r, this.layout.word.interruptStatus, cause);
    this.irq.pulse();
  }

  /** 2.1.2: a device that can't go on says so and stops. */
  private needReset(): void {
    const status = Atomics.or(this.r, this.layout.word.status, STATUS_NEEDS_RESET);
    if (status & STATUS_DRIVER_OK) this.interrupt(INTERRUPT_CONFIG_CHANGE);
  }

  /** Tells this thread's device and queues what was negotiated, once for every DRIVER_OK. */
  private activateOnce(): void {
    const activation = Atomics.load(this.r, this.layout.word.activations);
    if (activation === this.activation) return;
    this.activation = activation;
    const at = this.layout.word.driverFeatures;
    const features = new FeatureSet(this.r[at]!, this.r[at + 1]!);
    for (const queue of this.queues) {
      queue.negotiate(features.has(Feature.indirectDescriptors), features.has(Feature.eventIndex));
    }
    this.device.activate(features);
  }

  private setStatus(value: number): void {
    const { word } = this.layout;
    if (value === 0) {
      this.reset();
      return;
    }
    const before = this.r[word.status]!;
    let status = value | (before & STATUS_NEEDS_RESET);
    if (status & STATUS_FEATURES_OK && !(before & STATUS_FEATURES_OK) && !this.featuresAcceptable()) {
      status &= ~STATUS_FEATURES_OK;
    }
    // A driver that is ready without agreed features would be a legacy one (3.1.1).
    if (status & STATUS_DRIVER_OK && !(status & STATUS_FEATURES_OK)) status &= ~STATUS_DRIVER_OK;
    const starts = status & STATUS_DRIVER_OK && !(before & STATUS_DRIVER_OK);
    if (starts) Atomics.add(this.r, word.activations, 1);
    Atomics.store(this.r, word.status, status);
    // Buffers may have been made available before DRIVER_OK.
    if (starts) for (let i = 0; i < this.queues.length; i++) this.queueNotified(i);
  }

  /** Nothing that wasn't offered, and VIRTIO_F_VERSION_1, without which a driver is a legacy one (6.1). */
  private featuresAcceptable(): boolean {
    const at = this.layout.word.driverFeatures;
    const low = this.r[at]!;
    const high = this.r[at + 1]!;
    const version1 = (high >>> (Feature.version1 - 32)) & 1;
    return (low & ~this.features[0]) === 0 && (high & ~this.features[1]) === 0 && version1 === 1;
  }

  private selectedQueue(register: number): number {
    const index = this.r[this.layout.word.queueSel]! >>> 0;
    if (index >= this.queues.length) return 0;
    return this.r[this.layout.word.queues + index * QUEUE_WORDS + register]!;
  }

  /** A queue's registers are fixed while it is ready (4.2.2.2). */
  private setSelectedQueue(register: number, value: number): void {
    const index = this.r[this.layout.word.queueSel]! >>> 0;
    if (index >= this.queues.length || this.queues[index]!.ready) return;
    this.r[this.layout.word.queues + index * QUEUE_WORDS + register] = value;
  }

  private setAddress(which: number, half: 0 | 1, value: number): void {
    const index = this.r[this.layout.word.queueSel]! >>> 0;
    if (index >= this.queues.length || this.queues[index]!.ready) return;
    const at = index * QUEUE_DOUBLES + which;
    const before = this.doubles[at]!;
    const high = Math.floor(before / 0x1_0000_0000);
    this.doubles[at] =
      half === 0
        ? high * 0x1_0000_0000 + (value >>> 0)
        : (value >>> 0) * 0x1_0000_0000 + (before - high * 0x1_0000_0000);
  }

  private setQueueReady(ready: number): void {
    const index = this.r[this.layout.word.queueSel]! >>> 0;
    const queue = this.queues[index];
    if (queue === undefined) return;
    const at = this.layout.word.queues + index * QUEUE_WORDS;
    this.work.acquire();
    try {
      if (ready === 1 && !queue.ready) {
        queue.check();
        this.r[at + QueueWord.nextAvailable] = 0;
        this.r[at + QueueWord.nextUsed] = 0;
        this.r[at + QueueWord.signalledUsed] = 0;
      }
      Atomics.store(this.r, at + QueueWord.ready, ready);
    } catch (error) {
      if (!(error instanceof GuestError || error instanceof GuestAddressError)) throw error;
      this.needReset();
    } finally {
      this.work.release();
    }
  }

  /** Everything but the lock that the caller holds, and the count of activations. */
  private clear(): void {
    const { word } = this.layout;
    const activations = this.r[word.activations]!;
    this.r.fill(0, word.workLock + 1);
    this.r[word.activations] = activations;
    this.doubles.fill(0);
    this.device.queueSizes.forEach((size, i) => {
      this.r[this.layout.word.queues + i * QUEUE_WORDS + QueueWord.size] = size;
    });
  }
}

function featureWords(bits: readonly number[]): [number, number] {
  const words: [number, number] = [0, 0];
  for (const bit of bits) words[bit < 32 ? 0 : 1] |= 1 << (bit % 32);
  return [words[0] >>> 0, words[1] >>> 0];
}
