/**
 * Where the time of one port-I/O exit goes. Parts that can be timed alone are, a million times over:
 *
 *   system call           an ioctl that does nothing, from C: into the kernel and back
 *   FFI                   the same ioctl through koffi, less that
 *   dispatch              the vCPU's loop over a processor that exits at once: control block, counters, the bus
 *   device                the serial port's register, under its lock
 *
 * Hardware and kernel are what the guest sees of an exit under the C loop, less the system call. After an exit, which
 * leaves caches and branch predictors to others, FFI, dispatch and device take longer than alone: the vCPU's loop on
 * the calling thread shows by how much. The sum is compared with the whole: the same exit in a whole machine.
 */
import { Bus } from '../../devices/bus.ts';
import * as libc from '../../devices/host/libc.ts';
import { Control } from '../../vm/control.ts';
import { debugEvent } from '../../vm/debug/settings.ts';
import { ExitReason, type Vcpu } from '../../vm/engine.ts';
import { IOCTL } from '../../vm/kvm/abi.ts';
import { KvmSystem } from '../../vm/kvm/system.ts';
import { Port } from '../../vm/layout.ts';
import { statisticsBuffer, threadCounters } from '../../vm/statistics.ts';
import { runVcpu } from '../../vm/vcpu-loop.ts';
import { quantile } from '../statistics.ts';
import { guestImage, KEPT_MEMORY, OPERATIONS, readSamples } from './guest.ts';
import { openBenchVcpu } from './kvm-vcpu.ts';
import { serialOnBus } from './serial-bus.ts';

const TURNS = 1_000_000;
const SCRATCH_PORT = 0x3ff;
const SCRATCH_OFFSET = 7;

/** Nanoseconds of each part that Type2 adds to an exit. */
export interface OwnParts {
  /** An ioctl through koffi, the system call included. */
  readonly ioctl: number;
  readonly dispatch: number;
  readonly device: number;
  /** A whole exit as the guest sees it, served by the vCPU's loop on the calling thread. */
  readonly loop: number;
}

/** Measures Type2's own parts once. */
export function measureOwnParts(): Omit<OwnParts, 'loop'> {
  const device = timeDevice();
  return { ioctl: timeIoctl(), device, dispatch: Math.max(timeLoop() - device, 0) };
}

function timeIoctl(): number {
  const system = new KvmSystem();
  try {
    const { fd } = system;
    const request = IOCTL.KVM_GET_API_VERSION;
    for (let i = 0; i < TURNS / 10; i++) libc.ioctl(fd, request, 0);
    const start = process.hrtime.bigint();
    for (let i = 0; i < TURNS; i++) libc.ioctl(fd, request, 0);
    return Number(process.hrtime.bigint() - start) / TURNS;
  } finally {
    system.close();
  }
}

function timeDevice(): number {
  const { serial } = serialOnBus();
  const { lock } = serial.state;
  const access = (value: number): void => {
    lock.acquire();
    try {
      serial.write(SCRATCH_OFFSET, 1, value);
    } finally {
      lock.release();
    }
  };
  for (let i = 0; i < TURNS / 10; i++) access(i & 0xff);
  const start = process.hrtime.bigint();
  for (let i = 0; i < TURNS; i++) access(i & 0xff);
  return Number(process.hrtime.bigint() - start) / TURNS;
}

/** The loop over a processor whose guest does nothing but write to the port; it reads the exit as KVM's does. */
function timeLoop(): number {
  const control = new Control(Control.buffer(1));
  const counters = threadCounters(statisticsBuffer(1), 0);
  const { pio } = serialOnBus(counters.pio);
  // As struct kvm_run: port, size, count, direction, and the data.
  const run = new Uint32Array(16);
  run.set([SCRATCH_PORT, 1, 1, 1, 32]);
  const data = new DataView(run.buffer);
  const exit = { address: 0, size: 0, count: 0, isWrite: false, dataOffset: 0 };
  let left = TURNS / 10;
  let start = 0n;
  let elapsed = 0n;
  const vcpu: Vcpu = {
    index: 0,
    exit,
    data,
    run: () => {
      if (--left === 0) {
        if (start === 0n) {
          start = process.hrtime.bigint();
          left = TURNS;
        } else {
          elapsed = process.hrtime.bigint() - start;
          control.end('stopped');
        }
      }
      exit.address = run[0]!;
      exit.size = run[1]!;
      exit.count = run[2]!;
      exit.isWrite = run[3] === 1;
      exit.dataOffset = run[4]!;
      return ExitReason.io;
    },
    settle: () => ExitReason.interrupted,
    debugEvent: debugEvent(0),
    haltedForGood: () => false,
    describeFailure: () => '',
  };
  runVcpu({ vcpu, pio, mmio: new Bus(counters.mmio), control, counts: counters.exits });
  return Number(elapsed) / TURNS;
}

/** Nanoseconds: the median exit of a guest on KVM under the vCPU's loop on this thread. */
export function measureExit(): number {
  const operation = OPERATIONS.find(({ name }) => name === 'pio-out')!;
  const { rounds } = operation;
  const bench = openBenchVcpu(guestImage(operation.name, rounds));
  try {
    const control = new Control(Control.buffer(1));
    const counters = threadCounters(statisticsBuffer(1), 0);
    const { pio, serial } = serialOnBus(counters.pio);
    const times: bigint[] = [];
    const mark = { name: 'mark', read: () => 0, write: () => void times.push(process.hrtime.bigint()) };
    const power = { name: 'power', read: () => 0, write: () => control.end('power-off') };
    pio.map(Port.bootMark, 1, mark, serial.state.lock);
    pio.map(Port.acpiPm1Control, 2, power, serial.state.lock);
    const { vcpu } = bench;
    const failure = runVcpu({ vcpu, pio, mmio: new Bus(counters.mmio), control, counts: counters.exits });
    if (failure !== undefined) throw new Error(failure);
    const elapsed = Number(times[1]! - times[0]!);
    return quantile(readSamples(bench.memory.view(0, KEPT_MEMORY), operation, rounds, elapsed).first, 0.5);
  } finally {
    bench.close();
  }
}
