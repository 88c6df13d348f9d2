/**
 * Checks a file in Chrome's trace-event format for what viewers rely on and what a trace must not get wrong:
 * known phases with all their fields, tracks with names, no negative times, and spans that nest on their track.
 */

interface ChromeEvent {
  readonly ph?: unknown;
  readonly name?: unknown;
  readonly pid?: unknown;
  readonly tid?: unknown;
  readonly ts?: unknown;
  readonly dur?: unknown;
  readonly s?: unknown;
  readonly args?: unknown;
}

/** What a checked trace holds. */
export interface ChromeTraceContents {
  /** Names of tracks, as `group/track`. */
  readonly tracks: readonly string[];
  readonly spans: number;
  readonly instants: number;
}

/** Times are in microseconds with three decimals: less than this is no overlap. */
const ROUNDING = 0.0015;

/** @throws Error that says what is wrong with which event */
export function checkChromeTrace(text: string): ChromeTraceContents {
  const { traceEvents } = JSON.parse(text) as { traceEvents?: ChromeEvent[] };
  if (!Array.isArray(traceEvents)) throw new Error('there is no list traceEvents');
  const groups = new Map<unknown, string>();
  const tracks = new Map<string, string>();
  const spans = new Map<string, { start: number; end: number; name: unknown }[]>();
  let instants = 0;
  traceEvents.forEach((event, i) => {
    const wrong = (what: string): Error => new Error(`event ${i} ${what}: ${JSON.stringify(event)}`);
    const { ph, name, pid, tid, ts, dur } = event;
    if (typeof name !== 'string' || name === '') throw wrong('has no name');
    if (typeof pid !== 'number') throw wrong('has no process');
    if (ph === 'M') {
      const label = (event.args as { name?: unknown } | undefined)?.name;
      if (typeof label !== 'string') throw wrong('names nothing');
      if (name === 'process_name') groups.set(pid, label);
      else if (name === 'thread_name') tracks.set(`${pid}/${tid}`, `${groups.get(pid)}/${label}`);
      else throw wrong('is of an unknown kind');
      return;
    }
    const track = `${pid}/${tid}`;
    if (!tracks.has(track)) throw wrong('is on a track without a name');
    if (typeof ts !== 'number' || !(ts >= 0)) throw wrong('has a negative time, or none');
    if (ph === 'i') {
      if (event.s !== 't') throw wrong('has no scope');
      instants++;
    } else if (ph === 'X') {
      if (typeof dur !== 'number' || !(dur >= 0)) throw wrong('has a negative duration, or none');
      const list = spans.get(track) ?? [];
      list.push({ start: ts, end: ts + dur, name });
      spans.set(track, list);
    } else throw wrong('is of an unknown phase');
  });
  for (const [track, list] of spans) checkNesting(tracks.get(track)!, list);
  return {
    tracks: [...tracks.values()],
    spans: [...spans.values()].reduce((sum, list) => sum + list.length, 0),
    instants,
  };
}

function checkNesting(track: string, list: { start: number; end: number; name: unknown }[]): void {
  const open: { start: number; end: number; name: unknown }[] = [];
  for (const span of list.sort((a, b) => a.start - b.start || b.end - a.end)) {
    while (open.length > 0 && open.at(-1)!.end <= span.start + ROUNDING) open.pop();
    const around = open.at(-1);
    if (around !== undefined && span.end > around.end + ROUNDING) {
      throw new Error(
        `${track}: '${span.name}' (${span.start} to ${span.end}) overlaps '${around.name}' (${around.start} to ${around.end})`,
      );
    }
    open.push(span);
  }
}
