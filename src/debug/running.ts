/**
 * Commands that let the machine run, and say where it stops.
 */
import { ConfigError } from '../../devices/errors.ts';
import { hex } from '../../vm/trace/text.ts';
import { MpState } from '../../vm/vcpu-state.ts';
import {
  count,
  type DebugCommand,
  type DebugContext,
  evaluate,
  type ListedBreakpoint,
  place,
} from './context.ts';

const STEPS_MAXIMUM = 1_000_000;

export const RUNNING_COMMANDS: readonly DebugCommand[] = [
  {
    names: ['continue', 'c'],
    usage: '',
    summary: 'run until something stops the guest; Ctrl-C does',
    run: (context) => passCurrent(context, () => context.go(() => context.debugger.resume())),
  },
  {
    names: ['step', 's'],
    usage: '[n]',
    summary: 'do one instruction, or n, on this vCPU alone and without interrupts',
    run: async (context, [times]) => {
      mustRun(context);
      for (let n = count(times, 1, STEPS_MAXIMUM); n > 0 && !context.debugger.machine.hasEnded; n--)
        await context.go(() => context.debugger.step(context.vcpu));
    },
  },
  {
    names: ['back'],
    usage: '[n]',
    summary:
      'undo an instruction, or n, of a run with --deterministic (not what disks hold, nor what was read)',
    run: (context, [times]) => context.go(() => context.debugger.back(count(times, 1, 1e12))),
  },
  {
    names: ['next', 'n'],
    usage: '',
    summary: 'as step, but over calls, interrupts and repeated string instructions',
    run: async (context) => {
      mustRun(context);
      const pc = context.debugger.linearPc(context.vcpu);
      const [instruction] = context.disassemble(pc, 1);
      if (instruction?.comesBack !== true) {
        await context.go(() => context.debugger.step(context.vcpu));
        return;
      }
      await runTo(context, pc + BigInt(instruction.length));
    },
  },
  {
    names: ['until', 'u'],
    usage: 'ADDRESS',
    summary: 'run to an address',
    run: (context, [address = '']) => runTo(context, evaluate(context, address)),
  },
  {
    names: ['break', 'b'],
    usage: '[ADDRESS]',
    summary: 'stop at an instruction; without an address, list all breakpoints',
    run: (context, [address]) => {
      if (address === undefined) list(context);
      else {
        const at = evaluate(context, address);
        context.debugger.addBreakpoint(at);
        add(context, 'break', at, 1);
      }
    },
  },
  {
    names: ['hbreak'],
    usage: 'ADDRESS',
    summary: 'stop at an instruction by a debug register: also where nothing is mapped yet',
    run: (context, [address = '']) => {
      const at = evaluate(context, address);
      context.debugger.addHardware(at, 1, 'execute');
      add(context, 'hbreak', at, 1);
    },
  },
  {
    names: ['watch', 'w'],
    usage: 'ADDRESS [BYTES]',
    summary: 'stop after a write to some bytes (4 unless given)',
    run: (context, args) => watch(context, 'watch', args),
  },
  {
    names: ['awatch'],
    usage: 'ADDRESS [BYTES]',
    summary: 'stop after a read or a write',
    run: (context, args) => watch(context, 'awatch', args),
  },
  {
    names: ['delete', 'd'],
    usage: '[n]',
    summary: 'take away a breakpoint, or all',
    run: (context, [number]) => {
      const chosen = context.breakpoints.filter(
        (one) => number === undefined || String(one.number) === number,
      );
      if (chosen.length === 0)
        throw new ConfigError(
          number === undefined ? 'there are no breakpoints' : `there is no breakpoint ${number}`,
        );
      for (const one of chosen) remove(context, one);
    },
  },
  {
    names: ['cpu'],
    usage: '[n]',
    summary: 'choose the vCPU that commands are about; without a number, list them',
    run: (context, [number]) => {
      const { machine } = context.debugger;
      if (number !== undefined) {
        const vcpu = Number(number);
        if (!(Number.isInteger(vcpu) && vcpu >= 0 && vcpu < machine.cpus))
          throw new ConfigError(`there is no vCPU ${number}: there are 0 to ${machine.cpus - 1}`);
        context.vcpu = vcpu;
      }
      for (let vcpu = 0; vcpu < machine.cpus; vcpu++) {
        const { mpState } = context.debugger.state(vcpu);
        const what =
          ['runs', 'waits for INIT', 'waits for STARTUP', 'has halted', 'starts'][mpState] ?? 'runs';
        const mark = vcpu === context.vcpu ? '*' : ' ';
        context.print(`${mark} vCPU ${vcpu} ${what} at ${place(context, context.debugger.linearPc(vcpu))}`);
      }
    },
  },
];

