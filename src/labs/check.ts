/**
 * Runs a learner's file in its lab's machine and looks at what it left behind.
 */
import { Type2Error } from '../../devices/errors.ts';
import type { EngineChoice } from '../../vm/drivers.ts';
import type { MachineView } from '../../vm/view.ts';
import { Vm } from '../vm.ts';
import { prepare, type Subject } from './files.ts';
import type { Check, Evidence, Lab } from './lab.ts';

/** RAM of a lab's machine, all of which is kept to be looked at. */
const MEMORY = 16 * 2 ** 20;
/** Seconds that a lab's guest may run, unless the lab says another. */
const TIMEOUT = 10;

/** What became of one check. */
export interface Verdict {
  readonly check: Check;
  /** Undefined when all is well. */
  readonly fault: string | undefined;
}

/** What became of a learner's file. */
export interface LabReport {
  readonly engine: string;
  /** Why it isn't a better engine, in a line; may be empty. */
  readonly notice: string;
  readonly verdicts: readonly Verdict[];
  readonly evidence: Evidence;
}

/**
 * Checks a learner's file.
 * @throws ConfigError for a file that can't be read, assembled or loaded; whatever else Vm.create throws
 */
export async function checkLab(lab: Lab, file: string, engine: EngineChoice): Promise<LabReport> {
  const subject = prepare(lab, file);
  try {
    return await run(lab, subject, engine);
  } finally {
    subject.dispose();
  }
}

async function run(lab: Lab, { config, answers }: Subject, engine: EngineChoice): Promise<LabReport> {
  await using vm = await Vm.create({ memory: MEMORY, ...lab.machine, ...config, engine, onReset: 'end' });
  let machine: MachineView | undefined;
  vm.on('stopped', () => {
    machine = keep(vm.inspect());
  });
  const chunks: Buffer[] = [];
  vm.console.output.on('data', (chunk: Buffer) => chunks.push(chunk));
  const timer = setTimeout(() => void vm.stop('timeout'), (lab.timeout ?? TIMEOUT) * 1000);
  await vm.start();
  const outcome = await vm.ended;
  clearTimeout(timer);
  if (machine === undefined) throw new Type2Error('INTERNAL', 'a run ended without having stopped');
  const output = Buffer.concat(chunks).toString('latin1');
  const evidence: Evidence = { output, outcome, statistics: vm.statistics(), machine, answers };
  const verdicts = lab.checks.map((check) => ({ check, fault: check.fault(evidence) }));
  return { engine: vm.engine, notice: vm.notice, verdicts, evidence };
}

/** The view of a machine outlives it with a copy of its memory. */
function keep(view: MachineView): MachineView {
  const memory = view.read(0, MEMORY);
  return {
    ...view,
    read: (address, length) => {
      // What lies outside the copy the view itself refuses, as it does outside RAM.
      if (address < 0 || address + length > MEMORY) return view.read(address, length);
      return memory.slice(address, address + length);
    },
  };
}
