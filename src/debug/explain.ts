/**
 * What an instruction will do, from its one meaning in the CPU: the template that interpreter and compiler are made
 * of (vm/cpu/ir/node.ts), written out with the names of registers and what they hold now.
 */
import { Decoded, Instruction, RIP_BASE } from '../../vm/cpu/decode.ts';
import { type Form, formOf } from '../../vm/cpu/forms.ts';
import { Expr, FlagKind, type Node, type Statement, Stmt, Terminator } from '../../vm/cpu/ir/node.ts';
import { HELPER_NAMES } from '../../vm/cpu/isa/helpers.ts';
import '../../vm/cpu/isa/index.ts';
import { ModeBit, Seg, State } from '../../vm/cpu/layout.ts';
import { Convert, I32, I64 } from '../../vm/cpu/wasm/opcodes.ts';
import { codeSize } from '../../vm/debug/debugger.ts';
import { EXCEPTION_NAMES, hex } from '../../vm/trace/text.ts';
import type { GeneralRegisters, VcpuState } from '../../vm/vcpu-state.ts';
import { helperText, SEGMENT_NAMES, stringText } from './helper-text.ts';

const NAMES = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
] as const;
const CONDITIONS = [
  'OF',
  'not OF',
  'CF',
  'not CF',
  'ZF',
  'not ZF',
  '(CF or ZF)',
  'not (CF or ZF)',
  'SF',
  'not SF',
  'PF',
  'not PF',
  'SF ≠ OF',
  'SF = OF',
  '(ZF or SF ≠ OF)',
  'not (ZF or SF ≠ OF)',
] as const;
const SIGNS: Readonly<Record<string, string>> = {
  add: '+',
  sub: '−',
  mul: '×',
  and: 'and',
  or: 'or',
  xor: 'xor',
  shl: '<<',
  shr_u: '>>',
  shr_s: '>> (signed)',
  rotl: 'rotated left by',
  rotr: 'rotated right by',
  div_u: '÷',
  div_s: '÷ (signed)',
  rem_u: 'mod',
  rem_s: 'mod (signed)',
  eq: '=',
  ne: '≠',
  lt_u: '<',
  lt_s: '< (signed)',
  gt_u: '>',
  gt_s: '> (signed)',
  le_u: '≤',
  le_s: '≤ (signed)',
  ge_u: '≥',
  ge_s: '≥ (signed)',
};
/** WebAssembly's integer instructions by opcode. */
const OPERATIONS = new Map<number, string>(
  [...Object.entries(I32), ...Object.entries(I64)].map(([name, code]) => [code, name]),
);
const CODE_SIZE_BITS = { 16: 0, 32: 1, 64: 2 } as const;

/** An instruction's meaning in words. */
export interface Explanation {
  /** The encoding as the manual writes it, with the instruction's name. */
  readonly title: string;
  readonly lines: readonly string[];
  /** What it works with, and what that holds now. */
  readonly operands: readonly string[];
}

/**
 * Explains the instruction that these bytes begin with.
 * @param read - a number from guest memory by linear address; undefined where nothing is mapped
 */
export function explain(
  bytes: Uint8Array,
  state: VcpuState,
  read: (linear: bigint, bytes: number) => bigint | undefined,
): Explanation | undefined {
  const instruction = new Instruction();
  const mode = modeOf(state);
  if (instruction.decode(bytes, 0, bytes.length, mode) !== Decoded.ok) return undefined;
  const form = formOf(instruction, mode);
  const { entry } = form;
  const writer = new Writer(instruction, form, state, read);
  const element = stringText(entry.name);
  const meaning = element === undefined ? writer.block(form.template.statements, '') : [element];
  const repeats = instruction.repeat === 0 || element === undefined ? [] : ['CX ← CX − 1, for each element'];
  const lines = [...meaning, ...repeats, writer.ending()];
  return {
    title:
      `${entry.name} ${entry.operands.join(', ')}`.trim() +
      `  (${entry.encoding}, ${form.size}-bit operands)`,
    lines,
    operands: writer.values(),
  };
}

