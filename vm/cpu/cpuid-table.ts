/**
 * The CPUID leaves of each vCPU, in memory that both threads of the engine see: the CPU's own, unless a guest has come
 * from elsewhere with what it was promised there.
 */
import type { CpuidLeaf } from '../cpuid.ts';

/** As many as KVM_SET_CPUID2 takes. */
const LEAVES_MAXIMUM = 256;
const FIELDS = ['function', 'index', 'flags', 'eax', 'ebx', 'ecx', 'edx'] as const;
/** A vCPU's count of leaves, then the leaves. */
const WORDS = 1 + LEAVES_MAXIMUM * FIELDS.length;
const INDEX_COUNTS = 1;

export class CpuidTable {
  private readonly words: Uint32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Uint32Array(buffer);
  }

  static buffer(cpus: number): SharedArrayBuffer {
    return new SharedArrayBuffer(cpus * WORDS * 4);
  }

  set(cpu: number, leaves: readonly CpuidLeaf[]): void {
    const kept = leaves.slice(0, LEAVES_MAXIMUM);
    this.words[cpu * WORDS] = kept.length;
    kept.forEach((leaf, i) => {
      FIELDS.forEach((field, j) => {
        this.words[cpu * WORDS + 1 + i * FIELDS.length + j] = leaf[field];
      });
    });
  }

  get(cpu: number): CpuidLeaf[] {
    return Array.from({ length: this.words[cpu * WORDS]! }, (_, i) => {
      const at = cpu * WORDS + 1 + i * FIELDS.length;
      return Object.fromEntries(
        FIELDS.map((field, j) => [field, this.words[at + j]!]),
      ) as unknown as CpuidLeaf;
    });
  }

  /** EAX, EBX, ECX and EDX of a leaf; zeroes for one that isn't there. */
  lookup(cpu: number, leaf: number, index: number): readonly [number, number, number, number] {
    const { words } = this;
    let at = cpu * WORDS + 1;
    for (let left = words[cpu * WORDS]!; left > 0; left--, at += FIELDS.length) {
      if (words[at] !== leaf || (words[at + 2]! & INDEX_COUNTS && words[at + 1] !== index)) continue;
      return [words[at + 3]! | 0, words[at + 4]! | 0, words[at + 5]! | 0, words[at + 6]! | 0];
    }
    return [0, 0, 0, 0];
  }
}
