/**
 * From flags as they stand on the command line to the fields of the configuration. Checking is the
 * schema's work (config.ts); here only the small languages of `--disk`, `--net`, `--device` and `--console` are
 * read.
 */
import { ConfigError } from '../../devices/errors.ts';

/** What commander makes of `type2 run`'s flags. */
export interface Flags {
  readonly engine?: string;
  readonly guest?: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly protocol?: string;
  readonly loadAddress?: string;
  readonly memory?: string;
  readonly cpus?: string;
  readonly disk?: readonly string[];
  readonly net?: readonly string[];
  readonly rng?: boolean;
  readonly device?: readonly string[];
  readonly acpi?: boolean;
  readonly console?: string;
  readonly debugExit?: boolean;
  readonly deterministic?: boolean;
  readonly portable?: boolean;
  readonly reboot?: boolean;
  readonly gdb?: string;
  readonly timeout?: string;
  readonly stats?: boolean;
  readonly quiet?: boolean;
  readonly config?: string;
}

/** Fields of the configuration that the flags set; absent flags set nothing. @throws ConfigError */
export function flagsToConfig(flags: Flags): Record<string, unknown> {
  const {
    engine,
    guest,
    kernel,
    initrd,
    append,
    protocol,
    memory,
    debugExit,
    deterministic,
    portable,
    stats,
    quiet,
  } = flags;
  const nets = flags.net?.filter((net) => net !== 'none').map(parseNet);
  const fields: Record<string, unknown> = {
    engine,
    guest,
    kernel,
    initrd,
    append,
    protocol,
    memory,
    debugExit,
    deterministic,
    portable,
    stats,
    quiet,
    loadAddress: numberFlag('--load-address', flags.loadAddress),
    cpus: numberFlag('--cpus', flags.cpus),
    timeout: numberFlag('--timeout', flags.timeout),
    gdb: flags.gdb === undefined ? undefined : parseGdb(flags.gdb),
    disks: flags.disk?.map(parseDisk),
    nets,
    devices: flags.device?.map(parseDevice),
    console: flags.console === undefined ? undefined : parseConsole(flags.console),
    // commander sets what `--no-…` can clear.
    rng: flags.rng === false ? false : undefined,
    acpi: flags.acpi === false ? false : undefined,
    onReset: flags.reboot === false ? 'end' : undefined,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** A flag's number. @throws ConfigError when it is none */
export function numberFlag(flag: string, text: string): number;
export function numberFlag(flag: string, text: string | undefined): number | undefined;
export function numberFlag(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new ConfigError(`${flag}: '${text}' is no number`);
  return value;
}

/** `NAME[,key=value][,word]…`. @param words - options that stand alone */
function parseOptions(
  flag: string,
  parts: readonly string[],
  words: readonly string[],
  keys: readonly string[],
): Record<string, string | true> {
  const options: Record<string, string | true> = {};
  for (const part of parts) {
    const [key = '', ...rest] = part.split('=');
    const isWord = rest.length === 0 && words.includes(key);
    if (!isWord && !(rest.length > 0 && keys.includes(key))) {
      const known = [...words, ...keys.map((name) => `${name}=…`)].join(', ');
      throw new ConfigError(`${flag}: '${part}' is not known here: there are ${known}`);
    }
    if (key in options) throw new ConfigError(`${flag}: '${key}' is given twice`);
    options[key] = isWord ? true : rest.join('=');
  }
  return options;
}

function parseDisk(text: string): Record<string, unknown> {
  const [path, ...parts] = text.split(',');
  const options = parseOptions('--disk', parts, ['readonly'], ['id']);
  return { path, ...options };
}

function parseNet(text: string): Record<string, unknown> {
  const options = parseOptions('--net', text.split(','), [], ['tap', 'mac']);
  if (options['tap'] === undefined) {
    throw new ConfigError(`--net: '${text}' names no tap`, { hint: 'Write --net tap=tap0, or --net none.' });
  }
  return options;
}

function parseDevice(text: string): Record<string, unknown> {
  const [path, ...parts] = text.split(',');
  const { name, ...numbers } = parseOptions('--device', parts, [], ['name', 'port', 'mmio', 'irq']);
  const places = Object.entries(numbers).map(([key, value]) => [
    key,
    numberFlag(`--device ${key}`, String(value)),
  ]);
  return { path, ...(name === undefined ? {} : { name }), ...Object.fromEntries(places) };
}

function parseGdb(text: string): Record<string, unknown> {
  const [address = '', ...parts] = text.split(',');
  const { arch, wait } = parseOptions('--gdb', parts, ['wait'], ['arch']);
  if (!/^(.+:)?\d+$/.test(address)) {
    throw new ConfigError(`--gdb: '${address}' is no address`, { hint: 'Write a port, or 127.0.0.1:1234.' });
  }
  const colon = address.lastIndexOf(':');
  const host = colon > 0 ? address.slice(0, colon).replace(/^\[(.*)\]$/, '$1') : undefined;
  return {
    ...(host === undefined ? {} : { host }),
    port: numberFlag('--gdb', address.slice(colon + 1)),
    ...(wait === undefined ? {} : { wait }),
    ...(arch === undefined ? {} : { arch }),
  };
}

function parseConsole(text: string): unknown {
  if (text.startsWith('file=')) return { path: text.slice('file='.length) };
  if (text === 'stdio' || text === 'none') return text;
  throw new ConfigError(`--console: '${text}' is none of stdio, none, file=PATH`);
}
