/**
 * Long runs of the CPU in TypeScript against the processor:
 *
 *     node dist/test/conformance/main.js --count 1000000 --seed 1 --groups alu,shift --modes 64,32
 *
 * Ends with a report of all that differs, and with status 1 if anything does.
 */
import { parseArgs } from 'node:util';
import { generateBytes } from './bytes.ts';
import { GROUPS, generateCases, INTEGER_GROUPS } from './cases.ts';
import { Comparison } from './compare.ts';
import { EngineUnderTest, HOWS, type How } from './engine.ts';
import { Oracle, OracleError } from './oracle.ts';
import type { Mode } from './records.ts';

const USAGE = `usage: main.js [options]
  --count N       cases in all (default 100000)
  --seed S        the same seed gives the same cases (default 1)
  --groups a,b    only these: ${GROUPS.join(' ')};
                  integer stands for those of general-purpose instructions; bytes, alone, for random opcodes
  --modes 64,32   only these (default 64,32,16)
  --mnemonic add  only forms of this mnemonic
  --how interp    as blocks of the interpreter, or jit: compiled, or plain: by plain evaluation
                  (default step: by single steps)
  --aligned       with EFLAGS.AC: what isn't aligned is #AC
  --paging legacy 16- and 32-bit code under a 32-bit kernel's paging
  --findings N    differences shown per group (default 5)`;

/** Seconds between two lines of progress. */
const PROGRESS = 10;

function main(): number {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '100000' },
      seed: { type: 'string', default: '1' },
      groups: { type: 'string' },
      modes: { type: 'string', default: '64,32,16' },
      mnemonic: { type: 'string' },
      how: { type: 'string', default: 'step' },
      aligned: { type: 'boolean', default: false },
      paging: { type: 'string', default: 'long' },
      findings: { type: 'string', default: '5' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const groups = values.groups === undefined ? undefined : words(values.groups, 'integer', INTEGER_GROUPS);
  const unknown = groups?.filter((group) => !GROUPS.includes(group) && group !== 'bytes') ?? [];
  if (unknown.length > 0) return refuse(`no group is named ${unknown.join(', ')}`);
  const modes = words(values.modes).map(Number) as Mode[];
  if (modes.some((mode) => mode !== 64 && mode !== 32 && mode !== 16))
    return refuse('modes are 64, 32 and 16');
  const { how, paging } = values;
  if (!isHow(how)) return refuse(`how is ${HOWS.join(', ')}`);
  if (paging !== 'long' && paging !== 'legacy') return refuse('paging is long or legacy');
  const count = Number(values.count);
  const seed = Number(values.seed);
  if (!Number.isSafeInteger(count) || !Number.isSafeInteger(seed))
    return refuse('count and seed are numbers');

  const oracle = new Oracle();
  const comparison = new Comparison(oracle, new EngineUnderTest({ how, paging }));
  const start = performance.now();
  let next = start + 1000 * PROGRESS;
  let done = 0;
  const options = {
    seed,
    count,
    modes,
    aligned: values.aligned,
    ...(groups === undefined ? {} : { groups }),
    ...(values.mnemonic === undefined ? {} : { mnemonic: values.mnemonic }),
  };
  for (const c of groups?.[0] === 'bytes' ? generateBytes(options) : generateCases(options)) {
    comparison.add(c);
    done++;
    if (done % 1024 !== 0 || performance.now() < next) continue;
    next = performance.now() + 1000 * PROGRESS;
    const { differing } = comparison.report;
    console.error(`${done} of ${count} cases, ${rate(done, start)} a second, ${differing} differ`);
  }
  const report = comparison.finish();
  oracle.close();
  console.log(report.format(Number(values.findings)));
  console.log(`seed ${seed}, ${rate(done, start)} cases a second`);
  return report.differing === 0 ? 0 : 1;
}

function isHow(how: string): how is How {
  return (HOWS as readonly string[]).includes(how);
}

function rate(cases: number, start: number): number {
  return Math.round((1000 * cases) / (performance.now() - start));
}

/** Words between commas, where one name may stand for several. */
function words(text: string, name = '', meaning: readonly string[] = []): string[] {
  return text.split(',').flatMap((word) => (word === name && name !== '' ? meaning : [word]));
}

function refuse(reason: string): number {
  console.error(`${reason}\n\n${USAGE}`);
  return 2;
}

try {
  process.exitCode = main();
} catch (error) {
  if (!(error instanceof OracleError)) throw error;
  console.error(`no oracle: ${error.message}`);
  process.exitCode = 3;
}
