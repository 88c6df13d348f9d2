/** What the TypeScript CPU's driver hands to its thread, and what that says to the main thread. */
import type { EngineName } from '../engine.ts';
import type { MachineParts } from '../parts.ts';

export interface CpuThreadData {
  readonly parts: MachineParts;
  readonly engine: EngineName;
  readonly memory: WebAssembly.Memory;
  /** State of interrupt controllers and timers. */
  readonly chips: SharedArrayBuffer;
  /** One word: written and notified to make the thread look around. */
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
