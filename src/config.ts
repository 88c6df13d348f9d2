/**
 * The one schema of a machine's configuration: command-line flags, the JSON file of `--config` and the
 * library's `Vm.create` all parse into it, with the same names, checks and messages.
 */
import * as v from 'valibot';
import { ConfigError } from '../devices/errors.ts';
import { INTERFACE_NAME_MAXIMUM } from '../devices/net/limits.ts';
import { BOOT_PROTOCOLS, type BootProtocol } from '../vm/boot/protocols.ts';
import type { EngineChoice } from '../vm/drivers.ts';
import { ENGINE_NAMES } from '../vm/engine.ts';
import { CPUS_MAXIMUM, GSI_COUNT, MEMORY_MAXIMUM, MEMORY_MINIMUM, PAGE_SIZE } from '../vm/layout.ts';
import { TRACE_KIND_NAMES, type TraceKindName } from '../vm/trace/event.ts';

/** A disk. */
export interface DiskConfig {
  /** A raw image or a block device. */
  path: string;
  /** Whether the guest may only read it; false if absent. */
  readonly?: boolean | undefined;
  /** Serial number that the guest sees, 1 to 20 printable ASCII characters; made from the path if absent. */
  id?: string | undefined;
}

/** A {@link DiskConfig} with its defaults filled in. */
export interface ResolvedDisk extends DiskConfig {
  /** Whether the guest may only read it. */
  readonly: boolean;
}

/** A network interface. */
export interface NetConfig {
  /** Name of the host's tap interface, at most 15 bytes. */
  tap: string;
  /** The guest's MAC address, such as `52:54:00:12:34:56`; made from the tap's name if absent. */
  mac?: string | undefined;
}

/** A device of your own: see {@link DeviceModule}. What is not given here the module says itself. */
export interface DeviceConfig {
  /** Its TypeScript or JavaScript file: a path from the current folder, or a `file:` URL. */
  path: string;
  /** What the machine calls it. */
  name?: string | undefined;
  /** Its first I/O port. */
  port?: number | undefined;
  /** Its first guest-physical address. */
  mmio?: number | undefined;
  /** Its interrupt: a GSI that no other device has. */
  irq?: number | undefined;
}

/** Where the serial console goes: this process's stdin and stdout, nowhere, or a file. */
export type ConsoleConfig =
  | 'stdio'
  | 'none'
  | {
      /** The file, made anew. */
      path: string;
    };

/** What to trace; `{}` is everything. See {@link Vm.trace}. */
export interface TraceConfig {
  /** Kinds of events; all if absent. */
  reasons?: TraceKindName[] | undefined;
  /**
   * Devices, such as `serial0`; `virtio-blk` means all of a kind, `unmapped` what no device answers. Only
   * events that concern them are traced then; all if absent.
   */
  devices?: string[] | undefined;
  /** Virtual CPUs; all if absent. */
  vcpus?: number[] | undefined;
  /** From so many seconds after the start on; 0 if absent. */
  from?: number | undefined;
  /** Up to so many seconds after the start; to the end if absent. */
  to?: number | undefined;
  /** Whether events that nobody takes in time are dropped and counted; if absent or false, the guest waits. */
  lossy?: boolean | undefined;
}

/** Where gdb can connect. */
export interface GdbConfig {
  /** Address to listen on; `127.0.0.1` if absent. Whoever can reach it rules the guest. */
  host?: string | undefined;
  /** TCP port, 1 to 65535. */
  port: number;
  /** Whether the guest stands before its first instruction until gdb lets it go; false if absent. */
  wait?: boolean | undefined;
  /** What gdb is told the machine is; by default what the vCPU runs when gdb connects. */
  arch?: 'i8086' | 'i386' | 'x86-64' | undefined;
}

