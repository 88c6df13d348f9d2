/**
 * MMX and SSE instructions where random comparison with a processor doesn't reach: what the system forbids,
 * the edges between fast and slow paths, and examples whose outcome the manual gives.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { RAM_START, State } from '../layout.ts';
import { CR4 } from '../system/context.ts';
import { HandlerMachine } from './testing.ts';

const [UD, NM, GP, MF, XM] = [6, 7, 13, 16, 19] as const;

const Code = {
  addsd: 'f20f58c1',
  divsd: 'f20f5ec1',
  sqrtsd: 'f20f51c1',
  addpd: '660f58c1',
  ucomisd: '660f2ec1',
  cvttsd2si: 'f20f2cc1',
  cvtsi2sd: 'f2480f2ac1',
  movapsLoad: '0f2806',
  movupsLoad: '0f1006',
  movsdLoad: 'f20f1006',
  movsd: 'f20f10c1',
  pxor: '660fefc1',
  pshufd: '660f70c11b',
  paddb: '0ffcc1',
  movqToMmx: '0f6f06',
  emms: '0f77',
  pcmpistri: '660f3a63c11a',
  pcmpistrm: '660f3a62c144',
  pcmpestri: '660f3a61c10c',
} as const;

const bits = (value: number): bigint => new BigUint64Array(new Float64Array([value]).buffer)[0]!;

function text(machine: HandlerMachine, register: number, value: string): void {
  const at = State.xmm + 16 * register;
  machine.memory.u8.fill(0, at, at + 16);
  machine.memory.u8.set(Buffer.from(value), at);
}

describe('MMX and SSE instructions', () => {
  const machine = new HandlerMachine(Object.values(Code));
  const { memory } = machine;
  beforeEach(() => {
    memory.u8.fill(0, State.gpr, State.gpr + 128);
    memory.u8.fill(0, State.xmm, State.xmm + 256);
    memory.u8.fill(0, State.fpr, State.fpr + 128);
    memory.set(State.fpuTrap, 0);
    memory.set(State.fpuStatus, 0);
    memory.set(State.fpuTags, 0);
    memory.set(State.fpuTop, 0);
    memory.set(State.cr4, CR4.OSFXSR | CR4.OSXMMEXCPT);
    machine.mxcsr = 0x1f80;
    machine.helperCalls = 0;
  });

  it('are refused while the system says so', () => {
    memory.set(State.fpuTrap, 2 | 4);
    expect(machine.run(Code.pxor)).toBe(UD);
    memory.set(State.fpuTrap, 4 | 1);
    expect(machine.run(Code.addsd)).toBe(NM);
    expect(machine.run(Code.paddb)).toBe(NM);
    memory.set(State.fpuTrap, 1 | 8);
    expect(machine.run(Code.paddb)).toBe(UD);
    expect(machine.run(Code.pxor)).toBe(-1);
    memory.set(State.fpuTrap, 0);
    memory.set(State.fpuStatus, 0x81);
    expect(machine.run(Code.paddb)).toBe(MF);
    expect(machine.run(Code.emms)).toBe(MF);
    expect(machine.run(Code.addsd)).toBe(-1);
  });

  it('want aligned memory, those that do', () => {
    memory.setReg64(6, 0x1008, 0);
    memory.u8.fill(0x5a, RAM_START + 0x1000, RAM_START + 0x1020);
    expect(machine.run(Code.movapsLoad)).toBe(GP);
    expect(machine.xmm(0)).toEqual([0n, 0n]);
    expect(machine.run(Code.movupsLoad)).toBe(-1);
    expect(machine.xmm(0)).toEqual([0x5a5a5a5a5a5a5a5an, 0x5a5a5a5a5a5a5a5an]);
  });

  it('keep or clear the upper half', () => {
    machine.setXmm(0, 1n, 2n);
    machine.setXmm(1, 3n, 4n);
    machine.run(Code.movsd);
    expect(machine.xmm(0)).toEqual([3n, 2n]);
    machine.run(Code.movsdLoad);
    expect(machine.xmm(0)[1]).toBe(0n);
  });

  it('need no TypeScript once PE is set, nor for exact results', () => {
    machine.setXmm(0, bits(1));
    machine.setXmm(1, bits(3));
    machine.run(Code.divsd);
    expect(machine.mxcsr).toBe(0x1fa0);
    expect(machine.xmm(0)[0]).toBe(bits(1 / 3));
    machine.run(Code.divsd);
    machine.run(Code.sqrtsd);
    machine.run(Code.ucomisd);
    machine.mxcsr = 0x1f80;
    machine.setXmm(0, bits(0));
    machine.run(Code.addsd);
    machine.run(Code.cvtsi2sd);
    expect(machine.helperCalls).toBe(0);
    expect(machine.mxcsr).toBe(0x1f80);
  });

  it('raise unmasked exceptions before they change anything but flags', () => {
    machine.mxcsr = 0x1f80 & ~0x200;
    machine.setXmm(0, bits(1), 7n);
    expect(machine.run(Code.divsd)).toBe(XM);
    expect(machine.xmm(0)).toEqual([bits(1), 7n]);
    expect(machine.mxcsr & 0x3f).toBe(4);
    memory.set(State.cr4, CR4.OSFXSR);
    expect(machine.run(Code.divsd)).toBe(UD);
  });

  it('give the default NaN, which is negative', () => {
    machine.setXmm(0, bits(-1));
    machine.setXmm(1, bits(-1));
    machine.run(Code.sqrtsd);
    expect(machine.xmm(0)[0]).toBe(0xfff8_0000_0000_0000n);
    expect(machine.mxcsr & 0x3f).toBe(1);
  });

  it('convert what does not fit to the integer indefinite', () => {
    machine.setXmm(1, bits(3e9));
    machine.run(Code.cvttsd2si);
    expect(memory.u64[State.gpr >> 3]).toBe(0x8000_0000n);
    expect(machine.mxcsr & 0x3f).toBe(1);
    machine.setXmm(1, bits(-2.5));
    machine.run(Code.cvttsd2si);
    expect(memory.u64[State.gpr >> 3]).toBe(0xffff_fffen);
  });

  it('do packed lanes one by one when a zero is among them', () => {
    machine.setXmm(0, bits(1), bits(0));
    machine.setXmm(1, bits(2), bits(-0));
    machine.run(Code.addpd);
    expect(machine.xmm(0)).toEqual([bits(3), bits(0)]);
    expect(machine.helperCalls).toBe(0);
  });

  it('take MMX registers for x87 ones', () => {
    memory.set(State.fpuTop, 5);
    memory.u8.fill(0x11, RAM_START, RAM_START + 8);
    machine.run(Code.movqToMmx);
    expect(memory.u64[State.fpr >> 3]).toBe(0x1111111111111111n);
    expect(memory.u16[(State.fpr + 8) >> 1]).toBe(0xffff);
    expect([memory.get(State.fpuTop), memory.get(State.fpuTags)]).toEqual([0, 0xff]);
    machine.run(Code.emms);
    expect(memory.get(State.fpuTags)).toBe(0);
  });

  it('shuffle by the immediate', () => {
    machine.setXmm(1, 0x0000_0002_0000_0001n, 0x0000_0004_0000_0003n);
    machine.run(Code.pshufd);
    expect(machine.xmm(0)).toEqual([0x0000_0003_0000_0004n, 0x0000_0001_0000_0002n]);
  });

  it('compare strings', () => {
    // As in strcmp: the first difference, or the end.
    text(machine, 0, 'hypervisor');
    text(machine, 1, 'hyperspace');
    machine.run(Code.pcmpistri);
    expect(memory.reg(1)).toBe(5);
    // Ranges: a mask of the lower-case letters.
    text(machine, 0, 'az');
    text(machine, 1, 'Ab-cD');
    machine.run(Code.pcmpistrm);
    expect(machine.xmm(0)).toEqual([0x0000_0000_ff00_ff00n, 0n]);
    // A substring, with explicit lengths.
    text(machine, 0, 'visor');
    text(machine, 1, 'supervisor-hyper');
    memory.setReg32(0, 5);
    memory.setReg32(2, 16);
    machine.run(Code.pcmpestri);
    expect(memory.reg(1)).toBe(5);
  });
});
