/**
 * What the KVM driver hands to its threads, and what they say to the main thread. Descriptors and
 * addresses belong to the process, so they go from thread to thread as plain numbers.
 */
import type { MachineParts } from '../parts.ts';
import type { RamMapping } from './vm.ts';

/** For every thread of a VM. */
export interface KvmThreadData {
  readonly parts: MachineParts;
  readonly vmFd: number;
  readonly ram: readonly RamMapping[];
  /** Levels of the interrupt lines by GSI, shared: which thread drives a line doesn't matter. */
  readonly irqLevels: SharedArrayBuffer;
  /** For each virtio device, the eventfd that raises its interrupt. */
  readonly irqfds: readonly number[];
  /** For each virtio device and queue, the eventfd that the guest's notification writes to. */
  readonly notifyFds: readonly (readonly number[])[];
  /** Written to make the device thread look around: console, deadlines, requests. */
  readonly wakeFd: number;
}

/** For the thread of a vCPU. */
export interface VcpuThreadData extends KvmThreadData {
  readonly index: number;
  readonly vcpuFd: number;
  /** Where struct kvm_run is mapped. */
  readonly run: number;
  readonly runSize: number;
}

/** What threads post to the main thread. */
export type ThreadMessage =
  | { readonly type: 'ready' }
  /** The console has output. */
  | { readonly type: 'output' }
  /** The control block has an outcome. */
  | { readonly type: 'outcome' }
  /** A vCPU has stopped for the debugger. */
  | { readonly type: 'debug-stop' }
  | { readonly type: 'boot-mark'; readonly mark: number; readonly time: number }
  /** The host refused something that the thread needs before it can begin. */
  | {
      readonly type: 'refused';
      readonly code: string;
      readonly message: string;
      readonly hint: string | undefined;
    }
  /** The run can't go on; ends it with outcome `error`. */
  | { readonly type: 'failed'; readonly message: string };
