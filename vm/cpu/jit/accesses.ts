/**
 * Finds the memory accesses that are near each other whatever registers hold: pushes and pops, locals of one frame,
 * members of one structure; in a block, and in those behind it that nothing else leads to. The first of such a group
 * looks into the TLB for all of its bytes; the others find there what to add to their address. When the group reaches
 * across a page, or may not be written, the region is left at the first access, though that one might have gone well:
 * the interpreter then does the rest.
 *
 * Also finds those that look something up in a small table: they are nearly always in the page where they were before.
 */
import { type Instruction, RIP_BASE } from '../decode.ts';
import type { Form } from '../forms.ts';
import { Expr, type Node, type Statement, Stmt } from '../ir/node.ts';
import { ModeBit, Seg } from '../layout.ts';
import { Convert, I32, I64 } from '../wasm/opcodes.ts';
import { constantOf } from './constants.ts';

/** An index below this belongs to a small table. */
const SMALL = 0x1000;
/** Most bytes of a group: the more, the more often it lies across pages. */
const SPAN = 64;

/** Accesses by one look into the TLB. */
export interface Group {
  /** From the first access's address to the lowest byte: 0 or less. */
  below: number;
  /** From the lowest byte to behind the highest. */
  bytes: number;
  isWritten: boolean;
  /** Local that has what makes a host address of a linear one, from the first access on. */
  addend: number;
}

/** An access within a group. */
export interface Access {
  readonly group: Group;
  readonly isFirst: boolean;
}

/** Accesses of an instruction that belong to groups: by the load or probe node, or the store statement. */
export type Accesses = Map<Node | Statement, Access>;

/** What {@link findAccesses} looks at of an instruction. */
export interface AccessingStep {
  readonly instruction: Instruction;
  readonly form: Form | undefined;
  readonly place: number;
  accesses: Accesses | undefined;
  /** Whether its memory operand is an element of a small table. */
  looksUp: boolean;
}

/** A number that is so far from something unknown: a root, which stands for the same value wherever it is met. */
interface Value {
  readonly root: number;
  readonly offset: number;
}

/** Roots that aren't a register's value. */
const ROOT_ZERO = -1;
const ROOT_RIP = -2;

interface OpenGroup {
  readonly first: number;
  low: number;
  high: number;
  isWritten: boolean;
  readonly members: { readonly step: AccessingStep; readonly at: Node | Statement }[];
}

/** A block whose accesses are looked for. */
export interface AccessingBlock {
  readonly steps: readonly AccessingStep[];
  /** Physical page number. */
  readonly page: number;
  /** Number of the only block that leads here; −1 for none. */
  readonly before: number;
}

/**
 * Sets the accesses of each block's instructions.
 * @param order - numbers of the blocks, each behind the one before it
 */
export function findAccesses(
  blocks: readonly AccessingBlock[],
  order: readonly number[],
  mode: number,
): void {
  new Finder(mode).find(blocks, order);
}

/** What is known at the end of a block. */
interface Known {
  readonly registers: (Value | undefined)[];
  readonly small: number;
  readonly open: Map<number, OpenGroup>;
}

class Finder {
  private readonly is64: boolean;
  /** Bits of a whole register. */
  private readonly whole: number;
  private registers: (Value | undefined)[] = [];
  /** Registers that hold a number below {@link SMALL}, as bits. */
  private small = 0;
  private smallTemps: boolean[] = [];
  private roots = 0;
  private open = new Map<number, OpenGroup>();
  /** Groups that were opened in the current block, to which writes may be added. */
  private opened = new Set<OpenGroup>();
  private readonly groups: OpenGroup[] = [];
  private current!: AccessingStep;
  private temps: (Value | undefined)[] = [];

  constructor(mode: number) {
    this.is64 = (mode & ModeBit.codeSize) === 2;
    this.whole = this.is64 ? 64 : 32;
  }

