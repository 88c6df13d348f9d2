/**
 * Which protocol a kernel file is for, by what is in it.
 */

import { isBzImage, parseBzImage } from './bzimage.ts';
import { isElf, parseElf } from './elf.ts';
import { BootError } from './errors.ts';
import type { KernelImage } from './kernel-image.ts';
import { hasMultibootHeader } from './multiboot.ts';
import type { KnownProtocol } from './protocols.ts';
import { pvhEntry } from './pvh.ts';

/** First bytes of files that people pass by mistake, and what to do. */
const MISTAKES: readonly {
  readonly at: number;
  readonly bytes: readonly number[];
  readonly what: string;
  readonly hint: string;
}[] = [
  { at: 0, bytes: [0x1f, 0x8b], what: 'a gzip file', hint: 'Unpack it with gunzip first.' },
  { at: 0, bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a], what: 'an xz file', hint: 'Unpack it with unxz first.' },
  { at: 0, bytes: [0x28, 0xb5, 0x2f, 0xfd], what: 'a zstd file', hint: 'Unpack it with unzstd first.' },
  {
    at: 0,
    bytes: [...'07070'].map((c) => c.charCodeAt(0)),
    what: 'a cpio archive',
    hint: 'It looks like an initrd: pass it with --initrd.',
  },
  {
    at: 0x38,
    bytes: [...'ARMd'].map((c) => c.charCodeAt(0)),
    what: 'an arm64 kernel',
    hint: 'Take a kernel built for x86 or x86-64.',
  },
];
const UNKNOWN_HINT =
  'It should be a Linux bzImage, a vmlinux, or a Multiboot kernel. A real-mode binary needs --protocol flat.';

/** @throws BootError KERNEL_FORMAT when the file is none of those that can be told by their contents */
export function detectProtocol(image: KernelImage): KnownProtocol {
  if (image.length === 0) throw new BootError('KERNEL_TRUNCATED', `${image.name}: the file is empty`);
  if (isBzImage(image)) return parseBzImage(image).has64BitEntry ? 'linux64' : 'linux32';
  if (isElf(image)) {
    const elf = parseElf(image);
    if (pvhEntry(elf) !== undefined) return 'pvh';
    if (hasMultibootHeader(image)) return 'multiboot';
    if (elf.bits === 64) return 'elf64';
    throw image.malformed('a 32-bit ELF file with neither a PVH note nor a Multiboot header', UNKNOWN_HINT);
  }
  if (hasMultibootHeader(image)) return 'multiboot';
  const mistake = MISTAKES.find(({ at, bytes }) => bytes.every((b, i) => image.bytes[at + i] === b));
  if (mistake !== undefined) throw image.malformed(`this is ${mistake.what}`, mistake.hint);
  throw image.malformed('not a kernel of a known format', UNKNOWN_HINT);
}
