/**
 * What the device thread of a KVM machine does: one epoll loop that works off virtqueues when the guest
 * notifies them (ioeventfd) or the network has frames, feeds the console, and calls devices at their
 * deadlines.
 */
import type { MessagePort } from 'node:worker_threads';
import { RawFileFfi } from '../../devices/block/raw-ffi.ts';
import type { GuestMemory } from '../../devices/memory.ts';
import type { AnyDeviceModule } from '../../devices/module.ts';
import { Tap } from '../../devices/net/tap.ts';
import { VirtioBlock } from '../../devices/virtio/blk.ts';
import { RECEIVE_QUEUE, VirtioNet } from '../../devices/virtio/net.ts';
import { HostClock } from '../clock.ts';
import { Control, Request } from '../control.ts';
import { buildPlatform, type Platform } from '../platform.ts';
import { statisticsBuffer, threadCounters } from '../statistics.ts';
import { Tracer } from '../trace/tracer.ts';
import { Epoll } from './epoll.ts';
import { kvmPlatformHost } from './platform-host.ts';
import type { KvmThreadData, ThreadMessage } from './threads.ts';
import { memoryOver } from './vm.ts';

export class DeviceLoop {
  private readonly data: KvmThreadData;
  private readonly control: Control;
  private readonly platform: Platform;
  private readonly memory: GuestMemory;
  private readonly clock: HostClock;
  private readonly epoll = new Epoll();
  /** Queues that had more to do than one turn allows. */
  private unfinished: (() => void)[] = [];
  private readonly closers: (() => void)[] = [];

  /** Opens disks and taps. @throws HostError when one can't be opened */
  constructor(data: KvmThreadData, modules: readonly AnyDeviceModule[], port: MessagePort) {
    this.data = data;
    this.control = new Control(data.parts.control);
    const outcome: ThreadMessage = { type: 'outcome' };
    this.control.onOutcome = () => port.postMessage(outcome);
    this.clock = new HostClock(this.control);
    this.memory = memoryOver(data.ram);
    // This thread serves no exits, so its counters are its own and nobody reads them.
    const counters = threadCounters(statisticsBuffer(1), 0);
    const { trace } = data.parts;
    const tracer = trace && new Tracer(trace, data.parts.cpus, () => 0);
    const host = kvmPlatformHost(data, this.memory, this.control, counters, port);
    this.platform = buildPlatform(data.parts, { ...host, observer: tracer }, modules);
    tracer?.attach(this.platform.pio, this.platform.mmio);
    this.epoll.add(data.wakeFd, () => this.lookAround());
    let disks = 0;
    let nets = 0;
    this.platform.virtio.forEach((placed, index) => {
      const { device } = placed.transport;
      if (device instanceof VirtioBlock) this.attachDisk(device, disks++);
      if (device instanceof VirtioNet) this.attachNet(device, index, nets++);
      else this.serveQueues(index);
    });
  }

  /** Until the machine stops. */
  run(): void {
    for (;;) {
      const { request } = this.control;
      if (request === Request.stop) return;
      if (request === Request.pause) {
        this.control.park();
        continue;
      }
      this.epoll.wait(this.unfinished.length > 0 ? 0 : this.untilDeadline());
      if (this.unfinished.length > 0) this.goOn();
      this.expireDeadlines();
    }
  }

  /** Gives back what the loop has opened. */
  close(): void {
    for (const close of this.closers) close();
    this.epoll.close();
  }

  private goOn(): void {
    const tasks = this.unfinished;
    this.unfinished = [];
    for (const task of tasks) task();
  }

  /** Milliseconds until the next deadline, rounded up; −1 when there is none. */
  private untilDeadline(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const device of this.platform.timed) next = Math.min(next, device.deadline());
    if (next === Number.POSITIVE_INFINITY) return -1;
    return Math.max(0, Math.min(Math.ceil((next - this.clock.now()) / 1e6), 0x7fff_ffff));
  }

  private expireDeadlines(): void {
    for (const device of this.platform.timed) {
      const now = this.clock.now();
      if (device.deadline() > now) continue;
      device.state.lock.acquire();
      device.expire(now);
      device.state.lock.release();
    }
  }

  /** Someone has written the wake-up eventfd: console, power button, a request, or a deadline that has moved. */
  private lookAround(): void {
    this.epoll.drain(this.data.wakeFd);
    const { serial, acpiPm } = this.platform;
    serial.state.lock.acquire();
    serial.inputReady();
    serial.outputDrained();
    serial.state.lock.release();
    if (!this.control.takePowerButton()) return;
    acpiPm.state.lock.acquire();
    acpiPm.pressPowerButton();
    acpiPm.state.lock.release();
  }

  private onNotify(fd: number, handler: () => void): void {
    this.epoll.add(fd, () => {
      this.epoll.drain(fd);
      handler();
    });
  }

  private serveQueues(index: number): void {
    this.data.notifyFds[index]!.forEach((fd, queue) => {
      this.onNotify(fd, () => this.work(index, queue));
    });
  }

  private work(index: number, queue: number): void {
    if (this.platform.work(index, queue)) this.unfinished.push(() => this.work(index, queue));
  }

  private attachDisk(device: VirtioBlock, index: number): void {
    const part = this.data.parts.disks[index]!;
    const backend = new RawFileFfi(part.path, part.readonly, this.memory);
    this.closers.push(() => backend.close());
    device.attach(backend);
  }

  /** Frames are only waited for while the guest has buffers for them. */
  private attachNet(device: VirtioNet, index: number, part: number): void {
    const tap = new Tap(this.data.parts.nets[part]!.tap, this.memory);
    this.closers.push(() => tap.close());
    device.attach(tap);
    let polled = false;
    const receive = (): void => {
      if (this.platform.work(index, RECEIVE_QUEUE)) this.unfinished.push(receive);
      if (device.starved !== polled) return;
      if (polled) this.epoll.remove(tap.fd);
      else this.epoll.add(tap.fd, receive);
      polled = !polled;
    };
    this.data.notifyFds[index]!.forEach((fd, queue) => {
      this.onNotify(fd, queue === RECEIVE_QUEUE ? receive : () => this.work(index, queue));
    });
  }
}
