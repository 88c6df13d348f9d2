/**
 * Names of the interrupt controllers' ports (8259A data sheet, figures 7 to 10). The command port takes three
 * command words, known apart by bits 3 and 4; the data port takes ICW2 to ICW4 in turn after an ICW1.
 */
import { bitNames, type Register } from './registers.ts';

const OCW2 = [
  'clear rotate in automatic EOI',
  'non-specific EOI',
  '',
  'specific EOI',
  'rotate in automatic EOI',
  'rotate on non-specific EOI',
  'set priority',
  'rotate on specific EOI',
] as const;
const LEVELED = new Set([3, 6, 7]);

/** What a byte to the command port does. */
export function picCommand(value: number): string {
  if (value & 0x10) return `ICW1: initialize${value & 1 ? ', ICW4 needed' : ''}`;
  if (value & 0x08) {
    const read = (value & 3) === 3 ? 'read ISR' : (value & 3) === 2 ? 'read IRR' : '';
    const mask =
      (value & 0x60) === 0x60 ? 'special mask on' : (value & 0x60) === 0x40 ? 'special mask off' : '';
    return `OCW3: ${[read, value & 4 ? 'poll' : '', mask].filter((part) => part !== '').join(', ')}`;
  }
  const command = value >> 5;
  return `OCW2: ${OCW2[command]}${LEVELED.has(command) ? ` ${value & 7}` : ''}`;
}

/** @param chip - 0 for the master, 1 for the slave: the place of its registers in the state */
export function picRegisters(chip: 0 | 1): readonly Register[] {
  return [
    { offset: 0, name: 'IRR', only: 'read', state: 'irr', stateIndex: chip },
    { offset: 0, name: 'ISR', only: 'read', selected: 8, state: 'isr', stateIndex: chip },
    { offset: 0, name: 'Command', only: 'write', meaning: picCommand },
    { offset: 1, name: 'IMR', state: 'imr', stateIndex: chip },
    ...[2, 3, 4].map((icw): Register => ({ offset: 1, name: `ICW${icw}`, only: 'write', selected: icw })),
  ];
}

export const ELCR_REGISTERS: readonly Register[] = [
  { offset: 0, name: 'ELCR1', state: 'elcr', bits: bitNames('-:3 IRQ3 IRQ4 IRQ5 IRQ6 IRQ7') },
  {
    offset: 1,
    name: 'ELCR2',
    state: 'elcr',
    stateIndex: 1,
    bits: bitNames('- IRQ9 IRQ10 IRQ11 IRQ12 - IRQ14 IRQ15'),
  },
];
