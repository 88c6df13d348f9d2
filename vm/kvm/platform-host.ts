/**
 * What a thread of a KVM machine gives its devices: interrupt lines into the in-kernel controllers, real
 * time, and eventfds that wake the device thread.
 */
import type { MessagePort } from 'node:worker_threads';
import type { IrqLine } from '../../devices/device.ts';
import * as libc from '../../devices/host/libc.ts';
import type { GuestMemory } from '../../devices/memory.ts';
import { HostClock, monotonicNow } from '../clock.ts';
import { GuestConsole } from '../console.ts';
import type { Control } from '../control.ts';
import { GSI_COUNT, virtioSlot } from '../layout.ts';
import type { PlatformHost } from '../platform.ts';
import type { ThreadCounters } from '../statistics.ts';
import { IOCTL, kvm_irq_level } from './abi.ts';
import type { KvmThreadData, ThreadMessage } from './threads.ts';

/** The levels of all interrupt lines, for {@link KvmThreadData.irqLevels}. */
export function irqLevelsBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(GSI_COUNT * 4);
}

/** Writes 1 to an eventfd: wakes whoever waits for it. One for each thread. */
export class EventWriter {
  private readonly one = libc.nativeBuffer(8);

  constructor() {
    this.one.data.setBigUint64(0, 1n, true);
  }

  /** Hot path. */
  signal(fd: number): void {
    libc.write(fd, this.one.address, 8);
  }

  free(): void {
    this.one.free();
  }
}

/** The host side of a thread's platform. @param port - to the main thread */
export function kvmPlatformHost(
  data: KvmThreadData,
  memory: GuestMemory,
  control: Control,
  counters: Pick<ThreadCounters, 'pio' | 'mmio'>,
  port: MessagePort,
): PlatformHost {
  const events = new EventWriter();
  const post = (message: ThreadMessage): void => port.postMessage(message);
  return {
    memory,
    control,
    counters,
    clock: new HostClock(control),
    alarm: { deadlineMoved: () => events.signal(data.wakeFd) },
    console: new GuestConsole(data.parts.console, () => post({ type: 'output' })),
    irqLine: (gsi) => {
      const slot = data.irqfds.findIndex((_, i) => virtioSlot(i).gsi === gsi);
      return slot < 0 ? levelLine(data, gsi) : edgeLine(events, data.irqfds[slot]!);
    },
    queueNotified: (device, queue) => events.signal(data.notifyFds[device]![queue]!),
    bootMark: (mark) => post({ type: 'boot-mark', mark, time: monotonicNow() }),
  };
}

/** A line that holds its level, by KVM_IRQ_LINE. */
function levelLine(data: KvmThreadData, gsi: number): IrqLine {
  const levels = new Int32Array(data.irqLevels);
  const request = libc.nativeBuffer(kvm_irq_level.size);
  const words = new Uint32Array(request.u8.buffer);
  words[kvm_irq_level.offset.irq / 4] = gsi;
  const drive = (level: number): void => {
    words[kvm_irq_level.offset.level / 4] = level;
    libc.ioctl(data.vmFd, IOCTL.KVM_IRQ_LINE, request.address);
  };
  return {
    setLevel(asserted) {
      const level = asserted ? 1 : 0;
      if (Atomics.exchange(levels, gsi, level) !== level) drive(level);
    },
    pulse() {
      drive(1);
      drive(0);
    },
  };
}

/** A line of edges only, by irqfd: one short system call an edge. */
function edgeLine(events: EventWriter, irqfd: number): IrqLine {
  return {
    setLevel(asserted) {
      if (asserted) events.signal(irqfd);
    },
    pulse() {
      events.signal(irqfd);
    },
  };
}
