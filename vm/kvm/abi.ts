/**
 * The binary interface of Linux KVM on x86-64: ioctl numbers, structure layouts and constants, as
 * <linux/kvm.h> and <asm/kvm.h> define them (Documentation/virt/kvm/api.rst). All of them are here and
 * nowhere else; abi.test.ts compiles a C program that compares every number with the headers.
 */

const KVMIO = 0xae;
const NONE = 0;
const WRITE = 1;
const READ = 2;

/** ioctl numbers as asm-generic/ioctl.h packs them: direction, size, type, number. */
function ioctlNumber(direction: number, number: number, size: number): number {
  return direction * 2 ** 30 + size * 2 ** 16 + KVMIO * 2 ** 8 + number;
}

type Field = 'u8' | 'u16' | 'u32' | 'u64' | { readonly bytes: number; readonly align: number };

/** A C structure: where each field is, and how long the whole is. */
export interface Struct<F extends string = string> {
  readonly size: number;
  readonly offset: Readonly<Record<F, number>>;
}

const WIDTH = { u8: 1, u16: 2, u32: 4, u64: 8 } as const;

/** Lays fields out as the x86-64 ABI does: each at the next multiple of its alignment. */
function struct<const F extends Readonly<Record<string, Field>>>(
  fields: F,
): Struct<Extract<keyof F, string>> {
  const offset: Record<string, number> = {};
  let next = 0;
  let alignment = 1;
  for (const [name, field] of Object.entries(fields)) {
    const bytes = typeof field === 'string' ? WIDTH[field] : field.bytes;
    const align = typeof field === 'string' ? WIDTH[field] : field.align;
    next = Math.ceil(next / align) * align;
    offset[name] = next;
    next += bytes;
    alignment = Math.max(alignment, align);
  }
  return {
    size: Math.ceil(next / alignment) * alignment,
    offset: offset as Record<Extract<keyof F, string>, number>,
  };
}

function array(element: Struct | Exclude<Field, object>, count: number): Field {
  if (typeof element === 'string') return { bytes: WIDTH[element] * count, align: WIDTH[element] };
  return { bytes: element.size * count, align: 8 };
}

function nested(inner: Struct, align = 8): Field {
  return { bytes: inner.size, align };
}

export const kvm_userspace_memory_region = struct({
  slot: 'u32',
  flags: 'u32',
  guest_phys_addr: 'u64',
  memory_size: 'u64',
  userspace_addr: 'u64',
});

export const kvm_regs = struct({
  rax: 'u64',
  rbx: 'u64',
  rcx: 'u64',
  rdx: 'u64',
  rsi: 'u64',
  rdi: 'u64',
  rsp: 'u64',
  rbp: 'u64',
  r8: 'u64',
  r9: 'u64',
  r10: 'u64',
  r11: 'u64',
  r12: 'u64',
  r13: 'u64',
  r14: 'u64',
  r15: 'u64',
  rip: 'u64',
  rflags: 'u64',
});

export const kvm_segment = struct({
  base: 'u64',
  limit: 'u32',
  selector: 'u16',
  type: 'u8',
  present: 'u8',
  dpl: 'u8',
  db: 'u8',
  s: 'u8',
  l: 'u8',
  g: 'u8',
  avl: 'u8',
  unusable: 'u8',
  padding: 'u8',
});

export const kvm_dtable = struct({ base: 'u64', limit: 'u16', padding: array('u16', 3) });

export const kvm_sregs = struct({
  cs: nested(kvm_segment),
  ds: nested(kvm_segment),
  es: nested(kvm_segment),
  fs: nested(kvm_segment),
  gs: nested(kvm_segment),
  ss: nested(kvm_segment),
  tr: nested(kvm_segment),
  ldt: nested(kvm_segment),
  gdt: nested(kvm_dtable),
  idt: nested(kvm_dtable),
  cr0: 'u64',
  cr2: 'u64',
  cr3: 'u64',
  cr4: 'u64',
  cr8: 'u64',
  efer: 'u64',
  apic_base: 'u64',
  interrupt_bitmap: array('u64', 4),
});

