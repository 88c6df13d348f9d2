/**
 * A KVM virtual CPU as its thread runs it: KVM_RUN, and struct kvm_run read through typed arrays that
 * lie over the page which the kernel fills in. Reference: Documentation/virt/kvm/api.rst, section 5.
 */
import * as libc from '../../devices/host/libc.ts';
import type { HostAddress } from '../../devices/memory.ts';
import { type DebugEvent, DebugKind, debugEvent } from '../debug/settings.ts';
import { type Exit, ExitReason, type Vcpu } from '../engine.ts';
import { MpState } from '../vcpu-state.ts';
import {
  IOCTL,
  KVM_EXIT,
  KVM_EXIT_IO_OUT,
  KVM_INTERNAL_ERROR_EMULATION,
  kvm_run,
  kvm_run_exit,
} from './abi.ts';
import { ioctl } from './ioctl.ts';

const KVM_RUN = IOCTL.KVM_RUN;
/** Put there before each run: KVM has no such reason. */
const NO_EXIT = 0xffff_ffff;
const EXIT_REASON = kvm_run.offset.exit_reason / 4;
const IMMEDIATE_EXIT = kvm_run.offset.immediate_exit;
const IF_FLAG = kvm_run.offset.if_flag;
const IO_DIRECTION = kvm_run_exit.io.direction;
const IO_SIZE = kvm_run_exit.io.size;
const IO_PORT = kvm_run_exit.io.port / 2;
const IO_COUNT = kvm_run_exit.io.count / 4;
const IO_DATA_OFFSET = kvm_run_exit.io.data_offset / 4;
const MMIO_ADDRESS_LOW = kvm_run_exit.mmio.phys_addr / 4;
const MMIO_DATA = kvm_run_exit.mmio.data;
const MMIO_LENGTH = kvm_run_exit.mmio.len / 4;
const MMIO_IS_WRITE = kvm_run_exit.mmio.is_write;
const HYPERCALL_RESULT = kvm_run_exit.hypercall.ret / 4;
const SYSTEM_EVENT_TYPE = kvm_run_exit.system_event.type / 4;
const KVM_SYSTEM_EVENT_CRASH = 3;
const BREAKPOINT_VECTOR = 3;
/** DR6, bits B0 to B3, and BS. SDM volume 3B, 17.2.3 */
const DR6_HITS = 15;
const DR6_STEP = 1 << 14;

/** Runs one vCPU. All of its methods belong to the vCPU's thread. */
export class KvmVcpu implements Vcpu {
  readonly index: number;
  readonly exit: Exit = { address: 0, size: 0, count: 0, isWrite: false, dataOffset: 0 };
  readonly data: DataView;
  private readonly fd: number;
  private readonly u8: Uint8Array;
  private readonly u16: Uint16Array;
  private readonly u32: Uint32Array;
  private readonly scratch = libc.nativeBuffer(4096);
  readonly debugEvent: DebugEvent;
  private failure = '';

  /** @param run - where the vCPU's kvm_run is mapped in this process */
  constructor(index: number, fd: number, run: HostAddress, runSize: number) {
    this.index = index;
    this.debugEvent = debugEvent(index);
    this.fd = fd;
    const bytes = libc.bytesAt(run, runSize);
    this.u8 = new Uint8Array(bytes);
    this.u16 = new Uint16Array(bytes);
    this.u32 = new Uint32Array(bytes);
    this.data = new DataView(bytes);
  }

  /** Hot path. */
  run(): ExitReason {
    const u32 = this.u32;
    u32[EXIT_REASON] = NO_EXIT;
    libc.ioctlBlind(this.fd, KVM_RUN, 0);
    const reason = u32[EXIT_REASON];
    const exit = this.exit;
    if (reason === KVM_EXIT.IO) {
      exit.address = this.u16[IO_PORT]!;
      exit.size = this.u8[IO_SIZE]!;
      exit.count = u32[IO_COUNT]!;
      exit.isWrite = this.u8[IO_DIRECTION] === KVM_EXIT_IO_OUT;
      // The offset is 64 bits wide, but always within the few pages of kvm_run.
      exit.dataOffset = u32[IO_DATA_OFFSET]!;
      return ExitReason.io;
    }
    if (reason === KVM_EXIT.MMIO) {
      exit.address = u32[MMIO_ADDRESS_LOW + 1]! * 0x1_0000_0000 + u32[MMIO_ADDRESS_LOW]!;
      exit.size = u32[MMIO_LENGTH]!;
      exit.count = 1;
      exit.isWrite = this.u8[MMIO_IS_WRITE] !== 0;
      exit.dataOffset = MMIO_DATA;
      return ExitReason.mmio;
    }
    return this.otherExit(reason!);
  }

