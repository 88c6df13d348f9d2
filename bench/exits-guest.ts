/**
 * The guest of the exit benchmarks: marks a moment on port 0xf5, writes a port many times, and marks
 * another. The same loop as in exits.c.
 */

/** Marks that the guest makes. */
export const START = 1;
export const END = 2;

/** Real-mode code, for a flat load at 0x7c00. @param count - 1 to 2³²−1 */
export function exitsGuest(port: number, count: number): Uint8Array {
  const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];
  return Uint8Array.from([
    ...[0xba, ...word(port)], // mov dx, port
    ...[0x66, 0xb9, ...word(count), ...word(count >>> 16)], // mov ecx, count
    ...[0xb0, START, 0xe6, 0xf5], // mov al, START; out 0xf5, al
    0xee, // again: out dx, al
    ...[0x66, 0x49, 0x75, 0xfb], // dec ecx; jnz again
    ...[0xb0, END, 0xe6, 0xf5], // mov al, END; out 0xf5, al
    ...[0xba, ...word(0x604), 0xb8, ...word(0x3400), 0xef, 0xf4], // ACPI power-off; hlt
  ]);
}
