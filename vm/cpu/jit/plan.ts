/**
 * Decides what a region is made of: from a hot block, the blocks that jumps of known target reach.
 *
 * A small region stays in the page and follows jumps. A large one, made when its head has turned out to
 * matter, goes along calls as well: the callee's blocks become part of it, once for each call, and its
 * return leads back behind that call if the address on the stack is the one that was pushed. It may reach
 * into other pages; whether the linear address still leads to the block that is meant is looked up in the
 * jump cache each time.
 */
import type { Block, CodeCache } from '../code-cache.ts';
import { Decoded, Instruction } from '../decode.ts';
import { type Form, formOf } from '../forms.ts';
import { Terminator } from '../ir/node.ts';
import { Op, RAM_START } from '../layout.ts';
import { Handler, HOT_COUNT } from '../lower/base-module.ts';
import type { CpuMemory } from '../memory.ts';

/** How far a region may reach. */
export interface Reach {
  /** Most instructions and blocks. */
  readonly instructions: number;
  readonly blocks: number;
  /** Most calls within calls; 0 stays in the page as well. */
  readonly calls: number;
}
export const SMALL: Reach = { instructions: 300, blocks: 48, calls: 0 };
export const LARGE: Reach = { instructions: 450, blocks: 90, calls: 3 };

/** Blocks that have run less often than this part of what makes one hot are left to the interpreter. */
const COLD = 4;
const PAGE = 4096;

/** Where control goes at the end of a block. */
export interface Exit {
  /** Number of a block of the region, or −1. */
  readonly node: number;
  /** Record to go to when it leaves the region: a head or a crossing; 0 when that is in RIP. */
  readonly record: number;
  /**
   * Has to be looked up, since it leads to another page or is indirect: offset of the target from this page's start
   * (0 for what is indirect), and the head that is meant.
   */
  readonly crossing: { readonly offset: number; readonly head: number } | undefined;
}

/** A call that the region follows. */
export interface Call {
  readonly depth: number;
  readonly caller: Call | undefined;
  /** Page of the call, and offset in it of the instruction behind it. */
  readonly page: number;
  readonly returnOffset: number;
  readonly returnHead: number;
}

export interface RegionBlock {
  readonly block: Block;
  /** For a branch: taken and not taken; for a return of a call that the region follows: where to. */
  readonly exits: readonly Exit[];
  /** What ends it; none when it just goes on at exits[0]. */
  readonly terminator: Terminator;
  readonly isReturn: boolean;
  /** Where an indirect jump keeps the head it led to last. */
  readonly site: number;
  /** The call that its last instruction makes, if the region follows it. */
  readonly makes: Call | undefined;
  /** The call that it belongs to. */
  readonly within: Call | undefined;
}

interface Ending {
  readonly terminator: Terminator;
  readonly records: readonly number[];
  readonly isCall: boolean;
  readonly isReturn: boolean;
  /** Offset of the next instruction. */
  readonly next: number;
}

/** Whether a region reaches further than a small one would. */
export function isLarge(nodes: readonly RegionBlock[]): boolean {
  let instructions = 0;
  for (const { block, makes, exits } of nodes) {
    if (makes !== undefined || exits.some(({ crossing }) => crossing !== undefined)) return true;
    instructions += block.instructions;
  }
  return instructions > SMALL.instructions || nodes.length > SMALL.blocks;
}

const scratch = new Instruction();

/** A field of the record behind a block that ends in a jump, which nothing else uses. */
function siteOf(block: Block): number {
  return block.first + block.instructions * Op.size + Op.taken;
}

export class RegionPlanner {
  private readonly memory: CpuMemory;
  private readonly cache: CodeCache;
  private readonly reach: Reach;
  private readonly nodes: RegionBlock[] = [];
  private readonly queue: { block: Block; within: Call | undefined }[] = [];
  /** Numbers of blocks by head, for each call. */
  private readonly numbers = new Map<Call | undefined, Map<number, number>>();
  private instructions = 0;
  private count = 0;

  private constructor(memory: CpuMemory, cache: CodeCache, reach: Reach) {
    this.memory = memory;
    this.cache = cache;
    this.reach = reach;
  }

  /** @returns the blocks by number; 0 is where the region is entered */
  static plan(memory: CpuMemory, cache: CodeCache, entry: Block, reach: Reach): readonly RegionBlock[] {
    const planner = new RegionPlanner(memory, cache, reach);
    planner.number(entry, undefined);
    for (let next = planner.queue.shift(); next !== undefined; next = planner.queue.shift())
      planner.nodes.push(planner.follow(next.block, next.within));
    return planner.nodes;
  }

