/**
 * Debugging guests on KVM: KVM_SET_GUEST_DEBUG for steps and debug registers (Documentation/virt/kvm/api.rst,
 * 4.87). Software breakpoints get the debug registers that nothing else needs, and INT3 in guest RAM when
 * there are more: a KVM that is emulated itself may not see INT3, and a page need not be mapped yet for a register.
 *
 * The INT3 bytes are in RAM only while vCPUs run: whoever looks at memory while they stand sees the guest's own.
 */
import { Type2Error } from '../../devices/errors.ts';
import * as libc from '../../devices/host/libc.ts';
import type { Gpa, GuestMemory } from '../../devices/memory.ts';
import { walkPages } from '../debug/page-walk.ts';
import { DebugKind, type DebugSettings, type HardwareBreakpoint, NO_DEBUGGING } from '../debug/settings.ts';
import type { SystemRegisters } from '../vcpu-state.ts';
import {
  KVM_GUESTDBG_BLOCKIRQ,
  KVM_GUESTDBG_ENABLE,
  KVM_GUESTDBG_INJECT_BP,
  KVM_GUESTDBG_INJECT_DB,
  KVM_GUESTDBG_SINGLESTEP,
  KVM_GUESTDBG_USE_HW_BP,
  KVM_GUESTDBG_USE_SW_BP,
  kvm_guest_debug,
} from './abi.ts';
import { ioctl } from './ioctl.ts';

const INT3 = 0xcc;
/** Debug registers for addresses: DR0 to DR3. */
export const DEBUG_REGISTERS = 4;
/** DR7: L and G bits from bit 0, R/W and LEN from bit 16, four bits each; bit 10 is always set. SDM volume 3B, 17.2.4 */
const DR7_ALWAYS = 0x400n;
const ACCESS_BITS: Readonly<Record<HardwareBreakpoint['access'], bigint>> = {
  execute: 0n,
  write: 1n,
  access: 3n,
};
const LENGTH_BITS: Readonly<Record<number, bigint>> = { 1: 0n, 2: 1n, 4: 3n, 8: 2n };

/** Of one VM, on the main thread. */
export class KvmDebug {
  private readonly vcpus: readonly number[];
  private readonly memory: GuestMemory;
  private readonly systemOf: (vcpu: number) => SystemRegisters;
  private readonly flags: number;
  private readonly watches: boolean;
  private settings = NO_DEBUGGING;
  /** Where software breakpoints are in RAM. */
  private places: Gpa[] = [];
  /** What INT3 stands in place of, in the order of insertion; empty while vCPUs stand. */
  private readonly original: { readonly gpa: Gpa; readonly byte: number }[] = [];
  /** Exceptions that vCPUs get when they go on: flags for {@link kvm_guest_debug}. */
  private readonly deliveries = new Map<number, number>();
  private isOn = false;

  /**
   * @param vcpus - descriptors
   * @param flags - what KVM_CAP_SET_GUEST_DEBUG2 says; 0 on kernels that don't know it
   * @param watches - whether debug registers see accesses to data
   */
  constructor(
    vcpus: readonly number[],
    memory: GuestMemory,
    flags: number,
    watches: boolean,
    systemOf: (vcpu: number) => SystemRegisters,
  ) {
    this.vcpus = vcpus;
    this.memory = memory;
    this.flags = flags;
    this.watches = watches;
    this.systemOf = systemOf;
  }

  /** While vCPUs stand. @throws Type2Error with code `BREAKPOINT` */
  set(settings: DebugSettings): void {
    if (settings.hardware.length > DEBUG_REGISTERS) {
      throw new Type2Error('BREAKPOINT', `the processor has ${DEBUG_REGISTERS} debug registers`, {
        hint: 'Remove a hardware breakpoint or a watchpoint.',
      });
    }
    if (!this.watches && settings.hardware.some(({ access }) => access !== 'execute')) {
      throw new Type2Error('BREAKPOINT', 'this /dev/kvm has no hardware behind it, and can watch no data', {
        hint: 'Watch on --engine jit; gdb can do it by steps, too: set can-use-hw-watchpoints 0.',
      });
    }
    const inRegisters = DEBUG_REGISTERS - settings.hardware.length;
    this.places = settings.software.slice(inRegisters).map((address) => this.locate(address));
    this.settings = settings;
  }

  /** A vCPU gets the exception that it stopped for. */
  deliver(vcpu: number, kind: DebugKind): void {
    this.deliveries.set(vcpu, kind === DebugKind.software ? KVM_GUESTDBG_INJECT_BP : KVM_GUESTDBG_INJECT_DB);
  }

  /** vCPUs are about to go on. */
  arm(): void {
    const { software, hardware, step } = this.settings;
    const wanted =
      software.length > 0 || hardware.length > 0 || step !== undefined || this.deliveries.size > 0;
    if (wanted || this.isOn) for (const [vcpu, fd] of this.vcpus.entries()) this.setGuestDebug(vcpu, fd);
    this.isOn = wanted;
    this.deliveries.clear();
    for (const gpa of this.places) {
      this.original.push({ gpa, byte: this.memory.readU8(gpa) });
      this.memory.writeU8(gpa, INT3);
    }
  }

  /** vCPUs stand. */
  disarm(): void {
    for (const { gpa, byte } of this.original.splice(0).reverse()) this.memory.writeU8(gpa, byte);
  }

  /** By the page tables of the first vCPU that maps it: kernels are mapped alike on all. */
  private locate(address: bigint): Gpa {
    for (const vcpu of this.vcpus.keys()) {
      const { gpa } = walkPages(this.memory, this.systemOf(vcpu), address);
      if (gpa !== undefined && this.memory.contains(gpa, 1)) return gpa;
    }
    throw new Type2Error('BREAKPOINT', `nothing is mapped at 0x${address.toString(16)}`, {
      hint: 'A hardware breakpoint can be set before the guest has mapped the page (hbreak, in gdb).',
    });
  }

  private setGuestDebug(vcpu: number, fd: number): void {
    const { software, hardware, step } = this.settings;
    // Those of the debugger's come first: stops name them by their number.
    const registers = [
      ...hardware,
      ...software.map((address) => ({ address, length: 1, access: 'execute' as const })),
    ].slice(0, DEBUG_REGISTERS);
    let control = this.deliveries.get(vcpu) ?? 0;
    if (this.places.length > 0) control |= KVM_GUESTDBG_USE_SW_BP;
    if (registers.length > 0) control |= KVM_GUESTDBG_USE_HW_BP;
    if (step === vcpu) control |= KVM_GUESTDBG_SINGLESTEP | (this.flags & KVM_GUESTDBG_BLOCKIRQ);
    if (control !== 0) control |= KVM_GUESTDBG_ENABLE;
    const request = libc.nativeBuffer(kvm_guest_debug.size);
    const { data } = request;
    data.setUint32(kvm_guest_debug.offset.control, control, true);
    const at = kvm_guest_debug.offset.debugreg;
    let dr7 = DR7_ALWAYS;
    registers.forEach(({ address, length, access }, i) => {
      data.setBigUint64(at + 8 * i, BigInt.asUintN(64, address), true);
      dr7 |= 2n << BigInt(2 * i);
      dr7 |= (ACCESS_BITS[access] | (LENGTH_BITS[length]! << 2n)) << BigInt(16 + 4 * i);
    });
    data.setBigUint64(at + 8 * 7, dr7, true);
    try {
      ioctl(fd, 'KVM_SET_GUEST_DEBUG', request.address);
    } finally {
      request.free();
    }
  }
}
