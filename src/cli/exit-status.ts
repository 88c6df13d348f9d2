/**
 * Exit statuses of `type2 run`, as its help and the README list them.
 */
import type { Outcome } from '../../vm/outcome.ts';

export const ExitStatus = {
  ok: 0,
  vmmError: 1,
  usage: 2,
  guestPanic: 3,
  tripleFault: 4,
  guestReset: 5,
  timeout: 124,
  interrupted: 130,
} as const;

/** Lines of the help text. */
export const EXIT_STATUS_HELP = `Exit status:
  0    the guest switched itself off or halted for good, or you left with Ctrl-A x
  1    an error of Type2 or of the host
  2    wrong usage or configuration; nothing was started
  3    the guest's kernel panicked
  4    the guest caused a triple fault
  5    the guest asked for a reset, with --no-reboot
  124  the time of --timeout was up
  130  interrupted by a signal
  (v<<1)|1  with --debug-exit: the guest wrote v to port 0xf4`;

/** The status that a run's outcome gives. */
export function exitStatus(outcome: Outcome): number {
  switch (outcome.kind) {
    case 'power-off':
    case 'halted':
    case 'stopped':
      return ExitStatus.ok;
    case 'debug-exit':
      // The process's status has eight bits.
      return (((outcome.value ?? 0) << 1) | 1) & 0xff;
    case 'panic':
      return ExitStatus.guestPanic;
    case 'triple-fault':
      return ExitStatus.tripleFault;
    case 'reset':
      return ExitStatus.guestReset;
    case 'timeout':
      return ExitStatus.timeout;
    default:
      return ExitStatus.vmmError;
  }
}
