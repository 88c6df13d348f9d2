/**
 * A case and its result, as objects over the oracle's fixed-size records (struct input and struct output in
 * oracle.c). Both records keep the FXSAVE image, the general registers and the memory windows at the same
 * offsets, so the result of an instruction that changes nothing is a copy of its case.
 *
 * Every field is a view of one buffer: sending a case to the oracle is one copy, and comparing two results is
 * mostly comparing bytes.
 */

export const RECORD_SIZE = 1344;

/** The address space that every case sees; oracle.c repeats these numbers. All addresses are linear. */
export const Layout = {
  /** 64 KiB of CC (INT3), where the instruction lies: read and execute. Base of the 16-bit code segment. */
  codeBase: 0x2000_0000,
  codeSize: 0x1_0000,
  /** The instruction's offset from `codeBase` (in 16-bit mode: its IP). */
  codeStart: 0x800,
  /** Two writable pages; what lies before and after is not mapped. Base of the 16-bit data segment. */
  dataBase: 0x1000_0000,
  dataSize: 0x2000,
  /** One page of zeros that user code may only read. */
  readonlyBase: 0x1000_4000,
  readonlySize: 0x1000,
  /** The base of FS and of GS, in every mode. */
  fsBase: 0x1000_0000,
  gsBase: 0x1000_0f00,
  /** Window 1: 512 bytes around the border of the two data pages. Outside the windows the pages hold zeros. */
  middleBase: 0x1000_0f00,
  middleSize: 512,
  /** Window 2: the last 128 bytes before the unmapped page. */
  tailBase: 0x1000_1f80,
  tailSize: 128,
} as const;

export type Mode = 16 | 32 | 64;

/** What a segment register holds when a case starts. Limits are byte limits; `big` is the D/B flag. */
export interface SegmentState {
  readonly selector: number;
  readonly base: number;
  readonly limit: number;
  readonly big: boolean;
  readonly code: boolean;
}

/**
 * ES, CS, SS, DS, FS, GS at the start, by mode. CPL is 3; CR0 has PE, MP, ET, NE, WP, AM and PG, CR4 has
 * OSFXSR, OSXMMEXCPT and UMIP; IOPL is 0 and IF is 1; no I/O port is allowed by the TSS. In 64-bit mode FS and
 * GS have null selectors and the bases that Linux keeps in MSRs.
 */
export function segmentsOf(mode: Mode): readonly SegmentState[] {
  return SEGMENTS[mode];
}

function data(selector: number, base: number, limit: number): SegmentState {
  return { selector, base, limit, big: limit > 0xffff, code: false };
}

const FLAT = data(0x2b, 0, 0xffff_ffff);
const SEGMENTS: Readonly<Record<Mode, readonly SegmentState[]>> = {
  64: [
    FLAT,
    { selector: 0x33, base: 0, limit: 0xffff_ffff, big: false, code: true },
    FLAT,
    FLAT,
    data(0, Layout.fsBase, 0xffff_ffff),
    data(0, Layout.gsBase, 0xffff_ffff),
  ],
  32: [
    FLAT,
    { selector: 0x23, base: 0, limit: 0xffff_ffff, big: true, code: true },
    FLAT,
    FLAT,
    data(0x17, Layout.fsBase, 0xffff_ffff),
    data(0x1f, Layout.gsBase, 0xffff_ffff),
  ],
  16: [
    data(0x0f, Layout.dataBase, 0xffff),
    { selector: 0x07, base: Layout.codeBase, limit: 0xffff, big: false, code: true },
    data(0x0f, Layout.dataBase, 0xffff),
    data(0x0f, Layout.dataBase, 0xffff),
    data(0x27, Layout.fsBase, 0xffff),
    data(0x2f, Layout.gsBase, 0xffff),
  ],
};

