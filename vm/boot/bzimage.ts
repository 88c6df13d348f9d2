/**
 * Linux kernels as distributions ship them: bzImage, by the 64-bit or the 32-bit boot protocol
 * (Linux, Documentation/arch/x86/boot.rst). The real-mode code in the file's first sectors is not run;
 * only its setup header is read.
 */
import type { Gpa } from '../../devices/memory.ts';
import { HIGH_MEMORY_START, HIGH_RAM_START } from '../layout.ts';
import type { EntryState } from '../vcpu-state.ts';
import { encodeCommandLine } from './command-line.ts';
import type { BootContext } from './context.ts';
import { longModeEntry, protectedModeEntry } from './cpu-entry.ts';
import { BootError } from './errors.ts';
import { planInitrd } from './initrd.ts';
import type { KernelImage } from './kernel-image.ts';
import { LowMemory } from './low-memory.ts';
import { hex } from './text.ts';
import { buildZeroPage, SETUP_HEADER_LIMIT, SETUP_HEADER_START } from './zero-page.ts';

const SECTOR = 512;
const PARAGRAPH = 16;
/** "HdrS", and the boot sector's last two bytes. */
const HEADER_MAGIC = 0x5372_6448;
const BOOT_FLAG = 0xaa55;

/** Offsets in the file. */
const SETUP_SECTS = 0x1f1;
const SYSSIZE = 0x1f4;
const BOOT_FLAG_AT = 0x1fe;
/** The header ends at 0x202 plus the byte here. */
const JUMP_OFFSET = 0x201;
const HEADER = 0x202;
const VERSION = 0x206;
const LOADFLAGS = 0x211;
const INITRD_ADDR_MAX = 0x22c;
const KERNEL_ALIGNMENT = 0x230;
const RELOCATABLE_KERNEL = 0x234;
const XLOADFLAGS = 0x236;
const CMDLINE_SIZE = 0x238;
const PREF_ADDRESS = 0x258;
const INIT_SIZE = 0x260;
/** In the copy of the header that the kernel gets. */
const CODE32_START = 0x214;

/** The first protocol version that says how long a command line may be; from before 2006 is older. */
const OLDEST_VERSION = 0x0206;
/** Since this version the kernel says where it wants to be and how much room it takes. */
const VERSION_WITH_INIT_SIZE = 0x020a;
const VERSION_WITH_XLOADFLAGS = 0x020c;

const LOADED_HIGH = 0x01;
const XLF_KERNEL_64 = 0x01;
const XLF_CAN_BE_LOADED_ABOVE_4G = 0x02;

/** Where 64-bit code starts in the protected-mode kernel. */
const ENTRY_64_OFFSET = 0x200;
/** What `setup_sects` means when it is 0. */
const DEFAULT_SETUP_SECTS = 4;

/** A bzImage's setup header as far as a boot loader needs it. */
export interface BzImage {
  /** Major in the upper, minor in the lower byte. */
  readonly version: number;
  /** The bytes of the setup header, for the zero page. */
  readonly header: Uint8Array;
  /** The protected-mode kernel. */
  readonly kernel: Uint8Array;
  readonly relocatable: boolean;
  readonly prefAddress: Gpa;
  /** Bytes that the kernel needs from its runtime start on, before it has looked at the memory map. */
  readonly initSize: number;
  readonly commandLineMaximum: number;
  /** First address that the initrd must not reach. */
  readonly initrdLimit: Gpa;
  readonly has64BitEntry: boolean;
  /** Whether kernel, initrd and command line may be above 4 GiB. */
  readonly above4G: boolean;
}

/** Whether this is a Linux kernel with a setup header. */
export function isBzImage(image: KernelImage): boolean {
  if (!image.has(HEADER, 4)) return false;
  return image.u16(BOOT_FLAG_AT, 'boot_flag') === BOOT_FLAG && image.u32(HEADER, 'header') === HEADER_MAGIC;
}

/** Reads and checks the setup header. @throws BootError */
export function parseBzImage(image: KernelImage): BzImage {
  if (!isBzImage(image))
    throw image.malformed('not a Linux bzImage: it has no setup header ("HdrS" at 0x202)');
  const version = image.u16(VERSION, 'version');
  if (version < OLDEST_VERSION) {
    throw new BootError(
      'KERNEL_TOO_OLD',
      `${image.name}: Linux boot protocol ${versionName(version)}; the oldest that can be loaded is ${versionName(OLDEST_VERSION)}`,
      'Take Linux 2.6.22 or newer.',
    );
  }
  if ((image.u8(LOADFLAGS, 'loadflags') & LOADED_HIGH) === 0) {
    throw image.malformed('a zImage, which loads below 1 MiB', 'Build the kernel as a bzImage.');
  }

  const headerEnd = HEADER + image.u8(JUMP_OFFSET, 'jump offset');
  const lastField = version >= VERSION_WITH_INIT_SIZE ? INIT_SIZE : CMDLINE_SIZE;
  if (headerEnd < lastField + 4) {
    throw image.malformed(
      `its setup header ends at ${hex(headerEnd)}, too early for boot protocol ${versionName(version)}`,
    );
  }
  const headerLength = Math.min(headerEnd, SETUP_HEADER_LIMIT) - SETUP_HEADER_START;
  const kernel = protectedModeKernel(image);
  const xloadflags = version >= VERSION_WITH_XLOADFLAGS ? image.u16(XLOADFLAGS, 'xloadflags') : 0;
  return {
    version,
    header: image.slice(SETUP_HEADER_START, headerLength, 'setup header'),
    kernel,
    relocatable: image.u8(RELOCATABLE_KERNEL, 'relocatable_kernel') !== 0,
    ...runtimePlace(image, version, kernel.length),
    commandLineMaximum: image.u32(CMDLINE_SIZE, 'cmdline_size'),
    initrdLimit: image.u32(INITRD_ADDR_MAX, 'initrd_addr_max') + 1,
    has64BitEntry: (xloadflags & XLF_KERNEL_64) !== 0,
    above4G: (xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) !== 0,
  };
}

