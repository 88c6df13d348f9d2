/**
 * A trace's events as lines of text, in the words that people know them by:
 * `PIO out 0x3f8 ← 0x48 'H'  serial0 THR`.
 */
import type { TraceEvent } from './reader.ts';

/** Exceptions by vector. SDM volume 3A, table 6-1. */
export const EXCEPTION_NAMES: Readonly<Record<number, string>> = {
  0: '#DE',
  1: '#DB',
  2: 'NMI',
  3: '#BP',
  4: '#OF',
  5: '#BR',
  6: '#UD',
  7: '#NM',
  8: '#DF',
  10: '#TS',
  11: '#NP',
  12: '#SS',
  13: '#GP',
  14: '#PF',
  16: '#MF',
  17: '#AC',
  18: '#MC',
  19: '#XM',
};
const PAGE_FAULT = 14;

/** What happened, without when and where. */
export function describeEvent(event: TraceEvent): string {
  switch (event.kind) {
    case 'pio':
      return access(event, event.isWrite ? 'PIO out' : 'PIO in');
    case 'mmio':
      return access(event, event.isWrite ? 'MMIO write' : 'MMIO read');
    case 'lapic':
      return access(event, event.isWrite ? 'LAPIC write' : 'LAPIC read');
    case 'exception':
      return exception(event);
    case 'interrupt':
      return `interrupt ${hex(event.vector!)} injected at rip ${hex(event.rip!)}`;
    case 'irq':
      return `IRQ GSI ${event.gsi} ${event.pulse ? '↑↓' : event.level === 1 ? '↑' : '↓'}  ${event.device ?? ''}`;
    case 'queue':
      return `virtqueue ${event.device} queue ${event.queue}: ${event.count} ${event.count === 1 ? 'chain' : 'chains'}`;
    case 'hlt':
      return 'HLT';
    case 'shutdown':
      return 'shutdown: triple fault';
    case 'interrupted':
      return 'interrupted by the VMM';
    default:
      return event.kind;
  }
}

/** A whole line, without its end. @param width - of the part before the time spent */
export function formatEvent(event: TraceEvent, width = 72): string {
  const at = (event.time / 1e9).toFixed(6).padStart(11);
  const who = event.vcpu === undefined ? '    ' : `cpu${event.vcpu}`;
  const what = describeEvent(event);
  const spent = event.duration > 0 ? `  ${(event.duration / 1000).toFixed(1)} µs` : '';
  return `${at} ${who}  ${spent === '' ? what : what.padEnd(width)}${spent}`.trimEnd();
}

/** A short name, for a bar in a timeline. */
export function titleOf(event: TraceEvent): string {
  const { device, register } = event;
  if (event.kind === 'exception') return EXCEPTION_NAMES[event.vector!] ?? `exception ${event.vector}`;
  if (event.kind === 'interrupt') return `interrupt ${hex(event.vector!)}`;
  if (event.kind === 'queue') return `${event.count} ${event.count === 1 ? 'chain' : 'chains'}`;
  if (event.kind === 'irq') return `IRQ ${event.pulse ? '↑↓' : event.level === 1 ? '↑' : '↓'}`;
  if (event.address === undefined) return event.kind;
  const place =
    device === undefined ? `unmapped ${hex(event.address)}` : `${device} ${register ?? hex(event.address)}`;
  return `${event.kind} ${event.isWrite ? 'write' : 'read'} ${place}`;
}

function access(event: TraceEvent, verb: string): string {
  const { address, value, size, count, device, register, meaning } = event;
  const arrow = event.isWrite ? '←' : '→';
  const times = count === 1 ? '' : ` ×${count}`;
  const width = size === 1 ? '' : `.${size}`;
  const data = `${hex(value!)}${meaning === undefined ? '' : ` ${meaning.startsWith("'") ? meaning : `(${meaning})`}`}`;
  const who = device === undefined ? 'nobody answers' : [device, register].filter(Boolean).join(' ');
  return `${verb}${width} ${hex(address!)} ${arrow} ${data}${times}  ${who}`;
}

/** Page-fault error codes: SDM volume 3A, 4.7. */
function exception({ vector, errorCode, address, rip }: TraceEvent): string {
  const name = EXCEPTION_NAMES[vector!] ?? `exception ${vector}`;
  const at = `at rip ${hex(rip!)}`;
  if (vector !== PAGE_FAULT || errorCode === undefined)
    return `${name}${errorCode === undefined ? '' : ` error ${hex(errorCode)}`} ${at}`;
  const why = [
    errorCode & 16 ? 'fetch' : errorCode & 2 ? 'write' : 'read',
    errorCode & 4 ? 'by user' : 'by supervisor',
    errorCode & 8 ? 'reserved bit set' : errorCode & 1 ? 'protection' : 'not present',
  ];
  return `${name} ${hex(address!)} error ${hex(errorCode)} (${why.join(', ')}) ${at}`;
}

/** A number as the field writes it. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