/** What a machine is to be. Everything has a default: `{}` is the bundled Linux. */
export interface VmConfig {
  /** `auto`, the default, takes the best that works. */
  engine?: EngineChoice | undefined;
  /** Name of a bundled guest; `linux-x86_64` if neither this nor `kernel` is given. */
  guest?: string | undefined;
  /** Kernel file. */
  kernel?: string | undefined;
  /** Initial RAM disk. */
  initrd?: string | undefined;
  /** The kernel's command line; `console=ttyS0` for a kernel of your own. */
  append?: string | undefined;
  /** How to start the kernel; `auto` looks at the file. */
  protocol?: BootProtocol | undefined;
  /** Where a flat binary goes, below 1 MiB; 0x7c00 if absent. */
  loadAddress?: number | undefined;
  /** Whether the guest gets ACPI tables; true if absent. */
  acpi?: boolean | undefined;
  /** RAM, as a number of bytes or such as `256M` and `1G`; 256M if absent. */
  memory?: string | number | undefined;
  /** Virtual CPUs; the bundled guest's number, or 1. */
  cpus?: number | undefined;
  /** Disks, in the order in which the guest finds them. */
  disks?: DiskConfig[] | undefined;
  /** Network interfaces, in the order in which the guest finds them. */
  nets?: NetConfig[] | undefined;
  /** Whether there is a virtio entropy device; true if absent. */
  rng?: boolean | undefined;
  /** Devices of your own. */
  devices?: DeviceConfig[] | undefined;
  /** For the command line: where the serial console goes. The library has {@link Vm.console}. */
  console?: ConsoleConfig | undefined;
  /** Whether the guest may end the run through port 0xf4. */
  debugExit?: boolean | undefined;
  /**
   * Whether two runs shall print the same and execute the same instructions: time runs by instructions, from a fixed
   * date, and random numbers are the same each time. Not on kvm.
   */
  deterministic?: boolean | undefined;
  /**
   * Whether the guest sees a CPU as the one in TypeScript, so that it can be saved on KVM and go on there; else it
   * sees all that the engine offers.
   */
  portable?: boolean | undefined;
  /** What a guest's reset does: starts it anew (the default), or ends the run. */
  onReset?: 'restart' | 'end' | undefined;
  /** Where gdb can connect; nowhere if absent. */
  gdb?: GdbConfig | undefined;
  /** What to trace; nothing if absent. */
  trace?: TraceConfig | undefined;
  /** For the command line: seconds until the run is ended. */
  timeout?: number | undefined;
  /** For the command line: whether to print statistics at the end. */
  stats?: boolean | undefined;
  /** For the command line: whether to print nothing of our own but errors. */
  quiet?: boolean | undefined;
}

/** A {@link VmConfig} with its defaults filled in. */
export interface ResolvedConfig {
  /** As in {@link VmConfig}. */
  engine: EngineChoice;
  /** As in {@link VmConfig}. */
  guest?: string | undefined;
  /** As in {@link VmConfig}. */
  kernel?: string | undefined;
  /** As in {@link VmConfig}. */
  initrd?: string | undefined;
  /** As in {@link VmConfig}. */
  append?: string | undefined;
  /** As in {@link VmConfig}. */
  protocol: BootProtocol;
  /** As in {@link VmConfig}. */
  loadAddress?: number | undefined;
  /** As in {@link VmConfig}. */
  acpi: boolean;
  /** RAM in bytes, a multiple of 4096. */
  memory: number;
  /** As in {@link VmConfig}. */
  cpus?: number | undefined;
  /** With `readonly` settled. */
  disks: ResolvedDisk[];
  /** As in {@link VmConfig}. */
  nets: NetConfig[];
  /** As in {@link VmConfig}. */
  rng: boolean;
  /** As in {@link VmConfig}. */
  devices: DeviceConfig[];
  /** As in {@link VmConfig}. */
  console: ConsoleConfig;
  /** As in {@link VmConfig}. */
  debugExit: boolean;
  /** As in {@link VmConfig}. */
  deterministic: boolean;
  /** As in {@link VmConfig}. */
  portable: boolean;
  /** As in {@link VmConfig}. */
  onReset: 'restart' | 'end';
  /** As in {@link VmConfig}. */
  gdb?: GdbConfig | undefined;
  /** As in {@link VmConfig}. */
  trace?: TraceConfig | undefined;
  /** As in {@link VmConfig}. */
  timeout?: number | undefined;
  /** As in {@link VmConfig}. */
  stats: boolean;
  /** As in {@link VmConfig}. */
  quiet: boolean;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** Bytes of `256M`, `1G`, `65536` or a number of bytes. Undefined when it is none. */
export function parseSize(text: string | number): number | undefined {
  if (typeof text === 'number') return text;
  const match = /^(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?$/i.exec(text.trim());
  if (match === null) return undefined;
  return Number(match[1]) * UNITS[match[2]!.toUpperCase()]!;
}

function formatSize(bytes: number): string {
  return bytes % 2 ** 30 === 0 ? `${bytes / 2 ** 30}G` : `${Math.round(bytes / 2 ** 20)}M`;
}

const memory = v.pipe(
  v.union([v.string(), v.number()], 'memory: expected a size such as 256M or 1G'),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const bytes = parseSize(dataset.value);
    if (bytes === undefined) {
      addIssue({ message: `memory: '${dataset.value}' is no size: write 256M or 1G` });
      return NEVER;
    }
    const size = Math.floor(bytes / PAGE_SIZE) * PAGE_SIZE;
    if (!(size >= MEMORY_MINIMUM && size <= MEMORY_MAXIMUM)) {
      addIssue({
        message: `memory: ${dataset.value} is outside ${formatSize(MEMORY_MINIMUM)} to ${formatSize(MEMORY_MAXIMUM)}`,
      });
      return NEVER;
    }
    return size;
  }),
);

