/**
 * The state of a virtual CPU in its neutral form: the same for every driver, so that a guest can be
 * saved on one and go on with another, and so that boot code can say how a CPU starts without knowing
 * what will run it. 64-bit values are bigints: this is never a hot path.
 *
 * References: Intel SDM volume 3A, 3.4 (segments), 9.1.1 (state after reset); AMD APM volume 2, 14.1.
 */

import type { CpuidLeaf } from './cpuid.ts';

/**
 * General registers: 64 bits each, 0 to 2⁶⁴ − 1. 16- and 32-bit code sees the low bits of the first eight.
 * SDM volume 1, 3.4.
 */
export interface GeneralRegisters {
  /** RAX; EAX and AX are its low 32 and 16 bits. */
  rax: bigint;
  /** RBX. */
  rbx: bigint;
  /** RCX: the count of string instructions and loops. */
  rcx: bigint;
  /** RDX. */
  rdx: bigint;
  /** RSI: where string instructions read. */
  rsi: bigint;
  /** RDI: where string instructions write. */
  rdi: bigint;
  /** RSP: the stack pointer, an offset in the segment SS. */
  rsp: bigint;
  /** RBP. */
  rbp: bigint;
  /** R8, in 64-bit code. */
  r8: bigint;
  /** R9, in 64-bit code. */
  r9: bigint;
  /** R10, in 64-bit code. */
  r10: bigint;
  /** R11, in 64-bit code. */
  r11: bigint;
  /** R12, in 64-bit code. */
  r12: bigint;
  /** R13, in 64-bit code. */
  r13: bigint;
  /** R14, in 64-bit code. */
  r14: bigint;
  /** R15, in 64-bit code. */
  r15: bigint;
  /** RIP: the next instruction, an offset in the segment CS. */
  rip: bigint;
  /** RFLAGS. SDM volume 1, 3.4.3. */
  rflags: bigint;
}

/** A segment register with its hidden part, decoded. SDM volume 3A, 3.4.3 and 3.4.5. */
export interface Segment {
  /** The part that software sees; 0 to 0xffff. */
  selector: number;
  /** Linear address of the first byte; 64 bits. */
  base: bigint;
  /** Effective limit in bytes − 1, granularity already applied; 0 to 2³² − 1. */
  limit: number;
  /** The descriptor's type field, 0 to 15. SDM volume 3A, tables 3-1 and 3-2. */
  type: number;
  /** The descriptor's S flag: 1 for code and data, 0 for system segments. */
  s: number;
  /** Descriptor privilege level, 0 to 3. */
  dpl: number;
  /** The descriptor's P flag, 0 or 1. */
  present: number;
  /** The descriptor's AVL flag, 0 or 1: for software's use. */
  avl: number;
  /** The descriptor's L flag: 1 for a 64-bit code segment. */
  l: number;
  /** The descriptor's D/B flag, default operation size: 1 for 32 bits. */
  db: number;
  /** The descriptor's G flag, granularity: 1 where the limit was given in pages of 4 KiB. */
  g: number;
  /** 1 when loaded with a null selector, or otherwise unusable (SDM volume 3C, 24.4.1). */
  unusable: number;
}

/** GDTR or IDTR. SDM volume 3A, 2.4. */
export interface TableRegister {
  /** Linear address. */
  base: bigint;
  /** In bytes − 1; 0 to 0xffff. */
  limit: number;
}

