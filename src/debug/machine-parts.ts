/**
 * Commands that look at what is around the processor: interrupt controllers, devices, virtqueues.
 */
import { LVT_FIELDS, REDIRECTION_FIELDS } from '../../devices/apic-register-names.ts';
import type { Device } from '../../devices/device.ts';
import { ConfigError } from '../../devices/errors.ts';
import { describeBits, type Register } from '../../devices/registers.ts';
import type { SavedState } from '../../devices/state.ts';
import type { VirtioMmio } from '../../devices/virtio/mmio.ts';
import { hex } from '../../vm/trace/text.ts';
import type { DebugCommand, DebugContext } from './context.ts';

/** Bits 18 and 17 of the timer's LVT entry. SDM volume 3A, 10.5.1 */
const TIMER_MODES = ['one-shot', 'periodic', 'TSC deadline', 'reserved mode'] as const;
/** Shorthands of the ICR, bits 19 and 18; the first is that there is none. */
const DESTINATIONS = [undefined, 'itself', 'all', 'all others'] as const;
const DELIVERY_MODES = [
  'fixed',
  'lowest priority',
  'SMI',
  'reserved',
  'NMI',
  'INIT',
  'reserved',
  'ExtINT',
] as const;
/** Virtio 1.2, 2.7.5: descriptor flags. */
const DESCRIPTOR_FIELDS = [
  { bit: 0, width: 1, name: 'NEXT' },
  { bit: 1, width: 1, name: 'WRITE' },
  { bit: 2, width: 1, name: 'INDIRECT' },
];
const CHAINS_SHOWN = 8;

export const MACHINE_COMMANDS: readonly DebugCommand[] = [
  {
    names: ['lapic'],
    usage: '',
    summary: 'the local APIC of this vCPU',
    run: (context) => {
      const page = context.debugger.machine.interruptControllers().lapics[context.vcpu]!;
      for (const line of lapicLines(page)) context.print(line);
    },
  },
  {
    names: ['ioapic'],
    usage: '',
    summary: 'the redirection table of the IOAPIC',
    run: (context) => {
      const { interrupts } = context.debugger.machine.devices;
      context.debugger.machine.interruptControllers().redirections.forEach(({ low, high }, input) => {
        const device = interrupts.get(input) ?? '';
        const masked = (low & 0x1_0000) !== 0;
        const mode = DELIVERY_MODES[(low >> 8) & 7];
        const bits = describeBits(
          low,
          REDIRECTION_FIELDS.filter(({ name }) => !['vector', 'mode', 'masked'].includes(name)),
        );
        context.print(
          `${String(input).padStart(3)} ${device.padEnd(14)} ${masked ? 'masked' : `vector ${hex(low & 0xff)}, ${mode}, to APIC ${high >>> 24}`}${bits === '' ? '' : `, ${bits}`}`,
        );
      });
    },
  },
  {
    names: ['devices'],
    usage: '',
    summary: 'all devices, and where they are',
    run: (context) => {
      const { pio, mmio } = context.debugger.machine.devices;
      for (const [what, bus] of [
        ['port', pio],
        ['memory', mmio],
      ] as const)
        for (const { base, end, device } of bus.ranges)
          context.print(`${what.padEnd(7)} ${hex(base)}–${hex(end - 1)}  ${device.name}`);
    },
  },
  {
    names: ['device'],
    usage: 'NAME',
    summary: 'a device’s registers, decoded without being read',
    run: (context, [name]) => {
      for (const line of deviceLines(context, name)) context.print(line);
    },
  },
  {
    names: ['virtqueue', 'vq'],
    usage: 'DEVICE [QUEUE]',
    summary: 'a virtqueue’s rings and descriptors, drawn',
    run: (context, [name, queue = '0']) => {
      const { virtio } = context.debugger.machine.devices;
      const found = virtio.find(({ transport }) => transport.name === name)?.transport;
      if (found === undefined) {
        throw new ConfigError(`there is no virtio device '${name ?? ''}'`, {
          hint: `There are: ${virtio.map(({ transport }) => transport.name).join(', ') || 'none'}.`,
        });
      }
      for (const line of queueLines(context, found, Number(queue))) context.print(line);
    },
  },
];