const path = (name: string) =>
  v.pipe(v.string(`${name}: expected a file name`), v.nonEmpty(`${name}: the file name is empty`));

const disk = v.strictObject({
  path: path('disk'),
  readonly: v.optional(v.boolean('disk: readonly is true or false'), false),
  id: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[\x21-\x7e]{1,20}$/, 'disk: id is 1 to 20 printable ASCII characters without spaces'),
    ),
  ),
});

const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
const net = v.strictObject({
  tap: v.pipe(
    v.string('net: tap is the name of an interface'),
    v.nonEmpty('net: the tap name is empty'),
    v.maxBytes(INTERFACE_NAME_MAXIMUM, `net: a tap name has at most ${INTERFACE_NAME_MAXIMUM} bytes`),
    v.regex(/^[^\s/]+$/, 'net: a tap name has no spaces and no slashes'),
  ),
  mac: v.optional(
    v.pipe(
      v.string(),
      v.regex(MAC, 'net: mac is six bytes such as 52:54:00:12:34:56'),
      v.check((text) => (Number.parseInt(text.slice(0, 2), 16) & 1) === 0, 'net: mac is a multicast address'),
    ),
  ),
});

const count = (name: string, least: number, most: number) =>
  v.pipe(
    v.number(`${name}: expected a number`),
    v.integer(`${name}: expected a whole number`),
    v.minValue(least, `${name}: expected ${least} to ${most}`),
    v.maxValue(most, `${name}: expected ${least} to ${most}`),
  );

const device = v.strictObject({
  path: path('device'),
  name: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[A-Za-z0-9_-]{1,32}$/, "device: name is 1 to 32 letters, digits, '-' or '_'"),
    ),
  ),
  port: v.optional(count('device: port', 0, 0xffff)),
  mmio: v.optional(count('device: mmio', 0, 0xffff_ffff)),
  irq: v.optional(count('device: irq', 1, GSI_COUNT - 1)),
});

const seconds = (name: string) =>
  v.pipe(v.number(`${name}: expected seconds`), v.minValue(0, `${name}: expected 0 seconds or more`));

const gdb = v.strictObject({
  host: v.optional(v.string('gdb.host: expected an address')),
  port: count('gdb.port', 1, 65535),
  wait: v.optional(v.boolean('gdb.wait: true or false')),
  arch: v.optional(v.picklist(['i8086', 'i386', 'x86-64'], 'gdb.arch: expected i8086, i386 or x86-64')),
});

