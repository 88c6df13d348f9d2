/** Guests of every protocol: what is where in memory afterwards, and how the CPU starts. */
import { describe, expect, it } from 'vitest';
import { GuestMemory, MemoryRegion } from '../../devices/memory.ts';
import { virtioSlot } from '../layout.ts';
import { CR0, EFER } from '../vcpu-state.ts';
import { BootError } from './errors.ts';
import { type LoadedGuest, type LoadOptions, loadGuest } from './load.ts';
import { bzImage, elf, KERNEL_AT, multibootHeader, multibootRaw, pattern } from './testing/kernels.ts';

const MIB = 2 ** 20;
const ZERO_PAGE = 0x7000;
const INFO = 0x6000;

function load(
  image: Uint8Array,
  options: Partial<LoadOptions> = {},
): { guest: LoadedGuest; memory: GuestMemory } {
  const memory = options.memory ?? GuestMemory.alone(64 * MIB);
  const guest = loadGuest({
    memory,
    image,
    imageName: 'kernel',
    commandLine: 'console=ttyS0',
    protocol: 'auto',
    cpus: 1,
    virtio: [],
    acpi: true,
    ...options,
  });
  return { guest, memory };
}

function refusal(image: Uint8Array, options: Partial<LoadOptions> = {}): BootError {
  const memory = options.memory ?? GuestMemory.alone(64 * MIB);
  try {
    load(image, { ...options, memory });
  } catch (error) {
    expect(error).toBeInstanceOf(BootError);
    for (const region of memory.regions) expect(isZero(region.u8)).toBe(true);
    return error as BootError;
  }
  throw new Error('the guest was loaded');
}

/** Fast, for whole machines' RAM. */
function isZero(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).equals(Buffer.alloc(bytes.length));
}

function text(memory: GuestMemory, at: number): string {
  const bytes = memory.view(at, 256);
  return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
}