/** The interrupt command register: what was sent last. SDM volume 3A, 10.6.1 */
function describeIcr(high: number, low: number): string {
  const to = DESTINATIONS[(low >> 18) & 3] ?? `APIC ${high >>> 24}${low & 0x800 ? ', logical' : ''}`;
  const pending = low & 0x1000 ? ', pending' : '';
  return `vector ${hex(low & 0xff)}, ${DELIVERY_MODES[(low >> 8) & 7]}, to ${to}${pending}`;
}

/** The divide configuration register: bits 3, 1 and 0. SDM volume 3A, figure 10-10 */
function timerDivisor(value: number): number {
  const code = ((value >> 1) & 4) | (value & 3);
  return code === 7 ? 1 : 2 << code;
}

function lapicLines(page: Uint8Array): string[] {
  const data = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const register = (offset: number): number => data.getUint32(offset, true);
  const vectors = (first: number): string => {
    const set: string[] = [];
    for (let vector = 0; vector < 256; vector++)
      if ((register(first + 16 * (vector >> 5)) >>> (vector & 31)) & 1) set.push(hex(vector));
    return set.join(' ') || 'none';
  };
  const lines = [
    `ID ${register(0x20) >>> 24}  version ${hex(register(0x30))}  TPR ${hex(register(0x80))}  PPR ${hex(register(0xa0))}`,
    `SVR ${hex(register(0xf0))}: ${register(0xf0) & 0x100 ? 'enabled' : 'disabled'}, spurious vector ${hex(register(0xf0) & 0xff)}`,
    `LDR ${hex(register(0xd0))}  DFR ${hex(register(0xe0))}  ESR ${hex(register(0x280))}`,
    `requested (IRR): ${vectors(0x200)}`,
    `in service (ISR): ${vectors(0x100)}`,
    `ICR ${hex(register(0x310))}:${hex(register(0x300))}: ${describeIcr(register(0x310), register(0x300))}`,
  ];
  ['timer', 'thermal', 'performance', 'LINT0', 'LINT1', 'error'].forEach((name, i) => {
    const value = register(0x320 + 16 * i);
    const mode = DELIVERY_MODES[(value >> 8) & 7];
    const bits = describeBits(
      value,
      LVT_FIELDS.filter((field) => !['vector', 'mode', 'timer-mode'].includes(field.name)),
    );
    lines.push(
      `LVT ${name.padEnd(11)} ${hex(value)}: vector ${hex(value & 0xff)}${i === 0 ? `, ${TIMER_MODES[(value >> 17) & 3]}` : `, ${mode}`}${bits === '' ? '' : `, ${bits}`}`,
    );
  });
  lines.push(
    `timer: initial count ${register(0x380)}, current ${register(0x390)}, counts every ${timerDivisor(register(0x3e0))} bus cycles`,
  );
  return lines;
}

function deviceLines(context: DebugContext, name: string | undefined): string[] {
  const { pio, mmio, devices } = context.debugger.machine.devices;
  const ranges = [...pio.ranges, ...mmio.ranges].filter(({ device }) => device.name === name);
  const owner = owners(devices).find((one) => one.names.includes(name ?? ''));
  if (ranges.length === 0 || owner === undefined) {
    const names = [...new Set([...pio.ranges, ...mmio.ranges].map(({ device }) => device.name))];
    throw new ConfigError(
      name === undefined ? 'a name is missing: device NAME' : `there is no device '${name}'`,
      {
        hint: `There are: ${names.join(', ')}.`,
      },
    );
  }
  const [{ device }] = ranges as [(typeof ranges)[number]];
  const state = flat(owner.device.save());
  const lines: string[] = [];
  const shown = new Set<string>();
  for (const register of device.registers ?? []) {
    const value = registerValue(register, state);
    if (value === undefined) continue;
    shown.add(register.state!);
    const bits = register.bits === undefined ? '' : `  ${describeBits(value, register.bits)}`;
    lines.push(`${hex(register.offset).padEnd(6)} ${register.name.padEnd(22)} ${hex(value)}${bits}`);
  }
  for (const [field, value] of Object.entries(state)) {
    if (shown.has(field)) continue;
    const text = Array.isArray(value) ? value.map((one) => hex(one >>> 0)).join(' ') : formatNumber(value);
    lines.push(`       ${field.padEnd(22)} ${text}`);
  }
  return lines.length === 0 ? ['it has no state'] : lines;
}

