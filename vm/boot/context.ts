/**
 * What each boot protocol gets to work with. A protocol reads the kernel file, adds to the plan, and
 * returns the state in which the boot CPU starts.
 */
import type { Gpa } from '../../devices/memory.ts';
import type { EntryState } from '../vcpu-state.ts';
import type { E820Entry } from './e820.ts';
import type { KernelImage } from './kernel-image.ts';
import type { LoadPlan } from './load-plan.ts';

/** One load, as a protocol sees it. */
export interface BootContext {
  readonly image: KernelImage;
  readonly plan: LoadPlan;
  readonly initrd: Uint8Array | undefined;
  /** As the user wrote it. */
  readonly commandLine: string;
  /** The command line for a Linux kernel: with what tells it of devices that no table names. */
  readonly linuxCommandLine: string;
  readonly memoryMap: readonly E820Entry[];
  /** Address of the RSDP, 0 without ACPI. */
  readonly rsdp: Gpa;
  /** Where a flat binary goes, if not to its usual place. */
  readonly loadAddress: Gpa | undefined;
}

/** Loads by one protocol. @throws BootError, with nothing written */
export type BootLoader = (context: BootContext) => EntryState;
