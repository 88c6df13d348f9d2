/**
 * The options that say what machine to run, the same for every verb that runs one, and how they become a
 * configuration together with the file of `--config`.
 */
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { ConfigError } from '../../devices/errors.ts';
import { BOOT_PROTOCOLS } from '../../vm/boot/protocols.ts';
import { ENGINE_NAMES } from '../../vm/engine.ts';
import { parseConfig, type ResolvedConfig } from '../config.ts';
import { type Flags, flagsToConfig } from './flags.ts';

/** For an option that may be given several times. */
export const collect = (value: string, previous: string[] | undefined): string[] => [
  ...(previous ?? []),
  value,
];

/** Gives a verb the options of a machine. */
export function addMachineOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--engine <name>', 'what runs the guest (default: auto)').choices(['auto', ...ENGINE_NAMES]),
    )
    .option('--guest <name>', 'a bundled guest (default: linux-x86_64)')
    .option('--kernel <file>', 'kernel: bzImage, ELF, multiboot or flat binary')
    .option('--initrd <file>', 'initial RAM disk')
    .option('--append <string>', "the kernel's command line")
    .addOption(
      new Option('--protocol <name>', 'how to start the kernel (default: auto)').choices(BOOT_PROTOCOLS),
    )
    .option('--load-address <address>', 'where a flat binary goes (default: 0x7c00)')
    .option('--memory <size>', 'RAM, such as 256M or 1G (default: 256M)')
    .option('--cpus <n>', 'virtual CPUs (default: 1)')
    .option('--disk <file[,readonly][,id=…]>', 'a raw disk image or block device; repeatable', collect)
    .option('--net <tap=NAME[,mac=…]|none>', 'a network interface on a tap; repeatable', collect)
    .option('--device <file[,port=…][,mmio=…][,irq=…][,name=…]>', 'a device of your own; repeatable', collect)
    .option('--no-rng', 'no virtio entropy device')
    .option('--no-acpi', 'no ACPI tables')
    .option('--console <stdio|none|file=PATH>', 'where the serial console goes (default: stdio)')
    .option('--debug-exit', 'let the guest end the run through port 0xf4')
    .option('--deterministic', 'make the run repeatable: virtual time, seeded random numbers; not on kvm')
    .option('--portable', 'show a guest on kvm no more of the processor than the other engines have')
    .option('--no-reboot', 'end the run when the guest asks for a reset, instead of starting it anew')
    .option(
      '--gdb <[host:]port[,wait][,arch=…]>',
      'let gdb attach there; with wait, before the first instruction; arch: i8086, i386 or x86-64',
    )
    .option('--timeout <seconds>', 'end the run after this time')
    .option(
      '--stats',
      'at the end, print exits by reason and by device, when the guest began, and instructions',
    )
    .option('--quiet', 'print nothing of our own but errors')
    .option('--config <file>', 'a JSON file with these settings; flags come before it');
}

/**
 * The JSON file of `--config`, if there is one, with the flags over it.
 * @param extra - fields that the verb sets by itself
 * @throws ConfigError
 */
export function readConfig(flags: Flags, extra: Record<string, unknown> = {}): ResolvedConfig {
  const config = { ...flagsToConfig(flags), ...extra };
  if (flags.config === undefined) return parseConfig(config, 'flags');
  let text: string;
  try {
    text = readFileSync(flags.config, 'utf8');
  } catch (cause) {
    throw new ConfigError(`--config ${flags.config}: can't be read`, { cause });
  }
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(`--config ${flags.config}: not JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof file !== 'object' || file === null || Array.isArray(file)) {
    throw new ConfigError(`--config ${flags.config}: expected a JSON object`);
  }
  return parseConfig({ ...file, ...config }, `--config ${flags.config}`);
}
