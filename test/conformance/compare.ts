/**
 * Holds a CPU against the oracle: runs cases on both and tells, readably, where the results differ. Differences
 * are gathered by instruction form and by what differs, with one example of each, so that one bug is one
 * paragraph however many cases hit it.
 */
import { missingFor } from './cases.ts';
import type { Oracle } from './oracle.ts';
import { type Case, Flag, Kind, Layout, type Leeway, RECORD_SIZE, type Result } from './records.ts';
import { withoutVendorDifferences } from './vendor.ts';

/** A CPU that can execute one instruction from a given state. */
export interface CpuUnderTest {
  readonly name: string;
  /** Told which cases come next, before they are run. */
  prepare?(cases: readonly Case[]): void;
  /** Executes the case's one instruction. The result may be reused by the next call. */
  run(c: Case): Result;
}

/** One thing that differs in one case. */
export interface Difference {
  /** A register, a flag, `memory 10000f80`, `end` … */
  readonly what: string;
  readonly before: string;
  readonly expected: string;
  readonly actual: string;
}

const GPR_NAMES = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');
const SEGMENT_NAMES = 'es cs ss ds fs gs'.split(' ');
const FLAG_NAMES: readonly (readonly [string, number])[] = Object.entries(Flag);
const VECTORS: Readonly<Record<number, string>> = {
  0: '#DE',
  1: '#DB',
  3: '#BP',
  4: '#OF',
  5: '#BR',
  6: '#UD',
  7: '#NM',
  10: '#TS',
  11: '#NP',
  12: '#SS',
  13: '#GP',
  14: '#PF',
  16: '#MF',
  17: '#AC',
  19: '#XM',
  128: 'system call',
};

/** The offset and length of what is compared of the FXSAVE image, with a name for each piece. */
const FX_PIECES: readonly (readonly [string, number, number])[] = [
  ['fcw', 0, 2],
  ['fsw', 2, 2],
  ['ftw', 4, 1],
  ['mxcsr', 24, 4],
  ...Array.from({ length: 8 }, (_, i): [string, number, number] => [`st${i}`, 32 + 16 * i, 10]),
  ...Array.from({ length: 16 }, (_, i): [string, number, number] => [`xmm${i}`, 160 + 16 * i, 16]),
];

/** What differs between the results of one case, outside its leeway; empty if nothing does. */
export function differences(c: Case, expected: Result, actual: Result): Difference[] {
  const found: Difference[] = [];
  const { leeway } = c;
  const bothFault = expected.kind === Kind.trap && actual.kind === Kind.trap;
  const endings = [describeEnd(expected, leeway), describeEnd(actual, leeway)] as const;
  if (endings[0] !== endings[1])
    found.push({ what: 'end', before: '', expected: endings[0], actual: endings[1] });
  if (expected.rip !== actual.rip && !(leeway.anyRip && bothFault))
    found.push({
      what: 'rip',
      before: '',
      expected: expected.rip.toString(16),
      actual: actual.rip.toString(16),
    });

  if (leeway.onlyEnd) return found;

  const [gprs, others] = [expected.gprHalves, actual.gprHalves];
  for (let i = 0; i < 32; i++) {
    if (gprs[i] === others[i] || leeway.gprs & (1 << (i >> 1))) continue;
    if (leeway.partialLoads && bothFault && i >> 1 !== 4) continue;
    i |= 1;
    const n = i >> 1;
    found.push({
      what: GPR_NAMES[n]!,
      before: c.gpr[n]!.toString(16),
      expected: expected.gpr[n]!.toString(16),
      actual: actual.gpr[n]!.toString(16),
    });
  }

  const flags = (expected.rflags ^ actual.rflags) & ~leeway.flags & ~Flag.RF;
  if (flags)
    for (const [name, bit] of FLAG_NAMES)
      if (flags & bit) {
        const value = (of: number): string => (of & bit ? '1' : '0');
        found.push({
          what: name,
          before: value(c.rflags),
          expected: value(expected.rflags),
          actual: value(actual.rflags),
        });
      }

  if (!equalBytes(expected.fx, actual.fx)) compareFx(c, expected, actual, found);
  if (!equalBytes(expected.memory, actual.memory) && !(leeway.partialStores && expected.kind === Kind.trap))
    compareMemory(c, expected, actual, found);
  for (let i = 0; i < 6; i++)
    if (expected.segment(i) !== actual.segment(i))
      found.push({
        what: SEGMENT_NAMES[i]!,
        before: '',
        expected: expected.segment(i).toString(16),
        actual: actual.segment(i).toString(16),
      });
  if (expected.stray !== actual.stray && !coversStray(leeway, expected.stray, actual.stray))
    found.push({
      what: 'first store outside the windows',
      before: '',
      expected: expected.stray.toString(16),
      actual: actual.stray.toString(16),
    });
  return found;
}

