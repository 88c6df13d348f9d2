/**
 * Which tests of the suite have been judged, over several boots of the rig. QEMU's emulation of SVM loses an interrupt
 * now and then, and a guest, or the rig as a whole, stands still. What was judged before holds; what failed or stood
 * still is run once more, on a rig that has been booted anew; what fails twice has failed.
 */
import type { TestEvent } from './reporter.ts';

/** The variable in which a boot finds what it is to leave out: JSON, `{ done: names, only: pattern }`. */
export const PLAN = 'TYPE2_RIG_PLAN';

/** How often a test is run before it counts as failed. */
const TRIES = 2;

/** What didn't pass, and why, try by try. */
export interface Failure {
  /** Of the test, or of the file for what happens outside of its tests. */
  readonly name: string;
  readonly reasons: readonly string[];
}

interface Entry extends Failure {
  readonly file: string;
  readonly reasons: string[];
  /** The boot in which it happened last. */
  boot: number;
  isOpen: boolean;
}

export class Verdicts {
  private readonly files: readonly string[];
  /** By name: tests' names are unique in the suite. */
  private readonly judged = new Map<string, { readonly file: string; readonly kind: 'pass' | 'skip' }>();
  private readonly failures = new Map<string, Entry>();
  private readonly finished = new Set<string>();
  private running: { readonly file: string; readonly name: string } | undefined;
  private boot = 1;

  /** @param files - of the suite, in the order in which they run, one after the other */
  constructor(files: readonly string[]) {
    this.files = files;
  }

  /** Takes in an event of the suite's, which is being run. @throws RangeError for a test outside of any file */
  take({ kind, name: said, text = '' }: TestEvent): void {
    const begun = this.files.find((one) => said.endsWith(one));
    const file = begun ?? this.running?.file;
    if (file === undefined) throw new RangeError(`${said}: a test of none of the suite's files`);
    const name = begun ?? said;
    if (kind === 'begin') this.missVerdict();
    if (kind === 'fail') this.fail(file, name, text);
    else if (kind !== 'begin' && name !== file) {
      this.judged.set(name, { file, kind });
      const failure = this.failures.get(name);
      if (failure !== undefined) failure.isOpen = false;
    } else if (kind === 'begin' && name === file) {
      for (const earlier of this.files.slice(0, this.files.indexOf(file))) this.finish(earlier);
    }
    // Between two tests it is the file that runs.
    this.running = { file, name: kind === 'begin' ? name : file };
  }

  /** The rig has come to the suite's end; or to none, for this reason. What is left is run on another. */
  endOfBoot(without: string | undefined): void {
    if (without === undefined) {
      this.missVerdict();
      for (const file of this.files) this.finish(file);
    } else {
      const { file, name } = this.running ?? { file: this.left[0]!, name: this.left[0]! };
      this.fail(file, name, without);
    }
    this.running = undefined;
    this.boot++;
  }

  /** Files that have tests which are to be run still, or again. */
  get left(): string[] {
    const again = new Set(
      this.all(({ isOpen, reasons }) => isOpen && reasons.length < TRIES).map(({ file }) => file),
    );
    return this.files.filter((file) => !this.finished.has(file) || again.has(file));
  }

  /** Names of tests that are not to be run again. */
  get done(): string[] {
    return [...this.judged.keys(), ...this.failed.map(({ name }) => name)];
  }

  /** What has failed, and is not tried again. */
  get failed(): Failure[] {
    return this.all(({ isOpen, reasons }) => isOpen && reasons.length >= TRIES);
  }

  /** What came out right, but not the first time. */
  get recovered(): Failure[] {
    return this.all(({ isOpen }) => !isOpen);
  }

  /** How many tests have passed, or have been skipped. */
  count(kind: 'pass' | 'skip'): number {
    return [...this.judged.values()].filter((one) => one.kind === kind).length;
  }

  private all(which: (entry: Entry) => boolean): Entry[] {
    return [...this.failures.values()].filter(which);
  }

  private fail(file: string, name: string, reason: string): void {
    const entry = this.failures.get(name) ?? { file, name, reasons: [], boot: 0, isOpen: true };
    this.failures.set(name, entry);
    entry.reasons.push(reason);
    entry.boot = this.boot;
    entry.isOpen = true;
    if (name !== file) return;
    // Which of its tests it was nobody knows: all of them are run again.
    for (const [test, verdict] of this.judged) if (verdict.file === file) this.judged.delete(test);
    if (entry.reasons.length >= TRIES) this.finished.add(file);
  }

  /** Something else begins: a test that ran has been judged, or the line that said so was spoilt on its way. */
  private missVerdict(): void {
    const { running } = this;
    if (running !== undefined && running.name !== running.file)
      this.fail(running.file, running.name, 'its verdict has not come through');
  }

  /** A file has come to its end: what went wrong outside of its tests before has not this time. */
  private finish(file: string): void {
    this.finished.add(file);
    const entry = this.failures.get(file);
    if (entry !== undefined && entry.boot < this.boot) entry.isOpen = false;
  }
}
