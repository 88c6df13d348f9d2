/**
 * Where AMD's and Intel's processors differ, and what a comparison makes of it.
 *
 * vm/cpu says AuthenticAMD in CPUID and does as AMD's processors do wherever the two differ. Each entry of the list
 * covers what a host's processor does otherwise: for exactly the encodings and conditions that its `applies` states, and
 * of what is compared only what its `covers` names. Anything else that differs in the same case is still a difference.
 * The report tells how many cases each entry covered. On an AMD host only entries count for which no manual says what is
 * right, and in which AMD's own processors differ.
 *
 * Each entry gives its reason: the manuals where they say so ("SDM" is Intel's, "APM" is AMD's), else that it was
 * observed, on Intel's Sapphire Rapids and AMD's Zen 5, in cases where vm/cpu does as earlier ones of AMD's Zen line did.
 */
import { type Encoding, encodingOf } from './encoding.ts';
import { type Case, Flag, Kind, Layout, type Result } from './records.ts';

/** A case with what the host's processor made of it and what vm/cpu did. */
interface Outcome {
  readonly c: Case;
  readonly e: Encoding;
  readonly host: Result;
  readonly ours: Result;
}

export interface VendorDifference {
  /** Says in a report what the cases are. */
  readonly title: string;
  /** CPUID's vendor strings of the processors that do otherwise than vm/cpu. */
  readonly vendors: readonly string[];
  readonly applies: (outcome: Outcome) => boolean;
  /** Whether a difference (Difference.what: a register, a flag, `end`, `memory 10000f80` …) is due to it. Default: all. */
  readonly covers?: (what: string, outcome: Outcome) => boolean;
}

const AMD = ['AuthenticAMD'];
const INTEL = ['GenuineIntel'];
/** Where no manual says what is right, and AMD's Zen 5 does as Intel's processors, but its predecessors as vm/cpu. */
const EITHER = [...INTEL, ...AMD];

const STATUS = Flag.CF | Flag.PF | Flag.AF | Flag.ZF | Flag.SF | Flag.OF;
const STATUS_NAMES = ['CF', 'PF', 'AF', 'ZF', 'SF', 'OF'];
const LOW_HALF = 0xffff_ffffn;
const Vector = { br: 5, ud: 6, ss: 12, gp: 13, pf: 14, mf: 16, ac: 17 } as const;

const FAR_POINTER_LOADS = [0x0fb2, 0x0fb4, 0x0fb5];
const SEGMENT_PUSHES = [0x06, 0x0e, 0x16, 0x1e, 0x0fa0, 0x0fa8];
const SEGMENT_POPS = [0x07, 0x17, 0x1f, 0x0fa1, 0x0fa9];
const FAR_RETURNS = [0xca, 0xcb];
const IRET = 0xcf;
const STRING_OPCODES = [0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf];
const STRING_COMPARES = [0xa6, 0xa7, 0xae, 0xaf];
const MMX_STORES = [0x0f7e, 0x0f7f, 0x0fe7];
const PORT_STRINGS = [0x6c, 0x6d, 0x6e, 0x6f];

function raised(result: Result, ...vectors: number[]): boolean {
  return result.kind === Kind.trap && vectors.includes(result.trap);
}

function executed(result: Result): boolean {
  return result.kind === Kind.ok;
}

/** The operand size of PUSH, POP and RET in bytes: 64-bit mode has no 32-bit ones, but of far returns. */
function slotSize({ c, e }: Outcome): number {
  const isFar = e.opcode === IRET || FAR_RETURNS.includes(e.opcode);
  return (c.mode === 64 && !isFar && e.operandSize === 32 ? 64 : e.operandSize) / 8;
}

/** The linear address of what is `offset` bytes above the stack pointer. */
function stackAddress(c: Case, offset: number): bigint {
  const sp = c.gpr[4]! + BigInt(offset);
  if (c.mode === 64) return BigInt.asUintN(64, sp);
  return c.mode === 32 ? BigInt.asUintN(32, sp) : BigInt(Layout.dataBase) + BigInt.asUintN(16, sp);
}

