/**
 * One CPU of the TypeScript driver: the run loop, and what ties paging, decoded code, helpers and
 * WebAssembly together.
 *
 * Guest code runs inside {@link Cpu.run} in slices of instructions. Handlers and regions call back here for
 * TLB misses, helpers and lookups; faults come as exceptions thrown through their frames.
 */
import type { LocalApic } from '../../devices/lapic.ts';
import type { CpuidResult } from '../cpuid.ts';
import { nameOfAbsent } from './absent.ts';
import { CodeCache } from './code-cache.ts';
import { FAULT, GuestFault, INSTRUCTION_EXIT, InstructionExit, raise, SHUTDOWN, Vector } from './fault.ts';
import type { Form } from './forms.ts';
import { WRITES } from './ir/node.ts';
import './isa/index.ts';
import type { CpuCode } from './code.ts';
import { CpuDebug } from './debug.ts';
import { INSTRUCTION_MAXIMUM } from './decode.ts';
import {
  CROSS_PAGE,
  EventKind,
  ModeBit,
  Op,
  RAM_START,
  SAVED_STATE_SIZE,
  SAVED_STATES,
  Seg,
  State,
  TLB,
} from './layout.ts';
import { type HostFunctions, STACK_ACCESS } from './lower/base.ts';
import { Handler } from './lower/base-module.ts';
import type { CpuMemory } from './memory.ts';
import { Mmu, type MmuClient } from './mmu.ts';
import { CpuMode } from './mode.ts';
import { type CpuContext, DebugStatus, EFLAGS, isReal } from './system/context.ts';
import { HELPERS } from './system/helpers.ts';
import { deliver, deliverException, type InterruptSource, resumeFlag } from './system/interrupts.ts';
import { type MsrHost, type MsrOwner, Msrs } from './system/msrs.ts';
import { resetState } from './system/reset.ts';
import { checkSegment, setSegment } from './system/segments.ts';
import { STRING_SCRATCH } from './system/strings.ts';

/** Sees what the CPU delivers to the guest by itself: tracing. Addresses come as low and high word. */
export interface CpuObserver {
  /** An exception is on its way into the guest. @param errorCode - −1 for none */
  exception(
    vector: number,
    errorCode: number,
    addressLow: number,
    addressHigh: number,
    ripLow: number,
    ripHigh: number,
  ): void;
  /** An interrupt is taken at this RIP. */
  interrupt(vector: number, ripLow: number, ripHigh: number): void;
  /** A register of the running vCPU's local APIC was accessed. */
  lapic(offset: number, isWrite: boolean, value: number): void;
}

/** What surrounds a CPU: time, interrupts, devices. */
export interface CpuHost extends MsrHost {
  /** What CPUID says on a vCPU. */
  cpuid(index: number, leaf: number, subleaf: number): CpuidResult;
  /** Interrupt from the PICs, when the local APIC lets it through: its vector, or −1. */
  externalInterrupt(apic: LocalApic): number;
  hasExternalInterrupt(apic: LocalApic): boolean;
  random(): number;
  /**
   * Serves a device access of the running instruction there and then: {@link Cpu.access} says which, data lies at
   * {@link ACCESS_DATA}. Absent where guest code has to be left for each.
   * @returns whether guest code must be left after this instruction, since the access has changed more than the device
   */
  serveAccess?(): boolean;
  readonly observer?: CpuObserver | undefined;
  /** A debugger's settings: see debug.ts. */
  readonly debug?: SharedArrayBuffer;
  /** Statistics: an instruction that isn't there has been met. */
  undefinedInstruction(name: string): void;
}

/** Why {@link Cpu.run} came back. */
export const CpuExit = { slice: 0, io: 1, mmio: 2, halted: 3, shutdown: 4, debug: 5 } as const;
export type CpuExit = (typeof CpuExit)[keyof typeof CpuExit];

const LAPIC_MASK = 0xfffff000;
/** Offsets of local APIC registers. SDM volume 3A, table 10-1 */
const APIC_TPR = 0x80;
const APIC_EOI = 0xb0;
const APIC_CURRENT_COUNT = 0x390;
/** Accesses of one instruction that have been served, to be given to it when it is begun anew. */
const REPLAYS_MAXIMUM = 64;
/** Words of a served access's data. */
const REPLAY_WORDS = 2;
/** Device accesses that a run serves without leaving guest code: with more it would look around too late. */
const SERVED_MAXIMUM = 32;

