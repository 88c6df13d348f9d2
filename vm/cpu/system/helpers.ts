/**
 * Helpers: what instructions have TypeScript do. Each gets its static argument and its record; State.rip is
 * the next instruction already. See isa/helpers.ts.
 */
import { generalProtection, raise, Vector } from '../fault.ts';
import { fwait, x87 } from '../fpu/x87.ts';
import type { HelperName } from '../isa/helpers.ts';
import { HELPER_NAMES } from '../isa/helpers.ts';
import { Op, Seg, State } from '../layout.ts';
import type { CpuMemory } from '../memory.ts';
import { isCanonical, Mmu } from '../mmu.ts';
import {
  type CpuContext,
  CR0,
  CR4,
  EFLAGS,
  getEflags,
  iopl,
  isLong,
  isReal,
  isVirtual8086,
  setEflags,
} from './context.ts';
import { readControl, readDebug, writeControl, writeCr0, writeDebug } from './control-registers.ts';
import { fxrstor, fxsave } from './extended-state.ts';
import { deliver, interruptReturn, writableFlags } from './interrupts.ts';
import { checkPort } from './ports.ts';
import {
  Attribute,
  Descriptor,
  is64BitCode,
  loadSegment,
  markDescriptor,
  readDescriptor,
  Stack,
  setNullSegment,
  setSegment,
} from './segments.ts';
import { portString, stringBulk } from './strings.ts';
import { farReturn, farTransfer, syscall, sysenter, sysexit, sysret } from './transfer.ts';

export type HelperFunction = (cpu: CpuContext, argument: number, record: number) => void;

const descriptor = new Descriptor();

function requireCpl0(memory: CpuMemory): void {
  if (memory.get(State.cpl) !== 0) generalProtection();
}

/** CLI, STI, PUSHF, POPF and INT in virtual-8086 mode need IOPL 3. */
function checkVirtual(memory: CpuMemory): void {
  if (isVirtual8086(memory) && iopl(memory) < 3) generalProtection();
}

function setFlag(memory: CpuMemory, flag: number, on: boolean): void {
  const value = memory.get(State.eflags);
  memory.set(State.eflags, on ? value | flag : value & ~flag);
}

function setZero(memory: CpuMemory, on: boolean): void {
  const flags = getEflags(memory);
  setEflags(memory, on ? flags | EFLAGS.ZF : flags & ~EFLAGS.ZF);
}

function ea(memory: CpuMemory): [number, number] {
  return [memory.get(State.ea), memory.get(State.ea + 4)];
}

/** Reads a far pointer at State.ea. */
function farPointer(cpu: CpuContext, size: number): [number, number, number] {
  const { memory, mmu } = cpu;
  const [low, high] = ea(memory);
  const bytes = size / 8;
  // Its parts are aligned each by itself; the offset has been read before.
  const host = mmu.readableBytes(low, high, bytes + 2);
  const offsetLow = size === 16 ? memory.data.getUint16(host, true) : memory.data.getInt32(host, true);
  const offsetHigh = size === 64 ? memory.data.getInt32(host + 4, true) : 0;
  return [memory.data.getUint16(host + bytes, true), offsetLow, offsetHigh];
}

function far(how: 'jump' | 'call'): HelperFunction {
  return (cpu, argument, record) => {
    const { memory } = cpu;
    const size = argument & 0xff;
    if (argument & 0x100) {
      const [selector, low, high] = farPointer(cpu, size);
      farTransfer(cpu, how, size, selector, low, high);
      return;
    }
    farTransfer(
      cpu,
      how,
      size,
      memory.get(record + Op.displacement) & 0xffff,
      memory.get(record + Op.immediate),
      0,
    );
  };
}

function table(segment: number): HelperFunction {
  return (cpu, size) => {
    const { memory, mmu } = cpu;
    requireCpl0(memory);
    const [low, high] = ea(memory);
    const is64 = is64BitCode(memory);
    const host = mmu.readable(low, high, is64 ? 10 : 6);
    const limit = memory.data.getUint16(host, true);
    const base = memory.data.getInt32(host + 2, true);
    const baseHigh = is64 ? memory.data.getInt32(host + 6, true) : 0;
    if (!isCanonical(baseHigh)) generalProtection();
    // A 16-bit operand size takes 24 bits of the base.
    memory.set64(State.segBase + 8 * segment, size === 16 ? base & 0xff_ffff : base, baseHigh);
    memory.set(State.segLimit + 4 * segment, limit);
  };
}

