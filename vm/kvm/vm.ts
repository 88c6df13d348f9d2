/**
 * A KVM virtual machine: its descriptor, guest RAM in memory slots, the in-kernel interrupt
 * controllers and PIT, and the eventfds that save exits. Used from the main thread; threads that only
 * raise interrupts or wait for notifications work with the descriptors alone.
 */

import * as libc from '../../devices/host/libc.ts';
import { GuestMemory, type HostAddress, MemoryRegion } from '../../devices/memory.ts';
import type { SavedState } from '../../devices/state.ts';
import { monotonicNow } from '../clock.ts';
import { GSI_COUNT, IOAPIC_BASE, KVM_PAGES, PAGE_SIZE, ramRanges } from '../layout.ts';
import { PORT_B_CHIP, stateMismatch } from '../machine-state.ts';
import {
  KVM_IOEVENTFD_FLAG_DATAMATCH,
  KVM_IRQ_ROUTING_IRQCHIP,
  KVM_IRQCHIP_IOAPIC,
  KVM_IRQCHIP_PIC_MASTER,
  KVM_IRQCHIP_PIC_SLAVE,
  KVM_PIT_SPEAKER_DUMMY,
  kvm_clock_data,
  kvm_ioapic_state,
  kvm_ioeventfd,
  kvm_irq_routing,
  kvm_irq_routing_entry,
  kvm_irqchip,
  kvm_irqfd,
  kvm_pic_state,
  kvm_pit_config,
  kvm_pit_state2,
  kvm_userspace_memory_region,
} from './abi.ts';
import {
  ioapicFromKvm,
  ioapicToKvm,
  picFromKvm,
  picToKvm,
  pitFromKvm,
  pitToKvm,
  portBFromKvm,
} from './chip-state.ts';
import { ioctl } from './ioctl.ts';
import type { KvmSystem } from './system.ts';

/**
 * Four pages in the hole below 4 GiB that KVM needs on Intel hosts to run real mode: an identity-mapped
 * page table and a three-page TSS (api.rst, KVM_SET_IDENTITY_MAP_ADDR, KVM_SET_TSS_ADDR).
 */
const IDENTITY_MAP_PAGE = KVM_PAGES;
const TSS_PAGES = KVM_PAGES + PAGE_SIZE;
const PIT_GSI = 0;
/** Where a PC's second PIC is cascaded into the first. */
const CASCADE_GSI = 2;

/** Where one region of guest RAM is mapped: all that another thread needs to see it. */
export interface RamMapping {
  readonly base: number;
  readonly length: number;
  readonly host: number;
}

/** Guest RAM over mappings that some thread made. */
export function memoryOver(mappings: readonly RamMapping[]): GuestMemory {
  return new GuestMemory(
    mappings.map(
      ({ base, length, host }) =>
        new MemoryRegion(base, libc.bytesAt(host as HostAddress, length), 0, length, host),
    ),
  );
}

/** One VM. */
export class KvmVm {
  readonly fd: number;
  readonly mappings: RamMapping[] = [];
  readonly memory: GuestMemory;
  private readonly scratch = libc.nativeBuffer(4096);
  private closed = false;