export class Cpu implements CpuContext, MmuClient, MsrOwner {
  readonly memory: CpuMemory;
  readonly mmu: Mmu;
  readonly code: CodeCache;
  readonly debug: CpuDebug;
  readonly msrs: Msrs;
  private readonly mode: CpuMode;
  /** Instructions executed so far; an exception or interrupt on its way into the guest counts as one, too. */
  executed = 0;
  /** The access that {@link CpuExit.io} and mmio are about. Data lies in the CPU's memory at {@link ACCESS_DATA}. */
  readonly access = { address: 0, bytes: 1, isWrite: false, toRegister: false };
  private readonly apics: readonly LocalApic[];
  /** Which vCPU's state is in the CPU's memory. */
  private current = 0;
  /** INIT and STARTUP messages that each vCPU has not seen yet; a startup vector of −1 for none. */
  private readonly messages: { init: boolean; startup: number }[];
  private readonly host: CpuHost;
  private readonly program: CpuCode;
  private sliceStart = 0;
  /** Record of the instruction that called back last, perhaps with {@link STACK_ACCESS}; 0 while blocks are looked up. */
  private record = 0;
  private pendingExit: CpuExit = CpuExit.slice;
  private readonly replayData = new Int32Array(REPLAYS_MAXIMUM * REPLAY_WORDS);
  private replayCount = 0;
  private replayAt = 0;
  /** How many accesses the running instruction has been served without being left; which one it is, by {@link executedNow}. */
  private servedCount = 0;
  private servedAt = -1;
  /** Such accesses that are left of this run. */
  private servedLeft = 0;
  /** Whether the access that calls back is one that can be served there and then. */
  private isPlainAccess = false;
  /** Whether bytes that had been decoded were written. */
  private hasChangedCode = false;

  constructor(memory: CpuMemory, program: CpuCode, apics: readonly LocalApic[], host: CpuHost) {
    this.memory = memory;
    this.host = host;
    this.apics = apics;
    this.messages = apics.map(() => ({ init: false, startup: -1 }));
    this.program = program;
    this.mmu = new Mmu(memory, this);
    this.debug = new CpuDebug(memory, host.debug);
    this.msrs = new Msrs(this, host);
    this.code = new CodeCache(
      memory,
      () => this.mmu,
      (form: Form) => program.handlerOf(form),
    );
    this.mode = new CpuMode(memory, (page) => this.code.jumps.forget(page));
    this.mmu.onFlush = (page) => this.code.jumps.forget(page);
    program.attach(this.hostFunctions(), this.code);
    this.updateMode();
  }

  // vCPUs

  get vcpus(): number {
    return this.apics.length;
  }

  /** Which vCPU runs. */
  get index(): number {
    return this.current;
  }

  get apic(): LocalApic {
    return this.apics[this.current]!;
  }

  /** Puts a vCPU's state into the CPU's memory, and the one that is there aside. */
  select(index: number): void {
    if (index !== this.current) {
      this.store();
      this.current = index;
      this.load();
    }
    this.takeMessage();
  }

  /** Copies the running vCPU's state to where others can see it. */
  store(): void {
    this.memory.u8.copyWithin(savedState(this.current), State.gpr, State.end);
  }

  /** Takes the running vCPU's state from there. */
  load(): void {
    const from = savedState(this.current);
    this.memory.u8.copyWithin(State.gpr, from, from + State.end - State.gpr);
    this.debug.reloadGuest(this.mmu);
    this.mmu.flushAll();
    this.updateMode();
  }

  /** Takes over what a debugger has set. While no guest code runs; {@link load} follows. */
  reloadDebug(): void {
    const changed = this.debug.reload(this.mmu);
    if (changed === undefined) return;
    if (changed.memoryWritten) this.program.clear();
    this.mmu.flushAll();
  }

  /** Puts all vCPUs' states where others can see them. */
  putAside(): void {
    const { current } = this;
    // Messages are no part of a state: what they do is.
    this.messages.forEach((message, index) => {
      if (message.init || message.startup >= 0) this.select(index);
    });
    this.select(current);
    this.store();
  }

  /** Takes up states from there, which may be others by now. @param index - of the vCPU to run */
  takeUp(index: number): void {
    this.current = index;
    this.load();
  }

  /** Forgets what was decoded: RAM is another's. */
  forgetCode(): void {
    this.program.clear();
  }

  /** An INIT message for a vCPU. */
  init(index: number): void {
    this.messages[index] = { init: true, startup: -1 };
    if (index === this.current) this.leaveSoon();
  }

  /** A STARTUP message for a vCPU. */
  startup(index: number, vector: number): void {
    this.messages[index]!.startup = vector;
    if (index === this.current) this.leaveSoon();
  }

  nmi(index: number): void {
    this.memory.set(this.place(index, State.nmiPending), 1);
    if (index === this.current) this.leaveSoon();
  }

  /** A local APIC has something for its vCPU. */
  interruptPending(index: number): void {
    this.memory.set(this.place(index, State.attention), 1);
    if (index === this.current && this.hasInterrupt) this.leaveSoon();
  }

  /** Where a vCPU's field of state is now. */
  place(index: number, field: number): number {
    return index === this.current ? field : savedState(index) + field - State.gpr;
  }

  private takeMessage(): void {
    const message = this.messages[this.current]!;
    if (message.init) {
      message.init = false;
      this.reset();
    }
    if (message.startup < 0) return;
    const { memory } = this;
    if (memory.get(State.waitsForStartup) !== 0) {
      memory.set(State.waitsForStartup, 0);
      setSegment(memory, Seg.cs, message.startup << 8, message.startup << 12, 0, 0xffff, 0x9b);
      memory.set64(State.rip, 0, 0);
      this.updateMode();
    }
    message.startup = -1;
  }

