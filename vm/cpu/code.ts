/**
 * The WebAssembly side of a CPU: base module, function table, and handlers made when a form is met first.
 */
import { setFlagsFromString } from 'node:v8';
import type { Block, CodeCache } from './code-cache.ts';
import type { Form } from './forms.ts';
import { type HandlerModule, slotOf } from './handlers.ts';
import { LARGE, type Reach, SMALL } from './jit/plan.ts';
import { type CompiledRegion, RegionCompiler } from './jit/region.ts';
import { Op } from './layout.ts';
import { BASE_FUNCTIONS, forRegions, HANDLER, type HostFunctions, REGION_FUNCTIONS } from './lower/base.ts';
import {
  beginBaseModule,
  FIRST_HANDLER,
  importFunctions,
  importMachine,
  importMemory,
  importOnDemand,
} from './lower/base-module.ts';
import { HandlerLowering } from './lower/interp.ts';
import type { CpuMemory } from './memory.ts';
import { functionBody, ModuleBuilder } from './wasm/module.ts';

/**
 * Free indices after those of built handlers, for handlers made at run time. The table is kept small and grows:
 * every instance that imports it has a copy of its own in the engine, and is kept for as long as the table is. So
 * modules of regions, of which there are thousands, don't import it: they leave by the base module's `go`.
 */
const SPARE_HANDLERS = 512;
const HANDLERS_WITHOUT_BUILD = 6000;
const REGIONS_AT_FIRST = 1024;
/** Most regions; beyond, all code is thrown away. */
const REGIONS_MAXIMUM = 32768;
/**
 * So many regions are compiled at once, or those that have waited for so many slices. A module takes a millisecond and
 * fifty kilobytes besides its regions, which is little as a guest starts and much once there are thousands: then what
 * is hot at last waits for more of its kind.
 */
const BATCH = 24;
const BATCH_SLICES = 24;
const BATCH_SLICES_MAXIMUM = 64;
/** After so many modules, regions wait for one more slice. */
const MODULES_A_SLICE = 16;
/** When so many slices have ended in what waits, it waits no longer: it is what the guest does now. */
const BATCH_SAMPLES = 2;
/** So many slices end in a block before it gets a large region, and then before it gets a new one. */
const SAMPLES = [6, 200];
/**
 * What is in the middle of another's large region will get there again, and its own might be as large as that: it takes
 * so many times as many for each instruction of that.
 */
const SAMPLES_INSIDE = 1 / 8;
/** So many slices end in the middle of a large region before small ones leave for it, and at least one in so many. */
const STRAYS = 12;
const STRAY_EVERY = 8;

// V8 moves what branch hints call unlikely out of the way, which keeps registers and instruction cache for the rest.
// Versions that have the feature for good no longer know the flag, and ignore it.
setFlagsFromString('--experimental-wasm-branch-hinting');
/**
 * Bytes of a function that V8 executes before its optimizing compiler gets it, which takes a fraction of a millisecond for a
 * handler and milliseconds for a region; it would begin after a hundred times. A module keeps what it was made with.
 */
const TIERING_BUDGET = { handlers: 2_000_000, regions: 16_000_000 } as const;

function setTieringBudget(of: keyof typeof TIERING_BUDGET): void {
  setFlagsFromString(`--wasm-tiering-budget=${TIERING_BUDGET[of]}`);
}

export class CpuCode {
  readonly memory: CpuMemory;
  readonly table: WebAssembly.Table;
  private imports: Record<string, unknown> = {};
  private nextSlot = 0;
  /** Indices from here on are compiled regions'. */
  private readonly firstRegion: number;
  private nextRegion: number;
  /** Slices that pending regions have waited, and how many have ended in them. */
  private patience = 0;
  private pendingSamples = 0;
  /** Slices that have ended in a block. */
  private samples = 0;
  private cache: CodeCache | undefined;
  private enterGuest: () => void = () => {};
  private deliverEvent: (vector: number, errorCode: number, flags: number) => number = () => 1;

  private readonly compiles: boolean;
  /** Heads to be compiled, and how far. */
  private readonly pending = new Map<number, Reach>();
  private readonly handlers: HandlerModule | undefined;