/** The head of `struct kvm_run`, shared by all exit reasons; the union starts at `union`. */
export const kvm_run = struct({
  request_interrupt_window: 'u8',
  immediate_exit: 'u8',
  padding1: array('u8', 6),
  exit_reason: 'u32',
  ready_for_interrupt_injection: 'u8',
  if_flag: 'u8',
  flags: 'u16',
  cr8: 'u64',
  apic_base: 'u64',
  union: { bytes: 256, align: 8 },
  kvm_valid_regs: 'u64',
  kvm_dirty_regs: 'u64',
});

const UNION = kvm_run.offset.union;

/** Members of kvm_run's union, as offsets from the start of kvm_run. */
export const kvm_run_exit = {
  hw: { hardware_exit_reason: UNION },
  fail_entry: { hardware_entry_failure_reason: UNION, cpu: UNION + 8 },
  ex: { exception: UNION, error_code: UNION + 4 },
  io: { direction: UNION, size: UNION + 1, port: UNION + 2, count: UNION + 4, data_offset: UNION + 8 },
  debug: { exception: UNION, pc: UNION + 8, dr6: UNION + 16, dr7: UNION + 24 },
  mmio: { phys_addr: UNION, data: UNION + 8, len: UNION + 16, is_write: UNION + 20 },
  hypercall: { nr: UNION, args: UNION + 8, ret: UNION + 56 },
  internal: { suberror: UNION, ndata: UNION + 4, data: UNION + 8 },
  system_event: { type: UNION, ndata: UNION + 4, data: UNION + 8 },
} as const;

export const kvm_cpuid2 = struct({ nent: 'u32', padding: 'u32' });
export const kvm_cpuid_entry2 = struct({
  function: 'u32',
  index: 'u32',
  flags: 'u32',
  eax: 'u32',
  ebx: 'u32',
  ecx: 'u32',
  edx: 'u32',
  padding: array('u32', 3),
});

export const kvm_msrs = struct({ nmsrs: 'u32', pad: 'u32' });
export const kvm_msr_entry = struct({ index: 'u32', reserved: 'u32', data: 'u64' });
export const kvm_msr_list = struct({ nmsrs: 'u32' });

