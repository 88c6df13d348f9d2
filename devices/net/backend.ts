/**
 * The host's side of a network interface, as virtio-net sees it. Frames travel with their virtio_net_hdr
 * (12 bytes, virtio 1.2 section 5.1.6) in front.
 */
import type { BufferList } from '../virtio/buffers.ts';

export interface NetBackend {
  /** Becomes readable when frames wait. */
  readonly fd: number;
  /** Sends a frame, or drops it when the host can't take it, as a wire would. */
  send(buffers: BufferList): void;
  /** Receives a frame. @returns its length with header; 0 when none waits */
  receive(buffers: BufferList): number;
  /** The guest takes frames whose checksums are not filled in. */
  setChecksumOffload(accepted: boolean): void;
  close(): void;
}
