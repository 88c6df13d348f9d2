/**
 * SSE floating-point arithmetic and comparisons. SDM volume 1, 10.4.1, 11.4.1, 12.3 and 12.10.
 *
 * Each meaning does the work with WebAssembly's own instruction and then asks, by integer arithmetic on the
 * exponents, whether what came out is what the processor would give: rounding to nearest is in force, PE is
 * masked and already set, and no operand or result is a zero, denormal, infinity or NaN that needs a second
 * look. If so, neither flags nor NaNs are at stake. Otherwise the middle path of lower/base-simd.ts or
 * the exact one in TypeScript does the operation over again. See simd/operations.ts.
 */
import type { Builder } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { State } from '../layout.ts';
import { baseIndex } from '../lower/base.ts';
import type { ScalarOp, VectorOp } from '../simd/opcodes.ts';
import { FloatOp, request, Scratch } from '../simd/operations.ts';
import { Helper } from './helpers.ts';
import {
  abnormalLanes,
  abnormalResult,
  anyInexact,
  anyNegative,
  belowNormal,
  belowNormalLanes,
  exactly,
  FORMATS,
  lowBits,
  nearestInexact,
  resultVector,
  type Size,
  scalarBits,
  setLow,
  signs,
  toBits,
  toFloat,
  unusual,
  unusualLanes,
  when,
} from './sse-float-words.ts';
import { immediateMask } from './sse-shuffle.ts';
import { bits32, f, halves, imm8, lanesOf, pair, source, sse, v } from './sse-words.ts';
import { define, type Meaning } from './table.ts';

type Arithmetic = 'add' | 'sub' | 'mul' | 'div' | 'sqrt';

const scalar =
  (name: Arithmetic, size: Size): Meaning =>
  (b, to, from) => {
    sse(b);
    const y = scalarBits(b, size, from!);
    const old = b.vector(to!);
    const unary = name === 'sqrt';
    const x = unary ? y : lowBits(b, size, old);
    const op = `f${size}.${name}` as ScalarOp;
    const result = b.variable(unary ? f(b, op, toFloat(b, y)) : f(b, op, toFloat(b, x), toFloat(b, y)));
    const tests = [belowNormal(b, size, y), abnormalResult(b, size, toBits(b, result)), nearestInexact(b)];
    if (!unary) tests.push(belowNormal(b, size, x));
    b.if(anyNegative(b, tests), () => {
      const slow = b.call(
        baseIndex(size === 64 ? 'floatSlow64' : 'floatSlow32'),
        'i32',
        b.i32(FloatOp[name]),
        x,
        y,
      );
      b.if(slow, () => b.helper(Helper.simdFloat, request(FloatOp[name], size, 1)));
      b.assign(result, toFloat(b, b.field(Scratch.result, size === 64 ? 8 : 4)));
    });
    setLow(b, to!, old, result);
  };

/** MIN and MAX: the second operand, unless the first is beyond it. */
const scalarMinimum =
  (name: 'min' | 'max', size: Size): Meaning =>
  (b, to, from) => {
    sse(b);
    const y = scalarBits(b, size, from!);
    const old = b.vector(to!);
    const x = lowBits(b, size, old);
    const first = f(b, `f${size}.${name === 'min' ? 'lt' : 'gt'}`, toFloat(b, x), toFloat(b, y));
    const result = b.variable(b.select(first, x, y));
    b.if(anyNegative(b, [unusual(b, size, x), unusual(b, size, y)]), () => {
      exactly(b, FloatOp[name], size, 1, y, x);
      b.assign(result, b.field(Scratch.result, size === 64 ? 8 : 4));
    });
    setLow(b, to!, old, toFloat(b, result));
  };

