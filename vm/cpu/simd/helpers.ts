/**
 * What MMX and SSE instructions have TypeScript do. Importing this puts it among the CPU's helpers.
 */
import { State } from '../layout.ts';
import { addHelpers, type HelperFunction } from '../system/helpers.ts';
import { floatOperation } from './float-helper.ts';
import { compareStrings } from './strings.ts';

/**
 * MASKMOVQ and MASKMOVDQU: bytes of the scratch area whose bit is set in the mask after them go to State.ea.
 * All of the operand must be writable, even where nothing is written.
 */
const maskmov: HelperFunction = ({ memory, mmu }, bytes) => {
  const mask = memory.get(State.scratch + 16);
  const low = memory.get(State.ea);
  const high = memory.get(State.ea + 4);
  mmu.checkWritable(low, high, bytes);
  for (let i = 0; i < bytes; i++) {
    if ((mask & (1 << i)) === 0) continue;
    const at = (low >>> 0) + i;
    mmu.write(at | 0, at > 0xffff_ffff ? (high + 1) | 0 : high, 1, State.scratch + i);
  }
};

addHelpers({
  maskmov,
  simdFloat: ({ memory }, request) => floatOperation(memory, request),
  compareStrings: ({ memory }) => compareStrings(memory),
});