  /** Whether a vCPU has anything to execute. */
  canRun(index: number): boolean {
    const message = this.messages[index]!;
    if (message.init || message.startup >= 0) return true;
    const { memory } = this;
    if (memory.get(this.place(index, State.waitsForStartup)) !== 0) return false;
    return memory.get(this.place(index, State.halted)) === 0 || this.interruptWaits(index);
  }

  /** Whether a vCPU has halted and nothing but NMI and INIT can wake it. */
  haltedForGood(index: number): boolean {
    const { memory } = this;
    if (memory.get(this.place(index, State.waitsForStartup)) !== 0) return true;
    const halted = memory.get(this.place(index, State.halted)) !== 0;
    return (
      halted &&
      (memory.get(this.place(index, State.eflags)) & EFLAGS.IF) === 0 &&
      memory.get(this.place(index, State.nmiPending)) === 0
    );
  }

  private interruptWaits(index: number): boolean {
    const { memory } = this;
    if (memory.get(this.place(index, State.nmiPending)) !== 0) return true;
    if ((memory.get(this.place(index, State.eflags)) & EFLAGS.IF) === 0) return false;
    const apic = this.apics[index]!;
    return apic.pendingVector() >= 0 || (index === 0 && this.host.hasExternalInterrupt(apic));
  }

  // State

  /** INIT, and what power-on leaves. */
  reset(): void {
    resetState(this.memory, this.current === 0);
    this.debug.reloadGuest(this.mmu);
    this.mmu.flushAll();
    this.updateMode();
  }

  updateMode(): void {
    this.mode.update();
    if (this.mode.checksAlignment) this.leaveSoon();
  }

  updateFlatness(): void {
    this.mode.updateFlatness();
  }

  // Running

  /**
   * Runs guest code for so many instructions. Compiled code looks at the budget only now and then, and blocks are
   * run as a whole: the slice ends before the first block that has more instructions than are left, and with
   * `exact` what is left is done one by one.
   * @param instructions - for a slice that isn't exact, enough for any block
   * @returns why it stopped
   */
  run(instructions: number, exact = false): CpuExit {
    const { memory } = this;
    const end = this.executed + instructions;
    let oneByOne = false;
    this.servedLeft = SERVED_MAXIMUM;
    this.servedAt = -1;
    this.yields = false;
    this.hasEndedTurn = false;
    while (this.executed < end) {
      if (this.code.isFull) this.program.clear();
      const interrupted = this.takeInterrupt();
      // A triple fault in delivering it comes before anything that the guest would do next.
      if (this.isShutDown) {
        this.isShutDown = false;
        return CpuExit.shutdown;
      }
      if (interrupted) continue;
      if (memory.get(State.halted) !== 0 || memory.get(State.waitsForStartup) !== 0) return CpuExit.halted;
      if (this.debug.atBreakpoint()) return CpuExit.debug;
      this.pendingExit = CpuExit.slice;
      const single =
        oneByOne ||
        memory.get(State.interruptShadow) !== 0 ||
        this.replayCount > 0 ||
        this.trapFlag() ||
        this.mode.checksAlignment ||
        this.debug.onBreakpointPage() ||
        this.mode.onLimitPage();
      if (single) this.step();
      else if (this.slice(end - this.executed)) {
        if (!exact) return CpuExit.slice;
        oneByOne = true;
      }
      if (this.pendingExit !== CpuExit.slice) return this.pendingExit;
      if (this.isShutDown) {
        this.isShutDown = false;
        return CpuExit.shutdown;
      }
      if (this.debug.watchHit >= 0) return CpuExit.debug;
      // An instruction that is to be begun anew comes first: what it has been served has happened.
      if (this.yields && this.replayCount === 0) return CpuExit.slice;
    }
    return CpuExit.slice;
  }

  /**
   * One instruction for a debugger. Interrupts wait, unless the CPU waits for one: then taking it is the step.
   * @returns slice when it is done; halted while there is nothing to wake the CPU
   */
  debugStep(): CpuExit {
    const { memory } = this;
    if (this.code.isFull) this.program.clear();
    this.pendingExit = CpuExit.slice;
    if (memory.get(State.halted) !== 0 || memory.get(State.waitsForStartup) !== 0)
      return this.takeInterrupt() ? CpuExit.slice : CpuExit.halted;
    this.step();
    if (!this.isShutDown) return this.pendingExit;
    this.isShutDown = false;
    return CpuExit.shutdown;
  }

  get stopsEarly(): boolean {
    return this.debug.step >= 0 || this.debug.watchHit >= 0 || this.trapFlag() || this.mmu.aligned;
  }

  /**
   * Instructions that were done before the one that runs. Not for compiled code that hasn't called a helper: it has
   * the budget elsewhere.
   */
  get executedNow(): number {
    return this.inHelper || this.isServing ? this.nowAtRecord : this.executed;
  }

  /** Instructions that were done before that of the record which called back; before the last look, if none did. */
  private get nowAtRecord(): number {
    const { memory } = this;
    const record = this.record & ~STACK_ACCESS;
    if (record === 0) return this.executed;
    const undone = memory.u16[(record + Op.place + 2) >> 1]!;
    return this.executed + this.sliceStart - memory.get(State.budget) - undone;
  }

