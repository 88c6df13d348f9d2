/**
 * A vCPU's state between the CPU's memory and its neutral form (vm/vcpu-state.ts). On the main thread as
 * well as on the CPU's: both see the same memory.
 */
import type { CpuidLeaf } from '../cpuid.ts';
import {
  type EntryState,
  MpState,
  MSR_TSC,
  MSR_TSC_ADJUST,
  type PendingEvents,
  type Segment,
  type SystemRegisters,
  type VcpuState,
} from '../vcpu-state.ts';
import { Vector } from './fault.ts';
import { EventKind, Seg, State } from './layout.ts';
import type { CpuMemory } from './memory.ts';
import { EFLAGS_DEFINED, getEflags, setEflags } from './system/context.ts';
import { restoreExtended, saveExtended } from './system/extended-state.ts';
import { PLAIN_MSRS } from './system/msrs.ts';
import { Attribute } from './system/segments.ts';

/** What a vCPU's state has besides the bytes at {@link State}. */
export interface VcpuExtra {
  /** Of the local APIC: CR8. */
  readonly taskPriority: number;
  readonly tsc: number;
  readonly tscAdjust: number;
  readonly cpuid: readonly CpuidLeaf[];
}

const GPR_NAMES = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
] as const;
const SEGMENT_NUMBERS = {
  es: Seg.es,
  cs: Seg.cs,
  ss: Seg.ss,
  ds: Seg.ds,
  fs: Seg.fs,
  gs: Seg.gs,
  ldt: Seg.ldtr,
  tr: Seg.tr,
} as const;

function readSegment(memory: CpuMemory, segment: number): Segment {
  const attributes = memory.get(State.segAttributes + 4 * segment);
  return {
    selector: memory.get(State.segSelector + 4 * segment) & 0xffff,
    base: memory.u64[(State.segBase >> 3) + segment]!,
    limit: memory.u32[(State.segLimit >> 2) + segment]!,
    type: attributes & 15,
    s: (attributes >> 4) & 1,
    dpl: (attributes >> 5) & 3,
    present: (attributes >> 7) & 1,
    avl: (attributes >> 12) & 1,
    l: (attributes >> 13) & 1,
    db: (attributes >> 14) & 1,
    g: (attributes >> 15) & 1,
    unusable: attributes & Attribute.unusable ? 1 : 0,
  };
}

function writeSegment(memory: CpuMemory, segment: number, s: Segment): void {
  memory.set(State.segSelector + 4 * segment, s.selector);
  memory.u64[(State.segBase >> 3) + segment] = s.base;
  memory.set(State.segLimit + 4 * segment, s.limit | 0);
  memory.set(
    State.segAttributes + 4 * segment,
    s.type |
      (s.s << 4) |
      (s.dpl << 5) |
      (s.present << 7) |
      (s.avl << 12) |
      (s.l << 13) |
      (s.db << 14) |
      (s.g << 15) |
      (s.unusable ? Attribute.unusable : 0),
  );
}

/** Puts in what an entry state says, over what is there. */
export function applyEntry(memory: CpuMemory, entry: EntryState): void {
  applySystem(memory, entry.system);
  for (const [name, value] of Object.entries(entry.registers)) {
    const index = GPR_NAMES.indexOf(name as (typeof GPR_NAMES)[number]);
    if (index >= 0) memory.u64[(State.gpr >> 3) + index] = value;
  }
  if (entry.registers.rip !== undefined) memory.u64[State.rip >> 3] = entry.registers.rip;
  if (entry.registers.rflags !== undefined)
    setEflags(memory, Number(entry.registers.rflags) & EFLAGS_DEFINED);
}

function applySystem(memory: CpuMemory, system: Partial<SystemRegisters>): void {
  for (const [name, segment] of Object.entries(SEGMENT_NUMBERS)) {
    const value = system[name as keyof typeof SEGMENT_NUMBERS];
    if (value !== undefined) writeSegment(memory, segment, value);
  }
  for (const [name, segment] of [
    ['gdt', Seg.gdtr],
    ['idt', Seg.idtr],
  ] as const) {
    const value = system[name];
    if (value === undefined) continue;
    memory.u64[(State.segBase >> 3) + segment] = value.base;
    memory.set(State.segLimit + 4 * segment, value.limit);
  }
  for (const name of ['cr0', 'cr2', 'cr3', 'cr4', 'efer'] as const) {
    const value = system[name];
    if (value !== undefined) memory.u64[State[name] >> 3] = value;
  }
  const attributes = memory.get(State.segAttributes + 4 * Seg.ss);
  memory.set(State.cpl, (attributes >> 5) & 3);
}