export const kvm_pit_config = struct({ flags: 'u32', pad: array('u32', 15) });
export const kvm_irq_level = struct({ irq: 'u32', level: 'u32' });
export const kvm_irqfd = struct({
  fd: 'u32',
  gsi: 'u32',
  flags: 'u32',
  resamplefd: 'u32',
  pad: array('u8', 16),
});
export const kvm_ioeventfd = struct({
  datamatch: 'u64',
  addr: 'u64',
  len: 'u32',
  fd: 'u32',
  flags: 'u32',
  pad: array('u8', 36),
});
export const kvm_irq_routing = struct({ nr: 'u32', flags: 'u32' });
/** `irqchip` and `pin` are the first two words of its union. */
export const kvm_irq_routing_entry = struct({
  gsi: 'u32',
  type: 'u32',
  flags: 'u32',
  pad: 'u32',
  irqchip: 'u32',
  pin: 'u32',
  rest: array('u32', 6),
});
export const kvm_irqchip = struct({ chip_id: 'u32', pad: 'u32', chip: { bytes: 512, align: 8 } });
/** What `chip` of a kvm_irqchip holds for a PIC, and for the IOAPIC. */
export const kvm_pic_state = struct({
  last_irr: 'u8',
  irr: 'u8',
  imr: 'u8',
  isr: 'u8',
  priority_add: 'u8',
  irq_base: 'u8',
  read_reg_select: 'u8',
  poll: 'u8',
  special_mask: 'u8',
  init_state: 'u8',
  auto_eoi: 'u8',
  rotate_on_auto_eoi: 'u8',
  special_fully_nested_mode: 'u8',
  init4: 'u8',
  elcr: 'u8',
  elcr_mask: 'u8',
});
export const kvm_ioapic_state = struct({
  base_address: 'u64',
  ioregsel: 'u32',
  id: 'u32',
  irr: 'u32',
  pad: 'u32',
  redirtbl: array('u64', 24),
});
export const kvm_pit_channel_state = struct({
  count: 'u32',
  latched_count: 'u16',
  count_latched: 'u8',
  status_latched: 'u8',
  status: 'u8',
  read_state: 'u8',
  write_state: 'u8',
  write_latch: 'u8',
  rw_mode: 'u8',
  mode: 'u8',
  bcd: 'u8',
  gate: 'u8',
  count_load_time: 'u64',
});
export const kvm_pit_state2 = struct({
  channels: { bytes: 72, align: 8 },
  flags: 'u32',
  reserved: array('u32', 9),
});
export const kvm_clock_data = struct({
  clock: 'u64',
  flags: 'u32',
  pad0: 'u32',
  realtime: 'u64',
  host_tsc: 'u64',
  pad: array('u32', 4),
});
export const kvm_mp_state = struct({ mp_state: 'u32' });
export const kvm_vcpu_events = struct({
  exception_injected: 'u8',
  exception_nr: 'u8',
  exception_has_error_code: 'u8',
  exception_pending: 'u8',
  exception_error_code: 'u32',
  interrupt_injected: 'u8',
  interrupt_nr: 'u8',
  interrupt_soft: 'u8',
  interrupt_shadow: 'u8',
  nmi_injected: 'u8',
  nmi_pending: 'u8',
  nmi_masked: 'u8',
  nmi_pad: 'u8',
  sipi_vector: 'u32',
  flags: 'u32',
  smi: array('u8', 4),
  reserved: array('u8', 27),
  exception_has_payload: 'u8',
  exception_payload: 'u64',
});
export const kvm_debugregs = struct({
  db: array('u64', 4),
  dr6: 'u64',
  dr7: 'u64',
  flags: 'u64',
  reserved: array('u64', 9),
});
export const kvm_xsave = struct({ region: array('u32', 1024) });
export const kvm_xcr = struct({ xcr: 'u32', reserved: 'u32', value: 'u64' });
export const kvm_xcrs = struct({
  nr_xcrs: 'u32',
  flags: 'u32',
  xcrs: array(kvm_xcr, 16),
  padding: array('u64', 16),
});
export const kvm_lapic_state = struct({ regs: array('u8', 1024) });
export const kvm_guest_debug = struct({ control: 'u32', pad: 'u32', debugreg: array('u64', 8) });
export const kvm_dirty_log = struct({ slot: 'u32', padding1: 'u32', dirty_bitmap: 'u64' });
export const kvm_coalesced_mmio_zone = struct({ addr: 'u64', size: 'u32', pad: 'u32' });
export const kvm_coalesced_mmio = struct({ phys_addr: 'u64', len: 'u32', pad: 'u32', data: array('u8', 8) });
export const kvm_coalesced_mmio_ring = struct({ first: 'u32', last: 'u32' });

/** Every structure by its C name, for the test against the headers. */
export const STRUCTS: Readonly<Record<string, Struct>> = {
  kvm_userspace_memory_region,
  kvm_regs,
  kvm_segment,
  kvm_dtable,
  kvm_sregs,
  kvm_cpuid2,
  kvm_cpuid_entry2,
  kvm_msrs,
  kvm_msr_entry,
  kvm_msr_list,
  kvm_pit_config,
  kvm_pic_state,
  kvm_ioapic_state,
  kvm_pit_channel_state,
  kvm_irqfd,
  kvm_ioeventfd,
  kvm_clock_data,
  kvm_mp_state,
  kvm_debugregs,
  kvm_xsave,
  kvm_xcr,
  kvm_xcrs,
  kvm_lapic_state,
  kvm_coalesced_mmio_ring,
};

