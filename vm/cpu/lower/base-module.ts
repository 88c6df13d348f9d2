/**
 * The base module: dispatch by the jump cache and the interpreter's handlers for all that isn't an instruction; with memory
 * (base-memory.ts), flags (base-flags.ts) and what is written as meanings (base-meanings.ts). Compiled regions import what it exports.
 */
import {
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  Op,
  RAM_START,
  SECOND_ENTRIES_SHIFT,
  SECOND_MULTIPLIER,
  Seg,
  State,
} from '../layout.ts';
import { type FunctionBody, functionBody, ModuleBuilder, type Signature } from '../wasm/module.ts';
import { Convert, I32, I64, Wasm } from '../wasm/opcodes.ts';
import {
  BASE_FUNCTIONS,
  type BaseFunction,
  forRegions,
  HANDLER,
  HOST_FUNCTIONS,
  type HostFunction,
  isForRegions,
  REGION_FUNCTIONS,
  type RegionFunction,
} from './base.ts';
import { defineFlags } from './base-flags.ts';
import { defineMeanings } from './base-meanings.ts';
import { defineMemory } from './base-memory.ts';
import { Code } from './code.ts';
import type { FunctionIndices } from './lowering.ts';

/** Handlers that belong to no instruction, by their index in the function table. */
export const Handler = {
  /** A block that hasn't been decoded. */
  undecoded: 1,
  /** A block's head: counts. */
  head: 2,
  /** Goes to another head. */
  link: 3,
  /** Leaves the page: the immediate is the target's distance from ripBase. */
  cross: 4,
  /** The code is no longer what was decoded. */
  stale: 5,
  /** Ends a single step. */
  stop: 6,
  /** Raises #UD, or what else its record says. */
  undefined: 7,
} as const;
/** First index of instructions' handlers. */
export const FIRST_HANDLER = 16;

/** Adds the import of memory, the same for all modules. */
export function importMemory(module: ModuleBuilder): void {
  module.importMemory('memory', RAM_START / 65536);
}

/** Adds imports of memory and table: what the base module and the interpreter's handlers work on. */
export function importMachine(module: ModuleBuilder): void {
  importMemory(module);
  module.importTable('table');
}

/**
 * Imports of base and host, each when its index is asked for first: modules of regions need but a few, and each import
 * takes V8 time when a module is instantiated. All are to be asked for before the module's own functions are added.
 */
export function importOnDemand(module: ModuleBuilder): FunctionIndices {
  return new ImportsOnDemand(module) as unknown as FunctionIndices;
}

class ImportsOnDemand {
  private readonly module: ModuleBuilder;
  private readonly indices = new Map<string, number>();

  static {
    const define = (name: string, imported: string, signature: Signature): void => {
      Object.defineProperty(ImportsOnDemand.prototype, name, {
        configurable: true,
        get(this: ImportsOnDemand): number {
          return this.indexOf(imported, signature);
        },
      });
    };
    for (const [name, signature] of Object.entries({ ...HOST_FUNCTIONS, ...BASE_FUNCTIONS }))
      define(name, name, signature);
    for (const name of REGION_FUNCTIONS) {
      const imported = forRegions(name);
      define(name, imported.name, imported.signature);
    }
  }

  constructor(module: ModuleBuilder) {
    this.module = module;
  }

  private indexOf(name: string, signature: Signature): number {
    let index = this.indices.get(name);
    if (index === undefined) {
      index = this.module.importFunction(name, signature);
      this.indices.set(name, index);
    }
    return index;
  }
}

/** Imports everything of base and host. */
export function importFunctions(module: ModuleBuilder): FunctionIndices {
  const indices: Partial<Record<BaseFunction | HostFunction, number>> = {};
  for (const [name, signature] of Object.entries({ ...HOST_FUNCTIONS, ...BASE_FUNCTIONS })) {
    indices[name as BaseFunction] = module.importFunction(name, signature);
  }
  return indices as FunctionIndices;
}

