/** How the loaders' messages print numbers. */

/** An address, as in `0x100000`. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** A size for people, rounded up: `300 MiB`, `12 KiB`, `7 bytes`. */
export function mebibytes(bytes: number): string {
  if (bytes < 2 ** 10) return `${bytes} bytes`;
  if (bytes < 2 ** 20) return `${Math.ceil(bytes / 2 ** 10)} KiB`;
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