/** Whether the first `small` bytes at an address may be had where all `large` may not: another page, past a limit. */
function isSplit(address: number | bigint, small: number, large: number): boolean {
  const page = (bytes: number): bigint => (BigInt(address) + BigInt(bytes) - 1n) >> 12n;
  return page(small) !== page(large);
}

/** Whether an operand passes the limit of a segment of 16-bit code. */
function isPastLimit(c: Case, operand: number | bigint, size: number): boolean {
  return c.mode === 16 && Number(operand) + size > Layout.dataBase + 0x1_0000;
}

function peek16({ memory }: { readonly memory: Uint8Array }, address: bigint): number {
  const index = Number(address) - Layout.middleBase;
  const tail = Number(address) - Layout.tailBase;
  if (index >= 0 && index + 1 < Layout.middleSize) return memory[index]! | (memory[index + 1]! << 8);
  if (tail < 0 || tail + 1 >= Layout.tailSize) return 0;
  return memory[Layout.middleSize + tail]! | (memory[Layout.middleSize + tail + 1]! << 8);
}

/** Of `memory 10000f80`: whether the address is among `size` bytes from a start. */
function isMemoryIn(what: string, start: bigint, size: number): boolean {
  if (!what.startsWith('memory ')) return false;
  const address = BigInt(`0x${what.slice('memory '.length)}`);
  return address >= start && address < start + BigInt(size);
}

// Far pointers and segment registers.

const farPointers: VendorDifference = {
  // SDM vol. 2, LDS/LES/LFS/LGS/LSS, JMP and CALL: "REX.W + 0F B2 /r LSS r64, m16:64", "REX.W FF /5 JMP m16:64".
  // APM vol. 3, LSS, JMP (Far), CALL (Far): pointers are 16:16 and 16:32; REX.W is ignored.
  title: 'pointers of 16:64 bits (REX.W with LSS, LFS, LGS, JMP and CALL far), which AMD does not have',
  vendors: INTEL,
  applies: ({ c, e }) =>
    c.mode === 64 &&
    e.rexW &&
    e.isMemory &&
    (FAR_POINTER_LOADS.includes(e.opcode) || (e.opcode === 0xff && (e.reg === 3 || e.reg === 5))),
};

const selectorPushes: VendorDifference = {
  // SDM vol. 2, PUSH: "if the operand size is 32-bits, either a zero-extended value is pushed on the stack or the
  // segment selector is written on the stack using a 16-bit move. For the last case, all recent Intel Core and Intel
  // Atom processors perform a 16-bit move". Vol. 3, "Selector Pushes and Pops", says the same. AMD zero-extends.
  title: 'PUSH of a segment register writes 16 of 32 bits',
  vendors: INTEL,
  applies: ({ c, e }) => c.mode !== 64 && SEGMENT_PUSHES.includes(e.opcode) && e.operandSize === 32,
  covers(what, { c, host }) {
    const slot = stackAddress(c, -4);
    if (isMemoryIn(what, slot + 2n, 2)) return peek16(host, slot + 2n) === peek16(c, slot + 2n);
    // The other two bytes lie where nothing may be written, or past the stack segment's limit.
    return isSplit(slot, 2, 4) || (c.mode === 16 && (slot & 0xffffn) > 0xfffcn);
  },
};

const selectorPops: VendorDifference = {
  // SDM vol. 3, "Selector Pushes and Pops": "When popping a segment selector from the stack, the Pentium 4, Intel Xeon, P6 family, and
  // Intel486 processors read 2 bytes and increment the ESP register by the operand size of the instruction." It says
  // too that a fault of the other bytes is then missing. AMD reads all of the operand size.
  title: 'POP of a segment register and RET far read 16 bits of a selector, not all its slot',
  vendors: INTEL,
  applies(outcome) {
    const { c, e, ours } = outcome;
    const isReturn = FAR_RETURNS.includes(e.opcode);
    if (!isReturn && !SEGMENT_POPS.includes(e.opcode)) return false;
    const size = slotSize(outcome);
    const slot = stackAddress(c, isReturn ? size : 0);
    const pastLimit = c.mode === 16 && Number(slot & 0xffffn) + size > 0x1_0000;
    return raised(ours, Vector.pf, Vector.ss) && (isSplit(slot, 2, size) || pastLimit);
  },
};

