/**
 * The transcendental instructions' results, to the last of 64 bits, and their special operands.
 */
import { describe, expect, it } from 'vitest';
import { bitLength, type Float80, FpuContext, FpuFlag, infinity, zero } from './float80.ts';
import * as functions from './transcendental.ts';

const { IE, DE, ZE, UE, PE } = FpuFlag;

function context(control = 0x37f): FpuContext {
  const made = new FpuContext();
  made.begin(control);
  return made;
}

/** m × 2^e. */
function real(m: bigint, e = 0): Float80 {
  const length = bitLength(m < 0n ? -m : m);
  const significand = (m < 0n ? -m : m) << BigInt(64 - length);
  return { sign: m < 0n ? 1 : 0, exponent: 16383 + e + length - 1, significand };
}

/** The nearest 64-bit significand of a decimal fraction, which has digits enough, as m × 2^e. */
function nearest(decimal: string): Float80 {
  const [whole, fraction] = decimal.split('.') as [string, string];
  const wide = (BigInt(whole + fraction) << 256n) / 10n ** BigInt(fraction.length);
  const drop = BigInt(bitLength(wide) - 64);
  return real((wide + (1n << (drop - 1n))) >> drop, Number(drop) - 256);
}

const one = real(1n);
const two = real(2n);
const half = real(1n, -1);

describe('transcendental functions', () => {
  it('are right to the last bit', () => {
    const c = context();
    expect(functions.sine(c, one)).toEqual(nearest('0.84147098480789650665250232163029899962256306079837'));
    expect(functions.cosine(c, one)).toEqual(nearest('0.54030230586813971740093660744297660373231042061792'));
    expect(functions.tangent(c, one)).toEqual(
      nearest('1.55740772465490223050697480745836017308725077238152'),
    );
    expect(functions.angle(c, one, one)).toEqual(
      nearest('0.78539816339744830961566084581987572104929234984378'),
    );
    expect(functions.angle(c, two, one)).toEqual(
      nearest('0.46364760900080611621425623146121440202853705428612'),
    );
    expect(functions.powerOf2Less1(c, half)).toEqual(
      nearest('0.41421356237309504880168872420969807856967187537694'),
    );
    expect(functions.yLogarithm(c, real(3n), one)).toEqual(
      nearest('1.58496250072115618145373894394781650875981440769248'),
    );
    expect(functions.yLogarithmOf1Plus(c, half, one)).toEqual(
      nearest('0.58496250072115618145373894394781650875981440769248'),
    );
    expect(c.flags & ~FpuFlag.C1).toBe(PE);
  });

  it('round as the control word says, to 64 bits whatever its precision', () => {
    const [down, up] = [functions.sine(context(0x47f), one), functions.sine(context(0x87f), one)];
    expect(up.significand - down.significand).toBe(1n);
  });

  it('bring angles into range with the 66 bits of π that processors have', () => {
    // FLDPI; FSIN: what 64 bits lack of those 66.
    expect(functions.sine(context(), real(0xc90f_daa2_2168_c235n, -62))).toEqual(real(-1n, -64));
  });

  it('keep tiny operands apart from their results by the rounding alone', () => {
    const tiny = real(0x8000_0000_0000_0001n, -16000);
    expect(functions.sine(context(), tiny)).toEqual(tiny);
    expect(functions.sine(context(0xc7f), tiny)).toEqual({ ...tiny, significand: tiny.significand - 1n });
    expect(functions.tangent(context(0x87f), tiny)).toEqual({ ...tiny, significand: tiny.significand + 1n });
    expect(functions.cosine(context(), tiny)).toEqual(one);
    const denormal: Float80 = { sign: 0, exponent: 0, significand: 12345n };
    const c = context();
    expect(functions.sine(c, denormal)).toEqual(denormal);
    expect(c.flags & ~FpuFlag.C1).toBe(DE | UE | PE);
  });

  it('know special operands', () => {
    const flagsOf = (run: (c: FpuContext) => unknown): number => {
      const c = context();
      run(c);
      return c.flags & ~FpuFlag.C1;
    };
    const { yLogarithm, yLogarithmOf1Plus, angle, sine } = functions;
    expect(flagsOf((c) => yLogarithm(c, zero(0), zero(0)))).toBe(IE);
    expect(flagsOf((c) => yLogarithm(c, zero(1), one))).toBe(ZE);
    expect(flagsOf((c) => yLogarithm(c, real(-1n), one))).toBe(IE);
    expect(flagsOf((c) => yLogarithm(c, one, infinity(0)))).toBe(IE);
    expect(flagsOf((c) => yLogarithmOf1Plus(c, zero(0), infinity(0)))).toBe(IE);
    expect(flagsOf((c) => sine(c, infinity(0)))).toBe(IE);
    expect(yLogarithm(context(), zero(0), one)).toEqual(infinity(1));
    expect(yLogarithm(context(), half, infinity(0))).toEqual(infinity(1));
    expect(yLogarithm(context(), one, real(-3n))).toEqual(zero(1));
    expect(yLogarithm(context(), real(8n), two)).toEqual(real(6n));
    expect(angle(context(), one, zero(1))).toEqual(zero(1));
    expect(angle(context(), zero(1), zero(0)).significand).toBe(0xc90f_daa2_2168_c235n);
    expect(angle(context(), infinity(0), infinity(0))).toEqual(angle(context(), one, one));
  });
});