/** Loads by the 64-bit boot protocol. boot.rst, "64-bit boot protocol". */
export function loadLinux64(context: BootContext): EntryState {
  const kernel = parseBzImage(context.image);
  if (!kernel.has64BitEntry) {
    throw context.image.malformed(
      'a kernel without a 64-bit entry point (XLF_KERNEL_64)',
      'Load it by --protocol linux32.',
    );
  }
  const loadAddress = planKernel(context, kernel);
  return longModeEntry(context.plan, loadAddress + ENTRY_64_OFFSET, { rsi: BigInt(LowMemory.zeroPage.at) });
}

/** Loads by the 32-bit boot protocol. boot.rst, "32-bit boot protocol". */
export function loadLinux32(context: BootContext): EntryState {
  const loadAddress = planKernel(context, parseBzImage(context.image));
  return protectedModeEntry(context.plan, loadAddress, { rsi: BigInt(LowMemory.zeroPage.at) });
}

/** Plans kernel, command line, initrd and zero page. @returns where the protected-mode kernel goes */
function planKernel(context: BootContext, kernel: BzImage): Gpa {
  const { image, plan, memoryMap, rsdp } = context;
  const { prefAddress, initSize, relocatable } = kernel;
  const commandLine = encodeCommandLine(context.linuxCommandLine, image.name, kernel.commandLineMaximum);

  // Even a relocatable kernel won't run below its preferred address, and is best there.
  const loadAddress = relocatable ? prefAddress : HIGH_MEMORY_START;
  const end = Math.max(loadAddress + kernel.kernel.length, prefAddress + initSize);
  plan.put(`${image.name} with the room to unpack itself`, loadAddress, kernel.kernel, end - loadAddress);

  const initrd = planInitrd(plan, context.initrd, { limit: kernel.initrdLimit, aboveLimit: kernel.above4G });
  plan.put('the command line', LowMemory.commandLine.at, commandLine);
  const zeroPage = buildZeroPage({
    header: kernel.header,
    memoryMap,
    commandLineAt: LowMemory.commandLine.at,
    initrd,
    rsdp,
  });
  new DataView(zeroPage.buffer).setUint32(CODE32_START, loadAddress, true);
  plan.put('the zero page', LowMemory.zeroPage.at, zeroPage);
  return loadAddress;
}

function protectedModeKernel(image: KernelImage): Uint8Array {
  const setupSectors = image.u8(SETUP_SECTS, 'setup_sects') || DEFAULT_SETUP_SECTS;
  const start = (setupSectors + 1) * SECTOR;
  const promised = image.u32(SYSSIZE, 'syssize') * PARAGRAPH;
  // syssize counts whole paragraphs; the last may be cut short. What follows it is a signature.
  const least = Math.max(promised - (PARAGRAPH - 1), ENTRY_64_OFFSET);
  image.slice(start, least, 'protected-mode kernel');
  const available = image.length - start;
  return image.slice(
    start,
    promised === 0 ? available : Math.min(promised, available),
    'protected-mode kernel',
  );
}

/** Where the kernel will be when it has unpacked itself. */
function runtimePlace(image: KernelImage, version: number, length: number) {
  if (version < VERSION_WITH_INIT_SIZE) {
    // The kernel doesn't say. It unpacks to its alignment, and gzip makes a kernel about four times smaller.
    const alignment = image.u32(KERNEL_ALIGNMENT, 'kernel_alignment');
    return { prefAddress: HIGH_MEMORY_START, initSize: alignment + 5 * length };
  }
  const prefAddress = image.u64(PREF_ADDRESS, 'pref_address');
  if (prefAddress < HIGH_MEMORY_START || prefAddress >= HIGH_RAM_START) {
    throw image.malformed(
      `its preferred load address (pref_address) is ${hex(prefAddress)}, not between 1 MiB and 4 GiB`,
    );
  }
  return { prefAddress, initSize: Math.max(image.u32(INIT_SIZE, 'init_size'), length) };
}

function versionName(version: number): string {
  return `${version >> 8}.${String(version & 0xff).padStart(2, '0')}`;
}