  /**
   * @param size - bytes of RAM
   * @param chips - whether it has interrupt controllers and a PIT
   * @throws HostError when the host refuses; everything made so far is given back
   */
  constructor(system: KvmSystem, size: number, chips = true) {
    this.fd = ioctl(system.fd, 'KVM_CREATE_VM');
    try {
      // RAM first: each change of the memory slots or of what is routed waits until no vCPU reads the old ones (SRCU),
      // and the kernel lets a second wait that follows soon take milliseconds.
      this.mapRam(size);
      ioctl(this.fd, 'KVM_SET_TSS_ADDR', TSS_PAGES);
      this.scratch.data.setBigUint64(0, BigInt(IDENTITY_MAP_PAGE), true);
      ioctl(this.fd, 'KVM_SET_IDENTITY_MAP_ADDR', this.scratch.address);
      if (chips) this.createChips();
      this.memory = memoryOver(this.mappings);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  private mapRam(size: number): void {
    ramRanges(size).forEach((range, slot) => {
      const host = libc.mmap(
        range.length,
        libc.PROT_READ | libc.PROT_WRITE,
        libc.MAP_PRIVATE | libc.MAP_ANONYMOUS | libc.MAP_NORESERVE,
        -1,
      );
      this.mappings.push({ base: range.base, length: range.length, host });
      libc.madvise(host, range.length, libc.MADV_HUGEPAGE);
      this.setSlot(slot, range.base, range.length, host);
    });
  }

  private createChips(): void {
    ioctl(this.fd, 'KVM_CREATE_IRQCHIP');
    this.setRouting();
    this.scratch.u8.fill(0, 0, kvm_pit_config.size);
    this.scratch.data.setUint32(kvm_pit_config.offset.flags, KVM_PIT_SPEAKER_DUMMY, true);
    ioctl(this.fd, 'KVM_CREATE_PIT2', this.scratch.address);
  }

  /**
   * Connects GSIs to interrupt controllers as a PC does and the MADT says: the PIT's GSI 0 goes to IOAPIC
   * input 2, since the PIC that would be there has no interrupt of its own to give; all others are straight.
   */
  private setRouting(): void {
    const routes: [gsi: number, chip: number, pin: number][] = [];
    for (let gsi = 0; gsi < GSI_COUNT; gsi++) {
      if (gsi === CASCADE_GSI) continue;
      if (gsi < 8) routes.push([gsi, KVM_IRQCHIP_PIC_MASTER, gsi]);
      else if (gsi < 16) routes.push([gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - 8]);
      routes.push([gsi, KVM_IRQCHIP_IOAPIC, gsi === PIT_GSI ? CASCADE_GSI : gsi]);
    }
    const { data, u8 } = this.scratch;
    u8.fill(0, 0, kvm_irq_routing.size + routes.length * kvm_irq_routing_entry.size);
    data.setUint32(kvm_irq_routing.offset.nr, routes.length, true);
    routes.forEach(([gsi, irqchip, pin], i) => {
      const at = kvm_irq_routing.size + i * kvm_irq_routing_entry.size;
      const { offset } = kvm_irq_routing_entry;
      data.setUint32(at + offset.gsi, gsi, true);
      data.setUint32(at + offset.type, KVM_IRQ_ROUTING_IRQCHIP, true);
      data.setUint32(at + offset.irqchip, irqchip, true);
      data.setUint32(at + offset.pin, pin, true);
    });
    ioctl(this.fd, 'KVM_SET_GSI_ROUTING', this.scratch.address);
  }

  private setSlot(slot: number, base: number, length: number, host: number): void {
    const { offset } = kvm_userspace_memory_region;
    const { data } = this.scratch;
    data.setUint32(offset.slot, slot, true);
    data.setUint32(offset.flags, 0, true);
    data.setBigUint64(offset.guest_phys_addr, BigInt(base), true);
    data.setBigUint64(offset.memory_size, BigInt(length), true);
    data.setBigUint64(offset.userspace_addr, BigInt(host), true);
    ioctl(this.fd, 'KVM_SET_USER_MEMORY_REGION', this.scratch.address);
  }

  /** @returns an eventfd; each write to it raises one edge on `gsi` without any exit */
  createIrqfd(gsi: number): number {
    const fd = libc.check(libc.eventfd(0, libc.EFD_CLOEXEC | libc.EFD_NONBLOCK), 'eventfd');
    this.scratch.u8.fill(0, 0, kvm_irqfd.size);
    this.scratch.data.setUint32(kvm_irqfd.offset.fd, fd, true);
    this.scratch.data.setUint32(kvm_irqfd.offset.gsi, gsi, true);
    try {
      ioctl(this.fd, 'KVM_IRQFD', this.scratch.address);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    return fd;
  }

  /** @returns an eventfd that counts the guest's 32-bit writes of `value` to `address`, which then don't exit */
  createIoeventfd(address: number, value: number): number {
    const fd = libc.check(libc.eventfd(0, libc.EFD_CLOEXEC | libc.EFD_NONBLOCK), 'eventfd');
    const { offset, size } = kvm_ioeventfd;
    const { data, u8 } = this.scratch;
    u8.fill(0, 0, size);
    data.setBigUint64(offset.datamatch, BigInt(value), true);
    data.setBigUint64(offset.addr, BigInt(address), true);
    data.setUint32(offset.len, 4, true);
    data.setUint32(offset.fd, fd, true);
    data.setUint32(offset.flags, KVM_IOEVENTFD_FLAG_DATAMATCH, true);
    try {
      ioctl(this.fd, 'KVM_IOEVENTFD', this.scratch.address);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    return fd;
  }

  /** IOAPIC, PICs and PIT. @param now - machine time */
  saveChips(now: number): Record<string, SavedState> {
    const ioapic = ioapicFromKvm(this.getChip(KVM_IRQCHIP_IOAPIC));
    const pic = picFromKvm([this.getChip(KVM_IRQCHIP_PIC_MASTER), this.getChip(KVM_IRQCHIP_PIC_SLAVE)]);
    ioctl(this.fd, 'KVM_GET_PIT2', this.scratch.address);
    const pit = pitFromKvm(this.scratch.data, now, monotonicNow());
    const portB = { portB: portBFromKvm(this.scratch.data) };
    return { ioapic, pic, pit, [PORT_B_CHIP]: portB };
  }

  /** @throws Type2Error when one is missing */
  restoreChips(chips: Readonly<Record<string, SavedState>>, now: number): void {
    const chip = (name: string): SavedState => {
      const saved = chips[name];
      if (saved === undefined) throw stateMismatch(`the saved state lacks ${name}`, '');
      return saved;
    };
    const master = new DataView(new ArrayBuffer(kvm_pic_state.size));
    const slave = new DataView(new ArrayBuffer(kvm_pic_state.size));
    const ioapic = new DataView(new ArrayBuffer(kvm_ioapic_state.size));
    picToKvm(chip('pic'), [master, slave]);
    ioapicToKvm(chip('ioapic'), ioapic, IOAPIC_BASE);
    this.setChip(KVM_IRQCHIP_PIC_MASTER, master);
    this.setChip(KVM_IRQCHIP_PIC_SLAVE, slave);
    this.setChip(KVM_IRQCHIP_IOAPIC, ioapic);
    this.scratch.u8.fill(0, 0, kvm_pit_state2.size);
    pitToKvm(chip('pit'), this.scratch.data, Number(chip(PORT_B_CHIP)['portB']), now, monotonicNow());
    ioctl(this.fd, 'KVM_SET_PIT2', this.scratch.address);
  }

  /** Levels of the IOAPIC's inputs, by GSI. */
  levels(): number[] {
    const inputs = this.getChip(KVM_IRQCHIP_IOAPIC).getUint32(kvm_ioapic_state.offset.irr, true);
    return Array.from(
      { length: GSI_COUNT },
      (_, gsi) => (inputs >>> (gsi === PIT_GSI ? CASCADE_GSI : gsi)) & 1,
    );
  }

  /** kvmclock, in nanoseconds. */
  getClock(): bigint {
    ioctl(this.fd, 'KVM_GET_CLOCK', this.scratch.address);
    return this.scratch.data.getBigUint64(kvm_clock_data.offset.clock, true);
  }

  setClock(nanoseconds: bigint): void {
    this.scratch.u8.fill(0, 0, kvm_clock_data.size);
    this.scratch.data.setBigUint64(kvm_clock_data.offset.clock, nanoseconds, true);
    ioctl(this.fd, 'KVM_SET_CLOCK', this.scratch.address);
  }

  private getChip(id: number): DataView {
    const { data, u8 } = this.scratch;
    u8.fill(0, 0, kvm_irqchip.size);
    data.setUint32(kvm_irqchip.offset.chip_id, id, true);
    ioctl(this.fd, 'KVM_GET_IRQCHIP', this.scratch.address);
    const bytes = u8.slice(kvm_irqchip.offset.chip, kvm_irqchip.size);
    return new DataView(bytes.buffer);
  }

  private setChip(id: number, state: DataView): void {
    const { data, u8 } = this.scratch;
    u8.fill(0, 0, kvm_irqchip.size);
    data.setUint32(kvm_irqchip.offset.chip_id, id, true);
    u8.set(new Uint8Array(state.buffer), kvm_irqchip.offset.chip);
    ioctl(this.fd, 'KVM_SET_IRQCHIP', this.scratch.address);
  }

  /** The in-kernel IOAPIC's redirection table. */
  ioapicRedirections(): { readonly low: number; readonly high: number }[] {
    const ioapic = this.getChip(KVM_IRQCHIP_IOAPIC);
    const first = kvm_ioapic_state.offset.redirtbl;
    return Array.from({ length: GSI_COUNT }, (_, i) => ({
      low: ioapic.getUint32(first + 8 * i, true),
      high: ioapic.getUint32(first + 8 * i + 4, true),
    }));
  }

  /** Gives everything back. Call when no thread uses the VM any more. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    libc.close(this.fd);
    for (const { host, length } of this.mappings) libc.munmap(host as HostAddress, length);
    this.scratch.free();
  }
}
