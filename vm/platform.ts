/**
 * The platform: all of a machine's devices on their buses, put together from a parts list. Every thread
 * of a machine builds the same platform over the same shared state, so that any vCPU can run any device;
 * what differs from thread to thread (interrupt lines, whether backends are open) comes in as a
 * {@link PlatformHost}.
 */
import { AcpiPm } from '../devices/acpi-pm.ts';
import { BootMark } from '../devices/boot-mark.ts';
import { Bus } from '../devices/bus.ts';
import { DebugExit } from '../devices/debug-exit.ts';
import type { Alarm, Clock, Device, IrqLine, MachineControl, TimedDevice } from '../devices/device.ts';
import { FwCfg } from '../devices/fw-cfg.ts';
import { I8042 } from '../devices/i8042.ts';
import type { GuestMemory } from '../devices/memory.ts';
import { type AnyDeviceModule, ModuleDevice, moduleLayout } from '../devices/module.ts';
import { Pvpanic } from '../devices/pvpanic.ts';
import { Rtc } from '../devices/rtc.ts';
import { type CharBackend, Serial } from '../devices/serial.ts';
import { type DeviceState, StateAllocator, type StateLayout } from '../devices/state.ts';
import { SystemControl, type Timer2 } from '../devices/system-control.ts';
import { VirtioBlock } from '../devices/virtio/blk.ts';
import type { VirtioDevice } from '../devices/virtio/device.ts';
import { VirtioMmio } from '../devices/virtio/mmio.ts';
import { VirtioNet } from '../devices/virtio/net.ts';
import { VirtioRng } from '../devices/virtio/rng.ts';
import { type PlacedModule, placeModules } from './device-modules.ts';
import { ACPI_S5_SLEEP_TYPE, Gsi, Port, ramRanges, type VirtioSlot, virtioSlot } from './layout.ts';
import type { DiskPart, MachineParts, NetPart } from './parts.ts';
import type { ThreadCounters } from './statistics.ts';

/** What a thread gives its platform. */
export interface PlatformHost {
  readonly memory: GuestMemory;
  readonly clock: Clock;
  readonly alarm: Alarm;
  readonly control: MachineControl;
  readonly console: CharBackend;
  readonly counters: Pick<ThreadCounters, 'pio' | 'mmio'>;
  irqLine(gsi: number): IrqLine;
  /** Counter 2 of the interval timer, where the engine's timer is ours; port 0x61 then belongs to the platform. */
  readonly timer2?: Timer2;
  /** The guest has marked a moment of its boot. */
  bootMark(mark: number): void;
  /** Fills bytes for the entropy device; the host's random numbers, where it is absent. */
  readonly fillRandom?: (bytes: Uint8Array) => void;
  /** A driver has notified a queue by a register write that exited. */
  queueNotified(device: number, queue: number): void;
  readonly observer?: PlatformObserver | undefined;
}

/** Sees what devices do of their own accord: tracing. */
export interface PlatformObserver {
  /** @returns the line that the device shall drive instead */
  irqLine(device: string, gsi: number, line: IrqLine): IrqLine;
  /**
   * Does some work on a virtqueue.
   * @param device - index of the virtio device
   * @param done - counts the chains that the device has given back, modulo 65,536
   * @returns what `work` returns
   */
  queueWork(device: number, name: string, queue: number, done: () => number, work: () => boolean): boolean;
}

/** A virtio device as the machine has placed it. */
export interface PlacedVirtio {
  readonly slot: VirtioSlot;
  readonly transport: VirtioMmio;
}

/** One thread's view of a machine's devices. */
export interface Platform {
  readonly pio: Bus;
  readonly mmio: Bus;
  readonly serial: Serial;
  readonly acpiPm: AcpiPm;
  /** In order of their MMIO slots: disks, network interfaces, rng. */
  readonly virtio: readonly PlacedVirtio[];
  /** All of them, in the order in which state was dealt out. */
  readonly devices: readonly Device[];
  readonly timed: readonly TimedDevice[];
  /** Name of the device on each interrupt line, by GSI. */
  readonly interrupts: ReadonlyMap<number, string>;
  /** Works off a virtqueue, on the thread that works on queues. @returns whether there is more to do at once */
  work(device: number, queue: number): boolean;
}

/** How many virtio devices a parts list comes to. */
export function virtioCount(parts: Pick<MachineParts, 'disks' | 'nets' | 'rng'>): number {
  return parts.disks.length + parts.nets.length + (parts.rng ? 1 : 0);
}

/** For each virtio device, in order of its slot, how many queues it has. */
export function queueCounts(parts: Pick<MachineParts, 'disks' | 'nets' | 'rng'>): number[] {
  return [...parts.disks.map(() => 1), ...parts.nets.map(() => 2), ...(parts.rng ? [1] : [])];
}

/** Bytes of shared state that any machine's own devices fit in; those of users come on top. */
export const DEVICE_STATE_BYTES = 256 * 1024;

/**
 * Builds a machine's devices. The first thread to do so resets them.
 * @param modules - the loaded {@link MachineParts.modules}
 * @throws ConfigError when a module's device doesn't fit in, DeviceModuleError when its code throws
 */
