/**
 * From the file of a user's device to something that every thread of a machine can import. JavaScript is
 * imported as it is, and so is TypeScript where Node strips types itself (22.18 and newer). On older releases
 * esbuild makes one JavaScript file of it, in a temporary folder that is gone when the process exits.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, extname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { BuildFailure } from 'esbuild';
import { ConfigError } from '../devices/errors.ts';

const JAVASCRIPT: readonly string[] = ['.js', '.mjs', '.cjs'];
const TYPESCRIPT: readonly string[] = ['.ts', '.mts', '.cts'];

/**
 * What to import for a device.
 * @param file - a path, from the current folder, or a file: URL
 * @throws ConfigError when the file is not there, or can't be made into JavaScript
 */
export async function deviceSource(file: string): Promise<{ url: string; compiled: boolean }> {
  const path = file.startsWith('file:') ? fileURLToPath(file) : resolve(file);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new ConfigError(`device ${file}: no such file`);
  if (!stat.isFile()) throw new ConfigError(`device ${file}: not a file`);
  const extension = extname(path);
  if (![...JAVASCRIPT, ...TYPESCRIPT].includes(extension)) {
    throw new ConfigError(`device ${file}: expected a file of TypeScript (.ts) or JavaScript (.js)`);
  }
  const plain = JAVASCRIPT.includes(extension) || stripsTypes();
  const url = pathToFileURL(plain ? path : await compile(file, path));
  // Node keeps what it has imported once; an edited file is another one.
  // Without a dot, which tools would take for that of a file's extension.
  url.search = `changed=${Math.round(stat.mtimeMs * 1000)}`;
  return { url: url.href, compiled: !plain };
}

/** Whether this Node imports TypeScript: `strip` or `transform` where it does. */
function stripsTypes(): boolean {
  const { typescript } = process.features as { typescript?: string | false };
  return typeof typescript === 'string';
}

/** @returns path of a JavaScript file with the device and all that it imports */
async function compile(file: string, path: string): Promise<string> {
  let esbuild: typeof import('esbuild');
  try {
    esbuild = await import('esbuild');
  } catch (cause) {
    throw new ConfigError(`device ${file}: Node ${process.version} does not run TypeScript by itself`, {
      hint: 'Use Node 22.18 or newer, or `npm install esbuild` beside type2, or write the device in JavaScript.',
      cause,
    });
  }
  const output = join(temporaryFolder(), `${basename(path, extname(path))}-${++compiled}.mjs`);
  try {
    await esbuild.build({
      entryPoints: [path],
      outfile: output,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      sourcemap: 'inline',
      logLevel: 'silent',
    });
  } catch (cause) {
    throw new ConfigError(`device ${file}: ${describeFailure(cause)}`, { cause });
  }
  return output;
}

let compiled = 0;
let folder: string | undefined;

/** One for the process: machines that restart import their devices again. */
function temporaryFolder(): string {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'type2-devices-'));
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
    folder = made;
  }
  return folder;
}

function describeFailure(cause: unknown): string {
  const [first] = (cause as Partial<BuildFailure>).errors ?? [];
  if (first === undefined) return cause instanceof Error ? cause.message : String(cause);
  const { location, text } = first;
  return location === null ? text : `line ${location.line}, column ${location.column + 1}: ${text}`;
}