function describeEnd(result: Result, leeway?: Leeway): string {
  switch (result.kind) {
    case Kind.ok:
      return 'executed';
    case Kind.trap: {
      const name = VECTORS[result.trap] ?? `vector ${result.trap}`;
      if (leeway?.anyFault && [12, 13, 14, 17].includes(result.trap)) return 'a fault of memory';
      if (result.trap === 14 && leeway?.anyPage) return name;
      if (result.trap === 14) return `${name}(${result.error.toString(16)}) at ${result.cr2.toString(16)}`;
      return result.error ? `${name}(${result.error.toString(16)})` : name;
    }
    case Kind.timeout:
      return 'never';
    default:
      return 'not run';
  }
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function compareFx(c: Case, expected: Result, actual: Result, found: Difference[]): void {
  for (const [what, offset, length] of FX_PIECES) {
    const a = expected.fx.subarray(offset, offset + length);
    const b = actual.fx.subarray(offset, offset + length);
    if (equalBytes(a, b)) continue;
    if (what === 'fsw' && ((expected.fsw ^ actual.fsw) & ~c.leeway.fsw) === 0) continue;
    if (what.startsWith('st') && c.leeway.x87Ulps > 0 && closeExtended(a, b, c.leeway.x87Ulps)) continue;
    if (what.startsWith('xmm') && c.leeway.xmmRelative > 0 && closeSingles(a, b, c.leeway.xmmRelative))
      continue;
    const before = c.fx.subarray(offset, offset + length);
    found.push({ what, before: number(before), expected: number(a), actual: number(b) });
  }
}

/** Bytes as one number, the most significant first. */
function number(bytes: Uint8Array): string {
  return Buffer.from(bytes).reverse().toString('hex');
}

function closeExtended(a: Uint8Array, b: Uint8Array, ulps: number): boolean {
  const whole = (bytes: Uint8Array): bigint => BigInt(`0x${number(bytes)}`);
  const [x, y] = [whole(a), whole(b)];
  if (x >> 79n !== y >> 79n) return false;
  // Across a power of two the explicit integer bit starts again at 2^63: take it out.
  const line = (value: bigint): bigint =>
    ((value >> 64n) & 0x7fffn) * (1n << 63n) + (value & ((1n << 63n) - 1n));
  const distance = line(x) - line(y);
  return distance <= BigInt(ulps) && distance >= -BigInt(ulps);
}

function closeSingles(a: Uint8Array, b: Uint8Array, relative: number): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  for (let i = 0; i < 16; i += 4) {
    if (x.readUInt32LE(i) === y.readUInt32LE(i)) continue;
    const [p, q] = [x.readFloatLE(i), y.readFloatLE(i)];
    if (!(Math.abs(p - q) <= relative * Math.abs(p))) return false;
  }
  return true;
}

/** The linear address of Case.memory[index]. */
function addressOf(index: number): number {
  return index < Layout.middleSize ? Layout.middleBase + index : Layout.tailBase + index - Layout.middleSize;
}

function inLeeway(leeway: Leeway, address: number): boolean {
  for (let i = 0; i < leeway.memory.length; i += 2) {
    const start = leeway.memory[i]!;
    if (address >= start && address < start + leeway.memory[i + 1]!) return true;
  }
  return false;
}

function coversStray(leeway: Leeway, expected: number, actual: number): boolean {
  return leeway.partialStores || inLeeway(leeway, expected) || inLeeway(leeway, actual);
}

function compareMemory(c: Case, expected: Result, actual: Result, found: Difference[]): void {
  const { memory } = c;
  for (let i = 0; i < memory.length; i++) {
    if (expected.memory[i] === actual.memory[i] || inLeeway(c.leeway, addressOf(i))) continue;
    let end = i + 1;
    while (end < memory.length && end < i + 16 && expected.memory[end] !== actual.memory[end]) end++;
    const bytes = (of: Uint8Array): string => Buffer.from(of.subarray(i, end)).toString('hex');
    found.push({
      what: `memory ${addressOf(i).toString(16)}`,
      before: bytes(memory),
      expected: bytes(expected.memory),
      actual: bytes(actual.memory),
    });
    i = end;
  }
}

/** The differences of one kind in one form: the first case that showed them, and how many did. */
interface Finding {
  readonly group: string;
  readonly form: string;
  readonly example: string;
  count: number;
}

