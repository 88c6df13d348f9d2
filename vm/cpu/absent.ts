/**
 * Names of instructions that this CPU hasn't got, for statistics: so that whoever sees a guest fail for want of one is
 * told which. What isn't known is named by its bytes. SDM volume 2, appendix A; looked at only when #UD is raised.
 */
import { MAPS } from './isa/table.ts';
import { ModeBit } from './layout.ts';

/** By map and opcode, then by mandatory prefix (`66`, `f3`, `f2`) or ModRM.reg (`/4`) where that decides. */
const LEGACY: Readonly<Record<string, string>> = {
  '0f 0e': 'femms',
  '0f 0f': '3dnow',
  '0f 37': 'getsec',
  '0f 78': 'vmread',
  '0f 79': 'vmwrite',
  '0f aa': 'rsm',
  '0f ae /4': 'xsave',
  '0f ae /5': 'xrstor',
  '0f ae /6': 'xsaveopt',
  '66 0f ae /6': 'clwb',
  '66 0f ae /7': 'clflushopt',
  'f3 0f ae /0': 'rdfsbase',
  'f3 0f ae /1': 'rdgsbase',
  'f3 0f ae /2': 'wrfsbase',
  'f3 0f ae /3': 'wrgsbase',
  'f3 0f ae /5': 'incssp',
  'f3 0f c7 /7': 'rdpid',
  '0f c7 /3': 'xrstors',
  '0f c7 /4': 'xsavec',
  '0f c7 /5': 'xsaves',
  '0f c7 /6': 'vmptrld',
  '0f 01 c1': 'vmcall',
  '0f 01 c8': 'monitor',
  '0f 01 c9': 'mwait',
  '0f 01 ca': 'clac',
  '0f 01 cb': 'stac',
  '0f 01 d8': 'vmrun',
  '0f 01 da': 'vmload',
  '0f 01 db': 'vmsave',
  '0f 01 dc': 'stgi',
  '0f 01 dd': 'clgi',
  '0f 01 de': 'skinit',
  '0f 01 df': 'invlpga',
  '0f 01 ee': 'rdpkru',
  '0f 01 ef': 'wrpkru',
  '0f 01 fa': 'monitorx',
  '0f 01 fb': 'mwaitx',
  '0f 01 fc': 'clzero',
  '0f 01 fd': 'rdpru',
  '0f 38 c8': 'sha1nexte',
  '0f 38 c9': 'sha1msg1',
  '0f 38 ca': 'sha1msg2',
  '0f 38 cb': 'sha256rnds2',
  '0f 38 cc': 'sha256msg1',
  '0f 38 cd': 'sha256msg2',
  '66 0f 38 80': 'invept',
  '66 0f 38 81': 'invvpid',
  '66 0f 38 82': 'invpcid',
  '66 0f 38 cf': 'gf2p8mulb',
  '66 0f 38 db': 'aesimc',
  '66 0f 38 dc': 'aesenc',
  '66 0f 38 dd': 'aesenclast',
  '66 0f 38 de': 'aesdec',
  '66 0f 38 df': 'aesdeclast',
  '66 0f 38 f6': 'adcx',
  'f3 0f 38 f6': 'adox',
  '66 0f 38 f8': 'movdir64b',
  '0f 38 f9': 'movdiri',
  '66 0f 3a 44': 'pclmulqdq',
  '0f 3a cc': 'sha1rnds4',
  '66 0f 3a df': 'aeskeygenassist',
  'f2 0f 78': 'insertq',
  'f2 0f 79': 'insertq',
  '66 0f 78': 'extrq',
  '66 0f 79': 'extrq',
  'f2 0f 2b': 'movntsd',
  'f3 0f 2b': 'movntss',
};