describe('bzImage', () => {
  it('starts in 64-bit mode at +0x200 of its preferred address, with identity page tables', () => {
    const kernel = pattern(4096);
    const { guest, memory } = load(bzImage({ kernel }));
    expect(guest.protocol).toBe('linux64');
    expect(guest.registers).toMatchObject({
      rip: BigInt(KERNEL_AT + 0x200),
      rsi: BigInt(ZERO_PAGE),
      rflags: 2n,
    });
    expect(guest.system.cs).toMatchObject({ selector: 0x10, l: 1, db: 0 });
    expect(guest.system.efer).toBe(EFER.LME | EFER.LMA);
    expect(memory.view(KERNEL_AT, kernel.length)).toEqual(kernel);
    // Walk the tables for the last 2 MiB page below 4 GiB.
    const table = (entry: bigint): number => Number(entry & ~0xfffn);
    const pdpt = table(memory.readU64(Number(guest.system.cr3)));
    const directory = table(memory.readU64(pdpt + 8 * 3));
    expect(memory.readU64(directory + 8 * 511)).toBe(0xffe0_0083n);
  });

  it('gets a zero page', () => {
    const initrd = pattern(5000, 3);
    const { memory } = load(bzImage(), { initrd });
    expect(memory.readU32(ZERO_PAGE + 0x202)).toBe(0x53726448);
    expect(memory.readU8(ZERO_PAGE + 0x1ef)).toBe(0);
    expect(memory.readU8(ZERO_PAGE + 0x210)).toBe(0xff);
    expect(memory.readU32(ZERO_PAGE + 0x214)).toBe(KERNEL_AT);
    expect(text(memory, memory.readU32(ZERO_PAGE + 0x228))).toBe('console=ttyS0');
    const at = memory.readU32(ZERO_PAGE + 0x218);
    expect(at).toBe(64 * MIB - 8192);
    expect(memory.readU32(ZERO_PAGE + 0x21c)).toBe(initrd.length);
    expect(memory.view(at, initrd.length)).toEqual(initrd);
    expect(memory.readU64(ZERO_PAGE + 0x70)).toBe(0xe_0000n);
    expect(new TextDecoder().decode(memory.view(0xe_0000, 8))).toBe('RSD PTR ');
    const entries = Array.from({ length: memory.readU8(ZERO_PAGE + 0x1e8) }, (_, i) => {
      const entry = ZERO_PAGE + 0x2d0 + 20 * i;
      return [Number(memory.readU64(entry)), Number(memory.readU64(entry + 8)), memory.readU32(entry + 16)];
    });
    expect(entries).toEqual([
      [0, 0x9_fc00, 1],
      [0x9_fc00, 0x400, 2],
      [0xe_0000, 0x2_0000, 2],
      [0x10_0000, 63 * MIB, 1],
    ]);
  });

  it('without a 64-bit entry starts in protected mode', () => {
    const { guest } = load(bzImage({ xloadflags: 0 }));
    expect(guest.protocol).toBe('linux32');
    expect(guest.registers).toMatchObject({ rip: BigInt(KERNEL_AT), rsi: BigInt(ZERO_PAGE) });
    expect(guest.registers.rbx ?? 0n).toBe(0n);
    expect(guest.system.cr0).toBe(CR0.PE | CR0.ET);
    expect(guest.system.cs).toMatchObject({ selector: 0x10, l: 0, db: 1, limit: 0xffff_ffff });
    expect(refusal(bzImage({ xloadflags: 0 }), { protocol: 'linux64' }).code).toBe('KERNEL_FORMAT');
  });

  it('that is not relocatable is loaded to 1 MiB', () => {
    const { guest } = load(bzImage({ relocatable: false }));
    expect(guest.registers.rip).toBe(0x10_0200n);
  });

  it('of an old boot protocol is refused, of a middle-aged one loaded', () => {
    expect(refusal(bzImage({ version: 0x0205 })).code).toBe('KERNEL_TOO_OLD');
    expect(load(bzImage({ version: 0x0206, relocatable: false })).guest.protocol).toBe('linux32');
  });

  it('needs room to unpack itself', () => {
    const error = refusal(bzImage({ initSize: 60 * MIB }));
    expect(error.code).toBe('NOT_ENOUGH_MEMORY');
    expect(error.hint).toContain('--memory 76M');
  });

  it('refuses what it could not honour', () => {
    expect(refusal(bzImage({ loadflags: 0 })).message).toContain('zImage');
    expect(refusal(bzImage({ prefAddress: 2 ** 40 })).code).toBe('KERNEL_FORMAT');
    expect(refusal(bzImage(), { commandLine: 'x'.repeat(2048) }).code).toBe('COMMAND_LINE');
    expect(refusal(bzImage(), { commandLine: 'a\0b' }).code).toBe('COMMAND_LINE');
    expect(refusal(bzImage().subarray(0, 2000)).code).toBe('KERNEL_TRUNCATED');
  });
});

