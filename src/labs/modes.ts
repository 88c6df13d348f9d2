/**
 * Lab 2: from real mode through protected mode to 64-bit mode.
 */
import { endedByPowerOff, hex, type Lab } from './lab.ts';

const REAL = 'real mode\r\n';
const PROTECTED = 'protected mode\r\n';
const LONG = '64-bit mode\r\n';

export const modes: Lab = {
  number: 2,
  name: '02-modes',
  title: 'From real mode to 64-bit mode',
  kind: 'assembly',
  machine: { protocol: 'flat' },
  checks: [
    endedByPowerOff({
      'triple-fault':
        'A far jump or a segment load did not like its descriptor, or paging was switched on without page tables: look at the access byte (0x9b code, 0x93 data) and the order of the steps.',
      error:
        'On a KVM without hardware, a fault in protected mode ends like this too: look at the descriptors.',
    }),
    {
      what: `it prints “real mode” in real mode`,
      fault: ({ output }) =>
        output.startsWith(REAL) ? undefined : 'The skeleton does this: what comes before TODO 2 should stay.',
    },
    {
      what: `it prints “protected mode” in 32-bit protected mode`,
      fault: ({ output, machine }) => {
        if (output.startsWith(REAL + PROTECTED)) return undefined;
        const { control, tables } = machine.vcpus[0]!;
        if (tables.gdt.limit !== 31)
          return `GDTR has the limit ${tables.gdt.limit}, not 31 (four descriptors): TODO 2 begins with lgdt [gdt_register].`;
        if ((control.cr0 & 1n) === 0n)
          return 'CR0.PE (bit 0) is clear: the CPU never left real mode. See TODO 2.';
        return 'CR0.PE is set, but protected_mode was not reached: that takes the far jump at the end of TODO 2.';
      },
    },
    {
      what: `it prints “64-bit mode”`,
      fault: ({ output, machine }) => {
        if (output === REAL + PROTECTED + LONG) return undefined;
        const { control, mode } = machine.vcpus[0]!;
        const { cr0, cr3, cr4, efer } = control;
        if ((cr4 & 0x20n) === 0n) return 'CR4.PAE (bit 5) is clear: 64-bit paging needs it. See TODO 3.';
        if (cr3 !== 0x1000n) return `CR3 is ${hex(cr3)}: it should hold the address of the PML4, 0x1000.`;
        if ((efer & 0x100n) === 0n)
          return 'EFER.LME (bit 8 of MSR 0xc0000080) is clear: rdmsr, or eax, 1 << 8, wrmsr.';
        if ((cr0 & 0x8000_0000n) === 0n) return 'CR0.PG (bit 31) is clear: paging is the last switch.';
        if (mode === 'compatibility')
          return 'The CPU is in compatibility mode: only a far jump to a code segment with L set leads to 64-bit mode.';
        return 'All switches are set. Does long_mode still print its message?';
      },
    },
    {
      what: 'the CPU ends in 64-bit mode',
      fault: ({ machine }) => {
        const { mode } = machine.vcpus[0]!;
        return mode === '64-bit' ? undefined : `It is in ${mode} mode.`;
      },
    },
  ],
};