const farReturnChecks: VendorDifference = {
  // SDM vol. 2, RET: that the selector's RPL is less than CPL is found before the outer stack is looked at. APM vol. 3,
  // RET (Far): whenever RPL isn't CPL, RSP and SS are popped, past the parameters, before CS is checked. For IRET
  // observed: it pops RSP and SS in 64-bit mode whatever the level, on Intel after all checks of CS.
  title: 'RET far and IRET raise #GP for a wrong CS before they read the outer RSP and SS',
  vendors: INTEL,
  applies(outcome) {
    const { c, e, host, ours } = outcome;
    const isReturn = FAR_RETURNS.includes(e.opcode) || e.opcode === IRET;
    if (!isReturn || !raised(host, Vector.gp) || !raised(ours, Vector.pf, Vector.ss)) return false;
    const size = slotSize(outcome);
    if (e.opcode === IRET && c.mode === 64 && isSplit(stackAddress(c, 0), 3 * size, 5 * size)) return true;
    return (peek16(c, stackAddress(c, size)) & 3) !== 3;
  },
  covers: (what) => what === 'end',
};

const farReturnRelease: VendorDifference = {
  // Observed. SDM and APM don't say by which stack size the parameters are dropped when the return changes it.
  title: 'RET far from 16-bit code to 64-bit code drops its parameters from SP, not RSP',
  vendors: INTEL,
  applies: ({ c, e, host, ours }) =>
    c.mode === 16 &&
    e.opcode === 0xca &&
    executed(host) &&
    executed(ours) &&
    host.segment(1) === 0x33 &&
    (host.gpr[4]! ^ ours.gpr[4]!) % 0x1_0000n === 0n &&
    (host.gpr[4]! ^ c.gpr[4]!) >> 16n === 0n,
  covers: (what) => what === 'rsp',
};

// Other general-purpose instructions.

const pause: VendorDifference = {
  // Observed: with F3 Intel looks at the opcode alone (PAUSE), AMD obeys REX.B (XCHG R8, RAX).
  title: 'F3 REX.B 90 is PAUSE, and XCHG on AMD',
  vendors: INTEL,
  applies: ({ c, e }) => c.mode === 64 && e.opcode === 0x90 && e.repeat === 0xf3 && e.rexB,
  covers: (what, { c, host }) =>
    (what === 'rax' || what === 'r8') && host.gpr[0] === c.gpr[0] && host.gpr[8] === c.gpr[8],
};

const repeatRegisters: VendorDifference = {
  // Observed: with 32-bit addresses in 64-bit code, Intel has written ECX, ESI and EDI (and so cleared the upper
  // halves) even if there was no iteration, because the count is 0 or the first one faults. AMD leaves them.
  title: 'REP with 32-bit addresses clears the upper halves of RCX, RSI and RDI before any iteration',
  vendors: INTEL,
  applies: ({ c, e, host }) =>
    c.mode === 64 &&
    e.addressSize === 32 &&
    e.repeat !== 0 &&
    [...STRING_OPCODES, ...PORT_STRINGS].includes(e.opcode) &&
    ((c.gpr[1]! & LOW_HALF) === 0n || host.kind === Kind.trap),
  covers(what, { c, host, ours }) {
    const n = { rcx: 1, rsi: 6, rdi: 7 }[what];
    if (n === undefined) return false;
    return host.gpr[n] === (ours.gpr[n]! & LOW_HALF) && ours.gpr[n]! >> 32n === c.gpr[n]! >> 32n;
  },
};

const repeatFlags: VendorDifference = {
  // SDM vol. 2, REP: "When a fault occurs during the execution of a CMPS or SCAS instruction that is prefixed with REPE
  // or REPNE, the EFLAGS value is restored to the state prior to the execution of the instruction." AMD leaves
  // those of the last iteration.
  title: 'REPE/REPNE CMPS and SCAS restore the flags when they fault',
  vendors: INTEL,
  applies: ({ c, e, host }) =>
    STRING_COMPARES.includes(e.opcode) &&
    e.repeat !== 0 &&
    host.kind === Kind.trap &&
    ((host.rflags ^ c.rflags) & STATUS) === 0,
  covers: (what) => STATUS_NAMES.includes(what),
};