/** VEX instructions without an SSE one at the same place, written as LEGACY. */
const VEX: Readonly<Record<string, string>> = {
  '0f 77': 'vzeroupper',
  '0f 38 f2': 'andn',
  '0f 38 f3 /1': 'blsr',
  '0f 38 f3 /2': 'blsmsk',
  '0f 38 f3 /3': 'blsi',
  '0f 38 f5': 'bzhi',
  'f3 0f 38 f5': 'pext',
  'f2 0f 38 f5': 'pdep',
  'f2 0f 38 f6': 'mulx',
  '0f 38 f7': 'bextr',
  '66 0f 38 f7': 'shlx',
  'f3 0f 38 f7': 'sarx',
  'f2 0f 38 f7': 'shrx',
  'f2 0f 3a f0': 'rorx',
  '66 0f 38 0c': 'vpermilps',
  '66 0f 38 0d': 'vpermilpd',
  '66 0f 38 0e': 'vtestps',
  '66 0f 38 0f': 'vtestpd',
  '66 0f 38 13': 'vcvtph2ps',
  '66 0f 38 16': 'vpermps',
  '66 0f 38 18': 'vbroadcastss',
  '66 0f 38 19': 'vbroadcastsd',
  '66 0f 38 1a': 'vbroadcastf128',
  '66 0f 38 2c': 'vmaskmovps',
  '66 0f 38 2d': 'vmaskmovpd',
  '66 0f 38 2e': 'vmaskmovps',
  '66 0f 38 2f': 'vmaskmovpd',
  '66 0f 38 36': 'vpermd',
  '66 0f 38 45': 'vpsrlv',
  '66 0f 38 46': 'vpsravd',
  '66 0f 38 47': 'vpsllv',
  '66 0f 38 58': 'vpbroadcastd',
  '66 0f 38 59': 'vpbroadcastq',
  '66 0f 38 5a': 'vbroadcasti128',
  '66 0f 38 78': 'vpbroadcastb',
  '66 0f 38 79': 'vpbroadcastw',
  '66 0f 38 8c': 'vpmaskmov',
  '66 0f 38 8e': 'vpmaskmov',
  '66 0f 38 90': 'vpgatherd',
  '66 0f 38 91': 'vpgatherq',
  '66 0f 38 92': 'vgatherdp',
  '66 0f 38 93': 'vgatherqp',
  '66 0f 3a 00': 'vpermq',
  '66 0f 3a 01': 'vpermpd',
  '66 0f 3a 02': 'vpblendd',
  '66 0f 3a 04': 'vpermilps',
  '66 0f 3a 05': 'vpermilpd',
  '66 0f 3a 06': 'vperm2f128',
  '66 0f 3a 18': 'vinsertf128',
  '66 0f 3a 19': 'vextractf128',
  '66 0f 3a 1d': 'vcvtps2ph',
  '66 0f 3a 38': 'vinserti128',
  '66 0f 3a 39': 'vextracti128',
  '66 0f 3a 46': 'vperm2i128',
  '66 0f 3a 4a': 'vblendvps',
  '66 0f 3a 4b': 'vblendvpd',
  '66 0f 3a 4c': 'vpblendvb',
};

/** Fused multiply-add: opcodes 96–9f, a6–af, b6–bf of map 0f38; the low bit of most says scalar. */
const FMA = [
  'vfmaddsub',
  'vfmsubadd',
  'vfmadd',
  'vfmadd',
  'vfmsub',
  'vfmsub',
  'vfnmadd',
  'vfnmadd',
  'vfnmsub',
  'vfnmsub',
];
const FMA_ORDERS = ['132', '213', '231'];

const PREFIXES = ['', '66', 'f3', 'f2'];
const MAP_BYTES = ['', '0f', '0f 38', '0f 3a'];
const SHOWN_BYTES = 8;

const hex = (byte: number): string => byte.toString(16).padStart(2, '0');

/** The most exact line of a table. @param prefix - index in {@link PREFIXES} */
function find(
  table: Readonly<Record<string, string>>,
  prefix: number,
  map: number,
  opcode: number,
  modRm: number,
): string | undefined {
  const plain = `${MAP_BYTES[map]} ${hex(opcode)}`;
  for (const start of prefix > 0 ? [`${PREFIXES[prefix]} ${plain}`, plain] : [plain]) {
    const name = table[`${start} ${hex(modRm)}`] ?? table[`${start} /${(modRm >> 3) & 7}`] ?? table[start];
    if (name !== undefined) return name;
  }
  return undefined;
}

