/**
 * Compiles a region, as plan.ts has laid it out, to one WebAssembly function with its loops inside. It leaves
 * by tail calls, to other blocks' heads or through the jump cache.
 */
import type { Block, CodeCache } from '../code-cache.ts';
import { Decoded, Instruction } from '../decode.ts';
import { Vector } from '../fault.ts';
import { type Form, formOf } from '../forms.ts';
import { Terminator } from '../ir/node.ts';
import { BULK_INSTRUCTIONS } from '../isa/string.ts';
import { JUMP_CACHE, Op, RAM_START, State } from '../layout.ts';
import { emitJumpCacheProbe, emitRipBase, Handler } from '../lower/base-module.ts';
import { Code } from '../lower/code.ts';
import type { FunctionIndices } from '../lower/lowering.ts';
import type { CpuMemory } from '../memory.ts';
import { type FunctionBody, functionBody } from '../wasm/module.ts';
import { I32, I64, Wasm } from '../wasm/opcodes.ts';
import { type Accesses, findAccesses } from './accesses.ts';
import { analyse, type Flow } from './flow.ts';
import { type Known, type RegionLocals, RegionLowering } from './lowering.ts';
import { type Call, type Exit, isLarge, LARGE, type Reach, type RegionBlock, RegionPlanner } from './plan.ts';
import { registerBit, type Summary, summaryFor, summaryOf } from './summary.ts';

const PAGE = 4096;
/** So many stores at ways out are no burden. */
const STORES_FEW = 200;
/** So many are worth one where a register changes, which a loop may do over and over. */
const STORES_WORTH = 5;

/** A compiled function. */
export interface CompiledRegion {
  /** The first is where it is entered. */
  readonly blocks: readonly Block[];
  /** Those that are the heads of loops: where a slice can end. */
  readonly loops: ReadonlySet<Block>;
  /** Of all blocks, as often as they are in it. */
  readonly instructions: number;
  readonly body: FunctionBody;
}

export class RegionCompiler {
  private readonly memory: CpuMemory;
  private readonly cache: CodeCache;
  private readonly functions: FunctionIndices;

  constructor(memory: CpuMemory, cache: CodeCache, functions: FunctionIndices) {
    this.memory = memory;
    this.cache = cache;
    this.functions = functions;
  }

  /** @returns undefined when the head has no code any more, or isn't worth it */
  compile(head: number, reach: Reach): CompiledRegion | undefined {
    const { memory, cache } = this;
    const entry = cache.blocks.get(head);
    if (entry === undefined) return undefined;
    const nodes = RegionPlanner.plan(memory, cache, entry, reach);
    const flow = analyse(nodes.map(({ exits }) => exits.map(({ node }) => node)));
    // What is only passed through gains nothing from being large, nor does what is small.
    if (reach === LARGE && !(flow.isLoop[0] && isLarge(nodes))) return undefined;
    const emitter = new RegionEmitter(memory, nodes, flow, this.functions);
    const code = emitter.emit();
    return {
      blocks: nodes.map(({ block }) => block),
      loops: new Set(nodes.filter((_, node) => flow.isLoop[node]).map(({ block }) => block)),
      instructions: nodes.reduce((sum, { block }) => sum + block.instructions, 0),
      body: functionBody(code.locals, code.bytes.view(), code.hints),
    };
  }
}

/** An instruction of the region, decoded again. */
interface Step {
  readonly instruction: Instruction;
  /** Undefined for one that doesn't exist. */
  readonly form: Form | undefined;
  readonly place: number;
  readonly record: number;
  readonly summary: Summary | undefined;
  /** What its accesses to memory have in common with others'. */
  accesses: Accesses | undefined;
  /** Whether its memory operand is an element of a small table. */
  looksUp: boolean;
  flagsLive: boolean;
}

