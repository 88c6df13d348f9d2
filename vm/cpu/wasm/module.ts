/**
 * Makes WebAssembly modules: types, imports, functions, exports, and elements of an imported table.
 * WebAssembly Core Specification 2.0, section 5.5.
 */
import { Bytes } from './bytes.ts';
import { VALUE_TYPE_CODES, type ValueType } from './opcodes.ts';

/** A function's type. */
export interface Signature {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

interface FunctionBody {
  readonly type: number;
  readonly code: Uint8Array;
}

export class ModuleBuilder {
  private readonly types: string[] = [];
  private readonly typeBytes = new Bytes();
  private readonly imports = new Bytes();
  private importCount = 0;
  private importedFunctions = 0;
  private readonly bodies: FunctionBody[] = [];
  private readonly exports = new Bytes();
  private exportCount = 0;
  private readonly elements = new Bytes();
  private elementCount = 0;

  /** Index of a signature, made when it is new. */
  type(signature: Signature): number {
    const key = `${signature.params.join()}>${signature.results.join()}`;
    const found = this.types.indexOf(key);
    if (found >= 0) return found;
    this.types.push(key);
    this.typeBytes.u8(0x60);
    for (const list of [signature.params, signature.results]) {
      this.typeBytes.u32(list.length);
      for (const type of list) this.typeBytes.u8(VALUE_TYPE_CODES[type]);
    }
    return this.types.length - 1;
  }

  /** A shared memory of any size from `minimum` on, in 64 KiB. */
  importMemory(name: string, minimum: number): void {
    this.beginImport(name);
    this.imports.u8(0x02);
    this.imports.u8(0x03);
    this.imports.u32(minimum);
    this.imports.u32(65536);
  }

  importTable(name: string): void {
    this.beginImport(name);
    this.imports.u8(0x01);
    this.imports.u8(0x70);
    this.imports.u8(0x00);
    this.imports.u32(0);
  }

  /** All imports of functions come before the first {@link addFunction}. @returns the function's index */
  importFunction(name: string, signature: Signature): number {
    const type = this.type(signature);
    this.beginImport(name);
    this.imports.u8(0x00);
    this.imports.u32(type);
    return this.importedFunctions++;
  }

  private beginImport(name: string): void {
    this.importCount++;
    this.imports.name('cpu');
    this.imports.name(name);
  }

  /** Index that the next {@link addFunction} will return. */
  get nextFunction(): number {
    return this.importedFunctions + this.bodies.length;
  }

  /**
   * Reserves an index for a function whose body is given later by {@link define}.
   */
  declare(signature: Signature): number {
    this.bodies.push({ type: this.type(signature), code: EMPTY });
    return this.importedFunctions + this.bodies.length - 1;
  }

  /** @param code - declarations of locals and instructions, as {@link functionBody} makes them */
  define(index: number, code: Uint8Array): void {
    const at = index - this.importedFunctions;
    this.bodies[at] = { type: this.bodies[at]!.type, code };
  }

  addFunction(signature: Signature, code: Uint8Array): number {
    const index = this.declare(signature);
    this.define(index, code);
    return index;
  }

  exportFunction(name: string, index: number): void {
    this.exportCount++;
    this.exports.name(name);
    this.exports.u8(0x00);
    this.exports.u32(index);
  }

  /** Puts functions into the imported table from `offset` on when the module is instantiated. */
  addElements(offset: number, functions: readonly number[]): void {
    this.elementCount++;
    this.elements.u32(0);
    this.elements.u8(0x41);
    this.elements.s32(offset);
    this.elements.u8(0x0b);
    this.elements.u32(functions.length);
    for (const index of functions) this.elements.u32(index);
  }

  /** The module in binary format. */
  build(): Uint8Array<ArrayBuffer> {
    const out = new Bytes(4096 + this.bodies.reduce((sum, { code }) => sum + code.length + 8, 0));
    for (const byte of [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]) out.u8(byte);
    section(out, 1, this.types.length, this.typeBytes);
    section(out, 2, this.importCount, this.imports);
    const functions = new Bytes();
    for (const { type } of this.bodies) functions.u32(type);
    section(out, 3, this.bodies.length, functions);
    section(out, 7, this.exportCount, this.exports);
    section(out, 9, this.elementCount, this.elements);
    const code = new Bytes(4096);
    for (const body of this.bodies) {
      code.u32(body.code.length);
      code.append(body.code);
    }
    section(out, 10, this.bodies.length, code);
    return out.view().slice();
  }
}

const EMPTY = new Uint8Array(0);

function section(out: Bytes, id: number, count: number, content: Bytes): void {
  if (count === 0) return;
  const head = new Bytes(8);
  head.u32(count);
  out.u8(id);
  out.u32(head.length + content.length);
  out.append(head.view());
  out.append(content.view());
}

/** A function's locals (beyond its parameters) and instructions, as the code section holds them. */
export function functionBody(locals: readonly ValueType[], instructions: Uint8Array): Uint8Array {
  const out = new Bytes(instructions.length + 16);
  const groups: { type: ValueType; count: number }[] = [];
  for (const type of locals) {
    const last = groups.at(-1);
    if (last?.type === type) last.count++;
    else groups.push({ type, count: 1 });
  }
  out.u32(groups.length);
  for (const { type, count } of groups) {
    out.u32(count);
    out.u8(VALUE_TYPE_CODES[type]);
  }
  out.append(instructions);
  out.u8(0x0b);
  return out.view().slice();
}
