/**
 * What single instructions don't show: code that changes itself, devices in the middle of an instruction,
 * compiled loops, exceptions on their way.
 */
import { describe, expect, it } from 'vitest';
import { ACCESS_DATA, type Cpu, CpuExit } from '../../vm/cpu/cpu.ts';
import { RAM_START, Seg, State } from '../../vm/cpu/layout.ts';
import { CpuMemory, createCpuMemory } from '../../vm/cpu/memory.ts';
import { setSegment } from '../../vm/cpu/system/segments.ts';
import { enterFlat, makeCpu } from '../conformance/engine-rig.ts';

const RAM = 4 << 20;
const CODE = 0x1000;
const memory = new CpuMemory(createCpuMemory(RAM), RAM);
const { cpu } = makeCpu(memory, true);

/** A CPU in flat 32-bit mode with code at CODE, and its stack below. */
function start(code: readonly number[], on = cpu): Cpu {
  on.codeWritten(0, RAM);
  memory.u8.fill(0, RAM_START, RAM_START + RAM);
  enterFlat(on, code, CODE);
  return on;
}

/** Runs until something else than the end of a slice, answering device accesses with `answer`. */
function run(answer = 0): { exits: { address: number; isWrite: boolean; value: number }[]; end: CpuExit } {
  const exits = [];
  for (let turn = 0; turn < 10_000; turn++) {
    const half = cpu.settle();
    const exit = half === CpuExit.slice ? cpu.run(100_000) : half;
    if (exit === CpuExit.io || exit === CpuExit.mmio) {
      const { address, isWrite } = cpu.access;
      exits.push({ address, isWrite, value: memory.get(ACCESS_DATA) });
      if (!isWrite) memory.set(ACCESS_DATA, answer);
    } else if (exit !== CpuExit.slice) return { exits, end: exit };
  }
  throw new Error('the guest does not end');
}

