/**
 * Decodes a few instructions of each kind before there is a guest. V8 compiles the decoder for what it has seen, which
 * is real-mode code at first: whatever comes later and is new throws that away, to be compiled again, ten milliseconds
 * each of four times in a boot of Linux. It takes 3 ms, in a thread that waits for its machine.
 */
import { Instruction } from './decode.ts';
import { ModeBit } from './layout.ts';

/** V8 keeps what it sees of a function's types once it has run eight times; the others are seen then. */
const ROUNDS = 12;

/** By code size: 64-bit, 32-bit, 16-bit. */
const INSTRUCTIONS: Readonly<Record<0 | 1 | 2, string>> = {
  2: `4889e5 8b4508 0fb6c0 66893c24 f30f6f4500 f20f1000 660f6fc1 0f3800c1 660f3a0fc108 e800000000 eb10 7410 0f8410000000
    c3 c20800 50 4150 b801000000 48b80100000000000000 b001 4488e0 88e0 8a2424 a1 66a1 678b00 648b042528000000 f0480fb10b
    f3a4 f248af 8b0500000000 8b048500000000 8b44b508 83c001 6683c001 81c001000000 6681c00100 c8000001 0f20c0 0f22d8 0f23f8
    8ed8 8cd8 d9c1 d8c2 f390 90 4190 0f05 0f01f8 0f0b cd80 d1e0 c1e005 c9 ff2500000000 0fc70f 0fa2 4863c1 d7 6a01
    66680100 6801000000 0f1800 2e8b00 d6 0f04 f089c0 06 660fd6c1 f30fb8c1 0f38f000 480fc7f0 440f20c0 f00fc00b 418b0424
    428b0420 4881ec00010000 48c7450001000000 66c745000100 c6450001 f348ab 6666662e0f1f840000000000 66662e6666662e6666662e6666662e90`,
  1: `89e5 8b4508 0fb6c0 66893c24 e800000000 eb10 7410 0f8410000000 c3 50 b801000000 88e0 a100000000 66a100000000 678b07
    67a10000 648b0500000000 f00fb10b f3a4 8b0500000000 8b048500000000 83c001 6681c00100 ea000000001000 66ea00001000
    9a000000001000 0f20c0 0f22d8 8ed8 1e 63c1 c8000001 d9c1 d6 268b00 3e8b00 40 60 61 cf cd80 66680100 0fa2 c5f8`,
  0: `89e5 8b07 8b4701 8b870100 8b060010 8b4600 668b07 67668b00 66b801000000 b80100 e80000 eb10 7410 0f841000 c3 50 a10000
    ea00001000 66ea000000001000 0f20c0 0f22d8 8ed8 26a10000 f3a4 f366a5 cd10 cf 6681c001000000 81c00100 83c001 0f01e0 d6`,
};

export function warmUp(): void {
  const instruction = new Instruction();
  const bytes = new Uint8Array(32);
  const samples = ([2, 1, 0] as const).flatMap((codeSize) =>
    INSTRUCTIONS[codeSize]
      .split(/\s+/)
      .map((hex) => ({ mode: codeSize | ModeBit.stack32, code: Buffer.from(hex, 'hex') })),
  );
  for (let round = 0; round < ROUNDS; round++)
    for (const { mode, code } of samples) {
      bytes.fill(0);
      bytes.set(code);
      instruction.decode(bytes, 0, bytes.length, mode);
    }
}
