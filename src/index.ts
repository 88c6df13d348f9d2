/**
 * Type2 as a library.
 *
 * @packageDocumentation
 */
export type { AccessSize, Clock, IrqLine } from '../devices/device.ts';
export { ConfigError, HostError, Type2Error } from '../devices/errors.ts';
export { GuestAddressError } from '../devices/memory.ts';
export type {
  DeviceHandlers,
  DeviceHost,
  DeviceMemory,
  DeviceModule,
  DeviceTimer,
} from '../devices/module.ts';
export type { SavedState } from '../devices/state.ts';
export { BootError, type BootErrorCode } from '../vm/boot/errors.ts';
export { BOOT_PROTOCOLS, type BootProtocol } from '../vm/boot/protocols.ts';
export type { CpuidLeaf } from '../vm/cpuid.ts';
export type { EngineChoice } from '../vm/drivers.ts';
export { ENGINE_NAMES, type EngineName } from '../vm/engine.ts';
export type { EngineState, MachineState, RamPart } from '../vm/machine-state.ts';
export type { Outcome } from '../vm/outcome.ts';
export type { Statistics } from '../vm/statistics.ts';
export type { TraceKindName } from '../vm/trace/event.ts';
export type { TraceEvent, TraceTotals } from '../vm/trace/reader.ts';
export { describeEvent } from '../vm/trace/text.ts';
export {
  type GeneralRegisters,
  MpState,
  type PendingEvents,
  type PendingException,
  type PendingInterrupt,
  type PendingNmi,
  type Segment,
  type SystemRegisters,
  type TableRegister,
  type VcpuState,
} from '../vm/vcpu-state.ts';
export type { ControlName, CpuMode, MachineView, RegisterName, VcpuView } from '../vm/view.ts';
export {
  type ConsoleConfig,
  type DeviceConfig,
  type DiskConfig,
  type GdbConfig,
  type NetConfig,
  parseConfig,
  type ResolvedConfig,
  type ResolvedDisk,
  type TraceConfig,
  type VmConfig,
} from './config.ts';
export { type BundledGuest, bundledGuests } from './guests.ts';
export {
  type RestoreChanges,
  Vm,
  type VmConsole,
  type VmEventMap,
  type VmState,
  type VmTrace,
} from './vm.ts';
