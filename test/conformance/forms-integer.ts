/**
 * The general-purpose instructions that user code may execute, and those it may not (SDM vol. 2, chapters 3 to
 * 5; opcode maps in vol. 2D, appendix A).
 */
import { type Form, type Row, table } from './forms.ts';
import * as hooks from './hooks.ts';
import type { Mode } from './records.ts';

const NOT_64: readonly Mode[] = [32, 16];
const ONLY_64: readonly Mode[] = [64];

const CONDITIONS = ['o', 'no', 'b', 'ae', 'z', 'nz', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];

function hex(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, '0');
}

/** One row for each of the sixteen conditions, whose code is the opcode's low four bits. */
function conditional(mnemonic: string, encoding: (code: number) => string): Row[] {
  return CONDITIONS.map((condition, code) => [mnemonic + condition, encoding(code)]);
}

/** The eight operations that share one layout of opcodes: ADD at 00, OR at 08 … CMP at 38. */
const BASIC: Row[] = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'].map((mnemonic, n) => {
  const at = (offset: number): string => hex(8 * n + offset);
  return [
    mnemonic,
    `${at(0)}/r ${at(2)}/r ${at(4)}.ib 80/${n}.ib | ${at(1)}/r ${at(3)}/r ${at(5)}.iz 81/${n}.iz 83/${n}.ib`,
    { lockable: mnemonic !== 'cmp', ...(['or', 'and', 'xor'].includes(mnemonic) ? { undefined: 'A' } : {}) },
  ];
});

const alu = table('alu', { sized: true }, [
  ...BASIC,
  ['group 82', '82/0.ib 82/2.ib 82/3.ib 82/5.ib 82/7.ib |'],
  ['group 82', '82/1.ib 82/4.ib 82/6.ib |', { undefined: 'A' }],
  ['test', '84/r A8.ib F6/0.ib F6/1.ib | 85/r A9.iz F7/0.iz F7/1.iz', { undefined: 'A' }],
  ['not', 'F6/2 | F7/2', { lockable: true }],
  ['neg', 'F6/3 | F7/3', { lockable: true }],
  ['inc', 'FE/0 | FF/0', { lockable: true }],
  ['dec', 'FE/1 | FF/1', { lockable: true }],
  ['inc', '40+r', { modes: NOT_64 }],
  ['dec', '48+r', { modes: NOT_64 }],
]);

const multiply = table('multiply', { sized: true, undefined: 'SZAP' }, [
  ['mul', 'F6/4 | F7/4'],
  ['imul', 'F6/5 | F7/5 0FAF/r 69/r.iz 6B/r.ib'],
]);

const divide = table('divide', { sized: true, undefined: 'COSZAP', after: hooks.divide }, [
  ['div', 'F6/6 | F7/6'],
  ['idiv', 'F6/7 | F7/7'],
]);

/** C0, D0 and D2 with the operation in ModRM.reg; /6 is SHL again. */
function shiftEncodings(digit: number): string {
  return `C0/${digit}.ib D0/${digit} D2/${digit} | C1/${digit}.ib D1/${digit} D3/${digit}`;
}

const shift = table('shift', { sized: true }, [
  ['rol', shiftEncodings(0), { after: hooks.rotate }],
  ['ror', shiftEncodings(1), { after: hooks.rotate }],
  ['rcl', shiftEncodings(2), { after: hooks.rotate }],
  ['rcr', shiftEncodings(3), { after: hooks.rotate }],
  ['shl', shiftEncodings(4), { after: hooks.shift }],
  ['shr', shiftEncodings(5), { after: hooks.shift }],
  ['sal', shiftEncodings(6), { after: hooks.shift }],
  ['sar', shiftEncodings(7), { after: hooks.shift }],
  ['shld', '0FA4/r.ib 0FA5/r', { after: hooks.doubleShift }],
  ['shrd', '0FAC/r.ib 0FAD/r', { after: hooks.doubleShift }],
]);

const bit = table('bit', { sized: true }, [
  ['bt', '0FA3/r 0FBA/4.ib', { undefined: 'OSAP', after: hooks.bitOffset }],
  ['bts', '0FAB/r 0FBA/5.ib', { undefined: 'OSAP', after: hooks.bitOffset, lockable: true }],
  ['btr', '0FB3/r 0FBA/6.ib', { undefined: 'OSAP', after: hooks.bitOffset, lockable: true }],
  ['btc', '0FBB/r 0FBA/7.ib', { undefined: 'OSAP', after: hooks.bitOffset, lockable: true }],
  ['bsf', '0FBC/r', { undefined: 'COSAP', after: hooks.bitScan }],
  ['bsr', '0FBD/r', { undefined: 'COSAP', after: hooks.bitScan }],
  ['bswap', '0FC8+r', { after: hooks.bswap }],
]);