  private isShutDown = false;
  /** Why the running instruction ends in #DB: bits of DR6. */
  private traps = 0;
  private inHelper = false;
  private isServing = false;
  /** Guest code has been left for a store that may not be, whose exception has been delivered. */
  private wasRefused = false;
  /** Whether the slice shall end although there are instructions left. */
  private yields = false;

  private trapFlag(): boolean {
    return (this.memory.get(State.eflags) & EFLAGS.TF) !== 0;
  }

  /**
   * @param isBlock - ends with what is raised, too
   * @returns whether it came to a block with more instructions than were left
   */
  private slice(instructions: number, isBlock = false): boolean {
    const { memory } = this;
    this.sliceStart = instructions;
    memory.set(State.budget, instructions);
    this.record = 0;
    let short = false;
    this.endsWithFault = isBlock;
    do {
      this.goesOn = this.wasRefused = false;
      try {
        this.program.enter();
        if (!this.wasRefused) {
          short = memory.get(State.budget) > 0;
          if (this.pendingExit === CpuExit.slice && this.sliceStart > 0) this.program.sample();
        }
      } catch (thrown) {
        this.caught(thrown);
      }
    } while (!this.wasRefused && this.mayGoOn());
    this.executed += this.sliceStart - memory.get(State.budget);
    this.sliceStart = memory.get(State.budget);
    this.takeTraps();
    this.program.compilePending();
    return short;
  }

  /** Whether the exception that ended guest code has been delivered in the usual way, and interrupts are off. */
  private goesOn = false;

  /** Whether guest code is left after any exception. */
  private endsWithFault = true;

  /** Whether guest code goes on in its slice after an exception, which counts as an instruction. */
  private mayGoOn(): boolean {
    const { memory, debug } = this;
    if (!this.goesOn || this.endsWithFault) return false;
    this.goesOn = false;
    const left = memory.get(State.budget) - 1;
    if (left <= 0 || this.yields || this.code.isFull) return false;
    if (memory.get(State.attention) !== 0 || memory.get(State.nmiPending) !== 0) return false;
    if (debug.hasBreakpoints || debug.watchHit >= 0) return false;
    memory.set(State.budget, left);
    this.sliceStart--;
    return true;
  }

  /** One instruction by itself: after STI, with TF, and for what has to be begun anew. */
  private step(): void {
    const { memory, debug } = this;
    const flags = memory.get(State.eflags);
    this.traps = flags & EFLAGS.TF ? DebugStatus.step : 0;
    debug.guestHits = 0;
    const reached = debug.guestBreakpoint();
    if (reached !== 0 && this.replayCount === 0) {
      if ((flags & EFLAGS.RF) === 0) {
        this.traps = reached;
        this.takeTraps();
        return;
      }
      // It lets this instruction by, and no other.
      memory.set(State.eflags, flags & ~EFLAGS.RF);
    }
    this.endsWithFault = true;
    this.wasRefused = false;
    memory.set(State.interruptShadow, 0);
    memory.set(State.budget, 1);
    this.sliceStart = 1;
    this.record = 0;
    this.mmu.stepping = true;
    const isAligned = this.mode.checksAlignment;
    this.mmu.aligned = isAligned;
    if (isAligned) memory.set(State.tlb, TLB.nothing);
    memory.set(State.single, 1);
    this.replayAt = 0;
    let finished = false;
    try {
      const head = this.code.stepHead();
      this.program.enterAt(head);
      finished = true;
    } catch (thrown) {
      finished = this.caught(thrown);
    }
    this.mmu.stepping = this.mmu.aligned = false;
    if (isAligned) this.mode.setTlb();
    memory.set(State.single, 0);
    this.executed += this.sliceStart - memory.get(State.budget);
    this.sliceStart = memory.get(State.budget);
    if (!finished) {
      if (reached !== 0) memory.set(State.eflags, memory.get(State.eflags) | (flags & EFLAGS.RF));
      return;
    }
    this.replayCount = 0;
    this.traps |= debug.guestHits;
    this.takeTraps();
  }

  /** #DB, when there is a reason for it and the instruction is over. */
  private takeTraps(): void {
    const { memory, traps } = this;
    if (traps === 0 || this.pendingExit !== CpuExit.slice) return;
    this.traps = 0;
    memory.set(State.dr + 32, memory.get(State.dr + 32) | traps);
    this.exception(Vector.DB, -1);
  }

  /**
   * Runs one instruction by itself and delivers what it raises, without a look at interrupts: for tests.
   * A repeated string instruction may need several steps.
   */
  stepOnce(): CpuExit {
    if (this.code.isFull) this.program.clear();
    this.isShutDown = false;
    this.step();
    return this.isShutDown ? CpuExit.shutdown : this.pendingExit;
  }

  /** Runs one block, compiled or not, and delivers what it raises, without a look at interrupts: for tests. */
  runBlock(): CpuExit {
    const { memory, code } = this;
    if (this.trapFlag() || this.mode.checksAlignment || memory.get(State.interruptShadow) !== 0)
      return this.stepOnce();
    if (code.isFull) this.program.clear();
    this.isShutDown = false;
    this.pendingExit = CpuExit.slice;
    this.record = 0;
    try {
      const head = code.lookup();
      if (memory.get(head + Op.handler) === Handler.undecoded) code.decode(head);
      this.slice(Math.max(1, memory.get(head + Op.instructions)), true);
    } catch (thrown) {
      this.caught(thrown);
    }
    return this.isShutDown ? CpuExit.shutdown : this.pendingExit;
  }

