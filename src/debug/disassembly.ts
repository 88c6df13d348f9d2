/**
 * Disassembly, by iced-x86: what instructions look like, and where they end and lead.
 */
import { Decoder, DecoderOptions, FlowControl, Formatter, FormatterSyntax, Mnemonic } from 'iced-x86';
import { hex } from '../../vm/trace/text.ts';
import type { Symbols } from './symbols.ts';

/** One instruction. */
export interface Disassembled {
  readonly address: bigint;
  readonly length: number;
  readonly bytes: string;
  readonly text: string;
  /** Whether stepping over it means more than one step: calls, interrupts, repeated string instructions. */
  readonly comesBack: boolean;
}

/** Decodes up to so many instructions. @param bits - of the code */
export function disassemble(
  bytes: Uint8Array,
  address: bigint,
  bits: 16 | 32 | 64,
  count: number,
  symbols: Symbols,
): Disassembled[] {
  const decoder = new Decoder(bits, bytes, DecoderOptions.None);
  const formatter = new Formatter(FormatterSyntax.Intel);
  formatter.hexPrefix = '0x';
  formatter.hexSuffix = '';
  formatter.spaceAfterOperandSeparator = true;
  decoder.ip = address;
  const found: Disassembled[] = [];
  let at = 0;
  while (found.length < count && at < bytes.length) {
    const instruction = decoder.decode();
    const { length } = instruction;
    const isCut = instruction.isInvalid && at + length >= bytes.length;
    if (!isCut && length > 0) {
      const flow = instruction.flowControl;
      const target = instruction.nearBranchTarget;
      const symbol = target === 0n ? undefined : symbols.describe(target);
      const text = instruction.isInvalid ? '(bad)' : formatter.format(instruction).toLowerCase();
      found.push({
        address: address + BigInt(at),
        length,
        bytes: Buffer.from(bytes.subarray(at, at + length)).toString('hex'),
        text: symbol === undefined ? text : `${text}  <${symbol}>`,
        comesBack:
          flow === FlowControl.Call ||
          flow === FlowControl.IndirectCall ||
          instruction.mnemonic === Mnemonic.Int ||
          instruction.hasRepPrefix ||
          instruction.hasRepnePrefix,
      });
    }
    at += length;
    instruction.free();
    if (isCut || length === 0) break;
  }
  decoder.free();
  formatter.free();
  return found;
}

/** A line: where, the bytes, what. */
export function formatInstruction(instruction: Disassembled, isCurrent: boolean): string {
  const { address, bytes, text } = instruction;
  return `${isCurrent ? '=>' : '  '} ${hex(address).padEnd(18)} ${bytes.padEnd(20)} ${text}`;
}
