/**
 * The registers that gdb sees, in its own order and under its own names (GDB manual, appendix G.5.3), between
 * them and a vCPU's state: one table for x86-64 and one for i386, which is i8086's too. What gdb has no names for
 * (control registers, segment bases, descriptor tables) is in a feature of our own.
 */
import type { Segment, SystemRegisters, VcpuChange, VcpuState } from '../../vm/vcpu-state.ts';

/** What gdb takes the machine for: it disassembles by that. */
export type GdbArch = 'i8086' | 'i386' | 'x86-64';

/** One register. */
export interface GdbRegister {
  readonly name: string;
  readonly bits: number;
  /** Its type in gdb's target description. */
  readonly type: string;
  readonly feature: 'core' | 'sse' | 'segments' | 'system';
  get(state: VcpuState): bigint;
  /** Absent for what can't be written. */
  set?(state: VcpuState, value: bigint): VcpuChange;
}

type General = keyof VcpuState['registers'];
type SegmentName = 'cs' | 'ss' | 'ds' | 'es' | 'fs' | 'gs';

const KERNEL_GS_BASE = 0xc000_0102;
const CR0_PE = 1n;

/** Offsets in the FXSAVE image. SDM volume 1, table 10-2 */
const Fx = { fcw: 0, fsw: 2, ftw: 4, fop: 6, fip: 8, fdp: 16, mxcsr: 24, st: 32, xmm: 160 } as const;
const FXSAVE_BYTES = 512;

/** A register table for gdb. */
export function gdbRegisters(arch: GdbArch): readonly GdbRegister[] {
  const wide = arch === 'x86-64';
  const word = wide ? 64 : 32;
  const names: readonly General[] = wide
    ? [
        'rax',
        'rbx',
        'rcx',
        'rdx',
        'rsi',
        'rdi',
        'rbp',
        'rsp',
        'r8',
        'r9',
        'r10',
        'r11',
        'r12',
        'r13',
        'r14',
        'r15',
      ]
    : ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'];
  const shown = (name: General): string => (wide ? name : name.replace('r', 'e'));
  const general = names.map((name) =>
    generalRegister(name, shown(name), word, /[sb]p$/.test(name) ? 'data_ptr' : wide ? 'int64' : 'int32'),
  );
  const segments: readonly SegmentName[] = ['cs', 'ss', 'ds', 'es', 'fs', 'gs'];
  return [
    ...general,
    generalRegister('rip', shown('rip'), word, 'code_ptr'),
    generalRegister('rflags', 'eflags', 32, 'i386_eflags'),
    ...segments.map(selector),
    ...Array.from({ length: 8 }, (_, i) => fx(`st${i}`, 80, 'i387_ext', 'core', Fx.st + 16 * i)),
    ...x87Control(),
    ...Array.from({ length: wide ? 16 : 8 }, (_, i) => fx(`xmm${i}`, 128, 'vec128', 'sse', Fx.xmm + 16 * i)),
    fx('mxcsr', 32, 'i386_mxcsr', 'sse', Fx.mxcsr),
    ...(wide ? [base('fs', 'segments'), base('gs', 'segments')] : []),
    ...system(wide),
  ];
}

function generalRegister(register: General, name: string, bits: number, type: string): GdbRegister {
  return {
    name,
    bits,
    type,
    feature: 'core',
    get: ({ registers }) => BigInt.asUintN(bits, registers[register]),
    set: (_, value) => ({ registers: { [register]: value } }),
  };
}

/** Loading a selector where it can be done without the descriptor: real mode. */
function selector(name: SegmentName): GdbRegister {
  return {
    name,
    bits: 32,
    type: 'int32',
    feature: 'core',
    get: ({ system: registers }) => BigInt(registers[name].selector),
    set: ({ system: registers }, value) => {
      const real = (registers.cr0 & CR0_PE) === 0n;
      const segment: Segment = { ...registers[name], selector: Number(value & 0xffffn) };
      return { system: { [name]: real ? { ...segment, base: (value & 0xffffn) << 4n } : segment } };
    },
  };
}

/** A field of the FXSAVE image. */
function fx(
  name: string,
  bits: number,
  type: string,
  feature: GdbRegister['feature'],
  offset: number,
): GdbRegister {
  const bytes = bits / 8;
  return {
    name,
    bits,
    type,
    feature,
    get: ({ xsave }) => littleEndian(xsave.subarray(offset, offset + bytes)),
    set: ({ xsave }, value) => ({ xsave: patched(xsave, offset, bytes, value) }),
  };
}