function modeOf(state: VcpuState): number {
  const size = codeSize(state);
  const flat = size === 32 ? ModeBit.flat | ModeBit.flatFs | ModeBit.flatGs | ModeBit.stack32 : 0;
  return (
    CODE_SIZE_BITS[size] |
    flat |
    (size === 64 ? ModeBit.longActive | ModeBit.stack32 | ModeBit.flatFs | ModeBit.flatGs : 0)
  );
}

class Writer {
  private readonly instruction: Instruction;
  private readonly form: Form;
  private readonly state: VcpuState;
  private readonly read: (linear: bigint, bytes: number) => bigint | undefined;
  /** What temporaries stand for; those that are set more than once have names instead. */
  private readonly temps = new Map<number, Node>();
  private readonly changing = new Set<number>();
  private readonly used = new Map<string, string>();

  constructor(
    instruction: Instruction,
    form: Form,
    state: VcpuState,
    read: (linear: bigint, bytes: number) => bigint | undefined,
  ) {
    this.instruction = instruction;
    this.form = form;
    this.state = state;
    this.read = read;
    this.count(form.template.statements, new Set());
  }

  /** Names and values of all that the meaning reads. */
  values(): string[] {
    return [...this.used].map(([name, value]) => `${name} = ${value}`);
  }

  block(statements: readonly Statement[], indent: string): string[] {
    return statements.flatMap((statement) => this.statement(statement, indent));
  }

  /** Where it goes on. */
  ending(): string {
    const { terminator, value, isCall, isReturn, repeats } = this.form.template;
    const next = hex(this.nextRip());
    if (repeats) return `RIP stays here while the instruction repeats, then ${next}`;
    switch (terminator) {
      case Terminator.jump:
        return `RIP ← ${hex(this.target())}${isCall ? ', the routine' : ''}`;
      case Terminator.branch:
        return `RIP ← ${hex(this.target())} if ${this.text(value!)}, else ${next}`;
      case Terminator.indirect:
        return `RIP ← ${this.text(value!)}${isReturn ? ', the return address' : ''}`;
      case Terminator.state:
        return 'RIP as the above leaves it';
      default:
        return `RIP ← ${next}`;
    }
  }

  private count(statements: readonly Statement[], seen: Set<number>): void {
    for (const { op, k, whenTrue = [], otherwise = [] } of statements) {
      if (op === Stmt.let) {
        if (seen.has(k)) this.changing.add(k);
        seen.add(k);
      }
      this.count(whenTrue, seen);
      this.count(otherwise, seen);
    }
  }

  private statement(statement: Statement, indent: string): string[] {
    const { op, a, b, c, d, k, h } = statement;
    switch (op) {
      case Stmt.let:
        if (!this.changing.has(k)) {
          this.temps.set(k, a!);
          return [];
        }
        return [`${indent}t${k} ← ${this.text(a!)}`];
      case Stmt.setGpr:
        return [`${indent}${registerName(k, h)} ← ${this.text(a!)}`];
      case Stmt.setOperand:
        return [`${indent}${this.operandName(k, h)} ← ${this.text(a!)}`];
      case Stmt.setVector:
        return [`${indent}${this.operandName(k, 128)} ← ${this.text(a!)}`];
      case Stmt.setField:
        return [`${indent}${fieldName(k)} ← ${this.text(a!)}`];
      case Stmt.store:
        return [`${indent}${this.memory(a!, k)} ← ${this.text(b!)}`];
      case Stmt.storeVector:
        return [`${indent}${this.memory(a!, 16)} ← ${this.text(b!)}`];
      case Stmt.rawStore:
        return [`${indent}${this.memory(c!, k)} ← ${this.text(b!)}`];
      case Stmt.setFlags:
        return [`${indent}${this.flags(k, h, a!, c, d)}`];
      case Stmt.setFlagBits:
        return [`${indent}OF SF ZF AF PF CF ← bits of ${this.text(a!)}`];
      case Stmt.setCarry:
        return [
          `${indent}CF ← ${this.text(a!)}`,
          ...(b === undefined ? [] : [`${indent}OF ← ${this.text(b)}`]),
        ];
      case Stmt.if:
        return [
          `${indent}if ${this.text(a!)}:`,
          ...this.block(statement.whenTrue ?? [], `${indent}  `),
          ...((statement.otherwise ?? []).length > 0
            ? [`${indent}else:`, ...this.block(statement.otherwise!, `${indent}  `)]
            : []),
        ];
      case Stmt.fallBack:
        // The rare way is all that the instruction does; the other is the same, faster.
        return this.block(statement.whenTrue ?? [], indent);
      case Stmt.helper:
        return [`${indent}${helperText(HELPER_NAMES[k]!, this.form.entry.name, h)}`];
      case Stmt.raise:
        return [`${indent}raise ${EXCEPTION_NAMES[k] ?? `exception ${k}`}${h >= 0 ? `(${hex(h)})` : ''}`];
      default:
        return [`${indent}(statement ${op})`];
    }
  }