/** Begins the base module with its own functions; handlers of instructions are then added to it. */
export function beginBaseModule(): {
  module: ModuleBuilder;
  functions: FunctionIndices;
  handlerType: number;
} {
  const module = new ModuleBuilder();
  const handlerType = module.type(HANDLER);
  importMachine(module);
  const indices: Partial<Record<BaseFunction | HostFunction, number>> = {};
  for (const [name, signature] of Object.entries(HOST_FUNCTIONS)) {
    indices[name as HostFunction] = module.importFunction(name, signature);
  }
  for (const [name, signature] of Object.entries(BASE_FUNCTIONS)) {
    const index = module.declare(signature);
    indices[name as BaseFunction] = index;
    module.exportFunction(name, index);
  }
  const functions = indices as FunctionIndices;
  const bodyOf = ({ params }: Signature, emit: (code: Code) => void): FunctionBody => {
    const code = new Code(params.length);
    emit(code);
    return functionBody(code.locals, code.bytes.view(), code.hints);
  };
  const define = (name: BaseFunction, emit: (code: Code) => void): void => {
    module.define(functions[name], bodyOf(BASE_FUNCTIONS[name], emit));
    if (isForRegions(name)) defineForRegions(name, emit);
  };
  const defineForRegions = (of: RegionFunction, emit: (code: Code) => void): void => {
    const { name, signature } = forRegions(of);
    module.exportFunction(name, module.addFunction(signature, bodyOf(signature, emit)));
  };
  defineMemory(define, functions);
  defineFlags(define, functions);
  defineMeanings(define, functions);
  define('go', (code) => {
    code.get(0);
    goTo(code, handlerType);
  });
  define('find', (code) => emitFind(code, functions.lookup));
  define('dispatch', (code) => {
    const { head, handler } = emitDispatch(code, functions.find);
    code.get(head);
    code.get(handler);
    code.returnCallIndirect(handlerType);
  });
  define('learn', (code) => {
    const { head, handler } = emitDispatch(code, functions.find);
    code.get(1);
    code.get(head);
    code.memory(Wasm.i32_store, 0);
    code.get(head);
    code.get(handler);
    code.returnCallIndirect(handlerType);
  });
  define('enter', (code) => {
    code.load(Wasm.i64_load, State.rip);
    code.returnCall(functions.dispatch);
  });
  define('refuse', (code) => {
    code.call(functions.refused);
    code.if(undefined);
    code.returnCall(functions.enter);
    code.end();
  });
  define('interpret', (code) => {
    emitBudget(code);
    code.get(0);
    code.memory(Wasm.i32_load, Op.taken);
    code.tee(0);
    goTo(code, handlerType);
  });
  for (const name of ['helper', 'raise'] as const)
    defineForRegions(name, (code) => {
      for (let i = 0; i < HOST_FUNCTIONS[name].params.length; i++) code.get(i);
      code.returnCall(functions[name]);
    });
  const handlers: [number, (code: Code) => void][] = [
    [
      Handler.undecoded,
      (code) => {
        code.get(0);
        code.call(functions.decode);
        code.tee(0);
        goTo(code, handlerType);
      },
    ],
    [Handler.head, (code) => emitHead(code, functions, handlerType)],
    [
      Handler.link,
      (code) => {
        code.get(0);
        code.memory(Wasm.i32_load, Op.taken);
        code.tee(0);
        goTo(code, handlerType);
      },
    ],
    [
      Handler.cross,
      (code) => {
        code.load(Wasm.i64_load, State.ripBase);
        code.get(0);
        code.memory(Wasm.i64_load, Op.immediate);
        code.op(I64.add);
        code.load(Wasm.i64_load, State.ripMask);
        code.op(I64.and);
        code.returnCall(functions.dispatch);
      },
    ],
    [
      Handler.stale,
      (code) => {
        // What has been counted of the block and isn't done is given back.
        code.i32(0);
        code.load(Wasm.i32_load, State.budget);
        code.get(0);
        code.memory(Wasm.i32_load16_u, Op.place + 2);
        code.op(I32.add);
        code.memory(Wasm.i32_store, State.budget);
        placeRip(code);
        code.returnCall(functions.dispatch);
      },
    ],
    [
      Handler.stop,
      (code) => {
        code.i32(0);
        placeRip(code);
        code.memory(Wasm.i64_store, State.rip);
      },
    ],
    [
      Handler.undefined,
      (code) => {
        code.get(0);
        code.memory(Wasm.i32_load, Op.reg0);
        code.get(0);
        code.memory(Wasm.i32_load, Op.reg1);
        code.get(0);
        code.call(functions.raise);
      },
    ],
  ];
  for (const [slot, emit] of handlers) {
    const code = new Code(1);
    emit(code);
    const index = module.addFunction(HANDLER, functionBody(code.locals, code.bytes.view(), code.hints));
    module.addElements(slot, [index]);
  }
  return { module, functions, handlerType };
}

/** Pushes RIP of the record in local 0. */
function placeRip(code: Code): void {
  code.load(Wasm.i64_load, State.ripBase);
  code.get(0);
  code.memory(0x33 /* i64.load16_u */, Op.place);
  code.op(I64.add);
  code.load(Wasm.i64_load, State.ripMask);
  code.op(I64.and);
}

/** Tail-calls the handler of the record on the stack, which is in local 0 too. */
function goTo(code: Code, handlerType: number): void {
  code.get(0);
  code.memory(Wasm.i32_load, Op.handler);
  code.returnCallIndirect(handlerType);
}

/** Executions of a block after which it is worth compiling. */
export const HOT_COUNT = 2000;

/**
 * Takes a block's instructions from the budget, or leaves guest code with RIP at the block when there are not so
 * many left: a slice never goes beyond its end.
 */
