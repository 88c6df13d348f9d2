/**
 * A ring of trace records in shared memory, between one thread that runs guest code or devices and the main
 * thread. A full ring either holds its producer back until the main thread has taken something, so that
 * nothing is lost, or drops what comes and counts it: as the trace was asked for.
 */
import { RECORD_DOUBLES } from './event.ts';

const HEADER_BYTES = 64;
/** Words of the header: records ever put and taken, modulo 2³²; records dropped; whether nobody reads any more. */
const HEAD = 0;
const TAIL = 1;
const DROPPED = 2;
const CLOSED = 3;
/** Double of the header: nanoseconds that the producer was held back. */
const WAITED = 2;
/** A producer that waits looks again after this long, in ms. */
const WAIT_MS = 20;
const RECORD_WORDS = 2 * RECORD_DOUBLES;

/** Records of a ring; a power of two. */
export const TRACE_RING_RECORDS = 16384;

/** One ring, for its producer or for its consumer. */
export class TraceRing {
  /** The fields of all records: a record's index counts words; halve it for {@link TraceRing.doubles}. */
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  private readonly header: Int32Array;
  private readonly headerDoubles: Float64Array;
  private readonly mask: number;

  /** @param buffer - from {@link TraceRing.buffer} */
  constructor(buffer: SharedArrayBuffer) {
    this.header = new Int32Array(buffer, 0, HEADER_BYTES / 4);
    this.headerDoubles = new Float64Array(buffer, 0, HEADER_BYTES / 8);
    this.words = new Int32Array(buffer, HEADER_BYTES);
    this.doubles = new Float64Array(buffer, HEADER_BYTES);
    this.mask = this.words.length / RECORD_WORDS - 1;
  }

  /** Shared memory for a ring. @param records - a power of two */
  static buffer(records = TRACE_RING_RECORDS): SharedArrayBuffer {
    if (records < 2 || (records & (records - 1)) !== 0)
      throw new RangeError(`trace ring of ${records} records: not a power of two`);
    return new SharedArrayBuffer(HEADER_BYTES + records * RECORD_DOUBLES * 8);
  }

  /**
   * Producer. Hot path when tracing: finds room for one record, to be filled in and put with {@link commit}.
   * @param wait - whether to wait for room
   * @returns index of the record's first word, or −1 when there is no room and the record is dropped
   */
  begin(wait: boolean): number {
    const head = Atomics.load(this.header, HEAD);
    if ((head - Atomics.load(this.header, TAIL)) >>> 0 > this.mask && !this.makeRoom(head, wait)) return -1;
    return (head & this.mask) * RECORD_WORDS;
  }

  /** Producer. Hot path when tracing. */
  commit(): void {
    Atomics.store(this.header, HEAD, (Atomics.load(this.header, HEAD) + 1) | 0);
  }

  /** Consumer: how many records wait. They begin at {@link first}. */
  get length(): number {
    return (Atomics.load(this.header, HEAD) - Atomics.load(this.header, TAIL)) >>> 0;
  }

  /** Consumer: index of the first word of the n-th record that waits. */
  first(n: number): number {
    return ((Atomics.load(this.header, TAIL) + n) & this.mask) * RECORD_WORDS;
  }

  /** Consumer: gives back the room of so many records. */
  release(records: number): void {
    Atomics.store(this.header, TAIL, (Atomics.load(this.header, TAIL) + records) | 0);
    Atomics.notify(this.header, TAIL);
  }

  /** Consumer: nobody will read again. Whoever waits for room goes on, and what comes is dropped. */
  close(): void {
    Atomics.store(this.header, CLOSED, 1);
    Atomics.notify(this.header, TAIL);
  }

  /** Records that found no room. */
  get dropped(): number {
    return Atomics.load(this.header, DROPPED) >>> 0;
  }

  /** Nanoseconds that the producer was held back. */
  get waited(): number {
    return this.headerDoubles[WAITED]!;
  }

  private makeRoom(head: number, wait: boolean): boolean {
    const since = performance.now();
    while (wait && Atomics.load(this.header, CLOSED) === 0) {
      const tail = Atomics.load(this.header, TAIL);
      if ((head - tail) >>> 0 <= this.mask) {
        this.headerDoubles[WAITED] = this.headerDoubles[WAITED]! + (performance.now() - since) * 1e6;
        return true;
      }
      Atomics.wait(this.header, TAIL, tail, WAIT_MS);
    }
    Atomics.add(this.header, DROPPED, 1);
    return false;
  }
}