const move = table('move', { sized: true }, [
  ['mov', '88/r 8A/r C6/0.ib B0+r.ib | 89/r 8B/r C7/0.iz B8+r.iv'],
  ['mov', 'A0.ia A2.ia | A1.ia A3.ia', { after: hooks.moffs }],
  ['movzx', '0FB6/r 0FB7/r'],
  ['movsx', '0FBE/r 0FBF/r'],
  ['movsxd', '63/r', { modes: ONLY_64 }],
  ['lea', '8D/rm'],
  ['xchg', '86/r | 87/r 90+r', { lockable: true }],
  ['xadd', '0FC0/r | 0FC1/r', { lockable: true }],
  ['cmpxchg', '0FB0/r | 0FB1/r', { lockable: true, after: hooks.compareExchange }],
  ['cmpxchg8b', '0FC7/1m', { lockable: true, after: hooks.compareExchangeWide }],
  ['cbw', '98'],
  ['cwd', '99'],
  ['xlat', 'D7', { before: hooks.xlat }],
  ...conditional('cmov', (code) => `0F4${code.toString(16).toUpperCase()}/r`),
  ...conditional('set', (code) => `0F9${code.toString(16).toUpperCase()}/r |`),
]);

const flags = table('flags', { sized: true }, [
  ['lahf', '9F'],
  ['sahf', '9E'],
  ['clc', 'F8'],
  ['stc', 'F9'],
  ['cmc', 'F5'],
  ['cld', 'FC'],
  ['std', 'FD'],
  ['salc', 'D6'],
  ['pushf', '9C', { before: hooks.stack }],
  ['popf', '9D', { before: hooks.stack, after: hooks.popFlags }],
]);

const stack = table('stack', { sized: true, before: hooks.stack }, [
  ['push', '50+r 68.iz 6A.ib FF/6'],
  ['pop', '58+r 8F/0'],
  ['pusha', '60', { after: hooks.manyStores }],
  ['popa', '61', { after: hooks.manyLoads }],
  ['enter', 'C8.iw.ib', { before: hooks.enterLeave, after: hooks.enterImmediates }],
  ['leave', 'C9', { before: hooks.enterLeave }],
]);

const branch = table('branch', { sized: true }, [
  ...CONDITIONS.map(
    (condition, code): Row => [
      `j${condition}`,
      `7${code.toString(16).toUpperCase()}.rb 0F8${code.toString(16).toUpperCase()}.rz`,
      { before: hooks.branch },
    ],
  ),
  ['jmp', 'EB.rb E9.rz', { before: hooks.branch }],
  ['jmp', 'FF/4', { before: hooks.branch, after: hooks.indirect }],
  ['call', 'E8.rz', { before: hooks.branchStack }],
  ['call', 'FF/2', { before: hooks.branchStack, after: hooks.indirect }],
  ['ret', 'C3 C2.iw', { before: hooks.branchStack, after: hooks.returnAddress }],
  ['loopne', 'E0.rb', { before: hooks.loop }],
  ['loope', 'E1.rb', { before: hooks.loop }],
  ['loop', 'E2.rb', { before: hooks.loop }],
  ['jcxz', 'E3.rb', { before: hooks.loop }],
]);

const string = table('string', { sized: true, before: hooks.string }, [
  ['movs', 'A4 | A5'],
  ['cmps', 'A6 | A7'],
  ['stos', 'AA | AB'],
  ['lods', 'AC | AD'],
  ['scas', 'AE | AF'],
]);

/** In 64-bit mode these are #UD. */
const decimal = table('decimal', { sized: true, after: hooks.decimalDigits }, [
  ['daa', '27', { undefined: 'O' }],
  ['das', '2F', { undefined: 'O' }],
  ['aaa', '37', { undefined: 'OSZP' }],
  ['aas', '3F', { undefined: 'OSZP' }],
  ['aam', 'D4.ib', { undefined: 'OAC' }],
  ['aad', 'D5.ib', { undefined: 'OAC' }],
]);

