/**
 * Names of the boot protocols, as the user writes them.
 */

/** `auto` looks at the file. */
export const BOOT_PROTOCOLS = ['auto', 'linux64', 'linux32', 'pvh', 'elf64', 'multiboot', 'flat'] as const;
/** A boot protocol, or `auto`. */
export type BootProtocol = (typeof BOOT_PROTOCOLS)[number];
/** What a guest was really loaded by. */
export type KnownProtocol = Exclude<BootProtocol, 'auto'>;
