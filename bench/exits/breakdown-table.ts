/**
 * The table of where the time of one port-I/O exit goes: parts that were measured one by one (breakdown.ts), their
 * sum, and the whole as the guest sees it in a machine.
 */
import type { Row, Table } from '../report.ts';
import { summarize } from '../statistics.ts';
import type { OwnParts } from './breakdown.ts';

/** By how much the parts' sum may differ from the whole. */
const TOLERANCE = 0.1;

/**
 * All arguments have an element a round, in ns.
 * @param whole - an exit on Type2
 * @param inC - an exit in the C loop, taken in turns with the whole and with the loop of `own`
 * @param ioctls - an ioctl that does nothing, in C
 */
export function breakdownTable(
  whole: readonly number[],
  inC: readonly number[],
  ioctls: readonly number[],
  own: readonly OwnParts[],
): { table: Table; note: string } {
  const wholeSummary = summarize(whole);
  const row = (name: string, title: string, values: readonly number[]): Row => {
    const summary = summarize(values);
    const share = (100 * summary.median) / wholeSummary.median;
    return {
      name,
      title,
      unit: 'ns',
      better: 'less',
      cells: { time: summary, share: { median: share, low: share, high: share, count: 1 } },
    };
  };
  const call = summarize(ioctls).median;
  const alone = own.map(({ ioctl, dispatch, device }, round) => ioctl - ioctls[round]! + dispatch + device);
  // What Type2 adds to the C loop's exit, the two taken one right after the other.
  const cold = own.map(({ loop }, round) => Math.max(loop - inC[round]! - alone[round]!, 0));
  const sums = own.map((_, round) => inC[round]! + alone[round]! + cold[round]!);
  const rows = [
    row(
      'hardware-kernel',
      'hardware and kernel',
      inC.map((time) => Math.max(time - call, 0)),
    ),
    row('system-call', 'system call', ioctls),
    row(
      'ffi',
      'FFI',
      own.map(({ ioctl }, round) => Math.max(ioctl - ioctls[round]!, 0)),
    ),
    row(
      'dispatch',
      'dispatch',
      own.map(({ dispatch }) => dispatch),
    ),
    row(
      'device',
      'device',
      own.map(({ device }) => device),
    ),
    row('cold', 'these three, cold after an exit', cold),
    row('sum', 'sum of these', sums),
    row('whole', 'the whole, measured apart', whole),
  ];
  const table: Table = {
    name: 'breakdown',
    title: 'one PIO out on kvm',
    columns: [
      { name: 'time', title: 'ns' },
      { name: 'share', title: '% of the whole', unit: '%', better: 'neither' },
    ],
    rows,
  };
  const ratio = summarize(sums).median / wholeSummary.median;
  const note = `The parts add up to ${(100 * ratio).toFixed(0)} % of the whole${
    Math.abs(ratio - 1) > TOLERANCE ? ': more than a tenth is unaccounted for, the host was too busy' : ''
  }.`;
  return { table, note };
}
