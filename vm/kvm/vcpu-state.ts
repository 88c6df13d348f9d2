/**
 * A KVM vCPU's state to and from the neutral form: registers, system registers, FPU, MSRs, events and
 * local APIC. Used from the main thread while the vCPU's own thread is parked or not yet started.
 */

import { HostError } from '../../devices/errors.ts';
import * as libc from '../../devices/host/libc.ts';
import type { CpuidLeaf } from '../cpuid.ts';
import type {
  GeneralRegisters,
  MpState,
  Segment,
  SystemRegisters,
  TableRegister,
  VcpuState,
} from '../vcpu-state.ts';
import * as abi from './abi.ts';
import type { ApicPage } from './chip-state.ts';
import { ioctl } from './ioctl.ts';

const SEGMENTS = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldt'] as const;
const SEGMENT_BYTES = ['type', 's', 'dpl', 'present', 'avl', 'l', 'db', 'g', 'unusable'] as const;
/** Offset of XSTATE_BV. SDM volume 1, 13.4.2 */
const XSTATE_BV = 512;
const CONTROLS = ['cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer'] as const;

const MSR_TSC_DEADLINE = 0x6e0;
const APIC_GLOBAL_ENABLE = 0x800n;

function sameLeaves(a: readonly CpuidLeaf[], b: readonly CpuidLeaf[]): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Reads and writes the state of one vCPU. */
export class KvmVcpuState {
  private readonly fd: number;
  private readonly msrIndices: readonly number[];
  private readonly buffer = libc.nativeBuffer(16 * 1024);
  private readonly data = this.buffer.data;
  private cpuid: readonly CpuidLeaf[] = [];

  /** @param msrIndices - what {@link KvmSystem.msrIndices} gave */
  constructor(fd: number, msrIndices: readonly number[]) {
    this.fd = fd;
    this.msrIndices = msrIndices;
  }

  free(): void {
    this.buffer.free();
  }

  setCpuid(entries: readonly CpuidLeaf[]): void {
    this.cpuid = entries;
    const { size, offset } = abi.kvm_cpuid_entry2;
    this.buffer.u8.fill(0);
    this.data.setUint32(abi.kvm_cpuid2.offset.nent, entries.length, true);
    entries.forEach((entry, i) => {
      for (const field of ['function', 'index', 'flags', 'eax', 'ebx', 'ecx', 'edx'] as const) {
        this.data.setUint32(abi.kvm_cpuid2.size + i * size + offset[field], entry[field], true);
      }
    });
    this.call('KVM_SET_CPUID2');
  }

  getRegisters(): GeneralRegisters {
    this.call('KVM_GET_REGS');
    const registers: Record<string, bigint> = {};
    for (const [name, at] of Object.entries(abi.kvm_regs.offset))
      registers[name] = this.data.getBigUint64(at, true);
    return registers as unknown as GeneralRegisters;
  }

  /** Sets the registers that are named, leaves the others. */
  setRegisters(registers: Partial<GeneralRegisters>): void {
    this.call('KVM_GET_REGS');
    for (const [name, value] of Object.entries(registers)) {
      this.data.setBigUint64(abi.kvm_regs.offset[name as keyof GeneralRegisters], value, true);
    }
    this.call('KVM_SET_REGS');
  }

  getSystem(): SystemRegisters {
    this.call('KVM_GET_SREGS');
    const { offset } = abi.kvm_sregs;
    const system: Record<string, Segment | TableRegister | bigint> = {};
    for (const name of SEGMENTS) system[name] = this.readSegment(offset[name]);
    for (const name of ['gdt', 'idt'] as const) {
      system[name] = {
        base: this.data.getBigUint64(offset[name] + abi.kvm_dtable.offset.base, true),
        limit: this.data.getUint16(offset[name] + abi.kvm_dtable.offset.limit, true),
      };
    }
    for (const name of CONTROLS) system[name] = this.data.getBigUint64(offset[name], true);
    system['apicBase'] = this.data.getBigUint64(offset.apic_base, true);
    return system as unknown as SystemRegisters;
  }

