/**
 * Compiles a region: the blocks of one page that are reached from a hot one by direct jumps, as one
 * WebAssembly function with its loops inside. It leaves by tail calls, to other blocks' heads or through
 * the jump cache.
 */
import type { Block, CodeCache } from '../code-cache.ts';
import { Decoded, Instruction } from '../decode.ts';
import { type Form, formOf } from '../forms.ts';
import { Terminator } from '../ir/node.ts';
import { Op, RAM_START, State } from '../layout.ts';
import { emitDispatch, Handler, HOT_COUNT } from '../lower/base-module.ts';
import { Code } from '../lower/code.ts';
import type { FunctionIndices } from '../lower/lowering.ts';
import type { CpuMemory } from '../memory.ts';
import { I32, type ValueType, Wasm } from '../wasm/opcodes.ts';
import { analyse, type Flow } from './flow.ts';
import { type RegionLocals, RegionLowering } from './lowering.ts';
import { summaryOf } from './summary.ts';

/** Most instructions and blocks of a region. */
const INSTRUCTIONS_MAXIMUM = 300;
const BLOCKS_MAXIMUM = 48;
/** Blocks that have run less often than this part of what makes one hot are left to the interpreter. */
const COLD = 4;
const PAGE = 4096;

/** Where control goes at the end of a block. */
interface Exit {
  /** Number of a block of the region, or −1. */
  node: number;
  /** Record to go to when it leaves the region. */
  readonly record: number;
}

interface RegionBlock {
  readonly block: Block;
  readonly exits: Exit[];
  /** What ends it; none when it just goes on at exits[0]. */
  readonly terminator: Terminator;
}

/** A compiled function. */
export interface CompiledRegion {
  readonly head: number;
  readonly blocks: readonly Block[];
  readonly locals: readonly ValueType[];
  readonly instructions: Uint8Array;
}

const TRY = 0x06;
const CATCH_ALL = 0x19;
const RETHROW = 0x09;

/** Labels around a region's body: link, dispatch, state, try. */
const OUTER_LABELS = 4;
const LABEL_LINK = 0;
const LABEL_DISPATCH = 1;
const LABEL_STATE = 2;

const scratch = new Instruction();

export class RegionCompiler {
  private readonly memory: CpuMemory;
  private readonly cache: CodeCache;
  private readonly functions: FunctionIndices;
  private readonly handlerType: number;

  constructor(memory: CpuMemory, cache: CodeCache, functions: FunctionIndices, handlerType: number) {
    this.memory = memory;
    this.cache = cache;
    this.functions = functions;
    this.handlerType = handlerType;
  }

  /** @returns undefined when the head has no code any more */
  compile(head: number): CompiledRegion | undefined {
    const entry = this.cache.blocks.get(head);
    if (entry === undefined) return undefined;
    const nodes = this.gather(entry);
    const flow = analyse(nodes.map(({ exits }) => exits.map(({ node }) => node)));
    const emitter = new RegionEmitter(this.memory, nodes, flow, this.functions, this.handlerType);
    const code = emitter.emit();
    return {
      head,
      blocks: nodes.map(({ block }) => block),
      locals: code.locals,
      instructions: code.bytes.view(),
    };
  }

  private gather(entry: Block): RegionBlock[] {
    const { memory, cache } = this;
    const numbers = new Map<number, number>([[entry.head, 0]]);
    const nodes: RegionBlock[] = [];
    const queue: Block[] = [entry];
    let instructions = entry.instructions;
    for (let block = queue.shift(); block !== undefined; block = queue.shift()) {
      const [terminator, records] = this.ending(block);
      const exits = records.map((record): Exit => {
        const known = numbers.get(record);
        if (known !== undefined) return { node: known, record };
        const next = cache.blocks.get(record);
        const isWarm = next !== undefined && memory.get(record + Op.count) * COLD >= HOT_COUNT;
        if (
          !isWarm ||
          next.page !== entry.page ||
          numbers.size >= BLOCKS_MAXIMUM ||
          instructions + next.instructions > INSTRUCTIONS_MAXIMUM
        ) {
          return { node: -1, record };
        }
        const number = numbers.size;
        numbers.set(record, number);
        instructions += next.instructions;
        queue.push(next);
        return { node: number, record };
      });
      nodes.push({ block, exits, terminator });
    }
    return nodes;
  }

