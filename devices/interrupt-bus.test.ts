/** Messages between APICs: destinations, shorthands, delivery modes, arbitration. */
import { beforeEach, describe, expect, it } from 'vitest';
import { ApicRig, Reg } from './testing/apic-rig.ts';

const LOGICAL = 1 << 11;
const LOWEST = 1 << 8;
const SELF = 1 << 18;
const ALL = 2 << 18;
const OTHERS = 3 << 18;
const NONE = -1;

let rig: ApicRig;

/** CPU 0 sends an interrupt command. */
function send(low: number, destination = 0): void {
  rig.apic.write(Reg.icrHigh, 4, destination << 24);
  rig.apic.write(Reg.icrLow, 4, low);
}

beforeEach(() => {
  rig = new ApicRig(4);
});

describe('physical destinations', () => {
  it('are APIC ids', () => {
    send(0x41, 2);
    expect(rig.pending()).toEqual([NONE, NONE, 0x41, NONE]);
    expect(rig.apic.read(Reg.icrLow, 4)).toBe(0x41);
    expect(rig.apic.read(Reg.icrHigh, 4)).toBe(0x0200_0000);
  });

  it('may be everyone, or nobody', () => {
    send(0x41, 9);
    expect(rig.pending()).toEqual([NONE, NONE, NONE, NONE]);
    send(0x41, 0xff);
    expect(rig.pending()).toEqual([0x41, 0x41, 0x41, 0x41]);
  });
});

describe('logical destinations', () => {
  it('are sets of bits in the flat model', () => {
    rig.apics.forEach((apic, i) => {
      apic.write(Reg.ldr, 4, (1 << i) << 24);
    });
    send(LOGICAL | 0x41, 0b1010);
    expect(rig.pending()).toEqual([NONE, 0x41, NONE, 0x41]);
  });

  it('are a cluster and bits in it in the cluster model', () => {
    for (const [i, ldr] of [0x11, 0x12, 0x21, 0x22].entries()) {
      rig.apics[i]!.write(Reg.dfr, 4, 0);
      rig.apics[i]!.write(Reg.ldr, 4, ldr << 24);
    }
    send(LOGICAL | 0x41, 0x23);
    expect(rig.pending()).toEqual([NONE, NONE, 0x41, 0x41]);
    send(LOGICAL | 0x51, 0x11);
    expect(rig.pending()).toEqual([0x51, NONE, 0x41, 0x41]);
  });
});

it('knows the shorthands', () => {
  send(SELF | 0x41);
  expect(rig.pending()).toEqual([0x41, NONE, NONE, NONE]);
  send(OTHERS | 0x42);
  expect(rig.pending()).toEqual([0x41, 0x42, 0x42, 0x42]);
  send(ALL | 0x53);
  expect(rig.pending()).toEqual([0x53, 0x53, 0x53, 0x53]);
});

describe('lowest priority', () => {
  it('goes to the CPU with the lowest priority', () => {
    rig.apics.forEach((apic, i) => {
      apic.taskPriority = i === 2 ? 1 : 3;
    });
    send(LOWEST | 0x41, 0xff);
    expect(rig.pending()).toEqual([NONE, NONE, 0x41, NONE]);
  });

  it('is spread by vector among equals, and passes over disabled APICs', () => {
    rig.apics[1]!.write(Reg.svr, 4, 0xff);
    for (const vector of [0x30, 0x31, 0x32]) send(LOWEST | vector, 0xff);
    expect(rig.pending()).toEqual([0x30, NONE, 0x31, 0x32]);
  });

  it('is lost when nobody is named', () => {
    send(LOWEST | 0x41, 9);
    expect(rig.pending()).toEqual([NONE, NONE, NONE, NONE]);
  });
});

describe('other delivery modes', () => {
  it('start a processor: INIT, its de-assertion, STARTUP', () => {
    rig.apics[1]!.accept(0x41, false);
    send(0xc500, 1);
    send(0x8500, 1);
    send(0x69a, 1);
    send(0x69a, 1);
    expect(rig.calls).toEqual(['init 1', 'startup 1 154', 'startup 1 154']);
    expect(rig.apics[1]!.softwareEnabled).toBe(false);
    expect(rig.apics[1]!.pendingVector()).toBe(NONE);
  });

  it('send NMI even to APICs that software has disabled', () => {
    rig.apics[3]!.write(Reg.svr, 4, 0xff);
    send(OTHERS | 0x400);
    expect(rig.calls).toEqual(['nmi 1', 'nmi 2', 'nmi 3']);
  });

  it('ignore SMI', () => {
    send(ALL | 0x200);
    expect(rig.calls).toEqual([]);
  });
});

it('leaves out APICs that are disabled altogether', () => {
  rig.apics[1]!.enabled = false;
  send(OTHERS | 0x41);
  rig.apics[1]!.enabled = true;
  expect(rig.pending()).toEqual([NONE, NONE, 0x41, 0x41]);
});
