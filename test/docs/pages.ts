/** The pages that people read: all Markdown of the project, and what is in it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/guests.ts';

export interface Page {
  /** From the project's folder. */
  readonly path: string;
  readonly text: string;
}

const root = packageRoot();

/** Every page, but for the reference that typedoc makes. */
export function pages(): Page[] {
  const folders = ['docs', 'docs/labs', 'guests/labs', 'guests/linux', 'bench'];
  const inFolders = folders.flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.md'))
      .sort()
      .map((name) => join(folder, name)),
  );
  return ['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md', ...inFolders].map((path) => ({
    path,
    text: readFileSync(join(root, path), 'utf8'),
  }));
}

/** A fenced block of code. */
export interface Fence {
  /** After the backticks: the language and what else is there. */
  readonly info: string;
  readonly lines: readonly string[];
  /** Number of its first line in the page. */
  readonly line: number;
}

/** All fenced blocks of a page, in order. */
export function fences(page: Page): Fence[] {
  const found: Fence[] = [];
  let open: { info: string; lines: string[]; line: number } | undefined;
  page.text.split('\n').forEach((line, i) => {
    if (open === undefined) {
      const start = /^```(.*)$/.exec(line);
      if (start !== null) open = { info: start[1]!.trim(), lines: [], line: i + 2 };
    } else if (line === '```') {
      found.push(open);
      open = undefined;
    } else open.lines.push(line);
  });
  if (open !== undefined) throw new Error(`${page.path}: a block of code does not end`);
  return found;
}

/** The page without its blocks of code and its code in lines: what links are looked for in. */
export function prose(page: Page): string {
  return page.text.replace(/^```[\s\S]*?^```$/gm, '').replace(/`[^`\n]*`/g, '');
}
