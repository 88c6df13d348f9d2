/**
 * Instruction forms: which bytes there are to generate, written in tables that look like the manual's opcode
 * column (SDM vol. 2, 3.1.1.1).
 *
 * An encoding is written `[prefix-]opcode[+r][/digit or /r][m or r][.immediate]`:
 *
 *     01/r          ModRM with a register and an r/m operand
 *     80/0.ib       ModRM with opcode extension 0, then an 8-bit immediate
 *     8D/rm  FF/6r  only the memory form, only the register form
 *     50+r          the register is in the opcode's low bits
 *     66-0F58/r     a mandatory prefix
 *     V66-0F38F7/r  the same in a VEX prefix
 *
 * Immediates: ib, iw, id of fixed size; iz 16 or 32 bits by operand size; iv up to 64 (MOV r, imm); ia of the
 * address size (MOV moffs); rb, rz a branch displacement.
 */
import type { CaseBuilder } from './builder.ts';
import { Flag, type Mode } from './records.ts';

export type Immediate = 'ib' | 'iw' | 'id' | 'iz' | 'iv' | 'ia' | 'rb' | 'rz';

/** What random operands look like: a hint to the generator, as every bit pattern is legal everywhere. */
export type DataKind = 'integer' | 'single' | 'double' | 'x87';

/** One encoding of one instruction, with what the generator must know about it. */
export interface Form {
  /** Mnemonic and encoding: the form's identity in reports. */
  readonly name: string;
  readonly mnemonic: string;
  readonly group: string;
  /** The mandatory prefix, or 0. */
  readonly prefix: number;
  readonly vex: boolean;
  readonly opcode: readonly number[];
  readonly registerInOpcode: boolean;
  readonly modrm: 'none' | 'any' | 'memory' | 'register';
  /** ModRM.reg where it extends the opcode; undefined where it is an operand. */
  readonly digit: number | undefined;
  readonly immediates: readonly Immediate[];
  readonly modes: readonly Mode[];
  /** Whether 66 and REX.W choose its operand size, so that the generator may add them. */
  readonly sized: boolean;
  /** Whether its operands are bytes. */
  readonly byteForm: boolean;
  /** Whether LOCK is allowed with a memory operand. */
  readonly lockable: boolean;
  /** Memory operands are mostly aligned to this. */
  readonly alignment: number;
  /** Size of the memory operand where the operand size doesn't say, or 0. */
  readonly bytes: number;
  readonly data: DataKind;
  /** Whether it uses x87, MMX or SSE state, which is then random. */
  readonly usesX87: boolean;
  readonly usesXmm: boolean;
  /** RFLAGS bits that the manual leaves undefined whatever the operands. */
  readonly undefinedFlags: number;
  /** x87 condition codes that the manual leaves undefined whatever the operands. */
  readonly undefinedFsw: number;
  /** Makes the operands fit the instruction before the memory operand is placed: pins implied registers. */
  readonly before: Hook | undefined;
  /** The same once registers and memory are known; and states what else is undefined. */
  readonly after: Hook | undefined;
}

export type Hook = (builder: CaseBuilder) => void;

/** What a table says of all its forms, or of one row's. */
export interface Traits {
  modes?: readonly Mode[];
  sized?: boolean;
  lockable?: boolean;
  alignment?: number;
  bytes?: number;
  data?: DataKind;
  usesX87?: boolean;
  usesXmm?: boolean;
  /** Undefined flags, as letters: C P A Z S O. */
  undefined?: string;
  undefinedFsw?: number;
  before?: Hook;
  after?: Hook;
}

/**
 * A table row: mnemonic, encodings separated by spaces (those before a `|` have byte operands), and what is
 * particular to it.
 */
export type Row = readonly [mnemonic: string, encodings: string, traits?: Traits];

const LETTERS: Readonly<Record<string, number>> = {
  C: Flag.CF,
  P: Flag.PF,
  A: Flag.AF,
  Z: Flag.ZF,
  S: Flag.SF,
  O: Flag.OF,
};

const ALL_MODES: readonly Mode[] = [64, 32, 16];

const ENCODING =
  /^(?<vex>V)?(?:(?<prefix>NP|66|F2|F3)-)?(?<opcode>(?:[0-9A-F]{2})+)(?<plus>\+r)?(?:\/(?<digit>[0-7r])(?<only>[mr])?)?(?<immediates>(?:\.[a-z]{2})*)$/;

/**
 * Parses one table.
 * @throws {SyntaxError} if an encoding isn't of the notation above.
 */
export function table(group: string, common: Traits, rows: readonly Row[]): Form[] {
  const forms: Form[] = [];
  for (const [mnemonic, encodings, own] of rows) {
    const traits = { ...common, ...own };
    const [byteForms, others] = encodings.includes('|') ? encodings.split('|') : ['', encodings];
    for (const encoding of words(byteForms)) forms.push(parse(group, mnemonic, encoding, traits, true));
    for (const encoding of words(others)) forms.push(parse(group, mnemonic, encoding, traits, false));
  }
  return forms;
}

function words(text = ''): string[] {
  return text.split(' ').filter((word) => word !== '');
}

function parse(group: string, mnemonic: string, encoding: string, traits: Traits, byteForm: boolean): Form {
  const match = ENCODING.exec(encoding);
  const parts = match?.groups;
  if (!parts) throw new SyntaxError(`${group}, ${mnemonic}: not an encoding: ${encoding}`);
  const { vex, prefix, opcode, plus, digit, only, immediates } = parts;
  const bytes = (opcode ?? '').match(/../g)!.map((byte) => Number.parseInt(byte, 16));
  const letters = [...(traits.undefined ?? '')];
  return {
    name: `${mnemonic} ${encoding}`,
    mnemonic,
    group,
    prefix: prefix === undefined || prefix === 'NP' ? 0 : Number.parseInt(prefix, 16),
    vex: vex !== undefined,
    opcode: bytes,
    registerInOpcode: plus !== undefined,
    modrm: digit === undefined ? 'none' : only === 'm' ? 'memory' : only === 'r' ? 'register' : 'any',
    digit: digit === undefined || digit === 'r' ? undefined : Number(digit),
    immediates: (immediates ?? '').split('.').filter((word) => word !== '') as Immediate[],
    modes: traits.modes ?? ALL_MODES,
    sized: traits.sized ?? false,
    byteForm,
    lockable: traits.lockable ?? false,
    alignment: traits.alignment ?? 1,
    bytes: traits.bytes ?? 0,
    data: traits.data ?? 'integer',
    usesX87: traits.usesX87 ?? false,
    usesXmm: traits.usesXmm ?? false,
    undefinedFlags: letters.reduce((mask, letter) => mask | (LETTERS[letter] ?? 0), 0),
    undefinedFsw: traits.undefinedFsw ?? 0,
    before: traits.before,
    after: traits.after,
  };
}