  private flags(kind: number, size: number, result: Node, x: Node | undefined, y: Node | undefined): string {
    const all = 'OF SF ZF AF PF CF ←';
    if (kind === FlagKind.logic) return `SF ZF PF ← of ${this.text(result)}; OF CF ← 0`;
    if (kind === FlagKind.add || kind === FlagKind.sub)
      return `${all} of the ${size}-bit ${kind === FlagKind.add ? 'sum' : 'difference'} ${this.text(x!)} ${kind === FlagKind.add ? '+' : '−'} ${this.text(y!)}`;
    return `${all} of the ${size}-bit result ${this.text(result)} and its carries`;
  }

  private text(node: Node): string {
    const { op, a, b, c, k, h } = node;
    switch (op) {
      case Expr.const:
        return node.type === 'i64'
          ? signed(BigInt.asIntN(64, (BigInt(h) << 32n) | BigInt(k >>> 0)))
          : signed(BigInt(k));
      case Expr.immediate:
        return signed(this.immediate());
      case Expr.temp: {
        const meant = this.temps.get(k);
        return meant === undefined ? `t${k}` : this.text(meant);
      }
      case Expr.gpr:
        return this.use(registerName(k, h), this.registerValue(k, h));
      case Expr.operand:
        return this.use(this.operandName(k, h), this.registerValue(this.instruction.registers[k]!, h));
      case Expr.vectorOperand:
        return this.useVector(k);
      case Expr.field:
        return this.use(fieldName(k), undefined);
      case Expr.effectiveAddress:
        return this.effectiveAddress();
      case Expr.segmented:
        return this.segmented(a!, k);
      case Expr.load:
      case Expr.probe:
        return this.memory(a!, k);
      case Expr.rawLoad:
        return this.text(a!);
      case Expr.condition:
        return this.condition(k);
      case Expr.arithmeticFlags:
        return 'the arithmetic flags';
      case Expr.nextRip:
        return hex(this.nextRip());
      case Expr.target:
        return hex(this.target());
      case Expr.steady:
        return this.text(a!);
      case Expr.select:
        return `(${this.text(a!)} if ${this.text(c!)}, else ${this.text(b!)})`;
      case Convert.i32_wrap_i64:
      case Convert.i64_extend_i32_u:
        return this.text(a!);
      case Convert.i64_extend_i32_s:
        return `sign-extended ${this.text(a!)}`;
      case I32.extend8_s:
      case I32.extend16_s:
        return `sign-extended ${this.text(a!)}`;
      default:
        return this.operation(node);
    }
  }

  private operation({ op, a, b, k, h }: Node): string {
    const name = OPERATIONS.get(op);
    if (name === 'eqz') return `${this.text(a!)} = 0`;
    if (name === 'xor' && b?.op === Expr.const && b.k === -1) return `not ${this.text(a!)}`;
    if (name === 'add' && b?.op === Expr.const && b.k < 0 && (b.type === 'i32' || b.h === -1))
      return `(${this.text(a!)} − ${hex(-b.k)})`;
    const sign = name === undefined ? undefined : SIGNS[name];
    if (sign !== undefined && a !== undefined && b !== undefined)
      return `(${this.text(a)} ${sign} ${this.text(b)})`;
    const parts = [a, b].filter((part) => part !== undefined).map((part) => this.text(part));
    const what = name ?? (op >= 0x10000 ? `vector operation ${h || k}` : `operation 0x${op.toString(16)}`);
    return `${what}(${parts.join(', ')})`;
  }