function storeTable(segment: number): HelperFunction {
  return (cpu) => {
    const { memory, mmu } = cpu;
    const [low, high] = ea(memory);
    const is64 = is64BitCode(memory);
    memory.data.setUint16(0x18c0, memory.get(State.segLimit + 4 * segment) & 0xffff, true);
    memory.data.setInt32(0x18c2, memory.get(State.segBase + 8 * segment), true);
    memory.data.setInt32(0x18c6, memory.get(State.segBase + 8 * segment + 4), true);
    mmu.write(low, high, is64 ? 10 : 6, 0x18c0);
  };
}

function software(cpu: CpuContext, vector: number): void {
  deliver(cpu, vector, -1, 'software');
}

/** DIV and IDIV of 128 bits; the divisor lies in the scratch area. */
function divide64(signed: boolean): HelperFunction {
  return (cpu) => {
    const { memory } = cpu;
    const gpr = State.gpr >> 3;
    let divisor = memory.u64[State.scratch >> 3]!;
    let dividend = (memory.u64[gpr + 2]! << 64n) | memory.u64[gpr]!;
    if (signed) {
      divisor = BigInt.asIntN(64, divisor);
      dividend = BigInt.asIntN(128, dividend);
    }
    const quotient = dividend / divisor;
    if (signed ? BigInt.asIntN(64, quotient) !== quotient : BigInt.asUintN(64, quotient) !== quotient)
      raise(Vector.DE);
    memory.u64[gpr] = BigInt.asUintN(64, quotient);
    memory.u64[gpr + 2] = BigInt.asUintN(64, dividend % divisor);
  };
}

/** RCL and RCR: the operand goes round together with CF. */
const rotateCarry: HelperFunction = (cpu, argument) => {
  const { memory } = cpu;
  const size = argument & 0xff;
  const count = memory.get(State.scratch + 8) % (size + 1);
  const value = BigInt.asUintN(size, memory.u64[State.scratch >> 3]!);
  const flags = getEflags(memory);
  const width = BigInt(size + 1);
  const whole = (BigInt(flags & 1) << BigInt(size)) | value;
  const by = argument & 0x100 ? BigInt(size + 1 - count) : BigInt(count);
  const turned = BigInt.asUintN(size + 1, (whole << by) | (whole >> (width - by)));
  const result = BigInt.asUintN(size, turned);
  memory.u64[State.scratch >> 3] = result;
  if (memory.get(State.scratch + 8) === 0) return;
  const carry = count === 0 ? flags & 1 : Number((turned >> BigInt(size)) & 1n);
  const top = Number((result >> BigInt(size - 1)) & 1n);
  const second = Number((result >> BigInt(size - 2)) & 1n);
  const overflow = argument & 0x100 ? top ^ second : top ^ carry;
  setEflags(memory, (flags & ~(EFLAGS.CF | EFLAGS.OF)) | carry | (overflow << 11));
};

/** Decimal adjustment. SDM volume 2: DAA, DAS, AAA, AAS, AAM, AAD. */
const bcd: HelperFunction = (cpu, kind, record) => {
  const { memory } = cpu;
  let flags = getEflags(memory);
  const ax = memory.reg(0) & 0xffff;
  let al = ax & 0xff;
  let ah = ax >> 8;
  const wasCarry = (flags & EFLAGS.CF) !== 0;
  const adjust = (al & 15) > 9 || (flags & EFLAGS.AF) !== 0;
  const byResult = (): void => {
    let parity = al;
    parity ^= parity >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    flags &= ~(EFLAGS.SF | EFLAGS.ZF | EFLAGS.PF);
    flags |= (al & 0x80) | (al === 0 ? EFLAGS.ZF : 0) | ((parity & 1) === 0 ? EFLAGS.PF : 0);
  };
  const set = (flag: number, on: boolean): void => {
    flags = on ? flags | flag : flags & ~flag;
  };
  switch (kind) {
    case 0:
    case 1: {
      const old = al;
      const sign = kind === 0 ? 1 : -1;
      let carry = false;
      if (adjust) {
        carry = wasCarry || (kind === 0 ? al + 6 > 0xff : al < 6);
        al = (al + 6 * sign) & 0xff;
      }
      set(EFLAGS.AF, adjust);
      if (old > 0x99 || wasCarry) {
        al = (al + 0x60 * sign) & 0xff;
        carry = true;
      }
      set(EFLAGS.CF, carry);
      byResult();
      break;
    }
    case 2:
    case 3: {
      if (adjust) {
        const sum = kind === 2 ? ax + 0x106 : ax - 6;
        al = sum & 0xff;
        ah = ((sum >> 8) + (kind === 3 ? -1 : 0)) & 0xff;
      }
      set(EFLAGS.AF, adjust);
      set(EFLAGS.CF, adjust);
      al &= 15;
      byResult();
      break;
    }
    case 4: {
      const base = memory.get(record + Op.immediate) & 0xff;
      if (base === 0) raise(Vector.DE);
      ah = Math.floor(al / base);
      al %= base;
      byResult();
      break;
    }
    default: {
      const base = memory.get(record + Op.immediate) & 0xff;
      al = (al + ah * base) & 0xff;
      ah = 0;
      byResult();
    }
  }
  memory.setReg16(0, al | (ah << 8));
  setEflags(memory, flags);
};

