/**
 * The hot loop of a vCPU's thread, the same for every driver: run guest code until it needs someone,
 * serve that from the buses, and go on. Between two runs it heeds the control block.
 *
 * Nothing here allocates: `npm run bench -- allocations` counts what a million exits leave on the heap.
 */

import type { Bus } from '../devices/bus.ts';
import type { AccessSize } from '../devices/device.ts';
import { type Control, Request } from './control.ts';
import { ExitReason, type Vcpu } from './engine.ts';

/** Sees every exit. The seam that tracing hangs on; absent, it costs a comparison before and after. */
export interface ExitObserver {
  /** An exit is about to be served: a write's data is there. */
  exit(vcpu: Vcpu, reason: ExitReason): void;
  /** It has been served: a read's data is there too. */
  served(vcpu: Vcpu, reason: ExitReason): void;
}

/** What a vCPU's loop works with. */
export interface VcpuLoop {
  readonly vcpu: Vcpu;
  readonly pio: Bus;
  readonly mmio: Bus;
  readonly control: Control;
  /** Exits by reason. */
  readonly counts: Float64Array;
  readonly observer?: ExitObserver | undefined;
}

/**
 * Runs a vCPU until the run ends or someone wants it stopped.
 * @returns a description of what went wrong in the driver, or undefined when nothing did
 */
export function runVcpu(loop: VcpuLoop): string | undefined {
  const { vcpu, pio, mmio, control, counts, observer } = loop;
  const index = vcpu.index;
  let failure: string | undefined;
  for (;;) {
    const shallRun = control.request === Request.run;
    const reason = shallRun ? vcpu.run() : vcpu.settle();
    if (!shallRun && reason === ExitReason.interrupted) {
      if (control.request === Request.stop) return undefined;
      control.park(index);
      continue;
    }
    counts[reason] = counts[reason]! + 1;
    if (reason !== ExitReason.interrupted) control.countExit(index);
    if (observer !== undefined) observer.exit(vcpu, reason);
    switch (reason) {
      case ExitReason.io:
        serveAccesses(vcpu, pio, 0);
        break;
      case ExitReason.mmio:
        serveAccesses(vcpu, mmio, 1);
        break;
      case ExitReason.interrupted:
        if (control.takeHaltedQuestion(index)) control.setHalted(index, vcpu.haltedForGood());
        break;
      case ExitReason.hlt:
        if (vcpu.haltedForGood()) {
          control.setHalted(index, true);
          control.end('halted');
        }
        break;
      case ExitReason.shutdown:
        control.end(control.hasPanicked ? 'panic' : 'triple-fault');
        break;
      case ExitReason.debug:
        control.stopForDebugger(vcpu.debugEvent);
        break;
      case ExitReason.internalError:
        control.end('error');
        failure = vcpu.describeFailure();
        break;
      default:
        // Hypercalls that nobody implements return −ENOSYS by the driver.
        break;
    }
    if (observer !== undefined) observer.served(vcpu, reason);
    if (control.ended) {
      // Registers and memory can still be looked at: see Machine.inspect.
      vcpu.settle();
      return failure;
    }
  }
}

/**
 * Does for an access what {@link runVcpu} does, for a driver whose guest code waits in the middle of the instruction.
 * Hot path.
 * @param reason - io or mmio
 */
export function serveExit(loop: VcpuLoop, reason: ExitReason): void {
  const { vcpu, pio, mmio, control, counts, observer } = loop;
  counts[reason] = counts[reason]! + 1;
  control.countExit(vcpu.index);
  if (observer !== undefined) observer.exit(vcpu, reason);
  if (reason === ExitReason.io) serveAccesses(vcpu, pio, 0);
  else serveAccesses(vcpu, mmio, 1);
  if (observer !== undefined) observer.served(vcpu, reason);
}

/**
 * Serves the accesses of one exit. A string instruction repeats one port; data wider than four bytes
 * (MMIO) goes over the bus in two halves, low first.
 * @param step - 1 where successive bytes have successive addresses (MMIO), 0 where they have not
 */
function serveAccesses(vcpu: Vcpu, bus: Bus, step: 0 | 1): void {
  const { exit, data } = vcpu;
  let at = exit.dataOffset;
  for (let n = exit.count; n > 0; n--) {
    for (let done = 0; done < exit.size; ) {
      const left = exit.size - done;
      const size: AccessSize = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      const address = exit.address + done * step;
      if (exit.isWrite) {
        const value =
          size === 1 ? data.getUint8(at) : size === 2 ? data.getUint16(at, true) : data.getUint32(at, true);
        bus.write(address, size, value);
      } else {
        const value = bus.read(address, size);
        if (size === 1) data.setUint8(at, value);
        else if (size === 2) data.setUint16(at, value, true);
        else data.setUint32(at, value, true);
      }
      at += size;
      done += size;
    }
  }
}
