/** What the TypeScript CPU's driver hands to its thread, and what that says to the main thread. */
import type { EngineName } from '../engine.ts';
import type { MachineParts } from '../parts.ts';

/** Written and notified by the main thread to make the CPU's look around. */
export const WAKE = 0;
/** Written by the main thread when it has put other contents into RAM. */
export const RAM_CHANGED = 1;
export const WAKE_WORDS = 2;

export interface CpuThreadData {
  readonly parts: MachineParts;
  readonly engine: EngineName;
  readonly memory: WebAssembly.Memory;
  /** State of interrupt controllers and timers. */
  readonly chips: SharedArrayBuffer;
  /** Words at {@link WAKE} and {@link RAM_CHANGED}. */
  readonly wake: SharedArrayBuffer;
}

export type CpuThreadMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'output' }
  | { readonly type: 'outcome' }
  | { readonly type: 'boot-mark'; readonly mark: number; readonly time: number }
  | {
      readonly type: 'refused';
      readonly code: string;
      readonly message: string;
      readonly hint: string | undefined;
    }
  | { readonly type: 'failed'; readonly message: string };
