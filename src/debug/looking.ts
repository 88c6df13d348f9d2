/**
 * Commands that look at the processor and at memory.
 */
import { ConfigError } from '../../devices/errors.ts';
import { codeSize } from '../../vm/debug/debugger.ts';
import { hex } from '../../vm/trace/text.ts';
import type { Segment, VcpuState } from '../../vm/vcpu-state.ts';
import {
  CR0_BITS,
  CR4_BITS,
  describeRegister,
  EFER_BITS,
  FPU_STATUS_BITS,
  MXCSR_BITS,
  RFLAGS_BITS,
} from './bits.ts';
import {
  count,
  type DebugCommand,
  type DebugContext,
  evaluate,
  place,
  stateOf,
  whereLine,
} from './context.ts';
import { describeDescriptor, describeGate, systemType } from './descriptors.ts';
import { formatInstruction } from './disassembly.ts';
import { explain } from './explain.ts';
import { drawPageWalk } from './paging.ts';

const GENERAL = [
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
] as const;
const SEGMENTS = ['cs', 'ss', 'ds', 'es', 'fs', 'gs', 'tr', 'ldt'] as const;
const MEMORY_MAXIMUM = 65536;
const INSTRUCTION_MAXIMUM = 15;
/** Of GDTR after reset. SDM volume 3A, table 9-1. */
const RESET_LIMIT = 0xffff;