  /** Sets what is named, leaves the rest. */
  setSystem(system: Partial<SystemRegisters>): void {
    this.call('KVM_GET_SREGS');
    const { offset } = abi.kvm_sregs;
    for (const name of SEGMENTS) {
      const segment = system[name];
      if (segment !== undefined) this.writeSegment(offset[name], segment);
    }
    for (const name of ['gdt', 'idt'] as const) {
      const table = system[name];
      if (table === undefined) continue;
      this.data.setBigUint64(offset[name] + abi.kvm_dtable.offset.base, table.base, true);
      this.data.setUint16(offset[name] + abi.kvm_dtable.offset.limit, table.limit, true);
    }
    for (const name of CONTROLS) {
      const value = system[name];
      if (value !== undefined) this.data.setBigUint64(offset[name], value, true);
    }
    if (system.apicBase !== undefined) this.data.setBigUint64(offset.apic_base, system.apicBase, true);
    this.call('KVM_SET_SREGS');
  }

  /** @returns the MSRs that could be read */
  getMsrs(indices: readonly number[] = this.msrIndices): Map<number, bigint> {
    const values = new Map<number, bigint>();
    // KVM stops at the first MSR that it can't read; go on behind it.
    for (let start = 0; start < indices.length; ) {
      const rest = indices.slice(start, start + 256);
      this.fillMsrs(rest.map((index) => [index, 0n]));
      const done = this.call('KVM_GET_MSRS');
      for (let i = 0; i < done; i++) {
        const at = abi.kvm_msrs.size + i * abi.kvm_msr_entry.size;
        values.set(rest[i]!, this.data.getBigUint64(at + abi.kvm_msr_entry.offset.data, true));
      }
      start += done < rest.length ? done + 1 : done;
    }
    return values;
  }

  /** @returns the indices that KVM refused */
  setMsrs(msrs: ReadonlyMap<number, bigint>): number[] {
    const refused: number[] = [];
    const entries = [...msrs];
    for (let start = 0; start < entries.length; ) {
      const rest = entries.slice(start, start + 256);
      this.fillMsrs(rest);
      const done = this.call('KVM_SET_MSRS');
      if (done < rest.length) refused.push(rest[done]![0]);
      start += done < rest.length ? done + 1 : done;
    }
    return refused;
  }

  /** Everything. */
  save(): VcpuState {
    // MP state first: KVM brings pending INIT and SIPI to rest when it is asked for it.
    this.call('KVM_GET_MP_STATE');
    const mpState = this.data.getUint32(0, true) as MpState;
    const registers = this.getRegisters();
    const system = this.getSystem();
    this.call('KVM_GET_DEBUGREGS');
    const debugOffset = abi.kvm_debugregs.offset;
    const debug = [0, 8, 16, 24, debugOffset.dr6, debugOffset.dr7].map((at) =>
      this.data.getBigUint64(at, true),
    );
    this.call('KVM_GET_XSAVE');
    const xsave = this.buffer.u8.slice(0, abi.kvm_xsave.size);
    return {
      registers,
      system,
      debug: debug as unknown as VcpuState['debug'],
      xcr0: this.getXcr0(),
      xsave,
      msrs: this.getMsrs(),
      mpState,
      events: this.getEvents(),
      cpuid: this.cpuid,
    };
  }

