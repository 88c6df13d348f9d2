/**
 * GDB's remote serial protocol over a debugger: what each packet means (GDB manual, appendix E). All-stop: vCPUs
 * are threads, numbered from 1, and stop and go together; a step is done by one of them alone.
 */
import { Type2Error } from '../../devices/errors.ts';
import { codeSize, type Debugger, type DebugStop } from '../../vm/debug/debugger.ts';
import type { HardwareAccess } from '../../vm/debug/settings.ts';
import { fromHex, type GdbArch, type GdbRegister, gdbRegisters, toHex } from './registers.ts';
import { targetDescription } from './target-description.ts';

/** Most bytes of a packet that we take; memory is read and written in pieces of half that. */
const PACKET_SIZE = 0x4000;
const SIGINT = 2;
const SIGTRAP = 5;
/** Errors, as gdb prints them. */
const ERROR_SYNTAX = 'E01';
const ERROR_MEMORY = 'E0e';
const ERROR_REFUSED = 'E16';

/** What Z packets ask for, by their number. 1 is a hardware breakpoint; there are no read watchpoints on x86. */
const HARDWARE: Readonly<Record<string, HardwareAccess>> = { 1: 'execute', 2: 'write', 4: 'access' };

/** What the connection does for the stub. */
export interface GdbConnection {
  send(data: string): void;
  /** From the next packet on, packets are not acknowledged. */
  stopAcknowledging(): void;
  close(): void;
}

/** One connection's dialogue. */
export class GdbStub {
  private readonly debugger: Debugger;
  private readonly connection: GdbConnection;
  private readonly arch: GdbArch;
  private readonly registers: readonly GdbRegister[];
  /** The vCPU that register and memory packets are about. */
  private current = 0;
  private stop: DebugStop = { vcpu: 0, reason: 'interrupted' };
  private knowsSwBreak = false;
  private knowsHwBreak = false;
  private saidMode: number | undefined;

  constructor(target: Debugger, connection: GdbConnection, arch: GdbArch) {
    this.debugger = target;
    this.connection = connection;
    this.arch = arch;
    this.registers = gdbRegisters(arch);
  }

  /** The machine has stopped. */
  stopped(stop: DebugStop): void {
    this.stop = stop;
    this.current = stop.vcpu;
    this.sayMode();
    if (stop.reason === 'reset')
      this.say('Type2: the guest was reset; it stands before its first instruction.\n');
    this.connection.send(this.stopReply());
  }

  /** The run has ended. @param status - as the process's */
  ended(status: number): void {
    this.connection.send(`W${(status & 0xff).toString(16).padStart(2, '0')}`);
  }

  /** Ctrl-C in gdb. */
  interrupt(): void {
    void this.debugger.interrupt();
  }

  /** Answers a packet. Of those that let the machine run, the answer comes when it stops. */
  handle(data: string): void {
    // gdb hears of the end by itself.
    if (this.debugger.machine.hasEnded) return;
    let answer: string | undefined;
    try {
      answer = this.answer(data);
    } catch (error) {
      if (!(error instanceof Type2Error) && !(error instanceof SyntaxError)) throw error;
      if (error instanceof Type2Error)
        this.sayLater(`Type2: ${error.message}. ${error.hint ?? ''}`.trimEnd());
      answer = error instanceof SyntaxError ? ERROR_SYNTAX : ERROR_REFUSED;
    }
    if (answer !== undefined) this.connection.send(answer);
  }

  private answer(data: string): string | undefined {
    const rest = data.slice(1);
    switch (data[0]) {
      case '?':
        return this.stopReply();
      case 'g':
        return this.registers.map((register) => this.valueOf(register)).join('');
      case 'G':
        return this.writeAll(rest);
      case 'p':
        return this.readOne(rest);
      case 'P':
        return this.writeOne(rest);
      case 'm':
        return this.readMemory(rest);
      case 'M':
        return this.writeMemory(rest);
      case 'X':
        return this.writeBinary(rest);
      case 'H':
        return this.selectThread(rest);
      case 'T':
        return this.isThread(parseThread(rest)) ? 'OK' : ERROR_SYNTAX;
      case 'c':
      case 'C':
        this.debugger.resume();
        return undefined;
      case 's':
      case 'S':
        this.debugger.step(this.current);
        return undefined;
      case 'b':
        return this.reverse(data);
      case 'Z':
      case 'z':
        return this.breakpoint(data[0] === 'Z', rest);
      case 'D':
        this.connection.send('OK');
        this.connection.close();
        return undefined;
      case 'k':
        void this.debugger.machine.stop();
        return undefined;
      case 'q':
      case 'Q':
      case 'v':
        return this.query(data);
      default:
        return '';
    }
  }