/** COMIS and UCOMIS: ZF, PF and CF tell the order, the other flags are cleared. */
const compareOrder =
  (op: typeof FloatOp.ordered | typeof FloatOp.unordered, size: Size): Meaning =>
  (b, first, second) => {
    sse(b);
    const y = scalarBits(b, size, second!);
    const x = lowBits(b, size, b.vector(first!));
    const less = f(b, `f${size}.lt`, toFloat(b, x), toFloat(b, y));
    const equal = f(b, `f${size}.eq`, toFloat(b, x), toFloat(b, y));
    const flags = b.variable(b.or(less, b.shl(equal, b.i32(6))));
    b.if(anyNegative(b, [unusual(b, size, x), unusual(b, size, y)]), () => {
      exactly(b, op, size, 1, y, x);
      b.assign(flags, b.field(Scratch.result, 4));
    });
    b.setFlagBits(flags);
  };

// Packed

function packedSlow(b: Builder, op: FloatOp, size: Size, x: Node, y: Node, result: Node): void {
  const slow = b.call(
    baseIndex(size === 64 ? 'floatSlowPacked64' : 'floatSlowPacked32'),
    'i32',
    b.i32(op),
    x,
    y,
  );
  b.if(slow, () => b.helper(Helper.simdFloat, request(op, size, 128 / size)));
  b.assign(result, resultVector(b));
}

/** The arithmetic of all lanes; `negate` is what turns additions of ADDSUB into subtractions. */
function arithmetic(
  b: Builder,
  op: FloatOp,
  name: Arithmetic,
  size: Size,
  x: Node,
  y: Node,
  negate?: Node,
): Node {
  const unary = name === 'sqrt';
  const instruction = `${size === 64 ? 'f64x2' : 'f32x4'}.${name}` as VectorOp;
  const second = negate === undefined ? y : v(b, 'v128.xor', y, negate);
  const result = b.variable(unary ? v(b, instruction, y) : v(b, instruction, x, second));
  let tests = v(b, 'v128.or', belowNormalLanes(b, size, y), abnormalLanes(b, size, result));
  if (!unary) tests = v(b, 'v128.or', tests, belowNormalLanes(b, size, x));
  b.if(b.or(signs(b, size, tests), nearestInexact(b)), () => packedSlow(b, op, size, x, y, result));
  return result;
}

const packed =
  (name: Arithmetic, size: Size): Meaning =>
  (b, to, from) => {
    sse(b);
    const y = source(b, from!);
    b.setVector(to!, arithmetic(b, FloatOp[name], name, size, name === 'sqrt' ? y : b.vector(to!), y));
  };

/** HADD, HSUB: even lanes of both operands with odd ones. */
const horizontal =
  (name: 'add' | 'sub', size: Size): Meaning =>
  (b, to, from) => {
    sse(b);
    const y = source(b, from!);
    const x = b.vector(to!);
    const bytes = size / 8;
    const evens = lanesOf(bytes, size === 64 ? [0, 2] : [0, 2, 4, 6]);
    const odds = lanesOf(bytes, size === 64 ? [1, 3] : [1, 3, 5, 7]);
    b.setVector(
      to!,
      arithmetic(b, FloatOp[name], name, size, b.let(b.shuffle(x, y, evens)), b.let(b.shuffle(x, y, odds))),
    );
  };

const addsub =
  (size: Size): Meaning =>
  (b, to, from) => {
    sse(b);
    const y = source(b, from!);
    const evenSigns =
      size === 64 ? pair(b, b.const(64, 0, 0x8000_0000 | 0), b.const(64, 0)) : halves(b, 0x8000_0000 | 0, 0);
    b.setVector(to!, arithmetic(b, FloatOp.addsub, 'add', size, b.vector(to!), y, evenSigns));
  };

/** Whether any lane of two operands is a denormal or a NaN. */
const anyUnusual = (b: Builder, size: Size, x: Node, y: Node): Node =>
  signs(b, size, v(b, 'v128.or', unusualLanes(b, size, x), unusualLanes(b, size, y)));

