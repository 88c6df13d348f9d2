/**
 * The DSDT: the devices that a guest can't find by itself, and how to switch off
 * (ACPI 6.5, sections 5.2.11.1 and 7.4.2). It holds declarations only, no code.
 */
import { ACPI_S5_SLEEP_TYPE, Gsi, Port, type VirtioSlot } from '../../layout.ts';
import { type Aml, concat, device, eisaId, integer, name, packageOf, scope, string } from './aml.ts';
import { edgeInterrupt, fixedMemory32, ioPorts, isaInterrupt, resourceTemplate } from './resources.ts';
import { acpiTable } from './table.ts';

/** Integers of 64 bits. */
const DSDT_REVISION = 2;

/** Hardware ids. */
const PNP_SERIAL = 'PNP0501';
const PNP_RTC = 'PNP0B00';
const PVPANIC = 'QEMU0001';
const FW_CFG = 'QEMU0002';
const VIRTIO_MMIO = 'LNRO0005';
const PROCESSOR = 'ACPI0007';

/** Present, enabled, functioning, but not to be shown to the user. 6.3.7 */
const STATUS_HIDDEN = 0x0b;
const FW_CFG_PORTS = 12;

/** @param cpus - processors with the UIDs 0 … n−1, as in the MADT */
export function buildDsdt(cpus: number, virtio: readonly VirtioSlot[]): Uint8Array {
  const none = integer(0);
  return acpiTable(
    'DSDT',
    DSDT_REVISION,
    concat(
      // 7.4.2.6: SLP_TYP for PM1a, for PM1b (there is none), and two reserved fields.
      name('\\_S5', packageOf(integer(ACPI_S5_SLEEP_TYPE), none, none, none)),
      scope('\\_SB', ...platformDevices(), ...virtio.map(virtioDevice), ...processors(cpus)),
    ),
  );
}

function platformDevices(): Aml[] {
  return [
    device(
      'COM1',
      name('_HID', eisaId(PNP_SERIAL)),
      name('_UID', integer(1)),
      name('_CRS', resourceTemplate(ioPorts(Port.serial, 8), isaInterrupt(Gsi.serial))),
    ),
    device(
      'RTC',
      name('_HID', eisaId(PNP_RTC)),
      name('_CRS', resourceTemplate(ioPorts(Port.cmos, 2), isaInterrupt(Gsi.rtc))),
    ),
    device('PEVT', name('_HID', string(PVPANIC)), name('_CRS', resourceTemplate(ioPorts(Port.pvpanic, 1)))),
    device(
      'FWCF',
      name('_HID', string(FW_CFG)),
      name('_STA', integer(STATUS_HIDDEN)),
      name('_CRS', resourceTemplate(ioPorts(Port.fwCfg, FW_CFG_PORTS))),
    ),
  ];
}

function virtioDevice(slot: VirtioSlot, index: number): Aml {
  return device(
    `VR${twoDigits(index)}`,
    name('_HID', string(VIRTIO_MMIO)),
    name('_UID', integer(index)),
    // 6.2.17: DMA is coherent with the caches.
    name('_CCA', integer(1)),
    name('_CRS', resourceTemplate(fixedMemory32(slot.base, slot.size), edgeInterrupt(slot.gsi))),
  );
}

function processors(count: number): Aml[] {
  return Array.from({ length: count }, (_, uid) =>
    device(`CP${twoDigits(uid)}`, name('_HID', string(PROCESSOR)), name('_UID', integer(uid))),
  );
}

function twoDigits(value: number): string {
  return value.toString(16).toUpperCase().padStart(2, '0');
}
