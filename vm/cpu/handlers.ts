/**
 * All of the interpreter's handlers in one module: made when the project is built, so that the interpreter
 * compiles nothing at run time. A form is found in it by its key.
 */
import { enumerateForms } from './forms.ts';
import { ENTRIES } from './isa/index.ts';
import { HANDLER } from './lower/base.ts';
import { FIRST_HANDLER, importFunctions, importMachine } from './lower/base-module.ts';
import { HandlerLowering } from './lower/interp.ts';
import { functionBody, ModuleBuilder } from './wasm/module.ts';

/** The module and, for each form's key, the index of its handler in the function table. */
export interface HandlerModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly slots: ReadonlyMap<number, number>;
  /** First free index in the function table. */
  readonly end: number;
}

export function buildHandlers(): HandlerModule {
  const module = new ModuleBuilder();
  const handlerType = module.type(HANDLER);
  importMachine(module);
  const functions = importFunctions(module);
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
  return { bytes: module.build(), slots, end: FIRST_HANDLER + indices.length };
}

/** Changes with the table of instructions: a module made from another one is of no use. */
export function tableFingerprint(): number {
  let hash = 0x811c9dc5;
  for (const { encoding, operands } of ENTRIES) {
    for (const character of `${encoding};${operands.join()}`) {
      hash = Math.imul(hash ^ character.charCodeAt(0), 0x0100_0193);
    }
  }
  return hash >>> 0;
}

/** File name of the module that the build makes. */
export const HANDLERS_FILE = 'handlers.bin';

/** The module as a file: how many forms there are, their keys, their slots, and the WebAssembly. */
export function packHandlers({ bytes, slots, end }: HandlerModule): Uint8Array {
  const count = slots.size;
  const header = 16;
  const out = new Uint8Array(header + count * 10 + bytes.length);
  const data = new DataView(out.buffer);
  data.setUint32(0, count, true);
  data.setUint32(4, end, true);
  data.setUint32(8, tableFingerprint(), true);
  let i = 0;
  for (const [key, slot] of slots) {
    data.setFloat64(header + 8 * i, key, true);
    data.setUint16(header + 8 * count + 2 * i, slot, true);
    i++;
  }
  out.set(bytes, header + count * 10);
  return out;
}

/** @returns undefined for a file that was made from another table of instructions */
export function unpackHandlers(file: Uint8Array<ArrayBuffer>): HandlerModule | undefined {
  const header = 16;
  const data = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (data.getUint32(8, true) !== tableFingerprint()) return undefined;
  const count = data.getUint32(0, true);
  const slots = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    slots.set(data.getFloat64(header + 8 * i, true), data.getUint16(header + 8 * count + 2 * i, true));
  }
  return { bytes: file.subarray(header + count * 10), slots, end: data.getUint32(4, true) };
}