  find(blocks: readonly AccessingBlock[], order: readonly number[]): void {
    const known = new Array<Known | undefined>(blocks.length);
    for (const number of order) {
      const { steps, page, before } = blocks[number]!;
      // What is relative to RIP is counted from the page's start.
      const inherited = before >= 0 && blocks[before]!.page === page ? known[before] : undefined;
      this.registers = inherited?.registers.slice() ?? new Array(16).fill(undefined);
      this.small = inherited?.small ?? 0;
      this.open = new Map(inherited?.open);
      this.opened = new Set();
      for (const step of steps) this.step(step);
      known[number] = { registers: this.registers, small: this.small, open: this.open };
    }
    for (const { first, low, high, isWritten, members } of this.groups) {
      if (members.length < 2) continue;
      const group: Group = { below: low - first, bytes: high - low, isWritten, addend: -1 };
      members.forEach(({ step, at }, i) => {
        step.accesses ??= new Map();
        step.accesses.set(at, { group, isFirst: i === 0 });
      });
    }
  }

  private step(step: AccessingStep): void {
    this.current = step;
    this.temps = [];
    this.smallTemps = [];
    const { isMemory, index } = step.instruction;
    step.looksUp = isMemory && index >= 0 && (this.small & (1 << index)) !== 0;
    if (step.form !== undefined) this.list(step.form.template.statements);
  }

  private list(statements: readonly Statement[]): void {
    for (const s of statements) this.statement(s);
  }

  private statement(s: Statement): void {
    switch (s.op) {
      case Stmt.let: {
        const a = s.a!;
        if (a.op === Expr.load) this.access(a, a.a!, a.k, false);
        else if (a.op === Expr.probe) this.access(a, a.a!, a.k, true);
        this.temps[s.k] = this.valueOf(a);
        this.smallTemps[s.k] = this.isSmall(a);
        break;
      }
      case Stmt.store:
      case Stmt.storeVector:
        this.access(s, s.a!, s.op === Stmt.store ? s.k : 16, true);
        break;
      case Stmt.setGpr:
        this.set(s.k, s.h, s.a!);
        break;
      case Stmt.setOperand:
        this.set(this.current.instruction.registers[s.k]!, s.h, s.a!);
        break;
      case Stmt.if:
        this.forget(s.whenTrue!);
        this.forget(s.otherwise!);
        break;
      case Stmt.fallBack:
        // The other arm leaves the region.
        this.list(s.otherwise!);
        break;
      case Stmt.helper:
        // May do anything.
        this.registers.fill(undefined);
        this.small = 0;
        this.open.clear();
        break;
      default:
        break;
    }
  }

  /** What may be done or not leaves nothing known of what it changes. */
  private forget(statements: readonly Statement[]): void {
    for (const { op, k, whenTrue, otherwise } of statements) {
      if (op === Stmt.let) {
        this.temps[k] = undefined;
        this.smallTemps[k] = false;
      } else if (op === Stmt.setGpr) this.lose(k & 15);
      else if (op === Stmt.setOperand) this.lose(this.current.instruction.registers[k]! & 15);
      else if (op === Stmt.helper) {
        this.registers.fill(undefined);
        this.small = 0;
        this.open.clear();
      }
      if (whenTrue !== undefined) this.forget(whenTrue);
      if (otherwise !== undefined) this.forget(otherwise);
    }
  }

  private lose(register: number): void {
    this.registers[register] = undefined;
    this.small &= ~(1 << register);
  }

  /** @param register - 16 and up are AH and its like */
  private set(register: number, size: number, value: Node): void {
    const isSmall = size >= 32 && this.isSmall(value);
    this.lose(register & 15);
    if (isSmall) this.small |= 1 << register;
    if (register < 16 && size === this.whole) this.registers[register] = this.valueOf(value);
  }

