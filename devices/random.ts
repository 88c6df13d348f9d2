/** Random numbers of the host. */
import type * as Crypto from 'node:crypto';
import { createRequire } from 'node:module';

let crypto: typeof Crypto | undefined;

/** Fills bytes, in shared memory too. Node's cryptography is loaded at the first call: many guests start without. */
export function fillRandom(bytes: Uint8Array): void {
  crypto ??= createRequire(import.meta.url)('node:crypto') as typeof Crypto;
  crypto.randomFillSync(bytes);
}