const signExtend16: VendorDifference = {
  // SDM vol. 2, MOVSXD: "63 /r MOVSXD r16, r/m16". APM vol. 3, MOVSXD: "63 /r MOVSXD reg64, reg/mem32" alone, and with a
  // 66 prefix it still reads 32 bits.
  title: 'MOVSXD with a 66 prefix reads 16 bits, not 32',
  vendors: INTEL,
  applies: ({ c, e, ours }) =>
    c.mode === 64 &&
    e.opcode === 0x63 &&
    e.operandSize === 16 &&
    e.isMemory &&
    c.operand !== undefined &&
    isSplit(c.operand, 2, 4) &&
    ours.kind === Kind.trap,
};

const wrapAround: VendorDifference = {
  // SDM vol. 3, "Limit Checking": accesses that wrap around the end of a 4 GiB segment "may or may not cause the
  // indicated exceptions. Behavior is implementation-specific". On Intel they go to the page tables.
  title: 'an access across 4 GiB in a segment of 4 GiB is no limit violation',
  vendors: INTEL,
  applies({ c, e, host, ours }) {
    if (c.mode !== 32 || !raised(ours, Vector.ss, Vector.gp) || ours.error !== 0) return false;
    if (raised(host, Vector.pf)) return host.cr2 > 0xffff_fff0n || host.cr2 === 0n;
    // By GS: FXSAVE and FXRSTOR, which are long enough to lie across its base.
    const operand = Number(c.operand ?? 0);
    return (
      e.opcode === 0x0fae &&
      e.reg <= 1 &&
      e.segmentPrefix === 0x65 &&
      executed(host) &&
      operand < Layout.gsBase &&
      operand + 512 > Layout.gsBase
    );
  },
  covers: (what, { host }) => what === 'end' || executed(host),
};

const repeatWrapAround: VendorDifference = {
  // The same passage of the SDM, the other way round: a repeated string instruction of 32-bit code by FS or GS that comes
  // to an element across 4 GiB is a limit violation on the host, and vm/cpu, which looks at no limit of 4 GiB, goes on.
  title: 'a repeated string instruction meets the end of 4 GiB, which vm/cpu does not look at',
  vendors: INTEL,
  applies: ({ c, e, host }) =>
    c.mode === 32 &&
    e.repeat !== 0 &&
    STRING_OPCODES.includes(e.opcode) &&
    (e.opcode & 1) !== 0 &&
    raised(host, Vector.gp) &&
    [6, 7].some((n) => host.gpr[n]! > 0x1_0000_0000n - BigInt(e.operandSize / 8)),
};

const callStores: VendorDifference = {
  // Observed: the return address is stored before the target is held against the code segment's limit; both end in
  // #GP. SDM vol. 2, CALL, has it the other way round, as AMD does it.
  title: 'CALL near past the limit of CS has stored the return address',
  vendors: INTEL,
  applies: ({ c, e, host, ours }) =>
    c.mode !== 64 &&
    (e.opcode === 0xe8 || (e.opcode === 0xff && e.reg === 2)) &&
    raised(host, Vector.gp) &&
    raised(ours, Vector.gp),
  covers: (what, outcome) => isMemoryIn(what, stackAddress(outcome.c, -slotSize(outcome)), slotSize(outcome)),
};

const boundOrder: VendorDifference = {
  // Observed: neither manual says when the upper bound is read. Intel compares with the lower one first.
  title: 'BOUND below the lower bound raises #BR without reading the upper one',
  vendors: INTEL,
  applies: ({ c, e, host, ours }) =>
    c.mode !== 64 &&
    e.opcode === 0x62 &&
    e.isMemory &&
    raised(host, Vector.br) &&
    raised(ours, Vector.pf, Vector.gp, Vector.ss) &&
    c.operand !== undefined,
  covers: (what) => what === 'end',
};

