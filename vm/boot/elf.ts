/**
 * ELF executables of both classes as kernels come in them (System V ABI, chapter 4 and 5, "ELF header"
 * and "program header"): loadable segments, notes and the entry point. All numbers are taken from outside,
 * so all are checked.
 */
import type { Gpa } from '../../devices/memory.ts';
import type { KernelImage } from './kernel-image.ts';
import type { LoadPlan } from './load-plan.ts';
import { hex } from './text.ts';

/** e_ident */
const MAGIC = 0x464c_457f;
const EI_CLASS = 4;
const EI_DATA = 5;
const CLASS_32 = 1;
const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;

const E_TYPE = 0x10;
const E_MACHINE = 0x12;
const ET_EXEC = 2;
const ET_DYN = 3;
const EM_386 = 3;
const EM_X86_64 = 62;

const PT_LOAD = 1;
const PT_NOTE = 4;
/** Kernels have a handful; more is nonsense, and would take long. */
const SEGMENTS_MAXIMUM = 256;

/** Offsets that differ by class. */
const LAYOUTS = {
  32: { entry: 0x18, phoff: 0x1c, phentsize: 0x2a, phnum: 0x2c, headerSize: 0x34, programHeaderSize: 0x20 },
  64: { entry: 0x18, phoff: 0x20, phentsize: 0x36, phnum: 0x38, headerSize: 0x40, programHeaderSize: 0x38 },
} as const;

/** A PT_LOAD segment. */
export interface ElfSegment {
  readonly virtual: number;
  readonly physical: Gpa;
  /** The bytes of it that are in the file. */
  readonly bytes: Uint8Array;
  /** In bytes; what the file does not have of it is zero. */
  readonly memorySize: number;
}

/** A PT_NOTE entry. */
export interface ElfNote {
  readonly name: string;
  readonly type: number;
  /** Little-endian, up to 8 bytes of it; undefined if it is no such number. */
  readonly number: number | undefined;
}

/** An ELF executable. */
export interface Elf {
  readonly bits: 32 | 64;
  /** As the file has it: e_entry, virtual or physical. */
  readonly entry: number;
  readonly segments: readonly ElfSegment[];
  readonly notes: readonly ElfNote[];
}

export function isElf(image: KernelImage): boolean {
  return image.has(0, 4) && image.u32(0, 'ELF magic') === MAGIC;
}

/** Reads and checks headers. @throws BootError */
export function parseElf(image: KernelImage): Elf {
  if (!isElf(image)) throw image.malformed('not an ELF file');
  const bits = elfClass(image);
  const layout = LAYOUTS[bits];
  const machine = image.u16(E_MACHINE, 'e_machine');
  if (machine !== EM_386 && machine !== EM_X86_64) {
    throw image.malformed(
      `an ELF file for another processor (e_machine ${machine})`,
      'Take a kernel built for x86 or x86-64.',
    );
  }
  const type = image.u16(E_TYPE, 'e_type');
  if (type !== ET_EXEC && type !== ET_DYN) {
    throw image.malformed(`an ELF file that isn't an executable (e_type ${type})`, 'Link it first.');
  }
  const word = bits === 64 ? image.u64.bind(image) : image.u32.bind(image);
  const phoff = word(layout.phoff, 'e_phoff');
  const phentsize = image.u16(layout.phentsize, 'e_phentsize');
  const phnum = image.u16(layout.phnum, 'e_phnum');
  if (phnum > 0 && phentsize < layout.programHeaderSize) {
    throw image.malformed(`its program headers have ${phentsize} bytes (e_phentsize), too few`);
  }
  if (phnum > SEGMENTS_MAXIMUM) throw image.malformed(`it has ${phnum} program headers (e_phnum), too many`);

  const segments: ElfSegment[] = [];
  const notes: ElfNote[] = [];
  for (let i = 0; i < phnum; i++) {
    const header = programHeader(image, bits, phoff + i * phentsize, i);
    if (header.type === PT_NOTE) {
      const bytes = image.slice(header.offset, header.fileSize, `notes (program header ${i})`);
      notes.push(...parseNotes(bytes, header.alignment));
    } else if (header.type === PT_LOAD && header.memorySize > 0) {
      segments.push(loadSegment(image, header, i));
    }
  }
  if (segments.length === 0) throw image.malformed('it has nothing to load (no PT_LOAD segment)');
  return { bits, entry: word(layout.entry, 'e_entry'), segments, notes };
}

