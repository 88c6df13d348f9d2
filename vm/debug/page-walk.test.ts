import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../../devices/memory.ts';
import { walkPages } from './page-walk.ts';

const PG = 0x8000_0001n;

describe('page walks', () => {
  const memory = GuestMemory.alone(0x10_0000);

  it('without paging leave addresses as they are', () => {
    expect(walkPages(memory, { cr0: 1n, cr3: 0n, cr4: 0n, efer: 0n }, 0x1_2345_6789n)).toMatchObject({
      mode: 'none',
      gpa: 0x2345_6789,
    });
  });

  it('go through four levels in long mode, to pages of 4 KiB, 2 MiB and 1 GiB', () => {
    const registers = { cr0: PG, cr3: 0x1000n, cr4: 0x20n, efer: 0x500n };
    memory.writeU64(0x1000 + 8 * 511, 0x2003n);
    memory.writeU64(0x2000 + 8 * 1, 0x3003n);
    memory.writeU64(0x2000 + 8 * 2, 0x4000_0083n);
    memory.writeU64(0x3000 + 8 * 3, 0x4003n);
    memory.writeU64(0x3000 + 8 * 4, 0x60_0083n);
    memory.writeU64(0x4000 + 8 * 5, 0x8000_0000_0007_7003n);
    const base = 0xffff_ff80_0000_0000n;
    const small = walkPages(memory, registers, base + (1n << 30n) + (3n << 21n) + (5n << 12n) + 0x123n);
    expect(small).toMatchObject({ mode: '4-level', gpa: 0x7_7123, pageSize: 4096 });
    expect(small.steps.map(({ name, index }) => `${name} ${index}`)).toEqual([
      'PML4E 511',
      'PDPTE 1',
      'PDE 3',
      'PTE 5',
    ]);
    expect(walkPages(memory, registers, base + (1n << 30n) + (4n << 21n) + 0x1_2345n)).toMatchObject({
      gpa: 0x61_2345,
      pageSize: 2 ** 21,
    });
    expect(walkPages(memory, registers, base + (2n << 30n) + 0x123_4567n)).toMatchObject({
      gpa: 0x4123_4567,
      pageSize: 2 ** 30,
    });
    expect(walkPages(memory, registers, 0x1000n)).toMatchObject({ gpa: undefined, steps: [{ entry: 0n }] });
  });

  it('go through two levels of 32-bit paging, and to pages of 4 MiB', () => {
    const registers = { cr0: PG, cr3: 0x5000n, cr4: 0x10n, efer: 0n };
    memory.writeU32(0x5000 + 4 * 1, 0x6003);
    memory.writeU32(0x5000 + 4 * 2, 0x0080_0083);
    memory.writeU32(0x6000 + 4 * 7, 0x9003);
    expect(walkPages(memory, registers, 0x40_7abcn)).toMatchObject({ mode: '32-bit', gpa: 0x9abc });
    expect(walkPages(memory, registers, 0x81_2345n)).toMatchObject({ gpa: 0x81_2345, pageSize: 2 ** 22 });
  });

  it('go through three levels with PAE', () => {
    const registers = { cr0: PG, cr3: 0x7020n, cr4: 0x20n, efer: 0n };
    memory.writeU64(0x7020 + 8 * 3, 0x8001n);
    memory.writeU64(0x8000 + 8 * 1, 0x60_0083n);
    expect(walkPages(memory, registers, 0xc020_0010n)).toMatchObject({
      mode: 'PAE',
      gpa: 0x60_0010,
      pageSize: 2 ** 21,
    });
  });

  it('end where a table is outside RAM', () => {
    const registers = { cr0: PG, cr3: 0xffff_f000n, cr4: 0x20n, efer: 0x500n };
    expect(walkPages(memory, registers, 0n)).toMatchObject({ gpa: undefined, steps: [{ entry: undefined }] });
  });
});
