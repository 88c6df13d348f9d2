/**
 * What the monitor's commands work with, and how they read what is typed.
 */
import { ConfigError } from '../../devices/errors.ts';
import { codeSize, type Debugger } from '../../vm/debug/debugger.ts';
import { hex } from '../../vm/trace/text.ts';
import type { GeneralRegisters, VcpuState } from '../../vm/vcpu-state.ts';
import type { Disassembled } from './disassembly.ts';
import type { Symbols } from './symbols.ts';

/** Something that the machine stops at, as the monitor lists it. */
export interface ListedBreakpoint {
  readonly number: number;
  readonly kind: 'break' | 'hbreak' | 'watch' | 'awatch';
  readonly address: bigint;
  readonly length: number;
}

/** The monitor's state. */
export interface DebugContext {
  readonly debugger: Debugger;
  readonly symbols: Symbols;
  readonly breakpoints: ListedBreakpoint[];
  /** The vCPU that commands are about. */
  vcpu: number;
  print(text: string): void;
  /**
   * Lets the machine go, and waits until it stands again or has ended.
   * @param silently - whether it goes on at once, so that nobody wants to know where it stands
   */
  go(start: () => void, silently?: boolean): Promise<void>;
  /** Disassembles from a linear address on. */
  disassemble(address: bigint, count: number): Disassembled[];
}

/** A command of the monitor. */
export interface DebugCommand {
  /** Its name, and shorter ones. */
  readonly names: readonly string[];
  /** Arguments as help shows them. */
  readonly usage: string;
  readonly summary: string;
  /** @throws ConfigError for wrong arguments */
  run(context: DebugContext, args: readonly string[]): void | Promise<void>;
}

/** The selected vCPU's state. */
export function stateOf(context: DebugContext): VcpuState {
  return context.debugger.state(context.vcpu);
}

/**
 * A number: `0x1f`, `31`, `$rax`, a symbol, and sums and differences of these, such as `$rsp+8` or `start_kernel+0x10`.
 * @throws ConfigError
 */
export function evaluate(context: DebugContext, text: string): bigint {
  const terms = text.match(/[+-]?[^+-]*/g)?.slice(0, -1);
  if (terms === undefined || terms.length === 0)
    throw new ConfigError('an address is missing', { hint: 'Such as 0x7c00, $rip or start_kernel+4.' });
  let sum = 0n;
  for (const term of terms) {
    const value = termValue(context, term.replace(/^[+-]/, '').trim());
    sum += term.startsWith('-') ? -value : value;
  }
  return BigInt.asUintN(64, sum);
}

function termValue(context: DebugContext, term: string): bigint {
  if (term === '') throw new ConfigError('a number, register or symbol is missing beside + or −');
  if (/^(0x[0-9a-f]+|\d+)$/i.test(term)) return BigInt(term);
  const { registers, system } = stateOf(context);
  if (term.startsWith('$')) {
    const name = term.slice(1).toLowerCase();
    if (name === 'pc') return context.debugger.linearPc(context.vcpu);
    const value =
      name in registers ? registers[name as keyof GeneralRegisters] : controlRegister(system, name);
    if (value !== undefined) return value;
    throw new ConfigError(`there is no register ${term}`, {
      hint: 'Such as $rax, $rip, $cr3, $pc (linear).',
    });
  }
  const address = context.symbols.address(term);
  if (address !== undefined) return address;
  throw new ConfigError(`'${term}' is neither a number nor a register nor a symbol`, {
    hint:
      context.symbols.size > 0 || term.toLowerCase() in registers
        ? 'Registers are written $rax.'
        : "Load symbols with: symbols FILE (a vmlinux, a System.map, or what a guest's /proc/kallsyms says).",
  });
}

function controlRegister(system: VcpuState['system'], name: string): bigint | undefined {
  const value = (system as unknown as Record<string, unknown>)[name];
  return typeof value === 'bigint' ? value : undefined;
}

/** A count, such as of instructions. @throws ConfigError */
export function count(text: string | undefined, otherwise: number, most: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new ConfigError(`'${text}': expected a number from 1 to ${most}`);
}

/** An address with the symbol it belongs to. */
export function place(context: DebugContext, address: bigint): string {
  const symbol = context.symbols.describe(address);
  return symbol === undefined ? hex(address) : `${hex(address)} <${symbol}>`;
}

/** The next instruction's line. */
export function whereLine(context: DebugContext): string {
  const pc = context.debugger.linearPc(context.vcpu);
  const [next] = context.disassemble(pc, 1);
  const size = codeSize(stateOf(context));
  return `vCPU ${context.vcpu}, ${size}-bit code, at ${place(context, pc)}:  ${next?.text ?? 'nothing is mapped here'}`;
}