describe('initrd', () => {
  it('that does not fit says how much memory does', () => {
    const error = refusal(bzImage(), { initrd: new Uint8Array(50 * MIB) });
    expect(error.code).toBe('INITRD_TOO_LARGE');
    expect(error.message).toContain('the initrd of 50 MiB');
    const [, needed] = /--memory (\d+)M/.exec(error.message) ?? [];
    expect(Number(needed)).toBe(67);
    load(bzImage(), { initrd: new Uint8Array(50 * MIB), memory: GuestMemory.alone(Number(needed) * MIB) });
    refusal(bzImage(), {
      initrd: new Uint8Array(50 * MIB),
      memory: GuestMemory.alone((Number(needed) - 1) * MIB),
    });
  });

  it('stays under the limit of the kernel, and goes above 4 GiB only where the kernel can', () => {
    // A little RAM below the hole and a little above: the low part is too small.
    const memory = (): GuestMemory =>
      new GuestMemory([
        new MemoryRegion(0, new SharedArrayBuffer(24 * MIB), 0, 24 * MIB, 0),
        new MemoryRegion(2 ** 32, new SharedArrayBuffer(32 * MIB), 0, 32 * MIB, 0),
      ]);
    const initrd = pattern(20 * MIB, 5);
    const above = load(bzImage({ xloadflags: 3 }), { memory: memory(), initrd }).memory;
    expect(above.readU32(ZERO_PAGE + 0x218)).toBe(12 * MIB);
    expect(above.readU32(ZERO_PAGE + 0x0c0)).toBe(1);
    expect(Buffer.from(above.view(2 ** 32 + 12 * MIB, initrd.length)).equals(initrd)).toBe(true);
    expect(refusal(bzImage({ xloadflags: 1 }), { memory: memory(), initrd }).code).toBe('INITRD_TOO_LARGE');

    const limited = bzImage({ initrdMaximum: 30 * MIB - 1, xloadflags: 1 });
    expect(load(limited, { initrd: new Uint8Array(4096) }).memory.readU32(ZERO_PAGE + 0x218)).toBe(
      30 * MIB - 4096,
    );
    const hopeless = refusal(limited, { initrd });
    expect(hopeless.message).toContain('below 0x1e00000');
    expect(hopeless.hint).toContain('more memory would not help');
  });
});

describe('ELF', () => {
  it('of 64 bits starts at its entry with a zero page', () => {
    const { guest, memory } = load(elf({ bits: 64, memorySize: 8192 }));
    expect(guest.protocol).toBe('elf64');
    expect(guest.registers).toMatchObject({ rip: BigInt(KERNEL_AT), rsi: BigInt(ZERO_PAGE) });
    expect(memory.view(KERNEL_AT, 64)).toEqual(pattern(64));
    expect(memory.readU32(ZERO_PAGE + 0x202)).toBe(0x53726448);
    expect(memory.readU32(ZERO_PAGE + 0x238)).toBe(2047);
    expect(memory.readU32(ZERO_PAGE + 0x228)).toBe(0x2_0000);
  });

  it('clears what is not in the file', () => {
    const memory = GuestMemory.alone(64 * MIB);
    memory.view(KERNEL_AT, 8192).fill(0xff);
    load(elf({ bits: 64, memorySize: 8192 }), { memory });
    expect(memory.view(KERNEL_AT + 64, 8192 - 64).every((byte) => byte === 0)).toBe(true);
  });

  it('with a virtual entry point starts at its physical place', () => {
    const image = elf({ bits: 64, virtual: 0x4000_0000, entry: 0x4000_0010 });
    expect(load(image).guest.registers.rip).toBe(BigInt(KERNEL_AT + 0x10));
  });

  it.each([32, 64] as const)('of %i bits with a PVH note starts by PVH', (bits) => {
    const initrd = pattern(100);
    const { guest, memory } = load(elf({ bits, pvhEntry: KERNEL_AT + 8 }), { initrd });
    expect(guest.protocol).toBe('pvh');
    expect(guest.registers).toMatchObject({ rip: BigInt(KERNEL_AT + 8), rbx: BigInt(INFO) });
    expect(guest.system.cr0).toBe(CR0.PE | CR0.ET);
    expect(memory.readU32(INFO)).toBe(0x336ec578);
    expect(memory.readU32(INFO + 4)).toBe(1);
    expect(memory.readU32(INFO + 12)).toBe(1);
    const modules = Number(memory.readU64(INFO + 16));
    expect(memory.view(Number(memory.readU64(modules)), 100)).toEqual(initrd);
    expect(memory.readU64(modules + 8)).toBe(100n);
    expect(text(memory, Number(memory.readU64(INFO + 24)))).toBe('console=ttyS0');
    expect(memory.readU64(INFO + 32)).toBe(0xe_0000n);
    const map = Number(memory.readU64(INFO + 40));
    expect(memory.readU32(INFO + 48)).toBe(4);
    expect(memory.readU64(map + 24 * 3)).toBe(0x10_0000n);
    expect(memory.readU64(map + 24 * 3 + 8)).toBe(BigInt(63 * MIB));
    expect(memory.readU32(map + 24 * 3 + 16)).toBe(1);
  });

  it('is refused where it would be in the way', () => {
    const low = refusal(elf({ bits: 64, physical: 0x7f00, bytes: pattern(512) }));
    expect(low.code).toBe('KERNEL_PLACE');
    expect(low.message).toContain('the zero page');
    expect(refusal(elf({ bits: 64, physical: 0xd000_0000 })).code).toBe('KERNEL_PLACE');
    expect(refusal(elf({ bits: 64, physical: 0xb000_0000 })).hint).toContain('--memory 2817M');
    expect(refusal(elf({ bits: 64, entry: 0x10 })).message).toContain('entry point');
    expect(refusal(elf({ bits: 64, machine: 183 })).message).toContain('another processor');
    expect(refusal(elf({ bits: 64, memorySize: 10 })).message).toContain('p_filesz');
    expect(refusal(elf({ bits: 32, pvhEntry: 0x1234 })).message).toContain('PVH entry point');
    expect(refusal(elf({ bits: 64 }), { protocol: 'pvh' }).hint).toContain('CONFIG_PVH');
    expect(refusal(elf({ bits: 32 }), { protocol: 'elf64' }).code).toBe('KERNEL_FORMAT');
  });
});