/** Name in the table of instructions that there are. */
function present(map: number, prefix: number, opcode: number, modRm: number): string | undefined {
  const choice = MAPS[map]?.[opcode]?.byPrefix[prefix];
  const isMemory = modRm < 0xc0;
  const reg = (modRm >> 3) & 7;
  return (
    choice?.byModRm?.get(modRm) ??
    choice?.byReg?.[isMemory ? 8 + reg : reg] ??
    choice?.all
  )?.name.toLowerCase();
}

function vexName(
  map: number,
  prefix: number,
  opcode: number,
  modRm: number,
  wide: boolean,
): string | undefined {
  const own = find(VEX, prefix, map, opcode, modRm);
  if (own !== undefined) return own;
  const column = (opcode & 0xf) - 6;
  const row = (opcode >> 4) - 9;
  if (map === 2 && prefix === 1 && column >= 0 && row >= 0 && row < 3) {
    const scalar = column >= 3 && (column & 1) === 1;
    return `${FMA[column]}${FMA_ORDERS[row]}${scalar ? 's' : 'p'}${wide ? 'd' : 's'}`;
  }
  // Most are an SSE instruction with three operands.
  const base = present(map, prefix, opcode, modRm) ?? find(LEGACY, prefix, map, opcode, modRm);
  return base === undefined ? undefined : `v${base}`;
}

/**
 * What an instruction is that raised #UD.
 * @param bytes - it and what follows, up to 15
 * @param mode - see {@link ModeBit}
 */
export function nameOfAbsent(bytes: Uint8Array, mode: number): string {
  const is64 = (mode & ModeBit.codeSize) === 2;
  let at = 0;
  let prefix = 0;
  for (; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === 0x66) prefix ||= 1;
    else if (byte === 0xf3) prefix = 2;
    else if (byte === 0xf2) prefix = 3;
    else if (![0x67, 0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65].includes(byte)) break;
  }
  if (is64 && (bytes[at]! & 0xf0) === 0x40) at++;
  const first = bytes[at] ?? 0;
  const second = bytes[at + 1] ?? 0;
  // C4, C5 and 62 are LES, LDS and BOUND outside 64-bit mode, unless they would name a register.
  const mayBeVex = is64 || second >= 0xc0;
  let name: string | undefined;
  if (mayBeVex && (first === 0xc4 || first === 0xc5)) {
    const isLong = first === 0xc4;
    const last = bytes[at + (isLong ? 2 : 1)] ?? 0;
    const rest = at + (isLong ? 3 : 2);
    name = vexName(
      isLong ? second & 31 : 1,
      last & 3,
      bytes[rest] ?? 0,
      bytes[rest + 1] ?? 0,
      isLong && last >= 0x80,
    );
  } else if (mayBeVex && first === 0x62) {
    const base = vexName(
      second & 7,
      (bytes[at + 2] ?? 0) & 3,
      bytes[at + 4] ?? 0,
      bytes[at + 5] ?? 0,
      (bytes[at + 2] ?? 0) >= 0x80,
    );
    name = base === undefined ? undefined : `${base} (evex)`;
  } else if (first === 0x0f) {
    const isThreeByte = second === 0x38 || second === 0x3a;
    const map = second === 0x38 ? 2 : second === 0x3a ? 3 : 1;
    const rest = at + (isThreeByte ? 2 : 1);
    const opcode = bytes[rest] ?? 0;
    const modRm = bytes[rest + 1] ?? 0;
    name =
      find(LEGACY, prefix, map, opcode, modRm) ??
      present(map, prefix, opcode, modRm) ??
      present(map, 0, opcode, modRm);
  } else name = present(0, 0, first, second);
  return name ?? Array.from(bytes.subarray(0, SHOWN_BYTES), hex).join(' ');
}