const packedMinimum =
  (name: 'min' | 'max', size: Size): Meaning =>
  (b, to, from) => {
    sse(b);
    const y = source(b, from!);
    const x = b.vector(to!);
    // WebAssembly's pseudo-minimum gives its first operand when in doubt.
    const result = b.variable(v(b, `${size === 64 ? 'f64x2' : 'f32x4'}.p${name}`, y, x));
    b.if(anyUnusual(b, size, x, y), () => {
      exactly(b, FloatOp[name], size, 128 / size, y, x);
      b.assign(result, resultVector(b));
    });
    b.setVector(to!, result);
  };

/**
 * The outcome of CMPPS and kin for operands that are no NaNs, by the two lower bits of the predicate: equal, less,
 * less or equal; 3 asks for NaNs.
 */
function comparison(
  b: Builder,
  predicate: Node,
  compare: (name: 'eq' | 'lt' | 'le') => Node,
  never: Node,
): Node {
  const kind = b.and(predicate, b.i32(3));
  const result = b.variable(compare('eq'));
  b.if(b.eq(kind, b.i32(1)), () => b.assign(result, compare('lt')));
  b.if(b.eq(kind, b.i32(2)), () => b.assign(result, compare('le')));
  b.if(b.eq(kind, b.i32(3)), () => b.assign(result, never));
  return result;
}

const comparePacked =
  (size: Size): Meaning =>
  (b, to, from, n) => {
    sse(b);
    const y = source(b, from!);
    const x = b.vector(to!);
    const predicate = imm8(b, n!);
    const shape = size === 64 ? 'f64x2' : 'f32x4';
    const result = comparison(b, predicate, (name) => v(b, `${shape}.${name}`, x, y), halves(b, 0, 0));
    b.if(b.and(predicate, b.i32(4)), () => b.assign(result, v(b, 'v128.not', result)));
    b.if(anyUnusual(b, size, x, y), () => {
      exactly(b, FloatOp.compare, size, 128 / size, y, x, predicate);
      b.assign(result, resultVector(b));
    });
    b.setVector(to!, result);
  };
const compareScalar =
  (size: Size): Meaning =>
  (b, to, from, n) => {
    sse(b);
    const y = scalarBits(b, size, from!);
    const old = b.vector(to!);
    const x = lowBits(b, size, old);
    const predicate = imm8(b, n!);
    const holds = comparison(
      b,
      predicate,
      (name) => f(b, `f${size}.${name}`, toFloat(b, x), toFloat(b, y)),
      b.i32(0),
    );
    const inverted = b.and(b.shrU(predicate, b.i32(2)), b.i32(1));
    const result = b.variable(b.neg(b.resize(size, b.xor(holds, inverted))));
    b.if(anyNegative(b, [unusual(b, size, x), unusual(b, size, y)]), () => {
      exactly(b, FloatOp.compare, size, 1, y, x, predicate);
      b.assign(result, b.field(Scratch.result, size === 64 ? 8 : 4));
    });
    setLow(b, to!, old, toFloat(b, result));
  };

// Approximations

/**
 * RCP and RSQRT raise no flags and treat denormals as zeros. How far the result is off differs by processor
 * (at most 1.5 × 2⁻¹²); here it is rounded to 12 bits of fraction.
 */
