/**
 * WebAssembly's vector instructions by name, and the scalar floating-point ones that SSE is lowered to.
 * WebAssembly Core Specification 2.0, section 5.4. Numbers are as in ../wasm/opcodes.ts: prefix, then opcode.
 */
import type { ValueType } from '../wasm/opcodes.ts';

const VECTOR = [
  'v128: not:4d and:4e andnot:4f or:50 xor:51 bitselect:52 any_true:53',
  'i8x16: swizzle:0e splat:0f extract_lane_s:15 extract_lane_u:16 replace_lane:17 eq:23 ne:24 lt_s:25 lt_u:26 gt_s:27 gt_u:28 le_s:29 le_u:2a ge_s:2b ge_u:2c abs:60 neg:61 bitmask:64 narrow_i16x8_s:65 narrow_i16x8_u:66 shl:6b shr_s:6c shr_u:6d add:6e add_sat_s:6f add_sat_u:70 sub:71 sub_sat_s:72 sub_sat_u:73 min_s:76 min_u:77 max_s:78 max_u:79 avgr_u:7b',
  'i16x8: splat:10 extract_lane_s:18 extract_lane_u:19 replace_lane:1a eq:2d ne:2e lt_s:2f lt_u:30 gt_s:31 gt_u:32 extadd_pairwise_i8x16_u:7d abs:80 neg:81 q15mulr_sat_s:82 bitmask:84 narrow_i32x4_s:85 narrow_i32x4_u:86 extend_low_i8x16_s:87 extend_low_i8x16_u:89 shl:8b shr_s:8c shr_u:8d add:8e add_sat_s:8f add_sat_u:90 sub:91 sub_sat_s:92 sub_sat_u:93 mul:95 min_s:96 min_u:97 max_s:98 max_u:99 avgr_u:9b',
  'i32x4: splat:11 extract_lane:1b replace_lane:1c eq:37 ne:38 lt_s:39 lt_u:3a gt_s:3b gt_u:3c extadd_pairwise_i16x8_u:7f abs:a0 neg:a1 bitmask:a4 extend_low_i16x8_s:a7 extend_low_i16x8_u:a9 extend_high_i16x8_u:aa shl:ab shr_s:ac shr_u:ad add:ae sub:b1 mul:b5 min_s:b6 min_u:b7 max_s:b8 max_u:b9 dot_i16x8_s:ba extmul_low_i16x8_s:bc extmul_high_i16x8_s:bd extmul_low_i16x8_u:be extmul_high_i16x8_u:bf trunc_sat_f32x4_s:f8 trunc_sat_f64x2_s_zero:fc',
  'i64x2: splat:12 extract_lane:1d replace_lane:1e bitmask:c4 extend_low_i32x4_s:c7 extend_low_i32x4_u:c9 shl:cb shr_s:cc shr_u:cd add:ce sub:d1 eq:d6 ne:d7 lt_s:d8 gt_s:d9 extmul_low_i32x4_s:dc extmul_low_i32x4_u:de',
  'f32x4: splat:13 extract_lane:1f replace_lane:20 eq:41 ne:42 lt:43 gt:44 le:45 ge:46 demote_f64x2_zero:5e ceil:67 floor:68 trunc:69 nearest:6a abs:e0 neg:e1 sqrt:e3 add:e4 sub:e5 mul:e6 div:e7 pmin:ea pmax:eb convert_i32x4_s:fa',
  'f64x2: splat:14 extract_lane:21 replace_lane:22 eq:47 ne:48 lt:49 gt:4a le:4b ge:4c promote_low_f32x4:5f ceil:74 floor:75 trunc:7a nearest:94 abs:ec neg:ed sqrt:ef add:f0 sub:f1 mul:f2 div:f3 pmin:f6 pmax:f7 convert_low_i32x4_s:fe',
] as const;

type Entry<Line extends string> = Line extends `${infer Shape}: ${infer Rest}` ? Names<Shape, Rest> : never;
type Names<Shape extends string, Rest extends string> = Rest extends `${infer Name}:${string} ${infer More}`
  ? `${Shape}.${Name}` | Names<Shape, More>
  : Rest extends `${infer Name}:${string}`
    ? `${Shape}.${Name}`
    : never;

/** A vector instruction's name: `i8x16.add`. */
export type VectorOp = Entry<(typeof VECTOR)[number]>;

/** Opcode and result type of each vector instruction. */
export const VECTOR_OPS: Readonly<Record<VectorOp, { readonly code: number; readonly type: ValueType }>> =
  Object.fromEntries(
    VECTOR.flatMap((line) => {
      const [shape, rest] = line.split(': ') as [string, string];
      return rest.split(' ').map((entry) => {
        const [name, code] = entry.split(':') as [string, string];
        return [
          `${shape}.${name}`,
          { code: 0xfd00 + Number.parseInt(code, 16), type: resultType(shape, name) },
        ];
      });
    }),
  ) as Record<VectorOp, { code: number; type: ValueType }>;

function resultType(shape: string, name: string): ValueType {
  if (name === 'bitmask' || name === 'any_true') return 'i32';
  if (!name.startsWith('extract')) return 'v128';
  if (shape === 'i64x2') return 'i64';
  return shape === 'f32x4' ? 'f32' : shape === 'f64x2' ? 'f64' : 'i32';
}

const SCALAR =
  'f32.eq:5b f32.lt:5d f32.gt:5e f32.le:5f f32.ge:60 f64.eq:61 f64.ne:62 f64.lt:63 f64.gt:64 f64.le:65 f64.ge:66 f32.abs:8b f32.neg:8c f32.ceil:8d f32.floor:8e f32.trunc:8f f32.nearest:90 f32.sqrt:91 f32.add:92 f32.sub:93 f32.mul:94 f32.div:95 f64.abs:99 f64.neg:9a f64.ceil:9b f64.floor:9c f64.trunc:9d f64.nearest:9e f64.sqrt:9f f64.add:a0 f64.sub:a1 f64.mul:a2 f64.div:a3 f32.ne:5c f32.convert_i32_s:b2 f32.convert_i64_s:b4 f32.demote_f64:b6 f64.convert_i32_s:b7 f64.convert_i64_s:b9 f64.promote_f32:bb i32.reinterpret_f32:bc i64.reinterpret_f64:bd f32.reinterpret_i32:be f64.reinterpret_i64:bf i32.trunc_sat_f32_s:fc00 i32.trunc_sat_f64_s:fc02 i64.trunc_sat_f32_s:fc04 i64.trunc_sat_f64_s:fc06';

type ScalarNames<Rest extends string> = Rest extends `${infer Name}:${string} ${infer More}`
  ? Name | ScalarNames<More>
  : Rest extends `${infer Name}:${string}`
    ? Name
    : never;
/** A scalar floating-point instruction's name: `f64.add`. */
export type ScalarOp = ScalarNames<typeof SCALAR>;

/** Opcode and result type of each scalar floating-point instruction. */
export const SCALAR_OPS: Readonly<Record<ScalarOp, { readonly code: number; readonly type: ValueType }>> =
  Object.fromEntries(
    SCALAR.split(' ').map((entry) => {
      const [name, code] = entry.split(':') as [string, string];
      const isComparison = /\.(eq|ne|lt|gt|le|ge)$/.test(name);
      return [name, { code: Number.parseInt(code, 16), type: isComparison ? 'i32' : name.slice(0, 3) }];
    }),
  ) as Record<ScalarOp, { code: number; type: ValueType }>;