class RegionEmitter {
  private readonly memory: CpuMemory;
  private readonly nodes: readonly RegionBlock[];
  private readonly flow: Flow;
  private readonly functions: FunctionIndices;
  private readonly code = new Code(1);
  private readonly steps: Step[][];
  private readonly mode: number;
  private readonly locals: RegionLocals;
  private readonly lowering: RegionLowering;
  private readonly rip: number;
  /** What a block may find changed: registers as bits, and whether flags. */
  private readonly dirtyAt: { registers: number; flags: boolean }[];
  /** Where the calls that the region follows return to: RIPs, by depth. */
  private readonly returns: readonly number[];
  /** Whether the region is in more than one page. */
  private readonly crosses: boolean;
  /** A linear address, and its entry in the jump cache. */
  private readonly linear: number;
  private readonly slot: number;
  /** Registers whose values from before the region somebody looks at, as bits. */
  private readonly needed: number;
  /** Most instructions between two looks at the budget: forward edges lead through each block once. At least 1. */
  private readonly longest: number;
  /** What is known at the end of each block that has been emitted. */
  private readonly knownAfter: (Known | undefined)[] = [];
  /** Labels that are open within the body: the node that a branch to each leads to, or −1. */
  private readonly labels: number[] = [];

  constructor(memory: CpuMemory, nodes: readonly RegionBlock[], flow: Flow, functions: FunctionIndices) {
    this.memory = memory;
    this.nodes = nodes;
    this.flow = flow;
    this.functions = functions;
    this.mode = nodes[0]!.block.mode;
    this.steps = nodes.map(({ block }) => this.decode(block));
    findAccesses(
      nodes.map(({ block }, node) => ({
        steps: this.steps[node]!,
        page: block.page.number,
        before: flow.before[node]!,
      })),
      flow.order,
      this.mode,
    );
    this.longest = Math.max(
      1,
      nodes.reduce((sum, { block }) => sum + block.instructions, 0) +
        this.steps.flat().filter(({ form }) => form?.template.repeats).length * BULK_INSTRUCTIONS,
    );
    const { code } = this;
    this.rip = code.local('i64');
    this.linear = code.local('i64');
    this.slot = code.local('i32');
    this.locals = this.assignLocals();
    const calls = Math.max(...nodes.map(({ makes }) => makes?.depth ?? 0));
    this.returns = Array.from({ length: calls }, () => code.local('i64'));
    this.crosses = nodes.some(({ exits }) => exits.some(({ crossing }) => crossing !== undefined));
    const loops = flow.isLoop.some((isLoop) => isLoop);
    const writesThrough = !loops || this.leavesOften();
    this.needed = loops ? -1 : this.findNeeded();
    this.lowering = new RegionLowering(code, functions, this.mode, this.locals, { writesThrough, loops });
    this.findLiveFlags();
    this.dirtyAt = this.findDirty();
  }

  private decode(block: Block): Step[] {
    const { memory } = this;
    const start = RAM_START + block.page.number * PAGE;
    const steps: Step[] = [];
    for (let i = 0; i < block.instructions; i++) {
      const record = block.first + i * Op.size;
      const place = memory.get(record + Op.place) & 0xffff;
      const instruction = new Instruction();
      const known = instruction.decode(memory.u8, start + place, start + PAGE, block.mode) === Decoded.ok;
      const form = known ? formOf(instruction, block.mode) : undefined;
      const summary = form && summaryFor(form, instruction);
      steps.push({
        instruction,
        form,
        place,
        record,
        summary,
        accesses: undefined,
        looksUp: false,
        flagsLive: true,
      });
    }
    return steps;
  }

  private assignLocals(): RegionLocals {
    const { code } = this;
    let used = 0;
    let usesFlags = false;
    for (const { instruction, form } of this.steps.flat()) {
      if (form === undefined) continue;
      const { readsFlags, writesFlags } = summaryOf(form);
      used |= readBy(instruction, form) | writtenBy(instruction, form) | inSlots(instruction, form, -1);
      usesFlags ||= readsFlags || writesFlags;
    }
    const gpr = Array.from({ length: 16 }, (_, n) => (used & (1 << n) ? code.local('i64') : -1));
    return {
      gpr,
      usesFlags,
      ccRes: code.local('i64'),
      ccAux: code.local('i64'),
      ccShift: code.local('i32'),
      budget: code.local('i32'),
    };
  }

