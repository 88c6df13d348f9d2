/**
 * The way into a kernel by an exception or an interrupt, where it is the usual one: from 64-bit code or flat 32-bit code at
 * CPL 0 or 3, through an interrupt gate to code of the same kind at CPL 0, as the GDT describes it for all kernels, with no
 * stack of the interrupt stack table. Everything else is left to TypeScript (system/interrupts.ts), which tells the same
 * in full. Memory is looked at by the TLB alone; where that hasn't got all of it, nothing has been changed.
 * SDM volume 3A, 6.12 and 6.14.
 */
import { type Builder, Reg } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { CODE_32, CODE_64, isCanonical, STACK, setCpl, setFlat } from '../isa/fast-calls.ts';
import { inTable, isDescriptor, KernelDescriptor, setNullStack } from '../isa/fast-iret.ts';
import { inGdt } from '../isa/load-segment.ts';
import {
  ModeBit,
  Seg,
  State,
  TLB,
  TLB_ADDEND,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_READ_TAG,
  TLB_WRITE_TAG,
} from '../layout.ts';
import { EFLAGS } from '../system/context.ts';
import { baseIndex } from './base.ts';
import type { DefineMeaning } from './base-meanings.ts';

const PAGE = 4096;
/** In the high word of a gate: present, and the type of an interrupt gate; in 64-bit mode no stack of a table, too. */
const GATE_MASK = 0x9f00;
const GATE = 0x8e00;
const STACK_TABLE = 7;
/** Where RSP0 is in a task state segment, or ESP0 and then SS0. */
const STACK_0 = 4;

/** An event on its way into the guest. */
interface Event {
  readonly vector: Node;
  /** −1 for none. */
  readonly errorCode: Node;
  /** EFLAGS as they are pushed. */
  readonly flags: Node;
}

/** Defines the function. */
export function defineDelivery(define: DefineMeaning): void {
  define('deliver', (b, vector, errorCode, more) => {
    const flags = b.let(b.or(b.or(b.field(State.eflags, 4), flagBits(b)), b.or(more!, b.i32(2))));
    return deliver(b, { vector: vector!, errorCode: errorCode!, flags });
  });
}

/** EFLAGS bits of the lazy flags. */
function flagBits(b: Builder): Node {
  const state = [b.field(State.ccRes, 8), b.field(State.ccAux, 8), b.field(State.ccShift, 4)];
  return b.call(baseIndex('flagBits'), 'i32', ...state);
}

/** @returns 0 when it has been delivered, else 1 */
function deliver(b: Builder, event: Event): Node {
  const rest = b.variable(b.i32(1));
  const mode = b.field(State.mode, 4);
  const isUser = b.let(b.eq(b.field(State.cpl, 4), b.i32(3)));
  const known = b.or(isUser, b.eqz(b.field(State.cpl, 4)));
  const flat = ModeBit.codeSize | ModeBit.flat | ModeBit.longActive;
  const delivered = (): void => b.assign(rest, b.i32(0));
  b.if(b.and(known, b.eqz(b.field(State.interruptShadow, 4))), () =>
    b.if(
      b.eq(b.and(mode, b.i32(ModeBit.codeSize)), b.i32(2)),
      () => deliverLong(b, event, isUser, delivered),
      () =>
        b.if(b.eq(b.and(mode, b.i32(flat)), b.i32(1 | ModeBit.flat)), () =>
          deliverFlat(b, event, isUser, delivered),
        ),
    ),
  );
  return rest;
}

