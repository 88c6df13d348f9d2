/**
 * The thread of a machine on the TypeScript CPU: its vCPUs in turns, and its devices. It never returns to
 * Node's event loop while the machine runs.
 */
import { existsSync, readFileSync } from 'node:fs';
import { type MessagePort, parentPort } from 'node:worker_threads';
import { RawFile } from '../../devices/block/raw.ts';
import { HostError } from '../../devices/errors.ts';
import { type AnyDeviceModule, DeviceModuleError } from '../../devices/module.ts';
import { fillRandom } from '../../devices/random.ts';
import { VirtioBlock } from '../../devices/virtio/blk.ts';
import { HostClock, monotonicNow } from '../clock.ts';
import { GuestConsole } from '../console.ts';
import { Control, Request } from '../control.ts';
import { loadDeviceModules } from '../device-modules.ts';
import { buildPlatform, type PlatformHost } from '../platform.ts';
import { NamedCounters, threadCounters } from '../statistics.ts';
import { Tracer } from '../trace/tracer.ts';
import { runVcpu, serveExit } from '../vcpu-loop.ts';
import { Chips } from './chips.ts';
import { CpuCode } from './code.ts';
import { Cpu } from './cpu.ts';
import { CpuidTable } from './cpuid-table.ts';
import { CpuGroup } from './group.ts';
import { HANDLERS_FILE, type HandlerModule, unpackHandlers } from './handlers.ts';
import { KvmClock } from './kvm-clock.ts';
import { CpuMemory, guestMemoryOver } from './memory.ts';
import type { CpuThreadData, CpuThreadMessage } from './threads.ts';
import type { CpuTime } from './time.ts';
import { warmUp } from './warm-up.ts';

// This module is loaded while the main thread still makes the machine, or reads what machine it shall be; nothing
// comes when there is none after all.
const handlers = builtHandlers();
warmUp();
parentPort!.once('message', (data: CpuThreadData | null) => {
  if (data !== null)
    void loadDeviceModules(data.parts.modules).then((modules) => runThread(data, modules, parentPort!));
});

