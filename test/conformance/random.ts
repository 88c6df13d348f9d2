/**
 * Random numbers that a seed repeats, and values chosen to break arithmetic: the borders of every integer
 * size, and the special values of every floating-point format (SDM vol. 1, 4.8.3).
 */

/** xoshiro128** (Blackman, Vigna): fast, 32 bits at a time, the same everywhere. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    // SplitMix-like scrambling, so that neighbouring seeds give unrelated sequences.
    let state = seed >>> 0;
    const next = (): number => {
      state = (state + 0x9e37_79b9) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x85eb_ca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2_ae35);
      return (z ^ (z >>> 16)) >>> 0;
    };
    this.#a = next();
    this.#b = next();
    this.#c = next();
    this.#d = next() | 1;
  }

  /** 32 random bits. */
  u32(): number {
    const product = Math.imul(this.#b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const t = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    return Math.floor((this.u32() / 0x1_0000_0000) * limit);
  }

  /** True in `percent` of 100 calls. */
  chance(percent: number): boolean {
    return this.u32() < percent * 42_949_672.96;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** A 64-bit integer that is likely to be at some border, written to `words[at]` (low) and `words[at + 1]`. */
export function edgeInteger(random: Random, words: Uint32Array, at: number): void {
  let low = 0;
  let high = 0;
  const kind = random.below(16);
  if (kind >= 9) {
    low = random.u32();
    high = random.u32();
  } else if (kind === 0) {
    low = high = random.chance(50) ? -1 : 0;
  } else if (kind === 1) {
    // A small number, of either sign.
    low = random.below(256) - 128;
    high = low < 0 ? -1 : 0;
  } else if (kind <= 4) {
    // 2^n, or one less or one more; negated at times.
    const n = random.chance(60) ? random.pick([7, 8, 15, 16, 31, 32, 63]) : random.below(64);
    if (n < 32) low = 1 << n;
    else high = 1 << (n - 32);
    const delta = random.below(3) - 1;
    const sum = (low >>> 0) + delta;
    if (sum < 0) high -= 1;
    low = sum;
    if (random.chance(25)) {
      low = ~low;
      high = ~high;
    }
  } else if (kind === 5) {
    // The border of one size, random bits above it.
    const border = random.pick([0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff]);
    const keep = border > 0xff ? 0xffff : 0xff;
    low = (random.u32() & ~keep) | border;
    high = random.u32();
  } else if (kind === 6) {
    low = random.pick([0, -1, 0x7fff_ffff, -0x8000_0000]);
    high = random.u32();
  } else if (kind === 7) {
    // One byte all over: BCD digits, and equal elements for packed compares.
    low = high = Math.imul(random.below(256), 0x0101_0101);
  } else {
    low = random.below(0x1_0000);
  }
  words[at] = low;
  words[at + 1] = high;
}

/** A single-precision bit pattern. */
export function edgeSingle(random: Random): number {
  const sign = random.u32() & 0x8000_0000;
  switch (random.below(16)) {
    case 0:
      return sign;
    case 1:
      return sign | 0x7f80_0000;
    case 2:
      return sign | 0x7fc0_0000 | (random.chance(50) ? 0 : random.u32() & 0x3f_ffff);
    case 3:
      return sign | 0x7f80_0001 | (random.u32() & 0x3f_ffff);
    case 4:
      return sign | (random.chance(30) ? 1 : random.u32() & 0x7f_ffff);
    case 5:
      return (
        sign | random.pick([0x0080_0000, 0x7f7f_ffff, 0x007f_ffff, 0x3f80_0000, 0x3f80_0001, 0x3f7f_ffff])
      );
    case 6:
      // Near the borders of the integer types and halves.
      return (
        sign | random.pick([0x4f00_0000, 0x4eff_ffff, 0x5f00_0000, 0x5eff_ffff, 0x4b80_0000, 0x3f00_0000])
      );
    case 7:
    case 8:
      // A small integer, or one and a half.
      return singleBits((random.below(2048) - 1024) / random.pick([1, 2, 4]));
    case 9:
    case 10:
    case 11:
      // A common size, so that sums don't vanish and products don't overflow.
      return sign | ((random.below(48) + 103) << 23) | (random.u32() & 0x7f_ffff);
    case 12:
      return sign | ((random.below(12) + 120) << 23) | ((random.u32() & 7) << 20);
    case 13:
      // Near the smallest and the largest normal numbers.
      return (
        sign |
        ((random.chance(50) ? 1 + random.below(24) : 231 + random.below(24)) << 23) |
        (random.u32() & 0x7f_ffff)
      );
    default:
      return random.u32() | 0;
  }
}

const scratch = new DataView(new ArrayBuffer(16));

function singleBits(value: number): number {
  scratch.setFloat32(0, value, true);
  return scratch.getInt32(0, true);
}

/** A double-precision bit pattern, written to `words[at]` (low) and `words[at + 1]`. */
export function edgeDouble(random: Random, words: Uint32Array, at: number): void {
  const sign = random.u32() & 0x8000_0000;
  let high = sign;
  let low = 0;
  switch (random.below(16)) {
    case 0:
      break;
    case 1:
      high |= 0x7ff0_0000;
      break;
    case 2:
      high |= 0x7ff8_0000 | (random.chance(50) ? 0 : random.u32() & 0x7_ffff);
      low = random.chance(50) ? 0 : random.u32();
      break;
    case 3:
      high |= 0x7ff0_0000 | (random.u32() & 0x7_ffff);
      low = random.u32() | 1;
      break;
    case 4:
      high |= random.chance(30) ? 0 : random.u32() & 0xf_ffff;
      low = random.chance(30) ? 1 : random.u32();
      break;
    case 5:
      high |= random.pick([
        0x0010_0000, 0x7fef_ffff, 0x000f_ffff, 0x3ff0_0000, 0x3fef_ffff, 0x3810_0000, 0x47ef_ffff,
      ]);
      low = random.pick([0, 0, -1, 1, -0x2000_0000]);
      break;
    case 6:
      // Around 2^31, 2^32, 2^63 and one half.
      high |= random.pick([0x41e0_0000, 0x41df_ffff, 0x41f0_0000, 0x43e0_0000, 0x43df_ffff, 0x3fe0_0000]);
      low = random.pick([0, -1, -0x40_0000, 0x10_0000, -0x20_0000]);
      break;
    case 7:
    case 8:
      scratch.setFloat64(0, (random.below(2048) - 1024) / random.pick([1, 2, 4]), true);
      low = scratch.getInt32(0, true);
      high = scratch.getInt32(4, true);
      break;
    case 9:
    case 10:
    case 11:
      high |= ((random.below(128) + 959) << 20) | (random.u32() & 0xf_ffff);
      low = random.u32();
      break;
    case 12:
      // Exactly a single, or just beside one: rounding to the shorter format.
      high |= ((random.below(290) + 877) << 20) | (random.u32() & 0xf_ffff);
      low = (random.u32() & 0xe000_0000) | random.pick([0, 0x1000_0000, 0x0fff_ffff, 0x1000_0001]);
      break;
    case 13:
      high |=
        ((random.chance(50) ? 1 + random.below(54) : 1993 + random.below(54)) << 20) |
        (random.u32() & 0xf_ffff);
      low = random.u32();
      break;
    default:
      low = random.u32();
      high = random.u32();
  }
  words[at] = low;
  words[at + 1] = high;
}

/** A double-extended number: ten bytes into `bytes`. */
export function edgeExtended(random: Random, bytes: Uint8Array): void {
  let exponent = 16383;
  let high = 0x8000_0000;
  let low = 0;
  switch (random.below(20)) {
    case 0:
      exponent = high = 0;
      break;
    case 1:
      exponent = 0x7fff;
      break;
    case 2:
      exponent = 0x7fff;
      high = 0xc000_0000 | (random.chance(50) ? 0 : random.u32() >>> 2);
      low = random.chance(50) ? 0 : random.u32();
      break;
    case 3:
      exponent = 0x7fff;
      high = 0x8000_0000 | (random.u32() >>> 2);
      low = random.u32() | 1;
      break;
    case 4:
      exponent = 0;
      high = random.chance(40) ? 0 : random.u32() >>> 1;
      low = random.chance(30) ? 1 : random.u32();
      break;
    case 5:
      // Pseudo-denormal; and the encodings that are invalid: unnormal, pseudo-infinity, pseudo-NaN.
      exponent = random.pick([0, 0, 0x7fff, random.below(0x7fff)]);
      high = exponent === 0 ? random.u32() | 0x8000_0000 : random.u32() >>> 1;
      low = random.chance(50) ? 0 : random.u32();
      break;
    case 6:
      // The largest and smallest normal numbers of each format.
      exponent = random.pick([
        1,
        2,
        0x7ffe,
        0x7ffd,
        16383 + 127,
        16383 - 126,
        16383 - 127,
        16383 + 1023,
        16383 - 1022,
      ]);
      high = random.pick([0x8000_0000, 0xffff_ffff, 0xffff_ff00, 0xffff_ff80]);
      low = random.pick([0, 0xffff_ffff, 0xffff_f800, 0x400]);
      break;
    case 7:
    case 8: {
      // Around 2^n where n is an integer format's size, also by a half.
      exponent = 16383 + random.pick([14, 15, 30, 31, 62, 63, 64, 59]);
      high = random.pick([0x8000_0000, 0xffff_ffff, 0xfffe_0000, 0xffff_0000, 0xffff_8000, 0x8000_8000]);
      low = random.pick([0, 0xffff_ffff, 1, 0xffff_fffe, 0x8000_0000]);
      break;
    }
    case 9:
    case 10:
    case 11: {
      // A small integer, or one with a fraction in quarters.
      const n = 1 + random.below(4095);
      const bits = 32 - Math.clz32(n);
      exponent = 16383 + bits - 1 - random.pick([0, 0, 0, 1, 2]);
      high = (n << (32 - bits)) >>> 0;
      break;
    }
    case 12:
      // 1, and its neighbours; one half.
      exponent = random.pick([16383, 16382]);
      high = random.pick([0x8000_0000, 0xffff_ffff]);
      low = random.pick([0, 0xffff_ffff, 1]);
      break;
    case 13:
    case 14:
    case 15:
      exponent = 16383 - 40 + random.below(80);
      high = random.u32() | 0x8000_0000;
      low = random.u32();
      break;
    case 16:
      // Short significands: results are often exact, ties are common.
      exponent = 16383 - 4 + random.below(8);
      high = 0x8000_0000 | (random.below(256) << 23);
      low = random.pick([0, 0, 0x400, 0x800, 0xc00]);
      break;
    default:
      exponent = random.below(0x8000);
      high = random.u32() | 0x8000_0000;
      low = random.u32();
  }
  if (random.chance(50)) exponent |= 0x8000;
  bytes[0] = low;
  bytes[1] = low >>> 8;
  bytes[2] = low >>> 16;
  bytes[3] = low >>> 24;
  bytes[4] = high;
  bytes[5] = high >>> 8;
  bytes[6] = high >>> 16;
  bytes[7] = high >>> 24;
  bytes[8] = exponent;
  bytes[9] = exponent >>> 8;
}

/** An 18-digit packed decimal (FBLD); at times with digits above 9, whose meaning is undefined. */
export function edgeDecimal(random: Random, bytes: Uint8Array): void {
  const digits = random.below(19);
  for (let i = 0; i < 9; i++) {
    const low = 2 * i < digits ? random.below(10) : 0;
    const high = 2 * i + 1 < digits ? random.below(10) : 0;
    bytes[i] = low | (high << 4);
  }
  bytes[9] = random.chance(50) ? 0x80 : 0;
}
