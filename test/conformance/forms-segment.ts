/**
 * Segment registers and far transfers, between the modes too: a far jump from 64-bit code to a 16-bit segment is
 * one case (SDM vol. 3, 5.8). The descriptors are those of `GDT` and `LDT` in records.ts. What the hidden part of
 * a segment register became isn't seen, its selector is.
 */
import type { CaseBuilder } from './builder.ts';
import { type Form, table } from './forms.ts';
import { manyStores, stack } from './hooks.ts';
import { Flag, Layout, type Mode } from './records.ts';

const NOT_64: readonly Mode[] = [32, 16];

const CODE_SELECTORS = [0x23, 0x33, 0x07] as const;
const DATA_SELECTORS = [0x2b, 0x0f, 0x17, 0x1f, 0x27, 0x2f] as const;
/** Null, kernel segments, outside the LDT, and RPLs that don't fit. */
const OTHER_SELECTORS = [0, 0, 3, 0x10, 0x18, 0x37, 0x28, 0x0c, 0x20, 0x04] as const;

function dataSelector(b: CaseBuilder): number {
  const roll = b.random.below(100);
  return b.random.pick(roll < 70 ? DATA_SELECTORS : roll < 85 ? CODE_SELECTORS : OTHER_SELECTORS);
}

/**
 * Not from 16-bit code by CALL into 64-bit code: that pushes at an RSP whose upper half is left over from the
 * kernel, and Linux takes the page fault for AMD's erratum 100 and tries again for ever.
 */
function codeSelector(b: CaseBuilder): number {
  const roll = b.random.below(100);
  const selector = b.random.pick(roll < 84 ? CODE_SELECTORS : roll < 92 ? DATA_SELECTORS : OTHER_SELECTORS);
  return selector === 0x33 && b.mode === 16 && b.form.mnemonic === 'call far' ? 0x07 : selector;
}

/** An offset that fits the code segment: the region of INT3. */
function farOffset(b: CaseBuilder, selector: number): bigint {
  const offset = Layout.codeStart + 32 + b.random.below(0x4000);
  return BigInt((selector & ~3) === 0x04 ? offset : Layout.codeBase + offset);
}

function selectorOperand(b: CaseBuilder): void {
  b.setOperand(BigInt(dataSelector(b)), 16);
}

function selectorOnStack(b: CaseBuilder): void {
  b.poke(b.stackAddress(), BigInt(dataSelector(b)), 16);
}

/** LDS and kin: an offset of the operand size, then a selector. */
function farPointer(b: CaseBuilder): void {
  if (b.memory !== undefined) b.poke(Number(b.memory) + b.operandSize / 8, BigInt(dataSelector(b)), 16);
}

function farMemoryTarget(b: CaseBuilder): void {
  manyStores(b);
  if (b.memory === undefined) return;
  const selector = codeSelector(b);
  b.poke(b.memory, farOffset(b, selector), b.operandSize);
  b.poke(Number(b.memory) + b.operandSize / 8, BigInt(selector), 16);
}

function farImmediateTarget(b: CaseBuilder): void {
  manyStores(b);
  const selector = codeSelector(b);
  b.immediates[0] = Number(farOffset(b, selector));
  b.immediates[1] = selector;
}

/** RETF: offset and selector on the stack, in slots of the operand size. */
function farReturn(b: CaseBuilder): void {
  b.case.leeway.anyPage = true;
  const top = Number(b.stackAddress());
  const selector = codeSelector(b);
  b.poke(top, farOffset(b, selector), b.operandSize);
  b.poke(top + b.operandSize / 8, BigInt(selector), 16);
}

/** IRET: flags on top of that; in 64-bit mode always stack pointer and SS as well. */
function interruptReturn(b: CaseBuilder): void {
  farReturn(b);
  const top = Number(b.stackAddress());
  const slot = b.operandSize / 8;
  const flags = b.peek(top + 2 * slot, b.operandSize) & ~BigInt(Flag.TF);
  b.poke(top + 2 * slot, flags, b.operandSize);
  if (b.mode !== 64) return;
  b.poke(top + 3 * slot, BigInt(Layout.middleBase + 64), b.operandSize);
  b.poke(top + 4 * slot, BigInt(dataSelector(b)), 16);
}

/** LAR, LSL, VERR, VERW: any of them, in a register or in memory. */
function anySelector(b: CaseBuilder): void {
  const selector = b.random.chance(50) ? dataSelector(b) : codeSelector(b);
  b.setOperand(BigInt(selector), 16);
  // Some AMD processors execute LOCK VERW.
  b.mayLock = b.form.mnemonic !== 'verw';
}

const segment = table('segment', { sized: true }, [
  ['mov', '8C/0 8C/1 8C/2 8C/3 8C/4 8C/5 8C/6'],
  ['mov', '8E/0 8E/1 8E/2 8E/3 8E/4 8E/5', { after: selectorOperand }],
  ['push', '06 0E 16 1E', { modes: NOT_64, before: stack }],
  ['push', '0FA0 0FA8', { before: stack }],
  ['pop', '07 17 1F', { modes: NOT_64, before: stack, after: selectorOnStack }],
  ['pop', '0FA1 0FA9', { before: stack, after: selectorOnStack }],
  ['les', 'C4/rm', { modes: NOT_64, after: farPointer }],
  ['lds', 'C5/rm', { modes: NOT_64, after: farPointer }],
  ['lss', '0FB2/rm', { after: farPointer }],
  ['lfs', '0FB4/rm', { after: farPointer }],
  ['lgs', '0FB5/rm', { after: farPointer }],
  ['lar', '0F02/r', { after: anySelector }],
  ['lsl', '0F03/r', { after: anySelector }],
  ['verr', '0F00/4', { after: anySelector }],
  ['verw', '0F00/5', { after: anySelector }],
]);

const far = table('far', { sized: true }, [
  ['jmp far', 'EA.iz.iw', { modes: NOT_64, after: farImmediateTarget }],
  ['call far', '9A.iz.iw', { modes: NOT_64, before: stack, after: farImmediateTarget }],
  ['jmp far', 'FF/5m', { after: farMemoryTarget }],
  ['call far', 'FF/3m', { before: stack, after: farMemoryTarget }],
  ['ret far', 'CB CA.iw', { before: stack, after: farReturn }],
  ['iret', 'CF', { before: stack, after: interruptReturn }],
]);

export const SEGMENT_FORMS: readonly Form[] = [...segment, ...far];
