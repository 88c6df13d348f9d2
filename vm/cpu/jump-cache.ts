/**
 * The jump cache, from linear address and mode to a block's head: TypeScript's side, which fills and empties it. Compiled
 * code and the interpreter look into it by the same hashes (lower/base-module.ts).
 */
import {
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  Op,
  SECOND_ENTRIES,
  SECOND_ENTRIES_SHIFT,
  SECOND_MULTIPLIER,
  State,
} from './layout.ts';
import type { CpuMemory } from './memory.ts';
import { pageNumber } from './mmu.ts';

/** Entries that are remembered for one linear page. */
const SLOTS_MAXIMUM = 512;

export class JumpCache {
  private readonly memory: CpuMemory;
  /** Entries by linear page, of global pages and of others: a load of CR3 is for these alone. */
  private readonly global = new Map<number, number[]>();
  private readonly local = new Map<number, number[]>();

  constructor(memory: CpuMemory) {
    this.memory = memory;
  }

  /** Puts a block's head where code that jumps to a linear address finds it. */
  remember(low: number, high: number, head: number, isGlobal: boolean): void {
    const { memory } = this;
    const page = pageNumber(low, high);
    const tag = (high + memory.get(State.modeTag + 4)) | 0;
    const lists = isGlobal ? this.global : this.local;
    let list = lists.get(page);
    if (list === undefined) {
      list = [];
      lists.set(page, list);
    } else if (list.length === SLOTS_MAXIMUM) {
      // Entries that push each other out fill the list again and again.
      this.forgetSlots(list);
      list.length = 0;
    }
    const slot = this.slotFor(low, high, tag);
    list.push(slot);
    memory.set64(JUMP_CACHE + slot * 16, low, tag);
    memory.set(JUMP_CACHE + slot * 16 + 8, head);
    memory.set(JUMP_CACHE + slot * 16 + 12, memory.get(head + Op.handler));
  }

  /** Number of the entry for an address: in the first part, unless another one is there and the second has room. */
  private slotFor(low: number, high: number, tag: number): number {
    const { memory } = this;
    const first = firstSlot(low, high);
    const at = JUMP_CACHE + first * 16;
    const tagThere = memory.get(at + 4);
    if (tagThere === 0 || (tagThere === tag && memory.get(at) === low)) return first;
    // A product's upper bits, as in lower/base-module.ts.
    const second = JUMP_CACHE_ENTRIES + (Math.imul(low, SECOND_MULTIPLIER) >>> (32 - SECOND_ENTRIES_SHIFT));
    return memory.get(JUMP_CACHE + second * 16 + 4) === 0 ? second : first;
  }

  /** Forgets what linear addresses led to. @param page - linear page, −1 for all but global ones, −2 for all */
  forget(page: number): void {
    if (page === -2) {
      this.memory.u32.fill(0, JUMP_CACHE >> 2, (JUMP_CACHE >> 2) + (JUMP_CACHE_ENTRIES + SECOND_ENTRIES) * 4);
      this.global.clear();
      this.local.clear();
    } else if (page === -1) {
      for (const slots of this.local.values()) this.forgetSlots(slots);
      this.local.clear();
    } else {
      for (const lists of [this.global, this.local]) {
        const slots = lists.get(page);
        if (slots === undefined) continue;
        this.forgetSlots(slots);
        lists.delete(page);
      }
    }
  }

  private forgetSlots(slots: readonly number[]): void {
    for (const slot of slots) this.forgetSlot(slot);
  }

  private forgetSlot(slot: number): void {
    this.memory.set(JUMP_CACHE + slot * 16, 0);
    this.memory.set(JUMP_CACHE + slot * 16 + 4, 0);
  }

  /** A head has another handler: tells the entry for a linear address at which it was met. */
  handlerChanged(low: number, high: number, head: number): void {
    const { memory } = this;
    const entry = JUMP_CACHE + 16 * firstSlot(low, high);
    if (memory.get(entry + 8) === head) memory.set(entry + 12, memory.get(head + Op.handler));
  }
}

/** Number of the first entry for a linear address: as in lower/base-module.ts, address xor page. */
function firstSlot(low: number, high: number): number {
  return (low ^ ((low >>> 12) | (high << 20))) & (JUMP_CACHE_ENTRIES - 1);
}