const enter: HelperFunction = (cpu, argument, record) => {
  const { memory } = cpu;
  const size = argument;
  const allocation = memory.get(record + Op.immediate) & 0xffff;
  const level = memory.get(record + Op.displacement) & 31;
  const stack = Stack.current(cpu);
  const long = is64BitCode(memory);
  const bp = (): [number, number] => [memory.reg(5), memory.get(State.gpr + 8 * 5 + 4)];
  stack.push(size, ...bp());
  const frameLow = stack.spLow;
  const frameHigh = stack.spHigh;
  if (level > 0) {
    const old = new Stack(cpu, long, memory.get(State.cpl) === 3 ? Mmu.USER : Mmu.SUPERVISOR);
    old.set(
      memory.reg(5),
      memory.get(State.gpr + 8 * 5 + 4),
      memory.get(State.segBase + 8 * Seg.ss),
      memory.get(State.stackMask),
    );
    for (let i = 1; i < level; i++) {
      old.skip(-size / 8);
      const low = old.pop(size);
      const high = old.popHigh;
      old.skip(-size / 8);
      stack.push(size, low, high);
    }
    stack.push(size, frameLow, frameHigh);
  }
  stack.skip(-allocation);
  stack.checkTop(size / 8);
  stack.commit();
  if (size === 64) memory.setReg64(5, frameLow, frameHigh);
  else if (size === 32) memory.setReg32(5, frameLow);
  else memory.setReg16(5, frameLow);
};

const pusha: HelperFunction = (cpu, size) => {
  const { memory } = cpu;
  const stack = Stack.current(cpu);
  const values = Array.from({ length: 8 }, (_, i) => memory.reg(i));
  for (const value of values) stack.push(size, value);
  stack.commit();
};

const popa: HelperFunction = (cpu, size) => {
  const { memory } = cpu;
  const stack = Stack.current(cpu);
  const values = Array.from({ length: 8 }, () => stack.pop(size));
  stack.commit();
  for (let i = 0; i < 8; i++) {
    const register = 7 - i;
    if (register === 4) continue;
    if (size === 16) memory.setReg16(register, values[i]!);
    else memory.setReg32(register, values[i]!);
  }
};

/** LLDT and LTR. SDM volume 2. */
function systemSegment(cpu: CpuContext, segment: number, selector: number): void {
  const { memory } = cpu;
  if (isReal(memory) || isVirtual8086(memory)) raise(Vector.UD);
  requireCpl0(memory);
  const error = selector & 0xfffc;
  const isTask = segment === Seg.tr;
  if (error === 0) {
    if (isTask) generalProtection();
    setNullSegment(memory, segment, selector);
    return;
  }
  const long = isLong(memory);
  if (selector & 4 || !readDescriptor(cpu, selector, descriptor, long)) generalProtection(error);
  const { type } = descriptor;
  if (!descriptor.isSystem || (isTask ? type !== 9 && !(type === 1 && !long) : type !== 2))
    generalProtection(error);
  if (!descriptor.present) raise(Vector.NP, error);
  if (isTask) markDescriptor(cpu, descriptor, 2);
  setSegment(
    memory,
    segment,
    selector,
    descriptor.segmentBase,
    long ? descriptor.baseHigh : 0,
    descriptor.limit,
    descriptor.attributes,
  );
}