  private query(data: string): string | undefined {
    const cpus = Array.from({ length: this.debugger.machine.cpus }, (_, i) => (i + 1).toString(16));
    if (data.startsWith('qSupported')) {
      this.knowsSwBreak = data.includes('swbreak+');
      this.knowsHwBreak = data.includes('hwbreak+');
      return `PacketSize=${PACKET_SIZE.toString(16)};qXfer:features:read+;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak+${this.canGoBack ? ';ReverseStep+' : ''}`;
    }
    if (data === 'QStartNoAckMode') {
      this.connection.send('OK');
      this.connection.stopAcknowledging();
      return undefined;
    }
    if (data.startsWith('qXfer:features:read:target.xml:')) return this.transfer(data);
    if (data === 'qfThreadInfo') return `m${cpus.join(',')}`;
    if (data === 'qsThreadInfo') return 'l';
    if (data === 'qC') return `QC${(this.current + 1).toString(16)}`;
    if (data.startsWith('qThreadExtraInfo,')) return this.describeThread(data);
    if (data.startsWith('qAttached')) return '1';
    if (data === 'vCont?') return 'vCont;c;C;s;S';
    if (data.startsWith('vCont;')) return this.continueThreads(data.slice(6));
    if (data.startsWith('vKill')) {
      this.connection.send('OK');
      void this.debugger.machine.stop();
      return undefined;
    }
    return '';
  }

  /** Whether the run repeats itself, so that gdb's reverse-stepi works. */
  private get canGoBack(): boolean {
    return this.debugger.machine.instructionCount !== undefined;
  }

  /** `bs`: one instruction back. */
  private reverse(data: string): string | undefined {
    if (data !== 'bs' || !this.canGoBack) return '';
    try {
      this.debugger.back(1);
      return undefined;
    } catch (error) {
      if (!(error instanceof Type2Error && error.code === 'BACK')) throw error;
      return `T${hexByte(SIGTRAP)}replaylog:begin;`;
    }
  }

  /** Part of the target description. Annex and range: `target.xml:offset,length`. */
  private transfer(data: string): string {
    const [offset = 0, length = 0] = data
      .split(':')[4]!
      .split(',')
      .map((text) => Number.parseInt(text, 16));
    const document = targetDescription(this.arch, this.registers);
    const part = document.slice(offset, offset + length);
    return `${offset + length < document.length ? 'm' : 'l'}${part}`;
  }

  private describeThread(data: string): string {
    const vcpu = parseThread(data.split(',')[1]!) - 1;
    const { mpState } = this.debugger.state(vcpu);
    const what =
      ['running', 'waits for INIT', 'waits for STARTUP', 'halted', 'starting'][mpState] ?? 'running';
    return Buffer.from(`vCPU ${vcpu}, ${what}, ${codeSize(this.debugger.state(vcpu))}-bit code`).toString(
      'hex',
    );
  }

  /** `vCont;s:1;c`: the vCPU that is to step does so alone; the others go on with the next continue. */
  private continueThreads(actions: string): undefined {
    for (const action of actions.split(';')) {
      const [what = '', thread] = action.split(':');
      if (what[0] !== 's' && what[0] !== 'S') continue;
      const number = thread === undefined ? 0 : parseThread(thread);
      this.debugger.step(number > 0 ? number - 1 : this.current);
      return undefined;
    }
    this.debugger.resume();
    return undefined;
  }

  private stopReply(): string {
    const { reason, vcpu, hardware } = this.stop;
    const thread = `thread:${(vcpu + 1).toString(16)};`;
    if (reason === 'interrupted') return `T${hexByte(SIGINT)}${thread}`;
    const trap = `T${hexByte(SIGTRAP)}${thread}`;
    if (reason === 'breakpoint' && this.knowsSwBreak) return `${trap}swbreak:;`;
    if (hardware === undefined) return trap;
    if (hardware.access === 'execute') return this.knowsHwBreak ? `${trap}hwbreak:;` : trap;
    return `${trap}${hardware.access === 'write' ? 'watch' : 'awatch'}:${hardware.address.toString(16)};`;
  }

  private valueOf(register: GdbRegister): string {
    return toHex(register.get(this.debugger.state(this.current)), register.bits);
  }