  /** How a block ends, and the records it goes on to: for a branch, taken and not taken. */
  private ending(block: Block): [Terminator, number[]] {
    const { memory } = this;
    const last = block.first + (block.instructions - 1) * Op.size;
    const form = this.lastForm(block);
    if (form === undefined) return [Terminator.state, []];
    const { terminator } = form.template;
    switch (terminator) {
      case Terminator.jump:
        return [terminator, [memory.get(last + Op.taken)]];
      case Terminator.branch:
        return [terminator, [memory.get(last + Op.taken), memory.get(last + Op.fallThrough)]];
      case Terminator.none: {
        const end = last + Op.size;
        return [
          terminator,
          [memory.get(end + Op.handler) === Handler.link ? memory.get(end + Op.taken) : end],
        ];
      }
      default:
        return [terminator, []];
    }
  }

  /** Form of a block's last instruction; undefined for one that doesn't exist. */
  private lastForm(block: Block): Form | undefined {
    const { memory } = this;
    const last = block.first + (block.instructions - 1) * Op.size;
    const at = memory.get(last + Op.place) & 0xffff;
    const start = RAM_START + block.page.number * PAGE;
    if (scratch.decode(memory.u8, start + at, start + PAGE, block.mode) !== Decoded.ok) return undefined;
    return formOf(scratch, block.mode);
  }
}

/** An instruction of the region, decoded again. */
interface Step {
  readonly instruction: Instruction;
  /** Undefined for one that doesn't exist. */
  readonly form: Form | undefined;
  readonly place: number;
  readonly record: number;
  flagsLive: boolean;
}

class RegionEmitter {
  private readonly memory: CpuMemory;
  private readonly nodes: readonly RegionBlock[];
  private readonly flow: Flow;
  private readonly functions: FunctionIndices;
  private readonly handlerType: number;
  private readonly code = new Code(1);
  private readonly steps: Step[][];
  private readonly mode: number;
  private readonly locals: RegionLocals;
  private readonly lowering: RegionLowering;
  private readonly next: number;
  private readonly rip: number;
  /** Most instructions between two looks at the budget: forward edges lead through each block once. At least 1. */
  private readonly longest: number;
  /** Labels that are open within the body: the node that a branch to each leads to, or −1. */
  private readonly labels: number[] = [];

  constructor(
    memory: CpuMemory,
    nodes: readonly RegionBlock[],
    flow: Flow,
    functions: FunctionIndices,
    handlerType: number,
  ) {
    this.memory = memory;
    this.nodes = nodes;
    this.flow = flow;
    this.functions = functions;
    this.handlerType = handlerType;
    this.mode = nodes[0]!.block.mode;
    this.steps = nodes.map(({ block }) => this.decode(block));
    this.longest = Math.max(
      1,
      nodes.reduce((sum, { block }) => sum + block.instructions, 0),
    );
    const { code } = this;
    this.next = code.local('i32');
    this.rip = code.local('i64');
    this.locals = this.assignLocals();
    this.lowering = new RegionLowering(code, functions, this.mode, this.locals);
    this.findLiveFlags();
  }

  private decode(block: Block): Step[] {
    const { memory } = this;
    const start = RAM_START + block.page.number * PAGE;
    return Array.from({ length: block.instructions }, (_, i): Step => {
      const record = block.first + i * Op.size;
      const place = memory.get(record + Op.place) & 0xffff;
      const instruction = new Instruction();
      const known = instruction.decode(memory.u8, start + place, start + PAGE, block.mode) === Decoded.ok;
      return {
        instruction,
        form: known ? formOf(instruction, block.mode) : undefined,
        place,
        record,
        flagsLive: true,
      };
    });
  }

  private assignLocals(): RegionLocals {
    const { code } = this;
    let used = 0;
    let dirty = 0;
    let usesFlags = false;
    for (const { instruction, form } of this.steps.flat()) {
      if (form === undefined) continue;
      const summary = summaryOf(form);
      used |= summary.reads | summary.writes;
      dirty |= summary.writes;
      usesFlags ||= summary.readsFlags || summary.writesFlags;
      form.slots.forEach((kind, slot) => {
        if (kind !== 'general' && kind !== 'general8') return;
        const register = instruction.registers[slot]!;
        const bit = 1 << (register < 16 ? register : register - 16);
        used |= bit;
        if (summary.slotWrites & (1 << slot)) dirty |= bit;
      });
      if (instruction.isMemory) {
        if (instruction.base >= 0 && instruction.base < 16) used |= 1 << instruction.base;
        if (instruction.index >= 0) used |= 1 << instruction.index;
      }
    }
    const gpr = Array.from({ length: 16 }, (_, n) => (used & (1 << n) ? code.local('i64') : -1));
    return {
      gpr,
      dirty,
      usesFlags,
      ccRes: code.local('i64'),
      ccAux: code.local('i64'),
      ccShift: code.local('i32'),
      budget: code.local('i32'),
      inHelper: code.local('i32'),
    };
  }

