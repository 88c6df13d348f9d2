/** What two CPUs have in common, and what not. */
import { describe, expect, it } from 'vitest';
import { cpuidLeaves, missingFeatures, withoutFeatures } from './cpuid.ts';

const ours = cpuidLeaves({ index: 0, cpus: 1, long: true });
const change = (leaf: number, register: 'ebx' | 'ecx' | 'edx', value: (old: number) => number) =>
  ours.map((entry) =>
    entry.function === leaf ? { ...entry, [register]: value(entry[register]) >>> 0 } : entry,
  );

describe('CPUID', () => {
  it('names what another CPU lacks, and not what promises nothing', () => {
    expect(missingFeatures(ours, ours)).toEqual([]);
    const less = change(7, 'ebx', (ebx) => ebx & ~(1 << 18));
    expect(missingFeatures(ours, less)).toEqual(['CPUID.07H:EBX[18]']);
    expect(missingFeatures(less, ours)).toEqual([]);
    // The hypervisor's bit and HTT.
    expect(
      missingFeatures(
        change(1, 'ecx', (ecx) => ecx | (1 << 31)),
        [],
      ),
    ).not.toContain('CPUID.01H:ECX[31]');
    expect(
      missingFeatures(
        change(1, 'edx', (edx) => edx | (1 << 28)),
        ours,
      ),
    ).toEqual([]);
  });

  it('leaves out what another CPU lacks', () => {
    const other = change(0x8000_0001, 'edx', (edx) => edx & ~(1 << 27));
    const common = withoutFeatures(ours, other);
    expect(common).toEqual(other);
    expect(missingFeatures(common, other)).toEqual([]);
    // Who makes it, and how many bits addresses have, are no features.
    expect(withoutFeatures(ours, []).find((leaf) => leaf.function === 0)).toEqual(ours[0]);
  });
});
