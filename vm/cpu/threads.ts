/** What the TypeScript CPU's driver hands to its thread, and what that says to the main thread. */
import type { EngineName } from '../engine.ts';
import type { MachineParts } from '../parts.ts';

/** Written and notified by the main thread to make the CPU's look around. */
export const WAKE = 0;
/** Written by the main thread when it has restored a state: {@link Restored}. */
export const RESTORED = 1;
/** What a restored state came from. On KVM, queues may have been notified that nobody has looked into. */
export const Restored = { no: 0, fromCpu: 1, fromKvm: 2 } as const;
export const WAKE_WORDS = 2;

export interface CpuThreadData {
  readonly parts: MachineParts;
  readonly engine: EngineName;
  readonly memory: WebAssembly.Memory;
  /** State of interrupt controllers and timers. */
  readonly chips: SharedArrayBuffer;
  /** Of a {@link CpuidTable}. */
  readonly cpuid: SharedArrayBuffer;
  /** Words at {@link WAKE} and {@link RESTORED}. */
  readonly wake: SharedArrayBuffer;
  /** A debugger's settings: see debug.ts. */
  readonly debug: SharedArrayBuffer;
}

export type CpuThreadMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'output' }
  | { readonly type: 'outcome' }
  /** A vCPU has stopped for the debugger. */
  | { readonly type: 'debug-stop' }
  | { readonly type: 'boot-mark'; readonly mark: number; readonly time: number }
  | {
      readonly type: 'refused';
      readonly code: string;
      readonly message: string;
      readonly hint: string | undefined;
    }
  | { readonly type: 'failed'; readonly message: string };