describe('Multiboot', () => {
  it('loads a raw image by the addresses in its header', () => {
    const { guest, memory } = load(multibootRaw());
    expect(guest.protocol).toBe('multiboot');
    expect(guest.registers).toMatchObject({ rip: 0x10_0030n, rax: 0x2bad_b002n, rbx: BigInt(INFO) });
    expect(memory.view(0x10_0030, 64)).toEqual(pattern(64));
  });

  it.each([32, 64] as const)('loads an ELF file of %i bits', (bits) => {
    const bytes = new Uint8Array(64);
    bytes.set(multibootHeader(3));
    const { guest } = load(elf({ bits, bytes, entry: KERNEL_AT + 16 }));
    expect(guest.protocol).toBe('multiboot');
    expect(guest.registers.rip).toBe(BigInt(KERNEL_AT + 16));
  });

  it('gives memory map, command line, module and name', () => {
    const initrd = pattern(6000, 9);
    const { memory } = load(multibootRaw(), { initrd });
    const u32 = (offset: number): number => memory.readU32(INFO + offset);
    expect(u32(0)).toBe(0b10_0100_1101);
    expect(u32(4)).toBe(639);
    expect(u32(8)).toBe(63 * 1024);
    expect(text(memory, u32(16))).toBe('console=ttyS0');
    expect(u32(20)).toBe(1);
    const module = memory.readU32(u32(24));
    expect(module).toBe(0x10_1000);
    expect(memory.readU32(u32(24) + 4)).toBe(module + initrd.length);
    expect(memory.view(module, initrd.length)).toEqual(initrd);
    expect(text(memory, memory.readU32(u32(24) + 8))).toBe('');
    expect(text(memory, u32(64))).toBe('Type2');
    const ranges: number[][] = [];
    for (let at = u32(48); at < u32(48) + u32(44); at += memory.readU32(at) + 4) {
      ranges.push([Number(memory.readU64(at + 4)), memory.readU32(at + 20)]);
    }
    expect(ranges).toEqual([
      [0, 1],
      [0x9_fc00, 2],
      [0xe_0000, 2],
      [0x10_0000, 1],
    ]);
  });

  it('refuses what it can not give, and headers that contradict themselves', () => {
    expect(refusal(multibootRaw({ flags: (1 << 16) | 4 })).message).toContain('video mode');
    expect(refusal(multibootRaw({ flags: (1 << 16) | 0x100 })).message).toContain('flags 0x100');
    expect(refusal(multibootRaw({ flags: 0 })).message).toContain('address fields');
    expect(refusal(multibootRaw({ headerAddress: 0x20_0000 })).code).toBe('KERNEL_FORMAT');
    expect(refusal(multibootRaw({ loadEnd: 0x20_0000 })).code).toBe('KERNEL_TRUNCATED');
    expect(refusal(multibootRaw({ bssEnd: 0x10_0001 })).message).toContain('bss_end_addr');
    expect(refusal(multibootRaw({ entry: 0x30_0000 })).message).toContain('entry_addr');
    expect(refusal(multibootRaw({ loadAddress: 0x400 })).code).toBe('KERNEL_PLACE');
  });
});

