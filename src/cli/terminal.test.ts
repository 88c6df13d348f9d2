/** What is typed on a terminal, between the guest and Type2. */
import { describe, expect, it } from 'vitest';
import { EscapeFilter } from './terminal.ts';

describe('Ctrl-A', () => {
  const typed = (...chunks: string[]): { guest: string; commands: string[] } => {
    const commands: string[] = [];
    const filter = new EscapeFilter((key) => commands.push(key));
    const guest = chunks.map((chunk) =>
      Buffer.from(filter.feed(Buffer.from(chunk, 'latin1'))).toString('latin1'),
    );
    return { guest: guest.join(''), commands };
  };

  it('takes the next key for itself', () => {
    expect(typed('ls\r\x01xab')).toEqual({ guest: 'ls\rab', commands: ['x'] });
  });

  it('may come in one read and its key in the next', () => {
    expect(typed('a\x01', 'hb')).toEqual({ guest: 'ab', commands: ['h'] });
  });

  it('typed twice goes to the guest once', () => {
    expect(typed('\x01\x01')).toEqual({ guest: '\x01', commands: [] });
  });
});
