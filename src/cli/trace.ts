/**
 * `type2 trace`: runs a guest and shows its exits as they happen, or what they come to.
 */
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { Command, Option } from 'commander';
import { ConfigError } from '../../devices/errors.ts';
import { TRACE_KIND_NAMES } from '../../vm/trace/event.ts';
import type { TraceEvent } from '../../vm/trace/reader.ts';
import { formatEvent } from '../../vm/trace/text.ts';
import type { TraceConfig } from '../config.ts';
import { ChromeTrace } from '../trace/chrome.ts';
import { TraceSummary } from '../trace/summary.ts';
import type { Vm } from '../vm.ts';
import { EXIT_STATUS_HELP } from './exit-status.ts';
import type { Flags } from './flags.ts';
import { numberFlag } from './flags.ts';
import { addMachineOptions, collect, readConfig } from './machine-options.ts';
import { runSession } from './session.ts';

const HELP = `Events go to stderr, as with strace, or to --output; the guest's console stays on stdout.

Reasons:
  pio mmio           a port or device register was accessed: an exit
  hlt shutdown hypercall debug interrupted error
                     other exits
  irq                a device drives its interrupt line
  queue              a device has worked on a virtqueue
  exception          an exception goes into the guest, such as #PF      jit and interp only
  interrupt          an interrupt is injected                           jit and interp only
  lapic              a local APIC's register was accessed, EOI say      jit and interp only
With kvm the last three happen in the kernel or the processor, where they cause no exits.

Nothing is lost: when events can't be written as fast as they come, the guest waits. With --lossy it doesn't,
and events are dropped and counted.

Examples:
  type2 trace --guest hello-real
  type2 trace --of serial0 --reason pio --guest hello-long
  type2 trace --summary --append 'console=ttyS0 type2.exec="true"'
  type2 trace --from 1 --to 2 --output trace.json          one second; opens in ui.perfetto.dev`;

interface TraceFlags extends Flags {
  readonly reason?: readonly string[];
  readonly of?: readonly string[];
  readonly vcpu?: readonly string[];
  readonly from?: string;
  readonly to?: string;
  readonly lossy?: boolean;
  readonly summary?: boolean;
  readonly output?: string;
}

export function traceCommand(): Command {
  return addMachineOptions(new Command('trace'))
    .description('Run a guest and show its exits as they happen.')
    .addOption(
      new Option('--reason <name>', 'only events of this reason; repeatable')
        .choices(TRACE_KIND_NAMES)
        .argParser((value, previous: string[] | undefined) => {
          if (!TRACE_KIND_NAMES.includes(value as never))
            throw new ConfigError(
              `--reason: there is no '${value}': there are ${TRACE_KIND_NAMES.join(', ')}`,
            );
          return collect(value, previous);
        }),
    )
    .option(
      '--of <name>',
      'only events of this device (serial0), or of all of a kind (virtio-blk); repeatable',
      collect,
    )
    .option('--vcpu <n>', 'only events of this virtual CPU; repeatable', collect)
    .option('--from <seconds>', 'only events from so long after the start on')
    .option('--to <seconds>', 'only events up to so long after the start')
    .option('--summary', 'instead of events, print at the end what they come to')
    .option('--output <file>', 'write events to a file: .json for Perfetto and Chrome, else text')
    .option('--lossy', 'drop and count events rather than hold the guest back')
    .allowExcessArguments(false)
    .addHelpText('after', `\n${HELP}\n\n${EXIT_STATUS_HELP}`)
    .action(async (flags: TraceFlags) => {
      const config = readConfig(flags, { trace: traceConfig(flags) });
      const sinks = openSinks(flags);
      process.exitCode = await runSession(config, (vm) => follow(vm, sinks));
    });
}

function traceConfig(flags: TraceFlags): TraceConfig {
  const fields = {
    reasons: flags.reason,
    devices: flags.of,
    vcpus: flags.vcpu?.map((text) => numberFlag('--vcpu', text)),
    from: numberFlag('--from', flags.from),
    to: numberFlag('--to', flags.to),
    lossy: flags.lossy,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** Where events go. */
interface Sink {
  add(event: TraceEvent): void;
  /** After some events. @returns what to wait for before there are more */
  flush(): Promise<void> | undefined;
  close(): Promise<void>;
}

function openSinks({ output, summary }: TraceFlags): Sink[] {
  const sinks: Sink[] = [];
  if (output?.endsWith('.json')) {
    const file = new ChromeTrace(output);
    sinks.push({
      add: (event) => file.add(event),
      flush: () => void file.flush(),
      close: async () => file.close(),
    });
  } else if (output !== undefined) sinks.push(textSink(createWriteStream(output), output));
  else if (summary !== true) sinks.push(textSink(process.stderr));
  if (summary === true) {
    const table = new TraceSummary();
    sinks.push({
      add: (event) => table.add(event),
      flush: () => undefined,
      close: async () => void process.stderr.write(`\n${table.format()}`),
    });
  }
  return sinks;
}

/** Lines of text. @param path - of a file; absent for a stream that stays open */
function textSink(stream: WriteStream | NodeJS.WriteStream, path?: string): Sink {
  let lines = '';
  let failure: Error | undefined;
  stream.on('error', (error) => {
    failure ??= new ConfigError(path === undefined ? error.message : `--output ${path}: ${error.message}`);
  });
  return {
    add: (event) => {
      lines += `${formatEvent(event)}\n`;
    },
    flush: () => {
      if (failure !== undefined) throw failure;
      const text = lines;
      lines = '';
      if (text === '' || stream.write(text)) return undefined;
      return new Promise((resolve) => {
        const events = ['drain', 'error', 'close'];
        const done = (): void => {
          for (const event of events) stream.off(event, done);
          resolve();
        };
        for (const event of events) stream.on(event, done);
      });
    },
    close: async () => {
      if (path === undefined) return;
      stream.end();
      await finished(stream);
    },
  };
}

/** Takes events until the machine has ended. @returns what waits for the last of them */
function follow(vm: Vm, sinks: readonly Sink[]): () => Promise<void> {
  const { events } = vm.trace!;
  const done = (async () => {
    let untilFlush = 0;
    for await (const event of events as AsyncIterable<TraceEvent>) {
      for (const sink of sinks) sink.add(event);
      if (--untilFlush > 0 && events.readableLength > 0) continue;
      untilFlush = FLUSH_EVENTS;
      for (const sink of sinks) await sink.flush();
    }
    for (const sink of sinks) {
      await sink.flush();
      await sink.close();
    }
  })().catch((error: unknown) => {
    void vm.stop();
    throw error;
  });
  done.catch(() => {});
  return async () => {
    await done;
    const { dropped, heldBack, events: count } = vm.trace!.totals;
    if (vm.config.quiet) return;
    if (dropped > 0) process.stderr.write(`type2: ${count} events; ${dropped} more were dropped\n`);
    if (heldBack > HELD_BACK_WORTH_TELLING)
      process.stderr.write(
        `type2: ${count} events; the guest waited ${(heldBack / 1e9).toFixed(2)} s for them to be written (--lossy drops them instead)\n`,
      );
  };
}

/** Events between two writes, when they come fast. */
const FLUSH_EVENTS = 256;
/** In nanoseconds. */
const HELD_BACK_WORTH_TELLING = 50e6;
