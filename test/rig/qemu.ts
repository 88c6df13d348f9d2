/**
 * Boots the rig under QEMU's TCG, which emulates AMD's SVM, and passes on what it prints.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { DebianKernel } from './debian.ts';
import { EVENT_MARK, type TestEvent } from './reporter.ts';
import { RigError } from './tools.ts';

/** The rig's first process prints this and the exit status of what it ran. */
export const END_MARK = 'type2-rig-status';
const MEMORY_MIB = 3072;
/**
 * Guests run on CPU 1, and none on CPU 0, which isolcpus= keeps programs off. Under TCG every CPU that
 * loads x87 state (FXRSTOR, XRSTOR, FLDENV) writes to hflags2 of the first CPU, without a lock: QEMU's
 * cpu_clear_ignne(), to this day. Now and then that undoes what the first CPU itself writes there, and a
 * #VMEXIT then goes on in guest mode: KVM finds its own registers in the guest's VMCB, and the guest stands
 * still. Seen about once in forty boots. More CPUs would make it quicker, and the races below likelier.
 */
const CPUS = '2';
const OFF_CPU_0 = 'isolcpus=0';
/**
 * VMRUN changes interrupt_request without a lock (helper_vmrun(), up to QEMU 10.1), and an interrupt of a device or of
 * another CPU may be lost. When that is the timer's, whose next shot it would have set, timers on that CPU are dead.
 * A timer that is periodic goes on.
 */
const PERIODIC_TIMER = 'nohz=off highres=off';

/**
 * Seconds without a line after which nothing more is to be expected: a test waits so long for its guests or sessions
 * (PATIENCE_S in suite/support.ts), and takes four seconds mostly. Seen now and then, in the middle of any test: CPUs
 * were busy, and no time-out inside came.
 */
const SILENCE_S = 200;

/** A boot that came to no end: whatever ran has not been judged. */
export class RigStandsStill extends RigError {}

/** One boot of the rig. */
export interface RigBoot {
  readonly kernel: DebianKernel;
  readonly initramfs: string;
  /** Seconds, after which QEMU is killed. */
  readonly timeout: number;
  /** Connect this terminal, instead of reading line by line. */
  readonly interactive: boolean;
  /** Gets the suite's events; all other lines are printed. */
  onEvent(event: TestEvent): void;
}

/**
 * @returns the status that the rig's first process printed
 * @throws RigError when the time was up; RigStandsStill when it went silent, or ended without a status
 */
export function bootRig({ kernel, initramfs, timeout, interactive, onEvent }: RigBoot): Promise<number> {
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      ...['-M', 'q35', '-accel', 'tcg,thread=multi', '-smp', CPUS, '-cpu', 'max', '-m', String(MEMORY_MIB)],
      ...['-display', 'none', '-monitor', 'none', '-serial', 'stdio', '-no-reboot', '-nic', 'none'],
      ...['-kernel', kernel.vmlinuz, '-initrd', initramfs],
      '-append',
      // Nothing of the kernel's but what is critical is to come in between the suite's lines.
      `console=ttyS0 loglevel=3 panic=-1 mitigations=off tsc=reliable clocksource=tsc ${OFF_CPU_0} ${PERIODIC_TIMER}`,
    ],
    { stdio: interactive ? 'inherit' : ['ignore', 'pipe', 'inherit'] },
  );
  let status: number | undefined;
  let heard = performance.now();
  if (qemu.stdout !== null) {
    createInterface({ input: qemu.stdout }).on('line', (line) => {
      heard = performance.now();
      const end = line.indexOf(END_MARK);
      const event = eventIn(line);
      if (end >= 0) status = Number(line.slice(end + END_MARK.length).trim());
      else if (event !== undefined) onEvent(event);
      else process.stdout.write(`${line.trimEnd()}\n`);
    });
  }
  return new Promise((resolve, reject) => {
    const giveUp = (error: RigError): void => {
      qemu.kill('SIGKILL');
      reject(error);
    };
    const timer = setTimeout(
      () => giveUp(new RigError(`the rig did not end within ${timeout} s`)),
      timeout * 1000,
    );
    const watch = setInterval(() => {
      if (!interactive && performance.now() - heard > SILENCE_S * 1000)
        giveUp(new RigStandsStill(`the rig has said nothing for ${SILENCE_S} s`));
    }, 1000);
    qemu.once('error', reject);
    qemu.once('close', () => {
      clearTimeout(timer);
      clearInterval(watch);
      if (status !== undefined || interactive) resolve(status ?? 0);
      else reject(new RigStandsStill('the rig ended without saying how: its kernel may have panicked'));
    });
  });
}

/** The event that a line tells of; undefined for none, or when the kernel has written into the middle of it. */
function eventIn(line: string): TestEvent | undefined {
  const at = line.indexOf(EVENT_MARK);
  if (at < 0) return undefined;
  try {
    return JSON.parse(line.slice(at + EVENT_MARK.length)) as TestEvent;
  } catch {
    return undefined;
  }
}
