/**
 * The CPU in TypeScript (vm/cpu) as a CPU under test: has it execute a case's one instruction, in one of four
 * ways.
 *
 * Exceptions are delivered for real, through an IDT to a kernel that has no code: that CPL is 0 afterwards says
 * that something was raised, RIP says which vector, and what the CPU pushed has the rest of the interrupted
 * state. So delivery is tested along with the instruction. Decoded and compiled blocks end like cases on the
 * oracle: at the INT3 that is everywhere but in the instruction.
 */
import { CpuCode } from '../../vm/cpu/code.ts';
import { CpuExit } from '../../vm/cpu/cpu.ts';
import { Decoded, Instruction, RIP_BASE } from '../../vm/cpu/decode.ts';
import { RAM_START, State } from '../../vm/cpu/layout.ts';
import { PlainCode } from '../../vm/cpu/lower/plain-code.ts';
import { CpuMemory, createCpuMemory } from '../../vm/cpu/memory.ts';
import { buildAddressSpace, mapCode, type Paging, Physical, RAM_SIZE } from './address-space.ts';
import type { CpuUnderTest } from './compare.ts';
import { type CpuRig, makeCpu } from './engine-rig.ts';
import { CaseState, startOf } from './engine-state.ts';
import { type Case, Layout, type Result } from './records.ts';

/**
 * `step`: the instruction by itself, as for single steps (default). `plain`: by itself, too, by plain evaluation of its
 * template. `interp`: as a decoded block, at full speed. `jit`: as compiled code.
 */
export const HOWS = ['step', 'plain', 'interp', 'jit'] as const;
export type How = (typeof HOWS)[number];

export interface EngineOptions {
  readonly how?: How;
  /**
   * What 32- and 16-bit code runs under: compatibility mode of a 64-bit kernel, as on the oracle (default), or
   * protected mode of a 32-bit one, which should look the same to user code.
   */
  readonly paging?: Paging;
}

/** Pages whose translations are forgotten before some cases, so that page walks are tested. */
const PAGES = [
  Layout.codeBase,
  Layout.dataBase,
  Layout.dataBase + 0x1000,
  Layout.dataBase + 0x2000,
  Layout.readonlyBase,
];
/** A repeated string instruction that isn't done after so many steps never will be. */
const STEPS_MAXIMUM = 100_000;
/** Cases whose code is decoded or compiled at once, each on a page of its own. */
const PAGES_OF_CODE = 8192;
/** Regions that share a module. */
const COMPILED_AT_ONCE = 128;
const PAGE = 0x1000;

export class EngineUnderTest implements CpuUnderTest {
  readonly name: string;
  readonly #how: How;
  readonly #isStepping: boolean;
  readonly #memory: CpuMemory;
  readonly #ram: Buffer;
  readonly #state: CaseState;
  readonly #instruction = new Instruction();
  #rig: CpuRig;
  #booted: Paging | undefined;
  /** Set while the data pages may hold what a case that threw has left there. */
  #unclean = false;
  /** Where in the code region code has been put last, in steps. */
  #placed: number = Layout.codeStart;
  /** Physical pages of the cases' code, unless in steps. */
  readonly #pageOf = new Map<Case, number>();