/** A descriptor's eight bytes (SDM vol. 3, 3.4.5); `limit` has 20 bits, `flags` are G, D/B, L, AVL. */
function descriptor(base: number, limit: number, access: number, flags: number): bigint {
  const low = (limit & 0xffff) | ((base & 0xffff) << 16);
  const high =
    ((base >>> 16) & 0xff) | (access << 8) | (limit & 0xf_0000) | (flags << 20) | (base & 0xff00_0000);
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

/** The GDT that Linux has, as far as cases load from it: entries 0–6. */
export const GDT: readonly bigint[] = [
  0n,
  descriptor(0, 0xf_ffff, 0x9b, 0xc), // 08: kernel code, 32-bit
  descriptor(0, 0xf_ffff, 0x9b, 0xa), // 10: kernel code
  descriptor(0, 0xf_ffff, 0x93, 0xc), // 18: kernel data
  descriptor(0, 0xf_ffff, 0xfb, 0xc), // 20: user code, 32-bit
  descriptor(0, 0xf_ffff, 0xf3, 0xc), // 28: user data
  descriptor(0, 0xf_ffff, 0xfb, 0xa), // 30: user code
];

/** The oracle's LDT, whole: its limit is that of these entries. */
export const LDT: readonly bigint[] = [
  descriptor(Layout.codeBase, 0xffff, 0xfb, 0x1), // 07: 16-bit code
  descriptor(Layout.dataBase, 0xffff, 0xf3, 0x1), // 0F: 16-bit data
  descriptor(Layout.fsBase, 0xf_ffff, 0xf3, 0xd), // 17: FS of 32-bit code
  descriptor(Layout.gsBase, 0xf_ffff, 0xf3, 0xd), // 1F: GS of 32-bit code
  descriptor(Layout.fsBase, 0xffff, 0xf3, 0x1), // 27: FS of 16-bit code
  descriptor(Layout.gsBase, 0xffff, 0xf3, 0x1), // 2F: GS of 16-bit code
];

/** Bits of RFLAGS (SDM vol. 1, 3.4.3). */
export const Flag = {
  CF: 1 << 0,
  PF: 1 << 2,
  AF: 1 << 4,
  ZF: 1 << 6,
  SF: 1 << 7,
  TF: 1 << 8,
  IF: 1 << 9,
  DF: 1 << 10,
  OF: 1 << 11,
  NT: 1 << 14,
  RF: 1 << 16,
  AC: 1 << 18,
  ID: 1 << 21,
} as const;

/** The condition codes in the x87 status word. */
export const FpuFlag = { C0: 0x100, C1: 0x200, C2: 0x400, C3: 0x4000 } as const;

/**
 * What the manual leaves open in the outcome of one case: differences there don't count. Zeros and empty
 * lists mean that everything is defined.
 */
export interface Leeway {
  /** RFLAGS bits that are undefined. */
  flags: number;
  /** Bit n: general register n is undefined. */
  gprs: number;
  /** Condition codes (FpuFlag) that are undefined. */
  fsw: number;
  /** Linear ranges whose contents are undefined, as start and length in turn. */
  memory: number[];
  /** If the instruction faults, some of its stores may have been done already. */
  partialStores: boolean;
  /** If it faults, general registers may have been loaded already. */
  partialLoads: boolean;
  /** It reads or writes several things: which of them a page fault is about isn't specified. */
  anyPage: boolean;
  /** Nothing but the kind of end and RIP counts. */
  onlyEnd: boolean;
  /** The same of faults of every kind that memory operands have. */
  anyFault: boolean;
  /** A virtual processor may report the exception with the RIP of the instruction instead of the next. */
  anyRip: boolean;
  /** x87 registers may differ by this many units in the last place (transcendental instructions). */
  x87Ulps: number;
  /** Relative error allowed for single-precision elements of XMM registers (RCPPS, RSQRTPS). */
  xmmRelative: number;
}

function nothing(): Leeway {
  return {
    flags: 0,
    gprs: 0,
    fsw: 0,
    memory: [],
    partialStores: false,
    partialLoads: false,
    anyPage: false,
    onlyEnd: false,
    anyFault: false,
    anyRip: false,
    x87Ulps: 0,
    xmmRelative: 0,
  };
}

// Offsets in both records.
const FX = 0;
const GPR = 512;
const RFLAGS = 640;
const MEMORY = 704;
const MEMORY_SIZE = Layout.middleSize + Layout.tailSize;
// Offsets in the input record.
const MODE = 644;
const CODE_LENGTH = 648;
const STRAIGHT = 652;
const CODE = 656;
// Offsets in the output record.
const KIND = 644;
const TRAP = 648;
const ERROR = 652;
const CR2 = 656;
const RIP = 664;
const SEGMENT = 672;
const STRAY = 684;

/** The parts that a case and a result have in common: x87 and SSE state, general registers, memory windows. */
abstract class MachineState {
  /** The whole record. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  #gpr: BigUint64Array<ArrayBuffer> | undefined;
  #gprHalves: Uint32Array<ArrayBuffer> | undefined;
  #fx: Uint8Array<ArrayBuffer> | undefined;
  #memory: Uint8Array<ArrayBuffer> | undefined;

  protected constructor(buffer: ArrayBuffer, offset: number) {
    this.bytes = new Uint8Array(buffer, offset, RECORD_SIZE);
    this.view = new DataView(buffer, offset, RECORD_SIZE);
  }

  // A view costs more to make than most uses of a record would gain from having it ready: made when asked for.

  /** RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8–R15. Outside 64-bit mode the upper halves are 0. */
  get gpr(): BigUint64Array<ArrayBuffer> {
    this.#gpr ??= new BigUint64Array(this.bytes.buffer, this.bytes.byteOffset + GPR, 16);
    return this.#gpr;
  }

  /** The same registers in halves: low half of register n at 2n, high half at 2n + 1. */
  get gprHalves(): Uint32Array<ArrayBuffer> {
    this.#gprHalves ??= new Uint32Array(this.bytes.buffer, this.bytes.byteOffset + GPR, 32);
    return this.#gprHalves;
  }

  /**
   * FXSAVE image, 512 bytes, in the 64-bit format: x87, MXCSR, XMM0–15. Its reserved bytes, MXCSR_MASK and the
   * last x87 instruction's opcode and pointers (FOP, FIP, FDP) are 0: processors differ in those.
   */
  get fx(): Uint8Array<ArrayBuffer> {
    this.#fx ??= this.bytes.subarray(FX, FX + 512);
    return this.#fx;
  }

  /** Both windows: Layout.middleSize bytes, then Layout.tailSize bytes. */
  get memory(): Uint8Array<ArrayBuffer> {
    this.#memory ??= this.bytes.subarray(MEMORY, MEMORY + MEMORY_SIZE);
    return this.#memory;
  }

  /** RFLAGS; of a case: the status flags, DF and AC, to which the oracle adds IF and bit 1. */
  get rflags(): number {
    return this.view.getUint32(RFLAGS, true);
  }
  set rflags(value: number) {
    this.view.setUint32(RFLAGS, value, true);
  }

  get fcw(): number {
    return this.view.getUint16(FX, true);
  }
  set fcw(value: number) {
    this.view.setUint16(FX, value, true);
  }

  get fsw(): number {
    return this.view.getUint16(FX + 2, true);
  }
  set fsw(value: number) {
    this.view.setUint16(FX + 2, value, true);
  }

  /** The abridged tag word: bit n is set when physical register n isn't empty. */
  get ftw(): number {
    return this.view.getUint8(FX + 4);
  }
  set ftw(value: number) {
    this.view.setUint8(FX + 4, value);
  }

  get mxcsr(): number {
    return this.view.getUint32(FX + 24, true);
  }
  set mxcsr(value: number) {
    this.view.setUint32(FX + 24, value, true);
  }

  /** ST(i) as its ten bytes. */
  st(index: number): Uint8Array<ArrayBuffer> {
    return this.fx.subarray(32 + 16 * index, 42 + 16 * index);
  }

  xmm(index: number): Uint8Array<ArrayBuffer> {
    return this.fx.subarray(160 + 16 * index, 176 + 16 * index);
  }
}

/** One instruction and the state it starts from. */
export class Case extends MachineState {
  /** The instruction's form, for people: mnemonic and opcode, e.g. `add 01 /r`. */
  form = '';
  /** The instruction group that the form belongs to, e.g. `alu`. */
  group = '';
  /** With the form, makes the same case again (see `generateCase`). */
  seed = 0;
  readonly leeway: Leeway = nothing();
  /** For reports: ModRM.reg, ModRM.rm or the opcode's register, and the linear address of the memory operand. */
  reg = -1;
  rm = -1;
  operand: number | bigint | undefined;

  constructor(mode: Mode = 64, code: ArrayLike<number> = []) {
    super(new ArrayBuffer(RECORD_SIZE), 0);
    this.mode = mode;
    this.setCode(code);
    this.fcw = 0x37f;
    this.mxcsr = 0x1f80;
    this.gprHalves[8] = mode === 16 ? 0xff0 : Layout.middleBase + 0xf0;
  }

  get mode(): Mode {
    return this.view.getUint32(MODE, true) as Mode;
  }
  set mode(value: Mode) {
    this.view.setUint32(MODE, value, true);
  }

  /** Whether it surely doesn't branch, which lets the oracle take a short cut. */
  get straight(): boolean {
    return this.view.getUint32(STRAIGHT, true) !== 0;
  }
  set straight(value: boolean) {
    this.view.setUint32(STRAIGHT, value ? 1 : 0, true);
  }

  /** The instruction's bytes. */
  get code(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(CODE, CODE + this.view.getUint32(CODE_LENGTH, true));
  }

  /** @throws {RangeError} if there are more than 15 bytes, the longest an instruction may be. */
  setCode(code: ArrayLike<number>): void {
    if (code.length > 15) throw new RangeError(`an instruction has at most 15 bytes, not ${code.length}`);
    this.bytes.fill(0x90, CODE, CODE + 16);
    this.bytes.set(code, CODE);
    this.view.setUint32(CODE_LENGTH, code.length, true);
  }
}

/** How a case ended. */
export const Kind = {
  /** The instruction was executed; `rip` is that of the next one. */
  ok: 0,
  /** It raised the exception `trap`; `rip` is the address that was pushed. */
  trap: 1,
  /** It didn't end (a jump to itself). */
  timeout: 2,
  /** The host cannot run code of this mode. */
  unsupported: 3,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** `trap` of an instruction that asks the kernel for something: SYSCALL, SYSENTER, INT 80h. */
export const TRAP_SYSCALL = 0x80;

/** The state after a case. */
export class Result extends MachineState {
  constructor(buffer: ArrayBuffer = new ArrayBuffer(RECORD_SIZE), offset = 0) {
    super(buffer, offset);
  }

  /** The result of a case that changed nothing: what a CPU under test starts from to fill in its own. */
  static from(c: Case): Result {
    const result = new Result();
    result.bytes.set(c.bytes);
    result.bytes.fill(0, KIND, MEMORY);
    result.rflags = c.rflags | Flag.IF | 2;
    segmentsOf(c.mode).forEach((segment, i) => {
      result.setSegment(i, segment.selector);
    });
    return result;
  }

  get kind(): Kind {
    return this.view.getUint32(KIND, true) as Kind;
  }
  set kind(value: Kind) {
    this.view.setUint32(KIND, value, true);
  }

  /** The exception's vector. */
  get trap(): number {
    return this.view.getUint32(TRAP, true);
  }
  set trap(value: number) {
    this.view.setUint32(TRAP, value, true);
  }

  /** Its error code; 0 for vectors without one. */
  get error(): number {
    return this.view.getUint32(ERROR, true);
  }
  set error(value: number) {
    this.view.setUint32(ERROR, value, true);
  }

  /** CR2 of a page fault; 0 otherwise. */
  get cr2(): bigint {
    return this.view.getBigUint64(CR2, true);
  }
  set cr2(value: bigint) {
    this.view.setBigUint64(CR2, value, true);
  }

  get rip(): bigint {
    return this.view.getBigUint64(RIP, true);
  }
  set rip(value: bigint) {
    this.view.setBigUint64(RIP, value, true);
  }

  /** Selector of ES, CS, SS, DS, FS, GS (0–5). */
  segment(index: number): number {
    return this.view.getUint16(SEGMENT + 2 * index, true);
  }
  setSegment(index: number, selector: number): void {
    this.view.setUint16(SEGMENT + 2 * index, selector, true);
  }

  /** The first address in the data pages, outside the windows, that isn't zero any more; or 0. */
  get stray(): number {
    return this.view.getUint32(STRAY, true);
  }
  set stray(value: number) {
    this.view.setUint32(STRAY, value, true);
  }
}
