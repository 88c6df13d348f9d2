/**
 * The guests that come with Type2: Linux kernels with a small user space, and the labs.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigError } from '../devices/errors.ts';
import type { BootProtocol } from '../vm/boot/protocols.ts';

/** A guest as a manifest describes it; file names are relative to the manifest. */
export interface BundledGuest {
  /** Kernel file. */
  readonly kernel: string;
  /** Initial RAM disk. */
  readonly initrd?: string;
  /** Its kernel command line. */
  readonly append?: string;
  /** How to start it; found from the file if absent. */
  readonly protocol?: BootProtocol;
  /** Where a flat binary goes. */
  readonly loadAddress?: number;
  /** vCPUs that it is made for; 1 if absent. */
  readonly cpus?: number;
  /** What it prints when all is well. */
  readonly expect?: string;
  /** In a few words. */
  readonly description: string;
}

const MANIFESTS = ['guests/linux/manifest.json', 'guests/labs/manifest.json'] as const;
/** What runs when nobody says what. */
export const DEFAULT_GUEST = 'linux-x86_64';

/** The folder that package.json is in, from the sources as well as from dist/. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    try {
      const { name } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name?: string };
      if (name === 'type2') return folder;
    } catch {
      // Not here: look one folder up.
    }
    const parent = dirname(folder);
    if (parent === folder) throw new Error('package.json of type2 not found above its own code');
    folder = parent;
  }
}

/** All bundled guests by name, their files as absolute paths. */
export function bundledGuests(): Map<string, BundledGuest> {
  const root = packageRoot();
  const guests = new Map<string, BundledGuest>();
  for (const manifest of MANIFESTS) {
    const path = join(root, manifest);
    const file = (name: string): string => join(dirname(path), name);
    const entries = JSON.parse(readFileSync(path, 'utf8')) as { guests: Record<string, BundledGuest> };
    for (const [name, guest] of Object.entries(entries.guests)) {
      guests.set(name, {
        ...guest,
        kernel: file(guest.kernel),
        ...(guest.initrd === undefined ? {} : { initrd: file(guest.initrd) }),
      });
    }
  }
  return guests;
}

/** @throws ConfigError that names the guests there are */
export function bundledGuest(name: string): BundledGuest {
  const guests = bundledGuests();
  const guest = guests.get(name);
  if (guest !== undefined) return guest;
  throw new ConfigError(`guest: there is no bundled guest '${name}'`, {
    hint: `There are: ${[...guests.keys()].join(', ')}.`,
  });
}
