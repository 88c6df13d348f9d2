/**
 * A reporter for node:test that prints each event as a line, for whoever reads the rig's serial port: which test runs
 * is then known when the rig goes silent, and which are behind it.
 */
import type { TestEvent as NodeTestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

/** Begins a line that is an event. */
export const EVENT_MARK = 'type2-rig-event ';

/** What is said of a test; a file's path stands for what happens outside of its tests. */
export interface TestEvent {
  readonly kind: 'begin' | 'pass' | 'skip' | 'fail';
  readonly name: string;
  readonly ms?: number;
  /** Why it was skipped, or what went wrong. */
  readonly text?: string;
}

/** An event of the runner's, as far as it is one of ours. */
function eventOf({ type, data }: NodeTestEvent): TestEvent | undefined {
  if (data === undefined || !('name' in data) || data.nesting !== 0) return undefined;
  const { name } = data;
  if (type === 'test:dequeue') return { kind: 'begin', name };
  if (type === 'test:fail') {
    const { error, duration_ms: ms } = data.details;
    return { kind: 'fail', name, ms, text: inspect(error.cause ?? error) };
  }
  if (type !== 'test:pass') return undefined;
  const { duration_ms: ms } = data.details;
  if (data.skip === undefined || data.skip === false) return { kind: 'pass', name, ms };
  return { kind: 'skip', name, ms, text: String(data.skip) };
}

/** What tests print and say goes through as it is. */
export default async function* report(source: AsyncIterable<NodeTestEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    const ours = eventOf(event);
    if (ours !== undefined) yield `${EVENT_MARK}${JSON.stringify(ours)}\n`;
    else if (event.type === 'test:stdout' || event.type === 'test:stderr') yield event.data.message;
    else if (event.type === 'test:diagnostic' && event.data.file !== undefined)
      yield `ℹ ${event.data.message}\n`;
  }
}
