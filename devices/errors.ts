/**
 * Errors that are meant for the person who uses Type2: what went wrong, where, and what to do.
 * Whatever the guest does wrong is never one of these.
 */

/** Base of all errors that Type2 throws on purpose. */
export class Type2Error extends Error {
  /** The class's name. */
  override readonly name: string = 'Type2Error';
  /** Stable, for programs: for example `KERNEL_FORMAT`, `KVM_IOCTL`, `CONFIG`. */
  readonly code: string;
  /** What the user can do about it, as a sentence; undefined when the message says all. */
  readonly hint: string | undefined;

  /** The message is one line for the user; `options` may add what to do, and what the error comes from. */
  constructor(code: string, message: string, options?: { hint?: string; cause?: unknown }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options?.hint;
  }
}

/** The configuration (flags, JSON file or API) is wrong; nothing was started. */
export class ConfigError extends Type2Error {
  /** `ConfigError`. */
  override readonly name = 'ConfigError';
  /** The message is one line for the user; `options` may add what to do, and what the error comes from. */
  constructor(message: string, options?: { hint?: string; cause?: unknown }) {
    super('CONFIG', message, options);
  }
}

/** The host refused something: a file, a device, a system call. */
export class HostError extends Type2Error {
  /** `HostError`. */
  override readonly name = 'HostError';
}
