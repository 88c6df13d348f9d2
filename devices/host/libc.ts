/**
 * The C library by FFI: the one door through which Type2 makes system calls that Node.js has not.
 *
 * Every function here takes and gives plain numbers. Pointers are passed as numbers too
 * ({@link HostAddress}): koffi then marshals nothing, and a call costs some 50 ns more than from C.
 * Structures are built in memory from {@link nativeBuffer}, whose address never changes.
 *
 * Only Linux has what is used here. Importing this module fails where koffi is absent, so whatever must
 * run without FFI (the TypeScript CPU) never imports it, even indirectly; see .dependency-cruiser.mjs.
 */
import koffi from 'koffi';
import { HostError } from '../errors.ts';
import type { HostAddress } from '../memory.ts';

const lib = koffi.load(null);

/** Opens a file. @returns a descriptor, or −1 with {@link errno} */
export const open: (path: string, flags: number) => number = lib.func(
  'int open(const char *path, int flags)',
);
export const close: (fd: number) => number = lib.func('int close(int fd)');

/** ioctl(2) with an integer or the address of a structure. */
export const ioctl: (fd: number, request: number, argument: number) => number = lib.func(
  'int ioctl(int fd, unsigned long request, uintptr_t argument)',
);

/**
 * ioctl(2) without its result, for one that tells in another way whether it failed: what a result costs on its way
 * to JavaScript is saved. {@link errno} is set as ever.
 * Hot path: `KVM_RUN` goes through here.
 */
export const ioctlBlind: (fd: number, request: number, argument: number) => void = lib.func(
  'void ioctl(int fd, int request, int argument)',
);

export const read: (fd: number, address: HostAddress, length: number) => number = lib.func(
  'long read(int fd, uintptr_t buffer, size_t length)',
);
export const write: (fd: number, address: HostAddress, length: number) => number = lib.func(
  'long write(int fd, uintptr_t buffer, size_t length)',
);
/** `iov` is the address of `count` iovec structures of two 64-bit words: base, length. */
export const readv: (fd: number, iov: HostAddress, count: number) => number = lib.func(
  'long readv(int fd, uintptr_t iov, int count)',
);
export const writev: (fd: number, iov: HostAddress, count: number) => number = lib.func(
  'long writev(int fd, uintptr_t iov, int count)',
);
export const preadv: (fd: number, iov: HostAddress, count: number, offset: number) => number = lib.func(
  'long preadv(int fd, uintptr_t iov, int count, int64_t offset)',
);
export const pwritev: (fd: number, iov: HostAddress, count: number, offset: number) => number = lib.func(
  'long pwritev(int fd, uintptr_t iov, int count, int64_t offset)',
);
export const fdatasync: (fd: number) => number = lib.func('int fdatasync(int fd)');
export const fallocate: (fd: number, mode: number, offset: number, length: number) => number = lib.func(
  'int fallocate(int fd, int mode, int64_t offset, int64_t length)',
);
export const flock: (fd: number, operation: number) => number = lib.func('int flock(int fd, int operation)');