function runThread(data: CpuThreadData, modules: readonly AnyDeviceModule[], port: MessagePort): void {
  const { parts } = data;
  const post = (message: CpuThreadMessage): void => port.postMessage(message);
  const control = new Control(parts.control);
  control.onOutcome = () => post({ type: 'outcome' });
  control.onDebugStop = () => post({ type: 'debug-stop' });
  const memory = new CpuMemory(data.memory, parts.memory);
  const guestMemory = guestMemoryOver(data.memory, parts.memory);
  const counters = threadCounters(parts.statistics, 0);
  let cpu: Cpu | undefined;
  let group: CpuGroup | undefined;
  const alarm = { deadlineMoved: () => group?.deadlineMoved() };
  const tracer = parts.trace && new Tracer(parts.trace, 0, () => cpu?.index ?? 0);
  const chips = new Chips(parts.cpus, data.chips, {
    hostClock: parts.deterministic ? undefined : new HostClock(control),
    alarm,
    observer: tracer,
    executed: () => cpu?.executedNow ?? 0,
    signals: (index) => ({
      interruptPending: () => cpu?.interruptPending(index),
      nmi: () => cpu?.nmi(index),
      init: () => cpu?.init(index),
      startup: (vector) => cpu?.startup(index, vector),
    }),
  });
  const { time } = chips;
  const guestConsole = new GuestConsole(
    parts.console,
    () => post({ type: 'output' }),
    parts.deterministic ? () => control.request === Request.run && !control.ended : undefined,
  );
  const host: PlatformHost = {
    memory: guestMemory,
    control,
    counters,
    clock: time,
    alarm,
    timer2: chips.pit.timer2,
    console: guestConsole,
    ...(parts.deterministic ? { fillRandom: (bytes) => fillSeeded(time, bytes) } : {}),
    irqLine: (gsi) => chips.line(gsi),
    queueNotified: (device, queue) => group?.queueNotified(device, queue),
    bootMark: (mark) => post({ type: 'boot-mark', mark, time: monotonicNow() }),
    observer: tracer,
  };
  const platform = buildPlatform(parts, host, modules);
  chips.map(platform.pio, platform.mmio);
  tracer?.attach(platform.pio, platform.mmio);
  const closers: (() => void)[] = [];
  try {
    const blocks = platform.virtio
      .map(({ transport }) => transport.device)
      .filter((device) => device instanceof VirtioBlock);
    blocks.forEach((device, i) => {
      const part = parts.disks[i]!;
      const backend = new RawFile(part.path, part.readonly, guestMemory);
      closers.push(() => backend.close());
      device.attach(backend);
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const known = error instanceof HostError ? error : undefined;
    post({ type: 'refused', code: known?.code ?? 'HOST', message, hint: known?.hint });
    for (const close of closers) close();
    return;
  }
  const undefinedInstructions = new NamedCounters(parts.statistics);
  const cpuid = new CpuidTable(data.cpuid);
  const kvmClock = new KvmClock(memory, time, (gpa, bytes) => cpu!.codeWritten(gpa, bytes));
  const random = new Uint32Array(256);
  const randomBytes = new Uint8Array(random.buffer);
  let randomLeft = 0;
  cpu = new Cpu(memory, new CpuCode(memory, handlers, data.engine === 'jit'), chips.apics, {
    cpuid: (index, leaf, subleaf) => cpuid.lookup(index, leaf, subleaf),
    undefinedInstruction: (name) => undefinedInstructions.add(name),
    tsc: () => time.tsc(),
    setTsc: (value) => {
      time.setTsc(value);
      for (const apic of chips.apics) apic.tscChanged();
    },
    tscAdjust: () => time.tscAdjust,
    setTscAdjust: (value) => {
      time.setTscAdjust(value);
      for (const apic of chips.apics) apic.tscChanged();
    },
    writeSystemTime: (gpa) => kvmClock.writeSystemTime(gpa),
    writeWallClock: (gpa) => kvmClock.writeWallClock(gpa),
    hasExternalInterrupt: (apic) => chips.pic.output && apic.acceptsExtInt(),
    externalInterrupt: (apic) => (chips.pic.output && apic.acceptsExtInt() ? chips.pic.acknowledge() : -1),
    random: () => {
      if (parts.deterministic) return time.seededRandom();
      if (randomLeft === 0) {
        fillRandom(randomBytes);
        randomLeft = random.length;
      }
      return random[--randomLeft]! | 0;
    },
    // Whose turn it is depends on how many accesses there were, and with virtual time not on where a slice ends.
    ...(parts.deterministic && parts.cpus > 1 ? {} : { serveAccess: () => group!.serveAccess() }),
    observer: tracer,
    debug: data.debug,
  });
  guestMemory.onDeviceWrite = (gpa, length) => {
    cpu!.codeWritten(gpa, length);
  };
  group = new CpuGroup({
    cpu,
    cpus: parts.cpus,
    memory,
    chips,
    platform,
    control,
    console: guestConsole,
    instructions: counters.instructions,
    wake: new Int32Array(data.wake),
  });
  post({ type: 'ready' });
  const { pio, mmio } = platform;
  let failure: string | undefined;
  counters.began[0] = monotonicNow();
  try {
    const loop = { vcpu: group, pio, mmio, control, counts: counters.exits, observer: tracer };
    group.serve = (reason) => serveExit(loop, reason);
    failure = runVcpu(loop);
  } catch (error) {
    control.end('error');
    if (error instanceof DeviceModuleError) failure = error.message;
    else failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  for (const close of closers) close();
  if (failure !== undefined) post({ type: 'failed', message: failure });
}

function fillSeeded(time: CpuTime, bytes: Uint8Array): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = time.seededRandom();
}

/** What the build has made: beside the bundle, or under dist/bin for modules that aren't bundled. */
function builtHandlers(): HandlerModule | undefined {
  for (const place of [`./${HANDLERS_FILE}`, `../../bin/${HANDLERS_FILE}`]) {
    const url = new URL(place, import.meta.url);
    if (existsSync(url)) return unpackHandlers(new Uint8Array(readFileSync(url)));
  }
  return undefined;
}
