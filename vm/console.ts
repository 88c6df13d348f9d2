/**
 * The console between a guest's serial port and the process: two byte rings in shared memory, and
 * streams over them on the main thread.
 *
 * The guest's side ({@link GuestConsole}) is the backend that the serial device knows. The host's side
 * ({@link HostConsole}) has Node.js streams. Neither loses a byte: a full output ring makes the serial
 * port say that its transmitter is busy, a full input ring makes the stream push back.
 */
import { Readable, Writable } from 'node:stream';
import { ByteRing } from '../devices/ring.ts';
import type { CharBackend } from '../devices/serial.ts';

const OUTPUT_CAPACITY = 64 * 1024;
const INPUT_CAPACITY = 4 * 1024;
/** Room for all the input of a repeatable run: it is there before the guest starts. */
export const REPEATABLE_INPUT_CAPACITY = 1024 * 1024;
/** While output flows, the host looks at the ring this often instead of being woken for every byte. */
const DRAIN_INTERVAL_MS = 4;
/** While input waits for room, the host tries again this often. */
const INPUT_RETRY_MS = 2;
/** How long a guest that waits for room goes without looking whether it shall stop. */
const ROOM_WAIT_MS = 10;

/** Flag words. */
const NOTIFIED = 0;
const OUTPUT_BLOCKED = 1;

/** The console's shared memory, as it goes from thread to thread. */
export interface ConsoleBuffers {
  readonly output: SharedArrayBuffer;
  readonly input: SharedArrayBuffer;
  readonly flags: SharedArrayBuffer;
}

/** @param repeatable - whether all input comes before the guest starts */
export function consoleBuffers(repeatable = false): ConsoleBuffers {
  return {
    output: ByteRing.buffer(OUTPUT_CAPACITY),
    input: ByteRing.buffer(repeatable ? REPEATABLE_INPUT_CAPACITY : INPUT_CAPACITY),
    flags: new SharedArrayBuffer(8),
  };
}

/** The guest's side, on whichever thread runs the serial device. Used under that device's lock. */
export class GuestConsole implements CharBackend {
  private readonly output: ByteRing;
  private readonly input: ByteRing;
  private readonly flags: Int32Array;
  private readonly wakeHost: () => void;
  private readonly mayWait: (() => boolean) | undefined;
  /** What came while there was neither room nor time to wait for it. */
  private readonly held: number[] = [];

  /**
   * @param wakeHost - makes the main thread call {@link HostConsole.outputReady} soon
   * @param mayWait - for runs that shall be repeatable, where the guest must not see how fast the host reads: the
   * thread waits for room as long as this says that it may
   */
  constructor(buffers: ConsoleBuffers, wakeHost: () => void, mayWait?: () => boolean) {
    this.output = new ByteRing(buffers.output);
    this.input = new ByteRing(buffers.input);
    this.flags = new Int32Array(buffers.flags);
    this.wakeHost = wakeHost;
    this.mayWait = mayWait;
  }

  /** Hot path. */
  send(byte: number): boolean {
    if (this.mayWait !== undefined) {
      this.sendPatiently(byte);
      return true;
    }
    if (!this.output.put(byte)) {
      Atomics.store(this.flags, OUTPUT_BLOCKED, 1);
      // The host may have made room between the attempt and the flag, and would then not look at it.
      if (!this.output.put(byte)) {
        this.notify();
        return false;
      }
      Atomics.store(this.flags, OUTPUT_BLOCKED, 0);
    }
    this.notify();
    return true;
  }

  private sendPatiently(byte: number): void {
    this.held.push(byte);
    for (;;) {
      while (this.held.length > 0 && this.output.put(this.held[0]!)) this.held.shift();
      this.notify();
      if (this.held.length === 0 || !this.mayWait!()) return;
      Atomics.store(this.flags, OUTPUT_BLOCKED, 1);
      if (this.output.space === 0) Atomics.wait(this.flags, OUTPUT_BLOCKED, 1, ROOM_WAIT_MS);
    }
  }

  receive(): number {
    return this.input.take();
  }

  private notify(): void {
    if (Atomics.compareExchange(this.flags, NOTIFIED, 0, 1) === 0) this.wakeHost();
  }
}

/** The host's side, on the main thread. */
export class HostConsole {
  /** What the guest prints. Bytes wait in the guest while nobody reads. */
  readonly output: Readable;
  /** What the guest reads. Ending it does not stop the guest. */
  readonly input: Writable;
  private readonly outputRing: ByteRing;
  private readonly inputRing: ByteRing;
  private readonly flags: Int32Array;
  private readonly wakeGuest: () => void;
  private wanted = false;
  private drainTimer: NodeJS.Timeout | undefined;
  private inputTimer: NodeJS.Timeout | undefined;
  private ended = false;

  /** @param wakeGuest - tells the guest's side that there is input, or room for output */
  constructor(buffers: ConsoleBuffers, wakeGuest: () => void) {
    this.outputRing = new ByteRing(buffers.output);
    this.inputRing = new ByteRing(buffers.input);
    this.flags = new Int32Array(buffers.flags);
    this.wakeGuest = wakeGuest;
    this.output = new Readable({
      read: () => {
        this.wanted = true;
        this.drain();
      },
    });
    this.input = new Writable({
      write: (chunk: Uint8Array, _encoding, done) => this.feed(chunk, done),
      destroy: (error, done) => {
        clearTimeout(this.inputTimer);
        done(error);
      },
    });
  }

  /** The guest's side has woken us: there is output. */
  outputReady(): void {
    this.drain();
  }

  /** The machine has ended: hands out what is left and ends the stream. */
  end(): void {
    if (this.ended) return;
    clearTimeout(this.drainTimer);
    this.drainTimer = undefined;
    clearTimeout(this.inputTimer);
    if (this.outputRing.length > 0) this.output.push(this.outputRing.takeAll());
    this.ended = true;
    this.output.push(null);
    this.input.destroy();
  }

  private drain(): void {
    if (this.ended || !this.wanted || this.drainTimer !== undefined) return;
    if (this.outputRing.length === 0) {
      Atomics.store(this.flags, NOTIFIED, 0);
      // A byte put before the flag fell would wake nobody.
      if (this.outputRing.length === 0) return;
      Atomics.store(this.flags, NOTIFIED, 1);
    }
    this.wanted = this.output.push(this.outputRing.takeAll());
    if (Atomics.exchange(this.flags, OUTPUT_BLOCKED, 0) === 1) {
      Atomics.notify(this.flags, OUTPUT_BLOCKED);
      this.wakeGuest();
    }
    this.drainTimer = setTimeout(() => {
      this.drainTimer = undefined;
      this.drain();
    }, DRAIN_INTERVAL_MS);
  }

  private feed(chunk: Uint8Array, done: (error?: Error | null) => void): void {
    // In portions, each when the last has been read: a guest whose interrupt handler never finds the line
    // idle overflows its own terminal buffers.
    const room = this.inputRing.length === 0 ? this.inputRing.capacity : 0;
    const put = this.inputRing.putAll(chunk.subarray(0, room));
    if (put > 0) this.wakeGuest();
    if (put === chunk.length) {
      done();
      return;
    }
    const rest = chunk.subarray(put);
    this.inputTimer = setTimeout(() => this.feed(rest, done), INPUT_RETRY_MS);
  }
}