const lockedControlRegister: VendorDifference = {
  // APM vol. 3, MOV CRn: with LOCK, CR0 stands for CR8 (AltMovCr8), which is #GP(0) for user code. SDM vol. 2, LOCK: #UD.
  title: 'LOCK MOV CR0 is #UD, and on AMD MOV CR8',
  vendors: INTEL,
  applies: ({ e, host, ours }) =>
    (e.opcode === 0x0f20 || e.opcode === 0x0f22) &&
    e.lock &&
    raised(host, Vector.ud) &&
    raised(ours, Vector.gp),
  covers: (what) => what === 'end',
};

const sysret: VendorDifference = {
  // SDM vol. 2, SYSRET: "Compat/Leg Mode: Invalid". APM vol. 3, SYSRET: #GP if CPL isn't 0, in every mode.
  title: 'SYSRET outside 64-bit mode is #UD, and on AMD #GP for user code',
  vendors: INTEL,
  applies: ({ c, e, host, ours }) =>
    c.mode !== 64 && e.opcode === 0x0f07 && raised(host, Vector.ud) && raised(ours, Vector.gp),
  covers: (what) => what === 'end',
};

const nearBranches: VendorDifference = {
  // SDM vol. 2, Jcc, JMP, CALL, LOOP: in 64-bit mode the operand size is forced to 64 bits, a 66 prefix is ignored. APM
  // vol. 3: it makes the displacement and RIP 16 bits.
  title: 'a 66 prefix of a near branch in 64-bit mode is ignored, and on AMD cuts RIP to 16 bits',
  vendors: INTEL,
  applies: ({ c, e }) =>
    c.mode === 64 &&
    e.operandPrefix &&
    !e.rexW &&
    ((e.opcode & 0xf0) === 0x70 ||
      (e.opcode & 0xfff0) === 0x0f80 ||
      (e.opcode & ~3) === 0xe0 ||
      [0xe8, 0xe9, 0xeb].includes(e.opcode)),
  covers: (what) => what === 'rip' || what === 'end',
};

const prefetchRegister: VendorDifference = {
  // SDM vol. 2D, table A-3: 0F 0D is a NOP where it isn't PREFETCHW. APM vol. 3, PREFETCH: #UD with a register.
  title: '0F 0D with a register is a NOP, and on AMD #UD',
  vendors: INTEL,
  applies: ({ e, host, ours }) =>
    e.opcode === 0x0f0d && !e.isMemory && executed(host) && raised(ours, Vector.ud),
};

const notOffered: VendorDifference = {
  // Not a difference of vendors: vm/cpu's CPUID doesn't offer MOVDIRI, MOVDIR64B, ENQCMD, ENQCMDS, and XABORT and XBEGIN of
  // transactions (SDM vol. 2), which processors execute even where their CPUID doesn't either.
  title: 'MOVDIRI, MOVDIR64B, ENQCMD, XABORT and XBEGIN, which vm/cpu does not offer',
  vendors: INTEL,
  applies: ({ e, ours }) =>
    raised(ours, Vector.ud) &&
    (((e.opcode === 0x0f_38f8 || e.opcode === 0x0f_38f9) && e.isMemory) ||
      ((e.opcode === 0xc6 || e.opcode === 0xc7) && !e.isMemory && e.reg === 7 && e.rm === 0)),
};

const xopLength: VendorDifference = {
  // APM vol. 3, 1.2.5: 8F begins a prefix of XOP where its map is 8 or more. Observed on Zen 5, which lacks XOP: such an
  // instruction is decoded in full all the same, and #GP if it has more than 15 bytes; vm/cpu looks no further than the opcode.
  title: 'an instruction of XOP, which vm/cpu does not have, is too long',
  vendors: AMD,
  applies: ({ e, host, ours }) =>
    e.opcode === 0x8f && (e.reg & 3) !== 0 && raised(host, Vector.gp) && raised(ours, Vector.ud),
};

// x87, MMX and SSE.

