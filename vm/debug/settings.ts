/**
 * What a debugger asks of an engine, and what the engine tells it: the same for every driver.
 */

/** What a hardware breakpoint waits for. */
export type HardwareAccess = 'execute' | 'write' | 'access';

/** A hardware breakpoint or watchpoint. SDM volume 3B, 17.2.4 */
export interface HardwareBreakpoint {
  /** Linear address of the first byte. */
  readonly address: bigint;
  /** 1, 2, 4 or 8 bytes, and the address a multiple of that; 1 for `execute`. */
  readonly length: number;
  readonly access: HardwareAccess;
}

/** What vCPUs stop at. */
export interface DebugSettings {
  /** Linear addresses of instructions. */
  readonly software: readonly bigint[];
  readonly hardware: readonly HardwareBreakpoint[];
  /** The only vCPU that runs, and only for one instruction; undefined when all run. */
  readonly step: number | undefined;
  /**
   * Stops when so many instructions have been done since power-on, as a step does; for engines that count them
   * (see {@link Engine.instructionCount}).
   */
  readonly until?: number | undefined;
}

/** Nothing. */
export const NO_DEBUGGING: DebugSettings = { software: [], hardware: [], step: undefined };

/** Why a vCPU has stopped: {@link DebugEvent.kind}. */
export const DebugKind = {
  /** It has done its one instruction; perhaps with {@link DebugEvent.hits}. */
  step: 1,
  /** It is at an instruction of {@link DebugSettings.software}, which it has not done. */
  software: 2,
  /**
   * Something of {@link DebugSettings.hardware}; {@link DebugEvent.hits} says what. Beyond its end: one of
   * `software` that the engine has set in the same way.
   */
  hardware: 3,
} as const;
export type DebugKind = (typeof DebugKind)[keyof typeof DebugKind];

/** A stop. One object a vCPU, refilled; addresses in two halves, since it goes through shared words. */
export interface DebugEvent {
  vcpu: number;
  /** A {@link DebugKind}. */
  kind: number;
  /**
   * Indices in {@link DebugSettings.hardware}, as bits. A processor also reports debug registers that match without being
   * enabled, as others have left them there (SDM volume 3B, 17.2.3): what wasn't asked for says nothing.
   */
  hits: number;
  /** The linear address of the instruction, for `software`. */
  addressLow: number;
  addressHigh: number;
}

/** An empty one, for a vCPU to refill. */
export function debugEvent(vcpu: number): DebugEvent {
  return { vcpu, kind: 0, hits: 0, addressLow: 0, addressHigh: 0 };
}
