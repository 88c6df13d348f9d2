/**
 * What one sees of a machine that stands still: its vCPUs' registers, the guest's memory and its devices'
 * registers, each in a form that is the same for every driver.
 */
import type { GuestMemory } from '../devices/memory.ts';
import type { SavedState } from '../devices/state.ts';
import { CR0, EFER, MpState, type TableRegister, type VcpuState } from './vcpu-state.ts';

/** The mode a vCPU is in: SDM volume 3A, 2.2. */
export type CpuMode = 'real' | 'protected' | 'compatibility' | '64-bit';

/** A general register, `rip` or `rflags`. */
export type RegisterName =
  | 'rax'
  | 'rbx'
  | 'rcx'
  | 'rdx'
  | 'rsi'
  | 'rdi'
  | 'rsp'
  | 'rbp'
  | 'r8'
  | 'r9'
  | 'r10'
  | 'r11'
  | 'r12'
  | 'r13'
  | 'r14'
  | 'r15'
  | 'rip'
  | 'rflags';
/** A control register, or EFER. */
export type ControlName = 'cr0' | 'cr2' | 'cr3' | 'cr4' | 'cr8' | 'efer';

/** One vCPU, standing still. */
export interface VcpuView {
  /** General registers, `rip` and `rflags`. */
  readonly registers: Readonly<Record<RegisterName, bigint>>;
  /** Control registers and EFER. */
  readonly control: Readonly<Record<ControlName, bigint>>;
  /** Selectors of the segment registers. */
  readonly selectors: Readonly<Record<'cs' | 'ds' | 'es' | 'fs' | 'gs' | 'ss', number>>;
  /** Of the two descriptor tables, linear address and length in bytes less one. */
  readonly tables: Readonly<Record<'gdt' | 'idt', Readonly<TableRegister>>>;
  /** From CR0, EFER and the code segment. */
  readonly mode: CpuMode;
  /** Whether it runs, sleeps in HLT, or waits to be woken by INIT and a start-up IPI. */
  readonly activity: 'running' | 'halted' | 'waiting';
}

/** A machine, standing still. Its memory is the guest's own, and is gone once the machine has ended. */
export interface MachineView {
  /** In order of their APIC ids. */
  readonly vcpus: readonly VcpuView[];
  /** The registers of each device by name, as the device saves them. */
  readonly devices: Readonly<Record<string, SavedState>>;
  /** A copy of the guest's bytes. @throws GuestAddressError when not all of them are RAM */
  read(address: number, length: number): Uint8Array;
}

/** The view of a machine in this state. */
export function machineView(
  vcpus: readonly VcpuState[],
  devices: Readonly<Record<string, SavedState>>,
  memory: GuestMemory,
): MachineView {
  return {
    vcpus: vcpus.map(vcpuView),
    devices,
    read: (address, length) => memory.view(address, length).slice(),
  };
}

function vcpuView({ registers, system, mpState }: VcpuState): VcpuView {
  const { cr0, cr2, cr3, cr4, cr8, efer, cs, ds, es, fs, gs, ss, gdt, idt } = system;
  return {
    registers,
    control: { cr0, cr2, cr3, cr4, cr8, efer },
    selectors: {
      cs: cs.selector,
      ds: ds.selector,
      es: es.selector,
      fs: fs.selector,
      gs: gs.selector,
      ss: ss.selector,
    },
    tables: { gdt, idt },
    mode: modeOf(system),
    activity: activityOf(mpState),
  };
}

function modeOf({ cr0, efer, cs }: VcpuState['system']): CpuMode {
  if ((cr0 & CR0.PE) === 0n) return 'real';
  if ((efer & EFER.LMA) === 0n) return 'protected';
  return cs.l === 1 ? '64-bit' : 'compatibility';
}

function activityOf(mpState: MpState): VcpuView['activity'] {
  if (mpState === MpState.runnable) return 'running';
  return mpState === MpState.halted ? 'halted' : 'waiting';
}
