/**
 * `type2 doctor`: what this host offers for running guests, and what to do about what is missing.
 */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { availableParallelism, freemem, release, totalmem } from 'node:os';
import { Command } from 'commander';
import { probeDriver } from '../../vm/drivers.ts';
import { ENGINE_NAMES } from '../../vm/engine.ts';
import { ExitStatus } from './exit-status.ts';

/** One line of the report. */
interface Finding {
  readonly ok: boolean;
  readonly what: string;
  readonly detail: string;
  readonly advice?: string;
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('Say what this host offers, and what to do about what is missing.')
    .allowExcessArguments(false)
    .action(async () => {
      const engines = await engineFindings();
      const findings = [...hostFindings(), ...engines, tapFinding()];
      for (const { ok, what, detail, advice } of findings) {
        process.stdout.write(`${ok ? ' ok ' : 'miss'}  ${what.padEnd(10)} ${detail}\n`);
        if (!ok && advice !== undefined && advice !== '')
          process.stdout.write(`                 → ${advice}\n`);
      }
      process.exitCode = engines.some(({ ok }) => ok) ? 0 : ExitStatus.vmmError;
    });
}

function hostFindings(): Finding[] {
  const major = Number(process.versions.node.split('.')[0]);
  const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return [
    {
      ok: major >= 20,
      what: 'node',
      detail: process.version,
      advice: 'Type2 needs Node.js 20 or newer.',
    },
    {
      ok: true,
      what: 'host',
      detail: `${process.platform} ${release()} on ${process.arch}, ${availableParallelism()} processors, ${gib(freemem())} of ${gib(totalmem())} free`,
    },
    processorFinding(),
  ];
}

/** Whether the processor says that it can virtualize. */
function processorFinding(): Finding {
  let flags = '';
  try {
    flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
  } catch {
    return { ok: true, what: 'processor', detail: 'features unknown: no /proc/cpuinfo here' };
  }
  const words = new Set(flags.split(/\s+/));
  const extension = words.has('vmx') ? 'VT-x (vmx)' : words.has('svm') ? 'AMD-V (svm)' : undefined;
  return {
    ok: extension !== undefined,
    what: 'processor',
    detail:
      extension ??
      `no virtualization extensions${words.has('hypervisor') ? ' (this is a virtual machine itself)' : ''}`,
    advice: words.has('hypervisor')
      ? 'Ask the host of this virtual machine for nested virtualization.'
      : 'Switch on VT-x or AMD-V in the firmware.',
  };
}

async function engineFindings(): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const name of ENGINE_NAMES) {
    const { support } = await probeDriver(name);
    const { capabilities } = support;
    const detail = support.usable
      ? `usable: up to ${capabilities?.maxCpus} vCPUs and ${(capabilities?.maxMemory ?? 0) / 2 ** 30} GiB of RAM`
      : support.reason;
    findings.push({ ok: support.usable, what: name, detail, advice: support.hint });
  }
  return findings;
}

function tapFinding(): Finding {
  const device = '/dev/net/tun';
  if (!existsSync(device)) {
    return {
      ok: false,
      what: 'tap',
      detail: `${device}: not there`,
      advice: 'Load the module: sudo modprobe tun.',
    };
  }
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
  } catch {
    return {
      ok: false,
      what: 'tap',
      detail: `${device}: permission denied`,
      advice: `sudo chmod 666 ${device}`,
    };
  }
  const root = process.getuid?.() === 0;
  return {
    ok: true,
    what: 'tap',
    detail: root
      ? `${device}: usable`
      : `${device}: usable with a tap that is yours (sudo ip tuntap add tap0 mode tap user $USER)`,
  };
}