/** Bytes of an x87 environment, and of all x87 state, by operand size. */
function environmentSize({ e }: Outcome): number {
  const environment = e.operandSize === 16 ? 14 : 28;
  return e.opcode === 0xdd ? environment + 80 : environment;
}

const environmentOrder: VendorDifference = {
  // Observed: no manual says in which order the parts are accessed. Intel looks at the last byte first.
  title: 'a fault of FNSAVE, FRSTOR, FNSTENV or FLDENV is about the last byte, not the first that faults',
  vendors: EITHER,
  applies(outcome) {
    const { c, e, host, ours } = outcome;
    const isEnvironment = e.isMemory && ((e.opcode === 0xd9 && [4, 6].includes(e.reg)) || isSaved(e));
    if (!isEnvironment || c.operand === undefined) return false;
    return (
      raised(host, Vector.pf, Vector.gp, Vector.ss, Vector.ac) &&
      raised(ours, Vector.pf, Vector.gp, Vector.ss, Vector.ac) &&
      isSplit(c.operand, 1, environmentSize(outcome))
    );
  },
  covers: (what) => what === 'end',
};

/** FNSAVE and FRSTOR. */
function isSaved(e: Encoding): boolean {
  return e.opcode === 0xdd && (e.reg === 4 || e.reg === 6);
}

/** FLD m80, FSTP m80, FBLD and FBSTP. */
function hasTenBytes(e: Encoding): boolean {
  return e.isMemory && ((e.opcode === 0xdb && (e.reg & 5) === 5) || (e.opcode === 0xdf && (e.reg & 5) === 4));
}

const splitLoads: VendorDifference = {
  // Observed, as with stores below: the eight bytes may fault before the limit of the segment cuts off the last two.
  title: 'an operand of ten bytes past the limit of a segment faults by its first eight',
  vendors: EITHER,
  applies: ({ c, e, host, ours }) =>
    c.mode !== 64 &&
    hasTenBytes(e) &&
    raised(host, Vector.pf, Vector.ac) &&
    raised(ours, Vector.gp, Vector.ss),
  covers: (what) => what === 'end',
};

const splitStores: VendorDifference = {
  // Observed: the eight bytes of the significand and the two above are stored one after the other.
  title: 'FSTP m80 and FBSTP across two pages have stored eight bytes when the last two fault',
  vendors: INTEL,
  applies: ({ c, e, host, ours }) =>
    hasTenBytes(e) &&
    e.reg >= 6 &&
    raised(host, Vector.pf) &&
    raised(ours, Vector.pf) &&
    c.operand !== undefined &&
    !isSplit(c.operand, 1, 8) &&
    isSplit(c.operand, 8, 10),
  covers: (what, { c }) => isMemoryIn(what, BigInt(c.operand!), 8),
};

const pendingOrder: VendorDifference = {
  // SDM vol. 3, "Priority Among Concurrent Events", has both among "Faults on executing an instruction", without an order. Intel raises #MF
  // first, and doesn't look at where a result would go that an unmasked exception forbids; vm/cpu looks at the limit of
  // the segment when it computes an address.
  title: 'an x87 exception comes before the limit of the memory operand',
  vendors: EITHER,
  applies: ({ e, host, ours }) =>
    e.opcode >= 0xd8 &&
    e.opcode <= 0xdf &&
    e.isMemory &&
    raised(ours, Vector.gp, Vector.ss) &&
    ours.error === 0 &&
    (raised(host, Vector.mf) || (executed(host) && (host.fsw & 0x80) !== 0)),
};

const pendingStores: VendorDifference = {
  // As above: the two have no order. AMD's Zen 5 looks at where a result would go though an exception forbids it.
  title: 'a fault of an x87 store comes before an exception that keeps it from storing',
  vendors: AMD,
  applies: ({ e, host, ours }) =>
    e.opcode >= 0xd8 &&
    e.opcode <= 0xdf &&
    e.isMemory &&
    raised(host, Vector.pf, Vector.gp, Vector.ss, Vector.ac) &&
    executed(ours) &&
    (ours.fsw & 0x80) !== 0,
};

