/**
 * Names of a 16550A's registers and bits (PC16550D data sheet, table II).
 */
import { bitNames, type Register } from './registers.ts';

/** What {@link Serial.selected} says: whether LCR's DLAB bit opens the divisor latch. */
export const DIVISOR_LATCH = 1;

export const SERIAL_REGISTERS: readonly Register[] = [
  { offset: 0, name: 'RBR', only: 'read', selected: 0, state: 'rbr', text: true },
  { offset: 0, name: 'THR', only: 'write', selected: 0, text: true },
  { offset: 0, name: 'DLL', selected: DIVISOR_LATCH, state: 'divisor' },
  { offset: 1, name: 'IER', selected: 0, state: 'ier', bits: bitNames('ERBFI ETBEI ELSI EDSSI') },
  { offset: 1, name: 'DLM', selected: DIVISOR_LATCH },
  { offset: 2, name: 'IIR', only: 'read', bits: bitNames('none-pending id:3 -:2 FIFOs:2') },
  {
    offset: 2,
    name: 'FCR',
    only: 'write',
    state: 'fcr',
    bits: bitNames('FIFO-enable RCVR-reset XMIT-reset DMA -:2 trigger:2'),
  },
  { offset: 3, name: 'LCR', state: 'lcr', bits: bitNames('WLS:2 STB PEN EPS stick-parity break DLAB') },
  { offset: 4, name: 'MCR', state: 'mcr', bits: bitNames('DTR RTS OUT1 OUT2 loop') },
  { offset: 5, name: 'LSR', state: 'lsr', bits: bitNames('DR OE PE FE BI THRE TEMT FIFO-error') },
  { offset: 6, name: 'MSR', state: 'msr', bits: bitNames('DCTS DDSR TERI DDCD CTS DSR RI DCD') },
  { offset: 7, name: 'SCR', state: 'scr' },
];