  /** Number of a block, which joins the region if it isn't there and may be; −1 if it may not. */
  private number(block: Block, within: Call | undefined): number {
    let numbers = this.numbers.get(within);
    if (numbers === undefined) {
      numbers = new Map();
      this.numbers.set(within, numbers);
    }
    const known = numbers.get(block.head);
    if (known !== undefined) return known;
    const { reach } = this;
    if (this.count > 0) {
      // Its own region reaches further than this one.
      if (block.takesOver && reach.calls === 0) return -1;
      const isWarm = block.wasHot || this.memory.get(block.head + Op.count) * COLD >= HOT_COUNT;
      const fits = this.count < reach.blocks && this.instructions + block.instructions <= reach.instructions;
      if (!isWarm || !fits) return -1;
    }
    numbers.set(block.head, this.count);
    this.instructions += block.instructions;
    this.queue.push({ block, within });
    return this.count++;
  }

  private follow(block: Block, within: Call | undefined): RegionBlock {
    const { terminator, records, isCall, isReturn, next } = this.ending(block);
    const site = siteOf(block);
    const common = { block, terminator, isReturn, site, within };
    if (isReturn) return { ...common, exits: this.back(within), makes: undefined };
    const call = isCall ? this.call(block, within, next) : undefined;
    // A call that can't be followed is a way out.
    const target = isCall ? (call ?? null) : within;
    const exits =
      terminator === Terminator.indirect
        ? this.learned(site, block.mode, target)
        : records.map((record) => this.exit(block, record, target));
    const makes = exits.some(({ node }) => node >= 0) ? call : undefined;
    return { ...common, exits, makes };
  }

  /** Where a return leads to: behind the call that the region has followed. */
  private back(within: Call | undefined): readonly Exit[] {
    const block = within === undefined ? undefined : this.cache.blocks.get(within.returnHead);
    if (block === undefined) return [];
    const node = this.number(block, within!.caller);
    return node < 0 ? [] : [{ node, record: 0, crossing: undefined }];
  }

  /** Where an indirect jump has led to last. */
  private learned(site: number, mode: number, within: Call | undefined | null): readonly Exit[] {
    if (within === null || this.reach.calls === 0) return [];
    const block = this.cache.blocks.get(this.memory.get(site));
    if (block === undefined || block.mode !== mode) return [];
    const node = this.number(block, within);
    return node < 0 ? [] : [{ node, record: 0, crossing: { offset: 0, head: block.head } }];
  }

  /** The call at the end of a block, if the region may follow it. */
  private call(block: Block, caller: Call | undefined, returnOffset: number): Call | undefined {
    const depth = (caller?.depth ?? 0) + 1;
    if (depth > this.reach.calls || returnOffset >= PAGE) return undefined;
    const returnHead = block.page.heads.get(block.mode * PAGE + returnOffset);
    // Without a block behind the call it has not come back yet.
    if (returnHead === undefined || !this.cache.blocks.has(returnHead)) return undefined;
    return { depth, caller, page: block.page.number, returnOffset, returnHead };
  }

  /** @param within - the call that the target belongs to; null for none that the region follows */
  private exit(block: Block, record: number, within: Call | undefined | null): Exit {
    const { cache, memory, reach } = this;
    const outside: Exit = { node: -1, record, crossing: undefined };
    if (within === null) return outside;
    if (memory.get(record + Op.handler) !== Handler.cross) {
      const next = cache.blocks.get(record);
      return next === undefined ? outside : { ...outside, node: this.number(next, within) };
    }
    if (reach.calls === 0) return outside;
    const offset = memory.get(record + Op.immediate);
    const head = cache.headAt(block.page, offset, block.mode);
    const next = head === undefined ? undefined : cache.blocks.get(head);
    if (next === undefined) return outside;
    const node = this.number(next, within);
    return node < 0 ? outside : { node, record, crossing: { offset, head: next.head } };
  }

  /** How a block ends, and the records it goes on to: for a branch, taken and not taken. */
  private ending(block: Block): Ending {
    const { memory } = this;
    const last = block.first + (block.instructions - 1) * Op.size;
    const form = this.lastForm(block);
    const next = (memory.get(last + Op.place) & 0xffff) + scratch.length;
    if (form === undefined)
      return { terminator: Terminator.state, records: [], isCall: false, isReturn: false, next };
    const { terminator, isCall, isReturn } = form.template;
    const records = this.successors(terminator, last);
    return { terminator, records, isCall, isReturn, next };
  }

  private successors(terminator: Terminator, last: number): number[] {
    const { memory } = this;
    switch (terminator) {
      case Terminator.jump:
        return [memory.get(last + Op.taken)];
      case Terminator.branch:
        return [memory.get(last + Op.taken), memory.get(last + Op.fallThrough)];
      case Terminator.none: {
        const end = last + Op.size;
        return [memory.get(end + Op.handler) === Handler.link ? memory.get(end + Op.taken) : end];
      }
      default:
        return [];
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
