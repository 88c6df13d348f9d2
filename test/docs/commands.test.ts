/**
 * Every command that a page shows is run, and prints what the page says.
 *
 * A block ```console has lines that begin with `$ `, which are run, and fragments of output under each, which have
 * to come in this order, on stdout or stderr; blanks count as one. What follows the word in the first line of the
 * block restricts that: `needs=nasm` runs it where nasm is, `not-run="why"` never. Blocks ```sh are commands, too, and
 * have to say why they are not run.
 *
 * Each page has a folder of its own, in which `docs` and `guests` are the project's.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';
import { type Fence, fences, pages } from './pages.ts';

const root = packageRoot();
const folder = mkdtempSync(join(tmpdir(), 'type2-docs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** `type2` as npm would install it. */
const bin = join(folder, 'bin');
mkdirSync(bin);
writeFileSync(
  join(bin, 'type2'),
  `#!/bin/sh\nexec '${process.execPath}' '${join(root, 'dist/bin/main.cjs')}' "$@"\n`,
);
chmodSync(join(bin, 'type2'), 0o755);

interface Command {
  readonly command: string;
  readonly output: readonly string[];
  readonly line: number;
}

function commandsOf(fence: Fence): Command[] {
  const commands: { command: string; output: string[]; line: number }[] = [];
  fence.lines.forEach((line, i) => {
    if (line.startsWith('$ ')) commands.push({ command: line.slice(2), output: [], line: fence.line + i });
    else if (line.trim() !== '') commands.at(-1)?.output.push(line);
  });
  return commands;
}

const squeeze = (text: string): string => text.replace(/[ \t]+/g, ' ').trim();

/** How long a command may take; then it is ended with all that it has started. */
const PATIENCE_MS = 100_000;

function run(command: string, cwd: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const environment = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH']}` };
    // Both streams through one pipe, as on a terminal: of two, either may be read first.
    const child = spawn('sh', ['-c', `exec 2>&1\n${command}`], {
      cwd,
      env: environment,
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    const timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), PATIENCE_MS);
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.once('error', reject);
    child.once('close', () => {
      clearTimeout(timer);
      resolve(output);
    });
  });
}

const has: Readonly<Record<string, () => boolean>> = {
  nasm: () => spawnSync('nasm', ['-v']).error === undefined,
};

const all = pages();
const shells = all.flatMap((page) =>
  fences(page)
    .filter(({ info }) => /^(console|sh)\b/.test(info))
    .map((fence) => ({ page, fence })),
);

describe.each([...new Set(shells.map(({ page }) => page))].map((page) => [page.path, page] as const))(
  'commands in %s',
  (path, page) => {
    const cwd = join(folder, path.replaceAll('/', '-'));
    mkdirSync(cwd);
    for (const name of ['docs', 'guests']) symlinkSync(join(root, name), join(cwd, name));

    for (const fence of shells.filter((shell) => shell.page === page).map((shell) => shell.fence)) {
      const why = /\bnot-run="([^"]+)"/.exec(fence.info)?.[1];
      const needs = /\bneeds=(\w+)/.exec(fence.info)?.[1];
      const title = `line ${fence.line}`;
      if (why !== undefined) {
        it(`${title} are not run: ${why}`, () => {
          expect(fence.lines.length).toBeGreaterThan(0);
        });
        continue;
      }
      const lacking = needs !== undefined && has[needs]?.() !== true;
      it.skipIf(lacking)(
        `${title} do what is shown${lacking ? ` (needs ${needs})` : ''}`,
        async () => {
          expect(fence.info, 'a block of commands is ```console, or says why it is not run').toMatch(
            /^console/,
          );
          const commands = commandsOf(fence);
          expect(commands.length).toBeGreaterThan(0);
          for (const { command, output, line } of commands) {
            const printed = squeeze(await run(command, cwd));
            let at = 0;
            for (const fragment of output) {
              const found = printed.indexOf(squeeze(fragment), at);
              expect(found, `${path}:${line}: “${fragment}” is not in\n${printed}`).toBeGreaterThanOrEqual(0);
              at = found + 1;
            }
          }
        },
        120_000,
      );
    }
  },
);

it('shows no commands that it does not account for', () => {
  const others = all.flatMap((page) =>
    fences(page)
      .filter(
        ({ info, lines }) => !/^(console|sh)\b/.test(info) && lines.some((line) => line.startsWith('$ ')),
      )
      .map(({ line }) => `${page.path}:${line}`),
  );
  expect(others, 'a block of commands is ```console, or says why it is not run').toEqual([]);
});

describe('docs/examples', () => {
  it('vmm.ts boots a guest with a device of its own, types a command, and says how it ended', async () => {
    const output = await run(`'${process.execPath}' '${join(root, 'dist/docs/examples/vmm.js')}'`, root);
    expect(output).toMatch(/0x000000\w\w/);
    expect(output).toMatch(/CPU 0 is in 64-bit mode/);
    expect(output).toMatch(/metronome: \{ tempo: 6000, beats: \d+/);
    expect(output).toMatch(/the run ended: power-off/);
  }, 120_000);
});