  settle(): ExitReason {
    // With immediate_exit set, KVM finishes a pending port or MMIO read and returns before the guest goes on;
    // or with another exit, when the instruction needs one.
    this.u8[IMMEDIATE_EXIT] = 1;
    const reason = this.run();
    this.u8[IMMEDIATE_EXIT] = 0;
    return reason;
  }

  haltedForGood(): boolean {
    if (this.u8[IF_FLAG] !== 0) return false;
    ioctl(this.fd, 'KVM_GET_MP_STATE', this.scratch.address);
    const state = this.scratch.data.getUint32(0, true);
    return state === MpState.halted || state === MpState.uninitialized;
  }

  describeFailure(): string {
    return this.failure;
  }

  private otherExit(reason: number): ExitReason {
    switch (reason) {
      case KVM_EXIT.HLT:
        return ExitReason.hlt;
      case KVM_EXIT.SHUTDOWN:
        return ExitReason.shutdown;
      case KVM_EXIT.DEBUG:
        this.noteDebug();
        return ExitReason.debug;
      case KVM_EXIT.INTR:
        return this.interrupted();
      // The call has failed: some kernels leave the field alone then, others clear it.
      case NO_EXIT:
      case KVM_EXIT.UNKNOWN:
        return this.runFailed();
      case KVM_EXIT.IRQ_WINDOW_OPEN:
        return ExitReason.interrupted;
      case KVM_EXIT.HYPERCALL:
        // −KVM_ENOSYS, as KVM itself answers to what it doesn't know.
        this.u32[HYPERCALL_RESULT] = -1000 >>> 0;
        this.u32[HYPERCALL_RESULT + 1] = 0xffff_ffff;
        return ExitReason.hypercall;
      case KVM_EXIT.SYSTEM_EVENT:
        if (this.u32[SYSTEM_EVENT_TYPE] !== KVM_SYSTEM_EVENT_CRASH) return ExitReason.shutdown;
        return this.fail('the guest reported a crash to KVM');
      case KVM_EXIT.FAIL_ENTRY:
        return this.fail(
          `the processor refused to enter the guest (hardware reason 0x${this.u32[kvm_run_exit.fail_entry.hardware_entry_failure_reason / 4]!.toString(16)}): its state is inconsistent`,
        );
      case KVM_EXIT.INTERNAL_ERROR:
        return this.fail(this.describeInternalError());
      default:
        return this.fail(`KVM exit reason ${reason}, which Type2 doesn't know`);
    }
  }

  /** #BP is a software breakpoint; DR6 says what #DB is about: BS a step, B0 to B3 the debug registers. */
  private noteDebug(): void {
    const { debugEvent, u32 } = this;
    const dr6 = u32[kvm_run_exit.debug.dr6 / 4]!;
    debugEvent.addressLow = u32[kvm_run_exit.debug.pc / 4]! | 0;
    debugEvent.addressHigh = u32[kvm_run_exit.debug.pc / 4 + 1]! | 0;
    const isBreakpoint = u32[kvm_run_exit.debug.exception / 4] === BREAKPOINT_VECTOR;
    debugEvent.hits = isBreakpoint ? 0 : dr6 & DR6_HITS;
    if (isBreakpoint) debugEvent.kind = DebugKind.software;
    else if (debugEvent.hits !== 0 && (dr6 & DR6_STEP) === 0) debugEvent.kind = DebugKind.hardware;
    else debugEvent.kind = DebugKind.step;
  }

  private runFailed(): ExitReason {
    const errno = libc.errno();
    if (errno === libc.Errno['EINTR'] || errno === libc.Errno['EAGAIN']) {
      return this.interrupted();
    }
    return this.fail(`ioctl KVM_RUN: ${libc.errnoName(errno)}`);
  }

  /** A kick has come to its end: the next run may go on. Whoever kicked has said before what for. */
  private interrupted(): ExitReason {
    this.u8[IMMEDIATE_EXIT] = 0;
    return ExitReason.interrupted;
  }

  private fail(reason: string): ExitReason {
    this.failure = reason;
    return ExitReason.internalError;
  }

  /** Internal errors carry a suberror and some words of data; for emulation failures, the instruction. */
  private describeInternalError(): string {
    const suberror = this.u32[kvm_run_exit.internal.suberror / 4]!;
    const count = Math.min(this.u32[kvm_run_exit.internal.ndata / 4]!, 16);
    const words: string[] = [];
    for (let i = 0; i < count; i++) {
      words.push(`0x${this.data.getBigUint64(kvm_run_exit.internal.data + i * 8, true).toString(16)}`);
    }
    const data = words.length > 0 ? ` (data ${words.join(' ')})` : '';
    if (suberror === KVM_INTERNAL_ERROR_EMULATION) {
      return `KVM could not emulate the guest's instruction${data}. A KVM without hardware behind it cannot run SSE, x87 and more.`;
    }
    return `KVM internal error, suberror ${suberror}${data}`;
  }
}