/** The outcome of a comparison. */
export class Report {
  readonly cpu: string;
  cases = 0;
  /** Cases that differ. */
  differing = 0;
  /** Cases that weren't judged, by reason. */
  readonly skipped = new Map<string, number>();
  /** Cases in which the host's vendor does something otherwise than vm/cpu's (vendor.ts), by what it is. */
  readonly byVendor = new Map<string, number>();
  readonly #groups = new Map<string, { cases: number; differing: number }>();
  readonly #findings = new Map<string, Finding>();

  constructor(cpu: string) {
    this.cpu = cpu;
  }

  skip(reason: string): void {
    this.skipped.set(reason, (this.skipped.get(reason) ?? 0) + 1);
  }

  /** Notes that a case differs, or would, by one thing that is the vendor's. */
  coverByVendor(title: string): void {
    this.byVendor.set(title, (this.byVendor.get(title) ?? 0) + 1);
  }

  add(c: Case, found: readonly Difference[]): void {
    this.cases++;
    let group = this.#groups.get(c.group);
    if (!group) {
      group = { cases: 0, differing: 0 };
      this.#groups.set(c.group, group);
    }
    group.cases++;
    if (found.length === 0) return;
    this.differing++;
    group.differing++;
    // Which register it was matters less than that it was one: one bug, one finding.
    const kinds = new Set(
      found.map(({ what }) => what.replace(/^(r|st|xmm)[0-9a-z]+$/, '$1').replace(/ .*/, '')),
    );
    const key = `${c.form} ${c.mode} ${[...kinds].sort().join(' ')}`;
    const known = this.#findings.get(key);
    if (known) known.count++;
    else this.#findings.set(key, { group: c.group, form: c.form, example: describe(c, found), count: 1 });
  }

  /**
   * The report as text: a line a group, and the most frequent findings of each group that differs.
   * @param limit findings shown per group.
   */
  format(limit = 5): string {
    const lines = [`${this.cpu}: ${this.cases} cases, ${this.differing} differ from the processor`];
    for (const [reason, count] of this.skipped) lines.push(`  ${count} skipped: ${reason}`);
    const covered = [...this.byVendor].sort((a, b) => b[1] - a[1]);
    for (const [title, count] of covered) lines.push(`  ${count} by vendor: ${title}`);
    for (const [name, group] of this.#groups) {
      if (group.differing === 0) {
        lines.push(`  ✓ ${name}: ${group.cases} cases`);
        continue;
      }
      const findings = [...this.#findings.values()].filter((finding) => finding.group === name);
      findings.sort((a, b) => b.count - a.count);
      const forms = new Set(findings.map((finding) => finding.form));
      lines.push(`  ✗ ${name}: ${group.differing} of ${group.cases} cases differ, in ${forms.size} forms`);
      for (const finding of findings.slice(0, limit)) lines.push(`    ${finding.count}×  ${finding.example}`);
      const rest = [...new Set(findings.slice(limit).map((finding) => finding.form))];
      if (rest.length > 0)
        lines.push(`    and in: ${rest.slice(0, 30).join(', ')}${rest.length > 30 ? ' …' : ''}`);
    }
    return lines.join('\n');
  }
}

/** One case that differs, for people: its code, the state that matters and every difference. */
export function describe(c: Case, found: readonly Difference[]): string {
  const code = [...c.code].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  const lines = [`${c.form}, ${c.mode}-bit: ${code}   (seed ${c.seed})`];
  const count = c.mode === 64 ? 16 : 8;
  const registers = GPR_NAMES.slice(0, count).map((name, i) => `${name}=${c.gpr[i]!.toString(16)}`);
  for (let i = 0; i < count; i += 8) lines.push(`  in  ${registers.slice(i, i + 8).join(' ')}`);
  const set = FLAG_NAMES.filter(([, bit]) => c.rflags & bit).map(([name]) => name);
  lines.push(`  in  flags ${set.join(' ') || 'none'}`);
  const fx = FX_PIECES.filter(([name]) => mattersIn(c, name, found));
  for (const [name, offset, length] of fx)
    lines.push(`  in  ${name}=${number(c.fx.subarray(offset, offset + length))}`);
  if (c.operand !== undefined) {
    const index = memoryIndex(Number(c.operand));
    const bytes =
      index < 0 ? 'no window there' : Buffer.from(c.memory.subarray(index, index + 16)).toString('hex');
    lines.push(`  in  operand at ${c.operand.toString(16)}: ${bytes}`);
  }
  for (const { what, before, expected, actual } of found)
    lines.push(`  ${what}: expected ${expected}, got ${actual}${before === '' ? '' : `, was ${before}`}`);
  return lines.join('\n      ');
}

function memoryIndex(address: number): number {
  if (address >= Layout.middleBase && address < Layout.middleBase + Layout.middleSize)
    return address - Layout.middleBase;
  if (address >= Layout.tailBase && address < Layout.tailBase + Layout.tailSize)
    return address - Layout.tailBase + Layout.middleSize;
  return -1;
}

/** Whether a piece of x87 or SSE state helps to understand the case. */
function mattersIn(c: Case, name: string, found: readonly Difference[]): boolean {
  const x87 = /^(x87|mmx|fx)/.test(c.group);
  const sse = /^(sse|ssse|fx|aes|sha|pclmul|mmx-s)/.test(c.group);
  if (found.some(({ what }) => what === name)) return true;
  if (name === 'fcw' || name === 'fsw' || name === 'ftw') return x87;
  if (name === 'mxcsr') return sse;
  const [, kind, index] = /^(st|xmm)(\d+)$/.exec(name)!;
  if (kind === 'st')
    return x87 && (Number(index) < 2 || Number(index) === (c.rm & 7) || Number(index) === (c.reg & 7));
  return sse && (Number(index) === c.reg || (Number(index) === c.rm && c.operand === undefined));
}

/** Cases sent to the oracle at a time. */
const CHUNK = 8192;

/** A comparison under way: cases are gathered and run by the thousand. */
export class Comparison {
  readonly report: Report;
  readonly #oracle: Oracle;
  readonly #cpu: CpuUnderTest;
  readonly #buffer = new ArrayBuffer(CHUNK * RECORD_SIZE);
  #chunk: Case[] = [];

