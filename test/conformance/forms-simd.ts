/**
 * MMX and SSE to SSE4.2, with AES, PCLMULQDQ and SHA: each instruction with each mandatory prefix it has
 * (SDM vol. 2D, appendix A.3).
 */
import { type Form, type Row, type Traits, table } from './forms.ts';
import * as hooks from './hooks.ts';

/** MMX: 64-bit registers, which are the x87 ones. */
const MMX: Traits = { data: 'integer', usesX87: true, bytes: 8 };
/** 128-bit integers; operands in memory must be aligned, mostly. */
const XMM: Traits = { data: 'integer', usesXmm: true, alignment: 16, bytes: 16 };
const SINGLE: Traits = { ...XMM, data: 'single' };
const DOUBLE: Traits = { ...XMM, data: 'double' };
/** Between MMX and XMM registers, or between formats. */
const MIXED: Traits = { usesX87: true, usesXmm: true, bytes: 8, alignment: 8 };

/** The MMX integer instructions that SSE2 has with a 66 prefix: mnemonics and the byte after 0F. */
const PACKED: readonly (readonly [string, string])[] = [
  ['punpcklbw', '60'],
  ['punpcklwd', '61'],
  ['punpckldq', '62'],
  ['packsswb', '63'],
  ['pcmpgtb', '64'],
  ['pcmpgtw', '65'],
  ['pcmpgtd', '66'],
  ['packuswb', '67'],
  ['punpckhbw', '68'],
  ['punpckhwd', '69'],
  ['punpckhdq', '6A'],
  ['packssdw', '6B'],
  ['pcmpeqb', '74'],
  ['pcmpeqw', '75'],
  ['pcmpeqd', '76'],
  ['psrlw', 'D1'],
  ['psrld', 'D2'],
  ['psrlq', 'D3'],
  ['pmullw', 'D5'],
  ['psubusb', 'D8'],
  ['psubusw', 'D9'],
  ['pand', 'DB'],
  ['paddusb', 'DC'],
  ['paddusw', 'DD'],
  ['pandn', 'DF'],
  ['psraw', 'E1'],
  ['psrad', 'E2'],
  ['pmulhw', 'E5'],
  ['psubsb', 'E8'],
  ['psubsw', 'E9'],
  ['por', 'EB'],
  ['paddsb', 'EC'],
  ['paddsw', 'ED'],
  ['pxor', 'EF'],
  ['psllw', 'F1'],
  ['pslld', 'F2'],
  ['psllq', 'F3'],
  ['pmaddwd', 'F5'],
  ['psubb', 'F8'],
  ['psubw', 'F9'],
  ['psubd', 'FA'],
  ['paddb', 'FC'],
  ['paddw', 'FD'],
  ['paddd', 'FE'],
];

/** What SSE and SSE2 added to both. */
const PACKED_SSE: typeof PACKED = [
  ['pminub', 'DA'],
  ['pmaxub', 'DE'],
  ['pavgb', 'E0'],
  ['pavgw', 'E3'],
  ['pmulhuw', 'E4'],
  ['pminsw', 'EA'],
  ['pmaxsw', 'EE'],
  ['psadbw', 'F6'],
];
const PACKED_SSE2: typeof PACKED = [
  ['paddq', 'D4'],
  ['pmuludq', 'F4'],
  ['psubq', 'FB'],
];

/** SSSE3's instructions in the 0F 38 map, for both register files. */
const PACKED_SSSE3: typeof PACKED = [
  ['pshufb', '00'],
  ['phaddw', '01'],
  ['phaddd', '02'],
  ['phaddsw', '03'],
  ['pmaddubsw', '04'],
  ['phsubw', '05'],
  ['phsubd', '06'],
  ['phsubsw', '07'],
  ['psignb', '08'],
  ['psignw', '09'],
  ['psignd', '0A'],
  ['pmulhrsw', '0B'],
  ['pabsb', '1C'],
  ['pabsw', '1D'],
  ['pabsd', '1E'],
];

