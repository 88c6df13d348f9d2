/**
 * Corners of x87 and its state in memory that vm/cpu once had wrong, with outcomes that both vendors' manuals give:
 * for hosts that can't judge.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { EngineUnderTest } from './engine.ts';
import { Case, Kind, Layout, type Mode, type Result } from './records.ts';

const PF = 14;
const DE = 2;
const UE = 0x10;
const PE = 0x20;
const ES_B = 0x8080;
const END = Layout.dataBase + Layout.dataSize;

let engine: EngineUnderTest;
beforeAll(() => {
  engine = new EngineUnderTest();
}, 60_000);

/** Runs an instruction with RCX or ECX as given. */
function run(mode: Mode, code: number[], ecx: number, set: (c: Case) => void = () => {}): Result {
  const c = new Case(mode, code);
  c.gpr[1] = BigInt(ecx);
  c.ftw = 0xff;
  set(c);
  return engine.run(c);
}

/** A register from exponent and significand. */
function put(c: Case, index: number, exponent: number, significand: bigint): void {
  const bytes = new Uint8Array(10);
  new DataView(bytes.buffer).setBigUint64(0, significand, true);
  new DataView(bytes.buffer).setUint16(8, exponent, true);
  c.st(index).set(bytes);
}

describe('vm/cpu, in corners', () => {
  it('computes nothing after an unmasked exception of the operands', () => {
    const result = run(64, [0xd8, 0xc1], 0, (c) => {
      c.fcw = 0x37d;
      put(c, 0, 0, 0x1234n);
      put(c, 1, 0x3fff, 0xc000_0000_0000_0001n);
    });
    expect(result.fsw).toBe(DE | ES_B);
  });

  it('takes for tiny what is tiny after rounding', () => {
    // FST m32 of just below the smallest normal number, which it rounds to; and of what is below by more.
    const store = (significand: bigint): number =>
      run(64, [0xd9, 0x11], Layout.middleBase, (c) => put(c, 0, 0x3f80, significand)).fsw & 0x3f;
    expect(store(0xffff_ffff_0000_0000n)).toBe(PE);
    expect(store(0xffff_fe80_0000_0000n)).toBe(PE | UE);
  });

  it('takes a tiny remainder for an unmasked underflow, by an infinite divisor too', () => {
    for (const opcode of [0xf8, 0xf5]) {
      const result = run(64, [0xd9, opcode], 0, (c) => {
        c.fcw = 0x36f;
        put(c, 0, 0, 0x6c_6717_8000n);
        put(c, 1, 0x7fff, 0x8000_0000_0000_0000n);
      });
      expect(result.fsw).toBe(UE | DE | ES_B);
    }
  });

  it('prefers a quiet NaN in a register to a signalling one in memory', () => {
    const result = run(64, [0xd8, 0x01], Layout.middleBase, (c) => {
      put(c, 0, 0x7fff, 0xc000_0000_0000_0001n);
      c.memory.set([0xff, 0xff, 0xbf, 0x7f]);
    });
    expect(result.fsw & 1).toBe(1);
    expect([...result.st(0)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0x7f]);
  });

  it('reads the frames of a nested ENTER with the privilege of the code', () => {
    // ENTER 0, 2 copies the frame pointer below RBP: in a page that isn't there, again and again.
    for (const rbp of [0x3an, 0x10_0038n, 0x3an]) {
      const result = run(64, [0xc8, 0, 0, 2], 0, (c) => {
        c.gpr[5] = rbp;
      });
      expect([result.kind, result.trap, result.cr2]).toEqual([Kind.trap, PF, rbp - 8n]);
    }
  });

  it('loads all of an environment or nothing', () => {
    for (const [code, size] of [
      [[0xd9, 0x21], 28],
      [[0xdd, 0x21], 108],
    ] as const) {
      const result = run(64, [...code], END - size + 1, (c) => c.memory.fill(0));
      expect([result.kind, result.trap, result.fcw, result.ftw]).toEqual([Kind.trap, 14, 0x37f, 0xff]);
      expect(run(64, [...code], END - size).kind).toBe(Kind.ok);
    }
  });

  it('stores nothing, and looks at no memory, when an unmasked exception forbids it', () => {
    const result = run(64, [0xdd, 0x11], 0x5000_0000, (c) => {
      c.fcw = 0x37e;
      c.ftw = 0;
    });
    expect([result.kind, result.fsw]).toEqual([Kind.ok, 0x41 | ES_B]);
  });

  it('holds all 512 bytes of FXSAVE and FXRSTOR against limit and pages', () => {
    for (const reg of [0, 8]) {
      const past = run(16, [0x0f, 0xae, 0x04 | reg], 0, (c) => (c.gpr[6] = 0xfe10n));
      expect([past.kind, past.trap, past.error]).toEqual([Kind.trap, 13, 0]);
      const split = run(32, [0x0f, 0xae, 0x01 | reg], END - 496);
      expect([split.kind, split.trap]).toEqual([Kind.trap, 14]);
      expect(run(32, [0x0f, 0xae, 0x01 | reg], END - 512).kind).toBe(Kind.ok);
    }
  });

  it('does not pop after FCOMIP with an unmasked denormal', () => {
    const result = run(64, [0xdf, 0xf1], 0, (c) => {
      c.fcw = 0x37d;
      put(c, 0, 0, 1n);
    });
    expect([result.fsw, result.ftw]).toEqual([DE | ES_B, 0xff]);
  });
});