  /**
   * Deals with what was thrown out of guest code.
   * @returns whether the instruction is over (faulted), and not to be begun anew
   */
  private caught(thrown: unknown): boolean {
    const { memory } = this;
    this.inHelper = this.isServing = this.isPlainAccess = false;
    if (thrown === INSTRUCTION_EXIT && INSTRUCTION_EXIT.kind === 'full') return true;
    if (thrown === INSTRUCTION_EXIT && INSTRUCTION_EXIT.kind === 'done') {
      this.leaveInstruction();
      return true;
    }
    const onStack = this.usedStackSegment();
    const now = this.nowAtRecord;
    this.placeRip();
    if (thrown instanceof InstructionExit) {
      // What it has been served already is given to it when it is begun anew.
      if (this.servedAt === now) this.replayCount = this.servedCount;
      if (thrown.kind === 'step') memory.set(State.interruptShadow, 1);
      else this.pendingExit = CpuExit.mmio;
      return false;
    }
    if (thrown instanceof GuestFault) {
      // A port access that ended the instruction before comes first; the fault will come again.
      if (this.pendingExit === CpuExit.io) return true;
      const { vector, errorCode, byAddress } = thrown;
      this.traps = this.debug.guestHits = 0;
      if (vector === Vector.UD) this.noteUndefined();
      this.exception(byAddress && onStack ? Vector.SS : vector, errorCode);
      return true;
    }
    if (thrown === SHUTDOWN) {
      this.isShutDown = true;
      return true;
    }
    throw thrown;
  }

  /** Counts an instruction that has raised #UD, unless that is all that it is for. */
  private noteUndefined(): void {
    const { memory } = this;
    const is64 = (memory.get(State.mode) & ModeBit.codeSize) === 2;
    const low = is64
      ? memory.get(State.rip)
      : (memory.get(State.rip) + memory.get(State.segBase + 8 * Seg.cs)) | 0;
    let gpa: number;
    try {
      gpa = this.mmu.translateFetch(low, is64 ? memory.get(State.rip + 4) : 0);
    } catch (thrown) {
      // Its page has gone since it was decoded.
      if (thrown instanceof GuestFault) return;
      throw thrown;
    }
    const start = RAM_START + gpa;
    const end = Math.min(start + INSTRUCTION_MAXIMUM, (start & ~0xfff) + 0x1000);
    const bytes = memory.u8.slice(start, end);
    if (bytes[0] === 0x0f && [0x0b, 0xb9, 0xff].includes(bytes[1]!)) return;
    this.host.undefinedInstruction(nameOfAbsent(bytes, memory.get(State.mode)));
  }

  /** Whether the access that called back was by the stack segment: it says so, or the memory operand's segment does. */
  private usedStackSegment(): boolean {
    const { record } = this;
    return (
      record !== 0 && ((record & STACK_ACCESS) !== 0 || this.memory.u8[record + Op.segment + 3] === Seg.ss)
    );
  }

  /** State.rip and the budget as at the instruction that called back. */
  private placeRip(): void {
    const { memory } = this;
    const record = this.record & ~STACK_ACCESS;
    if (record === 0) return;
    this.setRip(memory.u16[(record + Op.place) >> 1]!);
    memory.set(State.budget, memory.get(State.budget) + memory.u16[(record + Op.place + 2) >> 1]!);
    this.record = 0;
  }

  private setRip(offset: number): void {
    const { memory } = this;
    const sum = memory.u32[State.ripBase >> 2]! + offset;
    const high = (memory.get(State.ripBase + 4) + (sum > 0xffff_ffff ? 1 : 0)) | 0;
    memory.set64(State.rip, sum & memory.get(State.ripMask), high & memory.get(State.ripMask + 4));
  }

  private exception(vector: number, errorCode: number): void {
    // Counts, so that a guest whose handlers fault at once gets on, too.
    this.executed++;
    this.mmu.aligned = false;
    if (this.deliverSoon(vector, errorCode, 'exception')) this.goesOn = true;
    else this.delivering(() => deliverException(this, vector, isReal(this.memory) ? -1 : errorCode));
  }

  /** Delivers in the usual way, if it is that and nobody watches. @returns whether it has */
  private deliverSoon(vector: number, errorCode: number, source: InterruptSource): boolean {
    if (this.host.observer !== undefined) return false;
    return this.program.deliver(vector, errorCode, resumeFlag(vector, source));
  }

  /**
   * Runs a delivery. No instruction is under way, so that writing to code needs none to be left; a stack
   * among device registers shuts the CPU down, as does a triple fault.
   */
  private delivering(deliver: () => void): void {
    this.mmu.stepping = true;
    try {
      deliver();
    } catch (thrown) {
      if (thrown !== SHUTDOWN && !(thrown instanceof InstructionExit)) throw thrown;
      this.isShutDown = true;
    } finally {
      this.mmu.stepping = false;
    }
  }

