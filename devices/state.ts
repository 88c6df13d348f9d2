/**
 * Device state: named registers in memory that every thread of a machine sees, one lock over them,
 * and their neutral saved form.
 *
 * A device declares its registers once with {@link defineState}; the constants it gets back index
 * the typed arrays on the hot path, and their names make the saved form.
 */

/** A register name mapped to how many 32-bit words (or doubles) it takes. */
type Counts = Readonly<Record<string, number>>;

/** The shape of a device's state: index of each register in {@link DeviceState.words} or {@link DeviceState.doubles}. */
export interface StateLayout<W extends string = string, D extends string = string> {
  /** First index in `words` of each register of 32-bit words. */
  readonly word: Readonly<Record<W, number>>;
  /** First index in `doubles` of each register of doubles. */
  readonly double: Readonly<Record<D, number>>;
  readonly wordCounts: Counts;
  readonly doubleCounts: Counts;
  readonly wordLength: number;
  readonly doubleLength: number;
}

/** The saved form of a device: plain JSON, fields named as the device's registers. */
export type SavedState = { readonly [field: string]: number | readonly number[] | SavedState };

/** A saved state does not fit the device that it is restored to. */
export class SavedStateError extends Error {
  override readonly name = 'SavedStateError';
  readonly code = 'SAVED_STATE';
}

/**
 * Declares a device's registers.
 * @param words - name → number of 32-bit words (1 for a register, more for a table or FIFO)
 * @param doubles - name → number of doubles, for times and addresses beyond 32 bits
 * @throws TypeError when a name is given twice: one register would be missing from the saved form
 */
export function defineState<const W extends Counts, const D extends Counts = Record<never, number>>(
  words: W,
  doubles?: D,
): StateLayout<Extract<keyof W, string>, Extract<keyof D, string>> {
  const [word, wordLength] = place(words);
  const [double, doubleLength] = place(doubles ?? {});
  const twice = Object.keys(double).find((name) => name in word);
  if (twice !== undefined)
    throw new TypeError(`register '${twice}' is declared both as words and as doubles`);
  return {
    word: word as Record<Extract<keyof W, string>, number>,
    double: double as Record<Extract<keyof D, string>, number>,
    wordCounts: words,
    doubleCounts: doubles ?? {},
    wordLength,
    doubleLength,
  };
}

function place(counts: Counts): [Record<string, number>, number] {
  const index: Record<string, number> = {};
  let next = 0;
  for (const [name, count] of Object.entries(counts)) {
    index[name] = next;
    next += count;
  }
  return [index, next];
}

/** One device's registers and their lock, at the same place for every thread. */
export class DeviceState {
  /** Guards all registers. Whoever calls into the device holds it. */
  readonly lock: Lock;
  /** 32-bit registers. Signed when read: use `>>> 0` where the top bit matters. */
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  private readonly layout: StateLayout;

  constructor(layout: StateLayout, lock: Lock, words: Int32Array, doubles: Float64Array) {
    this.layout = layout;
    this.lock = lock;
    this.words = words;
    this.doubles = doubles;
  }

  /** A state of its own, for tests and for machines of one thread. */
  static alone(layout: StateLayout): DeviceState {
    return new StateAllocator(new SharedArrayBuffer(StateAllocator.bytesFor(layout))).allocate(layout);
  }

  /** Every register by name. */
  save(): SavedState {
    const saved: Record<string, number | number[]> = {};
    for (const [name, count] of Object.entries(this.layout.wordCounts)) {
      saved[name] = pick(this.words, this.layout.word[name]!, count);
    }
    for (const [name, count] of Object.entries(this.layout.doubleCounts)) {
      saved[name] = pick(this.doubles, this.layout.double[name]!, count);
    }
    return saved;
  }

  /** @throws SavedStateError when a register is missing or of another length; nothing is changed then. */
  restore(saved: SavedState): void {
    const words = gather(saved, this.layout.wordCounts);
    const doubles = gather(saved, this.layout.doubleCounts);
    this.words.set(words);
    this.doubles.set(doubles);
  }

  /** All registers to zero. */
  clear(): void {
    this.words.fill(0);
    this.doubles.fill(0);
  }
}

function pick(from: Int32Array | Float64Array, index: number, count: number): number | number[] {
  return count === 1 ? from[index]! : Array.from(from.subarray(index, index + count));
}

/** JSON has no infinities; a deadline of `Infinity` is saved as null by JSON.stringify and read back here. */
function numberOf(value: unknown): number | undefined {
  if (value === null) return Number.POSITIVE_INFINITY;
  return typeof value === 'number' ? value : undefined;
}

function gather(saved: SavedState, counts: Counts): number[] {
  const values: number[] = [];
  for (const [name, count] of Object.entries(counts)) {
    const field = saved[name];
    const list = count === 1 && !Array.isArray(field) ? [field] : field;
    if (!Array.isArray(list) || list.length !== count) {
      throw new SavedStateError(`saved state: field '${name}' should hold ${count} number(s)`);
    }
    for (const item of list) {
      const value = numberOf(item);
      if (value === undefined)
        throw new SavedStateError(`saved state: field '${name}' holds something that is no number`);
      values.push(value);
    }
  }
  return values;
}

/** A futex mutex over one shared word (0 free, 1 held, 2 held and waited for). Not recursive. */
export class Lock {
  private readonly word: Int32Array;
  private readonly index: number;

  constructor(word: Int32Array, index: number) {
    this.word = word;
    this.index = index;
  }

  /** Hot path: one compare-and-exchange when nobody else holds it. */
  acquire(): void {
    if (Atomics.compareExchange(this.word, this.index, 0, 1) !== 0) this.acquireContended();
  }

  /** Hot path. */
  release(): void {
    if (Atomics.exchange(this.word, this.index, 0) === 2) Atomics.notify(this.word, this.index, 1);
  }

  private acquireContended(): void {
    // Sections are short, so a few turns of spinning beat a futex call.
    for (let spin = 0; spin < 100; spin++) {
      if (Atomics.compareExchange(this.word, this.index, 0, 1) === 0) return;
    }
    while (Atomics.exchange(this.word, this.index, 2) !== 0) Atomics.wait(this.word, this.index, 2);
  }
}

/**
 * Deals out a shared buffer to devices. Every thread of a machine builds the same devices in the
 * same order and so finds each state at the same place.
 */
export class StateAllocator {
  private offset = 0;
  private readonly buffer: SharedArrayBuffer;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
  }

  /** Bytes that a state of this layout takes. */
  static bytesFor(layout: StateLayout): number {
    // A cache line for the lock, so that two devices' locks never share one.
    return 64 + roundUp(layout.doubleLength * 8 + layout.wordLength * 4, 64);
  }

  /** @throws RangeError when the shared buffer is too small: it was made for fewer devices. */
  allocate(layout: StateLayout): DeviceState {
    const at = this.offset;
    this.offset += StateAllocator.bytesFor(layout);
    const lock = new Lock(new Int32Array(this.buffer, at, 1), 0);
    const doubles = new Float64Array(this.buffer, at + 64, layout.doubleLength);
    const words = new Int32Array(this.buffer, at + 64 + layout.doubleLength * 8, layout.wordLength);
    return new DeviceState(layout, lock, words, doubles);
  }
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
