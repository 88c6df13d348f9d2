/**
 * Page tables as a debugger walks them: from a linear address to a physical one, level by level, without
 * setting accessed bits and whatever the rights. SDM volume 3A, chapter 4.
 */
import type { Gpa, GuestMemory } from '../../devices/memory.ts';
import type { SystemRegisters } from '../vcpu-state.ts';

/** What the walk depends on. */
export type PagingRegisters = Pick<SystemRegisters, 'cr0' | 'cr3' | 'cr4' | 'efer'>;

/** Table 4-1. */
export type PagingMode = 'none' | '32-bit' | 'PAE' | '4-level' | '5-level';

/** One level of a walk. */
export interface PageWalkStep {
  /** `PML4E`, `PDE` and so on. */
  readonly name: string;
  /** Where the table is. */
  readonly table: Gpa;
  /** Which of its entries. */
  readonly index: number;
  /** The entry; undefined where the table is outside RAM. */
  readonly entry: bigint | undefined;
  /** Bytes of an entry. */
  readonly size: 4 | 8;
  /** Whether it maps a page rather than another table. */
  readonly isPage: boolean;
}

/** A walk from CR3 down. */
export interface PageWalk {
  readonly mode: PagingMode;
  readonly steps: readonly PageWalkStep[];
  /** Where the address leads to; undefined when it is not mapped. */
  readonly gpa: Gpa | undefined;
  /** Bytes of the page. */
  readonly pageSize: number;
}

const CR0_PG = 1n << 31n;
const CR4_PSE = 1n << 4n;
const CR4_PAE = 1n << 5n;
const CR4_LA57 = 1n << 12n;
const EFER_LMA = 1n << 10n;
const PRESENT = 1n;
const PAGE_SIZE_BIT = 1n << 7n;
/** Bits 12 to 51. */
const ADDRESS = 0xf_ffff_ffff_f000n;

const LONG_LEVELS = ['PML5E', 'PML4E', 'PDPTE', 'PDE', 'PTE'] as const;
const PAE_LEVELS = ['PDPTE', 'PDE', 'PTE'] as const;

export function pagingMode(registers: PagingRegisters): PagingMode {
  if ((registers.cr0 & CR0_PG) === 0n) return 'none';
  if ((registers.cr4 & CR4_PAE) === 0n) return '32-bit';
  if ((registers.efer & EFER_LMA) === 0n) return 'PAE';
  return (registers.cr4 & CR4_LA57) === 0n ? '4-level' : '5-level';
}

/** Walks to where a linear address leads. */
export function walkPages(memory: GuestMemory, registers: PagingRegisters, linear: bigint): PageWalk {
  const mode = pagingMode(registers);
  if (mode === 'none') return { mode, steps: [], gpa: Number(BigInt.asUintN(32, linear)), pageSize: 4096 };
  if (mode === '32-bit') return walk32(memory, registers, BigInt.asUintN(32, linear));
  const address = mode === 'PAE' ? BigInt.asUintN(32, linear) : linear;
  const levels = mode === 'PAE' ? PAE_LEVELS : mode === '4-level' ? LONG_LEVELS.slice(1) : LONG_LEVELS;
  const steps: PageWalkStep[] = [];
  let table = Number(registers.cr3 & (mode === 'PAE' ? 0xffff_ffe0n : ADDRESS));
  for (const [i, name] of levels.entries()) {
    const shift = 12 + 9 * (levels.length - 1 - i);
    const index = Number((address >> BigInt(shift)) & 0x1ffn);
    const entry = read(memory, table + 8 * index, 8);
    const mayBeLarge = shift === 21 || (shift === 30 && mode !== 'PAE');
    const isPage = shift === 12 || (mayBeLarge && entry !== undefined && (entry & PAGE_SIZE_BIT) !== 0n);
    steps.push({ name, table, index, entry, size: 8, isPage });
    if (entry === undefined || (entry & PRESENT) === 0n) break;
    if (isPage) return mapped(mode, steps, entry & ADDRESS, shift, address);
    table = Number(entry & ADDRESS);
  }
  return { mode, steps, gpa: undefined, pageSize: 0 };
}

function walk32(memory: GuestMemory, { cr3, cr4 }: PagingRegisters, address: bigint): PageWalk {
  const mode = '32-bit';
  const steps: PageWalkStep[] = [];
  const pdIndex = Number(address >> 22n);
  const pdTable = Number(cr3 & 0xffff_f000n);
  const pde = read(memory, pdTable + 4 * pdIndex, 4);
  const isLarge = pde !== undefined && (pde & PAGE_SIZE_BIT) !== 0n && (cr4 & CR4_PSE) !== 0n;
  steps.push({ name: 'PDE', table: pdTable, index: pdIndex, entry: pde, size: 4, isPage: isLarge });
  if (pde === undefined || (pde & PRESENT) === 0n) return { mode, steps, gpa: undefined, pageSize: 0 };
  // PSE-36: bits 13 to 20 are bits 32 to 39 of the page's address. 4.3
  if (isLarge)
    return mapped(mode, steps, (pde & 0xffc0_0000n) | (((pde >> 13n) & 0xffn) << 32n), 22, address);
  const table = Number(pde & 0xffff_f000n);
  const index = Number((address >> 12n) & 0x3ffn);
  const entry = read(memory, table + 4 * index, 4);
  steps.push({ name: 'PTE', table, index, entry, size: 4, isPage: true });
  if (entry === undefined || (entry & PRESENT) === 0n) return { mode, steps, gpa: undefined, pageSize: 0 };
  return mapped(mode, steps, entry & 0xffff_f000n, 12, address);
}

function mapped(
  mode: PagingMode,
  steps: readonly PageWalkStep[],
  page: bigint,
  shift: number,
  address: bigint,
): PageWalk {
  const mask = (1n << BigInt(shift)) - 1n;
  return { mode, steps, gpa: Number((page & ~mask) | (address & mask)), pageSize: 2 ** shift };
}

function read(memory: GuestMemory, gpa: Gpa, size: 4 | 8): bigint | undefined {
  if (!memory.contains(gpa, size)) return undefined;
  return size === 4 ? BigInt(memory.readU32(gpa)) : memory.readU64(gpa);
}