  /** @throws HostError when KVM refuses a part: naming the ioctl, or the MSRs */
  restore(state: VcpuState, apic: ApicPage): void {
    if (state.cpuid.length > 0 && !sameLeaves(state.cpuid, this.cpuid)) this.setCpuid(state.cpuid);
    this.setSystem(state.system);
    this.setRegisters(state.registers);
    if (state.xcr0 !== undefined) this.setXcr0(state.xcr0);
    this.buffer.u8.fill(0, 0, abi.kvm_xsave.size);
    this.buffer.u8.set(state.xsave.subarray(0, abi.kvm_xsave.size));
    this.call('KVM_SET_XSAVE');
    const refused = this.setMsrs(state.msrs).filter((index) => state.msrs.get(index) !== 0n);
    if (refused.length > 0) {
      const names = refused.map((index) => `0x${index.toString(16)}`).join(', ');
      throw new HostError('KVM_MSR', `KVM refuses the saved value of MSR ${names}`, {
        hint: 'The state was saved on a host whose processor or KVM differs too much from this one.',
      });
    }
    this.buffer.u8.fill(0, 0, abi.kvm_debugregs.size);
    state.debug.forEach((value, i) => {
      const at = i < 4 ? i * 8 : i === 4 ? abi.kvm_debugregs.offset.dr6 : abi.kvm_debugregs.offset.dr7;
      this.data.setBigUint64(at, value, true);
    });
    this.call('KVM_SET_DEBUGREGS');
    this.setApic(apic);
    this.setEvents(state.events);
    this.setMpState(state.mpState);
  }

  /** @param image - as {@link VcpuState.xsave}; what it is too short for is left */
  setXsave(image: Uint8Array): void {
    this.call('KVM_GET_XSAVE');
    this.buffer.u8.set(image.subarray(0, abi.kvm_xsave.size));
    // XSTATE_BV: x87 and SSE state are not in their initial configuration any more.
    this.data.setUint8(XSTATE_BV, this.data.getUint8(XSTATE_BV) | 3);
    this.call('KVM_SET_XSAVE');
  }

  setMpState(state: MpState): void {
    this.data.setUint32(0, state, true);
    this.call('KVM_SET_MP_STATE');
  }

  private getXcr0(): bigint | undefined {
    this.buffer.u8.fill(0, 0, abi.kvm_xcrs.size);
    this.call('KVM_GET_XCRS');
    const count = this.data.getUint32(abi.kvm_xcrs.offset.nr_xcrs, true);
    const first = abi.kvm_xcrs.offset.xcrs;
    return count === 0 ? undefined : this.data.getBigUint64(first + abi.kvm_xcr.offset.value, true);
  }

  private setXcr0(value: bigint): void {
    this.buffer.u8.fill(0, 0, abi.kvm_xcrs.size);
    this.data.setUint32(abi.kvm_xcrs.offset.nr_xcrs, 1, true);
    this.data.setBigUint64(abi.kvm_xcrs.offset.xcrs + abi.kvm_xcr.offset.value, value, true);
    this.call('KVM_SET_XCRS');
  }

  /** The local APIC. */
  getApic(): ApicPage {
    const tscDeadline = this.getMsrs([MSR_TSC_DEADLINE]).get(MSR_TSC_DEADLINE) ?? 0n;
    const enabled = (this.getSystem().apicBase & APIC_GLOBAL_ENABLE) !== 0n;
    this.call('KVM_GET_LAPIC');
    return { page: this.buffer.u8.slice(0, abi.kvm_lapic_state.size), enabled, tscDeadline };
  }

  private setApic({ page, tscDeadline }: ApicPage): void {
    this.buffer.u8.set(page.subarray(0, abi.kvm_lapic_state.size));
    this.call('KVM_SET_LAPIC');
    // The timer's mode is in the page, and a deadline counts in one mode only.
    this.setMsrs(new Map([[MSR_TSC_DEADLINE, tscDeadline]]));
  }

  /** Of the guest's TSC, in kHz. */
  getTscFrequency(): number {
    return ioctl(this.fd, 'KVM_GET_TSC_KHZ');
  }

  /** @throws HostError when the processor can't do it */
  setTscFrequency(kilohertz: number): void {
    ioctl(this.fd, 'KVM_SET_TSC_KHZ', kilohertz);
  }

