/**
 * The labs, in the order in which to do them.
 */
import { device } from './device.ts';
import { exitCost } from './exit-cost.ts';
import { hello } from './hello.ts';
import { interrupts } from './interrupts.ts';
import { ipi } from './ipi.ts';
import type { Lab } from './lab.ts';
import { linux } from './linux.ts';
import { mmio } from './mmio.ts';
import { modes } from './modes.ts';
import { paging } from './paging.ts';
import { virtqueue } from './virtqueue.ts';

export const LABS: readonly Lab[] = [
  hello,
  modes,
  paging,
  interrupts,
  device,
  mmio,
  virtqueue,
  exitCost,
  ipi,
  linux,
];