/** Devices with several parts on the buses: whose state each part is in. */
function owners(
  devices: readonly Device[],
): { readonly device: Device; readonly names: readonly string[] }[] {
  const parts: Readonly<Record<string, readonly string[]>> = {
    'system-control': ['port-b', 'control-port-a', 'reset-control'],
    'acpi-pm': ['acpi-pm1-event', 'acpi-pm1-control', 'acpi-pm-timer'],
  };
  return devices.map((device) => ({ device, names: [device.name, ...(parts[device.name] ?? [])] }));
}

/** A saved state's numbers by name; those of nested parts, too. */
function flat(state: SavedState): Record<string, number | number[]> {
  const fields: Record<string, number | number[]> = {};
  for (const [name, value] of Object.entries(state)) {
    if (typeof value === 'number') fields[name] = value;
    else if (Array.isArray(value)) fields[name] = [...(value as readonly number[])];
    else Object.assign(fields, flat(value as SavedState));
  }
  return fields;
}

function registerValue(register: Register, state: Record<string, number | number[]>): number | undefined {
  if (register.state === undefined) return undefined;
  const value = state[register.state];
  const number = Array.isArray(value) ? value[register.stateIndex ?? 0] : value;
  return number === undefined ? undefined : number >>> 0;
}

function formatNumber(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 2 ** 53
    ? hex(value < 0 ? value >>> 0 : value)
    : String(value);
}

function queueLines(context: DebugContext, transport: VirtioMmio, number: number): string[] {
  const { memory } = context.debugger.machine;
  const queue = transport.queues[number];
  if (queue === undefined)
    throw new ConfigError(`${transport.name} has queues 0 to ${transport.queues.length - 1}`);
  if (!queue.ready) return [`${transport.name} queue ${number}: not ready`];
  const { descriptors, available, used } = queue.addresses;
  const { size } = queue;
  const availableIndex = memory.readU16(available + 2);
  const usedIndex = memory.readU16(used + 2);
  const lines = [
    `${transport.name} queue ${number}: ${size} descriptors`,
    `descriptor table  ${hex(descriptors)}`,
    `available ring    ${hex(available)}  flags ${hex(memory.readU16(available))}  idx ${availableIndex}  (the device has taken up to ${queue.takenIndex})`,
    `used ring         ${hex(used)}  flags ${hex(memory.readU16(used))}  idx ${usedIndex}`,
  ];
  const waiting = (availableIndex - queue.takenIndex) & 0xffff;
  lines.push(waiting === 0 ? 'nothing waits for the device' : `${waiting} chains wait for the device`);
  const shown = Math.min(size, CHAINS_SHOWN, Math.max(waiting, Math.min(availableIndex, CHAINS_SHOWN)));
  for (let n = shown; n > 0; n--) {
    const position = (availableIndex - n) & 0xffff;
    const head = memory.readU16(available + 4 + 2 * (position % size));
    const isWaiting = ((position - queue.takenIndex) & 0x8000) === 0;
    lines.push(`available[${position % size}] → descriptor ${head}${isWaiting ? '  (waits)' : ''}`);
    lines.push(...chainLines(context, descriptors, head, size));
  }
  return lines;
}

function chainLines(context: DebugContext, table: number, head: number, size: number): string[] {
  const { memory } = context.debugger.machine;
  const lines: string[] = [];
  let index = head;
  for (let depth = 0; depth < size; depth++) {
    const at = table + 16 * index;
    if (index >= size || !memory.contains(at, 16)) return [...lines, `   └─ ${index}: outside the table`];
    const flags = memory.readU16(at + 12);
    const address = memory.readU64(at);
    lines.push(
      `   ${'  '.repeat(depth)}└─ ${index}: ${memory.readU32(at + 8)} bytes at ${hex(address)}  ${describeBits(flags, DESCRIPTOR_FIELDS)}`.trimEnd(),
    );
    if ((flags & 1) === 0) return lines;
    index = memory.readU16(at + 14);
  }
  return [...lines, '   └─ a loop'];
}