function deliverLong(b: Builder, event: Event, isUser: Node, delivered: () => void): void {
  withGate(b, event.vector, 16, ({ at, low, high, offset }) => {
    const upper = b.shl(b.peek(b.let(b.add(at, b.i32(8))), 8), b.const(64, 32));
    const target = b.let(b.or(upper, b.extendU(offset)));
    const isUsual = b.and(b.eqz(b.and(high, b.i32(STACK_TABLE))), isCanonical(b, target));
    b.if(isUsual, () =>
      withCode(b, low, KernelDescriptor.code64, (selector) => {
        const stack = b.variable(b.field(State.gpr + 8 * Reg.sp, 8));
        const hasStack = b.variable(b.eqz(isUser));
        b.if(isUser, () =>
          withTaskStack(b, 8, (words) => {
            b.assign(stack, words);
            b.assign(hasStack, b.i32(1));
          }),
        );
        b.if(hasStack, () => {
          const words = [
            b.extendU(selectorOf(b, Seg.ss)),
            b.field(State.gpr + 8 * Reg.sp, 8),
            b.extendU(event.flags),
            b.extendU(selectorOf(b, Seg.cs)),
            b.field(State.rip, 8),
          ];
          push(b, b.and(stack, b.const(64, -16)), 8, words, event.errorCode, () => {
            b.if(isUser, () => setNullStack(b));
            enter(b, selector, CODE_64, target);
            delivered();
          });
        });
      }),
    );
  });
}

function deliverFlat(b: Builder, event: Event, isUser: Node, delivered: () => void): void {
  withGate(b, event.vector, 8, ({ low, offset }) =>
    withCode(b, low, KernelDescriptor.code32, (selector) => {
      const esp = b.field(State.gpr + 8 * Reg.sp, 4);
      const words = [event.flags, selectorOf(b, Seg.cs), b.field(State.rip, 4)];
      const arrive = (): void => {
        enter(b, selector, CODE_32, b.extendU(offset));
        delivered();
      };
      b.if(
        isUser,
        () =>
          withTaskStack(b, 6, (stack) => {
            const ss = b.let(b.and(b.wrap(b.shrU(stack, b.const(64, 32))), b.i32(0xffff)));
            b.if(b.and(b.eqz(b.and(ss, b.i32(3))), inGdt(b, ss)), () =>
              withHost(b, inTable(b, ss), 8, TLB_READ_TAG, (descriptor) =>
                b.if(isDescriptor(b, b.peek(descriptor, 8), KernelDescriptor.stack), () =>
                  push(b, b.wrap(stack), 4, [selectorOf(b, Seg.ss), esp, ...words], event.errorCode, () => {
                    setFlat(b, Seg.ss, ss, STACK);
                    arrive();
                  }),
                ),
              ),
            );
          }),
        () => push(b, esp, 4, words, event.errorCode, arrive),
      );
    }),
  );
}

const selectorOf = (b: Builder, segment: number): Node => b.field(State.segSelector + 4 * segment, 4);

/** A gate of the IDT: where it lies, its first two words, and the offset in them. */
interface Gate {
  readonly at: Node;
  readonly low: Node;
  readonly high: Node;
  readonly offset: Node;
}

function withGate(b: Builder, vector: Node, bytes: 8 | 16, then: (gate: Gate) => void): void {
  const offset = b.let(b.mul(vector, b.i32(bytes)));
  const limit = b.field(State.segLimit + 4 * Seg.idtr, 4);
  b.if(b.leU(b.or(offset, b.i32(bytes - 1)), limit), () => {
    const address = b.let(b.add(b.field(State.segBase + 8 * Seg.idtr, 8), b.extendU(offset)));
    withHost(b, address, bytes, TLB_READ_TAG, (at) => {
      const words = b.let(b.peek(at, 8));
      const low = b.let(b.wrap(words));
      const high = b.let(b.wrap(b.shrU(words, b.const(64, 32))));
      b.if(b.eq(b.and(high, b.i32(GATE_MASK)), b.i32(GATE)), () => {
        const target = b.let(b.or(b.and(low, b.i32(0xffff)), b.and(high, b.i32(0xffff_0000 | 0))));
        then({ at, low, high, offset: target });
      });
    });
  });
}

