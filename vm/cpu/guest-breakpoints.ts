/**
 * Breakpoints that the guest has set in its debug registers: which instructions and accesses, to memory and to ports, they
 * stop at. SDM volume 3B, 18.2.
 */
import { State } from './layout.ts';
import type { CpuMemory } from './memory.ts';
import { pageNumber } from './mmu.ts';
import { CR4 } from './system/context.ts';

const COUNT = 4;
/** Bits of DR7 that enable any breakpoint. */
const ENABLED = 0xff;
/** What a breakpoint waits for: its two bits of DR7. That for ports is there with CR4.DE. */
const Kind = { execute: 0, write: 1, port: 2, access: 3 } as const;
/** Bytes by the two bits of length. */
const LENGTHS = [1, 2, 8, 4];

interface GuestBreakpoint {
  /** Its bit of DR6. */
  readonly bit: number;
  readonly kind: number;
  /** Number of its linear page; −1 for ports. */
  readonly page: number;
  /** First byte in its page, and the byte after the last; or ports. */
  readonly from: number;
  readonly to: number;
}

export class GuestBreakpoints {
  private readonly memory: CpuMemory;
  private breakpoints: GuestBreakpoint[] = [];

  constructor(memory: CpuMemory) {
    this.memory = memory;
  }

  /** Takes over the debug registers. @returns whether there was or is any breakpoint */
  reload(): boolean {
    const hadAny = this.hasAny;
    const dr7 = this.memory.get(State.dr + 8 * 5);
    if ((dr7 & ENABLED) === 0) this.breakpoints = [];
    else this.breakpoints = Array.from({ length: COUNT }, (_, n) => this.read(n, dr7)).filter(isSet);
    return hadAny || this.hasAny;
  }

  private read(n: number, dr7: number): GuestBreakpoint | undefined {
    if (((dr7 >> (2 * n)) & 3) === 0) return undefined;
    const what = dr7 >>> (16 + 4 * n);
    const kind = what & 3;
    const length = kind === Kind.execute ? 1 : LENGTHS[(what >> 2) & 3]!;
    const low = this.memory.get(State.dr + 8 * n);
    // Watched bytes are aligned to their number.
    if (kind === Kind.port) {
      if ((this.memory.get(State.cr4) & CR4.DE) === 0) return undefined;
      const port = low & 0xffff & -length;
      return { bit: 1 << n, kind, page: -1, from: port, to: port + length };
    }
    const from = low & 0xfff & -length;
    const page = pageNumber(low, this.memory.get(State.dr + 8 * n + 4));
    return { bit: 1 << n, kind, page, from, to: from + length };
  }

  /** Whether there is one on an instruction of a page. */
  onPage(page: number): boolean {
    return this.breakpoints.some((one) => one.kind === Kind.execute && one.page === page);
  }

  /** Bits of DR6 of those on the instruction at a linear address. */
  at(page: number, offset: number): number {
    return this.bits((one) => one.kind === Kind.execute && one.page === page && one.from === offset);
  }

  /** Whether there is one on accesses to a page. */
  watches(page: number): boolean {
    return this.breakpoints.some((one) => isOnData(one) && one.page === page);
  }

  /** Bits of DR6 of those on an access within a page. */
  hits(page: number, from: number, bytes: number, isWrite: boolean): number {
    return this.bits(
      (one) =>
        isOnData(one) &&
        one.page === page &&
        from < one.to &&
        from + bytes > one.from &&
        (isWrite || one.kind === Kind.access),
    );
  }

  /** Bits of DR6 of those on an access to ports. */
  ports(port: number, bytes: number): number {
    return this.bits((one) => one.kind === Kind.port && port < one.to && port + bytes > one.from);
  }

  get hasAny(): boolean {
    return this.breakpoints.length > 0;
  }

  /** Whether there is any on accesses. */
  get watchesAny(): boolean {
    return this.breakpoints.some(isOnData);
  }

  private bits(counts: (one: GuestBreakpoint) => boolean): number {
    let bits = 0;
    for (const one of this.breakpoints) if (counts(one)) bits |= one.bit;
    return bits;
  }
}

function isSet(one: GuestBreakpoint | undefined): one is GuestBreakpoint {
  return one !== undefined;
}

function isOnData({ kind }: GuestBreakpoint): boolean {
  return kind === Kind.write || kind === Kind.access;
}
