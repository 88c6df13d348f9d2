/**
 * Puts a guest into a machine's memory: firmware tables, kernel, command line, initrd. All of it is
 * planned and checked first and written last, so a guest that can't be loaded changes nothing.
 */
import type { Gpa, GuestMemory } from '../../devices/memory.ts';
import type { VirtioSlot } from '../layout.ts';
import type { EntryState } from '../vcpu-state.ts';
import { loadLinux32, loadLinux64 } from './bzimage.ts';
import { withVirtioDevices } from './command-line.ts';
import type { BootLoader } from './context.ts';
import { detectProtocol } from './detect.ts';
import { e820Map } from './e820.ts';
import { loadElf64 } from './elf64.ts';
import { planFirmware } from './firmware.ts';
import { loadFlat } from './flat.ts';
import { KernelImage } from './kernel-image.ts';
import { LoadPlan } from './load-plan.ts';
import { loadMultiboot } from './multiboot.ts';
import type { BootProtocol, KnownProtocol } from './protocols.ts';
import { loadPvh } from './pvh.ts';

/** What the guest is made of. */
export interface GuestSource {
  /** The kernel file. */
  readonly image: Uint8Array;
  /** Its name, for messages. */
  readonly imageName: string;
  readonly initrd?: Uint8Array;
  readonly commandLine: string;
  readonly protocol: BootProtocol;
  /** Where a flat binary goes; 0x7c00 if absent. */
  readonly loadAddress?: Gpa;
  /** Whether the guest gets ACPI tables. Without, Linux is told of virtio devices on its command line. */
  readonly acpi: boolean;
}

/** A guest, and the machine that it is for. */
export interface LoadOptions extends GuestSource {
  readonly memory: GuestMemory;
  readonly cpus: number;
  readonly virtio: readonly VirtioSlot[];
}

/** How the boot CPU starts. All other state is as after reset, and so are all other CPUs. */
export interface LoadedGuest extends EntryState {
  readonly protocol: KnownProtocol;
}

const LOADERS: Readonly<Record<KnownProtocol, BootLoader>> = {
  linux64: loadLinux64,
  linux32: loadLinux32,
  pvh: loadPvh,
  elf64: loadElf64,
  multiboot: loadMultiboot,
  flat: loadFlat,
};

/**
 * Loads a guest into memory.
 * @throws BootError when it can't be loaded; memory is then untouched
 */
export function loadGuest(options: LoadOptions): LoadedGuest {
  const { memory, commandLine, acpi, virtio } = options;
  const image = new KernelImage(options.imageName, options.image);
  const protocol = options.protocol === 'auto' ? detectProtocol(image) : options.protocol;
  const plan = new LoadPlan(memory.regions);
  const rsdp = planFirmware(plan, options);
  const entry = LOADERS[protocol]({
    image,
    plan,
    initrd: options.initrd,
    commandLine,
    linuxCommandLine: acpi ? commandLine : withVirtioDevices(commandLine, virtio),
    memoryMap: e820Map(memory.regions),
    rsdp,
    loadAddress: options.loadAddress,
  });
  plan.carryOut(memory);
  return { ...entry, protocol };
}