const W = (number: number, argument: Struct): number => ioctlNumber(WRITE, number, argument.size);
const R = (number: number, argument: Struct): number => ioctlNumber(READ, number, argument.size);
const WR = (number: number, argument: Struct): number => ioctlNumber(READ | WRITE, number, argument.size);
const IO = (number: number): number => ioctlNumber(NONE, number, 0);
const U32 = struct({ value: 'u32' });
const U64 = struct({ value: 'u64' });

/** ioctl requests by name: what errors print. */
export const IOCTL = {
  // on /dev/kvm
  KVM_GET_API_VERSION: IO(0x00),
  KVM_CREATE_VM: IO(0x01),
  KVM_GET_MSR_INDEX_LIST: WR(0x02, kvm_msr_list),
  KVM_CHECK_EXTENSION: IO(0x03),
  KVM_GET_VCPU_MMAP_SIZE: IO(0x04),
  KVM_GET_SUPPORTED_CPUID: WR(0x05, kvm_cpuid2),
  // on a VM
  KVM_CREATE_VCPU: IO(0x41),
  KVM_GET_DIRTY_LOG: W(0x42, kvm_dirty_log),
  KVM_SET_USER_MEMORY_REGION: W(0x46, kvm_userspace_memory_region),
  KVM_SET_TSS_ADDR: IO(0x47),
  KVM_SET_IDENTITY_MAP_ADDR: W(0x48, U64),
  KVM_CREATE_IRQCHIP: IO(0x60),
  KVM_IRQ_LINE: W(0x61, kvm_irq_level),
  KVM_GET_IRQCHIP: WR(0x62, kvm_irqchip),
  KVM_SET_IRQCHIP: R(0x63, kvm_irqchip),
  KVM_REGISTER_COALESCED_MMIO: W(0x67, kvm_coalesced_mmio_zone),
  KVM_UNREGISTER_COALESCED_MMIO: W(0x68, kvm_coalesced_mmio_zone),
  KVM_SET_GSI_ROUTING: W(0x6a, kvm_irq_routing),
  KVM_IRQFD: W(0x76, kvm_irqfd),
  KVM_CREATE_PIT2: W(0x77, kvm_pit_config),
  KVM_IOEVENTFD: W(0x79, kvm_ioeventfd),
  KVM_SET_CLOCK: W(0x7b, kvm_clock_data),
  KVM_GET_CLOCK: R(0x7c, kvm_clock_data),
  KVM_GET_PIT2: R(0x9f, kvm_pit_state2),
  KVM_SET_PIT2: W(0xa0, kvm_pit_state2),
  // on a vCPU
  KVM_RUN: IO(0x80),
  KVM_GET_REGS: R(0x81, kvm_regs),
  KVM_SET_REGS: W(0x82, kvm_regs),
  KVM_GET_SREGS: R(0x83, kvm_sregs),
  KVM_SET_SREGS: W(0x84, kvm_sregs),
  KVM_INTERRUPT: W(0x86, U32),
  KVM_GET_MSRS: WR(0x88, kvm_msrs),
  KVM_SET_MSRS: W(0x89, kvm_msrs),
  KVM_GET_LAPIC: R(0x8e, kvm_lapic_state),
  KVM_SET_LAPIC: W(0x8f, kvm_lapic_state),
  KVM_SET_CPUID2: W(0x90, kvm_cpuid2),
  KVM_GET_MP_STATE: R(0x98, kvm_mp_state),
  KVM_SET_MP_STATE: W(0x99, kvm_mp_state),
  KVM_SET_GUEST_DEBUG: W(0x9b, kvm_guest_debug),
  KVM_GET_VCPU_EVENTS: R(0x9f, kvm_vcpu_events),
  KVM_SET_VCPU_EVENTS: W(0xa0, kvm_vcpu_events),
  KVM_GET_DEBUGREGS: R(0xa1, kvm_debugregs),
  KVM_SET_DEBUGREGS: W(0xa2, kvm_debugregs),
  KVM_GET_XSAVE: R(0xa4, kvm_xsave),
  KVM_SET_XSAVE: W(0xa5, kvm_xsave),
  KVM_GET_XCRS: R(0xa6, kvm_xcrs),
  KVM_SET_XCRS: W(0xa7, kvm_xcrs),
  KVM_SET_TSC_KHZ: IO(0xa2),
  KVM_GET_TSC_KHZ: IO(0xa3),
  KVM_KVMCLOCK_CTRL: IO(0xad),
} as const;
export type IoctlName = keyof typeof IOCTL;