function emitBudget(code: Code): void {
  const budget = code.local('i32');
  code.load(Wasm.i32_load, State.budget);
  code.get(0);
  code.memory(Wasm.i32_load, Op.instructions);
  code.op(I32.sub);
  code.tee(budget);
  code.i32(0);
  code.op(I32.lt_s);
  code.if(undefined, false);
  code.i32(0);
  placeRip(code);
  code.memory(Wasm.i64_store, State.rip);
  code.bytes.u8(Wasm.return);
  code.end();
  code.i32(0);
  code.get(budget);
  code.memory(Wasm.i32_store, State.budget);
}

function emitHead(code: Code, functions: FunctionIndices, handlerType: number): void {
  const count = code.local('i32');
  // The jump cache may still know it as it was before it was compiled.
  code.get(0);
  code.memory(Wasm.i32_load, Op.handler);
  code.i32(Handler.head);
  code.op(I32.ne);
  code.if(undefined, false);
  code.get(0);
  goTo(code, handlerType);
  code.end();
  emitBudget(code);
  code.get(0);
  code.get(0);
  code.memory(Wasm.i32_load, Op.count);
  code.i32(1);
  code.op(I32.add);
  code.tee(count);
  code.memory(Wasm.i32_store, Op.count);
  code.get(count);
  code.i32(HOT_COUNT);
  code.op(I32.eq);
  code.if(undefined, false);
  code.get(0);
  code.call(functions.hot);
  code.end();
  code.get(0);
  code.memory(Wasm.i32_load, Op.taken);
  code.tee(0);
  goTo(code, handlerType);
}

/** Pushes the linear address of the RIP in a local. */
function linearOf(code: Code, rip: number): void {
  code.get(rip);
  code.load(Wasm.i64_load, State.segBase + 8 * Seg.cs);
  code.op(I64.add);
  code.load(Wasm.i64_load, State.linearMask);
  code.op(I64.and);
}

/**
 * Pushes whether the jump cache knows the linear address of a RIP.
 * @param linear - local that takes the address
 * @param entry - local that takes the offset of its entry
 */
export function emitJumpCacheProbe(code: Code, linear: number, entry: number, rip: number): void {
  linearOf(code, rip);
  code.tee(linear);
  code.get(linear);
  code.i64(12);
  code.op(I64.shr_u);
  code.op(I64.xor);
  code.op(Convert.i32_wrap_i64);
  code.i32(JUMP_CACHE_ENTRIES - 1);
  code.op(I32.and);
  code.i32(4);
  code.op(I32.shl);
  code.tee(entry);
  code.memory(Wasm.i64_load, JUMP_CACHE);
  code.get(linear);
  code.load(Wasm.i64_load, State.modeTag);
  code.op(I64.add);
  code.op(I64.eq);
}

/** Sets State.ripBase, from a RIP and its linear address. */
export function emitRipBase(code: Code, linear: number, rip: number): void {
  code.i32(0);
  code.get(rip);
  code.get(linear);
  code.i64(0xfff);
  code.op(I64.and);
  code.op(I64.sub);
  code.memory(Wasm.i64_store, State.ripBase);
}

/** Finds the head at the RIP in local 0, and its handler, by the jump cache. @returns the locals that have them */
function emitDispatch(code: Code, find: number): { head: number; handler: number } {
  const linear = code.local('i64');
  const entry = code.local('i32');
  const head = code.local('i32');
  const handler = code.local('i32');
  emitJumpCacheProbe(code, linear, entry, 0);
  code.if(undefined, true);
  emitRipBase(code, linear, 0);
  code.get(entry);
  code.memory(Wasm.i32_load, JUMP_CACHE + 8);
  code.set(head);
  code.get(entry);
  code.memory(Wasm.i32_load, JUMP_CACHE + 12);
  code.set(handler);
  code.else();
  code.get(0);
  code.call(find);
  code.tee(head);
  code.memory(Wasm.i32_load, Op.handler);
  code.set(handler);
  code.end();
  return { head, handler };
}

/** The head at the RIP in local 0, by the jump cache's second part or by TypeScript. */
function emitFind(code: Code, lookup: number): void {
  const linear = code.local('i64');
  const entry = code.local('i32');
  linearOf(code, 0);
  code.tee(linear);
  code.op(Convert.i32_wrap_i64);
  code.i32(SECOND_MULTIPLIER);
  code.op(I32.mul);
  code.i32(32 - SECOND_ENTRIES_SHIFT);
  code.op(I32.shr_u);
  code.i32(4);
  code.op(I32.shl);
  code.tee(entry);
  code.memory(Wasm.i64_load, JUMP_CACHE + 16 * JUMP_CACHE_ENTRIES);
  code.get(linear);
  code.load(Wasm.i64_load, State.modeTag);
  code.op(I64.add);
  code.op(I64.eq);
  code.if('i32', true);
  emitRipBase(code, linear, 0);
  code.get(entry);
  code.memory(Wasm.i32_load, JUMP_CACHE + 16 * JUMP_CACHE_ENTRIES + 8);
  code.else();
  code.i32(0);
  code.get(0);
  code.memory(Wasm.i64_store, State.rip);
  code.call(lookup);
  code.end();
}