  /** Delivers what was on its way into the CPU when its state was saved. */
  private deliverEvent(): void {
    const { memory } = this;
    const event = memory.get(State.event);
    const vector = event & 0xff;
    memory.set(State.event, 0);
    if (event >> 8 === EventKind.exception) this.exception(vector, memory.get(State.eventError));
    else this.interrupt(vector, event >> 8 === EventKind.software ? 'software' : 'external');
  }

  /** Delivers an interrupt if there is one and it may be. @returns whether it did */
  private takeInterrupt(): boolean {
    const { memory } = this;
    if (memory.get(State.event) !== 0) {
      this.deliverEvent();
      return true;
    }
    if (
      memory.get(State.interruptShadow) !== 0 ||
      this.replayCount > 0 ||
      memory.get(State.waitsForStartup) !== 0
    )
      return false;
    if (memory.get(State.nmiPending) !== 0 && memory.get(State.nmiMasked) === 0) {
      memory.set(State.nmiPending, 0);
      memory.set(State.nmiMasked, 1);
      memory.set(State.halted, 0);
      this.interrupt(Vector.NMI);
      return true;
    }
    if ((memory.get(State.eflags) & EFLAGS.IF) === 0) {
      memory.set(State.attention, this.wouldInterrupt() ? 1 : 0);
      return false;
    }
    let vector = this.apic.pendingVector();
    if (vector >= 0) this.apic.acknowledge();
    else if (this.current === 0) vector = this.host.externalInterrupt(this.apic);
    if (vector < 0) {
      memory.set(State.attention, 0);
      return false;
    }
    memory.set(State.halted, 0);
    this.interrupt(vector);
    return true;
  }

  /** An exception goes into the guest: also the one that another's delivery has become. */
  exceptionRaised(vector: number, errorCode: number): void {
    const { memory } = this;
    const isPageFault = vector === Vector.PF;
    this.host.observer?.exception(
      vector,
      errorCode,
      isPageFault ? memory.get(State.cr2) : 0,
      isPageFault ? memory.get(State.cr2 + 4) : 0,
      memory.get(State.rip),
      memory.get(State.rip + 4),
    );
  }

  private interrupt(vector: number, source: InterruptSource = 'external'): void {
    this.executed++;
    this.host.observer?.interrupt(vector, this.memory.get(State.rip), this.memory.get(State.rip + 4));
    if (source === 'external' && this.deliverSoon(vector, -1, source)) return;
    this.delivering(() => {
      try {
        deliver(this, vector, -1, source);
      } catch (thrown) {
        if (!(thrown instanceof GuestFault)) throw thrown;
        deliverException(this, FAULT.vector, isReal(this.memory) ? -1 : FAULT.errorCode);
      }
    });
  }

  /** Whether an interrupt waits that the running vCPU would take now. */
  private get hasInterrupt(): boolean {
    return this.interruptWaits(this.current);
  }

  leaveInstruction(): void {
    const { memory, record } = this;
    if (record === 0) return;
    // Only the instructions after this one are given back to the budget.
    const left = memory.u16[((record & ~STACK_ACCESS) + Op.place + 2) >> 1]! - 1;
    memory.set(State.budget, memory.get(State.budget) + left);
    this.record = 0;
  }

  debugRegistersChanged(): void {
    if (this.debug.reloadGuest(this.mmu)) this.mmu.flushAll();
  }

  settleResumeFlag(): void {
    const { memory } = this;
    if (this.debug.guestBreakpoint() === 0) memory.set(State.eflags, memory.get(State.eflags) & ~EFLAGS.RF);
  }

  trapAfter(status: number): void {
    this.traps |= status;
    this.leaveSoon();
  }

  inhibitTrap(): void {
    this.traps = 0;
  }

  leaveNow(): never {
    INSTRUCTION_EXIT.kind = 'done';
    throw INSTRUCTION_EXIT;
  }

  yield(): void {
    this.yields = true;
    this.leaveSoon();
  }

  /** Whether the vCPU has given up the rest of its turn, in the last {@link run}. */
  hasEndedTurn = false;

  endTurn(): void {
    // Alone it would only wait for itself.
    if (this.apics.length === 1) return;
    this.hasEndedTurn = true;
    this.yield();
  }

  /** Leaves guest code at State.rip between two instructions. */
  private leaveFull(): never {
    INSTRUCTION_EXIT.kind = 'full';
    throw INSTRUCTION_EXIT;
  }

  leaveSoon(): void {
    const { memory } = this;
    // Compiled code has the budget elsewhere unless it has called a helper; then it leaves when the slice ends.
    if (!this.inHelper) return;
    this.executed += this.sliceStart - memory.get(State.budget);
    this.sliceStart = 0;
    memory.set(State.budget, 0);
  }

  interruptsChanged(): void {
    if (this.memory.get(State.interruptShadow) !== 0 ? this.wouldInterrupt() : this.hasInterrupt)
      this.leaveSoon();
    else this.memory.set(State.interruptShadow, 0);
  }

  private wouldInterrupt(): boolean {
    return (
      this.memory.get(State.nmiPending) !== 0 ||
      this.apic.pendingVector() >= 0 ||
      (this.current === 0 && this.host.hasExternalInterrupt(this.apic))
    );
  }

