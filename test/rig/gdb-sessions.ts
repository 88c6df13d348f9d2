/**
 * Sessions with stock gdb on a guest, the same for each engine, and what must be seen in them. Those that need
 * breakpoints are by themselves: not every KVM has them.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/guests.ts';
import { GdbGuest, gdbOnGuest, runGdb, type StepsProgram, stepsProgram, type Width } from './stock-gdb.ts';
import type { KernelSymbols } from './symbol-file.ts';

/** Most instructions that gdb steps through to get somewhere. */
const STEPS_MAXIMUM = 100;
/** Bytes of the longest instruction. */
const INSTRUCTION_MAXIMUM = 15;
/** First byte of ENTER, which is where the programs' routine begins. */
const ENTER = '0xc8';
/** For how long a guest runs until it is interrupted. */
const RUNNING_MS = 1000;
const VALUE = 0x1234;
const CHARACTER = 'x';

function setUp(width: Width): { program: StepsProgram; machineOf: (engine: string) => string[]; A: string } {
  const program = stepsProgram({ width, isGuest: true, integerOnly: true });
  return {
    program,
    machineOf: (engine) => ['--engine', engine, ...program.machine],
    A: width === 64 ? '$rax' : '$eax',
  };
}

const archOf = (width: Width): 'i386' | 'x86-64' => (width === 64 ? 'x86-64' : 'i386');

/** Commands that step to an address, by no breakpoint. */
function stepTo(address: number): string[] {
  return [
    'set $n = 0',
    `while $pc != ${address} && $n < ${STEPS_MAXIMUM}`,
    'stepi',
    'set $n = $n + 1',
    'end',
  ];
}

/**
 * Software and hardware breakpoints, both kinds of watchpoints, going on from each.
 * @param watches - false where there are no data breakpoints: gdb then watches by steps
 */
export async function breakpoints(
  engine: string,
  width: Width,
  patienceS: number,
  watches = true,
): Promise<void> {
  const { program, machineOf, A } = setUp(width);
  const { routine, store, cell, source, finish } = program;
  const output = await gdbOnGuest(
    machineOf(engine),
    [
      `break *${routine}`,
      `hbreak *${store}`,
      'continue',
      'printf "first at %d\\n", $pc',
      `x/1xb ${routine}`,
      'continue',
      'printf "second at %d\\n", $pc',
      'delete',
      `set ${A} = ${VALUE}`,
      ...(watches ? [] : ['set can-use-hw-watchpoints 0']),
      `watch *(int *) ${cell}`,
      'continue',
      'printf "third at %d\\n", $pc',
      'delete',
      ...(watches ? [`awatch *(int *) ${cell}`, 'continue', 'delete'] : []),
      `set {char} ${source} = '${CHARACTER}'`,
      `tbreak *${finish}`,
      'continue',
      'printf "last at %d\\n", $pc',
      `x/1cb ${cell - 8}`,
      'stepi',
      'printf "still at %d\\n", $pc',
    ],
    { arch: archOf(width), patienceS },
  );
  const seen = (pattern: RegExp): RegExpExecArray => found(output, pattern);
  seen(/^Breakpoint 1, 0x/m);
  assert.equal(Number(seen(/^first at (\d+)/m)[1]), routine, output);
  // In the place of a software breakpoint the guest's own byte is seen.
  assert.equal(seen(/^0x[0-9a-f]+:\s+(0x..)$/m)[1], ENTER, output);
  seen(/^Breakpoint 2, 0x/m);
  assert.equal(Number(seen(/^second at (\d+)/m)[1]), store, output);
  // The guest has stored the register that gdb has written.
  seen(new RegExp(`^${watches ? 'Hardware w' : 'W'}atchpoint \\d+: [\\s\\S]*?^New value = ${VALUE}$`, 'm'));
  const third = Number(seen(/^third at (\d+)/m)[1]);
  assert.ok(third > store && third <= store + INSTRUCTION_MAXIMUM, output);
  if (watches) seen(/^Hardware access \(read\/write\) watchpoint \d+: /m);
  seen(/^Temporary breakpoint \d+, 0x/m);
  assert.equal(Number(seen(/^last at (\d+)/m)[1]), finish, output);
  // The guest has read and copied the byte of memory that gdb has written.
  seen(new RegExp(`^0x[0-9a-f]+:\\s+\\d+ '${CHARACTER}'$`, 'm'));
  assert.equal(Number(seen(/^still at (\d+)/m)[1]), finish, output);
}