  /** @param handlers - those that the build has made; without them each is made when it is needed first */
  constructor(memory: CpuMemory, handlers?: HandlerModule, compiles = true) {
    this.memory = memory;
    this.compiles = compiles;
    this.handlers = handlers;
    const handlerCount = handlers?.end ?? HANDLERS_WITHOUT_BUILD;
    this.firstRegion = handlerCount + SPARE_HANDLERS;
    this.nextRegion = this.firstRegion;
    this.table = new WebAssembly.Table({ element: 'anyfunc', initial: this.firstRegion + REGIONS_AT_FIRST });
  }

  /** Instantiates the base module over what it imports. */
  attach(host: HostFunctions, cache: CodeCache): void {
    this.cache = cache;
    cache.onInvalidate = (page) => {
      for (const { head } of page.blocks) {
        const slot = this.memory.get(head + Op.handler);
        if (slot >= this.firstRegion) this.table.set(slot, null);
      }
    };
    this.imports = { memory: this.memory.memory, table: this.table, ...host };
    setTieringBudget('handlers');
    const bytes = this.handlers?.bytes ?? beginBaseModule().module.build();
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { cpu: this.imports });
    setTieringBudget('regions');
    for (const name of Object.keys(BASE_FUNCTIONS)) this.imports[name] = instance.exports[name];
    for (const { name } of REGION_FUNCTIONS.map(forRegions)) this.imports[name] = instance.exports[name];
    this.enterGuest = instance.exports['enter'] as () => void;
    this.deliverEvent = instance.exports['deliver'] as typeof this.deliverEvent;
    this.nextSlot = this.handlers?.end ?? FIRST_HANDLER;
  }

  /** Runs guest code from State.rip. */
  enter(): void {
    this.enterGuest();
  }

  /**
   * Delivers an exception or interrupt, where that is the usual way into a kernel: lower/base-delivery.ts.
   * @param errorCode - −1 for none
   * @param flags - to be pushed besides: RF or none
   * @returns whether it has been delivered; nothing has changed if not
   */
  deliver(vector: number, errorCode: number, flags: number): boolean {
    return this.deliverEvent(vector, errorCode, flags) === 0;
  }

  /** Runs the block of a head. */
  enterAt(head: number): void {
    const handler = this.memory.get(head);
    (this.table.get(handler) as (record: number) => void)(head);
  }

  handlerOf(form: Form): number {
    const made = this.handlers && slotOf(this.handlers, form.key);
    if (made !== undefined) {
      form.handler = made;
      return made;
    }
    const module = new ModuleBuilder();
    const handlerType = module.type(HANDLER);
    importMachine(module);
    const functions = importFunctions(module);
    const code = HandlerLowering.lower(form.template, form.mode === 'segmented', functions, handlerType);
    const index = module.addFunction(HANDLER, functionBody(code.locals, code.bytes.view(), code.hints));
    const slot = this.nextSlot++;
    if (slot === this.firstRegion) throw new Error('the function table has no room for another handler');
    module.addElements(slot, [index]);
    void new WebAssembly.Instance(new WebAssembly.Module(module.build()), { cpu: this.imports });
    form.handler = slot;
    return slot;
  }

  /** Throws away all decoded and compiled code. */
  clear(): void {
    this.pending.clear();
    for (let slot = this.firstRegion; slot < this.nextRegion; slot++) this.table.set(slot, null);
    this.nextRegion = this.firstRegion;
    this.cache?.clear();
  }

  /** A block has run often: it will be compiled when guest code is left next. */
  hot(head: number): void {
    if (this.compiles) this.pending.set(head, SMALL);
  }

  /**
   * A slice has ended at State.rip. What is met there often is worth a large region, again when more of what
   * it reaches may have become hot.
   */
  sample(): void {
    const block = this.cache?.blockAtRip();
    if (block === undefined) return;
    this.samples++;
    if (this.pending.has(block.head)) this.pendingSamples++;
    this.noteStray(block);
    if (!block.wasHot || block.level >= SAMPLES.length) return;
    const patience = Math.max(1, block.largest * SAMPLES_INSIDE);
    if (++block.samples < SAMPLES[block.level]! * patience) return;
    block.level++;
    this.pending.set(block.head, LARGE);
  }

  /** Compiles what has become hot. Not while guest code runs. */
  compilePending(): void {
    const { pending, cache, memory } = this;
    if (pending.size === 0 || cache === undefined) return;
    // A module costs as much as several regions: what becomes hot at about the same time shares one.
    const slices = Math.min(BATCH_SLICES + this.modules / MODULES_A_SLICE, BATCH_SLICES_MAXIMUM);
    const isUrgent = pending.size >= BATCH || this.pendingSamples >= BATCH_SAMPLES;
    if (!isUrgent && ++this.patience < slices) return;
    this.patience = this.pendingSamples = 0;
    const started = performance.now();
    const module = new ModuleBuilder();
    importMemory(module);
    const compiler = new RegionCompiler(memory, cache, importOnDemand(module));
    const regions: CompiledRegion[] = [];
    const covered = new Set<number>();
    const first = this.nextRegion;
    for (const [head, reach] of pending) {
      if (reach === SMALL && covered.has(head)) continue;
      const region = compiler.compile(head, reach);
      if (region === undefined) {
        // It is no better placed for a large one the next time.
        const block = reach === LARGE ? cache.blocks.get(head) : undefined;
        if (block !== undefined) block.level = SAMPLES.length;
        continue;
      }
      regions.push(region);
      this.note(region, reach);
      for (const block of region.blocks) covered.add(block.head);
    }
    pending.clear();
    if (regions.length === 0) return;
    regions.forEach(({ body }, i) => {
      module.exportFunction(String(i), module.addFunction(HANDLER, body));
    });
    if (first + regions.length > this.table.length)
      this.table.grow(Math.max(regions.length, this.table.length >> 1));
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.build()), {
      cpu: this.imports,
    });
    regions.forEach(({ blocks }, i) => {
      this.table.set(first + i, exports[i]);
      cache.install(blocks[0]!, first + i);
    });
    this.modules++;
    this.nextRegion += regions.length;
    if (this.nextRegion - this.firstRegion > REGIONS_MAXIMUM) cache.isFull = true;
    this.regions += regions.length;
    this.compileTime += performance.now() - started;
  }

  /** Keeps with its blocks that they are part of a region. */
  private note({ blocks, loops, instructions }: CompiledRegion, reach: Reach): void {
    const entry = blocks[0]!;
    for (const block of blocks) {
      block.wasHot = true;
      if (block.page !== entry.page) block.page.reachedFrom.add(entry);
      // Entered from elsewhere as often again, it becomes a region of its own.
      this.memory.set(block.head + Op.count, 0);
      if (block === entry) continue;
      if (reach === SMALL) {
        block.passedBy ??= new Set();
        block.passedBy.add(entry);
      } else {
        block.largest = Math.max(block.largest, instructions);
        block.insideOf = loops.has(block) ? undefined : entry;
      }
    }
  }

  /**
   * A slice has ended at a block that a large region has in its middle, where that can't end: the same code also runs in
   * a small region, which never comes to where the large one begins, but through it. When that is seen often, such small
   * ones are compiled anew, and leave for the large one.
   */
  private noteStray(block: Block): void {
    const entry = block.insideOf;
    if (entry?.passedBy === undefined) return;
    entry.bypasses ??= new Set();
    for (const small of entry.passedBy)
      if (small === block || block.passedBy?.has(small)) entry.bypasses.add(small);
    if (entry.strays++ === 0) entry.straysSince = this.samples;
    if (entry.strays < STRAYS) return;
    entry.strays = 0;
    if (this.samples - entry.straysSince <= STRAYS * STRAY_EVERY) {
      entry.takesOver = true;
      for (const small of entry.bypasses) {
        entry.passedBy.delete(small);
        if (!small.takesOver) this.pending.set(small.head, SMALL);
      }
    }
    entry.bypasses = undefined;
  }

  /** Modules made of regions so far. */
  private modules = 0;
  /** Regions compiled so far. */
  regions = 0;
  /** Time that compiling has taken, in ms. */
  compileTime = 0;
}
