/**
 * The state of a virtual CPU in its neutral form: the same for every driver, so that a guest can be
 * saved on one and go on with another, and so that boot code can say how a CPU starts without knowing
 * what will run it. 64-bit values are bigints: this is never a hot path.
 *
 * References: Intel SDM volume 3A, 3.4 (segments), 9.1.1 (state after reset); AMD APM volume 2, 14.1.
 */

import type { CpuidLeaf } from './cpuid.ts';

/** General registers. SDM volume 1, 3.4. */
export interface GeneralRegisters {
  rax: bigint;
  rbx: bigint;
  rcx: bigint;
  rdx: bigint;
  rsi: bigint;
  rdi: bigint;
  rsp: bigint;
  rbp: bigint;
  r8: bigint;
  r9: bigint;
  r10: bigint;
  r11: bigint;
  r12: bigint;
  r13: bigint;
  r14: bigint;
  r15: bigint;
  rip: bigint;
  rflags: bigint;
}

/** A segment register with its hidden part. SDM volume 3A, 3.4.3 and 3.4.5. */
export interface Segment {
  selector: number;
  base: bigint;
  /** Effective limit in bytes − 1, granularity already applied. */
  limit: number;
  /** The descriptor's 4-bit type field. */
  type: number;
  /** 1 for code and data, 0 for system segments. */
  s: number;
  dpl: number;
  present: number;
  avl: number;
  /** 64-bit code segment. */
  l: number;
  /** Default operation size. */
  db: number;
  /** Granularity. */
  g: number;
  /** Loaded with a null selector, or otherwise unusable (SDM volume 3C, 24.4.1). */
  unusable: number;
}

/** GDTR or IDTR. */
export interface TableRegister {
  /** Linear address. */
  base: bigint;
  /** In bytes − 1. */
  limit: number;
}

/** Segment, control and system registers. */
export interface SystemRegisters {
  cs: Segment;
  ds: Segment;
  es: Segment;
  fs: Segment;
  gs: Segment;
  ss: Segment;
  tr: Segment;
  ldt: Segment;
  gdt: TableRegister;
  idt: TableRegister;
  cr0: bigint;
  cr2: bigint;
  cr3: bigint;
  cr4: bigint;
  cr8: bigint;
  efer: bigint;
  apicBase: bigint;
}

/** What a vCPU is doing besides its registers. */
export const MpState = {
  runnable: 0,
  /** An application processor that waits for INIT. */
  uninitialized: 1,
  initReceived: 2,
  halted: 3,
  sipiReceived: 4,
} as const;
export type MpState = (typeof MpState)[keyof typeof MpState];

/** Events that are on their way into the CPU. SDM volume 3A, chapter 6. */
export interface PendingEvents {
  exception: { injected: boolean; vector: number; hasErrorCode: boolean; errorCode: number };
  interrupt: { injected: boolean; vector: number; soft: boolean; shadow: number };
  nmi: { injected: boolean; pending: boolean; masked: boolean };
}

/** The whole state of a vCPU. */
export interface VcpuState {
  registers: GeneralRegisters;
  system: SystemRegisters;
  /** DR0–DR3, DR6, DR7. */
  debug: readonly [bigint, bigint, bigint, bigint, bigint, bigint];
  /** XCR0, or undefined where the CPU has no XSAVE. */
  xcr0: bigint | undefined;
  /** FPU, SSE and extended state in the standard (not compacted) XSAVE form; the first 512 bytes are FXSAVE's. */
  xsave: Uint8Array;
  /** Model-specific registers by index. */
  msrs: ReadonlyMap<number, bigint>;
  mpState: MpState;
  events: PendingEvents;
  /** CPUID as the guest sees it: what it may use. */
  cpuid: readonly CpuidLeaf[];
}

/** IA32_TIME_STAMP_COUNTER. */
export const MSR_TSC = 0x10;
/** IA32_TSC_ADJUST. SDM volume 3B, 18.17.3. */
export const MSR_TSC_ADJUST = 0x3b;

/** CR0 bits. SDM volume 3A, 2.5. */
export const CR0 = {
  PE: 1n << 0n,
  MP: 1n << 1n,
  ET: 1n << 4n,
  NE: 1n << 5n,
  WP: 1n << 16n,
  PG: 1n << 31n,
} as const;
/** CR4 bits. */
export const CR4 = { PSE: 1n << 4n, PAE: 1n << 5n, OSFXSR: 1n << 9n, OSXMMEXCPT: 1n << 10n } as const;
/** IA32_EFER bits. SDM volume 3A, 2.2.1. */
export const EFER = { SCE: 1n << 0n, LME: 1n << 8n, LMA: 1n << 10n, NXE: 1n << 11n } as const;
/** RFLAGS with only its always-one bit. */
export const RFLAGS_RESERVED = 2n;

/** What boot code decides about the CPU that starts: everything else is as after reset. */
export interface EntryState {
  registers: Partial<GeneralRegisters>;
  system: Partial<SystemRegisters>;
}

/** Some of a vCPU's registers, to be set. */
export interface VcpuChange {
  registers?: Partial<GeneralRegisters>;
  system?: Partial<SystemRegisters>;
  /** As {@link VcpuState.xsave}; the first 512 bytes are enough. */
  xsave?: Uint8Array;
}

/** A flat 4 GiB protected-mode segment. @param type - 0xb: code, execute/read, accessed; 0x3: data, read/write, accessed */
export function flatSegment(selector: number, type: 0xb | 0x3): Segment {
  return {
    selector,
    base: 0n,
    limit: 0xffff_ffff,
    type,
    s: 1,
    dpl: 0,
    present: 1,
    avl: 0,
    l: 0,
    db: 1,
    g: 1,
    unusable: 0,
  };
}

/** A 64-bit code segment. SDM volume 3A, 5.2.1. */
export function longCodeSegment(selector: number): Segment {
  return { ...flatSegment(selector, 0xb), l: 1, db: 0 };
}

/** A real-mode segment: base is selector × 16, limit 64 KiB. SDM volume 3B, 20.1.1. */
export function realModeSegment(selector: number, type: 0xb | 0x3): Segment {
  return { ...flatSegment(selector, type), base: BigInt(selector) << 4n, limit: 0xffff, db: 0, g: 0 };
}

/** A 32-bit busy task-state segment, as VM entry in protected mode asks for. */
export function taskSegment(selector: number, base: bigint, limit: number): Segment {
  return { ...flatSegment(selector, 0xb), s: 0, base, limit, db: 0, g: 0 };
}
