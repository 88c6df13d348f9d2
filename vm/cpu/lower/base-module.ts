/**
 * The base module: memory access through the TLB, flags, dispatch by the jump cache, and the interpreter's
 * handlers for all that isn't an instruction. Compiled regions import what it exports.
 */
import {
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  LazyFlags,
  Op,
  RAM_START,
  SECOND_ENTRIES_SHIFT,
  SECOND_MULTIPLIER,
  Seg,
  State,
  TLB_ADDEND,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_READ_TAG,
  TLB_WRITE_TAG,
} from '../layout.ts';
import { functionBody, ModuleBuilder, type Signature } from '../wasm/module.ts';
import { Convert, I32, I64, type ValueType, Wasm } from '../wasm/opcodes.ts';
import { BASE_FUNCTIONS, type BaseFunction, HANDLER, HOST_FUNCTIONS, type HostFunction } from './base.ts';
import { defineFloat } from './base-simd.ts';
import { Code } from './code.ts';
import { type FunctionIndices, loadOpcode, storeOpcode } from './lowering.ts';

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
    for (const [name, signature] of Object.entries({ ...HOST_FUNCTIONS, ...BASE_FUNCTIONS }))
      Object.defineProperty(ImportsOnDemand.prototype, name, {
        get(this: ImportsOnDemand): number {
          return this.indexOf(name, signature);
        },
      });
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
  const define = (name: BaseFunction, emit: (code: Code) => void): void => {
    const code = new Code(BASE_FUNCTIONS[name].params.length);
    emit(code);
    module.define(functions[name], functionBody(code.locals, code.bytes.view(), code.hints));
  };
  defineMemory(define, functions);
  defineFlags(define, functions);
  defineFloat(define, functions);
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
  define('interpret', (code) => {
    emitBudget(code);
    code.get(0);
    code.memory(Wasm.i32_load, Op.taken);
    code.tee(0);
    goTo(code, handlerType);
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
export const HOT_COUNT = 8000;

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

/** Pushes the offset of a linear address's TLB entry. */
function tlbEntry(code: Code): void {
  code.get(0);
  code.i64(12 - TLB_ENTRY_SHIFT);
  code.op(I64.shr_u);
  code.op(Convert.i32_wrap_i64);
  code.i32((TLB_ENTRIES - 1) << TLB_ENTRY_SHIFT);
  code.op(I32.and);
  code.load(Wasm.i32_load, State.tlb);
  code.op(I32.add);
}

/**
 * Pushes whether the TLB has all of an access: whether it begins at most 4096 − bytes behind the tag.
 * @param limit - pushes that
 */
function tlbHit(code: Code, entry: number, limit: () => void, tag: number): void {
  code.get(0);
  tlbEntry(code);
  code.tee(entry);
  code.memory(Wasm.i64_load, tag);
  code.op(I64.sub);
  limit();
  code.op(I64.le_u);
}

/** Pushes the host address of a linear address that the TLB has. */
function tlbHost(code: Code, entry: number): void {
  code.get(0);
  code.op(Convert.i32_wrap_i64);
  code.get(entry);
  code.memory(Wasm.i32_load, TLB_ADDEND);
  code.op(I32.add);
}

function defineMemory(
  define: (name: BaseFunction, emit: (code: Code) => void) => void,
  functions: FunctionIndices,
): void {
  const setFaultAddress = (code: Code): void => {
    code.i32(0);
    code.get(0);
    code.memory(Wasm.i64_store, State.faultAddress);
  };
  for (const size of [8, 16, 32, 64, 128] as const) {
    const bytes = size / 8;
    const type: ValueType = size === 128 ? 'v128' : size === 64 ? 'i64' : 'i32';
    define(`load${size}`, (code) => {
      const entry = code.local('i32');
      tlbHit(code, entry, () => code.i64(4096 - bytes), TLB_READ_TAG);
      code.if('i32', true);
      tlbHost(code, entry);
      code.else();
      setFaultAddress(code);
      code.i32(bytes);
      code.get(1);
      code.call(functions.missRead);
      code.end();
      code.memory(loadOpcode(bytes), 0);
    });
    define(`store${size}`, (code) => {
      const entry = code.local('i32');
      tlbHit(code, entry, () => code.i64(4096 - bytes), TLB_WRITE_TAG);
      code.if(undefined, true);
      tlbHost(code, entry);
      code.get(1);
      code.memory(storeOpcode(bytes, type), 0);
      code.else();
      setFaultAddress(code);
      code.i32(0);
      code.get(1);
      code.memory(storeOpcode(Math.max(bytes, 4), type), State.storeValue);
      code.i32(bytes);
      code.get(2);
      code.call(functions.missStore);
      code.end();
    });
  }
  define('probe', (code) => {
    const entry = code.local('i32');
    tlbHit(
      code,
      entry,
      () => {
        code.i32(4096);
        code.get(1);
        code.op(I32.sub);
        code.op(Convert.i64_extend_i32_u);
      },
      TLB_WRITE_TAG,
    );
    code.if('i32', true);
    tlbHost(code, entry);
    code.else();
    setFaultAddress(code);
    code.get(1);
    code.get(2);
    code.call(functions.missProbe);
    code.end();
  });
}

const RESULT = 0;
const CARRIES = 1;
const SHIFT = 2;

/** Flags from their lazy form: each pushes 0 or 1, for flags that aren't EFLAGS bits already. */
const LAZY = {
  carry: (code: Code, carries = CARRIES, shift = SHIFT): void => {
    code.get(carries);
    pushShift(code, shift);
    code.op(I64.shl);
    code.i64(0);
    code.op(I64.lt_s);
  },
  overflow: (code: Code, carries = CARRIES, shift = SHIFT): void => {
    code.get(carries);
    code.get(carries);
    code.i64(1);
    code.op(I64.shl);
    code.op(I64.xor);
    pushShift(code, shift);
    code.op(I64.shl);
    code.i64(0);
    code.op(I64.lt_s);
  },
  zero: (code: Code): void => {
    code.get(RESULT);
    pushShift(code, SHIFT);
    code.op(I64.shl);
    code.op(I64.eqz);
  },
  sign: (code: Code): void => {
    code.get(RESULT);
    pushShift(code, SHIFT);
    code.op(I64.shl);
    code.i64(0);
    code.op(I64.lt_s);
  },
  parity: (code: Code): void => {
    code.get(RESULT);
    code.i64(0xff);
    code.op(I64.and);
    code.op(I64.popcnt);
    code.op(Convert.i32_wrap_i64);
    code.i32(1);
    code.op(I32.and);
    code.op(I32.eqz);
  },
  auxiliary: (code: Code): void => {
    code.get(CARRIES);
    code.i64(3);
    code.op(I64.shr_u);
    code.op(Convert.i32_wrap_i64);
    code.i32(1);
    code.op(I32.and);
  },
} as const;

function pushShift(code: Code, shift: number): void {
  code.get(shift);
  code.op(Convert.i64_extend_i32_u);
}

/** Pushes one of the EFLAGS bits in the carries word. */
function explicitBit(code: Code, bit: number): void {
  code.get(CARRIES);
  code.op(Convert.i32_wrap_i64);
  code.i32(bit);
  code.op(I32.shr_u);
  code.i32(1);
  code.op(I32.and);
}

/** Pushes the carries of a subtraction, or of an addition, from its result and second operand, in locals. */
export function emitCarries(
  code: Code,
  { result, operand, scratch }: { result: number; operand: number; scratch: number },
  isSub: boolean,
): void {
  // The first operand.
  code.get(result);
  code.get(operand);
  code.op(isSub ? I64.add : I64.sub);
  if (isSub) {
    // Complemented: borrows are the carries of y − x.
    code.i64(-1);
    code.op(I64.xor);
  }
  code.tee(scratch);
  code.get(operand);
  code.op(I64.and);
  code.get(scratch);
  code.get(operand);
  code.op(I64.or);
  code.get(result);
  if (!isSub) {
    code.i64(-1);
    code.op(I64.xor);
  }
  code.op(I64.and);
  code.op(I64.or);
}

function defineFlags(
  define: (name: BaseFunction, emit: (code: Code) => void) => void,
  { carries: carriesFunction, withCarryOverflow }: FunctionIndices,
): void {
  define('carries', (code) => {
    const x = code.local('i64');
    const replaced = code.local('i32');
    code.get(SHIFT);
    code.tee(replaced);
    code.i32(LazyFlags.kept);
    code.op(I32.and);
    code.tee(SHIFT);
    code.i32(LazyFlags.sub);
    code.op(I32.lt_u);
    code.if('i64');
    code.get(CARRIES);
    code.else();
    code.get(SHIFT);
    code.i32(LazyFlags.add);
    code.op(I32.lt_u);
    code.if('i64');
    emitCarries(code, { result: RESULT, operand: CARRIES, scratch: x }, true);
    code.else();
    emitCarries(code, { result: RESULT, operand: CARRIES, scratch: x }, false);
    code.end();
    code.end();
    code.set(CARRIES);
    code.get(replaced);
    code.i32(LazyFlags.replaced);
    code.op(I32.and);
    code.if(undefined, false);
    code.get(CARRIES);
    code.get(SHIFT);
    code.i32(LazyFlags.shiftMask);
    code.op(I32.and);
    for (const bit of [LazyFlags.carry, LazyFlags.overflow]) {
      code.get(replaced);
      code.i32(bit);
      code.op(I32.shr_u);
      code.i32(1);
      code.op(I32.and);
    }
    code.call(withCarryOverflow);
    code.set(CARRIES);
    code.end();
    code.get(CARRIES);
  });
  type Emit = (code: Code) => void;
  const condition = (name: BaseFunction, explicit: Emit, lazy: Emit, byCarries = true): void => {
    define(name, (code) => {
      if (byCarries) {
        code.get(RESULT);
        code.get(CARRIES);
        code.get(SHIFT);
        code.call(carriesFunction);
        code.set(CARRIES);
      }
      code.get(SHIFT);
      code.i32(LazyFlags.shiftMask);
      code.op(I32.and);
      code.tee(SHIFT);
      code.i32(64);
      code.op(I32.eq);
      code.if('i32', false);
      explicit(code);
      code.else();
      lazy(code);
      code.end();
    });
  };
  const bit =
    (n: number): Emit =>
    (code) =>
      explicitBit(code, n);
  const both =
    (x: Emit, y: Emit, op: number): Emit =>
    (code) => {
      x(code);
      y(code);
      code.op(op);
    };
  const { carry, overflow, zero, sign, parity, auxiliary } = LAZY;
  condition('condition0', bit(11), (c) => overflow(c));
  condition('condition2', bit(0), (c) => carry(c));
  condition('condition4', bit(6), zero, false);
  condition(
    'condition6',
    both(bit(0), bit(6), I32.or),
    both((c) => carry(c), zero, I32.or),
  );
  condition('condition8', bit(7), sign, false);
  condition('condition10', bit(2), parity, false);
  condition(
    'condition12',
    both(bit(7), bit(11), I32.xor),
    both(sign, (c) => overflow(c), I32.xor),
  );
  condition(
    'condition14',
    both(both(bit(7), bit(11), I32.xor), bit(6), I32.or),
    both(
      both(sign, (c) => overflow(c), I32.xor),
      zero,
      I32.or,
    ),
  );
  condition(
    'flagBits',
    (code) => {
      code.get(CARRIES);
      code.op(Convert.i32_wrap_i64);
      code.i32(0x8d5);
      code.op(I32.and);
    },
    (code) => {
      carry(code);
      for (const [emit, at] of [
        [parity, 2],
        [auxiliary, 4],
        [zero, 6],
        [sign, 7],
        [overflow, 11],
      ] as [Emit, number][]) {
        emit(code);
        code.i32(at);
        code.op(I32.shl);
        code.op(I32.or);
      }
    },
  );
  const carries = 0;
  const shift = 1;
  const newCarry = 2;
  const replace = (name: BaseFunction, overflowOf: Emit | undefined): void => {
    define(name, (code) => {
      code.get(shift);
      code.i32(64);
      code.op(I32.eq);
      code.if('i64');
      code.get(carries);
      code.i64(overflowOf === undefined ? ~0x801 : ~1);
      code.op(I64.and);
      code.get(newCarry);
      if (overflowOf === undefined) {
        code.get(3);
        code.i32(11);
        code.op(I32.shl);
        code.op(I32.or);
      }
      code.op(Convert.i64_extend_i32_u);
      code.op(I64.or);
      code.else();
      // CF is the top bit, OF the difference of the two highest; AF is bit 3.
      code.get(newCarry);
      code.i32(1);
      code.op(I32.shl);
      code.get(newCarry);
      if (overflowOf === undefined) code.get(3);
      else overflowOf(code);
      code.op(I32.xor);
      code.op(I32.or);
      code.op(Convert.i64_extend_i32_u);
      code.i64(62);
      pushShift(code, shift);
      code.op(I64.sub);
      code.op(I64.shl);
      code.get(carries);
      code.i64(8);
      code.op(I64.and);
      code.op(I64.or);
      code.end();
    });
  };
  replace('withCarry', (code) => LAZY.overflow(code, carries, shift));
  replace('withCarryOverflow', undefined);
}
