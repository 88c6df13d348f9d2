/**
 * Why a guest can't be loaded. Thrown before anything of the guest runs, and before anything is written
 * to its memory.
 */
import { Type2Error } from '../../devices/errors.ts';

/** What is wrong with a guest's files, for programs. */
export type BootErrorCode =
  /** The file isn't what the boot protocol asks for, or contradicts itself. */
  | 'KERNEL_FORMAT'
  /** The file ends before something that it promises. */
  | 'KERNEL_TRUNCATED'
  /** The kernel speaks an older boot protocol than the VMM. */
  | 'KERNEL_TOO_OLD'
  /** The kernel wants to be where it can't be, however much memory the guest has. */
  | 'KERNEL_PLACE'
  | 'INITRD_TOO_LARGE'
  /** Too long for the kernel, or with a NUL in it. */
  | 'COMMAND_LINE'
  /** More memory would help; the hint says how much. */
  | 'NOT_ENOUGH_MEMORY';

/** The guest's files can't make a running guest. */
export class BootError extends Type2Error {
  /** `BootError`. */
  override readonly name = 'BootError';
  declare readonly code: BootErrorCode;

  /** The message is one line for the user, the hint a sentence on what to do. */
  constructor(code: BootErrorCode, message: string, hint?: string) {
    super(code, message, hint === undefined ? {} : { hint });
  }
}
