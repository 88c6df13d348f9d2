/** Links within the project lead somewhere: to a file, a folder, or a heading. Examples in pages are the files themselves. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/guests.ts';
import { fences, pages, prose } from './pages.ts';

const root = packageRoot();
const all = pages();

/** As GitHub makes them: lower case, punctuation dropped, blanks to hyphens. */
function anchors(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

describe.each(all.map((page) => [page.path, page] as const))('%s', (path, page) => {
  it('has no broken links', () => {
    const broken: string[] = [];
    for (const [, target = ''] of prose(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [file = '', anchor] = target.split('#');
      const resolved = file === '' ? path : normalize(join(dirname(path), file));
      if (resolved.startsWith('..') || !existsSync(join(root, resolved))) broken.push(target);
      else if (anchor !== undefined && !anchors(readFileSync(join(root, resolved), 'utf8')).includes(anchor))
        broken.push(target);
    }
    expect(broken).toEqual([]);
  });

  it('names no file of the sources that is not there', () => {
    const missing: string[] = [];
    // Names as they stand in text and tables: from the project's folder, or a file of the folder spoken of.
    for (const [, name = ''] of page.text.matchAll(
      /`((?:src|vm|devices|test|bench|guests|docs)\/[\w./-]+)`/g,
    )) {
      if (!existsSync(join(root, name)) && !name.startsWith('docs/api')) missing.push(name);
    }
    expect(missing).toEqual([]);
  });
});

describe('docs', () => {
  it('are all led to from docs/README.md, labs from docs/labs/README.md', () => {
    for (const folder of ['docs', 'docs/labs']) {
      const contents = readFileSync(join(root, folder, 'README.md'), 'utf8');
      const names = readdirSync(join(root, folder)).filter(
        (name) => name.endsWith('.md') && name !== 'README.md',
      );
      expect(names.filter((name) => !contents.includes(`](${name})`))).toEqual([]);
    }
  });

  it('show the examples as they are, and those are short', () => {
    const shown = all.flatMap((page) => fences(page)).filter(({ info }) => info === 'ts');
    for (const name of readdirSync(join(root, 'docs/examples'))) {
      const path = join(root, 'docs/examples', name);
      if (!statSync(path).isFile()) continue;
      const text = readFileSync(path, 'utf8').trimEnd();
      expect(
        shown.some(({ lines }) => lines.join('\n') === text),
        `${name} stands in no page as it is`,
      ).toBe(true);
      expect(text.split('\n').length).toBeLessThanOrEqual(36);
    }
  });
});