/** @throws ConfigError for a vCPU that does nothing before another has started it: a step would never end */
function mustRun({ debugger: target, vcpu }: DebugContext): void {
  const { mpState } = target.state(vcpu);
  if (mpState !== MpState.uninitialized && mpState !== MpState.initReceived) return;
  throw new ConfigError(`vCPU ${vcpu} does nothing before another has started it`, {
    hint: 'Choose the other with: cpu 0. A breakpoint where this one begins stops it in time.',
  });
}

/** Goes on from a breakpoint: the instruction under it is done first. */
async function passCurrent(context: DebugContext, then: () => Promise<void>): Promise<void> {
  const pc = context.debugger.linearPc(context.vcpu);
  const here = context.breakpoints.filter(
    ({ kind, address }) => address === pc && (kind === 'break' || kind === 'hbreak'),
  );
  if (here.length > 0) {
    for (const one of here) disarm(context, one);
    await context.go(() => context.debugger.step(context.vcpu), true);
    if (context.debugger.machine.hasEnded) return;
    for (const one of here) arm(context, one);
  }
  await then();
}

async function runTo(context: DebugContext, address: bigint): Promise<void> {
  const { debugger: target } = context;
  const isThere = context.breakpoints.some((one) => one.kind === 'break' && one.address === address);
  target.addBreakpoint(address);
  await passCurrent(context, () => context.go(() => target.resume()));
  if (!isThere && !target.machine.hasEnded) target.removeBreakpoint(address);
}

function watch(
  context: DebugContext,
  kind: 'watch' | 'awatch',
  [address = '', bytes]: readonly string[],
): void {
  const at = evaluate(context, address);
  const length = count(bytes, 4, 32);
  context.debugger.addHardware(at, length, kind === 'watch' ? 'write' : 'access');
  add(context, kind, at, length);
}

function add(context: DebugContext, kind: ListedBreakpoint['kind'], address: bigint, length: number): void {
  const number = 1 + Math.max(0, ...context.breakpoints.map((one) => one.number));
  context.breakpoints.push({ number, kind, address, length });
  context.print(`${number}: ${kind} ${place(context, address)}`);
}

function arm({ debugger: target }: DebugContext, { kind, address, length }: ListedBreakpoint): void {
  if (kind === 'break') target.addBreakpoint(address);
  else
    target.addHardware(
      address,
      length,
      kind === 'hbreak' ? 'execute' : kind === 'watch' ? 'write' : 'access',
    );
}

function disarm({ debugger: target }: DebugContext, { kind, address, length }: ListedBreakpoint): void {
  if (kind === 'break') target.removeBreakpoint(address);
  else
    target.removeHardware(
      address,
      length,
      kind === 'hbreak' ? 'execute' : kind === 'watch' ? 'write' : 'access',
    );
}

function remove(context: DebugContext, breakpoint: ListedBreakpoint): void {
  disarm(context, breakpoint);
  context.breakpoints.splice(context.breakpoints.indexOf(breakpoint), 1);
}

function list(context: DebugContext): void {
  if (context.breakpoints.length === 0) context.print('no breakpoints');
  for (const { number, kind, address, length } of context.breakpoints)
    context.print(
      `${number}: ${kind} ${place(context, address)}${kind.endsWith('watch') ? `, ${length} bytes (${hex(length)})` : ''}`,
    );
}
