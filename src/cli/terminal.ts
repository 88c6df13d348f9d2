/**
 * The guest's console on this process's stdin and stdout. On a terminal, stdin is raw, so that every key
 * reaches the guest, but for Ctrl-A, which speaks to Type2.
 */
import type { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { ConfigError } from '../../devices/errors.ts';
import { REPEATABLE_INPUT_CAPACITY } from '../../vm/console.ts';

const CTRL_A = 0x01;

const HELP = [
  '',
  'Ctrl-A x       leave: ends the run',
  'Ctrl-A h       this help',
  'Ctrl-A Ctrl-A  sends Ctrl-A to the guest',
  '',
].join('\r\n');

/** Splits what is typed into bytes for the guest and commands for us; Ctrl-A may come in one read and its key in the next. */
export class EscapeFilter {
  private escaped = false;
  private readonly onCommand: (key: string) => void;

  /** @param onCommand - called with the key after Ctrl-A */
  constructor(onCommand: (key: string) => void) {
    this.onCommand = onCommand;
  }

  /** @returns what goes to the guest */
  feed(bytes: Uint8Array): Uint8Array {
    const out: number[] = [];
    for (const byte of bytes) {
      if (this.escaped) {
        this.escaped = false;
        if (byte === CTRL_A) out.push(byte);
        else this.onCommand(String.fromCharCode(byte));
      } else if (byte === CTRL_A) {
        this.escaped = true;
      } else {
        out.push(byte);
      }
    }
    return Uint8Array.from(out);
  }
}

/**
 * Connects a console to stdin and stdout.
 * @param leave - ends the run: Ctrl-A x, or stdout is gone
 * @returns what restores the terminal, once all output is written
 */
export function attachTerminal(
  console: { readonly output: Readable; readonly input: Writable },
  leave: () => void,
): () => Promise<void> {
  const { stdin, stdout } = process;
  stdout.on('error', leave);
  console.output.pipe(stdout, { end: false });
  // Writing to a console that has ended loses the bytes, as it would on a machine that is off.
  console.input.on('error', () => {});
  const raw = stdin.isTTY === true;
  if (raw) {
    stdin.setRawMode(true);
    const filter = new EscapeFilter((key) => {
      if (key === 'x') {
        stdout.write('\r\n');
        leave();
      } else if (key === 'h' || key === '?') stdout.write(HELP);
    });
    stdin.on('data', (chunk: Buffer) => {
      const bytes = filter.feed(chunk);
      if (bytes.length > 0 && !console.input.destroyed && !console.input.write(bytes)) {
        // The guest doesn't read: keep listening for Ctrl-A x, which a paused stdin could not hear.
      }
    });
  } else if (!stdin.readableEnded) {
    stdin.pipe(console.input, { end: false });
  }
  return async () => {
    await finished(console.output).catch(() => {});
    if (raw) stdin.setRawMode(false);
    stdin.unpipe(console.input);
    stdin.destroy();
    if (stdout.writableLength > 0 && !stdout.destroyed) {
      await new Promise<void>((resolve) => {
        stdout.once('error', () => resolve());
        stdout.write('', () => resolve());
      });
    }
  };
}

/**
 * For a run that shall be repeatable: gives a console all of stdin before the guest starts, so that the guest finds
 * the same bytes at the same time. A terminal has no end, and what is typed into one is not repeatable.
 * @throws ConfigError when it is more than fits
 */
export async function feedAll(
  input: Writable,
  say: (line: string) => void,
  capacity = REPEATABLE_INPUT_CAPACITY,
): Promise<void> {
  const { stdin } = process;
  if (stdin.isTTY === true) return;
  const slow = setTimeout(
    () => say('--deterministic: reading stdin to its end before the guest starts'),
    1000,
  );
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stdin as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > capacity) break;
  }
  clearTimeout(slow);
  if (length > capacity) {
    throw new ConfigError(
      `stdin has more than the ${capacity / 2 ** 10} KiB that a deterministic run takes`,
      {
        hint: 'Give the guest its data on a disk.',
      },
    );
  }
  if (length > 0) input.write(Buffer.concat(chunks));
}
