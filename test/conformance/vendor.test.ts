/**
 * What the list of vendor differences covers, and what it doesn't: with made-up results, on any host.
 */
import { describe, expect, it } from 'vitest';
import { differences } from './compare.ts';
import { Case, Flag, Kind, Layout, type Mode, Result } from './records.ts';
import { VENDOR_DIFFERENCES, withoutVendorDifferences } from './vendor.ts';

/** A case, what the host made of it, and vm/cpu. */
function outcome(
  mode: Mode,
  code: number[],
  set: { case?: (c: Case) => void; host: (r: Result) => void; ours: (r: Result) => void },
): [Case, Result, Result] {
  const c = new Case(mode, code);
  c.memory.fill(0x55);
  set.case?.(c);
  const [host, ours] = [Result.from(c), Result.from(c)];
  set.host(host);
  set.ours(ours);
  return [c, host, ours];
}

function left(vendor: string, [c, host, ours]: [Case, Result, Result]): string[] {
  return withoutVendorDifferences(vendor, c, host, ours, differences(c, host, ours)).left.map(
    ({ what }) => what,
  );
}

function trap(vector: number): (r: Result) => void {
  return (r) => {
    r.kind = Kind.trap;
    r.trap = vector;
  };
}

/** Where PUSH of 32 bits stores, as an index of the memory windows. */
const SLOT = 0xf0 - 4;
const pushed = {
  host: (r: Result) => r.memory.set([0x2b, 0], SLOT),
  ours: (r: Result) => r.memory.set([0x2b, 0, 0, 0], SLOT),
};

describe('differences between vendors', () => {
  it('count for nothing on the processors that vm/cpu is like', () => {
    expect(left('AuthenticAMD', outcome(32, [0x1e], pushed))).toEqual(['memory 10000fee']);
    const own = VENDOR_DIFFERENCES.filter(({ vendors }) => vendors.includes('AuthenticAMD'));
    // Those in which AMD's own processors differ, and no manual says what is right.
    expect(own.length).toBe(11);
  });

  it('cover what they name of a case and no more', () => {
    expect(left('GenuineIntel', outcome(32, [0x1e], pushed))).toEqual([]);
    // Another instruction; another operand size; what should have been left alone; another register.
    expect(left('GenuineIntel', outcome(32, [0x50], pushed))).toEqual(['memory 10000fee']);
    expect(left('GenuineIntel', outcome(32, [0x66, 0x1e], pushed))).toEqual(['memory 10000fee']);
    const wrote = { ...pushed, host: (r: Result) => r.memory.set([0x2b, 0, 0xff, 0xff], SLOT) };
    expect(left('GenuineIntel', outcome(32, [0x1e], wrote))).toEqual(['memory 10000fee']);
    const moved = {
      ...pushed,
      ours: (r: Result) => {
        pushed.ours(r);
        r.gpr[4]! -= 4n;
      },
    };
    expect(left('GenuineIntel', outcome(32, [0x1e], moved))).toEqual(['rsp']);
  });

  it('know an instruction by prefixes and opcode', () => {
    const swapped = { host: () => {}, ours: (r: Result) => r.gpr.fill(1n, 0, 1) };
    expect(left('GenuineIntel', outcome(64, [0xf3, 0x41, 0x90], swapped))).toEqual([]);
    expect(left('GenuineIntel', outcome(64, [0xf3, 0x40, 0x90], swapped))).toEqual(['rax']);
    expect(left('GenuineIntel', outcome(64, [0x41, 0x90], swapped))).toEqual(['rax']);
    const loaded = { host: () => {}, ours: trap(13) };
    expect(left('GenuineIntel', outcome(64, [0x48, 0x0f, 0xb4, 0x01], loaded))).toEqual([]);
    expect(left('GenuineIntel', outcome(64, [0x0f, 0xb4, 0x01], loaded))).toEqual(['end']);
    expect(left('GenuineIntel', outcome(64, [0x48, 0xff, 0x29], loaded))).toEqual([]);
    expect(left('GenuineIntel', outcome(64, [0x48, 0xff, 0x21], loaded))).toEqual(['end']);
  });

  it('cover what vm/cpu does not offer only while it has no such instruction', () => {
    const undefinedHere = { host: () => {}, ours: trap(6) };
    expect(left('GenuineIntel', outcome(32, [0xc7, 0xf8, 0, 0, 0, 0], undefinedHere))).toEqual([]);
    expect(left('GenuineIntel', outcome(32, [0xc7, 0xf9, 0, 0, 0, 0], undefinedHere))).toEqual(['end']);
    expect(left('GenuineIntel', outcome(32, [0x0f, 0x38, 0xf9, 0x01], undefinedHere))).toEqual([]);
    const elsewhere = { host: () => {}, ours: trap(13) };
    expect(left('GenuineIntel', outcome(32, [0x0f, 0x38, 0xf9, 0x01], elsewhere))).toEqual(['end']);
  });

  it('have titles of their own', () => {
    expect(new Set(VENDOR_DIFFERENCES.map(({ title }) => title)).size).toBe(VENDOR_DIFFERENCES.length);
  });

  it('cover the flags of CMPS and SCAS only when they fault and are as before', () => {
    const faulted = {
      case: (c: Case) => (c.rflags = Flag.CF),
      host: trap(14),
      ours: (r: Result) => {
        trap(14)(r);
        r.rflags ^= Flag.CF | Flag.ZF;
      },
    };
    expect(left('GenuineIntel', outcome(32, [0xf3, 0xa6], faulted))).toEqual([]);
    expect(left('GenuineIntel', outcome(32, [0xa6], faulted))).toEqual(['CF', 'ZF']);
    expect(left('GenuineIntel', outcome(32, [0xf3, 0xa4], faulted))).toEqual(['CF', 'ZF']);
    const changed = { ...faulted, host: faulted.ours, ours: faulted.host };
    expect(left('GenuineIntel', outcome(32, [0xf3, 0xa6], changed))).toEqual(['CF', 'ZF']);
  });

  it('cover upper halves that REP with 32-bit addresses clears', () => {
    const counted = (count: bigint) => ({
      case: (c: Case) => (c.gpr[1] = (7n << 32n) | count),
      host: (r: Result) => (r.gpr[1] = 0n),
      ours: (r: Result) => (r.gpr[1] = 7n << 32n),
    });
    expect(left('GenuineIntel', outcome(64, [0x67, 0xf3, 0xaa], counted(0n)))).toEqual([]);
    expect(left('GenuineIntel', outcome(64, [0xf3, 0xaa], counted(0n)))).toEqual(['rcx']);
    expect(left('GenuineIntel', outcome(64, [0x67, 0xf3, 0xaa], counted(1n)))).toEqual(['rcx']);
  });

  it('know where a selector in its slot ends on another page', () => {
    const popped = (sp: number) => ({
      case: (c: Case) => (c.gpr[4] = BigInt(sp)),
      host: () => {},
      ours: trap(14),
    });
    const end = Layout.dataBase + Layout.dataSize;
    expect(left('GenuineIntel', outcome(32, [0x1f], popped(end - 3)))).toEqual([]);
    expect(left('GenuineIntel', outcome(32, [0x1f], popped(end - 4)))).toEqual(['end']);
    expect(left('GenuineIntel', outcome(32, [0x1f], popped(end - 1)))).toEqual(['end']);
  });
});