  private getEvents(): VcpuState['events'] {
    this.call('KVM_GET_VCPU_EVENTS');
    const { offset } = abi.kvm_vcpu_events;
    const byte = (at: number): number => this.data.getUint8(at);
    return {
      exception: {
        injected: byte(offset.exception_injected) !== 0,
        vector: byte(offset.exception_nr),
        hasErrorCode: byte(offset.exception_has_error_code) !== 0,
        errorCode: this.data.getUint32(offset.exception_error_code, true),
      },
      interrupt: {
        injected: byte(offset.interrupt_injected) !== 0,
        vector: byte(offset.interrupt_nr),
        soft: byte(offset.interrupt_soft) !== 0,
        shadow: byte(offset.interrupt_shadow),
      },
      nmi: {
        injected: byte(offset.nmi_injected) !== 0,
        pending: byte(offset.nmi_pending) !== 0,
        masked: byte(offset.nmi_masked) !== 0,
      },
    };
  }

  private setEvents(events: VcpuState['events']): void {
    const { offset, size } = abi.kvm_vcpu_events;
    this.buffer.u8.fill(0, 0, size);
    const byte = (at: number, value: boolean | number): void => this.data.setUint8(at, Number(value));
    byte(offset.exception_injected, events.exception.injected);
    byte(offset.exception_nr, events.exception.vector);
    byte(offset.exception_has_error_code, events.exception.hasErrorCode);
    this.data.setUint32(offset.exception_error_code, events.exception.errorCode, true);
    byte(offset.interrupt_injected, events.interrupt.injected);
    byte(offset.interrupt_nr, events.interrupt.vector);
    byte(offset.interrupt_soft, events.interrupt.soft);
    byte(offset.interrupt_shadow, events.interrupt.shadow);
    byte(offset.nmi_injected, events.nmi.injected);
    byte(offset.nmi_pending, events.nmi.pending);
    byte(offset.nmi_masked, events.nmi.masked);
    this.data.setUint32(
      offset.flags,
      abi.KVM_VCPUEVENT_VALID_NMI_PENDING | abi.KVM_VCPUEVENT_VALID_SHADOW,
      true,
    );
    this.call('KVM_SET_VCPU_EVENTS');
  }

  private readSegment(at: number): Segment {
    const { offset } = abi.kvm_segment;
    const segment: Record<string, number | bigint> = {
      base: this.data.getBigUint64(at + offset.base, true),
      limit: this.data.getUint32(at + offset.limit, true),
      selector: this.data.getUint16(at + offset.selector, true),
    };
    for (const name of SEGMENT_BYTES) segment[name] = this.data.getUint8(at + offset[name]);
    return segment as unknown as Segment;
  }

  private writeSegment(at: number, segment: Segment): void {
    const { offset } = abi.kvm_segment;
    this.data.setBigUint64(at + offset.base, segment.base, true);
    this.data.setUint32(at + offset.limit, segment.limit, true);
    this.data.setUint16(at + offset.selector, segment.selector, true);
    for (const name of SEGMENT_BYTES) this.data.setUint8(at + offset[name], segment[name]);
  }

  private fillMsrs(msrs: readonly (readonly [number, bigint])[]): void {
    this.data.setUint32(abi.kvm_msrs.offset.nmsrs, msrs.length, true);
    msrs.forEach(([index, value], i) => {
      const at = abi.kvm_msrs.size + i * abi.kvm_msr_entry.size;
      this.data.setUint32(at + abi.kvm_msr_entry.offset.index, index, true);
      this.data.setUint32(at + abi.kvm_msr_entry.offset.reserved, 0, true);
      this.data.setBigUint64(at + abi.kvm_msr_entry.offset.data, value, true);
    });
  }

  private call(request: abi.IoctlName): number {
    return ioctl(this.fd, request, this.buffer.address);
  }
}