  private condition(code: number): string {
    const flags = Number(this.state.registers.rflags);
    const bit = (n: number): boolean => ((flags >> n) & 1) === 1;
    const [cf, pf, zf, sf, of] = [bit(0), bit(2), bit(6), bit(7), bit(11)];
    const holds =
      [of, cf, zf, cf || zf, sf, pf, sf !== of, zf || sf !== of][code >> 1]! !== ((code & 1) === 1);
    return this.use(CONDITIONS[code]!, holds ? 'true' : 'false');
  }

  /** A place in memory, by its linear address, with what is there. */
  private memory(address: Node, bytes: number): string {
    const text = `memory${bytes * 8}[${this.text(address)}]`;
    const linear = this.evaluate(address);
    if (linear !== undefined && bytes <= 8) {
      const value = this.read(linear, bytes);
      this.used.set(
        `memory${bytes * 8}[${hex(linear)}]`,
        value === undefined ? 'not mapped to RAM' : hex(value),
      );
    }
    return text;
  }

  /** The value of an address, where it is made of registers and constants. */
  private evaluate(node: Node): bigint | undefined {
    const { op, a, b, k, h } = node;
    const mask = node.type === 'i64' ? 64 : 32;
    switch (op) {
      case Expr.const:
        return BigInt.asUintN(mask, (BigInt(h) << 32n) | BigInt(k >>> 0));
      case Expr.temp: {
        const meant = this.temps.get(k);
        return meant === undefined ? undefined : this.evaluate(meant);
      }
      case Expr.gpr:
        return this.registerNumber(k, h);
      case Expr.effectiveAddress:
        return this.address();
      case Expr.segmented: {
        const offset = this.evaluate(a!);
        return offset === undefined ? undefined : BigInt.asUintN(mask, offset + this.segmentBase(k));
      }
      default: {
        const name = OPERATIONS.get(op);
        const x = a && this.evaluate(a);
        const y = b && this.evaluate(b);
        if (x === undefined || y === undefined) return undefined;
        if (name === 'add') return BigInt.asUintN(mask, x + y);
        return name === 'sub' ? BigInt.asUintN(mask, x - y) : undefined;
      }
    }
  }

  private segmented(offset: Node, segment: number): string {
    const number = segment < 0 ? this.instruction.segment : segment;
    const text = this.text(offset);
    const plain = this.segmentBase(segment) === 0n && number !== Seg.fs && number !== Seg.gs;
    return plain ? text : `${SEGMENT_NAMES[number]}:${text}`;
  }

  private segmentBase(segment: number): bigint {
    const number = segment < 0 ? this.instruction.segment : segment;
    const { system } = this.state;
    const is64 = codeSize(this.state) === 64;
    if (is64 && number !== Seg.fs && number !== Seg.gs) return 0n;
    const bases = [system.es, system.cs, system.ss, system.ds, system.fs, system.gs];
    return bases[number]?.base ?? 0n;
  }

  private effectiveAddress(): string {
    const { base, index, scale, addressSize } = this.instruction;
    const parts: string[] = [];
    if (base === RIP_BASE) parts.push('RIP');
    else if (base >= 0)
      parts.push(this.use(registerName(base, addressSize), this.registerValue(base, addressSize)));
    if (index >= 0) {
      const name = this.use(registerName(index, addressSize), this.registerValue(index, addressSize));
      parts.push(scale === 0 ? name : `${name} × ${1 << scale}`);
    }
    const displacement = this.displacement();
    if (displacement !== 0n || parts.length === 0) parts.push(signed(displacement));
    return `${parts.join(' + ').replace('+ −', '− ')} {${hex(this.address())}}`;
  }

