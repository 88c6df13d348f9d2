/**
 * What is known of a meaning's values when an instruction is compiled: its immediate, and what follows from it.
 */
import { slotAddress } from '../code-cache.ts';
import type { Instruction } from '../decode.ts';
import type { Form } from '../forms.ts';
import { Expr, type Node, type Statement, Stmt, type Template } from '../ir/node.ts';
import { Convert, I32, I64 } from '../wasm/opcodes.ts';

/** Values of the temporaries that are assigned but once; undefined for others. */
const assigned = new WeakMap<Template, readonly (Node | undefined)[]>();

function valuesOf(template: Template): readonly (Node | undefined)[] {
  const known = assigned.get(template);
  if (known !== undefined) return known;
  const values = new Array<Node | undefined>(template.temps.length).fill(undefined);
  const seen = new Set<number>();
  const list = (statements: readonly Statement[]): void => {
    for (const { op, k, a, whenTrue, otherwise } of statements) {
      if (op === Stmt.let) {
        values[k] = seen.has(k) ? undefined : a;
        seen.add(k);
      }
      if (whenTrue !== undefined) list(whenTrue);
      if (otherwise !== undefined) list(otherwise);
    }
  };
  list(template.statements);
  assigned.set(template, values);
  return values;
}

/** @returns the value as a signed number of 32 bits, or undefined if it isn't known or is none */
export function constantOf(n: Node, instruction: Instruction, form: Form): number | undefined {
  const of = (node: Node): number | undefined => constantOf(node, instruction, form);
  const fold = (compute: (a: number, b: number) => number): number | undefined => {
    const a = of(n.a!);
    const b = a === undefined ? undefined : of(n.b!);
    return b === undefined ? undefined : compute(a!, b);
  };
  switch (n.op) {
    case Expr.const:
      return n.type === 'i32' || n.h === n.k >> 31 ? n.k : undefined;
    case Expr.immediate:
      return n.type === 'i32' || instruction.immediateHigh === instruction.immediateLow >> 31
        ? instruction.immediateLow
        : undefined;
    case Expr.temp: {
      const value = valuesOf(form.template)[n.k];
      return value === undefined ? undefined : of(value);
    }
    case Expr.operandAddress:
      return slotAddress(form.slots[n.k]!, instruction.registers[n.k]!);
    case I32.and:
    case I64.and:
      return fold((a, b) => a & b);
    case I32.ne:
    case I64.ne:
      return fold((a, b) => (a !== b ? 1 : 0));
    case I32.eq:
    case I64.eq:
      return fold((a, b) => (a === b ? 1 : 0));
    case Convert.i64_extend_i32_u: {
      const value = of(n.a!);
      return value !== undefined && value >= 0 ? value : undefined;
    }
    case Convert.i32_wrap_i64:
      return of(n.a!);
    case I32.eqz:
    case I64.eqz: {
      const value = of(n.a!);
      return value === undefined ? undefined : value === 0 ? 1 : 0;
    }
    default:
      return undefined;
  }
}
