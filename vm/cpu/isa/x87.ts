/**
 * x87 instructions: their encodings. SDM volume 2, appendix A.5 (escape opcodes). What they do is in
 * ../fpu/x87.ts; the argument of the helper is the opcode's low three bits, ModRM.reg, and whether it is a
 * register form.
 */
import type { Builder } from '../ir/builder.ts';
import { State } from '../layout.ts';
import { Helper } from './helpers.ts';
import { define } from './table.ts';

/** Bytes that each memory form accesses, by opcode and ModRM.reg; negative for stores. 14 stands for an environment. */
const MEMORY: readonly (readonly number[])[] = [
  [4, 4, 4, 4, 4, 4, 4, 4],
  [4, 0, -4, -4, 14, 2, -14, -2],
  [4, 4, 4, 4, 4, 4, 4, 4],
  [4, -4, -4, -4, 0, 10, 0, -10],
  [8, 8, 8, 8, 8, 8, 8, 8],
  [8, -8, -8, -8, 94, 0, -94, -2],
  [2, 2, 2, 2, 2, 2, 2, 2],
  [2, -2, -2, -2, 10, 8, -10, -8],
];

/** Which form of an x87 instruction a helper's argument means. */
export const X87Form = { register: 0x80 } as const;

MEMORY.forEach((row, opcode) => {
  const hex = (0xd8 + opcode).toString(16);
  row.forEach((bytes, reg) => {
    if (bytes !== 0) {
      define(
        `${hex} /${reg}`,
        `x87 ${hex}/${reg}`,
        'M',
        (b: Builder) => {
          const length =
            Math.abs(bytes) === 14
              ? b.size === 16
                ? 14
                : 28
              : Math.abs(bytes) === 94
                ? b.size === 16
                  ? 94
                  : 108
                : Math.abs(bytes);
          b.setField(State.ea, 8, b.extendU(b.address(length, bytes < 0)));
          b.helper(Helper.x87, opcode | (reg << 3) | (b.size << 8));
        },
        { memoryOnly: true },
      );
    }
    define(
      `${hex} /${reg}`,
      `x87 ${hex}/${reg}`,
      'T',
      (b: Builder) => {
        b.helper(Helper.x87, opcode | (reg << 3) | X87Form.register | (b.size << 8));
      },
      { registerOnly: true },
    );
  });
});
