/** What plain evaluation computes, against WebAssembly's own instructions: every operation that a template has. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { enumerateForms } from '../forms.ts';
import { Expr, type Node, type Statement } from '../ir/node.ts';
import '../isa/index.ts';
import { SCALAR_OPS, VECTOR_OPS } from '../simd/opcodes.ts';
import { functionBody, ModuleBuilder } from '../wasm/module.ts';
import { type ValueType, Wasm } from '../wasm/opcodes.ts';
import { functionMeanings } from './base-meanings.ts';
import { Code } from './code.ts';
import { double, SCALAR_OPERATIONS, single, type Value } from './plain-scalar.ts';
import { LANE_OPERATIONS, shuffle, VECTOR_OPERATIONS } from './plain-vector.ts';

/** Opcode of i8x16.shuffle. */
const SHUFFLE = 0xfd0d;

/** An operation as templates have it. */
interface Operation {
  readonly opcode: number;
  readonly operands: readonly ValueType[];
  readonly result: ValueType;
  /** Bytes after the opcode: a lane, or those of a shuffle. */
  readonly immediates: readonly number[];
}

function operationOf({ op, type, a, b, c, k, h, list }: Node): Operation | undefined {
  const operands = [a, b, c].flatMap((operand) => (operand === undefined ? [] : [operand.type]));
  if (op === Expr.shuffle)
    return { opcode: SHUFFLE, operands, result: type, immediates: list as readonly number[] };
  if (op === Expr.lane) return { opcode: h, operands, result: type, immediates: [k] };
  return op < Expr.const ? { opcode: op, operands, result: type, immediates: [] } : undefined;
}

/** All there are in the templates of all forms, and in those of the base module's functions. */
function operations(): Operation[] {
  const found = new Map<string, Operation>();
  const seen = new Set<Node>();
  const visit = (n: Node | undefined): void => {
    if (n === undefined || seen.has(n)) return;
    seen.add(n);
    const operation = operationOf(n);
    if (operation !== undefined) found.set(JSON.stringify(operation), operation);
    for (const operand of [n.a, n.b, n.c]) visit(operand);
    if (n.op === Expr.call) (n.list as readonly Node[]).forEach(visit);
  };
  const visitAll = (statements: readonly Statement[]): void => {
    for (const { a, b, c, d, whenTrue, otherwise } of statements) {
      for (const operand of [a, b, c, d]) visit(operand);
      visitAll(whenTrue ?? []);
      visitAll(otherwise ?? []);
    }
  };
  for (const { template } of enumerateForms()) {
    visitAll(template.statements);
    visit(template.value);
  }
  for (const { template, result } of functionMeanings().values()) {
    visitAll(template.statements);
    visit(result);
  }
  return [...found.values()];
}

const LOADS = {
  i32: Wasm.i32_load,
  i64: Wasm.i64_load,
  f32: Wasm.f32_load,
  f64: Wasm.f64_load,
  v128: Wasm.v128_load,
} as const;
const STORES = {
  i32: Wasm.i32_store,
  i64: Wasm.i64_store,
  f32: Wasm.f32_store,
  f64: Wasm.f64_store,
  v128: Wasm.v128_store,
} as const;
/** Where operands and results lie. */
const RESULT = 64;

/** A function for each operation that takes its operands from memory and leaves its result there. */
function compile(all: readonly Operation[], memory: WebAssembly.Memory): (() => void)[] {
  const module = new ModuleBuilder();
  module.importMemory('memory', 1);
  all.forEach(({ opcode, operands, result, immediates }, i) => {
    const code = new Code(0);
    code.i32(0);
    for (const [at, type] of operands.entries()) code.load(LOADS[type], 16 * at);
    code.op(opcode);
    for (const byte of immediates) code.bytes.u8(byte);
    code.memory(STORES[result], RESULT);
    const body = functionBody(code.locals, code.bytes.view(), code.hints);
    module.exportFunction(String(i), module.addFunction({ params: [], results: [] }, body));
  });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.build()), { cpu: { memory } });
  return all.map((_, i) => instance.exports[String(i)] as () => void);
}