const storePopAlias: VendorDifference = {
  // Observed; FSTP1 is in no manual. With an empty ST(0), Intel pops and leaves ST(i) and its tag; AMD copies both.
  title: 'FSTP1 (D9 D8+i) of an empty ST(0) leaves ST(i)',
  vendors: EITHER,
  applies: ({ c, e }) =>
    e.opcode === 0xd9 && !e.isMemory && e.reg === 3 && !((c.ftw >> ((c.fsw >> 11) & 7)) & 1),
  covers: (what, { c, host }) =>
    what === 'ftw' ||
    (what === `st${(c.rm - 1) & 7}` && Buffer.compare(host.st((c.rm - 1) & 7), c.st(c.rm & 7)) === 0),
};

const mmxFaults: VendorDifference = {
  // Observed. An MMX instruction sets TOP to 0 (SDM vol. 1, 9.6), here even if its store faults. The tags stay.
  title: 'an MMX store that faults has set TOP to 0',
  vendors: INTEL,
  applies({ c, e, host, ours }) {
    const top = (c.fsw >> 11) & 7;
    const physical = Array.from({ length: 8 }, (_, i) => i);
    return (
      MMX_STORES.includes(e.opcode) &&
      e.isMemory &&
      raised(host, Vector.pf, Vector.gp, Vector.ss, Vector.ac) &&
      raised(ours, Vector.pf, Vector.gp, Vector.ss, Vector.ac) &&
      (host.fsw & 0x3800) === 0 &&
      ((host.fsw ^ c.fsw) & ~0x3800) === 0 &&
      physical.every((i) => Buffer.compare(host.st(i), c.st((i - top) & 7)) === 0)
    );
  },
  covers: (what) => what === 'fsw' || /^st[0-7]$/.test(what),
};

/** Whether that far from its start is the last byte of an image of FXSAVE; an offset of 16 bits wraps. */
function isLastOfImage({ addressSize }: Encoding, distance: bigint): boolean {
  return distance === 511n || (addressSize === 16 && distance === 511n - 0x1_0000n);
}

const imageFaults: VendorDifference = {
  // Observed, as with FNSAVE: the last byte is looked at first.
  title: 'a page fault of FXSAVE or FXRSTOR is about the last byte, not the first that faults',
  vendors: EITHER,
  applies: ({ c, e, host, ours }) =>
    e.opcode === 0x0fae &&
    e.isMemory &&
    e.reg <= 1 &&
    raised(host, Vector.pf) &&
    raised(ours, Vector.pf) &&
    host.error === ours.error &&
    c.operand !== undefined &&
    isLastOfImage(e, host.cr2 - BigInt(c.operand)),
  covers: (what) => what === 'end',
};

const imageChecks: VendorDifference = {
  // Observed: which comes first isn't specified. Intel looks at limit and page for the first bytes, then at the
  // alignment, then at the other bytes.
  title: 'an operand of FXSAVE or FXRSTOR that passes the limit has something else wrong first',
  vendors: EITHER,
  applies: ({ c, e, host, ours }) =>
    c.mode === 16 &&
    e.opcode === 0x0fae &&
    e.isMemory &&
    e.reg <= 1 &&
    raised(host, Vector.gp, Vector.ss, Vector.pf, Vector.ac) &&
    raised(ours, Vector.gp, Vector.ss) &&
    c.operand !== undefined &&
    isPastLimit(c, c.operand, 512),
  covers: (what) => what === 'end',
};

const alignmentOrder: VendorDifference = {
  // Observed on Zen 5, with EFLAGS.AC: where an access is made in parts, alignment is looked at before the segment.
  title: 'FXSAVE, FXRSTOR or MASKMOVDQU is not aligned, and something else is wrong with the segment',
  vendors: AMD,
  applies: ({ e, host, ours }) =>
    [0x0fae, 0x0ff7].includes(e.opcode) && raised(host, Vector.ac) && raised(ours, Vector.gp, Vector.ss),
};

