/**
 * The control block: a page of shared memory through which a machine's threads tell each other to
 * run, pause and stop, and through which the guest's last word reaches the main thread.
 *
 * The main thread writes the request; vCPU and device threads look at it between two exits and park
 * until it changes. Whoever sees the run end first writes the outcome; later ones change nothing.
 */
import type { MachineControl } from '../devices/device.ts';
import type { DebugEvent } from './debug/settings.ts';

/** Index of one of a vCPU's words. */
function wordOf(vcpu: number, field: number): number {
  return FIRST_VCPU + vcpu * VCPU_WORDS + field;
}

/** What the main thread wants of the others. */
export const Request = { run: 0, pause: 1, stop: 2 } as const;
export type Request = (typeof Request)[keyof typeof Request];

/** How a run ended. */
export const OUTCOME_KINDS = [
  'none',
  'power-off',
  'halted',
  'debug-exit',
  'reset',
  'panic',
  'triple-fault',
  'error',
  'timeout',
  'stopped',
] as const;
export type OutcomeKind = (typeof OUTCOME_KINDS)[number];

const REQUEST = 0;
const OUTCOME = 1;
const OUTCOME_VALUE = 2;
const PANICKED = 3;
const PARKED = 4;
const POWER_BUTTON = 5;
/** CLOCK_MONOTONIC nanoseconds at which machine time was zero, moved on by pauses; a double at word 6. */
const CLOCK_BASE = 3;
const FIRST_VCPU = 16;
/** Even: the block is seen as doubles, too. */
const VCPU_WORDS = 10;
const VCPU_EXITS = 0;
const VCPU_HALTED = 1;
const VCPU_CHECK = 2;
const VCPU_THREAD = 3;
/** Non-zero while the vCPU shall stand still although the machine runs. */
const VCPU_HELD = 4;
/** A stop for the debugger: its kind, 0 for none; what it was at; linear address. */
const VCPU_STOP = 5;
const VCPU_STOP_HITS = 6;
const VCPU_STOP_ADDRESS = 7;