export const LOOKING_COMMANDS: readonly DebugCommand[] = [
  {
    names: ['where'],
    usage: '',
    summary: 'the next instruction',
    run: (context) => context.print(whereLine(context)),
  },
  {
    names: ['registers', 'r'],
    usage: '',
    summary: 'all registers, and what their bits are called',
    run: (context) => {
      for (const line of registerLines(stateOf(context))) context.print(line);
    },
  },
  {
    names: ['fpu'],
    usage: '',
    summary: 'x87 and SSE registers',
    run: (context) => {
      for (const line of fpuLines(stateOf(context))) context.print(line);
    },
  },
  {
    names: ['disassemble', 'dis'],
    usage: '[ADDRESS] [n]',
    summary: 'instructions from an address on; from the next one unless given',
    run: (context, [address, number]) => {
      const pc = context.debugger.linearPc(context.vcpu);
      const from = address === undefined ? pc : evaluate(context, address);
      const list = context.disassemble(from, count(number, 8, 1000));
      if (list.length === 0)
        throw new ConfigError(`nothing is mapped at ${hex(from)}`, { hint: 'See: page ADDRESS.' });
      for (const one of list) {
        const symbol = context.symbols.describe(one.address);
        if (symbol !== undefined && !symbol.includes('+')) context.print(`${symbol}:`);
        context.print(formatInstruction(one, one.address === pc));
      }
    },
  },
  {
    names: ['explain', 'e'],
    usage: '[ADDRESS]',
    summary: 'what the next instruction will do, in the manual’s terms',
    run: (context, [address]) => {
      const { debugger: target, vcpu } = context;
      const from = address === undefined ? target.linearPc(vcpu) : evaluate(context, address);
      const bytes = target.read(vcpu, from, INSTRUCTION_MAXIMUM);
      const { registers, system, ...rest } = stateOf(context);
      const rip = codeSize({ system }) === 64 ? from : from - system.cs.base;
      const meaning = explain(
        bytes,
        { ...rest, system, registers: { ...registers, rip } },
        (linear, length) => {
          const data = target.read(vcpu, linear, length);
          if (data.length < length) return undefined;
          return BigInt(`0x${Buffer.from(data).reverse().toString('hex')}`);
        },
      );
      if (meaning === undefined)
        throw new ConfigError(
          `there is no instruction that the CPU in TypeScript knows at ${hex(from)}: #UD`,
        );
      context.print(`${context.disassemble(from, 1)[0]?.text ?? ''}`);
      context.print(meaning.title);
      for (const line of meaning.lines) context.print(`  ${line}`);
      if (meaning.operands.length > 0) context.print(`with ${meaning.operands.join(', ')}`);
    },
  },
  {
    names: ['memory', 'x'],
    usage: 'ADDRESS [BYTES]',
    summary: 'memory by linear address (64 bytes unless given)',
    run: (context, [address = '', bytes]) => {
      const from = evaluate(context, address);
      const length = count(bytes, 64, MEMORY_MAXIMUM);
      const data = context.debugger.read(context.vcpu, from, length);
      if (data.length === 0)
        throw new ConfigError(`nothing is mapped to RAM at ${hex(from)}`, { hint: 'See: page ADDRESS.' });
      dump(context, from, data);
      if (data.length < length)
        context.print(`(not mapped to RAM from ${hex(from + BigInt(data.length))} on)`);
    },
  },
  {
    names: ['physical', 'xp'],
    usage: 'ADDRESS [BYTES]',
    summary: 'memory by guest-physical address',
    run: (context, [address = '', bytes]) => {
      const from = evaluate(context, address);
      const length = count(bytes, 64, MEMORY_MAXIMUM);
      const { memory } = context.debugger.machine;
      if (!memory.contains(Number(from), length))
        throw new ConfigError(`${hex(from)} to ${hex(from + BigInt(length))} is not all RAM`);
      dump(context, from, memory.view(Number(from), length));
    },
  },
  {
    names: ['page'],
    usage: 'ADDRESS',
    summary: 'how page tables translate a linear address, level by level',
    run: (context, [address = '']) => {
      const linear = evaluate(context, address);
      const { cr3 } = stateOf(context).system;
      for (const line of drawPageWalk(context.debugger.walk(context.vcpu, linear), linear, cr3))
        context.print(line);
    },
  },
  {
    names: ['gdt'],
    usage: '',
    summary: 'the global descriptor table',
    run: (context) => {
      const { gdt, efer, cr0 } = stateOf(context).system;
      if ((cr0 & 1n) === 0n) context.print('real mode: segment registers are not looked up here yet');
      if (gdt.base === 0n && gdt.limit === RESET_LIMIT) {
        context.print('GDTR is as after reset: the guest has loaded no table (LGDT)');
        return;
      }
      const isLong = (efer & 0x400n) !== 0n;
      const bytes = context.debugger.read(context.vcpu, gdt.base, Math.min(gdt.limit + 1, MEMORY_MAXIMUM));
      context.print(`GDTR base ${hex(gdt.base)} limit ${hex(gdt.limit)}`);
      for (let at = 0; at + 8 <= bytes.length; ) {
        const { text, length } = describeDescriptor(bytes.subarray(at, at + 16), isLong);
        if (text !== 'null' || at === 0) context.print(`  ${hex(at).padEnd(6)} ${text}`);
        at += length;
      }
    },
  },
  {
    names: ['idt'],
    usage: '',
    summary: 'the interrupt descriptor table, as far as it is present',
    run: (context) => {
      const { idt, efer, cr0 } = stateOf(context).system;
      const mode = (cr0 & 1n) === 0n ? 'real' : (efer & 0x400n) !== 0n ? 'long' : 'protected';
      const size = mode === 'long' ? 16 : mode === 'protected' ? 8 : 4;
      const bytes = context.debugger.read(context.vcpu, idt.base, Math.min(idt.limit + 1, 256 * size));
      context.print(`IDTR base ${hex(idt.base)} limit ${hex(idt.limit)}`);
      if (mode === 'real') context.print('real mode: four bytes a vector, an offset and a segment');
      let present = 0;
      for (let vector = 0; (vector + 1) * size <= bytes.length; vector++) {
        const gate = describeGate(bytes.subarray(vector * size, (vector + 1) * size), mode);
        if (!gate.isPresent) continue;
        present++;
        const symbol = context.symbols.describe(gate.offset);
        context.print(
          `  ${hex(vector).padEnd(5)} ${hex(gate.selector)}:${hex(gate.offset)}${symbol === undefined ? '' : ` <${symbol}>`}  ${gate.text}`,
        );
      }
      if (present === 0) context.print('none of its entries is filled in');
    },
  },
  {
    names: ['print', 'p'],
    usage: 'EXPRESSION',
    summary: 'a number, register, symbol or sum of these',
    run: (context, args) => {
      const value = evaluate(context, args.join(''));
      context.print(`${hex(value)}  ${BigInt.asIntN(64, value)}  ${place(context, value)}`);
    },
  },
  {
    names: ['symbols'],
    usage: 'FILE',
    summary: 'load symbols from a vmlinux or a System.map',
    run: (context, [file]) => {
      if (file === undefined) throw new ConfigError('a file is missing: symbols FILE');
      context.print(`${context.symbols.load(file)} symbols`);
    },
  },
];

