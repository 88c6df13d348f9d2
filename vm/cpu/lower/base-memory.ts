/**
 * Memory access by the TLB, in WebAssembly: functions of the base module that handlers call. Only a miss comes to TypeScript.
 */
import { State, TLB_ADDEND, TLB_ENTRIES, TLB_ENTRY_SHIFT, TLB_READ_TAG, TLB_WRITE_TAG } from '../layout.ts';
import { Convert, I32, I64, type ValueType, Wasm } from '../wasm/opcodes.ts';
import type { BaseFunction } from './base.ts';
import type { Code } from './code.ts';
import { type FunctionIndices, loadOpcode, storeOpcode } from './lowering.ts';

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

/** Defines the base module's functions of memory. */
export function defineMemory(
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