/** Capabilities for KVM_CHECK_EXTENSION. */
export const CAP = {
  KVM_CAP_IRQCHIP: 0,
  KVM_CAP_USER_MEMORY: 3,
  KVM_CAP_NR_VCPUS: 9,
  KVM_CAP_MP_STATE: 14,
  KVM_CAP_COALESCED_MMIO: 15,
  KVM_CAP_PIT2: 33,
  KVM_CAP_IRQFD: 32,
  KVM_CAP_IOEVENTFD: 36,
  KVM_CAP_ADJUST_CLOCK: 39,
  KVM_CAP_VCPU_EVENTS: 41,
  KVM_CAP_DEBUGREGS: 50,
  KVM_CAP_XSAVE: 55,
  KVM_CAP_XCRS: 56,
  KVM_CAP_MAX_VCPUS: 66,
  KVM_CAP_TSC_DEADLINE_TIMER: 72,
  KVM_CAP_IMMEDIATE_EXIT: 136,
  KVM_CAP_SET_GUEST_DEBUG2: 195,
} as const;

/** Exit reasons, KVM_EXIT_*. */
export const KVM_EXIT = {
  UNKNOWN: 0,
  EXCEPTION: 1,
  IO: 2,
  HYPERCALL: 3,
  DEBUG: 4,
  HLT: 5,
  MMIO: 6,
  IRQ_WINDOW_OPEN: 7,
  SHUTDOWN: 8,
  FAIL_ENTRY: 9,
  INTR: 10,
  INTERNAL_ERROR: 17,
  SYSTEM_EVENT: 24,
} as const;

export const KVM_API_VERSION = 12;
export const KVM_EXIT_IO_OUT = 1;
export const KVM_INTERNAL_ERROR_EMULATION = 1;
export const KVM_IOEVENTFD_FLAG_DATAMATCH = 1;
export const KVM_IOEVENTFD_FLAG_DEASSIGN = 4;
export const KVM_IRQFD_FLAG_DEASSIGN = 1;
export const KVM_IRQ_ROUTING_IRQCHIP = 1;
export const KVM_IRQCHIP_PIC_MASTER = 0;
export const KVM_IRQCHIP_PIC_SLAVE = 1;
export const KVM_IRQCHIP_IOAPIC = 2;
export const KVM_PIT_SPEAKER_DUMMY = 1;
export const KVM_GUESTDBG_ENABLE = 1;
export const KVM_GUESTDBG_SINGLESTEP = 2;
export const KVM_GUESTDBG_USE_SW_BP = 0x1_0000;
export const KVM_GUESTDBG_USE_HW_BP = 0x2_0000;
export const KVM_GUESTDBG_INJECT_DB = 0x4_0000;
export const KVM_GUESTDBG_INJECT_BP = 0x8_0000;
export const KVM_GUESTDBG_BLOCKIRQ = 0x10_0000;
export const KVM_MEM_LOG_DIRTY_PAGES = 1;
/** In kvm_vcpu_events.flags: the fields that KVM_SET_VCPU_EVENTS should take. */
export const KVM_VCPUEVENT_VALID_NMI_PENDING = 1;
export const KVM_VCPUEVENT_VALID_SIPI_VECTOR = 2;
export const KVM_VCPUEVENT_VALID_SHADOW = 4;