/** Steps, registers and memory read and written, disassembly, a watchpoint that gdb itself makes of steps. */
export async function steps(engine: string, width: Width, patienceS: number): Promise<void> {
  const { program, machineOf, A } = setUp(width);
  const { begin, store, cell, source } = program;
  const output = await gdbOnGuest(
    machineOf(engine),
    [
      ...stepTo(begin),
      'printf "first at %d\\n", $pc',
      'x/2i $pc',
      'printf "PE %d\\n", $cr0 & 1',
      ...stepTo(store),
      'printf "second at %d\\n", $pc',
      `set ${A} = ${VALUE}`,
      'stepi',
      `printf "stored %#x\\n", *(int *) ${cell}`,
      `set {int} ${cell} = 0x55667788`,
      `printf "byte %#x\\n", *(unsigned char *) ${cell + 1}`,
      `set {char} ${source} = '${CHARACTER}'`,
      'set can-use-hw-watchpoints 0',
      `watch *(char *) ${cell - 8}`,
      'continue',
    ],
    { arch: width === 16 ? undefined : archOf(width), patienceS },
  );
  const seen = (pattern: RegExp): RegExpExecArray => found(output, pattern);
  assert.equal(Number(seen(/^first at (\d+)/m)[1]), begin, output);
  // In a guest in real mode gdb disassembles as the processor does, untold.
  seen(
    { 16: /\bmov +\$0x7b00,%sp$/m, 32: /\bmov +\$0x40f000,%esp$/m, 64: /\bmov +\$0x40f000,%[er]sp$/m }[width],
  );
  seen(width === 16 ? /^PE 0$/m : /^PE 1$/m);
  assert.equal(Number(seen(/^second at (\d+)/m)[1]), store, output);
  assert.equal(Number(seen(/^stored (\w+)/m)[1]), VALUE, output);
  seen(/^byte 0x77$/m);
  seen(new RegExp(`^Watchpoint \\d+: [\\s\\S]*?^New value = \\d+ '${CHARACTER}'$`, 'm'));
}

/** Arguments for a guest whose first vCPU wakes the second. */
const twoVcpus = (engine: string): string[] => [
  ...['--engine', engine, '--memory', '16M', '--guest', 'smp', '--cpus', '2'],
];

/** Two vCPUs as threads, of which the first wakes the second. */
export async function threads(engine: string, patienceS: number): Promise<void> {
  const output = await gdbOnGuest(
    twoVcpus(engine),
    [
      'info threads',
      'thread 2',
      'printf "second at %#x\\n", $eip',
      'set $ebx = 0x77',
      'thread 1',
      'printf "first has %#x\\n", $ebx',
      'set $before = $pc',
      'stepi',
      'printf "moved %d\\n", $pc != $before',
      'thread 2',
      'printf "second still at %#x with %#x\\n", $eip, $ebx',
    ],
    { arch: 'i386', patienceS },
  );
  const seen = (pattern: RegExp): RegExpExecArray => found(output, pattern);
  seen(/^\* 1 .*Thread 1 \(vCPU 0, running, 32-bit code\)/m);
  seen(/^ {2}2 .*Thread 2 \(vCPU 1, waits for INIT, 16-bit code\)/m);
  // SDM volume 3A, 9.1.4: where a processor begins, in its segment.
  seen(/^second at 0xfff0$/m);
  assert.notEqual(seen(/^first has (\S+)$/m)[1], '0x77', output);
  seen(/^moved 1$/m);
  seen(/^second still at 0xfff0 with 0x77$/m);
}

