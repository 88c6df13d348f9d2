/**
 * A guest at the other end of a pipe: waits for what it prints, and types. For guests that are run by the command
 * line, as a user would.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../../src/guests.ts';

/** The guest has not done what was expected of it. */
export class SessionError extends Error {}

// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what they are
const ESCAPES = /\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()][A-Z0-9]|[=>M78])|[\r\x00]/g;

export class Session {
  /** All that the guest has printed, without escape sequences. */
  transcript = '';
  /** What Type2 itself has said. */
  errors = '';
  readonly child: ChildProcess;
  /** The exit status; null for a process that a signal has ended. */
  readonly ended: Promise<number | null>;
  private raw = '';
  private read = 0;
  private isOver = false;
  private wakeUp: () => void = () => {};

  /**
   * @param args - of the command line, from the verb on
   * @param onTerminal - whether it gets a terminal, made by script(1), rather than pipes
   */
  constructor(args: readonly string[], onTerminal = false) {
    const words = [process.execPath, join(packageRoot(), 'dist/bin/main.cjs'), ...args];
    const quoted = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
    const [program, ...rest] = onTerminal ? ['script', '-qec', `exec ${quoted}`, '/dev/null'] : words;
    this.child = spawn(program!, rest, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      // An escape sequence may be cut in two.
      this.raw += text;
      this.transcript = this.raw.replace(ESCAPES, '');
      this.wakeUp();
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text;
    });
    // A guest that is gone reads no more.
    this.child.stdin!.on('error', () => {});
    this.ended = new Promise((resolve) => {
      this.child.on('close', (status) => {
        this.isOver = true;
        this.wakeUp();
        resolve(status);
      });
    });
  }

  /** Waits for something in what has not been read yet, and reads to its end. */
  async expect(wanted: RegExp, patience: number): Promise<RegExpExecArray> {
    const until = performance.now() + patience;
    for (;;) {
      const found = wanted.exec(this.transcript.slice(this.read));
      if (found !== null) {
        this.read += found.index + found[0].length;
        return found;
      }
      const left = until - performance.now();
      if (this.isOver) throw new SessionError(`the guest ended before ${wanted}`);
      if (left <= 0) throw new SessionError(`no ${wanted} in ${Math.round(patience / 1000)} s`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wakeUp = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  type(text: string): void {
    this.child.stdin!.write(text);
  }

  /** Logs in at a getty, and makes the shell one that neither echoes nor prompts. */
  async logIn(user: string, password: string, patience: number): Promise<void> {
    await this.expect(/login: $/, patience);
    this.type(`${user}\n`);
    await this.expect(/Password: $/, patience);
    this.type(`${password}\n`);
    await this.expect(/# $/, patience);
    this.type("bind 'set enable-bracketed-paste off'; stty -echo; PS1= PS2=; echo 'here' we are\n");
    await this.expect(/^here we are$/m, patience);
  }

  /** Runs a command in the shell. @returns what it has printed, and its exit status */
  async command(line: string, patience: number): Promise<{ output: string; status: number }> {
    this.type(`{ ${line}\n} 2>&1; echo "<end $?>"\n`);
    const from = this.read;
    const { 1: status } = await this.expect(/<end (\d+)>\n/, patience);
    const text = this.transcript.slice(from, this.read);
    return { output: text.slice(0, text.lastIndexOf('<end ')).trim(), status: Number(status) };
  }

  /** @returns the exit status, once the process has ended */
  async end(patience: number): Promise<number | null> {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), patience);
    const status = await this.ended;
    clearTimeout(timer);
    return status;
  }
}
