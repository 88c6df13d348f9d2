/**
 * The schema of a report's JSON file. README.md in this folder describes it for readers; this is the same for
 * programs, and what `--compare` checks an older file by.
 */
import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { ConfigError } from '../devices/errors.ts';
import { DIRECTIONS, FORMAT, type Report, UNITS } from './report.ts';

const histogram = v.object({ first: v.number(), growth: v.number(), counts: v.array(v.number()) });

const figure = v.object({
  median: v.number(),
  low: v.number(),
  high: v.number(),
  count: v.number(),
  histogram: v.optional(histogram),
});

const column = v.object({
  name: v.string(),
  title: v.string(),
  unit: v.optional(v.picklist(UNITS)),
  better: v.optional(v.picklist(DIRECTIONS)),
});

const row = v.object({
  name: v.string(),
  title: v.string(),
  unit: v.picklist(UNITS),
  better: v.picklist(DIRECTIONS),
  cells: v.record(v.string(), v.union([figure, v.object({ text: v.string() })])),
});

const part = v.object({
  name: v.string(),
  title: v.string(),
  tables: v.array(
    v.object({ name: v.string(), title: v.string(), columns: v.array(column), rows: v.array(row) }),
  ),
  notes: v.array(v.string()),
  errors: v.array(v.string()),
  seconds: v.number(),
});

const reportSchema: v.GenericSchema<unknown, Report> = v.object({
  format: v.literal(FORMAT),
  version: v.string(),
  date: v.string(),
  short: v.boolean(),
  host: v.object({
    processor: v.string(),
    processors: v.number(),
    memory: v.number(),
    kernel: v.string(),
    node: v.string(),
    kvm: v.string(),
    load: v.number(),
  }),
  parts: v.array(part),
});

/**
 * Checks what a file of a report holds.
 * @throws ConfigError that names what is wrong
 */
export function parseReport(text: string, where: string): Report {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(`${where} is no JSON`, { hint: HINT, cause });
  }
  const result = v.safeParse(reportSchema, json);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new ConfigError(
    `${where} is no report of ${FORMAT}: ${v.getDotPath(issue) ?? 'it'}: ${issue.message}`,
    {
      hint: HINT,
    },
  );
}

const HINT = 'Give a file that `npm run bench -- --json FILE` has written.';

/** @throws ConfigError when there is no such file, or no report in it */
export function readReport(path: string): Report {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ConfigError(`${path} can't be read`, { hint: HINT, cause });
  }
  return parseReport(text, path);
}