/** A breakpoint that the second vCPU comes by, while the first waits for it. */
export async function threadBreakpoint(engine: string, patienceS: number): Promise<void> {
  const image = readFileSync(join(packageRoot(), 'guests/labs/smp.bin'));
  // The second CPU's way out of real mode: JMP ptr16:32 with an operand-size prefix.
  const second = image.readUInt32LE(image.indexOf(Uint8Array.of(0x66, 0xea)) + 2);
  const output = await gdbOnGuest(
    twoVcpus(engine),
    [
      `break *${second}`,
      'continue',
      'thread',
      'printf "stopped at %d\\n", $pc',
      'info threads',
      'stepi',
      'thread',
      `printf "stepped %d bytes\\n", $pc - ${second}`,
      'thread 1',
      'printf "first waits at %#x\\n", $pc',
      'delete',
      'continue',
    ],
    { arch: 'i386', patienceS },
  );
  const seen = (pattern: RegExp): RegExpExecArray => found(output, pattern);
  assert.equal(output.match(/^\[Current thread is 2 /gm)?.length, 2, output);
  assert.equal(Number(seen(/^stopped at (\d+)/m)[1]), second, output);
  seen(/^\* 2 .*Thread 2 \(vCPU 1, running, 32-bit code\)/m);
  // MOV AX, imm16 with a prefix.
  seen(/^stepped 4 bytes$/m);
  seen(/^first waits at 0x10[0-9a-f]{4}$/m);
  seen(/^\[Inferior 1 \(Remote target\) exited normally\]$/m);
}

/**
 * A running Linux with its symbols: gdb attaches, looks, steps, goes on, interrupts, lets go; the guest then comes to
 * its end by itself.
 * @param machine - arguments for a guest of two vCPUs that prints `user space` and then switches itself off
 */
export async function runningLinux(
  machine: readonly string[],
  symbols: KernelSymbols,
  patienceS: number,
): Promise<void> {
  const guest = await GdbGuest.start(machine, ',arch=x86-64', patienceS);
  try {
    await guest.printed('user space');
    const output = await runGdb(
      [
        ...guest.connect,
        'info threads',
        'info symbol do_sys_openat2',
        'x/1i do_sys_openat2',
        'printf "paging %d\\n", ($cr0 >> 31) & 1',
        'continue',
        'echo interrupted\\n',
        'thread 1',
        'stepi',
        'thread 2',
        'printf "second %#lx\\n", $rip',
        'detach',
      ],
      patienceS,
      symbols.path,
      (gdb) => {
        let heard = '';
        gdb.stdout!.on('data', (text: string) => {
          if (/^paging /m.test(heard)) return;
          heard += text;
          // As Ctrl-C does, once the guest runs again.
          if (/^paging /m.test(heard)) setTimeout(() => gdb.kill('SIGINT'), RUNNING_MS);
        });
      },
    );
    const seen = (pattern: RegExp): RegExpExecArray => found(output, pattern);
    seen(/Thread 1 \(vCPU 0, \w+, \d\d-bit code\)/);
    seen(/Thread 2 \(vCPU 1, \w+, \d\d-bit code\)/);
    seen(/^do_sys_openat2 in section \.text$/m);
    seen(/<do_sys_openat2>:\s+push +%r(bp|15|14|13|12)$/m);
    seen(/^paging 1$/m);
    seen(/received signal SIGINT, Interrupt\.[\s\S]*^interrupted$/m);
    seen(/^second 0x[0-9a-f]+$/m);
    seen(/^\[Inferior 1 \(Remote target\) detached\]$/m);
    await guest.printed('Power down');
  } finally {
    await guest[Symbol.asyncDispose]();
  }
}

/** A booting Linux stops at its functions by their names, whichever vCPU comes by. */
export async function bootingLinux(
  machine: readonly string[],
  symbols: KernelSymbols,
  patienceS: number,
): Promise<void> {
  const output = await gdbOnGuest(
    machine,
    [
      // Nothing is mapped there yet, which only a hardware breakpoint doesn't mind.
      'hbreak start_kernel',
      'continue',
      'delete',
      'break do_sys_openat2',
      'continue',
      'info threads',
      'printf "at %#lx\\n", $rip',
      'stepi',
      'info symbol $rip',
      'delete',
      // By its address: gdb watches what depends on a register by steps.
      'eval "watch *(long *) %#lx", $rsp',
      'continue',
    ],
    { arch: 'x86-64', patienceS, file: symbols.path },
  );
  const seen = (pattern: RegExp): RegExpExecArray => found(output, pattern);
  seen(/^(Thread 1 hit )?Breakpoint 1, 0x[0-9a-f]+ in start_kernel \(\)$/m);
  seen(/hit Breakpoint 2, 0x[0-9a-f]+ in do_sys_openat2 \(\)$/m);
  seen(/Thread 2 \(vCPU 1, \w+, 64-bit code\)/);
  assert.equal(BigInt(seen(/^at (0x[0-9a-f]+)$/m)[1]!), symbols.addresses.get('do_sys_openat2'), output);
  seen(/^do_sys_openat2 \+ \d+ in section \.text$/m);
  seen(/hit Hardware watchpoint 3: /);
}

function found(output: string, pattern: RegExp): RegExpExecArray {
  const match = pattern.exec(output);
  assert.ok(match !== null, `no ${pattern} in what gdb printed:\n${output}`);
  return match;
}
