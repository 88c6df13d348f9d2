/**
 * `npm run bench -- guests`: which exits a boot of Linux makes, by reason and by port or address, with the names of
 * devices and registers. A trace of the bundled guest, from its first instruction to power-off.
 */
import { Vm } from '../../src/index.ts';
import { probeDriver } from '../../vm/drivers.ts';
import type { EngineName } from '../../vm/engine.ts';
import type { TraceEvent } from '../../vm/trace/reader.ts';
import { progressOf } from '../progress.ts';
import type { Cell, Part, Row, Table } from '../report.ts';

/** Options of the benchmark of guests' exits. */
export interface GuestsOptions {
  readonly engines: readonly EngineName[];
  readonly short: boolean;
}

/** Rows of the table by place; what is rarer is summed up. */
const PLACES_MAXIMUM = 25;
const GUESTS = ['linux-x86_64', 'linux-i386'] as const;
const APPEND = 'console=ttyS0 loglevel=3 type2.exec=true';
/** Seconds. */
const PATIENCE = 120;

/** Counts of one boot. */
interface Boot {
  readonly guest: string;
  readonly engine: EngineName;
  readonly byReason: ReadonlyMap<string, number>;
  readonly byPlace: ReadonlyMap<string, number>;
  /** Seconds. */
  readonly time: number;
}

export async function benchGuests(options: GuestsOptions): Promise<Part> {
  const began = performance.now();
  const progress = progressOf('guests');
  const notes: string[] = [];
  const errors: string[] = [];
  const boots: Boot[] = [];
  for (const engine of options.engines) {
    const { support } = await probeDriver(engine);
    if (!support.usable) {
      notes.push(`${engine}: Linux can't run here: ${support.reason}.`);
      continue;
    }
    for (const guest of options.short ? GUESTS.slice(0, 1) : GUESTS) {
      progress(`${guest} on ${engine}`);
      try {
        boots.push(await traceBoot(guest, engine));
      } catch (error) {
        errors.push(`${guest} on ${engine}: ${(error as Error).message}`);
      }
    }
  }
  const tables = boots.flatMap((boot) => [
    countTable(boot, 'reason', boot.byReason, boot.byReason.size),
    countTable(boot, 'place', boot.byPlace, PLACES_MAXIMUM),
  ]);
  for (const { guest, engine, time } of boots)
    notes.push(`${guest} on ${engine}: ${time.toFixed(1)} s under trace, from start to power-off.`);
  const seconds = (performance.now() - began) / 1000;
  return { name: 'guests', title: 'Which exits a boot of Linux makes', tables, notes, errors, seconds };
}

async function traceBoot(guest: string, engine: EngineName): Promise<Boot> {
  const byReason = new Map<string, number>();
  const byPlace = new Map<string, number>();
  await using vm = await Vm.create({ engine, guest, append: APPEND, onReset: 'end', trace: {} });
  const add = (counts: Map<string, number>, key: string): void =>
    void counts.set(key, (counts.get(key) ?? 0) + 1);
  vm.trace!.events.on('data', (event: TraceEvent) => {
    add(byReason, event.kind);
    const place = placeOf(event);
    if (place !== undefined) add(byPlace, place);
  });
  vm.console.output.resume();
  const start = performance.now();
  await vm.start();
  const timer = setTimeout(() => void vm.stop('timeout'), PATIENCE * 1000);
  const outcome = await vm.ended;
  clearTimeout(timer);
  if (outcome.kind !== 'power-off') throw new Error(`it ended with ${outcome.kind}`);
  return { guest, engine, byReason, byPlace, time: (performance.now() - start) / 1000 };
}

/** `PIO write 0x3f8 serial0 THR`; undefined for what is no access. */
export function placeOf(event: TraceEvent): string | undefined {
  const { kind, address, isWrite, device, register } = event;
  if (address === undefined || (kind !== 'pio' && kind !== 'mmio' && kind !== 'lapic')) return undefined;
  const space = kind.toUpperCase();
  const names = [device ?? 'nobody', register].filter((name) => name !== undefined).join(' ');
  return `${space} ${isWrite ? 'write' : 'read'} 0x${address.toString(16)} ${names}`;
}

function countTable(
  { guest, engine }: Boot,
  by: 'reason' | 'place',
  counts: ReadonlyMap<string, number>,
  most: number,
): Table {
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  const total = sorted.reduce((sum, [, count]) => sum + count, 0);
  const shown = sorted.slice(0, most);
  const rest = total - shown.reduce((sum, [, count]) => sum + count, 0);
  if (rest > 0) shown.push([`${sorted.length - most} others`, rest]);
  const rows = [...shown, ['all', total] as const].map(([name, count]): Row => {
    const share = (100 * count) / total;
    const single = (value: number): Cell => ({ median: value, low: value, high: value, count: 1 });
    return {
      name: name.replaceAll(' ', '-'),
      title: name,
      unit: 'count',
      better: 'neither',
      cells: { count: single(count), share: single(share) },
    };
  });
  return {
    name: `${guest}-${engine}-${by}`,
    title: `${guest} on ${engine}, by ${by === 'reason' ? 'kind of event' : 'port or address'}`,
    columns: [
      { name: 'count', title: 'number' },
      { name: 'share', title: '%', unit: '%' },
    ],
    rows,
  };
}
