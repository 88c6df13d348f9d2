/**
 * A page walk, drawn level by level.
 */
import type { PageWalk, PageWalkStep } from '../../vm/debug/page-walk.ts';
import { hex } from '../../vm/trace/text.ts';
import { describePageEntry } from './bits.ts';

/** Lines from CR3 to the page. */
export function drawPageWalk(walk: PageWalk, linear: bigint, cr3: bigint): string[] {
  if (walk.mode === 'none')
    return [`paging is off (CR0.PG): linear ${hex(linear)} is physical ${hex(walk.gpa!)}`];
  const lines = [`${walk.mode} paging of linear ${hex(linear)}`, `CR3 ${hex(cr3)}`];
  walk.steps.forEach((step, depth) => {
    lines.push(`${'  '.repeat(depth)}└─ ${drawStep(step)}`);
  });
  const indent = '  '.repeat(walk.steps.length);
  const last = walk.steps.at(-1);
  if (walk.gpa !== undefined)
    lines.push(`${indent}└─ physical ${hex(walk.gpa)}, in a page of ${sizeText(walk.pageSize)}`);
  else if (last?.entry === undefined) lines.push(`${indent}└─ the table is outside RAM`);
  else lines.push(`${indent}└─ not present: an access is #PF`);
  return lines;
}

function drawStep({ name, table, index, entry, size, isPage }: PageWalkStep): string {
  const where = `${name.padEnd(5)} ${String(index).padStart(4)} at ${hex(table + index * size)}`;
  if (entry === undefined) return where;
  const kind = !isPage ? 'table' : name === 'PTE' ? 'page' : 'large';
  const bits = (entry & 1n) === 0n ? 'not present' : describePageEntry(entry, kind);
  return `${where} = ${hex(entry)}  ${bits}`;
}

function sizeText(bytes: number): string {
  return bytes >= 2 ** 30
    ? `${bytes / 2 ** 30} GiB`
    : bytes >= 2 ** 20
      ? `${bytes / 2 ** 20} MiB`
      : `${bytes / 1024} KiB`;
}
