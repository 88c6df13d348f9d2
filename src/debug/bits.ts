/**
 * Names of the bits of the processor's own registers and tables (SDM volume 3A, 2.3, 2.5, 3.4.5, 4.5; volume 1,
 * 3.4.3, 8.1, 10.2.3).
 */
import { type BitField, bitNames, describeBits } from '../../devices/registers.ts';

export const RFLAGS_BITS = bitNames('CF - PF - AF - ZF SF TF IF DF OF IOPL:2 NT - RF VM AC VIF VIP ID');
export const CR0_BITS = bitNames('PE MP EM TS ET NE -:10 WP - AM -:10 NW CD PG');
export const CR4_BITS = bitNames(
  'VME PVI TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT UMIP LA57 VMXE SMXE - FSGSBASE PCIDE OSXSAVE KL SMEP SMAP PKE CET PKS',
);
export const EFER_BITS = bitNames('SCE -:7 LME - LMA NXE SVME - FFXSR');
export const MXCSR_BITS = bitNames('IE DE ZE OE UE PE DAZ IM DM ZM OM UM PM RC:2 FZ');
export const FPU_STATUS_BITS = bitNames('IE DE ZE OE UE PE SF ES C0 C1 C2 TOP:3 C3 B');

/** Of every entry of a page table but the flags that only pages have. */
const TABLE_ENTRY_BITS = bitNames('P R/W U/S PWT PCD A');
const PAGE_ENTRY_BITS = bitNames('P R/W U/S PWT PCD A D PAT G');
const LARGE_ENTRY_BITS = bitNames('P R/W U/S PWT PCD A D PS G -:3 PAT');
const XD = 1n << 63n;

/** Names of an entry's set bits. @param bits - large: a page above the lowest level */
export function describePageEntry(entry: bigint, kind: 'table' | 'page' | 'large'): string {
  const fields: readonly BitField[] =
    kind === 'table' ? TABLE_ENTRY_BITS : kind === 'page' ? PAGE_ENTRY_BITS : LARGE_ENTRY_BITS;
  const low = describeBits(Number(entry & 0x1fffn), fields);
  return (entry & XD) !== 0n ? `${low} XD` : low;
}

/** Names of a register's set bits. */
export function describeRegister(value: bigint, fields: readonly BitField[]): string {
  return describeBits(Number(BigInt.asUintN(53, value)), fields) || 'none set';
}
