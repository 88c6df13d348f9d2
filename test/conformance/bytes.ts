/**
 * Cases of random opcodes, which no table of forms stands behind: they show what a decoder takes for an
 * instruction that is none, or the other way round, and where lengths differ. Only the end and RIP count.
 */
import { Random } from './random.ts';
import { Case, Layout, type Mode } from './records.ts';

export interface BytesOptions {
  readonly seed: number;
  readonly count: number;
  readonly modes?: readonly Mode[];
}

/** An opcode with what tells it from its neighbours. */
interface Opcode {
  readonly mode: Mode;
  /** 0: one byte; 1: 0F; 2: 0F38; 3: 0F3A. */
  readonly map: number;
  readonly byte: number;
  /** F2, F3 or 0. */
  readonly repeat: number;
  readonly operandPrefix: boolean;
  readonly lock: boolean;
  /** ModRM.reg. */
  readonly reg: number;
  readonly isMemory: boolean;
}

/** The one-byte opcodes that are prefixes or lead to other maps. */
const PREFIXES = new Set([0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);

/**
 * What isn't tried, as a processor's answer would say nothing, or would hurt the oracle: instructions that ask
 * the kernel for something or change state that a signal frame doesn't carry; and instructions that vm/cpu's
 * CPUID doesn't offer while the host's does.
 */
function isExcluded(o: Opcode): boolean {
  const { map, byte, repeat, operandPrefix, reg, isMemory, mode } = o;
  if (map === 0) {
    // INT, INT1, POPF, IRET; VEX, EVEX and XOP.
    if ([0xcd, 0xf1, 0x9d, 0xcf, 0xc4, 0xc5, 0x62, 0x8f].includes(byte)) return true;
    // REP turns the condition of LOOPE and LOOPNE round on some AMD processors.
    if ((byte === 0xe0 || byte === 0xe1) && repeat) return true;
    // CALL and JMP beyond a limit: here the jump faults, on vm/cpu, whose links know no limits, what comes there.
    return (byte === 0xe8 || byte === 0xe9) && mode === 16 && operandPrefix;
  }
  if (map === 1) {
    if (byte === 0x05 || byte === 0x34) return true; // SYSCALL, SYSENTER
    if (byte === 0x00 && o.lock) return true; // LOCK VERW is executed by some
    if (byte === 0x01 && !isMemory) return true; // virtualization, XSETBV, WRPKRU …
    if (byte === 0xae) return repeat !== 0 || operandPrefix || (isMemory && reg >= 4); // XSAVE, FSGSBASE, CLWB
    if (byte === 0xc7) return reg !== 1; // XSAVEC, RDPID …
    if (byte === 0x2b) return repeat !== 0; // SSE4a
    if (byte === 0x78 || byte === 0x79) return true;
    return (byte & 0xf0) === 0x80 && mode === 16 && operandPrefix; // beyond the limit, as above
  }
  if (map === 2) {
    // SHA and GFNI, AES, INVPCID; WRUSS, ADX and WRSS, MOVDIR64B, MOVDIRI.
    if ((byte >= 0xc8 && byte <= 0xcf) || (byte >= 0xdb && byte <= 0xdf) || byte === 0x82) return true;
    return byte === 0xf5 || byte === 0xf6 || byte === 0xf8 || byte === 0xf9;
  }
  return byte === 0x44 || (byte >= 0xcc && byte <= 0xcf) || byte === 0xdf;
}

function hasModRm(map: number, byte: number): boolean {
  if (map >= 2) return true;
  if (map === 0) {
    if (byte < 0x40) return (byte & 7) < 4;
    if (byte >= 0x80 && byte <= 0x8f) return true;
    if (byte >= 0xd8 && byte <= 0xdf) return true;
    return [
      0x62, 0x63, 0x69, 0x6b, 0xc0, 0xc1, 0xc4, 0xc5, 0xc6, 0xc7, 0xd0, 0xd1, 0xd2, 0xd3, 0xf6, 0xf7, 0xfe,
      0xff,
    ].includes(byte);
  }
  if ((byte >= 0x05 && byte <= 0x0b) || byte === 0x0e || (byte >= 0x30 && byte <= 0x37)) return false;
  if (byte === 0x77 || (byte & 0xf0) === 0x80 || byte >> 3 === 0xc8 >> 3) return false;
  return !((byte >= 0xa0 && byte <= 0xa2) || (byte >= 0xa8 && byte <= 0xaa));
}

export function* generateBytes({ seed, count, modes = [64, 32, 16] }: BytesOptions): Generator<Case, void> {
  const random = new Random(seed);
  for (let i = 0; i < count; ) {
    const caseSeed = random.u32();
    const made = bytesCase(new Random(caseSeed), modes[i % modes.length]!);
    if (made === undefined) continue;
    made.seed = caseSeed;
    i++;
    yield made;
  }
}

/** @returns undefined if the dice gave what is excluded. */
function bytesCase(random: Random, mode: Mode): Case | undefined {
  const prefixes: number[] = [];
  const operandPrefix = random.chance(25);
  const addressPrefix = random.chance(8);
  const repeat = random.chance(25) ? random.pick([0xf2, 0xf3]) : 0;
  const lock = random.chance(5);
  if (operandPrefix) prefixes.push(0x66);
  if (addressPrefix) prefixes.push(0x67);
  if (repeat) prefixes.push(repeat);
  if (lock) prefixes.push(0xf0);
  if (mode === 64 && random.chance(40)) prefixes.push(0x40 | random.below(16));
  const map = random.pick([0, 0, 0, 1, 1, 1, 1, 2, 3]);
  const byte = random.below(256);
  if (map === 0 && (PREFIXES.has(byte) || (mode === 64 && (byte & 0xf0) === 0x40))) return undefined;
  if (map === 1 && (byte === 0x38 || byte === 0x3a)) return undefined;
  const modRm = random.below(256);
  const opcode = {
    mode,
    map,
    byte,
    repeat,
    operandPrefix,
    lock,
    reg: (modRm >> 3) & 7,
    isMemory: modRm < 0xc0,
  };
  if (isExcluded(opcode)) return undefined;
  const code = [...prefixes, ...[[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]][map]!, byte];
  const modRmToo = hasModRm(map, byte);
  const addressSize = mode === 64 ? (addressPrefix ? 32 : 64) : (mode === 16) !== addressPrefix ? 16 : 32;
  if (modRmToo) code.push(modRm, ...memoryBytes(random, modRm, addressSize));
  // Immediates are what follows: the region's INT3s, as bytes.
  if (code.length > 15) return undefined;

  const c = new Case(mode, code);
  const prefix = `${repeat ? `${repeat.toString(16)} ` : ''}${operandPrefix ? '66 ' : ''}${lock ? 'f0 ' : ''}`;
  c.form = `${prefix}${['', '0f ', '0f38 ', '0f3a '][map]}${byte.toString(16).padStart(2, '0')}`;
  if (modRmToo) c.form += ` /${opcode.reg}${opcode.isMemory ? 'm' : 'r'}`;
  c.group = 'bytes';
  for (let i = 0; i < (mode === 64 ? 16 : 8); i++) {
    c.gprHalves[2 * i] = (mode === 16 ? 0 : Layout.dataBase) + 0xf40 + 16 * random.below(16);
  }
  for (let i = 0; i < c.memory.length; i++) c.memory[i] = random.below(256);
  c.rflags = random.u32() & 0x8d5;
  c.leeway.onlyEnd = true;
  c.leeway.anyFault = true;
  return c;
}

/** SIB and displacement that a ModRM byte asks for, with small displacements. */
function memoryBytes(random: Random, modRm: number, addressSize: number): number[] {
  const mod = modRm >> 6;
  const rm = modRm & 7;
  if (mod === 3) return [];
  const bytes: number[] = [];
  let size = mod === 1 ? 1 : mod === 2 ? (addressSize === 16 ? 2 : 4) : 0;
  if (addressSize === 16) {
    if (mod === 0 && rm === 6) size = 2;
  } else if (rm === 4) {
    const sib = random.below(256);
    bytes.push(sib);
    if (mod === 0 && (sib & 7) === 5) size = 4;
  } else if (mod === 0 && rm === 5) size = 4;
  if (size > 0) bytes.push(random.below(64), ...new Array<number>(size - 1).fill(0));
  return bytes;
}
