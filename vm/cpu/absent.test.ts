/** Instructions that the CPU hasn't got are named as an assembler does, as far as they are known. */
import { describe, expect, it } from 'vitest';
import { nameOfAbsent } from './absent.ts';
import './isa/index.ts';

const bytes = (text: string): Uint8Array =>
  Uint8Array.from(text.split(' ').map((byte) => Number.parseInt(byte, 16)));

describe('an instruction that is not there', () => {
  it.each([
    ['c5 f5 fe c2', 'vpaddd'],
    ['c5 f8 77', 'vzeroupper'],
    ['c4 e2 7d 58 c0', 'vpbroadcastd'],
    ['c4 e2 f1 b8 c2', 'vfmadd231pd'],
    ['c4 e2 71 99 c2', 'vfmadd132ss'],
    ['c4 e2 78 f2 c1', 'andn'],
    ['c4 e2 73 f6 c0', 'mulx'],
    ['c4 e2 78 f3 c8', 'blsr'],
    ['c4 e3 7d 19 c0 01', 'vextractf128'],
    ['c5 f9 6f 00', 'vmovdqa'],
    ['62 f1 75 48 fe c2', 'vpaddd (evex)'],
    ['0f c7 20', 'xsavec'],
    ['48 0f ae 20', 'xsave'],
    ['f3 48 0f ae c0', 'rdfsbase'],
    ['66 0f ae 38', 'clflushopt'],
    ['66 0f 38 dc c1', 'aesenc'],
    ['66 0f 3a 44 c1 00', 'pclmulqdq'],
    ['0f 01 cb', 'stac'],
    ['f3 0f 38 f6 c0', 'adox'],
    ['0f 01 d0', 'xgetbv'],
    ['0f 34', 'sysenter'],
    ['0f 04 11 22 33 44 55 66 77', '0f 04 11 22 33 44 55 66'],
    ['06', 'push'],
  ])('%s is %s', (code, name) => {
    expect(nameOfAbsent(bytes(code), 2)).toBe(name);
  });

  it('C4, C5 and 62 are others outside 64-bit mode', () => {
    expect(nameOfAbsent(bytes('c5 f5 fe c2'), 1)).toBe('vpaddd');
    expect(nameOfAbsent(bytes('62 06'), 1)).toBe('bound');
  });
});
