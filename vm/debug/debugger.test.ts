import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { Machine } from '../machine.ts';
import { Debugger, type DebugStop } from './debugger.ts';
import { type DebugEvent, DebugKind } from './settings.ts';

const ADDRESS = 0x7c05n;

/** A debugger of a machine that stops for what it is told to, and the traps that its guest has been given. */
function machineThatStops(): {
  debug: Debugger;
  traps: number[];
  stopFor(event: Partial<DebugEvent>): DebugStop[];
} {
  const traps: number[] = [];
  let pending: DebugEvent[] = [];
  const machine = Object.assign(new EventEmitter(), {
    isRunning: false,
    hasEnded: false,
    setDebug: () => {},
    resume: () => {},
    takeDebugStops: () => pending.splice(0),
    deliverTrap: (vcpu: number) => traps.push(vcpu),
  });
  const debug = new Debugger(machine as unknown as Machine);
  const stopFor = (event: Partial<DebugEvent>): DebugStop[] => {
    const stops: DebugStop[] = [];
    const note = (stop: DebugStop): number => stops.push(stop);
    debug.on('stop', note);
    pending = [{ vcpu: 0, kind: 0, hits: 0, addressLow: Number(ADDRESS), addressHigh: 0, ...event }];
    machine.emit('debug-stop');
    debug.off('stop', note);
    return stops;
  };
  return { debug, traps, stopFor };
}

describe('stops of a vCPU', () => {
  it('are steps, whatever debug registers match that nobody has asked for', () => {
    const { debug, traps, stopFor } = machineThatStops();
    debug.step(0);
    // B0 of an address that an earlier breakpoint has left in DR0: the guest was given a #DB for it.
    expect(stopFor({ kind: DebugKind.step, hits: 1 })).toEqual([{ vcpu: 0, reason: 'step' }]);
    expect(traps).toEqual([]);
  });

  it('are for the debug register that was asked for, beside one that was not', () => {
    const { debug, stopFor } = machineThatStops();
    debug.addHardware(ADDRESS, 1, 'execute');
    debug.resume();
    const [stop] = stopFor({ kind: DebugKind.hardware, hits: 0b101 });
    expect(stop).toMatchObject({ reason: 'hardware', hardware: { address: ADDRESS } });
  });

  it('are for breakpoints that the engine has in debug registers', () => {
    const { debug, stopFor } = machineThatStops();
    debug.addBreakpoint(ADDRESS);
    debug.resume();
    expect(stopFor({ kind: DebugKind.hardware, hits: 1 })).toEqual([{ vcpu: 0, reason: 'breakpoint' }]);
  });

  it('are the guest’s own when they are nothing of the debugger’s', () => {
    const { debug, traps, stopFor } = machineThatStops();
    debug.resume();
    expect(stopFor({ kind: DebugKind.hardware, hits: 2 })).toEqual([]);
    expect(stopFor({ kind: DebugKind.step })).toEqual([]);
    expect(traps).toEqual([0, 0]);
  });
});