/** Segment, control and system registers. SDM volume 3A, 2.4, 2.5 and 3.4. */
export interface SystemRegisters {
  /** CS: code. */
  cs: Segment;
  /** DS: data. */
  ds: Segment;
  /** ES: data. */
  es: Segment;
  /** FS: data; its base is IA32_FS_BASE. */
  fs: Segment;
  /** GS: data; its base is IA32_GS_BASE. */
  gs: Segment;
  /** SS: the stack. */
  ss: Segment;
  /** TR: the task-state segment. */
  tr: Segment;
  /** LDTR: the local descriptor table. */
  ldt: Segment;
  /** GDTR: the global descriptor table. */
  gdt: TableRegister;
  /** IDTR: the interrupt descriptor table. */
  idt: TableRegister;
  /** CR0: protection, paging, caches. SDM volume 3A, 2.5, for all control registers. */
  cr0: bigint;
  /** CR2: the linear address of the last page fault. */
  cr2: bigint;
  /** CR3: the physical address of the root of the page tables, with flags and PCID. */
  cr3: bigint;
  /** CR4: extensions. */
  cr4: bigint;
  /** CR8: the task priority, 0 to 15; the local APIC's TPR, bits 7 to 4. */
  cr8: bigint;
  /** IA32_EFER: long mode, SYSCALL, no-execute. SDM volume 3A, 2.2.1. */
  efer: bigint;
  /** IA32_APIC_BASE: the local APIC's physical address and flags. SDM volume 3A, 10.4.4. */
  apicBase: bigint;
}

/** What a vCPU is doing besides its registers. Numbered as KVM does (KVM_GET_MP_STATE). */
export const MpState = {
  /** It executes instructions. */
  runnable: 0,
  /** An application processor that waits for INIT. */
  uninitialized: 1,
  /** It has had INIT, and waits for a start-up IPI. SDM volume 3A, 8.4. */
  initReceived: 2,
  /** In HLT, until an interrupt. */
  halted: 3,
  /** A start-up IPI has come: it is about to begin. */
  sipiReceived: 4,
} as const;
/** One of the values of {@link MpState}. */
export type MpState = (typeof MpState)[keyof typeof MpState];

/** Events that are on their way into the CPU. SDM volume 3A, chapter 6. */
export interface PendingEvents {
  /** An exception. */
  exception: PendingException;
  /** A maskable interrupt. */
  interrupt: PendingInterrupt;
  /** The non-maskable interrupt. */
  nmi: PendingNmi;
}

/** An exception that is being delivered. */
export interface PendingException {
  /** Whether there is one. */
  injected: boolean;
  /** 0 to 31. SDM volume 3A, table 6-1. */
  vector: number;
  /** Whether it puts an error code on the stack. */
  hasErrorCode: boolean;
  /** That code; 32 bits. SDM volume 3A, 6.13. */
  errorCode: number;
}

/** An interrupt that is being delivered, and whether the next one has to wait. */
export interface PendingInterrupt {
  /** Whether there is one. */
  injected: boolean;
  /** 0 to 255. */
  vector: number;
  /** Whether it is an INT n instruction's. */
  soft: boolean;
  /**
   * Non-zero for one instruction after MOV SS, POP SS and STI, while no interrupt is taken (SDM volume 3A, 6.8.3). KVM
   * tells the first two, 1, from the last, 2.
   */
  shadow: number;
}

/** The non-maskable interrupt. SDM volume 3A, 6.7. */
export interface PendingNmi {
  /** Whether it is being delivered. */
  injected: boolean;
  /** Whether one waits. */
  pending: boolean;
  /** Whether others are held back until IRET. */
  masked: boolean;
}

/** The whole state of a vCPU, the same on every driver. */
export interface VcpuState {
  /** General registers, RIP and RFLAGS. */
  registers: GeneralRegisters;
  /** Segment, control and system registers. */
  system: SystemRegisters;
  /** DR0–DR3, DR6, DR7: the guest's own, 64 bits each. SDM volume 3B, 17.2. */
  debug: readonly [bigint, bigint, bigint, bigint, bigint, bigint];
  /** XCR0, or undefined where the CPU has no XSAVE. */
  xcr0: bigint | undefined;
  /** FPU, SSE and extended state in the standard (not compacted) XSAVE form; the first 512 bytes are FXSAVE's. */
  xsave: Uint8Array;
  /** Model-specific registers by index; 64 bits each. SDM volume 4. */
  msrs: ReadonlyMap<number, bigint>;
  /** Whether it runs, has halted, or waits to be started. */
  mpState: MpState;
  /** What is on its way into it. */
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
