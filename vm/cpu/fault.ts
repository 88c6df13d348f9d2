/**
 * How guest code is left in the middle: what TypeScript throws through WebAssembly frames back to the run
 * loop. The objects are made once; what happened lies in their fields.
 */

/** Exception vectors. SDM volume 3A, table 6-1. */
export const Vector = {
  DE: 0,
  DB: 1,
  NMI: 2,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  DF: 8,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  XM: 19,
} as const;

/** A guest's exception that is on its way. */
export class GuestFault {
  vector = 0;
  /** −1 for none. */
  errorCode = -1;
  /** #GP for an address that isn't canonical: #SS, if it was the stack segment's. */
  byAddress = false;

  /** @returns itself, to be thrown */
  set(vector: number, errorCode: number, byAddress = false): this {
    this.vector = vector;
    this.errorCode = errorCode;
    this.byAddress = byAddress;
    return this;
  }
}

/** The instruction needs the VMM (MMIO), or must be begun anew by itself. It has changed nothing. */
export class InstructionExit {
  /** mmio: see the vCPU's exit. step: run this one instruction alone, then go on. done: a helper has ended it, and guest code must be left before the
   * next. full: there is no room for more decoded code.
   */
  kind: 'mmio' | 'step' | 'done' | 'full' = 'mmio';
}

/** Triple fault: the CPU has shut down. */
export class Shutdown {}

export const FAULT = new GuestFault();
export const INSTRUCTION_EXIT = new InstructionExit();
export const SHUTDOWN = new Shutdown();

/** Throws an exception into the guest. */
export function raise(vector: number, errorCode = -1): never {
  throw FAULT.set(vector, errorCode);
}

/** #GP with an error code. */
export function generalProtection(errorCode = 0): never {
  throw FAULT.set(Vector.GP, errorCode);
}