function dump(context: DebugContext, from: bigint, data: Uint8Array): void {
  for (let at = 0; at < data.length; at += 16) {
    const row = data.subarray(at, at + 16);
    const numbers = Array.from(row, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = Array.from(row, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join(
      '',
    );
    context.print(`${hex(from + BigInt(at)).padEnd(18)}  ${numbers.padEnd(47)}  ${text}`);
  }
}

function registerLines(state: VcpuState): string[] {
  const { registers, system } = state;
  const wide = codeSize(state) === 64 || (system.efer & 0x400n) !== 0n;
  const digits = wide ? 16 : 8;
  const full = (value: bigint): string =>
    `0x${BigInt.asUintN(digits * 4, value)
      .toString(16)
      .padStart(digits, '0')}`;
  const names = wide ? GENERAL : GENERAL.slice(0, 8);
  const lines: string[] = [];
  for (let i = 0; i < names.length; i += 4)
    lines.push(
      names
        .slice(i, i + 4)
        .map((name) => `${(wide ? name : name.replace('r', 'e')).padEnd(3)} ${full(registers[name])}`)
        .join('  '),
    );
  lines.push(`${wide ? 'rip' : 'eip'} ${full(registers.rip)}`);
  const flags = (name: string, value: bigint, text: string): string =>
    `${name.padEnd(6)} ${hex(value)}  ${text}`;
  lines.push(flags('rflags', registers.rflags, describeRegister(registers.rflags, RFLAGS_BITS)));
  lines.push(flags('cr0', system.cr0, describeRegister(system.cr0, CR0_BITS)));
  lines.push(flags('cr2', system.cr2, 'address of the last page fault'));
  lines.push(flags('cr3', system.cr3, 'page tables'));
  lines.push(flags('cr4', system.cr4, describeRegister(system.cr4, CR4_BITS)));
  lines.push(flags('cr8', system.cr8, 'task priority'));
  lines.push(flags('efer', system.efer, describeRegister(system.efer, EFER_BITS)));
  const isLong = (system.efer & 0x400n) !== 0n;
  for (const name of SEGMENTS) lines.push(segmentLine(name, system[name], isLong));
  lines.push(`gdtr   base ${hex(system.gdt.base)} limit ${hex(system.gdt.limit)}`);
  lines.push(`idtr   base ${hex(system.idt.base)} limit ${hex(system.idt.limit)}`);
  const [dr0, dr1, dr2, dr3, dr6, dr7] = state.debug;
  lines.push(
    `dr0 ${hex(dr0)}  dr1 ${hex(dr1)}  dr2 ${hex(dr2)}  dr3 ${hex(dr3)}  dr6 ${hex(dr6)}  dr7 ${hex(dr7)}`,
  );
  return lines;
}

function segmentLine(name: string, segment: Segment, isLong: boolean): string {
  const { selector, base, limit, s, type, dpl, present, l, db, unusable } = segment;
  const what = unusable
    ? 'unusable'
    : s === 0
      ? `${systemType(type, isLong)}, DPL ${dpl}${present ? '' : ', not present'}`
      : `${type & 8 ? `${l ? 64 : db ? 32 : 16}-bit code` : 'data'}, DPL ${dpl}${present ? '' : ', not present'}`;
  return `${name.padEnd(6)} ${`0x${selector.toString(16).padStart(4, '0')}`}  base ${hex(base)} limit ${hex(limit)}  ${what}`;
}

function fpuLines({ xsave }: VcpuState): string[] {
  const data = new DataView(xsave.buffer, xsave.byteOffset, xsave.byteLength);
  const status = data.getUint16(2, true);
  const mxcsr = data.getUint32(24, true);
  const lines = [
    `fctrl ${hex(data.getUint16(0, true))}  fstat ${hex(status)} ${describeRegister(BigInt(status), FPU_STATUS_BITS)}`,
    `mxcsr ${hex(mxcsr)} ${describeRegister(BigInt(mxcsr), MXCSR_BITS)}`,
  ];
  const image = (at: number, bytes: number): string =>
    Buffer.from(xsave.subarray(at, at + bytes))
      .reverse()
      .toString('hex');
  const top = (status >> 11) & 7;
  for (let i = 0; i < 8; i++)
    lines.push(`st${i}   0x${image(32 + 16 * i, 10)}${(xsave[4]! >> ((top + i) & 7)) & 1 ? '' : '  empty'}`);
  for (let i = 0; i < 16; i++) lines.push(`xmm${String(i).padEnd(2)} 0x${image(160 + 16 * i, 16)}`);
  return lines;
}