  /**
   * Whether there are so many ways out that it is less code to write each register to memory as it changes, with one
   * store, than to store all that has changed at each way out.
   */
  private leavesOften(): boolean {
    let written = 0;
    let writes = 0;
    let waysOut = 0;
    for (const step of this.steps.flat()) {
      const { instruction, form, summary } = step;
      if (form === undefined || summary === undefined) continue;
      const registers = writtenBy(instruction, form);
      written |= registers;
      writes += bits(registers);
      waysOut += summary.accesses - safeAccesses(step);
    }
    for (const { exits } of this.nodes)
      for (const { node, crossing } of exits) if (node < 0 || crossing !== undefined) waysOut++;
    const stores = waysOut * bits(written);
    return stores > STORES_FEW && stores > STORES_WORTH * writes;
  }

  /** Registers that are read before they are written, of a region without loops. */
  private findNeeded(): number {
    const { nodes, flow, steps } = this;
    const at = nodes.map(() => 0);
    for (const node of [...flow.order].reverse()) {
      let live = 0;
      for (const { node: next } of nodes[node]!.exits) if (next >= 0) live |= at[next]!;
      for (const { instruction, form } of [...steps[node]!].reverse()) {
        if (form === undefined) live = 0;
        else live = (live & ~killedBy(instruction, form)) | readBy(instruction, form);
      }
      at[node] = live;
    }
    return at[0]!;
  }

  /** What may have been changed since the region was entered, at the beginning of each block. */
  private findDirty(): { registers: number; flags: boolean }[] {
    const { nodes, flow } = this;
    const at = nodes.map(() => ({ registers: 0, flags: false }));
    const changes = this.steps.map((steps) => {
      let registers = 0;
      let flags = false;
      for (const { instruction, form, flagsLive } of steps) {
        if (form === undefined) continue;
        registers |= writtenBy(instruction, form);
        flags ||= flagsLive && summaryOf(form).writesFlags;
      }
      return { registers, flags };
    });
    for (let changed = true; changed; ) {
      changed = false;
      for (const node of flow.order) {
        const registers = at[node]!.registers | changes[node]!.registers;
        const flags = at[node]!.flags || changes[node]!.flags;
        for (const { node: next } of nodes[node]!.exits) {
          if (next < 0) continue;
          const state = at[next]!;
          if ((state.registers | registers) === state.registers && (state.flags || !flags)) continue;
          state.registers |= registers;
          state.flags ||= flags;
          changed = true;
        }
      }
    }
    return at;
  }

  /** Marks the instructions whose flags nobody looks at before others replace them. */
  private findLiveFlags(): void {
    const liveIn = this.nodes.map(() => true);
    for (let changed = true, rounds = 0; changed && rounds < 4; rounds++) {
      changed = false;
      for (const node of [...this.flow.order].reverse()) {
        const { exits } = this.nodes[node]!;
        let live = exits.length === 0 || exits.some((exit) => mayLeave(exit) || liveIn[exit.node]!);
        const steps = this.steps[node]!;
        for (let i = steps.length - 1; i >= 0; i--) {
          const step = steps[i]!;
          step.flagsLive = live;
          const { summary, form } = step;
          if (summary === undefined) {
            live = true;
            continue;
          }
          const { terminator } = form!.template;
          const isBranch = terminator === Terminator.branch || terminator === Terminator.jump;
          if (summary.readsFlags || (mayEnd(step) && !isBranch)) live = true;
          else if (summary.setsAllFlags) live = false;
        }
        // Loops may look at the flags again: what was assumed live stays so unless proved otherwise.
        if (live !== liveIn[node]) {
          liveIn[node] = live;
          changed = true;
        }
      }
    }
  }

  emit(): Code {
    const { code, lowering } = this;
    // When the slice might end before the region looks at the budget again, block by block instead.
    code.load(Wasm.i32_load, State.budget);
    code.i32(this.longest);
    code.op(I32.lt_s);
    code.if(undefined, false);
    code.get(0);
    code.returnCallBase(this.functions.interpret);
    code.end();
    lowering.loadState(this.needed);
    lowering.beginBody();
    this.tree(0);
    code.bytes.u8(Wasm.unreachable);
    lowering.endBody();
    return code;
  }

  /** A node and all that it dominates. */
  private tree(node: number): void {
    const { code, flow } = this;
    if (flow.isLoop[node]) {
      code.loop();
      this.labels.push(node);
      this.within(node, flow.merges[node]!);
      this.labels.pop();
      code.end();
    } else this.within(node, flow.merges[node]!);
  }