/** @param low - the gate's first word; its selector is handed on with RPL 0 */
function withCode(
  b: Builder,
  low: Node,
  descriptor: readonly [number, number],
  then: (selector: Node) => void,
): void {
  const selector = b.let(b.and(b.shrU(low, b.i32(16)), b.i32(0xfffc)));
  b.if(inGdt(b, b.let(b.shrU(low, b.i32(16)))), () =>
    withHost(b, inTable(b, selector), 8, TLB_READ_TAG, (at) =>
      b.if(isDescriptor(b, b.peek(at, 8), descriptor), () => then(selector)),
    ),
  );
}

/** The stack for CPL 0 from the task state segment, which has to have so many bytes of it. */
function withTaskStack(b: Builder, bytes: number, then: (words: Node) => void): void {
  const limit = b.field(State.segLimit + 4 * Seg.tr, 4);
  const is32 = b.and(b.field(State.segAttributes + 4 * Seg.tr, 4), b.i32(8));
  b.if(b.and(b.geU(limit, b.i32(STACK_0 + bytes - 1)), b.ne(is32, b.i32(0))), () => {
    const address = b.let(b.add(b.field(State.segBase + 8 * Seg.tr, 8), b.const(64, STACK_0)));
    withHost(b, address, 8, TLB_READ_TAG, (at) => then(b.let(b.peek(at, 8))));
  });
}

/** Pushes words of 4 or 8 bytes below `top`, then the error code if there is one, and sets the stack pointer. */
function push(
  b: Builder,
  top: Node,
  size: 4 | 8,
  words: readonly Node[],
  errorCode: Node,
  then: () => void,
): void {
  const bytes = (words.length + 1) * size;
  const bottom = b.let(b.extendU(b.sub(top, size === 8 ? b.const(64, bytes) : b.i32(bytes))));
  withHost(b, bottom, bytes, TLB_WRITE_TAG, (host) => {
    const put = (offset: number, value: Node): void => b.poke(b.let(b.add(host, b.i32(offset))), size, value);
    words.forEach((word, i) => {
      put(bytes - (i + 1) * size, word);
    });
    const hasError = b.let(b.geS(errorCode, b.i32(0)));
    b.if(hasError, () => put(0, size === 8 ? b.extendU(errorCode) : errorCode));
    const unused = b.select(hasError, b.const(64, 0), b.const(64, size));
    b.setField(State.gpr + 8 * Reg.sp, 8, b.add(bottom, unused));
    then();
  });
}

/** To CPL 0, with interrupts off. */
function enter(b: Builder, selector: Node, code: number, target: Node): void {
  setFlat(b, Seg.cs, selector, code);
  setCpl(b, 0);
  const cleared = EFLAGS.TF | EFLAGS.NT | EFLAGS.RF | EFLAGS.VM | EFLAGS.IF;
  b.setField(State.eflags, 4, b.and(b.field(State.eflags, 4), b.i32(~cleared)));
  b.setField(State.rip, 8, target);
  b.setField(State.halted, 4, b.i32(0));
}

/** Does something with the host address of bytes at a linear address, if supervisors' TLB has them, all in one page. */
function withHost(b: Builder, address: Node, bytes: number, tag: number, then: (host: Node) => void): void {
  const offset = b.wrap(b.shrU(address, b.const(64, 12 - TLB_ENTRY_SHIFT)));
  const entry = b.let(
    b.add(b.and(offset, b.i32((TLB_ENTRIES - 1) << TLB_ENTRY_SHIFT)), b.i32(TLB.supervisor)),
  );
  const at = (field: number): Node => b.let(b.add(entry, b.i32(field)));
  const distance = b.sub(address, b.peek(at(tag), 8));
  b.if(b.leU(distance, b.const(64, PAGE - bytes)), () =>
    then(b.let(b.add(b.wrap(address), b.wrap(b.peek(at(TLB_ADDEND), 8))))),
  );
}
