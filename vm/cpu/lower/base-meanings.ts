/**
 * Functions of the base module that are written as instructions are, as meanings: SSE and x87 in their usual cases
 * (base-simd.ts, base-x87.ts), and the delivery of exceptions and interrupts (base-delivery.ts). Plain evaluation has them,
 * too.
 */
import { Builder, type Operand } from '../ir/builder.ts';
import type { Node, Template } from '../ir/node.ts';
import type { ValueType } from '../wasm/opcodes.ts';
import { BASE_FUNCTIONS, type BaseFunction } from './base.ts';
import { defineDelivery } from './base-delivery.ts';
import { defineSimd } from './base-simd.ts';
import { defineX87 } from './base-x87.ts';
import type { Code } from './code.ts';
import { type FunctionIndices, Lowering } from './lowering.ts';

/** Lowers templates to plain functions: register operands are the parameters. */
class FunctionLowering extends Lowering {
  static lower(template: Template, result: Node, functions: FunctionIndices, code: Code): void {
    const lowering = new FunctionLowering(code, functions);
    lowering.statements(template);
    lowering.value(result);
  }

  protected getOperand(index: number): void {
    this.code.get(index);
  }

  protected getVector(index: number): void {
    this.code.get(index);
  }

  private none(): never {
    throw new Error('a function of the base module has no instruction');
  }

  protected getGpr(): void {
    this.none();
  }
  protected setGpr(): void {
    this.none();
  }
  protected setOperand(): void {
    this.none();
  }
  protected operandAddress(): void {
    this.none();
  }
  protected setVector(): void {
    this.none();
  }
  protected immediate(): void {
    this.none();
  }
  protected effectiveAddress(): void {
    this.none();
  }
  protected segmented(): void {
    this.none();
  }
  protected nextRip(): void {
    this.none();
  }
  protected target(): void {
    this.none();
  }
  protected load(): void {
    this.none();
  }
  protected probe(): void {
    this.none();
  }
  protected store(): void {
    this.none();
  }
  protected setFlags(): void {
    this.none();
  }
  protected condition(): void {
    this.none();
  }
  protected flagBits(): void {
    this.none();
  }
  protected setFlagBits(): void {
    this.none();
  }
  protected setCarry(): void {
    this.none();
  }
  protected record(): void {
    this.none();
  }
  protected helper(): void {
    this.none();
  }
  protected spend(): void {
    this.none();
  }
  protected raise(): void {
    this.none();
  }
}

/** Such a function: its parameters are register operands. */
export interface FunctionMeaning {
  readonly template: Template;
  readonly result: Node;
}

export type DefineMeaning = (
  name: BaseFunction,
  meaning: (b: Builder, ...parameters: Node[]) => Node,
) => void;

/** All of them, recorded. */
export function functionMeanings(): ReadonlyMap<BaseFunction, FunctionMeaning> {
  const functions = new Map<BaseFunction, FunctionMeaning>();
  const define: DefineMeaning = (name, meaning) => {
    const b = new Builder({ repeat: 0, mode: 'long', size: 64, addressSize: 64 });
    const parameters = BASE_FUNCTIONS[name].params.map((type, index) => parameter(b, type, index));
    const result = meaning(b, ...parameters);
    functions.set(name, { template: b.template(), result });
  };
  defineX87(define);
  defineSimd(define);
  defineDelivery(define);
  return functions;
}

/** Lowers them to the base module. */
export function defineMeanings(
  define: (name: BaseFunction, emit: (code: Code) => void) => void,
  functions: FunctionIndices,
): void {
  for (const [name, { template, result }] of functionMeanings())
    define(name, (code) => FunctionLowering.lower(template, result, functions, code));
}

function parameter(b: Builder, type: ValueType, index: number): Node {
  const operand: Operand = {
    kind: type === 'v128' ? 'vector' : 'general',
    size: type === 'i64' ? 64 : 32,
    index,
  };
  return type === 'v128' ? b.vector(operand) : b.read(operand);
}