function each(list: typeof PACKED, before: string): Row[] {
  return list.map(([mnemonic, byte]) => [mnemonic, `${before}${byte}/r`]);
}

const SHIFTS = (prefix: string): Row[] => [
  ['psrlw', `${prefix}-0F71/2r.ib`],
  ['psraw', `${prefix}-0F71/4r.ib`],
  ['psllw', `${prefix}-0F71/6r.ib`],
  ['psrld', `${prefix}-0F72/2r.ib`],
  ['psrad', `${prefix}-0F72/4r.ib`],
  ['pslld', `${prefix}-0F72/6r.ib`],
  ['psrlq', `${prefix}-0F73/2r.ib`],
  ['psllq', `${prefix}-0F73/6r.ib`],
];

const mmx = table('mmx', MMX, [
  ...each(PACKED, 'NP-0F'),
  ...SHIFTS('NP'),
  ['movd', 'NP-0F6E/r NP-0F7E/r'],
  ['movq', 'NP-0F6F/r NP-0F7F/r'],
  ['emms', 'NP-0F77'],
]);

const mmxSse = table('mmx-sse', MMX, [
  ...each(PACKED_SSE, 'NP-0F'),
  ...each(PACKED_SSE2, 'NP-0F'),
  ['pshufw', 'NP-0F70/r.ib'],
  ['pinsrw', 'NP-0FC4/r.ib', { bytes: 2 }],
  ['pextrw', 'NP-0FC5/rr.ib'],
  ['pmovmskb', 'NP-0FD7/rr'],
  ['movntq', 'NP-0FE7/rm'],
  ['maskmovq', 'NP-0FF7/rr', { before: hooks.maskedMove }],
]);

/** Packed arithmetic: NP single, 66 double, F3 and F2 their scalars. */
const ARITHMETIC: readonly (readonly [string, string])[] = [
  ['sqrt', '51'],
  ['add', '58'],
  ['mul', '59'],
  ['sub', '5C'],
  ['min', '5D'],
  ['div', '5E'],
  ['max', '5F'],
];

const sse = table('sse', SINGLE, [
  ['movups', 'NP-0F10/r NP-0F11/r', { alignment: 1 }],
  ['movss', 'F3-0F10/r F3-0F11/r', { alignment: 1, bytes: 4 }],
  ['movlps', 'NP-0F12/r NP-0F13/rm', { alignment: 1, bytes: 8 }],
  ['unpcklps', 'NP-0F14/r'],
  ['unpckhps', 'NP-0F15/r'],
  ['movhps', 'NP-0F16/r NP-0F17/rm', { alignment: 1, bytes: 8 }],
  ['movaps', 'NP-0F28/r NP-0F29/r'],
  ['movntps', 'NP-0F2B/rm'],
  ['ucomiss', 'NP-0F2E/r', { alignment: 1, bytes: 4 }],
  ['comiss', 'NP-0F2F/r', { alignment: 1, bytes: 4 }],
  ['movmskps', 'NP-0F50/rr'],
  ...ARITHMETIC.flatMap(([mnemonic, byte]): Row[] => [
    [`${mnemonic}ps`, `NP-0F${byte}/r`],
    [`${mnemonic}ss`, `F3-0F${byte}/r`, { alignment: 1, bytes: 4 }],
  ]),
  ['rsqrtps', 'NP-0F52/r', { after: hooks.approximate }],
  ['rsqrtss', 'F3-0F52/r', { after: hooks.approximate, alignment: 1, bytes: 4 }],
  ['rcpps', 'NP-0F53/r', { after: hooks.approximate }],
  ['rcpss', 'F3-0F53/r', { after: hooks.approximate, alignment: 1, bytes: 4 }],
  ['andps', 'NP-0F54/r'],
  ['andnps', 'NP-0F55/r'],
  ['orps', 'NP-0F56/r'],
  ['xorps', 'NP-0F57/r'],
  ['cmpps', 'NP-0FC2/r.ib'],
  ['cmpss', 'F3-0FC2/r.ib', { alignment: 1, bytes: 4 }],
  ['shufps', 'NP-0FC6/r.ib'],
  ['cvtsi2ss', 'F3-0F2A/r', { alignment: 1, bytes: 8, data: 'integer' }],
  ['cvttss2si', 'F3-0F2C/r', { alignment: 1, bytes: 4 }],
  ['cvtss2si', 'F3-0F2D/r', { alignment: 1, bytes: 4 }],
  ['cvtpi2ps', 'NP-0F2A/r', MIXED],
  ['cvttps2pi', 'NP-0F2C/r', { ...MIXED, data: 'single' }],
  ['cvtps2pi', 'NP-0F2D/r', { ...MIXED, data: 'single' }],
  ['ldmxcsr', 'NP-0FAE/2m', { after: hooks.loadedMxcsr, alignment: 4, bytes: 4 }],
  ['stmxcsr', 'NP-0FAE/3m', { alignment: 4, bytes: 4 }],
]);

