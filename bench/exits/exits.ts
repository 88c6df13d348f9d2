/**
 * `npm run bench -- exits`: what an exit costs, as the guest sees it: from its instruction to the VMM and back. One
 * guest (guest.asm) runs on each engine and under a C loop on the same /dev/kvm, in turns, so that whatever else the
 * host does meets all of them. Figures are medians of what single exits took, for short ones less what reading the TSC takes;
 * a thread that is kept from the processor spoils one exit of many, and not the median.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { probeDriver } from '../../vm/drivers.ts';
import type { EngineName } from '../../vm/engine.ts';
import { progressOf } from '../progress.ts';
import type { Cell, Column, Part, Row, Table } from '../report.ts';
import { histogram, quantile, summarize } from '../statistics.ts';
import type { OwnParts } from './breakdown.ts';
import { breakdownTable } from './breakdown-table.ts';
import { OPERATIONS, type Operation, type Samples } from './guest.ts';
import { type CompiledPeer, compilePeer, type Subject, type2Subject } from './run.ts';

/** Options of the exit benchmarks. */
export interface ExitsOptions {
  readonly rounds: number;
  readonly short: boolean;
  readonly engines: readonly EngineName[];
}

/** All runs of one operation under one subject. */
interface Series {
  /** For each of {@link QUANTILES}, what each round's samples came to, in ns. */
  readonly quantiles: readonly number[][];
  /** All rounds' samples together. */
  readonly all: number[];
  /** Why there is none. */
  failure?: string;
}

const QUANTILES = [
  ['p50', 0.5],
  ['p99', 0.99],
  ['p99.9', 0.999],
] as const;

/** The exit that is taken apart. */
const PIO_OUT = OPERATIONS.find(({ name }) => name === 'pio-out')!;
/** How often it is measured each round, in turns: in the C loop, in Type2's loop alone, in a whole machine. */
const TURNS = 4;
/** Added to an operation's name for its second figure. */
const MORE = '-more';

/** Rows without a figure on Type2, and why. */
const NOT_THERE: readonly (readonly [operation: string, subject: string, text: string])[] = [
  ['mmio-coalesced', 'kvm', 'not used: queues are notified by ioeventfd'],
  ['mmio-coalesced', 'jit', 'no kernel to collect writes'],
  ['mmio-coalesced', 'interp', 'no kernel to collect writes'],
];