  /** Whether a value is below {@link SMALL} whatever registers and memory hold. */
  private isSmall(n: Node): boolean {
    switch (n.op) {
      case Expr.temp:
        return this.smallTemps[n.k] === true;
      case Expr.gpr:
        return n.h === 8 || (n.h >= 32 && (this.small & (1 << n.k)) !== 0);
      case Expr.operand:
        return (
          n.h === 8 || (n.h >= 32 && (this.small & (1 << this.current.instruction.registers[n.k]!)) !== 0)
        );
      case Expr.load:
        return n.k === 1;
      case Convert.i64_extend_i32_u:
        return this.isSmall(n.a!);
      case I32.and:
      case I64.and:
        return this.isSmall(n.a!) || this.isSmall(n.b!) || this.isSmallConstant(n.b!);
      case I32.shr_u: {
        const by = this.constant(n.b!);
        return by !== undefined && (by & 31) >= 20;
      }
      default:
        return false;
    }
  }

  private constant(n: Node): number | undefined {
    const { instruction, form } = this.current;
    return constantOf(n, instruction, form!);
  }

  private isSmallConstant(n: Node): boolean {
    const value = this.constant(n);
    return value !== undefined && value >= 0 && value < SMALL;
  }

  private access(at: Node | Statement, address: Node, bytes: number, isWritten: boolean): void {
    const value = this.valueOf(address);
    if (value === undefined) return;
    const { root, offset } = value;
    const group = this.open.get(root);
    // A write that may not come must not make the reads before it fail.
    if (group !== undefined && (!isWritten || group.isWritten || this.opened.has(group))) {
      const low = Math.min(group.low, offset);
      const high = Math.max(group.high, offset + bytes);
      if (high - low <= SPAN) {
        group.low = low;
        group.high = high;
        group.isWritten ||= isWritten;
        group.members.push({ step: this.current, at });
        return;
      }
    }
    const members = [{ step: this.current, at }];
    const opened = { first: offset, low: offset, high: offset + bytes, isWritten, members };
    this.open.set(root, opened);
    this.opened.add(opened);
    this.groups.push(opened);
  }

  private register(n: number): Value {
    let value = this.registers[n];
    if (value === undefined) {
      value = { root: this.roots++, offset: 0 };
      this.registers[n] = value;
    }
    return value;
  }

  private valueOf(n: Node): Value | undefined {
    const { instruction, form } = this.current;
    switch (n.op) {
      case Expr.temp:
        return this.temps[n.k];
      case Expr.gpr:
        return n.h === this.whole && n.k < 16 ? this.register(n.k) : undefined;
      case Expr.operand: {
        const kind = form!.slots[n.k];
        return n.h === this.whole && kind === 'general'
          ? this.register(instruction.registers[n.k]!)
          : undefined;
      }
      case Expr.const:
        return n.type === 'i32' || n.h === n.k >> 31 ? { root: ROOT_ZERO, offset: n.k } : undefined;
      case Expr.effectiveAddress:
        return this.effectiveAddress(n.h);
      case Expr.segmented: {
        if (form!.mode === 'segmented') return undefined;
        // FS and GS have a base of their own.
        if (n.k < 0 && instruction.segment >= Seg.fs) return undefined;
        return this.valueOf(n.a!);
      }
      case I32.add:
      case I64.add:
        return sum(this.valueOf(n.a!), this.valueOf(n.b!));
      default:
        return undefined;
    }
  }

  private effectiveAddress(size: number): Value | undefined {
    const { instruction, place } = this.current;
    const { base, index, displacementLow, displacementHigh, length } = instruction;
    if (size !== this.whole || index >= 0) return undefined;
    if (this.is64 && displacementHigh !== displacementLow >> 31) return undefined;
    if (base === RIP_BASE) return { root: ROOT_RIP, offset: displacementLow + place + length };
    const displacement = { root: ROOT_ZERO, offset: displacementLow };
    return base < 0 ? displacement : sum(this.register(base), displacement);
  }
}

function sum(a: Value | undefined, b: Value | undefined): Value | undefined {
  if (a === undefined || b === undefined) return undefined;
  if (b.root === ROOT_ZERO) return { root: a.root, offset: a.offset + b.offset };
  if (a.root === ROOT_ZERO) return { root: b.root, offset: a.offset + b.offset };
  return undefined;
}