const fx = table('fxsave', { data: 'x87', usesX87: true, usesXmm: true, alignment: 16, bytes: 512 }, [
  ['fxsave', 'NP-0FAE/0m', { after: hooks.storedFx }],
  ['fxrstor', 'NP-0FAE/1m', { after: hooks.loadedFx }],
]);

const sse2 = table('sse2', DOUBLE, [
  ['movupd', '66-0F10/r 66-0F11/r', { alignment: 1 }],
  ['movsd', 'F2-0F10/r F2-0F11/r', { alignment: 1, bytes: 8 }],
  ['movlpd', '66-0F12/rm 66-0F13/rm', { alignment: 1, bytes: 8 }],
  ['unpcklpd', '66-0F14/r'],
  ['unpckhpd', '66-0F15/r'],
  ['movhpd', '66-0F16/rm 66-0F17/rm', { alignment: 1, bytes: 8 }],
  ['movapd', '66-0F28/r 66-0F29/r'],
  ['movntpd', '66-0F2B/rm'],
  ['ucomisd', '66-0F2E/r', { alignment: 1, bytes: 8 }],
  ['comisd', '66-0F2F/r', { alignment: 1, bytes: 8 }],
  ['movmskpd', '66-0F50/rr'],
  ...ARITHMETIC.flatMap(([mnemonic, byte]): Row[] => [
    [`${mnemonic}pd`, `66-0F${byte}/r`],
    [`${mnemonic}sd`, `F2-0F${byte}/r`, { alignment: 1, bytes: 8 }],
  ]),
  ['andpd', '66-0F54/r'],
  ['andnpd', '66-0F55/r'],
  ['orpd', '66-0F56/r'],
  ['xorpd', '66-0F57/r'],
  ['cmppd', '66-0FC2/r.ib'],
  ['cmpsd', 'F2-0FC2/r.ib', { alignment: 1, bytes: 8 }],
  ['shufpd', '66-0FC6/r.ib'],
  ['cvtsi2sd', 'F2-0F2A/r', { alignment: 1, bytes: 8, data: 'integer' }],
  ['cvttsd2si', 'F2-0F2C/r', { alignment: 1, bytes: 8 }],
  ['cvtsd2si', 'F2-0F2D/r', { alignment: 1, bytes: 8 }],
  ['cvtpi2pd', '66-0F2A/r', MIXED],
  ['cvttpd2pi', '66-0F2C/r', { ...MIXED, data: 'double', bytes: 16, alignment: 16 }],
  ['cvtpd2pi', '66-0F2D/r', { ...MIXED, data: 'double', bytes: 16, alignment: 16 }],
  ['cvtps2pd', 'NP-0F5A/r', { data: 'single', alignment: 1, bytes: 8 }],
  ['cvtss2sd', 'F3-0F5A/r', { data: 'single', alignment: 1, bytes: 4 }],
  ['cvtpd2ps', '66-0F5A/r'],
  ['cvtsd2ss', 'F2-0F5A/r', { alignment: 1, bytes: 8 }],
  ['cvtdq2ps', 'NP-0F5B/r', { data: 'integer' }],
  ['cvtps2dq', '66-0F5B/r', { data: 'single' }],
  ['cvttps2dq', 'F3-0F5B/r', { data: 'single' }],
  ['cvttpd2dq', '66-0FE6/r'],
  ['cvtpd2dq', 'F2-0FE6/r'],
  ['cvtdq2pd', 'F3-0FE6/r', { data: 'integer', alignment: 1, bytes: 8 }],
]);

