/**
 * The x87 instructions: every opcode from D8 to DF with every ModRM (SDM vol. 2D, appendix A.5). Those that the
 * manual doesn't list are generated too: a few are undocumented aliases that all processors have, the others
 * are #UD.
 */
import { type Form, type Row, type Traits, table } from './forms.ts';
import * as hooks from './hooks.ts';
import { FpuFlag } from './records.ts';

const { C0, C1, C2, C3 } = FpuFlag;
const C023 = C0 | C2 | C3;
const ALL = C023 | C1;

/** The condition codes that each instruction leaves undefined. What isn't listed leaves C0, C2 and C3. */
const UNDEFINED: Readonly<Record<string, number>> = {
  // Comparisons give C0, C2 and C3, and C1 is 0.
  fcom: 0,
  fcomp: 0,
  fcompp: 0,
  fucom: 0,
  fucomp: 0,
  fucompp: 0,
  ficom: 0,
  ficomp: 0,
  ftst: 0,
  fxam: 0,
  fcomi: 0,
  fcomip: 0,
  fucomi: 0,
  fucomip: 0,
  // The remainders give the quotient's bits.
  fprem: 0,
  fprem1: 0,
  // C2 says whether the operand was in range.
  fptan: C0 | C3,
  fsin: C0 | C3,
  fcos: C0 | C3,
  fsincos: C0 | C3,
  // Loaded or cleared.
  fldenv: 0,
  frstor: 0,
  fninit: 0,
  fldcw: ALL,
  fnstcw: ALL,
  fnstsw: ALL,
  fnstenv: ALL,
  fnsave: 0,
  fnclex: ALL,
  fwait: ALL,
  ffree: ALL,
  ffreep: ALL,
  fnop: ALL,
};

const HOOKS: Readonly<Record<string, Traits>> = {
  fldenv: { after: hooks.loadedEnvironment, sized: true, bytes: 28 },
  frstor: { after: hooks.loadedEnvironment, sized: true, bytes: 108 },
  fnstenv: { after: hooks.storedEnvironment, sized: true, bytes: 28 },
  fnsave: { after: hooks.storedEnvironment, sized: true, bytes: 108 },
};
for (const mnemonic of ['f2xm1', 'fyl2x', 'fyl2xp1', 'fptan', 'fpatan', 'fsin', 'fcos', 'fsincos'])
  (HOOKS as Record<string, Traits>)[mnemonic] = { after: hooks.transcendental };

const ARITHMETIC = 'fadd fmul fcom fcomp fsub fsubr fdiv fdivr';
/** As in the manual: to ST(i) the subtractions and divisions are the other way round. */
const REVERSED = 'fadd fmul fcom fcomp fsubr fsub fdivr fdiv';

/** Memory forms: eight mnemonics an opcode, by ModRM.reg. */
const MEMORY: readonly string[] = [
  /* D8 */ ARITHMETIC,
  /* D9 */ 'fld - fst fstp fldenv fldcw fnstenv fnstcw',
  /* DA */ 'fiadd fimul ficom ficomp fisub fisubr fidiv fidivr',
  /* DB */ 'fild fisttp fist fistp - fld - fstp',
  /* DC */ ARITHMETIC,
  /* DD */ 'fld fisttp fst fstp frstor - fnsave fnstsw',
  /* DE */ 'fiadd fimul ficom ficomp fisub fisubr fidiv fidivr',
  /* DF */ 'fild fisttp fist fistp fbld fild fbstp fistp',
];

/** Register forms by ModRM.reg; where the eight ModRM.rm differ, they are listed in SINGLE. `?` is undocumented. */
const REGISTER: readonly string[] = [
  /* D8 */ ARITHMETIC,
  /* D9 */ 'fld fxch * ? * * * *',
  /* DA */ 'fcmovb fcmove fcmovbe fcmovu - * - -',
  /* DB */ 'fcmovnb fcmovne fcmovnbe fcmovnu * fucomi fcomi -',
  /* DC */ REVERSED.replace('fcom fcomp', '? ?'),
  /* DD */ 'ffree ? fst fstp fucom fucomp - -',
  /* DE */ `${REVERSED.replace('fcom fcomp', '? *')}`,
  /* DF */ 'ffreep ? ? ? * fucomip fcomip -',
];

/** Instructions with no operand, by opcode and ModRM. */
const SINGLE: Readonly<Record<number, string>> = {
  55760: 'fnop - - - - - - -',
  55776: 'fchs fabs - - ftst fxam - -',
  55784: 'fld1 fldl2t fldl2e fldpi fldlg2 fldln2 fldz -',
  55792: 'f2xm1 fyl2x fptan fpatan fxtract fprem1 fdecstp fincstp',
  55800: 'fprem fyl2xp1 fsqrt fsincos frndint fscale fsin fcos',
  56040: '- fucompp - - - - - -',
  56288: '? ? fnclex fninit ? - - -',
  57048: '- fcompp - - - - - -',
  57312: 'fnstsw - - - - - - -',
};

function hex(value: number): string {
  return value.toString(16).toUpperCase();
}

function row(mnemonic: string, encoding: string): Row {
  const name = mnemonic === '-' ? 'no opcode' : mnemonic === '?' ? 'alias' : mnemonic;
  return [name, encoding, { undefinedFsw: UNDEFINED[mnemonic] ?? C023, ...HOOKS[mnemonic] }];
}

function rows(): { documented: Row[]; aliases: Row[] } {
  const documented: Row[] = [];
  const aliases: Row[] = [];
  for (let n = 0; n < 8; n++) {
    const opcode = 0xd8 + n;
    MEMORY[n]!.split(' ').forEach((mnemonic, digit) => {
      documented.push(row(mnemonic, `${hex(opcode)}/${digit}m`));
    });
    REGISTER[n]!.split(' ').forEach((mnemonic, digit) => {
      if (mnemonic !== '*') {
        (mnemonic === '?' || mnemonic === 'ffreep' ? aliases : documented).push(
          row(mnemonic, `${hex(opcode)}/${digit}r`),
        );
        return;
      }
      const first = (opcode << 8) | 0xc0 | (digit << 3);
      SINGLE[first]!.split(' ').forEach((single, rm) => {
        (single === '?' ? aliases : documented).push(row(single, hex(first + rm)));
      });
    });
  }
  documented.push(row('fwait', '9B'));
  return { documented, aliases };
}

const { documented, aliases } = rows();
const common: Traits = { data: 'x87', usesX87: true };

export const X87_FORMS: readonly Form[] = [
  ...table('x87', common, documented),
  ...table('x87-alias', { ...common }, aliases),
];
