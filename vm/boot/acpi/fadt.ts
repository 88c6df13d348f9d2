/**
 * The FADT: where the fixed hardware is and what it can do (ACPI 6.5, section 5.2.9), and the FACS
 * (5.2.10). The fixed hardware itself is devices/acpi-pm.ts; there is no SMI command port, so the
 * machine is always in ACPI mode.
 */
import type { Gpa } from '../../../devices/memory.ts';
import { Gsi, Port, RESET_CONTROL_VALUE } from '../../layout.ts';
import { StructWriter } from '../struct-writer.ts';
import { acpiTable } from './table.ts';

const FADT_REVISION = 6;
const FADT_MINOR_REVISION = 3;
const FACS_SIZE = 64;
const FACS_VERSION = 2;

const PM1_EVENT_LENGTH = 4;
const PM1_CONTROL_LENGTH = 2;
const PM_TIMER_LENGTH = 4;
/** Enterprise server without a wish: 5.2.9.1. */
const PROFILE_UNSPECIFIED = 0;
/** Latencies above these say that the machine has no C2 and no C3. */
const NO_C2 = 0xffff;
const NO_C3 = 0xffff;
/** Index of the century in CMOS RAM. */
const RTC_CENTURY = 0x32;

/** IA-PC boot architecture flags. 5.2.9.3. Not set: 8042, because nothing is plugged into it; so guests needn't look. */
const LEGACY_DEVICES = 1 << 0;
const VGA_NOT_PRESENT = 1 << 2;
const MSI_NOT_SUPPORTED = 1 << 3;

/** Fixed feature flags, table 5.10. Not set: PWR_BUTTON, because it is fixed hardware; HW_REDUCED_ACPI. */
const WBINVD = 1 << 0;
const PROC_C1 = 1 << 2;
const SLP_BUTTON_ABSENT = 1 << 5;
const RTC_WAKE_ABSENT = 1 << 6;
const TMR_VAL_EXT = 1 << 8;
const RESET_REG_SUP = 1 << 10;
const HEADLESS = 1 << 12;

/** Address space ids and access sizes of generic addresses. 5.2.3.2 */
const SYSTEM_IO = 1;
const ANY_SIZE = 0;
const BYTE = 1;
const WORD = 2;
const DWORD = 3;

/** @param facs - address of the FACS, below 4 GiB. @param dsdt - address of the DSDT, below 4 GiB */
export function buildFadt(facs: Gpa, dsdt: Gpa): Uint8Array {
  const fadt = new StructWriter()
    .u32(facs)
    .u32(dsdt)
    .u8(0)
    .u8(PROFILE_UNSPECIFIED)
    .u16(Gsi.sci)
    .u32(0) // SMI_CMD
    .zeros(4) // ACPI_ENABLE, ACPI_DISABLE, S4BIOS_REQ, PSTATE_CNT
    .u32(Port.acpiPm1Event)
    .u32(0) // PM1b event block
    .u32(Port.acpiPm1Control)
    .u32(0) // PM1b control block
    .u32(0) // PM2 control block
    .u32(Port.acpiPmTimer)
    .u32(0) // GPE0 block
    .u32(0) // GPE1 block
    .u8(PM1_EVENT_LENGTH)
    .u8(PM1_CONTROL_LENGTH)
    .u8(0) // PM2_CNT_LEN
    .u8(PM_TIMER_LENGTH)
    .zeros(4) // GPE0_BLK_LEN, GPE1_BLK_LEN, GPE1_BASE, CST_CNT
    .u16(NO_C2)
    .u16(NO_C3)
    .zeros(6) // FLUSH_SIZE, FLUSH_STRIDE, DUTY_OFFSET, DUTY_WIDTH
    .u8(0) // DAY_ALRM
    .u8(0) // MON_ALRM
    .u8(RTC_CENTURY)
    .u16(LEGACY_DEVICES | VGA_NOT_PRESENT | MSI_NOT_SUPPORTED)
    .u8(0)
    .u32(WBINVD | PROC_C1 | SLP_BUTTON_ABSENT | RTC_WAKE_ABSENT | TMR_VAL_EXT | RESET_REG_SUP | HEADLESS);
  ioRegister(fadt, Port.resetControl, 1, BYTE);
  fadt
    .u8(RESET_CONTROL_VALUE)
    .u16(0) // ARM_BOOT_ARCH
    .u8(FADT_MINOR_REVISION)
    .u64(0) // X_FIRMWARE_CTRL: the FACS is below 4 GiB
    .u64(dsdt);
  ioRegister(fadt, Port.acpiPm1Event, PM1_EVENT_LENGTH, WORD);
  noRegister(fadt); // PM1b event block
  ioRegister(fadt, Port.acpiPm1Control, PM1_CONTROL_LENGTH, WORD);
  noRegister(fadt); // PM1b control block
  noRegister(fadt); // PM2 control block
  ioRegister(fadt, Port.acpiPmTimer, PM_TIMER_LENGTH, DWORD);
  noRegister(fadt); // GPE0 block
  noRegister(fadt); // GPE1 block
  noRegister(fadt); // sleep control register
  noRegister(fadt); // sleep status register
  fadt.ascii('TYPE2', 8); // hypervisor vendor identity
  return acpiTable('FACP', FADT_REVISION, fadt.finish());
}

/** The table that guest and firmware share for waking up and for the global lock. Has no checksum. 5.2.10 */
export function buildFacs(): Uint8Array {
  return new StructWriter()
    .ascii('FACS')
    .u32(FACS_SIZE)
    .u32(0) // hardware signature
    .u32(0) // firmware waking vector
    .u32(0) // global lock
    .u32(0) // flags
    .u64(0) // X firmware waking vector
    .u8(FACS_VERSION)
    .zeros(FACS_SIZE - 33)
    .finish();
}

/** A generic address structure. @param length - in bytes */
function ioRegister(writer: StructWriter, port: number, length: number, accessSize: number): void {
  writer
    .u8(SYSTEM_IO)
    .u8(8 * length)
    .u8(0)
    .u8(accessSize)
    .u64(port);
}

function noRegister(writer: StructWriter): void {
  writer.u8(SYSTEM_IO).u8(0).u8(0).u8(ANY_SIZE).u64(0);
}
