/**
 * Boots a guest in v86 and prints its serial port: a process of its own, as the other VMMs have.
 * Arguments: kernel, initial RAM disk, command line, BIOS, VGA BIOS, MiB of RAM.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { V86 } from 'v86';

const [kernel, initrd, cmdline, bios, vgaBios, memory] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string,
];

function image(path: string): { buffer: ArrayBuffer } {
  const bytes = readFileSync(path);
  return { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer };
}

const emulator = new V86({
  wasm_path: fileURLToPath(new URL('v86.wasm', import.meta.resolve('v86'))),
  memory_size: Number(memory) * 2 ** 20,
  bios: image(bios),
  vga_bios: image(vgaBios),
  bzimage: image(kernel),
  initrd: image(initrd),
  cmdline,
  disable_keyboard: true,
  disable_mouse: true,
  disable_speaker: true,
  autostart: true,
});

let line = '';
emulator.add_listener('serial0-output-byte', (byte: number) => {
  line += String.fromCharCode(byte);
  if (byte !== 10) return;
  process.stdout.write(line);
  // Without ACPI it has no way to switch itself off.
  if (line.startsWith('bench: done')) process.exit();
  line = '';
});
