/**
 * What joins the APICs of a machine: carries interrupt messages from IOAPICs and local APICs to the local
 * APICs that they are meant for, and EOIs the other way (Intel SDM volume 3A, 10.6.2 and 10.8.5).
 *
 * It holds no state of its own: who gets a lowest-priority message follows from the registers and the vector.
 */
import { DeliveryMode, type InterruptMessage, type MessageBus, Shorthand } from './interrupt-message.ts';
import type { ApicBus, LocalApic } from './lapic.ts';

/** An interrupt controller that wants to know of the end of level-triggered interrupts: an IOAPIC. */
export interface EoiListener {
  eoi(vector: number): void;
}

/** The APICs of one machine. */
export class InterruptBus implements ApicBus, MessageBus {
  private readonly apics: LocalApic[] = [];
  private readonly ioapics: EoiListener[] = [];

  addLocalApic(apic: LocalApic): void {
    this.apics.push(apic);
  }

  addIoapic(ioapic: EoiListener): void {
    this.ioapics.push(ioapic);
  }

  /**
   * Hot path: delivers a message to whom it is for; without any such APIC it is lost.
   * @param from - the sender, if it is a local APIC
   */
  send(message: InterruptMessage, from?: LocalApic): void {
    if (message.deliveryMode === DeliveryMode.lowestPriority) {
      const apic = this.arbitrate(message, from);
      if (apic !== undefined) apic.accept(message.vector, message.levelTriggered);
      return;
    }
    const { apics } = this;
    for (let i = 0; i < apics.length; i++) {
      const apic = apics[i]!;
      if (reaches(message, apic, from)) deliver(message, apic);
    }
  }

  eoi(vector: number): void {
    const { ioapics } = this;
    for (let i = 0; i < ioapics.length; i++) ioapics[i]!.eoi(vector);
  }

  /**
   * Lowest priority: of the APICs that a message names, one with the lowest PPR. Among equals the vector decides,
   * so that interrupts spread over CPUs and yet each stays with its own. 10.6.2.4
   */
  private arbitrate(message: InterruptMessage, from: LocalApic | undefined): LocalApic | undefined {
    const { apics } = this;
    let lowest = 0x100;
    let equals = 0;
    for (let i = 0; i < apics.length; i++) {
      const apic = apics[i]!;
      if (!apic.softwareEnabled || !reaches(message, apic, from)) continue;
      const priority = apic.processorPriority;
      if (priority < lowest) {
        lowest = priority;
        equals = 1;
      } else if (priority === lowest) equals++;
    }
    if (equals === 0) return undefined;
    let turn = message.vector % equals;
    for (let i = 0; i < apics.length; i++) {
      const apic = apics[i]!;
      if (!apic.softwareEnabled || apic.processorPriority !== lowest || !reaches(message, apic, from)) {
        continue;
      }
      if (turn-- === 0) return apic;
    }
    return undefined;
  }
}

function reaches(message: InterruptMessage, apic: LocalApic, from: LocalApic | undefined): boolean {
  switch (message.shorthand) {
    case Shorthand.none:
      return apic.matches(message.destination, message.logical);
    case Shorthand.self:
      return apic === from;
    case Shorthand.all:
      return apic.enabled;
    default:
      return apic !== from && apic.enabled;
  }
}

function deliver(message: InterruptMessage, apic: LocalApic): void {
  switch (message.deliveryMode) {
    case DeliveryMode.fixed:
      apic.accept(message.vector, message.levelTriggered);
      return;
    case DeliveryMode.nmi:
      apic.signals.nmi();
      return;
    case DeliveryMode.init:
      apic.initialize();
      apic.signals.init();
      return;
    case DeliveryMode.startup:
      apic.signals.startup(message.vector);
      return;
    case DeliveryMode.extInt:
      // Whether the PIC has something for it, the CPU asks the PIC.
      apic.signals.interruptPending();
      return;
    default:
      // SMI and remote read: there is no system management mode, and remote read is long gone.
      return;
  }
}
