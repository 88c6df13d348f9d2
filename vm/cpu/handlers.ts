/**
 * The base module with all of the interpreter's handlers in it: made when the project is built, so that the interpreter
 * compiles nothing at run time. A form is found in it by its key.
 */
import { enumerateForms } from './forms.ts';
import { ENTRIES } from './isa/index.ts';
import { HANDLER } from './lower/base.ts';
import { beginBaseModule, FIRST_HANDLER } from './lower/base-module.ts';
import { HandlerLowering } from './lower/interp.ts';
import { functionBody } from './wasm/module.ts';

/** The module, and which handler is whose. */
export interface HandlerModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Keys of the forms, ascending. */
  readonly keys: Float64Array;
  /** For each key, the index of the form's handler in the function table. */
  readonly slots: Uint16Array;
  /** First free index in the function table. */
  readonly end: number;
}

/** The index of a form's handler in the function table; undefined for a form that the module lacks. */
export function slotOf({ keys, slots }: HandlerModule, key: number): number | undefined {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return keys[low] === key ? slots[low] : undefined;
}

export function buildHandlers(): HandlerModule {
  const { module, functions, handlerType } = beginBaseModule();
  const slots = new Map<number, number>();
  /** Handlers by their code: many forms mean the same. */
  const known = new Map<string, number>();
  const indices: number[] = [];
  for (const form of enumerateForms()) {
    const code = HandlerLowering.lower(form.template, form.mode === 'segmented', functions, handlerType);
    const body = functionBody(code.locals, code.bytes.view(), code.hints);
    const text = Buffer.from(body.code).toString('latin1');
    let slot = known.get(text);
    if (slot === undefined) {
      slot = FIRST_HANDLER + indices.length;
      indices.push(module.addFunction(HANDLER, body));
      known.set(text, slot);
    }
    slots.set(form.key, slot);
  }
  module.addElements(FIRST_HANDLER, indices);
  const keys = Float64Array.from(slots.keys()).sort();
  return {
    bytes: module.build(),
    keys,
    slots: Uint16Array.from(keys, (key) => slots.get(key)!),
    end: FIRST_HANDLER + indices.length,
  };
}

/** File name of the module that the build makes. */
export const HANDLERS_FILE = 'handlers.bin';

/** Changes with the table of instructions: a module made from another one is of no use. */
function tableFingerprint(): number {
  let hash = 0x811c9dc5;
  for (const { encoding, operands } of ENTRIES) {
    for (const character of `${encoding};${operands.join()}`) {
      hash = Math.imul(hash ^ character.charCodeAt(0), 0x0100_0193);
    }
  }
  return hash >>> 0;
}

/** Size of the file's header: how many forms there are, {@link HandlerModule.end}, the fingerprint, and a word to align. */
const HEADER = 16;

/** The module as a file, of the host's byte order: header, keys, slots, and the WebAssembly. */
export function packHandlers({ bytes, keys, slots, end }: HandlerModule): Uint8Array {
  const parts = [new Uint32Array([keys.length, end, tableFingerprint(), 0]), keys, slots, bytes];
  return Buffer.concat(
    parts.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength)),
  );
}

/** @returns undefined for a file that was made from another table of instructions */
export function unpackHandlers({ buffer }: Uint8Array<ArrayBuffer>): HandlerModule | undefined {
  const [count, end, fingerprint] = new Uint32Array(buffer, 0, 3);
  if (fingerprint !== tableFingerprint()) return undefined;
  const keys = new Float64Array(buffer, HEADER, count);
  const slots = new Uint16Array(buffer, HEADER + keys.byteLength, count);
  return {
    bytes: new Uint8Array(buffer, HEADER + keys.byteLength + slots.byteLength),
    keys,
    slots,
    end: end!,
  };
}
