/**
 * A CPU's program whose single steps are evaluated (plain.ts) instead of run by the interpreter's handlers, so that tests
 * can hold the two against each other. Blocks run as in every other program.
 */
import { CpuCode } from '../code.ts';
import type { CodeCache } from '../code-cache.ts';
import { Op, State } from '../layout.ts';
import type { HostFunctions } from './base.ts';
import { PlainEvaluator } from './plain.ts';

export class PlainCode extends CpuCode {
  private evaluator!: PlainEvaluator;
  private decoded!: CodeCache;

  override attach(host: HostFunctions, cache: CodeCache): void {
    super.attach(host, cache);
    this.decoded = cache;
    this.evaluator = new PlainEvaluator(this.memory, host);
  }

  /** Executes the instruction that the code cache has decoded for a single step. */
  override enterAt(head: number): void {
    const { memory, decoded } = this;
    // Heads of blocks take from the budget what they have.
    memory.set(State.budget, memory.get(State.budget) - 1);
    this.evaluator.execute(decoded.stepForm, decoded.instruction, memory.get(head + Op.taken));
  }
}
