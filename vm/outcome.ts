/**
 * How a run ended, for whoever started it.
 */
import type { OutcomeKind } from './control.ts';

/** The end of a run. */
export interface Outcome {
  /** In one word; {@link Outcome.value} and {@link Outcome.error} say more. */
  readonly kind: Exclude<OutcomeKind, 'none'>;
  /** For `debug-exit`: the value that the guest wrote. */
  readonly value?: number;
  /** For `error`: what happened. */
  readonly error?: Error;
}

/** One sentence for each way to end. */
export const OUTCOME_TEXT: Readonly<Record<Outcome['kind'], string>> = {
  'power-off': 'the guest switched itself off',
  halted: 'the guest halted for good',
  'debug-exit': 'the guest ended the run through the debug-exit port',
  reset: 'the guest asked for a reset',
  panic: 'the guest’s kernel panicked',
  'triple-fault': 'the guest caused a triple fault',
  error: 'the machine could not go on',
  timeout: 'the time was up',
  stopped: 'the machine was stopped',
};