  private within(node: number, merges: readonly number[]): void {
    const { code } = this;
    const [first, ...rest] = merges;
    if (first === undefined) {
      this.block(node);
      return;
    }
    code.block();
    this.labels.push(first);
    this.within(node, rest);
    this.labels.pop();
    code.end();
    this.tree(first);
  }

  private block(node: number): void {
    const { code, lowering } = this;
    const { block, exits, terminator, isReturn, makes, within, site } = this.nodes[node]!;
    const before = this.flow.before[node]!;
    lowering.beginBlock(this.dirtyAt[node]!, before < 0 ? undefined : this.knownAfter[before]);
    lowering.takeBudget(block.instructions);
    for (const step of this.steps[node]!) {
      if (step.form === undefined) {
        lowering.storeState();
        code.i32(Vector.UD);
        code.i32(-1);
        code.i32(step.record);
        code.callBase(this.functions.raise);
        code.bytes.u8(Wasm.unreachable);
        return;
      }
      lowering.instructionAt(step as Step & { form: Form });
    }
    this.knownAfter[node] = lowering.endBlock();
    const [first, second] = exits;
    switch (terminator) {
      case Terminator.none:
      case Terminator.jump:
        if (makes !== undefined) this.keepReturnAddress(makes);
        this.go(node, first!);
        return;
      case Terminator.branch:
        lowering.terminatorValue();
        this.arms(
          () => this.go(node, first!),
          () => this.go(node, second!),
        );
        return;
      case Terminator.indirect:
        lowering.terminatorValue();
        code.set(this.rip);
        if (isReturn) this.returnTo(node, first, within);
        else {
          if (makes !== undefined) this.keepReturnAddress(makes);
          if (first === undefined) this.learn(site);
          else this.probe(node, first, () => this.learn(site));
        }
        return;
      case Terminator.state:
        this.lowering.storeState();
        code.load(Wasm.i64_load, State.rip);
        code.returnCallBase(this.functions.dispatch);
        return;
    }
  }

  /** Two ways out of a block, by the condition on the stack. */
  private arms(whenTrue: () => void, otherwise: () => void, likely?: boolean): void {
    const { code } = this;
    code.if(undefined, likely);
    this.labels.push(-1);
    whenTrue();
    code.else();
    otherwise();
    this.labels.pop();
    code.end();
    // Both arms have left.
    code.bytes.u8(Wasm.unreachable);
  }

  private keepReturnAddress({ depth }: Call): void {
    this.lowering.returnAddress();
    this.code.set(this.returns[depth - 1]!);
  }

  /** Goes back from a call to the RIP in its local: behind it, if the region has followed that call. */
  private returnTo(node: number, exit: Exit | undefined, call: Call | undefined): void {
    const { code } = this;
    if (exit === undefined || call === undefined) {
      this.dispatch();
      return;
    }
    code.get(this.rip);
    code.get(this.returns[call.depth - 1]!);
    code.op(I64.eq);
    this.arms(
      () => this.comeBack(node, exit, call),
      () => this.dispatch(),
      true,
    );
  }

  /** Goes on behind a call. */
  private comeBack(node: number, exit: Exit, call: Call): void {
    const { code, flow } = this;
    if (flow.isCut(node, exit.node)) {
      this.dispatch();
      return;
    }
    if (this.crosses) {
      code.i32(0);
      code.get(this.rip);
      code.i64(-call.returnOffset);
      code.op(I64.add);
      code.memory(Wasm.i64_store, State.ripBase);
    }
    this.enter(node, exit, () => this.dispatch());
  }

  /** Goes from a node to where an exit leads. */
  private go(from: number, exit: Exit): void {
    const { code, lowering } = this;
    const { node, record, crossing } = exit;
    if (node < 0 || this.flow.isCut(from, node)) {
      this.leave(record);
      return;
    }
    if (crossing === undefined) {
      this.enter(from, exit, () => this.leave(record));
      return;
    }
    lowering.ripAt(crossing.offset);
    code.set(this.rip);
    this.probe(from, exit, () => this.dispatch());
  }