const sse2Integer = table('sse2-integer', XMM, [
  ...each(PACKED, '66-0F'),
  ...each(PACKED_SSE, '66-0F'),
  ...each(PACKED_SSE2, '66-0F'),
  ...SHIFTS('66'),
  ['psrldq', '66-0F73/3r.ib'],
  ['pslldq', '66-0F73/7r.ib'],
  ['punpcklqdq', '66-0F6C/r'],
  ['punpckhqdq', '66-0F6D/r'],
  ['movd', '66-0F6E/r 66-0F7E/r', { alignment: 1, bytes: 8 }],
  ['movdqa', '66-0F6F/r 66-0F7F/r'],
  ['movdqu', 'F3-0F6F/r F3-0F7F/r', { alignment: 1 }],
  ['movq', 'F3-0F7E/r 66-0FD6/r', { alignment: 1, bytes: 8 }],
  ['pshufd', '66-0F70/r.ib'],
  ['pshufhw', 'F3-0F70/r.ib'],
  ['pshuflw', 'F2-0F70/r.ib'],
  ['pinsrw', '66-0FC4/r.ib', { alignment: 1, bytes: 2 }],
  ['pextrw', '66-0FC5/rr.ib'],
  ['pmovmskb', '66-0FD7/rr'],
  ['movntdq', '66-0FE7/rm'],
  ['maskmovdqu', '66-0FF7/rr', { before: hooks.maskedMove }],
  ['movdq2q', 'F2-0FD6/rr', MIXED],
  ['movq2dq', 'F3-0FD6/rr', MIXED],
]);

const sse3 = table('sse3', SINGLE, [
  ['movsldup', 'F3-0F12/r'],
  ['movshdup', 'F3-0F16/r'],
  ['movddup', 'F2-0F12/r', { alignment: 1, bytes: 8, data: 'double' }],
  ['haddpd', '66-0F7C/r', { data: 'double' }],
  ['haddps', 'F2-0F7C/r'],
  ['hsubpd', '66-0F7D/r', { data: 'double' }],
  ['hsubps', 'F2-0F7D/r'],
  ['addsubpd', '66-0FD0/r', { data: 'double' }],
  ['addsubps', 'F2-0FD0/r'],
  ['lddqu', 'F2-0FF0/rm', { alignment: 1 }],
]);

const ssse3 = table('ssse3', XMM, [...each(PACKED_SSSE3, '66-0F38'), ['palignr', '66-0F3A0F/r.ib']]);
const mmxSsse3 = table('mmx-ssse3', MMX, [...each(PACKED_SSSE3, 'NP-0F38'), ['palignr', 'NP-0F3A0F/r.ib']]);

/** PMOVSX and PMOVZX read less than a register: by the low three bits of the opcode. */
const EXTENSIONS: Row[] = ['bw', 'bd', 'bq', 'wd', 'wq', 'dq'].flatMap((sizes, n): Row[] => {
  const bytes = [8, 4, 2, 8, 4, 8][n]!;
  return [
    [`pmovsx${sizes}`, `66-0F382${n}/r`, { alignment: 1, bytes }],
    [`pmovzx${sizes}`, `66-0F383${n}/r`, { alignment: 1, bytes }],
  ];
});

