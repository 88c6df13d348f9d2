/**
 * The CPU's WebAssembly memory: state, caches and guest RAM, and views of it for TypeScript.
 */
import { GuestMemory, MemoryRegion } from '../../devices/memory.ts';
import { CONSTANTS, RAM_START, State } from './layout.ts';

const WASM_PAGE = 65536;
/** Most guest RAM: what is left of 4 GiB, below the hole for devices. */
export const CPU_MEMORY_MAXIMUM = 3 * 1024 ** 3;

/** Shared memory for a machine with so much RAM. */
export function createCpuMemory(ram: number): WebAssembly.Memory {
  const pages = (RAM_START + ram) / WASM_PAGE;
  return new WebAssembly.Memory({ initial: Math.ceil(pages), maximum: Math.ceil(pages), shared: true });
}

/** Guest RAM within that memory. */
export function guestMemoryOver(memory: WebAssembly.Memory, ram: number): GuestMemory {
  return new GuestMemory([new MemoryRegion(0, memory.buffer, RAM_START, ram, 0)]);
}

/** Typed arrays over the whole memory. */
export class CpuMemory {
  readonly memory: WebAssembly.Memory;
  /** In 64 KiB. */
  readonly pages: number;
  readonly ramSize: number;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly i64: BigInt64Array;
  readonly u64: BigUint64Array;
  readonly f64: Float64Array;
  readonly data: DataView;

  constructor(memory: WebAssembly.Memory, ramSize: number) {
    const { buffer } = memory;
    this.memory = memory;
    this.pages = buffer.byteLength / WASM_PAGE;
    this.ramSize = ramSize;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i64 = new BigInt64Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.data = new DataView(buffer);
    this.u32[CONSTANTS / 4] = 0;
  }

  get(address: number): number {
    return this.i32[address >> 2]!;
  }

  set(address: number, value: number): void {
    this.i32[address >> 2] = value;
  }

  /** Copies bytes: a call of the engine's function takes longer than a few words do. */
  copy(to: number, from: number, bytes: number): void {
    if (((to | from | bytes) & 3) !== 0 || bytes > 16) {
      this.u8.copyWithin(to, from, from + bytes);
      return;
    }
    for (let i = 0; i < bytes; i += 4) this.i32[(to + i) >>> 2] = this.i32[(from + i) >>> 2]!;
  }

  /** A general register's low half. */
  reg(n: number): number {
    return this.i32[(State.gpr >> 2) + 2 * n]!;
  }

  /** Sets a general register to a 32-bit value, zero-extended. */
  setReg32(n: number, value: number): void {
    this.i32[(State.gpr >> 2) + 2 * n] = value;
    this.i32[(State.gpr >> 2) + 2 * n + 1] = 0;
  }

  setReg64(n: number, low: number, high: number): void {
    this.i32[(State.gpr >> 2) + 2 * n] = low;
    this.i32[(State.gpr >> 2) + 2 * n + 1] = high;
  }

  setReg16(n: number, value: number): void {
    this.u16[(State.gpr >> 1) + 4 * n] = value;
  }

  set64(address: number, low: number, high: number): void {
    this.i32[address >> 2] = low;
    this.i32[(address >> 2) + 1] = high;
  }
}
