/**
 * Looking at a disk image before a machine is made of it: that it is there, is of a kind that can be a
 * disk, may be opened as asked, is not in use, and how large it is.
 */
import { accessSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs';
import { ConfigError } from '../errors.ts';
import { SECTOR_SIZE } from './backend.ts';

/**
 * Size of a raw image or block device in bytes. Bytes after the last whole sector can't be reached by a
 * guest, and are left as they are.
 * @throws ConfigError that says what is wrong with the file
 */
export function imageSize(path: string, readonly: boolean): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) {
    throw new ConfigError(`disk ${path}: no such file`, { hint: `Make one: truncate -s 1G ${path}` });
  }
  if (!stat.isFile() && !stat.isBlockDevice()) {
    throw new ConfigError(`disk ${path}: neither a file nor a block device`);
  }
  try {
    accessSync(path, readonly ? constants.R_OK : constants.R_OK | constants.W_OK);
  } catch {
    throw new ConfigError(`disk ${path}: permission denied`, {
      hint: readonly ? 'Check its permissions.' : 'Check its permissions, or attach it readonly.',
    });
  }
  const bytes = stat.isFile() ? stat.size : blockDeviceSize(path);
  const size = Math.floor(bytes / SECTOR_SIZE) * SECTOR_SIZE;
  if (size === 0) {
    throw new ConfigError(`disk ${path}: smaller than one sector of ${SECTOR_SIZE} bytes`, {
      hint: `Make it larger: truncate -s 1G ${path}`,
    });
  }
  return size;
}

/** Block devices have no size in stat(2): finds the last byte that can be read, by halving. */
function blockDeviceSize(path: string): number {
  const fd = openSync(path, 'r');
  try {
    const byte = new Uint8Array(1);
    const readable = (at: number): boolean => {
      try {
        return readSync(fd, byte, 0, 1, at) === 1;
      } catch {
        return false;
      }
    };
    let low = 0;
    let high = SECTOR_SIZE;
    while (high < Number.MAX_SAFE_INTEGER / 2 && readable(high - 1)) {
      low = high;
      high *= 2;
    }
    while (high - low > SECTOR_SIZE) {
      const middle = low + Math.floor((high - low) / 2 / SECTOR_SIZE) * SECTOR_SIZE;
      if (readable(middle - 1)) low = middle;
      else high = middle;
    }
    return low;
  } finally {
    closeSync(fd);
  }
}
