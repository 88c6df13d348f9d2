/**
 * The memory of a machine in which cases run: page tables, descriptor tables, and the pages that records.ts
 * describes, as an operating system would set them up (SDM vol. 3, 3.4.5, 4.5, 6.10, 7.2).
 *
 * All of it is written once. The first 2 MiB of RAM are the kernel's, mapped at `kernelBase` for CPL 0 only;
 * cases see nothing but code, data and the read-only page.
 */
import { GDT, Layout, LDT } from './records.ts';

/** `long`: four levels, as for a 64-bit kernel. `legacy`: three levels (PAE), as for a 32-bit one. */
export type Paging = 'long' | 'legacy';

export const RAM_SIZE = 0x40_0000;

/** Guest-physical addresses. */
export const Physical = {
  pml4: 0x1000,
  /** The four entries that PAE paging has. */
  pdptPae: 0x2000,
  pdptUser: 0x3000,
  pdptKernel: 0x4000,
  directoryUser: 0x5000,
  directoryKernel: 0x6000,
  tableData: 0x7000,
  tableCode: 0x8000,
  gdt: 0x1_0000,
  ldt: 0x1_1000,
  idt: 0x1_2000,
  tss: 0x1_3000,
  stackTop: 0x1_8000,
  /** Where the IDT's gates lead: 16 bytes a vector. */
  gates: 0x2_0000,
  /** Entries of SYSCALL from 64-bit code, from other code, and of SYSENTER. */
  systemCalls: 0x2_1000,
  code: 0x20_0000,
  data: 0x21_0000,
  readonly: 0x21_2000,
} as const;

/** Selectors that only the kernel uses. */
export const Selector = {
  kernelCode32: 0x08,
  kernelCode64: 0x10,
  kernelData: 0x18,
  tss: 0x40,
  ldt: 0x50,
} as const;
/** Byte limits of tables and task-state segment: no I/O bitmap lies within the latter. */
export const GDT_LIMIT = 0x7f;
export const LDT_LIMIT = LDT.length * 8 - 1;
export const TSS_LIMIT = 0x67;

/** Where the kernel's 2 MiB are mapped. */
export function kernelBase(paging: Paging): bigint {
  return paging === 'long' ? 0xffff_8000_0000_0000n : 0xc000_0000n;
}

/** Vectors that INT n may raise from CPL 3, as in Linux. */
const OPEN_VECTORS = [3, 4, 0x80];

const PRESENT = 1n;
const WRITABLE = 2n;
const USER = 4n;
const LARGE = 0x80n;
const GLOBAL = 0x100n;
const NO_EXECUTE = 1n << 63n;

/** Maps a physical page as the first page of code. */
export function mapCode(ram: Uint8Array, physical: number): void {
  const view = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
  view.setUint32(Physical.tableCode, physical | Number(PRESENT | USER), true);
}

/** Writes all of it into `ram`, which is zero. */
export function buildAddressSpace(ram: Uint8Array, paging: Paging): void {
  const view = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
  const entry = (at: number, value: bigint): void => view.setBigUint64(at, value, true);
  const table = (physical: number): bigint => BigInt(physical) | PRESENT | WRITABLE | USER;

  entry(Physical.pml4, table(Physical.pdptUser));
  entry(Physical.pml4 + 8 * 256, table(Physical.pdptKernel));
  entry(Physical.pdptUser, table(Physical.directoryUser));
  entry(Physical.pdptKernel, table(Physical.directoryKernel));
  entry(Physical.pdptPae, BigInt(Physical.directoryUser) | PRESENT);
  entry(Physical.pdptPae + 8 * 3, BigInt(Physical.directoryKernel) | PRESENT);
  entry(Physical.directoryKernel, PRESENT | WRITABLE | LARGE | GLOBAL);
  entry(Physical.directoryUser + 8 * (Layout.dataBase / 0x20_0000), table(Physical.tableData));
  entry(Physical.directoryUser + 8 * (Layout.codeBase / 0x20_0000), table(Physical.tableCode));

  const pages = (from: number, linear: number, physical: number, size: number, rights: bigint): void => {
    for (let i = 0; i < size; i += 0x1000) {
      const index = ((linear + i) >>> 12) & 0x1ff;
      entry(from + 8 * index, BigInt(physical + i) | PRESENT | USER | rights);
    }
  };
  pages(Physical.tableCode, Layout.codeBase, Physical.code, Layout.codeSize, 0n);
  pages(Physical.tableData, Layout.dataBase, Physical.data, Layout.dataSize, WRITABLE | NO_EXECUTE);
  pages(Physical.tableData, Layout.readonlyBase, Physical.readonly, Layout.readonlySize, NO_EXECUTE);

  GDT.forEach((descriptor, i) => {
    entry(Physical.gdt + 8 * i, descriptor);
  });
  LDT.forEach((descriptor, i) => {
    entry(Physical.ldt + 8 * i, descriptor);
  });
  // The segment whose limit tells Linux's processes which CPU they run on: read-only, expand-down.
  entry(Physical.gdt + 8 * 15, (0x0040_f500n << 32n) | 0n);
  const base = kernelBase(paging);
  const stack = base + BigInt(Physical.stackTop);
  if (paging === 'long') entry(Physical.tss + 4, stack);
  else {
    view.setUint32(Physical.tss + 4, Number(stack), true);
    view.setUint16(Physical.tss + 8, Selector.kernelData, true);
  }
  // The I/O bitmap lies beyond the segment's limit: there is none.
  view.setUint16(Physical.tss + 102, TSS_LIMIT + 1, true);
  for (let vector = 0; vector < 256; vector++) {
    const target = base + BigInt(Physical.gates + 16 * vector);
    const dpl = OPEN_VECTORS.includes(vector) ? 3n : 0n;
    const selector = BigInt(paging === 'long' ? Selector.kernelCode64 : Selector.kernelCode32);
    const gate =
      (target & 0xffffn) |
      (selector << 16n) |
      ((0x8e00n | (dpl << 13n)) << 32n) |
      (((target >> 16n) & 0xffffn) << 48n);
    const at = Physical.idt + (paging === 'long' ? 16 : 8) * vector;
    entry(at, gate);
    if (paging === 'long') entry(at + 8, target >> 32n);
  }
  // Never executed; breakpoints, should it happen.
  ram.fill(0xcc, Physical.gates, Physical.gates + 0x2000);
  ram.fill(0xcc, Physical.code, Physical.code + Layout.codeSize);
}