/** The shared control block of one machine. Any thread may hold a view of it. */
export class Control implements MachineControl {
  readonly words: Int32Array;
  private readonly doubles: Float64Array;
  /** Called, on this thread, when an outcome has been written here. */
  onOutcome: () => void = () => {};
  /** Called, on this thread, when a vCPU has stopped for the debugger. */
  onDebugStop: () => void = () => {};

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
    this.doubles = new Float64Array(buffer);
  }

  /** Shared memory for a machine of so many vCPUs. */
  static buffer(cpus: number): SharedArrayBuffer {
    return new SharedArrayBuffer((FIRST_VCPU + cpus * VCPU_WORDS) * 4);
  }

  /**
   * Hot path: looked at before each entry into the guest. A plain load, since Atomics are calls of a builtin: what
   * was written before a thread was kicked or woken it sees all the same, after that system call.
   */
  get request(): Request {
    return this.words[REQUEST] as Request;
  }

  /**
   * Main thread: says what all others shall do. The caller kicks those who sleep elsewhere. A stop is the last
   * word until the next run: a pause that crosses it must not hold back threads that are about to end.
   */
  set request(request: Request) {
    if (this.request === Request.stop) return;
    Atomics.store(this.words, REQUEST, request);
    Atomics.notify(this.words, REQUEST);
    // A vCPU that is held, as all but one are for a step, waits for something else.
    if (request === Request.stop)
      for (let vcpu = 0; vcpu < (this.words.length - FIRST_VCPU) / VCPU_WORDS; vcpu++) this.hold(vcpu, false);
  }

  /** Thread: waits until the request is no longer `pause`, and its vCPU, if it has one, is not held. */
  park(vcpu?: number): void {
    Atomics.add(this.words, PARKED, 1);
    Atomics.notify(this.words, PARKED);
    for (;;) {
      const { request } = this;
      if (request === Request.stop) break;
      if (request === Request.pause) Atomics.wait(this.words, REQUEST, Request.pause);
      else if (vcpu !== undefined && this.isHeld(vcpu)) Atomics.wait(this.words, wordOf(vcpu, VCPU_HELD), 1);
      else break;
    }
    Atomics.sub(this.words, PARKED, 1);
  }

  /** Main thread, while all are parked: lets a vCPU stand still when the others go on. */
  hold(vcpu: number, held: boolean): void {
    Atomics.store(this.words, wordOf(vcpu, VCPU_HELD), held ? 1 : 0);
    Atomics.notify(this.words, wordOf(vcpu, VCPU_HELD));
  }

  private isHeld(vcpu: number): boolean {
    return Atomics.load(this.words, wordOf(vcpu, VCPU_HELD)) !== 0;
  }

  /** vCPU's thread: notes a stop for the debugger, and asks all threads to pause. */
  stopForDebugger({ vcpu, kind, hits, addressLow, addressHigh }: Readonly<DebugEvent>): void {
    Atomics.store(this.words, wordOf(vcpu, VCPU_STOP_HITS), hits);
    Atomics.store(this.words, wordOf(vcpu, VCPU_STOP_ADDRESS), addressLow);
    Atomics.store(this.words, wordOf(vcpu, VCPU_STOP_ADDRESS + 1), addressHigh);
    Atomics.store(this.words, wordOf(vcpu, VCPU_STOP), kind);
    Atomics.compareExchange(this.words, REQUEST, Request.run, Request.pause);
    this.onDebugStop();
  }

  /** Main thread, while all are parked: why a vCPU has stopped for the debugger, once. */
  takeDebugStop(vcpu: number): DebugEvent | undefined {
    const kind = Atomics.exchange(this.words, wordOf(vcpu, VCPU_STOP), 0);
    if (kind === 0) return undefined;
    return {
      vcpu,
      kind,
      hits: this.words[wordOf(vcpu, VCPU_STOP_HITS)]!,
      addressLow: this.words[wordOf(vcpu, VCPU_STOP_ADDRESS)]!,
      addressHigh: this.words[wordOf(vcpu, VCPU_STOP_ADDRESS + 1)]!,
    };
  }

  /** How many threads are parked now. */
  get parked(): number {
    return Atomics.load(this.words, PARKED);
  }

  /** Clears the outcome before a new run. */
  begin(): void {
    this.words.fill(0);
  }

  /** Ends the run, unless it has ended already. @param value - for debug-exit, what the guest wrote */
  end(kind: OutcomeKind, value = 0): void {
    const code = OUTCOME_KINDS.indexOf(kind);
    if (Atomics.compareExchange(this.words, OUTCOME, 0, code) !== 0) return;
    Atomics.store(this.words, OUTCOME_VALUE, value | 0);
    this.onOutcome();
  }

  /** `none` while the run goes on. */
  get outcome(): OutcomeKind {
    return OUTCOME_KINDS[Atomics.load(this.words, OUTCOME)] ?? 'error';
  }

  /** Hot path: whether the run has ended. A plain load, as {@link Control.request}. */
  get ended(): boolean {
    return this.words[OUTCOME] !== 0;
  }

  get outcomeValue(): number {
    return Atomics.load(this.words, OUTCOME_VALUE) >>> 0;
  }

  powerOff(): void {
    this.end('power-off');
  }

  reset(): void {
    this.end(Atomics.load(this.words, PANICKED) === 1 ? 'panic' : 'reset');
  }

  debugExit(value: number): void {
    this.end('debug-exit', value);
  }

  /** The kernel goes on to print its last words and to reboot or hang, so the run isn't ended here. */
  panicked(): void {
    Atomics.store(this.words, PANICKED, 1);
  }

  /** Whether the guest's kernel has said that it panicked. */
  get hasPanicked(): boolean {
    return Atomics.load(this.words, PANICKED) === 1;
  }

  /** Main thread: the power button was pressed. The caller wakes the device thread. */
  pressPowerButton(): void {
    Atomics.store(this.words, POWER_BUTTON, 1);
  }

  /** Device thread: whether the power button was pressed, once. */
  takePowerButton(): boolean {
    return Atomics.exchange(this.words, POWER_BUTTON, 0) === 1;
  }

  /** Hot path of a vCPU's thread: counts an exit, so that others can see whether the vCPU moves. */
  countExit(vcpu: number): void {
    const at = wordOf(vcpu, VCPU_EXITS);
    this.words[at] = (this.words[at]! + 1) | 0;
  }

  exits(vcpu: number): number {
    return Atomics.load(this.words, wordOf(vcpu, VCPU_EXITS));
  }

  /** vCPU's thread, after an interrupted run: whether it has halted with interrupts off. */
  setHalted(vcpu: number, halted: boolean): void {
    Atomics.store(this.words, wordOf(vcpu, VCPU_HALTED), halted ? 1 : 0);
  }

  isHalted(vcpu: number): boolean {
    return Atomics.load(this.words, wordOf(vcpu, VCPU_HALTED)) === 1;
  }

  /** Main thread: asks a vCPU to say whether it has halted. The caller kicks it. */
  askHalted(vcpu: number): void {
    Atomics.store(this.words, wordOf(vcpu, VCPU_CHECK), 1);
  }

  /** vCPU's thread: whether it was asked, once. */
  takeHaltedQuestion(vcpu: number): boolean {
    return Atomics.exchange(this.words, wordOf(vcpu, VCPU_CHECK), 0) === 1;
  }

  /** vCPU's thread: under which thread id it can be kicked; 0 when it can't. */
  setThread(vcpu: number, threadId: number): void {
    Atomics.store(this.words, wordOf(vcpu, VCPU_THREAD), threadId);
  }

  thread(vcpu: number): number {
    return Atomics.load(this.words, wordOf(vcpu, VCPU_THREAD));
  }

  get clockBase(): number {
    return this.doubles[CLOCK_BASE]!;
  }

  set clockBase(nanoseconds: number) {
    this.doubles[CLOCK_BASE] = nanoseconds;
  }
}