function approximate(b: Builder, kind: 'rcp' | 'rsqrt', y: Node): Node {
  const splat = (bits: number): Node => halves(b, bits, bits);
  const hasExponent = (x: Node): Node =>
    v(b, 'i32x4.gt_s', v(b, 'v128.and', x, splat(0x7f80_0000)), splat(0));
  /** Zero with the same sign, for denormals. */
  const flushed = (x: Node): Node =>
    v(b, 'v128.and', x, v(b, 'v128.or', hasExponent(x), splat(0x8000_0000 | 0)));
  const one = splat(0x3f80_0000);
  const x = b.let(flushed(y));
  const root = kind === 'rcp' ? x : b.let(v(b, 'f32x4.sqrt', x));
  const raw = b.let(flushed(b.let(v(b, 'f32x4.div', one, root))));
  const finite = v(b, 'i32x4.lt_s', v(b, 'v128.and', raw, splat(0x7f80_0000)), splat(0x7f80_0000));
  const rounding = v(b, 'v128.and', finite, splat(0x400));
  const result = v(b, 'v128.and', v(b, 'i32x4.add', raw, rounding), splat(~0x7ff));
  const nan = v(b, 'f32x4.ne', x, x);
  const quieted = v(b, 'v128.bitselect', v(b, 'v128.or', x, splat(0x0040_0000)), result, nan);
  if (kind === 'rcp') return quieted;
  const negative = v(b, 'f32x4.lt', x, splat(0));
  return v(b, 'v128.bitselect', splat(0xffc0_0000 | 0), quieted, negative);
}

const approximatePacked =
  (kind: 'rcp' | 'rsqrt'): Meaning =>
  (b, to, from) => {
    sse(b);
    b.setVector(to!, approximate(b, kind, source(b, from!)));
  };
const approximateScalar =
  (kind: 'rcp' | 'rsqrt'): Meaning =>
  (b, to, from) => {
    sse(b);
    const y = b.let(v(b, 'i32x4.splat', bits32(b, from!)));
    b.setVector(to!, b.shuffle(b.vector(to!), approximate(b, kind, y), lanesOf(4, [4, 1, 2, 3])));
  };

// Rounding to integral values

/** ROUNDSS, ROUNDSD, ROUNDPS, ROUNDPD: the direction is the immediate's or MXCSR's. */
const round =
  (size: Size, isPacked: boolean): Meaning =>
  (b, to, from, n) => {
    sse(b);
    const shape = size === 64 ? 'f64x2' : 'f32x4';
    const y = isPacked
      ? source(b, from!)
      : b.let(v(b, size === 64 ? 'i64x2.splat' : 'i32x4.splat', scalarBits(b, size, from!)));
    const control = imm8(b, n!);
    const result = b.variable(v(b, `${shape}.nearest`, y));
    const inDirection = (direction: Node): void => {
      for (const [number, name] of [
        [1, 'floor'],
        [2, 'ceil'],
        [3, 'trunc'],
      ] as const) {
        b.if(b.eq(direction, b.i32(number)), () => b.assign(result, v(b, `${shape}.${name}`, y)));
      }
    };
    b.if(
      b.and(control, b.i32(4)),
      () => inDirection(b.let(b.and(b.shrU(b.field(State.mxcsr, 4), b.i32(13)), b.i32(3)))),
      () => inDirection(b.and(control, b.i32(3))),
    );
    // Inexact results leave a trace unless bit 3 of the immediate is set.
    const changed = v(b, `${shape}.ne`, y, result);
    const traced = b.select(b.and(control, b.i32(8)), b.i32(0), anyInexact(b));
    const tests = b.or(signs(b, size, unusualLanes(b, size, y)), when(b, signs(b, size, changed), traced));
    b.if(tests, () => {
      exactly(b, FloatOp.round, size, isPacked ? 128 / size : 1, y, undefined, control);
      b.assign(result, resultVector(b));
    });
    b.setVector(
      to!,
      isPacked
        ? result
        : b.shuffle(b.vector(to!), result, size === 64 ? lanesOf(8, [2, 1]) : lanesOf(4, [4, 1, 2, 3])),
    );
  };

