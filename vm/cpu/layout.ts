/**
 * Where everything lies in the CPU's WebAssembly memory: the state of the vCPU that is running, its
 * translation caches, decoded code, and the guest's RAM. TypeScript, the interpreter's handlers and
 * compiled regions all see these bytes at the same addresses, which are constants in their code.
 */

/** Byte addresses of the running vCPU's state. 64-bit fields are little-endian pairs of 32-bit words. */
export const State = {
  /** RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 … R15 in their encoding's order, 8 bytes each. */
  gpr: 0x1000,
  /** Instruction pointer; up to date whenever no guest code runs. */
  rip: 0x1080,
  /** RIP of the current code page's first byte: RIP is this plus an instruction's offset in its page. */
  ripBase: 0x1088,
  /**
   * Lazy arithmetic flags: the last result, the vector of carries out of each bit, and 64 minus the
   * operand size. A shift of 64 says that `ccAux` holds EFLAGS bits themselves; with {@link LazyFlags} in it,
   * `ccAux` holds the second operand.
   */
  ccRes: 0x1090,
  ccAux: 0x1098,
  ccShift: 0x10a0,
  /** RFLAGS without the six arithmetic flags. */
  eflags: 0x10a4,
  /** Instructions left before the run loop wants to look around. */
  budget: 0x10a8,
  /** Mode bits: see {@link ModeBit}. */
  mode: 0x10ac,
  /** Bits that make a linear address's tag in the jump cache different for each mode. */
  modeTag: 0x10b0,
  /** Bits of a linear address: all ones in 64-bit mode, else 32. */
  linearMask: 0x10b8,
  /** Segment bases, in the order ES CS SS DS FS GS, then LDTR, TR, GDTR, IDTR, and one that is always zero. */
  segBase: 0x10c0,
  zero: 0x1110,
  /** Linear address of an access that left the fast path. */
  faultAddress: 0x1118,
  /** Value of a store that left the fast path (16 bytes). */
  storeValue: 0x1120,
  /** Mask of the stack pointer: 16, 32 or 64 bits. */
  stackMask: 0x1130,
  /** Non-zero when x87 and MMX instructions raise #NM (bit 0) and SSE ones #NM or #UD (bits 1 and 2). */
  fpuTrap: 0x1138,
  mxcsr: 0x113c,
  /** Linear address of a memory operand, for helpers. */
  ea: 0x1140,
  cr0: 0x1148,
  cr2: 0x1150,
  cr3: 0x1158,
  cr4: 0x1160,
  cr8: 0x1168,
  efer: 0x1170,
  dr: 0x1178,
  cpl: 0x11b8,
  /** Segment registers' selectors, limits and attributes, in the order of segBase; 4 bytes each, 10 of them. */
  segSelector: 0x11c0,
  segLimit: 0x11f0,
  /** Bits 8–15 and 20–23 of a descriptor's second word, as the SDM draws it, moved down by 8; bit 16: unusable. */
  segAttributes: 0x1220,
  /** x87: registers by physical number, 16 bytes each: significand, then sign and exponent. */
  fpr: 0x1280,
  fpuControl: 0x1300,
  fpuStatus: 0x1304,
  /** One bit a physical register: 1 when it is not empty. */
  fpuTags: 0x1308,
  fpuTop: 0x130c,
  fpuOpcode: 0x1310,
  fpuIp: 0x1318,
  fpuDp: 0x1320,
  xmm: 0x1340,
  star: 0x1440,
  lstar: 0x1448,
  cstar: 0x1450,
  sfmask: 0x1458,
  kernelGsBase: 0x1460,
  tscAux: 0x1468,
  sysenterCs: 0x1470,
  sysenterEsp: 0x1478,
  sysenterEip: 0x1480,
  pat: 0x1488,
  xcr0: 0x1490,
  misc: 0x1498,
  tscOffset: 0x14a0,
  /** Set for one instruction after STI, MOV SS and POP SS. */
  interruptShadow: 0x14a8,
  halted: 0x14ac,
  nmiMasked: 0x14b0,
  /** Address of the TLB for the current privilege level. */
  tlb: 0x14b4,
  /** Bits of RIP: 16, 32 or all, by the code segment. */
  ripMask: 0x14b8,
  apicBase: 0x1600,
  nmiPending: 0x1604,
  /** An application processor that waits for INIT or STARTUP. */
  waitsForStartup: 0x1608,
  /** Set while an interrupt may wait: what enables interrupts then goes the long way. */
  attention: 0x160c,
  /** An event that was on its way into the CPU when the state was saved elsewhere: {@link EventKind} and vector, 0 for none. */
  event: 0x1610,
  /** Its error code, −1 for none. */
  eventError: 0x1614,
  /** Set while an instruction is run by itself: one that is repeated then does an element. */
  single: 0x1618,
  /** Area where values for helpers lie. */
  scratch: 0x14c0,
  /** MSR_KVM_SYSTEM_TIME_NEW and MSR_KVM_WALL_CLOCK_NEW: see kvm-clock.ts. */
  kvmSystemTime: 0x1620,
  kvmWallClock: 0x1628,
  end: 0x1630,
} as const;