function evaluate({ opcode, immediates }: Operation, operands: readonly Value[]): Value {
  if (opcode === SHUFFLE) return shuffle(operands[0]!, operands[1]!, immediates);
  const [lane] = immediates;
  if (lane !== undefined) return LANE_OPERATIONS.get(opcode)!(lane, operands[0]!, operands[1] ?? 0);
  return (SCALAR_OPERATIONS.get(opcode) ?? VECTOR_OPERATIONS.get(opcode))!(...operands);
}

const NAMES = new Map(
  [...Object.entries(SCALAR_OPS), ...Object.entries(VECTOR_OPS)].map(([name, { code }]) => [code, name]),
);

/** A value as it is compared: of floating-point numbers all NaNs are one, since WebAssembly leaves open which comes out. */
function comparable({ opcode, result }: Operation, value: Value): unknown {
  if (result === 'f32') return single(value as number);
  if (result === 'f64') return double(value as bigint);
  const shape = NAMES.get(opcode)?.slice(0, 3);
  if (result !== 'v128' || (shape !== 'f32' && shape !== 'f64')) return value;
  const { buffer } = value as Uint8Array<ArrayBuffer>;
  return shape === 'f32' ? new Float32Array(buffer) : new Float64Array(buffer);
}

/** Words that are extreme in some width. */
const EXTREMES = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, -1];
/** An i64 that is above the middle of two singles by less than a double can tell. */
const NEAR_MIDDLE = 0x4000_0040_0000_0001n;

const many = <T>(length: number, of: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.array(of, { minLength: length, maxLength: length });
/** 16 bytes: at random, of numbers, or of extremes. */
const operand = fc.oneof(
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  many(4, fc.float()).map((x) => new Uint8Array(Float32Array.from(x).buffer)),
  many(2, fc.double()).map((x) => new Uint8Array(Float64Array.from(x).buffer)),
  many(4, fc.constantFrom(...EXTREMES)).map((x) => new Uint8Array(Int32Array.from(x).buffer)),
  many(2, fc.constantFrom(NEAR_MIDDLE, -NEAR_MIDDLE)).map(
    (x) => new Uint8Array(BigInt64Array.from(x).buffer),
  ),
);

describe('plain evaluation', () => {
  const all = operations();

  it('knows every operation that templates have', () => {
    const unknown = all.filter(
      ({ opcode, immediates }) =>
        opcode !== SHUFFLE &&
        !(immediates.length > 0
          ? LANE_OPERATIONS.has(opcode)
          : SCALAR_OPERATIONS.has(opcode) || VECTOR_OPERATIONS.has(opcode)),
    );
    expect(unknown).toEqual([]);
  });

  it('computes what WebAssembly does', () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const bytes = new Uint8Array(memory.buffer);
    const view = new DataView(memory.buffer);
    const take = (type: ValueType, at: number): Value => {
      if (type === 'v128') return bytes.slice(at, at + 16);
      return type === 'i32' || type === 'f32' ? view.getInt32(at, true) : view.getBigUint64(at, true);
    };
    const functions = compile(all, memory);
    const check = (operation: Operation, run: () => void): void => {
      try {
        run();
      } catch {
        // Divisions that trap: meanings don't come to them.
        return;
      }
      const operands = operation.operands.map((type, i) => take(type, 16 * i));
      const name = `${NAMES.get(operation.opcode) ?? operation.opcode.toString(16)} ${operation.immediates.join()}`;
      const expected = comparable(operation, take(operation.result, RESULT));
      expect(comparable(operation, evaluate(operation, operands)), name).toEqual(expected);
    };
    fc.assert(
      fc.property(operand, operand, operand, (x, y, z) => {
        [x, y, z].forEach((part, i) => {
          bytes.set(part, 16 * i);
        });
        all.forEach((operation, i) => {
          check(operation, functions[i]!);
        });
      }),
      { numRuns: 100 },
    );
  });
});