describe('the CPU', () => {
  it('compiles a loop and gets the sum right', () => {
    // mov ecx, 1000000; l: add eax, ecx; dec ecx; jnz l; hlt
    start([0xb9, 0x40, 0x42, 0x0f, 0x00, 0x01, 0xc8, 0x49, 0x75, 0xfb, 0xf4]);
    expect(run().end).toBe(CpuExit.halted);
    expect(memory.reg(0)).toBe(((1_000_000 * 1_000_001) / 2) | 0);
  });

  // The loops below run for long enough to become large regions, which follow calls into other pages.
  const TURNS = 3_000_000;
  /** Puts code elsewhere. */
  const place = (at: number, code: readonly number[]): void => memory.u8.set(code, RAM_START + at);
  const word = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
  /** CALL rel32 at an address. */
  const call = (at: number, target: number): number[] => [0xe8, ...word(target - at - 5)];
  const sum = (turns: number): number => Number(BigInt.asIntN(32, (BigInt(turns) * BigInt(turns + 1)) / 2n));

  it('follows calls into other pages, and indirect ones that change their target', () => {
    const [f, even, odd] = [0x2100, 0x3000, 0x3100];
    // mov ecx, TURNS; l: call f; mov edx, even; test ecx, 0x10000; jz +5; mov edx, odd; call edx; dec ecx; jnz l; hlt
    start([
      ...[0xb9, ...word(TURNS), ...call(CODE + 5, f), 0xba, ...word(even), 0xf7, 0xc1, ...word(0x1_0000)],
      ...[0x74, 5, 0xba, ...word(odd), 0xff, 0xd2, 0x49, 0x75, 0xe4, 0xf4],
    ]);
    // add eax, ecx; ret and inc ebx; ret and inc esi; ret
    place(f, [0x01, 0xc8, 0xc3]);
    place(even, [0x43, 0xc3]);
    place(odd, [0x46, 0xc3]);
    expect(run().end).toBe(CpuExit.halted);
    const isOdd = Array.from({ length: TURNS }, (_, i) => (i + 1) & 0x1_0000).filter(
      (bit) => bit !== 0,
    ).length;
    expect(memory.reg(0)).toBe(sum(TURNS));
    expect(memory.reg(3)).toBe(TURNS - isOdd);
    expect(memory.reg(6)).toBe(isOdd);
    expect(memory.reg(4)).toBe(CODE);
  });

  it('notices that a callee in another page changes while a loop calls it', () => {
    const f = 0x2100;
    const half = TURNS / 2;
    // mov ecx, TURNS; l: call f; cmp ecx, half; jne +7; mov byte [f], 0x29; dec ecx; jnz l; hlt
    start([
      ...[0xb9, ...word(TURNS), ...call(CODE + 5, f), 0x81, 0xf9, ...word(half)],
      ...[0x75, 7, 0xc6, 0x05, ...word(f), 0x29, 0x49, 0x75, 0xe9, 0xf4],
    ]);
    // add eax, ecx, which becomes sub eax, ecx; ret
    place(f, [0x01, 0xc8, 0xc3]);
    expect(run().end).toBe(CpuExit.halted);
    expect(memory.reg(0)).toBe((sum(TURNS) - 2 * sum(half - 1)) | 0);
  });

  it('returns to where the stack says, not to where the call was', () => {
    const f = 0x2100;
    // mov ecx, TURNS; l: call f; inc ebx; dec ecx; jnz l; hlt
    start([0xb9, ...word(TURNS), ...call(CODE + 5, f), 0x43, 0x49, 0x75, 0xf7, 0xf4]);
    // test ecx, 1; jz +3; inc dword [esp]; ret
    place(f, [0xf7, 0xc1, ...word(1), 0x74, 3, 0xff, 0x04, 0x24, 0xc3]);
    expect(run().end).toBe(CpuExit.halted);
    expect(memory.reg(3)).toBe(TURNS / 2);
  });

  it('follows recursion no further than it may', () => {
    const f = 0x2100;
    // mov ecx, TURNS / 8; l: mov edx, 7; call f; dec ecx; jnz l; hlt
    start([0xb9, ...word(TURNS / 8), 0xba, ...word(7), ...call(CODE + 10, f), 0x49, 0x75, 0xf3, 0xf4]);
    // f: inc eax; dec edx; js +5; call f; inc ebx; ret
    place(f, [0x40, 0x4a, 0x78, 5, ...call(f + 4, f), 0x43, 0xc3]);
    expect(run().end).toBe(CpuExit.halted);
    expect(memory.reg(0)).toBe(TURNS);
    expect(memory.reg(3)).toBe(TURNS);
  });

  it('executes the instruction that the one before it has written', () => {
    // mov byte [next+1], 42; next: mov al, 0; hlt
    const next = CODE + 7;
    start([0xc6, 0x05, (next + 1) & 0xff, next >> 8, 0, 0, 42, 0xb0, 0x00, 0xf4]);
    expect(run().end).toBe(CpuExit.halted);
    expect(memory.reg(0) & 0xff).toBe(42);
  });

  it('executes new code in a loop that was compiled', () => {
    // mov ecx, 20000; l: inc eax; dec ecx; jnz l; cmp byte [l], 0x40; jne end;
    // mov byte [l], 0x43 (inc ebx); mov ecx, 20000; jmp l; end: hlt
    const l = CODE + 5;
    const code = [
      0xb9,
      0x20,
      0x4e,
      0,
      0,
      0x40,
      0x49,
      0x75,
      0xfc,
      0x80,
      0x3d,
      l & 0xff,
      l >> 8,
      0,
      0,
      0x40,
      0x75,
      0x0e,
    ];
    start([...code, 0xc6, 0x05, l & 0xff, l >> 8, 0, 0, 0x43, 0xb9, 0x20, 0x4e, 0, 0, 0xeb, 0xe5, 0xf4]);
    expect(run().end).toBe(CpuExit.halted);
    expect([memory.reg(0), memory.reg(3)]).toEqual([20_000, 20_000]);
  });

  it('reads and writes a device in one instruction', () => {
    // add dword [0xd0000000], 5; hlt
    start([0x83, 0x05, 0, 0, 0, 0xd0, 5, 0xf4]);
    const { exits, end } = run(37);
    expect(end).toBe(CpuExit.halted);
    expect(exits).toMatchObject([
      { address: 0xd000_0000, isWrite: false },
      { address: 0xd000_0000, isWrite: true, value: 42 },
    ]);
  });

  it('repeats a string instruction over device registers, element by element', () => {
    // mov edi, 0xd0000000; mov ecx, 200; mov al, 7; rep stosb; hlt
    start([0xbf, 0, 0, 0, 0xd0, 0xb9, 200, 0, 0, 0, 0xb0, 7, 0xf3, 0xaa, 0xf4]);
    const { exits, end } = run();
    expect(end).toBe(CpuExit.halted);
    expect(exits.map(({ address }) => address)).toEqual(
      Array.from({ length: 200 }, (_, i) => 0xd000_0000 + i),
    );
  });

  it('reads each device register once in a repeated copy to memory', () => {
    // mov esi, 0xd0000000; mov edi, 0x300000; mov ecx, 4; rep movsd; hlt
    start([0xbe, 0, 0, 0, 0xd0, 0xbf, 0, 0, 0x30, 0, 0xb9, 4, 0, 0, 0, 0xf3, 0xa5, 0xf4]);
    const { exits, end } = run(9);
    expect(end).toBe(CpuExit.halted);
    expect(exits.map(({ address }) => address)).toEqual([0, 4, 8, 12].map((at) => 0xd000_0000 + at));
    expect([0, 4, 8, 12].map((at) => memory.get(RAM_START + 0x30_0000 + at))).toEqual([9, 9, 9, 9]);
  });

  describe('that has accesses served while the instruction waits', () => {
    type Access = { readonly address: number; readonly isWrite: boolean; readonly value: number };
    const DEVICE = [0, 0, 0, 0xd0];
    /** What a program is and does comes after; HLT ends it. */
    const programs = new Map<string, readonly number[]>([
      // mov ebx, 3; l: mov eax, [device]; mov [device + 4], eax; inc edx; dec ebx; jnz l
      ['loads and stores', [0xbb, 3, 0, 0, 0, 0xa1, ...DEVICE, 0xa3, 4, 0, 0, 0xd0, 0x42, 0x4b, 0x75, 0xf2]],
      // mov ecx, 100; l: mov al, [device]; dec ecx; jnz l
      ['more than are served in one go', [0xb9, 100, 0, 0, 0, 0xa0, ...DEVICE, 0x49, 0x75, 0xf8]],
      // mov esi, device; mov edi, device + 0x1000; movsd; movsw
      ['from device to device', [0xbe, ...DEVICE, 0xbf, 0, 0x10, 0, 0xd0, 0xa5, 0x66, 0xa5]],
      // mov esi, device; mov edi, next; movsb; next: nop, which becomes what was read
      ['from device to code', [0xbe, ...DEVICE, 0xbf, ...word(CODE + 11), 0xa4, 0x90]],
      // push dword [device]; pop dword [device + 4]
      ['between device and stack', [0xff, 0x35, ...DEVICE, 0x8f, 0x05, 4, 0, 0, 0xd0]],
      // xchg [device], eax; add [device], eax
      ['reads and writes in one', [0x87, 0x05, ...DEVICE, 0x01, 0x05, ...DEVICE]],
      // mov esi, device; mov edi, 0x300000; mov ecx, 4; rep movsd; mov edi, device; mov cl, 3; rep stosw
      [
        'repeated string instructions',
        [
          0xbe,
          ...DEVICE,
          0xbf,
          0,
          0,
          0x30,
          0,
          0xb9,
          4,
          0,
          0,
          0,
          0xf3,
          0xa5,
          0xbf,
          ...DEVICE,
          0xb1,
          3,
          0x66,
          0xf3,
          0xab,
        ],
      ],
    ]);

    /** Each read gives another number, and INC EAX where it becomes code. */
    const answerTo = (count: number): number => 0x40 + count * 0x0101_0100;

    function outcome(code: readonly number[], compiles: boolean, leaves?: (count: number) => boolean) {
      const accesses: Access[] = [];
      let left = 0;
      const answer = (): void => {
        const { address, isWrite, bytes } = one.access;
        const value = isWrite ? memory.get(ACCESS_DATA) & (bytes === 4 ? -1 : (1 << (8 * bytes)) - 1) : 0;
        if (!isWrite) memory.set(ACCESS_DATA, answerTo(accesses.length));
        accesses.push({ address, isWrite, value });
      };
      const serveAccess = (): boolean => {
        answer();
        return leaves!(accesses.length);
      };
      const { cpu: one } = makeCpu(memory, compiles, 1, leaves === undefined ? {} : { serveAccess });
      start([...code, 0xf4], one);
      for (let exit: CpuExit = CpuExit.slice; exit !== CpuExit.halted; ) {
        const half = one.settle();
        exit = half === CpuExit.slice ? one.run(100_000) : half;
        if (exit !== CpuExit.mmio) continue;
        left++;
        answer();
      }
      const registers = Array.from({ length: 8 }, (_, n) => memory.reg(n));
      return { seen: { accesses, registers, executed: one.executed }, left };
    }

    for (const [name, code] of programs) {
      it(`does the same as one that is left for each: ${name}`, () => {
        const { seen, left } = outcome(code, true);
        expect(left).toBe(seen.accesses.length);
        for (const compiles of [true, false]) {
          for (const leaves of [() => false, () => true, (count: number) => count % 2 === 0]) {
            const served = outcome(code, compiles, leaves);
            expect(served.seen).toEqual(seen);
            expect(served.left).toBeLessThanOrEqual(left);
          }
        }
      });
    }

    it('is not left for loads and stores', () => {
      expect(outcome(programs.get('loads and stores')!, true, () => false).left).toBe(0);
    });

    it('goes on behind the instruction when there is something to look at', () => {
      // mov eax, [device]; inc ebx; hlt
      const { cpu: one } = makeCpu(memory, true, 1, { serveAccess: () => true });
      start([0xa1, ...DEVICE, 0x43, 0xf4], one);
      expect(one.run(100_000)).toBe(CpuExit.slice);
      expect([memory.get(State.rip), memory.reg(3), one.executed]).toEqual([CODE + 5, 0, 1]);
    });
  });

  it.each([
    ['up onto itself, a byte on', 1, 0, 0x1000, 0x1001],
    ['up onto itself, three bytes on', 1, 0, 0x1000, 0x1003],
    ['up onto itself by less than an element', 4, 0, 0x1000, 0x1002],
    ['up onto itself by some elements', 4, 0, 0x1ff0, 0x2000],
    ['up, away from itself', 4, 0, 0x1100, 0x1000],
    ['down, away from itself', 1, 1, 0x3000, 0x3007],
    ['down in elements, across pages', 4, 1, 0x2ffe, 0x5002],
    ['down onto itself', 4, 1, 0x3000, 0x2ff0],
    ['down onto itself by less than an element', 4, 1, 0x3000, 0x2ffe],
  ] as const)('moves a run %s as one element after the other', (_, bytes, down, from, to) => {
    const count = 1500;
    const base = 0x10_0000;
    // cld or std; mov esi, from; mov edi, to; mov ecx, count; rep movsb or movsd; hlt
    start([
      ...[down ? 0xfd : 0xfc, 0xbe, ...word(base + from), 0xbf, ...word(base + to), 0xb9, ...word(count)],
      ...[0xf3, bytes === 1 ? 0xa4 : 0xa5, 0xf4],
    ]);
    const ram = memory.u8.subarray(RAM_START + base - 0x8000, RAM_START + base + 0x8000);
    for (let i = 0; i < ram.length; i++) ram[i] = Math.imul(i, 0x9e37_79b1) >>> 24;
    const expected = ram.slice();
    for (let i = 0; i < count; i++) {
      const at = 0x8000 + (down ? -i * bytes : i * bytes);
      expected.copyWithin(at + to, at + from, at + from + bytes);
    }
    expect(run().end).toBe(CpuExit.halted);
    expect(Buffer.compare(ram, expected)).toBe(0);
    const moved = down ? -count * bytes : count * bytes;
    expect([memory.reg(6), memory.reg(7), memory.reg(1)]).toEqual([
      base + from + moved,
      base + to + moved,
      0,
    ]);
  });

  // What one look into the TLB is for in compiled code, when it fails for some of it.
  it('pushes and pops across a page in a loop that is compiled', () => {
    // mov esp, 0x300004; mov ecx, 500000; l: push ecx; push 5; pop eax; pop edx; add ebx, eax; add esi, edx; dec ecx;
    // jnz l; hlt
    start([
      ...[0xbc, ...word(0x30_0004), 0xb9, ...word(500_000)],
      ...[0x51, 0x6a, 5, 0x58, 0x5a, 0x01, 0xc3, 0x01, 0xd6, 0x49, 0x75, 0xf4, 0xf4],
    ]);
    expect(run().end).toBe(CpuExit.halted);
    expect(memory.reg(3)).toBe(2_500_000);
    expect(memory.reg(6)).toBe(sum(500_000));
    expect(memory.reg(4)).toBe(0x30_0004);
  });

  it('looks things up in small tables that lie across pages, in a loop that is compiled', () => {
    // mov ecx, TURNS; l: movzx edx, cl; add eax, [edx * 4 + READ]; inc dword [edx * 4 + WRITTEN]; dec ecx; jnz l; hlt
    const [READ, WRITTEN, turns] = [0x20_0000 - 512, 0x30_0000 - 100, 256 * 4000];
    start([
      ...[0xb9, ...word(turns), 0x0f, 0xb6, 0xd1, 0x03, 0x04, 0x95, ...word(READ)],
      ...[0xff, 0x04, 0x95, ...word(WRITTEN), 0x49, 0x75, 0xec, 0xf4],
    ]);
    for (let i = 0; i < 256; i++) memory.set(RAM_START + READ + 4 * i, i * 3);
    expect(run().end).toBe(CpuExit.halted);
    expect(memory.reg(0)).toBe((4000 * 3 * (256 * 255)) / 2);
    const counts = Array.from({ length: 256 }, (_, i) => memory.get(RAM_START + WRITTEN + 4 * i));
    expect(counts).toEqual(counts.map(() => 4000));
  });

  it('reads RAM and the device behind it in a loop that is compiled', () => {
    // mov dword [RAM − 4], 3; mov edi, RAM − 4; mov ecx, 9000; l: mov eax, [edi]; mov edx, [edi + 4]; add ebx, eax;
    // add esi, edx; dec ecx; jnz l; hlt
    start([
      ...[0xc7, 0x05, ...word(RAM - 4), ...word(3), 0xbf, ...word(RAM - 4), 0xb9, ...word(9000)],
      ...[0x8b, 0x07, 0x8b, 0x57, 4, 0x01, 0xc3, 0x01, 0xd6, 0x49, 0x75, 0xf4, 0xf4],
    ]);
    const { exits, end } = run(7);
    expect(end).toBe(CpuExit.halted);
    expect(exits.length).toBe(9000);
    expect([memory.reg(3), memory.reg(6)]).toEqual([27_000, 63_000]);
  });

  it('ends FS at 4 GiB though it has no limit, in a loop that is compiled', () => {
    // l: mov eax, fs:[ebx]; add ebx, 3; dec ecx; jnz l; hlt
    const turns = 200_000;
    const last = (offset: number): CpuExit => {
      start([0x64, 0x8b, 0x03, 0x83, 0xc3, 3, 0x49, 0x75, 0xf7, 0xf4]);
      setSegment(memory, Seg.fs, 8, RAM / 2, 0, -1, 0xc093);
      memory.set(State.segLimit + 4 * Seg.idtr, 0);
      memory.setReg32(1, turns);
      memory.setReg32(3, offset - 3 * (turns - 1));
      cpu.updateMode();
      return run().end;
    };
    expect(last(-4)).toBe(CpuExit.halted);
    expect(memory.reg(3)).toBe(-1);
    // What is raised ends in a triple fault, since there is no IDT.
    expect(last(-3)).toBe(CpuExit.shutdown);
    expect([memory.reg(1), memory.reg(3)]).toEqual([1, -3]);
  });

  it('calls functions of the base module in a loop that is compiled', () => {
    // fninit; fldz; mov ecx, 1000000; l: fld1; faddp; dec ecx; jnz l; fistp dword [0x200000]; hlt
    start([
      ...[0xdb, 0xe3, 0xd9, 0xee, 0xb9, ...word(1_000_000), 0xd9, 0xe8, 0xde, 0xc1, 0x49, 0x75, 0xf9],
      ...[0xdb, 0x1d, ...word(0x20_0000), 0xf4],
    ]);
    expect(run().end).toBe(CpuExit.halted);
    expect(memory.get(RAM_START + 0x20_0000)).toBe(1_000_000);
  });

  it('leaves a region with a loop by an instruction that needs no helper, and loses no register', () => {
    // mov ecx, TURNS; l: mov eax, 3; m: inc esi; dec eax; jnz m; inc edi; push 8; pop ds; dec ecx; jnz l; hlt
    start([
      ...[0xb9, ...word(100_000), 0xb8, ...word(3), 0x46, 0x48, 0x75, 0xfc, 0x47, 0x6a, 8, 0x1f],
      ...[0x49, 0x75, 0xf0, 0xf4],
    ]);
    const GDT = 0x2000;
    memory.set64(State.segBase + 8 * Seg.gdtr, GDT, 0);
    memory.set64(RAM_START + GDT + 8, 0xffff, 0x00cf_9300);
    expect(run().end).toBe(CpuExit.halted);
    expect([memory.reg(6), memory.reg(7), memory.reg(4)]).toEqual([300_000, 100_000, CODE]);
  });

  it('comes back in the middle of a long repeat', () => {
    // mov esi, 0x100000; mov ecx, 0x200000; rep lodsb; hlt
    start([0xbe, 0, 0, 0x10, 0, 0xb9, 0, 0, 0x20, 0, 0xf3, 0xac, 0xf4]);
    expect(cpu.run(100_000)).toBe(CpuExit.slice);
    expect(memory.reg(1)).toBeGreaterThan(0);
    expect(run().end).toBe(CpuExit.halted);
    expect(memory.reg(1)).toBe(0);
  });

  it('shuts down at once when an interrupt can’t be delivered, whatever the guest is doing', () => {
    // lidt [0]; l: in al, 0x80; jmp l — the table is empty
    start([0x0f, 0x01, 0x1d, 0, 0, 0, 0, 0xe4, 0x80, 0xeb, 0xfc]);
    expect(cpu.run(100_000)).toBe(CpuExit.io);
    cpu.settle();
    cpu.nmi(0);
    expect(cpu.run(100_000)).toBe(CpuExit.shutdown);
  });

  it('ends a turn at PAUSE, behind it, when there are other vCPUs', () => {
    // mov ecx, 3; l: pause; dec ecx; jnz l; hlt
    const code = [0xb9, 3, 0, 0, 0, 0xf3, 0x90, 0x49, 0x75, 0xfb, 0xf4];
    start(code);
    expect(cpu.run(100_000)).toBe(CpuExit.halted);
    expect(cpu.hasEndedTurn).toBe(false);
    for (const compiles of [true, false]) {
      const { cpu: one } = makeCpu(memory, compiles, 2);
      start(code, one);
      for (const executed of [2, 3, 3]) {
        const before = one.executed;
        expect(one.run(100_000)).toBe(CpuExit.slice);
        expect([one.hasEndedTurn, one.executed - before]).toEqual([true, executed]);
      }
      expect(one.run(100_000)).toBe(CpuExit.halted);
      expect(one.hasEndedTurn).toBe(false);
    }
  });

  it('shuts down on a triple fault', () => {
    // lidt [0]; ud2 — the table is empty
    start([0x0f, 0x01, 0x1d, 0, 0, 0, 0, 0x0f, 0x0b]);
    expect(run().end).toBe(CpuExit.shutdown);
  });
});