const trace = v.strictObject({
  reasons: v.optional(
    v.array(
      v.picklist(TRACE_KIND_NAMES, `trace.reasons: expected some of ${TRACE_KIND_NAMES.join(', ')}`),
      'trace.reasons: expected a list',
    ),
  ),
  devices: v.optional(v.array(v.string('trace.devices: expected names'), 'trace.devices: expected a list')),
  vcpus: v.optional(v.array(count('trace.vcpus', 0, CPUS_MAXIMUM - 1), 'trace.vcpus: expected a list')),
  from: v.optional(seconds('trace.from')),
  to: v.optional(seconds('trace.to')),
  lossy: v.optional(v.boolean('trace.lossy: true or false')),
});

const configSchema: v.GenericSchema<VmConfig, ResolvedConfig> = v.strictObject({
  engine: v.optional(
    v.picklist(['auto', ...ENGINE_NAMES], `engine: expected auto or ${ENGINE_NAMES.join(', ')}`),
    'auto',
  ),
  guest: v.optional(v.string('guest: expected the name of a bundled guest')),
  kernel: v.optional(path('kernel')),
  initrd: v.optional(path('initrd')),
  append: v.optional(v.string('append: expected a string')),
  protocol: v.optional(
    v.picklist(BOOT_PROTOCOLS, `protocol: expected one of ${BOOT_PROTOCOLS.join(', ')}`),
    'auto',
  ),
  loadAddress: v.optional(count('loadAddress', 0, 0xf_ffff)),
  acpi: v.optional(v.boolean('acpi: true or false'), true),
  memory: v.optional(memory, '256M'),
  cpus: v.optional(count('cpus', 1, CPUS_MAXIMUM)),
  disks: v.optional(v.array(disk, 'disks: expected a list'), []),
  nets: v.optional(v.array(net, 'nets: expected a list'), []),
  rng: v.optional(v.boolean('rng: true or false'), true),
  devices: v.optional(v.array(device, 'devices: expected a list'), []),
  console: v.optional(
    v.union(
      [v.literal('stdio'), v.literal('none'), v.strictObject({ path: path('console') })],
      "console: expected 'stdio', 'none' or { path }",
    ),
    'stdio',
  ),
  debugExit: v.optional(v.boolean('debugExit: true or false'), false),
  deterministic: v.optional(v.boolean('deterministic: true or false'), false),
  portable: v.optional(v.boolean('portable: true or false'), false),
  onReset: v.optional(v.picklist(['restart', 'end'], "onReset: expected 'restart' or 'end'"), 'restart'),
  gdb: v.optional(gdb),
  trace: v.optional(trace),
  timeout: v.optional(
    v.pipe(
      v.number('timeout: expected seconds'),
      v.gtValue(0, 'timeout: expected more than 0 seconds'),
      v.maxValue(2e6, 'timeout: at most 2000000 seconds'),
    ),
  ),
  stats: v.optional(v.boolean('stats: true or false'), false),
  quiet: v.optional(v.boolean('quiet: true or false'), false),
});

/**
 * Checks a configuration and fills in its defaults.
 * @throws ConfigError that names every field that is wrong
 */
export function parseConfig(input: unknown, where = 'configuration'): ResolvedConfig {
  const result = v.safeParse(configSchema, input);
  if (!result.success) {
    throw new ConfigError(`${where}: ${result.issues.map(describe).join('; ')}`, {
      hint: 'See `type2 run --help` for what there is.',
    });
  }
  refuseTwice(result.output);
  return result.output;
}

function describe(issue: v.BaseIssue<unknown>): string {
  const at = v.getDotPath(issue);
  // Objects are strict: a name that isn't there is most often a typing error.
  if (issue.kind === 'schema' && issue.expected === 'never') return `there is no field '${at}'`;
  if (issue.received === 'undefined') return `${at ?? 'it'} is missing`;
  return issue.message;
}

/** One tap can't serve two interfaces, and one image can't be written through two disks. */
function refuseTwice(config: ResolvedConfig): void {
  const seen = new Set<string>();
  for (const { tap } of config.nets) {
    if (seen.has(tap)) throw new ConfigError(`net: tap ${tap} is named twice`);
    seen.add(tap);
  }
}