  // Device access

  portAccess(port: number, bytes: 1 | 2 | 4, isWrite: boolean): void {
    const { memory, access } = this;
    access.address = port;
    access.bytes = bytes;
    access.isWrite = isWrite;
    access.toRegister = !isWrite;
    if (isWrite) memory.set(ACCESS_DATA, memory.reg(0));
    this.pendingExit = CpuExit.io;
    this.traps |= this.debug.portHits(port, bytes);
    this.leaveSoon();
  }

  portString(port: number, bytes: 1 | 2 | 4, isWrite: boolean): void {
    const { memory, access } = this;
    if (this.replayAt < this.replayCount) {
      if (isWrite) this.replayAt++;
      else this.replay(STRING_SCRATCH);
      this.debug.guestHits |= this.debug.portHits(port, bytes);
      return;
    }
    this.deviceAccess(port, bytes, isWrite);
    if (isWrite) memory.u8.copyWithin(ACCESS_DATA, STRING_SCRATCH, STRING_SCRATCH + bytes);
    void access;
    INSTRUCTION_EXIT.kind = 'mmio';
    this.isPortExit = true;
    throw INSTRUCTION_EXIT;
  }

  /** Whether the last instruction exit was for a port. */
  isPortExit = false;

  get hasTouchedDevice(): boolean {
    return this.replayCount > 0 && this.replayAt > 0;
  }

  private deviceAccess(address: number, bytes: number, isWrite: boolean): void {
    const { access } = this;
    if (this.replayCount === REPLAYS_MAXIMUM) throw new Error('an instruction with too many device accesses');
    access.address = address;
    access.bytes = bytes;
    access.isWrite = isWrite;
    access.toRegister = false;
    this.isPortExit = false;
  }

  readDevice(gpa: number, bytes: number, host: number): void {
    const { memory } = this;
    if (this.isApic(gpa)) {
      if ((gpa & 0xfff) === APIC_CURRENT_COUNT) this.runAlone();
      const value = this.apic.read(gpa & 0xfff, 4);
      this.host.observer?.lapic(gpa & 0xfff, false, value);
      memory.set(host, value);
      memory.set(host + 4, 0);
      return;
    }
    if (this.replayAt < this.replayCount) {
      this.replay(host);
      return;
    }
    this.deviceAccess(gpa, bytes, false);
    if (this.serve()) {
      memory.set64(host, memory.get(ACCESS_DATA), memory.get(ACCESS_DATA + 4));
      return;
    }
    INSTRUCTION_EXIT.kind = 'mmio';
    throw INSTRUCTION_EXIT;
  }

  /** Gives the next served access to the instruction that has been begun anew. */
  private replay(host: number): void {
    const at = this.replayAt++ * REPLAY_WORDS;
    this.memory.set64(host, this.replayData[at]!, this.replayData[at + 1]!);
  }

  /** Remembers what the access at hand came to. */
  private keep(index: number): void {
    const { memory, replayData } = this;
    replayData[index * REPLAY_WORDS] = memory.get(ACCESS_DATA);
    replayData[index * REPLAY_WORDS + 1] = memory.get(ACCESS_DATA + 4);
  }

  /**
   * Serves the access at hand without leaving guest code, where that is possible. When others must look around after
   * it, the instruction is begun anew by itself, with the answer at hand, and guest code left behind it.
   * @returns whether it has been served; otherwise the instruction has to be left
   * @throws INSTRUCTION_EXIT
   */
  private serve(): boolean {
    const { host } = this;
    // Instructions that read and write, and string instructions in bulk, have more to undo.
    if (!this.isPlainAccess || this.mmu.stepping || this.servedLeft === 0 || host.serveAccess === undefined)
      return false;
    this.servedLeft--;
    this.isServing = true;
    this.hasChangedCode = false;
    const changesMore = host.serveAccess();
    const now = this.nowAtRecord;
    this.isServing = false;
    if (now !== this.servedAt) {
      this.servedAt = now;
      this.servedCount = 0;
    }
    this.keep(this.servedCount++);
    if (changesMore || this.yields || this.hasChangedCode || this.hasInterrupt) {
      this.yields = true;
      this.runAlone();
    }
    return true;
  }

  writeDevice(gpa: number, bytes: number, host: number): void {
    const { memory } = this;
    if (this.isApic(gpa)) {
      // What it may interrupt comes right after this instruction, and times are those of this instruction.
      if (memory.get(State.eflags) & EFLAGS.IF || !isPlainApicWrite(gpa & 0xfff)) this.runAlone();
      const value = memory.data.getUint32(host, true);
      this.host.observer?.lapic(gpa & 0xfff, true, value);
      this.apic.write(gpa & 0xfff, 4, value);
      return;
    }
    if (this.replayAt < this.replayCount) {
      this.replayAt++;
      return;
    }
    this.deviceAccess(gpa, bytes, true);
    if (bytes === 4) memory.set(ACCESS_DATA, memory.data.getInt32(host, true));
    else memory.u8.copyWithin(ACCESS_DATA, host, host + Math.min(bytes, 8));
    if (this.serve()) return;
    INSTRUCTION_EXIT.kind = 'mmio';
    throw INSTRUCTION_EXIT;
  }

