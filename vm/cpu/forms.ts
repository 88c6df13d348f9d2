/**
 * Forms: an entry of the instruction table with everything settled that changes its meaning's shape
 * (operand and address size, register or memory, kind of mode). A form's template is recorded once.
 */
import type { Instruction } from './decode.ts';
import { Builder, type ModeClass, type Operand, type Size } from './ir/builder.ts';
import type { Template } from './ir/node.ts';
import { ENTRIES, type Entry } from './isa/index.ts';
import { EntryBit } from './isa/table.ts';
import { ModeBit, Seg } from './layout.ts';

export interface Form {
  /** The same number for the same form in every process. */
  readonly key: number;
  readonly entry: Entry;
  readonly template: Template;
  readonly mode: ModeClass;
  readonly size: Size;
  readonly addressSize: 16 | 32 | 64;
  /** Kinds of the register operands, by slot. */
  readonly slots: readonly ('general8' | 'general' | 'vector' | 'mmx' | 'x87')[];
  /** Index of the handler in the function table; 0 until there is one. */
  handler: number;
}

export function modeClass(mode: number): ModeClass {
  return (mode & ModeBit.codeSize) === 2 ? 'long' : mode & ModeBit.flat ? 'flat' : 'segmented';
}

function modeNumber(mode: ModeClass): number {
  return mode === 'long' ? 2 : mode === 'flat' ? 1 : 0;
}

const cache = new Map<number, Form>();

/** The form of a decoded instruction. Entries that can't be recorded are programming errors and throw. */
export function formOf(instruction: Instruction, mode: number): Form {
  const { entry, size, addressSize, isMemory, repeat, special } = instruction;
  const kind = modeClass(mode);
  // FS and GS are flat only in address spaces that say so, and CS can't be written.
  const { segment } = instruction;
  const segmentedOperand =
    kind === 'flat' &&
    (segment === Seg.cs ||
      (segment >= Seg.fs && !(mode & (segment === Seg.fs ? ModeBit.flatFs : ModeBit.flatGs))));
  const effective: ModeClass = segmentedOperand ? 'segmented' : kind;
  const key = keyOf(
    entry,
    size,
    addressSize,
    isMemory,
    effective,
    repeat,
    (entry.bits & EntryBit.special) !== 0 ? special : 0,
  );
  const found = cache.get(key);
  if (found !== undefined) return found;
  const form = record(key, entry, { mode: effective, size, addressSize, repeat }, isMemory, special);
  cache.set(key, form);
  return form;
}

function keyOf(
  entry: Entry,
  size: number,
  addressSize: number,
  isMemory: boolean,
  mode: ModeClass,
  repeat: number,
  special: number,
): number {
  let key = entry.id;
  // 8, 16, 32, 64: 0 to 3.
  key = key * 4 + (28 - Math.clz32(size));
  key = key * 3 + (addressSize >> 5);
  key = key * 2 + (isMemory ? 1 : 0);
  key = key * 3 + modeNumber(mode);
  key = key * 3 + (repeat === 0 ? 0 : repeat - 0xf1);
  return key * 16 + special;
}

/** Every form that decoding can come to. */
export function* enumerateForms(): Generator<Form, void> {
  for (const entry of ENTRIES) {
    const { attributes, operands } = entry;
    const codes = operands.map((code) => code[0]);
    const canBeMemory = attributes.registerOnly
      ? [false]
      : codes.some((c) => c === 'O' || c === 'M') || attributes.memoryOnly
        ? [true]
        : codes.some((c) => c === 'E' || c === 'W' || c === 'Q')
          ? [false, true]
          : [false];
    const isString = /^(MOVS|CMPS|STOS|LODS|SCAS|INS|OUTS)B?$/.test(entry.name) && operands.length === 0;
    const specials = entry.bits & EntryBit.special ? Array.from({ length: 16 }, (_, i) => i) : [0];
    for (const mode of ['segmented', 'flat', 'long'] as const) {
      if (mode === 'long' ? attributes.not64 : attributes.only64) continue;
      const sizes: Size[] =
        mode !== 'long'
          ? [16, 32]
          : attributes.force64
            ? [64]
            : attributes.default64
              ? [16, 64]
              : [16, 32, 64];
      const addressSizes = mode === 'long' ? ([64, 32] as const) : ([32, 16] as const);
      for (const size of sizes) {
        for (const addressSize of addressSizes) {
          for (const isMemory of canBeMemory) {
            for (const repeat of isString ? [0, 0xf3, 0xf2] : [0]) {
              for (const special of specials) {
                yield record(
                  keyOf(entry, size, addressSize, isMemory, mode, repeat, special),
                  entry,
                  { mode, size, addressSize, repeat },
                  isMemory,
                  special,
                );
              }
            }
          }
        }
      }
    }
  }
}

function record(
  key: number,
  entry: Entry,
  context: { mode: ModeClass; size: Size; addressSize: 16 | 32 | 64; repeat: number },
  isMemory: boolean,
  special: number,
): Form {
  const slots: Form['slots'][number][] = [];
  const builder = new Builder(context);
  const operands = entry.operands
    .filter((code) => code !== 'Ib2' && code[0] !== 'J' && code !== 'Ap')
    .map((code): Operand => {
      const size = operandSize(code, context.size);
      const register = (kind: Operand['kind'], slot: (typeof slots)[number]): Operand => ({
        kind,
        size,
        index: slots.push(slot) - 1,
      });
      const general = (): Operand => register('general', size === 8 ? 'general8' : 'general');
      switch (code) {
        case 'AL':
          return { kind: 'fixed', size: 8, index: 0 };
        case 'CL':
          return { kind: 'fixed', size: 8, index: 1 };
        case 'DX':
          return { kind: 'fixed', size: 16, index: 2 };
        case 'rAX':
          return { kind: 'fixed', size: context.size, index: 0 };
        default:
      }
      switch (code[0]) {
        case 'E':
          return isMemory ? { kind: 'memory', size, index: 0 } : general();
        case 'R':
        case 'G':
        case 'Z':
          return general();
        case 'M':
        case 'O':
          return { kind: 'memory', size, index: 0 };
        case 'I':
        case '1':
          return { kind: 'immediate', size, index: 0 };
        case 'W':
          return isMemory ? { kind: 'memory', size, index: 0 } : register('vector', 'vector');
        case 'V':
        case 'U':
          return register('vector', 'vector');
        case 'Q':
          return isMemory ? { kind: 'memory', size, index: 0 } : register('vector', 'mmx');
        case 'P':
        case 'N':
          return register('vector', 'mmx');
        case 'T':
          return register('other', 'x87');
        default:
          return { kind: 'other', size, index: special };
      }
    });
  entry.meaning(builder, ...operands);
  return {
    key,
    entry,
    template: builder.template(),
    slots,
    handler: 0,
    mode: context.mode,
    size: context.size,
    addressSize: context.addressSize,
  };
}

function operandSize(code: string, size: Size): number {
  if (code === 'Ibs') return size;
  switch (code[1]) {
    case 'b':
      return 8;
    case 'w':
      return 16;
    case 'd':
      return 32;
    case 'q':
      return 64;
    case 'x':
      return 128;
    case 'y':
      return size === 64 ? 64 : 32;
    default:
      return size;
  }
}