  /** Marks the instructions whose flags nobody looks at before others replace them. */
  private findLiveFlags(): void {
    const liveIn = this.nodes.map(() => true);
    for (let changed = true, rounds = 0; changed && rounds < 4; rounds++) {
      changed = false;
      for (const node of [...this.flow.order].reverse()) {
        const { exits } = this.nodes[node]!;
        let live = exits.length === 0 || exits.some((exit) => exit.node < 0 || liveIn[exit.node]!);
        const steps = this.steps[node]!;
        for (let i = steps.length - 1; i >= 0; i--) {
          const step = steps[i]!;
          step.flagsLive = live;
          if (step.form === undefined) {
            live = true;
            continue;
          }
          const { readsFlags, setsAllFlags, mayFault } = summaryOf(step.form);
          const isBranch =
            step.form.template.terminator === Terminator.branch ||
            step.form.template.terminator === Terminator.jump;
          if (readsFlags || (mayFault && !isBranch)) live = true;
          else if (setsAllFlags) live = false;
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
    const { code, locals, lowering } = this;
    // When the slice might end before the region looks at the budget again, block by block instead.
    code.load(Wasm.i32_load, State.budget);
    code.i32(this.longest);
    code.op(I32.lt_s);
    code.if();
    code.get(0);
    code.returnCall(this.functions.interpret);
    code.end();
    lowering.loadState();
    code.block();
    code.block();
    code.block();
    code.bytes.u8(TRY);
    code.bytes.u8(Wasm.void);
    this.tree(0);
    code.bytes.u8(CATCH_ALL);
    code.get(locals.inHelper);
    code.op(I32.eqz);
    code.if();
    lowering.storeState();
    code.end();
    code.bytes.u8(RETHROW);
    code.bytes.u32(0);
    code.end();
    code.bytes.u8(Wasm.unreachable);
    code.end();
    // A helper has said where to go, and has all state in memory.
    code.load(Wasm.i64_load, State.rip);
    code.returnCall(this.functions.dispatch);
    code.end();
    lowering.storeState();
    emitDispatch(code, this.functions.lookup, this.handlerType, () => code.get(this.rip));
    code.end();
    lowering.storeState();
    code.get(this.next);
    code.get(this.next);
    code.memory(Wasm.i32_load, Op.handler);
    code.returnCallIndirect(this.handlerType);
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
    const { code, lowering, locals } = this;
    const { block, exits, terminator } = this.nodes[node]!;
    lowering.beginBlock();
    code.get(locals.budget);
    code.i32(block.instructions);
    code.op(I32.sub);
    code.set(locals.budget);
    for (const step of this.steps[node]!) {
      if (step.form === undefined) {
        code.i32(6);
        code.i32(-1);
        code.i32(step.record);
        code.call(this.functions.raise);
        code.bytes.u8(Wasm.unreachable);
        return;
      }
      lowering.instructionAt(step.instruction, step.form, step.place, step.record, step.flagsLive);
    }
    switch (terminator) {
      case Terminator.none:
      case Terminator.jump:
        this.go(node, exits[0]!);
        return;
      case Terminator.branch:
        lowering.terminatorValue();
        code.if();
        this.labels.push(-1);
        this.go(node, exits[0]!);
        code.else();
        this.go(node, exits[1]!);
        this.labels.pop();
        code.end();
        // Both arms have left.
        code.bytes.u8(Wasm.unreachable);
        return;
      case Terminator.indirect:
        lowering.terminatorValue();
        code.set(this.rip);
        code.br(this.outer(LABEL_DISPATCH));
        return;
      case Terminator.state:
        code.br(this.outer(LABEL_STATE));
        return;
    }
  }

  private outer(label: number): number {
    return this.labels.length + OUTER_LABELS - 1 - label;
  }

  /** Goes from a node to where an exit leads. */
  private go(from: number, exit: Exit): void {
    const { code, flow, locals } = this;
    const { node } = exit;
    if (node < 0 || flow.isCut(from, node)) {
      this.leave(exit.record);
      return;
    }
    if (flow.isBack(from, node)) {
      // Once round a loop the budget is looked at.
      code.get(locals.budget);
      code.i32(this.longest);
      code.op(I32.ge_s);
      code.brIf(this.labels.length - 1 - this.labels.lastIndexOf(node));
      this.leave(exit.record);
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
      code.br(this.outer(LABEL_DISPATCH));
      return;
    }
    code.i32(record);
    code.set(this.next);
    code.br(this.outer(LABEL_LINK));
  }
}