/** LAR and LSL: value and whether there is one go to the scratch area. */
const lar: HelperFunction = (cpu, isLimit) => {
  const { memory } = cpu;
  const selector = memory.get(State.scratch) & 0xffff;
  const d = descriptor;
  let found = (selector & 0xfffc) !== 0 && readDescriptor(cpu, selector, d);
  if (found) {
    const cpl = memory.get(State.cpl);
    if (!(d.isCode && d.isConforming) && (cpl > d.dpl || (selector & 3) > d.dpl)) found = false;
    if (d.isSystem) {
      const allowed = isLong(memory)
        ? isLimit
          ? [2, 9, 11]
          : [2, 9, 11, 12]
        : isLimit
          ? [1, 2, 3, 9, 11]
          : [1, 2, 3, 4, 5, 9, 11, 12];
      if (!allowed.includes(d.type)) found = false;
    }
  }
  memory.set64(State.scratch, found ? (isLimit ? d.limit | 0 : d.high & 0x00ff_ff00) : 0, 0);
  memory.set(State.scratch + 8, found ? 1 : 0);
  setZero(memory, found);
};

const verify: HelperFunction = (cpu, forWriting) => {
  const { memory } = cpu;
  const selector = memory.get(State.scratch) & 0xffff;
  const d = descriptor;
  let ok = (selector & 0xfffc) !== 0 && readDescriptor(cpu, selector, d) && !d.isSystem;
  if (ok) {
    const cpl = memory.get(State.cpl);
    if (!(d.isCode && d.isConforming) && (cpl > d.dpl || (selector & 3) > d.dpl)) ok = false;
    if (
      forWriting
        ? d.isCode || !(d.attributes & Attribute.writable)
        : d.isCode && !(d.attributes & Attribute.writable)
    )
      ok = false;
  }
  setZero(memory, ok);
};

