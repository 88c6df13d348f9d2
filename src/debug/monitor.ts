/**
 * The monitor of `type2 debug`: reads commands, and shows what the machine does. While the guest runs, what is
 * typed goes to its console, line by line, and Ctrl-C stops it.
 */
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { Type2Error } from '../../devices/errors.ts';
import { codeSize, Debugger, type DebugStop } from '../../vm/debug/debugger.ts';
import type { Machine } from '../../vm/machine.ts';
import { hex } from '../../vm/trace/text.ts';
import {
  type DebugCommand,
  type DebugContext,
  type ListedBreakpoint,
  stateOf,
  whereLine,
} from './context.ts';
import { type Disassembled, disassemble } from './disassembly.ts';
import { LOOKING_COMMANDS } from './looking.ts';
import { MACHINE_COMMANDS } from './machine-parts.ts';
import { RUNNING_COMMANDS } from './running.ts';
import { Symbols } from './symbols.ts';

const INSTRUCTION_MAXIMUM = 15;
const PROMPT = '(type2) ';

/** What the monitor is connected to. */
export interface MonitorStreams {
  readonly input: Readable;
  readonly output: Writable;
  readonly isTerminal: boolean;
  /** The guest's console. */
  readonly console: { readonly input: Writable };
}

/** One session. */
export class Monitor implements DebugContext {
  readonly debugger: Debugger;
  readonly symbols = new Symbols();
  readonly breakpoints: ListedBreakpoint[] = [];
  vcpu = 0;
  private readonly machine: Machine;
  private readonly streams: MonitorStreams;
  private readonly commands: readonly DebugCommand[];
  private readonly lines: Interface;
  private readonly queue: string[] = [];
  private wake: () => void = () => {};
  private isClosed = false;
  private hasEnded = false;
  private stopWaiter: ((stop: DebugStop | undefined) => void) | undefined;
  private last = '';

  constructor(machine: Machine, streams: MonitorStreams) {
    this.machine = machine;
    this.streams = streams;
    this.debugger = new Debugger(machine);
    this.commands = [
      ...RUNNING_COMMANDS,
      ...LOOKING_COMMANDS,
      ...MACHINE_COMMANDS,
      this.helpCommand(),
      this.quitCommand(),
    ];
    this.debugger.on('stop', (stop) => this.stopWaiter?.(stop));
    void machine.ended.then(() => {
      this.hasEnded = true;
      this.stopWaiter?.(undefined);
      this.wake();
    });
    this.lines = createInterface({
      input: streams.input,
      output: streams.output,
      terminal: streams.isTerminal,
      prompt: PROMPT,
    });
    this.lines.on('line', (line) => this.hear(line));
    this.lines.on('SIGINT', () => this.interrupt());
    this.lines.on('close', () => {
      this.isClosed = true;
      this.wake();
    });
  }

  /** Reads commands until the machine or the input ends. The machine is stopped then. */
  async run(): Promise<void> {
    this.print('The guest stands before its first instruction. `help` lists commands.');
    this.print(whereLine(this));
    for (;;) {
      const line = await this.nextLine();
      if (line === undefined) break;
      await this.command(line);
      if (this.hasEnded) break;
    }
    this.lines.close();
    await this.machine.stop();
  }

  print(text: string): void {
    this.streams.output.write(`${text}\n`);
  }

  async go(start: () => void, silently = false): Promise<void> {
    const stopped = new Promise<DebugStop | undefined>((resolve) => {
      this.stopWaiter = resolve;
    });
    try {
      start();
    } catch (error) {
      this.stopWaiter = undefined;
      throw error;
    }
    const stop = await stopped;
    this.stopWaiter = undefined;
    if (stop === undefined || this.machine.hasEnded) {
      this.hasEnded = true;
      return;
    }
    this.vcpu = stop.vcpu;
    if (silently) return;
    const why = reasonText(stop);
    if (why !== '') this.print(why);
    this.print(whereLine(this));
  }

  disassemble(address: bigint, count: number): Disassembled[] {
    const bytes = this.debugger.read(this.vcpu, address, count * INSTRUCTION_MAXIMUM);
    return disassemble(bytes, address, codeSize(stateOf(this)), count, this.symbols);
  }

  private hear(line: string): void {
    if (this.stopWaiter === undefined) {
      this.queue.push(line);
      this.wake();
    } else if (this.streams.isTerminal) {
      if (!this.streams.console.input.destroyed) this.streams.console.input.write(`${line}\n`);
    } else this.queue.push(line);
  }

  private interrupt(): void {
    if (this.stopWaiter !== undefined) void this.debugger.interrupt();
    else {
      this.print('(quit leaves; Ctrl-C stops a guest that runs)');
      this.lines.prompt();
    }
  }

  private async nextLine(): Promise<string | undefined> {
    while (this.queue.length === 0) {
      if (this.isClosed || this.hasEnded) return undefined;
      this.lines.prompt();
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    return this.queue.shift();
  }

  /** Does what a line says; an empty one repeats a step. */
  private async command(line: string): Promise<void> {
    const text = line.trim() === '' && /^(s|step|n|next)\b/.test(this.last) ? this.last : line.trim();
    this.last = text;
    const [name = '', ...args] = text.split(/\s+/);
    if (name === '') return;
    const command = this.commands.find(({ names }) => names.includes(name));
    if (command === undefined) {
      this.print(`there is no command '${name}': \`help\` lists them`);
      return;
    }
    try {
      await command.run(this, args);
    } catch (error) {
      if (!(error instanceof Type2Error)) throw error;
      this.print(`${error.message}${error.hint === undefined ? '' : `\n  ${error.hint}`}`);
    }
  }

  private helpCommand(): DebugCommand {
    return {
      names: ['help', 'h'],
      usage: '',
      summary: 'this list',
      run: () => {
        for (const { names, usage, summary } of this.commands) {
          const name = names[0]!;
          const short = names
            .slice(1)
            .map((one) => ` (${one})`)
            .join('');
          this.print(`  ${`${name}${short} ${usage}`.padEnd(30)} ${summary}`);
        }
        this.print('Addresses: 0x7c00, $rsp+8, start_kernel+0x10. An empty line repeats step and next.');
      },
    };
  }

  private quitCommand(): DebugCommand {
    return {
      names: ['quit', 'q'],
      usage: '',
      summary: 'end the run and leave',
      run: () => {
        this.hasEnded = true;
      },
    };
  }
}

function reasonText({ vcpu, reason, hardware }: DebugStop): string {
  switch (reason) {
    case 'breakpoint':
      return `vCPU ${vcpu} is at a breakpoint`;
    case 'hardware':
      return hardware!.access === 'execute'
        ? `vCPU ${vcpu} is at a hardware breakpoint`
        : `vCPU ${vcpu} has ${hardware!.access === 'write' ? 'written' : 'accessed'} ${hex(hardware!.address)}`;
    case 'interrupted':
      return 'stopped';
    case 'reset':
      return 'the guest was reset; it stands before its first instruction';
    default:
      return '';
  }
}