  /** Goes from a node to the RIP in its local, to an exit's node if it leads there. @param otherwise - the way out */
  private probe(from: number, exit: Exit, otherwise: () => void): void {
    const { code } = this;
    if (exit.node < 0 || this.flow.isCut(from, exit.node)) {
      otherwise();
      return;
    }
    emitJumpCacheProbe(code, this.linear, this.slot, this.rip);
    code.get(this.slot);
    code.memory(Wasm.i32_load, JUMP_CACHE + 8);
    code.i32(exit.crossing!.head);
    code.op(I32.eq);
    code.op(I32.and);
    this.arms(
      () => {
        emitRipBase(code, this.linear, this.rip);
        this.enter(from, exit, () => this.dispatch());
      },
      otherwise,
      true,
    );
  }

  /** Goes to another node of the region. @param leave - the way out instead when the budget is used up */
  private enter(from: number, { node }: Exit, leave: () => void): void {
    const { code, flow, locals } = this;
    if (flow.isBack(from, node)) {
      // Once round a loop the budget is looked at.
      code.get(locals.budget);
      code.i32(this.longest);
      code.op(I32.ge_s);
      code.brIf(this.labels.length - 1 - this.labels.lastIndexOf(node), true);
      leave();
      return;
    }
    if (flow.isMerge[node]) {
      code.br(this.labels.length - 1 - this.labels.lastIndexOf(node));
      return;
    }
    this.tree(node);
  }

  /** Out of the region, to a head or a crossing. */
  private leave(record: number): void {
    const { code, memory, lowering } = this;
    if (memory.get(record + Op.handler) === Handler.cross) {
      lowering.ripAt(memory.get(record + Op.immediate));
      code.set(this.rip);
      this.dispatch();
      return;
    }
    lowering.leaveTo(record);
  }

  /** Out of the region, to the RIP in its local, which is remembered at an indirect jump as where it leads. */
  private learn(site: number): void {
    const { code } = this;
    this.lowering.storeState();
    code.get(this.rip);
    code.i32(site);
    code.returnCallBase(this.functions.learn);
  }

  /** Out of the region, to the RIP in its local. */
  private dispatch(): void {
    this.lowering.storeState();
    this.code.get(this.rip);
    this.code.returnCallBase(this.functions.dispatch);
  }
}

/** How many bits are set. */
function bits(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** Whether the region may be left in the middle of an instruction. */
function mayEnd(step: Step): boolean {
  const { mayFault, accesses } = step.summary!;
  return mayFault || safeAccesses(step) < accesses;
}

/** How many of its accesses to memory others before them have made sure of. */
function safeAccesses({ accesses }: Step): number {
  let safe = 0;
  if (accesses !== undefined) for (const { isFirst } of accesses.values()) if (!isFirst) safe++;
  return safe;
}

/** Registers that an instruction may change, as bits. */
function writtenBy(instruction: Instruction, form: Form): number {
  const { writes, slotWrites } = summaryOf(form);
  return writes | inSlots(instruction, form, slotWrites);
}

/** Registers of which an instruction leaves nothing that was there, as bits. */
function killedBy(instruction: Instruction, form: Form): number {
  const { kills, slotKills } = summaryOf(form);
  return kills | inSlots(instruction, form, slotKills);
}

/** Registers that an instruction looks at, as bits. */
function readBy(instruction: Instruction, form: Form): number {
  const { reads, slotReads } = summaryOf(form);
  let registers = reads | inSlots(instruction, form, slotReads);
  if (instruction.isMemory) {
    if (instruction.base >= 0 && instruction.base < 16) registers |= 1 << instruction.base;
    if (instruction.index >= 0) registers |= 1 << instruction.index;
  }
  return registers;
}

/** Registers in some of an instruction's operand slots. */
function inSlots(instruction: Instruction, form: Form, wanted: number): number {
  let registers = 0;
  for (let slot = 0; slot < form.slots.length; slot++) {
    const kind = form.slots[slot]!;
    if ((kind === 'general' || kind === 'general8') && wanted & (1 << slot))
      registers |= registerBit(instruction.registers[slot]!);
  }
  return registers;
}

/** Whether an exit can end the region, wherever it leads to within. */
function mayLeave(exit: Exit): boolean {
  return exit.node < 0 || exit.record === 0 || exit.crossing !== undefined;
}