/** Plans all segments at their physical addresses. @throws BootError when they can't be there */
export function planSegments(plan: LoadPlan, image: KernelImage, elf: Elf): void {
  elf.segments.forEach(({ physical, bytes, memorySize }, i) => {
    const what = `${image.name}, segment ${i}`;
    plan.put(what, physical, bytes);
    plan.clear(`${what} (zeros)`, physical + bytes.length, memorySize - bytes.length);
  });
}

/**
 * Where the entry point is in guest-physical memory. Linux' e_entry is a physical address already,
 * other kernels have it virtual.
 * @throws BootError when it is in no segment
 */
export function physicalEntry(image: KernelImage, elf: Elf): Gpa {
  const { entry, segments } = elf;
  const inside = (start: number, size: number): boolean => entry >= start && entry < start + size;
  if (segments.some((s) => inside(s.physical, s.memorySize))) return entry;
  const segment = segments.find((s) => inside(s.virtual, s.memorySize));
  if (segment === undefined)
    throw image.malformed(`its entry point ${hex(entry)} is in none of its segments`);
  return segment.physical + (entry - segment.virtual);
}

function elfClass(image: KernelImage): 32 | 64 {
  const elfClass = image.u8(EI_CLASS, 'EI_CLASS');
  if (elfClass !== CLASS_32 && elfClass !== CLASS_64) {
    throw image.malformed(`an ELF file of unknown class (EI_CLASS ${elfClass})`);
  }
  if (image.u8(EI_DATA, 'EI_DATA') !== LITTLE_ENDIAN)
    throw image.malformed('an ELF file that is not little-endian');
  const bits = elfClass === CLASS_64 ? 64 : 32;
  image.slice(0, LAYOUTS[bits].headerSize, 'ELF header');
  return bits;
}

interface ProgramHeader {
  readonly type: number;
  readonly offset: number;
  readonly virtual: number;
  readonly physical: number;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly alignment: number;
}

function programHeader(image: KernelImage, bits: 32 | 64, at: number, index: number): ProgramHeader {
  const { programHeaderSize } = LAYOUTS[bits];
  image.slice(at, programHeaderSize, `program header ${index}`);
  const u32 = (offset: number): number => image.u32(at + offset, `program header ${index}`);
  const u64 = (offset: number): number => image.u64(at + offset, `program header ${index}`);
  const type = u32(0);
  if (bits === 64) {
    return {
      type,
      offset: u64(0x08),
      virtual: u64(0x10),
      physical: u64(0x18),
      fileSize: u64(0x20),
      memorySize: u64(0x28),
      alignment: u64(0x30),
    };
  }
  return {
    type,
    offset: u32(0x04),
    virtual: u32(0x08),
    physical: u32(0x0c),
    fileSize: u32(0x10),
    memorySize: u32(0x14),
    alignment: u32(0x1c),
  };
}

function loadSegment(image: KernelImage, header: ProgramHeader, index: number): ElfSegment {
  const { offset, virtual, physical, fileSize, memorySize } = header;
  if (fileSize > memorySize) {
    throw image.malformed(
      `program header ${index} has more bytes in the file (p_filesz ${hex(fileSize)}) than in memory (p_memsz ${hex(memorySize)})`,
    );
  }
  return { virtual, physical, bytes: image.slice(offset, fileSize, `segment ${index}`), memorySize };
}

/** System V ABI, "note section". What doesn't fit into the segment is left out. */
function parseNotes(bytes: Uint8Array, segmentAlignment: number): ElfNote[] {
  const alignment = segmentAlignment === 8 ? 8 : 4;
  const align = (value: number): number => Math.ceil(value / alignment) * alignment;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const notes: ElfNote[] = [];
  const headerSize = 12;
  // Each turn moves on by a header at least.
  for (let at = 0; at + headerSize <= bytes.length; ) {
    const nameSize = view.getUint32(at, true);
    const size = view.getUint32(at + 4, true);
    const type = view.getUint32(at + 8, true);
    const nameAt = at + headerSize;
    const descriptor = align(nameAt + nameSize);
    if (descriptor + size > bytes.length) break;
    const name = String.fromCharCode(...bytes.subarray(nameAt, nameAt + Math.min(nameSize, 16))).replace(
      /\0.*$/s,
      '',
    );
    notes.push({ name, type, number: noteNumber(view, descriptor, size) });
    at = align(descriptor + size);
  }
  return notes;
}

function noteNumber(view: DataView, at: number, size: number): number | undefined {
  if (size === 4) return view.getUint32(at, true);
  if (size === 8) return Number(view.getBigUint64(at, true));
  return undefined;
}
