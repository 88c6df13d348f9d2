/**
 * Which interrupts a local APIC holds: requested (IRR), in service (ISR), level-triggered (TMR), and which of
 * them the CPU is to take next, by priority (Intel SDM volume 3A, 10.8.3 and 10.8.4).
 *
 * The answer is worked out whenever one of these registers or TPR changes, so that the CPU, which asks far more
 * often than they change, reads one word.
 */
import { LAPIC_LAYOUT } from './lapic-registers.ts';
import type { DeviceState } from './state.ts';

const {
  enabled: ENABLED,
  tpr: TPR,
  ppr: PPR,
  pending: PENDING,
  isr: ISR,
  tmr: TMR,
  irr: IRR,
} = LAPIC_LAYOUT.word;

/** The priority class of a vector or of TPR: bits 7:4. 10.8.3 */
const CLASS = 0xf0;

/** The vectors of one local APIC, over that APIC's state. */
export class LapicVectors {
  private readonly words: Int32Array;
  private readonly signals: { interruptPending(): void };

  constructor(state: DeviceState, signals: { interruptPending(): void }) {
    this.words = state.words;
    this.signals = signals;
  }

  /** An interrupt is accepted. */
  request(vector: number, levelTriggered: boolean): void {
    const { words } = this;
    setBit(words, IRR, vector);
    if (levelTriggered) setBit(words, TMR, vector);
    else clearBit(words, TMR, vector);
    this.update();
  }

  /** The pending interrupt goes into service. @returns its vector, or −1 when there is none */
  take(): number {
    const { words } = this;
    const vector = words[PENDING]!;
    if (vector < 0) return -1;
    clearBit(words, IRR, vector);
    setBit(words, ISR, vector);
    this.update();
    return vector;
  }

  /** The interrupt in service with the highest vector ends. @returns its vector, or −1 when there is none. 10.8.5 */
  end(): number {
    const { words } = this;
    const vector = highestBit(words, ISR);
    if (vector < 0) return -1;
    clearBit(words, ISR, vector);
    this.update();
    return vector;
  }

  /** Whether the interrupt was accepted as level-triggered. */
  isLevelTriggered(vector: number): boolean {
    return (this.words[TMR + (vector >>> 5)]! & (1 << (vector & 31))) !== 0;
  }

  /** APR. 10.6.2.4 */
  arbitrationPriority(): number {
    const { words } = this;
    const tpr = words[TPR]!;
    const requested = Math.max(highestBit(words, IRR), 0) & CLASS;
    const inService = Math.max(highestBit(words, ISR), 0) & CLASS;
    if ((tpr & CLASS) >= requested && (tpr & CLASS) > inService) return tpr;
    return Math.max(tpr & CLASS, requested, inService);
  }

  /** Hot path. Works out PPR (10.8.3.1) and what is pending, and tells the CPU of it. */
  update(): void {
    const { words } = this;
    const tpr = words[TPR]!;
    const inService = Math.max(highestBit(words, ISR), 0) & CLASS;
    const ppr = inService > (tpr & CLASS) ? inService : tpr;
    const requested = highestBit(words, IRR);
    words[PPR] = ppr;
    if (requested >= 0 && (requested & CLASS) > (ppr & CLASS) && words[ENABLED] !== 0) {
      words[PENDING] = requested;
      this.signals.interruptPending();
    } else {
      words[PENDING] = -1;
    }
  }
}

/** The greatest vector in a table of 256 bits, or −1. */
function highestBit(words: Int32Array, table: number): number {
  for (let i = 7; i >= 0; i--) {
    const word = words[table + i]!;
    if (word !== 0) return i * 32 + 31 - Math.clz32(word);
  }
  return -1;
}

function setBit(words: Int32Array, table: number, vector: number): void {
  const at = table + (vector >>> 5);
  words[at] = words[at]! | (1 << (vector & 31));
}

function clearBit(words: Int32Array, table: number, vector: number): void {
  const at = table + (vector >>> 5);
  words[at] = words[at]! & ~(1 << (vector & 31));
}
