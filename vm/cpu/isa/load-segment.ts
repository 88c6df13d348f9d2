/**
 * Loads of data segment registers, where they are what kernels do: in 64-bit code null; with flat segments a data segment of
 * all of memory from the GDT, or for FS and GS none, or one with a base. Everything else is left to the helper, which tells it in full.
 * SDM volume 2: MOV, POP; volume 3A, 3.4.5 and 5.7.
 */
import type { Builder, Operand } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { ModeBit, Seg, State } from '../layout.ts';
import { isLegacy, setMode } from './fast-calls.ts';
import { Helper } from './helpers.ts';

/** In the high word of a descriptor: present, a data segment, writable, accessed, with a limit of 4 GiB. */
const DATA_MASK = 0x008f_9f00;
const DATA = 0x008f_9300;
/** And 32-bit and from 0, which leaves nothing but DPL and the bit for the system. */
const FLAT_MASK = ~0x0010_6000;
const FLAT = 0x00cf_9300;
export const UNUSABLE = 0x1_0000;

/** MOV to a segment register, ends the block: the mode may change. */
export function loadSegment(b: Builder, segment: number, from: Operand): void {
  const selector = b.let(b.read({ ...from, size: 16 }));
  load(b, segment, selector, segment, () => {});
}

/** POP of a segment register. */
export function popSegment(b: Builder, segment: number): void {
  const selector = b.let(b.and(b.wrap(b.top(b.size)), b.i32(0xffff)));
  load(b, segment, selector, segment | 0x100 | (b.size << 16), () => b.release(b.size / 8));
}

function load(b: Builder, segment: number, selector: Node, argument: number, release: () => void): void {
  const whole = (): void => {
    b.setField(State.scratch, 4, selector);
    b.helper(Helper.loadSegment, argument);
  };
  if (b.mode === 'segmented' || segment === Seg.ss) whole();
  else if (b.mode === 'long') {
    // The mode doesn't depend on what is loaded; kernels load nothing but null.
    b.fallBack(b.geU(selector, b.i32(4)), whole, () => {
      release();
      setFields(b, segment, selector, b.i32(0), b.i32(0), b.i32(UNUSABLE));
    });
  } else {
    // The table is read with the privilege of the code that runs; in IA-32e mode it may lie beyond 4 GiB.
    const kernel = b.and(b.eqz(b.field(State.cpl, 4)), isLegacy(b));
    const isNull = b.ltU(selector, b.i32(4));
    const known = isFsOrGs(segment) ? b.or(isNull, inGdt(b, selector)) : inGdt(b, selector);
    b.fallBack(b.eqz(b.and(kernel, known)), whole, () => {
      const fromGdt = (): void => fromTable(b, segment, selector, release, whole);
      if (!isFsOrGs(segment)) fromGdt();
      else
        b.if(
          isNull,
          () => {
            release();
            setNull(b, segment, selector);
          },
          fromGdt,
        );
    });
  }
  b.leave();
}

/** Whether a selector names a descriptor of the GDT, beyond the first. */
export function inGdt(b: Builder, selector: Node): Node {
  const limit = b.field(State.segLimit + 4 * Seg.gdtr, 4);
  return b.and(
    b.and(b.eqz(b.and(selector, b.i32(4))), b.geU(selector, b.i32(8))),
    b.geU(limit, b.or(selector, b.i32(7))),
  );
}

function fromTable(
  b: Builder,
  segment: number,
  selector: Node,
  release: () => void,
  otherwise: () => void,
): void {
  const index = b.and(selector, b.i32(0xfff8));
  const words = b.let(b.load(b.let(b.add(b.field(State.segBase + 8 * Seg.gdtr, 4), index)), 64));
  const low = b.let(b.wrap(words));
  const high = b.let(b.wrap(b.shrU(words, b.const(64, 32))));
  b.fallBack(b.eqz(b.and(isPlain(b, segment, low, high), mayUse(b, selector, high))), otherwise, () => {
    release();
    setSegment(b, segment, selector, low, high);
  });
}

/** Whether a descriptor is of the kind that {@link setSegment} can load. */
function isPlain(b: Builder, segment: number, low: Node, high: Node): Node {
  const isKind = (mask: number, kind: number): Node => b.eq(b.and(high, b.i32(mask)), b.i32(kind));
  if (isFsOrGs(segment))
    return b.and(isKind(DATA_MASK, DATA), b.eq(b.and(low, b.i32(0xffff)), b.i32(0xffff)));
  return b.and(isKind(FLAT_MASK, FLAT), b.eq(low, b.i32(0xffff)));
}

/** Whether RPL is no greater than DPL; CPL is 0. */
function mayUse(b: Builder, selector: Node, high: Node): Node {
  const dpl = b.and(b.shrU(high, b.i32(13)), b.i32(3));
  return b.geU(dpl, b.and(selector, b.i32(3)));
}

function setSegment(b: Builder, segment: number, selector: Node, low: Node, high: Node): void {
  const base = b.or(
    b.or(b.shrU(low, b.i32(16)), b.shl(b.and(high, b.i32(0xff)), b.i32(16))),
    b.and(high, b.i32(0xff00_0000 | 0)),
  );
  setFields(b, segment, selector, base, b.i32(-1), b.and(b.shrU(high, b.i32(8)), b.i32(0xf0ff)));
  // DS and ES are as flat as before.
  if (isFsOrGs(segment)) setMode(b, b.or(b.field(State.mode, 4), b.i32(modeBit(segment))));
}

function setNull(b: Builder, segment: number, selector: Node): void {
  setFields(b, segment, selector, b.i32(0), b.i32(0), b.i32(UNUSABLE));
  setMode(b, b.and(b.field(State.mode, 4), b.i32(~modeBit(segment))));
}

function setFields(
  b: Builder,
  segment: number,
  selector: Node,
  base: Node,
  limit: Node,
  attributes: Node,
): void {
  b.setField(State.segSelector + 4 * segment, 4, selector);
  b.setField(State.segBase + 8 * segment, 8, b.extendU(base));
  b.setField(State.segLimit + 4 * segment, 4, limit);
  b.setField(State.segAttributes + 4 * segment, 4, attributes);
  b.setField(State.rip, 8, b.nextRip());
}

const modeBit = (segment: number): number => (segment === Seg.fs ? ModeBit.flatFs : ModeBit.flatGs);

function isFsOrGs(segment: number): boolean {
  return segment === Seg.fs || segment === Seg.gs;
}