const FUNCTIONS: Partial<Record<HelperName, HelperFunction>> = {
  stringBulk,
  portString,
  in: (cpu, size) => {
    const port = cpu.memory.get(State.scratch);
    checkPort(cpu, port, size / 8);
    cpu.portAccess(port, (size / 8) as 1 | 2 | 4, false);
  },
  out: (cpu, size) => {
    const port = cpu.memory.get(State.scratch);
    checkPort(cpu, port, size / 8);
    cpu.portAccess(port, (size / 8) as 1 | 2 | 4, true);
  },
  protectedMode: ({ memory }) => {
    if (isReal(memory) || isVirtual8086(memory)) raise(Vector.UD);
  },
  hlt: (cpu) => {
    requireCpl0(cpu.memory);
    cpu.memory.set(State.halted, 1);
    cpu.leaveSoon();
  },
  pause: (cpu) => cpu.endTurn(),
  cli: (cpu) => {
    const { memory } = cpu;
    if (!isReal(memory) && (isVirtual8086(memory) ? 3 : memory.get(State.cpl)) > iopl(memory))
      generalProtection();
    setFlag(memory, EFLAGS.IF, false);
  },
  sti: (cpu) => {
    const { memory } = cpu;
    if (!isReal(memory) && (isVirtual8086(memory) ? 3 : memory.get(State.cpl)) > iopl(memory))
      generalProtection();
    if (memory.get(State.eflags) & EFLAGS.IF) return;
    setFlag(memory, EFLAGS.IF, true);
    memory.set(State.interruptShadow, 1);
    cpu.interruptsChanged();
    // What waits is taken after one more instruction.
    if (memory.get(State.interruptShadow) !== 0) cpu.leaveNow();
  },
  pushf: (cpu, size) => {
    const { memory } = cpu;
    checkVirtual(memory);
    const stack = Stack.current(cpu);
    stack.push(size, getEflags(memory) & ~(EFLAGS.VM | EFLAGS.RF));
    stack.commit();
  },
  popf: (cpu, size) => {
    const { memory } = cpu;
    checkVirtual(memory);
    const stack = Stack.current(cpu);
    const flags = stack.pop(size);
    stack.commit();
    const cpl = isReal(memory) ? 0 : memory.get(State.cpl);
    const mask = writableFlags(memory, cpl, size);
    setEflags(memory, ((getEflags(memory) & ~mask) | (flags & mask)) & ~EFLAGS.RF);
    cpu.updateMode();
    // TF counts from the next instruction on, and an interrupt may be let in.
    cpu.leaveNow();
  },
  int: (cpu, _, record) => {
    checkVirtual(cpu.memory);
    software(cpu, cpu.memory.get(record + Op.immediate) & 0xff);
  },
  // INT1 is raised by the processor: the gate's DPL doesn't count.
  int3: (cpu, argument) => {
    if (argument !== 1) return software(cpu, Vector.BP);
    deliver(cpu, Vector.DB, -1, 'exception');
    cpu.inhibitTrap();
  },
  into: (cpu) => {
    if (getEflags(cpu.memory) & EFLAGS.OF) software(cpu, Vector.OF);
  },
  iret: (cpu, size) => interruptReturn(cpu, size),
  loadSegment: (cpu, argument) => {
    const { memory } = cpu;
    const segment = argument & 0xff;
    if (segment === Seg.cs || segment > Seg.gs) raise(Vector.UD);
    const selector = memory.get(State.scratch) & 0xffff;
    loadSegment(cpu, segment, selector);
    if (argument & 0x100) {
      const stack = Stack.current(cpu);
      stack.skip((argument >> 16) / 8);
      stack.commit();
    }
    if (segment === Seg.ss) {
      memory.set(State.interruptShadow, 1);
      cpu.inhibitTrap();
      cpu.updateMode();
      cpu.interruptsChanged();
    } else cpu.updateFlatness();
  },
  loadFarPointer: (cpu, argument, record) => {
    const { memory } = cpu;
    const size = argument >> 8;
    const [selector, low, high] = farPointer(cpu, size);
    loadSegment(cpu, argument & 0xff, selector);
    const register = (memory.get(record + Op.reg0) - State.gpr) >> 3;
    if (size === 16) memory.setReg16(register, low);
    else if (size === 32) memory.setReg32(register, low);
    else memory.setReg64(register, low, high);
    cpu.updateMode();
  },
  jumpFar: far('jump'),
  callFar: far('call'),
  returnFar: (cpu, argument, record) =>
    farReturn(cpu, argument & 0xff, argument & 0x100 ? cpu.memory.get(record + Op.immediate) & 0xffff : 0),
  pusha,
  popa,
  enter,
  bound: (cpu, size) => {
    const { memory, mmu } = cpu;
    const [low, high] = ea(memory);
    const read = (at: number): number =>
      size === 16 ? (mmu.readU16(low + at, high) << 16) >> 16 : mmu.readI32(low + at, high);
    const index = size === 16 ? (memory.get(State.scratch) << 16) >> 16 : memory.get(State.scratch);
    const lower = read(0);
    const upper = read(size / 8);
    if (index < lower || index > upper) raise(Vector.BR);
  },
  bcd,
  rotateCarry,
  div64: divide64(false),
  idiv64: divide64(true),
  moveFromControl: (cpu, number) => {
    requireCpl0(cpu.memory);
    cpu.memory.set64(State.scratch, ...readControl(cpu, number));
  },
  moveToControl: (cpu, number) => {
    requireCpl0(cpu.memory);
    writeControl(cpu, number, cpu.memory.get(State.scratch), cpu.memory.get(State.scratch + 4));
  },
  moveFromDebug: (cpu, number) => {
    requireCpl0(cpu.memory);
    cpu.memory.set64(State.scratch, ...readDebug(cpu, number));
  },
  moveToDebug: (cpu, number) => {
    requireCpl0(cpu.memory);
    writeDebug(cpu, number, cpu.memory.get(State.scratch), cpu.memory.get(State.scratch + 4));
  },
  clts: (cpu) => {
    requireCpl0(cpu.memory);
    cpu.memory.set(State.cr0, cpu.memory.get(State.cr0) & ~CR0.TS);
    cpu.updateMode();
  },
  lmsw: (cpu) => {
    const { memory } = cpu;
    requireCpl0(memory);
    const old = memory.get(State.cr0);
    // PE can be set by it, but not cleared.
    writeCr0(cpu, (old & ~14) | (memory.get(State.scratch) & 15));
  },
  lgdt: table(Seg.gdtr),
  lidt: table(Seg.idtr),
  sgdt: storeTable(Seg.gdtr),
  sidt: storeTable(Seg.idtr),
  lldt: (cpu) => systemSegment(cpu, Seg.ldtr, cpu.memory.get(State.scratch) & 0xffff),
  ltr: (cpu) => systemSegment(cpu, Seg.tr, cpu.memory.get(State.scratch) & 0xffff),
  lar,
  verr: verify,
  invlpg: (cpu) => {
    requireCpl0(cpu.memory);
    cpu.mmu.flushPage(...ea(cpu.memory));
  },
  invd: (cpu) => requireCpl0(cpu.memory),
  swapgs: (cpu) => {
    const { memory } = cpu;
    requireCpl0(memory);
    const at = State.segBase + 8 * Seg.gs;
    const low = memory.get(at);
    const high = memory.get(at + 4);
    memory.set64(at, memory.get(State.kernelGsBase), memory.get(State.kernelGsBase + 4));
    memory.set64(State.kernelGsBase, low, high);
  },
  cpuid: (cpu) => {
    const { memory } = cpu;
    const [a, b, c, d] = cpu.cpuid(memory.reg(0) >>> 0, memory.reg(1) >>> 0);
    memory.setReg32(0, a);
    memory.setReg32(3, b);
    memory.setReg32(1, c);
    memory.setReg32(2, d);
  },
  rdmsr: (cpu) => {
    const { memory } = cpu;
    requireCpl0(memory);
    const value = cpu.msrs.read(memory.reg(1) >>> 0);
    if (value === undefined) generalProtection();
    memory.setReg32(0, value.low);
    memory.setReg32(2, value.high);
  },
  wrmsr: (cpu) => {
    const { memory } = cpu;
    requireCpl0(memory);
    if (!cpu.msrs.write(memory.reg(1) >>> 0, memory.reg(0), memory.reg(2))) generalProtection();
  },
  rdtsc: (cpu) => readTsc(cpu),
  rdtscp: (cpu) => {
    readTsc(cpu);
    cpu.memory.setReg32(1, cpu.memory.get(State.tscAux));
  },
  rdpmc: (cpu) => {
    if (!(cpu.memory.get(State.cr4) & CR4.PCE)) requireCpl0(cpu.memory);
    generalProtection();
  },
  syscall: (cpu) => syscall(cpu),
  sysret: (cpu, size) => sysret(cpu, size),
  sysenter: (cpu) => sysenter(cpu),
  sysexit: (cpu) => sysexit(cpu),
  vmcall: (cpu) => {
    // No hypercalls: −ENOSYS, as KVM says.
    cpu.memory.setReg64(0, -1000, -1);
  },
  rdrand: (cpu, size) => {
    const { memory } = cpu;
    memory.set64(State.scratch, cpu.random(), size === 64 ? cpu.random() : 0);
    setEflags(memory, (getEflags(memory) & ~EFLAGS_ARITHMETIC) | EFLAGS.CF);
  },
  x87,
  fwait: (cpu) => fwait(cpu),
  fxsave: (cpu) => fxsave(cpu),
  fxrstor: (cpu) => fxrstor(cpu),
  ldmxcsr: (cpu, isStore) => {
    const { memory } = cpu;
    const trap = memory.get(State.fpuTrap);
    if (trap & 2) raise(Vector.UD);
    if (trap & 4) raise(Vector.NM);
    if (isStore) return;
    if (memory.get(State.scratch) & 0xffff_0000) generalProtection();
    memory.set(State.mxcsr, memory.get(State.scratch));
  },
};
const EFLAGS_ARITHMETIC = 0x8d5;

function readTsc(cpu: CpuContext): void {
  const { memory } = cpu;
  if (memory.get(State.cr4) & CR4.TSD && memory.get(State.cpl) !== 0) generalProtection();
  const tsc = cpu.tsc();
  memory.setReg32(0, (tsc % 0x1_0000_0000) | 0);
  memory.setReg32(2, Math.floor(tsc / 0x1_0000_0000) | 0);
}

const missing: HelperFunction = () => raise(Vector.UD);

/** By number. */
export const HELPERS: HelperFunction[] = HELPER_NAMES.map((name) => FUNCTIONS[name] ?? missing);

/** Puts in the helpers of another part of the CPU. */
export function addHelpers(functions: Partial<Record<HelperName, HelperFunction>>): void {
  for (const [name, run] of Object.entries(functions))
    HELPERS[HELPER_NAMES.indexOf(name as HelperName)] = run;
}
