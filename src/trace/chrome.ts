/**
 * Traces in Chrome's trace-event format, which ui.perfetto.dev and chrome://tracing open (the format is
 * described in "Trace Event Format", by the Chromium project).
 *
 * There is a track for each vCPU, with its exits as spans and exceptions and interrupts as instants; one for
 * each device, with the accesses to its registers and its interrupt line; and one for each virtqueue, with the
 * work on it as spans. The file is complete JSON after every write: each write puts new events over the closing
 * bracket and another behind them, so a run that is killed leaves a trace that can be read.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { ConfigError } from '../../devices/errors.ts';
import type { TraceEvent } from '../../vm/trace/reader.ts';
import { describeEvent, titleOf } from '../../vm/trace/text.ts';

const CLOSING = '\n]}\n';
/** Bytes written at once: small, so that a kill hardly ever meets half a write. */
const WRITE_MAXIMUM = 4096;

/** What are processes to the viewer: groups of tracks. */
const Group = { vcpus: 1, devices: 2, virtqueues: 3 } as const;
const GROUP_NAMES: Readonly<Record<number, string>> = { 1: 'vCPUs', 2: 'devices', 3: 'virtqueues' };

/** Writes one file. */
export class ChromeTrace {
  private readonly fd: number;
  private position = 0;
  private waiting = '';
  private isFirst = true;
  /** Tracks that have been named, by group and name. */
  private readonly tracks = new Map<string, number>();

  /** @throws ConfigError when the file can't be written */
  constructor(path: string) {
    try {
      this.fd = openSync(path, 'w');
    } catch (cause) {
      throw new ConfigError(`--output ${path}: ${(cause as Error).message}`, { cause });
    }
    this.write('{"displayTimeUnit":"ns","traceEvents":[');
  }

  /** Adds an event. It is in the file after the next {@link flush}. */
  add(event: TraceEvent): void {
    const { kind, vcpu, device } = event;
    if (kind === 'queue') {
      this.span(this.track(Group.virtqueues, `${device} queue ${event.queue}`), event);
      return;
    }
    if (vcpu !== undefined) {
      const track = this.track(Group.vcpus, `vCPU ${vcpu}`, vcpu);
      if (kind === 'exception' || kind === 'interrupt' || kind === 'lapic') this.instant(track, event);
      else this.span(track, event);
    }
    if (device !== undefined) this.instant(this.track(Group.devices, device), event);
  }

  /** Puts what was added into the file. */
  flush(): void {
    if (this.waiting === '') return;
    const text = this.waiting;
    this.waiting = '';
    this.write(text);
  }

  /** The file is complete. */
  close(): void {
    this.flush();
    closeSync(this.fd);
  }

  private span(track: string, event: TraceEvent): void {
    this.put(`{"ph":"X",${track},${times(event)},"dur":${micro(event.duration)},${labels(event)}}`);
  }

  private instant(track: string, event: TraceEvent): void {
    this.put(`{"ph":"i","s":"t",${track},${times(event)},${labels(event)}}`);
  }

  /** The fields that name a track, which is introduced when it is met first. */
  private track(group: number, name: string, number = this.tracks.size): string {
    const key = `${group} ${name}`;
    let id = this.tracks.get(key);
    if (id === undefined) {
      id = number;
      if (![...this.tracks.keys()].some((other) => other.startsWith(`${group} `)))
        this.put(meta('process_name', `"pid":${group}`, GROUP_NAMES[group]!));
      this.tracks.set(key, id);
      this.put(meta('thread_name', `"pid":${group},"tid":${id}`, name));
    }
    return `"pid":${group},"tid":${id}`;
  }

  private put(object: string): void {
    const text = `${this.isFirst ? '' : ','}\n${object}`;
    this.isFirst = false;
    if (this.waiting.length + text.length > WRITE_MAXIMUM) this.flush();
    this.waiting += text;
  }

  /** Writes over the closing bracket, and a new one. */
  private write(text: string): void {
    const bytes = Buffer.from(text + CLOSING);
    writeSync(this.fd, bytes, 0, bytes.length, this.position);
    this.position += bytes.length - CLOSING.length;
  }
}

function meta(kind: string, where: string, name: string): string {
  return `{"ph":"M","name":"${kind}",${where},"args":{"name":${JSON.stringify(name)}}}`;
}

function times(event: TraceEvent): string {
  return `"ts":${micro(event.time)}`;
}

function labels(event: TraceEvent): string {
  return `"name":${JSON.stringify(titleOf(event))},"cat":"${event.kind}","args":{"what":${JSON.stringify(describeEvent(event))}}`;
}

/** Microseconds, to the nanosecond. */
function micro(nanoseconds: number): string {
  return (Math.round(nanoseconds) / 1000).toFixed(3);
}
