/**
 * The guest-physical address map and the ports and interrupts of the Type2 machine: what boot code
 * writes into ACPI tables, e820 and MP tables, and what the platform maps.
 *
 *   0000_0000 – 0009_fbff   RAM (boot structures in the low pages, see boot/)
 *   0009_fc00 – 000f_ffff   EBDA and BIOS area: ACPI and MP tables; reserved in e820
 *   0010_0000 – bfff_ffff   RAM below the hole
 *   c000_0000 – ffff_ffff   hole: virtio-mmio, IOAPIC, LAPIC, KVM's own pages
 *   1_0000_0000 – …         RAM that did not fit below the hole
 */
import type { Gpa } from '../devices/memory.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

export const PAGE_SIZE = 4096;
/** Least and most RAM of a machine, in bytes. */
export const MEMORY_MINIMUM = 1 * MIB;
export const MEMORY_MAXIMUM = 64 * GIB;
/** Most vCPUs of a machine; APIC ids are 0 … n−1. */
export const CPUS_MAXIMUM = 64;

/** First address of the hole below 4 GiB. */
export const HOLE_START: Gpa = 3 * GIB;
/** Where RAM continues. */
export const HIGH_RAM_START: Gpa = 4 * GIB;

/** Extended BIOS data area: 1 KiB under 640 KiB. Holds the MP floating pointer. */
export const EBDA_START: Gpa = 0x9_fc00;
/** BIOS area, scanned by guests for the RSDP. */
export const BIOS_AREA_START: Gpa = 0xe_0000;
export const BIOS_AREA_END: Gpa = 0x10_0000;
/** First byte of RAM above 1 MiB. */
export const HIGH_MEMORY_START: Gpa = 0x10_0000;

export const IOAPIC_BASE: Gpa = 0xfec0_0000;
export const LAPIC_BASE: Gpa = 0xfee0_0000;
/** Four pages that KVM needs for itself on Intel hosts: see kvm/vm.ts. */
export const KVM_PAGES: Gpa = 0xfffb_c000;
/** The IOAPIC's interrupt inputs are GSI 0 … 23. */
export const GSI_COUNT = 24;

/** One page a virtio-mmio device. */
export const VIRTIO_MMIO_BASE: Gpa = 0xd000_0000;
export const VIRTIO_MMIO_SIZE = 0x1000;
/** Interrupts for virtio-mmio devices in order of use: free ISA ones first, for guests that have only the PIC. */
export const VIRTIO_GSIS: readonly number[] = [5, 6, 7, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23];

/** I/O ports. */
export const Port = {
  cmos: 0x70,
  i8042: 0x60,
  systemControlB: 0x61,
  systemControlA: 0x92,
  debugExit: 0xf4,
  /** One byte written here marks a moment of the guest's boot; see guests/linux. */
  bootMark: 0xf5,
  serial: 0x3f8,
  pvpanic: 0x505,
  fwCfg: 0x510,
  acpiPm1Event: 0x600,
  acpiPm1Control: 0x604,
  acpiPmTimer: 0x608,
  /** PCI reset control register, named by the FADT as the reset register. */
  resetControl: 0xcf9,
} as const;

/**
 * Ports and addresses below 4 GiB that belong to the chips which some drivers have in the kernel, or to
 * devices that a machine may have: no other device may be there, with whatever driver and whatever devices.
 */
export const RESERVED_PORTS: readonly Reserved[] = [
  { base: 0x20, length: 2, owner: 'the first interrupt controller' },
  { base: 0x40, length: 4, owner: 'the interval timer' },
  { base: 0x61, length: 1, owner: 'system control port B' },
  { base: 0xa0, length: 2, owner: 'the second interrupt controller' },
  { base: Port.debugExit, length: 1, owner: 'the debug-exit port' },
  { base: 0x4d0, length: 2, owner: 'the interrupt controllers' },
];
export const RESERVED_ADDRESSES: readonly Reserved[] = [
  {
    base: VIRTIO_MMIO_BASE,
    length: VIRTIO_MMIO_SIZE * VIRTIO_GSIS.length,
    owner: 'the virtio-mmio devices',
  },
  { base: IOAPIC_BASE, length: 0x1000, owner: 'the IOAPIC' },
  { base: LAPIC_BASE, length: 0x1000, owner: 'the local APICs' },
  { base: KVM_PAGES, length: 4 * PAGE_SIZE, owner: 'KVM' },
];
/** Interrupts that a device of the user's own can't have: the timer's, the cascade's, and those of {@link Gsi}. */
export const RESERVED_GSIS: readonly number[] = [0, 2, 4, 8, 9];

/** A range that is spoken for. */
export interface Reserved {
  readonly base: number;
  readonly length: number;
  readonly owner: string;
}

/** Value that {@link Port.resetControl} takes for a reset. */
export const RESET_CONTROL_VALUE = 0x06;
/** SLP_TYP of S5 (soft off) in PM1 control and in the DSDT's \_S5 object. */
export const ACPI_S5_SLEEP_TYPE = 5;

/** Interrupts that are where a PC has them. */
export const Gsi = { serial: 4, rtc: 8, sci: 9 } as const;

/** A virtio-mmio device as the guest finds it. */
export interface VirtioSlot {
  readonly base: Gpa;
  readonly size: number;
  readonly gsi: number;
}

/** Place of the n-th virtio device. @throws RangeError past the last */
export function virtioSlot(index: number): VirtioSlot {
  const gsi = VIRTIO_GSIS[index];
  if (gsi === undefined)
    throw new RangeError(`at most ${VIRTIO_GSIS.length} virtio devices fit in this machine`);
  return { base: VIRTIO_MMIO_BASE + index * VIRTIO_MMIO_SIZE, size: VIRTIO_MMIO_SIZE, gsi };
}

/** A range of guest-physical RAM. */
export interface RamRange {
  readonly base: Gpa;
  readonly length: number;
}

/** Where `size` bytes of RAM go. */
export function ramRanges(size: number): readonly RamRange[] {
  if (size <= HOLE_START) return [{ base: 0, length: size }];
  return [
    { base: 0, length: HOLE_START },
    { base: HIGH_RAM_START, length: size - HOLE_START },
  ];
}
