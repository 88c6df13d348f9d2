/**
 * Instructions that hand on control, and those that concern the system. Jumps and calls within a code
 * segment are compiled; far transfers, interrupts, descriptor tables and the like go to helpers.
 */

import { Vector } from '../fault.ts';
import { type Builder, type Operand, Reg } from '../ir/builder.ts';
import type { Node } from '../ir/node.ts';
import { Seg, State } from '../layout.ts';
import { ARITHMETIC_FLAGS, EFLAGS } from '../system/context.ts';
import { CONTROL_ADDRESSES } from '../system/control-registers.ts';
import { syscall, sysenter, sysexit, sysret } from './fast-calls.ts';
import { iret } from './fast-iret.ts';
import { Helper, type HelperName } from './helpers.ts';
import { CONDITIONS } from './integer.ts';
import { loadSegment, popSegment } from './load-segment.ts';
import { define, type Meaning } from './table.ts';

/** Ends the block with a helper. */
const exit =
  (name: HelperName, argument?: (b: Builder) => number): Meaning =>
  (b) =>
    b.exit(Helper[name], argument?.(b) ?? b.size);
/** A helper after which the next instruction follows. */
const call =
  (name: HelperName, argument?: (b: Builder) => number): Meaning =>
  (b) =>
    b.helper(Helper[name], argument?.(b) ?? b.size);

/** As {@link exit}, with the operand's value in the scratch area. */
const exitWith =
  (name: HelperName): Meaning =>
  (b, x) => {
    b.setField(State.scratch, 8, b.extendU(b.read(x!)));
    b.exit(Helper[name], b.size);
  };
/** #GP when CPL isn't 0. */
const requireCpl0 = (b: Builder): void => b.guard(State.cpl, 3, () => b.raise(Vector.GP, 0));
/** #GP first when CPL isn't 0, before operands are looked at. */
const privileged =
  (meaning: Meaning): Meaning =>
  (b, ...operands) => {
    requireCpl0(b);
    meaning(b, ...operands);
  };
/** #UD in real and virtual-8086 mode, before operands are looked at. */
const protectedOnly =
  (meaning: Meaning): Meaning =>
  (b, ...operands) => {
    if (b.mode === 'segmented') b.helper(Helper.protectedMode);
    meaning(b, ...operands);
  };
/** The helper leaves a value in the scratch area for the operand. */
const readFrom =
  (name: HelperName): Meaning =>
  (b, x) => {
    b.helper(Helper[name], b.size);
    const value = b.field(State.scratch, 8);
    b.write(x!, x!.size === 64 ? value : b.wrap(value));
  };
/** The linear address of the memory operand goes to State.ea. */
const withAddress =
  (name: HelperName, bytes: number, ends = false, write = false): Meaning =>
  (b) => {
    b.setField(State.ea, 8, b.extendU(b.address(bytes, write)));
    if (ends) b.exit(Helper[name], b.size);
    else b.helper(Helper[name], b.size);
  };

const jumpNear: Meaning = (b, x) => {
  const target = b.read(x!);
  b.checkTarget(x!.size, target);
  b.jumpTo(x!.size, target);
};
const callNear: Meaning = (b, x) => {
  const target = b.read(x!);
  b.checkTarget(x!.size, target);
  b.push(b.size, b.resize(b.size, b.nextRip()));
  b.jumpTo(x!.size, target, 'call');
};
const returnNear: Meaning = (b, n) => {
  const target = b.top(b.size);
  b.checkTarget(b.size, target);
  b.release(b.size / 8);
  if (n !== undefined) {
    const count = b.read(n);
    const sp = b.gpr(Reg.sp, b.stackSize);
    b.setStackPointer(b.add(sp, b.resize(b.stackSize, count)));
  }
  b.jumpTo(b.size, target, 'return');
};
const loop =
  (kind: 'loop' | 'loope' | 'loopne'): Meaning =>
  (b) => {
    const size = b.addressSize;
    const count = b.let(b.sub(b.gpr(Reg.cx, size), b.const(size, 1)));
    b.setGpr(Reg.cx, size, count);
    const more = b.ne(b.truncate(size, count), b.const(size, 0));
    b.branch(kind === 'loop' ? more : b.and(more, b.condition(kind === 'loope' ? 4 : 5)));
  };