  /** Several in one thread must all have the handlers that are made at once: forms keep their number. */
  constructor(options: EngineOptions = {}) {
    const { how = 'step', paging = 'long' } = options;
    this.name = `vm/cpu ${how}${paging === 'long' ? '' : `, ${paging} paging`}`;
    this.#how = how;
    this.#isStepping = how === 'step' || how === 'plain';
    const ramSize = RAM_SIZE + (this.#isStepping ? 0 : PAGES_OF_CODE * PAGE);
    const memory = createCpuMemory(ramSize);
    this.#memory = new CpuMemory(memory, ramSize);
    this.#ram = Buffer.from(memory.buffer, RAM_START, ramSize);
    this.#rig = this.#makeRig();
    this.#state = new CaseState(this.#memory, this.#ram, paging, () => this.#rig.cpu.updateMode());
  }

  #makeRig(): CpuRig {
    const Program = this.#how === 'plain' ? PlainCode : CpuCode;
    return makeCpu(this.#memory, this.#how === 'jit', 1, {}, Program);
  }

  /** Decodes or compiles the code of cases that will be run next. */
  prepare(cases: readonly Case[]): void {
    if (this.#isStepping) return;
    if (cases.length > PAGES_OF_CODE) throw new RangeError(`no more than ${PAGES_OF_CODE} cases at once`);
    // A new one each time: in V8, a table that many modules import gets slower with each.
    this.#rig = this.#makeRig();
    const { cpu, program } = this.#rig;
    this.#pageOf.clear();
    let waiting = 0;
    const compile = (): void => {
      // The program waits for company unless it is asked often.
      for (let i = 0; i < 16; i++) program.compilePending();
      waiting = 0;
    };
    this.#ram.fill(0xcc, RAM_SIZE, RAM_SIZE + cases.length * PAGE);
    cases.forEach((c, i) => {
      const page = RAM_SIZE + i * PAGE;
      this.#ram.set(c.code, page + Layout.codeStart);
      this.#pageOf.set(c, page);
      if (this.#how !== 'jit') return;
      this.#boot(this.#state.paging(c.mode));
      this.#map(page);
      this.#state.loadMode(c);
      const head = cpu.code.lookup();
      if (!cpu.code.blocks.has(head)) cpu.code.decode(head);
      program.hot(head);
      if (++waiting === COMPILED_AT_ONCE) compile();
    });
    compile();
  }

  /** @throws Error if the CPU ends up where no instruction should bring it. */
  run(c: Case): Result {
    this.#boot(this.#state.paging(c.mode));
    if (this.#unclean) this.#ram.fill(0, Physical.data, Physical.data + Layout.dataSize);
    this.#unclean = true;
    this.#state.load(c);
    if ((c.seed & 15) === 0) for (const page of PAGES) this.#rig.cpu.mmu.flushPage(page, 0);
    const moved = this.#isStepping ? this.#step(c) : this.#runBlocks(c);
    const result = this.#state.take(c, moved);
    this.#unclean = false;
    return result;
  }

  /** @returns by how much the instruction's address differs from what the case says */
  #step(c: Case): number {
    const memory = this.#memory;
    const moved = this.#place(c);
    const start = startOf(c.mode) + moved;
    memory.set(State.rip, start);
    for (let steps = 0; steps < STEPS_MAXIMUM; steps++) {
      this.#check(this.#rig.cpu.stepOnce());
      if (memory.get(State.cpl) !== 3 || memory.get(State.rip) !== start) return moved;
    }
    throw new Error('the instruction never ends');
  }

  #runBlocks(c: Case): number {
    const page = this.#pageOf.get(c);
    if (page === undefined) {
      this.prepare([c]);
      this.#state.load(c);
      return this.#runBlocks(c);
    }
    this.#map(page);
    for (let runs = 0; runs < STEPS_MAXIMUM; runs++) {
      this.#check(this.#rig.cpu.runBlock());
      if (this.#memory.get(State.cpl) !== 3) return 0;
    }
    throw new Error('the instruction never ends');
  }

  #check(exit: CpuExit): void {
    if (exit === CpuExit.slice) return;
    // It waits for an answer that it won't get.
    this.#rig = this.#makeRig();
    throw new Error(
      exit === CpuExit.shutdown ? 'the CPU has shut down' : `the CPU wants a device (exit ${exit})`,
    );
  }

  /** Makes one kind of kernel of the RAM. */
  #boot(paging: Paging): void {
    if (this.#booted === paging) return;
    this.#booted = paging;
    this.#ram.fill(0, 0, RAM_SIZE);
    buildAddressSpace(this.#ram, paging);
    this.#rig.cpu.mmu.flushAll();
  }

  /** Puts a page of RAM where the first page of code is. */
  #map(page: number): void {
    mapCode(this.#ram, page);
    this.#rig.cpu.mmu.flushPage(Layout.codeBase, 0);
  }

  /**
   * Puts the case's instruction into the code region: one that doesn't depend on its address goes across the
   * border of two pages now and then.
   * @returns how far from where the case wants it
   */
  #place(c: Case): number {
    const ram = this.#ram;
    const { code } = c;
    const old = Physical.code + this.#placed;
    ram.fill(0xcc, old, old + 24);
    const across = c.straight && (c.seed & 0x700) === 0 && !this.#isRelative(code);
    this.#placed = across ? PAGE - 1 - (c.seed % code.length) : Layout.codeStart;
    ram.set(code, Physical.code + this.#placed);
    return this.#placed - Layout.codeStart;
  }

  #isRelative(code: Uint8Array): boolean {
    const instruction = this.#instruction;
    const decoded = instruction.decode(code, 0, code.length, this.#memory.get(State.mode));
    return decoded !== Decoded.ok || instruction.base === RIP_BASE;
  }
}