const sse41 = table('sse4.1', XMM, [
  ['pblendvb', '66-0F3810/r'],
  ['blendvps', '66-0F3814/r', { data: 'single' }],
  ['blendvpd', '66-0F3815/r', { data: 'double' }],
  ['ptest', '66-0F3817/r'],
  ...EXTENSIONS,
  ['pmuldq', '66-0F3828/r'],
  ['pcmpeqq', '66-0F3829/r'],
  ['movntdqa', '66-0F382A/rm'],
  ['packusdw', '66-0F382B/r'],
  ['pminsb', '66-0F3838/r'],
  ['pminsd', '66-0F3839/r'],
  ['pminuw', '66-0F383A/r'],
  ['pminud', '66-0F383B/r'],
  ['pmaxsb', '66-0F383C/r'],
  ['pmaxsd', '66-0F383D/r'],
  ['pmaxuw', '66-0F383E/r'],
  ['pmaxud', '66-0F383F/r'],
  ['pmulld', '66-0F3840/r'],
  ['phminposuw', '66-0F3841/r'],
  ['roundps', '66-0F3A08/r.ib', { data: 'single' }],
  ['roundpd', '66-0F3A09/r.ib', { data: 'double' }],
  ['roundss', '66-0F3A0A/r.ib', { data: 'single', alignment: 1, bytes: 4 }],
  ['roundsd', '66-0F3A0B/r.ib', { data: 'double', alignment: 1, bytes: 8 }],
  ['blendps', '66-0F3A0C/r.ib', { data: 'single' }],
  ['blendpd', '66-0F3A0D/r.ib', { data: 'double' }],
  ['pblendw', '66-0F3A0E/r.ib'],
  ['pextrb', '66-0F3A14/r.ib', { alignment: 1, bytes: 1 }],
  ['pextrw', '66-0F3A15/r.ib', { alignment: 1, bytes: 2 }],
  ['pextrd', '66-0F3A16/r.ib', { alignment: 1, bytes: 8 }],
  ['extractps', '66-0F3A17/r.ib', { alignment: 1, bytes: 4 }],
  ['pinsrb', '66-0F3A20/r.ib', { alignment: 1, bytes: 1 }],
  ['insertps', '66-0F3A21/r.ib', { alignment: 1, bytes: 4, data: 'single' }],
  ['pinsrd', '66-0F3A22/r.ib', { alignment: 1, bytes: 8 }],
  ['dpps', '66-0F3A40/r.ib', { data: 'single' }],
  ['dppd', '66-0F3A41/r.ib', { data: 'double' }],
  ['mpsadbw', '66-0F3A42/r.ib'],
]);

const sse42 = table('sse4.2', XMM, [
  ['pcmpgtq', '66-0F3837/r'],
  ['pcmpestrm', '66-0F3A60/r.ib', { alignment: 1 }],
  ['pcmpestri', '66-0F3A61/r.ib', { alignment: 1 }],
  ['pcmpistrm', '66-0F3A62/r.ib', { alignment: 1 }],
  ['pcmpistri', '66-0F3A63/r.ib', { alignment: 1 }],
]);

const aes = table('aes', XMM, [
  ['aesimc', '66-0F38DB/r'],
  ['aesenc', '66-0F38DC/r'],
  ['aesenclast', '66-0F38DD/r'],
  ['aesdec', '66-0F38DE/r'],
  ['aesdeclast', '66-0F38DF/r'],
  ['aeskeygenassist', '66-0F3ADF/r.ib'],
]);
const pclmul = table('pclmul', XMM, [['pclmulqdq', '66-0F3A44/r.ib']]);
const sha = table('sha', XMM, [
  ['sha1nexte', 'NP-0F38C8/r'],
  ['sha1msg1', 'NP-0F38C9/r'],
  ['sha1msg2', 'NP-0F38CA/r'],
  ['sha256rnds2', 'NP-0F38CB/r'],
  ['sha256msg1', 'NP-0F38CC/r'],
  ['sha256msg2', 'NP-0F38CD/r'],
  ['sha1rnds4', 'NP-0F3ACC/r.ib'],
]);

export const SIMD_FORMS: readonly Form[] = [
  mmx,
  mmxSse,
  sse,
  fx,
  sse2,
  sse2Integer,
  sse3,
  ssse3,
  mmxSsse3,
  sse41,
  sse42,
  aes,
  pclmul,
  sha,
].flat();