export function buildPlatform(
  parts: MachineParts,
  host: PlatformHost,
  modules: readonly AnyDeviceModule[] = [],
): Platform {
  const allocator = new StateAllocator(parts.deviceState);
  const pio = new Bus(host.counters.pio);
  const mmio = new Bus(host.counters.mmio);
  const devices: Device[] = [];
  const interrupts = new Map<number, string>();
  const { observer } = host;
  const irqLine = (name: string, gsi: number): IrqLine => {
    interrupts.set(gsi, name);
    const line = host.irqLine(gsi);
    return observer === undefined ? line : observer.irqLine(name, gsi, line);
  };
  const state = (layout: StateLayout): DeviceState => allocator.allocate(layout);
  const add = <T extends Device>(device: T): T => {
    devices.push(device);
    return device;
  };

  const serial = add(
    new Serial('serial0', state(Serial.layout), irqLine('serial0', Gsi.serial), host.console),
  );
  pio.map(Port.serial, 8, serial, serial.state.lock);
  const [lowRam, highRam] = ramRanges(parts.memory);
  const rtc = add(
    new Rtc(
      state(Rtc.layout),
      irqLine('rtc', Gsi.rtc),
      host.clock,
      host.alarm,
      lowRam!.length,
      highRam?.length,
    ),
  );
  pio.map(Port.cmos, 2, rtc, rtc.state.lock);
  const i8042 = add(new I8042(state(I8042.layout), host.control));
  pio.map(Port.i8042, 1, i8042, i8042.state.lock);
  pio.map(Port.i8042 + 4, 1, i8042, i8042.state.lock, { firstOffset: 4 });
  const systemControl = add(new SystemControl(state(SystemControl.layout), host.control, host.timer2));
  if (host.timer2 !== undefined)
    pio.map(Port.systemControlB, 1, systemControl.portB, systemControl.state.lock);
  pio.map(Port.systemControlA, 1, systemControl.controlA, systemControl.state.lock);
  pio.map(Port.resetControl, 1, systemControl.resetControl, systemControl.state.lock);
  const acpiPm = add(
    new AcpiPm(
      state(AcpiPm.layout),
      irqLine('acpi-pm', Gsi.sci),
      host.clock,
      host.alarm,
      host.control,
      ACPI_S5_SLEEP_TYPE,
    ),
  );
  pio.map(Port.acpiPm1Event, 4, acpiPm.event, acpiPm.state.lock);
  pio.map(Port.acpiPm1Control, 2, acpiPm.control, acpiPm.state.lock);
  pio.map(Port.acpiPmTimer, 4, acpiPm.timer, acpiPm.state.lock);
  const pvpanic = add(new Pvpanic(state(Pvpanic.layout), host.control));
  pio.map(Port.pvpanic, 1, pvpanic, pvpanic.state.lock);
  const fwCfg = add(
    new FwCfg(state(FwCfg.layout), { ramSize: parts.memory, cpus: parts.cpus, memory: host.memory }),
  );
  pio.map(Port.fwCfg, FwCfg.length, fwCfg, fwCfg.state.lock);
  const bootMark = add(new BootMark(state(BootMark.layout), host.bootMark));
  pio.map(Port.bootMark, 1, bootMark, bootMark.state.lock);
  if (parts.debugExit) {
    const debugExit = add(new DebugExit(state(DebugExit.layout), host.control));
    pio.map(Port.debugExit, 1, debugExit, debugExit.state.lock, { whole: true });
  }

  const virtio = virtioDevices(parts, host).map(({ name, device }, index): PlacedVirtio => {
    const slot = virtioSlot(index);
    const transport = add(
      new VirtioMmio(
        name,
        state(VirtioMmio.layoutFor(device)),
        device,
        host.memory,
        irqLine(name, slot.gsi),
        (queue) => host.queueNotified(index, queue),
      ),
    );
    mmio.map(slot.base, slot.size, transport, transport.state.lock);
    return { slot, transport };
  });

  const timed: TimedDevice[] = [rtc, acpiPm];
  const addModule = ({ module, name, file, port, mmio: address, irq }: PlacedModule): void => {
    const { clock, alarm, memory } = host;
    const line = irq === undefined ? UNCONNECTED : host.irqLine(irq);
    const device = add(
      new ModuleDevice(module, name, {
        state: state(moduleLayout(module)),
        irq: line,
        clock,
        alarm,
        memory,
        file,
      }),
    );
    if (port !== undefined) pio.map(port, module.length, device, device.state.lock);
    if (address !== undefined) mmio.map(address, module.length, device, device.state.lock);
    timed.push(device);
  };
  const names = devices.map((device) => device.name);
  const neighbours = { pio, mmio, names, memory: parts.memory, virtio: virtio.length };
  placeModules(modules, parts.modules, neighbours, addModule);

  const process = (device: number, queue: number): boolean => virtio[device]!.transport.process(queue);
  const work =
    observer === undefined
      ? process
      : (device: number, queue: number): boolean => {
          const { name, queues } = virtio[device]!.transport;
          const done = (): number => queues[queue]?.usedIndex ?? 0;
          return observer.queueWork(device, name, queue, done, () => process(device, queue));
        };
  return { pio, mmio, serial, acpiPm, virtio, devices, timed, interrupts, work };
}

/** The interrupt line of a device that has none. */
const UNCONNECTED: IrqLine = { setLevel: () => {}, pulse: () => {} };

/** The virtio devices of a machine in the order of their slots. */
function virtioDevices(
  parts: MachineParts,
  { memory, fillRandom }: PlatformHost,
): { name: string; device: VirtioDevice }[] {
  return [
    ...parts.disks.map((disk: DiskPart, i) => ({
      name: `virtio-blk${i}`,
      device: new VirtioBlock(disk, memory),
    })),
    ...parts.nets.map((net: NetPart, i) => ({
      name: `virtio-net${i}`,
      device: new VirtioNet(net.mac, memory),
    })),
    ...(parts.rng ? [{ name: 'virtio-rng', device: new VirtioRng(memory, fillRandom) }] : []),
  ];
}
