/**
 * The kernel command line: what the user wrote, what the machine adds, and how it is laid into memory.
 */

import type { VirtioSlot } from '../layout.ts';
import { BootError } from './errors.ts';
import { LowMemory } from './low-memory.ts';
import { hex } from './text.ts';

/**
 * Adds a `virtio_mmio.device=` parameter for each device, for kernels that won't find them by ACPI
 * (Linux, Documentation/admin-guide/kernel-parameters). What follows ` -- ` is for init, so they go before it.
 */
export function withVirtioDevices(commandLine: string, slots: readonly VirtioSlot[]): string {
  const parameters = slots.map(
    ({ base, size, gsi }) => `virtio_mmio.device=${hex(size)}@${hex(base)}:${gsi}`,
  );
  const separator = /(?:^|\s)--(?:\s|$)/.exec(commandLine)?.index ?? commandLine.length;
  const kernel = commandLine.slice(0, separator);
  const init = commandLine.slice(separator).trimStart();
  return [kernel, ...parameters, init].filter((part) => part !== '').join(' ');
}

/**
 * The bytes of a command line with its closing NUL, in UTF-8.
 * @param kernel - the kernel file, for messages
 * @param limit - most bytes without the NUL that the kernel takes
 * @throws BootError COMMAND_LINE when it is too long or has a NUL in it
 */
export function encodeCommandLine(
  commandLine: string,
  kernel: string,
  limit = Number.POSITIVE_INFINITY,
): Uint8Array {
  const nul = commandLine.indexOf('\0');
  if (nul >= 0) {
    throw new BootError(
      'COMMAND_LINE',
      `the kernel command line has a NUL character at position ${nul}, where it would end`,
      'Leave the NUL out.',
    );
  }
  const bytes = new TextEncoder().encode(`${commandLine}\0`);
  const room = Math.min(limit, LowMemory.commandLine.size - 1);
  if (bytes.length - 1 > room) {
    throw new BootError(
      'COMMAND_LINE',
      `the kernel command line has ${bytes.length - 1} bytes, but ${kernel} takes at most ${room}`,
      'Shorten it, or pass what is long in the initrd.',
    );
  }
  return bytes;
}
