/**
 * WebAssembly opcodes by their names in the specification (section 5.4), and what type they give.
 * Numbers from 0xfd00 on are the vector instructions (prefix 0xfd), from 0xfc00 on those of prefix 0xfc.
 */

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

export const VALUE_TYPE_CODES: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
};

/** Control, variable and memory instructions, which the lowerings emit by hand. */
export const Wasm = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  br_if: 0x0d,
  br_table: 0x0e,
  return: 0x0f,
  call: 0x10,
  call_indirect: 0x11,
  return_call: 0x12,
  return_call_indirect: 0x13,
  drop: 0x1a,
  select: 0x1b,
  memory_copy: 0xfc0a,
  memory_fill: 0xfc0b,
  local_get: 0x20,
  local_set: 0x21,
  local_tee: 0x22,
  i32_load: 0x28,
  i64_load: 0x29,
  f32_load: 0x2a,
  f64_load: 0x2b,
  i32_load8_s: 0x2c,
  i32_load8_u: 0x2d,
  i32_load16_s: 0x2e,
  i32_load16_u: 0x2f,
  i64_load32_u: 0x35,
  i32_store: 0x36,
  i64_store: 0x37,
  f32_store: 0x38,
  f64_store: 0x39,
  i32_store8: 0x3a,
  i32_store16: 0x3b,
  i64_store32: 0x3e,
  i32_const: 0x41,
  i64_const: 0x42,
  f64_const: 0x44,
  /** Block type: no result. */
  void: 0x40,
  v128_load: 0xfd00,
  v128_store: 0xfd0b,
  v128_const: 0xfd0c,
  i32x4_splat: 0xfd11,
} as const;

/**
 * Pure instructions: opcode, result type and operand types. The builder's methods and the evaluator are
 * made from the same names.
 */
const PURE = {
  // prettier-ignore
  i32: 'eqz:45:i eq:46 ne:47 lt_s:48 lt_u:49 gt_s:4a gt_u:4b le_s:4c le_u:4d ge_s:4e ge_u:4f clz:67 ctz:68 popcnt:69 add:6a sub:6b mul:6c div_s:6d div_u:6e rem_s:6f rem_u:70 and:71 or:72 xor:73 shl:74 shr_s:75 shr_u:76 rotl:77 rotr:78 extend8_s:c0 extend16_s:c1',
  i64: 'clz:79 ctz:7a popcnt:7b add:7c sub:7d mul:7e div_s:7f div_u:80 rem_s:81 rem_u:82 and:83 or:84 xor:85 shl:86 shr_s:87 shr_u:88 rotl:89 rotr:8a extend8_s:c2 extend16_s:c3 extend32_s:c4',
} as const;

/** i64 comparisons give an i32. */
const COMPARE64 = 'eqz:50 eq:51 ne:52 lt_s:53 lt_u:54 gt_s:55 gt_u:56 le_s:57 le_u:58 ge_s:59 ge_u:5a';

function parse(text: string): Record<string, number> {
  return Object.fromEntries(
    text.split(' ').map((entry) => {
      const [name, code] = entry.split(':') as [string, string];
      return [name, Number.parseInt(code, 16)];
    }),
  );
}

/** Names of arithmetic instructions that both integer types have. */
export type IntegerOp =
  | 'clz'
  | 'ctz'
  | 'popcnt'
  | 'add'
  | 'sub'
  | 'mul'
  | 'div_s'
  | 'div_u'
  | 'rem_s'
  | 'rem_u'
  | 'and'
  | 'or'
  | 'xor'
  | 'shl'
  | 'shr_s'
  | 'shr_u'
  | 'rotl'
  | 'rotr'
  | 'extend8_s'
  | 'extend16_s';
export type CompareOp =
  | 'eqz'
  | 'eq'
  | 'ne'
  | 'lt_s'
  | 'lt_u'
  | 'gt_s'
  | 'gt_u'
  | 'le_s'
  | 'le_u'
  | 'ge_s'
  | 'ge_u';

export const I32 = parse(PURE.i32) as Readonly<Record<IntegerOp | CompareOp, number>>;
export const I64 = { ...parse(PURE.i64), ...parse(COMPARE64) } as Readonly<
  Record<IntegerOp | CompareOp | 'extend32_s', number>
>;

/** Conversions between the types. */
export const Convert = {
  i32_wrap_i64: 0xa7,
  i64_extend_i32_s: 0xac,
  i64_extend_i32_u: 0xad,
  f32_demote_f64: 0xb6,
  f64_promote_f32: 0xbb,
  i32_reinterpret_f32: 0xbc,
  i64_reinterpret_f64: 0xbd,
  f32_reinterpret_i32: 0xbe,
  f64_reinterpret_i64: 0xbf,
} as const;
