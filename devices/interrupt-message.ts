/**
 * What travels between IOAPICs and local APICs: interrupt messages (Intel SDM volume 3A, 10.6.1 and 10.11).
 *
 * Each sender owns one {@link InterruptMessage} and fills it again for every interrupt, so that sending
 * allocates nothing; whoever receives it keeps no reference.
 */

/** How a message is delivered. SDM volume 3A, 10.6.1, bits 10:8 of the ICR and of redirection entries. */
export const DeliveryMode = {
  fixed: 0,
  lowestPriority: 1,
  smi: 2,
  nmi: 4,
  init: 5,
  startup: 6,
  extInt: 7,
} as const;

/** Who gets a message besides, or instead of, its destination. SDM volume 3A, 10.6.1, bits 19:18 of the ICR. */
export const Shorthand = { none: 0, self: 1, all: 2, allButSelf: 3 } as const;

/** One interrupt message. */
export class InterruptMessage {
  /** 0–255; for STARTUP the page number of the code. */
  vector = 0;
  /** One of {@link DeliveryMode}. */
  deliveryMode = 0;
  /** APIC id, or a set of logical ids. 0xff is everyone. */
  destination = 0;
  /** `destination` is logical (LDR and DFR), not an APIC id. */
  logical = false;
  /** The EOI of this interrupt is to be told to the IOAPICs. */
  levelTriggered = false;
  /** One of {@link Shorthand}; IOAPICs have none. */
  shorthand = 0;
}

/** Where an IOAPIC sends its messages. */
export interface MessageBus {
  send(message: InterruptMessage): void;
}
