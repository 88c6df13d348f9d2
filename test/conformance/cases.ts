/**
 * The cases: every instruction form that user code can execute, with random operands that a seed repeats. The
 * forms are in forms-*.ts, how a case is put together in builder.ts.
 */
import { CaseBuilder } from './builder.ts';
import type { Form } from './forms.ts';
import { INTEGER_FORMS } from './forms-integer.ts';
import { SEGMENT_FORMS } from './forms-segment.ts';
import { SIMD_FORMS } from './forms-simd.ts';
import { X87_FORMS } from './forms-x87.ts';
import { Random } from './random.ts';
import { type Case, Flag, type Mode } from './records.ts';

export const FORMS: readonly Form[] = [...INTEGER_FORMS, ...SEGMENT_FORMS, ...X87_FORMS, ...SIMD_FORMS];

/** The groups of forms, in order. */
export const GROUPS: readonly string[] = [...new Set(FORMS.map((form) => form.group))];

/** Groups of instructions that vm/cpu's CPUID doesn't offer: it must not have them, whatever the host has. */
export const NOT_OFFERED: readonly string[] = ['bmi2', 'adx', 'aes', 'pclmul', 'sha'];

/**
 * The groups that a comparison judges. BMI1 isn't offered either: its VEX-coded instructions are undefined, and
 * TZCNT is BSF.
 */
export const OFFERED_GROUPS: readonly string[] = GROUPS.filter(
  (group) => group !== 'bmi1' && !NOT_OFFERED.includes(group),
);

/** The groups of general-purpose instructions that every x86-64 processor has, or nearly. */
export const INTEGER_GROUPS: readonly string[] = [
  ...['alu', 'multiply', 'divide', 'shift', 'bit', 'move', 'flags', 'stack', 'branch', 'string', 'decimal'],
  ...['misc', 'privileged', 'movbe', 'popcnt', 'crc32', 'lzcnt', 'segment', 'far'],
];

export const X87_GROUPS: readonly string[] = ['x87', 'x87-alias', 'fxsave'];

export const VECTOR_GROUPS: readonly string[] = OFFERED_GROUPS.filter(
  (group) => !INTEGER_GROUPS.includes(group) && !X87_GROUPS.includes(group),
);

/** The CPUID features (oracle.c's words) that a group's instructions need; a group not listed needs none. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  movbe: ['movbe'],
  popcnt: ['popcnt'],
  crc32: ['sse4.2'],
  lzcnt: ['lzcnt'],
  bmi1: ['bmi1', 'avx'],
  bmi2: ['bmi2', 'avx'],
  adx: ['adx'],
  x87: ['x87', 'cmov', 'sse3'],
  'x87-alias': ['x87'],
  mmx: ['mmx'],
  'mmx-sse': ['mmx', 'sse', 'sse2'],
  'mmx-ssse3': ['mmx', 'ssse3'],
  sse: ['sse', 'mmx'],
  fxsave: ['sse'],
  sse2: ['sse2', 'mmx'],
  'sse2-integer': ['sse2', 'mmx'],
  sse3: ['sse3'],
  ssse3: ['ssse3'],
  'sse4.1': ['sse4.1'],
  'sse4.2': ['sse4.2'],
  aes: ['aes'],
  pclmul: ['pclmul'],
  sha: ['sha'],
};

/** Why the host cannot judge a group's cases, or undefined if it can. */
export function missingFor(group: string, features: ReadonlySet<string>): string | undefined {
  const missing = (NEEDS[group] ?? []).filter((feature) => !features.has(feature));
  return missing.length === 0 ? undefined : `this processor has no ${missing.join(', no ')}`;
}

export interface CaseOptions {
  /** The same seed gives the same cases. */
  readonly seed: number;
  /** How many cases in all, spread evenly over forms and modes. */
  readonly count: number;
  /** Only these groups (default: those that vm/cpu offers). */
  readonly groups?: readonly string[];
  /** Only these modes (default: all three). */
  readonly modes?: readonly Mode[];
  /** Only forms of this mnemonic. */
  readonly mnemonic?: string;
  /** Have accesses to memory checked for alignment (EFLAGS.AC). */
  readonly aligned?: boolean;
}

/** The forms and modes that the options select. */
function selected(options: CaseOptions): { form: Form; mode: Mode }[] {
  const { groups = OFFERED_GROUPS, modes = [64, 32, 16], mnemonic } = options;
  return FORMS.filter((form) => groups.includes(form.group) && (mnemonic ?? form.mnemonic) === form.mnemonic)
    .flatMap((form) => form.modes.map((mode) => ({ form, mode })))
    .filter(({ mode }) => modes.includes(mode));
}

/** Yields `count` cases: the selected forms in turn, again and again, each time with other operands. */
export function* generateCases(options: CaseOptions): Generator<Case, void> {
  const choices = selected(options);
  const random = new Random(options.seed);
  for (let i = 0; i < options.count && choices.length > 0; i++) {
    const { form, mode } = choices[i % choices.length]!;
    const made = generateCase(form, mode, random.u32());
    if (options.aligned) made.rflags |= Flag.AC;
    yield made;
  }
}

/** Makes the case of one form that a seed stands for. */
export function generateCase(form: Form, mode: Mode, seed: number): Case {
  for (let attempt = seed; ; attempt = (attempt + 0x3779_97f5) >>> 0) {
    const made = new CaseBuilder(form, mode, attempt).build();
    if (made) {
      made.seed = seed;
      return made;
    }
  }
}

/**
 * Makes a case again from what a report says of it.
 * @throws {RangeError} if there is no form of this name.
 */
export function repeatCase(formName: string, mode: Mode, seed: number): Case {
  const form = FORMS.find((candidate) => candidate.name === formName);
  if (!form) throw new RangeError(`no instruction form is named ${formName}`);
  return generateCase(form, mode, seed);
}
