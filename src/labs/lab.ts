/**
 * What a lab is: what the learner begins with, the machine that it runs in, and checks of what it did. Each check
 * looks at what the guest left behind, and says of what isn't right yet what is wrong and where to look.
 */
import type { Outcome } from '../../vm/outcome.ts';
import type { Statistics } from '../../vm/statistics.ts';
import type { MachineView } from '../../vm/view.ts';
import type { VmConfig } from '../config.ts';

/** What a run of a learner's guest left behind. */
export interface Evidence {
  /** What it printed. */
  readonly output: string;
  readonly outcome: Outcome;
  readonly statistics: Statistics;
  /** For a lab of answers: what the learner's file says. */
  readonly answers: Readonly<Record<string, unknown>>;
  /** Registers, memory and devices when the guest had run for the last time. */
  readonly machine: MachineView;
}

/** One thing that has to be right. */
export interface Check {
  /** As a statement that is true when all is well. */
  readonly what: string;
  /** @returns undefined when it is right, else what is wrong and what to do, in a sentence or two */
  fault(evidence: Evidence): string | undefined;
}

/** One lab. */
export interface Lab {
  /** From 1. */
  readonly number: number;
  /** Of its files: `01-hello`. */
  readonly name: string;
  readonly title: string;
  /** What the learner writes: assembly (or its built bytes), a device, or a file of answers. */
  readonly kind: 'assembly' | 'device' | 'answers';
  /** Its machine, but for what the learner wrote. */
  readonly machine: VmConfig;
  /** Seconds that it may run. */
  readonly timeout?: number;
  /** Why a KVM without hardware behind it can't run it; absent if it can. */
  readonly needsHardware?: string;
  readonly checks: readonly Check[];
}

/** The checks of nearly every lab begin with this: the guest has come to its end. */
export function endedByPowerOff(hints: Partial<Record<Outcome['kind'], string>> = {}): Check {
  return {
    what: 'the guest runs to its end and switches itself off',
    fault: ({ outcome }) => {
      if (outcome.kind === 'power-off') return undefined;
      const { kind, error } = outcome;
      const reason = error === undefined ? '' : `${error.message.replace(/\.$/, '')}.`;
      const sentences = [END[kind] ?? `It ended otherwise: ${kind}.`, reason, hints[kind] ?? ''];
      return sentences.filter((sentence) => sentence !== '').join(' ');
    },
  };
}

const END: Partial<Record<Outcome['kind'], string>> = {
  'triple-fault':
    'It ended in a triple fault: an exception came up and the CPU found no way to tell it of that.',
  timeout: 'It was still running when the time was up: look for a loop that never ends.',
  halted: 'It halted with interrupts off, before it came to POWER_OFF.',
  reset: 'It asked for a reset.',
  error: 'The machine could not go on.',
};

/** A check that the guest printed certain lines. @param hint - for when it printed something else */
export function printed(text: string, hint: string | ((output: string) => string | undefined)): Check {
  const lines = text.split('\r\n').filter((line) => line !== '');
  return {
    what: `it prints ${lines.map((line) => `“${line}”`).join(', ')}`,
    fault: ({ output }) => {
      if (output === text) return undefined;
      const advice = typeof hint === 'string' ? hint : hint(output);
      return `${output === '' ? 'It printed nothing.' : `It printed ${quote(output)}.`} ${advice ?? ''}`.trim();
    },
  };
}

/** Text for people, however odd its bytes. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

/** A number as manuals print it. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** Little-endian words of the guest's memory. */
export function readWords(machine: MachineView, address: number, count: number): number[] {
  const data = new DataView(machine.read(address, count * 4).buffer);
  return Array.from({ length: count }, (_, i) => data.getUint32(i * 4, true));
}

/** How many exits there were of a reason, or accesses to a device. */
export function countOf(counts: Readonly<Record<string, number>>, name: string): number {
  return counts[name] ?? 0;
}