  private displacement(): bigint {
    const { displacementLow, displacementHigh } = this.instruction;
    return BigInt.asIntN(64, (BigInt(displacementHigh) << 32n) | BigInt(displacementLow >>> 0));
  }

  private address(): bigint {
    const { base, index, scale, addressSize } = this.instruction;
    let sum = this.displacement();
    if (base === RIP_BASE) sum += this.nextRip();
    else if (base >= 0) sum += this.registerNumber(base, addressSize);
    if (index >= 0) sum += this.registerNumber(index, addressSize) << BigInt(scale);
    return BigInt.asUintN(addressSize, sum);
  }

  private immediate(): bigint {
    const { immediateLow, immediateHigh } = this.instruction;
    return BigInt.asIntN(64, (BigInt(immediateHigh) << 32n) | BigInt(immediateLow >>> 0));
  }

  private nextRip(): bigint {
    return BigInt.asUintN(64, this.state.registers.rip + BigInt(this.instruction.length));
  }

  private target(): bigint {
    const bits = codeSize(this.state) === 64 ? 64 : this.instruction.size === 16 ? 16 : 32;
    return BigInt.asUintN(bits, this.nextRip() + BigInt(this.instruction.immediateLow));
  }

  private operandName(slot: number, bits: number): string {
    const register = this.instruction.registers[slot]!;
    const kind = this.form.slots[slot];
    if (kind === 'vector') return `XMM${register}`;
    if (kind === 'mmx') return `MM${register}`;
    if (kind === 'x87') return `ST(${register})`;
    return registerName(register, bits);
  }

  private useVector(slot: number): string {
    const register = this.instruction.registers[slot]!;
    const name = this.operandName(slot, 128);
    const at = 160 + 16 * register;
    const bytes = Buffer.from(this.state.xsave.subarray(at, at + 16))
      .reverse()
      .toString('hex');
    return this.use(name, this.form.slots[slot] === 'vector' ? `0x${bytes}` : undefined);
  }

  private registerNumber(register: number, bits: number): bigint {
    if (register >= 16) return (this.state.registers[NAMES[register - 16]!] >> 8n) & 0xffn;
    return BigInt.asUintN(bits, this.state.registers[NAMES[register]! as keyof GeneralRegisters]);
  }

  private registerValue(register: number, bits: number): string {
    return hex(this.registerNumber(register, bits));
  }

  private use(name: string, value: string | undefined): string {
    if (value !== undefined) this.used.set(name, value);
    return name;
  }
}

/** A general register's name for so many bits. */
function registerName(register: number, bits: number): string {
  if (register >= 16) return ['AH', 'CH', 'DH', 'BH'][register - 16]!;
  const wide = NAMES[register]!.toUpperCase();
  if (bits === 64) return wide;
  if (register >= 8) return `${wide}${bits === 32 ? 'D' : bits === 16 ? 'W' : 'B'}`;
  const name = wide.slice(1);
  if (bits === 32) return `E${name}`;
  if (bits === 16) return name;
  return register < 4 ? `${name[0]}L` : `${name}L`;
}

/** A name for a place in the CPU's state. */
function fieldName(address: number): string {
  if (address >= State.segBase && address < State.segBase + 80)
    return `${SEGMENT_NAMES[(address - State.segBase) >> 3]} base`;
  if (address >= State.segSelector && address < State.segSelector + 40)
    return SEGMENT_NAMES[(address - State.segSelector) >> 2]!;
  if (address >= State.segLimit && address < State.segLimit + 40)
    return `${SEGMENT_NAMES[(address - State.segLimit) >> 2]} limit`;
  if (address === State.eflags) return 'EFLAGS';
  // Between an instruction and its helper.
  if (address === State.scratch) return 'the value';
  if (address === State.ea) return 'the address';
  const found = Object.entries(State).find(([, at]) => at === address);
  return found === undefined ? `state 0x${address.toString(16)}` : found[0].toUpperCase();
}

function signed(value: bigint): string {
  return value < 0n ? `−${hex(-value)}` : value < 10n ? String(value) : hex(value);
}