/** MOV to and from segment registers; a load may change the mode. */
const moveToSegment: Meaning = (b, to, from) => {
  if (to!.index === Seg.cs || to!.index > Seg.gs) return b.raise(Vector.UD);
  loadSegment(b, to!.index, from!);
};
const storeSegment: Meaning = (b, to, from) => {
  const selector = b.field(State.segSelector + 4 * from!.index, 4);
  b.write(
    to!.kind === 'memory' ? { ...to!, size: 16 } : to!,
    b.resize(to!.kind === 'memory' ? 16 : to!.size, selector),
  );
};
const pushSegment =
  (segment: number): Meaning =>
  (b) =>
    b.push(b.size, b.resize(b.size, b.field(State.segSelector + 4 * segment, 4)));
/** Address of a far pointer to State.ea; a fault of its offset comes before one of its selector. */
const farPointer = (b: Builder): void => {
  b.load(b.address(b.size / 8), b.size);
  b.setField(State.ea, 8, b.extendU(b.address(b.size / 8 + 2)));
};
const loadFar =
  (segment: number): Meaning =>
  (b, to) => {
    farPointer(b);
    b.exit(Helper.loadFarPointer, segment | (b.size << 8));
    void to;
  };

const portImmediate =
  (name: 'in' | 'out', width: (b: Builder) => number): Meaning =>
  (b, ...operands: Operand[]) => {
    const port =
      operands.find(({ kind }) => kind === 'immediate') ??
      operands.find((o) => o.index === Reg.dx && o.size === 16)!;
    b.setField(
      State.scratch,
      4,
      b.and(b.wrap(b.read(port)), b.i32(port.kind === 'immediate' ? 0xff : 0xffff)),
    );
    b.exit(Helper[name], width(b));
  };
const byte = (): number => 8;
const wide = (b: Builder): number => (b.size === 16 ? 16 : 32);

const CONTROL_REGISTERS = [0, 2, 3, 4, 8];

/** Flags that POPF changes at CPL 0, beside the arithmetic ones: TF IF DF IOPL NT AC ID. */
const POPF_FLAGS = 0x24_7700;

/** 1 at CPL 0, where most of these instructions are executed and everything is allowed. */
const isKernel = (b: Builder): Node => b.eqz(b.field(State.cpl, 4));

const cli: Meaning = (b) => {
  b.if(
    isKernel(b),
    () => b.setField(State.eflags, 4, b.and(b.field(State.eflags, 4), b.i32(~EFLAGS.IF))),
    () => b.helper(Helper.cli, b.size),
  );
};
const sti: Meaning = (b) => {
  b.if(
    b.and(isKernel(b), b.eqz(b.field(State.attention, 4))),
    () => b.setField(State.eflags, 4, b.or(b.field(State.eflags, 4), b.i32(EFLAGS.IF))),
    () => b.helper(Helper.sti, b.size),
  );
};
const pushf: Meaning = (b) => {
  if (b.mode === 'segmented') {
    b.helper(Helper.pushf, b.size);
    return;
  }
  // VM and RF are pushed as zero; VM can't be set here.
  const flags = b.or(b.or(b.and(b.field(State.eflags, 4), b.i32(0xfcffff)), b.flagBits()), b.i32(2));
  b.push(b.size, b.resize(b.size, flags));
};
const popf: Meaning = (b) => {
  if (b.mode === 'segmented') {
    b.helper(Helper.popf, b.size);
    return;
  }
  const value = b.let(b.wrap(b.top(b.size)));
  const plain = b.and(
    b.and(isKernel(b), b.eqz(b.field(State.attention, 4))),
    b.eqz(b.and(value, b.i32(EFLAGS.TF))),
  );
  b.if(
    plain,
    () => {
      const mask = b.size === 16 ? POPF_FLAGS & 0xffff : POPF_FLAGS;
      b.release(b.size / 8);
      b.setField(
        State.eflags,
        4,
        b.or(b.and(b.field(State.eflags, 4), b.i32(~mask)), b.and(value, b.i32(mask))),
      );
      b.setFlagBits(b.and(value, b.i32(ARITHMETIC_FLAGS)));
    },
    () => b.helper(Helper.popf, b.size),
  );
};
const swapgs: Meaning = (b) => {
  b.raiseIf(b.ne(b.field(State.cpl, 4), b.i32(0)), 13, 0);
  const base = b.field(State.segBase + 8 * Seg.gs, 8);
  b.setField(State.segBase + 8 * Seg.gs, 8, b.field(State.kernelGsBase, 8));
  b.setField(State.kernelGsBase, 8, base);
};