const controlWord: VendorDifference = {
  // Bit 6 of the control word is reserved (SDM vol. 1, 8.1.5; APM vol. 2, 11.4.4). FLDCW and FLDENV set it on all
  // processors, FXRSTOR on Intel's and on AMD's Zen 5, not on its predecessors.
  title: 'FXRSTOR leaves the reserved bit of the control word as it finds it',
  vendors: AMD,
  applies: ({ e, host, ours }) =>
    e.opcode === 0x0fae &&
    e.isMemory &&
    e.reg === 1 &&
    (host.fcw ^ ours.fcw) === 0x40 &&
    (ours.fcw & 0x40) !== 0,
  covers: (what) => what === 'fcw',
};

const maskedMoveFaults: VendorDifference = {
  // Observed: which of the bytes faults first isn't specified, nor whether all 16 or those that are stored are held
  // against the limit first.
  title: 'a fault of MASKMOVDQU is about its upper eight bytes first',
  vendors: EITHER,
  applies({ c, e, host, ours }) {
    if (e.opcode !== 0x0ff7 || !e.operandPrefix || !raised(host, Vector.pf)) return false;
    if (raised(ours, Vector.gp, Vector.ss)) return c.mode !== 64 && ours.error === 0;
    if (!raised(ours, Vector.pf) || host.error !== ours.error) return false;
    const further = BigInt.asUintN(e.addressSize, host.cr2 - ours.cr2);
    return further > 0n && further < 16n;
  },
  covers: (what) => what === 'end',
};

const dotProductNaNs: VendorDifference = {
  // Observed: which of several NaNs a sum of products gives depends on the order of the sums, which on Intel isn't the
  // same for all elements.
  title: 'DPPS and DPPD of several NaNs give another of them',
  vendors: INTEL,
  applies: ({ e }) => e.opcode === 0x0f_3a40 || e.opcode === 0x0f_3a41,
  covers(what, { e, host, ours }) {
    const match = /^xmm(\d+)$/.exec(what);
    if (match === null) return false;
    const [theirs, own] = [host, ours].map((result) => {
      const { buffer, byteOffset } = result.xmm(Number(match[1]));
      return e.opcode === 0x0f_3a40
        ? new Float32Array(buffer, byteOffset, 4)
        : new Float64Array(buffer, byteOffset, 2);
    }) as [Float32Array | Float64Array, Float32Array | Float64Array];
    return theirs.every((value, i) => Object.is(value, own[i]));
  },
};

/** The list. */
export const VENDOR_DIFFERENCES: readonly VendorDifference[] = [
  farPointers,
  selectorPushes,
  selectorPops,
  farReturnChecks,
  farReturnRelease,
  pause,
  repeatRegisters,
  repeatFlags,
  signExtend16,
  wrapAround,
  repeatWrapAround,
  callStores,
  boundOrder,
  lockedControlRegister,
  sysret,
  nearBranches,
  prefetchRegister,
  notOffered,
  xopLength,
  environmentOrder,
  splitLoads,
  splitStores,
  pendingOrder,
  pendingStores,
  storePopAlias,
  mmxFaults,
  imageFaults,
  imageChecks,
  alignmentOrder,
  controlWord,
  maskedMoveFaults,
  dotProductNaNs,
];

/** What is left of a case's differences, and to which entries the others are due. */
export interface Judged<T> {
  readonly left: readonly T[];
  readonly due: readonly VendorDifference[];
}

/**
 * Takes out of a case's differences those that are due to the host's vendor.
 * @param vendor - CPUID's vendor string of the host
 */
export function withoutVendorDifferences<T extends { readonly what: string }>(
  vendor: string,
  c: Case,
  host: Result,
  ours: Result,
  found: readonly T[],
): Judged<T> {
  const entries = VENDOR_DIFFERENCES.filter(({ vendors }) => vendors.includes(vendor));
  if (found.length === 0 || entries.length === 0) return { left: found, due: [] };
  const outcome: Outcome = { c, e: encodingOf(c), host, ours };
  const due = new Set<VendorDifference>();
  const applicable = entries.filter((entry) => entry.applies(outcome));
  const left = found.filter(({ what }) => {
    const entry = applicable.find(({ covers }) => covers?.(what, outcome) ?? true);
    if (entry) due.add(entry);
    return entry === undefined;
  });
  return { left, due: [...due] };
}
