/**
 * The target description that gdb asks for: which registers there are, in XML (GDB manual, appendix G).
 */
import type { GdbArch, GdbRegister } from './registers.ts';

const FEATURE_NAMES: Readonly<Record<GdbRegister['feature'], string>> = {
  core: 'org.gnu.gdb.i386.core',
  sse: 'org.gnu.gdb.i386.sse',
  segments: 'org.gnu.gdb.i386.segments',
  system: 'org.type2.x86.system',
};

const flags = (id: string, size: number, bits: string): string => {
  const fields = bits
    .split(' ')
    .map((name, bit) => (name === '-' ? '' : `<field name="${name}" start="${bit}" end="${bit}"/>`));
  return `<flags id="${id}" size="${size}">${fields.join('')}</flags>`;
};

const TYPES: Readonly<Record<GdbRegister['feature'], string>> = {
  core: flags('i386_eflags', 4, 'CF - PF - AF - ZF SF TF IF DF OF - - NT - RF VM AC VIF VIP ID'),
  sse: [
    '<vector id="v4f" type="ieee_single" count="4"/>',
    '<vector id="v2d" type="ieee_double" count="2"/>',
    '<vector id="v16i8" type="int8" count="16"/>',
    '<vector id="v8i16" type="int16" count="8"/>',
    '<vector id="v4i32" type="int32" count="4"/>',
    '<vector id="v2i64" type="int64" count="2"/>',
    '<union id="vec128">',
    '<field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/><field name="v16_int8" type="v16i8"/>',
    '<field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/>',
    '<field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/>',
    '</union>',
    flags('i386_mxcsr', 4, 'IE DE ZE OE UE PE DAZ IM DM ZM OM UM PM - - FZ'),
  ].join(''),
  segments: '',
  system: '',
};

/** The document `target.xml`. */
export function targetDescription(arch: GdbArch, registers: readonly GdbRegister[]): string {
  const features = [...new Set(registers.map(({ feature }) => feature))].map((feature) => {
    const list = registers
      .map((register, number) => ({ register, number }))
      .filter(({ register }) => register.feature === feature)
      .map(({ register, number }) => describe(register, number));
    return `<feature name="${FEATURE_NAMES[feature]}">${TYPES[feature]}${list.join('')}</feature>`;
  });
  const name = arch === 'x86-64' ? 'i386:x86-64' : arch;
  return `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target><architecture>${name}</architecture>${features.join('')}</target>`;
}

function describe({ name, bits, type, feature }: GdbRegister, number: number): string {
  const group =
    name.startsWith('f') && type === 'int' ? ' group="float"' : feature === 'system' ? ' group="system"' : '';
  return `<reg name="${name}" bitsize="${bits}" type="${type}" regnum="${number}"${group}/>`;
}
