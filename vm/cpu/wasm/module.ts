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

/** Says of an `if` or `br_if` whether it is likely to be taken. */
export interface BranchHint {
  /** Offset of its opcode in the function's body. */
  readonly offset: number;
  readonly likely: boolean;
}

/** Declarations of locals and instructions, as the code section holds them. */
export interface FunctionBody {
  readonly code: Uint8Array;
  readonly hints: readonly BranchHint[];
}

interface DeclaredFunction {
  readonly type: number;
  readonly body: FunctionBody;
}

export class ModuleBuilder {
  private readonly types: string[] = [];
  private readonly typeBytes = new Bytes();
  private readonly imports = new Bytes();
  private importCount = 0;
  private importedFunctions = 0;
  private readonly bodies: DeclaredFunction[] = [];
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

  /**
   * Reserves an index for a function whose body is given later by {@link define}.
   */
  declare(signature: Signature): number {
    this.bodies.push({ type: this.type(signature), body: EMPTY });
    return this.importedFunctions + this.bodies.length - 1;
  }

  /** @param body - as {@link functionBody} makes it */
  define(index: number, body: FunctionBody): void {
    const at = index - this.importedFunctions;
    this.bodies[at] = { type: this.bodies[at]!.type, body };
  }

  addFunction(signature: Signature, body: FunctionBody): number {
    const index = this.declare(signature);
    this.define(index, body);
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
    const out = new Bytes(4096 + this.bodies.reduce((sum, { body }) => sum + body.code.length + 8, 0));
    for (const byte of [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]) out.u8(byte);
    section(out, 1, this.types.length, this.typeBytes);
    section(out, 2, this.importCount, this.imports);
    const functions = new Bytes();
    for (const { type } of this.bodies) functions.u32(type);
    section(out, 3, this.bodies.length, functions);
    section(out, 7, this.exportCount, this.exports);
    section(out, 9, this.elementCount, this.elements);
    const code = new Bytes(4096);
    for (const { body } of this.bodies) {
      code.u32(body.code.length);
      code.append(body.code);
    }
    this.hintSection(out);
    section(out, 10, this.bodies.length, code);
    return out.view().slice();
  }

  /** WebAssembly Branch Hinting, "Binary format": a custom section that comes before the code. */
  private hintSection(out: Bytes): void {
    const content = new Bytes();
    let functions = 0;
    this.bodies.forEach(({ body: { hints } }, i) => {
      if (hints.length === 0) return;
      functions++;
      content.u32(this.importedFunctions + i);
      content.u32(hints.length);
      for (const { offset, likely } of hints) {
        content.u32(offset);
        content.u8(1);
        content.u8(likely ? 1 : 0);
      }
    });
    if (functions === 0) return;
    const head = new Bytes(64);
    head.name('metadata.code.branch_hint');
    head.u32(functions);
    out.u8(0);
    out.u32(head.length + content.length);
    out.append(head.view());
    out.append(content.view());
  }
}

const EMPTY: FunctionBody = { code: new Uint8Array(0), hints: [] };

function section(out: Bytes, id: number, count: number, content: Bytes): void {
  if (count === 0) return;
  const head = new Bytes(8);
  head.u32(count);
  out.u8(id);
  out.u32(head.length + content.length);
  out.append(head.view());
  out.append(content.view());
}

/**
 * @param locals - beyond the parameters
 * @param hints - with offsets in the instructions
 */
export function functionBody(
  locals: readonly ValueType[],
  instructions: Uint8Array,
  hints: readonly BranchHint[] = [],
): FunctionBody {
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
  const start = out.length;
  out.append(instructions);
  out.u8(0x0b);
  return {
    code: out.view().slice(),
    hints: hints.map(({ offset, likely }) => ({ offset: start + offset, likely })),
  };
}