const mmapRaw: (
  address: number,
  length: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => number = lib.func(
  'uintptr_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)',
);
export const munmap: (address: HostAddress, length: number) => number = lib.func(
  'int munmap(uintptr_t address, size_t length)',
);
export const madvise: (address: HostAddress, length: number, advice: number) => number = lib.func(
  'int madvise(uintptr_t address, size_t length, int advice)',
);

/** A counter to wait for (eventfd(2)). @param flags - {@link EFD_NONBLOCK}, {@link EFD_CLOEXEC} */
export const eventfd: (initial: number, flags: number) => number = lib.func(
  'int eventfd(unsigned int initial, int flags)',
);
export const epoll_create1: (flags: number) => number = lib.func('int epoll_create1(int flags)');
/** `event` is the address of a packed epoll_event: u32 events, u64 data. */
export const epoll_ctl: (epfd: number, operation: number, fd: number, event: HostAddress) => number =
  lib.func('int epoll_ctl(int epfd, int operation, int fd, uintptr_t event)');
/** Blocks up to `timeout` milliseconds (−1: for ever). Hot path of the device thread. */
export const epoll_wait: (epfd: number, events: HostAddress, maximum: number, timeout: number) => number =
  lib.func('int epoll_wait(int epfd, uintptr_t events, int maximum, int timeout)');

/** `action` is the address of a struct sigaction, 0 for none. */
export const sigaction: (signal: number, action: number, old: number) => number = lib.func(
  'int sigaction(int signal, uintptr_t action, uintptr_t old)',
);
/** Address of a function of the process. @param handle - 0 for any that is loaded. @returns 0 if there is none */
export const dlsym: (handle: number, name: string) => number = lib.func(
  'uintptr_t dlsym(uintptr_t handle, const char *name)',
);
/** @param how - {@link SIG_UNBLOCK}; the sets are addresses of a 64-bit mask, 0 for none. @returns an errno, not −1 */
export const pthread_sigmask: (how: number, set: number, old: number) => number = lib.func(
  'int pthread_sigmask(int how, uintptr_t set, uintptr_t old)',
);

/** A system call that the C library has no function for. x86-64 numbers: see {@link SYS}. */
export const syscall: (number: number, a: number, b: number, c: number, d: number) => number = lib.func(
  'long syscall(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)',
);

export const SYS = { gettid: 186, tgkill: 234 } as const;

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;
export const MADV_HUGEPAGE = 14;
export const MADV_DONTNEED = 4;
export const EFD_NONBLOCK = O_NONBLOCK;
export const EFD_CLOEXEC = O_CLOEXEC;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const EPOLLIN = 0x001;
export const SIG_UNBLOCK = 1;
export const SA_RESTART = 0x1000_0000;
export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;

/** The error number of the last call that failed on this thread. */
export function errno(): number {
  return koffi.errno();
}

const errnoNames = new Map(Object.entries(koffi.os.errno).map(([name, value]) => [value, name]));

/** Error numbers by name, as <errno.h> has them. */
export const Errno: Readonly<Record<string, number>> = koffi.os.errno;

/** `EPERM` for 1, and so on. */
export function errnoName(code: number): string {
  return errnoNames.get(code) ?? `errno ${code}`;
}

/**
 * An error for a system call that failed.
 * @param call - what was tried, for example `open /dev/net/tun`
 */
export function systemError(call: string, code: number, hint?: string): HostError {
  const options = hint === undefined ? {} : { hint };
  return new HostError(errnoName(code), `${call}: ${errnoName(code)}`, options);
}

/** Throws for a negative result, and gives any other back. @throws HostError */
export function check(result: number, call: string, hint?: string): number {
  if (result < 0) throw systemError(call, errno(), hint);
  return result;
}

/**
 * Maps memory.
 * @param fd - −1 for anonymous memory
 * @throws HostError
 */
export function mmap(length: number, protection: number, flags: number, fd: number, offset = 0): HostAddress {
  const address = mmapRaw(0, length, protection, flags, fd, offset);
  // MAP_FAILED is (void *)−1, which comes back as 2⁶⁴−1.
  if (address > Number.MAX_SAFE_INTEGER) {
    throw systemError(`mmap of ${length} bytes`, errno(), 'Ask for less --memory, or free some.');
  }
  return address as HostAddress;
}

/**
 * The bytes at an address of this process, not a copy. The caller sees to it that they stay mapped for
 * as long as the buffer is used.
 */
export function bytesAt(address: HostAddress, length: number): ArrayBuffer {
  return koffi.view(BigInt(address), length);
}

/** Memory outside the JavaScript heap, at an address that never changes. */
export interface NativeBuffer {
  readonly address: HostAddress;
  readonly length: number;
  readonly u8: Uint8Array;
  readonly data: DataView;
  free(): void;
}

/** Zeroed memory for structures that system calls read and write. @param length - in bytes; whole pages are taken */
export function nativeBuffer(length: number): NativeBuffer {
  const address = mmap(length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  const bytes = bytesAt(address, length);
  const buffer: NativeBuffer = {
    address,
    length,
    u8: new Uint8Array(bytes),
    data: new DataView(bytes),
    free: () => {
      if (live.delete(buffer)) munmap(address, length);
    },
  };
  live.add(buffer);
  return buffer;
}

/** Buffers that this thread has made and not freed. */
const live = new Set<NativeBuffer>();

/** Frees all that {@link nativeBuffer} has made on this thread: the last thing that a worker thread does. */
export function freeNativeBuffers(): void {
  for (const buffer of live) buffer.free();
}