/** Traps, hints, and opcodes that don't exist. */
const miscellaneous = table('misc', { sized: true }, [
  ['bound', '62/rm', { modes: NOT_64, after: hooks.bound }],
  ['into', 'CE'],
  ['int3', 'CC'],
  ['int1', 'F1', { after: hooks.intercepted }],
  ['int', 'CD.ib', { after: hooks.interruptVector }],
  ['ud2', '0F0B'],
  ['ud1', '0FB9/r'],
  ['pause', 'F3-90'],
  ['nop', '0F1F/0 0F18/0m 0F18/1m 0F18/2m 0F18/3m 0F0D/1m'],
  ['endbr', 'F3-0F1EFA F3-0F1EFB'],
  ['lfence', 'NP-0FAE/5r', { sized: false }],
  ['mfence', 'NP-0FAE/6r', { sized: false }],
  ['sfence', 'NP-0FAE/7r', { sized: false }],
  ['clflush', 'NP-0FAE/7m', { sized: false, bytes: 1 }],
  ['movnti', 'NP-0FC3/rm', { sized: false, bytes: 8 }],
  ['group 8F', '8F/1 8F/2'],
  ['group C6', 'C6/1r.ib | C7/2r.iz'],
  ['group FE', 'FE/2 FE/7 | FF/7'],
  ['group BA', '0FBA/0.ib 0FBA/3.ib'],
  ['no opcode', '0F04 0F0A 0F24 0F26 0F36 0F39'],
  ['no opcode', '06 07 0E 16 17 1E 1F 27 2F 37 3F 60 61 9A EA', { modes: ONLY_64 }],
]);

/** Instructions that need a lower CPL or IOPL than user code has: all of them #GP(0). */
const privileged = table('privileged', { sized: true }, [
  ['hlt', 'F4'],
  ['cli', 'FA'],
  ['sti', 'FB'],
  ['in', 'E4.ib E5.ib EC ED'],
  ['out', 'E6.ib E7.ib EE EF'],
  ['ins', '6C | 6D', { before: hooks.string }],
  ['outs', '6E | 6F', { before: hooks.string }],
  ['clts', '0F06'],
  ['invd', '0F08'],
  ['wbinvd', '0F09'],
  ['mov cr', '0F20/0r 0F20/2r 0F20/3r 0F20/4r 0F22/0r 0F22/3r 0F22/4r'],
  ['mov dr', '0F21/0r 0F21/7r 0F23/0r 0F23/7r'],
  ['wrmsr', '0F30'],
  ['rdmsr', '0F32'],
  ['lgdt', '0F01/2m'],
  ['lidt', '0F01/3m'],
  ['lmsw', '0F01/6'],
  ['invlpg', '0F01/7m'],
  ['lldt', '0F00/2'],
  ['ltr', '0F00/3'],
]);

const movbe = table('movbe', { sized: true }, [['movbe', '0F38F0/rm 0F38F1/rm']]);
const popcnt = table('popcnt', { sized: true }, [['popcnt', 'F3-0FB8/r', { after: hooks.sparseOperand }]]);
const crc32 = table('crc32', { sized: true }, [['crc32', 'F2-0F38F0/r | F2-0F38F1/r']]);
const lzcnt = table('lzcnt', { sized: true, undefined: 'OSPA', after: hooks.sparseOperand }, [
  ['lzcnt', 'F3-0FBD/r'],
]);
const bmi1 = table('bmi1', { undefined: 'AP' }, [
  ['tzcnt', 'F3-0FBC/r', { sized: true, undefined: 'OSPA', after: hooks.sparseOperand }],
  ['andn', 'VNP-0F38F2/r'],
  ['bextr', 'VNP-0F38F7/r', { undefined: 'ASP', after: hooks.bextr }],
  ['blsr', 'VNP-0F38F3/1'],
  ['blsmsk', 'VNP-0F38F3/2'],
  ['blsi', 'VNP-0F38F3/3'],
]);
const bmi2 = table('bmi2', {}, [
  ['bzhi', 'VNP-0F38F5/r', { undefined: 'AP' }],
  ['pdep', 'VF2-0F38F5/r'],
  ['pext', 'VF3-0F38F5/r'],
  ['mulx', 'VF2-0F38F6/r'],
  ['rorx', 'VF2-0F3AF0/r.ib', { after: hooks.noSecondSource }],
  ['sarx', 'VF3-0F38F7/r'],
  ['shlx', 'V66-0F38F7/r'],
  ['shrx', 'VF2-0F38F7/r'],
]);
const adx = table('adx', { sized: true }, [
  ['adcx', '66-0F38F6/r'],
  ['adox', 'F3-0F38F6/r'],
]);

export const INTEGER_FORMS: readonly Form[] = [
  alu,
  multiply,
  divide,
  shift,
  bit,
  move,
  flags,
  stack,
  branch,
  string,
  decimal,
  miscellaneous,
  privileged,
  movbe,
  popcnt,
  crc32,
  lzcnt,
  bmi1,
  bmi2,
  adx,
].flat();
