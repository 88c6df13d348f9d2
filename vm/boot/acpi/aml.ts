/**
 * A small builder of AML, the byte code of ACPI namespaces (ACPI 6.5, section 20.2): enough for a DSDT
 * that only declares what the machine has. Every function returns the bytes of one term; terms nest by
 * being passed on. Resource descriptors are in resources.ts.
 */

/** The bytes of one AML term. */
export type Aml = Uint8Array;

/** Opcodes. 20.3. */
const ZERO_OP = 0x00;
const ONE_OP = 0x01;
const NAME_OP = 0x08;
const BYTE_PREFIX = 0x0a;
const WORD_PREFIX = 0x0b;
const DWORD_PREFIX = 0x0c;
const STRING_PREFIX = 0x0d;
const SCOPE_OP = 0x10;
const BUFFER_OP = 0x11;
const PACKAGE_OP = 0x12;
const EXTENDED_PREFIX = 0x5b;
const DEVICE_OP = 0x82;
const DUAL_NAME_PREFIX = 0x2e;
const MULTI_NAME_PREFIX = 0x2f;

const NAME_SEGMENT = 4;

/** `Name (path, value)`. 20.2.5.1 */
export function name(path: string, value: Aml): Aml {
  return concat([NAME_OP], nameString(path), value);
}

/** `Scope (path) { terms }`. 20.2.5.1 */
export function scope(path: string, ...terms: Aml[]): Aml {
  return concat([SCOPE_OP], withLength(nameString(path), ...terms));
}

/** `Device (path) { terms }`. 20.2.5.2 */
export function device(path: string, ...terms: Aml[]): Aml {
  return concat([EXTENDED_PREFIX, DEVICE_OP], withLength(nameString(path), ...terms));
}

/** `Package () { elements }`, at most 255 of them. 20.2.5.4 */
export function packageOf(...elements: Aml[]): Aml {
  return concat([PACKAGE_OP], withLength([elements.length], ...elements));
}

/** `Buffer () { bytes }`. 20.2.5.4 */
export function buffer(bytes: Uint8Array): Aml {
  return concat([BUFFER_OP], withLength(integer(bytes.length), bytes));
}

/** An integer of at most 32 bits, in its shortest form. 20.2.3 */
export function integer(value: number): Aml {
  if (value === 0) return Uint8Array.of(ZERO_OP);
  if (value === 1) return Uint8Array.of(ONE_OP);
  if (value < 2 ** 8) return Uint8Array.of(BYTE_PREFIX, value);
  if (value < 2 ** 16) return concat([WORD_PREFIX], littleEndian(value, 2));
  return concat([DWORD_PREFIX], littleEndian(value, 4));
}

/** An ASCII string. 20.2.3 */
export function string(text: string): Aml {
  return concat([STRING_PREFIX], ascii(text), [0]);
}

/** A plug-and-play id such as `PNP0501`, compressed to 32 bits. 19.6.36 */
export function eisaId(id: string): Aml {
  const letter = (i: number): number => id.charCodeAt(i) - 0x40;
  const vendor = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  const product = Number.parseInt(id.slice(3), 16);
  return concat([DWORD_PREFIX], [vendor >> 8, vendor & 0xff, product >> 8, product & 0xff]);
}

/**
 * A path such as `\_SB.COM1`: segments of up to four characters, filled up with `_`. 20.2.2
 * @throws RangeError when a segment is no name
 */
export function nameString(path: string): Aml {
  const root = path.startsWith('\\') ? '\\' : '';
  const segments = path.slice(root.length).split('.');
  for (const segment of segments) {
    if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(segment))
      throw new RangeError(`"${segment}" is not an ACPI name segment`);
  }
  const names = ascii(segments.map((segment) => segment.padEnd(NAME_SEGMENT, '_')).join(''));
  if (segments.length === 1) return concat(ascii(root), names);
  if (segments.length === 2) return concat(ascii(root), [DUAL_NAME_PREFIX], names);
  return concat(ascii(root), [MULTI_NAME_PREFIX, segments.length], names);
}

/** Puts PkgLength, which counts itself, before what it measures. 20.2.4 */
function withLength(...parts: (Aml | number[])[]): Aml {
  const body = concat(...parts);
  // One byte holds 6 bits; with 1 to 3 more bytes the first holds 4 bits and their number.
  if (body.length + 1 < 2 ** 6) return concat([body.length + 1], body);
  let extra = 1;
  while (body.length + 1 + extra >= 2 ** (4 + 8 * extra)) extra++;
  const length = body.length + 1 + extra;
  return concat([(extra << 6) | (length & 0x0f)], littleEndian(length >>> 4, extra), body);
}

/** Bytes one after the other. */
export function concat(...parts: (Uint8Array | number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** The lowest `count` bytes of a number, low byte first. */
export function littleEndian(value: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.floor(value / 2 ** (8 * i)) % 256);
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
