/**
 * Lab 3: a page table by hand. The check walks the guest's tables as the processor does (SDM volume 3A, 4.5.4).
 */
import type { MachineView } from '../../vm/view.ts';
import { type Evidence, endedByPowerOff, hex, type Lab, printed } from './lab.ts';

const TEXT = 'Seen through four tables\r\n';
const SECRET = 0x9000;
const WINDOW = 0x7000_4040_3000n;

const PRESENT = 1n;
const WRITABLE = 2n;
const ACCESSED = 1n << 5n;
const LARGE = 1n << 7n;
const ADDRESS = 0x000f_ffff_ffff_f000n;

/** The four levels, and which bits of the address are each one's index. */
const LEVELS = [
  { name: 'PML4', shift: 39n, bits: '47–39' },
  { name: 'page-directory-pointer table', shift: 30n, bits: '38–30' },
  { name: 'page directory', shift: 21n, bits: '29–21' },
  { name: 'page table', shift: 12n, bits: '20–12' },
] as const;

interface Walk {
  /** The last entry, if the walk got there. */
  readonly entry?: bigint;
  /** Why it did not. */
  readonly fault?: string;
}

function walk(machine: MachineView): Walk {
  let table = machine.vcpus[0]!.control.cr3 & ADDRESS;
  for (const [level, { name, shift, bits }] of LEVELS.entries()) {
    const index = (WINDOW >> shift) & 511n;
    const at = table + 8n * index;
    let bytes: Uint8Array;
    try {
      bytes = machine.read(Number(at), 8);
    } catch {
      return { fault: `The ${name} would be at ${hex(table)}, where there is no memory.` };
    }
    const entry = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
    const which = `Entry ${index} of the ${name}, at ${hex(at)}`;
    if ((entry & PRESENT) === 0n) {
      return {
        fault: `${which}, is ${hex(entry)}: not present. Its index is bits ${bits} of ${hex(WINDOW)}, and each entry has eight bytes.`,
      };
    }
    if (level === LEVELS.length - 1) return { entry };
    if (level > 0 && (entry & LARGE) !== 0n)
      return { fault: `${which}, has bit 7 set: it maps a large page instead of naming the next table.` };
    table = entry & ADDRESS;
  }
  throw new RangeError('a walk ends at the last level');
}

/** Of the last entry, once the walk gets there. */
const ofMapping =
  (judge: (entry: bigint) => string | undefined) =>
  ({ machine }: Evidence) => {
    const { entry } = walk(machine);
    return entry === undefined ? 'There is no mapping yet.' : judge(entry);
  };

export const paging: Lab = {
  number: 3,
  name: '03-paging',
  title: 'A page table by hand',
  kind: 'assembly',
  machine: { protocol: 'flat' },
  checks: [
    endedByPowerOff({
      'triple-fault':
        'That was a page fault, most likely: there is no IDT to tell of it. See what the walk below says.',
      error: 'On a KVM without hardware, a page fault can end like this too: see what the walk below says.',
    }),
    {
      what: `a walk from CR3 finds a page for ${hex(WINDOW)}`,
      fault: ({ machine }) => walk(machine).fault,
    },
    {
      what: `that page is the one at ${hex(SECRET)}`,
      fault: ofMapping((entry) => {
        const address = entry & ADDRESS;
        return address === BigInt(SECRET) ? undefined : `The last entry names ${hex(address)}.`;
      }),
    },
    {
      what: 'it may not be written',
      fault: ofMapping((entry) =>
        (entry & WRITABLE) === 0n
          ? undefined
          : `The last entry is ${hex(entry)}: leave bit 1 (WRITABLE) out of it.`,
      ),
    },
    {
      what: 'the guest has read it by way of that address',
      fault: ofMapping((entry) =>
        (entry & ACCESSED) !== 0n
          ? undefined
          : 'The Accessed bit (5) of the last entry is clear, so the processor never used it: print from WINDOW, not from SECRET.',
      ),
    },
    printed(TEXT, 'Print the text with rsi = WINDOW.'),
  ],
};
