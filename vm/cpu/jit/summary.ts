/**
 * What a form does to registers and flags, gathered from its template once: a region loads and stores only
 * the registers that its instructions name.
 */
import type { Instruction } from '../decode.ts';
import type { Form } from '../forms.ts';
import { Expr, type Node, type Statement, Stmt, Terminator } from '../ir/node.ts';
import { constantOf } from './constants.ts';

export interface Summary {
  /** Registers that the form names itself, as bits. */
  readonly reads: number;
  readonly writes: number;
  /** Those of which nothing is left that was there before. */
  readonly kills: number;
  /** The same of the operand slots. */
  readonly slotReads: number;
  readonly slotWrites: number;
  readonly slotKills: number;
  /** Whether it looks at the arithmetic flags, or changes some and leaves others. */
  readonly readsFlags: boolean;
  readonly writesFlags: boolean;
  /** Whether it always writes all of them. */
  readonly setsAllFlags: boolean;
  /** How many accesses to memory it makes, each of which may end it. */
  readonly accesses: number;
  /** Whether something else can end it in the middle. */
  readonly mayFault: boolean;
  /** Whether what it does may depend on the immediate: a shift by nothing leaves the flags. */
  readonly hasChoice: boolean;
}

const cache = new WeakMap<Form, Summary>();

export function summaryOf(form: Form): Summary {
  let summary = cache.get(form);
  if (summary === undefined) {
    summary = new Gatherer().gather(form);
    cache.set(form, summary);
  }
  return summary;
}

/** What one instruction of a form does. */
export function summaryFor(form: Form, instruction: Instruction): Summary {
  const summary = summaryOf(form);
  return summary.hasChoice ? new Gatherer(instruction).gather(form) : summary;
}

/** Bit of a general register's number, AH and its like included. */
export function registerBit(register: number): number {
  return 1 << (register < 16 ? register : register - 16);
}

class Gatherer {
  private reads = 0;
  private writes = 0;
  private slotWrites = 0;
  private slotReads = 0;
  private kills = 0;
  private slotKills = 0;
  private readsFlags = false;
  private writesFlags = false;
  private setsAllFlags = false;
  private accesses = 0;
  private mayFault = false;
  private hasChoice = false;
  private form!: Form;
  private readonly instruction: Instruction | undefined;

  constructor(instruction?: Instruction) {
    this.instruction = instruction;
  }

  gather(form: Form): Summary {
    const { template } = form;
    this.form = form;
    this.list(template.statements, true);
    if (template.value !== undefined) this.node(template.value);
    if (template.terminator !== Terminator.none) this.mayFault = true;
    const { reads, writes, slotWrites, readsFlags, writesFlags, setsAllFlags, mayFault, hasChoice } = this;
    const { kills, slotReads, slotKills, accesses } = this;
    return {
      reads,
      writes,
      kills,
      slotReads,
      slotWrites,
      slotKills,
      readsFlags,
      writesFlags,
      setsAllFlags,
      accesses,
      mayFault,
      hasChoice,
    };
  }

  private list(statements: readonly Statement[], always: boolean): void {
    for (const s of statements) {
      for (const n of [s.a, s.b, s.c, s.d]) if (n !== undefined) this.node(n);
      switch (s.op) {
        case Stmt.setGpr:
          // Parts of a register leave the rest.
          if (s.h < 32) this.reads |= registerBit(s.k);
          else if (always) this.kills |= registerBit(s.k);
          this.writes |= registerBit(s.k);
          break;
        case Stmt.setOperand:
          if (s.h < 32) this.slotReads |= 1 << s.k;
          else if (always) this.slotKills |= 1 << s.k;
          this.slotWrites |= 1 << s.k;
          break;
        case Stmt.setFlags:
        case Stmt.setFlagBits:
          this.writesFlags = true;
          if (always) this.setsAllFlags = true;
          else this.readsFlags = true;
          break;
        case Stmt.setCarry:
          this.writesFlags = true;
          this.readsFlags = true;
          break;
        case Stmt.if:
        case Stmt.fallBack: {
          this.hasChoice = true;
          const known =
            this.instruction === undefined ? undefined : constantOf(s.a!, this.instruction, this.form);
          if (known !== undefined) {
            this.list(known !== 0 ? s.whenTrue! : s.otherwise!, always);
            break;
          }
          this.list(s.whenTrue!, false);
          this.list(s.otherwise!, false);
          break;
        }
        case Stmt.helper:
          this.mayFault = true;
          this.readsFlags = true;
          break;
        case Stmt.store:
        case Stmt.storeVector:
          this.accesses++;
          break;
        case Stmt.raise:
          this.mayFault = true;
          break;
        default:
          break;
      }
    }
  }

  private node(n: Node): void {
    switch (n.op) {
      case Expr.gpr:
        this.reads |= registerBit(n.k);
        break;
      case Expr.operand:
        this.slotReads |= 1 << n.k;
        break;
      case Expr.condition:
      case Expr.arithmeticFlags:
        this.readsFlags = true;
        break;
      case Expr.load:
      case Expr.probe:
        this.accesses++;
        break;
      case Expr.segmented:
        if (this.form.mode === 'segmented') this.mayFault = true;
        break;
      case Expr.call:
        for (const argument of n.list as readonly Node[]) this.node(argument);
        break;
      default:
        break;
    }
    if (n.a !== undefined) this.node(n.a);
    if (n.b !== undefined) this.node(n.b);
    if (n.c !== undefined) this.node(n.c);
  }
}