/** DPPS, DPPD: products of the lanes that bits 4 to 7 select, added up in pairs; bits 0 to 3 say where the sum goes. */
const dotProduct =
  (size: Size): Meaning =>
  (b, to, from, n) => {
    sse(b);
    const y = source(b, from!);
    const x = b.vector(to!);
    const control = imm8(b, n!);
    const shape = size === 64 ? 'f64x2' : 'f32x4';
    const selected = b.let(immediateMask(b, size, b.shrU(control, b.i32(4))));
    const products = b.let(v(b, `${shape}.mul`, x, y));
    const operands = v(b, 'v128.or', belowNormalLanes(b, size, x), belowNormalLanes(b, size, y));
    let tests = v(b, 'v128.and', v(b, 'v128.or', operands, abnormalLanes(b, size, products)), selected);
    let sum = b.let(v(b, 'v128.and', products, selected));
    for (const lanes of size === 64 ? [lanesOf(8, [1, 0])] : [lanesOf(4, [1, 0, 3, 2]), lanesOf(8, [1, 0])]) {
      sum = b.let(v(b, `${shape}.add`, sum, b.shuffle(sum, sum, lanes)));
      tests = v(b, 'v128.or', tests, abnormalLanes(b, size, sum));
    }
    const result = b.variable(v(b, 'v128.and', sum, immediateMask(b, size, control)));
    b.if(b.or(signs(b, size, tests), nearestInexact(b)), () => {
      exactly(b, FloatOp.dot, size, 128 / size, y, x, control);
      b.assign(result, resultVector(b));
    });
    b.setVector(to!, result);
  };

for (const { size, packed: opcode, ps, scalar: scalarOpcode, ss, operand } of FORMATS) {
  const wide = size === 64;
  for (const [byte, name] of [
    ['51', 'sqrt'],
    ['58', 'add'],
    ['59', 'mul'],
    ['5c', 'sub'],
    ['5e', 'div'],
  ] as const) {
    define(`${opcode} ${byte}`, name.toUpperCase() + ps, 'Vx Wx', packed(name, size));
    define(`${scalarOpcode} ${byte}`, name.toUpperCase() + ss, `Vx ${operand}`, scalar(name, size));
  }
  for (const [byte, name] of [
    ['5d', 'min'],
    ['5f', 'max'],
  ] as const) {
    define(`${opcode} ${byte}`, name.toUpperCase() + ps, 'Vx Wx', packedMinimum(name, size));
    define(`${scalarOpcode} ${byte}`, name.toUpperCase() + ss, `Vx ${operand}`, scalarMinimum(name, size));
  }
  define(`${opcode} 2e`, `UCOMI${ss}`, `Vx ${operand}`, compareOrder(FloatOp.unordered, size));
  define(`${opcode} 2f`, `COMI${ss}`, `Vx ${operand}`, compareOrder(FloatOp.ordered, size));
  define(`${opcode} c2`, `CMP${ps}`, 'Vx Wx Ib', comparePacked(size));
  define(`${scalarOpcode} c2`, `CMP${ss}`, `Vx ${operand} Ib`, compareScalar(size));
  const prefix = wide ? '66' : 'f2';
  define(`${prefix} 0f 7c`, `HADD${ps}`, 'Vx Wx', horizontal('add', size));
  define(`${prefix} 0f 7d`, `HSUB${ps}`, 'Vx Wx', horizontal('sub', size));
  define(`${prefix} 0f d0`, `ADDSUB${ps}`, 'Vx Wx', addsub(size));
  define(`66 0f 3a ${wide ? '09' : '08'}`, `ROUND${ps}`, 'Vx Wx Ib', round(size, true));
  define(`66 0f 3a ${wide ? '0b' : '0a'}`, `ROUND${ss}`, `Vx ${operand} Ib`, round(size, false));
  define(`66 0f 3a ${wide ? '41' : '40'}`, `DP${ps}`, 'Vx Wx Ib', dotProduct(size));
}
define('0f 52', 'RSQRTPS', 'Vx Wx', approximatePacked('rsqrt'));
define('f3 0f 52', 'RSQRTSS', 'Vx Wd', approximateScalar('rsqrt'));
define('0f 53', 'RCPPS', 'Vx Wx', approximatePacked('rcp'));
define('f3 0f 53', 'RCPSS', 'Vx Wd', approximateScalar('rcp'));
