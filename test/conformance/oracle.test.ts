/**
 * The oracle itself: that what it says of instructions whose outcome everybody knows is so, in every mode, and
 * that a comparison finds a wrong CPU out. CPUs are held against it in tests of their own.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { FORMS, GROUPS, generateCases, missingFor, repeatCase } from './cases.ts';
import { type CpuUnderTest, compare } from './compare.ts';
import { Oracle } from './oracle.ts';
import { Case, Flag, Kind, Layout, type Mode, Result, segmentsOf, TRAP_SYSCALL } from './records.ts';

const unavailable = Oracle.unavailable();
const title = unavailable === undefined ? 'the oracle' : `the oracle (skipped: ${unavailable})`;
const { CF, PF, AF, ZF, SF, OF } = Flag;
const STATUS = CF | PF | AF | ZF | SF | OF;

describe.skipIf(unavailable !== undefined)(title, () => {
  const oracle = unavailable === undefined ? new Oracle() : (undefined as never);
  afterAll(() => oracle?.close());

  /** Runs one instruction with general registers (by number) set. */
  function run(
    mode: Mode,
    code: number[],
    registers: Record<number, bigint> = {},
    set?: (c: Case) => void,
  ): Result {
    const c = new Case(mode, code);
    for (const [n, value] of Object.entries(registers)) c.gpr[Number(n)] = value;
    set?.(c);
    return oracle.run([c])[0]!;
  }

  it('adds, with flags', () => {
    const sum = run(64, [0x48, 0x01, 0xc8], { 0: 0xffff_ffff_ffff_ffffn, 1: 1n }); // add rax, rcx
    expect(sum.kind).toBe(Kind.ok);
    expect(sum.gpr[0]).toBe(0n);
    expect(sum.rflags & STATUS).toBe(CF | PF | AF | ZF);
    expect(sum.rip).toBe(BigInt(Layout.codeBase + Layout.codeStart + 3));

    const carried = run(64, [0x11, 0xc8], { 0: 0x7fff_ffffn, 1: 0n }, (c) => (c.rflags = CF)); // adc eax, ecx
    expect(carried.gpr[0]).toBe(0x8000_0000n);
    expect(carried.rflags & STATUS).toBe(PF | AF | SF | OF);
  });

  it('leaves alone what an instruction does not name', () => {
    const c = new Case(64, [0x90]);
    for (let i = 0; i < 16; i++) c.gpr[i] = BigInt(i + 1) * 0x0101_0101_0101n;
    c.memory.set(c.memory.map((_, i) => i));
    for (let i = 0; i < 16; i++) c.xmm(i).fill(i + 1);
    c.rflags = CF | OF | Flag.DF;
    const result = oracle.run([c])[0]!;
    const expected = Result.from(c);
    expected.rip = BigInt(Layout.codeBase + Layout.codeStart + 1);
    expect(Buffer.compare(result.bytes, expected.bytes)).toBe(0);
  });

  it('reports #DE', () => {
    const result = run(64, [0xf7, 0xf1], { 0: 5n }); // div ecx
    expect([result.kind, result.trap, result.error]).toEqual([Kind.trap, 0, 0]);
    expect(result.rip).toBe(BigInt(Layout.codeBase + Layout.codeStart));
  });

  it('reports page faults with error code and address', () => {
    const end = BigInt(Layout.dataBase + Layout.dataSize);
    const read = run(64, [0x8b, 0x01], { 1: end - 2n }); // mov eax, [rcx]: across the end
    expect([read.trap, read.error, read.cr2]).toEqual([14, 4, end]);
    const write = run(64, [0x89, 0x01], { 1: BigInt(Layout.readonlyBase) }); // mov [rcx], eax
    expect([write.trap, write.error, write.cr2]).toEqual([14, 7, BigInt(Layout.readonlyBase)]);
    const wild = run(64, [0x8b, 0x01], { 1: 0x8000_0000_0000n });
    expect([wild.trap, wild.error]).toEqual([13, 0]);
  });

  it('reports #UD, #GP, breakpoints, system calls and what never ends', () => {
    expect(run(64, [0x0f, 0x0b]).trap).toBe(6);
    expect(run(64, [0xf4]).trap).toBe(13);
    const breakpoint = run(64, [0xcc]);
    expect([breakpoint.kind, breakpoint.trap]).toEqual([Kind.trap, 3]);
    expect(run(64, [0x0f, 0x05]).trap).toBe(TRAP_SYSCALL);
    expect(run(64, [0xeb, 0xfe]).kind).toBe(Kind.timeout);
    expect(run(64, [0x90]).kind).toBe(Kind.ok);
  });

  it('follows branches and the stack', () => {
    const call = run(64, [0xe8, 0x10, 0, 0, 0]);
    expect(call.rip).toBe(BigInt(Layout.codeBase + Layout.codeStart + 0x15));
    const stack = Layout.middleBase + 0xf0;
    expect(call.gpr[4]).toBe(BigInt(stack - 8));
    expect(call.memory.subarray(0xe8, 0xec)).toEqual(new Uint8Array([0x05, 0x08, 0x00, 0x20]));
    const away = run(64, [0xff, 0xe0], { 0: 0x1234_5678n }); // jmp rax, to where nothing is
    expect([away.kind, away.rip]).toEqual([Kind.ok, 0x1234_5678n]);
  });

  it('sees stores outside the windows', () => {
    expect(run(64, [0x88, 0x01], { 0: 1n, 1: BigInt(Layout.dataBase + 5) }).stray).toBe(Layout.dataBase + 5);
    expect(run(64, [0x90]).stray).toBe(0);
  });

  it('repeats string instructions', () => {
    const result = run(
      64,
      [0xf3, 0xa4], // rep movsb
      { 1: 5n, 6: BigInt(Layout.middleBase), 7: BigInt(Layout.middleBase + 16) },
      (c) => c.memory.set([1, 2, 3, 4, 5, 6]),
    );
    expect(result.memory.subarray(16, 22)).toEqual(new Uint8Array([1, 2, 3, 4, 5, 0]));
    expect([result.gpr[1], result.gpr[6]]).toEqual([0n, BigInt(Layout.middleBase + 5)]);
  });

  it('has x87', () => {
    const result = run(64, [0xd8, 0xc1], {}, (c) => {
      c.ftw = 0xff;
      c.st(0).set([0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]); // 1
      c.st(1).set([0, 0, 0, 0, 0, 0, 0, 0x80, 0x00, 0x40]); // 2
    });
    expect([...result.st(0)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0xc0, 0x00, 0x40]); // 3
    expect(result.ftw).toBe(0xff);
  });

  it('has SSE, with MXCSR', () => {
    const result = run(64, [0x0f, 0x58, 0xc1], {}, (c) => {
      const floats = new Float32Array(c.bytes.buffer, 160, 8);
      floats.set([1, 2, 3, 4, 10, 20, 30, 2 ** 30]);
    });
    expect(new Float32Array(result.xmm(0).slice().buffer)).toEqual(new Float32Array([11, 22, 33, 2 ** 30]));
    expect(result.mxcsr).toBe(0x1fa0); // inexact
  });

  it.skipIf(!oracle?.supports(32))('runs 32-bit code', () => {
    const result = run(32, [0x40], { 0: 0xffff_ffffn }); // inc eax, which is REX in 64-bit mode
    expect([result.kind, result.gpr[0], result.segment(1)]).toEqual([Kind.ok, 0n, 0x23]);
    const load = run(32, [0x65, 0xa1, 0x10, 0, 0, 0], {}, (c) => c.memory.set([1, 2, 3, 4], 16)); // mov eax, gs:[10h]
    expect(load.gpr[0]).toBe(0x0403_0201n);
  });

  it.skipIf(!oracle?.supports(16))('runs 16-bit code', () => {
    const push = run(16, [0x50], { 0: 0x1234_abcdn, 4: 0xdead_0ff0n }); // push ax
    expect([push.kind, push.gpr[4], push.rip]).toEqual([Kind.ok, 0xdead_0feen, BigInt(Layout.codeStart + 1)]);
    expect(push.memory.subarray(0xee, 0xf0)).toEqual(new Uint8Array([0xcd, 0xab]));
    const beyond = run(16, [0x8b, 0x04], { 6: 0xffffn }); // mov ax, [si]: past the limit
    expect([beyond.trap, beyond.error]).toEqual([13, 0]);
    expect([0, 1, 2, 3, 4, 5].map((i) => push.segment(i))).toEqual(segmentsOf(16).map((s) => s.selector));
  });

  it('gives the same cases for the same seed, and the same results each time', () => {
    const options = { seed: 99, count: 3 * FORMS.length };
    const first = [...generateCases(options)];
    const again = [...generateCases(options)];
    expect(again.map((c) => Buffer.from(c.bytes).toString('hex'))).toEqual(
      first.map((c) => Buffer.from(c.bytes).toString('hex')),
    );
    const sample = first[1000]!;
    expect(repeatCase(sample.form, sample.mode, sample.seed).bytes).toEqual(sample.bytes);

    const runnable = first.filter((c) => oracle.supports(c.mode) && !missingFor(c.group, oracle.features));
    const [one, two] = [oracle.run(runnable), oracle.run([...runnable].reverse()).reverse()];
    const unequal = runnable.filter(
      (c, i) =>
        Buffer.compare(one[i]!.bytes, two[i]!.bytes) !== 0 &&
        new Set(oracle.run([c, c, c, c]).map((result) => Buffer.from(result.bytes).toString('hex'))).size > 1,
    );
    expect(unequal.map((c) => `${c.form} ${c.mode} ${c.seed}`)).toEqual([]);
    expect(one.filter((result) => result.kind === Kind.timeout)).toEqual([]);
  });

  it('runs most cases of every group to their end', () => {
    for (const group of GROUPS.filter((name) => name !== 'misc' && name !== 'privileged')) {
      if (missingFor(group, oracle.features) !== undefined) continue;
      const results = oracle.run([...generateCases({ seed: 5, count: 1000, groups: [group], modes: [64] })]);
      const executed = results.filter((result) => result.kind === Kind.ok).length;
      if (group !== 'decimal') expect(executed, group).toBeGreaterThan(600);
    }
  });

  it('finds a wrong CPU out, and says one bug once', () => {
    /** The processor, played back, which forgets OF and the low bit of what INC and DEC give. */
    const options = { seed: 3, count: 4000, groups: ['alu'], modes: [64] as const };
    const cases = [...generateCases(options)];
    const results = new Map(oracle.run(cases).map((result, i) => [cases[i]!, result]));
    const wrong: CpuUnderTest = {
      name: 'wrong',
      run(c) {
        const result = new Result();
        result.bytes.set(results.get(c)!.bytes);
        if (c.form === 'inc FF/0' || c.form === 'dec FF/1') result.rflags &= ~OF;
        if (c.form === 'not F7/2') throw new Error('not implemented: not');
        return result;
      },
    };
    const report = compare(oracle, wrong, cases);
    const text = report.format();
    expect(report.cases).toBe(4000);
    expect(report.differing).toBeGreaterThan(0);
    expect(text).toMatch(/inc FF\/0, 64-bit: .*\n[\s\S]*OF: expected 1, got 0/);
    expect(text).toContain('not implemented: not');
    expect(text.split('\n').length).toBeLessThan(60);

    const right: CpuUnderTest = { name: 'right', run: (c) => results.get(c)! };
    expect(compare(oracle, right, cases).format()).toBe(
      'right: 4000 cases, 0 differ from the processor\n  ✓ alu: 4000 cases',
    );
  });
});