/**
 * Added to State.ccShift: `sub` and `add` after a subtraction or addition whose carries haven't been worked out;
 * `replaced` after a rotate, INC or DEC, with CF and OF as it has left them in the bits `carry` and `overflow` (whose
 * numbers are given), while the rest says what made the other flags.
 */
export const LazyFlags = {
  shiftMask: 0x7f,
  sub: 0x100,
  add: 0x200,
  replaced: 0x400,
  /** What `replaced` leaves. */
  kept: 0x37f,
  carry: 16,
  overflow: 17,
} as const;

/** Where the states of vCPUs lie that aren't running: each as long as from State.gpr to State.end. */
export const SAVED_STATES = 0x8000;
export const SAVED_STATE_SIZE = 0x1000;
/** Most vCPUs. */
export const CPU_VCPUS_MAXIMUM = 32;

/** Accesses that cross pages or go to devices pass through here; lower than any other host address of the guest's. */
export const CROSS_PAGE = 0x1800;
export const CROSS_PAGE_END = 0x1900;

/** Constants that vector instructions load: sign and absolute-value masks, shuffles. */
export const CONSTANTS = 0x1a00;

/**
 * Direct-mapped cache from linear address and mode to a block: 16 bytes an entry. Its tag, the block's head, and the
 * head's handler, which saves a look at the head.
 */
export const JUMP_CACHE = 0x4_0000;
export const JUMP_CACHE_ENTRIES = 16384;
/** Entries behind those, found by another hash: for addresses that push each other out of the first. */
export const SECOND_ENTRIES_SHIFT = 12;
export const SECOND_ENTRIES = 1 << SECOND_ENTRIES_SHIFT;
/** Their hash: the upper bits of a linear address's low word times this. */
export const SECOND_MULTIPLIER = 0x9e37_79b1 | 0;

/**
 * The TLB: one for supervisor and one for user mode, 32 bytes an entry, direct-mapped. It covers 64 MiB: with half of that
 * Linux's own data, at 16 MiB and on, met what it has of each CPU, at the top of RAM, in the same entries.
 */
export const TLB = {
  supervisor: 0x10_0000,
  user: 0x18_0000,
  /** One that stays empty, for code whose every access TypeScript is to see: see {@link CpuMode.checksAlignment}. */
  nothing: 0x20_0000,
} as const;
export const TLB_ENTRIES = 16384;
export const TLB_ENTRY_SHIFT = 5;
export const TLB_READ_TAG = 0;
export const TLB_WRITE_TAG = 8;
export const TLB_ADDEND = 16;

/** Decoded code. */
export const CODE_START = 0x28_0000;
export const CODE_END = 0x228_0000;
/** Guest RAM. */
export const RAM_START = 0x228_0000;

/** Bits of the mode that code is decoded for. Blocks of different modes never meet. */
export const ModeBit = {
  /** Bits 0 and 1: 0 for 16-bit code, 1 for 32-bit, 2 for 64-bit. */
  codeSize: 3,
  stack32: 1 << 2,
  user: 1 << 3,
  /** Outside 64-bit mode: CS, DS, ES and SS cover all of the address space from 0. */
  flat: 1 << 4,
  /** FS has no limit below 4 GiB. */
  flatFs: 1 << 5,
  /** IA-32e mode is active (EFER.LMA), be it 64-bit or compatibility mode. */
  longActive: 1 << 6,
  /** GS has no limit below 4 GiB. */
  flatGs: 1 << 7,
} as const;

/** What {@link State.event} is, in its bits 8 and up. */
export const EventKind = { exception: 1, external: 2, software: 3, nmi: 4 } as const;

/** Segment numbers as instructions encode them. */
export const Seg = {
  es: 0,
  cs: 1,
  ss: 2,
  ds: 3,
  fs: 4,
  gs: 5,
  ldtr: 6,
  tr: 7,
  gdtr: 8,
  idtr: 9,
  none: 10,
} as const;

/** One decoded instruction, as the interpreter reads it. */
export const Op = {
  size: 48,
  /** Index in the table of the handler (or compiled region) to go to. */
  handler: 0,
  /** Offset of the instruction in its page (16 bits), then how many instructions of its block are not done when it begins. */
  place: 4,
  /** State addresses of its first three register operands. */
  reg0: 8,
  reg1: 12,
  reg2: 16,
  /** Memory operand: state addresses of base, index and segment base, and the scale's shift; displacement and mask. */
  base: 20,
  index: 24,
  segment: 28,
  immediate: 32,
  displacement: 40,
  /** Links of a branch lie where other instructions have their immediate. */
  taken: 32,
  fallThrough: 36,
  /** In a block's head. */
  count: 8,
  instructions: 12,
} as const;