  /** Begins the instruction anew by itself, unless it is. */
  private runAlone(): void {
    if (this.mmu.stepping) return;
    INSTRUCTION_EXIT.kind = 'step';
    throw INSTRUCTION_EXIT;
  }

  private isApic(gpa: number): boolean {
    const base = this.memory.get(State.apicBase);
    return gpa <= 0xffff_ffff && ((gpa ^ base) & LAPIC_MASK) === 0 && (base & 0x800) !== 0;
  }

  /** Takes what the VMM has done about the last access. */
  private finishAccess(): void {
    const { memory, access } = this;
    if (this.pendingExit === CpuExit.io) {
      if (access.toRegister) {
        if (access.bytes === 4) memory.setReg32(0, memory.get(ACCESS_DATA));
        else memory.u8.copyWithin(State.gpr, ACCESS_DATA, ACCESS_DATA + access.bytes);
      }
    } else if (this.pendingExit === CpuExit.mmio) {
      this.keep(this.replayCount++);
    }
    const isOver = this.pendingExit === CpuExit.io;
    this.pendingExit = CpuExit.slice;
    if (isOver) this.takeTraps();
  }

  /**
   * Finishes the instruction that a port or device access has left half done, so that the state can be saved
   * or another vCPU run.
   * @returns slice when it is done; mmio when it wants another access first
   */
  settle(): CpuExit {
    this.finishAccess();
    while (this.replayCount > 0 && this.pendingExit === CpuExit.slice) this.step();
    return this.pendingExit;
  }

  hasCode(page: number): boolean {
    return this.code.hasCode(page);
  }

  codeWritten(gpa: number, bytes: number): boolean {
    const any = this.code.written(gpa, bytes);
    this.hasChangedCode ||= any;
    return any;
  }

  // The rest of CpuContext

  tsc(): number {
    return this.host.tsc();
  }

  random(): number {
    return this.host.random();
  }

  getTpr(): number {
    return this.apic.taskPriority << 4;
  }

  setTpr(value: number): void {
    this.apic.taskPriority = value >> 4;
    this.interruptsChanged();
  }

  cpuid(leaf: number, subleaf: number): CpuidResult {
    return this.host.cpuid(this.current, leaf, subleaf);
  }

  /** What handlers and regions import. */
  private hostFunctions(): HostFunctions {
    const { memory, mmu, code } = this;
    const low = State.faultAddress >> 2;
    return {
      missRead: (bytes, record) => {
        this.record = record!;
        this.isPlainAccess = bytes! <= 8;
        const host = mmu.readable(memory.i32[low]!, memory.i32[low + 1]!, bytes!);
        this.isPlainAccess = false;
        return host;
      },
      missProbe: (bytes, record) => {
        this.record = record!;
        return mmu.probe(memory.i32[low]!, memory.i32[low + 1]!, bytes!);
      },
      missStore: (bytes, record) => {
        this.record = record!;
        this.isPlainAccess = bytes! <= 8;
        const done = mmu.tryWrite(memory.i32[low]!, memory.i32[low + 1]!, bytes!, State.storeValue);
        this.isPlainAccess = false;
        return done ? 0 : 1;
      },
      refused: () => {
        this.caught(FAULT);
        this.wasRefused = true;
        if (!this.mayGoOn()) return 0;
        this.wasRefused = false;
        return 1;
      },
      finishStore: (host, bytes, record) => {
        this.record = record!;
        mmu.finish(host!, bytes!);
      },
      segmented: (segment, offset, bytes, record) => {
        this.record = record!;
        return checkSegment(memory, segment!, offset!, bytes! & ~WRITES, (bytes! & WRITES) !== 0);
      },
      raise: (vector, errorCode, record) => {
        this.record = record!;
        raise(vector!, errorCode);
      },
      helper: (number, argument, record) => {
        this.record = record!;
        this.setRip(memory.u16[(record! + Op.size + Op.place) >> 1]!);
        this.inHelper = true;
        HELPERS[number!]!(this, argument!, record!);
        this.inHelper = false;
      },
      lookup: () => {
        this.record = 0;
        // At the end of a slice nothing is fetched any more, as that may fault.
        if (
          code.isFull ||
          memory.get(State.budget) === 0 ||
          this.debug.onBreakpointPage() ||
          this.mode.onLimitPage()
        )
          this.leaveFull();
        return code.lookup();
      },
      decode: (head) => {
        this.record = 0;
        if (code.isFull) {
          this.setRip(memory.u16[(head! + Op.place) >> 1]!);
          this.leaveFull();
        }
        return code.decode(head!);
      },
      hot: (head) => this.program.hot(head!),
    };
  }
}

/** Registers of a local APIC whose write neither depends on time nor interrupts a CPU that has interrupts off. */
function isPlainApicWrite(offset: number): boolean {
  return offset === APIC_EOI || offset === APIC_TPR;
}

export function savedState(index: number): number {
  return SAVED_STATES + index * SAVED_STATE_SIZE;
}

/** Where the data of a port or device access lies. */
export const ACCESS_DATA = CROSS_PAGE + 0xb0;
