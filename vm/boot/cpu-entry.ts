/**
 * The states in which a boot CPU starts: real mode, 32-bit protected mode without paging, and 64-bit mode
 * with identity paging (Intel SDM volume 3A, 9.9.1 and 9.8.5; what each boot protocol asks for is in its
 * own file). Segment selectors are those of the Linux boot protocol, which suit the others too.
 */
import type { Gpa } from '../../devices/memory.ts';
import { HIGH_RAM_START, PAGE_SIZE } from '../layout.ts';
import {
  CR0,
  CR4,
  EFER,
  type EntryState,
  flatSegment,
  type GeneralRegisters,
  longCodeSegment,
  RFLAGS_RESERVED,
  realModeSegment,
  type Segment,
  taskSegment,
} from '../vcpu-state.ts';
import type { LoadPlan } from './load-plan.ts';
import { LowMemory } from './low-memory.ts';
import { StructWriter } from './struct-writer.ts';

/** Linux' __BOOT_CS and __BOOT_DS. */
const CODE_SELECTOR = 0x10;
const DATA_SELECTOR = 0x18;

/** Segment descriptors with base 0 and limit 4 GiB, present, accessed. SDM volume 3A, 3.4.5. */
const CODE_32_DESCRIPTOR = 0x00cf_9b00_0000_ffffn;
const CODE_64_DESCRIPTOR = 0x00af_9b00_0000_ffffn;
const DATA_DESCRIPTOR = 0x00cf_9300_0000_ffffn;

/** Page-table entry bits. SDM volume 3A, 4.5. */
const PRESENT_WRITABLE = 0x03;
const LARGE_PAGE = 0x80;
const LARGE_PAGE_SIZE = 2 * 1024 * 1024;
const ENTRIES = 512;

/** 32-bit protected mode, flat segments, no paging, interrupts off. @param registers - besides RIP and RFLAGS */
export function protectedModeEntry(
  plan: LoadPlan,
  entry: Gpa,
  registers: Partial<GeneralRegisters>,
): EntryState {
  return {
    registers: { ...registers, rip: BigInt(entry), rflags: RFLAGS_RESERVED },
    system: { ...planGdt(plan, CODE_32_DESCRIPTOR, flatSegment(CODE_SELECTOR, 0xb)), cr0: CR0.PE | CR0.ET },
  };
}

/** 64-bit mode, the first 4 GiB mapped to themselves, interrupts off. @param registers - besides RIP and RFLAGS */
export function longModeEntry(plan: LoadPlan, entry: Gpa, registers: Partial<GeneralRegisters>): EntryState {
  const { at } = LowMemory.pageTables;
  plan.put('the page tables', at, identityPageTables(at));
  return {
    registers: { ...registers, rip: BigInt(entry), rflags: RFLAGS_RESERVED },
    system: {
      ...planGdt(plan, CODE_64_DESCRIPTOR, longCodeSegment(CODE_SELECTOR)),
      cr0: CR0.PE | CR0.ET | CR0.PG,
      cr3: BigInt(at),
      cr4: CR4.PAE,
      efer: EFER.LME | EFER.LMA,
    },
  };
}

/** Real mode as after a BIOS. @param code - CS selector and IP. @param stack - SS selector and SP */
export function realModeEntry(
  code: { selector: number; offset: number },
  stack: { selector: number; offset: number },
  registers: Partial<GeneralRegisters>,
): EntryState {
  const data = realModeSegment(0, 0x3);
  return {
    registers: {
      ...registers,
      rip: BigInt(code.offset),
      rsp: BigInt(stack.offset),
      rflags: RFLAGS_RESERVED,
    },
    system: {
      cs: realModeSegment(code.selector, 0xb),
      ss: realModeSegment(stack.selector, 0x3),
      ds: data,
      es: data,
      fs: data,
      gs: data,
    },
  };
}

function planGdt(plan: LoadPlan, codeDescriptor: bigint, cs: Segment) {
  const gdt = new StructWriter().u64(0).u64(0).u64(codeDescriptor).u64(DATA_DESCRIPTOR).finish();
  plan.put('the GDT', LowMemory.gdt.at, gdt);
  const data = flatSegment(DATA_SELECTOR, 0x3);
  return {
    cs,
    ds: data,
    es: data,
    fs: data,
    gs: data,
    ss: data,
    // The task register can't be left unusable: VM entry refuses that. It is as after reset.
    tr: taskSegment(0, 0n, 0xffff),
    gdt: { base: BigInt(LowMemory.gdt.at), limit: gdt.length - 1 },
    idt: { base: 0n, limit: 0 },
  };
}

/** A PML4, a page-directory-pointer table and a page directory for each GiB, in 2 MiB pages. */
function identityPageTables(at: Gpa): Uint8Array {
  const directories = HIGH_RAM_START / (ENTRIES * LARGE_PAGE_SIZE);
  const pdpt = at + PAGE_SIZE;
  const firstDirectory = pdpt + PAGE_SIZE;
  const tables = new Uint8Array((2 + directories) * PAGE_SIZE);
  const view = new DataView(tables.buffer);
  const set = (table: Gpa, index: number, entry: number): void =>
    view.setBigUint64(table - at + 8 * index, BigInt(entry), true);
  set(at, 0, pdpt + PRESENT_WRITABLE);
  for (let i = 0; i < directories; i++) {
    set(pdpt, i, firstDirectory + i * PAGE_SIZE + PRESENT_WRITABLE);
  }
  for (let page = 0; page < directories * ENTRIES; page++) {
    set(firstDirectory, page, page * LARGE_PAGE_SIZE + PRESENT_WRITABLE + LARGE_PAGE);
  }
  return tables;
}