  private readOne(number: string): string {
    const register = this.registers[Number.parseInt(number, 16)];
    return register === undefined ? ERROR_SYNTAX : this.valueOf(register);
  }

  private writeOne(text: string): string {
    const [number = '', value = ''] = text.split('=');
    const register = this.registers[Number.parseInt(number, 16)];
    if (register === undefined) return ERROR_SYNTAX;
    return this.write(register, fromHex(value)) ? 'OK' : ERROR_REFUSED;
  }

  private writeAll(values: string): string {
    let at = 0;
    for (const register of this.registers) {
      const digits = register.bits / 4;
      const text = values.slice(at, at + digits);
      at += digits;
      if (text.length === digits && text !== this.valueOf(register)) this.write(register, fromHex(text));
    }
    return 'OK';
  }

  private write(register: GdbRegister, value: bigint): boolean {
    const change = register.set?.(this.debugger.state(this.current), value);
    if (change === undefined) return false;
    this.debugger.change(this.current, change);
    return true;
  }

  private readMemory(text: string): string {
    const { address, length } = parseRange(text);
    const bytes = this.debugger.read(this.current, address, Math.min(length, PACKET_SIZE / 2));
    return bytes.length === 0 && length > 0 ? ERROR_MEMORY : Buffer.from(bytes).toString('hex');
  }

  private writeMemory(text: string): string {
    const [range = '', data = ''] = text.split(':');
    return this.writeBytes(parseRange(range).address, Buffer.from(data, 'hex'));
  }

  private writeBinary(text: string): string {
    const colon = text.indexOf(':');
    const { address } = parseRange(text.slice(0, colon));
    return this.writeBytes(address, Buffer.from(text.slice(colon + 1), 'latin1'));
  }

  private writeBytes(address: bigint, bytes: Uint8Array): string {
    return this.debugger.write(this.current, address, bytes) === bytes.length ? 'OK' : ERROR_MEMORY;
  }

  private selectThread(text: string): string {
    const number = parseThread(text.slice(1));
    // 0 is any, −1 all.
    if (number <= 0) return 'OK';
    if (!this.isThread(number)) return ERROR_SYNTAX;
    if (text[0] === 'g') this.current = number - 1;
    return 'OK';
  }

  private isThread(number: number): boolean {
    return number >= 1 && number <= this.debugger.machine.cpus;
  }

  private breakpoint(insert: boolean, text: string): string {
    const [type = '', address = '', kind = ''] = text.split(',');
    const at = parseAddress(address);
    if (type === '0') {
      if (insert) this.debugger.addBreakpoint(at);
      else this.debugger.removeBreakpoint(at);
      return 'OK';
    }
    const access = HARDWARE[type];
    // Nothing: gdb then makes do with a watchpoint for reads and writes.
    if (access === undefined) return '';
    const length = Number.parseInt(kind, 16);
    if (insert) this.debugger.addHardware(at, length, access);
    else this.debugger.removeHardware(at, length, access);
    return 'OK';
  }

  /** gdb asks once what the machine is: it is told when that doesn't fit the guest's mode any more. */
  private sayMode(): void {
    const size = codeSize(this.debugger.state(this.current));
    const advice =
      this.arch === 'x86-64'
        ? undefined
        : size === 64
          ? 'disconnect and connect again for all registers'
          : this.arch === 'i8086' && size === 32
            ? "'set architecture i386' shows it as such, and 'set architecture i8086' 16-bit code"
            : undefined;
    if (advice === undefined || this.saidMode === size) return;
    this.saidMode = size;
    this.say(`Type2: the vCPU runs ${size}-bit code now, but gdb was told ${this.arch}: ${advice}.\n`);
  }

  /** Text for gdb's console. Only while gdb waits for a stop. */
  private say(text: string): void {
    this.connection.send(`O${Buffer.from(text).toString('hex')}`);
  }

  /** Text that gdb can't be told in its protocol now. */
  private sayLater(text: string): void {
    process.stderr.write(`${text}\n`);
  }
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, '0');
}

/** @throws SyntaxError */
function parseAddress(text: string): bigint {
  return BigInt(`0x${text}`);
}

function parseRange(text: string): { address: bigint; length: number } {
  const [address = '', length = ''] = text.split(',');
  return { address: parseAddress(address), length: Number.parseInt(length, 16) };
}

function parseThread(text: string): number {
  return Number.parseInt(text, 16);
}