/** gdb shows all of these with 32 bits. */
function x87Control(): readonly GdbRegister[] {
  const field = (name: string, offset: number, bytes: number): GdbRegister => ({
    name,
    bits: 32,
    type: 'int',
    feature: 'core',
    get: ({ xsave }) => littleEndian(xsave.subarray(offset, offset + bytes)),
    set: ({ xsave }, value) => ({ xsave: patched(xsave, offset, bytes, value) }),
  });
  return [
    field('fctrl', Fx.fcw, 2),
    field('fstat', Fx.fsw, 2),
    {
      name: 'ftag',
      bits: 32,
      type: 'int',
      feature: 'core',
      get: ({ xsave }) => BigInt(fullTags(xsave)),
      set: ({ xsave }, value) => ({ xsave: patched(xsave, Fx.ftw, 1, BigInt(shortTags(Number(value)))) }),
    },
    field('fiseg', Fx.fip + 4, 2),
    field('fioff', Fx.fip, 4),
    field('foseg', Fx.fdp + 4, 2),
    field('fooff', Fx.fdp, 4),
    field('fop', Fx.fop, 2),
  ];
}

function base(name: SegmentName, feature: GdbRegister['feature']): GdbRegister {
  return {
    name: `${name}_base`,
    bits: 64,
    type: 'int64',
    feature,
    get: ({ system: registers }) => BigInt.asUintN(64, registers[name].base),
    set: ({ system: registers }, value) => ({ system: { [name]: { ...registers[name], base: value } } }),
  };
}

function system(wide: boolean): readonly GdbRegister[] {
  const bits = wide ? 64 : 32;
  const register = (
    name: string,
    get: (registers: SystemRegisters) => bigint,
    set?: (registers: SystemRegisters, value: bigint) => Partial<SystemRegisters>,
  ): GdbRegister => ({
    name,
    bits,
    type: wide ? 'int64' : 'int32',
    feature: 'system',
    get: ({ system: registers }) => BigInt.asUintN(bits, get(registers)),
    ...(set === undefined
      ? {}
      : { set: ({ system: registers }: VcpuState, value: bigint) => ({ system: set(registers, value) }) }),
  });
  const control = (name: 'cr0' | 'cr2' | 'cr3' | 'cr4' | 'cr8' | 'efer'): GdbRegister =>
    register(
      name,
      (registers) => registers[name],
      (_, value) => ({ [name]: value }),
    );
  const bases: readonly SegmentName[] = wide
    ? ['cs', 'ss', 'ds', 'es']
    : ['cs', 'ss', 'ds', 'es', 'fs', 'gs'];
  return [
    ...(['cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer'] as const).map(control),
    ...bases.map((name) => register(`${name}_base`, (registers) => registers[name].base)),
    register('tr', ({ tr }) => BigInt(tr.selector)),
    register('tr_base', ({ tr }) => tr.base),
    register('ldtr', ({ ldt }) => BigInt(ldt.selector)),
    register('gdtr_base', ({ gdt }) => gdt.base),
    register('gdtr_limit', ({ gdt }) => BigInt(gdt.limit)),
    register('idtr_base', ({ idt }) => idt.base),
    register('idtr_limit', ({ idt }) => BigInt(idt.limit)),
    ...(wide
      ? [
          {
            name: 'k_gs_base',
            bits: 64,
            type: 'int64',
            feature: 'system',
            get: ({ msrs }) => BigInt.asUintN(64, msrs.get(KERNEL_GS_BASE) ?? 0n),
          } satisfies GdbRegister,
        ]
      : []),
  ];
}

/** A register's value as gdb sends it: little-endian bytes in hexadecimal. */
export function toHex(value: bigint, bits: number): string {
  let text = '';
  for (let i = 0; i < bits / 8; i++)
    text += Number((value >> BigInt(8 * i)) & 0xffn)
      .toString(16)
      .padStart(2, '0');
  return text;
}

/** As {@link toHex}, back. */
export function fromHex(text: string): bigint {
  return littleEndian(Buffer.from(text, 'hex'));
}

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  return value;
}

function patched(image: Uint8Array, offset: number, bytes: number, value: bigint): Uint8Array {
  const copy = image.slice(0, Math.max(FXSAVE_BYTES, image.length));
  for (let i = 0; i < bytes; i++) copy[offset + i] = Number((value >> BigInt(8 * i)) & 0xffn);
  return copy;
}

/** The tag word of FSAVE, two bits a register by physical number, from FXSAVE's one bit. SDM volume 1, 8.1.7 */
function fullTags(xsave: Uint8Array): number {
  const top = ((xsave[Fx.fsw + 1]! >> 3) & 7) as number;
  let tags = 0;
  for (let physical = 0; physical < 8; physical++) {
    const isFull = (xsave[Fx.ftw]! >> physical) & 1;
    tags |= (isFull ? tagOf(xsave, (physical - top) & 7) : 3) << (2 * physical);
  }
  return tags;
}

/** 0 valid, 1 zero, 2 special. */
function tagOf(xsave: Uint8Array, register: number): number {
  const at = Fx.st + 16 * register;
  const significand = littleEndian(xsave.subarray(at, at + 8));
  const exponent = Number(littleEndian(xsave.subarray(at + 8, at + 10))) & 0x7fff;
  if (exponent === 0 && significand === 0n) return 1;
  return exponent === 0 || exponent === 0x7fff || significand >> 63n === 0n ? 2 : 0;
}

function shortTags(tags: number): number {
  let short = 0;
  for (let i = 0; i < 8; i++) if (((tags >> (2 * i)) & 3) !== 3) short |= 1 << i;
  return short;
}