export function readVcpuState(memory: CpuMemory, extra: VcpuExtra): VcpuState {
  const gpr = (n: number): bigint => memory.u64[(State.gpr >> 3) + n]!;
  const registers = Object.fromEntries(
    GPR_NAMES.map((name, i) => [name, gpr(i)]),
  ) as unknown as VcpuState['registers'];
  registers.rip = memory.u64[State.rip >> 3]!;
  registers.rflags = BigInt(getEflags(memory) >>> 0);
  const segments = Object.fromEntries(
    Object.entries(SEGMENT_NUMBERS).map(([name, segment]) => [name, readSegment(memory, segment)]),
  ) as Record<keyof typeof SEGMENT_NUMBERS, Segment>;
  const table = (segment: number) => ({
    base: memory.u64[(State.segBase >> 3) + segment]!,
    limit: memory.u32[(State.segLimit >> 2) + segment]!,
  });
  const msrs = new Map<number, bigint>();
  for (const [index, address] of Object.entries(PLAIN_MSRS))
    msrs.set(Number(index), memory.u64[address >> 3]!);
  msrs.set(MSR_TSC, BigInt(extra.tsc));
  msrs.set(MSR_TSC_ADJUST, BigInt.asUintN(64, BigInt(extra.tscAdjust)));
  const dr = (n: number): bigint => memory.u64[(State.dr >> 3) + n]!;
  return {
    registers,
    system: {
      ...segments,
      gdt: table(Seg.gdtr),
      idt: table(Seg.idtr),
      cr0: BigInt(memory.u32[State.cr0 >> 2]!),
      cr2: memory.u64[State.cr2 >> 3]!,
      cr3: memory.u64[State.cr3 >> 3]!,
      cr4: memory.u64[State.cr4 >> 3]!,
      cr8: BigInt(extra.taskPriority),
      efer: memory.u64[State.efer >> 3]!,
      apicBase: BigInt(memory.u32[State.apicBase >> 2]!),
    },
    debug: [dr(0), dr(1), dr(2), dr(3), dr(4), dr(5)],
    xcr0: undefined,
    xsave: saveExtended(memory),
    msrs,
    mpState:
      memory.get(State.waitsForStartup) !== 0
        ? MpState.uninitialized
        : memory.get(State.halted) !== 0
          ? MpState.halted
          : MpState.runnable,
    events: readEvents(memory),
    cpuid: extra.cpuid,
  };
}

function readEvents(memory: CpuMemory): PendingEvents {
  const event = memory.get(State.event);
  const kind = event >> 8;
  const vector = event & 0xff;
  const error = memory.get(State.eventError);
  const isException = kind === EventKind.exception;
  const isInterrupt = kind === EventKind.external || kind === EventKind.software;
  return {
    exception: {
      injected: isException,
      vector: isException ? vector : 0,
      hasErrorCode: isException && error >= 0,
      errorCode: isException && error >= 0 ? error : 0,
    },
    interrupt: {
      injected: isInterrupt,
      vector: isInterrupt ? vector : 0,
      soft: kind === EventKind.software,
      shadow: memory.get(State.interruptShadow) !== 0 ? 1 : 0,
    },
    nmi: {
      injected: kind === EventKind.nmi,
      pending: memory.get(State.nmiPending) !== 0,
      masked: memory.get(State.nmiMasked) !== 0,
    },
  };
}

function writeEvents(memory: CpuMemory, { exception, interrupt, nmi }: PendingEvents): void {
  let event = 0;
  if (exception.injected) event = (EventKind.exception << 8) | exception.vector;
  else if (nmi.injected) event = (EventKind.nmi << 8) | Vector.NMI;
  else if (interrupt.injected)
    event = ((interrupt.soft ? EventKind.software : EventKind.external) << 8) | interrupt.vector;
  memory.set(State.event, event);
  memory.set(State.eventError, exception.injected && exception.hasErrorCode ? exception.errorCode : -1);
  memory.set(State.interruptShadow, interrupt.shadow !== 0 ? 1 : 0);
  memory.set(State.nmiMasked, nmi.masked ? 1 : 0);
  memory.set(State.nmiPending, nmi.pending ? 1 : 0);
}

/** Writes a neutral state into the CPU's memory, but for what {@link VcpuExtra} has. */
export function writeVcpuState(memory: CpuMemory, state: VcpuState): void {
  applyEntry(memory, { registers: state.registers, system: state.system });
  state.debug.forEach((value, i) => {
    memory.u64[(State.dr >> 3) + i] = value;
  });
  for (const [index, address] of Object.entries(PLAIN_MSRS)) {
    const value = state.msrs.get(Number(index));
    if (value !== undefined) memory.u64[address >> 3] = value;
  }
  // FS and GS bases are in the segments already, and are the same.
  memory.u64[(State.segBase >> 3) + Seg.fs] = state.system.fs.base;
  memory.u64[(State.segBase >> 3) + Seg.gs] = state.system.gs.base;
  restoreExtended(memory, state.xsave);
  memory.set(State.halted, state.mpState === MpState.halted ? 1 : 0);
  writeEvents(memory, state.events);
  // Whether an interrupt waits is to be looked at.
  memory.set(State.attention, 1);
  memory.set(State.apicBase, Number(BigInt.asIntN(32, state.system.apicBase)));
  const waits = state.mpState === MpState.uninitialized || state.mpState === MpState.initReceived;
  memory.set(State.waitsForStartup, waits ? 1 : 0);
}
