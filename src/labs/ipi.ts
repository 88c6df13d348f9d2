/**
 * Lab 9: two vCPUs and an interprocessor interrupt.
 */
import { endedByPowerOff, hex, type Lab, printed, readWords } from './lab.ts';

const AWAKE = 0x500;
const RECEIVED = 0x504;
const VECTOR = 0x40;

export const ipi: Lab = {
  number: 9,
  name: '09-ipi',
  title: 'Two vCPUs and an interprocessor interrupt',
  kind: 'assembly',
  machine: { protocol: 'multiboot', cpus: 2 },
  checks: [
    endedByPowerOff({
      'triple-fault': 'CPU 1 got an interrupt for which its IDT has no good gate: see TODO 4.',
    }),
    {
      what: 'CPU 1 has started',
      fault: ({ machine }) => {
        if (machine.vcpus[1]!.activity !== 'waiting') return undefined;
        return 'It still waits to be woken: first INIT (TODO 1), then a start-up IPI (TODO 2), both with its APIC id in bits 31–24 of ICR_HIGH.';
      },
    },
    {
      what: 'CPU 1 is ready for interrupts',
      fault: ({ machine }) => {
        const [awake] = readWords(machine, AWAKE, 1);
        if (awake === 1) return undefined;
        if (machine.vcpus[1]!.activity === 'waiting') return 'It has not started.';
        return `It started, but not in the trampoline: it is at ${hex(machine.vcpus[1]!.registers.rip)}. Bits 7–0 of the start-up IPI are TRAMPOLINE >> 12.`;
      },
    },
    {
      what: `the gate of vector ${hex(VECTOR)} is filled in`,
      fault: ({ machine }) => {
        const { idt } = machine.vcpus[1]!.tables;
        if (idt.limit < 8 * VECTOR + 7) return 'CPU 1 has not loaded its IDT.';
        const [low, high = 0] = readWords(machine, Number(idt.base) + 8 * VECTOR, 2);
        if (low === 0 && high === 0) return 'Its eight bytes are zero: see TODO 4.';
        const access = (high >>> 8) & 0xff;
        return access === 0x8e
          ? undefined
          : `Its access byte is ${hex(access)}, and an interrupt gate's is 0x8e.`;
      },
    },
    {
      what: 'CPU 1 has got one interrupt from CPU 0',
      fault: ({ machine }) => {
        const [received] = readWords(machine, RECEIVED, 1);
        if (received === 1) return undefined;
        if (received === 0)
          return `It got none: write ICR_FIXED | IPI_VECTOR to ICR_LOW when CPU 1 is ready (TODO 3).`;
        return `It got ${received}.`;
      },
    },
    printed('CPU 1 has heard CPU 0\r\n', 'The skeleton prints this when the interrupt has been counted.'),
  ],
};