describe('flat', () => {
  it('starts like a boot sector', () => {
    const { guest, memory } = load(pattern(512), { protocol: 'flat' });
    expect(guest.registers).toMatchObject({ rip: 0x7c00n, rsp: 0x7c00n, rdx: 0x80n });
    expect(guest.system.cs).toMatchObject({ selector: 0, base: 0n, limit: 0xffff });
    expect(memory.view(0x7c00, 512)).toEqual(pattern(512));
  });

  it('goes elsewhere when told, with its stack out of the way', () => {
    const high = load(pattern(512), { protocol: 'flat', loadAddress: 0x2_0008 }).guest;
    expect(high.system.cs).toMatchObject({ selector: 0x2000, base: 0x2_0000n });
    expect(high.registers.rip).toBe(8n);
    const low = load(pattern(0x8000), { protocol: 'flat', loadAddress: 0x1000 }).guest;
    expect(low.system.ss?.base).toBe(0x8_fc00n);
    expect(refusal(pattern(512), { protocol: 'flat', loadAddress: 0x10_0000 }).code).toBe('KERNEL_PLACE');
    expect(refusal(pattern(0xa_0000), { protocol: 'flat' }).code).toBe('KERNEL_PLACE');
    expect(refusal(pattern(16), { protocol: 'flat', loadAddress: 0x400 }).code).toBe('KERNEL_PLACE');
    expect(refusal(new Uint8Array(0), { protocol: 'flat' }).code).toBe('KERNEL_FORMAT');
    expect(refusal(pattern(512), { protocol: 'flat', initrd: pattern(1) }).code).toBe('KERNEL_FORMAT');
  });
});

describe('any guest', () => {
  it('that is no kernel is refused with a guess at what it is', () => {
    const refuse = (bytes: number[] | Uint8Array): string => {
      const { message, hint } = refusal(Uint8Array.from(bytes));
      return `${message} ${hint}`;
    };
    expect(refuse(pattern(4096))).toContain('--protocol flat');
    expect(refuse([0x1f, 0x8b, 8, 0])).toContain('gunzip');
    expect(refuse(new TextEncoder().encode('070701'))).toContain('--initrd');
    expect(refusal(new Uint8Array(0)).code).toBe('KERNEL_TRUNCATED');
  });

  it('without ACPI hears of virtio devices on the command line of Linux', () => {
    const virtio = [virtioSlot(0), virtioSlot(1)];
    const { memory } = load(bzImage(), { acpi: false, virtio, commandLine: 'quiet -- single' });
    expect(text(memory, 0x2_0000)).toBe(
      'quiet virtio_mmio.device=0x1000@0xd0000000:5 virtio_mmio.device=0x1000@0xd0001000:6 -- single',
    );
    expect(memory.readU64(ZERO_PAGE + 0x70)).toBe(0n);
    expect(memory.view(0xe_0000, 4096).every((byte) => byte === 0)).toBe(true);
  });

  it('finds the EBDA by the BIOS data area and the MP table by the EBDA', () => {
    const { memory } = load(bzImage(), { acpi: false });
    const ebda = memory.readU16(0x40e) * 16;
    expect(ebda).toBe(0x9_fc00);
    expect(memory.readU16(0x413) * 1024).toBe(ebda);
    expect(new TextDecoder().decode(memory.view(ebda + 16, 4))).toBe('_MP_');
    expect(new TextDecoder().decode(memory.view(memory.readU32(ebda + 20), 4))).toBe('PCMP');
  });
});
