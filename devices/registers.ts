/**
 * Names of device registers and of their bits, for people: traces, debuggers and labs. A device says them
 * in a table laid out as in its manual; nothing that a guest can see depends on it.
 */

/** A bit of a register, or several next to one another. */
export interface BitField {
  /** The lowest bit's number. */
  readonly bit: number;
  /** How many bits it has; 1 for a flag. */
  readonly width: number;
  /** As the manual calls it. */
  readonly name: string;
}

/** A register as the manual has it. */
export interface Register {
  /** Where it is, counted as its device counts. */
  readonly offset: number;
  /** In bytes; 1 if absent. */
  readonly length?: number;
  readonly name: string;
  /** When it is there for reading or for writing only. */
  readonly only?: 'read' | 'write';
  /** For one of several registers at the same offset: it is meant when {@link BusDevice.selected} says this. */
  readonly selected?: number;
  /** Field of the device's saved state that holds its value, so that it can be looked at without being read. */
  readonly state?: string;
  /** Which number of that field, when it is a table; 0 if absent. */
  readonly stateIndex?: number;
  /** What its bits are called, lowest first. */
  readonly bits?: readonly BitField[];
  /** Whether its bytes are characters. */
  readonly text?: boolean;
  /** What a value that is written means, in few words; empty for nothing in particular. */
  meaning?(value: number): string;
}

/**
 * Bit names from a line as in a manual, lowest bit first: `DR OE - BI`. A field of several bits is written
 * `WLS:2`, what is reserved `-` or `-:3`.
 */
export function bitNames(line: string): readonly BitField[] {
  const fields: BitField[] = [];
  let bit = 0;
  for (const word of line.split(/\s+/)) {
    const [name = '', bits = '1'] = word.split(':');
    const width = Number(bits);
    if (name !== '-') fields.push({ bit, width, name });
    bit += width;
  }
  return fields;
}

/** The value of a field. Values may have up to 53 bits. */
export function fieldValue(value: number, field: BitField): number {
  return Math.floor(value / 2 ** field.bit) % 2 ** field.width;
}

/** A value by its bits' names: `DR THRE` for flags that are set, `WLS=3` for fields that aren't 0. */
export function describeBits(value: number, fields: readonly BitField[]): string {
  return fields
    .map((field) => ({ field, part: fieldValue(value, field) }))
    .filter(({ part }) => part !== 0)
    .map(({ field, part }) => (field.width === 1 ? field.name : `${field.name}=${part}`))
    .join(' ');
}

/**
 * The register that an access means.
 * @param selected - what the device's `selected()` said at that moment
 */
export function registerAt(
  registers: readonly Register[] | undefined,
  offset: number,
  isWrite: boolean,
  selected = 0,
): Register | undefined {
  let general: Register | undefined;
  for (const register of registers ?? []) {
    if (offset < register.offset || offset >= register.offset + (register.length ?? 1)) continue;
    if (register.only !== undefined && (register.only === 'write') !== isWrite) continue;
    if (register.selected === selected) return register;
    if (register.selected === undefined) general ??= register;
  }
  return general;
}

/** A register's name with the place in it, where an access begins in its middle. */
export function registerName(register: Register, offset: number): string {
  const inside = offset - register.offset;
  return inside === 0 ? register.name : `${register.name}+0x${inside.toString(16)}`;
}
