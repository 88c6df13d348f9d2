/**
 * Memory access by the TLB, in WebAssembly: of handlers, and of functions of the base module. Only a miss comes to TypeScript.
 */
import { State, TLB_ADDEND, TLB_ENTRIES, TLB_ENTRY_SHIFT, TLB_READ_TAG, TLB_WRITE_TAG } from '../layout.ts';
import { Convert, I32, I64, type ValueType, Wasm } from '../wasm/opcodes.ts';
import type { BaseFunction } from './base.ts';
import type { Code } from './code.ts';
import { type FunctionIndices, loadOpcode, storeOpcode } from './lowering.ts';

/** Pushes the offset of a linear address's TLB entry. */
function tlbEntry(code: Code, address = 0): void {
  code.get(address);
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
function tlbHit(code: Code, entry: number, limit: () => void, tag: number, address = 0): void {
  code.get(address);
  tlbEntry(code, address);
  code.tee(entry);
  code.memory(Wasm.i64_load, tag);
  code.op(I64.sub);
  limit();
  code.op(I64.le_u);
}

/** Pushes the host address of a linear address that the TLB has. */
function tlbHost(code: Code, entry: number, address = 0): void {
  code.get(address);
  code.op(Convert.i32_wrap_i64);
  code.get(entry);
  code.memory(Wasm.i32_load, TLB_ADDEND);
  code.op(I32.add);
}

function setFaultAddress(code: Code, address: number): void {
  code.i32(0);
  code.get(address);
  code.memory(Wasm.i64_store, State.faultAddress);
}

/** Defines the base module's functions of memory. */
export function defineMemory(
  define: (name: BaseFunction, emit: (code: Code) => void) => void,
  functions: FunctionIndices,
): void {
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
    setFaultAddress(code, 0);
    code.get(1);
    code.get(2);
    code.call(functions.missProbe);
    code.end();
  });
  // Long runs of REP MOVS and REP STOS upwards, whose ends the meaning has worked out: isa/string.ts.
  define('moveRun', (code) => {
    const entry = code.local('i32');
    const from = code.local('i32');
    const to = code.local('i32');
    runHost(code, { entry, host: from, address: 0, bytes: 2, tag: TLB_READ_TAG });
    runHost(code, { entry, host: to, address: 1, bytes: 2, tag: TLB_WRITE_TAG });
    // A target a little above the source gets what has been moved just before.
    code.get(to);
    code.get(from);
    code.op(I32.sub);
    code.i32(1);
    code.op(I32.sub);
    code.get(2);
    code.i32(1);
    code.op(I32.sub);
    code.op(I32.lt_u);
    returnZero(code);
    code.get(to);
    code.get(from);
    code.get(2);
    code.memoryCopy();
    code.i32(1);
  });
  define('fillRun', (code) => {
    const entry = code.local('i32');
    const to = code.local('i32');
    runHost(code, { entry, host: to, address: 0, bytes: 1, tag: TLB_WRITE_TAG });
    code.get(to);
    code.get(2);
    code.get(1);
    code.memoryFill();
    code.i32(1);
  });
}

/**
 * Loads bytes from a linear address.
 * @param address - the local that has it
 * @param record - pushes what {@link HOST_FUNCTIONS}.missRead is told
 */
export function emitLoad(
  code: Code,
  functions: FunctionIndices,
  bytes: number,
  address: number,
  record: () => void,
): void {
  const entry = code.local('i32');
  tlbHit(code, entry, () => code.i64(4096 - bytes), TLB_READ_TAG, address);
  code.if('i32', true);
  tlbHost(code, entry, address);
  code.else();
  setFaultAddress(code, address);
  code.i32(bytes);
  record();
  code.call(functions.missRead);
  code.end();
  code.memory(loadOpcode(bytes), 0);
}

/**
 * Stores a local's value at the linear address in another, or ends the handler if that may not be.
 * @param record - pushes what {@link HOST_FUNCTIONS}.missStore is told
 */
export function emitStore(
  code: Code,
  functions: FunctionIndices,
  { bytes, type, address, value }: { bytes: number; type: ValueType; address: number; value: number },
  record: () => void,
): void {
  const entry = code.local('i32');
  tlbHit(code, entry, () => code.i64(4096 - bytes), TLB_WRITE_TAG, address);
  code.if(undefined, true);
  tlbHost(code, entry, address);
  code.get(value);
  code.memory(storeOpcode(bytes, type), 0);
  code.else();
  setFaultAddress(code, address);
  code.i32(0);
  code.get(value);
  code.memory(storeOpcode(Math.max(bytes, 4), type), State.storeValue);
  code.i32(bytes);
  record();
  code.call(functions.missStore);
  code.if(undefined, false);
  code.returnCall(functions.refuse);
  code.end();
  code.end();
}

/** Leaves the function with 0 if the condition on the stack holds. */
function returnZero(code: Code): void {
  code.if(undefined, false);
  code.i32(0);
  code.bytes.u8(Wasm.return);
  code.end();
}

/** Sets a local to the host address of bytes at a linear address, all in one page, or leaves the function with 0. */
function runHost(
  code: Code,
  {
    entry,
    host,
    address,
    bytes,
    tag,
  }: Readonly<Record<'entry' | 'host' | 'address' | 'bytes' | 'tag', number>>,
): void {
  const limit = (): void => {
    code.i32(4096);
    code.get(bytes);
    code.op(I32.sub);
    code.op(Convert.i64_extend_i32_u);
  };
  tlbHit(code, entry, limit, tag, address);
  code.op(I32.eqz);
  returnZero(code);
  tlbHost(code, entry, address);
  code.set(host);
}