function defineAll(): void {
  const hex = (n: number): string => n.toString(16).padStart(2, '0');
  CONDITIONS.forEach((name, cc) => {
    define(hex(0x70 + cc), `J${name}`, 'Jb', (b) => b.branch(b.condition(cc)), { default64: true });
    define(`0f ${hex(0x80 + cc)}`, `J${name}`, 'Jz', (b) => b.branch(b.condition(cc)), { default64: true });
  });
  define('eb', 'JMP', 'Jb', (b) => b.jump(), { default64: true });
  define('e9', 'JMP', 'Jz', (b) => b.jump(), { default64: true });
  define('e8', 'CALL', 'Jz', (b) => b.callRelative(b.size), { default64: true });
  define('ff /2', 'CALL', 'Ev', callNear, { default64: true });
  define('ff /4', 'JMP', 'Ev', jumpNear, { default64: true });
  define('c2', 'RET', 'Iw', returnNear, { default64: true });
  define('c3', 'RET', '', returnNear, { default64: true });
  define('e0', 'LOOPNE', 'Jb', loop('loopne'), { default64: true });
  define('e1', 'LOOPE', 'Jb', loop('loope'), { default64: true });
  define('e2', 'LOOP', 'Jb', loop('loop'), { default64: true });
  define(
    'e3',
    'JCXZ',
    'Jb',
    (b) => {
      b.branch(b.eqz(b.gpr(Reg.cx, b.addressSize)));
    },
    { default64: true },
  );

  // Far transfers and interrupts
  define(
    '9a',
    'CALLF',
    'Ap',
    exit('callFar', (b) => b.size),
    { not64: true },
  );
  define(
    'ea',
    'JMPF',
    'Ap',
    exit('jumpFar', (b) => b.size),
    { not64: true },
  );
  const farMemory =
    (name: HelperName): Meaning =>
    (b) => {
      farPointer(b);
      b.exit(Helper[name], b.size | 0x100);
    };
  define('ff /3', 'CALLF', 'M', farMemory('callFar'), { memoryOnly: true, atMost32: true });
  define('ff /5', 'JMPF', 'M', farMemory('jumpFar'), { memoryOnly: true, atMost32: true });
  define(
    'ca',
    'RETF',
    'Iw',
    exit('returnFar', (b) => b.size | 0x100),
  );
  define('cb', 'RETF', '', exit('returnFar'));
  define('cc', 'INT3', '', exit('int3'));
  define('cd', 'INT', 'Ib', exit('int'));
  define('ce', 'INTO', '', exit('into'), { not64: true });
  define('cf', 'IRET', '', iret);
  define(
    'f1',
    'INT1',
    '',
    exit('int3', () => 1),
  );
  define('0f 05', 'SYSCALL', '', syscall);
  define('0f 07', 'SYSRET', '', sysret);
  define('0f 34', 'SYSENTER', '', sysenter);
  define('0f 35', 'SYSEXIT', '', sysexit);

  // Segments
  define('8c', 'MOV', 'Ev Sw', (b, to, from) =>
    from!.index > Seg.gs ? b.raise(Vector.UD) : storeSegment(b, to!, from!),
  );
  define('8e', 'MOV', 'Sw Ew', moveToSegment);
  for (const [push, pop, segment, only] of [
    ['06', '07', Seg.es, true],
    ['0e', '', Seg.cs, true],
    ['16', '17', Seg.ss, true],
    ['1e', '1f', Seg.ds, true],
    ['0f a0', '0f a1', Seg.fs, false],
    ['0f a8', '0f a9', Seg.gs, false],
  ] as const) {
    const attributes = only ? { not64: true } : { default64: true };
    define(push, 'PUSH', '', pushSegment(segment), attributes);
    if (pop !== '') define(pop, 'POP', '', (b) => popSegment(b, segment), attributes);
  }
  define('c4', 'LES', 'Gv M', loadFar(Seg.es), { not64: true, memoryOnly: true });
  define('c5', 'LDS', 'Gv M', loadFar(Seg.ds), { not64: true, memoryOnly: true });
  define('0f b2', 'LSS', 'Gv M', loadFar(Seg.ss), { memoryOnly: true, atMost32: true });
  define('0f b4', 'LFS', 'Gv M', loadFar(Seg.fs), { memoryOnly: true, atMost32: true });
  define('0f b5', 'LGS', 'Gv M', loadFar(Seg.gs), { memoryOnly: true, atMost32: true });

  // Ports
  define('e4', 'IN', 'AL Ib', portImmediate('in', byte));
  define('e5', 'IN', 'rAX Ib', portImmediate('in', wide));
  define('e6', 'OUT', 'Ib AL', portImmediate('out', byte));
  define('e7', 'OUT', 'Ib rAX', portImmediate('out', wide));
  define('ec', 'IN', 'AL DX', portImmediate('in', byte));
  define('ed', 'IN', 'rAX DX', portImmediate('in', wide));
  define('ee', 'OUT', 'DX AL', portImmediate('out', byte));
  define('ef', 'OUT', 'DX rAX', portImmediate('out', wide));

  // Flags and processor control
  define('9c', 'PUSHF', '', pushf, { default64: true });
  define('9d', 'POPF', '', popf, { default64: true });
  define('fa', 'CLI', '', cli);
  define('fb', 'STI', '', sti);
  define('f4', 'HLT', '', exit('hlt'));
  define('f3 90', 'PAUSE', '', exit('pause'));
  define('f3 0f 1e', 'NOP', 'Ev', () => {});
  define('0f 1e', 'NOP', 'Ev', () => {});
  for (const opcode of ['18', '19', '1a', '1b', '1c', '1d', '1f'])
    define(`0f ${opcode}`, 'NOP', 'Ev', () => {});
  define('0f 0d', 'PREFETCHW', 'Mb', () => {}, { memoryOnly: true });
  define('0f 0b', 'UD2', '', (b) => b.raise(6));
  define('0f b9', 'UD1', 'Gv Ev', (b) => b.raise(6));
  define('0f ff', 'UD0', 'Gv Ev', (b) => b.raise(6));
  define('0f a2', 'CPUID', '', call('cpuid'));
  define('0f 31', 'RDTSC', '', call('rdtsc'));
  define('0f 33', 'RDPMC', '', exit('rdpmc'));
  define('0f 01 =f9', 'RDTSCP', '', call('rdtscp'));
  define('0f 32', 'RDMSR', '', exit('rdmsr'));
  define('0f 30', 'WRMSR', '', exit('wrmsr'));
  define('0f 06', 'CLTS', '', exit('clts'));
  define('0f 08', 'INVD', '', exit('invd'));
  define('0f 09', 'WBINVD', '', exit('invd'));
  // Registers that don't exist are #UD at any privilege.
  define(
    '0f 20',
    'MOV',
    'Ry Cd',
    (b, to, from) => {
      if (!CONTROL_REGISTERS.includes(from!.index)) return b.raise(Vector.UD);
      // CR8 is the local APIC's.
      const field = CONTROL_ADDRESSES[from!.index];
      if (field !== undefined) requireCpl0(b);
      else b.helper(Helper.moveFromControl, from!.index);
      b.write(to!, b.resize(to!.size, b.field(field ?? State.scratch, 8)));
    },
    { force64: true },
  );
  define(
    '0f 21',
    'MOV',
    'Ry Dd',
    (b, to, from) => {
      if (from!.index > 7) return b.raise(Vector.UD);
      b.helper(Helper.moveFromDebug, from!.index);
      b.write(to!, b.resize(to!.size, b.field(State.scratch, 8)));
    },
    { force64: true },
  );
  define(
    '0f 22',
    'MOV',
    'Cd Ry',
    (b, to, from) => {
      if (!CONTROL_REGISTERS.includes(to!.index)) return b.raise(Vector.UD);
      b.setField(State.scratch, 8, b.extendU(b.read(from!)));
      b.exit(Helper.moveToControl, to!.index);
    },
    { force64: true },
  );
  define(
    '0f 23',
    'MOV',
    'Dd Ry',
    (b, to, from) => {
      if (to!.index > 7) return b.raise(Vector.UD);
      b.setField(State.scratch, 8, b.extendU(b.read(from!)));
      b.exit(Helper.moveToDebug, to!.index);
    },
    { force64: true },
  );
  define('0f 01 /0', 'SGDT', 'M', withAddress('sgdt', 10, false, true), { memoryOnly: true });
  define('0f 01 /1', 'SIDT', 'M', withAddress('sidt', 10, false, true), { memoryOnly: true });
  define('0f 01 /2', 'LGDT', 'M', privileged(withAddress('lgdt', 10, true)), {
    memoryOnly: true,
    force64: true,
  });
  define('0f 01 /3', 'LIDT', 'M', privileged(withAddress('lidt', 10, true)), {
    memoryOnly: true,
    force64: true,
  });
  define('0f 01 /4', 'SMSW', 'Ev', (b, x) => {
    const to = x!.kind === 'memory' ? { ...x!, size: 16 } : x!;
    b.write(to, b.resize(to.size, b.field(State.cr0, 4)));
  });
  define('0f 01 /6', 'LMSW', 'Ew', privileged(exitWith('lmsw')));
  define(
    '0f 01 /7',
    'INVLPG',
    'M',
    privileged((b) => {
      b.setField(
        State.ea,
        8,
        b.extendU(b.linear(b.mode === 'segmented' ? Seg.none : -1, b.effectiveAddress(), 0)),
      );
      b.exit(Helper.invlpg);
    }),
    { memoryOnly: true },
  );
  define('0f 01 =f8', 'SWAPGS', '', swapgs, { only64: true });
  define('0f 01 =d0', 'XGETBV', '', call('xgetbv'));
  define('0f 01 =d1', 'XSETBV', '', exit('xsetbv'));
  define('0f 01 =c1', 'VMCALL', '', exit('vmcall'));
  define('0f 01 =d9', 'VMMCALL', '', exit('vmcall'));
  for (const [digit, name, index] of [
    [0, 'SLDT', Seg.ldtr],
    [1, 'STR', Seg.tr],
  ] as const) {
    const meaning: Meaning = (b, x) => storeSegment(b, x!, { kind: 'other', size: 16, index });
    define(`0f 00 /${digit}`, name, 'Ev', protectedOnly(meaning));
  }
  define('0f 00 /2', 'LLDT', 'Ew', protectedOnly(privileged(exitWith('lldt'))));
  define('0f 00 /3', 'LTR', 'Ew', protectedOnly(privileged(exitWith('ltr'))));
  for (const [digit, name, forWriting] of [
    [4, 'VERR', 0],
    [5, 'VERW', 1],
  ] as const) {
    const meaning: Meaning = (b, x) => {
      b.setField(State.scratch, 8, b.extendU(b.read(x!)));
      b.helper(Helper.verr, forWriting);
    };
    define(`0f 00 /${digit}`, name, 'Ew', protectedOnly(meaning));
  }
  for (const [opcode, name, which] of [
    ['0f 02', 'LAR', 0],
    ['0f 03', 'LSL', 1],
  ] as const) {
    const meaning: Meaning = (b, to, from) => {
      b.setField(State.scratch, 8, b.extendU(b.read(from!)));
      b.helper(Helper.lar, which);
      const loaded = b.field(State.scratch, 8);
      const found = b.field(State.scratch + 8, 4);
      b.if(found, () => b.write(to!, to!.size === 64 ? loaded : b.wrap(loaded)));
    };
    define(opcode, name, 'Gv Ew', protectedOnly(meaning));
  }
  define(
    '62',
    'BOUND',
    'Gv M',
    (b, x) => {
      b.setField(State.scratch, 8, b.extendU(b.read(x!)));
      b.load(b.address(b.size / 8), b.size);
      b.setField(State.ea, 8, b.extendU(b.address(b.size / 4)));
      b.helper(Helper.bound, b.size);
    },
    { not64: true, memoryOnly: true },
  );
  define(
    '63',
    'ARPL',
    'Ew Gw',
    protectedOnly((b, x, y) => {
      const other = b.read(y!);
      const old = b.read(x!);
      const lower = b.let(b.ltU(b.and(old, b.i32(3)), b.and(other, b.i32(3))));
      b.if(lower, () => b.write(x!, b.or(b.and(old, b.i32(~3)), b.and(other, b.i32(3)))));
      b.setFlagBits(b.or(b.and(b.flagBits(), b.i32(~0x40)), b.shl(lower, b.i32(6))));
    }),
    { not64: true },
  );

  // Odds and ends
  define('60', 'PUSHA', '', call('pusha'), { not64: true });
  define('61', 'POPA', '', call('popa'), { not64: true });
  define('c8', 'ENTER', 'Iw Ib2', call('enter'), { default64: true });
  define('d7', 'XLAT', '', (b) => {
    const at = b.add(
      b.gpr(Reg.bx, b.mode === 'long' ? 64 : 32),
      b.resize(b.mode === 'long' ? 64 : 32, b.gpr(Reg.ax, 8)),
    );
    const cut =
      b.addressSize === 16
        ? b.and(at, b.i32(0xffff))
        : b.addressSize === 32 && b.mode === 'long'
          ? b.and(at, b.const(64, -1, 0))
          : at;
    b.setGpr(Reg.ax, 8, b.load(b.addressAt(cut, 1), 8));
  });
  for (const [opcode, name, kind] of [
    ['27', 'DAA', 0],
    ['2f', 'DAS', 1],
    ['37', 'AAA', 2],
    ['3f', 'AAS', 3],
  ] as const) {
    define(
      opcode,
      name,
      '',
      call('bcd', () => kind),
      { not64: true },
    );
  }
  define(
    'd4',
    'AAM',
    'Ib',
    call('bcd', () => 4),
    { not64: true },
  );
  define(
    'd5',
    'AAD',
    'Ib',
    call('bcd', () => 5),
    { not64: true },
  );
  define('0f c7 /6', 'RDRAND', 'Rv', readFrom('rdrand'), { registerOnly: true, noRepeat: true });
  define('0f c7 /7', 'RDSEED', 'Rv', readFrom('rdrand'), { registerOnly: true, noRepeat: true });
  define('9b', 'FWAIT', '', call('fwait'));
  const save = { memoryOnly: true, noPrefix: true };
  define('0f ae /0', 'FXSAVE', 'M', withAddress('fxsave', 512, false, true), save);
  define('0f ae /1', 'FXRSTOR', 'M', withAddress('fxrstor', 512), save);
  define(
    '0f ae /2',
    'LDMXCSR',
    'Md',
    (b, x) => {
      b.setField(State.scratch, 4, b.read(x!));
      b.helper(Helper.ldmxcsr, 0);
    },
    save,
  );
  define(
    '0f ae /3',
    'STMXCSR',
    'Md',
    (b, x) => {
      b.helper(Helper.ldmxcsr, 1);
      b.write(x!, b.field(State.mxcsr, 4));
    },
    save,
  );
  define(
    '0f ae /7',
    'CLFLUSH',
    'Mb',
    (b, x) => {
      b.read(x!);
    },
    save,
  );
  for (const reg of [5, 6, 7]) {
    define(`0f ae /${reg}`, ['LFENCE', 'MFENCE', 'SFENCE'][reg - 5]!, '', () => {}, {
      registerOnly: true,
      noPrefix: true,
    });
  }
}

defineAll();