export async function benchExits(options: ExitsOptions): Promise<Part> {
  const began = performance.now();
  const notes: string[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'type2-bench-'));
  try {
    const subjects: Subject[] = [];
    let peer: CompiledPeer | undefined;
    for (const name of options.engines) {
      const { support } = await probeDriver(name);
      if (support.capabilities === undefined) notes.push(`${name}: can't run here: ${support.reason}`);
      else subjects.push(type2Subject(name, folder));
      if (name !== 'kvm' || support.capabilities === undefined) continue;
      if (support.reason !== '')
        notes.push(`kvm: ${support.reason}: an exit is many times as long as with it.`);
      const compiled = compilePeer(folder);
      if (typeof compiled === 'string') notes.push(`C loop: ${compiled}`);
      else {
        peer = compiled;
        subjects.push(compiled);
      }
    }
    const results = new Results();
    const own: OwnParts[] = [];
    const inC: number[] = [];
    const whole: number[] = [];
    const ioctls: number[] = [];
    const progress = progressOf('exits');
    for (let round = 0; round < options.rounds; round++) {
      // Who goes first changes from round to round: what comes after an idle moment may find colder caches.
      const order = round % 2 === 0 ? subjects : [...subjects].reverse();
      for (const operation of OPERATIONS) {
        progress(`round ${round + 1} of ${options.rounds}, ${operation.name}`);
        for (const subject of order) await results.run(subject, operation, options.short);
      }
      const kvm = subjects.find(({ name }) => name === 'kvm');
      if (peer === undefined || kvm === undefined) continue;
      const { measureExit, measureOwnParts } = await import('./breakdown.ts');
      let [least, loop, machine] = [
        Number.POSITIVE_INFINITY,
        Number.POSITIVE_INFINITY,
        Number.POSITIVE_INFINITY,
      ];
      // The least of some: what others do to the processor's clock and caches must not pass for Type2's doing.
      for (let turn = 0; turn < TURNS; turn++) {
        least = Math.min(least, median(await peer.run(PIO_OUT, PIO_OUT.rounds)));
        loop = Math.min(loop, measureExit());
        machine = Math.min(machine, median(await kvm.run(PIO_OUT, PIO_OUT.rounds)));
      }
      inC.push(least);
      whole.push(machine);
      own.push({ ...measureOwnParts(), loop });
      ioctls.push(peer.emptyIoctl());
    }
    const tables = [
      results.overview(subjects, peer),
      ...subjects.map((subject) => results.distribution(subject)),
    ];
    if (own.length > 0) {
      const { table, note } = breakdownTable(whole, inC, ioctls, own);
      tables.push(table);
      notes.push(note);
    }
    notes.push(...EXPLANATIONS);
    const seconds = (performance.now() - began) / 1000;
    return { name: 'exits', title: 'What an exit costs', tables, notes, errors: results.errors, seconds };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function median({ first }: Samples): number {
  return quantile(first, 0.5);
}

const EXPLANATIONS = [
  'Each figure is the median of single round trips, by the guest’s TSC; from short ones, what reading it takes is taken off. A turn of the loop is an OUT, a DEC and a JNZ.',
  'On kvm CPUID, RDMSR, hypercalls, the timer and its HLT are served by the kernel, as under the C loop: Type2 has no part in them. On jit and interp CPUID, RDMSR and VMCALL are calls inside the CPU, and the device works on the vCPU’s thread.',
];

/** What was measured, by subject and operation. */
class Results {
  readonly errors: string[] = [];
  private readonly series = new Map<string, Series>();

  async run(subject: Subject, operation: Operation, short: boolean): Promise<void> {
    if (NOT_THERE.some(([name, where]) => name === operation.name && where === subject.name)) return;
    const series = this.get(subject.name, operation.name);
    // Who did not come through won't in the next round.
    if (series.failure !== undefined) return;
    const rounds = short ? Math.ceil(operation.rounds / 10) : operation.rounds;
    try {
      const { first, second } = await subject.run(operation, rounds);
      add(series, first);
      if (operation.more !== undefined) add(this.get(subject.name, operation.name + MORE), second);
    } catch (error) {
      series.failure = (error as Error).message;
      // Some KVMs can't do hypercalls in real mode. All else has to work everywhere.
      const excused = operation.name === 'hypercall' && subject.name !== 'jit' && subject.name !== 'interp';
      if (!excused) this.errors.push(`${subject.title}, ${operation.name}: ${series.failure}`);
    }
  }

  private get(subject: string, operation: string): Series {
    const key = `${subject}/${operation}`;
    const series = this.series.get(key) ?? { quantiles: QUANTILES.map(() => []), all: [] };
    this.series.set(key, series);
    return series;
  }

  /** Medians of the rounds, in ns; undefined where there are none. */
  medians(subject: string, operation: string): number[] | undefined {
    const [medians] = this.get(subject, operation).quantiles;
    return medians!.length === 0 ? undefined : medians;
  }

  private cell(subject: Subject, operation: string): Cell {
    const values = this.medians(subject.name, operation);
    if (values !== undefined) return summarize(values);
    const absent = NOT_THERE.find(([name, where]) => name === operation && where === subject.name);
    const { failure } = this.get(subject.name, operation.replace(MORE, ''));
    return { text: absent?.[2] ?? failure ?? '–' };
  }

  /** The C loop's time to Type2's on kvm, round by round. */
  private ratio(operation: string): Cell {
    const [ours, theirs] = [this.medians('kvm', operation), this.medians('c', operation)];
    if (ours === undefined || theirs === undefined) return { text: '' };
    const rounds = Math.min(ours.length, theirs.length);
    return summarize(Array.from({ length: rounds }, (_, i) => theirs[i]! / ours[i]!));
  }

  overview(subjects: readonly Subject[], peer: CompiledPeer | undefined): Table {
    const columns: Column[] = subjects.flatMap(({ name, title }): Column[] => [{ name, title }]);
    const compared = peer !== undefined && subjects.some(({ name }) => name === 'kvm');
    if (compared)
      columns.splice(2, 0, { name: 'kvm-to-c', title: 'rate, kvm to C', unit: 'ratio', better: 'more' });
    const row = (name: string, title: string): Row => ({
      name,
      title,
      unit: 'ns',
      better: 'less',
      cells: {
        ...Object.fromEntries(subjects.map((subject) => [subject.name, this.cell(subject, name)])),
        ...(compared ? { 'kvm-to-c': this.ratio(name) } : {}),
      },
    });
    const rows = OPERATIONS.flatMap(({ name, title, more }) => [
      row(name, title),
      ...(more === undefined ? [] : [row(name + MORE, more)]),
    ]);
    return { name: 'round-trip', title: 'round trip', columns, rows };
  }

  /** Quantiles of single exits of one subject, and their histograms. */
  distribution(subject: Subject): Table {
    const columns = QUANTILES.map(([name]): Column => ({ name, title: name }));
    const rows = OPERATIONS.flatMap(({ name, title, more }): Row[] => {
      const one = (key: string, text: string): Row[] => {
        const { all, quantiles } = this.get(subject.name, key);
        if (all.length === 0) return [];
        const sorted = Float64Array.from(all).sort();
        const cells = QUANTILES.map(([column], i): [string, Cell] => {
          const figure = summarize(quantiles[i]!);
          return [column, column === 'p50' ? { ...figure, histogram: histogram(sorted) } : figure];
        });
        return [{ name: key, title: text, unit: 'ns', better: 'less', cells: Object.fromEntries(cells) }];
      };
      return [...one(name, title), ...(more === undefined ? [] : one(name + MORE, more))];
    });
    return { name: `distribution-${subject.name}`, title: `single exits, ${subject.title}`, columns, rows };
  }
}

function add(series: Series, sorted: Float64Array): void {
  QUANTILES.forEach(([, share], i) => {
    series.quantiles[i]!.push(quantile(sorted, share));
  });
  for (const value of sorted) series.all.push(value);
}