  constructor(oracle: Oracle, cpu: CpuUnderTest) {
    this.report = new Report(cpu.name);
    this.#oracle = oracle;
    this.#cpu = cpu;
  }

  add(c: Case): void {
    const oracle = this.#oracle;
    const missing = oracle.supports(c.mode)
      ? missingFor(c.group, oracle.features)
      : `no ${c.mode}-bit code here`;
    if (missing !== undefined) {
      this.report.skip(`${c.group}: ${missing}`);
      return;
    }
    this.#chunk.push(c);
    if (this.#chunk.length === CHUNK) this.finish();
  }

  /** Runs what has been gathered. More may follow. */
  finish(): Report {
    const chunk = this.#chunk;
    if (chunk.length === 0) return this.report;
    this.#chunk = [];
    const doubtful = this.#compare(chunk, false);
    if (doubtful.length > 0) this.#compare(doubtful, true);
    return this.report;
  }

  /** @returns the cases that differ, which are in the report only when this is `final`. */
  #compare(cases: readonly Case[], final: boolean): Case[] {
    const results = this.#oracle.run(cases, this.#buffer);
    this.#cpu.prepare?.(cases);
    const { vendor } = this.#oracle;
    return cases.filter((c, i) => !compareOne(this.report, vendor, this.#cpu, c, results[i]!, final));
  }
}

/**
 * Runs every case on the oracle and on the CPU.
 * @returns what differs. An error that the CPU throws counts as a difference of that case.
 */
export function compare(oracle: Oracle, cpu: CpuUnderTest, cases: Iterable<Case>): Report {
  const comparison = new Comparison(oracle, cpu);
  for (const c of cases) comparison.add(c);
  return comparison.finish();
}

/**
 * Compares one case. A difference counts when the oracle gave it twice: once in a million cases or two a
 * processor was seen to forget what an MMX instruction does to the x87 tags, when it was busy otherwise.
 * @returns false if there are differences, which aren't `final` and so not yet in the report.
 */
function compareOne(
  report: Report,
  vendor: string,
  cpu: CpuUnderTest,
  c: Case,
  expected: Result,
  final: boolean,
): boolean {
  if (expected.kind === Kind.timeout || expected.kind === Kind.unsupported) {
    report.skip(expected.kind === Kind.timeout ? 'the instruction never ends' : `no ${c.mode}-bit code here`);
    return true;
  }
  let found: readonly Difference[];
  try {
    const actual = cpu.run(c);
    const judged = withoutVendorDifferences(vendor, c, expected, actual, differences(c, expected, actual));
    found = judged.left;
    if (found.length === 0) for (const { title } of judged.due) report.coverByVendor(title);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    found = [{ what: 'threw', before: '', expected: describeEnd(expected), actual: message }];
  }
  if (found.length > 0 && !final) return false;
  report.add(c, found);
  return true;
}
