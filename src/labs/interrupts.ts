/**
 * Lab 4: the interrupt descriptor table and the timer.
 */
import { endedByPowerOff, hex, type Lab, printed, readWords } from './lab.ts';

const VECTOR = 0x20;
const TICKS = 0x500;
const TICKS_WANTED = 5;
const CODE_SELECTOR = 8;
/** Present, ring 0, 32-bit interrupt gate. SDM volume 3A, 6.11. */
const INTERRUPT_GATE = 0x8e;
/** Where the program is. */
const PROGRAM = 0x10_0000;

export const interrupts: Lab = {
  number: 4,
  name: '04-interrupts',
  title: 'The interrupt descriptor table and the timer',
  kind: 'assembly',
  machine: { protocol: 'multiboot' },
  needsHardware: 'it does no IRET in protected mode',
  checks: [
    endedByPowerOff({
      'triple-fault': 'The timer asked for vector 0x20 and the gate there was no good: see below.',
      halted: 'The handler of the skeleton halts: TODO 2 puts something better in its place.',
      timeout: 'Does the handler leave all registers as they were?',
    }),
    {
      what: 'the IDT register covers vector 0x20',
      fault: ({ machine }) => {
        const { base, limit } = machine.vcpus[0]!.tables.idt;
        if (base >= BigInt(PROGRAM) && limit >= 8 * VECTOR + 7) return undefined;
        return `It holds base ${hex(base)} and limit ${limit}: load it with lidt [idt_register].`;
      },
    },
    {
      what: 'the gate of vector 0x20 leads to a handler in the program',
      fault: ({ machine }) => {
        const { base, limit } = machine.vcpus[0]!.tables.idt;
        if (base < BigInt(PROGRAM) || limit < 8 * VECTOR + 7) return 'There is no IDT yet.';
        const [low = 0, high = 0] = readWords(machine, Number(base) + 8 * VECTOR, 2);
        const selector = low >>> 16;
        const access = (high >>> 8) & 0xff;
        const offset = ((high & 0xffff_0000) | (low & 0xffff)) >>> 0;
        if (low === 0 && high === 0) return 'All its eight bytes are zero. See TODO 1.';
        if (access !== INTERRUPT_GATE)
          return `Its access byte, the sixth, is ${hex(access)}: 0x8e is a present 32-bit interrupt gate.`;
        if (selector !== CODE_SELECTOR)
          return `Its selector is ${hex(selector)}, and the code segment's is 8 (CODE).`;
        if (offset < PROGRAM || offset >= PROGRAM + 0x1_0000)
          return `Its offset is ${hex(offset)}: the halves are LOW16(timer_handler) in bytes 0–1, HIGH16 in bytes 6–7.`;
        return undefined;
      },
    },
    {
      what: `the handler counts ${TICKS_WANTED} ticks`,
      fault: ({ machine }) => {
        const [ticks = 0] = readWords(machine, TICKS, 1);
        if (ticks >= TICKS_WANTED) return undefined;
        if (ticks === 0)
          return 'It counted none: are interrupts allowed (sti), and does the handler do inc dword [TICKS]?';
        if (ticks === 1)
          return 'It counted one: until END_OF_INTERRUPT is written to PIC1_COMMAND, the PIC holds back all that follow.';
        return `It counted ${ticks}.`;
      },
    },
    printed('Five ticks\r\n', 'The skeleton prints this when there were enough ticks in time.'),
  ],
};
